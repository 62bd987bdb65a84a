/** The trading view. On wide screens everything is in sight; on a phone three views share the screen. */
import { marketsError, product } from "../state/market";
import { departures } from "../state/session";
import { Activity } from "./activity";
import { Balances } from "./balances";
import { BookPanel } from "./book";
import { ChartPanel } from "./chart";
import { type View, view } from "./selection";
import { OrderTicket } from "./ticket";
import { TradesPanel } from "./trades";

const VIEWS: readonly { id: View; name: string }[] = [
  { id: "chart", name: "Chart" },
  { id: "trade", name: "Trade" },
  { id: "account", name: "Orders & funds" },
];

export function TradePage() {
  const current = product.value;
  if (!current && marketsError.value) {
    return (
      <main class="page-message">
        <div role="alert">
          <h1>The markets cannot be shown</h1>
          <p>{marketsError.value}</p>
          <p class="muted">Trying again by itself…</p>
        </div>
      </main>
    );
  }
  return (
    <>
      <main class="trade" data-view={view.value}>
        <h1 class="visually-hidden">Trade {current?.id}</h1>
        <ChartPanel />
        <BookPanel />
        <TradesPanel />
        <OrderTicket key={`${departures.value}/${current?.id}`} />
        <Activity />
        <Balances />
      </main>
      <nav class="view-bar" aria-label="Views">
        {VIEWS.map((one) => (
          <button
            key={one.id}
            type="button"
            aria-current={view.value === one.id ? "page" : undefined}
            onClick={() => {
              view.value = one.id;
            }}
          >
            {one.name}
          </button>
        ))}
      </nav>
    </>
  );
}
