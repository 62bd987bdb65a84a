/** Lists that come in pages. */
import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { ApiError, type Page } from "../api/http";

/** A list as far as it was asked for. */
export interface Paged<Q, T> {
  data: Signal<T[] | null>;
  error: Signal<string | null>;
  /** Whether a page follows. */
  more: ReadonlySignal<boolean>;
  busy: Signal<boolean>;
  /** Begins anew, with this question. Answers and failures of earlier ones count for nothing from then on. */
  ask: (question: Q) => Promise<void>;
  /** Begins anew with the same question. */
  again: () => Promise<void>;
  /** Adds the page that follows, once. */
  next: () => Promise<void>;
}

/** A list in pages of `size`; a page that is not full is the last one. */
export function paged<Q, T>(
  size: number,
  load: (question: Q, after: string | null) => Promise<Page<T>>,
): Paged<Q, T> {
  const data = signal<T[] | null>(null);
  const error = signal<string | null>(null);
  const after = signal<string | null>(null);
  const busy = signal(false);
  let asked: { question: Q } | null = null;
  let turn = 0;
  const get = async (cursor: string | null): Promise<void> => {
    if (!asked) return;
    turn += 1;
    const own = turn;
    busy.value = true;
    try {
      const page = await load(asked.question, cursor);
      if (own !== turn) return;
      data.value = cursor === null ? page.items : [...(data.peek() ?? []), ...page.items];
      after.value = page.items.length >= size ? page.after : null;
      error.value = null;
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      if (own === turn) error.value = failure.message;
    } finally {
      if (own === turn) busy.value = false;
    }
  };
  return {
    data,
    error,
    more: computed(() => after.value !== null),
    busy,
    ask(question) {
      asked = { question };
      return get(null);
    },
    again: () => get(null),
    async next() {
      const cursor = after.peek();
      if (!busy.peek() && cursor !== null) await get(cursor);
    },
  };
}

/** [`paged`] for a component. */
export function usePaged<Q, T>(
  size: number,
  load: (question: Q, after: string | null) => Promise<Page<T>>,
): Paged<Q, T> {
  return useMemo(() => paged(size, load), []);
}

/** The first pages of a list as one, for lists that change in all places: together they tell of one time. */
export async function firstPages<T>(
  count: number,
  size: number,
  load: (after: string | null) => Promise<Page<T>>,
): Promise<Page<T>> {
  let all: Page<T> = { items: [], after: null };
  for (let page = 0; page < count; page += 1) {
    const { items, after } = await load(all.after);
    all = { items: [...all.items, ...items], after: items.length >= size ? after : null };
    if (all.after === null) break;
  }
  return all;
}
