import { expect, test } from "vitest";
import type { AuditRow } from "../api/admin";
import type { Product } from "../api/types";
import { badgesOf, stopOf } from "./market-state";

const market = (more: Partial<Product>): Product => ({
  id: "BTC-USDT",
  base_currency: "BTC",
  quote_currency: "USDT",
  base_increment: "0.01",
  quote_increment: "0.01",
  maker_fee_rate: "0.001",
  taker_fee_rate: "0.002",
  status: "online",
  phase: "trading",
  ...more,
});

test("a market's badges say its phase, and its state unless it takes everything", () => {
  const names = (more: Partial<Product>, state?: Parameters<typeof badgesOf>[1]): string[] =>
    badgesOf(market(more), state).map((badge) => badge.name);
  expect(names({})).toEqual(["trading"]);
  expect(names({ cancel_only: true })).toEqual(["cancel only"]);
  expect(names({ trading_disabled: true })).toEqual(["halted"]);
  expect(names({ phase: "stopped", trading_disabled: true })).toEqual(["stopped"]);
  expect(names({ phase: "stopped", trading_disabled: true }, "halted")).toEqual(["stopped", "halted"]);
  expect(names({ phase: "auction", post_only: true })).toEqual(["auction", "post only"]);
  expect(names({ status: "offline", trading_disabled: true })).toEqual(["fault"]);
});

test("who stopped a market is who stopped it or the venue last", () => {
  const row = (id: number, detail: unknown): AuditRow => ({
    id,
    at: "2026-01-01T00:00:00Z",
    action: "kill_switch",
    actor: null,
    actor_email: null,
    user: null,
    user_email: null,
    address: null,
    detail,
  });
  const rows = [
    row(6, { scope: "market", engaged: false, product_id: "BTC-USDT" }),
    row(5, { scope: "user", engaged: true }),
    row(4, { scope: "market", engaged: true, product_id: "ETH-BTC" }),
    row(3, { scope: "venue", engaged: true }),
    row(2, { scope: "market", engaged: true, product_id: "SOL-BTC" }),
    row(1, { scope: "venue", engaged: false }),
  ];
  expect(stopOf(rows, "ETH-BTC")?.id).toBe(4);
  expect(stopOf(rows, "SOL-BTC")?.id).toBe(3);
  expect(stopOf(rows, null)?.id).toBe(3);
  expect(stopOf(rows, "BTC-USDT")).toBeNull();
  expect(stopOf(rows.slice(5), null)).toBeNull();
  expect(stopOf([], "BTC-USDT")).toBeNull();
});
