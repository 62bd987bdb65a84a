/**
 * The text of a number field as a plain decimal: digits and points.
 *
 * A comma is the decimal point in half of the world and groups thousands in the other, and must never make an amount a
 * thousand times another. A number that was pasted may be grouped; nobody types the groups where the comma is the
 * point. `decimalComma`: the user's place writes its decimals with a comma.
 */
export function typedNumber(raw: string, pasted: boolean, decimalComma: boolean): string {
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
