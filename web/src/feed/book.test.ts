import { describe, expect, it } from "vitest";
import { Decimal } from "../money/decimal";
import { Book, type Row } from "./book";

const d = Decimal.from;
const text = (rows: Row[]): string[] => rows.map((row) => `${row.price}x${row.size}=${row.total}`);

function sample(): Book {
  const book = new Book(2, 4);
  book.reset(
    [
      ["99.50", "1"],
      ["99.95", "2"],
      ["98.00", "4"],
    ],
    [
      ["100.05", "0.5"],
      ["100.00", "1.5"],
      ["101.00", "3"],
    ],
  );
  return book;
}

describe("folding", () => {
  it("sorts a snapshot best first and sums the totals", () => {
    expect(text(sample().rows("buy", 9, d("0.01")))).toEqual(["99.95x2=2", "99.5x1=3", "98x4=7"]);
    expect(text(sample().rows("sell", 2, d("0.01")))).toEqual(["100x1.5=1.5", "100.05x0.5=2"]);
  });

  it("inserts, replaces and removes levels, whatever the zeros behind the point", () => {
    const book = sample();
    book.set("buy", "99.7", "5");
    book.set("buy", "99.950", "2.50");
    book.set("buy", "98", "0.0000");
    book.set("buy", "12", "0");
    expect(text(book.rows("buy", 9, d("0.01")))).toEqual(["99.95x2.5=2.5", "99.7x5=7.5", "99.5x1=8.5"]);
  });

  it("agrees with a naive book after many random updates", () => {
    let seed = 12345;
    const random = (below: number): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return seed % below;
    };
    const book = new Book(2, 4);
    const naive = new Map<number, number>();
    for (let i = 0; i < 3000; i++) {
      const price = 1000 + random(60);
      const size = random(4);
      book.set("sell", String(price), String(size));
      if (size === 0) naive.delete(price);
      else naive.set(price, size);
    }
    const expected = [...naive].sort(([a], [b]) => a - b).map(([price, size]) => `${price}x${size}`);
    expect(book.rows("sell", 1000, d("0.01")).map((row) => `${row.price}x${row.size}`)).toEqual(expected);
  });

  it("notices that it is crossed", () => {
    const book = sample();
    expect(book.crossed()).toBe(false);
    book.set("buy", "100.00", "1");
    expect(book.crossed()).toBe(true);
  });
});

describe("grouping", () => {
  it("gathers bids downwards and asks upwards", () => {
    expect(text(sample().rows("buy", 9, d("1")))).toEqual(["99x3=3", "98x4=7"]);
    expect(text(sample().rows("sell", 9, d("1")))).toEqual(["100x1.5=1.5", "101x3.5=5"]);
    expect(text(sample().rows("sell", 1, d("1")))).toEqual(["100x1.5=1.5"]);
  });
});

describe("sweep", () => {
  it("walks the levels for a size", () => {
    const found = sample().sweep("buy", { size: d("2") });
    expect([found.size.toString(), found.quote.toString(), found.complete]).toEqual(["2", "200.025", true]);
  });

  it("walks the levels for funds and never spends more", () => {
    const found = sample().sweep("buy", { funds: d("175") });
    expect([found.size.toString(), found.quote.toString(), found.complete]).toEqual([
      "1.7498",
      "174.99249",
      true,
    ]);
  });

  it("says when the book is too thin", () => {
    const found = sample().sweep("sell", { size: d("100") });
    expect([found.size.toString(), found.complete]).toEqual(["7", false]);
  });
});
