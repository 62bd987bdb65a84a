/**
 * The private side: balances, open orders, own fills, fee rates.
 *
 * The server is asked again after every own action and every private event of the feed; nothing is guessed here,
 * so what is shown is always something the server said.
 */
import { computed, effect, signal } from "@preact/signals";
import { ApiError, api } from "../api/http";
import type { Account, Fees, Fill, Order } from "../api/types";
import { Decimal } from "../money/decimal";
import { product, whenPrivate } from "./market";
import { session, token, verifySession } from "./session";

export const accounts = signal<Account[] | null>(null);
export const openOrders = signal<Order[] | null>(null);
export const fills = signal<Fill[] | null>(null);
export const fees = signal<Fees | null>(null);
/** Why the lists may be out of date; null when they are fresh. */
export const accountError = signal<string | null>(null);

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
let timer: ReturnType<typeof setTimeout> | undefined;
let running = false;
let again = false;
let last = 0;

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
  const asked = token.peek();
  const market = product.peek()?.id;
  if (!asked || !market) return;
  running = true;
  try {
    const [money, orders, own] = await Promise.all([api.accounts(), api.openOrders(), api.fills(market)]);
    if (token.peek() !== asked) return;
    accounts.value = money;
    openOrders.value = orders;
    if (product.peek()?.id === market) fills.value = own;
    accountError.value = null;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (token.peek() === asked) {
      accountError.value = error.message;
      setTimeout(refreshSoon, 2_000);
    }
  } finally {
    last = Date.now();
    running = false;
    if (again || token.peek() !== asked || product.peek()?.id !== market) {
      again = false;
      refreshSoon();
    }
  }
}

async function loadFees(): Promise<void> {
  const asked = token.peek();
  try {
    const rates = await api.fees();
    if (token.peek() === asked) fees.value = rates;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

/** Starts what keeps this module live. Call it once. */
export function startAccount(): void {
  whenPrivate(refreshSoon);
  void verifySession();
  let shown: string | null = null;
  effect(() => {
    const user = session.value?.user.id ?? null;
    if (user !== shown) {
      // Nothing of one user is shown to the next.
      shown = user;
      accounts.value = null;
      openOrders.value = null;
      fills.value = null;
      fees.value = null;
      accountError.value = null;
    }
    if (user) void loadFees();
  });
  effect(() => {
    const market = product.value?.id;
    if (!token.value || !market) return;
    fills.value = null;
    refreshSoon();
  });
  // Expired orders and deposits made elsewhere show up even when no event tells of them.
  setInterval(() => {
    if (token.peek() && !document.hidden) refreshSoon();
  }, 20_000);
}
