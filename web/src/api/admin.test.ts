import { afterEach, expect, test, vi } from "vitest";
import { firstPages } from "../state/paging";
import { admin, WITHDRAWALS_PAGE } from "./admin";

afterEach(() => vi.unstubAllGlobals());

test("the list of withdrawals goes on behind a page that is full", async () => {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (path: string) => {
    asked.push(path);
    const full = Array.from({ length: WITHDRAWALS_PAGE }, (_, place) => ({ id: String(place) }));
    const page = asked.length === 1 ? full : [{ id: "newest" }];
    return Response.json(page, { headers: { "cb-after": `1_${asked.length}` } });
  });
  const { items, after } = await firstPages(9, WITHDRAWALS_PAGE, admin.withdrawals);
  expect([items.length, items[WITHDRAWALS_PAGE]?.id, after]).toEqual([WITHDRAWALS_PAGE + 1, "newest", null]);
  const path = `/v1/admin/withdrawals?limit=${WITHDRAWALS_PAGE}`;
  expect(asked).toEqual([path, `${path}&after=1_1`]);
});
