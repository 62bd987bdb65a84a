/** What an administrator changes in a market as it goes on: which orders it takes, and a call auction. */
import { useSignal } from "@preact/signals";
import { adminMarkets, type MarketRules, type MarketState } from "../api/admin-markets";
import { counted } from "../money/format";
import type { Deed } from "../state/asking";
import { span } from "../state/clock";
import { notify } from "../state/toasts";
import { Confirm, useAsking } from "../ui/sure";
import { STATES } from "./market-state";

interface Props {
  market: MarketRules;
  deed: Deed;
  reload: () => Promise<void>;
}

export function StateForm({ market, deed: { busy, run }, reload }: Props) {
  const choice = useSignal<MarketState | null>(null);
  const { asking, trigger } = useAsking();
  const wanted = choice.value ?? market.state;
  const change = (): void => {
    asking.value = false;
    run(async () => {
      await adminMarkets.change(market.id, { state: wanted });
      choice.value = null;
      notify("good", `${market.id} ${STATES.find((one) => one.id === wanted)?.about}`);
    }, reload);
  };
  return (
    <form
      class="form inline"
      onSubmit={(event) => {
        event.preventDefault();
        // Only this one leaves people with orders that they cannot take back.
        if (wanted === "halted") asking.value = true;
        else change();
      }}
    >
      <label class="field">
        <span>Which orders it takes</span>
        <select
          name="state"
          value={wanted}
          disabled={busy.value}
          onChange={(event) => {
            choice.value = event.currentTarget.value as MarketState;
            asking.value = false;
          }}
        >
          {STATES.map((one) => (
            <option key={one.id} value={one.id}>
              {one.choice}
            </option>
          ))}
        </select>
      </label>
      {asking.value ? (
        <Confirm
          ask="Halt it"
          about={`${market.id} takes nothing then. Who has orders there cannot cancel them until you change it again.`}
          disabled={busy.value}
          onKeep={() => {
            asking.value = false;
          }}
          onSure={change}
        />
      ) : (
        <button ref={trigger} type="submit" class="button" disabled={busy.value || wanted === market.state}>
          Change
        </button>
      )}
    </form>
  );
}

export function AuctionForm({ market, deed: { busy, run }, reload }: Props) {
  const seconds = useSignal(120);
  const { asking, trigger } = useAsking();
  const begin = (): void => {
    asking.value = false;
    run(async () => {
      await adminMarkets.beginAuction(market.id, seconds.peek());
      notify("good", `An auction begins in ${market.id}`);
    }, reload);
  };
  const lasts =
    seconds.value < 60
      ? counted(seconds.value, "second")
      : `${counted(seconds.value, "second")} (${span(seconds.value * 1_000)})`;
  return (
    <form
      class="form inline"
      onSubmit={(event) => {
        event.preventDefault();
        seconds.value = Number(new FormData(event.currentTarget as HTMLFormElement).get("seconds"));
        asking.value = true;
      }}
    >
      <label class="field">
        <span>Call auction, in seconds</span>
        <input
          name="seconds"
          type="number"
          min="1"
          max="86400"
          step="1"
          defaultValue="120"
          required
          onInput={() => {
            asking.value = false;
          }}
        />
      </label>
      {asking.value ? (
        <Confirm
          ask="Begin it"
          about={`For ${lasts} nothing trades in ${market.id}: orders are gathered, and meet at one price at the end.`}
          kind="primary"
          disabled={busy.value}
          onKeep={() => {
            asking.value = false;
          }}
          onSure={begin}
        />
      ) : (
        <button
          ref={trigger}
          type="submit"
          class="button"
          disabled={busy.value || market.phase !== "trading"}
        >
          Begin the auction
        </button>
      )}
    </form>
  );
}
