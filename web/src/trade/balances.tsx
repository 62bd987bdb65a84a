import { useSignal } from "@preact/signals";
import { Decimal } from "../money/decimal";
import { grouped } from "../money/format";
import { accounts, refreshSoon } from "../state/account";
import { product, products } from "../state/market";
import { isDemo, session } from "../state/session";
import { demoFunds } from "../state/venue";
import { addDemoFunds } from "./in-part";

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
    try {
      await addDemoFunds(products.value);
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
