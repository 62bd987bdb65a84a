/** Asking once more before something is done that cannot be undone, or that others feel. */
import { type Signal, useSignal } from "@preact/signals";
import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

/** For so long after the question a click may still be the second half of a double click, ms. */
const DOUBLE_CLICK_MS = 500;

/** Whether it is being asked now. The focus goes back to `trigger` when that is over. */
export function useAsking(): { asking: Signal<boolean>; trigger: RefObject<HTMLButtonElement | null> } {
  const asking = useSignal(false);
  const trigger = useRef<HTMLButtonElement>(null);
  const before = useRef(false);
  useEffect(() => {
    if (before.current && !asking.value) trigger.current?.focus();
    before.current = asking.value;
  }, [asking.value]);
  return { asking, trigger };
}

/** Whether the question has stood there long enough for a click on its answer to be meant. */
export function useMeant(): Signal<boolean> {
  const meant = useSignal(false);
  useEffect(() => {
    const timer = setTimeout(() => {
      meant.value = true;
    }, DOUBLE_CLICK_MS);
    return () => clearTimeout(timer);
  }, []);
  return meant;
}

interface ConfirmProps {
  /** On the button that does it. */
  ask: string;
  /** What happens then. */
  about?: ComponentChildren;
  /** How the button that does it looks. */
  kind?: "danger solid" | "primary";
  disabled?: boolean | undefined;
  onKeep: () => void;
  onSure: () => void;
}

/** The question: the focus is on the harmless answer, and a double click on what stood here before does nothing. */
export function Confirm({ ask, about, kind = "danger solid", disabled, onKeep, onSure }: ConfirmProps) {
  const keep = useRef<HTMLButtonElement>(null);
  const meant = useMeant();
  const id = useId();
  useEffect(() => keep.current?.focus(), []);
  const idle = !meant.value || disabled === true;
  return (
    <div
      class={about ? "sure-why" : undefined}
      role="group"
      aria-label={`${ask}?`}
      onKeyDown={(event) => {
        if (event.key === "Escape") onKeep();
      }}
    >
      {about && <p id={id}>{about}</p>}
      <span class="sure">
        <button
          ref={keep}
          type="button"
          class="button small"
          aria-describedby={about ? id : undefined}
          onClick={onKeep}
        >
          Keep
        </button>
        <button
          type="button"
          class={`button small ${kind}`}
          aria-disabled={idle}
          onClick={() => {
            if (!idle) onSure();
          }}
        >
          {ask}
        </button>
      </span>
    </div>
  );
}

interface SureProps extends Pick<ConfirmProps, "ask" | "about" | "kind" | "disabled" | "onSure"> {
  /** On the button before it was pressed. */
  name: string;
  /** Told when the question appears, and when it is gone. */
  onAsking?: (asking: boolean) => void;
}

/** A button that asks once more. */
export function Sure({ name, onAsking, onSure, ...confirm }: SureProps) {
  const { asking, trigger } = useAsking();
  useEffect(() => {
    if (!asking.value) return;
    onAsking?.(true);
    // Also when the whole row goes away.
    return () => onAsking?.(false);
  }, [asking.value]);
  const close = (): void => {
    asking.value = false;
  };
  if (asking.value) {
    return (
      <Confirm
        {...confirm}
        onKeep={close}
        onSure={() => {
          close();
          onSure();
        }}
      />
    );
  }
  return (
    <button
      ref={trigger}
      type="button"
      class={`button small ${confirm.kind ?? "danger"}`}
      // Disabled outright it would lose the focus that just came back.
      aria-disabled={confirm.disabled === true}
      onClick={() => {
        if (!confirm.disabled) asking.value = true;
      }}
    >
      {name}
    </button>
  );
}
