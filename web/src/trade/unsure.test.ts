import { expect, test } from "vitest";
import { ApiError } from "../api/http";
import type { Order } from "../api/types";
import type { Draft } from "./draft";
import { isUnknown, place } from "./unsure";

const draft = (size: string): Draft => ({ product_id: "ETH-USDT", side: "buy", type: "market", size });

/** Sends once and answers the id that was sent; a status lets the sending fail with it. */
async function idOf(user: string, order: Draft, status?: number): Promise<string> {
  let sent = "";
  const sending = place(user, order, async ({ client_oid }) => {
    sent = client_oid;
    if (status !== undefined) throw new ApiError(status, "");
    return {} as Order;
  });
  if (status === undefined) await sending;
  else await expect(sending).rejects.toBeInstanceOf(ApiError);
  return sent;
}

test("an id is a UUID, and every order has its own", async () => {
  const [one, two] = [await idOf("a", draft("1")), await idOf("a", draft("1"))];
  expect(one).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(two).not.toBe(one);
});

test.each([0, 200, 500, 503])(
  "status %i leaves the order open: it goes again under its id",
  async (status) => {
    const first = await idOf("a", draft("2"), status);
    expect(await idOf("b", draft("2"))).not.toBe(first);
    expect(await idOf("a", draft("3"))).not.toBe(first);
    expect(await idOf("a", draft("2"), status)).toBe(first);
    expect(await idOf("a", draft("2"))).toBe(first);
    expect(await idOf("a", draft("2"))).not.toBe(first);
  },
);

test("a refusal of the order ends it", async () => {
  const first = await idOf("a", draft("4"), 0);
  expect(await idOf("a", draft("4"), 400)).toBe(first);
  expect(await idOf("a", draft("4"))).not.toBe(first);
});

test.each([401, 403, 429])("status %i tells nothing about an earlier sending", async (status) => {
  const first = await idOf("a", draft("5"), 0);
  expect(await idOf("a", draft("5"), status)).toBe(first);
  expect(await idOf("a", draft("5"))).toBe(first);
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
