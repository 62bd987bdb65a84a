/**
 * How times are written on the chart.
 *
 * The chart itself counts in UTC and knows no time zones. It must not be given local times in place of them: at the end
 * of summer time an hour would come twice. So only what is read is local; days and longer are buckets of UTC.
 */
import { TickMarkType, type Time } from "lightweight-charts";

const DAY_S = 86_400;

export interface TimeLabels {
  /** A moment in full, beside the pointer. */
  moment: (time: Time) => string;
  /** A mark of the axis, in 8 characters or so; null where the chart's own label, which is in UTC, is right. */
  mark: (time: Time, type: TickMarkType) => string | null;
}

/** The labels of candles that last so many seconds. `timeZone`: that of the page's user unless it is named. */
export function timeLabels(granularity: number, timeZone?: string): TimeLabels {
  // What the chart was given: seconds.
  const date = (time: Time): Date => new Date(Number(time) * 1_000);
  if (granularity >= DAY_S) {
    const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
    return { moment: (time) => day.format(date(time)), mark: () => null };
  }
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", timeZone });
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", timeZone });
  const clock = new Intl.DateTimeFormat("en", {
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
    timeZone,
  });
  const mark: TimeLabels["mark"] = (time, type) => {
    // Far apart, months and years may begin some hours beside their mark.
    if (type === TickMarkType.Month || type === TickMarkType.Year) return null;
    const [dayThere, timeThere] = [day.format(date(time)), clock.format(date(time))];
    if (timeThere === "00:00") return dayThere;
    // The chart's days begin at midnight in UTC.
    return type === TickMarkType.DayOfMonth ? `${dayThere} ${timeThere}` : timeThere;
  };
  return { moment: (time) => full.format(date(time)), mark };
}
