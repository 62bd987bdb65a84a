import { afterEach, beforeEach, expect, test, vi } from "vitest";

let open: { id: string; answer: (response: Response) => void }[];
let nameOf: typeof import("./names").nameOf;

beforeEach(async () => {
  vi.useFakeTimers();
  vi.resetModules();
  open = [];
  vi.stubGlobal("fetch", (path: string) => {
    return new Promise<Response>((answer) => open.push({ id: path.split("/").at(-1) ?? "", answer }));
  });
  ({ nameOf } = await import("./names"));
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** Answers what has been asked for longest, and lets the page go on. */
async function answer(status: number, body: unknown): Promise<void> {
  open.shift()?.answer(Response.json(body, { status }));
  await vi.advanceTimersByTimeAsync(0);
}

test("a few people are asked for at a time, each once", async () => {
  const shown = ["a", "b", "c", "d", "e"].map(nameOf);
  nameOf("a");
  expect(open.map((one) => one.id)).toEqual(["a", "b", "c"]);
  await answer(200, { email: "a@example.org" });
  expect(shown[0]?.value).toBe("a@example.org");
  expect(open.map((one) => one.id)).toEqual(["b", "c", "d"]);
});

test("who is nobody stays so; a failure is forgotten after a while", async () => {
  const gone = nameOf("gone");
  await answer(404, {});
  const late = nameOf("late");
  await answer(503, {});
  expect([gone.value, late.value]).toEqual(["gone", "late"]);
  nameOf("late");
  expect(open).toEqual([]);
  await vi.advanceTimersByTimeAsync(20_000);
  nameOf("gone");
  nameOf("late");
  expect(open.map((one) => one.id)).toEqual(["late"]);
  await answer(200, { email: "late@example.org" });
  expect(late.value).toBe("late@example.org");
});
