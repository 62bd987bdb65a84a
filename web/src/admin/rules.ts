/** The rules of a market as texts in a form, and back as what changes. */
import type { MarketRules, RuleChanges } from "../api/admin-markets";
import { Decimal } from "../money/decimal";
import { compact, grouped } from "../money/format";
import { percentOf, shareOf } from "../money/percent";

/** How a rule is written: a share of one as percent, milliseconds as seconds, an amount of a currency, a count. */
type Kind = "percent" | "seconds" | "base" | "quote" | "count";

export interface RuleField {
  name: keyof MarketRules & string;
  label: string;
  kind: Kind;
  /** An empty field takes the rule away. */
  optional?: boolean;
  /** What a new market has when nothing is said. */
  usual: string;
}

export const GROUPS: readonly { name: string; about?: string; fields: readonly RuleField[] }[] = [
  {
    name: "Fees",
    fields: [
      { name: "maker_fee_rate", label: "Maker", kind: "percent", usual: "0.1" },
      { name: "taker_fee_rate", label: "Taker", kind: "percent", usual: "0.2" },
    ],
  },
  {
    name: "Orders",
    fields: [
      { name: "min_size", label: "Smallest size", kind: "base", usual: "one size step" },
      { name: "max_size", label: "Largest size", kind: "base", usual: "no limit" },
      { name: "min_funds", label: "Smallest value", kind: "quote", usual: "none" },
      { name: "max_funds", label: "Largest value", kind: "quote", usual: "no limit" },
      { name: "max_open_orders", label: "Open orders of one user", kind: "count", usual: "10000" },
    ],
  },
  {
    name: "Price band",
    about: "Refuses limit prices that lie further from the last trade.",
    fields: [
      { name: "price_band", label: "Distance", kind: "percent", optional: true, usual: "none" },
      { name: "reference_price", label: "Before the first trade, from", kind: "quote", usual: "none" },
    ],
  },
  {
    name: "Volatility halt",
    about: "A trade further from the reference price does not happen; a call auction begins instead.",
    fields: [
      { name: "halt", label: "Distance", kind: "percent", optional: true, usual: "never" },
      { name: "halt_window_ms", label: "Reference renewed after", kind: "seconds", usual: "300" },
      { name: "auction_ms", label: "Auction lasts", kind: "seconds", usual: "120" },
    ],
  },
];

const FIELDS = GROUPS.flatMap((group) => group.fields);

export type Texts = Partial<Record<string, string>>;

/** The rule as it stands in its field; empty when there is none. */
export function textOf(rules: MarketRules, { name, kind }: RuleField): string {
  const value = rules[name];
  if (value === undefined || value === null) return "";
  if (kind === "percent") return percentOf(String(value));
  if (kind === "seconds") return value === 0 ? "" : String(Number(value) / 1_000);
  return String(value);
}

/** What the server is told of these texts: those that differ from the rules, without rules those that say anything. */
export function changesOf(texts: Texts, rules: MarketRules | null): RuleChanges {
  const changes: RuleChanges = {};
  for (const field of FIELDS) {
    const text = texts[field.name]?.trim();
    if (text === undefined || text === (rules ? textOf(rules, field) : "")) continue;
    if (text === "") {
      if (field.optional) changes[field.name] = "0";
    } else if (field.kind === "percent") changes[field.name] = shareOf(text);
    else if (field.kind === "seconds") changes[field.name] = Math.round(Number(text) * 1_000);
    else if (field.kind === "count") changes[field.name] = Number(text);
    else changes[field.name] = text;
  }
  return changes;
}

/** More size steps than this are a market's way to say that an order may have any size. */
const ANY_SIZE = Decimal.of(2n ** 47n, 0);

/** From which size to which an order may be. */
export function sizesOf({ min_size, max_size, base_increment }: MarketRules): string {
  const most = Decimal.from(max_size);
  if (most.cmp(ANY_SIZE.mul(Decimal.from(base_increment))) > 0) return `${grouped(min_size)} and more`;
  return `${grouped(min_size)} – ${compact(most).replace(/\.00(?=[KMB]?$)/, "")}`;
}
