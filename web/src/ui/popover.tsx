import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

interface PopoverProps {
  label: string;
  button: ComponentChildren;
  buttonClass?: string;
  panelClass?: string;
  children: (close: () => void) => ComponentChildren;
}

/** A button with a panel below it that closes on Escape, on a click elsewhere and when the focus leaves. */
export function Popover({ label, button, buttonClass = "", panelClass = "", children }: PopoverProps) {
  const open = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  const trigger = useRef<HTMLButtonElement>(null);

  useEffect(() => {
    if (!open.value) return;
    const outside = (event: Event): void => {
      if (!root.current?.contains(event.target as Node)) open.value = false;
    };
    const onEscape = (event: KeyboardEvent): void => {
      if (event.key !== "Escape") return;
      open.value = false;
      trigger.current?.focus();
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("focusin", outside);
    document.addEventListener("keydown", onEscape);
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("focusin", outside);
      document.removeEventListener("keydown", onEscape);
    };
  }, [open.value]);

  return (
    <div class="popover" ref={root}>
      <button
        ref={trigger}
        type="button"
        class={buttonClass}
        aria-label={label}
        aria-haspopup="dialog"
        aria-expanded={open.value}
        onClick={() => {
          open.value = !open.value;
        }}
      >
        {button}
      </button>
      {open.value && (
        <div class={`popover-panel ${panelClass}`} role="dialog" aria-label={label}>
          {children(() => {
            open.value = false;
            trigger.current?.focus();
          })}
        </div>
      )}
    </div>
  );
}
