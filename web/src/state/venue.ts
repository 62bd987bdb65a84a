/** What the venue tells everybody, also before they sign in. */
import { signal } from "@preact/signals";
import { ApiError, api } from "../api/http";

/** How often it is asked, ms. */
const LOOK_EVERY_MS = 60_000;

/** A line that an administrator has written for everybody; mostly there is none. */
export const notice = signal("");
/** Whether new accounts get play money; null until the venue has told. Nothing is promised before. */
export const demoFunds = signal<boolean | null>(null);

async function look(): Promise<void> {
  try {
    const told = await api.notice();
    notice.value = told.notice;
    demoFunds.value = told.demo_funds;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // What was told last stands until it can be asked again.
  }
}

/** Starts what keeps this module live. Call it once. */
export function startVenue(): void {
  void look();
  setInterval(() => {
    if (!document.hidden) void look();
  }, LOOK_EVERY_MS);
}
