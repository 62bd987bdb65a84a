import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { stubPage } from "../testing/page";

/** The server's clock is a minute ahead, and an answer takes so long. */
let takes: number;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000_000 });
  stubPage(async () => {
    const epoch = (Date.now() + 60_000) / 1_000;
    await new Promise((over) => setTimeout(over, takes));
    return Response.json({ epoch });
  });
  vi.resetModules();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** What is known, and how long that took to be told, ms. */
async function compared(): Promise<[number | null, number]> {
  const { clockAhead } = await import("./clock");
  const asked = Date.now();
  const answer = clockAhead().then((ahead): [number | null, number] => [ahead, Date.now() - asked]);
  await vi.advanceTimersByTimeAsync(10_000);
  return answer;
}

test("the clocks are compared, but nobody waits long for that, and a slow answer does not count", async () => {
  takes = 6_000;
  expect(await compared()).toEqual([null, 2_000]);
  expect((await compared())[0]).toBeNull();
  takes = 0;
  expect(await compared()).toEqual([60_000, 0]);
  takes = 6_000;
  expect(await compared()).toEqual([60_000, 2_000]);
  expect(await compared()).toEqual([60_000, 2_000]);
});
