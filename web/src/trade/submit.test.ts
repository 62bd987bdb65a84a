import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Product } from "../api/types";
import { type Page, stubPage } from "../testing/page";
import { type Draft, isSameDraft } from "./draft";

const market = { id: "ETH-USDT", base_currency: "ETH", quote_currency: "USDT" } as Product;
const draft: Draft = { product_id: "ETH-USDT", side: "buy", type: "limit", price: "10", size: "2" };
const order = (created: string) => ({
  ...draft,
  id: "o1",
  status: "open",
  created_at: `2026-11-26T${created}Z`,
});
const broken = () => Promise.reject(new TypeError("no line"));

/** What the server says to an order and to the question after one. */
let place: () => Response | Promise<Response>;
let find: () => Response | Promise<Response>;
let page: Page;
/** The form. */
let there: boolean;
let complaint: string | null;
let doubted: Draft | undefined;
let cleared: number;
const form = {
  isThere: () => there,
  complain: (why: string, about?: Draft) => {
    complaint = why;
    doubted = about;
  },
  clear: () => {
    cleared += 1;
  },
  forgive(about: Draft) {
    if (!isSameDraft(doubted, about)) return false;
    complaint = null;
    doubted = undefined;
    return true;
  },
};

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-11-26T12:00:00Z") });
  [there, complaint, doubted, cleared] = [true, null, undefined, 0];
  page = stubPage((asked) => {
    if (asked === "POST /v1/orders") return place();
    if (asked.startsWith("GET /v1/orders/client:")) return find();
    if (asked === "GET /v1/time") return Response.json({ epoch: Date.now() / 1_000 });
    return undefined;
  });
  page.stored.set("agora.session", JSON.stringify({ user: { id: "a", email: "a@example.org" } }));
});
afterEach(() => {
  vi.clearAllTimers();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** The page, anew; its notices are kept for as long as the test lasts. */
async function open() {
  vi.resetModules();
  const { submit, UNKNOWN } = await import("./submit");
  const { toasts } = await import("../state/toasts");
  const titles: string[] = [];
  toasts.subscribe((all) => {
    const title = all.at(-1)?.title;
    if (title && title !== titles.at(-1)) titles.push(title);
  });
  return {
    submit: (one = draft) => submit(one, market, form),
    UNKNOWN,
    titles,
    last: () => toasts.value.at(-1),
  };
}

test("an order that was taken is told, and the form is emptied", async () => {
  const page = await open();
  place = () => Response.json(order("12:00:00"));
  await page.submit();
  expect([page.titles, cleared, complaint]).toEqual([["Order placed"], 1, null]);
});

test("a refusal stands on the form, or in a notice when that is gone", async () => {
  const page = await open();
  place = () => Response.json({ message: "too little" }, { status: 400 });
  await page.submit();
  expect([complaint, page.titles]).toEqual(["too little", []]);
  there = false;
  await page.submit();
  expect(page.last()).toMatchObject({ title: "Your order was not placed", detail: "too little" });
  place = broken;
  await page.submit();
  expect(page.titles[1]).toBe("It is not known yet whether your order was placed");
  expect(cleared).toBe(0);
});

test("after a lost answer it is told that the order was placed, and the doubt goes", async () => {
  const page = await open();
  place = broken;
  find = broken;
  await page.submit();
  expect([complaint, page.titles]).toEqual([page.UNKNOWN, []]);
  find = () => Response.json(order("12:00:00"));
  await vi.advanceTimersByTimeAsync(10_000);
  expect([complaint, cleared, page.titles]).toEqual([null, 1, ["Order placed"]]);
});

const SIGNED_IN = "You are signed in as b@example.org now";
test.each([200, 429, 500])(
  "with status %i, whoever has signed in meanwhile is told nothing",
  async (status) => {
    const opened = await open();
    place = () => {
      page.stored.set("agora.session", JSON.stringify({ user: { id: "b", email: "b@example.org" } }));
      page.tellStored("agora.session");
      return Response.json(order("12:00:00"), { status });
    };
    await opened.submit();
    expect([opened.titles, complaint, cleared]).toEqual([[SIGNED_IN], null, 0]);
  },
);

test("what became of one order does not answer the doubt about another", async () => {
  const page = await open();
  place = broken;
  find = broken;
  await page.submit();
  await vi.advanceTimersByTimeAsync(500);
  await page.submit({ ...draft, size: "3" });
  let questions = 0;
  find = () => {
    questions += 1;
    return questions === 1 ? Response.json(order("12:00:00")) : broken();
  };
  await vi.advanceTimersByTimeAsync(900);
  expect([complaint, cleared, page.titles]).toEqual([page.UNKNOWN, 0, ["Order placed"]]);
});

test("after a lost answer it is told that the order was not placed", async () => {
  const page = await open();
  place = broken;
  find = () => Response.json({ code: "not_found" }, { status: 404 });
  await page.submit();
  form.complain("Enter a price.");
  await vi.advanceTimersByTimeAsync(25_000);
  expect([complaint, cleared, page.titles]).toEqual(["Enter a price.", 0, ["Your order was not placed"]]);
  expect(page.last()?.detail).toMatch(/^Buy 2 ETH at 10: it has not reached the market\. Sending it again /);
});

test("a sending that is turned away does not hide that an earlier one is open", async () => {
  const page = await open();
  place = broken;
  find = broken;
  await page.submit();
  place = () => Response.json({ message: "slowly" }, { status: 429 });
  await page.submit();
  expect(complaint).toBe(`${page.UNKNOWN} This time it was turned away: slowly`);
  there = false;
  await page.submit();
  expect(page.last()).toMatchObject({
    title: "It is not known yet whether your order was placed",
    detail: "Buy 2 ETH at 10: slowly",
  });
});

test("an order of before is not taken for a new one", async () => {
  const page = await open();
  place = broken;
  find = broken;
  await page.submit();
  await vi.advanceTimersByTimeAsync(60_000);
  place = () => Response.json(order("12:00:00"));
  await page.submit();
  expect(page.titles).toEqual(["Nothing new was placed"]);
  expect(page.last()?.detail).toMatch(/^This is the order of .*\d\d:\d\d:00: Buy 2 ETH at 10$/);
});
