/** Candles of one market and granularity, from history and live trades. Floats are fine: they are only drawn. */
import { CANDLES_PAGE } from "../api/http";
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

const DAY_S = 86_400;
/** A page with fewer rows is thin, and after so many of them in a row history is not worth any more requests. */
const THIN_ROWS = 10;
const MOST_THIN_PAGES = 20;

/** Asks for rows (newest first) of the page of buckets of `granularity` that ends with `before`; both in seconds. */
export type LoadRows = (granularity: number, before: number) => Promise<Row[]>;

/**
 * What lies before the candles that are known, page by page, also across long times without trades.
 *
 * The server leaves out buckets without trades, so an empty page is no end. Where one comes, candles of days tell
 * where the next trades are.
 */
export class CandleHistory {
  /** The bucket with which the next page ends, seconds; null when there is none. */
  private before: number | null;
  /** Days with trades, newest first: those of the last page that was needed. */
  private days: number[] = [];
  /** The day with which the next page of days ends, seconds. */
  private daysBefore = Number.POSITIVE_INFINITY;
  /** How many thin pages have come in a row. */
  private thin = 0;

  /** One that ends with the bucket `before`, seconds. */
  constructor(
    private readonly granularity: number,
    before: number,
    private readonly load: LoadRows,
  ) {
    this.before = before;
  }

  /** The next rows, newest first; none when history is over. After a failure it goes on from where it was. */
  async older(): Promise<Row[]> {
    while (this.before !== null) {
      const rows = await this.load(this.granularity, this.before);
      this.before -= CANDLES_PAGE * this.granularity;
      this.thin = rows.length < THIN_ROWS ? this.thin + 1 : 0;
      if (this.thin >= MOST_THIN_PAGES) this.before = null;
      if (rows.length > 0) return rows;
      if (this.before !== null) this.before = await this.lastTraded(this.before);
    }
    return [];
  }

  /** The last bucket up to this one that may have trades: on the same day, or at the end of an earlier one. */
  private async lastTraded(before: number): Promise<number | null> {
    const day = Math.floor(before / DAY_S) * DAY_S;
    const lastDay = (): number | undefined => this.days.find((one) => one <= day);
    if (lastDay() === undefined) {
      // All days that are known are over, but a page of them reaches back for less than a year.
      const end = Math.min(day, this.daysBefore);
      this.days = (await this.load(DAY_S, end)).map(([time]) => time);
      this.daysBefore = end - CANDLES_PAGE * DAY_S;
    }
    const found = lastDay();
    if (found === undefined) return null;
    return found === day ? before : found + DAY_S - this.granularity;
  }
}
