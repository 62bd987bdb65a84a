/** What the server sends. Decimals are strings in plain notation and stay strings until they are computed with. */

export type Side = "buy" | "sell";

export interface Product {
  id: string;
  base_currency: string;
  quote_currency: string;
  base_increment: string;
  quote_increment: string;
  min_market_funds?: string;
  /** What a fill costs those whose order rested, and those whose order met it: shares of one. */
  maker_fee_rate: string;
  taker_fee_rate: string;
  display_name?: string;
  status: string;
  status_message?: string | null;
  post_only?: boolean;
  limit_only?: boolean;
  cancel_only?: boolean;
  trading_disabled?: boolean;
  phase?: "trading" | "auction" | "stopped";
  /** Why the phase is what it is: `volatility_halt`, `auction_asked`, `kill_switch`. */
  phase_reason?: string;
  /** The call auction that goes on. */
  auction?: Auction;
}

export interface Auction {
  ends_at: string;
  /** The price at which it would trade now, if anything could, and how much. */
  indicative_price: string | null;
  indicative_size: string;
}

export interface Stats {
  open: string;
  high: string;
  low: string;
  last: string;
  volume: string;
}

export interface Trade {
  trade_id: number;
  /** The side of the resting order: "sell" means that the taker bought. */
  side: Side;
  price: string;
  size: string;
  time: string;
}

/** `[time, low, high, open, close, volume]`, time in seconds, newest first in a list. */
export type Candle = [number, number, number, number, number, number];

export interface Account {
  id: string;
  currency: string;
  balance: string;
  hold: string;
  available: string;
}

export interface Order {
  id: string;
  product_id: string;
  side: Side;
  type: "limit" | "market";
  price?: string;
  size?: string;
  funds?: string;
  stop_price?: string;
  time_in_force?: string;
  post_only?: boolean;
  status: string;
  /** Of one that is done: `filled`, or `canceled` for whatever else ended it. */
  done_reason?: string;
  filled_size?: string;
  executed_value?: string;
  created_at: string;
}

export interface Fill {
  trade_id: number;
  product_id: string;
  order_id: string;
  liquidity: "M" | "T";
  price: string;
  size: string;
  fee: string;
  /** The side of the user who asks. */
  side: Side;
  created_at: string;
}

export type Role = "user" | "support" | "moderator" | "admin";

export interface User {
  id: string;
  email: string;
  /** False for those whose sign-in provider told no address: no mail reaches `email` then. */
  has_email?: boolean;
  /** Whether the user has shown to read the mail of `email`; only then anything is mailed unasked. Told by `me` alone. */
  email_confirmed?: boolean;
  role?: Role;
  name?: string;
  photo?: string;
  created_at?: string;
}

export interface Session {
  user: User;
  access_token: string;
  /** Gets the next access token, once. */
  refresh_token?: string | null;
  expires_at?: string | number;
}

/** The body of `POST /v1/orders`. */
export interface NewOrder {
  product_id: string;
  side: Side;
  type: "limit" | "market";
  price?: string;
  size?: string;
  funds?: string;
  time_in_force?: "GTC" | "GTT" | "IOC" | "FOK";
  cancel_after?: "min" | "hour" | "day";
  post_only?: boolean;
  client_oid: string;
}

/** Messages of the feed that this app understands; others are ignored. */
export type FeedMessage =
  | { type: "snapshot"; product_id: string; bids: [string, string][]; asks: [string, string][] }
  | { type: "l2update"; product_id: string; changes: [Side, string, string][] }
  | ({ type: "match" | "last_match"; product_id: string; user_id?: string } & Trade)
  | {
      type: "ticker";
      product_id: string;
      price: string;
      open_24h: string;
      high_24h: string;
      low_24h: string;
      volume_24h: string;
    }
  | { type: "heartbeat"; product_id: string; last_trade_id: number }
  | { type: "received" | "open" | "change" | "done" | "activate"; product_id: string; user_id?: string }
  | { type: "status"; products: (Product & { venue_stopped: boolean })[] }
  | { type: "subscriptions" }
  | { type: "error"; message: string; reason: string };
