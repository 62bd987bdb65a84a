import { describe, expect, it } from "vitest";
import { Decimal } from "./decimal";
import { changePercent, compact, counted, direction, grouped, signedPercent, whole } from "./format";

describe("numbers for people", () => {
  it("groups thousands and leaves decimals alone", () => {
    expect(grouped("1234567.1234567")).toBe("1,234,567.1234567");
    expect(grouped("-1234.5", 2)).toBe("-1,234.50");
    expect(grouped("999", 0)).toBe("999");
    expect(grouped("51731.10")).toBe("51,731.10");
    expect(grouped(Decimal.from("51731.10"))).toBe("51,731.1");
  });

  it("cuts nothing off an amount, and fills up to its usual decimals", () => {
    expect(["12", "12.5", "12.34567800", "0.00000001"].map((text) => whole(Decimal.from(text), 2))).toEqual([
      "12.00",
      "12.50",
      "12.345678",
      "0.00000001",
    ]);
    expect(whole(Decimal.from("100"), 0)).toBe("100");
  });

  it("counts things", () => {
    expect([0, 1, 1200].map((count) => counted(count, "order"))).toEqual([
      "0 orders",
      "1 order",
      "1,200 orders",
    ]);
  });

  it.each([
    ["1240000", "1.24M"],
    ["63100", "63.10K"],
    ["5200000000", "5.20B"],
    ["812.4", "812.40"],
    ["0.01234", "0.0123"],
    ["0", "0.00"],
  ])("%s at a glance is %s", (value, expected) => expect(compact(Decimal.from(value))).toBe(expected));

  it("says the direction of a change by sign and arrow", () => {
    expect(signedPercent(changePercent("100", "101.5"))).toBe("▲ +1.50%");
    expect(signedPercent(changePercent("100", "99"))).toBe("▼ −1.00%");
    expect(signedPercent(changePercent("100", "100"))).toBe("0.00%");
    expect(signedPercent(changePercent("0", "100"))).toBe("–");
    expect([direction(1), direction(-1), direction(0), direction(null)]).toEqual([
      "up",
      "down",
      "flat",
      "flat",
    ]);
  });
});
