//! The socket: who hears what, in which order, and what survives a break.

use crate::browser::{Browser, Socket};
use crate::feed::Feed;
use crate::server::{Client, Server};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn scene() -> (tempfile::TempDir, Server, Browser, Browser) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let ada = Browser::of_new_user(&server, "ada@example.org");
    let bob = Browser::of_new_user(&server, "bob@example.org");
    (folder, server, ada, bob)
}

fn statuses(socket: &Socket, id: &Value) -> Vec<(String, String)> {
    let orders = socket.log.iter().filter(|message| message["type"] == "order");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    orders
        .filter(|order| order["id"] == *id)
        .map(|order| (text(&order["status"]), text(&order["filledSize"])))
        .collect()
}

#[test]
fn a_visitor_who_asks_for_orders_hears_the_public_channels_alone_in_silence() {
    let (_folder, server, mut ada, mut bob) = scene();
    let mut socket = Browser::visit(&server).socket();
    socket.subscribe(&["match", "level2", "order"], "");
    socket.subscribe_funds("");
    socket.kind("snapshot");
    socket.until(|message| message["type"] == "subscriptions");
    ada.limit("sell", "100", "1");
    bob.limit("buy", "100", "0.5");
    socket.kind("match");
    socket.settle();
    let listed: Vec<_> = socket.state.as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect();
    assert_eq!(listed, [json!("level2"), json!("match")]);
    for kind in ["order", "funds", "error"] {
        assert_eq!(socket.count(kind), 0, "{kind}: {:?}", socket.log);
    }
}

#[test]
fn private_messages_reach_their_owner_alone() {
    let (_folder, _server, mut ada, mut bob) = scene();
    let (mut of_ada, mut of_bob) = (ada.socket(), bob.socket());
    for socket in [&mut of_ada, &mut of_bob] {
        socket.subscribe(&["order"], "");
        socket.subscribe_funds("");
        socket.shows(|page| page.funds.len() == 2);
    }
    let maker = ada.limit("sell", "100", "1");
    let taker = bob.limit("buy", "100", "0.25");
    of_ada.until(|message| message["type"] == "order" && message["filledSize"] == "0.25");
    of_bob.until(|message| message["type"] == "order" && message["status"] == "filled");
    of_ada.settle();
    of_bob.settle();
    assert!(of_ada.orders.keys().all(|id| maker["id"] == *id));
    assert!(of_bob.orders.keys().all(|id| taker["id"] == *id));
    let me = ada.get("/api/users/self")["id"].clone();
    assert!(of_ada.log.iter().all(|message| message["userId"].is_null() || message["userId"] == me));
}

#[test]
fn sign_in_happens_without_a_new_socket() {
    let (_folder, server, mut ada, mut bob) = scene();
    let mut page = Browser::visit(&server);
    let mut socket = page.socket();
    socket.subscribe(&["match", "level2", "order"], "");
    socket.kind("snapshot");
    page.sign_in("ada@example.org");
    socket.subscribe(&["order"], &page.storage);
    socket.subscribe_funds(&page.storage);
    socket.shows(|page| page.funds.len() == 2);
    let order = page.limit("sell", "100", "1");
    socket.until(|message| message["type"] == "order" && message["id"] == order["id"]);
    // Another user on the same socket takes the place of the first.
    socket.subscribe(&["order"], &bob.storage);
    socket.kind("subscriptions");
    let own = bob.limit("buy", "100", "0.5");
    socket.until(|message| message["type"] == "order" && message["id"] == own["id"] && message["status"] == "filled");
    socket.settle();
    assert_eq!(statuses(&socket, &order["id"]), [("open".into(), "0".into())]);
    assert_eq!(socket.state.as_array().unwrap().iter().filter(|entry| entry["name"] == "funds").count(), 0);
    assert_eq!(ada.get("/api/orders?status=open")["count"], 1);
}

#[test]
fn the_cookie_alone_makes_a_socket_the_users() {
    let (_folder, _server, mut ada, _bob) = scene();
    let mut socket = ada.socket();
    // A page that was restored from older storage sends nonsense.
    socket.subscribe(&["order"], "[object Object]");
    let order = ada.limit("sell", "100", "1");
    let told = socket.until(|message| message["type"] == "order");
    assert_eq!(told["id"], order["id"]);
    // It has all that the order has, its type under another name.
    for (key, value) in order.as_object().unwrap() {
        let name = if key == "type" { "orderType" } else { key };
        assert_eq!(&told[name], value, "{key}");
    }
}

#[test]
fn a_user_who_signs_out_and_in_again_hears_of_whole_orders() {
    let (_folder, _server, mut ada, mut bob) = scene();
    let mut socket = ada.socket();
    socket.subscribe(&["order", "match"], &ada.storage);
    socket.settle();
    let order = ada.limit("sell", "100", "1");
    socket.until(|message| message["type"] == "order" && message["id"] == order["id"]);
    assert_eq!(ada.delete("/api/users/accessToken").status, 200);
    bob.limit("buy", "100", "0.5");
    // What the socket hears of everybody's trades shows that it has heard of this one.
    socket.kind("match");
    assert!(statuses(&socket, &order["id"]).iter().all(|(_, filled)| filled == "0"));
    // Sooner than the server looks by itself whether sessions count still.
    ada.sign_in("ada@example.org");
    socket.subscribe(&["order"], &ada.storage);
    socket.settle();
    bob.limit("buy", "100", "0.5");
    // Its last fill, then its end.
    for status in ["open", "filled"] {
        let told = socket.fresh(|message| message["type"] == "order" && message["id"] == order["id"]);
        assert_eq!((&told["status"], &told["filledSize"]), (&json!(status), &json!("1")), "{:?}", socket.log);
    }
}

#[test]
fn orders_are_told_on_acceptance_each_fill_and_their_end_in_order() {
    let (_folder, _server, mut ada, mut bob) = scene();
    let early = ada.limit("sell", "100", "1");
    let mut socket = ada.socket();
    socket.subscribe(&["order"], "");
    socket.settle();
    let later = ada.limit("sell", "101", "1");
    bob.limit("buy", "100", "0.25");
    bob.limit("buy", "101", "1");
    ada.delete(&format!("/api/orders/{}", later["id"].as_str().unwrap()));
    let id = later["id"].clone();
    let last =
        socket.until(|message| message["type"] == "order" && message["id"] == id && message["status"] == "cancelled");
    let text = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(status, filled)| ((*status).to_owned(), (*filled).to_owned())).collect()
    };
    assert_eq!(statuses(&socket, &id), text(&[("open", "0"), ("open", "0.25"), ("cancelled", "0.25")]));
    // One that was there before goes on from where it was. Its acceptance may be told too, if it came meanwhile.
    let told = statuses(&socket, &early["id"]);
    assert!(told.ends_with(&text(&[("open", "0.25"), ("open", "1"), ("filled", "1")])), "{told:?}");
    assert_eq!((&last["executedValue"], &last["settled"]), (&json!("25.25"), &json!(true)));
    let market = bob.place(&json!({"productId": "BTC-USDT", "side": "buy", "type": "market", "funds": "10"}));
    assert_eq!(market["status"], "cancelled");
}

#[test]
fn funds_are_totals_of_both_currencies_after_a_fill() {
    let (_folder, _server, mut ada, mut bob) = scene();
    let mut socket = bob.socket();
    socket.subscribe_funds("");
    socket.shows(|page| page.funds.len() == 2);
    assert_eq!(socket.funds["BTC"], ("10".into(), "0".into()));
    bob.limit("buy", "100", "1");
    socket.shows(|page| page.funds["USDT"] == ("99899.8".into(), "100.2".into()));
    ada.limit("sell", "100", "0.5");
    // Half is bought: at the maker's fee, and what the better rate saves comes back at the end.
    socket.shows(|page| page.funds["BTC"] == ("10.5".into(), "0".into()));
    bob.delete("/api/orders");
    socket.shows(|page| page.funds["USDT"] == ("99949.95".into(), "0".into()));
    assert_eq!(bob.balance("USDT"), ("99949.95".into(), "0".into()));
}

#[test]
fn subscribing_twice_never_doubles_messages() {
    let (_folder, _server, mut ada, mut bob) = scene();
    let mut socket = ada.socket();
    // The page asks for orders twice.
    for _ in 0..2 {
        socket.subscribe(&["match", "order", "ticker", "full"], "");
        socket.subscribe_funds("");
    }
    socket.shows(|page| page.funds.len() == 2);
    socket.settle();
    let funds = socket.count("funds");
    assert_eq!(funds, 2);
    ada.limit("sell", "100", "1");
    bob.limit("buy", "100", "0.5");
    socket.until(|message| message["type"] == "order" && message["filledSize"] == "0.5");
    socket.settle();
    assert_eq!((socket.count("match"), socket.count("order"), socket.count("ticker")), (1, 2, 1));
    assert_eq!((socket.count("received"), socket.count("open"), socket.count("done")), (2, 1, 1));
    for name in ["match", "order"] {
        assert_eq!(socket.state.as_array().unwrap().iter().filter(|entry| entry["name"] == name).count(), 1);
    }
}

#[test]
fn every_subscription_to_level2_is_answered_with_a_snapshot() {
    let (_folder, server, mut ada, _bob) = scene();
    ada.limit("sell", "102.50", "1");
    let mut socket = Browser::visit(&server).socket();
    for asked in 1..=3 {
        socket.subscribe(&["level2"], "");
        socket.kind("snapshot");
        assert_eq!(socket.count("snapshot"), asked);
    }
}

#[test]
fn a_snapshot_after_updates_waits_until_the_page_has_shown_them() {
    let (_folder, server, mut ada, _bob) = scene();
    let mut socket = Browser::visit(&server).socket();
    socket.subscribe(&["level2"], "");
    socket.kind("snapshot");
    for round in 0..3 {
        ada.limit("sell", &format!("{}.5", 200 + round), "1");
        socket.kind("l2update");
        // The page is hidden and shown again, or simply asks again.
        if round == 1 {
            socket.unsubscribe(&["match", "level2", "order"], "");
        }
        socket.subscribe(&["match", "level2", "order"], "");
        // What changes now is in the snapshot.
        ada.limit("sell", &format!("{}.75", 200 + round), "1");
        socket.kind("snapshot");
        let newest = |kind: &str| socket.log.iter().rev().find(|message| message["type"] == kind).unwrap();
        // By the server's clock, which stamped the update before it was sent.
        let updated: jiff::Timestamp = newest("l2update")["time"].as_str().unwrap().parse().unwrap();
        let apart = newest("snapshot")["time"].as_i64().unwrap() - updated.as_millisecond();
        assert!(apart >= 299, "{apart} ms between an update and a snapshot");
        assert_eq!(socket.book.len(), 2 * (round + 1));
    }
    ada.limit("sell", "300", "1");
    let update = socket.kind("l2update");
    assert_eq!(update["changes"], json!([["sell", "300", "1"]]));
}

#[test]
fn prices_of_levels_are_in_their_shortest_form_and_zero_removes() {
    let (_folder, server, mut ada, mut bob) = scene();
    let mut socket = Browser::visit(&server).socket();
    socket.subscribe(&["level2"], "");
    let snapshot = socket.kind("snapshot");
    let order = ada.place(&json!({"productId": "BTC-USDT", "side": "sell", "price": "102.50", "size": "2.500"}));
    let first = socket.kind("l2update");
    assert_eq!(first["changes"], json!([["sell", "102.5", "2.5"]]));
    assert!(first["sequence"].as_u64() > snapshot["sequence"].as_u64());
    bob.limit("buy", "102.5", "0.5");
    assert_eq!(socket.kind("l2update")["changes"], json!([["sell", "102.5", "2"]]));
    ada.delete(&format!("/api/orders/{}", order["id"].as_str().unwrap()));
    assert_eq!(socket.kind("l2update")["changes"], json!([["sell", "102.5", "0"]]));
    assert!(socket.book.is_empty());
}

#[test]
fn a_dropped_socket_resumes_from_what_the_last_answer_listed() {
    let (_folder, _server, mut ada, mut bob) = scene();
    let mut socket = ada.socket();
    socket.subscribe(&["match", "level2", "order", "ticker", "candles_60", "nonsense"], &ada.storage);
    socket.subscribe_funds(&ada.storage);
    socket.unsubscribe(&["ticker"], "");
    socket.send(&json!({"type": "subscribe", "product_ids": ["NO-SUCH"], "channels": ["match"], "token": ""}));
    socket.shows(|page| page.funds.len() == 2);
    socket.settle();
    let listed = json!([
        {"name": "level2", "product_ids": ["BTC-USDT"]},
        {"name": "match", "product_ids": ["BTC-USDT"]},
        {"name": "order", "product_ids": ["BTC-USDT"]},
        {"name": "candles_60", "product_ids": ["BTC-USDT"]},
        {"name": "funds", "currency_ids": ["BTC", "USDT"]},
    ]);
    assert_eq!(socket.state, listed);
    let missed = ada.limit("sell", "100", "1");
    let mut socket = socket.reopen(&ada);
    socket.shows(|page| page.state == listed && page.book.len() == 1 && page.funds.len() == 2);
    bob.limit("buy", "100", "0.25");
    socket.until(|message| {
        message["type"] == "order" && message["id"] == missed["id"] && message["filledSize"] == "0.25"
    });
    socket.until(|message| message["type"] == "match");
    socket.shows(|page| page.book.get(&("sell".into(), "100".into())).is_some_and(|size| size == "0.75"));
    socket.shows(|page| page.funds["BTC"] == ("9".into(), "0.75".into()));
}

#[test]
fn a_market_that_does_not_answer_holds_nobody_up_and_comes_whole_when_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start_with(folder.path(), &["--allow-drills"]);
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let mut bob = Browser::of_new_user(&server, "bob@example.org");
    ada.limit("sell", "100", "1");
    bob.limit("buy", "100", "0.25");
    let drill = json!({"kind": "hang", "for_ms": 2_500}).to_string();
    let path = "/admin/tree/agora/trading/venue/market%20data%20BTC-USDT/crash";
    let mut socket = ada.socket();
    assert_eq!(Client::admin(&server).send("POST", path, drill.as_bytes()).unwrap().status, 202);
    let begun = Instant::now();
    socket.subscribe(&["ticker", "level2", "order"], "");
    assert_eq!(socket.next()["type"], "subscriptions", "the answer comes first, and whether the market answers or not");
    assert!(begun.elapsed() < Duration::from_millis(2_300), "the answer waited for the market");
    // Another message meanwhile makes nothing come twice.
    socket.subscribe(&["match"], "");
    socket.until(|message| message["type"] == "ticker" && message["price"] == "100");
    socket.shows(|page| page.book.get(&("sell".into(), "100".into())).is_some_and(|size| size == "0.75"));
    socket.settle();
    bob.limit("buy", "100", "0.25");
    socket.until(|message| message["type"] == "order" && message["filledSize"] == "0.5");
    socket.shows(|page| page.book.get(&("sell".into(), "100".into())).is_some_and(|size| size == "0.5"));
    socket.until(|message| message["type"] == "match");
    socket.settle();
    assert_eq!((socket.count("match"), socket.count("l2update")), (1, 1), "{:?}", socket.log);
}

#[test]
fn sockets_of_an_address_count_together_with_those_of_the_native_feed() {
    let folder = tempfile::tempdir().unwrap();
    // Clients on this machine are counted here too.
    let limits = ["--accounts-unlimited", "192.0.2.0/24", "--feed-connections", "2"];
    let server = Server::start_with(folder.path(), &limits);
    let native = || Feed::open(server.address, "/v1/feed", "Host: agora\r\n");
    let (page, other) = (Browser::visit(&server).socket(), native());
    assert_eq!(other.as_ref().err(), None);
    for refusal in [native().err(), Socket::open(server.address, "").err()] {
        let refusal = refusal.unwrap_or_else(|| panic!("there are three"));
        assert!(refusal.contains(" 429 "), "{refusal}");
    }
    // A place is free again when one has gone; the server notices when it reads from it.
    drop(page);
    let again = (0..100).find_map(|_| {
        std::thread::sleep(Duration::from_millis(200));
        Socket::open(server.address, "").ok()
    });
    assert!(again.is_some(), "no place became free");
    assert!(native().is_err());
}

#[test]
fn names_of_candle_channels_are_bounded_however_many_messages_bring_them() {
    let (_folder, server, _ada, _bob) = scene();
    let mut socket = Browser::visit(&server).socket();
    for n in 0..4 {
        let names: Vec<String> = (0..10).map(|m| format!("candles_{}", 60 + 10 * n + m)).collect();
        socket.subscribe(&names.iter().map(String::as_str).collect::<Vec<_>>(), "");
        socket.kind("subscriptions");
    }
    assert_eq!(socket.state.as_array().unwrap().len(), 16);
    // Those that end make room again.
    socket.unsubscribe(&["candles_60"], "");
    socket.subscribe(&["candles"], "");
    socket.settle();
    let names: Vec<_> = socket.state.as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect();
    assert!(names.len() == 16 && names.contains(&json!("candles")) && !names.contains(&json!("candles_60")));
}

#[test]
fn a_ping_is_answered_as_type_and_as_channel() {
    let (_folder, server, _ada, _bob) = scene();
    let mut socket = Browser::visit(&server).socket();
    socket.send(&json!({"type": "ping"}));
    assert_eq!(socket.kind("pong"), json!({"type": "pong"}));
    socket.send(&json!({"type": "subscribe", "channels": ["ping"]}));
    socket.kind("pong");
}

#[test]
fn broken_frames_and_unknown_words_do_no_harm() {
    let (_folder, server, mut ada, _bob) = scene();
    let mut socket = Browser::visit(&server).socket();
    for text in ["", "{", "null", "[]", "7", "{\"type\":7}", "{\"type\":\"subscribe\"}", "{\"type\":\"dance\"}"] {
        socket.send_text(text);
    }
    socket
        .send_text(r#"{"type":"subscribe","channels":[{"a":1},null,"nope"],"product_ids":"BTC-USDT","token":{"a":1}}"#);
    socket.send_binary(b"\0\xff");
    // Tokens are long: frames of 16 KiB pass.
    let long = "x".repeat(16 * 1024 - 200);
    socket.send(&json!({"type": "subscribe", "product_ids": ["BTC-USDT"], "channels": ["level2"], "token": long}));
    socket.kind("snapshot");
    ada.limit("sell", "100", "1");
    socket.kind("l2update");
    // Nothing begins with `candles`, which the browser checks of each message; and the channel may be asked for.
    socket.subscribe(&["candles", "candles_60"], "");
    socket.kind("subscriptions");
}

#[test]
fn full_tells_single_orders_with_their_sequence() {
    let (_folder, server, mut ada, mut bob) = scene();
    let mut socket = Browser::visit(&server).socket();
    socket.subscribe(&["full"], "");
    socket.settle();
    let order = ada.limit("sell", "100", "1");
    bob.limit("buy", "100", "1");
    socket.until(|message| message["type"] == "done" && message["orderId"] == order["id"]);
    let told: Vec<&Value> = socket.log.iter().filter(|message| !message["orderId"].is_null()).collect();
    let kinds: Vec<_> = told.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["received", "open", "received"]);
    assert!(told.windows(2).all(|pair| pair[0]["sequence"].as_u64() < pair[1]["sequence"].as_u64()));
    assert_eq!((&told[0]["orderType"], &told[1]["remainingSize"]), (&json!("limit"), &json!("1")));
    assert!(told.iter().filter(|message| message["type"] == "done").all(|message| message["reason"] == "filled"));
}

#[test]
fn two_users_trade_and_every_page_shows_the_same() {
    let (_folder, server, mut ada, mut bob) = scene();
    let mut pages: Vec<Socket> = vec![ada.socket(), bob.socket(), Browser::visit(&server).socket()];
    for (page, token) in pages.iter_mut().zip([ada.storage.as_str(), bob.storage.as_str(), ""]) {
        page.subscribe(&["match", "level2", "order"], token);
        page.kind("snapshot");
    }
    for round in 0..10 {
        ada.limit("sell", &format!("{}.25", 100 + round % 3), "0.5");
        bob.limit("buy", &format!("{}.25", 99 + round % 4), "0.3");
    }
    bob.delete("/api/orders?side=buy");
    let book = ada.get("/api/products/BTC-USDT/book");
    let trades = ada.get("/api/products/BTC-USDT/trades");
    let row = |side: &str, row: &Value| {
        let text = |index: usize| row[index].as_str().unwrap().to_owned();
        ((side.to_owned(), text(0)), text(1))
    };
    let rows = |side, field: &str| {
        book[field].as_array().unwrap().iter().map(move |level| row(side, level)).collect::<Vec<_>>()
    };
    let expected: std::collections::BTreeMap<_, _> =
        rows("buy", "bids").into_iter().chain(rows("sell", "asks")).collect();
    for page in &mut pages {
        page.shows(|page| page.book == expected && page.count("match") == trades.as_array().unwrap().len());
        let seen: Vec<_> = page.log.iter().rev().filter(|message| message["type"] == "match").collect();
        for (seen, row) in seen.iter().zip(trades.as_array().unwrap()) {
            for key in ["tradeId", "price", "size", "side", "time"] {
                assert_eq!(seen[key], row[key]);
            }
        }
    }
    for (browser, page) in [(&mut ada, 0), (&mut bob, 1)] {
        let all = browser.get("/api/orders?limit=100");
        let page = &mut pages[page];
        let same = |page: &Socket| {
            all["items"].as_array().unwrap().iter().all(|row| {
                page.orders
                    .get(row["id"].as_str().unwrap())
                    .is_some_and(|told| told["status"] == row["status"] && told["filledSize"] == row["filledSize"])
            })
        };
        page.shows(same);
    }
}
