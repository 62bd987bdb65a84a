/** The top bar: name, market and its last 24 hours, connection, theme, account. */
import { Decimal, placesOf } from "../money/decimal";
import { changePercent, compact, direction, grouped, signedPercent } from "../money/format";
import { feed, pricePlaces, product, products, tickerOf } from "../state/market";
import { navigate } from "../state/route";
import { theme, toggleTheme } from "../state/theme";
import { AccountMenu } from "./account-menu";
import { ChevronIcon, Mark, MoonIcon, SunIcon } from "./icons";
import { Popover } from "./popover";

export function Header() {
  return (
    <header class="header">
      <a
        class="brand"
        href="/"
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey || event.shiftKey) return;
          event.preventDefault();
          navigate("/");
        }}
      >
        <Mark />
        <span>Agora</span>
      </a>
      <MarketSwitcher />
      <MarketStats />
      <div class="header-end">
        <Connection />
        <button
          type="button"
          class="icon-button"
          aria-label={theme.value === "dark" ? "Use the light theme" : "Use the dark theme"}
          onClick={toggleTheme}
        >
          {theme.value === "dark" ? <SunIcon /> : <MoonIcon />}
        </button>
        <AccountMenu />
      </div>
    </header>
  );
}

function MarketSwitcher() {
  const current = product.value;
  return (
    <Popover
      label="Choose a market"
      buttonClass="market-button"
      panelClass="market-panel"
      button={
        <>
          <strong>
            {current ? current.base_currency : "···"}
            <span>/{current ? current.quote_currency : "···"}</span>
          </strong>
          <ChevronIcon />
        </>
      }
    >
      {(close) => (
        <div class="market-list">
          <div class="market-row head" aria-hidden="true">
            <span>Market</span>
            <span>Last price</span>
            <span>24h change</span>
            <span>24h volume</span>
          </div>
          {products.value.map((one) => (
            <MarketRow key={one.id} id={one.id} onChosen={close} />
          ))}
        </div>
      )}
    </Popover>
  );
}

function MarketRow({ id, onChosen }: { id: string; onChosen: () => void }) {
  const ticker = tickerOf(id).value;
  const one = products.value.find((each) => each.id === id);
  if (!one) return null;
  const change = changePercent(ticker?.open, ticker?.last);
  return (
    <a
      class="market-row"
      href={`/trade/${id}`}
      aria-current={product.value?.id === id ? "true" : undefined}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        navigate(`/trade/${id}`);
        onChosen();
      }}
    >
      <span class="pair">
        {one.base_currency}
        <small>/{one.quote_currency}</small>
      </span>
      <span>{ticker ? grouped(ticker.last, placesOf(one.quote_increment)) : "–"}</span>
      <span class={direction(change)}>{signedPercent(change)}</span>
      <span>
        {ticker ? compact(Decimal.from(ticker.volume)) : "–"} <small>{one.base_currency}</small>
      </span>
    </a>
  );
}

function MarketStats() {
  const current = product.value;
  const ticker = current ? tickerOf(current.id).value : null;
  const change = changePercent(ticker?.open, ticker?.last);
  const places = pricePlaces.value;
  return (
    <div class="stats">
      <div class={`last-price ${direction(change)}`} data-testid="last-price">
        {ticker ? grouped(ticker.last, places) : "–"}
      </div>
      <dl>
        <div>
          <dt>24h change</dt>
          <dd class={direction(change)}>{signedPercent(change)}</dd>
        </div>
        <div>
          <dt>24h high</dt>
          <dd>{ticker ? grouped(ticker.high, places) : "–"}</dd>
        </div>
        <div>
          <dt>24h low</dt>
          <dd>{ticker ? grouped(ticker.low, places) : "–"}</dd>
        </div>
        <div>
          <dt>24h volume ({current?.base_currency ?? "–"})</dt>
          <dd>{ticker ? compact(Decimal.from(ticker.volume)) : "–"}</dd>
        </div>
      </dl>
    </div>
  );
}

const CONNECTION_TEXT = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting" } as const;

function Connection() {
  const status = feed.status.value;
  return (
    <div class={`connection ${status}`} role="status" title="State of the live feed">
      <i aria-hidden="true" />
      <span>{CONNECTION_TEXT[status]}</span>
    </div>
  );
}
