/**
 * The public side: markets, the chosen one, its book and its trades, all kept live by the feed.
 *
 * Invariants: `book`, `trades` and `toldTrade` always belong to `product`; trades are newest first, without holes.
 */
import { computed, effect, type Signal, signal } from "@preact/signals";
import { ApiError, api } from "../api/http";
import type { FeedMessage, Product, Trade } from "../api/types";
import { Book } from "../feed/book";
import { FeedConnection, isRefusal } from "../feed/connection";
import { Decimal, placesOf } from "../money/decimal";
import { marketInPath, path } from "./route";
import { token, userId, verifySession } from "./session";
import { load, save } from "./storage";

/** The last 24 hours of a market. */
export interface Ticker {
  last: string;
  open: string;
  high: string;
  low: string;
  volume: string;
}

const SHOWN_TRADES = 60;
/** How soon a wrong book is asked for again, ms. */
const BOOK_EVERY_MS = 1_000;
/** How often the chosen market's last 24 hours are asked for, ms. */
const STATS_EVERY_MS = 60_000;

export const products = signal<Product[]>([]);
/** Whether the kill switch of the whole venue is engaged; null until the feed has told. */
export const venueStopped = signal<boolean | null>(null);
/** Why there are no markets; null while loading or when all is well. */
export const marketsError = signal<string | null>(null);

/** The market that was chosen last. Other tabs choose for themselves, so what they store counts at the next load only. */
let remembered = load<string>("market");

export const product = computed<Product | null>(() => {
  const all = products.value;
  const wanted = marketInPath(path.value) ?? remembered;
  return all.find((one) => one.id === wanted) ?? all[0] ?? null;
});

export const pricePlaces = computed(() => placesOf(product.value?.quote_increment ?? "0.01"));
export const sizePlaces = computed(() => placesOf(product.value?.base_increment ?? "0.00000001"));

const tickers = new Map<string, Signal<Ticker | null>>();

export function tickerOf(id: string): Signal<Ticker | null> {
  let ticker = tickers.get(id);
  if (!ticker) {
    ticker = signal<Ticker | null>(null);
    tickers.set(id, ticker);
  }
  return ticker;
}

/** The book changes in place; whoever draws it reads `bookVersion` to be told. */
export let book = new Book(2, 8);
export const bookVersion = signal(0);
export const trades = signal<Trade[]>([]);
export const tradesLoaded = signal(false);

type TradeListener = (trade: Trade) => void;
const tradeListeners = new Set<TradeListener>();

/** Calls back for every new trade of the chosen market, once and in order; answers how to stop. */
export function onTrade(listener: TradeListener): () => void {
  tradeListeners.add(listener);
  return () => tradeListeners.delete(listener);
}

/** The newest trade of the chosen market that the feed has told. `trades` may be ahead of the feed, or not loaded yet. */
let toldTrade = 0;
function tellTrade(trade: Trade, live: boolean): void {
  if (trade.trade_id <= toldTrade) return;
  toldTrade = trade.trade_id;
  if (live) for (const listener of tradeListeners) listener(trade);
}

/** Counts the times that something may have been missed, so that histories must be fetched again. */
export const resyncs = signal(0);
/** Called for private events of the user. */
let onPrivate: () => void = () => {};
export function whenPrivate(handler: () => void): void {
  onPrivate = handler;
}

const feedUrl = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/feed`;
export const feed = new FeedConnection(feedUrl, {
  opened(again) {
    book.clear();
    if (again) {
      resyncs.value += 1;
      void loadMarkets();
      void fillTrades();
      onPrivate();
    }
  },
  message: receive,
});

// Drawing is bounded by the frames of the screen and ten times a second, however fast the market moves.
let drawn = 0;
let scheduled = false;
function bookChanged(): void {
  if (scheduled) return;
  scheduled = true;
  const wait = Math.max(0, 100 - (performance.now() - drawn));
  setTimeout(() => {
    requestAnimationFrame(() => {
      scheduled = false;
      drawn = performance.now();
      bookVersion.value += 1;
    });
  }, wait);
}

/** Crossed, an update was missed; but in an auction it may well be. */
function isWrong(): boolean {
  return product.peek()?.phase !== "auction" && book.crossed();
}

let bookAskedAt = Number.NEGATIVE_INFINITY;
let bookAsked: ReturnType<typeof setTimeout> | undefined;

/**
 * Asks for the book anew if it is still wrong, at most once in a while: an auction crosses it before the feed tells that
 * there is one. The old book stays until the new one has come.
 */
function askForBook(): void {
  if (bookAsked !== undefined) return;
  bookAsked = setTimeout(
    () => {
      bookAsked = undefined;
      if (!isWrong()) return;
      bookAskedAt = performance.now();
      feed.resnapshot();
    },
    Math.max(0, bookAskedAt + BOOK_EVERY_MS - performance.now()),
  );
}

function receive(message: FeedMessage): void {
  switch (message.type) {
    case "ticker":
      tickerOf(message.product_id).value = {
        last: message.price,
        open: message.open_24h,
        high: message.high_24h,
        low: message.low_24h,
        volume: message.volume_24h,
      };
      break;
    case "snapshot":
      if (message.product_id !== product.peek()?.id) return;
      book.reset(message.bids, message.asks);
      bookChanged();
      break;
    case "l2update":
      if (message.product_id !== product.peek()?.id || !book.ready) return;
      for (const [side, price, size] of message.changes) book.set(side, price, size);
      if (isWrong()) askForBook();
      bookChanged();
      break;
    case "last_match":
    case "match":
      if (message.user_id) onPrivate();
      if (message.product_id === product.peek()?.id) {
        tellTrade(message, message.type === "match");
        addTrade(message);
      }
      break;
    case "heartbeat":
      if (message.product_id === product.peek()?.id) {
        const newest = trades.peek()[0]?.trade_id ?? 0;
        if (!tradesLoaded.peek() || message.last_trade_id > newest) void fillTrades();
      }
      break;
    case "received":
    case "open":
    case "change":
    case "done":
    case "activate":
      onPrivate();
      break;
    case "error":
      if (isRefusal(message)) void verifySession();
      break;
    case "status":
      takeMarkets(message.products);
      venueStopped.value = message.products.some((one) => one.venue_stopped);
      break;
    case "subscriptions":
      break;
  }
}

function addTrade(trade: Trade): void {
  const newest = trades.peek()[0]?.trade_id ?? 0;
  if (trade.trade_id <= newest || !tradesLoaded.peek()) return;
  if (newest > 0 && trade.trade_id > newest + 1) {
    // Trade ids have no holes, so something was missed between these two.
    void fillTrades();
    resyncs.value += 1;
    return;
  }
  trades.value = [trade, ...trades.peek()].slice(0, SHOWN_TRADES);
}

let filling = false;
async function fillTrades(): Promise<void> {
  const id = product.peek()?.id;
  if (!id || filling) return;
  filling = true;
  try {
    const recent = await api.trades(id, SHOWN_TRADES);
    if (product.peek()?.id !== id) return;
    const newest = recent[0]?.trade_id ?? 0;
    const later = trades.peek().filter((trade) => trade.trade_id > newest);
    trades.value = [...later, ...recent].slice(0, SHOWN_TRADES);
    tradesLoaded.value = true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // The next heartbeat or reconnect asks again.
  } finally {
    filling = false;
    if (product.peek()?.id !== id) void fillTrades();
  }
}

/**
 * Fetches the last 24 hours of a market as they are now. The feed tells of those of all markets, at first and then with
 * each trade; so without trades it tells nothing, while what it has told grows old.
 */
async function loadStats(id: string): Promise<void> {
  try {
    const before = tickerOf(id).peek();
    const { last, open, high, low, volume } = await api.stats(id);
    // A ticker that the feed sent meanwhile is newer than this answer.
    if (tickerOf(id).peek() !== before || !Decimal.from(last).isPositive()) return;
    tickerOf(id).value = { last, open, high, low, volume };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

/** The markets as they are now. The feed says so again and again, mostly nothing new. */
function takeMarkets(all: Product[]): void {
  const shown = all.filter((one) => one.status !== "delisted");
  if (JSON.stringify(shown) !== JSON.stringify(products.peek())) products.value = shown;
  marketsError.value = all.length === 0 ? "There are no markets yet." : null;
}

let retry: ReturnType<typeof setTimeout> | undefined;

/** Fetches the list of markets; on failure it says why and tries again. */
export async function loadMarkets(): Promise<void> {
  clearTimeout(retry);
  try {
    takeMarkets(await api.products());
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (products.value.length === 0) marketsError.value = error.message;
    retry = setTimeout(() => void loadMarkets(), 3_000);
  }
}

/** Starts what keeps this module live. Call it once. */
export function startMarket(): void {
  let current: string | null = null;
  effect(() => {
    const chosen = product.value;
    if (!chosen || chosen.id === current) return;
    current = chosen.id;
    remembered = chosen.id;
    if (marketInPath(path.peek())) save("market", chosen.id);
    book = new Book(placesOf(chosen.quote_increment), placesOf(chosen.base_increment));
    trades.value = [];
    tradesLoaded.value = false;
    toldTrade = 0;
    bookVersion.value = bookVersion.peek() + 1;
    void fillTrades();
    void loadStats(chosen.id);
  });
  setInterval(() => {
    const id = product.peek()?.id;
    if (id && !document.hidden) void loadStats(id);
  }, STATS_EVERY_MS);
  effect(() => {
    feed.want({
      tickers: products.value.map((one) => one.id),
      product: product.value?.id ?? null,
      user: userId.value,
      token: token.value,
    });
  });
  effect(() => {
    const chosen = product.value;
    const last = chosen ? tickerOf(chosen.id).value?.last : undefined;
    document.title = chosen ? `${last ? `${last} · ` : ""}${chosen.id} · Agora` : "Agora";
  });
  void loadMarkets();
}
