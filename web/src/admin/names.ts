/**
 * Names of users where the server tells only their ids.
 *
 * A list may name a hundred people at once: they are asked for a few at a time. What is known stays, also that there is
 * nobody; after a failure the id is shown, and whoever looks again later asks again.
 */
import { type Signal, signal } from "@preact/signals";
import { admin } from "../api/admin";
import { ApiError } from "../api/http";

/** How many are asked for at the same time. */
const AT_ONCE = 3;
/** How long nobody is asked for again after a failure, ms. */
const PAUSE_MS = 15_000;

interface Name {
  shown: Signal<string | null>;
  /** When it may be asked for, by `Date.now()`; never while it waits or is known. */
  due: number;
}

const names = new Map<string, Name>();
const waiting: string[] = [];
let asking = 0;

/** The email address of a user; null until it is known, the id where it cannot be. */
export function nameOf(id: string): Signal<string | null> {
  let name = names.get(id);
  if (!name) {
    name = { shown: signal<string | null>(null), due: 0 };
    names.set(id, name);
  }
  if (name.due <= Date.now()) {
    name.due = Number.POSITIVE_INFINITY;
    waiting.push(id);
    if (asking < AT_ONCE) void work();
  }
  return name.shown;
}

async function work(): Promise<void> {
  asking += 1;
  try {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) await ask(id);
  } finally {
    asking -= 1;
  }
}

async function ask(id: string): Promise<void> {
  const name = names.get(id);
  if (!name) return;
  try {
    name.shown.value = (await admin.user(id)).email;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status !== 404) name.due = Date.now() + PAUSE_MS;
    name.shown.value ??= id;
  }
}
