import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeSocket, type Page, stubPage } from "../testing/page";

const MARKETS = ["A-X", "B-X", "C-X"];
const product = (id: string, more: object = {}) => ({
  id,
  base_currency: id.split("-")[0],
  quote_currency: "X",
  base_increment: "0.001",
  quote_increment: "0.01",
  status: "online",
  ...more,
});
const status = (more: object = {}) => ({
  type: "status",
  products: MARKETS.map((id) => product(id, { venue_stopped: false, ...more })),
});
const ticker = (product_id: string, price: string) => ({
  type: "ticker",
  product_id,
  price,
  open_24h: price,
  high_24h: price,
  low_24h: price,
  volume_24h: "1",
});

/** What `/stats` tells as the last price; what else the server answers. */
let last: string;
let page: Page;
const answer = (question: string): Response | undefined => {
  if (question === "GET /v1/products") return Response.json(MARKETS.map((id) => product(id)));
  if (question.endsWith("/stats")) {
    return Response.json({ last, open: "1", high: "3", low: "1", volume: "7", volume_30day: "9" });
  }
  if (question.includes("/trades?")) return Response.json([]);
  return undefined;
};

beforeEach(() => {
  vi.useFakeTimers();
  last = "2";
  page = stubPage(answer);
});
afterEach(async () => {
  // What was asked last is answered yet.
  await settled();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const settled = () => vi.advanceTimersByTimeAsync(200);

/** Time passes while the feed shows that it is alive. */
async function pass(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    FakeSocket.last.say({ type: "heartbeat", product_id: "A-X", last_trade_id: 0 });
    await vi.advanceTimersByTimeAsync(1_000);
  }
}

/** The page, loaded and with an open feed. */
async function open() {
  vi.resetModules();
  const market = await import("./market");
  market.startMarket();
  await settled();
  FakeSocket.last.open();
  await settled();
  return market;
}

test("a tab stays with its market whatever the others choose", async () => {
  page.stored.set("agora.market", '"B-X"');
  const market = await open();
  expect(market.product.value?.id).toBe("B-X");
  page.stored.set("agora.market", '"C-X"');
  FakeSocket.last.say(status());
  expect(market.product.value?.id).toBe("B-X");
  page.goTo("/settings");
  expect(market.product.value?.id).toBe("B-X");
});

test("what was chosen is kept, also where nothing can be stored", async () => {
  const market = await open();
  page.goTo("/trade/C-X");
  expect(page.stored.get("agora.market")).toBe('"C-X"');
  page.stored.clear();
  page.goTo("/");
  expect(market.product.value?.id).toBe("C-X");
});

test("the figures of the chosen market alone are asked for; the feed brings those of all", async () => {
  const market = await open();
  expect(page.asked.filter((one) => one.endsWith("/stats"))).toEqual(["GET /v1/products/A-X/stats"]);
  expect(market.tickerOf("A-X").value).toEqual({ last: "2", open: "1", high: "3", low: "1", volume: "7" });
  expect(FakeSocket.last.sent).toContainEqual({
    type: "subscribe",
    product_ids: MARKETS,
    channels: ["ticker"],
  });
  FakeSocket.last.say(ticker("C-X", "5"));
  expect(market.tickerOf("C-X").value?.last).toBe("5");
});

test("without trades the figures are asked for each minute, and a ticker that comes meanwhile is newer", async () => {
  const market = await open();
  FakeSocket.last.say(ticker("A-X", "5"));
  await pass(60);
  expect(market.tickerOf("A-X").value).toMatchObject({ last: "2", volume: "7" });

  let tell: (response: Response) => void = () => {};
  vi.stubGlobal("fetch", () => new Promise<Response>((answered) => (tell = answered)));
  await pass(60);
  FakeSocket.last.say(ticker("A-X", "6"));
  tell(answer("GET /v1/products/A-X/stats") as Response);
  await settled();
  expect(market.tickerOf("A-X").value?.last).toBe("6");
});

test("a crossed book is asked for once a second and stays meanwhile; in an auction it may be crossed", async () => {
  const market = await open();
  const crossing = (size: number) => ({
    type: "l2update",
    product_id: "A-X",
    changes: [["buy", "9.00", String(size)]],
  });
  const asked = () => FakeSocket.last.sent.filter((one) => String(one.channels) === "level2").length / 2;
  FakeSocket.last.say({ type: "snapshot", product_id: "A-X", bids: [["7.00", "1"]], asks: [["8.00", "1"]] });
  for (let update = 1; update <= 25; update += 1) {
    FakeSocket.last.say(crossing(update));
    await vi.advanceTimersByTimeAsync(100);
  }
  expect(asked()).toBe(3);
  expect([market.book.ready, market.book.best("buy")?.toString()]).toEqual([true, "9"]);

  // The next one is due still, and finds that all is well.
  FakeSocket.last.say(status({ phase: "auction" }));
  await vi.advanceTimersByTimeAsync(1_000);
  FakeSocket.last.say(crossing(1));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(asked()).toBe(3);
});

test("every trade of the feed is told once, whatever the list of trades knows", async () => {
  const trade = (trade_id: number, type = "match", product_id = "A-X") => ({
    type,
    product_id,
    trade_id,
    side: "buy",
    price: "2",
    size: "1",
    time: "2026-11-26T12:00:00Z",
  });
  let list: (response: Response) => void = () => {};
  page = stubPage((question) =>
    question.includes("/trades?") ? new Promise<Response>((answered) => (list = answered)) : answer(question),
  );
  const market = await open();
  const told: number[] = [];
  market.onTrade(({ trade_id }) => told.push(trade_id));
  FakeSocket.last.say(trade(7, "last_match"), trade(8));
  list(Response.json([trade(10), trade(9), trade(8), trade(7)]));
  await settled();
  FakeSocket.last.say(trade(9), trade(10), trade(11), trade(11));
  expect(told).toEqual([8, 9, 10, 11]);
  expect(market.trades.value.map((one) => one.trade_id)).toEqual([11, 10, 9, 8, 7]);

  page.goTo("/trade/B-X");
  FakeSocket.last.say(trade(1, "match", "B-X"));
  expect(told.at(-1)).toBe(1);
});
