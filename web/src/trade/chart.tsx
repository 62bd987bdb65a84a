/** The candle chart: history by REST, the running candle by the feed. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { api } from "../api/http";
import { Decimal, placesOf } from "../money/decimal";
import { compact, direction, grouped, signedPercent } from "../money/format";
import { onTrade, pricePlaces, product, resyncs } from "../state/market";
import { load, save } from "../state/storage";
import { Tabs } from "../ui/tabs";
import type { Candle } from "./candles";
import { Drawing } from "./drawing";
import { keepDrawn } from "./live-candles";

const RANGES = [
  { id: "60", name: "1m" },
  { id: "300", name: "5m" },
  { id: "900", name: "15m" },
  { id: "3600", name: "1h" },
  { id: "21600", name: "6h" },
  { id: "86400", name: "1D" },
] as const;
type Range = (typeof RANGES)[number]["id"];

export function ChartPanel() {
  const stored = load<string>("range");
  const range = useSignal<Range>(RANGES.find((one) => one.id === stored)?.id ?? "60");
  const shown = useSignal<Candle | null>(null);
  const error = useSignal<string | null>(null);
  const element = useRef<HTMLDivElement>(null);
  const current = product.value;

  useEffect(() => {
    const host = element.current;
    if (!host || !current) return;
    const granularity = Number(range.value);
    const drawing = new Drawing(host, placesOf(current.quote_increment), granularity, (candle) => {
      shown.value = candle;
    });
    const rows = (seconds: number, before?: number) => api.candles(current.id, seconds, before);
    const stop = keepDrawn(
      drawing,
      granularity,
      { latest: rows, older: rows, onTrade, resyncs },
      (message) => {
        error.value = message;
      },
    );
    return () => {
      stop();
      drawing.remove();
    };
  }, [current?.id, range.value]);

  return (
    <section class="panel chart-panel" aria-label="Price chart">
      <div class="panel-head">
        <Tabs
          label="Candle length"
          class="tabs ranges"
          tabs={RANGES}
          selected={range.value}
          onSelect={(id) => {
            range.value = id;
            save("range", id);
          }}
        />
        <a
          class="attribution"
          href="https://www.tradingview.com/"
          target="_blank"
          rel="noopener noreferrer"
          title="TradingView Lightweight Charts™. Copyright © 2025 TradingView, Inc."
        >
          TradingView Lightweight Charts™ © 2025 TradingView, Inc.
        </a>
      </div>
      <div class="chart-area">
        <Legend candle={shown.value} />
        <div class="chart-host" ref={element} />
        {error.value && (
          <p class="chart-error" role="alert">
            {error.value}
          </p>
        )}
      </div>
    </section>
  );
}

function Legend({ candle }: { candle: Candle | null }) {
  const places = pricePlaces.value;
  const change = candle && candle.open !== 0 ? (candle.close / candle.open - 1) * 100 : null;
  const way = direction(change);
  const figure = (value: number | undefined): string =>
    value === undefined ? "–" : grouped(value.toFixed(places), places);
  return (
    <div class="legend" aria-hidden="true">
      {(["open", "high", "low", "close"] as const).map((name) => (
        <span key={name}>
          {name[0]?.toUpperCase()} <b class={way}>{figure(candle?.[name])}</b>
        </span>
      ))}
      <span>
        V <b class={way}>{candle ? compact(Decimal.from(candle.volume.toFixed(8))) : "–"}</b>
      </span>
      <span class={way}>{signedPercent(change)}</span>
    </div>
  );
}
