import { expect, test } from "vitest";
import type { Fill } from "../api/types";
import { joined, newestOf } from "./own-fills";

const fill = (trade_id: number, order_id = "o"): Fill => ({
  trade_id,
  order_id,
  product_id: "BTC-USDT",
  liquidity: "T",
  price: "1",
  size: "1",
  fee: "0",
  side: "buy",
  created_at: "",
});
const all = (...trades: number[]) => trades.map((trade) => fill(trade));

test("older fills stay behind the newest page", () => {
  expect(joined(all(5, 4, 3), all(4, 3, 2, 1))).toEqual(all(5, 4, 3, 2, 1));
  expect(joined(all(2, 1), all(2, 1))).toEqual(all(2, 1));
});

test("with a hole between them the list begins anew", () => {
  expect(joined(all(9, 8), all(6, 5))).toBeNull();
  expect(joined(all(2, 1), [])).toBeNull();
  expect(joined([], all(1))).toBeNull();
});

test("both sides of a trade with oneself are fills of their own", () => {
  const [bought, sold] = [fill(3, "b"), fill(3, "s")];
  expect(joined([bought, sold], [bought, sold, fill(2)])).toEqual([bought, sold, fill(2)]);
});

test("of a long list the newest are kept, and it is known where the others begin", () => {
  expect(newestOf(all(5, 4, 3, 2, 1), 3)).toEqual({ kept: all(5, 4, 3), after: "3" });
  expect(newestOf(all(5, 4, 3), 3)).toEqual({ kept: all(5, 4, 3), after: null });
  expect(newestOf([], 3)).toEqual({ kept: [], after: null });
  const both = [fill(5), fill(4, "b"), fill(4, "s"), fill(3)];
  expect(newestOf(both, 2)).toEqual({ kept: both.slice(0, 3), after: "4" });
  expect(newestOf(both.slice(0, 3), 2)).toEqual({ kept: both.slice(0, 3), after: null });
});
