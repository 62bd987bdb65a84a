import { describe, expect, it } from "vitest";
import { Decimal } from "../money/decimal";
import { affordable, beforeFee, settle, share } from "./estimate";

const d = Decimal.from;

describe("affordable", () => {
  it.each([
    ["100", "10", "0", "0.001", "10"],
    ["100", "10", "0.002", "0.001", "9.98"],
    ["100000", "63123.45", "0.0025", "0.00001", "1.58024"],
    ["1", "10", "0", "1", "0"],
    ["100", "0", "0", "1", "0"],
  ])("%s buys at %s with fee %s in lots of %s: %s", (funds, price, rate, lot, size) => {
    const found = affordable(d(funds), d(price), d(rate), d(lot));
    expect(found.toString()).toBe(size);
    const cost = settle("buy", found.mul(d(price)), d(rate)).total;
    expect(cost.cmp(d(funds))).toBeLessThanOrEqual(0);
  });
});

describe("shares and fees", () => {
  it("takes whole percents exactly", () => {
    expect(share(d("0.1"), 75).toString()).toBe("0.075");
    expect(share(d("33.33"), 100).toString()).toBe("33.33");
  });

  it("adds the fee for a buyer and takes it from a seller", () => {
    expect(settle("buy", d("200"), d("0.0025")).total.toString()).toBe("200.5");
    expect(settle("sell", d("200"), d("0.0025")).total.toString()).toBe("199.5");
  });

  it("finds the funds that leave room for their own fee", () => {
    const part = beforeFee(d("100"), d("0.0025"), 2);
    expect(part.toString()).toBe("99.75");
    expect(settle("buy", part, d("0.0025")).total.cmp(d("100"))).toBeLessThanOrEqual(0);
  });
});
