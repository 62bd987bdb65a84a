/** The server's clock, as far as this one knows it: people's clocks are off, and an auction ends by the server's. */
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ApiError, api } from "../api/http";

/** How often a countdown is drawn, ms. */
const TICK_MS = 250;

/** A comparison that takes longer may be off by as much, ms; and nobody waits longer for one. */
const COMPARED_WITHIN_MS = 2_000;

/** The server's clock less our own, ms; null until they have been compared. */
const ahead = signal<number | null>(null);
const now = signal(Date.now());
let watchers = 0;
let ticking: ReturnType<typeof setInterval> | undefined;

async function compare(): Promise<void> {
  const asked = Date.now();
  try {
    const { epoch } = await api.time();
    if (Date.now() - asked > COMPARED_WITHIN_MS) return;
    // The answer was written about halfway between question and arrival.
    ahead.value = Number(epoch) * 1_000 - (asked + Date.now()) / 2;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // Then our own clock has to do.
  }
}

/** By how much the server's clock is ahead of ours, ms; as of before where it cannot be asked soon, null if never. */
export async function clockAhead(): Promise<number | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((over) => {
    timer = setTimeout(over, COMPARED_WITHIN_MS);
  });
  await Promise.race([compare(), late]).finally(() => clearTimeout(timer));
  return ahead.peek();
}

/** The milliseconds until a time of the server, 0 once it is over. Draws again as they pass. */
export function useTimeLeft(time: string): number {
  useEffect(() => {
    if (watchers === 0) {
      void compare();
      ticking = setInterval(() => {
        now.value = Date.now();
      }, TICK_MS);
    }
    watchers += 1;
    return () => {
      watchers -= 1;
      if (watchers === 0) clearInterval(ticking);
    };
  }, []);
  const left = Date.parse(time) - (now.value + (ahead.value ?? 0));
  return Number.isNaN(left) ? 0 : Math.max(0, left);
}

/** A span as "4:05", or with hours "1:02:07". */
export function span(ms: number): string {
  const seconds = Math.ceil(ms / 1_000);
  const two = (number: number): string => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  const rest = two(seconds % 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}
