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
    const cost = settle("buy", found.mul(d(price)), d(rate), 8).total;
    expect(cost.cmp(d(funds))).toBeLessThanOrEqual(0);
  });
});

describe("shares and fees", () => {
  it("takes whole percents exactly", () => {
    expect(share(d("0.1"), 75).toString()).toBe("0.075");
    expect(share(d("33.33"), 100).toString()).toBe("33.33");
  });

  it("adds the fee for a buyer and takes it from a seller", () => {
    expect(settle("buy", d("200"), d("0.0025"), 2).total.toString()).toBe("200.5");
    expect(settle("sell", d("200"), d("0.0025"), 2).total.toString()).toBe("199.5");
  });

  it("rounds like the server: no fee is zero, and nobody pays less than is shown", () => {
    const texts = ({ fee, total }: ReturnType<typeof settle>) => [fee.toString(), total.toString()];
    expect(texts(settle("buy", d("0.123"), d("0.001"), 8))).toEqual(["0.000123", "0.123123"]);
    expect(texts(settle("buy", d("0.00000001"), d("0.001"), 8))).toEqual(["0.00000001", "0.00000002"]);
    expect(texts(settle("sell", d("0.12345"), d("0.001"), 4))).toEqual(["0.0002", "0.1232"]);
    expect(texts(settle("buy", d("0.12345"), d("0.001"), 4))).toEqual(["0.0002", "0.1237"]);
  });

  it("knows parts of a currency that are smaller than any price times any size", () => {
    // Prices and sizes of whole ones, and still the fee is no whole one.
    expect(settle("buy", d("3"), d("0.0025")).fee.toString()).toBe("0.0075");
    expect(settle("buy", d("0.000001"), d("0.0025")).fee.toString()).toBe("0.00000001");
    expect(beforeFee(d("1"), d("0.0025")).toString()).toBe("0.99750623");
  });

  it("finds the funds that leave room for their own fee", () => {
    const part = beforeFee(d("100"), d("0.0025"), 2);
    expect(part.toString()).toBe("99.75");
    expect(settle("buy", part, d("0.0025"), 2).total.cmp(d("100"))).toBeLessThanOrEqual(0);
  });
});
