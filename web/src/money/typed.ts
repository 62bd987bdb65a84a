/**
 * The text of a number field as a plain decimal: digits and points.
 *
 * A comma is the decimal point in half of the world and groups thousands in the other, and must never make an amount a
 * thousand times another. A number that was pasted may be grouped; nobody types the groups where the comma is the
 * point. Programs write small numbers with an exponent ("1e-05"): what was pasted so is written out, and what cannot be
 * is no number, as its digits alone would be another one. `decimalComma`: the user's place writes its decimals with a
 * comma.
 */
import { Decimal } from "./decimal";

export function typedNumber(raw: string, pasted: boolean, decimalComma: boolean): string {
  // Nobody can type an exponent, as its letter vanishes at once: this is a slip within a number, or a paste that does not
  // say so.
  if (HAS_EXPONENT.test(raw)) return pasted ? writtenOut(raw, decimalComma) : "";
  const text = raw.replace(/[^\d.,]/g, "");
  if (!text.includes(",")) return text;
  if (text.includes(".")) {
    return pasted && text.lastIndexOf(",") > text.lastIndexOf(".")
      ? pointed(text.replaceAll(".", ""))
      : ungrouped(text);
  }
  const several = text.indexOf(",") !== text.lastIndexOf(",");
  // No grouped number begins with a zero.
  const grouped = pasted && /^[1-9]\d{0,2}(,\d{3})+$/.test(text);
  const foreign = !decimalComma && !/^0?,/.test(text);
  return several || grouped || foreign ? ungrouped(text) : pointed(text);
}

const ungrouped = (text: string): string => text.replaceAll(",", "");
const pointed = (text: string): string => text.replaceAll(",", ".");

/** A digit and another one that are parted by the letter of an exponent, and perhaps its sign. */
const HAS_EXPONENT = /\d[.,]?\s*e\s*[+\-−]?\s*\d/i;
/** A whole number with an exponent, and what may stand around it: a sign, a currency. */
const WITH_EXPONENT = /^\D*?(\d*[.,]?\d+|\d+[.,])e([+\-−]?)(\d+)\D*$/i;
/** No amount needs more decimals or zeros than this. */
const MOST_PLACES = 30;

/** A number with an exponent in plain notation, exactly; empty when it is none, or out of all proportion. */
function writtenOut(raw: string, decimalComma: boolean): string {
  const [, digits = "", sign, power] = WITH_EXPONENT.exec(raw) ?? [];
  const mantissa = Decimal.parse(decimalComma ? pointed(digits) : digits);
  const places = Number(power);
  if (!mantissa || places > MOST_PLACES) return "";
  const factor = sign === "" || sign === "+" ? Decimal.of(10n ** BigInt(places), 0) : Decimal.of(1n, places);
  return mantissa.mul(factor).toString();
}
