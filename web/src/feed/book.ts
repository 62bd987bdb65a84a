/**
 * A level-2 order book, folded from a snapshot and updates.
 *
 * Invariants: prices and sizes are integers (units of 10^-places of the product); each side is sorted best first;
 * no level has size zero.
 */
import type { Side } from "../api/types";
import { Decimal } from "../money/decimal";

/** `[price, size]` in units. */
type Level = [bigint, bigint];

/** A level as it is shown: possibly several prices gathered into one. */
export interface Row {
  price: Decimal;
  size: Decimal;
  /** Sum of the sizes from the best row to this one. */
  total: Decimal;
}

/** What a market order of some size or funds would find in the book as it is now. */
export interface Sweep {
  size: Decimal;
  quote: Decimal;
  /** The book holds enough for all of it. */
  complete: boolean;
}

export class Book {
  private bids: Level[] = [];
  private asks: Level[] = [];
  /** False until a snapshot came. */
  ready = false;

  constructor(
    readonly pricePlaces: number,
    readonly sizePlaces: number,
  ) {}

  reset(bids: [string, string][], asks: [string, string][]): void {
    this.bids = this.side(bids, "buy");
    this.asks = this.side(asks, "sell");
    this.ready = true;
  }

  clear(): void {
    this.bids = [];
    this.asks = [];
    this.ready = false;
  }

  /** Sets the total of one price; zero removes it. */
  set(side: Side, priceText: string, sizeText: string): void {
    const levels = side === "buy" ? this.bids : this.asks;
    const price = Decimal.from(priceText).unitsAt(this.pricePlaces);
    const size = Decimal.from(sizeText).unitsAt(this.sizePlaces);
    let low = 0;
    let high = levels.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const at = (levels[middle] as Level)[0];
      if (side === "buy" ? at > price : at < price) low = middle + 1;
      else high = middle;
    }
    const found = levels[low];
    if (found && found[0] === price) {
      if (size === 0n) levels.splice(low, 1);
      else found[1] = size;
    } else if (size !== 0n) {
      levels.splice(low, 0, [price, size]);
    }
  }

  best(side: Side): Decimal | null {
    const level = (side === "buy" ? this.bids : this.asks)[0];
    return level ? Decimal.of(level[0], this.pricePlaces) : null;
  }

  /** A bid at or above an ask: only in an auction, otherwise an update was missed. */
  crossed(): boolean {
    const bid = this.bids[0];
    const ask = this.asks[0];
    return bid !== undefined && ask !== undefined && bid[0] >= ask[0];
  }

  /** The best `count` rows of a side, with prices gathered to multiples of `step` (bids down, asks up). */
  rows(side: Side, count: number, step: Decimal): Row[] {
    const unit = step.unitsAt(this.pricePlaces);
    const rows: Row[] = [];
    let price: bigint | null = null;
    let size = 0n;
    let total = 0n;
    const close = (): void => {
      if (price === null) return;
      rows.push({
        price: Decimal.of(price, this.pricePlaces),
        size: Decimal.of(size, this.sizePlaces),
        total: Decimal.of(total, this.sizePlaces),
      });
    };
    for (const [at, amount] of side === "buy" ? this.bids : this.asks) {
      const gathered: bigint = side === "buy" ? (at / unit) * unit : ((at + unit - 1n) / unit) * unit;
      if (gathered !== price) {
        close();
        if (rows.length === count) return rows;
        price = gathered;
        size = 0n;
      }
      size += amount;
      total += amount;
    }
    close();
    return rows;
  }

  /** What a taker of `side` finds for a given size, or for given funds (without fees). */
  sweep(side: Side, amount: { size: Decimal } | { funds: Decimal }): Sweep {
    let size = Decimal.ZERO;
    let quote = Decimal.ZERO;
    for (const [at, resting] of side === "buy" ? this.asks : this.bids) {
      const price = Decimal.of(at, this.pricePlaces);
      const here = Decimal.of(resting, this.sizePlaces);
      let take = here;
      if ("size" in amount) {
        const left = amount.size.sub(size);
        if (left.cmp(here) <= 0) take = left;
      } else {
        const left = amount.funds.sub(quote);
        if (left.cmp(here.mul(price)) <= 0) take = left.divFloor(price, this.sizePlaces);
      }
      size = size.add(take);
      quote = quote.add(take.mul(price));
      if (take !== here) return { size, quote, complete: true };
    }
    return { size, quote, complete: false };
  }

  private side(rows: [string, string][], side: Side): Level[] {
    const levels = rows
      .map(
        ([price, size]): Level => [
          Decimal.from(price).unitsAt(this.pricePlaces),
          Decimal.from(size).unitsAt(this.sizePlaces),
        ],
      )
      .filter(([, size]) => size !== 0n);
    const sign = side === "buy" ? 1 : -1;
    return levels.sort(([a], [b]) => (a === b ? 0 : a < b ? sign : -sign));
  }
}
