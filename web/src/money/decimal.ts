/**
 * Exact decimal numbers: an integer count of units of 10^-scale.
 *
 * Money never passes through a float here. Every operation is exact, except the ones whose name says how they
 * round. Values are immutable.
 */
export class Decimal {
  static readonly ZERO = new Decimal(0n, 0);
  static readonly ONE = new Decimal(1n, 0);

  private constructor(
    /** Signed count of units of 10^-scale. */
    readonly units: bigint,
    /** Number of decimal places, 0 or more. */
    readonly scale: number,
  ) {}

  static of(units: bigint, scale: number): Decimal {
    return new Decimal(units, scale);
  }

  /**
   * Reads plain decimal notation ("12", "0.5", ".5", "5.", "-3.10"). Answers null for anything else: an empty
   * text, exponents, group separators, more than one sign.
   */
  static parse(text: string): Decimal | null {
    const match = /^([+-]?)(\d*)(?:\.(\d*))?$/.exec(text.trim());
    if (!match) return null;
    const [, sign = "", whole = "", fraction = ""] = match;
    if (whole === "" && fraction === "") return null;
    const units = BigInt(whole + fraction);
    return new Decimal(sign === "-" ? -units : units, fraction.length);
  }

  /** Like `parse`, but answers zero for text that is no number. For values that come from the server. */
  static from(text: string | null | undefined): Decimal {
    return (text && Decimal.parse(text)) || Decimal.ZERO;
  }

  private at(scale: number): bigint {
    return this.units * 10n ** BigInt(scale - this.scale);
  }

  add(other: Decimal): Decimal {
    const scale = Math.max(this.scale, other.scale);
    return new Decimal(this.at(scale) + other.at(scale), scale);
  }

  sub(other: Decimal): Decimal {
    return this.add(other.neg());
  }

  neg(): Decimal {
    return new Decimal(-this.units, this.scale);
  }

  abs(): Decimal {
    return this.units < 0n ? this.neg() : this;
  }

  mul(other: Decimal): Decimal {
    return new Decimal(this.units * other.units, this.scale + other.scale);
  }

  /** The quotient with `places` decimals, rounded towards minus infinity. The divisor must not be zero. */
  divFloor(other: Decimal, places: number): Decimal {
    const shift = BigInt(places + other.scale - this.scale);
    let dividend = this.units;
    let divisor = other.units;
    if (shift >= 0n) dividend *= 10n ** shift;
    else divisor *= 10n ** -shift;
    return new Decimal(floorDiv(dividend, divisor), places);
  }

  /** The greatest multiple of `step` that is not above this number. The step must be greater than zero. */
  floorTo(step: Decimal): Decimal {
    const scale = Math.max(this.scale, step.scale);
    const unit = step.at(scale);
    return new Decimal(floorDiv(this.at(scale), unit) * unit, scale);
  }

  /** The smallest multiple of `step` that is not below this number. The step must be greater than zero. */
  ceilTo(step: Decimal): Decimal {
    return this.neg().floorTo(step).neg();
  }

  /** Negative, zero or positive, as this number is below, equal to or above the other. */
  cmp(other: Decimal): number {
    const scale = Math.max(this.scale, other.scale);
    const a = this.at(scale);
    const b = other.at(scale);
    return a < b ? -1 : a > b ? 1 : 0;
  }

  isZero(): boolean {
    return this.units === 0n;
  }

  isPositive(): boolean {
    return this.units > 0n;
  }

  /** Units of 10^-scale, rounded towards minus infinity when the number has more places than that. */
  unitsAt(scale: number): bigint {
    return scale >= this.scale ? this.at(scale) : floorDiv(this.units, 10n ** BigInt(this.scale - scale));
  }

  /** The number with exactly `places` decimals; digits beyond them are cut off towards zero. */
  toFixed(places: number): string {
    const cut = this.units < 0n ? -this.neg().unitsAt(places) : this.unitsAt(places);
    const digits = (cut < 0n ? -cut : cut).toString().padStart(places + 1, "0");
    const split = digits.length - places;
    const sign = cut < 0n ? "-" : "";
    return places === 0 ? sign + digits : `${sign}${digits.slice(0, split)}.${digits.slice(split)}`;
  }

  /** Shortest exact notation, as it goes to the server. */
  toString(): string {
    const text = this.toFixed(this.scale);
    return this.scale === 0 ? text : text.replace(/\.?0+$/, "");
  }

  /** A float near the number: for drawing and percentages only, never for an amount that is sent. */
  toApproximate(): number {
    return Number(this.toString());
  }
}

function floorDiv(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient;
}

/**
 * A number that somebody wrote, in the notation that the server reads: it refuses ".5" and "5.". Text that is no number
 * stays as it is, so that the server can say what is wrong with it.
 */
export function canonical(text: string): string {
  return Decimal.parse(text)?.toString() ?? text;
}

/** Number of decimals of an increment such as "0.01" (2), "1" (0) or "0.00001000" (5). */
export function placesOf(increment: string): number {
  const fraction = increment.split(".")[1]?.replace(/0+$/, "") ?? "";
  return fraction.length;
}
