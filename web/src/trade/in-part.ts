/** What one click does to many things. Any of it may fail when some is done already, so no failure says that nothing was. */
import { ApiError, api } from "../api/http";
import type { Product } from "../api/types";
import { counted } from "../money/format";
import { notify } from "../state/toasts";

/** Cancels all open orders of the user and says what came of it. The server goes through all markets, whatever one says. */
export async function cancelAll(): Promise<void> {
  try {
    notify("plain", `${counted((await api.cancelAll()).length, "order")} canceled`);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    notify("bad", "Not all orders could be canceled", error.message);
  }
}

/** Adds play money of each currency that these markets trade, and says what came of it. */
export async function addDemoFunds(
  markets: readonly Pick<Product, "base_currency" | "quote_currency">[],
): Promise<void> {
  const bases = new Set(markets.map((one) => one.base_currency));
  const currencies = new Set(markets.flatMap((one) => [one.base_currency, one.quote_currency]));
  try {
    for (const currency of currencies) {
      // What is only ever paid with is money-like and comes in thousands.
      await api.demoDeposit(currency, bases.has(currency) ? "1" : "10000");
    }
    notify("good", "Demo funds added");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    notify("bad", "Not all demo funds were added", error.message);
  }
}
