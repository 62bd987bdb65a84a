/** The order that the fields of the ticket describe. */
import type { NewOrder, Side } from "../api/types";
import { canonical } from "../money/decimal";

/** An order that has no id yet. */
export type Draft = Omit<NewOrder, "client_oid">;

/** Whether these are the same order. One that was sent again is another object, made in the same way. */
export function isSameDraft(one: Draft | undefined, other: Draft): boolean {
  return one !== undefined && JSON.stringify(one) === JSON.stringify(other);
}

export type Kind = "limit" | "market";
export type Unit = "base" | "quote";

export const LIFETIMES = [
  { id: "GTC", name: "Until canceled" },
  { id: "GTT:min", name: "For a minute" },
  { id: "GTT:hour", name: "For an hour" },
  { id: "GTT:day", name: "For a day" },
  { id: "IOC", name: "Immediate or cancel" },
  { id: "FOK", name: "Fill or kill" },
] as const;
export type Lifetime = (typeof LIFETIMES)[number]["id"];

/** Whether an order with this lifetime never rests in the book. */
export function takesOnly(lifetime: Lifetime): boolean {
  return lifetime === "IOC" || lifetime === "FOK";
}

export interface Fields {
  side: Side;
  kind: Kind;
  /** What `size` counts when it is a market order. */
  unit: Unit;
  /** As typed. */
  price: string;
  size: string;
  lifetime: Lifetime;
  postOnly: boolean;
}

/** The order of these fields. The server reads numbers more strictly than the fields do, so they go in one form. */
export function draftOf(
  product_id: string,
  { side, kind, unit, price, size, lifetime, postOnly }: Fields,
): Draft {
  const order: Draft = { product_id, side, type: kind };
  if (kind === "market") {
    order[unit === "quote" ? "funds" : "size"] = canonical(size);
    return order;
  }
  order.price = canonical(price);
  order.size = canonical(size);
  const [force, after] = lifetime.split(":");
  order.time_in_force = force as NonNullable<Draft["time_in_force"]>;
  if (after) order.cancel_after = after as NonNullable<Draft["cancel_after"]>;
  if (postOnly && !takesOnly(lifetime)) order.post_only = true;
  return order;
}
