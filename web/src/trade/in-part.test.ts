import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { toasts } from "../state/toasts";
import { stubPage } from "../testing/page";
import { addDemoFunds, cancelAll } from "./in-part";

let refused: (asked: string, init: RequestInit) => boolean;
let sent: unknown[];
beforeEach(() => {
  vi.useFakeTimers();
  toasts.value = [];
  sent = [];
  stubPage((asked, init) => {
    sent.push(init.body === undefined ? asked : JSON.parse(String(init.body)));
    if (refused(asked, init)) return Response.json({ message: "BTC-USDT is halted" }, { status: 503 });
    return Response.json(["o1"]);
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const told = () => toasts.value.map(({ kind, title, detail }) => [kind, title, detail]);

test("a failure to cancel all does not say that none was canceled", async () => {
  refused = () => false;
  await cancelAll();
  refused = () => true;
  await cancelAll();
  expect(told()).toEqual([
    ["plain", "1 order canceled", undefined],
    ["bad", "Not all orders could be canceled", "BTC-USDT is halted"],
  ]);
});

test("a failure to add demo funds does not say that none were added", async () => {
  const markets = ["BTC", "ETH"].map((base_currency) => ({ base_currency, quote_currency: "USDT" }));
  refused = () => false;
  await addDemoFunds(markets);
  expect(sent).toEqual([
    { currency: "BTC", amount: "1" },
    { currency: "USDT", amount: "10000" },
    { currency: "ETH", amount: "1" },
  ]);
  refused = (_, init) => String(init.body).includes("USDT");
  await addDemoFunds(markets);
  expect(told()).toEqual([
    ["good", "Demo funds added", undefined],
    ["bad", "Not all demo funds were added", "BTC-USDT is halted"],
  ]);
});
