//! Both dialects show the same at the same moment.

use crate::browser::Browser;
use crate::server::{Client, Server};
use serde_json::{Value, json};

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}")).to_owned()
}

#[test]
fn both_dialects_show_the_same_order_fill_balance_and_book_at_the_same_moment() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let mut bob = Browser::of_new_user(&server, "bob@example.org");
    let mut native: Vec<Client> = [&ada, &bob].map(|browser| server.client(&browser.storage)).into_iter().collect();
    // Orders come in by both ways.
    ada.limit("sell", "100.50", "1");
    let order = json!({"product_id": "BTC-USDT", "side": "sell", "price": "101", "size": "2"});
    assert_eq!(native[0].send("POST", "/orders", order.to_string().as_bytes()).unwrap().status, 200);
    bob.limit("buy", "100.5", "0.25");
    bob.place(&json!({"productId": "BTC-USDT", "side": "buy", "type": "market", "funds": "150"}));
    bob.limit("buy", "99", "1");
    let market = json!({"product_id": "BTC-USDT", "side": "sell", "type": "market", "size": "0.1"});
    assert_eq!(native[0].send("POST", "/orders", market.to_string().as_bytes()).unwrap().status, 200);
    ada.delete("/api/orders?side=buy");

    for (browser, native) in [&mut ada, &mut bob].into_iter().zip(&mut native) {
        let shown = browser.get("/api/orders?limit=100");
        let own = native.get("/orders?status=all");
        assert_eq!(shown["items"].as_array().unwrap().len(), own.as_array().unwrap().len());
        for (row, own) in shown["items"].as_array().unwrap().iter().zip(own.as_array().unwrap()) {
            assert_eq!(row["id"], own["id"], "not the same order of orders");
            let pairs = [
                ("productId", "product_id"),
                ("side", "side"),
                ("type", "type"),
                ("fillFees", "fill_fees"),
                ("filledSize", "filled_size"),
                ("executedValue", "executed_value"),
            ];
            for (here, there) in pairs {
                assert_eq!(row[here], own[there], "{here}");
            }
            let status = match own["status"].as_str().unwrap() {
                "done" if own["done_reason"] == "filled" => "filled",
                "done" => "cancelled",
                _ => "open",
            };
            assert_eq!((row["status"].as_str().unwrap(), &row["settled"]), (status, &own["settled"]));
            let fills = native.get(&format!("/fills?order_id={}", text(own, "id")));
            let sum: f64 =
                fills.as_array().unwrap().iter().map(|fill| text(fill, "size").parse::<f64>().unwrap()).sum();
            assert!((sum - text(row, "filledSize").parse::<f64>().unwrap()).abs() < 1e-9);
        }
        let shown = browser.get("/api/accounts");
        let own = native.get("/accounts");
        for (row, own) in shown.as_array().unwrap().iter().zip(own.as_array().unwrap()) {
            for key in ["id", "currency", "available", "hold"] {
                assert_eq!(row[key], own[key], "{key}");
            }
        }
        assert_eq!(browser.get("/api/users/self")["id"], native.get("/auth/me")["id"]);
    }
    let native = &mut native[0];
    for level in [1, 2] {
        let shown = ada.get(&format!("/api/products/BTC-USDT/book?level={level}"));
        let own = native.get(&format!("/products/BTC-USDT/book?level={level}"));
        for key in ["bids", "asks", "sequence"] {
            assert_eq!(shown[key], own[key], "{key} of level {level}");
        }
    }
    let trades = ada.get("/api/products/BTC-USDT/trades");
    let own = native.get("/products/BTC-USDT/trades");
    assert_eq!(trades.as_array().unwrap().len(), own.as_array().unwrap().len());
    for (row, own) in trades.as_array().unwrap().iter().zip(own.as_array().unwrap()) {
        for (here, there) in [("tradeId", "trade_id"), ("price", "price"), ("size", "size"), ("side", "side")] {
            assert_eq!(row[here], own[there], "{here}");
        }
    }
    let candles = "/products/BTC-USDT/candles?granularity=3600";
    assert_eq!(ada.get(&format!("/api{candles}")), native.get(candles));
}
