/**
 * The private side: balances, open orders, own fills.
 *
 * The server is asked again after every own action and every private event of the feed; nothing is guessed here,
 * so what is shown is always something the server said.
 */
import { computed, effect, signal } from "@preact/signals";
import { ApiError, api, FILLS_PAGE, ORDERS_PAGE, type Page } from "../api/http";
import type { Account, Fill, Order } from "../api/types";
import { Decimal } from "../money/decimal";
import { product, whenPrivate } from "./market";
import { joined, newestOf } from "./own-fills";
import { firstPages } from "./paging";
import { userId, verifySession } from "./session";
import { notify } from "./toasts";

export const accounts = signal<Account[] | null>(null);
export const openOrders = signal<Order[] | null>(null);
/** Whether there are more open orders than these. */
export const moreOrders = signal(false);
export const fills = signal<Fill[] | null>(null);
/** Where the fills before these begin; null when there are none. */
export const olderFills = signal<string | null>(null);
/** Why balances or orders, and why the fills, did not come last time. */
const listsError = signal<string | null>(null);
const fillsError = signal<string | null>(null);
/** Why the lists may be out of date; null when they are fresh. */
export const accountError = computed(() => listsError.value ?? fillsError.value);

/** What can be spent of a currency; zero while unknown. */
export function available(currency: string | undefined): Decimal {
  return Decimal.from(accounts.value?.find((account) => account.currency === currency)?.available);
}

/** Prices of own open limit orders in the chosen market, as canonical text, by side. */
export const ownPrices = computed(() => {
  const id = product.value?.id;
  const prices = { buy: new Set<string>(), sell: new Set<string>() };
  for (const order of openOrders.value ?? []) {
    if (order.product_id === id && order.price) prices[order.side].add(Decimal.from(order.price).toString());
  }
  return prices;
});

// Requests are bundled: bursts of private events must not run into the rate limit.
const PAUSE_MS = 400;
const RETRY_AFTER_MS = 2_000;
let timer: ReturnType<typeof setTimeout> | undefined;
let running = false;
let again = false;
let last = 0;

/** Whose fills of which market are being fetched. They need the database, so nothing else waits for them. */
let fillsUnderWay: string | null = null;
let fillsAgain = false;

/** Fetches balances, orders and fills soon; many calls in a row become one. */
export function refreshSoon(): void {
  if (running) {
    again = true;
    return;
  }
  if (timer !== undefined) return;
  const wait = Math.max(0, last + PAUSE_MS - Date.now());
  timer = setTimeout(() => {
    timer = undefined;
    void refresh();
  }, wait);
}

async function refresh(): Promise<void> {
  const asked = userId.peek();
  const market = product.peek()?.id;
  if (!asked || !market) return;
  running = true;
  void refreshFills(asked, market);
  // Each list is taken as it comes, whatever becomes of the other.
  const isAsker = (): boolean => userId.peek() === asked;
  try {
    const lists = await Promise.allSettled([
      api.accounts().then((all) => {
        if (isAsker()) accounts.value = all;
      }),
      firstPages(orderPages, ORDERS_PAGE, api.openOrders).then(({ items, after }) => {
        if (!isAsker()) return;
        openOrders.value = items;
        moreOrders.value = after !== null;
      }),
    ]);
    if (!isAsker()) return;
    listsError.value = faultOf(lists);
    if (listsError.peek() !== null) setTimeout(refreshSoon, RETRY_AFTER_MS);
  } finally {
    last = Date.now();
    running = false;
    if (again || userId.peek() !== asked || product.peek()?.id !== market) {
      again = false;
      refreshSoon();
    }
  }
}

async function refreshFills(user: string, market: string): Promise<void> {
  const own = `${user}/${market}`;
  if (fillsUnderWay === own) {
    fillsAgain = true;
    return;
  }
  fillsUnderWay = own;
  fillsAgain = false;
  const isShown = (): boolean => userId.peek() === user && product.peek()?.id === market;
  try {
    const newest = await api.fills(market, null);
    if (!isShown()) return;
    takeNewest(newest);
    fillsError.value = null;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (!isShown()) return;
    fillsError.value = error.message;
    setTimeout(refreshSoon, RETRY_AFTER_MS);
  } finally {
    if (fillsUnderWay === own) {
      fillsUnderWay = null;
      if (fillsAgain && isShown()) void refreshFills(user, market);
    }
  }
}

/** Why one of the lists did not come; null when all came. */
function faultOf(lists: PromiseSettledResult<unknown>[]): string | null {
  const faults = lists.flatMap((list) => (list.status === "rejected" ? [list.reason as unknown] : []));
  for (const fault of faults) if (!(fault instanceof ApiError)) throw fault;
  return (faults[0] as ApiError | undefined)?.message ?? null;
}

/** How many pages of open orders are shown. Any of them may change, so all are asked for again and again. */
let orderPages = 1;

export function showMoreOrders(): void {
  if (!moreOrders.peek()) return;
  // Not twice before they have come.
  moreOrders.value = false;
  orderPages += 1;
  refreshSoon();
}

const cursorOf = (page: Page<Fill>): string | null => (page.items.length >= FILLS_PAGE ? page.after : null);

/** How many fills are kept at most: as many as the user has asked to see, and in any case so many. */
const KEPT_FILLS = 1_000;
let keptFills = KEPT_FILLS;

function takeNewest(page: Page<Fill>): void {
  const all = joined(page.items, fills.peek() ?? []);
  if (!all) olderFills.value = cursorOf(page);
  const { kept, after } = newestOf(all ?? page.items, keptFills);
  if (after !== null) olderFills.value = after;
  fills.value = kept;
}

let fillsAsked: string | null = null;

/** Adds the fills before those that are shown. */
export async function showMoreFills(): Promise<void> {
  const [asked, market, after] = [userId.peek(), product.peek()?.id, olderFills.peek()];
  if (!market || after === null || fillsAsked === after) return;
  fillsAsked = after;
  try {
    const page = await api.fills(market, after);
    // Another user, another market, or so many new fills that the list has begun anew.
    if (userId.peek() !== asked || product.peek()?.id !== market || olderFills.peek() !== after) return;
    const all = [...(fills.peek() ?? []), ...page.items];
    keptFills = Math.max(keptFills, all.length);
    fills.value = all;
    olderFills.value = cursorOf(page);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    notify("bad", "The older fills did not come", error.message);
  } finally {
    fillsAsked = null;
  }
}

/** Starts what keeps this module live. Call it once. */
export function startAccount(): void {
  whenPrivate(refreshSoon);
  void verifySession();
  let shown: string | null = null;
  let listed: string | null = null;
  effect(() => {
    const user = userId.value;
    const market = product.value?.id;
    if (user !== shown) {
      // Nothing of one user is shown to the next.
      shown = user;
      accounts.value = null;
      openOrders.value = null;
      moreOrders.value = false;
      orderPages = 1;
      listsError.value = null;
    }
    // The market is told anew again and again, and the session prolonged; the fills stay what they are.
    const list = user && market ? `${user}/${market}` : null;
    if (list === listed) return;
    listed = list;
    fills.value = null;
    fillsError.value = null;
    olderFills.value = null;
    keptFills = KEPT_FILLS;
    if (list) refreshSoon();
  });
  // Expired orders and deposits made elsewhere show up even when no event tells of them.
  setInterval(() => {
    if (userId.peek() && !document.hidden) refreshSoon();
  }, 20_000);
}
