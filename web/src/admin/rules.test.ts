import { expect, test } from "vitest";
import type { MarketRules } from "../api/admin-markets";
import { changesOf, GROUPS, sizesOf, textOf } from "./rules";

const rules: MarketRules = {
  id: "BTC-USDT",
  base_currency: "BTC",
  quote_currency: "USDT",
  base_increment: "0.000001",
  quote_increment: "0.01",
  status: "online",
  state: "online",
  maker_fee_rate: "0.001",
  taker_fee_rate: "0.002",
  min_size: "0.0001",
  max_size: "10000",
  min_funds: "1",
  max_funds: "1000000000",
  max_open_orders: 10000,
  reference_price: null,
  halt: "0.05",
  halt_window_ms: 300_000,
  auction_ms: 1_500,
};
const fields = GROUPS.flatMap((group) => group.fields);

test("rules are written in percent and seconds", () => {
  const texts = Object.fromEntries(fields.map((field) => [field.name, textOf(rules, field)]));
  expect(texts).toMatchObject({
    maker_fee_rate: "0.1",
    halt: "5",
    halt_window_ms: "300",
    auction_ms: "1.5",
    price_band: "",
    reference_price: "",
    max_open_orders: "10000",
  });
  expect(changesOf(texts, rules)).toEqual({});
});

test("only what differs is sent, as the server writes it", () => {
  const texts = { maker_fee_rate: "0.25", taker_fee_rate: "0.2", auction_ms: "90", max_open_orders: "50" };
  expect(changesOf(texts, rules)).toEqual({
    maker_fee_rate: "0.0025",
    auction_ms: 90_000,
    max_open_orders: 50,
  });
});

test("an empty field takes away what can be taken away, and says nothing otherwise", () => {
  expect(changesOf({ halt: "", min_size: "" }, rules)).toEqual({ halt: "0" });
  expect(changesOf({ halt: "", price_band: " ", maker_fee_rate: "" }, null)).toEqual({});
  expect(changesOf({ halt: "5", min_size: "0.01" }, null)).toEqual({ halt: "0.05", min_size: "0.01" });
});

test("sizes from the least to the most, if there is one", () => {
  expect(sizesOf(rules)).toBe("0.0001 – 10K");
  expect(sizesOf({ ...rules, max_size: "12.5" })).toBe("0.0001 – 12.50");
  expect(sizesOf({ ...rules, base_increment: "0.01", max_size: "2814749767106.55" })).toBe("0.0001 and more");
});
