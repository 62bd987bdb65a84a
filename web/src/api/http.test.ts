import { afterEach, expect, test, vi } from "vitest";
import { request } from "./http";

afterEach(() => vi.unstubAllGlobals());

test("a line that breaks before or within the answer is a failure without a status", async () => {
  const broken = new ReadableStream({ pull: (body) => body.error(new TypeError("network error")) });
  for (const answer of [Promise.reject(new TypeError("no line")), new Response(broken)]) {
    vi.stubGlobal("fetch", async () => answer);
    await expect(request("GET", "/time")).rejects.toMatchObject({ name: "ApiError", status: 0 });
  }
});
