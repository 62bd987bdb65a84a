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

/// What is told of all markets lacks one that does not answer, and has the others.
#[test]
fn one_market_that_does_not_answer_is_left_out_of_what_is_told_of_all() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start_with(folder.path(), &["--allow-drills", "--supervision-hang-after-ms", "10000"]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    place(&mut ada, json!({"side": "sell", "price": "1000", "size": "0.1"}));
    place(&mut bob, json!({"side": "buy", "price": "1000", "size": "0.1"}));
    let products = ada.get("/products");
    let all: Vec<&str> = products.as_array().unwrap().iter().map(|product| product["id"].as_str().unwrap()).collect();
    let mut admin = Client::admin(&server);
    let mut hang = |for_ms: u32| {
        let body = json!({"kind": "hang", "for_ms": for_ms}).to_string();
        let path = "/admin/tree/agora/trading/venue/market%20data%20ETH-USDT/crash";
        assert_eq!(admin.send("POST", path, body.as_bytes()).unwrap().status, 202);
    };

    // All share a thread, until one has blocked it: then each gets one of its own.
    hang(60_000);
    let begun = Instant::now();
    let is_new = |metrics: &str, symbol: &str| {
        let name = format!("agora_actor_restarts{{actor=\"agora/trading/venue/market data {symbol}\"}} ");
        metrics.lines().any(|line| line.strip_prefix(&*name).is_some_and(|restarts| restarts != "0"))
    };
    loop {
        let metrics = server.client("").metrics();
        let answers = |symbol: &&str| ada.send("GET", &format!("/products/{symbol}/stats"), b"").unwrap().status == 200;
        if all.iter().all(|symbol| is_new(&metrics, symbol)) && all.iter().all(answers) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "the market data that share a blocked thread stay there");
        std::thread::sleep(Duration::from_millis(100));
    }

    // For less than would be noticed, and longer than one question waits.
    hang(9_000);
    let told = |path: &'static str| {
        let mut client = server.client(&ada.token);
        move || client.send("GET", path, b"").unwrap()
    };
    let [lines, volumes, trailing] = std::thread::scope(|scope| {
        let paths = ["/products/spark-lines", "/products/volume-summary", "/users/self/trailing-volume"];
        paths.map(told).map(|ask| scope.spawn(ask)).map(|asked| asked.join().unwrap())
    });
    for answer in [&lines, &volumes, &trailing] {
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
    let lines = lines.json();
    assert_eq!(lines.as_object().unwrap().len(), all.len());
    assert_eq!((&lines["ETH-USDT"], lines["BTC-USDT"].as_array().map(Vec::len)), (&json!([]), Some(1)), "{lines}");
    for (answer, id) in [(volumes, "id"), (trailing, "product_id")] {
        let rows = answer.json();
        let told: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row[id].as_str().unwrap()).collect();
        let expected: Vec<&str> = all.iter().copied().filter(|symbol| *symbol != "ETH-USDT").collect();
        assert_eq!(told, expected, "{rows}");
    }
}
