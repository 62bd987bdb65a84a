import type { ComponentChildren } from "preact";
import { Decimal } from "../money/decimal";
import { typedNumber } from "../money/typed";

const DECIMAL_COMMA = (1.1).toLocaleString().includes(",");

interface NumberFieldProps {
  id: string;
  label: string;
  unit: ComponentChildren;
  value: string;
  onInput: (text: string) => void;
  /** How much an arrow key changes the value; ten times as much with shift. */
  step: Decimal;
}

/** A decimal as text: typed freely, stepped with the arrow keys, never turned into a float. */
export function NumberField({ id, label, unit, value, onInput, step }: NumberFieldProps) {
  const stepBy = (event: KeyboardEvent): void => {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    event.preventDefault();
    const size = event.shiftKey ? step.mul(Decimal.of(10n, 0)) : step;
    const current = Decimal.parse(value) ?? Decimal.ZERO;
    const next = event.key === "ArrowUp" ? current.add(size) : current.sub(size);
    onInput((next.units < 0n ? Decimal.ZERO : next).toString());
  };
  return (
    <div class="number-field">
      <label for={id}>{label}</label>
      <input
        id={id}
        type="text"
        inputMode="decimal"
        autocomplete="off"
        spellcheck={false}
        placeholder="0"
        value={value}
        onKeyDown={stepBy}
        onInput={(event) => {
          const pasted = /^insertFrom(Paste|Drop)/.test(event.inputType ?? "");
          const text = typedNumber(event.currentTarget.value, pasted, DECIMAL_COMMA);
          event.currentTarget.value = text;
          onInput(text);
        }}
      />
      <span class="unit">{unit}</span>
    </div>
  );
}
