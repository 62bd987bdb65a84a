import { signal } from "@preact/signals";

export interface Toast {
  id: number;
  kind: "good" | "bad" | "plain";
  title: string;
  detail?: string;
}

export const toasts = signal<Toast[]>([]);

let lastId = 0;

/** Shows a short notice for some seconds. */
export function notify(kind: Toast["kind"], title: string, detail?: string): void {
  const id = ++lastId;
  const toast: Toast = detail === undefined ? { id, kind, title } : { id, kind, title, detail };
  toasts.value = [...toasts.value.slice(-2), toast];
  setTimeout(() => dismiss(id), kind === "bad" ? 8_000 : 4_000);
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}
