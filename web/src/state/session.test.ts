import { beforeEach, expect, test, vi } from "vitest";
import type { Session } from "../api/types";
import { stubPage } from "../testing/page";

const user = (id: string) => ({ id, email: `${id}@example.org` });
const sessionOf = (id: string, turn: number): Session => ({
  user: user(id),
  access_token: `${id}${turn}`,
  refresh_token: `refresh-${id}${turn}`,
});

let stored: Map<string, string>;
const otherTab = (session: Session | null): void => {
  if (session) stored.set("agora.session", JSON.stringify(session));
  else stored.delete("agora.session");
};
const saved = (): Session | null => JSON.parse(stored.get("agora.session") ?? "null") as Session | null;

/** What the page asked, as "path token"; tokens that are not in `good` are answered with `code`. */
let asked: string[];
let good: string[];
let code: string;
let onRefresh: (sent: string) => Session;
let tell: (key: string | null) => void;
/** The server takes questions and never answers. */
let deaf: boolean;
let onSignIn: (init: RequestInit) => unknown;

/** A page that was opened with this session. */
async function open(session: Session | null) {
  otherTab(session);
  vi.resetModules();
  const http = await import("../api/http");
  const page = await import("./session");
  const { toasts } = await import("./toasts");
  const titles = () => toasts.value.map((toast) => toast.title);
  const { path } = await import("./route");
  return { ...page, request: http.request, titles, path };
}

beforeEach(() => {
  asked = [];
  good = [];
  code = "token_expired";
  deaf = false;
  const page = stubPage(async (question, init) => {
    const path = question.split(" ")[1];
    const token = (init.headers as Record<string, string>).authorization?.slice("Bearer ".length) ?? "";
    asked.push(`${path} ${token}`);
    if (deaf) return new Promise(() => {});
    if (path === "/v1/auth/sign-up" || path === "/v1/auth/sign-in") return Response.json(onSignIn(init));
    if (path === "/v1/auth/refresh") {
      return Response.json(onRefresh(JSON.parse(String(init.body)).refresh_token));
    }
    return good.includes(token) ? Response.json({}) : Response.json({ code }, { status: 401 });
  });
  stored = page.stored;
  tell = page.tellStored;
});

test("a tab follows the others and saves nothing", async () => {
  const page = await open(sessionOf("a", 1));
  const save = vi.spyOn(localStorage, "setItem");
  otherTab(sessionOf("a", 2));
  tell("agora.session");
  expect(page.session.value).toEqual(sessionOf("a", 2));
  expect(page.titles()).toEqual([]);

  otherTab(sessionOf("b", 1));
  tell("agora.market");
  expect(page.session.value?.user.id).toBe("a");
  tell("agora.session");
  expect(page.session.value?.user.id).toBe("b");
  expect(page.titles()).toEqual(["You are signed in as b@example.org now"]);

  good = ["b1"];
  await page.request("GET", "/x");
  expect(asked).toEqual(["/v1/x b1"]);

  stored.clear();
  tell(null);
  expect(page.session.value).toBeNull();
  expect(page.titles()[1]).toBe("You have been signed out");
  expect(save).not.toHaveBeenCalled();
});

test("an expired token gives way to that of another tab, or to a new one", async () => {
  const page = await open(sessionOf("a", 1));
  otherTab(sessionOf("a", 2));
  good = ["a2"];
  await page.request("GET", "/x");
  expect(asked).toEqual(["/v1/x a1", "/v1/x a2"]);

  // Storage may be forbidden; the session of this page still counts.
  otherTab(null);
  good = ["a3"];
  onRefresh = (sent) => (sent === "refresh-a2" ? sessionOf("a", 3) : sessionOf("?", 0));
  await page.request("GET", "/y");
  expect(asked.at(-1)).toBe("/v1/y a3");
  expect(saved()).toEqual(sessionOf("a", 3));
});

test("what one user asked is never asked in the name of another", async () => {
  const page = await open(sessionOf("a", 1));
  good = ["b1"];
  otherTab(sessionOf("b", 1));
  await expect(page.request("GET", "/x")).rejects.toMatchObject({ status: 401 });
  expect(asked).toEqual(["/v1/x a1"]);
  expect(page.session.value?.user.id).toBe("b");
  expect(saved()).toEqual(sessionOf("b", 1));
});

test("nor is it when the other one comes before the refusal or within the renewal", async () => {
  const page = await open(sessionOf("a", 1));
  good = ["b1", "a2"];
  const late = page.request("GET", "/x");
  otherTab(sessionOf("b", 1));
  tell("agora.session");
  await expect(late).rejects.toMatchObject({ status: 401 });
  expect(asked).toEqual(["/v1/x a1"]);

  const again = await open(sessionOf("a", 1));
  onRefresh = () => {
    otherTab(sessionOf("b", 1));
    tell("agora.session");
    return sessionOf("a", 2);
  };
  await expect(again.request("GET", "/y")).rejects.toMatchObject({ status: 401 });
  expect(again.session.value?.user.id).toBe("b");
  expect(saved()).toEqual(sessionOf("b", 1));
});

test("a revoked token ends the session, but not one that another tab has begun", async () => {
  code = "token_revoked";
  const page = await open(sessionOf("a", 1));
  otherTab(sessionOf("a", 2));
  await expect(page.request("GET", "/x")).rejects.toMatchObject({ status: 401 });
  expect(page.session.value).toEqual(sessionOf("a", 2));
  await expect(page.request("GET", "/x")).rejects.toMatchObject({ status: 401 });
  expect(page.session.value).toBeNull();
  expect(saved()).toBeNull();
});

test("only the present user is renewed", async () => {
  const page = await open(sessionOf("a", 1));
  page.renewUser({ ...user("b"), name: "B" });
  expect(page.session.value?.user).toEqual(user("a"));
  page.renewUser({ ...user("a"), name: "A" });
  expect(page.session.value?.user.name).toBe("A");
  expect(saved()?.user.name).toBe("A");
});

test("signing out tells the server first, with a new token where the old one's time is over", async () => {
  const page = await open(sessionOf("a", 1));
  good = ["a2"];
  onRefresh = () => sessionOf("a", 2);
  const done = page.signOut();
  expect(page.session.value?.user.id).toBe("a");
  await done;
  expect(asked).toEqual(["/v1/auth/sign-out a1", "/v1/auth/refresh a1", "/v1/auth/sign-out a2"]);
  expect([page.session.value, saved(), page.titles()]).toEqual([null, null, []]);
});

test("a server that cannot be told keeps nobody here, and the user hears of it", async () => {
  vi.useFakeTimers();
  try {
    const page = await open(sessionOf("a", 1));
    deaf = true;
    const done = page.signOut();
    await vi.advanceTimersByTimeAsync(1_000);
    expect([page.session.value?.user.id, page.signingOut.value]).toEqual(["a", true]);
    await vi.advanceTimersByTimeAsync(10_000);
    await done;
    expect([page.session.value, saved(), page.signingOut.value]).toEqual([null, null, false]);
    expect(asked).toEqual(["/v1/auth/sign-out a1"]);
    expect(page.titles()).toEqual(["You are signed out here, but the server could not be told"]);
  } finally {
    vi.useRealTimers();
  }
});

test("who came in another tab while somebody signs out stays", async () => {
  const page = await open(sessionOf("a", 1));
  good = ["a1"];
  const done = page.signOut();
  otherTab(sessionOf("b", 1));
  tell("agora.session");
  await done;
  expect([page.session.value?.user.id, saved()?.user.id]).toEqual(["b", "b"]);
});

test("a failed connection of a provider signs nobody out, and leads back to the settings", async () => {
  vi.stubGlobal("location", { pathname: "/", search: "?error=identity_taken" });
  const page = await open(sessionOf("a", 1));
  await page.arrive();
  expect([page.titles(), page.path.value]).toEqual([["The account was not connected"], "/settings/security"]);
  expect(page.session.value?.user.id).toBe("a");

  const newcomer = await open(null);
  await newcomer.arrive();
  expect([newcomer.titles(), newcomer.path.value]).toEqual([["You were not signed in"], "/"]);
});

test("the demo account of this browser can be returned to, until its owner has another password", async () => {
  const page = await open(null);
  onSignIn = (init) => {
    const { email } = JSON.parse(String(init.body));
    return { ...sessionOf("demo", 1), user: { id: "demo", email } };
  };
  await page.startDemo();
  const made = page.demoToReturnTo.value;
  expect([page.isDemo.value, made?.email]).toEqual([true, page.session.value?.user.email]);
  good = ["demo1"];
  await page.signOut();
  await page.returnToDemo();
  expect([page.isDemo.value, page.demoToReturnTo.value]).toEqual([true, made]);
  page.passwordChanged();
  expect([page.isDemo.value, page.demoToReturnTo.value]).toEqual([true, null]);
  expect(stored.get("agora.demo")).not.toContain(made?.password);
});

test("a user who leaves or makes way for another is counted, not one who comes or stays", async () => {
  const page = await open(null);
  const counts: number[] = [];
  for (const next of [sessionOf("a", 1), sessionOf("a", 2), sessionOf("b", 1), null, sessionOf("a", 3)]) {
    otherTab(next);
    tell("agora.session");
    counts.push(page.departures.value);
  }
  expect(counts).toEqual([0, 0, 1, 2, 2]);
});
