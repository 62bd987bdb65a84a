/** The address bar as a signal, and the one way to change it. */
import { computed, signal } from "@preact/signals";

export const path = signal(location.pathname);

window.addEventListener("popstate", () => {
  path.value = location.pathname;
});

export function navigate(to: string): void {
  if (to === path.value) return;
  history.pushState(null, "", to);
  path.value = to;
}

/** A part of an address as it was meant; as it stands where it is no valid encoding. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The market named in `/trade/BTC-USDT`, or null. */
export function marketInPath(pathname: string): string | null {
  const match = /^\/trade\/([^/]+)\/?$/.exec(pathname);
  return match?.[1] ? decoded(match[1]).toUpperCase() : null;
}

/** The first part of the address: which page is shown. Unknown ones show the market. */
export const page = computed(() => path.value.split("/")[1] ?? "");

/** The second part of the address: which part of a page is shown. */
export const section = computed(() => path.value.split("/")[2] ?? "");

/** The third part of the address: which one of the things that such a part lists. */
export const item = computed(() => decoded(path.value.split("/")[3] ?? ""));
