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

/**
 * How many decimals a sum in quote currency has. The server rounds to the smallest part of the currency, whatever the
 * steps of the market are, and that is usually this.
 */
export const SUM_PLACES = 8;

/**
 * What is moved in quote currency: what a buyer pays with the fee, what a seller gets after it.
 * Like the server, it rounds in nobody's favour but the venue's.
 */
export function settle(
  side: "buy" | "sell",
  quote: Decimal,
  feeRate: Decimal,
  places = SUM_PLACES,
): { fee: Decimal; total: Decimal } {
  const smallest = Decimal.of(1n, places);
  const fee = quote.mul(feeRate).ceilTo(smallest);
  const total = side === "buy" ? quote.add(fee).ceilTo(smallest) : quote.sub(fee).floorTo(smallest);
  return { fee, total };
}

/** The part of `funds` that buys, when the fee is to be paid out of the same funds. */
export function beforeFee(funds: Decimal, feeRate: Decimal, places = SUM_PLACES): Decimal {
  return funds.divFloor(Decimal.ONE.add(feeRate), places);
}
