import { afterEach, expect, test, vi } from "vitest";
import { account } from "./account";

afterEach(() => vi.unstubAllGlobals());

test("the price of an alert goes to the server in plain notation", async () => {
  const sent: unknown[] = [];
  vi.stubGlobal("fetch", async (_: string, { body }: RequestInit) => {
    sent.push(JSON.parse(String(body)));
    return Response.json({});
  });
  for (const price of [".5", "5.", "many"]) await account.addAlert("ETH-USDT", "below", price);
  expect(sent).toEqual(
    ["0.5", "5", "many"].map((price) => ({ product_id: "ETH-USDT", direction: "below", price })),
  );
});
