//! Orders in all the forms that the front end sends, their pages, and what cancels them.

use crate::browser::{Browser, number};
use crate::server::{Answer, Server};
use serde_json::{Value, json};

/// A server with two users, one of whom sells 1 at 1000 and 1 at 1100.
fn scene() -> (tempfile::TempDir, Server, Browser, Browser) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let bob = Browser::of_new_user(&server, "bob@example.org");
    ada.limit("sell", "1000", "1");
    ada.limit("sell", "1100", "1");
    (folder, server, ada, bob)
}

fn refused(answer: &Answer) -> String {
    assert_eq!(answer.status, 400, "{}", answer.json());
    answer.json()["message"].as_str().unwrap().to_owned()
}

/// A field of each row.
fn of<'a>(page: &'a Value, key: &str) -> Vec<&'a str> {
    page["items"].as_array().unwrap().iter().map(|row| row[key].as_str().unwrap()).collect()
}

#[test]
fn a_price_comes_as_number_or_text() {
    let (_folder, _server, _ada, mut bob) = scene();
    for price in ["900.5", "\"900.5\"", "900.50", "9.005e2"] {
        let body = format!(
            r#"{{"productId":"BTC-USDT","side":"buy","type":"limit","price":{price},"size":0.4,"funds":null}}"#
        );
        let answer = bob.post_text("/api/orders", &body);
        assert_eq!(answer.status, 200, "{price}: {}", answer.json());
        let order = answer.json();
        assert_eq!(
            (&order["price"], &order["size"], &order["status"]),
            (&json!("900.5"), &json!("0.4"), &json!("open"))
        );
        assert_eq!(
            (&order["funds"], &order["type"], &order["settled"]),
            (&json!("360.2"), &json!("limit"), &json!(false))
        );
    }
    // What is absent is a limit order.
    let order = bob.place(&json!({"productId": "BTC-USDT", "side": "buy", "price": 900, "size": "1"}));
    assert_eq!(order["type"], "limit");
}

#[test]
fn binary_noise_in_numbers_is_forgiven_and_nothing_else() {
    let (_folder, _server, _ada, mut bob) = scene();
    let mut send = |price: &str, size: &str| {
        let body = format!(
            r#"{{"productId":"BTC-USDT","side":"buy","type":"limit","price":{price},"size":{size},"funds":41.400000000000006}}"#
        );
        bob.post_text("/api/orders", &body)
    };
    let order = send("102.50000000000001", "0.30000000000000004").json();
    assert_eq!((&order["price"], &order["size"]), (&json!("102.5"), &json!("0.3")));
    // Text is exact, and other excess decimals are refused with a message, never dropped.
    assert!(refused(&send("102.5", "\"0.30000000000000004\"")).contains("too accurate"));
    assert!(refused(&send("102.5", "0.1234567")).contains("too accurate"));
    assert!(refused(&send("102.501", "0.3")).contains("too accurate"));
    for (price, size) in
        [("0", "1"), ("-1", "1"), ("1", "0"), ("1", "-1"), ("null", "1"), ("1", "null"), ("\"\"", "1"), ("true", "1")]
    {
        refused(&send(price, size));
    }
}

#[test]
fn a_market_buy_takes_funds_and_its_size_is_an_estimate_to_ignore() {
    let (_folder, _server, mut ada, mut bob) = scene();
    let body = r#"{"productId":"BTC-USDT","side":"buy","type":"market","price":null,"size":0.2493768765432109,"funds":250.50000000000003}"#;
    let answer = bob.post_text("/api/orders", body);
    assert_eq!(answer.status, 200, "{}", answer.json());
    let order = answer.json();
    assert_eq!((&order["status"], &order["funds"], &order["price"]), (&json!("filled"), &json!("250.5"), &json!("0")));
    // 250 at 1000 and a fee of 0.2 % rounded up: 0.25 for 250.5.
    assert_eq!((&order["size"], &order["filledSize"]), (&json!("0.25"), &json!("0.25")));
    assert_eq!((number(&order["executedValue"]), number(&order["fillFees"])), (250.0, 0.5));
    assert_eq!(bob.balance("USDT"), ("99749.5".into(), "0".into()));
    // A market buy needs funds, whatever its size says.
    refused(&bob.post("/api/orders", &json!({"productId": "BTC-USDT", "side": "buy", "type": "market", "size": 1})));
    // A book that ends: what was not spent is free again.
    ada.delete("/api/orders");
    ada.limit("sell", "1000", "0.1");
    let order = bob.place(&json!({"productId": "BTC-USDT", "side": "buy", "type": "market", "funds": "5000"}));
    assert_eq!((&order["status"], &order["filledSize"]), (&json!("cancelled"), &json!("0.1")));
    assert_eq!(bob.balance("USDT").1, "0");
}

#[test]
fn market_orders_never_rest() {
    let (_folder, _server, mut ada, mut bob) = scene();
    bob.limit("buy", "900", "0.5");
    let sold = ada.place(
        &json!({"productId": "BTC-USDT", "side": "sell", "type": "market", "price": "1000", "size": 0.7, "funds": 700}),
    );
    assert_eq!(
        (&sold["status"], &sold["filledSize"], &sold["size"]),
        (&json!("cancelled"), &json!("0.5"), &json!("0.7"))
    );
    assert_eq!(number(&sold["executedValue"]), 450.0);
    let nothing = ada.place(&json!({"productId": "BTC-USDT", "side": "sell", "type": "market", "size": "0.1"}));
    assert_eq!(nothing["status"], "cancelled");
    // What says how long an order rests has no meaning for it.
    for (time_in_force, cancel_after) in [("GTT", ""), ("GTT", "day"), ("FOK", "week")] {
        let order = json!({"productId": "BTC-USDT", "side": "sell", "type": "market", "size": "0.1",
            "timeInForce": time_in_force, "cancelAfter": cancel_after});
        assert_eq!(ada.place(&order)["status"], "cancelled", "{order}");
    }
    let book = ada.get("/api/products/BTC-USDT/book");
    assert_eq!((book["asks"].as_array().unwrap().len(), &book["bids"]), (2, &json!([])));
}

#[test]
fn the_refusal_is_the_answer_to_the_post() {
    let (_folder, _server, mut ada, mut bob) = scene();
    let mut limit = |side: &str, price: &str, size: &str| {
        bob.post(
            "/api/orders",
            &json!({"productId": "BTC-USDT", "side": side, "type": "limit", "price": price, "size": size}),
        )
    };
    let text = refused(&limit("buy", "1000", "1000"));
    assert_eq!(text, "Not enough USDT: 1002000 needed, 100000 available");
    assert_eq!(refused(&limit("sell", "1000", "10.5")), "Not enough BTC: 10.5 needed, 10 available");
    assert!(refused(&limit("buy", "1000", "0.00001")).contains("Minimum size is 0.0001"));
    refused(&limit("bid", "1000", "1"));
    let kind = json!({"productId": "BTC-USDT", "side": "buy", "type": "iceberg", "price": 1, "size": 1});
    refused(&ada.post("/api/orders", &kind));
    assert_eq!(
        ada.post("/api/orders", &json!({"productId": "XYZ-USDT", "side": "buy", "price": 1, "size": 1})).status,
        404
    );
    let too_much = json!({"productId": "BTC-USDT", "side": "buy", "type": "market", "funds": 1e9});
    assert_eq!(refused(&ada.post("/api/orders", &too_much)), "Not enough USDT: 1000000000 needed, 100000 available");
    // Nothing was placed by any of these.
    let all = bob.get("/api/orders");
    assert_eq!((&all["items"], &all["count"]), (&json!([]), &json!(0)));
    assert_eq!(bob.balance("USDT"), ("100000".into(), "0".into()));
}

#[test]
fn statuses_are_open_filled_and_cancelled() {
    let (_folder, server, mut ada, mut bob) = scene();
    let part = bob.limit("buy", "1000", "1.5");
    // Partly filled is open still, so that the page offers to cancel it.
    assert_eq!((&part["status"], &part["filledSize"], &part["settled"]), (&json!("open"), &json!("1"), &json!(false)));
    let killed = json!({"productId": "BTC-USDT", "side": "buy", "price": 1, "size": 1, "timeInForce": "FOK"});
    assert_eq!(bob.place(&killed)["status"], "cancelled");
    let immediate = json!({"productId": "BTC-USDT", "side": "buy", "price": 1100, "size": 0.1, "time_in_force": "IOC"});
    assert_eq!(bob.place(&immediate)["status"], "filled");
    // Programs send GTT without an end.
    let lasting =
        json!({"productId": "BTC-USDT", "side": "buy", "price": 1, "size": 1, "timeInForce": "GTT", "cancelAfter": ""});
    let lasting = bob.place(&lasting);
    assert_eq!(lasting["status"], "open");
    assert_eq!(bob.delete(&format!("/api/orders/{}", lasting["id"].as_str().unwrap())).status, 200);
    // A stop of the native API sleeps; here it is open, and can be canceled.
    let stop = json!({"product_id": "BTC-USDT", "side": "buy", "price": "2000", "size": "0.01", "stop": "entry", "stop_price": "1500"});
    let mut native = server.client(&bob.storage);
    assert_eq!(native.send("POST", "/orders", stop.to_string().as_bytes()).unwrap().status, 200);
    let all = bob.get("/api/orders?productId=BTC-USDT");
    assert_eq!(of(&all, "status"), ["open", "cancelled", "filled", "cancelled", "open"]);
    assert_eq!(all["count"], 5);
    let by = |browser: &mut Browser, query: &str| of(&browser.get(&format!("/api/orders?{query}")), "status").len();
    assert_eq!(
        (by(&mut bob, "status=open"), by(&mut bob, "status=filled"), by(&mut bob, "status=cancelled")),
        (2, 1, 2)
    );
    assert_eq!((by(&mut bob, "status=open&status=filled"), by(&mut bob, "status=nonsense")), (3, 0));
    assert_eq!((by(&mut ada, "status=open"), by(&mut ada, "status=filled"), by(&mut ada, "side=buy")), (1, 1, 0));
}

#[test]
fn executed_value_is_the_sum_of_the_fills() {
    let (_folder, _server, _ada, mut bob) = scene();
    // Filled below its limit: 1 × 1000 + 0.5 × 1100.
    let order = bob.limit("buy", "1200", "1.5");
    assert_eq!((number(&order["executedValue"]), number(&order["fillFees"])), (1_550.0, 3.1));
    assert_eq!(bob.get("/api/orders")["items"][0], order, "a list right after the answer must have it");
}

#[test]
fn order_pages_go_both_ways() {
    let (_folder, _server, _ada, mut bob) = scene();
    let ids: Vec<String> =
        (0..7).map(|n| bob.limit("buy", &format!("{}", 100 + n), "0.1")["id"].as_str().unwrap().to_owned()).collect();
    // Two have ended; lists are of all.
    for id in &ids[2..4] {
        assert_eq!(bob.delete(&format!("/api/orders/{id}")).status, 200);
    }
    let mut page = |query: &str| {
        let answer = bob.ask(&format!("/api/orders?productId=BTC-USDT&limit=3{query}"));
        assert_eq!(answer.status, 200, "{query}");
        let header = |name: &str| answer.header(name).unwrap_or("undefined").to_owned();
        let body = answer.json();
        assert_eq!(body["count"], 7, "the total before paging");
        let shown: Vec<usize> =
            of(&body, "id").iter().map(|id| ids.iter().position(|one| one == id).unwrap()).collect();
        (shown, header("gbe-before"), header("gbe-after"))
    };
    let (shown, before, after) = page("");
    assert_eq!((shown, &before, &after), (vec![6, 5, 4], &ids[6], &ids[4]));
    let (shown, before, after) = page(&format!("&after={after}"));
    assert_eq!((shown, &before, &after), (vec![3, 2, 1], &ids[3], &ids[1]));
    let (shown, _, last) = page(&format!("&after={after}"));
    assert_eq!(shown, [0]);
    let (shown, no_before, no_after) = page(&format!("&after={last}"));
    // An empty page has no headers, and the page then sends the word.
    assert_eq!((shown.len(), no_before.as_str(), no_after.as_str()), (0, "undefined", "undefined"));
    // Back again: the rows next newer, nearest first chosen and newest first listed, not the newest page.
    assert_eq!(page(&format!("&before={last}")).0, [3, 2, 1]);
    assert_eq!(page(&format!("&before={before}")).0, [6, 5, 4]);
    assert_eq!(page(&format!("&before={}", ids[5])).0, [6]);
    for nonsense in ["&after=undefined", "&before=undefined", "&after=", "&after=0", "&before=nonsense"] {
        assert_eq!(page(nonsense).0, [6, 5, 4], "{nonsense}");
    }
    // By number, for programs.
    assert_eq!(page("&page=2&pageSize=3").0, [3, 2, 1]);
    assert_eq!(page("&page=1&pageSize=2").0, [6, 5]);
    assert_eq!(page("&page=9&pageSize=3").0, [0_usize; 0]);
    assert_eq!(page("&page=10&pageSize=1000").0, [0_usize; 0]);
    // They do not reach back for ever, since all that lies before is looked at.
    for too_deep in ["page=11&pageSize=1000", "page=10001&pageSize=1", "page=18446744073709551615&pageSize=1000"] {
        let refused = bob.ask(&format!("/api/orders?{too_deep}"));
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!(0)), "{too_deep}");
    }
}

#[test]
fn cancels_release_holds() {
    let (_folder, server, mut ada, mut bob) = scene();
    let first = bob.limit("buy", "900", "1");
    assert_eq!(bob.balance("USDT"), ("99098.2".into(), "901.8".into()));
    let target = format!("/api/orders/{}", first["id"].as_str().unwrap());
    // Somebody else's does not exist.
    assert_eq!(ada.delete(&target).status, 404);
    assert_eq!(bob.delete(&target).status, 200);
    assert_eq!(bob.balance("USDT"), ("100000".into(), "0".into()));
    // By client id, which also finds the first order again.
    let named = json!({"productId": "BTC-USDT", "side": "buy", "price": 900, "size": 1, "clientOid": "6b7e0c0e-8f0e-4a39-9b40-6a5d0b9f3a02"});
    let order = bob.place(&named);
    assert_eq!(order["clientOid"], named["clientOid"]);
    assert_eq!(bob.place(&named)["id"], order["id"]);
    assert_eq!(bob.delete(&format!("/api/orders/client:{}", named["clientOid"].as_str().unwrap())).status, 200);
    assert_eq!(bob.get("/api/orders?status=open")["count"], 0);
    // All, by product and side.
    bob.limit("buy", "900", "1");
    bob.limit("sell", "2000", "1");
    let other = bob.place(&json!({"productId": "ETH-USDT", "side": "buy", "price": 10, "size": 1}));
    let gone = bob.delete("/api/orders?productId=BTC-USDT&side=sell").json();
    assert_eq!(gone.as_array().unwrap().len(), 1);
    assert_eq!(bob.balance("BTC"), ("10".into(), "0".into()));
    assert_eq!(bob.delete("/api/orders?productId=BTC-USDT").json().as_array().unwrap().len(), 1);
    assert_eq!(bob.delete("/api/orders").json(), json!([other["id"]]));
    assert_eq!(bob.balance("USDT"), ("100000".into(), "0".into()));
    assert_eq!(bob.delete("/api/orders?productId=NO-SUCH").status, 404);
    // Nobody else's were touched.
    assert_eq!(server.client(&ada.storage).get("/orders").as_array().unwrap().len(), 2);
}
