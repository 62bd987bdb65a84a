import { expect, test } from "vitest";
import { percentOf, shareOf } from "./percent";

test("shares and percents, exactly and back", () => {
  for (const [share, percent] of [
    ["0.0025", "0.25"],
    ["0.001", "0.1"],
    ["0.000001", "0.0001"],
    ["0.1", "10"],
    ["1", "100"],
    ["0", "0"],
  ] as const) {
    expect(percentOf(share)).toBe(percent);
    expect(shareOf(percent)).toBe(share);
  }
});

test("what is no number is left to the server", () => {
  expect(shareOf("a lot")).toBe("a lot");
  expect(shareOf("")).toBe("");
  expect(shareOf("1e3")).toBe("1e3");
});
