import { describe, expect, it } from "vitest";
import { Decimal, placesOf } from "./decimal";

const d = (text: string): Decimal => {
  const value = Decimal.parse(text);
  if (!value) throw new Error(`not a decimal: ${text}`);
  return value;
};

describe("parse", () => {
  it.each([
    ["0", "0"],
    ["12", "12"],
    ["007.50", "7.5"],
    [".5", "0.5"],
    ["5.", "5"],
    ["-3.10", "-3.1"],
    ["+1", "1"],
    [" 2.5 ", "2.5"],
    ["-0", "0"],
    ["123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"],
  ])("%j is %s", (text, expected) => expect(d(text).toString()).toBe(expected));

  it.each(["", " ", ".", "-", "1e5", "1,000", "--1", "0x10", "NaN", "Infinity", "1.2.3", "1 2"])(
    "refuses %j",
    (text) => expect(Decimal.parse(text)).toBeNull(),
  );

  it("reads a missing value of the server as zero", () => {
    expect(Decimal.from(undefined).isZero()).toBe(true);
    expect(Decimal.from("oops").isZero()).toBe(true);
  });
});

describe("arithmetic", () => {
  it("is exact where floats are not", () => {
    expect(d("0.1").add(d("0.2")).toString()).toBe("0.3");
    expect(d("0.3").sub(d("0.1")).toString()).toBe("0.2");
    expect(d("1.005").mul(d("100")).toString()).toBe("100.5");
    expect(d("90071992547409.93").mul(d("1000.01")).toString()).toBe("90072893267335404.0993");
  });

  it.each([
    ["1", "3", 4, "0.3333"],
    ["-1", "3", 4, "-0.3334"],
    ["10", "0.25", 0, "40"],
    ["0.000001", "1000", 8, "0"],
    ["1000", "0.003", 2, "333333.33"],
  ])("%s / %s with %i places is %s", (a, b, places, expected) =>
    expect(d(a).divFloor(d(b), places).toString()).toBe(expected),
  );

  it.each([
    ["1.2345", "0.01", "1.23", "1.24"],
    ["1.23", "0.01", "1.23", "1.23"],
    ["7", "5", "5", "10"],
    ["-1.2345", "0.01", "-1.24", "-1.23"],
    ["0.3", "0.25", "0.25", "0.5"],
  ])("%s in steps of %s lies between %s and %s", (value, step, floor, ceil) => {
    expect(d(value).floorTo(d(step)).toString()).toBe(floor);
    expect(d(value).ceilTo(d(step)).toString()).toBe(ceil);
  });

  it("compares across scales", () => {
    expect(d("1.0").cmp(d("1"))).toBe(0);
    expect(d("1.01").cmp(d("1.1"))).toBe(-1);
    expect(d("-1").cmp(d("-2"))).toBe(1);
  });
});

describe("notation", () => {
  it.each([
    ["1.5", 2, "1.50"],
    ["1.999", 2, "1.99"],
    ["-1.999", 2, "-1.99"],
    ["-0.001", 2, "0.00"],
    ["0.05", 0, "0"],
    ["1234", 3, "1234.000"],
  ])("%s with %i places is %s", (value, places, expected) => expect(d(value).toFixed(places)).toBe(expected));

  it("keeps the zeros of whole numbers", () => {
    expect(d("100").toString()).toBe("100");
    expect(d("100.00").toString()).toBe("100");
  });

  it("counts the decimals of an increment", () => {
    expect([placesOf("0.01"), placesOf("1"), placesOf("0.00001000"), placesOf("10.0")]).toEqual([2, 0, 5, 0]);
  });
});
