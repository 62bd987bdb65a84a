/** Sends the order of the ticket and says what came of it: on its form while that is there, otherwise by a notice. */
import { ApiError, api } from "../api/http";
import type { Order, Product } from "../api/types";
import { shortTime } from "../money/format";
import { clockAhead } from "../state/clock";
import { userId } from "../state/session";
import { notify } from "../state/toasts";
import type { Draft } from "./draft";
import { described, outcome } from "./outcome";
import { place, Unsure, type Venue } from "./unsure";

/** Where an order is written. */
export interface OrderForm {
  /** Whether it is still in sight; it goes when another market or page is shown. */
  isThere: () => boolean;
  /** Says why nothing came of the order; or nothing certain, and then it is a doubt about that order. */
  complain: (why: string, doubted?: Draft) => void;
  /** Empties it for the next order. */
  clear: () => void;
  /** The doubt about this order is over; false when it complains about nothing, or something else. */
  forgive: (doubted: Draft) => boolean;
}

export const UNKNOWN =
  "It is not known yet whether the order was placed; you are told as soon as it is. Sending it again cannot place it twice.";

const venue: Venue = {
  user: () => userId.peek(),
  send: api.place,
  find: api.orderOf,
  clockAhead,
};

export async function submit(draft: Draft, market: Product, form: OrderForm): Promise<void> {
  const user = venue.user();
  try {
    const { order, earlier } = await place(draft, venue, (found) => settle(found, draft, market, form));
    // Whoever has signed in meanwhile is not told of another's order.
    if (venue.user() !== user) return;
    const told = outcome(order, market);
    if (earlier) {
      const detail = `This is the order of ${shortTime(order.created_at)}: ${told.detail}`;
      notify("plain", "Nothing new was placed", detail);
    } else {
      notify(told.kind, told.title, told.detail);
    }
    if (!told.inVain) form.clear();
  } catch (failure) {
    if (!(failure instanceof ApiError)) throw failure;
    if (venue.user() !== user) return;
    if (failure instanceof Unsure) doubt(failure, draft, market, form);
    else if (form.isThere()) form.complain(failure.message);
    else notify("bad", "Your order was not placed", failure.message);
  }
}

/** Says that it is open what became of an order. */
function doubt({ message, turnedAway }: Unsure, draft: Draft, market: Product, form: OrderForm): void {
  if (form.isThere()) {
    form.complain(turnedAway ? `${UNKNOWN} This time it was turned away: ${message}` : UNKNOWN, draft);
    return;
  }
  const detail = `${described(draft, market)}: ${message}`;
  notify("bad", "It is not known yet whether your order was placed", detail);
}

/** It has become known what became of an order whose answer was lost; null: it was not placed. */
function settle(order: Order | null, draft: Draft, market: Product, form: OrderForm): void {
  const wasDoubted = form.forgive(draft);
  if (!order) {
    const detail = `${described(draft, market)}: it has not reached the market. Sending it again soon cannot place it twice.`;
    notify("bad", "Your order was not placed", detail);
    return;
  }
  const { kind, title, detail, inVain } = outcome(order, market);
  notify(kind, title, detail);
  if (wasDoubted && !inVain) form.clear();
}
