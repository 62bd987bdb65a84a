import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

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
export function SureWhy({ name, ask, about, placeholder, required, disabled, onSure }: SureWhyProps) {
  const asking = useSignal(false);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (asking.value) field.current?.focus();
  }, [asking.value]);
  if (!asking.value) {
    return (
      <button
        type="button"
        class="button small danger"
        disabled={disabled}
        onClick={() => {
          asking.value = true;
        }}
      >
        {name}
      </button>
    );
  }
  return (
    <form
      class="sure-why"
      onSubmit={(event) => {
        event.preventDefault();
        asking.value = false;
        onSure(field.current?.value.trim() ?? "");
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
          if (event.key === "Escape") asking.value = false;
        }}
      />
      <span class="sure">
        <button type="submit" class="button small danger solid" disabled={disabled}>
          {ask}
        </button>
        <button
          type="button"
          class="button small"
          onClick={() => {
            asking.value = false;
          }}
        >
          Keep
        </button>
      </span>
    </form>
  );
}
