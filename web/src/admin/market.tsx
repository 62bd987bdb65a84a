/** One market: what goes on there, what an administrator can do about it, and its rules. */
import { useSignal } from "@preact/signals";
import type { AuditRow } from "../api/admin";
import { adminMarkets, type MarketRules } from "../api/admin-markets";
import { placesOf } from "../money/decimal";
import { counted, grouped } from "../money/format";
import { useDeed } from "../state/asking";
import { tickerOf, venueStopped } from "../state/market";
import { navigate } from "../state/route";
import { notify } from "../state/toasts";
import { CloseIcon } from "../ui/icons";
import { Link } from "../ui/link";
import { Card, FormError } from "../ui/sheet";
import { Sure } from "../ui/sure";
import { SureWhy } from "../ui/sure-why";
import { AuctionForm, StateForm } from "./market-forms";
import { State, StoppedBy, TimeLeft } from "./market-parts";
import { reasonOf } from "./market-state";
import { RuleFields } from "./rule-fields";
import { changesOf, type Texts } from "./rules";

interface Props {
  market: MarketRules;
  /** Who stopped it, when somebody has. */
  stop: AuditRow | null;
  reload: () => Promise<void>;
}

export function MarketDetail({ market, stop, reload }: Props) {
  const ticker = tickerOf(market.id).value;
  const { auction } = market;
  const places = placesOf(market.quote_increment);
  return (
    <>
      <Card
        title={market.id}
        about={
          <Link to={`/trade/${market.id}`} class="link">
            Show it as traders see it
          </Link>
        }
        end={
          <button
            type="button"
            class="icon-button"
            aria-label="Close"
            onClick={() => navigate("/admin/markets")}
          >
            <CloseIcon />
          </button>
        }
      >
        <dl class="facts">
          <Fact name="State">
            <State market={market} />
          </Fact>
          <Fact name="Last price">{ticker ? grouped(ticker.last, places) : "–"}</Fact>
          <Fact name="Price step">
            {market.quote_increment} {market.quote_currency}
          </Fact>
          <Fact name="Size step">
            {market.base_increment} {market.base_currency}
          </Fact>
        </dl>
        {market.status_message && market.status !== "online" && <p class="note">{market.status_message}</p>}
        {auction && (
          <div class="note auction">
            <strong>Call auction</strong>
            <p>
              {reasonOf(market)} Orders are gathered until the end; then all that can trades at one price.
            </p>
            <dl class="facts">
              <Fact name="Ends in">
                <TimeLeft to={auction.ends_at} />
              </Fact>
              <Fact name="Indicative price">
                {auction.indicative_price
                  ? `${grouped(auction.indicative_price, places)} ${market.quote_currency}`
                  : "nothing would trade"}
              </Fact>
              <Fact name="Indicative size">
                {grouped(auction.indicative_size)} {market.base_currency}
              </Fact>
            </dl>
          </div>
        )}
        <Deeds market={market} stop={stop} reload={reload} />
      </Card>
      <Rules market={market} reload={reload} />
    </>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Deeds({ market, stop, reload }: Props) {
  const deed = useDeed();
  const { busy, error, run } = deed;
  const stopped = market.phase === "stopped";
  const turn = (engaged: boolean, reason: string): void =>
    run(async () => {
      const { canceled_orders } = await adminMarkets.kill(market.id, engaged, reason);
      if (engaged)
        notify("plain", `${market.id} is stopped`, `${counted(canceled_orders, "order")} canceled`);
      else notify("good", `${market.id} trades again`);
      await reload();
    });
  return (
    <div class="deeds">
      <div class="pair">
        <StateForm market={market} deed={deed} reload={reload} />
        <AuctionForm market={market} deed={deed} reload={reload} />
      </div>
      <div class="kill" data-engaged={stopped} data-kill={market.id}>
        {stopped ? (
          <div class="kill-row">
            <div class="row-main">
              <strong>The kill switch is engaged: nothing is taken.</strong>
              <StoppedBy row={stop} />
              {venueStopped.value && (
                <small>The switch of the venue is engaged too: until that is released, nobody trades.</small>
              )}
            </div>
            <Sure
              name="Release"
              ask="Let it trade again"
              disabled={busy.value}
              onSure={() => turn(false, "")}
            />
          </div>
        ) : (
          <div class="kill-row">
            <p class="muted">The kill switch cancels every order here, and takes nothing new.</p>
            <SureWhy
              name="Stop this market"
              ask="Cancel all and stop"
              placeholder="Why (for the audit log)"
              required
              disabled={busy.value}
              onSure={(why) => turn(true, why)}
            />
          </div>
        )}
      </div>
      <FormError text={error.value} />
    </div>
  );
}

function Rules({ market, reload }: { market: MarketRules; reload: () => Promise<void> }) {
  const { busy, error, run } = useDeed();
  const edits = useSignal<Texts>({});
  const changes = changesOf(edits.value, market);
  const none = Object.keys(changes).length === 0;
  const save = (event: SubmitEvent): void => {
    event.preventDefault();
    run(async () => {
      await adminMarkets.change(market.id, changes);
      await reload();
      edits.value = {};
      notify("good", `The rules of ${market.id} were changed`);
    });
  };
  return (
    <Card
      title="Rules"
      about={`Changes count from now on, for orders that come. Steps and currencies of ${market.id} never change.`}
    >
      <form class="form wide" onSubmit={save}>
        <RuleFields
          rules={market}
          base={market.base_currency}
          quote={market.quote_currency}
          texts={edits.value}
          onText={(name, text) => {
            edits.value = { ...edits.value, [name]: text };
          }}
        />
        <FormError text={error.value} />
        <div class="row">
          <button type="submit" class="button primary" disabled={busy.value || none}>
            Save the rules
          </button>
          {!none && (
            <button
              type="button"
              class="button ghost"
              onClick={() => {
                edits.value = {};
              }}
            >
              As they were
            </button>
          )}
        </div>
      </form>
    </Card>
  );
}
