import { describe, expect, it } from "vitest";
import type { Candle as Row } from "../api/types";
import { CandleHistory, Candles } from "./candles";

const trade = (time: string, price: string, size: string) => ({
  time: `2026-01-31T12:${time}Z`,
  price,
  size,
});
const noon = Date.parse("2026-01-31T12:00:00Z") / 1000;

describe("Candles", () => {
  it("puts rows of the server into order and replaces known buckets", () => {
    const candles = new Candles(60);
    candles.merge([
      [noon + 60, 9, 12, 10, 11, 5],
      [noon, 8, 11, 9, 10, 4],
    ]);
    candles.merge([[noon + 60, 9, 13, 10, 12, 6]]);
    expect(candles.all.map((c) => [c.time - noon, c.open, c.high, c.low, c.close, c.volume])).toEqual([
      [0, 9, 11, 8, 10, 4],
      [60, 10, 13, 9, 12, 6],
    ]);
  });

  it("tells whether newer rows join what is known, and can begin anew", () => {
    const row = (minute: number): [number, number, number, number, number, number] => [
      noon + minute * 60,
      8,
      11,
      9,
      10,
      4,
    ];
    const candles = new Candles(60);
    expect(candles.joins([row(9), row(8)])).toBe(true);
    candles.merge([row(1), row(0)]);
    expect(candles.joins([])).toBe(true);
    expect(candles.joins([row(2), row(1)])).toBe(true);
    expect(candles.joins([row(3), row(2)])).toBe(true);
    expect(candles.joins([row(4), row(3)])).toBe(false);

    // A live trade after a long sleep fills no hole, nor do older rows.
    candles.add(trade("09:30", "12", "1"));
    candles.merge([row(-1), row(-2)]);
    expect(candles.joins([row(9), row(8)])).toBe(false);

    candles.clear();
    expect(candles.all).toEqual([]);
    candles.merge([row(9), row(8)]);
    expect(candles.oldest?.time).toBe(noon + 480);
    expect(candles.joins([row(11), row(10)])).toBe(true);
  });

  it("folds trades into the bucket of their time", () => {
    const candles = new Candles(60);
    candles.merge([[noon, 8, 11, 9, 10, 4]]);
    expect(candles.add(trade("00:59.999", "12", "1"))).toMatchObject({
      opened: false,
      candle: { high: 12, volume: 5 },
    });
    expect(candles.add(trade("01:00", "7", "2"))).toMatchObject({
      opened: true,
      candle: { open: 7, volume: 2 },
    });
    expect(candles.add(trade("00:30", "99", "1"))).toBeNull();
    expect(candles.all).toHaveLength(2);
  });
});

/** A server with trades in these minutes after noon, and what it was asked. */
function server(...minutes: number[]) {
  const asked: string[] = [];
  const load = async (granularity: number, before: number): Promise<Row[]> => {
    asked.push(`${granularity} ${(before - noon) / 60}`);
    const starts = minutes.map((minute) => {
      const time = noon + minute * 60;
      return time - (time % granularity);
    });
    const inside = [...new Set(starts)].filter(
      (start) => start <= before && start >= before - 299 * granularity,
    );
    return inside.sort((a, b) => b - a).map((start) => [start, 1, 1, 1, 1, 1]);
  };
  return { asked, load };
}

/** The minutes of each page until there are no more. */
async function pages(history: CandleHistory): Promise<number[][]> {
  const all: number[][] = [];
  for (;;) {
    const rows = await history.older();
    if (rows.length === 0) return all;
    all.push(rows.map(([time]) => (time - noon) / 60));
  }
}

describe("CandleHistory", () => {
  it("goes on behind times without trades, however long they last", async () => {
    const [day, month] = [1_440, 43_200];
    const { load } = server(0, -299, -300, -650, -3 * day, -2 * month - 7);
    expect(await pages(new CandleHistory(60, noon, load))).toEqual([
      [0, -299],
      [-300],
      [-650],
      [-3 * day],
      [-2 * month - 7],
    ]);
  });

  it("goes on behind the first page of days", async () => {
    const day = 1_440;
    const { load } = server(-290 * day, -310 * day, -595 * day, -1_000 * day);
    expect((await pages(new CandleHistory(60, noon, load))).flat()).toEqual([
      -290 * day,
      -310 * day,
      -595 * day,
    ]);
  });

  it("counts thin pages in a row only", async () => {
    const day = 1_440;
    const thin = [0, 1, 2, 4, 5, 6].map((days) => -days * day);
    const busy = Array.from({ length: 20 }, (_, at) => -3 * day - at);
    const { load } = server(...thin, ...busy);
    expect((await pages(new CandleHistory(60, noon, load))).flat()).toContain(-6 * day);
  });

  it("asks a day for the trades of days, once, and skips those that have none", async () => {
    const { asked, load } = server(-2_000);
    const history = new CandleHistory(60, noon, load);
    expect((await history.older()).length).toBe(1);
    // The last minute of the day before is 721 minutes before noon, and that day's trade lies four pages further back.
    expect(asked).toEqual(["60 0", "86400 -720", "60 -721", "60 -1021", "60 -1321", "60 -1621", "60 -1921"]);
  });

  it("asks a market without trades twice, and never again", async () => {
    const { asked, load } = server();
    const history = new CandleHistory(60, noon, load);
    expect([await history.older(), await history.older()]).toEqual([[], []]);
    expect(asked).toEqual(["60 0", "86400 -720"]);
  });

  it("asks no more than a bounded number of times for a trade a day", async () => {
    const { asked, load } = server(...Array.from({ length: 250 }, (_, day) => -day * 1_440));
    const found = await pages(new CandleHistory(60, noon, load));
    expect(found.length).toBeGreaterThan(3);
    expect(asked.length).toBeLessThan(30);
  });

  it("has days of its own", async () => {
    const { load } = server(-1_440 * 400, -1_440 * 320);
    const history = new CandleHistory(86_400, noon - 43_200, load);
    expect((await history.older()).map(([time]) => (time - noon) / 60)).toEqual([
      -1_440 * 320 - 720,
      -1_440 * 400 - 720,
    ]);
  });

  it("goes on where it was after a failure", async () => {
    const { load } = server(-700);
    let broken = 0;
    const history = new CandleHistory(60, noon, (granularity, before) => {
      broken += 1;
      return broken % 2 === 1 ? Promise.reject(new Error("no line")) : load(granularity, before);
    });
    let rows: Row[] = [];
    for (let tries = 0; rows.length === 0 && tries < 20; tries += 1) {
      rows = await history.older().catch(() => []);
    }
    expect((Number(rows[0]?.[0]) - noon) / 60).toBe(-700);
  });
});
