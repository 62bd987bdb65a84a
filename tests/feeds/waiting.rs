//! A market whose data do not answer.

use crate::server::{Client, Server};
use crate::{Feed, place};
use serde_json::json;
use std::time::{Duration, Instant};

#[actix_rt::test]
async fn a_market_that_does_not_answer_holds_up_neither_orders_nor_questions() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    // Nobody replaces the actor that hangs.
    let server = Server::start_with(folder.path(), &["--allow-drills", "--supervision-hang-after-ms", "120000"]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let resting = place(&mut ada, json!({"side": "buy", "price": "900", "size": "0.1"}));
    let mut feed = Feed::open(server.address).await;
    feed.subscribe(json!(["user"]), json!({"token": ada.token})).await;
    feed.until("subscriptions").await;

    let hang = json!({"kind": "hang", "for_ms": 12_000}).to_string();
    let path = "/admin/tree/agora/trading/venue/market%20data%20ETH-USDT/crash";
    let mut admin = Client::admin(&server);
    let begun = Instant::now();
    assert_eq!(admin.send("POST", path, hang.as_bytes()).unwrap().status, 202);
    feed.subscribe(json!(["level2"]), json!({"product_ids": ["ETH-USDT"]})).await;
    // One that waits behind it.
    feed.send(json!({"type": "unsubscribe", "product_ids": ["ETH-USDT"], "channels": ["level2"]})).await;
    feed.send(json!({"type": "cancel", "request_id": 1, "order_id": resting["id"]})).await;
    let canceled = feed.until("canceled").await;
    assert_eq!((&canceled["request_id"], &canceled["result"]["status"]), (&json!(1), &json!("done")), "{canceled}");
    for path in ["/products/ETH-USDT/book?level=2", "/products/ETH-USDT/ticker"] {
        let answer = server.client("").send("GET", path, b"").unwrap();
        assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("starting")), "{path}");
    }
    assert!(begun.elapsed() < Duration::from_millis(11_500), "the market held them up");

    // What waited for the market is done in its order when that is there.
    let listed = |message: serde_json::Value| message["channels"].as_array().unwrap().len();
    assert_eq!(listed(feed.until("subscriptions").await), 2);
    assert_eq!(feed.until("snapshot").await["product_id"], "ETH-USDT");
    assert_eq!(listed(feed.until("subscriptions").await), 1);
}

#[actix_rt::test]
async fn whoever_resumes_a_market_outlasts_the_time_in_which_it_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    // One worker, so that the second connection finds the market active.
    let more = ["--allow-drills", "--supervision-hang-after-ms", "120000", "--workers", "1"];
    let server = Server::start_with(folder.path(), &more);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    place(&mut ada, json!({"side": "buy", "price": "900", "size": "0.1"}));
    let mut live = Feed::open(server.address).await;
    live.subscribe(json!(["full"]), json!({})).await;
    live.until("subscriptions").await;

    let hang = json!({"kind": "hang", "for_ms": 6_000}).to_string();
    let path = "/admin/tree/agora/trading/venue/market%20data%20BTC-USDT/crash";
    let begun = Instant::now();
    assert_eq!(Client::admin(&server).send("POST", path, hang.as_bytes()).unwrap().status, 202);
    let mut again = Feed::open(server.address).await;
    again.subscribe(json!([{"name": "full", "resume_from": 0}]), json!({})).await;
    again.until("subscriptions").await;
    assert!(begun.elapsed() < Duration::from_secs(3), "the market was not active");
    // Longer than one question waits, and the connection is there still.
    assert_eq!(again.until("received").await["sequence"], 1);
    assert_eq!(again.until("open").await["sequence"], 2);
    assert!(begun.elapsed() > Duration::from_secs(4), "the market answered");
}
