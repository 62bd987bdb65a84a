/** What the panels of the trading view tell each other. */
import { signal } from "@preact/signals";

export type View = "chart" | "trade" | "account";

/** Which view a phone shows; without meaning on wide screens. */
export const view = signal<View>("chart");

/** A price that was chosen in the book, for the order ticket to take over. */
export const picked = signal<{ price: string } | null>(null);
