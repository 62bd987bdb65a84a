/**
 * Sends orders so that a lost answer makes no second order.
 *
 * The server answers a `client_oid` that it knows with the order that came first. So the id of an order is kept until
 * its fate is known, and whoever sends the same order again meanwhile sends the same id.
 */
import { ApiError } from "../api/http";
import type { NewOrder, Order } from "../api/types";
import type { Draft } from "./draft";

/** Ids of orders whose fate is not known, by user and order. */
const kept = new Map<string, string>();

/** These turn a request away before anybody looks at its order, so they tell nothing about an earlier sending. */
const TELL_NOTHING = [401, 403, 408, 429];

/** Whether a failure leaves open if the order was placed. An answer that cannot be read has a good status. */
export function isUnknown({ status, code }: Pick<ApiError, "status" | "code">): boolean {
  // The venue says so itself when it took nothing for now.
  if (status === 503 && code !== undefined && code !== "outcome_unknown") return false;
  return status < 400 || status >= 500;
}

export async function place(
  user: string,
  draft: Draft,
  send: (order: NewOrder) => Promise<Order>,
): Promise<Order> {
  const key = JSON.stringify([user, draft]);
  const client_oid = kept.get(key) ?? uuid();
  kept.set(key, client_oid);
  try {
    const placed = await send({ ...draft, client_oid });
    kept.delete(key);
    return placed;
  } catch (error) {
    const status = error instanceof ApiError ? error.status : 0;
    const refused = status >= 400 && status < 500 && !TELL_NOTHING.includes(status);
    if (refused) kept.delete(key);
    throw error;
  }
}

/** A random (version 4) UUID. `crypto.randomUUID` exists in secure contexts only; this works everywhere. */
function uuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
