import { useSignal } from "@preact/signals";
import { type AuditRow, admin } from "../api/admin";
import { adminMarkets, type MarketRules } from "../api/admin-markets";
import type { Product } from "../api/types";
import { placesOf } from "../money/decimal";
import { counted, grouped } from "../money/format";
import { percentOf } from "../money/percent";
import { type Loaded, useDeed, useLoaded } from "../state/asking";
import { products, tickerOf, venueStopped } from "../state/market";
import { item, navigate } from "../state/route";
import { notify } from "../state/toasts";
import { Card, FormError, OutOfDate, Waiting } from "../ui/sheet";
import { Sure } from "../ui/sure";
import { SureWhy } from "../ui/sure-why";
import { NewCurrencyForm, NewMarketForm } from "./listing";
import { MarketDetail } from "./market";
import { State, StoppedBy } from "./market-parts";
import { stopOf } from "./market-state";
import { sizesOf } from "./rules";

/** Currencies and markets: what is listed, by which rules, and what goes on there. */
export function Markets() {
  // Whatever the feed says is new in a market, but for the price of an auction, may be a change of its rules.
  const seen = JSON.stringify(products.value.map((one) => ({ ...one, auction: null })));
  const rules = useLoaded(adminMarkets.list, seen);
  const stops = useLoaded(
    async () => (await admin.audit({ action: "kill_switch", user: "" }, null)).items,
    `${venueStopped.value} ${products.value.map((one) => one.phase)}`,
  );
  const adding = useSignal<"market" | "currency" | null>(null);

  const live = new Map(products.value.map((one) => [one.id, one]));
  const markets = rules.data.value?.map((one) => withNow(one, live.get(one.id)));
  const chosen = markets?.find((one) => one.id === item.value);
  const log = stops.data.value ?? [];
  const reload = async (): Promise<void> => {
    await Promise.all([rules.reload(), stops.reload()]);
  };
  const done = (): void => {
    adding.value = null;
  };

  const venue = (
    <Venue
      running={markets?.filter((one) => one.phase !== "stopped").length ?? 0}
      stops={stops}
      reload={reload}
    />
  );
  // Engaged, nothing matters more; otherwise it is out of the way.
  const first = venueStopped.value === true;

  return (
    <>
      {first && venue}
      {chosen && (
        <MarketDetail key={chosen.id} market={chosen} stop={stopOf(log, chosen.id)} reload={reload} />
      )}
      {adding.value === "market" && (
        <NewMarketForm
          onDone={(made) => {
            done();
            if (!made) return;
            void reload();
            navigate(`/admin/markets/${encodeURIComponent(made)}`);
          }}
        />
      )}
      {adding.value === "currency" && <NewCurrencyForm onDone={done} />}
      <Card
        title="Markets"
        about="Listed and changed while the venue runs; every node follows."
        end={
          <div class="row">
            <button
              type="button"
              class="button"
              onClick={() => {
                adding.value = "currency";
              }}
            >
              New currency
            </button>
            <button
              type="button"
              class="button primary"
              onClick={() => {
                adding.value = "market";
              }}
            >
              New market
            </button>
          </div>
        }
      >
        <OutOfDate of={rules} />
        {!markets && <Waiting error={rules.error.value} />}
        {markets?.length === 0 && <Waiting error={null} empty="Nothing is listed yet." />}
        {markets && markets.length > 0 && <MarketTable markets={markets} chosen={chosen?.id} />}
      </Card>
      {!first && venue}
    </>
  );
}

/** The rules as they were asked for, with what goes on now as the feed tells it. */
function withNow(rules: MarketRules, now: Product | undefined): MarketRules {
  if (!now) return rules;
  const { phase: _phase, phase_reason: _reason, auction: _auction, ...rest } = rules;
  return {
    ...rest,
    status: now.status,
    status_message: now.status_message ?? null,
    ...(now.phase && { phase: now.phase }),
    ...(now.phase_reason && { phase_reason: now.phase_reason }),
    ...(now.auction && { auction: now.auction }),
  };
}

function MarketTable({ markets, chosen }: { markets: MarketRules[]; chosen: string | undefined }) {
  return (
    <div class="table-scroll">
      <table class="list stack markets">
        <thead>
          <tr>
            <th scope="col">Market</th>
            <th scope="col">State</th>
            <th scope="col" class="num">
              Last price
            </th>
            <th scope="col" class="num">
              Maker / taker
            </th>
            <th scope="col" class="num">
              Order size
            </th>
            <th scope="col" class="num">
              Price band
            </th>
            <th scope="col" class="num">
              Halts at
            </th>
          </tr>
        </thead>
        <tbody>
          {markets.map((one) => {
            const ticker = tickerOf(one.id).value;
            return (
              <tr key={one.id} data-market={one.id} aria-current={one.id === chosen ? "true" : undefined}>
                <td>
                  <button
                    type="button"
                    class="link"
                    onClick={() => {
                      navigate(`/admin/markets/${encodeURIComponent(one.id)}`);
                      scrollTo({ top: 0 });
                    }}
                  >
                    {one.id}
                  </button>
                </td>
                <td data-name="State">
                  <State market={one} />
                </td>
                <td class="num" data-name="Last price">
                  {ticker ? grouped(ticker.last, placesOf(one.quote_increment)) : "–"}
                </td>
                <td class="num" data-name="Maker / taker">
                  {percentOf(one.maker_fee_rate)} / {percentOf(one.taker_fee_rate)} %
                </td>
                <td class="num" data-name="Order size">
                  {sizesOf(one)} <small>{one.base_currency}</small>
                </td>
                <td class="num" data-name="Price band">
                  {one.price_band ? `± ${percentOf(one.price_band)} %` : "–"}
                </td>
                <td class="num" data-name="Halts at">
                  {one.halt ? `± ${percentOf(one.halt)} %` : "–"}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

interface VenueProps {
  /** How many markets are not stopped. */
  running: number;
  /** What the audit log says about kill switches. */
  stops: Loaded<AuditRow[]>;
  reload: () => Promise<void>;
}

/** Why it is not said, or may not be so any more, who stopped what. */
function UnknownStops({ stops }: { stops: Loaded<AuditRow[]> }) {
  if (stops.data.value) return <OutOfDate of={stops} />;
  if (!stops.error.value) return null;
  return <p class="stale">Who stopped what is not known: {stops.error.value}</p>;
}

/** The kill switch of everything. */
function Venue({ running, stops, reload }: VenueProps) {
  const { busy, error, run } = useDeed();
  const stopped = venueStopped.value;
  const turn = (engaged: boolean, reason: string): void =>
    run(async () => {
      const { canceled_orders } = await adminMarkets.kill(null, engaged, reason);
      if (engaged)
        notify("plain", "Trading is stopped everywhere", `${counted(canceled_orders, "order")} canceled`);
      else notify("good", "The venue trades again");
      await reload();
    });
  const stop = (name: string) => (
    <SureWhy
      name={name}
      ask="Cancel all and stop"
      about="All open orders of all users are canceled, in every market. Nothing new is taken until you release it."
      placeholder="Why (for the audit log)"
      required
      disabled={busy.value}
      onSure={(why) => turn(true, why)}
    />
  );
  return (
    <div class="kill" data-engaged={stopped === true} data-kill="venue">
      <Card
        title="Kill switch of the venue"
        end={
          stopped !== null && (
            <span class={stopped ? "badge bad" : "badge good"}>{stopped ? "engaged" : "released"}</span>
          )
        }
      >
        {stopped === null && <Waiting error={null} />}
        {stopped === false && (
          <div class="kill-row">
            <p class="muted">Cancels every open order and stops all trading, at once. For emergencies.</p>
            {stop("Stop all trading")}
          </div>
        )}
        {stopped && (
          <div class="kill-row">
            <div class="row-main">
              <strong>Trading is stopped everywhere.</strong>
              <StoppedBy row={stopOf(stops.data.value ?? [], null)} />
              <small>
                Releasing it opens every market, also those that were stopped one by one.
                {running > 0 && " Not all markets are stopped: stop them again."}
              </small>
            </div>
            <div class="row">
              {running > 0 && stop("Stop again")}
              <Sure
                name="Release"
                ask="Let everything trade"
                disabled={busy.value}
                onSure={() => turn(false, "")}
              />
            </div>
          </div>
        )}
        <UnknownStops stops={stops} />
        <FormError text={error.value} />
      </Card>
    </div>
  );
}
