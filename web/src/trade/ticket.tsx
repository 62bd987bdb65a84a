/** The order ticket. It informs about cost and fee, sends what was typed, and shows what the server says to it. */
import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Product, Side } from "../api/types";
import { Decimal, placesOf } from "../money/decimal";
import { grouped, whole } from "../money/format";
import { available, refreshSoon } from "../state/account";
import { book, bookVersion, product } from "../state/market";
import { authDialog, session } from "../state/session";
import { demoFunds } from "../state/venue";
import { DemoButton } from "../ui/demo-button";
import { Tabs } from "../ui/tabs";
import {
  type Draft,
  draftOf,
  isSameDraft,
  type Kind,
  LIFETIMES,
  type Lifetime,
  takesOnly,
  type Unit,
} from "./draft";
import { affordable, beforeFee, SUM_PLACES, settle, share } from "./estimate";
import { NumberField } from "./number-field";
import { MarketPhase } from "./phase";
import { picked } from "./selection";
import { type OrderForm, submit } from "./submit";

const KINDS = [
  { id: "limit", name: "Limit" },
  { id: "market", name: "Market" },
] as const;

export function OrderTicket() {
  const current = product.value;
  return (
    <section class="panel ticket-panel" id="order-ticket" aria-label="Order ticket" tabIndex={-1}>
      {current ? (
        <>
          <MarketPhase market={current} />
          <Ticket market={current} />
        </>
      ) : null}
    </section>
  );
}

/** What the form says below, and the order whose fate it is about when that is not known. */
interface Complaint {
  why: string;
  doubted?: Draft | undefined;
}

function Ticket({ market }: { market: Product }) {
  const side = useSignal<Side>("buy");
  const kind = useSignal<Kind>("limit");
  const price = useSignal("");
  const size = useSignal("");
  const total = useSignal("");
  const unit = useSignal<Unit>("quote");
  const lifetime = useSignal<Lifetime>("GTC");
  const postOnly = useSignal(false);
  const error = useSignal<Complaint | null>(null);
  const busy = useSignal(false);

  const base = market.base_currency;
  const quote = market.quote_currency;
  const tick = Decimal.from(market.quote_increment);
  const lot = Decimal.from(market.base_increment);
  const tickPlaces = placesOf(market.quote_increment);
  const takerOnly = takesOnly(lifetime.value);
  const passive = kind.value === "limit" && postOnly.value && !takerOnly;
  const rate = Decimal.from(passive ? market.maker_fee_rate : market.taker_fee_rate);
  const funds = available(side.value === "buy" ? quote : base);

  const worth = (amount: Decimal, each: Decimal): string =>
    whole(amount.mul(each).floorTo(Decimal.of(1n, SUM_PLACES)), tickPlaces);
  const setPrice = (text: string): void => {
    price.value = text;
    error.value = null;
    const amount = Decimal.parse(size.value);
    const each = Decimal.parse(text);
    if (amount && each) total.value = worth(amount, each);
  };
  const setSize = (text: string): void => {
    size.value = text;
    error.value = null;
    const amount = Decimal.parse(text);
    const each = Decimal.parse(price.value);
    total.value = amount && each ? worth(amount, each) : "";
  };
  const setTotal = (text: string): void => {
    total.value = text;
    error.value = null;
    const spent = Decimal.parse(text);
    const each = Decimal.parse(price.value);
    if (spent && each?.isPositive()) size.value = spent.divFloor(each, lot.scale).floorTo(lot).toString();
  };
  const choose = (next: Side): void => {
    side.value = next;
    error.value = null;
    if (kind.value === "market") {
      unit.value = next === "buy" ? "quote" : "base";
      size.value = "";
    }
  };
  const chooseKind = (next: Kind): void => {
    kind.value = next;
    // What was typed may have been in another currency.
    size.value = "";
    total.value = "";
    error.value = null;
    unit.value = side.value === "buy" ? "quote" : "base";
  };

  const take = (name: "Bid" | "Mid" | "Ask"): void => {
    const bid = book.best("buy");
    const ask = book.best("sell");
    const middle = bid && ask ? bid.add(ask).mul(Decimal.of(5n, 1)).floorTo(tick) : null;
    const found = { Bid: bid, Mid: middle, Ask: ask }[name];
    if (found) setPrice(found.toFixed(tickPlaces));
  };

  const fill = (percent: number): void => {
    const part = share(funds, percent);
    if (kind.value === "market") {
      unit.value = side.value === "buy" ? "quote" : "base";
      size.value = part.floorTo(side.value === "buy" ? tick : lot).toString();
      error.value = null;
      return;
    }
    if (side.value === "sell") {
      setSize(part.floorTo(lot).toString());
      return;
    }
    if (!Decimal.from(price.value).isPositive()) take("Ask");
    // The hold of an order covers the taker fee, whoever pays which fee in the end.
    const worst = Decimal.from(market.taker_fee_rate);
    setSize(affordable(part, Decimal.from(price.value), worst, lot).toString());
  };

  // A price clicked in the book comes in here, and the first price is the market's.
  useEffect(
    () =>
      picked.subscribe((choice) => {
        if (!choice) return;
        picked.value = null;
        if (kind.value !== "limit") chooseKind("limit");
        setPrice(choice.price);
      }),
    [],
  );
  const hasBook = useComputed(() => bookVersion.value > 0 && book.best("buy") !== null);
  useEffect(() => {
    if (hasBook.value && price.peek() === "") take(side.peek() === "buy" ? "Bid" : "Ask");
  }, [hasBook.value]);

  const isThere = useRef(true);
  useEffect(
    () => () => {
      isThere.current = false;
    },
    [],
  );
  const form: OrderForm = {
    isThere: () => isThere.current,
    complain: (why, doubted) => {
      error.value = { why, doubted };
    },
    clear: () => {
      size.value = "";
      total.value = "";
    },
    forgive: (doubted) => {
      if (!isSameDraft(error.peek()?.doubted, doubted)) return false;
      error.value = null;
      return true;
    },
  };

  const send = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    error.value = null;
    if (size.value === "" || (kind.value === "limit" && price.value === "")) {
      const noPrice = kind.value === "limit" && price.value === "";
      error.value = { why: noPrice ? "Enter a price." : "Enter an amount." };
      return;
    }
    const order = draftOf(market.id, {
      side: side.value,
      kind: kind.value,
      unit: unit.value,
      price: price.value,
      size: size.value,
      lifetime: lifetime.value,
      postOnly: postOnly.value,
    });
    busy.value = true;
    try {
      await submit(order, market, form);
    } finally {
      busy.value = false;
      refreshSoon();
    }
  };

  return (
    <form class="ticket" data-side={side.value} noValidate onSubmit={(event) => void send(event)}>
      <Tabs
        label="Side"
        class="sides"
        tabs={[
          { id: "buy", name: "Buy" },
          { id: "sell", name: "Sell" },
        ]}
        selected={side.value}
        onSelect={choose}
      />
      <div class="ticket-line">
        <Tabs label="Order type" tabs={KINDS} selected={kind.value} onSelect={chooseKind} />
        <span class="available">
          <span class="muted">Available</span>{" "}
          {session.value ? `${grouped(short(funds))} ${side.value === "buy" ? quote : base}` : "–"}
        </span>
      </div>

      {kind.value === "limit" ? (
        <>
          <NumberField
            id="ticket-price"
            label="Price"
            value={price.value}
            onInput={setPrice}
            step={tick}
            unit={quote}
          />
          <div class="chips" role="group" aria-label="Take the price from the book">
            {(["Bid", "Mid", "Ask"] as const).map((name) => (
              <button key={name} type="button" onClick={() => take(name)}>
                {name}
              </button>
            ))}
          </div>
          <NumberField
            id="ticket-size"
            label="Amount"
            value={size.value}
            onInput={setSize}
            step={lot}
            unit={base}
          />
        </>
      ) : (
        <>
          <div class="market-note">
            <span>Price</span>
            <span>Best in the book</span>
          </div>
          <div class="chips" role="group" aria-label="Amount is given in">
            {(["quote", "base"] as const).map((one) => (
              <button
                key={one}
                type="button"
                aria-pressed={unit.value === one}
                onClick={() => {
                  unit.value = one;
                  size.value = "";
                }}
              >
                In {one === "quote" ? quote : base}
              </button>
            ))}
          </div>
          <NumberField
            id="ticket-size"
            label={unit.value === "quote" ? (side.value === "buy" ? "Spend" : "Receive") : "Amount"}
            value={size.value}
            onInput={setSize}
            step={unit.value === "quote" ? tick : lot}
            unit={unit.value === "quote" ? quote : base}
          />
        </>
      )}
      <div class="chips" role="group" aria-label="Share of what is available">
        {[25, 50, 75, 100].map((percent) => (
          <button key={percent} type="button" disabled={!session.value} onClick={() => fill(percent)}>
            {percent}%
          </button>
        ))}
      </div>
      {kind.value === "limit" ? (
        <>
          <NumberField
            id="ticket-total"
            label="Total"
            value={total.value}
            onInput={setTotal}
            step={tick}
            unit={quote}
          />
          <div class="ticket-line options">
            <select
              aria-label="Time in force"
              value={lifetime.value}
              onChange={(event) => {
                lifetime.value = event.currentTarget.value as Lifetime;
              }}
            >
              {LIFETIMES.map((one) => (
                <option key={one.id} value={one.id}>
                  {one.name}
                </option>
              ))}
            </select>
            <label class="check" title="Never take: refuse the order if it would trade at once">
              <input
                type="checkbox"
                checked={postOnly.value && !takerOnly}
                disabled={takerOnly}
                onChange={(event) => {
                  postOnly.value = event.currentTarget.checked;
                }}
              />
              Post only
            </label>
          </div>
        </>
      ) : null}
      <Estimate
        side={side.value}
        kind={kind.value}
        unit={unit.value}
        price={price.value}
        size={size.value}
        rate={rate}
        market={market}
      />
      {session.value ? (
        <button type="submit" class={`button block submit ${side.value}`} disabled={busy.value}>
          {busy.value ? "Sending…" : `${side.value === "buy" ? "Buy" : "Sell"} ${base}`}
        </button>
      ) : (
        <div class="ticket-invite">
          <DemoButton class="block" />
          <p>
            {demoFunds.value && "Play money, no email. Or "}
            <button
              type="button"
              class="link"
              onClick={() => {
                authDialog.value = "sign-in";
              }}
            >
              {demoFunds.value ? "sign in" : "Sign in"}
            </button>{" "}
            to trade.
          </p>
        </div>
      )}
      <p class="form-error" role="alert" data-testid="ticket-error">
        {error.value?.why}
      </p>
    </form>
  );
}

interface EstimateProps {
  side: Side;
  kind: Kind;
  unit: Unit;
  price: string;
  size: string;
  rate: Decimal;
  market: Product;
}

/** Fee and sum of the order as it stands; for a market order what the book would give now. */
function Estimate({ side, kind, unit, price, size, rate, market }: EstimateProps) {
  const usual = Math.max(2, placesOf(market.quote_increment));
  const amount = Decimal.parse(size);
  let quote: Decimal | null = null;
  let note = "";
  if (amount?.isPositive() && kind === "limit") {
    quote = amount.mul(Decimal.from(price));
  } else if (amount?.isPositive()) {
    void bookVersion.value;
    const found =
      unit === "base"
        ? book.sweep(side, { size: amount })
        : book.sweep(side, { funds: side === "buy" ? beforeFee(amount, rate) : amount });
    quote = found.quote;
    if (!found.complete) note = "More than the book holds";
    else if (found.size.isPositive()) {
      note = `≈ ${grouped(found.size)} ${market.base_currency} at ${grouped(found.quote.divFloor(found.size, usual))}`;
    }
  }
  const sum = quote ? settle(side, quote, rate) : null;
  const money = (value: Decimal | undefined): string =>
    value ? `${grouped(whole(value, usual))} ${market.quote_currency}` : "–";
  return (
    <dl class="estimate">
      {kind === "market" && (
        <div>
          <dt>Estimate</dt>
          <dd>{note || "–"}</dd>
        </div>
      )}
      <div>
        <dt>Fee ({percent(rate)})</dt>
        <dd>{money(sum?.fee)}</dd>
      </div>
      <div>
        <dt>{side === "buy" ? "You pay" : "You receive"}</dt>
        <dd>
          <strong>{money(sum?.total)}</strong>
        </dd>
      </div>
    </dl>
  );
}

/** A rate such as 0.0025 as "0.25%". */
function percent(rate: Decimal): string {
  return `${rate.mul(Decimal.of(100n, 0)).toString()}%`;
}

function short(amount: Decimal): string {
  const places = amount.cmp(Decimal.from("1000")) >= 0 ? 2 : 6;
  return amount.scale > places ? amount.toFixed(places) : amount.toString();
}
