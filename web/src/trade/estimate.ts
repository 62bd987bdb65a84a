/** What an order would cost or bring, before it is placed. The server has the last word; these only inform. */
import { Decimal } from "../money/decimal";

/** The largest size, a multiple of `lot`, whose price and fee fit into `funds`. Zero when the price is zero. */
export function affordable(funds: Decimal, price: Decimal, feeRate: Decimal, lot: Decimal): Decimal {
  const each = price.mul(Decimal.ONE.add(feeRate));
  if (!each.isPositive() || !lot.isPositive()) return Decimal.ZERO;
  return funds.divFloor(each, lot.scale).floorTo(lot);
}

/** A share of an amount, in whole percent. */
export function share(amount: Decimal, percent: number): Decimal {
  return amount.mul(Decimal.of(BigInt(percent), 2));
}

/** What is moved in quote currency: what a buyer pays with the fee, what a seller gets after it. */
export function settle(
  side: "buy" | "sell",
  quote: Decimal,
  feeRate: Decimal,
): { fee: Decimal; total: Decimal } {
  const fee = quote.mul(feeRate);
  return { fee, total: side === "buy" ? quote.add(fee) : quote.sub(fee) };
}

/** The part of `funds` that buys, when the fee is to be paid out of the same funds. */
export function beforeFee(funds: Decimal, feeRate: Decimal, places: number): Decimal {
  return funds.divFloor(Decimal.ONE.add(feeRate), places);
}
