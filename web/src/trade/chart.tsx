/** The candle chart: history by REST, the running candle by the feed. */
import { effect, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ApiError, api } from "../api/http";
import { Decimal, placesOf } from "../money/decimal";
import { compact, direction, grouped, signedPercent } from "../money/format";
import { onTrade, pricePlaces, product, resyncs } from "../state/market";
import { load, save } from "../state/storage";
import { Tabs } from "../ui/tabs";
import { type Candle, Candles } from "./candles";
import { Drawing } from "./drawing";

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
    const drawing = new Drawing(host, placesOf(current.quote_increment), Number(range.value), (candle) => {
      shown.value = candle;
    });
    const stop = drive(drawing, current.id, Number(range.value), (message) => {
      error.value = message;
    });
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

/** Keeps a drawing up to date with history, live trades and resyncs; answers how to stop. */
function drive(
  drawing: Drawing,
  id: string,
  granularity: number,
  report: (error: string | null) => void,
): () => void {
  const candles = new Candles(granularity);
  let stopped = false;
  let exhausted = false;
  let loading = false;
  let loaded = false;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let settle: ReturnType<typeof setTimeout> | undefined;

  const fetchCandles = async (before?: number): Promise<void> => {
    if (loading) return;
    loading = true;
    clearTimeout(retry);
    try {
      const rows = await api.candles(id, granularity, before);
      if (stopped) return;
      if (before !== undefined && rows.length === 0) exhausted = true;
      if (before === undefined && !candles.joins(rows)) {
        // After a long sleep: what lies between is fetched when it comes into sight.
        candles.clear();
        exhausted = false;
      }
      candles.merge(rows);
      loaded = true;
      drawing.setAll(candles.all);
      report(null);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (stopped || loaded) return;
      report(error.message);
      retry = setTimeout(() => void fetchCandles(), 3_000);
    } finally {
      loading = false;
    }
  };

  const stopTrades = onTrade((trade) => {
    const folded = candles.add(trade);
    if (!folded) return;
    drawing.update(folded.candle);
    if (folded.opened) {
      // The finished candle is taken from the server once more: a trade may have come between history and feed.
      clearTimeout(settle);
      settle = setTimeout(() => void fetchCandles(), 2_000);
    }
  });
  const stopResync = effect(() => {
    void resyncs.value;
    void fetchCandles();
  });
  drawing.onReachStart(() => {
    const oldest = candles.oldest;
    if (oldest && loaded && !exhausted) void fetchCandles(oldest.time - granularity);
  });
  return () => {
    stopped = true;
    clearTimeout(settle);
    clearTimeout(retry);
    stopTrades();
    stopResync();
  };
}
