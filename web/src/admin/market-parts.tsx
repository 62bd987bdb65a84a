/** What the list of markets and the page of one have in common. */
import type { AuditRow } from "../api/admin";
import type { MarketRules } from "../api/admin-markets";
import { longTime } from "../money/format";
import { span, useTimeLeft } from "../state/clock";
import { badgesOf } from "./market-state";

/** What goes on in a market; of an auction also for how long. */
export function State({ market }: { market: MarketRules }) {
  return (
    <span class="badges">
      {badgesOf(market, market.state).map((badge) => (
        <span key={badge.name} class={`badge ${badge.kind}`} title={badge.about || undefined}>
          {badge.name}
          {badge.name === "auction" && market.auction && (
            <>
              {" · "}
              <TimeLeft to={market.auction.ends_at} />
            </>
          )}
        </span>
      ))}
    </span>
  );
}

export function TimeLeft({ to }: { to: string }) {
  const left = useTimeLeft(to);
  return <time dateTime={to}>{left > 0 ? span(left) : "ending"}</time>;
}

/** Who stopped trading, when and why, as far as the audit log knows. */
export function StoppedBy({ row }: { row: AuditRow | null }) {
  if (!row) return null;
  const { reason } = (row.detail ?? {}) as { reason?: string };
  return (
    <small>
      {longTime(row.at)} by {row.actor_email ?? row.actor ?? "the server"}
      {reason ? `: ${reason}` : ", without a reason"}
    </small>
  );
}
