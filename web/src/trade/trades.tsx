import { grouped, timeOfDay } from "../money/format";
import { pricePlaces, product, sizePlaces, trades, tradesLoaded } from "../state/market";

/** The latest trades, newest first, coloured by the direction of the taker. */
export function TradesPanel() {
  const current = product.value;
  return (
    <section class="panel trades-panel" aria-label="Recent trades">
      <div class="panel-head">
        <h2>Recent trades</h2>
      </div>
      <div class="columns trade-columns" aria-hidden="true">
        <span>Price ({current?.quote_currency ?? "–"})</span>
        <span>Size ({current?.base_currency ?? "–"})</span>
        <span>Time</span>
      </div>
      <div class="trades-area" role="list" aria-label="Trades">
        {trades.value.map((trade) => {
          const bought = trade.side === "sell";
          return (
            <div key={trade.trade_id} role="listitem" class="trade-row">
              <span class={bought ? "up" : "down"}>
                <b aria-hidden="true">{bought ? "▲" : "▼"}</b>
                <span class="visually-hidden">{bought ? "Buy " : "Sell "}</span>
                {grouped(trade.price, pricePlaces.value)}
              </span>
              <span>{grouped(trade.size, sizePlaces.value)}</span>
              <span class="muted">{timeOfDay(trade.time)}</span>
            </div>
          );
        })}
        {trades.value.length === 0 && (
          <p class="empty">{tradesLoaded.value ? "No trades yet." : "Loading…"}</p>
        )}
      </div>
    </section>
  );
}
