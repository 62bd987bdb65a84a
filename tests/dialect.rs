//! The REST API as clients of the dialect use it: a strict reader of every answer, written from the dialect's rules.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod server;

use serde_json::{Value, json};
use server::{Answer, Client, Server, agora};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Plain decimal notation in a string: no exponent, no sign but a minus.
fn decimal(value: &Value) -> f64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no string"));
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    assert!(plain(whole) && plain(fraction), "{text} is not in plain notation");
    text.parse().unwrap()
}

/// RFC 3339, `Z`, at most six fraction digits.
fn time(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no string"));
    assert!(text.ends_with('Z') && text.len() >= 20 && text.len() <= 27, "{text}");
    assert!(text.get(19..20) == Some("Z") || text.get(19..20) == Some("."), "{text}");
}

fn uuid(value: &Value) -> String {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no string"));
    assert!(uuid::Uuid::try_parse(text).is_ok() && text == text.to_lowercase() && text.len() == 36, "{text}");
    text.to_owned()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value} is no string"))
}

/// These keys hold strings.
fn strings(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value[key].is_string(), "{key} of {value} is no string");
    }
}

struct Scene {
    folder: tempfile::TempDir,
    server: Server,
    ada: Client,
    bob: Client,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        let ada = Client::sign_up(&server, "ada@example.org");
        let bob = Client::sign_up(&server, "bob@example.org");
        Scene { folder, server, ada, bob }
    }
}

fn post(client: &mut Client, path: &str, body: &Value) -> Answer {
    client.send("POST", path, body.to_string().as_bytes()).unwrap()
}

fn place(client: &mut Client, order: Value) -> Value {
    let mut order = order;
    if order["product_id"].is_null() {
        order["product_id"] = "BTC-USDT".into();
    }
    let answer = post(client, "/orders", &order);
    assert_eq!(answer.status, 200, "{order}: {}", answer.json());
    answer.json()
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, text(&answer.json(), "message").to_owned())
}

#[test]
fn public_answers_have_the_shapes_of_the_dialect() {
    let mut scene = Scene::new();
    let ada = &mut scene.ada;
    let now = ada.get("/time");
    time(&now["iso"]);
    assert!(now["epoch"].as_f64().unwrap() > 1.7e9);
    // A client sends a body with GET.
    let answer = ada.send("GET", "/time", b"{}").unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    for path in ["/products", "/products/BTC-USDT/trades", "/accounts", "/nothing"] {
        let answer = ada.send("GET", path, b"").unwrap();
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{path}");
    }
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("CB-BEFORE, CB-AFTER"));
    assert_eq!(ada.send("OPTIONS", "/orders", b"").unwrap().status, 200);

    for product in ada.get("/products").as_array().unwrap() {
        assert_eq!(text(product, "id").matches('-').count(), 1);
        for key in ["base_increment", "quote_increment", "min_market_funds", "max_slippage_percentage"] {
            assert!(decimal(&product[key]) > 0.0);
        }
        for key in [
            "margin_enabled",
            "post_only",
            "limit_only",
            "cancel_only",
            "trading_disabled",
            "fx_stablecoin",
            "auction_mode",
        ] {
            assert!(product[key].is_boolean(), "{key}");
        }
        strings(product, &["base_currency", "quote_currency", "display_name", "status", "status_message"]);
        assert_eq!(&ada.get(&format!("/products/{}", text(product, "id"))), product);
    }
    for currency in ada.get("/currencies").as_array().unwrap() {
        assert!(decimal(&currency["max_precision"]) > 0.0 && decimal(&currency["min_size"]) > 0.0);
        strings(currency, &["name", "status", "display_name", "default_network"]);
        assert!(matches!(text(&currency["details"], "type"), "crypto" | "fiat"));
        for network in currency["supported_networks"].as_array().unwrap() {
            strings(network, &["id", "name", "status", "contract_address", "crypto_address_link"]);
            assert!(network["min_withdrawal_amount"].is_number() && network["max_withdrawal_amount"].is_number());
            assert!(network["network_confirmations"].is_u64());
        }
        let mut alone = ada.get(&format!("/currencies/{}", text(currency, "id")));
        assert_eq!(alone.get("message"), None, "clients take a message at the top for an error");
        alone["message"] = Value::Null;
        assert_eq!(&alone, currency);
    }
    assert_eq!(refusal(&ada.send("GET", "/products/btc-usdt", b"").unwrap()), (404, "NotFound".into()));
    assert_eq!(refusal(&ada.send("GET", "/nothing", b"").unwrap()), (404, "NotFound".into()));
    assert_eq!(refusal(&ada.send("GET", "/products/BTC-USDT/ticker", b"").unwrap()), (404, "NotFound".into()));
    let empty = ada.get("/products/BTC-USDT/book");
    assert_eq!((&empty["bids"], &empty["asks"]), (&json!([]), &json!([])));
    assert_eq!(ada.get("/products/spark-lines")["BTC-USDT"], json!([]));
}

#[test]
fn market_data_follows_the_trades() {
    let mut scene = Scene::new();
    let (ada, bob) = (&mut scene.ada, &mut scene.bob);
    place(ada, json!({"side": "sell", "price": "1000.50", "size": "0.5"}));
    let second = place(ada, json!({"side": "sell", "price": "1000.5", "size": 0.25}));
    place(ada, json!({"side": "buy", "price": 900, "size": "1"}));
    for size in ["0.1", "0.2", "0.05"] {
        place(bob, json!({"side": "buy", "type": "market", "size": size}));
    }
    let one = ada.get("/products/BTC-USDT/book");
    let row = &one["asks"][0];
    assert_eq!((decimal(&row[0]), decimal(&row[1]), &row[2]), (1000.5, 0.4, &json!(2)));
    time(&one["time"]);
    assert_eq!((&one["auction_mode"], &one["auction"]), (&json!(false), &Value::Null));
    let three = ada.get("/products/BTC-USDT/book?level=3");
    assert_eq!(three["sequence"], one["sequence"]);
    let asks = three["asks"].as_array().unwrap();
    assert_eq!(asks.len(), 2);
    assert_eq!((decimal(&asks[0][1]), decimal(&asks[1][1])), (0.15, 0.25));
    assert_eq!(uuid(&asks[1][2]), text(&second, "id"));

    let ticker = ada.get("/products/BTC-USDT/ticker");
    assert_eq!((ticker["trade_id"].as_u64(), decimal(&ticker["price"])), (Some(3), 1000.5));
    assert_eq!((decimal(&ticker["bid"]), decimal(&ticker["ask"])), (900.0, 1000.5));
    assert!((decimal(&ticker["volume"]) - 0.35).abs() < 1e-9);
    time(&ticker["time"]);
    let stats = ada.get("/products/BTC-USDT/stats");
    for key in ["open", "high", "low", "last", "volume", "volume_30day"] {
        assert!(decimal(&stats[key]) > 0.0, "{key}");
    }
    let trades = ada.get("/products/BTC-USDT/trades");
    let ids: Vec<_> = trades.as_array().unwrap().iter().map(|trade| trade["trade_id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [3, 2, 1]);
    // The side is the maker's: these takers bought.
    assert!(trades.as_array().unwrap().iter().all(|trade| trade["side"] == "sell"));

    let candles = ada.get("/products/BTC-USDT/candles");
    let cells: Vec<f64> = candles[0].as_array().unwrap().iter().map(|cell| cell.as_f64().unwrap()).collect();
    assert_eq!(cells[0] as u64 % 60, 0);
    assert_eq!(&cells[1..5], [1000.5; 4]);
    let spark = &ada.get("/products/spark-lines")["BTC-USDT"];
    assert_eq!(spark[0][4].as_f64(), Some(1000.5));
    let volumes = ada.get("/products/volume-summary");
    assert!((decimal(&volumes[0]["spot_volume_24hour"]) - 0.35).abs() < 1e-9);
    assert_eq!(volumes[0]["market_types"], json!(["spot"]));
    let refused = |path: &str, ada: &mut Client| ada.send("GET", path, b"").unwrap().status;
    assert_eq!(refused("/products/BTC-USDT/candles?granularity=61", ada), 400);
    let start = "2026-01-01T00:00:00Z";
    for (end, status) in
        [("2026-01-01T05:00:00Z", 200), ("2026-01-01T05:00:59.999Z", 200), ("2026-01-01T05:01:00Z", 400)]
    {
        for colon in [":", "%3A"] {
            let path = format!("/products/BTC-USDT/candles?granularity=60&start={start}&end={end}").replace(':', colon);
            assert_eq!(refused(&path, ada), status, "{path}");
        }
    }
}

/// Every item of a list, page by page backwards.
fn paged(client: &mut Client, path: &str, limit: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let answer = client.send("GET", &format!("{path}{}limit={limit}{after}", join(path)), b"").unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
        let items = answer.json().as_array().unwrap().clone();
        let cursor = answer.header("cb-after").map(str::to_owned);
        if items.is_empty() {
            assert!(cursor.is_none() && answer.header("cb-before").is_none(), "an empty page has no cursor");
            return all;
        }
        assert!(items.len() <= limit);
        all.extend(items);
        after = format!("&after={}", cursor.unwrap());
    }
}

fn join(path: &str) -> char {
    if path.contains('?') { '&' } else { '?' }
}

#[test]
fn pages_hold_every_item_once() {
    let mut scene = Scene::new();
    let (ada, bob) = (&mut scene.ada, &mut scene.bob);
    for n in 0..7 {
        place(ada, json!({"side": "sell", "price": "1000", "size": "0.01", "product_id": "BTC-USDT"}));
        place(bob, json!({"side": "buy", "price": "1000", "size": "0.01"}));
        place(bob, json!({"side": "buy", "price": 100 + n, "size": "0.1", "product_id": "ETH-USDT"}));
    }
    for (path, count) in [
        ("/products/BTC-USDT/trades", 7),
        ("/orders?status=all", 14),
        ("/orders?status=done", 7),
        ("/orders", 7),
        ("/fills?product_id=BTC-USDT", 7),
    ] {
        let whole = bob.get(path);
        assert_eq!(whole.as_array().unwrap().len(), count, "{path}");
        for limit in [1, 2, 3, 100] {
            assert_eq!(Value::from(paged(bob, path, limit)), whole, "{path} by {limit}");
        }
    }
    // Between two cursors, newest first; newer than the newest gives none.
    let between: Vec<u64> = bob
        .get("/products/BTC-USDT/trades?after=6&before=2")
        .as_array()
        .unwrap()
        .iter()
        .map(|trade| trade["trade_id"].as_u64().unwrap())
        .collect();
    assert_eq!(between, [5, 4, 3]);
    assert_eq!(bob.get("/products/BTC-USDT/trades?before=7"), json!([]));
    let newest = bob.send("GET", "/products/BTC-USDT/trades?before=2&limit=2", b"").unwrap();
    assert_eq!((newest.header("cb-before"), newest.header("cb-after")), (Some("7"), Some("6")));
    let open = bob.get("/orders?status=open&status=pending&sortedBy=price&sorting=asc");
    let prices: Vec<f64> = open.as_array().unwrap().iter().map(|order| decimal(&order["price"])).collect();
    assert_eq!(prices, [100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0]);
    assert_eq!(bob.get("/orders?status=active"), json!([]));
    assert_eq!(bob.get("/orders?status=all&end_date=2020-01-01"), json!([]));
    assert_eq!(bob.get("/orders?status=all&start_date=2020-01-01").as_array().unwrap().len(), 14);
    assert_eq!(bob.get("/fills?product_id=BTC-USDT&end_date=2020-01-01"), json!([]));
}

#[test]
fn orders_live_as_the_dialect_says() {
    let mut scene = Scene::new();
    let (ada, bob) = (&mut scene.ada, &mut scene.bob);
    let client_oid = "0b1f1ed2-6c4e-4f5c-9c5e-0a8f4d9b5a11";
    // Null is absent, unknown fields are ignored, any content type is JSON.
    let order = place(
        ada,
        json!({"side": "sell", "type": null, "price": 1000.10, "size": "0.5", "client_oid": client_oid, "stop": null,
            "time_in_force": "GTT", "cancel_after": "hour", "post_only": null, "funds": null, "surprise": [1]}),
    );
    let id = uuid(&order["id"]);
    for key in ["fill_fees", "filled_size", "executed_value"] {
        assert_eq!(decimal(&order[key]), 0.0);
    }
    assert_eq!((text(&order, "status"), text(&order, "type"), text(&order, "stp")), ("open", "limit", "dc"));
    assert_eq!((decimal(&order["price"]), text(&order, "client_oid")), (1000.1, client_oid));
    time(&order["created_at"]);
    time(&order["expire_time"]);
    uuid(&order["profile_id"]);
    assert_eq!((&order["settled"], &order["post_only"]), (&json!(false), &json!(false)));
    let by_client_id = format!("/orders/client:{client_oid}");
    assert_eq!(ada.get(&by_client_id), order);
    assert_eq!(ada.get(&format!("/orders/{id}?market_type=spot")), order);
    assert_eq!(refusal(&bob.send("GET", &format!("/orders/{id}"), b"").unwrap()), (404, "NotFound".into()));
    assert_eq!(refusal(&ada.send("GET", "/orders/7", b"").unwrap()), (400, "Invalid order id".into()));

    let fill = place(bob, json!({"side": "buy", "type": "market", "funds": "100"}));
    assert_eq!((text(&fill, "status"), text(&fill, "done_reason")), ("done", "filled"));
    assert!(decimal(&fill["executed_value"]) + decimal(&fill["fill_fees"]) <= 100.0);
    assert_eq!((&fill["settled"], text(&fill, "funds"), fill.get("price")), (&json!(true), "100", None));
    let fills = bob.get(&format!("/fills?order_id={}", text(&fill, "id")));
    let own = &fills[0];
    assert_eq!((text(own, "liquidity"), text(own, "side"), &own["settled"]), ("T", "buy", &json!(true)));
    let theirs = &ada.get(&format!("/fills?order_id={id}"))[0];
    assert_eq!((text(theirs, "liquidity"), text(theirs, "side")), ("M", "sell"));
    assert_eq!(own["trade_id"], theirs["trade_id"]);
    assert_eq!(bob.send("GET", "/fills", b"").unwrap().status, 400);
    // Both narrow the list down.
    let of_both = |product: &str| format!("/fills?order_id={}&product_id={product}", text(&fill, "id"));
    assert_eq!(bob.get(&of_both("BTC-USDT")), fills);
    assert_eq!(bob.get(&of_both("ETH-USDT")), json!([]));
    assert_eq!(bob.send("GET", &of_both("NO-SUCH"), b"").unwrap().status, 404);

    // The ledger: a match in both currencies and a fee in the quote currency, and balances that chain.
    let accounts = bob.get("/accounts");
    let mut kinds = Vec::new();
    for account in accounts.as_array().unwrap() {
        let entries = bob.get(&format!("/accounts/{}/ledger", text(account, "id")));
        let entries = entries.as_array().unwrap();
        assert_eq!(entries.first().map(|entry| decimal(&entry["balance"])), Some(decimal(&account["balance"])));
        for pair in entries.windows(2) {
            let before = decimal(&pair[0]["balance"]) - decimal(&pair[0]["amount"]);
            assert!((before - decimal(&pair[1]["balance"])).abs() < 1e-6);
        }
        for entry in entries.iter().filter(|entry| entry["type"] != "transfer") {
            kinds.push((text(account, "currency").to_owned(), text(entry, "type").to_owned()));
            assert_eq!(entry["details"]["order_id"], fill["id"]);
            assert!(entry["details"]["trade_id"].is_string() && entry["details"]["product_id"].is_string());
        }
    }
    kinds.sort();
    let expected = [("BTC", "match"), ("USDT", "fee"), ("USDT", "match")];
    assert_eq!(kinds, expected.map(|(currency, kind)| (currency.to_owned(), kind.to_owned())));
    let trace = ada.get(&format!("/orders/{id}/trace"));
    let steps: Vec<_> = trace["events"].as_array().unwrap().iter().map(|event| text(event, "type")).collect();
    assert_eq!((steps, &trace["complete"]), (vec!["received", "open", "match"], &json!(true)));
    let taker = bob.get(&format!("/orders/{}/trace", text(&fill, "id")));
    let last = taker["events"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((text(&last, "type"), text(&last, "reason")), ("done", "filled"));
    assert_eq!(bob.send("GET", &format!("/orders/{id}/trace"), b"").unwrap().status, 404);

    // A body with a slash is only a hint; the answer is a bare string.
    let canceled = ada.send("DELETE", &by_client_id, br#"{"product_id":"BTC/USDT"}"#).unwrap();
    assert_eq!((canceled.status, canceled.json()), (200, json!(id)));
    let (status, message) = refusal(&ada.send("DELETE", &format!("/orders/{id}"), b"").unwrap());
    assert!(status == 400 && message.contains("Order already done") || status == 404 && message.contains("not found"));
    let (status, message) = refusal(&bob.send("DELETE", &format!("/orders/{id}"), b"").unwrap());
    assert!(status == 404 && message.contains("order not found"), "{status} {message}");
    let done = ada.get(&format!("/orders/{id}"));
    assert_eq!((text(&done, "done_reason"), text(&done, "status")), ("canceled", "done"));
    time(&done["done_at"]);

    place(ada, json!({"side": "buy", "price": "10", "size": "1"}));
    place(ada, json!({"side": "buy", "price": "10", "size": "1", "product_id": "ETH-USDT"}));
    let stop = place(ada, json!({"side": "sell", "price": "9", "size": "1", "stop_price": "9.5"}));
    assert_eq!((text(&stop, "status"), text(&stop, "stop"), text(&stop, "stop_price")), ("active", "loss", "9.5"));
    assert_eq!(ada.get("/orders").as_array().unwrap().len(), 3);
    assert_eq!(ada.send("DELETE", "/orders", b"[1]").unwrap().status, 400);
    assert_eq!(ada.send("DELETE", "/orders", br#"{"product_id":7}"#).unwrap().status, 400);
    assert_eq!(ada.get("/orders").as_array().unwrap().len(), 3);
    let some = ada.send("DELETE", "/orders", br#"{"product_id":"BTC/USDT"}"#).unwrap();
    assert_eq!((some.status, some.json().as_array().unwrap().len()), (200, 2));
    assert_eq!(ada.send("DELETE", "/orders?product_id=ETH-USDT", b"").unwrap().json().as_array().unwrap().len(), 1);
    assert_eq!(ada.send("DELETE", "/orders", b"").unwrap().json(), json!([]));
}

#[test]
fn refusals_have_the_texts_that_clients_match() {
    let mut scene = Scene::new();
    let ada = &mut scene.ada;
    let mut refused = |order: Value| {
        let mut order = order;
        for (key, value) in [("product_id", json!("BTC-USDT")), ("side", json!("buy"))] {
            if order.get(key).is_none() {
                order[key] = value;
            }
        }
        refusal(&post(ada, "/orders", &order))
    };
    let cases = [
        (json!({"price": "1", "size": "1", "product_id": "NO-NO"}), "Product not found"),
        (json!({"price": "100000", "size": "100"}), "Insufficient funds"),
        (json!({"price": "100000", "size": "0.000001"}), "size is too small. Minimum size is 0.0001"),
        (json!({"price": "100000", "size": "0"}), "size is too small. Minimum size is 0.0001"),
        (json!({"price": "100000", "size": -1}), "size is too small. Minimum size is 0.0001"),
        (json!({"price": "0", "size": "1"}), "price too small: it must be positive"),
        (json!({"type": "market", "funds": 0}), "funds is too small. Minimum size is 1"),
        (json!({"price": "100", "size": "0.0000001"}), "size is too accurate. Smallest unit is 0.000001"),
        (json!({"price": "100.001", "size": "1"}), "price is too accurate. Smallest unit is 0.01"),
        (json!({"type": "market", "funds": "0.01"}), "funds is too small. Minimum size is 1"),
        (json!({"price": "1", "size": "0.5"}), "notional is too small. Minimum is 1"),
        (json!({"type": "stop", "price": "1", "size": "1"}), "Invalid order_type stop"),
        (json!({"type": "market", "size": "1", "price": "1"}), "price is for limit orders"),
    ];
    for (order, message) in cases {
        let shown = order.to_string();
        let (status, found) = refused(order);
        assert_eq!((status, found.as_str()), (400, message), "{shown}");
    }
    assert_eq!(refused(json!({"price": "1", "size": "1", "profile_id": "7"})).0, 403);
    for order in [
        json!({"price": "1", "size": "1", "time_in_force": "IOC", "post_only": true}),
        json!({"price": "1", "size": "1", "time_in_force": "GTT"}),
        json!({"price": "1", "size": "1", "cancel_after": "day"}),
        json!({"price": "1", "size": "1", "stop": "loss", "stop_price": "1"}),
        json!({"price": "1".repeat(400), "size": "1"}),
    ] {
        assert_eq!(refused(order.clone()).0, 400, "{order}");
    }
    // What a market order would not do, and what would be shown though it was to be hidden.
    let words = "time_in_force of a market order must be GTC or IOC";
    for (field, value, message) in [
        ("time_in_force", "FOK", words),
        ("time_in_force", "GTT", words),
        ("time_in_force", "GTX", words),
        ("cancel_after", "week", "cancel_after must be min, hour or day"),
        ("expire_time", "2999-01-01T00:00:00Z", "expire_time is for limit orders"),
        ("price", "0.01", "price is for limit orders"),
        ("price", "none", "price is for limit orders"),
    ] {
        let mut order = json!({"side": "sell", "type": "market", "size": "0.01"});
        order[field] = value.into();
        assert_eq!(refused(order), (400, message.to_owned()), "{field} {value}");
    }
    let hidden = "max_floor: orders that show only a part of their size are not supported";
    for shown in [json!("abc"), json!(""), json!(true), json!("0"), json!(-1), json!("0.999999"), json!(0.5)] {
        let order = json!({"price": "1", "size": "1", "max_floor": shown});
        assert_eq!(refused(order), (400, hidden.to_owned()), "{shown}");
    }
    assert_eq!(refused(json!({"type": "market", "funds": "5", "max_floor": "1"})), (400, hidden.to_owned()));
    // Those that say what happens anyway are taken, or only fill in every field that there is.
    for order in [
        json!({"side": "sell", "type": "market", "size": "0.01", "price": 0.0, "time_in_force": "GTC",
            "cancel_after": "min", "post_only": false}),
        json!({"side": "sell", "type": "market", "size": "0.01", "price": "0", "cancel_after": "day"}),
        json!({"side": "sell", "type": "market", "size": "0.01", "time_in_force": "GTC", "price": null}),
        json!({"side": "sell", "type": "market", "size": "0.01", "time_in_force": "IOC", "cancel_after": null}),
        json!({"side": "buy", "price": "1", "size": "1", "max_floor": "1"}),
        json!({"side": "buy", "price": "1", "size": "1", "max_floor": 2}),
    ] {
        place(ada, order);
    }
    let mut stranger = scene.server.client("");
    assert_eq!(stranger.send("GET", "/accounts", b"").unwrap().status, 401);
    assert_eq!(stranger.send("POST", "/orders", b"{}").unwrap().status, 401);
    // Public routes look at no credentials, whatever they hold.
    stranger.token = "nonsense".into();
    assert_eq!(stranger.send("GET", "/products", b"").unwrap().status, 200);
}

#[test]
fn accounts_and_profiles_are_the_callers_own() {
    let mut scene = Scene::new();
    let (ada, bob) = (&mut scene.ada, &mut scene.bob);
    place(ada, json!({"side": "buy", "price": "100", "size": "1"}));
    // A slash at the end does not matter.
    let accounts = ada.get("/accounts/");
    assert_eq!(accounts, ada.get("/accounts"));
    for account in accounts.as_array().unwrap() {
        let (balance, hold) = (decimal(&account["balance"]), decimal(&account["hold"]));
        assert!((balance - hold - decimal(&account["available"])).abs() < 1e-6);
        assert!(account["trading_enabled"].is_boolean());
        let id = uuid(&account["id"]);
        assert_eq!(&ada.get(&format!("/accounts/{id}")), account);
        assert_eq!(bob.send("GET", &format!("/accounts/{id}"), b"").unwrap().status, 404);
    }
    let fees = ada.get("/fees");
    assert!(decimal(&fees["maker_fee_rate"]) <= decimal(&fees["taker_fee_rate"]));
    let profiles = ada.get("/profiles");
    let profile = &profiles[0];
    assert_eq!((&profile["is_default"], &profile["active"]), (&json!(true), &json!(true)));
    let id = uuid(&profile["id"]);
    assert_eq!(&ada.get(&format!("/profiles/{id}")), profile);
    assert_eq!(bob.send("GET", &format!("/profiles/{id}"), b"").unwrap().status, 404);
    assert_eq!(ada.get("/profiles?active=false"), json!([]));
    assert_eq!(ada.get("/users/self/verify")["id"], profile["user_id"]);
    let volumes = ada.get("/users/self/trailing-volume");
    assert_eq!(volumes.as_array().unwrap().len(), 3);
    assert_eq!(decimal(&volumes[0]["volume"]), 0.0);
}

#[test]
fn the_bare_address_serves_the_same_without_prefix() {
    let scene = Scene::new();
    let second = tempfile::tempdir_in(scene.folder.path()).unwrap();
    let arguments = ["serve", "--demo-funds", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"];
    let mut process = agora(&arguments, second.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut address = |word: &str| loop {
        let line = lines.next().expect("the program ended before it was ready").unwrap();
        if let Some(rest) = line.trim().strip_prefix(word) {
            let url = rest.split_whitespace().next().unwrap();
            break url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        }
    };
    let (main, bare) = (address("page"), address("bare"));
    std::thread::spawn(move || lines.for_each(drop));
    let server = Server { process, address: main };
    let mut client = server.client("");
    client.address = bare;
    let mut get = |target: &str, upgrade: &str| {
        client.send_raw(format!("GET {target} HTTP/1.1\r\nHost: agora\r\n{upgrade}\r\n").as_bytes()).unwrap()
    };
    assert_eq!(get("/products/BTC-USDT", "").json()["id"], "BTC-USDT");
    assert_eq!(get("/products/", "").json(), get("/v1/products", "").json());
    assert_eq!(get("/", "").status, 404);
    assert_eq!(get("/metrics", "").status, 404);
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(get("/?", handshake).status, 101);
}
