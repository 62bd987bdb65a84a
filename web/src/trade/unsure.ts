/**
 * Sends orders so that a lost answer makes no second order, and finds out what became of those whose answer was lost.
 *
 * The server answers a `client_oid` that it knows with the order that came first. So the id of an order is kept until
 * its fate is known, and whoever sends the same order again meanwhile sends the same id. From a lost answer on the
 * server is asked for that id, until it has the order or has not known it for long enough. Even then a request may be
 * on its way, so the id is kept for a while longer: that of an order that was never placed costs nothing.
 */
import { ApiError } from "../api/http";
import type { NewOrder, Order } from "../api/types";
import type { Draft } from "./draft";

/** The venue, as far as it is needed here. */
export interface Venue {
  /** Who is signed in; null: nobody. */
  user: () => string | null;
  send: (order: NewOrder) => Promise<Order>;
  /** The order with this id of ours; fails with status 404 when there is none. */
  find: (client_oid: string) => Promise<Order>;
  /** By how much its clock is ahead of ours, ms; null when nobody knows. Answers soon. */
  clockAhead: () => Promise<number | null>;
}

/** An order whose fate is not known. */
interface Sending {
  client_oid: string;
  /** When its fate became unknown last, ms of `performance.now()`. Its sending may have begun long before. */
  at: number;
  /** It is being sent, and that answer tells more than any question. */
  underWay: boolean;
  /** The server is asked about it. */
  followed: boolean;
  /** Hears what became of it; null: it was not placed. */
  tell: (order: Order | null) => void;
}

/** By user and order. */
const kept = new Map<string, Sending>();

/** Pauses before the server is asked what became of an order, ms; the last one again and again. */
const ASK_AFTER_MS = [1_000, 2_000, 4_000, 6_000, 8_000, 15_000];
/** An order that the server does not know may be on its way there or within it, but not for so long, ms. */
const ARRIVED_WITHIN_MS = 20_000;
/**
 * An id that nobody follows any more goes again with the same order for so long, ms; and for so long it is followed
 * while its user is not signed in.
 */
const KEPT_FOR_MS = 600_000;
/** An order that is so much older than its sending came with an earlier one, ms. */
const EARLIER_MS = 5_000;

/** These turn a request away before anybody looks at its order, so they tell nothing about an earlier sending. */
const TELL_NOTHING = [401, 403, 408, 429];

/** Whether a failure leaves open if the order was placed. An answer that cannot be read has a good status. */
export function isUnknown({ status, code }: Pick<ApiError, "status" | "code">): boolean {
  // The venue says so itself when it took nothing for now.
  if (status === 503 && code !== undefined && code !== "outcome_unknown") return false;
  return status < 400 || status >= 500;
}

/** The failure of a sending after which it is open whether the order was placed, by this one or an earlier one. */
export class Unsure extends ApiError {
  constructor(
    { status, message, code }: ApiError,
    /** This sending did nothing, but what an earlier one did is not known yet. */
    readonly turnedAway: boolean,
  ) {
    super(status, message, code);
  }
}

export interface Placed {
  order: Order;
  /** It is surely one of before: an earlier sending had arrived, and nothing was placed now. */
  earlier: boolean;
}

/**
 * Places an order. A failure that leaves its fate open is `Unsure`: `tell` hears later what became of it, unless the same
 * order is sent again before that.
 */
export async function place(
  draft: Draft,
  venue: Venue,
  tell: (order: Order | null) => void,
): Promise<Placed> {
  const user = venue.user() ?? "";
  const key = JSON.stringify([user, draft]);
  forgetOld();
  const before = kept.get(key);
  const sending = before ?? { client_oid: uuid(), at: 0, underWay: true, followed: false, tell };
  kept.set(key, sending);
  sending.underWay = true;
  sending.tell = tell;
  const since = Date.now();
  let order: Order;
  try {
    order = await venue.send({ ...draft, client_oid: sending.client_oid });
    kept.delete(key);
  } catch (error) {
    const failure = error instanceof ApiError ? error : new ApiError(0, String(error));
    if (isUnknown(failure)) {
      sending.at = performance.now();
      void follow(key, sending, user, venue);
      throw new Unsure(failure, false);
    }
    // The order itself was refused, or turned away when it had never been sent before.
    if (!before || !tellsNothing(failure)) kept.delete(key);
    else if (sending.followed) throw new Unsure(failure, true);
    throw error;
  } finally {
    sending.underWay = false;
  }
  if (!before) return { order, earlier: false };
  // Our clock may be off by more than what lies between two sendings.
  const ahead = await venue.clockAhead();
  return { order, earlier: ahead !== null && since + ahead - Date.parse(order.created_at) > EARLIER_MS };
}

/** Gives up the ids of orders that nobody follows and that have not been sent for long. */
function forgetOld(): void {
  for (const [key, { at, underWay, followed }] of kept) {
    if (!underWay && !followed && performance.now() - at > KEPT_FOR_MS) kept.delete(key);
  }
}

function tellsNothing({ status }: ApiError): boolean {
  return status >= 500 || TELL_NOTHING.includes(status);
}

/** Asks what became of an order until that is known, and tells it. */
async function follow(key: string, sending: Sending, user: string, venue: Venue): Promise<void> {
  if (sending.followed) return;
  sending.followed = true;
  const isOpen = (): boolean => kept.get(key) === sending;
  let seen = performance.now();
  try {
    // Whoever has signed out may be back soon, but not be waited for without end.
    for (let turn = 0; isOpen() && performance.now() - seen < KEPT_FOR_MS; turn += 1) {
      await pause(ASK_AFTER_MS[turn] ?? ASK_AFTER_MS.at(-1) ?? 0);
      // Whoever has signed in meanwhile has no such order, which would say nothing; nor are they to be told of it.
      if (venue.user() !== user) continue;
      seen = performance.now();
      if (!isOpen() || sending.underWay) continue;
      const { at } = sending;
      const found = await fate(sending, venue);
      // What was sent once more meanwhile may be on its way still.
      if (found === undefined || !isOpen() || sending.underWay || sending.at !== at) continue;
      if (venue.user() !== user) continue;
      if (found) kept.delete(key);
      sending.tell(found);
      return;
    }
  } finally {
    sending.followed = false;
  }
}

/** What became of an order; null when it was not placed, undefined while that is not known. */
async function fate({ client_oid, at }: Sending, venue: Venue): Promise<Order | null | undefined> {
  const hasArrived = performance.now() - at >= ARRIVED_WITHIN_MS;
  try {
    return await venue.find(client_oid);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return error.status === 404 && hasArrived ? null : undefined;
  }
}

const pause = (ms: number): Promise<void> => new Promise((over) => setTimeout(over, ms));

/** A random (version 4) UUID. `crypto.randomUUID` exists in secure contexts only; this works everywhere. */
function uuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
