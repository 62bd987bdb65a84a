//! Products, trades, candles, books: what a visitor sees.

use crate::browser::{Browser, number};
use crate::server::{Client, Server};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

fn trade(ada: &mut Browser, bob: &mut Browser, price: &str, size: &str) {
    ada.limit("sell", price, size);
    bob.limit("buy", price, size);
}

#[test]
fn nothing_is_drawn_until_products_have_answered_and_a_visitors_socket_has_opened() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut visitor = Browser::visit(&server);
    let products = visitor.get("/api/products");
    assert!(!products.as_array().unwrap().is_empty());
    let ids: Vec<_> = products.as_array().unwrap().iter().map(|product| product["id"].clone()).collect();
    let mut socket = visitor.socket();
    socket.send(&json!({"type": "subscribe", "product_ids": ids, "channels": ["ticker"], "token": ""}));
    assert_eq!(socket.kind("subscriptions")["channels"], json!([{"name": "ticker", "product_ids": ids}]));
}

#[test]
fn a_product_btc_usdt_exists() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let products = Browser::visit(&server).get("/api/products");
    let product = products.as_array().unwrap().iter().find(|product| product["id"] == "BTC-USDT").unwrap();
    assert_eq!((&product["baseCurrency"], &product["quoteCurrency"]), (&json!("BTC"), &json!("USDT")));
}

#[test]
fn increments_begin_with_zero_point_and_scales_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    for product in Browser::visit(&server).get("/api/products").as_array().unwrap() {
        // The page takes the length minus two as a number of decimals.
        for key in ["baseMinSize", "quoteIncrement"] {
            let text = product[key].as_str().unwrap();
            let digits = text.strip_prefix("0.").unwrap();
            assert!(!digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()), "{product}");
        }
        assert!(product["baseScale"].is_u64() && product["quoteScale"].is_u64());
        for key in ["baseMaxSize", "quoteMinSize", "quoteMaxSize"] {
            number(&product[key]);
        }
    }
}

#[test]
fn lists_are_arrays_also_when_they_are_empty() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    for target in ["/api/products/BTC-USDT/trades", "/api/products/BTC-USDT/candles?granularity=60", "/api/apps"] {
        assert_eq!(ada.get(target), json!([]), "{target}");
    }
    let orders = ada.get("/api/orders?productId=BTC-USDT&status=open&limit=30");
    assert_eq!((&orders["items"], &orders["count"]), (&json!([]), &json!(0)));
    let book = ada.get("/api/products/BTC-USDT/book");
    assert_eq!((&book["bids"], &book["asks"]), (&json!([]), &json!([])));
    assert_eq!(ada.delete("/api/orders").json(), json!([]));
    assert_eq!(ada.get("/api/configs"), json!({}));
    let mut socket = ada.socket();
    socket.subscribe(&["level2"], "");
    let snapshot = socket.kind("snapshot");
    assert_eq!((&snapshot["bids"], &snapshot["asks"]), (&json!([]), &json!([])));
    assert_eq!(ada.ask("/api/health").body, b"OK");
}

#[test]
fn a_trade_is_one_row_with_the_makers_side() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let mut bob = Browser::of_new_user(&server, "bob@example.org");
    let mut socket = Browser::visit(&server).socket();
    socket.subscribe(&["match", "ticker"], "");
    trade(&mut ada, &mut bob, "100.50", "0.6");
    bob.limit("buy", "99", "0.5");
    ada.limit("sell", "99", "0.25");
    let trades = ada.get("/api/products/BTC-USDT/trades");
    let of = |row: &Value| (row["tradeId"].clone(), row["price"].clone(), row["size"].clone(), row["side"].clone());
    // A taker bought: the maker sold, and the page paints it green. The newest is first.
    assert_eq!(of(&trades[1]), (json!(1), json!("100.5"), json!("0.6"), json!("sell")));
    assert_eq!(of(&trades[0]), (json!(2), json!("99"), json!("0.25"), json!("buy")));
    assert_eq!(trades.as_array().unwrap().len(), 2);
    let second = socket.until(|message| message["type"] == "match" && message["tradeId"] == 2);
    assert_eq!((&second["side"], &second["price"]), (&json!("buy"), &json!("99")));
    assert_eq!(second["time"], trades[0]["time"]);
    let first = socket.until(|message| message["type"] == "match");
    assert_eq!(socket.count("match"), 2);
    for key in ["makerOrderId", "takerOrderId"] {
        assert!(first[key].as_str().is_some_and(|id| !id.is_empty()));
    }
    assert_ne!(first["makerOrderId"], first["takerOrderId"]);
    let ticker = socket.until(|message| message["type"] == "ticker" && message["tradeId"] == 2);
    assert_eq!((&ticker["side"], &ticker["price"], &ticker["lastSize"]), (&json!("buy"), &json!("99"), &json!("0.25")));
    assert_eq!(ada.get("/api/products/BTC-USDT/trades?limit=1").as_array().unwrap().len(), 1);
}

#[test]
fn statistics_of_a_ticker_are_numbers_and_no_fields_of_a_product() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let mut bob = Browser::of_new_user(&server, "bob@example.org");
    trade(&mut ada, &mut bob, "99", "0.5");
    trade(&mut ada, &mut bob, "104", "0.5");
    // A ticker comes on subscription, since there was a trade.
    let mut socket = Browser::visit(&server).socket();
    socket.subscribe(&["ticker"], "");
    let ticker = socket.kind("ticker");
    let of = |key: &str| number(&ticker[key]);
    assert_eq!((of("open24h"), of("high24h"), of("low24h"), of("close24h")), (99.0, 104.0, 99.0, 104.0));
    assert_eq!((of("volume24h"), of("volume30d"), of("price"), of("lastSize")), (1.0, 1.0, 104.0, 0.5));
    number(&ticker["bestBid"]);
    number(&ticker["bestAsk"]);
    // The page merges tickers into products key by key.
    let product = &Browser::visit(&server).get("/api/products")[0];
    for key in product.as_object().unwrap().keys() {
        assert!(ticker[key].is_null(), "{key} of a product would be overwritten");
    }
}

#[test]
fn candles_are_rows_of_six_numbers_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let mut bob = Browser::of_new_user(&server, "bob@example.org");
    for price in ["101", "104.25", "99.5", "102"] {
        trade(&mut ada, &mut bob, price, "0.25");
    }
    for granularity in [60, 300, 900, 1_800, 3_600, 21_600, 86_400] {
        let candles = ada.get(&format!("/api/products/BTC-USDT/candles?granularity={granularity}"));
        let rows: Vec<Vec<f64>> = serde_json::from_value(candles.clone()).unwrap();
        assert!(rows.iter().all(|row| row.len() == 6), "{candles}");
        assert!(rows.windows(2).all(|pair| pair[0][0] > pair[1][0]), "not newest first");
        let start = candles[0][0].as_i64().expect("the time is no whole number");
        assert_eq!(start % granularity, 0, "not the start of a bucket");
        // Time, low, high, open, close, volume; a minute may have ended between the trades.
        let low = rows.iter().map(|row| row[1]).fold(f64::MAX, f64::min);
        let high = rows.iter().map(|row| row[2]).fold(0.0, f64::max);
        let volume: f64 = rows.iter().map(|row| row[5]).sum();
        assert_eq!((low, high, volume), (99.5, 104.25, 1.0), "{granularity}");
        assert_eq!((rows.last().unwrap()[3], rows[0][4]), (101.0, 102.0), "open and close of {granularity}");
    }
    for bad in ["59", "0", "x", "-60"] {
        let answer = ada.ask(&format!("/api/products/BTC-USDT/candles?granularity={bad}"));
        assert_eq!(answer.status, 400, "{bad}");
    }
    assert_eq!(ada.get("/api/products/BTC-USDT/candles?granularity=60&limit=1").as_array().unwrap().len(), 1);
    assert_eq!(ada.ask("/api/products/NO-SUCH/candles").status, 404);
}

#[test]
fn a_product_that_was_never_traded_has_one_flat_candle_at_its_reference_price() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let mut bob = Browser::of_new_user(&server, "bob@example.org");
    let target = |granularity: i64| format!("/api/products/BTC-USDT/candles?granularity={granularity}");
    // Nobody knows a price: an empty list is the honest answer.
    assert_eq!(ada.get(&target(60)), json!([]));
    let change = json!({"reference_price": "101.5"}).to_string();
    let changed = Client::admin(&server).send("PATCH", "/admin/markets/BTC-USDT", change.as_bytes()).unwrap();
    assert_eq!(changed.status, 200, "{}", changed.json());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    for granularity in [60, 300, 900, 1_800, 3_600, 21_600, 86_400] {
        let asked = now();
        let candles = ada.get(&target(granularity));
        assert_eq!(candles.as_array().unwrap().len(), 1, "{candles}");
        let start = candles[0][0].as_i64().unwrap();
        let bucket = |at: i64| at - at % granularity;
        assert!(bucket(asked) <= start && start <= bucket(now()), "{start} is not the bucket of now");
        assert_eq!(candles, json!([[start, 101.5, 101.5, 101.5, 101.5, 0]]), "{granularity}");
    }
    // Once there is a trade, what happened counts.
    trade(&mut ada, &mut bob, "102.25", "0.5");
    let candles = ada.get(&target(60));
    assert_eq!(candles.as_array().unwrap().len(), 1, "{candles}");
    assert_eq!((&candles[0][1], &candles[0][4], &candles[0][5]), (&json!(102.25), &json!(102.25), &json!(0.5)));
}

#[test]
fn the_price_line_is_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let mut bob = Browser::of_new_user(&server, "bob@example.org");
    let line = |browser: &mut Browser| {
        let answer = browser.ask("/api/products/BTC-USDT/svg");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/svg+xml")));
        String::from_utf8(answer.body).unwrap()
    };
    assert!(line(&mut ada).contains("points=\"\""));
    trade(&mut ada, &mut bob, "100", "0.5");
    assert!(line(&mut ada).contains("<polyline") && !line(&mut ada).contains("points=\"\""));
}

#[test]
fn books_have_rows_of_price_size_and_count() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    for (side, price, size) in [
        ("buy", "101.50", "0.9"),
        ("buy", "100", "1"),
        ("sell", "103", "0.4"),
        ("sell", "102.25", "1"),
        ("sell", "102.25", "2"),
    ] {
        ada.limit(side, price, size);
    }
    let book = ada.get("/api/products/BTC-USDT/book");
    assert_eq!(book["bids"], json!([["101.5", "0.9", 1], ["100", "1", 1]]));
    assert_eq!(book["asks"], json!([["102.25", "3", 2], ["103", "0.4", 1]]));
    assert!(book["time"].is_i64() && book["sequence"].is_u64() && book["productId"] == "BTC-USDT");
    assert_eq!(ada.get("/api/products/BTC-USDT/book?level=1")["asks"], json!([["102.25", "3", 2]]));
    let single = ada.get("/api/products/BTC-USDT/book?level=3");
    assert_eq!((&single["asks"][0][1], &single["asks"][0][2]), (&json!("102.25"), &json!("1")));
    assert_eq!(single["asks"].as_array().unwrap().len(), 3);
    assert_eq!(ada.ask("/api/products/BTC-USDT/book?level=4").status, 400);
    // The socket's snapshot has the same rows: bids highest first, asks lowest first.
    let mut socket = Browser::visit(&server).socket();
    socket.subscribe(&["level2"], "");
    let snapshot = socket.kind("snapshot");
    assert_eq!((&snapshot["bids"], &snapshot["asks"]), (&book["bids"], &book["asks"]));
    // And so have later ones, when the numbers of orders have changed.
    ada.limit("sell", "103", "1");
    ada.limit("buy", "102.25", "1");
    socket.shows(|page| page.book.get(&("sell".into(), "102.25".into())).is_some_and(|size| size == "2"));
    socket.subscribe(&["level2"], "");
    assert_eq!(socket.kind("snapshot")["asks"], json!([["102.25", "2", 1], ["103", "1.4", 2]]));
}
