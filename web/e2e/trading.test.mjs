// The trading page in a real browser against a running server with a live market and demo funds:
//   AGORA_URL=http://127.0.0.1:8080 npm run e2e
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { availableOf, eventually, launch, live, number, open, signUpDemo } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const market = async (page) => {
  const [base, quote] = (await page.locator(".market-button strong").innerText()).split("/");
  return { base, quote };
};

/** The price field's value after "Bid" was pressed, as text with its decimals. */
const bestBid = async (page) => {
  await page.locator(".chips").getByRole("button", { name: "Bid" }).click();
  return page.locator("#ticket-price").inputValue();
};

const choose = async (page, side, kind) => {
  await page.locator(`#order-ticket [data-tab="${side}"]`).click();
  await page.locator(`#order-ticket [data-tab="${kind}"]`).click();
};

/** A resting buy at about half the market's price, for about a tenth of the funds. */
const placeFarBid = async (page) => {
  await choose(page, "buy", "limit");
  const bid = await bestBid(page);
  const places = bid.split(".")[1]?.length ?? 0;
  const price = (Number(bid) / 2).toFixed(places);
  await page.fill("#ticket-price", price);
  await page.locator(".chips").getByRole("button", { name: "25%" }).click();
  await page.locator("button.submit").click();
  await page.locator(".orders tbody tr").first().waitFor();
  return price;
};

test("a newcomer sees a live market", async () => {
  const { page, context, complaints } = await open(browser);
  await live(page);
  // The server may have started a moment ago: the first trade is still to come.
  await eventually(
    async () => number(await page.getByTestId("last-price").innerText()) > 0,
    "the last price is shown",
  );
  await page.locator(".trade-row").first().waitFor();
  assert.ok((await page.locator(".chart-host canvas").count()) > 0, "the chart is drawn");
  assert.match(await page.title(), /Agora/);

  // Both in one look, as the book moves meanwhile.
  const [ask, bid] = await page
    .locator(".book-area")
    .evaluate((area) => [
      [...area.querySelectorAll(".book-half.sell .book-row .price")].at(-1)?.textContent,
      area.querySelector(".book-half.buy .book-row .price")?.textContent,
    ]);
  const [top, bottom] = [number(ask), number(bid)];
  assert.ok(top > bottom, `the best ask ${top} lies above the best bid ${bottom}`);

  const trade = () => page.locator(".trade-row").first().innerText();
  const book = () => page.locator(".book-area").innerText();
  const [firstTrade, firstBook] = [await trade(), await book()];
  await eventually(async () => (await book()) !== firstBook, "the book moves");
  await eventually(async () => (await trade()) !== firstTrade, "a new trade appears");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the markets can be switched with the keyboard", async () => {
  const { page, context, complaints } = await open(browser);
  await live(page);
  const before = await page.locator(".market-button").innerText();
  await page.locator(".market-button").focus();
  await page.keyboard.press("Enter");
  const rows = page.locator("a.market-row");
  await rows.first().waitFor();
  if ((await rows.count()) > 1) {
    await page.locator("a.market-row:not([aria-current])").first().focus();
    await page.keyboard.press("Enter");
    await eventually(
      async () => (await page.locator(".market-button").innerText()) !== before,
      "another market",
    );
    assert.match(new URL(page.url()).pathname, /^\/trade\/[A-Z0-9]+-[A-Z0-9]+$/);
    await live(page);
    await page.reload();
    await live(page);
    assert.notEqual(await page.locator(".market-button").innerText(), before, "the address keeps the market");
  }
  assert.deepEqual(complaints, []);
  await context.close();
});

test("one click makes a funded demo account; a resting order can be placed and canceled", async () => {
  const { page, context, complaints } = await open(browser);
  await live(page);
  await signUpDemo(page);
  const { base, quote } = await market(page);
  const funds = await availableOf(page, quote);
  assert.ok(funds > 0, `the account has ${quote}`);

  const price = await placeFarBid(page);
  const row = page.locator(".orders tbody tr").first();
  assert.equal(number(await row.locator('[data-name="Price"]').innerText()), Number(price));
  await eventually(async () => (await availableOf(page, quote)) < funds, "the funds are held");

  const inBook = () =>
    page.evaluate(
      async ([market, at]) => {
        const answer = await fetch(`/v1/products/${market}/book?level=2`);
        return (await answer.json()).bids.some(([level]) => Number(level) === Number(at));
      },
      [`${base}-${quote}`, price],
    );
  await eventually(inBook, `a bid at ${price} rests in the book`);

  await row.getByRole("button", { name: /^Cancel/ }).click();
  await page.getByText("You have no open orders.").waitFor();
  await eventually(async () => (await availableOf(page, quote)) === funds, "the funds are free again");
  await eventually(async () => !(await inBook()), "the bid has left the book");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("an own order at the top of the book is marked there", async () => {
  const { page, context, complaints } = await open(browser);
  await live(page);
  await signUpDemo(page);
  await choose(page, "buy", "limit");
  await page.locator(".chips").getByRole("button", { name: "25%" }).click();
  // The market may move away or through the order; it is placed again until its mark is seen.
  await eventually(async () => {
    await bestBid(page);
    await page.locator(".chips").getByRole("button", { name: "25%" }).click();
    await page.locator("button.submit").click();
    return page
      .locator(".book-half.buy .book-row.mine")
      .first()
      .waitFor({ timeout: 2_500 })
      .then(
        () => true,
        () => false,
      );
  }, "the order is marked in the book");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("cancel all empties the list", async () => {
  const { page, context, complaints } = await open(browser);
  await live(page);
  await signUpDemo(page);
  await placeFarBid(page);
  await placeFarBid(page);
  await eventually(async () => (await page.locator(".orders tbody tr").count()) === 2, "two open orders");
  await page.getByRole("button", { name: "Cancel all" }).click();
  await page.getByText("You have no open orders.").waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a market order fills, shows its fill and changes the balances", async () => {
  const { page, context, complaints } = await open(browser);
  await live(page);
  await signUpDemo(page);
  const { base, quote } = await market(page);
  const [baseBefore, quoteBefore] = [await availableOf(page, base), await availableOf(page, quote)];
  await choose(page, "buy", "market");
  const spend = Math.max(1, Math.floor(quoteBefore / 100));
  await page.fill("#ticket-size", String(spend));
  await page.locator("button.submit").click();
  await eventually(async () => (await availableOf(page, base)) > baseBefore, `${base} was bought`);
  const paid = quoteBefore - (await availableOf(page, quote));
  assert.ok(paid > 0 && paid <= spend, `at most the funds were spent: ${paid} of ${spend}`);

  await page.locator('.activity-panel [data-tab="fills"]').click();
  const fill = page.locator(".fills tbody tr").first();
  await fill.waitFor();
  assert.match(await fill.locator('[data-name="Side"]').innerText(), /Buy/);
  assert.equal(await fill.locator('[data-name="Role"]').innerText(), "Taker");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("what the server says to bad input is shown", async () => {
  const { page, context, complaints } = await open(browser);
  await live(page);
  await signUpDemo(page);
  await choose(page, "buy", "limit");
  const error = page.getByTestId("ticket-error");

  const answer = (path) =>
    page.waitForResponse((r) => r.url().endsWith(path) && r.request().method() === "POST");
  for (const [price, size] of [
    ["1.123456789123", "1"],
    [await bestBid(page), "1000000"],
    [await bestBid(page), "0"],
  ]) {
    await page.fill("#ticket-price", price);
    await page.fill("#ticket-size", size);
    const [refusal] = await Promise.all([answer("/v1/orders"), page.locator("button.submit").click()]);
    assert.ok(refusal.status() >= 400 && refusal.status() < 500, `status ${refusal.status()}`);
    const { message } = await refusal.json();
    await eventually(async () => (await error.innerText()) === message, `the message "${message}" is shown`);
  }
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the session outlives a reload; signing out ends it; the demo account can sign in again", async () => {
  const { page, context, complaints } = await open(browser);
  await live(page);
  await signUpDemo(page);
  await page.reload();
  await live(page);
  await page.locator(".balances tbody tr").first().waitFor();

  await page.getByRole("button", { name: "Account", exact: true }).click();
  const [email, password] = await page.locator(".copyable code").allInnerTexts();
  assert.match(email, /^demo-[a-z0-9]+@example\.org$/);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("Sign in to see your balances.").waitFor();

  const signIn = async (secret) => {
    await page.locator("dialog input[name=email]").fill(email);
    await page.locator("dialog input[name=password]").fill(secret);
    await page.locator("dialog button[type=submit]").click();
  };
  await page.locator(".auth-buttons").getByRole("button", { name: "Sign in" }).click();
  await signIn(`${password}-wrong`);
  await eventually(
    async () => (await page.locator("dialog .form-error").innerText()) !== "",
    "a refusal is shown",
  );
  await signIn(password);
  await page.locator(".balances tbody tr").first().waitFor();
  await eventually(async () => (await page.locator("dialog[open]").count()) === 0, "the dialog is closed");

  // One click is enough, too, while this browser knows the password; another demo account is asked about.
  await page.getByRole("button", { name: "Account", exact: true }).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  const ticket = page.locator("#order-ticket");
  await ticket.getByRole("button", { name: "Begin a new one" }).click();
  await ticket.getByText(`The password of ${email} is kept in this browser alone`).waitFor();
  await ticket.getByRole("button", { name: "Keep" }).click();
  await ticket.getByRole("button", { name: "Sign in to your demo account" }).click();
  await page.locator(".balances tbody tr").first().waitFor();
  await page.getByRole("button", { name: "Account", exact: true }).click();
  await page.locator(".account-email").getByText(email).waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("addresses that are none show the market", async () => {
  const { page, context, complaints } = await open(browser);
  await live(page);
  for (const address of ["/trade/%E0%A4%A", "/constructor"]) {
    await page.evaluate((to) => {
      history.pushState(null, "", to);
      dispatchEvent(new PopStateEvent("popstate"));
    }, address);
    await page.locator('.shell[data-page="trade"] #order-ticket').waitFor();
  }
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the page comes back by itself after the line was cut, and after it fell silent", async () => {
  // The feed runs through the test, which can cut it or keep its messages back.
  let line;
  let opened = 0;
  let silent = false;
  const { page, context } = await open(browser, {
    prepare: (one) =>
      one.routeWebSocket(/\/v1\/feed$/, (socket) => {
        line = socket;
        opened += 1;
        silent = false;
        const server = socket.connectToServer();
        server.onMessage((message) => {
          if (!silent) socket.send(message);
        });
      }),
  });
  await live(page);
  const book = () => page.locator(".book-area").innerText();
  for (const fault of ["cut", "silence"]) {
    const connections = opened;
    if (fault === "cut") await line.close();
    else silent = true;
    await eventually(() => opened > connections, `a new connection after ${fault}`);
    await live(page);
    const first = await book();
    await eventually(async () => (await book()) !== first, `the book moves again after ${fault}`);
  }
  await context.close();
});

test("the theme can be changed and is kept", async () => {
  const { page, context, complaints } = await open(browser);
  await live(page);
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await background();
  await page.getByRole("button", { name: "Use the light theme" }).click();
  await eventually(async () => (await background()) !== dark, "another background");
  await page.reload();
  await page.getByRole("button", { name: "Use the dark theme" }).waitFor();
  assert.notEqual(await background(), dark);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a phone shows every view without scrolling sideways", async () => {
  const { page, context, complaints } = await open(browser, {
    viewport: { width: 390, height: 844 },
    isMobile: true,
    hasTouch: true,
    deviceScaleFactor: 2,
  });
  await live(page);
  const views = page.locator(".view-bar button");
  const fits = async (name) => {
    const widest = await page.evaluate(() =>
      Math.max(
        document.documentElement.scrollWidth,
        ...[...document.querySelectorAll(".header *, .view-bar *, .ticket *")].map(
          (element) => element.getBoundingClientRect().right,
        ),
      ),
    );
    assert.ok(widest <= 390, `${name} reaches to ${widest} pixels`);
  };
  for (const view of await views.all()) {
    await view.tap();
    await fits(`signed out, ${await view.innerText()}`);
  }
  await views.nth(1).tap();
  await signUpDemo(page);
  for (const view of await views.all()) {
    await view.tap();
    await fits(`signed in, ${await view.innerText()}`);
  }
  assert.deepEqual(complaints, []);
  await context.close();
});
