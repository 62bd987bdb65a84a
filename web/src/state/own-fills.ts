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
