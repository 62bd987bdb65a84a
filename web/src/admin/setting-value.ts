/** Values of settings as they are typed. */

export interface Limit {
  per_second: number;
  burst: number;
}

export function isLimit(value: unknown): value is Limit {
  return typeof value === "object" && value !== null && "per_second" in value && "burst" in value;
}

/** What was typed is no value of that kind; says why. */
export class Untypable extends Error {}

/** A whole number from 0 on. An empty field is none: `Number("")` would make it 0, which often stands for "no limit". */
function whole(text: string): number {
  const digits = text.trim();
  if (!/^\d{1,15}$/.test(digits)) throw new Untypable("Write a whole number, 0 or above.");
  return Number(digits);
}

/**
 * The value that the fields of a setting's form say, of the kind that it has at present.
 *
 * @throws Untypable
 */
export function typedValue(present: unknown, text: (field: string) => string): unknown {
  if (isLimit(present)) return { per_second: whole(text("per_second")), burst: whole(text("burst")) };
  if (typeof present === "number") return whole(text("value"));
  if (typeof present === "string") return text("value");
  try {
    return JSON.parse(text("value")) as unknown;
  } catch {
    throw new Untypable("The value of this setting is written in JSON.");
  }
}
