import { effect } from "@preact/signals";
import {
  CandlestickSeries,
  createChart,
  HistogramSeries,
  type IChartApi,
  type IPriceLine,
  type ISeriesApi,
  LineStyle,
  type UTCTimestamp,
} from "lightweight-charts";
import { openOrders } from "../state/account";
import { product } from "../state/market";
import { theme } from "../state/theme";
import type { Candle } from "./candles";
import { timeLabels } from "./time-axis";

const DAY = 86_400;

const startOf = (candle: Candle): UTCTimestamp => candle.time as UTCTimestamp;

/** The chart library behind the few verbs that this page needs. */
export class Drawing {
  private readonly chart: IChartApi;
  private readonly candles: ISeriesApi<"Candlestick">;
  private readonly volume: ISeriesApi<"Histogram">;
  private readonly byTime = new Map<number, Candle>();
  private newest: Candle | null = null;
  private hovering = false;
  private lines: IPriceLine[] = [];
  private readonly stops: (() => void)[] = [];
  private colors = { up: "", down: "", upSoft: "", downSoft: "" };

  constructor(
    host: HTMLElement,
    places: number,
    granularity: number,
    private readonly show: (candle: Candle | null) => void,
  ) {
    const labels = timeLabels(granularity);
    this.chart = createChart(host, {
      autoSize: true,
      layout: { attributionLogo: false, fontSize: 11 },
      crosshair: { mode: 0 },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.12, bottom: 0.24 } },
      timeScale: {
        borderVisible: false,
        timeVisible: granularity < DAY,
        secondsVisible: false,
        rightOffset: 6,
        barSpacing: 8,
        tickMarkFormatter: labels.mark,
      },
      localization: { timeFormatter: labels.moment },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, {
      borderVisible: false,
      priceFormat: { type: "price", precision: places, minMove: 1 / 10 ** places },
    });
    this.volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.chart.subscribeCrosshairMove((move) => {
      const found = typeof move.time === "number" ? this.byTime.get(move.time) : undefined;
      this.hovering = found !== undefined;
      this.show(found ?? this.newest);
    });
    this.stops.push(effect(() => this.paint(theme.value)));
    this.stops.push(effect(() => this.markOrders()));
  }

  setAll(all: readonly Candle[]): void {
    this.byTime.clear();
    for (const candle of all) this.byTime.set(candle.time, candle);
    this.newest = all.at(-1) ?? null;
    this.candles.setData(all.map((candle) => ({ ...candle, time: startOf(candle) })));
    this.volume.setData(all.map((candle) => this.bar(candle)));
    if (!this.hovering) this.show(this.newest);
  }

  update(candle: Candle): void {
    this.byTime.set(candle.time, candle);
    this.newest = candle;
    this.candles.update({ ...candle, time: startOf(candle) });
    this.volume.update(this.bar(candle));
    if (!this.hovering) this.show({ ...candle });
  }

  /** Calls back when the oldest candles come into sight. */
  onReachStart(handler: () => void): void {
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < 5) handler();
    });
  }

  remove(): void {
    for (const stop of this.stops) stop();
    this.chart.remove();
  }

  private bar(candle: Candle) {
    const up = candle.close >= candle.open;
    return {
      time: startOf(candle),
      value: candle.volume,
      color: up ? this.colors.upSoft : this.colors.downSoft,
    };
  }

  /** Takes the colours from the style sheet; reading the theme makes the caller follow it. */
  private paint(_theme: string): void {
    const style = getComputedStyle(document.documentElement);
    const color = (name: string): string => style.getPropertyValue(name).trim();
    this.colors = {
      up: color("--up"),
      down: color("--down"),
      upSoft: color("--up-soft"),
      downSoft: color("--down-soft"),
    };
    this.chart.applyOptions({
      layout: {
        background: { color: color("--panel") },
        textColor: color("--muted"),
        fontFamily: getComputedStyle(document.body).fontFamily,
      },
      grid: { vertLines: { color: color("--grid") }, horzLines: { color: color("--grid") } },
      crosshair: {
        vertLine: { color: color("--faint"), labelBackgroundColor: color("--raised-strong") },
        horzLine: { color: color("--faint"), labelBackgroundColor: color("--raised-strong") },
      },
    });
    this.candles.applyOptions({
      upColor: this.colors.up,
      downColor: this.colors.down,
      wickUpColor: this.colors.up,
      wickDownColor: this.colors.down,
    });
    this.volume.setData(
      [...this.byTime.values()].sort((a, b) => a.time - b.time).map((candle) => this.bar(candle)),
    );
  }

  /** Draws the own open orders of the market as lines. */
  private markOrders(): void {
    void theme.value;
    const id = product.value?.id;
    for (const line of this.lines) this.candles.removePriceLine(line);
    this.lines = (openOrders.value ?? [])
      .filter((order) => order.product_id === id && order.price)
      .slice(0, 20)
      .map((order) =>
        this.candles.createPriceLine({
          price: Number(order.price),
          color: order.side === "buy" ? this.colors.up : this.colors.down,
          lineWidth: 1,
          lineStyle: LineStyle.Dashed,
          axisLabelVisible: true,
          title: order.side === "buy" ? "Buy" : "Sell",
        }),
      );
  }
}
