/**
 * Keeps a drawing up to date with history, live trades and resyncs.
 *
 * Invariant: one request at a time, and none that was wanted is forgotten: what is wanted while another one is under way
 * follows it.
 */
import { effect, type ReadonlySignal } from "@preact/signals";
import { ApiError } from "../api/http";
import type { Candle as Row, Trade } from "../api/types";
import { type Candle, CandleHistory, Candles, type LoadRows } from "./candles";

/** How soon candles are asked for once more, ms. By then the server has counted the trades that it has told. */
const SETTLED_AFTER_MS = 2_000;
/** How often that is done in a row because trades came while it was done. A busy market would go on without end. */
const MOST_SETTLINGS = 3;
const RETRY_AFTER_MS = 3_000;

/** What is drawn on. */
export interface Canvas {
  setAll(all: readonly Candle[]): void;
  /** The newest candle has changed, or a newer one has begun. */
  update(candle: Candle): void;
  /** Calls back when the oldest candles come into sight, or stay there. */
  onReachStart(handler: () => void): void;
}

/** Where the candles of a market come from. */
export interface Source {
  /** Rows of the latest buckets, newest first. */
  latest: (granularity: number) => Promise<Row[]>;
  older: LoadRows;
  /** Calls back for every new trade, once and in order; answers how to stop. */
  onTrade: (listener: (trade: Trade) => void) => () => void;
  /** Changes when something may have been missed. */
  resyncs: ReadonlySignal<number>;
}

/**
 * Draws the candles of a market; answers how to stop. `granularity` in seconds; `report` is told why there is nothing to
 * draw, and null when there is.
 */
export function keepDrawn(
  canvas: Canvas,
  granularity: number,
  source: Source,
  report: (error: string | null) => void,
): () => void {
  const candles = new Candles(granularity);
  let history: CandleHistory | null = null;
  let stopped = false;
  const wanted = { latest: false, older: false };
  let working = false;
  // A trade may come between history and feed, or in both; so what was loaded is asked for once more, a moment later.
  let unsettled = false;
  let settlings = 0;
  /** How many trades the feed has told of. */
  let told = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let settle: ReturnType<typeof setTimeout> | undefined;

  const latest = async (): Promise<void> => {
    const toldBefore = told;
    let rows = await source.latest(granularity);
    const oldest = rows.at(-1)?.[0];
    const now = Math.floor(Date.now() / 1_000 / granularity) * granularity;
    const before = oldest === undefined ? now : oldest - granularity;
    const older = new CandleHistory(granularity, before, source.older);
    // Without trades of late, the last ones there were are shown.
    if (rows.length === 0) rows = await older.older();
    if (stopped) return;
    if (!candles.joins(rows)) {
      // After a long sleep: what lies between is fetched when it comes into sight.
      candles.clear();
      history = null;
    }
    candles.merge(rows);
    history ??= older;
    // A trade that was told meanwhile may be missing in these rows, which have replaced its candle.
    if (unsettled || (told !== toldBefore && settlings < MOST_SETTLINGS)) {
      settlings = unsettled ? 0 : settlings + 1;
      settleSoon();
    }
    unsettled = false;
    canvas.setAll(candles.all);
    report(null);
  };

  const older = async (): Promise<void> => {
    const rows = (await history?.older()) ?? [];
    if (stopped || rows.length === 0) return;
    candles.merge(rows);
    // What was wanted meanwhile has come; should it not be enough, the canvas says so again.
    wanted.older = false;
    canvas.setAll(candles.all);
  };

  /** Does one thing that is wanted. */
  const next = async (): Promise<void> => {
    const task = wanted.latest ? latest : older;
    if (task === latest) wanted.latest = false;
    else wanted.older = false;
    try {
      await task();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // Older ones are asked for again when they come into sight again.
      wanted.older = false;
      if (stopped || task === older) return;
      if (!history) report(error.message);
      clearTimeout(retry);
      retry = setTimeout(askLatest, RETRY_AFTER_MS);
    }
  };

  const work = async (): Promise<void> => {
    if (working) return;
    working = true;
    try {
      while (!stopped && (wanted.latest || wanted.older)) await next();
    } finally {
      working = false;
    }
  };

  const askLatest = (): void => {
    wanted.latest = true;
    void work();
  };
  const settleSoon = (): void => {
    clearTimeout(settle);
    settle = setTimeout(askLatest, SETTLED_AFTER_MS);
  };

  const stopTrades = source.onTrade((trade) => {
    told += 1;
    const folded = candles.add(trade);
    if (!folded) return;
    canvas.update(folded.candle);
    // The finished candle is taken from the server once more.
    if (!folded.opened) return;
    settlings = 0;
    settleSoon();
  });
  const stopResync = effect(() => {
    void source.resyncs.value;
    unsettled = true;
    askLatest();
  });
  canvas.onReachStart(() => {
    wanted.older = history !== null;
    void work();
  });
  return () => {
    stopped = true;
    clearTimeout(settle);
    clearTimeout(retry);
    stopTrades();
    stopResync();
  };
}
