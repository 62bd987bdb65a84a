import { afterEach, expect, test, vi } from "vitest";
import { request } from "./http";

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

test("a line that breaks before or within the answer is a failure without a status", async () => {
  const broken = new ReadableStream({ pull: (body) => body.error(new TypeError("network error")) });
  for (const answer of [Promise.reject(new TypeError("no line")), new Response(broken)]) {
    vi.stubGlobal("fetch", async () => answer);
    await expect(request("GET", "/time")).rejects.toMatchObject({ name: "ApiError", status: 0 });
  }
});

test("a server that takes a question and does not answer is given up; an upload may take its time", async () => {
  const clock = new AbortController();
  const within = vi.spyOn(AbortSignal, "timeout").mockReturnValue(clock.signal);
  const signals: unknown[] = [];
  vi.stubGlobal("fetch", (_: string, { signal }: RequestInit) => {
    signals.push(signal);
    return new Promise((_, fail) => signal?.addEventListener("abort", () => fail(signal.reason)));
  });
  const asked = request("POST", "/orders", { size: "1" });
  clock.abort(new DOMException("too late", "TimeoutError"));
  await expect(asked).rejects.toMatchObject({
    status: 0,
    message: "The server does not answer. Check your connection and try again.",
  });
  expect(within.mock.calls).toEqual([[15_000]]);
  void request("PUT", "/auth/me/photo", new Blob(["picture"]));
  expect(signals).toEqual([clock.signal, undefined]);
});
