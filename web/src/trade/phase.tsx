import type { Product } from "../api/types";
import { placesOf } from "../money/decimal";
import { grouped } from "../money/format";
import { span, useTimeLeft } from "../state/clock";
import { venueStopped } from "../state/market";

/** What a trader must know before an order: that the market does not trade as usual. Nothing when it does. */
export function MarketPhase({ market }: { market: Product }) {
  if (market.auction) return <AuctionNote market={market} ends={market.auction.ends_at} />;
  const text = restriction(market);
  return text ? (
    <p class="phase" role="status">
      {text}
    </p>
  ) : null;
}

function restriction(market: Product): string | null {
  if (venueStopped.value) return "Trading is stopped.";
  if (market.trading_disabled) return "Trading is stopped in this market.";
  if (market.cancel_only) return "This market takes cancels only.";
  if (market.post_only) return "This market takes post-only orders only.";
  if (market.limit_only) return "This market takes limit orders only.";
  return null;
}

function AuctionNote({ market, ends }: { market: Product; ends: string }) {
  const left = useTimeLeft(ends);
  const price = market.auction?.indicative_price;
  return (
    <p class="phase">
      <strong>Call auction</strong> Limit orders are gathered; all trade at one price{" "}
      {left > 0 ? `in ${span(left)}` : "now"}.{" "}
      {price &&
        `As it stands at ${grouped(price, placesOf(market.quote_increment))} ${market.quote_currency}.`}
    </p>
  );
}
