/** Asking the server from within a component: what it said, why it did not, and whether it is still being asked. */
import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ApiError } from "../api/http";

export interface Loaded<T> {
  data: Signal<T | null>;
  error: Signal<string | null>;
  reload: () => Promise<void>;
}

/** Loads when the component appears, and again whenever `key` changes. Answers that come too late are dropped. */
export function useLoaded<T>(load: () => Promise<T>, key: unknown = null): Loaded<T> {
  const data = useSignal<T | null>(null);
  const error = useSignal<string | null>(null);
  const turn = useRef(0);
  const reload = async (): Promise<void> => {
    turn.current += 1;
    const own = turn.current;
    try {
      const answer = await load();
      if (own !== turn.current) return;
      data.value = answer;
      error.value = null;
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      if (own === turn.current) error.value = failure.message;
    }
  };
  useEffect(() => {
    void reload();
    return () => {
      turn.current += 1;
    };
  }, [key]);
  return { data, error, reload };
}

/** Something that a person does: one at a time, with the reason when it fails. */
export interface Deed {
  busy: Signal<boolean>;
  error: Signal<string | null>;
  /** Does it, and then `after`, which looks at what came of it: also of a failure, which may have done a part. */
  run: (deed: () => Promise<void>, after?: () => Promise<void>) => void;
}

export function useDeed(): Deed {
  const busy = useSignal(false);
  const error = useSignal<string | null>(null);
  const run: Deed["run"] = (deed, after) => {
    if (busy.peek()) return;
    busy.value = true;
    error.value = null;
    void deed()
      .catch((failure: unknown) => {
        if (!(failure instanceof ApiError)) throw failure;
        error.value = failure.message;
      })
      .then(after)
      .finally(() => {
        busy.value = false;
      });
  };
  return { busy, error, run };
}
