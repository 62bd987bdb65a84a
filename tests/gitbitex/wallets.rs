//! Balances, addresses, withdrawals and their history.

use crate::browser::{Browser, number};
use crate::server::Server;
use serde_json::json;

/// An address that the simulated network takes.
const ADDRESS: &str = "simbtc1q0123456789abcdef0123456789";

#[test]
fn every_currency_has_a_row_also_when_it_is_zero() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::run({
        // Nothing is given away here, so everything is zero.
        crate::server::agora(&["serve", "--listen", "127.0.0.1:0"], folder.path())
    });
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let all = ada.get("/api/accounts");
    let codes: Vec<_> = all.as_array().unwrap().iter().map(|row| row["currency"].as_str().unwrap()).collect();
    assert_eq!(codes, ["BTC", "ETH", "USDT"]);
    for row in all.as_array().unwrap() {
        assert_eq!((&row["available"], &row["hold"]), (&json!("0"), &json!("0")));
        assert!(!row["id"].as_str().unwrap().is_empty());
        let icon = ada.ask(row["currencyIcon"].as_str().unwrap());
        assert_eq!((icon.status, icon.header("content-type")), (200, Some("image/svg+xml")));
    }
    let some = ada.get("/api/accounts?currency=USDT&currency=XYZ&currency=BTC");
    assert_eq!(some.as_array().unwrap().len(), 2);
    assert_eq!(ada.get("/api/accounts?currency=XYZ"), json!([]));
    assert_eq!(ada.get("/api/wallets/BTC/transactions"), json!([]));
}

#[test]
fn a_withdrawal_takes_what_is_available_and_shows_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--custody-block-time-ms", "20"]);
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let mut socket = ada.socket();
    socket.subscribe_funds("");
    socket.shows(|page| page.funds.len() == 2);
    let address = ada.get("/api/wallets/BTC/address")["address"].as_str().unwrap().to_owned();
    assert!(!address.is_empty());
    assert_eq!(ada.get("/api/wallets/BTC/address")["address"], json!(address));
    assert_ne!(ada.get("/api/wallets/USDT/address")["address"], json!(address));
    let mut refused = |body: serde_json::Value| {
        let answer = ada.post("/api/wallets/BTC/withdrawal", &body);
        assert!(answer.status == 400 && answer.json()["message"].is_string(), "{body}: {}", answer.json());
    };
    refused(json!({"cryptoAddress": ADDRESS}));
    refused(json!({"amount": null, "cryptoAddress": ADDRESS}));
    refused(json!({"amount": "", "cryptoAddress": ADDRESS}));
    refused(json!({"amount": "-1", "cryptoAddress": ADDRESS}));
    refused(json!({"amount": "a lot", "cryptoAddress": ADDRESS}));
    refused(json!({"amount": "0.5"}));
    refused(json!({"amount": "0.5", "cryptoAddress": "somewhere"}));
    refused(json!({"amount": "11", "cryptoAddress": ADDRESS}));
    assert_eq!(ada.balance("BTC"), ("10".into(), "0".into()));
    let answer = ada.post("/api/wallets/BTC/withdrawal", &json!({"amount": "0.5", "cryptoAddress": ADDRESS}));
    assert_eq!(answer.status, 200, "{}", answer.json());
    let sent = answer.json();
    assert_eq!((&sent["amount"], &sent["type"], &sent["toAddress"]), (&json!("0.5"), &json!("send"), &json!(ADDRESS)));
    socket.shows(|page| page.funds["BTC"].0 == "9.5");
    assert_eq!(ada.balance("BTC").0, "9.5");
    let listed = ada.get("/api/wallets/BTC/transactions");
    assert_eq!(listed[0]["id"], sent["id"]);
    assert_eq!(ada.get("/api/wallets/ETH/transactions").as_array().unwrap().len(), 1);
    // Once it has arrived it is over, and the money has left the hold.
    socket.shows(|page| page.funds["BTC"] == ("9.5".into(), "0".into()));
    let done = loop {
        let listed = ada.get("/api/wallets/BTC/transactions");
        if listed[0]["status"] == "completed" {
            break listed;
        }
    };
    assert!(done[0]["network"]["confirmations"].as_u64().unwrap() > 0);
}

#[test]
fn every_transaction_has_a_network_and_money_that_came_is_received() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let gift = ada.get("/api/wallets/USDT/transactions");
    assert_eq!(gift.as_array().unwrap().len(), 1);
    let gift = &gift[0];
    assert_eq!(
        (&gift["type"], &gift["amount"], &gift["currency"]),
        (&json!("received"), &json!("100000"), &json!("USDT"))
    );
    assert_eq!(
        (&gift["nativeAmount"], &gift["nativeCurrency"], &gift["price"]),
        (&json!("100000"), &json!("USD"), &json!("1"))
    );
    for key in ["feeAmount", "resourceUrl", "status", "hash"] {
        assert!(gift["network"][key].is_string(), "{key}");
    }
    assert!(gift["network"]["confirmations"].is_u64());
    // No price was ever made, so none is made up.
    let coins = ada.get("/api/wallets/BTC/transactions");
    assert_eq!((&coins[0]["nativeCurrency"], &coins[0]["nativeAmount"]), (&json!("BTC"), &json!("10")));
    let mut bob = Browser::of_new_user(&server, "bob@example.org");
    ada.limit("sell", "1234.5", "0.1");
    bob.limit("buy", "1234.5", "0.1");
    let coins = ada.get("/api/wallets/BTC/transactions");
    assert_eq!(coins[0]["nativeCurrency"], "USD");
    assert!((number(&coins[0]["nativeAmount"]) - 12_345.0).abs() < f64::EPSILON);
}
