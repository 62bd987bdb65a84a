/** What to say about an order that the server has taken. */
import type { Order, Product } from "../api/types";
import { Decimal } from "../money/decimal";
import { grouped } from "../money/format";
import type { Toast } from "../state/toasts";

interface Outcome {
  kind: Toast["kind"];
  title: string;
  detail: string;
  /** The order is over, and the user may want to try another one like it. */
  inVain: boolean;
}

type Told = Pick<
  Order,
  "side" | "price" | "size" | "funds" | "status" | "done_reason" | "filled_size" | "executed_value"
>;

export function outcome(order: Told, market: Pick<Product, "base_currency" | "quote_currency">): Outcome {
  const { base_currency, quote_currency } = market;
  const whole = order.size ?? order.funds ?? "";
  const unit = order.size ? base_currency : quote_currency;
  if (order.status === "done" && order.done_reason === "canceled") {
    if (!Decimal.from(order.filled_size).isPositive()) {
      const detail = "The order found nobody to trade with and is over.";
      return { kind: "bad", title: "Nothing was traded", detail, inVain: true };
    }
    const part = Decimal.from(order.size ? order.filled_size : order.executed_value);
    const detail = `${grouped(part)} of ${grouped(Decimal.from(whole))} ${unit} traded, the rest was canceled.`;
    return { kind: "plain", title: "Partly traded", detail, inVain: false };
  }
  return { kind: "good", title: "Order placed", detail: described(order, market), inVain: false };
}

/** An order in short, as "Buy 2 ETH at 10". */
export function described(
  { side, price, size, funds }: Pick<Order, "side" | "price" | "size" | "funds">,
  { base_currency, quote_currency }: Pick<Product, "base_currency" | "quote_currency">,
): string {
  const amount = size ? `${size} ${base_currency}` : `${funds ?? ""} ${quote_currency}`;
  return `${side === "buy" ? "Buy" : "Sell"} ${amount} at ${price ? grouped(price) : "market"}`;
}
