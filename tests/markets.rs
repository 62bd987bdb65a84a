//! Markets that are listed, changed, stopped and halted while the real program runs.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "server/feed.rs"]
mod feed;
mod server;

use feed::Feed;
use serde_json::{Value, json};
use server::{Client, Server, agora};
use std::path::Path;
use std::time::{Duration, Instant};

const PRODUCT: &str = "BTC-USDT";

fn send(client: &mut Client, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let answer = client.send(method, path, body.to_string().as_bytes()).unwrap();
    (answer.status, answer.json())
}

fn done(client: &mut Client, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = send(client, method, path, body);
    assert_eq!(status, 200, "{method} {path} {body}: {answer}");
    answer
}

fn order(product: &str, side: &str, price: &str, size: &str) -> Value {
    json!({"product_id": product, "side": side, "price": price, "size": size})
}

fn place(client: &mut Client, order: &Value) -> String {
    done(client, "POST", "/orders", order)["id"].as_str().unwrap().to_owned()
}

/// The code with which an order is refused.
fn refusal(client: &mut Client, order: &Value) -> String {
    let (status, answer) = send(client, "POST", "/orders", order);
    assert_eq!(status, 400, "{answer}");
    answer["code"].as_str().unwrap().to_owned()
}

/// Waits until the product looks as wanted.
fn product(client: &mut Client, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let product = client.get(&format!("/products/{id}"));
        if wanted(&product) {
            return product;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{product}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The next status message in which the product looks as wanted.
fn status(feed: &mut Feed, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let message = feed.next().unwrap();
        let found = message["products"].as_array().into_iter().flatten().find(|product| product["id"] == id);
        if let Some(found) = found.filter(|found| wanted(found)) {
            return found.clone();
        }
    }
}

fn status_feed(server: &Server) -> Feed {
    let mut feed = Feed::connect(server.address);
    feed.send_text(&json!({"type": "subscribe", "channels": ["status"]}).to_string());
    feed
}

/// Asks the program to end, and waits until it has.
fn stop(mut server: Server) {
    let asked = std::process::Command::new("kill").arg("-TERM").arg(server.process.id().to_string()).status();
    assert!(asked.unwrap().success());
    assert!(server.process.wait().unwrap().success());
}

fn verify(data: &Path) {
    let output = agora(&["verify"], data).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("no divergence"), "{}: {said}", output.status);
}

/// When a heartbeat was sent; none of another message.
fn heartbeat(message: &Value) -> Option<jiff::Timestamp> {
    let time = message["time"].as_str().filter(|_| message["type"] == "heartbeat")?;
    Some(time.parse().unwrap())
}

/// Whoever comes to the channel `status` right after a change hears of it at once, and keeps nobody from hearing of it.
#[test]
fn a_new_reader_of_the_status_takes_no_change_from_the_others() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    // One worker serves all readers.
    let server = Server::start_with(data.path(), &["--workers", "1"]);
    let mut admin = Client::admin(&server);
    let open = || {
        let mut feed = Feed::connect(server.address);
        let wanted = json!({"type": "subscribe", "product_ids": [PRODUCT], "channels": ["status", "heartbeat"]});
        feed.send_text(&wanted.to_string());
        feed
    };
    let mut feed = open();
    status(&mut feed, PRODUCT, |_| true);
    for state in ["cancel_only", "online", "cancel_only", "online"] {
        done(&mut admin, "PATCH", &format!("/admin/markets/{PRODUCT}"), &json!({"state": state}));
        let has_changed = |product: &Value| product["cancel_only"] == (state == "cancel_only");
        let mut late = open();
        status(&mut late, PRODUCT, has_changed);
        let next = loop {
            if let Some(at) = heartbeat(&late.next().unwrap()) {
                break at;
            }
        };
        // Once a second all hear a heartbeat of the same moment, and after it of what has changed.
        loop {
            let message = feed.next().unwrap();
            if let Some(at) = heartbeat(&message) {
                assert!(at <= next, "nothing is said of {state} by {next}");
            }
            let mut products = message["products"].as_array().into_iter().flatten();
            if products.any(|product| product["id"] == PRODUCT && has_changed(product)) {
                break;
            }
        }
    }
}

#[test]
fn a_market_is_listed_and_changed_while_the_venue_runs() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let token = {
        let server = Server::start(data.path());
        let mut admin = Client::admin(&server);
        let mut user = Client::sign_up(&server, "new@example.org");
        let mut feed = status_feed(&server);

        let currency = json!({"id": "SOL", "name": "Solana", "decimals": 8});
        assert_eq!(send(&mut user, "POST", "/admin/currencies", &currency).0, 403);
        assert_eq!(done(&mut admin, "POST", "/admin/currencies", &currency)["id"], "SOL");
        let (status_code, answer) = send(&mut admin, "POST", "/admin/currencies", &currency);
        assert_eq!((status_code, answer["code"].as_str()), (409, Some("exists_already")));
        assert!(user.get("/currencies").as_array().unwrap().iter().any(|currency| currency["id"] == "SOL"));

        // BTC paid with ETH: users have both.
        let market = json!({
            "base_currency": "BTC", "quote_currency": "ETH", "base_increment": "0.001", "quote_increment": "0.01",
            "taker_fee_rate": "0.003", "min_size": "0.002", "price_band": "0.2", "reference_price": "20",
        });
        let mut inexact = market.clone();
        inexact["base_increment"] = "0.0000001".into();
        assert_eq!(send(&mut admin, "POST", "/admin/markets", &inexact).1["code"], "invalid_market");
        let listed = done(&mut admin, "POST", "/admin/markets", &market);
        assert_eq!((&listed["id"], &listed["taker_fee_rate"]), (&json!("BTC-ETH"), &json!("0.003")), "{listed}");
        assert_eq!(send(&mut admin, "POST", "/admin/markets", &market).0, 409);
        status(&mut feed, "BTC-ETH", |_| true);

        // It trades at once, with its own rules.
        let mut seller = Client::sign_up(&server, "seller@example.org");
        assert_eq!(refusal(&mut user, &order("BTC-ETH", "buy", "20.00", "0.001")), "size_too_small");
        assert_eq!(refusal(&mut user, &order("BTC-ETH", "buy", "25.00", "0.002")), "price_outside_band");
        place(&mut seller, &order("BTC-ETH", "sell", "20.00", "0.01"));
        let bought = place(&mut user, &order("BTC-ETH", "buy", "20.00", "0.01"));
        assert_eq!(user.get(&format!("/orders/{bought}"))["done_reason"], "filled");
        assert_eq!(user.get("/products/BTC-ETH/ticker")["price"], "20");

        // Fees, limits and state change; what gives amounts their meaning does not.
        let change = json!({"min_size": "0.005", "maker_fee_rate": "0", "max_open_orders": 1});
        let changed = done(&mut admin, "PATCH", "/admin/markets/BTC-ETH", &change);
        assert_eq!((&changed["min_size"], &changed["max_open_orders"]), (&json!("0.005"), &json!(1)), "{changed}");
        assert_eq!(refusal(&mut user, &order("BTC-ETH", "buy", "20.00", "0.004")), "size_too_small");
        let open = place(&mut user, &order("BTC-ETH", "buy", "19.00", "0.005"));
        assert_eq!(refusal(&mut user, &order("BTC-ETH", "buy", "19.00", "0.005")), "too_many_open_orders");
        let (_, answer) = send(&mut admin, "PATCH", "/admin/markets/BTC-ETH", &json!({"quote_increment": "0.1"}));
        assert_eq!(answer["code"], "invalid_market");
        done(&mut admin, "PATCH", "/admin/markets/BTC-ETH", &json!({"state": "cancel_only"}));
        status(&mut feed, "BTC-ETH", |product| product["cancel_only"] == true);
        assert_eq!(refusal(&mut seller, &order("BTC-ETH", "buy", "19.00", "0.005")), "cancel_only");
        assert_eq!(user.send("DELETE", &format!("/orders/{open}"), b"").unwrap().status, 200);
        let token = user.token.clone();
        drop((feed, admin, user, seller));
        stop(server);
        token
    };
    // Everything of it is in the log.
    {
        let server = Server::start(data.path());
        let mut user = server.client(&token);
        let product = user.get("/products/BTC-ETH");
        assert_eq!((&product["cancel_only"], &product["base_min_size"]), (&json!(true), &json!("0.005")), "{product}");
        assert_eq!(refusal(&mut user, &order("BTC-ETH", "buy", "19.00", "0.005")), "cancel_only");
        let mut admin = Client::admin(&server);
        done(&mut admin, "PATCH", "/admin/markets/BTC-ETH", &json!({"state": "online"}));
        place(&mut user, &order("BTC-ETH", "buy", "19.00", "0.005"));
        stop(server);
    }
    verify(data.path());
}

/// Asks until the answer is as wanted.
fn until(client: &mut Client, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let answer = client.get(path);
        if wanted(&answer) {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{path}: {answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The field of one currency's account.
fn balance(client: &mut Client, currency: &str, field: &str) -> String {
    let accounts = client.get("/accounts");
    let account = accounts.as_array().unwrap().iter().find(|account| account["currency"] == currency).unwrap();
    account[field].as_str().unwrap().trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[test]
fn what_is_listed_has_its_room_and_its_network_without_a_restart() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    // The limit is there before the currency.
    let more = ["--custody-block-time-ms", "50", "--custody-approval-above", "SOL=3"];
    {
        let server = Server::start_with(data.path(), &more);
        let mut admin = Client::admin(&server);
        // Play money is for those who come later.
        let mut user = Client::sign_up(&server, "new@example.org");
        let mut buyer = Client::sign_up(&server, "buyer@example.org");
        done(&mut admin, "POST", "/admin/currencies", &json!({"id": "SOL", "name": "Solana", "decimals": 9}));
        let market = json!({
            "base_currency": "SOL", "quote_currency": "USDT", "base_increment": "0.001", "quote_increment": "0.01",
        });
        done(&mut admin, "POST", "/admin/markets", &market);

        // Its room, with a word of the venue, where people can talk.
        let rooms = until(&mut user, "/chat/rooms/public?q=SOL-USDT", |rooms| rooms[0]["name"] == "SOL-USDT");
        let room = format!("/chat/rooms/{}", rooms[0]["id"].as_str().unwrap());
        done(&mut user, "POST", &format!("{room}/join"), &Value::Null);
        let said = until(&mut user, &format!("{room}/messages"), |said| said["messages"][0]["system"] == true);
        assert_eq!(said["messages"][0]["text"], "SOL-USDT is listed.", "{said}");
        let (status, answer) = send(&mut user, "POST", &format!("{room}/messages"), &json!({"text": "at last"}));
        assert_eq!(status, 201, "{answer}");
        // The venue also tells there of what becomes of the market.
        done(&mut admin, "PATCH", "/admin/markets/SOL-USDT", &json!({"state": "post_only"}));
        let told = "SOL-USDT takes only orders that add to the book.";
        until(&mut user, &format!("{room}/messages"), |said| {
            said["messages"].as_array().unwrap().iter().any(|message| message["text"] == told)
        });
        done(&mut admin, "PATCH", "/admin/markets/SOL-USDT", &json!({"state": "online"}));

        // Its network: money comes, is traded, and leaves, above the limit with an administrator's word.
        let networks = user.get("/currencies/SOL")["supported_networks"].clone();
        assert_eq!(networks[0]["id"], "ethereum", "{networks}");
        let wallets = user.get("/coinbase-accounts");
        let wallet = wallets.as_array().unwrap().iter().find(|wallet| wallet["currency"] == "SOL").unwrap();
        let path = format!("/coinbase-accounts/{}/addresses", wallet["id"].as_str().unwrap());
        let address = done(&mut user, "POST", &path, &json!({}))["address"].as_str().unwrap().to_owned();
        let arrives = json!({"address": address, "currency": "SOL", "amount": "10"});
        done(&mut user, "POST", "/deposits/simulated", &arrives);
        until(&mut user, "/accounts", |accounts| {
            let sol = accounts.as_array().unwrap().iter().find(|account| account["currency"] == "SOL");
            sol.is_some_and(|sol| sol["available"].as_str().unwrap().starts_with("10"))
        });
        place(&mut user, &order("SOL-USDT", "sell", "150.00", "2"));
        place(&mut buyer, &order("SOL-USDT", "buy", "150.00", "2"));
        assert_eq!(
            (balance(&mut user, "SOL", "available"), balance(&mut buyer, "SOL", "available")),
            ("8".into(), "2".into())
        );
        let leaves = |amount: &str| json!({"amount": amount, "currency": "SOL", "crypto_address": address});
        done(&mut user, "POST", "/withdrawals/crypto", &leaves("3"));
        let waits = done(&mut user, "POST", "/withdrawals/crypto", &leaves("3.000000001"))["id"].clone();
        // The small one goes, the large one stays.
        let listed = until(&mut admin, "/admin/withdrawals", |rows| rows.as_array().unwrap().len() == 1);
        assert_eq!((&listed[0]["id"], &listed[0]["needs_approval"]), (&waits, &json!(true)), "{listed}");
        drop((admin, user, buyer));
        stop(server);
    }
    verify(data.path());
}

/// Openings are cut off half-way: the event log takes everything that trades down with it when it panics. Each market
/// must open all the same, and disturb none that is open.
#[test]
fn markets_open_although_what_they_are_built_on_panics() {
    const MARKETS: u64 = 12;
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let lenient = ["--allow-drills", "--supervision-restarts", "1000", "--supervision-within-s", "1"];
    {
        let server = Server::start_with(data.path(), &lenient);
        let mut admin = Client::admin(&server);
        let mut user = Client::sign_up(&server, "user@example.org");
        for number in 0..MARKETS {
            let currency = json!({"id": format!("C{number}"), "name": "A coin", "decimals": 8});
            done(&mut admin, "POST", "/admin/currencies", &currency);
        }
        for number in 0..MARKETS {
            let base = format!("C{number}");
            let market = json!({
                "base_currency": base, "quote_currency": "USDT", "base_increment": "0.001", "quote_increment": "0.01",
            });
            std::thread::scope(|scope| {
                let (mut lister, market) = (server.client(&admin.token), &market);
                scope.spawn(move || {
                    let start = Instant::now();
                    // Not now, or nobody knows: it is asked for again until it is there.
                    while !matches!(send(&mut lister, "POST", "/admin/markets", market).0, 200 | 409) {
                        assert!(start.elapsed() < Duration::from_secs(60), "{market} is not listed");
                        std::thread::sleep(Duration::from_millis(50));
                    }
                });
                // At another moment of the opening each time, by luck.
                for _ in 0..3 {
                    std::thread::sleep(Duration::from_millis(1 + 3 * number));
                    let log = "/admin/tree/agora/trading/event%20log/crash";
                    let (status, answer) = send(&mut server.client(&admin.token), "POST", log, &json!({}));
                    assert!(matches!(status, 202 | 404), "{status} {answer}");
                }
            });
            let symbol = format!("{base}-USDT");
            let bid = order(&symbol, "buy", "10.00", "1").to_string();
            let start = Instant::now();
            while user.send("POST", "/orders", bid.as_bytes()).unwrap().status != 200 {
                assert!(start.elapsed() < Duration::from_secs(60), "{symbol} does not open");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let listed = user.get("/products");
        let ids: Vec<_> = listed.as_array().unwrap().iter().map(|product| product["id"].as_str().unwrap()).collect();
        let late: Vec<_> = (0..MARKETS).map(|number| format!("C{number}-USDT")).collect();
        assert_eq!(ids[3..], late, "in the order of their listing");
        drop((admin, user));
        stop(server);
    }
    verify(data.path());
}

#[test]
fn a_market_that_is_listed_late_takes_orders_however_long_the_log_is() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let server = Server::start(data.path());
    let mut admin = Client::admin(&server);
    let mut one = Client::sign_up(&server, "one@example.org");
    // The new book reads all this while its first batch is written.
    let orders: Vec<Value> = (0..100).map(|_| order(PRODUCT, "buy", "200.00", "0.01")).collect();
    for _ in 0..40 {
        done(&mut one, "POST", "/orders/batch", &json!({"orders": orders}));
        done(&mut one, "DELETE", "/orders", &json!({"product_id": PRODUCT}));
    }
    done(&mut admin, "POST", "/admin/currencies", &json!({"id": "LATE", "name": "A late coin", "decimals": 8}));
    let market = json!({
        "base_currency": "LATE", "quote_currency": "USDT", "base_increment": "0.01", "quote_increment": "0.01",
    });
    done(&mut admin, "POST", "/admin/markets", &market);
    place(&mut one, &order("LATE-USDT", "buy", "10.00", "1"));
    done(&mut admin, "PATCH", "/admin/markets/LATE-USDT", &json!({"state": "post_only"}));
}

#[test]
fn freezing_cancels_orders_even_where_nobody_may() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let server = Server::start(data.path());
    let mut admin = Client::admin(&server);
    let mut one = Client::sign_up(&server, "one@example.org");
    let halted = place(&mut one, &order(PRODUCT, "buy", "1000.00", "0.01"));
    let open = place(&mut one, &order("ETH-USDT", "buy", "100.00", "0.1"));
    done(&mut admin, "PATCH", &format!("/admin/markets/{PRODUCT}"), &json!({"state": "halted"}));
    let (status, answer) = send(&mut one, "DELETE", &format!("/orders/{halted}"), &Value::Null);
    assert_eq!((status, &answer["code"]), (400, &json!("market_halted")));
    let me = one.get("/auth/me")["id"].as_str().unwrap().to_owned();
    let freeze = format!("/admin/users/{me}/freeze");
    assert_eq!(done(&mut admin, "POST", &freeze, &json!({"cancel_orders": true}))["canceled_orders"], 2);
    for order in [halted, open] {
        assert_eq!(one.get(&format!("/orders/{order}"))["status"], "done");
    }
}

#[test]
fn kill_switches_cancel_what_is_open_and_take_nothing_new() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    {
        let server = Server::start(data.path());
        let mut admin = Client::admin(&server);
        let mut one = Client::sign_up(&server, "one@example.org");
        let mut two = Client::sign_up(&server, "two@example.org");
        let bid = order(PRODUCT, "buy", "1000.00", "0.01");
        let kill = |admin: &mut Client, body: Value| done(admin, "POST", "/admin/kill", &body);
        assert_eq!(send(&mut one, "POST", "/admin/kill", &json!({"scope": "venue", "engaged": true})).0, 403);

        // One user.
        let gone = place(&mut one, &bid);
        let stays = place(&mut two, &bid);
        let me = one.get("/auth/me")["id"].as_str().unwrap().to_owned();
        let killed = kill(&mut admin, json!({"scope": "user", "user_id": me, "engaged": true}));
        assert_eq!(killed["canceled_orders"], 1);
        assert_eq!(one.get(&format!("/orders/{gone}"))["status"], "done");
        let trace = one.get(&format!("/orders/{gone}/trace"));
        assert_eq!(trace["events"].as_array().unwrap().last().unwrap()["reason"], "killed", "{trace}");
        assert_eq!(two.get(&format!("/orders/{stays}"))["status"], "open");
        assert_eq!(send(&mut one, "POST", "/orders", &bid).1["code"], "account_frozen");
        kill(&mut admin, json!({"scope": "user", "user_id": me, "engaged": false}));
        place(&mut one, &bid);

        // One market: twice is as good as once.
        let elsewhere = place(&mut one, &order("ETH-USDT", "buy", "100.00", "0.1"));
        let market = json!({"scope": "market", "product_id": PRODUCT, "engaged": true});
        assert_eq!(kill(&mut admin, market.clone())["canceled_orders"], 2);
        assert_eq!(kill(&mut admin, market)["canceled_orders"], 0);
        let mut feed = status_feed(&server);
        let stopped = status(&mut feed, PRODUCT, |product| product["phase"] == "stopped");
        assert_eq!((&stopped["trading_disabled"], &stopped["phase_reason"]), (&json!(true), &json!("kill_switch")));
        assert_eq!(refusal(&mut two, &bid), "trading_stopped");
        assert_eq!(one.get(&format!("/orders/{elsewhere}"))["status"], "open");
        kill(&mut admin, json!({"scope": "market", "product_id": PRODUCT, "engaged": false}));
        product(&mut two, PRODUCT, |product| product["phase"] == "trading");
        place(&mut two, &bid);

        // Everything.
        let all = kill(&mut admin, json!({"scope": "venue", "engaged": true}));
        assert_eq!(all["canceled_orders"], 2);
        for id in [PRODUCT, "ETH-USDT", "ETH-BTC"] {
            product(&mut two, id, |product| product["trading_disabled"] == true);
        }
        assert_eq!(refusal(&mut two, &order("ETH-USDT", "buy", "100.00", "0.1")), "trading_stopped");
    }
    // A restart does not release it.
    {
        let server = Server::start(data.path());
        let mut admin = Client::admin(&server);
        let mut three = Client::sign_up(&server, "three@example.org");
        let bid = order(PRODUCT, "buy", "1000.00", "0.01");
        assert_eq!(refusal(&mut three, &bid), "trading_stopped");
        done(&mut admin, "POST", "/admin/kill", &json!({"scope": "venue", "engaged": false}));
        place(&mut three, &bid);
        stop(server);
    }
    verify(data.path());
}

#[test]
fn a_market_that_moves_too_fast_halts_and_reopens_at_one_price() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    {
        let server = Server::start(data.path());
        let mut admin = Client::admin(&server);
        let mut one = Client::sign_up(&server, "one@example.org");
        let mut two = Client::sign_up(&server, "two@example.org");
        let rules = json!({"halt": "0.05", "halt_window_ms": 3_600_000, "auction_ms": 10_000});
        done(&mut admin, "PATCH", "/admin/markets/BTC-USDT", &rules);
        let mut feed = status_feed(&server);
        status(&mut feed, PRODUCT, |product| product["halt"] == "0.05");

        // A trade at 1000 is the reference from here on.
        place(&mut two, &order(PRODUCT, "sell", "1000.00", "0.01"));
        place(&mut one, &order(PRODUCT, "buy", "1000.00", "0.01"));
        let near = place(&mut two, &order(PRODUCT, "sell", "1040.00", "0.01"));
        let far = place(&mut two, &order(PRODUCT, "sell", "1100.00", "0.02"));
        // It takes what is near and halts before what is far.
        let hungry = place(&mut one, &order(PRODUCT, "buy", "1200.00", "0.02"));
        assert_eq!(two.get(&format!("/orders/{near}"))["status"], "done");
        assert_eq!(two.get(&format!("/orders/{far}"))["filled_size"], "0");
        let halted = status(&mut feed, PRODUCT, |product| product["auction_mode"] == true);
        assert_eq!((&halted["phase"], &halted["phase_reason"]), (&json!("auction"), &json!("volatility_halt")));
        assert_eq!(halted["auction"]["indicative_size"], "0.01", "{halted}");

        // Limit orders gather, others are refused.
        let market_order = json!({"product_id": PRODUCT, "side": "buy", "type": "market", "size": "0.01"});
        assert_eq!(refusal(&mut one, &market_order), "auction_only");
        let late = place(&mut one, &order(PRODUCT, "buy", "1150.00", "0.01"));
        let more = status(&mut feed, PRODUCT, |product| product["auction"]["indicative_size"] == "0.02");
        assert_eq!(more["auction"]["indicative_price"], "1100", "{more}");

        // Nothing more happens, and yet it ends: all that can trades at one price.
        let open = status(&mut feed, PRODUCT, |product| product["phase"] == "trading");
        assert_eq!(open["auction_mode"], false);
        for id in [&hungry, &late] {
            let order = one.get(&format!("/orders/{id}"));
            assert_eq!((&order["status"], &order["done_reason"]), (&json!("done"), &json!("filled")), "{order}");
        }
        assert_eq!(one.get("/products/BTC-USDT/ticker")["price"], "1100");
        let fills = one.get(&format!("/fills?order_id={late}"));
        assert_eq!(fills[0]["price"], "1100", "{fills}");
        let trace = one.get(&format!("/orders/{late}/trace"));
        let steps: Vec<_> =
            trace["events"].as_array().unwrap().iter().map(|step| step["type"].as_str().unwrap()).collect();
        assert_eq!(steps, ["received", "open", "change", "match", "done"], "{trace}");
        assert_eq!(trace["events"][2]["reason"], "auction");
        let trace = one.get(&format!("/orders/{hungry}/trace"));
        let halt = trace["events"].as_array().unwrap().iter().find(|step| step["type"] == "phase").unwrap();
        assert_eq!((&halt["phase"], &halt["reason"]), (&json!("auction"), &json!("volatility_halt")), "{trace}");
        let book = one.get("/products/BTC-USDT/book?level=3");
        assert_eq!((&book["bids"], &book["asks"]), (&json!([]), &json!([])), "{book}");

        // Whoever runs the venue may ask for an auction too.
        done(&mut admin, "POST", "/admin/markets/BTC-USDT/auction", &json!({"seconds": 5}));
        let (_, twice) = send(&mut admin, "POST", "/admin/markets/BTC-USDT/auction", &json!({"seconds": 5}));
        assert_eq!(twice["code"], "bad_phase");
        product(&mut one, PRODUCT, |product| product["phase"] == "trading");
        drop((feed, admin, one, two));
        stop(server);
    }
    verify(data.path());
}
