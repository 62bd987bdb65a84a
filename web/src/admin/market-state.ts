/** What goes on in a market, in words for those who run it. */

import type { AuditRow } from "../api/admin";
import type { MarketState } from "../api/admin-markets";
import type { Product } from "../api/types";

export interface Badge {
  name: string;
  kind: "good" | "warn" | "bad";
  about: string;
}

/** What a market takes by its rules, from the most to the least: in a word, as a choice, and as the end of a sentence. */
export const STATES: readonly { id: MarketState; name: string; choice: string; about: string }[] = [
  { id: "online", name: "online", choice: "Every order", about: "takes every order" },
  { id: "limit_only", name: "limit only", choice: "Limit orders only", about: "takes limit orders only" },
  {
    id: "post_only",
    name: "post only",
    choice: "Post-only orders only",
    about: "takes orders only that rest in the book",
  },
  { id: "cancel_only", name: "cancel only", choice: "Cancels only", about: "takes no orders, only cancels" },
  {
    id: "halted",
    name: "halted",
    choice: "Nothing, not even cancels",
    about: "takes nothing, not even cancels",
  },
];

const REASONS: Record<string, string> = {
  volatility_halt: "A price moved too far.",
  auction_asked: "An administrator began it.",
  kill_switch: "The kill switch is engaged.",
};

/** Why the phase is what it is, as a sentence; empty when there is nothing to say. */
export function reasonOf(one: Product): string {
  return REASONS[one.phase_reason ?? ""] ?? "";
}

/** The state by the flags of the dialect, for who has not seen the rules. */
function stateOf(one: Product): MarketState {
  if (one.cancel_only) return "cancel_only";
  if (one.post_only) return "post_only";
  if (one.limit_only) return "limit_only";
  return one.trading_disabled && one.phase !== "stopped" && one.status === "online" ? "halted" : "online";
}

/** Phase and state of a market, what matters most first. Never empty. */
export function badgesOf(one: Product, state: MarketState = stateOf(one)): Badge[] {
  const badges: Badge[] = [];
  if (one.status !== "online") {
    badges.push({ name: "fault", kind: "bad", about: one.status_message || "an entry stopped it" });
  }
  if (one.phase === "stopped") badges.push({ name: "stopped", kind: "bad", about: reasonOf(one) });
  if (one.phase === "auction") badges.push({ name: "auction", kind: "warn", about: reasonOf(one) });
  const shown = STATES.find((each) => each.id === state);
  if (shown && state !== "online") {
    badges.push({ name: shown.name, kind: state === "halted" ? "bad" : "warn", about: shown.about });
  }
  return badges.length > 0 ? badges : [{ name: "trading", kind: "good", about: "takes every order" }];
}

/**
 * The row of the audit log that stopped this market, or without a market the whole venue; of rows of kill switches,
 * newest first. Null when the newest of them lets it trade.
 */
export function stopOf(rows: readonly AuditRow[], market: string | null): AuditRow | null {
  const detail = (row: AuditRow) => (row.detail ?? {}) as Record<string, unknown>;
  const newest = rows.find((row) => {
    const { scope, product_id } = detail(row);
    return scope === "venue" || (market !== null && scope === "market" && product_id === market);
  });
  return newest && detail(newest).engaged === true ? newest : null;
}
