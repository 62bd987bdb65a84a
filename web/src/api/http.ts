/** The REST side of the server: one function per question the app asks. */
import type { Account, Candle, Fill, NewOrder, Order, Product, Session, Stats, Trade, User } from "./types";

/** A refusal or failure, with the text that the server gave for it. Status 0: the server was not reached. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly code?: string,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** How long an answer may take, ms. What a line swallows would be waited for without end otherwise. */
const ANSWERED_WITHIN_MS = 15_000;

let token: string | null = null;
/** Whose token it is. */
let owner: string | null = null;
let onUnauthorized: (() => void) | null = null;
let onExpired: ((old: string) => Promise<boolean>) | null = null;

/** Sets the token that private requests carry, and whose it is; null for none. */
export function useToken(next: string | null, user: string | null): void {
  token = next;
  owner = user;
}

/** Called whenever the server does not accept the token any more. */
export function whenUnauthorized(handler: () => void): void {
  onUnauthorized = handler;
}

/** Called with a token whose time is over; resolves to whether there is a new one now. */
export function whenExpired(handler: (old: string) => Promise<boolean>): void {
  onExpired = handler;
}

/**
 * Asks the server; `T` is the shape of the answer. A Blob goes as it is and takes as long as it takes, everything else
 * goes as JSON.
 */
export async function request<T>(method: string, path: string, body?: unknown, again = true): Promise<T> {
  return (await exchange<T>(method, path, body, again)).answer;
}

/** One page of a list, with the cursor of the next one. */
export interface Page<T> {
  items: T[];
  after: string | null;
}

/** Asks for a page; `path` has a query already. */
export async function requestPage<T>(path: string, after: string | null): Promise<Page<T>> {
  const { answer, headers } = await exchange<T[]>("GET", after ? `${path}&after=${id(after)}` : path);
  return { items: answer, after: headers.get("cb-after") };
}

/** The headers that say who asks, for requests whose answer is a stream. */
export function credentials(): Record<string, string> {
  return token ? { authorization: `Bearer ${token}` } : {};
}

async function exchange<T>(
  method: string,
  path: string,
  body?: unknown,
  again = true,
): Promise<{ answer: T; headers: Headers }> {
  const headers: Record<string, string> = { accept: "application/json" };
  const sent = token;
  const asker = owner;
  if (sent) headers.authorization = `Bearer ${sent}`;
  const init: RequestInit = { method, headers, cache: "no-store" };
  if (body instanceof Blob) {
    init.body = body;
  } else {
    init.signal = AbortSignal.timeout(ANSWERED_WITHIN_MS);
    if (body !== undefined) {
      headers["content-type"] = "application/json";
      init.body = JSON.stringify(body);
    }
  }

  let response: Response;
  let text: string;
  try {
    response = await fetch(`/v1${path}`, init);
    // Within the try too: a line that breaks within the body tells as little as no answer.
    text = await response.text();
  } catch (error) {
    const late = error instanceof Error && error.name === "TimeoutError";
    const what = late ? "The server does not answer." : "The server cannot be reached.";
    throw new ApiError(0, `${what} Check your connection and try again.`);
  }
  let answer: unknown = null;
  try {
    answer = text === "" ? null : JSON.parse(text);
  } catch {
    if (response.ok) throw new ApiError(response.status, "The server sent an answer that cannot be read.");
  }
  if (response.ok) return { answer: answer as T, headers: response.headers };
  const fault = (answer ?? {}) as { message?: unknown; code?: unknown };
  const expired = response.status === 401 && fault.code === "token_expired";
  if (expired && sent && again && onExpired && asker === owner) {
    // Another user may have come meanwhile, in whose name it must not be asked again.
    if ((await onExpired(sent)) && asker === owner) return exchange<T>(method, path, body, false);
  }
  // A late answer to an older session must not end the present one.
  const ended =
    fault.code === "token_revoked" || fault.code === "token_expired" || fault.code === "token_invalid";
  if (response.status === 401 && ended && sent && sent === token) onUnauthorized?.();
  throw new ApiError(
    response.status,
    typeof fault.message === "string" ? fault.message : `The server answered with status ${response.status}.`,
    typeof fault.code === "string" ? fault.code : undefined,
  );
}

/** How many open orders are asked for at once: the most that the server gives. */
export const ORDERS_PAGE = 1_000;
/** How many fills are asked for at once. */
export const FILLS_PAGE = 100;
/** How many buckets of candles are asked for at once: the most that the server gives. */
export const CANDLES_PAGE = 300;

const id = encodeURIComponent;

export const api = {
  signUp: (email: string, password: string) => request<Session>("POST", "/auth/sign-up", { email, password }),
  signIn: (email: string, password: string, totp?: string) =>
    request<Session>("POST", "/auth/sign-in", { email, password, totp }),
  /** Takes the tokens of a session that began in cookies, as one through a provider does. */
  fromCookies: () => request<Session>("POST", "/auth/refresh", { cookies: false }, false),
  /** Finishes a sign-in through a provider with a code of the second factor. */
  secondFactor: (ticket: string, totp: string) =>
    request<Session>("POST", "/auth/second-factor", { ticket, totp }),
  forgotPassword: (email: string) => request<unknown>("POST", "/auth/password/forgot", { email }),
  resetPassword: (email: string, code: string, new_password: string) =>
    request<unknown>("POST", "/auth/password/reset", { email, code, new_password }),
  providers: () => request<{ id: string; name: string }[]>("GET", "/auth/providers"),
  notice: () => request<{ notice: string; demo_funds: boolean }>("GET", "/notice"),
  refresh: (refresh_token: string) => request<Session>("POST", "/auth/refresh", { refresh_token }, false),
  signOut: () => request<unknown>("POST", "/auth/sign-out"),
  me: () => request<User>("GET", "/auth/me"),

  /** The server's clock, in seconds since 1970. */
  time: () => request<{ epoch: number }>("GET", "/time"),
  products: () => request<Product[]>("GET", "/products"),
  stats: (product: string) => request<Stats>("GET", `/products/${id(product)}/stats`),
  trades: (product: string, limit: number) =>
    request<Trade[]>("GET", `/products/${id(product)}/trades?limit=${limit}`),
  /**
   * Candles of the latest buckets (`CANDLES_PAGE` of them), or of those that end with `before` (seconds). Newest first;
   * buckets without trades are left out.
   */
  candles: (product: string, granularity: number, before?: number) => {
    const range =
      before === undefined
        ? ""
        : `&start=${isoSeconds(before - (CANDLES_PAGE - 1) * granularity)}&end=${isoSeconds(before)}`;
    return request<Candle[]>("GET", `/products/${id(product)}/candles?granularity=${granularity}${range}`);
  },

  accounts: () => request<Account[]>("GET", "/accounts"),
  openOrders: (after: string | null) =>
    requestPage<Order>(`/orders?status=open&status=pending&status=active&limit=${ORDERS_PAGE}`, after),
  fills: (product: string, after: string | null) =>
    requestPage<Fill>(`/fills?product_id=${id(product)}&limit=${FILLS_PAGE}`, after),
  place: (order: NewOrder) => request<Order>("POST", "/orders", order),
  /** The order that was placed with this id of ours. */
  orderOf: (client_oid: string) => request<Order>("GET", `/orders/client:${id(client_oid)}`),
  cancel: (order: string) => request<string>("DELETE", `/orders/${id(order)}`),
  cancelAll: (product?: string) =>
    request<string[]>("DELETE", product ? `/orders?product_id=${id(product)}` : "/orders"),
  demoDeposit: (currency: string, amount: string) =>
    request<unknown>("POST", "/deposits/demo", { currency, amount }),
};

function isoSeconds(seconds: number): string {
  return id(new Date(seconds * 1000).toISOString());
}
