/** Local storage that never throws: it may be full, forbidden or edited by hand. */

export function load<T>(key: string): T | null {
  try {
    const text = localStorage.getItem(`agora.${key}`);
    return text === null ? null : (JSON.parse(text) as T);
  } catch {
    return null;
  }
}

/** Stores a value as JSON; null removes it. */
export function save(key: string, value: unknown): void {
  try {
    if (value === null) localStorage.removeItem(`agora.${key}`);
    else localStorage.setItem(`agora.${key}`, JSON.stringify(value));
  } catch {
    // Without storage the app works; it only forgets.
  }
}
