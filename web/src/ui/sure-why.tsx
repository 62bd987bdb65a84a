import { useEffect, useRef } from "preact/hooks";
import { useAsking, useMeant } from "./sure";

interface SureWhyProps {
  /** On the button before it was pressed. */
  name: string;
  /** On the button that does it. */
  ask: string;
  /** What happens then, in a sentence. */
  about?: string;
  placeholder?: string;
  /** Whether it is not done without a reason. */
  required?: boolean;
  disabled?: boolean;
  onSure: (why: string) => void;
}

/** A button that asks why, and so once more, before it does what others will feel. */
export function SureWhy({ name, onSure, ...why }: SureWhyProps) {
  const { asking, trigger } = useAsking();
  const close = (): void => {
    asking.value = false;
  };
  if (asking.value) {
    return (
      <Why
        {...why}
        onKeep={close}
        onSure={(text) => {
          close();
          onSure(text);
        }}
      />
    );
  }
  return (
    <button
      ref={trigger}
      type="button"
      class="button small danger"
      aria-disabled={why.disabled === true}
      onClick={() => {
        if (!why.disabled) asking.value = true;
      }}
    >
      {name}
    </button>
  );
}

interface WhyProps extends Omit<SureWhyProps, "name"> {
  onKeep: () => void;
}

function Why({ ask, about, placeholder, required, disabled, onKeep, onSure }: WhyProps) {
  const field = useRef<HTMLInputElement>(null);
  const meant = useMeant();
  useEffect(() => field.current?.focus(), []);
  const idle = !meant.value || disabled === true;
  return (
    <form
      class="sure-why"
      onSubmit={(event) => {
        event.preventDefault();
        if (!idle) onSure(field.current?.value.trim() ?? "");
      }}
    >
      {about && <p>{about}</p>}
      <input
        ref={field}
        aria-label="Why"
        placeholder={placeholder ?? "Why"}
        maxLength={500}
        required={required}
        onKeyDown={(event) => {
          if (event.key === "Escape") onKeep();
        }}
      />
      <span class="sure">
        <button type="button" class="button small" onClick={onKeep}>
          Keep
        </button>
        <button type="submit" class="button small danger solid" aria-disabled={idle}>
          {ask}
        </button>
      </span>
    </form>
  );
}
