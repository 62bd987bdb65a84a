// Starts one browser for a test file and watches every page for complaints.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const baseURL = process.env.AGORA_URL ?? "http://127.0.0.1:8080";

/** What a phone is to a browser. */
export const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM_PATH ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
}

/**
 * Opens the app in a fresh profile. `complaints` collects uncaught errors and what the page writes to the console as
 * an error; a refused order is expected to appear there as a failed request, so those are kept apart.
 */
export async function open(browser, { path = "/", prepare, ...options } = {}) {
  const context = await browser.newContext({ baseURL, viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    const refused = /^Failed to load resource: .* status of 4\d\d/.test(message.text());
    if (!refused) complaints.push(`console: ${message.text()}`);
  });
  await prepare?.(page);
  await page.goto(path);
  return { context, page, complaints };
}

/** Waits until the feed is live and the book has both sides. */
export async function live(page) {
  await page.locator(".connection.live").waitFor();
  await page.locator(".book-half.sell .book-row").first().waitFor({ state: "attached" });
  await page.locator(".book-half.buy .book-row").first().waitFor({ state: "attached" });
}

/** Makes a demo account by the button in the order ticket and waits for its balances. */
export async function signUpDemo(page) {
  await page.locator("#order-ticket").getByRole("button", { name: "Try it with demo funds" }).click();
  await page.locator(".balances tbody tr").first().waitFor({ state: "attached" });
}

/** A shown number such as "51,720.33" as a JavaScript number: good enough to compare, never to pay. */
export function number(text) {
  return Number((text ?? "").replace(/[^\d.]/g, ""));
}

/** The available balance of a currency as it is shown in full. */
export async function availableOf(page, currency) {
  return number(
    await page.locator(`.balances tr[data-currency="${currency}"] td`).first().getAttribute("title"),
  );
}

/** Tries until `condition` holds; what it last threw or answered explains the failure. */
export async function eventually(condition, what) {
  const end = Date.now() + 15_000;
  let last;
  while (Date.now() < end) {
    last = await condition();
    if (last) return last;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${what}: did not happen within 15 seconds (last answer: ${JSON.stringify(last)})`);
}

/** Somebody new. */
export const someone = () => ({
  email: `e2e-${Date.now()}-${Math.floor(Math.random() * 1e6)}@example.org`,
  password: "correct horse battery",
});

export const fillDialog = async (page, { email, password }) => {
  const dialog = page.locator("dialog[open]");
  await dialog.locator('input[name="email"]').fill(email);
  await dialog.locator('input[name="password"]').fill(password);
  await dialog.locator('button[type="submit"]').click();
};

export const signIn = async (page, who) => {
  await page.locator(".auth-buttons").getByRole("button", { name: "Sign in" }).click();
  await fillDialog(page, who);
};

/** A card of settings or administration by its title. */
export const card = (page, name) => page.locator(`section.card[aria-label="${name}"]`);
export const toast = (page, text) => page.locator(".toast", { hasText: text }).first().waitFor();

/** Nothing of the page lies beside the screen. */
export const fits = async (page, what) => {
  const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.ok(wide <= room, `${what} is ${wide} pixels wide on a screen of ${room}`);
};
