import type { MarketRules } from "../api/admin-markets";
import { GROUPS, type RuleField, type Texts, textOf } from "./rules";

/** What the server would not take for a number, so that it is said before. */
const FORMS: Partial<Record<RuleField["kind"], { pattern: string; title: string }>> = {
  seconds: { pattern: "\\d+(\\.\\d{1,3})?", title: "Seconds, such as 90 or 1.5" },
  count: { pattern: "\\d+", title: "A whole number" },
};

interface Props {
  /** The rules as they are; null for a market that is not listed yet. */
  rules: MarketRules | null;
  /** The codes of its currencies, as units; empty while they are not known. */
  base: string;
  quote: string;
  /** What was typed so far, by name. */
  texts: Texts;
  onText: (name: string, text: string) => void;
}

/** The fields of a market's rules, for one that is listed and for one that is to be. */
export function RuleFields({ rules, base, quote, texts, onText }: Props) {
  const units = { percent: "%", seconds: "s", base, quote, count: "" };
  const shown = (field: RuleField): string => texts[field.name] ?? (rules ? textOf(rules, field) : "");
  const halts = GROUPS.flatMap((group) => group.fields).some(
    (field) => field.name === "halt" && shown(field).trim() !== "",
  );
  return (
    <div class="rule-groups">
      {GROUPS.map((group) => (
        <fieldset key={group.name} class="rule-group">
          <legend>{group.name}</legend>
          {group.about && <p class="muted">{group.about}</p>}
          <div class="rule-fields">
            {group.fields.map((field) => {
              // Times of a halt mean nothing where there is none.
              const off = field.kind === "seconds" && !halts;
              const { pattern, title } = FORMS[field.kind] ?? {};
              return (
                <label key={field.name} class="field">
                  <span>{field.label}</span>
                  <span class="united">
                    <input
                      name={field.name}
                      value={off ? "" : shown(field)}
                      placeholder={field.usual}
                      inputMode="decimal"
                      autocomplete="off"
                      pattern={pattern}
                      title={title}
                      disabled={off}
                      required={rules !== null && !field.optional && textOf(rules, field) !== ""}
                      onInput={(event) => onText(field.name, event.currentTarget.value)}
                    />
                    {units[field.kind] && <i>{units[field.kind]}</i>}
                  </span>
                </label>
              );
            })}
          </div>
        </fieldset>
      ))}
    </div>
  );
}
