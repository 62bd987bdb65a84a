/**
 * A page without a browser, for tests of modules that reach for one when they are loaded.
 *
 * Call `stubPage` before they are imported; `vi.resetModules()` lets them be loaded anew.
 */
import { vi } from "vitest";

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSED = 3;
  /** Every one that was made since the last `stubPage`, oldest first. */
  static all: FakeSocket[] = [];
  static get last(): FakeSocket {
    const last = FakeSocket.all.at(-1);
    if (!last) throw new Error("no connection was made");
    return last;
  }

  readyState = FakeSocket.CONNECTING;
  /** What the page has sent. */
  readonly sent: Record<string, unknown>[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    this.readyState = FakeSocket.CLOSED;
    this.onclose?.();
  }

  /** The server takes the connection. */
  open(): this {
    this.readyState = FakeSocket.OPEN;
    this.onopen?.();
    return this;
  }

  /** The server says something. */
  say(...messages: unknown[]): void {
    for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
  }
}

export interface Page {
  /** The local storage. */
  stored: Map<string, string>;
  /** Another tab has written this key; null: it has cleared everything. */
  tellStored: (key: string | null) => void;
  /** What was asked of the server, as "GET /v1/x", oldest first. */
  asked: string[];
  /** Changes the path, as the buttons of the browser do. */
  goTo: (pathname: string) => void;
}

/** What the server answers to "GET /v1/x"; what it knows nothing of is answered with 404. */
export type Server = (asked: string, init: RequestInit) => Response | Promise<Response> | undefined;

/** Stubs what the page's modules need of a browser. Undone with `vi.unstubAllGlobals()`. */
export function stubPage(server: Server = () => undefined, pathname = "/"): Page {
  const stored = new Map<string, string>();
  const asked: string[] = [];
  const listeners = new Map<string, (event: { key?: string | null }) => void>();
  const listen = (type: string, listener: (event: { key?: string | null }) => void): void => {
    listeners.set(type, listener);
  };
  const location = { pathname, search: "", protocol: "http:", host: "venue.test" };
  FakeSocket.all = [];
  vi.stubGlobal("navigator", {});
  vi.stubGlobal("location", location);
  vi.stubGlobal("history", { replaceState: () => {}, pushState: () => {} });
  vi.stubGlobal("document", { hidden: false, title: "" });
  vi.stubGlobal("window", { addEventListener: listen });
  vi.stubGlobal("addEventListener", listen);
  vi.stubGlobal("requestAnimationFrame", (draw: () => void) => setTimeout(draw));
  vi.stubGlobal("WebSocket", FakeSocket);
  vi.stubGlobal("localStorage", {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => stored.set(key, value),
    removeItem: (key: string) => stored.delete(key),
  });
  vi.stubGlobal("fetch", async (path: string, init: RequestInit) => {
    const question = `${init.method} ${path}`;
    asked.push(question);
    return (await server(question, init)) ?? Response.json({ message: "Not found" }, { status: 404 });
  });
  return {
    stored,
    tellStored: (key) => listeners.get("storage")?.({ key }),
    asked,
    goTo(next) {
      location.pathname = next;
      listeners.get("popstate")?.({});
    },
  };
}
