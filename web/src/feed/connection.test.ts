import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeSocket, stubPage } from "../testing/page";
import { FeedConnection, type Wanted } from "./connection";

const REFUSAL = { type: "error", message: "Authentication Failed", reason: "" };
const of = (user: string | null, turn: number): Wanted => ({
  tickers: ["A-B"],
  product: "A-B",
  user,
  token: user && `${user}${turn}`,
});

beforeEach(() => {
  vi.useFakeTimers();
  stubPage();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** A connection that is open, and how often it was opened. */
function connected(wanted: Wanted) {
  const opened: boolean[] = [];
  const feed = new FeedConnection("ws://venue.test", {
    opened: (again) => opened.push(again),
    message: () => {},
  });
  feed.want(wanted);
  FakeSocket.last.open();
  return { feed, opened };
}

/** The tokens that were shown on the present connection. */
const shown = () => FakeSocket.last.sent.flatMap(({ token }) => (token === undefined ? [] : [token]));

test("a token that was renewed changes nothing; another user gets another connection", () => {
  const { feed } = connected(of("a", 1));
  const sent = FakeSocket.last.sent.length;
  feed.want(of("a", 2));
  expect([FakeSocket.all.length, FakeSocket.last.sent.length, shown()]).toEqual([1, sent, ["a1"]]);
  feed.want(of("b", 1));
  FakeSocket.last.open();
  expect([FakeSocket.all.length, shown()]).toEqual([2, ["b1"]]);
  feed.want(of(null, 1));
  FakeSocket.last.open();
  expect([FakeSocket.all.length, shown()]).toEqual([3, []]);
  feed.want(of("a", 3));
  expect([FakeSocket.all.length, shown()]).toEqual([3, ["a3"]]);
});

test("a new connection, and a new market, are shown the token of the time", () => {
  const { feed, opened } = connected(of("a", 1));
  feed.want(of("a", 2));
  feed.want({ ...of("a", 2), tickers: ["A-B", "C-D"] });
  expect(shown()).toEqual(["a1", "a2"]);
  FakeSocket.last.close();
  vi.advanceTimersByTime(1_000);
  FakeSocket.last.open();
  expect([opened, shown()]).toEqual([[false, true], ["a2"]]);
});

test("after a refusal the next token is shown, be it there already or not", () => {
  const { feed } = connected(of("a", 1));
  FakeSocket.last.say(REFUSAL);
  feed.want({ ...of("a", 1), product: null });
  expect(shown()).toEqual(["a1"]);
  feed.want(of("a", 2));
  expect(shown()).toEqual(["a1", "a2"]);
  feed.want(of("a", 3));
  FakeSocket.last.say(REFUSAL);
  expect(shown()).toEqual(["a1", "a2", "a3"]);
  expect(FakeSocket.all.length).toBe(1);
});
