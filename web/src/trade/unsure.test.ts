import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ApiError } from "../api/http";
import type { Order } from "../api/types";
import type { Draft } from "./draft";
import { isUnknown, place, Unsure, type Venue } from "./unsure";

const draft = (size: string): Draft => ({ product_id: "ETH-USDT", side: "buy", type: "market", size });

/** Who is signed in; what the venue says to an order (a status is a failure); what it has under an id of ours. */
let user: string;
let answer: number | { code: string } | Order;
let find: () => Order;
let asked: string[];
/** What was told of orders whose answers were lost. */
let told: (Order | null)[];
let sent: string;
/** What the last sending failed with. */
let failed: unknown;
let ahead: number | null;
const venue: Venue = {
  user: () => user,
  async send({ client_oid }) {
    sent = client_oid;
    if (typeof answer === "number") throw new ApiError(answer, "");
    if ("code" in answer) throw new ApiError(503, "", answer.code);
    return answer;
  },
  async find(client_oid) {
    asked.push(client_oid);
    return find();
  },
  clockAhead: async () => ahead,
};

const orderOf = (created: number): Order => ({
  id: "o1",
  product_id: "ETH-USDT",
  side: "buy",
  type: "market",
  status: "open",
  created_at: new Date(created).toISOString(),
});
const refuse = (status: number) => (): Order => {
  throw new ApiError(status, "");
};

beforeEach(() => {
  vi.useFakeTimers();
  user = "a";
  asked = [];
  told = [];
  ahead = 0;
  find = refuse(0);
});
// What is left open by a test is settled, so that the next one begins with nothing.
afterEach(async () => {
  for (user of ["a", "b"]) {
    find = refuse(404);
    await vi.advanceTimersByTimeAsync(60_000);
  }
  vi.useRealTimers();
});

const tell = (order: Order | null) => told.push(order);
const taken = () => orderOf(Date.now());

/** Sends an order once and answers the id that was sent. */
async function idOf(order: Draft, say: typeof answer = taken()): Promise<string> {
  answer = say;
  const sending = place(order, venue, tell);
  if (typeof say === "object" && "id" in say) await sending;
  else
    await sending.catch((failure) => {
      failed = failure;
    });
  return sent;
}

test("an id is a UUID, and every order has its own", async () => {
  const [one, two] = [await idOf(draft("1")), await idOf(draft("1"))];
  expect(one).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(two).not.toBe(one);
});

test.each([0, 200, 500, 503])(
  "status %i leaves the order open: it goes again under its id",
  async (status) => {
    const first = await idOf(draft("2"), status);
    user = "b";
    expect(await idOf(draft("2"))).not.toBe(first);
    user = "a";
    expect(await idOf(draft("3"))).not.toBe(first);
    expect(await idOf(draft("2"), status)).toBe(first);
    expect(await idOf(draft("2"))).toBe(first);
    expect(await idOf(draft("2"))).not.toBe(first);
  },
);

test("a refusal of the order ends it", async () => {
  const first = await idOf(draft("4"), 0);
  expect(await idOf(draft("4"), 400)).toBe(first);
  expect(await idOf(draft("4"))).not.toBe(first);
});

test.each([401, 403, 429, { code: "overloaded" }])(
  "%o tells nothing about an earlier sending, and without one it ends the order",
  async (say) => {
    const first = await idOf(draft("5"), 0);
    expect(await idOf(draft("5"), say)).toBe(first);
    expect(failed).toMatchObject({ turnedAway: true });
    expect(await idOf(draft("5"))).toBe(first);
    const turnedAway = await idOf(draft("5"), say);
    expect(failed).not.toBeInstanceOf(Unsure);
    expect(await idOf(draft("5"))).not.toBe(turnedAway);
    expect(asked).toEqual([]);
  },
);

test("it is asked until the order is found, told once, and the next one like it is a new one", async () => {
  const first = await idOf(draft("6"), 0);
  await vi.advanceTimersByTimeAsync(3_000);
  const found = taken();
  find = () => found;
  expect([told, asked]).toEqual([[], [first, first]]);
  await vi.advanceTimersByTimeAsync(120_000);
  expect([told, asked.length]).toEqual([[found], 3]);
  expect(await idOf(draft("6"))).not.toBe(first);
});

test("an order is not there once the server has not known it for long enough", async () => {
  const first = await idOf(draft("7"), 0);
  find = refuse(404);
  // It may be on its way still.
  await vi.advanceTimersByTimeAsync(15_000);
  expect(told).toEqual([]);
  // Sent once more, it may be so for as long again.
  expect(await idOf(draft("7"), 0)).toBe(first);
  await vi.advanceTimersByTimeAsync(15_000);
  expect(told).toEqual([]);
  find = refuse(503);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(told).toEqual([]);
  find = refuse(404);
  await vi.advanceTimersByTimeAsync(15_000);
  expect(told).toEqual([null]);
  // It is not asked about any more, but should it arrive after all, no second one comes of it.
  const questions = asked.length;
  await vi.advanceTimersByTimeAsync(300_000);
  expect(asked.length).toBe(questions);
  expect(await idOf(draft("7"), 0)).toBe(first);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(told).toEqual([null, null]);
  await vi.advanceTimersByTimeAsync(600_000);
  expect(await idOf(draft("7"))).not.toBe(first);
});

test("the time to arrive counts from when the answer was given up, not from the sending", async () => {
  let giveUp: () => void = () => {};
  const send = () =>
    new Promise<Order>((_, fail) => {
      giveUp = () => fail(new ApiError(0, ""));
    });
  const sending = place(draft("11"), { ...venue, send }, tell).catch(() => {});
  await vi.advanceTimersByTimeAsync(30_000);
  giveUp();
  await sending;
  find = refuse(404);
  await vi.advanceTimersByTimeAsync(15_000);
  expect([told, asked.length]).toEqual([[], 4]);
  await vi.advanceTimersByTimeAsync(15_000);
  expect(told).toEqual([null]);
});

test("a question from before the last sending tells nothing about that", async () => {
  await idOf(draft("12"), 0);
  find = refuse(404);
  await vi.advanceTimersByTimeAsync(20_500);
  let answerNow: () => void = () => {};
  const slow = new Promise<void>((over) => {
    answerNow = over;
  });
  const whole = venue.find;
  venue.find = async (id) => {
    await slow;
    return whole(id);
  };
  await vi.advanceTimersByTimeAsync(1_000);
  await idOf(draft("12"), 0);
  answerNow();
  await vi.advanceTimersByTimeAsync(0);
  venue.find = whole;
  expect([told, asked.length]).toEqual([[], 5]);
});

test("nobody is asked in another user's name", async () => {
  await idOf(draft("8"), 0);
  user = "b";
  find = refuse(404);
  await vi.advanceTimersByTimeAsync(120_000);
  expect([asked, told]).toEqual([[], []]);
  user = "a";
  await vi.advanceTimersByTimeAsync(15_000);
  expect(told).toEqual([null]);
});

test("who signs in while the answer is under way is not told of another's order", async () => {
  await idOf(draft("13"), 0);
  const found = taken();
  find = () => {
    user = "b";
    return found;
  };
  await vi.advanceTimersByTimeAsync(60_000);
  expect([told, asked.length]).toEqual([[], 1]);
  user = "a";
  find = () => found;
  await vi.advanceTimersByTimeAsync(15_000);
  expect(told).toEqual([found]);
});

test("who does not come back is not waited for without end", async () => {
  await idOf(draft("14"), 0);
  user = "b";
  await vi.advanceTimersByTimeAsync(500_000);
  expect(vi.getTimerCount()).toBe(1);
  await vi.advanceTimersByTimeAsync(120_000);
  expect(vi.getTimerCount()).toBe(0);
});

test("while it is sent once more, no question about it is asked or counts", async () => {
  await idOf(draft("9"), 0);
  let arrive: (order: Order) => void = () => {};
  const again = place(draft("9"), { ...venue, send: () => new Promise((done) => (arrive = done)) }, tell);
  find = refuse(404);
  await vi.advanceTimersByTimeAsync(60_000);
  expect([asked, told]).toEqual([[], []]);
  arrive(taken());
  await again;
  await vi.advanceTimersByTimeAsync(60_000);
  expect([asked, told]).toEqual([[], []]);
});

test("an order that came with an earlier sending is told from a new one, whatever our clock says", async () => {
  ahead = 3_600_000;
  const venueNow = () => Date.now() + 3_600_000;
  const send = async (created: number) => {
    answer = orderOf(created);
    return (await place(draft("10"), venue, tell)).earlier;
  };
  expect(await send(venueNow() - 60_000)).toBe(false);
  await idOf(draft("10"), 0);
  const then = venueNow();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await send(then)).toBe(true);
  await idOf(draft("10"), 0);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await send(venueNow())).toBe(false);
  // When nobody knows its clock, it is not said.
  ahead = null;
  await idOf(draft("10"), 0);
  expect(await send(venueNow() - 60_000)).toBe(false);
});

test("the venue is believed when it says that it took nothing", () => {
  expect(isUnknown({ status: 503, code: "overloaded" })).toBe(false);
  expect(isUnknown({ status: 400, code: "order_done" })).toBe(false);
});

test.each([
  { status: 0 },
  { status: 200 },
  { status: 502 },
  { status: 503 },
  { status: 503, code: "outcome_unknown" },
])("%o leaves open if the order was placed", (failure) => {
  expect(isUnknown(failure)).toBe(true);
});
