import { expect, test } from "vitest";
import { typedNumber } from "./typed";

// [raw, typed and pasted where the point is a point, typed and pasted where it is a comma]
const CASES: [string, string, string, string, string][] = [
  ["", "", "", "", ""],
  ["1234.5", "1234.5", "1234.5", "1234.5", "1234.5"],
  ["$ 12 USDT", "12", "12", "12", "12"],
  ["-5", "5", "5", "5", "5"],
  ["1,234.56", "1234.56", "1234.56", "1234.56", "1234.56"],
  ["1.234,56", "1.23456", "1234.56", "1.23456", "1234.56"],
  ["1.234.567,89", "1.234.56789", "1234567.89", "1.234.56789", "1234567.89"],
  ["1,234,567", "1234567", "1234567", "1234567", "1234567"],
  ["1,234", "1234", "1234", "1.234", "1234"],
  ["12,5", "125", "125", "12.5", "12.5"],
  ["1,2345", "12345", "12345", "1.2345", "1.2345"],
  ["0,5", "0.5", "0.5", "0.5", "0.5"],
  ["0,125", "0.125", "0.125", "0.125", "0.125"],
  [",5", ".5", ".5", ".5", ".5"],
  ["5,", "5", "5", "5.", "5."],
  // Numbers as programs write them; typed, the letter can only be a slip.
  ["1e-05", "", "0.00001", "", "0.00001"],
  ["1.5E+3", "", "1500", "", "1500"],
  ["2.e1 BTC", "", "20", "", "20"],
  ["-.25e−1", "", "0.025", "", "0.025"],
  ["1,5E-05", "", "", "", "0.000015"],
  ["1,234.5e3", "", "", "", ""],
  ["1e2e3", "", "", "", ""],
  ["1 e -5", "", "", "", ""],
  ["1e400", "", "", "", ""],
  ["12 euro", "12", "12", "12", "12"],
];

test.each(CASES)("%j", (raw, typed, pasted, typedComma, pastedComma) => {
  expect(typedNumber(raw, false, false)).toBe(typed);
  expect(typedNumber(raw, true, false)).toBe(pasted);
  expect(typedNumber(raw, false, true)).toBe(typedComma);
  expect(typedNumber(raw, true, true)).toBe(pastedComma);
});
