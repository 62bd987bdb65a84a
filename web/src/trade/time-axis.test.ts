import { TickMarkType, type UTCTimestamp } from "lightweight-charts";
import { expect, test } from "vitest";
import { timeLabels } from "./time-axis";

const at = (time: string) => (Date.parse(time) / 1_000) as UTCTimestamp;
const { DayOfMonth, Month, Time, Year } = TickMarkType;

test("marks within a day are local, also through the hour that comes twice", () => {
  const { mark } = timeLabels(1_800, "Europe/Berlin");
  const hours = ["23:00", "23:30"].map((time) => at(`2026-10-24T${time}Z`));
  for (let half = 0; half < 4; half += 1)
    hours.push((at("2026-10-25T00:00Z") + half * 1_800) as UTCTimestamp);
  expect(hours.map((time) => mark(time, Time))).toEqual([
    "01:00",
    "01:30",
    "02:00",
    "02:30",
    "02:00",
    "02:30",
  ]);
  expect(mark(at("2026-10-25T23:00Z"), Time)).toBe("26");
  expect(mark(at("2026-06-25T22:00Z"), Time)).toBe("26");
});

test("a day that begins in UTC is written with its local time, unless that is midnight too", () => {
  expect(timeLabels(60, "Asia/Tokyo").mark(at("2026-11-26T00:00Z"), DayOfMonth)).toBe("26 09:00");
  expect(timeLabels(60, "America/New_York").mark(at("2026-11-26T00:00Z"), DayOfMonth)).toBe("25 19:00");
  expect(timeLabels(60, "UTC").mark(at("2026-11-26T00:00Z"), DayOfMonth)).toBe("26");
});

test("months and years, and the days of day candles, are those of UTC", () => {
  const hourly = timeLabels(3_600, "America/New_York");
  expect([Month, Year].map((type) => hourly.mark(at("2026-01-01T00:00Z"), type))).toEqual([null, null]);
  const daily = timeLabels(86_400, "America/New_York");
  expect(daily.mark(at("2026-11-26T00:00Z"), DayOfMonth)).toBeNull();
  expect(daily.moment(at("2026-11-26T00:00Z"))).toMatch(/\b26\b/);
});

test("the moment beside the pointer is local", () => {
  expect(timeLabels(60, "America/New_York").moment(at("2026-11-26T00:30Z"))).toMatch(/\b25\b/);
});
