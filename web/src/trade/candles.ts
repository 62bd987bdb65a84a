/** Candles of one market and granularity, from history and live trades. Floats are fine: they are only drawn. */
import type { Candle as Row, Trade } from "../api/types";

export interface Candle {
  /** Start of the bucket, seconds. */
  time: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
}

export class Candles {
  /** By time, oldest first, no two with the same time. */
  private list: Candle[] = [];
  /** The newest bucket that the server has told of; live trades do not count, as some may have been missed. */
  private told: number | undefined;

  constructor(readonly granularity: number) {}

  get all(): readonly Candle[] {
    return this.list;
  }

  get oldest(): Candle | undefined {
    return this.list[0];
  }

  get newest(): Candle | undefined {
    return this.list.at(-1);
  }

  /** Whether the latest rows of the server leave no hole behind what is known. */
  joins(rows: Row[]): boolean {
    const first = rows.at(-1);
    return !first || this.told === undefined || first[0] <= this.told + this.granularity;
  }

  clear(): void {
    this.list = [];
    this.told = undefined;
  }

  /** Takes in rows of the server (newest first); they replace what is known of the same buckets. */
  merge(rows: Row[]): void {
    const byTime = new Map(this.list.map((candle) => [candle.time, candle]));
    for (const [time, low, high, open, close, volume] of rows) {
      this.told = Math.max(this.told ?? time, time);
      byTime.set(time, { time, open, high, low, close, volume });
    }
    this.list = [...byTime.values()].sort((a, b) => a.time - b.time);
  }

  /** Folds a live trade in. Answers its candle, or null when the trade is older than the newest candle. */
  add(trade: Pick<Trade, "price" | "size" | "time">): { candle: Candle; opened: boolean } | null {
    const seconds = Math.floor(new Date(trade.time).getTime() / 1000);
    const time = Math.floor(seconds / this.granularity) * this.granularity;
    const price = Number(trade.price);
    const size = Number(trade.size);
    const last = this.newest;
    if (last && time < last.time) return null;
    if (last && time === last.time) {
      last.high = Math.max(last.high, price);
      last.low = Math.min(last.low, price);
      last.close = price;
      last.volume += size;
      return { candle: last, opened: false };
    }
    const candle = { time, open: price, high: price, low: price, close: price, volume: size };
    this.list.push(candle);
    return { candle, opened: true };
  }
}
