/** Own fills as pages of them come. What was filled stays so, and need not be asked for again. */
import type { Fill } from "../api/types";

const same = (one: Fill, other: Fill): boolean =>
  one.trade_id === other.trade_id && one.order_id === other.order_id;

/** The newest page, and behind it the known ones that are older; null when there may be others between the two. */
export function joined(newest: readonly Fill[], known: readonly Fill[]): Fill[] | null {
  const last = newest.at(-1);
  const at = last ? known.findIndex((one) => same(one, last)) : -1;
  return at < 0 ? null : [...newest, ...known.slice(at + 1)];
}

/**
 * The newest `most` of a list, newest first, and the cursor of the page before them; null when nothing was left out. The
 * fills of one trade stay together, as the cursor is a trade.
 */
export function newestOf(list: Fill[], most: number): { kept: Fill[]; after: string | null } {
  const last = list[most - 1];
  if (!last || list.length === most) return { kept: list, after: null };
  const kept = list.filter((fill, index) => index < most || fill.trade_id === last.trade_id);
  return { kept, after: kept.length < list.length ? String(last.trade_id) : null };
}
