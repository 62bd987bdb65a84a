import { useSignal } from "@preact/signals";
import { ApiError, api } from "../api/http";
import { Decimal } from "../money/decimal";
import { grouped } from "../money/format";
import { accounts, refreshSoon } from "../state/account";
import { product, products } from "../state/market";
import { isDemo, session } from "../state/session";
import { notify } from "../state/toasts";
import { demoFunds } from "../state/venue";

/** Decimals shown of a balance; more would not fit and the exact figure is in the title. */
const SHOWN_PLACES = 8;

export function Balances() {
  const current = product.value;
  const inMarket = (currency: string): boolean =>
    currency === current?.base_currency || currency === current?.quote_currency;
  const rows = [...(accounts.value ?? [])]
    .filter((account) => inMarket(account.currency) || !Decimal.from(account.balance).isZero())
    .sort(
      (a, b) =>
        Number(inMarket(b.currency)) - Number(inMarket(a.currency)) || (a.currency < b.currency ? -1 : 1),
    );
  return (
    <section class="panel balances-panel" aria-label="Balances">
      <div class="panel-head">
        <h2>Balances</h2>
        {isDemo.value && demoFunds.value && <TopUp />}
      </div>
      {session.value ? (
        <div class="scroll-area">
          <table class="list balances">
            <thead>
              <tr>
                <th scope="col">Currency</th>
                <th scope="col">Available</th>
                <th scope="col">In orders</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((account) => (
                <tr key={account.id} data-currency={account.currency}>
                  <th scope="row">{account.currency}</th>
                  <td title={account.available}>{shown(account.available)}</td>
                  <td title={account.hold} class="muted">
                    {shown(account.hold)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <p class="empty">Sign in to see your balances.</p>
      )}
    </section>
  );
}

function shown(amount: string): string {
  const exact = Decimal.from(amount);
  const places = exact.cmp(Decimal.from("1000")) >= 0 ? 2 : SHOWN_PLACES;
  return grouped(exact.scale > places ? exact.toFixed(places) : exact.toString());
}

/** More play money for a demo account. */
function TopUp() {
  const busy = useSignal(false);
  const deposit = async (): Promise<void> => {
    busy.value = true;
    const bases = new Set(products.value.map((one) => one.base_currency));
    const currencies = new Set(products.value.flatMap((one) => [one.base_currency, one.quote_currency]));
    try {
      for (const currency of currencies) {
        // What is only ever paid with is money-like and comes in thousands.
        await api.demoDeposit(currency, bases.has(currency) ? "1" : "10000");
      }
      notify("good", "Demo funds added");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notify("bad", "No demo funds were added", error.message);
    } finally {
      busy.value = false;
      refreshSoon();
    }
  };
  return (
    <button type="button" class="link" disabled={busy.value} onClick={() => void deposit()}>
      + Add demo funds
    </button>
  );
}
