import { signal } from "@preact/signals";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ApiError } from "../api/http";
import type { Candle as Row, Trade } from "../api/types";
import type { Candle } from "./candles";
import { keepDrawn, type Source } from "./live-candles";

const NOON = Date.parse("2026-11-26T12:00:00Z") / 1_000;
const row = (minute: number, close: number, volume: number): Row => [
  NOON + minute * 60,
  close,
  close,
  close,
  close,
  volume,
];
const trade = (trade_id: number, second: number): Trade => ({
  trade_id,
  side: "buy",
  price: "1",
  size: "1",
  time: new Date((NOON + second) * 1_000).toISOString(),
});

/** What is drawn: minutes after noon with their volumes. */
let drawn: [number, number][];
let reachStart: () => void;
let said: string | null;
let trades: (trade: Trade) => void;
let listening: boolean;
let resyncs: ReturnType<typeof signal<number>>;
/** The server's latest rows and older pages, and how often it was asked. */
let latest: () => Row[] | Promise<Row[]>;
let older: (before: number) => Row[];
let asked: string[];
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers({ now: NOON * 1_000 });
  drawn = [];
  said = null;
  asked = [];
  resyncs = signal(0);
  older = () => [];
});
afterEach(() => {
  stop();
  vi.useRealTimers();
});

/** Draws with a chart whose oldest candle is always in sight while there are fewer than `room`. */
async function draw(room = 0): Promise<void> {
  let all: readonly Candle[] = [];
  const look = () => {
    drawn = all.map(({ time, volume }) => [(time - NOON) / 60, volume]);
  };
  const canvas = {
    setAll(next: readonly Candle[]) {
      all = next;
      look();
      if (all.length < room) reachStart();
    },
    update: look,
    onReachStart(handler: () => void) {
      reachStart = handler;
    },
  };
  const source: Source = {
    latest: async () => {
      asked.push("latest");
      return latest();
    },
    older: async (granularity, before) => {
      asked.push(`${granularity} ${(before - NOON) / 60}`);
      return granularity === 60 ? older((before - NOON) / 60) : [row(-720, 1, 1), row(-2_160, 1, 1)];
    },
    onTrade(listener) {
      trades = listener;
      listening = true;
      return () => {
        listening = false;
      };
    },
    resyncs: resyncs as Source["resyncs"],
  };
  stop = keepDrawn(canvas, 60, source, (error) => {
    said = error;
  });
  await vi.advanceTimersByTimeAsync(0);
}

test("what came while history was fetched is counted once, a moment after the load and after each resync", async () => {
  latest = () => [row(0, 1, 5)];
  await draw();
  // In the rows already.
  trades(trade(9, 10));
  expect(drawn).toEqual([[0, 6]]);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(drawn).toEqual([[0, 5]]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked.length).toBe(2);

  resyncs.value = 1;
  await vi.advanceTimersByTimeAsync(0);
  latest = () => [row(0, 1, 7)];
  await vi.advanceTimersByTimeAsync(2_000);
  expect([asked.length, drawn]).toEqual([4, [[0, 7]]]);
});

test("a trade that is told while it settles is not lost, and a busy market is not asked without end", async () => {
  latest = () => [row(0, 1, 5)];
  await draw();
  let trade_id = 9;
  latest = async () => {
    // Written before the trade, and here after it.
    const rows = [row(0, 1, trade_id - 4)];
    trade_id += 1;
    trades(trade(trade_id, 10));
    return rows;
  };
  await vi.advanceTimersByTimeAsync(2_000);
  latest = () => [row(0, 1, trade_id - 4)];
  await vi.advanceTimersByTimeAsync(60_000);
  expect([drawn, asked.length]).toEqual([[[0, 6]], 3]);

  latest = async () => {
    trades(trade(99, 10));
    return [row(0, 1, 7)];
  };
  resyncs.value = 1;
  await vi.advanceTimersByTimeAsync(60_000);
  // Once for the resync, once to settle, and three times for what came meanwhile.
  expect(asked.length).toBe(8);
});

test("once stopped, it listens to nothing and asks for nothing more", async () => {
  latest = () => [row(0, 1, 5)];
  await draw();
  expect([listening, vi.getTimerCount()]).toEqual([true, 1]);
  latest = () => Promise.reject(new ApiError(503, "away"));
  resyncs.value = 1;
  await vi.advanceTimersByTimeAsync(0);
  // One to settle and one to try again.
  expect(vi.getTimerCount()).toBe(2);
  stop();
  expect([listening, vi.getTimerCount()]).toEqual([false, 0]);
  resyncs.value = 2;
  await vi.advanceTimersByTimeAsync(10_000);
  expect(asked.length).toBe(2);
});

test("a request that is under way when it is stopped draws nothing and sets no timer", async () => {
  let come: (rows: Row[]) => void = () => {};
  latest = () => new Promise((done) => (come = done));
  await draw();
  stop();
  come([row(0, 1, 5)]);
  await vi.advanceTimersByTimeAsync(0);
  expect([drawn, vi.getTimerCount()]).toEqual([[], 0]);
});

test("a finished candle is taken from the server", async () => {
  latest = () => [row(0, 1, 5)];
  await draw();
  await vi.advanceTimersByTimeAsync(2_000);
  trades(trade(10, 61));
  latest = () => [row(1, 1, 1), row(0, 1, 6)];
  expect(drawn).toEqual([
    [0, 5],
    [1, 1],
  ]);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(drawn).toEqual([
    [0, 6],
    [1, 1],
  ]);
});

test("a market that was quiet of late shows its last candles, and goes on back from them", async () => {
  latest = () => [];
  older = (before) =>
    [row(-800, 1, 1), row(-900, 1, 1), row(-2_000, 1, 1)].filter(
      ([time]) => time <= NOON + before * 60 && time > NOON + (before - 300) * 60,
    );
  await draw(3);
  await vi.advanceTimersByTimeAsync(100);
  expect(drawn.map(([minute]) => minute)).toEqual([-2_000, -900, -800]);
});

test("a resync that comes while older candles are fetched is not forgotten", async () => {
  latest = () => [row(0, 1, 5)];
  await draw();
  older = (before) => {
    resyncs.value = 1;
    latest = () => [row(0, 1, 8)];
    return before === -1 ? [row(-1, 1, 3)] : [];
  };
  reachStart();
  await vi.advanceTimersByTimeAsync(0);
  expect(drawn).toEqual([
    [-1, 3],
    [0, 8],
  ]);
});

test("older candles that are asked for twice while they come are fetched once", async () => {
  latest = () => [row(0, 1, 5)];
  await draw();
  older = (before) => {
    if (before === -1) reachStart();
    return [row(before, 1, 3)];
  };
  reachStart();
  await vi.advanceTimersByTimeAsync(0);
  expect(drawn.map(([minute]) => minute)).toEqual([-1, 0]);
});

test("while there is nothing to show, the reason is told and it is tried again", async () => {
  latest = () => Promise.reject(new ApiError(503, "away"));
  await draw();
  expect(said).toBe("away");
  latest = () => [row(0, 1, 5)];
  await vi.advanceTimersByTimeAsync(3_000);
  expect([said, drawn]).toEqual([null, [[0, 5]]]);
  resyncs.value = 1;
  latest = () => Promise.reject(new ApiError(503, "away"));
  await vi.advanceTimersByTimeAsync(0);
  latest = () => [row(0, 1, 6)];
  await vi.advanceTimersByTimeAsync(3_000);
  expect([said, drawn]).toEqual([null, [[0, 6]]]);
});
