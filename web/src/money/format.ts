/** How numbers and times look to a person. Nothing here feeds back into an amount that is sent. */
import { Decimal, placesOf } from "./decimal";

/** A number with thousands separators and exactly `places` decimals, or without `places` the decimals it came with. */
export function grouped(value: Decimal | string, places?: number): string {
  const text =
    places === undefined
      ? value.toString()
      : (typeof value === "string" ? Decimal.from(value) : value).toFixed(places);
  const [whole = "0", fraction] = text.split(".");
  const groups = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  return fraction === undefined ? groups : `${groups}.${fraction}`;
}

/** An amount with all decimals that it has, and with no fewer than `places`. */
export function whole(value: Decimal, places: number): string {
  const text = value.toString();
  return placesOf(text) < places ? value.toFixed(places) : text;
}

/** Large amounts at a glance: 1.24M, 63.1K, 812.40. */
export function compact(value: Decimal): string {
  const number = value.toApproximate();
  for (const [limit, letter] of [
    [1e9, "B"],
    [1e6, "M"],
    [1e4, "K"],
  ] as const) {
    if (Math.abs(number) >= limit) return (number / (letter === "K" ? 1e3 : limit)).toFixed(2) + letter;
  }
  return grouped(value, number !== 0 && Math.abs(number) < 1 ? 4 : 2);
}

/** Relative change from `open` to `last` in percent, or null when there is nothing to compare with. */
export function changePercent(open: string | undefined, last: string | undefined): number | null {
  const from = Decimal.from(open).toApproximate();
  if (from === 0 || !last) return null;
  return (Decimal.from(last).toApproximate() / from - 1) * 100;
}

/** A change with its sign and an arrow, so that it can be read without its colour. */
export function signedPercent(change: number | null): string {
  if (change === null) return "–";
  const rounded = Math.abs(change).toFixed(2);
  if (rounded === "0.00") return "0.00%";
  return change > 0 ? `▲ +${rounded}%` : `▼ −${rounded}%`;
}

/** The CSS class of a change. */
export function direction(change: number | null): "up" | "down" | "flat" {
  if (change === null || Math.abs(change) < 0.005) return "flat";
  return change > 0 ? "up" : "down";
}

/** "1 order", "3 orders". */
export function counted(count: number, what: string): string {
  return `${grouped(String(count))} ${what}${count === 1 ? "" : "s"}`;
}

const TIME = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const DATE = new Intl.DateTimeFormat(undefined, { month: "2-digit", day: "2-digit" });

/** Local time of day of an RFC 3339 time. */
export function timeOfDay(time: string): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "–" : TIME.format(date);
}

/** Local date and time; today's date is left out. */
export function shortTime(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "–";
  const today = date.toDateString() === new Date().toDateString();
  return today ? TIME.format(date) : `${DATE.format(date)} ${TIME.format(date)}`;
}

const LONG = new Intl.DateTimeFormat(undefined, {
  dateStyle: "medium",
  timeStyle: "short",
  hourCycle: "h23",
});

/** Local date and time with its year, for what may be long ago. */
export function longTime(time: string | number): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "–" : LONG.format(date);
}
