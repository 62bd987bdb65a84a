import { expect, test } from "vitest";
import { draftOf, type Fields } from "./draft";

const fields: Fields = {
  side: "buy",
  kind: "limit",
  unit: "quote",
  price: "10",
  size: "1",
  lifetime: "GTC",
  postOnly: false,
};
const draft = (changed: Partial<Fields>) => draftOf("ETH-USDT", { ...fields, ...changed });

test("numbers go to the server in plain notation, however they were typed", () => {
  expect(draft({ price: "5.", size: ".5" })).toEqual({
    product_id: "ETH-USDT",
    side: "buy",
    type: "limit",
    price: "5",
    size: "0.5",
    time_in_force: "GTC",
  });
  expect(draft({ price: "007.50", size: "1.2.3" })).toMatchObject({ price: "7.5", size: "1.2.3" });
});

test("a market order is given in one of the two currencies, and carries nothing else", () => {
  const market = { side: "sell", kind: "market", size: ".10", postOnly: true } as const;
  const about = { product_id: "ETH-USDT", side: "sell", type: "market" };
  expect(draft({ ...market, unit: "quote" })).toEqual({ ...about, funds: "0.1" });
  expect(draft({ ...market, unit: "base" })).toEqual({ ...about, size: "0.1" });
});

test("a lifetime is a force and perhaps a time; what never rests cannot be post-only", () => {
  expect(draft({ lifetime: "GTT:hour", postOnly: true })).toMatchObject({
    time_in_force: "GTT",
    cancel_after: "hour",
    post_only: true,
  });
  expect(draft({ lifetime: "IOC", postOnly: true })).not.toHaveProperty("post_only");
});
