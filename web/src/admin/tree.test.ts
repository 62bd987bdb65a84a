import { expect, test } from "vitest";
import type { Place } from "../api/admin";
import { after, rows } from "./tree";

const place = (path: string, parent: string | null): Place => ({
  path,
  parent,
  name: path.split("/").pop() ?? "",
  kind: "actor",
  state: "running",
  incarnation: 1,
  crashes: 0,
  last_crash: null,
  running_since: 5,
  mailbox_depth: 0,
  mailbox_capacity: 16,
  lag: null,
});

const places = [
  place("agora", null),
  place("agora/trading", "agora"),
  place("agora/chat", "agora"),
  place("agora/trading/ledger", "agora/trading"),
  place("rooms/7", "rooms"),
];

test("children follow their parents", () => {
  expect(rows(places).map(({ place, depth }) => [place.path, depth])).toEqual([
    ["agora", 0],
    ["agora/trading", 1],
    ["agora/trading/ledger", 2],
    ["agora/chat", 1],
    ["rooms/7", 0],
  ]);
});

test("a crash is counted and its reason kept", () => {
  const change = {
    at: 9,
    path: "agora/chat",
    state: "backing-off",
    incarnation: 1,
    reason: "a panic",
  } as const;
  const crashed = after(places, change)?.[2];
  expect(crashed?.crashes).toBe(1);
  expect(crashed?.last_crash).toEqual({ at: 9, reason: "a panic" });
  expect(crashed?.running_since).toBe(5);
  const again = after(places, { ...change, state: "running", incarnation: 2, reason: null })?.[2];
  expect(again?.running_since).toBe(9);
  expect(after(places, { ...change, path: "agora/new" })).toBeNull();
});
