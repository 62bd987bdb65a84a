import { expect, test } from "vitest";
import { typedValue, Untypable } from "./setting-value";

const typed = (present: unknown, value: string) => typedValue(present, () => value);

test("an empty field is no number, and never 0", () => {
  for (const text of ["", " ", "1.5", "-1", "1e3", "x"]) {
    expect(() => typed(30, text)).toThrow(Untypable);
    expect(() => typed({ per_second: 1, burst: 2 }, text)).toThrow(Untypable);
  }
  expect(typed(30, "0")).toBe(0);
  expect(typed(30, " 250 ")).toBe(250);
  expect(typed({ per_second: 1, burst: 2 }, "5")).toEqual({ per_second: 5, burst: 5 });
});

test("a text may be empty; everything else is JSON", () => {
  expect(typed("Hello", "")).toBe("");
  expect(typed(["a"], '["b"]')).toEqual(["b"]);
  expect(() => typed(["a"], "b")).toThrow(Untypable);
});
