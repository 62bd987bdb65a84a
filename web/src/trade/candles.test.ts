import { describe, expect, it } from "vitest";
import { Candles } from "./candles";

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
