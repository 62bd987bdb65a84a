/** What those who run the venue ask about its markets. */
import { request } from "./http";
import type { Product } from "./types";

export type MarketState = "online" | "post_only" | "limit_only" | "cancel_only" | "halted";

/** A market with all its rules. Rates and distances are shares of one. */
export interface MarketRules extends Product {
  state: MarketState;
  min_size: string;
  max_size: string;
  min_funds: string;
  max_funds: string;
  max_open_orders: number;
  /** How far a limit price may lie from the last trade; absent when it may lie anywhere. */
  price_band?: string;
  reference_price: string | null;
  /** How far a trade may lie from the reference price before the market halts; absent when it never does. */
  halt?: string;
  halt_window_ms: number;
  auction_ms: number;
}

/** Rules to set, by their name on the wire. */
export type RuleChanges = Record<string, string | number>;

export interface NewCurrency {
  id: string;
  name: string;
  decimals: number;
  fiat: boolean;
}

export interface Currency {
  id: string;
  name: string;
}

export interface Killed {
  engaged: boolean;
  canceled_orders: number;
}

const id = encodeURIComponent;

export const adminMarkets = {
  list: () => request<MarketRules[]>("GET", "/admin/markets"),
  currencies: () => request<Currency[]>("GET", "/currencies"),
  add: (market: RuleChanges) => request<MarketRules>("POST", "/admin/markets", market),
  addCurrency: (currency: NewCurrency) => request<Currency>("POST", "/admin/currencies", currency),
  change: (market: string, rules: RuleChanges) =>
    request<MarketRules>("PATCH", `/admin/markets/${id(market)}`, rules),
  beginAuction: (market: string, seconds: number) =>
    request<{ ends_at: string }>("POST", `/admin/markets/${id(market)}/auction`, { seconds }),
  /** The kill switch of a market, or without one of the whole venue. */
  kill: (market: string | null, engaged: boolean, reason: string) =>
    request<Killed>("POST", "/admin/kill", {
      engaged,
      reason,
      ...(market === null ? { scope: "venue" } : { scope: "market", product_id: market }),
    }),
};
