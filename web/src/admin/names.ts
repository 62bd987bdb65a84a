/** Names of users where the server tells only their ids: each is asked for once. */
import { type Signal, signal } from "@preact/signals";
import { admin } from "../api/admin";
import { ApiError } from "../api/http";

const names = new Map<string, Signal<string | null>>();

/** The email address of a user; null until it is known, the id where it cannot be. */
export function nameOf(id: string): Signal<string | null> {
  const known = names.get(id);
  if (known) return known;
  const name = signal<string | null>(null);
  names.set(id, name);
  void ask(id, name);
  return name;
}

async function ask(id: string, name: Signal<string | null>): Promise<void> {
  try {
    name.value = (await admin.user(id)).email;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    name.value = id;
  }
}
