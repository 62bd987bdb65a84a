import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Fill } from "../api/types";
import { FakeSocket, type Page, stubPage } from "../testing/page";

const market = (id: string, more: object = {}) => ({
  id,
  base_currency: "A",
  quote_currency: "X",
  base_increment: "0.001",
  quote_increment: "0.01",
  status: "online",
  ...more,
});
const session = (user: string, turn = 1) =>
  JSON.stringify({ user: { id: user, email: `${user}@example.org` }, access_token: `${user}${turn}` });
const fill = (trade_id: number): Fill => ({
  trade_id,
  product_id: "A-X",
  order_id: "o",
  liquidity: "T",
  price: "1",
  size: "1",
  fee: "0",
  side: "buy",
  created_at: "",
});
/** A page of fills from the newest one on. */
const pageFrom = (newest: number, count = 100) => {
  const items = Array.from({ length: Math.min(count, newest) }, (_, at) => fill(newest - at));
  return Response.json(items, { headers: { "cb-after": String(items.at(-1)?.trade_id) } });
};

let page: Page;
let fillsAnswer: (after: number | null) => Response | Promise<Response>;
let orders: () => Response | Promise<Response>;
let available: string;

beforeEach(() => {
  vi.useFakeTimers();
  available = "1";
  fillsAnswer = () => pageFrom(3);
  orders = () => Response.json([{ id: "o1", product_id: "A-X" }]);
  page = stubPage((asked) => {
    if (asked === "GET /v1/products") return Response.json([market("A-X"), market("B-X")]);
    if (asked === "GET /v1/accounts") return Response.json([{ id: "1", currency: "X", available }]);
    if (asked.startsWith("GET /v1/orders?")) return orders();
    if (asked.startsWith("GET /v1/fills?")) {
      const after = /after=(\d+)/.exec(asked)?.[1];
      return fillsAnswer(after === undefined ? null : Number(after));
    }
    return undefined;
  });
  page.stored.set("agora.session", session("u"));
});
const settled = () => vi.advanceTimersByTimeAsync(1_000);
afterEach(async () => {
  await settled();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function open() {
  vi.resetModules();
  const markets = await import("./market");
  const account = await import("./account");
  markets.startMarket();
  account.startAccount();
  await settled();
  FakeSocket.last.open();
  await settled();
  const trades = () => account.fills.value?.map((one) => one.trade_id);
  return { ...account, trades };
}

test("balances and open orders are fresh although the fills cannot be told", async () => {
  const account = await open();
  fillsAnswer = () => Response.json({ message: "history is being written" }, { status: 503 });
  available = "2";
  account.refreshSoon();
  await settled();
  expect(account.available("X").toString()).toBe("2");
  expect(account.openOrders.value?.length).toBe(1);
  expect([account.trades(), account.accountError.value]).toEqual([[3, 2, 1], "history is being written"]);

  fillsAnswer = () => pageFrom(4);
  await vi.advanceTimersByTimeAsync(3_000);
  expect([account.trades(), account.accountError.value]).toEqual([[4, 3, 2, 1], null]);
});

test("fills that never come hold nothing else, nor those of another market", async () => {
  fillsAnswer = () => new Promise(() => {});
  const account = await open();
  expect([account.openOrders.value?.length, account.fills.value]).toEqual([1, null]);
  available = "2";
  account.refreshSoon();
  await settled();
  expect(account.available("X").toString()).toBe("2");
  expect(page.asked.filter((asked) => asked.startsWith("GET /v1/fills?")).length).toBe(1);

  fillsAnswer = () => pageFrom(2);
  page.goTo("/trade/B-X");
  await settled();
  expect(account.trades()).toEqual([2, 1]);
});

test("balances do not wait for the open orders", async () => {
  let list: (answer: Response) => void = () => {};
  const account = await open();
  orders = () => new Promise((done) => (list = done));
  available = "2";
  account.refreshSoon();
  await settled();
  expect(account.available("X").toString()).toBe("2");
  list(Response.json([]));
  await settled();
  expect(account.openOrders.value).toEqual([]);
});

test("what happened while the fills were fetched is fetched after them", async () => {
  const account = await open();
  let list: (answer: Response) => void = () => {};
  fillsAnswer = () => new Promise((done) => (list = done));
  account.refreshSoon();
  await settled();
  account.refreshSoon();
  await settled();
  fillsAnswer = () => pageFrom(5);
  list(pageFrom(4));
  await settled();
  expect(account.trades()).toEqual([5, 4, 3, 2, 1]);
});

test("the fills stay when the market is told anew or the session is prolonged", async () => {
  fillsAnswer = (after) => pageFrom(after === null ? 150 : after - 1);
  const account = await open();
  await account.showMoreFills();
  const seen: (number | undefined)[] = [];
  account.fills.subscribe((all) => seen.push(all?.length));
  FakeSocket.last.say({ type: "status", products: [market("A-X", { phase: "auction" }), market("B-X")] });
  page.stored.set("agora.session", session("u", 2));
  page.tellStored("agora.session");
  account.refreshSoon();
  await settled();
  expect(new Set(seen)).toEqual(new Set([150]));

  page.goTo("/trade/B-X");
  expect(account.fills.value).toBeNull();
  await settled();
  expect(account.fills.value?.length).toBe(100);
});

test("nothing of one user is shown to the next, and who comes back sees it again", async () => {
  const account = await open();
  page.stored.delete("agora.session");
  page.tellStored("agora.session");
  expect([account.accounts.value, account.openOrders.value, account.fills.value]).toEqual([null, null, null]);
  await settled();
  expect(account.accounts.value).toBeNull();
  page.stored.set("agora.session", session("u", 2));
  page.tellStored("agora.session");
  await settled();
  expect([account.accounts.value?.length, account.trades()]).toEqual([1, [3, 2, 1]]);
});

test("new fills push the oldest out, but not those that were asked for", async () => {
  let newest = 2_000;
  fillsAnswer = (after) => pageFrom(after === null ? newest : after - 1);
  const account = await open();
  const come = async (): Promise<void> => {
    newest += 50;
    account.refreshSoon();
    await settled();
  };
  for (let times = 0; times < 20; times += 1) await come();
  expect([account.fills.value?.length, account.olderFills.value]).toEqual([1_000, String(newest - 999)]);
  await account.showMoreFills();
  await come();
  expect([account.fills.value?.length, account.trades()?.at(-1)]).toEqual([1_100, newest - 1_099]);
});
