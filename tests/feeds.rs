//! The feed as a strict client of the dialect reads it: shapes, sequences, books rebuilt from it.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "feeds/batches.rs"]
mod batches;
#[path = "feeds/doors.rs"]
mod doors;
#[path = "feeds/private.rs"]
mod private;
#[path = "model/rng.rs"]
mod rng;
mod server;
#[path = "feeds/slow.rs"]
mod slow;
#[path = "feeds/waiting.rs"]
mod waiting;

use futures_util::{SinkExt, StreamExt};
use rng::Rng;
use serde_json::{Value, json};
use server::{Client, Server};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PRODUCT: &str = "BTC-USDT";

type Socket = actix_codec::Framed<awc::BoxedSocket, awc::ws::Codec>;

/// A connection that checks what every message must have.
struct Feed {
    socket: Socket,
    /// The last sequence of the full channel, once one came.
    full: Option<u64>,
}

impl Feed {
    async fn open(address: SocketAddr) -> Feed {
        // An empty query is sent by some clients.
        let connect = awc::Client::new().ws(format!("http://{address}/v1/feed?")).max_frame_size(20 << 20);
        let (_, socket) = connect.connect().await.unwrap();
        Feed { socket, full: None }
    }

    async fn send(&mut self, message: Value) {
        self.socket.send(awc::ws::Message::Text(message.to_string().into())).await.unwrap();
    }

    async fn subscribe(&mut self, channels: Value, more: Value) {
        let mut message = json!({"type": "subscribe", "product_ids": [PRODUCT], "channels": channels});
        message.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.send(message).await;
    }

    /// The next message; none when the connection ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let frame = tokio::time::timeout(Duration::from_secs(30), self.socket.next());
            match frame.await.expect("the feed is silent")? {
                Ok(awc::ws::Frame::Text(text)) => {
                    let message: Value = serde_json::from_slice(&text).unwrap();
                    self.check(&message);
                    return Some(message);
                }
                Ok(awc::ws::Frame::Close(_)) | Err(_) => return None,
                Ok(awc::ws::Frame::Ping(content)) => self.socket.send(awc::ws::Message::Pong(content)).await.ok()?,
                Ok(_) => {}
            }
        }
    }

    async fn until(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("the feed ended before {kind}"));
            if message["type"] == kind {
                return message;
            }
        }
    }

    fn check(&mut self, message: &Value) {
        let kind = message["type"].as_str().unwrap();
        let decimals: &[&str] = match kind {
            "ticker" => &[
                "price",
                "open_24h",
                "volume_24h",
                "low_24h",
                "high_24h",
                "volume_30d",
                "best_bid",
                "best_bid_size",
                "best_ask",
                "best_ask_size",
                "last_size",
            ],
            "match" | "last_match" => &["size", "price"],
            "open" => &["price", "remaining_size"],
            _ => &[],
        };
        for key in decimals {
            let text = message[key].as_str().unwrap_or_else(|| panic!("{key} of {message}"));
            assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{key} of {message}");
        }
        if kind == "heartbeat"
            && let Some(full) = self.full
        {
            assert!(message["sequence"].as_u64().unwrap() <= full, "a heartbeat runs ahead of {full}: {message}");
        }
        if kind == "error" {
            assert!(message["message"].is_string() && message["reason"].is_string(), "{message}");
        }
    }
}

fn place(client: &mut Client, order: Value) -> Value {
    let mut order = order;
    order["product_id"] = PRODUCT.into();
    let answer = client.send("POST", "/orders", order.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{order}: {}", answer.json());
    answer.json()
}

#[actix_rt::test]
async fn an_orders_life_is_told_in_order_and_its_parties_hear_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");

    let (mut public, mut adas) = (Feed::open(server.address).await, Feed::open(server.address).await);
    public.subscribe(json!(["full", "level2", "ticker", "heartbeat"]), json!({})).await;
    let listed = public.until("subscriptions").await;
    assert_eq!(listed["channels"].as_array().unwrap().len(), 4);
    assert_eq!(public.until("snapshot").await["bids"], json!([]));
    // Keys may come later than the first subscribe; a repeated one changes nothing.
    adas.subscribe(json!(["full", "matches"]), json!({})).await;
    adas.until("subscriptions").await;
    adas.subscribe(json!(["user", "full"]), json!({"token": ada.token})).await;
    assert_eq!(adas.until("subscriptions").await["channels"].as_array().unwrap().len(), 3);

    let resting = place(
        &mut ada,
        json!({"side": "sell", "price": "1000", "size": "1", "client_oid":
        "0b1f1ed2-6c4e-4f5c-9c5e-0a8f4d9b5a11"}),
    );
    let taking = place(&mut bob, json!({"side": "buy", "type": "market", "funds": "501"}));
    ada.send("DELETE", "/orders", b"").unwrap();
    let stop = place(&mut ada, json!({"side": "sell", "price": "9", "size": "1", "stop_price": "10"}));

    let mut told = Vec::new();
    while told.len() < 6 {
        let message = public.next().await.unwrap();
        if ["received", "open", "match", "done", "change"].contains(&message["type"].as_str().unwrap()) {
            told.push(message);
        }
    }
    let kinds: Vec<_> = told.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["received", "open", "received", "match", "done", "done"]);
    let sequences: Vec<_> = told.iter().map(|message| message["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6]);
    for message in &told {
        assert!(message.get("user_id").is_none() && message.get("taker_user_id").is_none(), "{message}");
        assert!(message.get("maker_fee_rate").is_none() && message.get("taker_fee_rate").is_none(), "{message}");
        assert_eq!(message["product_id"], PRODUCT);
    }
    assert_eq!((&told[0]["order_id"], &told[0]["order_type"]), (&resting["id"], &json!("limit")));
    assert_eq!(told[0]["client_oid"], "0b1f1ed2-6c4e-4f5c-9c5e-0a8f4d9b5a11");
    assert_eq!((&told[2]["order_id"], told[2].get("price"), &told[2]["funds"]), (&taking["id"], None, &json!("501")));
    assert_eq!((&told[3]["side"], &told[3]["maker_order_id"]), (&json!("sell"), &resting["id"]));
    assert_eq!((&told[4]["reason"], told[4].get("remaining_size")), (&json!("filled"), None));
    assert_eq!((&told[5]["reason"], &told[5]["order_id"]), (&json!("canceled"), &resting["id"]));

    // The owner hears each event once, with the fields of a party, and of the stop that sleeps.
    let mut own = Vec::new();
    loop {
        let message = adas.next().await.unwrap();
        own.push(message);
        if own.last().unwrap()["type"] == "activate" {
            break;
        }
    }
    let kinds: Vec<_> = own.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["received", "open", "received", "match", "done", "done", "activate"]);
    assert!(own[0]["user_id"].is_string() && own[0]["profile_id"].is_string());
    assert!(own[2].get("user_id").is_none(), "the taker's order is another's: {}", own[2]);
    assert_eq!(own[3]["maker_user_id"], own[0]["user_id"]);
    assert!(own[3]["maker_fee_rate"].is_string() && own[3].get("taker_fee_rate").is_none());
    assert_eq!((&own[6]["order_id"], &own[6]["stop_type"]), (&stop["id"], &json!("loss")));
    assert_eq!(own[6]["private"], true);

    // A stop that wakes is received like a new order, under the same id.
    place(&mut ada, json!({"side": "buy", "price": "9.5", "size": "1"}));
    place(&mut bob, json!({"side": "sell", "price": "9.5", "size": "0.2"}));
    loop {
        let message = public.until("received").await;
        if message["order_id"] == stop["id"] {
            assert_eq!(
                (&message["price"], &message["size"], &message["side"]),
                (&json!("9"), &json!("1"), &json!("sell"))
            );
            break;
        }
    }
}

#[actix_rt::test]
async fn channels_begin_and_end_as_the_dialect_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let resting = place(&mut ada, json!({"side": "sell", "price": "1000", "size": "1"}));
    place(&mut bob, json!({"side": "buy", "price": "1000", "size": "0.25"}));

    let mut feed = Feed::open(server.address).await;
    feed.subscribe(json!(["level2_batch", "matches", "ticker", "ticker_1000", "heartbeat", "status"]), json!({})).await;
    let names = |message: &Value| -> Vec<String> {
        let channels = message["channels"].as_array().unwrap();
        channels.iter().map(|channel| channel["name"].as_str().unwrap().to_owned()).collect()
    };
    let first: Vec<Value> = vec![
        feed.until("subscriptions").await,
        feed.until("snapshot").await,
        feed.until("last_match").await,
        feed.until("ticker").await,
    ];
    assert_eq!(names(&first[0]), ["level2_batch", "matches", "ticker", "ticker_batch", "heartbeat", "status"]);
    assert_eq!(first[1]["asks"], json!([["1000", "0.75"]]));
    assert_eq!((&first[2]["maker_order_id"], &first[2]["side"]), (&resting["id"], &json!("sell")));
    assert_eq!((&first[3]["side"], &first[3]["trade_id"]), (&json!("buy"), &json!(1)));
    let beat = feed.until("heartbeat").await;
    assert_eq!((&beat["last_trade_id"], &beat["sequence"]), (&json!(1), &first[1]["sequence"]));
    let status = feed.until("status").await;
    assert_eq!(status["products"][0]["type"], "spot");
    assert!(status["currencies"][0]["funding_account_id"].is_string());

    place(&mut server.client(&bob.token), json!({"side": "buy", "price": "1000", "size": "0.25"}));
    let mut seen = BTreeMap::new();
    while seen.len() < 3 {
        let message = feed.next().await.unwrap();
        let kind = message["type"].as_str().unwrap().to_owned();
        if ["match", "ticker", "l2update"].contains(&kind.as_str()) {
            assert!(seen.insert(kind, message).is_none(), "told twice");
        }
    }
    assert_eq!(seen["l2update"]["changes"], json!([["sell", "1000", "0.5"]]));
    assert_eq!((&seen["ticker"]["side"], &seen["match"]["side"]), (&json!("buy"), &json!("sell")));

    // A bad product or channel refuses the whole message.
    for (channels, products, reason) in [
        (json!(["level2", "nope"]), json!([PRODUCT]), "nope is not a valid channel"),
        (json!(["full"]), json!([PRODUCT, "NO-NO"]), "NO-NO is not a valid product"),
        (json!(["user"]), json!([PRODUCT]), "user channel requires authentication"),
        (json!([]), json!([PRODUCT]), "No channels provided"),
    ] {
        feed.send(json!({"type": "subscribe", "product_ids": products, "channels": channels})).await;
        let error = feed.until("error").await;
        assert_eq!((&error["message"], &error["reason"]), (&json!("Failed to subscribe"), &json!(reason)));
    }
    let signed = json!({"key": "k", "passphrase": "p", "timestamp": 1795341737.12, "signature": "s"});
    feed.subscribe(json!(["user"]), signed).await;
    let error = feed.until("error").await;
    assert_eq!(error["message"], "Authentication Failed");
    assert!(serde_json::from_str::<Value>(error["reason"].as_str().unwrap()).unwrap()["message"].is_string());
    feed.send(json!({"type": "unsubscribe", "channels": ["matches", "level2_batch", "status", "ticker_batch"]})).await;
    assert_eq!(names(&feed.until("subscriptions").await), ["ticker", "heartbeat"]);
    feed.send(json!({"type": "unsubscribe", "product_ids": [PRODUCT], "channels": ["ticker", "heartbeat"]})).await;
    assert_eq!(feed.until("subscriptions").await["channels"], json!([]));
}

/// Random orders and cancels of one user until told to stop.
fn trade(mut client: Client, seed: u64, stop: Arc<AtomicBool>) {
    let mut rng = Rng(seed);
    let mut open: Vec<String> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if open.len() > 30 || (rng.one_in(3) && !open.is_empty()) {
            let id = open.swap_remove(rng.below(open.len() as u64) as usize);
            client.send("DELETE", &format!("/orders/{id}"), b"").unwrap();
            continue;
        }
        let (side, price) = if rng.one_in(2) { ("buy", 990 + rng.below(15)) } else { ("sell", 996 + rng.below(15)) };
        let size = format!("0.00{}", 10 + rng.below(80));
        let kind = if rng.one_in(8) {
            json!({"time_in_force": "IOC"})
        } else {
            json!({"stp": *rng.pick(&["dc", "co", "cn", "cb"])})
        };
        let mut order = json!({"product_id": PRODUCT, "side": side, "price": price.to_string(), "size": size});
        order.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        let answer = client.send("POST", "/orders", order.to_string().as_bytes()).unwrap();
        if answer.status == 200 && answer.json()["status"] == "open" {
            open.push(answer.json()["id"].as_str().unwrap().to_owned());
        }
    }
}

/// A level-3 book that is rebuilt from a REST answer and the full channel.
#[derive(Default)]
struct Book {
    sequence: u64,
    /// By order: side, price, size in millionths.
    orders: BTreeMap<String, (String, String, u64)>,
}

fn millionths(value: &Value) -> u64 {
    let text = value.as_str().unwrap();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<6}").parse().unwrap()
}

impl Book {
    fn from_rest(client: &mut Client) -> Book {
        let answer = client.get(&format!("/products/{PRODUCT}/book?level=3"));
        let mut book = Book { sequence: answer["sequence"].as_u64().unwrap(), ..Book::default() };
        for (side, key) in [("buy", "bids"), ("sell", "asks")] {
            for row in answer[key].as_array().unwrap() {
                let id = row[2].as_str().unwrap().to_owned();
                book.orders.insert(id, (side.into(), row[0].as_str().unwrap().into(), millionths(&row[1])));
            }
        }
        book
    }

    fn fold(&mut self, message: &Value) {
        let Some(kind @ ("received" | "open" | "match" | "change" | "done")) = message["type"].as_str() else { return };
        let sequence = message["sequence"].as_u64().unwrap();
        if sequence <= self.sequence {
            return;
        }
        assert_eq!(sequence, self.sequence + 1, "a gap or a repeat at {message}");
        self.sequence = sequence;
        let id = |key: &str| message[key].as_str().unwrap().to_owned();
        match kind {
            "open" => {
                let (side, price) = (id("side"), id("price"));
                self.orders.insert(id("order_id"), (side, price, millionths(&message["remaining_size"])));
            }
            "match" => {
                let maker = self.orders.get_mut(&id("maker_order_id")).expect("the maker rests");
                maker.2 -= millionths(&message["size"]);
            }
            "change" => {
                if let Some(order) = self.orders.get_mut(&id("order_id")) {
                    order.2 = millionths(&message["new_size"]);
                }
            }
            "done" => drop(self.orders.remove(&id("order_id"))),
            _ => {}
        }
    }

    /// Level 2: side and price with the sum of sizes.
    fn levels(&self) -> BTreeMap<(String, String), u64> {
        let mut levels = BTreeMap::new();
        for (side, price, size) in self.orders.values() {
            *levels.entry((side.clone(), price.clone())).or_default() += size;
        }
        levels
    }
}

type Levels = BTreeMap<(String, String), u64>;

/// A level-2 book that is rebuilt from snapshot and changes, across random disconnects, until told to stop; what it was
/// after each message, by sequence.
async fn follow_levels(address: SocketAddr, seed: u64, until: Rc<Cell<u64>>) -> (Vec<(u64, Levels)>, usize) {
    let mut rng = Rng(seed);
    let (mut seen, mut levels, mut disconnects, mut quiet) = (Vec::new(), Levels::new(), 0, 0);
    let mut feed = Feed::open(address).await;
    feed.subscribe(json!(["level2", "heartbeat"]), json!({})).await;
    loop {
        let message = feed.next().await.expect("the feed ended");
        match message["type"].as_str() {
            Some("snapshot") => {
                levels.clear();
                for (side, key) in [("buy", "bids"), ("sell", "asks")] {
                    for row in message[key].as_array().unwrap() {
                        let key = (side.to_owned(), row[0].as_str().unwrap().to_owned());
                        assert!(levels.insert(key, millionths(&row[1])).is_none(), "a price twice: {message}");
                    }
                }
            }
            Some("l2update") => {
                for row in message["changes"].as_array().unwrap() {
                    let key = (row[0].as_str().unwrap().to_owned(), row[1].as_str().unwrap().to_owned());
                    match millionths(&row[2]) {
                        0 => drop(levels.remove(&key)),
                        size => drop(levels.insert(key, size)),
                    }
                }
            }
            // The market rests: after a second such heartbeat nothing is on its way any more.
            Some("heartbeat") if message["sequence"].as_u64().unwrap() >= until.get() => {
                quiet += 1;
                if quiet == 2 {
                    return (seen, disconnects);
                }
                continue;
            }
            _ => continue,
        }
        seen.push((message["sequence"].as_u64().unwrap(), levels.clone()));
        if rng.one_in(150) && until.get() == u64::MAX {
            drop(feed);
            disconnects += 1;
            tokio::time::sleep(Duration::from_millis(rng.below(100))).await;
            feed = Feed::open(address).await;
            feed.subscribe(json!(["level2", "heartbeat"]), json!({})).await;
        }
    }
}

#[actix_rt::test]
async fn books_rebuilt_across_disconnects_equal_the_servers() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let stop = Arc::new(AtomicBool::new(false));
    let traders: Vec<_> = (0..3)
        .map(|n| {
            let (client, stop) = (Client::sign_up(&server, &format!("trader{n}@example.org")), stop.clone());
            std::thread::spawn(move || trade(client, 0xfeed + n, stop))
        })
        .collect();
    let mut rest = server.client("");
    let mut rng = Rng(0x5eed);

    let mut feed = Feed::open(server.address).await;
    feed.subscribe(json!(["full", "heartbeat"]), json!({})).await;
    feed.until("subscriptions").await;
    let mut book = Book::from_rest(&mut rest);
    let begin = book.sequence;
    let until = Rc::new(Cell::new(u64::MAX));
    let followers: Vec<_> =
        (0..2).map(|n| actix_rt::spawn(follow_levels(server.address, 0x12 + n, until.clone()))).collect();
    let mut history = BTreeMap::from([(book.sequence, book.levels())]);
    let mut reconnects = 0;
    while book.sequence < 3_000 {
        let message = feed.next().await.expect("the feed ended");
        if message["type"] == "heartbeat" || message["type"] == "subscriptions" {
            continue;
        }
        book.fold(&message);
        history.insert(book.sequence, book.levels());
        feed.full = message["sequence"].as_u64();
        if rng.one_in(400) {
            // Away for a while; some of what is missed is in memory, what is older in the archive.
            drop(feed);
            reconnects += 1;
            tokio::time::sleep(Duration::from_millis(rng.below(300))).await;
            feed = Feed::open(server.address).await;
            let resumed =
                json!([{"name": "full", "product_ids": [PRODUCT], "resume_from": book.sequence}, "heartbeat"]);
            feed.subscribe(resumed, json!({})).await;
        }
        if rng.one_in(500) {
            // The server's own book in between: every order, at the same sequence.
            let served = Book::from_rest(&mut rest);
            while book.sequence < served.sequence {
                book.fold(&feed.next().await.expect("the feed ended"));
                history.insert(book.sequence, book.levels());
                feed.full = Some(book.sequence);
            }
            if book.sequence == served.sequence {
                assert_eq!(book.orders, served.orders, "at {}", book.sequence);
            }
        }
    }
    assert!(reconnects > 0);
    stop.store(true, Ordering::Relaxed);
    traders.into_iter().for_each(|trader| trader.join().unwrap());
    let last = Book::from_rest(&mut rest);
    while book.sequence < last.sequence {
        book.fold(&feed.next().await.expect("the feed ended"));
        history.insert(book.sequence, book.levels());
    }
    assert_eq!(book.orders, last.orders);
    until.set(last.sequence);

    let mut compared = 0;
    for follower in followers {
        let (seen, disconnects) = follower.await.unwrap();
        assert!(disconnects > 0);
        for (sequence, levels) in seen.iter().filter(|(sequence, _)| *sequence >= begin) {
            assert_eq!(levels, &history[sequence], "at {sequence}");
            compared += 1;
        }
        assert_eq!(seen.last().unwrap().1, last.levels());
    }
    assert!(compared > 500, "only {compared} books were compared");
    let rest_levels = rest.get(&format!("/products/{PRODUCT}/book?level=2"));
    let mut shown = BTreeMap::new();
    for (side, key) in [("buy", "bids"), ("sell", "asks")] {
        for row in rest_levels[key].as_array().unwrap() {
            shown.insert((side.to_owned(), row[0].as_str().unwrap().to_owned()), millionths(&row[1]));
        }
    }
    assert_eq!(last.levels(), shown);
    // From the very beginning: nothing of this is in memory for ever, all of it is in the archive.
    let mut whole = Feed::open(server.address).await;
    whole.subscribe(json!([{"name": "full", "resume_from": 0}]), json!({"product_ids": [PRODUCT]})).await;
    let mut replayed = Book::default();
    while replayed.sequence < last.sequence {
        replayed.fold(&whole.next().await.expect("the feed ended"));
    }
    assert_eq!(replayed.orders, last.orders);
}
