import { beforeEach, expect, test, vi } from "vitest";
import type { Session } from "../api/types";

const user = (id: string) => ({ id, email: `${id}@example.org` });
const sessionOf = (id: string, turn: number): Session => ({
  user: user(id),
  access_token: `${id}${turn}`,
  refresh_token: `refresh-${id}${turn}`,
});

const stored = new Map<string, string>();
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

/** A page that was opened with this session. */
async function open(session: Session | null) {
  otherTab(session);
  vi.resetModules();
  const http = await import("../api/http");
  const page = await import("./session");
  const { toasts } = await import("./toasts");
  const titles = () => toasts.value.map((toast) => toast.title);
  return { ...page, request: http.request, titles };
}

beforeEach(() => {
  stored.clear();
  asked = [];
  good = [];
  code = "token_expired";
  vi.stubGlobal("navigator", {});
  vi.stubGlobal("localStorage", {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => stored.set(key, value),
    removeItem: (key: string) => stored.delete(key),
  });
  vi.stubGlobal("addEventListener", (_: string, listener: (event: { key: string | null }) => void) => {
    tell = (key) => listener({ key });
  });
  vi.stubGlobal("fetch", async (path: string, init: RequestInit) => {
    const token = (init.headers as Record<string, string>).authorization?.slice("Bearer ".length) ?? "";
    asked.push(`${path} ${token}`);
    if (path === "/v1/auth/refresh") {
      return Response.json(onRefresh(JSON.parse(String(init.body)).refresh_token));
    }
    return good.includes(token) ? Response.json({}) : Response.json({ code }, { status: 401 });
  });
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
