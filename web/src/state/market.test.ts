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
