/** The forms that list a currency and a market. */
import { useSignal } from "@preact/signals";
import { adminMarkets } from "../api/admin-markets";
import { useDeed, useLoaded } from "../state/asking";
import { notify } from "../state/toasts";
import { Card, FormError, Waiting } from "../ui/sheet";
import { STATES } from "./market-state";
import { RuleFields } from "./rule-fields";
import { changesOf, type Texts } from "./rules";

const textsOf = (event: SubmitEvent): ((name: string) => string) => {
  const data = new FormData(event.currentTarget as HTMLFormElement);
  return (name) => String(data.get(name) ?? "").trim();
};

export function NewCurrencyForm({ onDone }: { onDone: () => void }) {
  const { busy, error, run } = useDeed();
  const create = (event: SubmitEvent): void => {
    event.preventDefault();
    const text = textsOf(event);
    const code = text("id").toUpperCase();
    run(async () => {
      await adminMarkets.addCurrency({
        id: code,
        name: text("name"),
        decimals: Number(text("decimals")),
        fiat: text("fiat") !== "",
      });
      notify("good", `${code} is listed`, "Markets can be made of it now.");
      onDone();
    });
  };
  return (
    <Card title="New currency" about="Listed for good: code and decimals never change.">
      <form class="form wide" onSubmit={create}>
        <div class="rule-fields">
          <label class="field">
            <span>Code</span>
            <input name="id" required maxLength={10} placeholder="SOL" autocomplete="off" class="code" />
          </label>
          <label class="field">
            <span>Name</span>
            <input name="name" required maxLength={64} placeholder="Solana" autocomplete="off" />
          </label>
          <label class="field">
            <span>Decimals of its smallest unit</span>
            <input name="decimals" type="number" min="0" max="18" required defaultValue="8" />
          </label>
          <label class="check">
            <input type="checkbox" name="fiat" />
            <span>Money of a state</span>
          </label>
        </div>
        <FormError text={error.value} />
        <div class="row">
          <button type="submit" class="button primary" disabled={busy.value}>
            List the currency
          </button>
          <button type="button" class="button ghost" onClick={onDone}>
            Not now
          </button>
        </div>
      </form>
    </Card>
  );
}

/** Calls back with the new market's name, or null when there is none. */
export function NewMarketForm({ onDone }: { onDone: (made: string | null) => void }) {
  const { busy, error, run } = useDeed();
  const currencies = useLoaded(adminMarkets.currencies);
  const texts = useSignal<Texts>({});
  const base = useSignal("");
  const quote = useSignal("");
  const create = (event: SubmitEvent): void => {
    event.preventDefault();
    const text = textsOf(event);
    run(async () => {
      const made = await adminMarkets.add({
        ...changesOf(texts.value, null),
        base_currency: text("base_currency"),
        quote_currency: text("quote_currency"),
        base_increment: text("base_increment"),
        quote_increment: text("quote_increment"),
        state: text("state"),
      });
      notify("good", `${made.id} is listed`, "Everybody sees it now.");
      onDone(made.id);
    });
  };
  const all = currencies.data.value;
  const choose = (name: string, label: string, chosen: typeof base) => (
    <label class="field">
      <span>{label}</span>
      <select
        name={name}
        required
        value={chosen.value}
        onChange={(event) => {
          chosen.value = event.currentTarget.value;
        }}
      >
        <option value="" disabled>
          Choose…
        </option>
        {all?.map((one) => (
          <option key={one.id} value={one.id}>
            {one.id} · {one.name}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <Card title="New market" about="Listed for good: currencies and steps never change, everything else may.">
      {!all && <Waiting error={currencies.error.value} />}
      {all && (
        <form class="form wide" onSubmit={create}>
          <fieldset class="rule-group">
            <legend>What is traded</legend>
            <div class="rule-fields">
              {choose("base_currency", "Traded currency", base)}
              {choose("quote_currency", "Paid with", quote)}
              <label class="field">
                <span>Size step</span>
                <span class="united">
                  <input
                    name="base_increment"
                    required
                    inputMode="decimal"
                    placeholder="0.0001"
                    autocomplete="off"
                  />
                  {base.value && <i>{base.value}</i>}
                </span>
              </label>
              <label class="field">
                <span>Price step</span>
                <span class="united">
                  <input
                    name="quote_increment"
                    required
                    inputMode="decimal"
                    placeholder="0.01"
                    autocomplete="off"
                  />
                  {quote.value && <i>{quote.value}</i>}
                </span>
              </label>
              <label class="field">
                <span>Takes at first</span>
                <select name="state">
                  {STATES.map((one) => (
                    <option key={one.id} value={one.id}>
                      {one.choice}
                    </option>
                  ))}
                </select>
              </label>
            </div>
          </fieldset>
          <RuleFields
            rules={null}
            base={base.value}
            quote={quote.value}
            texts={texts.value}
            onText={(name, text) => {
              texts.value = { ...texts.value, [name]: text };
            }}
          />
          <FormError text={error.value} />
          <div class="row">
            <button type="submit" class="button primary" disabled={busy.value}>
              List the market
            </button>
            <button type="button" class="button ghost" onClick={() => onDone(null)}>
              Not now
            </button>
          </div>
        </form>
      )}
    </Card>
  );
}
