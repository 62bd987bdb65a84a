// Settings and administration in a real browser against a running server with demo funds. The server needs an
// administrator, made before it was started:
//   AGORA_ADMIN_PASSWORD='correct horse battery' agora admin create admin@example.org
//   AGORA_URL=http://127.0.0.1:8080 npm run e2e
// Signing in through a provider is tested where AGORA_PROVIDER_PORT names the port of one that the server was started
// with (`--accounts-providers`, see scripts/test): the test itself listens there.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";
import {
  baseURL,
  card,
  eventually,
  fillDialog,
  fits,
  launch,
  open,
  PHONE,
  signIn,
  someone,
  toast,
} from "./browser.mjs";
import { startProvider } from "./provider.mjs";

const ADMIN = {
  email: "admin@example.org",
  password: process.env.AGORA_ADMIN_PASSWORD ?? "correct horse battery",
};

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const signUp = async (page, who = someone()) => {
  await page.locator(".auth-buttons .sign-up").click();
  await fillDialog(page, who);
  await page.locator(".account-button").waitFor();
  return who;
};

const signOut = async (page) => {
  await page.locator(".account-button").click();
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.locator(".auth-buttons").waitFor();
};

/** What an authenticator app shows, some steps of 30 seconds from now. */
const totp = (secret, steps = 0) => {
  const bits = [...secret].map((sign) =>
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(sign).toString(2).padStart(5, "0"),
  );
  const key = Buffer.from((bits.join("").match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const tag = createHmac("sha1", key).update(counter).digest();
  const number = tag.readUInt32BE(tag[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
};

test("a name and a picture are set, and shown after a reload", async () => {
  const { page, context, complaints } = await open(browser);
  await signUp(page);
  await page.locator(".account-button").click();
  await page.getByRole("link", { name: "Settings" }).click();
  assert.equal(new URL(page.url()).pathname, "/settings/profile");
  await card(page, "Profile").getByLabel("Name").fill("Ada Lovelace");
  await card(page, "Profile").getByRole("button", { name: "Save" }).click();
  await toast(page, "Your name was saved");
  const picture = Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M/wHwAEBgIApD5fRAAAAABJRU5ErkJggg==",
    "base64",
  );
  await page
    .locator('input[type="file"]')
    .setInputFiles({ name: "me.png", mimeType: "image/png", buffer: picture });
  await toast(page, "Your picture was saved");
  await page.reload();
  const shown = card(page, "Profile").locator("img");
  await eventually(() => shown.evaluate((image) => image.naturalWidth === 1), "the picture");
  assert.equal(await card(page, "Profile").getByLabel("Name").inputValue(), "Ada Lovelace");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a second factor is turned on, asked for, and turned off with a recovery code", async () => {
  const { page, context, complaints } = await open(browser);
  const who = await signUp(page);
  await page.goto("/settings/security");
  const factor = card(page, "Two-factor authentication");
  await factor.getByRole("button", { name: "Turn it on" }).click();
  await eventually(
    () => factor.locator("img.qr").evaluate((image) => image.naturalWidth > 100),
    "the QR code",
  );
  const secret = await factor.locator(".copyable code").innerText();
  await factor.getByLabel("The code that it shows").fill(totp(secret, -1));
  await factor.getByRole("button", { name: "Confirm" }).click();
  await factor.locator(".codes li").first().waitFor();
  const codes = await factor.locator(".codes code").allInnerTexts();
  assert.equal(codes.length, 10);
  await factor.getByRole("button", { name: "I have kept them" }).click();
  await factor.locator(".badge.good").waitFor();

  await signOut(page);
  await signIn(page, who);
  const dialog = page.locator("dialog[open]");
  await dialog.getByLabel("The code of your authenticator").fill("000000");
  await dialog.locator('button[type="submit"]').click();
  await dialog.getByRole("alert").getByText("The code is wrong").waitFor();
  await dialog.getByLabel("The code of your authenticator").fill(totp(secret));
  await dialog.locator('button[type="submit"]').click();
  await page.locator(".account-button").waitFor();

  await factor.getByRole("button", { name: "Turn it off" }).click();
  await factor.getByLabel("Password").fill(who.password);
  await factor.getByLabel("A code of the app").fill(codes[0]);
  await factor.getByRole("button", { name: "Turn it off" }).click();
  await factor.getByRole("button", { name: "Turn it on" }).waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("another password ends the other sessions, which are listed", async () => {
  const here = await open(browser);
  const who = await signUp(here.page);
  const there = await open(browser);
  await signIn(there.page, who);
  await there.page.locator(".account-button").waitFor();

  await here.page.goto("/settings/sessions");
  const sessions = card(here.page, "Sessions");
  await eventually(async () => (await sessions.locator(".rows > li").count()) === 2, "both sessions");
  assert.equal(await sessions.getByText("This one").count(), 1);
  assert.match(await sessions.locator(".rows").innerText(), /Chrome on Linux/);

  await here.page.getByRole("link", { name: "Security" }).click();
  const password = card(here.page, "Password");
  await password.getByLabel("Present password").fill("not my password");
  await password.getByLabel("New password").fill("another good horse");
  await password.getByRole("button").click();
  await password.getByRole("alert").getByText("is wrong").waitFor();
  assert.ok(await here.page.locator(".account-button").isVisible(), "a wrong password signs nobody out");
  await password.getByLabel("Present password").fill(who.password);
  await password.getByRole("button").click();
  await toast(here.page, "Your password was changed");

  await there.page.goto("/settings/sessions");
  await there.page.locator(".auth-buttons").waitFor();
  await signIn(there.page, { ...who, password: "another good horse" });
  await there.page.locator(".account-button").waitFor();
  for (const { complaints, context } of [here, there]) {
    assert.deepEqual(complaints, []);
    await context.close();
  }
});

test("an API key is made, signs a request, and is revoked", async () => {
  const { page, context, complaints } = await open(browser);
  await signUp(page);
  await page.goto("/settings/keys");
  await page.getByRole("button", { name: "New key" }).click();
  const form = card(page, "New API key");
  await form.getByLabel("Name").fill("A bot");
  await form.getByLabel("Passphrase").fill("open sesame");
  await form.getByLabel("Only from these addresses").fill("somewhere");
  await form.getByRole("button", { name: "Make the key" }).click();
  await form.getByRole("alert").getByText("allow-list").waitFor();
  await form.getByLabel("Only from these addresses").fill("127.0.0.1, ::1");
  await form.getByRole("button", { name: "Make the key" }).click();
  const fresh = card(page, "Your new key");
  await fresh.waitFor();
  const [key, secret, passphrase] = await fresh.locator("code").allInnerTexts();

  const ask = async () => {
    const timestamp = String(Date.now() / 1000);
    const signed = `${timestamp}GET/v1/accounts`;
    const sign = createHmac("sha256", Buffer.from(secret, "base64")).update(signed).digest("base64");
    const headers = {
      "cb-access-key": key,
      "cb-access-passphrase": passphrase,
      "cb-access-timestamp": timestamp,
      "cb-access-sign": sign,
    };
    return (await fetch(`${baseURL}/v1/accounts`, { headers })).status;
  };
  assert.equal(await ask(), 200);
  await fresh.getByRole("button", { name: "I have kept them" }).click();
  const row = page.locator(`[data-key="${key}"]`);
  assert.match(await row.innerText(), /A bot\s+view/);
  await row.getByRole("button", { name: "Revoke" }).click();
  assert.equal(await ask(), 200, "asked first");
  await row.getByRole("button", { name: "Revoke for good" }).click();
  await page.getByText("You have no API keys.").waitFor();
  assert.equal(await ask(), 401);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("notifications are chosen by event and outlet; price alerts come and go", async () => {
  const { page, context, complaints } = await open(browser);
  await signUp(page);
  await page.goto("/settings/notifications");
  const security = page.getByRole("switch", { name: "Security by LINE" });
  await security.click();
  await eventually(async () => (await security.getAttribute("aria-checked")) === "true", "the switch is on");
  const outlets = card(page, "Notifications");
  // Nobody has shown yet to read the mail of the address.
  await outlets.getByText("is not confirmed yet").waitFor();
  await outlets.getByRole("button", { name: "Confirm" }).click();
  await outlets.getByLabel("Code that was sent to").waitFor();
  await outlets.getByRole("button", { name: "Not now" }).click();
  await outlets.getByText("is not confirmed yet").waitFor();
  await outlets.getByLabel("Webhook address").fill("https://example.org/hook");
  await outlets.getByRole("button", { name: "Save" }).click();
  await outlets.locator(".note .copyable code").waitFor();
  await page.getByRole("switch", { name: "Fills by Webhook" }).click();
  await page.reload();
  await eventually(async () => (await security.getAttribute("aria-checked")) === "true", "it stays on");
  const fills = page.getByRole("switch", { name: "Fills by Webhook" });
  assert.equal(await fills.getAttribute("aria-checked"), "false");

  const alerts = card(page, "Price alerts");
  await alerts.getByLabel("Price", { exact: true }).fill("999999");
  await alerts.getByRole("button", { name: "Add" }).click();
  await alerts.locator(".rows > li").first().waitFor();
  assert.match(await alerts.locator(".rows").innerText(), /above 999999/);
  await alerts.getByRole("button", { name: /^Remove the alert/ }).click();
  await alerts.getByText("You wait for no price.").waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

const providerPort = Number(process.env.AGORA_PROVIDER_PORT ?? 0);

test("people come in through a provider, connect it, and are asked for their second factor", {
  skip: providerPort === 0 && "the server was started without a provider",
}, async (context) => {
  const provider = await startProvider(providerPort);
  context.after(() => provider.stop());
  const through = async (page) => {
    await page.locator(".auth-buttons").getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("link", { name: "Continue with Local" }).click();
  };
  const name = () => `e2e-${Math.random().toString(36).slice(2)}`;

  // Somebody new, with an address that the provider has verified.
  const first = await open(browser, { path: "/settings/profile" });
  const email = `${name()}@example.org`;
  provider.person = { sub: name(), email, email_verified: true, name: "Grace" };
  await through(first.page);
  await first.page.locator(".account-button").waitFor();
  await first.page.getByText(email).first().waitFor();
  assert.equal(new URL(first.page.url()).search, "", "nothing is left in the address");
  await first.page.reload();
  assert.equal(await card(first.page, "Profile").getByLabel("Name").inputValue(), "Grace");
  const cookies = (await first.context.cookies()).filter((cookie) => cookie.value !== "");
  assert.deepEqual(cookies, [], "the session has left the cookies");

  // Somebody with a password connects another identity, and comes back with it alone, and a code.
  const second = await open(browser);
  const who = await signUp(second.page);
  await second.page.goto("/settings/security");
  provider.person = { sub: name() };
  const connected = card(second.page, "Connected accounts");
  await connected.getByRole("button", { name: "Connect" }).click();
  await connected.locator("small", { hasText: /^Connected/ }).waitFor();
  const factor = card(second.page, "Two-factor authentication");
  await factor.getByRole("button", { name: "Turn it on" }).click();
  const secret = await factor.locator(".copyable code").innerText();
  await factor.getByLabel("The code that it shows").fill(totp(secret, -1));
  await factor.getByRole("button", { name: "Confirm" }).click();
  await factor.locator(".codes li").first().waitFor();
  await signOut(second.page);
  await through(second.page);
  const dialog = second.page.locator("dialog[open]");
  await dialog.getByLabel("The code of your authenticator").fill(totp(secret));
  await dialog.locator('button[type="submit"]').click();
  await second.page.locator(".account-button").waitFor();
  await second.page.locator(".account-button").click();
  await second.page.locator(".account-email").getByText(who.email).waitFor();

  // An address that has an account is not taken over, and the person is told.
  const third = await open(browser);
  provider.person = { sub: name(), email: who.email, email_verified: true };
  await through(third.page);
  await third.page.locator(".toast", { hasText: "exists already" }).waitFor();
  for (const { complaints, context } of [first, second, third]) {
    assert.deepEqual(complaints, []);
    await context.close();
  }
});

test("an administrator sees the actors and markets, freezes, configures and reads the log", async () => {
  const trader = await open(browser);
  const who = await signUp(trader.page);
  await trader.page.goto("/admin");
  await trader.page.getByText("This page is for those who run the venue.").waitFor();

  const { page, context, complaints } = await open(browser);
  await signIn(page, ADMIN);
  await page.locator(".account-button").click();
  await page.getByRole("link", { name: "Administration" }).click();
  await page.locator('tr[data-path="agora/trading/venue/ledger"] .badge.good').waitFor();
  await page.locator('tr[data-market="BTC-USDT"] .badge.good').waitFor();

  await page.getByRole("link", { name: "Users" }).click();
  await page.getByLabel("Search by email").fill(who.email);
  await page.getByRole("button", { name: who.email }).click();
  const user = card(page, who.email);
  await user.getByPlaceholder("Why").fill("looks odd");
  await user.getByRole("button", { name: "Freeze" }).click();
  await user.locator(".badge.bad").waitFor();
  const order = await trader.page.evaluate(async () => {
    const session = JSON.parse(localStorage.getItem("agora.session"));
    const body = { product_id: "BTC-USDT", side: "buy", type: "limit", price: "1", size: "1" };
    const headers = { authorization: `Bearer ${session.access_token}` };
    return (await fetch("/v1/orders", { method: "POST", headers, body: JSON.stringify(body) })).status;
  });
  assert.equal(order, 403, "a frozen account places no order");
  await user.getByRole("button", { name: "Unfreeze" }).click();
  await user.getByRole("button", { name: "Let it trade again" }).click();
  await user.locator(".badge.good").waitFor();

  await page.getByRole("link", { name: "Configuration" }).click();
  const notice = page.locator('[data-setting="notice"]');
  const text = `Maintenance ${Date.now()}`;
  await notice.getByRole("textbox").fill(text);
  await notice.getByRole("button", { name: "Save" }).click();
  await toast(page, "notice was changed");
  await trader.page.goto("/");
  await trader.page.locator(".notice", { hasText: text }).waitFor();
  await notice.getByRole("textbox").fill("");
  await notice.getByRole("button", { name: "Save" }).click();
  await eventually(async () => (await notice.getByRole("textbox").inputValue()) === "", "the line is gone");
  await notice.getByRole("button", { name: "history" }).click();
  await notice.locator(".history", { hasText: text }).waitFor();

  await page.getByRole("link", { name: "Audit log" }).click();
  await page.getByLabel("What").fill("frozen");
  await page.getByRole("button", { name: "Filter" }).click();
  const row = page.locator(".audit tbody tr").first();
  await eventually(async () => /looks odd/.test(await row.innerText()), "the freeze is in the log");
  await page.getByRole("link", { name: "Withdrawals" }).click();
  await page.getByText("No withdrawal is under way.").or(page.locator("[data-withdrawal]").first()).waitFor();
  assert.deepEqual([...complaints, ...trader.complaints], []);
  await context.close();
  await trader.context.close();
});

test("a reported message is deleted by who looks after the rooms", async () => {
  const { page, context, complaints } = await open(browser);
  await signUp(page);
  const said = `Buy my course ${Date.now()}`;
  // Somebody writes into a room of their own and reports it; what counts here is the other side.
  await page.evaluate(async (text) => {
    const { access_token } = JSON.parse(localStorage.getItem("agora.session"));
    const ask = async (path, body) => {
      const headers = { authorization: `Bearer ${access_token}` };
      const answer = await fetch(`/v1${path}`, { method: "POST", headers, body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
      return answer.json();
    };
    const room = await ask("/chat/rooms", { kind: "public", name: `Room ${Date.now()}` });
    const client_id = crypto.randomUUID();
    const sent = await ask(`/chat/rooms/${room.id}/messages`, { text, client_id });
    await ask(`/chat/rooms/${room.id}/messages/${sent.sequence}/reports`, { reason: "advertising" });
  }, said);
  await signOut(page);
  await signIn(page, ADMIN);
  await page.locator(".account-button").waitFor();
  await page.goto("/admin/reports");
  const report = page.locator("[data-report]", { hasText: said });
  await report.getByText("advertising").waitFor();
  await report.getByRole("button", { name: "Delete the message" }).click();
  await report.getByRole("button", { name: "Delete it for all" }).click();
  await toast(page, "The message was deleted");
  await eventually(async () => (await report.count()) === 0, "the report is gone");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("every page fits a phone, in both themes", async () => {
  for (const theme of ["dark", "light"]) {
    const prepare = (page) =>
      page.addInitScript((value) => localStorage.setItem("agora.theme", value), theme);
    const { page, context, complaints } = await open(browser, { ...PHONE, prepare });
    await signIn(page, ADMIN);
    await page.locator(".account-button").waitFor();
    for (const path of ["profile", "security", "sessions", "keys", "notifications"]) {
      await page.goto(`/settings/${path}`);
      await page.locator("section.card").first().waitFor();
      await fits(page, `/settings/${path}`);
    }
    for (const path of ["overview", "users", "withdrawals", "reports", "audit", "configuration"]) {
      await page.goto(`/admin/${path}`);
      await page.locator("section.card").first().waitFor();
      await eventually(async () => (await page.getByText("Loading…").count()) === 0, "the lists");
      await fits(page, `/admin/${path}`);
    }
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), theme);
    assert.deepEqual(complaints, []);
    await context.close();
  }
});
