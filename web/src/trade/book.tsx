/** The live order book: asks above, the spread in the middle, bids below, with depth as bars. */
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import type { Side } from "../api/types";
import type { Row } from "../feed/book";
import { Decimal, placesOf } from "../money/decimal";
import { changePercent, direction, grouped } from "../money/format";
import { ownPrices } from "../state/account";
import { book, bookVersion, pricePlaces, product, sizePlaces, tickerOf, trades } from "../state/market";
import { picked, view } from "./selection";

const ROW_HEIGHT = 21;
const MIDDLE_HEIGHT = 40;

export function BookPanel() {
  const area = useRef<HTMLDivElement>(null);
  const rows = useSignal(12);
  const factor = useSignal(1);
  const current = product.value;

  // As many rows as fit, so that the panel is always full and never scrolls.
  useLayoutEffect(() => {
    const element = area.current;
    if (!element) return;
    const measure = (): void => {
      const room = element.clientHeight - MIDDLE_HEIGHT;
      if (room > 0) rows.value = Math.max(3, Math.floor(room / 2 / ROW_HEIGHT));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const tick = Decimal.from(current?.quote_increment ?? "0.01");
  const steps = useMemo(
    () => [1, 10, 100, 1000].map((times) => ({ times, step: tick.mul(Decimal.of(BigInt(times), 0)) })),
    [current?.quote_increment],
  );
  const step = (steps.find((one) => one.times === factor.value) ?? steps[0])?.step ?? tick;

  return (
    <section class="panel book-panel" aria-label="Order book">
      <div class="panel-head">
        <h2>Order book</h2>
        <select
          class="mini-select"
          aria-label="Price grouping"
          value={factor.value}
          onChange={(event) => {
            factor.value = Number(event.currentTarget.value);
          }}
        >
          {steps.map((one) => (
            <option key={one.times} value={one.times}>
              {one.step.toString()}
            </option>
          ))}
        </select>
      </div>
      <div class="columns book-columns" aria-hidden="true">
        <span>Price ({current?.quote_currency ?? "–"})</span>
        <span>Size ({current?.base_currency ?? "–"})</span>
        <span>Total</span>
      </div>
      <div class="book-area" ref={area}>
        <Sides count={rows.value} step={step} />
      </div>
    </section>
  );
}

function Sides({ count, step }: { count: number; step: Decimal }) {
  // Reading the version subscribes to the book, which itself changes in place.
  void bookVersion.value;
  const asks = book.rows("sell", count, step);
  const bids = book.rows("buy", count, step);
  const deepest = [asks.at(-1)?.total, bids.at(-1)?.total].reduce<Decimal>(
    (most, total) => (total && total.cmp(most) > 0 ? total : most),
    Decimal.ZERO,
  );
  return (
    <>
      <Half side="sell" rows={asks} count={count} step={step} deepest={deepest} />
      <Middle />
      <Half side="buy" rows={bids} count={count} step={step} deepest={deepest} />
    </>
  );
}

interface HalfProps {
  side: Side;
  rows: Row[];
  count: number;
  step: Decimal;
  deepest: Decimal;
}

function Half({ side, rows, count, step, deepest }: HalfProps) {
  const places = Math.min(pricePlaces.value, Math.max(placesOf(step.toString()), 0));
  const full = deepest.toApproximate() || 1;
  const own = ownPrices.value[side];
  const owned = new Set(
    [...own].map((price) => {
      const exact = Decimal.from(price);
      return (side === "buy" ? exact.floorTo(step) : exact.ceilTo(step)).toFixed(places);
    }),
  );
  const shown = side === "sell" ? [...rows].reverse() : rows;
  return (
    <div
      class={`book-half ${side}`}
      role="table"
      aria-label={side === "sell" ? "Asks" : "Bids"}
      style={{ height: `${count * ROW_HEIGHT}px` }}
    >
      {shown.map((row) => {
        const price = row.price.toFixed(places);
        const mine = owned.has(price);
        return (
          // biome-ignore lint/a11y/useKeyWithClickEvents: a shortcut of the mouse; the ticket's Bid, Mid and Ask buttons and the arrow keys in its price field do the same.
          <div
            key={price}
            role="row"
            tabIndex={-1}
            class={mine ? "book-row mine" : "book-row"}
            title={mine ? "You have an open order here" : undefined}
            onClick={() => {
              picked.value = { price };
              view.value = "trade";
            }}
          >
            <i class="depth" style={{ transform: `scaleX(${row.total.toApproximate() / full})` }} />
            <span role="cell" class="price">
              {grouped(price, places)}
            </span>
            <span role="cell">{row.size.toFixed(sizePlaces.value)}</span>
            <span role="cell">{row.total.toFixed(Math.min(4, sizePlaces.value))}</span>
          </div>
        );
      })}
    </div>
  );
}

function Middle() {
  const current = product.value;
  const latest = trades.value[0];
  const ticker = current ? tickerOf(current.id).value : null;
  const last = latest?.price ?? ticker?.last;
  const bid = book.best("buy");
  const ask = book.best("sell");
  const spread = bid && ask ? ask.sub(bid) : null;
  const percent = bid && ask ? changePercent(bid.toString(), ask.toString()) : null;
  // The maker's side: a resting sell means that the taker bought.
  const way = latest ? (latest.side === "sell" ? "up" : "down") : direction(null);
  return (
    <div class="book-middle">
      <strong class={way}>
        {way === "up" ? "▲ " : way === "down" ? "▼ " : ""}
        {last ? grouped(last, pricePlaces.value) : "–"}
      </strong>
      <span>
        {book.crossed() ? (
          "Crossed"
        ) : (
          <>
            Spread {spread ? grouped(spread, pricePlaces.value) : "–"}
            {percent === null ? "" : ` (${percent.toFixed(3)}%)`}
          </>
        )}
      </span>
    </div>
  );
}
