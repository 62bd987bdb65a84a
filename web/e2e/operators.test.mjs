// What those who run the venue do with markets and links, in a real browser against a running server with demo funds.
// The server needs an administrator, made before it was started:
//   AGORA_ADMIN_PASSWORD='correct horse battery' agora admin create admin@example.org
//   AGORA_URL=http://127.0.0.1:8080 npm run e2e
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { baseURL, card, eventually, fits, launch, open, PHONE, signIn, someone, toast } from "./browser.mjs";

const ADMIN = {
  email: "admin@example.org",
  password: process.env.AGORA_ADMIN_PASSWORD ?? "correct horse battery",
};

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** Something that no other run has used. */
// Digits alone: letters by chance may make a word that no short link may have.
const fresh = () => Math.random().toString().slice(2, 9);

/** Asks the API as somebody; the answer, with its HTTP status as `http`. */
const ask = async (token, method, path, body) => {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const answer = await fetch(`${baseURL}/v1${path}`, { method, headers, body: JSON.stringify(body) });
  return { ...(await answer.json()), http: answer.status };
};

/** An account of its own, with demo funds; answers its access token. */
const trader = async () => (await ask(null, "POST", "/auth/sign-up", someone())).access_token;

const openAdmin = async (path, options) => {
  const opened = await open(browser, options);
  await signIn(opened.page, ADMIN);
  await opened.page.locator(".account-button").waitFor();
  await opened.page.goto(path);
  return opened;
};

/** Lists a currency and its market against USDT by the forms; answers the market's name. */
const listMarket = async (page) => {
  const code = `E${fresh().toUpperCase()}`;
  await page.getByRole("button", { name: "New currency" }).click();
  const currency = card(page, "New currency");
  await currency.getByLabel("Code").fill("x");
  await currency.getByLabel("Name").fill("A coin");
  await currency.getByRole("button", { name: "List the currency" }).click();
  await currency.getByRole("alert").getByText("not a valid code").waitFor();
  await currency.getByLabel("Code").fill(code);
  await currency.getByRole("button", { name: "List the currency" }).click();
  await toast(page, `${code} is listed`);

  await page.getByRole("button", { name: "New market" }).click();
  const market = card(page, "New market");
  await market.getByLabel("Traded currency").selectOption(code);
  await market.getByLabel("Paid with").selectOption("USDT");
  await market.getByLabel("Size step").fill("0.01");
  await market.getByLabel("Price step").fill("0.01");
  await market.getByLabel("Maker").fill("50");
  await market.getByRole("button", { name: "List the market" }).click();
  await market.getByRole("alert").getByText("above the limit").waitFor();
  await market.getByLabel("Maker").fill("0.05");
  await market.getByRole("button", { name: "List the market" }).click();
  await toast(page, `${code}-USDT is listed`);
  return `${code}-USDT`;
};

const state = (page, market) => page.locator(`tr[data-market="${market}"] .badges`);
const shows = (page, market, text) =>
  eventually(async () => (await state(page, market).innerText()).includes(text), `${market} is ${text}`);

test("a market is listed, seen by those who trade, changed, auctioned, stopped and released", async () => {
  // Somebody has the trading page open all the while.
  const watcher = await open(browser);
  await watcher.page.locator(".connection.live").waitFor();

  const { page, context, complaints } = await openAdmin("/admin/markets");
  const market = await listMarket(page);
  await watcher.page.locator(".market-button").click();
  await watcher.page.locator(`a.market-row[href="/trade/${market}"]`).click();
  await watcher.page.locator(".market-button", { hasText: market.split("-")[0] }).waitFor();

  // Its page opened by itself. Rules are written in percent and seconds.
  const rules = card(page, "Rules");
  assert.equal(await rules.getByLabel("Maker").inputValue(), "0.05");
  await rules.getByLabel("Taker").fill("0.15");
  await rules.getByLabel("Distance").last().fill("150");
  await rules.getByRole("button", { name: "Save the rules" }).click();
  await rules.getByRole("alert").getByText("out of range").waitFor();
  await rules.getByLabel("Distance").last().fill("5");
  await rules.getByRole("button", { name: "Save the rules" }).click();
  await toast(page, "were changed");
  const row = page.locator(`tr[data-market="${market}"]`);
  await eventually(async () => /0\.05 \/ 0\.15 %/.test(await row.innerText()), "the fees");
  assert.match(await row.innerText(), /± 5 %/);
  assert.equal(await rules.getByLabel("Auction lasts").inputValue(), "120", "the server's usual time");

  const detail = card(page, market);
  await detail.getByLabel("Which orders it takes").selectOption("post_only");
  await detail.getByRole("button", { name: "Change" }).click();
  await shows(page, market, "post only");
  // Nothing at all, not even cancels, is asked about.
  await detail.getByLabel("Which orders it takes").selectOption("halted");
  await detail.getByRole("button", { name: "Change" }).click();
  await detail.getByRole("button", { name: "Keep" }).click();
  await shows(page, market, "post only");
  await detail.getByLabel("Which orders it takes").selectOption("online");
  await detail.getByRole("button", { name: "Change" }).click();
  await shows(page, market, "trading");

  // An auction gathers orders and says what it would do.
  await detail.getByLabel("Call auction").fill("3600");
  await detail.getByRole("button", { name: "Begin the auction" }).click();
  await detail.getByText("For 3,600 seconds (1:00:00) nothing trades").waitFor();
  await detail.getByRole("button", { name: "Begin it" }).click();
  await shows(page, market, "auction");
  await detail.getByText("An administrator began it.").waitFor();
  await detail.getByText("nothing would trade").waitFor();
  await eventually(
    async () => /^(1:00:0|59:)/.test(await detail.locator(".auction time").innerText()),
    "time left",
  );
  const token = await trader();
  const order = { product_id: market, side: "buy", type: "limit", price: "7.25", size: "3" };
  const bid = await ask(token, "POST", "/orders", order);
  assert.equal(bid.http, 200, JSON.stringify(bid));

  // The kill switch asks why, cancels what rests and takes nothing new.
  const kill = page.locator(`[data-kill="${market}"]`);
  await kill.getByRole("button", { name: "Stop this market" }).click();
  await kill.getByRole("button", { name: "Keep" }).click();
  await shows(page, market, "auction");
  await kill.getByRole("button", { name: "Stop this market" }).click();
  await kill.getByLabel("Why").fill("a drill");
  await kill.getByRole("button", { name: "Cancel all and stop" }).click();
  await toast(page, `${market} is stopped`);
  await toast(page, "1 order canceled");
  await shows(page, market, "stopped");
  assert.equal(await kill.getAttribute("data-engaged"), "true");
  await kill.getByText(`by ${ADMIN.email}: a drill`).waitFor();
  assert.equal((await ask(token, "POST", "/orders", order)).code, "trading_stopped");
  await kill.getByRole("button", { name: "Release" }).click();
  await kill.getByRole("button", { name: "Let it trade again" }).click();
  await shows(page, market, "trading");
  const again = await ask(token, "POST", "/orders", order);
  assert.equal(again.http, 200, JSON.stringify(again));

  // Frozen without its orders being canceled, they can be canceled afterwards.
  const who = await ask(token, "GET", "/auth/me");
  await page.goto(`/admin/users/${who.id}`);
  const user = card(page, who.email);
  await user.getByPlaceholder("Why").fill("a drill");
  await user.getByLabel("Cancel open orders").uncheck();
  await user.getByRole("button", { name: "Freeze" }).click();
  await user.locator(".badge.bad").waitFor();
  const statusOf = async () => (await ask(token, "GET", `/orders/${again.id}`)).status;
  assert.equal(await statusOf(), "open");
  await user.getByRole("button", { name: "Cancel open orders" }).click();
  await user.getByRole("button", { name: "Cancel all of them" }).click();
  await toast(page, "1 order canceled");
  await eventually(async () => (await statusOf()) === "done", "the order is canceled");
  assert.deepEqual([...complaints, ...watcher.complaints], []);
  await context.close();
  await watcher.context.close();
});

test("the whole venue is stopped and released", async () => {
  const watcher = await openAdmin("/admin/overview");
  const { page, context, complaints } = await openAdmin("/admin/markets");
  const venue = page.locator('[data-kill="venue"]');
  await venue.getByRole("button", { name: "Stop all trading" }).click();
  await venue.getByLabel("Why").fill("a drill of everything");
  await venue.getByRole("button", { name: "Cancel all and stop" }).click();
  try {
    await venue.getByText("Trading is stopped everywhere.").waitFor();
    await venue.getByText("a drill of everything").waitFor();
    assert.equal(await venue.getAttribute("data-engaged"), "true");
    await shows(page, "BTC-USDT", "stopped");
    await shows(watcher.page, "BTC-USDT", "stopped");
    await venue.getByRole("button", { name: "Release" }).click();
    await venue.getByRole("button", { name: "Let everything trade" }).click();
    await shows(page, "BTC-USDT", "trading");
    await venue.getByRole("button", { name: "Stop all trading" }).waitFor();
  } finally {
    // Whatever went wrong, other tests need the markets. Once more is harmless.
    const { access_token } = await ask(null, "POST", "/auth/sign-in", ADMIN);
    await ask(access_token, "POST", "/admin/kill", { scope: "venue", engaged: false });
  }
  assert.deepEqual([...complaints, ...watcher.complaints], []);
  await context.close();
  await watcher.context.close();
});

test("a reported link is blocked and let go; a host takes its links with it", async () => {
  const token = await trader();
  const [slug, other, host] = [`phish-${fresh()}`, `fine-${fresh()}`, `${fresh()}.bad.example`];
  const made = await ask(token, "POST", "/links", { target: `https://${host}/login`, slug });
  assert.equal(made.http, 201, JSON.stringify(made));
  await ask(token, "POST", "/links", { target: "https://fine.example/", slug: other });
  for (const [link, reason, comment] of [
    [slug, "phishing", "asks for my password"],
    [slug, "spam", ""],
    [other, "other", "not to my taste"],
  ]) {
    assert.equal((await ask(token, "POST", "/links/reports", { link, reason, comment })).http, 200);
  }
  const follow = async (name) => {
    const headers = { accept: "application/json" };
    return (await fetch(`${baseURL}/s/${name}`, { redirect: "manual", headers })).status;
  };
  assert.equal(await follow(slug), 302);

  const first = await openAdmin("/admin/links");
  const { page } = first;
  const reported = page.locator(`[data-reported="${made.id}"]`);
  await reported.getByText("asks for my password").waitFor();
  assert.equal(await reported.locator(".reasons li").count(), 2, "all that was said stands together");
  await reported.getByLabel("Note").fill("it is one");
  await reported.getByLabel("Note").press("Enter");
  await reported.getByRole("button", { name: "Block the link" }).click();
  assert.equal(await follow(slug), 302, "neither Enter nor the first click blocks");
  await reported.getByRole("button", { name: "Nobody may follow it" }).click();
  await toast(page, "2 reports answered");
  await eventually(async () => (await reported.count()) === 0, "the report is gone");
  assert.equal(await follow(slug), 403);

  const dismissed = page.locator("[data-reported]", { hasText: other });
  await dismissed.getByRole("button", { name: "Dismiss" }).click();
  await toast(page, "The link stays as it is");
  await eventually(async () => (await dismissed.count()) === 0, "the other report is gone");
  assert.equal(await follow(other), 302);

  const links = card(page, "Links");
  await links.getByLabel("Search the links").fill(slug);
  const row = links.locator("[data-link]");
  await eventually(async () => (await row.count()) === 1, "one link is found");
  await row.getByRole("button", { name: "Unblock" }).click();
  await row.getByRole("button", { name: "Let it lead on" }).click();
  await row.getByText("active").waitFor();
  assert.equal(await follow(slug), 302);

  // The host, from then on and for links that are there already.
  const hosts = card(page, "Blocked hosts");
  await hosts.getByLabel("Host").fill("no host at all");
  await hosts.getByRole("button", { name: "Block the host" }).click();
  await hosts.getByRole("alert").getByText("no host").waitFor();
  await hosts.getByLabel("Host").fill(host.toUpperCase());
  await hosts.getByLabel("Note").fill("malware");
  await hosts.getByRole("button", { name: "Block the host" }).click();
  const entry = hosts.locator(`[data-host="${host}"]`);
  await entry.getByText("malware").waitFor();
  await row.getByText(`host blocked: ${host}`).waitFor();
  assert.equal(await follow(slug), 403);
  const refused = await ask(token, "POST", "/links", { target: `https://www.${host}/` });
  assert.equal(refused.code, "target_blocked");
  await entry.getByRole("button", { name: "Take off" }).click();
  await entry.getByRole("button", { name: "Let links lead there" }).click();
  await eventually(async () => (await entry.count()) === 0, "the host is off the list");
  assert.equal(await follow(slug), 302);

  // A moderator sees this, and nothing of the markets.
  const moderator = someone();
  const signedUp = await ask(null, "POST", "/auth/sign-up", moderator);
  const admin = await ask(null, "POST", "/auth/sign-in", ADMIN);
  const raised = await ask(admin.access_token, "PUT", `/admin/users/${signedUp.user.id}/role`, {
    role: "moderator",
  });
  assert.equal(raised.role, "moderator");
  const second = await open(browser, { path: "/admin/links" });
  await signIn(second.page, moderator);
  await card(second.page, "Links").locator("[data-link]").first().waitFor();
  assert.equal(await second.page.getByRole("link", { name: "Markets" }).count(), 0);
  for (const { complaints, context } of [first, second]) {
    assert.deepEqual(complaints, []);
    await context.close();
  }
});

const adminToken = async () => (await ask(null, "POST", "/auth/sign-in", ADMIN)).access_token;

test("another role is chosen, and given once that is confirmed", async () => {
  const token = await trader();
  const who = await ask(token, "GET", "/auth/me");
  const admin = await adminToken();
  const roleOf = async () => (await ask(admin, "GET", `/admin/users/${who.id}`)).role;
  const { page, context, complaints } = await openAdmin(`/admin/users/${who.id}`);
  const user = card(page, who.email);
  await user.getByRole("combobox", { name: "Role" }).selectOption("support");
  const change = user.getByRole("button", { name: "Change role" });
  await change.click();
  await user.getByText(`${who.email} is user now.`).waitFor();
  const keep = user.getByRole("button", { name: "Keep" });
  assert.ok(await keep.evaluate((button) => button === document.activeElement), "the harmless answer first");
  await keep.click();
  await eventually(
    () => change.evaluate((button) => button === document.activeElement),
    "the focus comes back",
  );
  assert.equal(await roleOf(), "user");
  await change.click();
  await user.getByRole("button", { name: "Make them support" }).click();
  await toast(page, `${who.email} is support now`);
  assert.equal(await roleOf(), "support");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a withdrawal is approved when its amount, address and tag were shown and confirmed", async () => {
  const token = await trader();
  const wallets = Object.values(await ask(token, "GET", "/coinbase-accounts"));
  const wallet = wallets.find((one) => one.currency === "BTC");
  const { address } = await ask(token, "POST", `/coinbase-accounts/${wallet.id}/addresses`, {});
  const order = { amount: "2", currency: "BTC", crypto_address: address, destination_tag: "a memo" };
  const asked = await ask(token, "POST", "/withdrawals/crypto", order);
  assert.equal(asked.http, 200, JSON.stringify(asked));
  const admin = await adminToken();
  const waits = async () => {
    const all = Object.values(await ask(admin, "GET", "/admin/withdrawals"));
    return all.some((one) => one.id === asked.id && one.needs_approval);
  };

  const { page, context, complaints } = await openAdmin("/admin/withdrawals");
  const row = page.locator(`[data-withdrawal="${asked.id}"]`);
  await row.getByText("a memo").waitFor();
  const approve = row.getByRole("button", { name: "Approve" });
  await approve.dblclick();
  await row.getByRole("button").first().waitFor();
  assert.ok(await waits(), "a double click approves nothing");
  if ((await approve.count()) > 0) await approve.click();
  const question = row.getByRole("group");
  for (const part of ["2 BTC", address, "a memo"]) {
    assert.ok((await question.innerText()).includes(part), part);
  }
  await question.getByRole("button", { name: "Send it" }).click();
  await toast(page, "The withdrawal may go");
  assert.equal(await waits(), false);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("an empty number is not saved; what somebody else has changed meanwhile is shown and can be saved", async () => {
  const key = "links.max_per_user";
  const admin = await adminToken();
  const before = await ask(admin, "GET", `/admin/config/${key}`);
  const { page, context, complaints } = await openAdmin("/admin/configuration");
  const row = page.locator(`[data-setting="${key}"]`);
  const number = row.getByRole("spinbutton");
  await number.fill("");
  await row.getByRole("button", { name: "Save" }).click();
  assert.ok(await number.evaluate((input) => input.validity.valueMissing));
  assert.equal((await ask(admin, "GET", `/admin/config/${key}`)).version, before.version);

  const other = await ask(admin, "PUT", `/admin/config/${key}`, { value: before.value + 1 });
  assert.equal(other.http, 200, JSON.stringify(other));
  await number.fill(String(before.value + 2));
  await row.getByRole("button", { name: "Save" }).click();
  await row.getByRole("alert").getByText("changed meanwhile").waitFor();
  await eventually(async () => (await number.inputValue()) === String(before.value + 1), "the newer value");
  await number.fill(String(before.value));
  await row.getByRole("button", { name: "Save" }).click();
  await toast(page, `${key} was changed`);
  assert.equal((await ask(admin, "GET", `/admin/config/${key}`)).value, before.value);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the pages of markets and links fit a phone, in both themes", async () => {
  for (const theme of ["dark", "light"]) {
    const prepare = (page) =>
      page.addInitScript((value) => localStorage.setItem("agora.theme", value), theme);
    const { page, context, complaints } = await openAdmin("/admin/markets", { ...PHONE, prepare });
    for (const path of ["/admin/markets", "/admin/markets/BTC-USDT", "/admin/links"]) {
      await page.goto(path);
      await page.locator("section.card").first().waitFor();
      await eventually(async () => (await page.getByText("Loading…").count()) === 0, "the lists");
      await fits(page, path);
    }
    await page.goto("/admin/markets");
    for (const name of ["New market", "New currency"]) {
      await page.getByRole("button", { name }).click();
      await card(page, name).locator("form").waitFor();
      await fits(page, name);
    }
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), theme);
    assert.deepEqual(complaints, []);
    await context.close();
  }
});
