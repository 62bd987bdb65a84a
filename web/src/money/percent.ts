/** Shares of one, as the server has them, and percents, as people write them. Both ways are exact. */
import { Decimal } from "./decimal";

const HUNDRED = Decimal.of(100n, 0);

/** A share such as "0.0025" in percent: "0.25". */
export function percentOf(share: string): string {
  return Decimal.from(share).mul(HUNDRED).toString();
}

/** Percents such as "0.25" as a share: "0.0025". What is no number stays as it is: the server says so. */
export function shareOf(percent: string): string {
  const number = Decimal.parse(percent);
  return number ? Decimal.of(number.units, number.scale + 2).toString() : percent;
}
