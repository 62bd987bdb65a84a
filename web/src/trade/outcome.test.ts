import { expect, test } from "vitest";
import { outcome } from "./outcome";

const market = { base_currency: "ETH", quote_currency: "USDT" };
const order = { side: "buy", status: "done", done_reason: "canceled" } as const;

test("an order that rests or was filled is placed", () => {
  const limit = { side: "sell", size: "2", price: "1500.00", status: "open" } as const;
  expect(outcome(limit, market)).toMatchObject({ kind: "good", detail: "Sell 2 ETH at 1,500.00" });
  const filled = { ...order, funds: "10", done_reason: "filled", filled_size: "0.1" };
  expect(outcome(filled, market)).toMatchObject({ title: "Order placed", detail: "Buy 10 USDT at market" });
});

test("an order that found nobody is no success", () => {
  const found = outcome({ ...order, size: "2", filled_size: "0.00000000" }, market);
  expect(found).toMatchObject({ kind: "bad", title: "Nothing was traded", inVain: true });
});

test("of an order that ended early it is told how much was traded, in what it was given in", () => {
  const sized = { ...order, size: "2000.0", filled_size: "1500.50", executed_value: "3001.00" };
  expect(outcome(sized, market)).toEqual({
    kind: "plain",
    title: "Partly traded",
    detail: "1,500.5 of 2,000 ETH traded, the rest was canceled.",
    inVain: false,
  });
  const funded = { ...order, funds: "10", filled_size: "0.1", executed_value: "4.20" };
  expect(outcome(funded, market).detail).toBe("4.2 of 10 USDT traded, the rest was canceled.");
});
