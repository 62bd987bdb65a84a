//! A hundred panics in every kind of actor while users trade: nothing that was acknowledged is lost or doubled, who was
//! not meant is not disturbed, and whoever listens to the feed misses nothing.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "server/feed.rs"]
mod feed;
#[path = "model/rng.rs"]
mod rng;
mod server;
mod traders;

use agora::http::ids;
use feed::{Feed, Followed, levels_of};
use rng::Rng;
use serde_json::{Value, json};
use server::{Client, Server};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use traders::{USERS, check_orders, check_sums, terminate, trade, verify};

/// The user who falls silent again and again.
const SILENT: usize = USERS - 1;
/// The markets that are traded; the third one is not, and must not notice anything.
const MARKETS: [&str; 2] = ["BTC-USDT", "ETH-USDT"];

fn escaped(path: &str) -> String {
    path.replace(' ', "%20")
}

fn crash(admin: &mut Client, path: &str, kind: &str, for_ms: u64) -> u16 {
    let body = json!({"kind": kind, "for_ms": for_ms}).to_string();
    admin.send("POST", &format!("/admin/tree/{}/crash", escaped(path)), body.as_bytes()).unwrap().status
}

fn node(tree: &Value, path: &str) -> Value {
    tree.as_array()
        .unwrap()
        .iter()
        .find(|node| node["path"] == path)
        .unwrap_or_else(|| panic!("{path}: {tree}"))
        .clone()
}

/// Waits until a condition on the tree holds.
fn until(admin: &mut Client, what: &str, mut holds: impl FnMut(&Value) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let tree = admin.get("/admin/tree");
        if holds(&tree) {
            return;
        }
        assert!(Instant::now() < deadline, "{what} does not come true: {tree}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn until_all_run(admin: &mut Client) {
    until(admin, "every actor runs", |tree| tree.as_array().unwrap().iter().all(|node| node["state"] == "running"));
}

/// Follows both markets' books and trades, until a message tells of `last` (by market).
fn follow(server: &Server, enough: Arc<AtomicBool>) -> JoinHandle<[Followed; 2]> {
    let mut feed = Feed::connect(server.address);
    feed.subscribe(&["level2", "matches", "heartbeat"], &MARKETS, "");
    std::thread::spawn(move || {
        let mut followed = [Followed::default(), Followed::default()];
        let mut quiet = [0; 2];
        // A heartbeat that names the same sequence twice after the end: nothing is on its way any more.
        while !(enough.load(Ordering::Relaxed) && quiet.iter().all(|beats| *beats >= 2)) {
            let message = feed.next().unwrap_or_else(|reason| panic!("the feed was closed: {reason}"));
            let Some(market) = MARKETS.iter().position(|symbol| message["product_id"] == *symbol) else { continue };
            let before = followed[market].sequence;
            followed[market].take(&message);
            if followed[market].sequence != before {
                quiet[market] = 0;
            } else if message["type"] == "heartbeat" && enough.load(Ordering::Relaxed) {
                quiet[market] += 1;
            }
        }
        followed
    })
}

/// A user's dead man's switch.
struct Switch {
    feed: Feed,
    token: String,
}

impl Switch {
    fn arm(&mut self, timeout_ms: u64) {
        let message = json!({"type": "cancel_all_after", "token": self.token, "timeout_ms": timeout_ms});
        self.feed.send_text(&message.to_string());
        let answer = self.feed.next().unwrap_or_else(|reason| panic!("the connection was closed: {reason}"));
        assert_eq!(answer["type"], "cancel_all_after", "{answer}");
    }
}

/// Arms a switch again and again, each time after it has fired: so the user's actor is at work.
fn fall_silent(mut switch: Switch, enough: Arc<AtomicBool>) -> JoinHandle<Switch> {
    std::thread::spawn(move || {
        while !enough.load(Ordering::Relaxed) {
            switch.arm(10);
            std::thread::sleep(Duration::from_millis(40));
        }
        switch
    })
}

/// After all the panics the switch does what it is for, and leaves nothing under way.
fn fall_silent_for_good(mut switch: Switch, client: &mut Client) {
    switch.arm(10);
    let begun = Instant::now();
    loop {
        let open = client.send("GET", "/orders?status=open", b"").unwrap();
        if open.status == 200 && open.json() == json!([]) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "orders stay open: {}", open.json());
        std::thread::sleep(Duration::from_millis(20));
    }
    switch.arm(3_600_000);
    switch.arm(0);
}

/// `AGORA_PANICS` and `AGORA_PANIC_SEED` override how many, and which random numbers.
#[test]
fn a_hundred_panics_lose_nothing_and_leave_the_others_alone() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("AGORA_PANIC_SEED").unwrap_or_else(clock);
    let panics = number("AGORA_PANICS").unwrap_or(100);
    println!("AGORA_PANIC_SEED={seed}");
    let mut rng = Rng(seed);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    Client::create_admin(data);
    // Far more crashes than an actor may have otherwise.
    let lenient = [
        "--allow-drills",
        "--supervision-restarts",
        "1000",
        "--supervision-within-s",
        "1",
        "--checkpoint-every-s",
        "1",
    ];
    let server = Server::start_with(data, &lenient);
    let mut admin = Client::admin(&server);
    let users: Vec<_> = (0..USERS).map(|user| Client::sign_up(&server, &format!("user{user}@example.org"))).collect();
    let tokens: Vec<_> = users.iter().map(|user| user.token.clone()).collect();

    let (enough, followed_enough) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let reader = follow(&server, followed_enough.clone());
    let mut private = Feed::connect(server.address);
    private.subscribe(&["user"], &MARKETS, &tokens[0]);
    let listener = std::thread::spawn(move || {
        let mut trades = BTreeSet::new();
        // Until the server ends.
        while let Ok(message) = private.next() {
            if message["type"] == "match" {
                let trade =
                    (message["product_id"].as_str().unwrap().to_string(), message["trade_id"].as_u64().unwrap());
                assert!(trades.insert(trade.clone()), "{trade:?} came twice");
            }
        }
        trades
    });
    let switch = Switch { feed: Feed::connect(server.address), token: tokens[SILENT].clone() };
    let silent = fall_silent(switch, enough.clone());
    let traders: Vec<_> = tokens
        .iter()
        .enumerate()
        .map(|(user, token)| {
            let (client, rng, enough) = (server.client(token), Rng(rng.next()), enough.clone());
            std::thread::spawn(move || trade(client, rng, MARKETS[user % 2], Duration::from_millis(12), &enough))
        })
        .collect();

    let venue = |name: &str| format!("agora/trading/venue/{name}");
    let own = server.client(&tokens[SILENT]).get("/auth/me")["id"].as_str().unwrap().parse().unwrap();
    let account = format!("accounts/{}", ids::parse_user(own).unwrap().0);
    let mut targets: Vec<String> = vec![venue("ledger"), "agora/projector".into(), account.clone()];
    for market in MARKETS {
        targets.push(venue(&format!("order book {market}")));
        targets.push(venue(&format!("market data {market}")));
    }
    for round in 0..panics {
        std::thread::sleep(Duration::from_millis(rng.within(20, 120)));
        // The log takes everything that trades down with it, so it comes less often.
        let others = &targets[rng.below(targets.len() as u64) as usize];
        let target = if round % 20 == 19 { "agora/trading/event log" } else { others.as_str() };
        let kind = rng.pick(&["panic", "panic_at_work", "panic_at_work"]);
        // Where the last one was, or the log took it down, nothing may run yet.
        let status = crash(&mut admin, target, kind, 0);
        assert!([202, 404].contains(&status), "{target}: {status}");
    }
    std::thread::sleep(Duration::from_millis(200));
    enough.store(true, Ordering::Relaxed);
    let mut placed: Vec<_> = traders.into_iter().map(|trader| trader.join().unwrap()).collect();
    until_all_run(&mut admin);
    fall_silent_for_good(silent.join().unwrap(), &mut server.client(&tokens[SILENT]));
    followed_enough.store(true, Ordering::Relaxed);
    let followed = reader.join().unwrap();

    let orders: usize = placed.iter().map(Vec::len).sum();
    println!("{panics} drills, {orders} orders, {} trades seen", followed.iter().map(|book| book.trades).sum::<u64>());
    assert!(orders > 100);
    for (market, book) in MARKETS.iter().zip(&followed) {
        let now = admin.get(&format!("/products/{market}/book?level=2"));
        // Events that move no level and trade nothing have a sequence, but no message on these channels.
        assert!(now["sequence"].as_u64().unwrap() >= book.sequence, "{market}");
        let asked: Vec<_> = levels_of(&now);
        assert_eq!(book.levels(), asked, "the book that a reader kept is not the book of {market}");
    }
    let connect = || tokens.iter().map(|token| server.client(token)).collect::<Vec<_>>();
    for (client, placed) in connect().iter_mut().zip(&mut placed) {
        check_orders(client, placed);
    }
    check_sums(connect(), &placed);

    let metrics = server.client("").metrics();
    let figure = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        line.unwrap_or_else(|| panic!("{name} is no metric: {metrics}"))
    };
    println!("{} promotions", figure("agora_twin_promotions_total"));
    assert!(figure("agora_twin_promotions_total") > 0 && figure("agora_twin_comparisons_total") > 0);
    assert_eq!(figure("agora_twin_divergences_total"), 0, "a twin differs from its primary");
    assert!(figure("agora_order_acknowledged_seconds_count") > 100);
    let tree = server.client(&admin.token).get("/admin/tree");
    for alone in ["order book ETH-BTC", "market data ETH-BTC"] {
        assert_eq!(node(&tree, &venue(alone))["crashes"], 0, "{alone} was disturbed: {tree}");
    }
    println!("{} panics of {account}", figure("agora_account_crashes_total"));
    assert_ne!(figure("agora_account_crashes_total"), 0, "{account} was never hit");
    for target in targets.iter().filter(|target| **target != account) {
        assert_ne!(node(&tree, target)["crashes"], 0, "{target} was never hit");
    }
    for twin in ["ledger", "order book BTC-USDT", "order book ETH-USDT", "order book ETH-BTC"] {
        assert_eq!(node(&tree, &format!("agora/trading/twins/{twin}"))["crashes"], 0, "the twin of {twin}: {tree}");
    }
    let mut own = BTreeSet::new();
    for market in MARKETS {
        let fills = server.client(&tokens[0]).get(&format!("/fills?product_id={market}&limit=1000"));
        let trade = |fill: &Value| (market.to_string(), fill["trade_id"].as_u64().unwrap());
        own.extend(fills.as_array().unwrap().iter().map(trade));
    }
    assert!(terminate(server).success());
    verify(data);
    let heard = listener.join().unwrap();
    assert!(own.len() < 1_000 && !own.is_empty());
    let missed: Vec<_> = own.difference(&heard).collect();
    assert!(missed.is_empty(), "the private feed missed {missed:?}");
}

#[test]
fn drills_are_for_administrators_of_servers_that_allow_them() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start(folder.path());
    let mut admin = Client::admin(&server);
    let mut user = Client::sign_up(&server, "user@example.org");
    assert_eq!(crash(&mut admin, "agora/projector", "panic", 0), 403);
    assert_eq!(crash(&mut user, "agora/projector", "panic", 0), 403);
    for path in ["/admin/tree", "/admin/tree/events"] {
        assert_eq!(user.send("GET", path, b"").unwrap().status, 403);
    }
    assert_eq!(node(&admin.get("/admin/tree"), "agora/projector")["crashes"], 0);
}

#[test]
fn an_entry_that_stops_a_market_twice_halts_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start_with(folder.path(), &["--allow-drills"]);
    let mut admin = Client::admin(&server);
    let mut user = Client::sign_up(&server, "user@example.org");
    let order = |market: &str| json!({"product_id": market, "side": "buy", "price": "900", "size": "0.1"}).to_string();
    let mut place = |market: &str| user.send("POST", "/orders", order(market).as_bytes()).unwrap();
    assert_eq!(place("BTC-USDT").status, 200);
    let book = "agora/trading/venue/order book BTC-USDT";
    assert_eq!(crash(&mut admin, book, "poison", 0), 202);
    let fate = place("BTC-USDT");
    assert_eq!((fate.status, fate.json()["code"].as_str()), (503, Some("outcome_unknown")));
    until(&mut admin, "the market is faulted", |tree| node(tree, book)["state"] == "faulted");
    let reason = node(&admin.get("/admin/tree"), book)["last_crash"]["reason"].as_str().unwrap().to_string();
    assert!(reason.contains("stopped it twice"), "{reason}");

    let refused = place("BTC-USDT");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("market_faulted")));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(place("ETH-USDT").status, 200, "the other markets go on");
    let product = admin.get("/products/BTC-USDT");
    assert_eq!((product["status"].as_str(), product["trading_disabled"].as_bool()), (Some("offline"), Some(true)));
    assert!(product["status_message"].as_str().unwrap().contains("stopped it twice"));
    // A ledger that starts again does not wait for the halted market.
    assert_eq!(crash(&mut admin, "agora/trading/venue/ledger", "panic", 0), 202);
    until(&mut admin, "the ledger runs again", |tree| {
        let ledger = node(tree, "agora/trading/venue/ledger");
        ledger["crashes"] == 1 && ledger["state"] == "running"
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while place("ETH-USDT").status != 200 {
        assert!(Instant::now() < deadline, "the other markets do not go on after a crash of the ledger");
    }
    assert!(!user.get("/orders?product_id=BTC-USDT").as_array().unwrap().is_empty());

    let revive = format!("/admin/tree/{}/revive", escaped(book));
    assert_eq!(admin.send("POST", &revive, b"").unwrap().status, 503, "it is stopped by the same entry again");
    assert_eq!(crash(&mut admin, book, "cure", 0), 202);
    let revived = admin.send("POST", &revive, b"").unwrap();
    assert_eq!(revived.status, 200, "{}", revived.json());
    let deadline = Instant::now() + Duration::from_secs(20);
    while admin.get("/products/BTC-USDT")["status"] != "online" {
        assert!(Instant::now() < deadline, "the market does not come back");
    }
    assert_eq!(
        user.get("/orders?product_id=BTC-USDT").as_array().unwrap().len(),
        2,
        "its outcome was unknown, not lost"
    );
    assert!(terminate(server).success());
    verify(folder.path());
}

#[test]
fn changes_of_the_tree_are_streamed() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start_with(folder.path(), &["--allow-drills"]);
    let mut admin = Client::admin(&server);
    let mut stream = BufReader::new(TcpStream::connect(server.address).unwrap());
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head =
        format!("GET /v1/admin/tree/events HTTP/1.1\r\nHost: agora\r\nAuthorization: Bearer {}\r\n\r\n", admin.token);
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    let mut next = |name: &str| loop {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the stream has ended");
        if line.trim() == format!("event: {name}") {
            line.clear();
            stream.read_line(&mut line).unwrap();
            return serde_json::from_str::<Value>(line.trim().strip_prefix("data: ").unwrap()).unwrap();
        }
    };
    let tree = next("tree");
    assert_eq!(node(&tree, "agora/projector")["state"], "running");
    assert_eq!(crash(&mut admin, "agora/projector", "panic", 0), 202);
    let change = next("change");
    assert_eq!((change["path"].as_str(), change["state"].as_str()), (Some("agora/projector"), Some("backing-off")));
    assert!(change["reason"].as_str().unwrap().contains("a drill"), "{change}");
    while next("change")["state"] != "running" {}
}

#[test]
fn a_hang_is_noticed_and_the_twin_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start_with(folder.path(), &["--allow-drills", "--supervision-hang-after-ms", "400"]);
    let mut admin = Client::admin(&server);
    let mut user = Client::sign_up(&server, "user@example.org");
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "900", "size": "0.1"}).to_string();
    assert_eq!(user.send("POST", "/orders", order.as_bytes()).unwrap().status, 200);
    let book = "agora/trading/venue/order book BTC-USDT";
    assert_eq!(crash(&mut admin, book, "hang", 8_000), 202);
    until(&mut admin, "the hang is noticed", |tree| node(tree, book)["crashes"] != 0);
    until_all_run(&mut admin);
    let mut user = server.client(&user.token);
    let deadline = Instant::now() + Duration::from_secs(20);
    while user.send("POST", "/orders", order.as_bytes()).unwrap().status != 200 {
        assert!(Instant::now() < deadline, "no order is taken after the hang");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(user.get("/orders").as_array().unwrap().len(), 2);
    assert!(server.client(&admin.token).get("/admin/tree").to_string().contains("hung"));
}

#[test]
fn an_actor_that_crashes_too_often_ends_the_program() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let mut server = Server::start_with(folder.path(), &["--allow-drills", "--supervision-restarts", "1"]);
    let mut admin = Client::admin(&server);
    let deadline = Instant::now() + Duration::from_secs(60);
    // Two crashes are one too many for a supervisor; so are two of its own for the one above.
    let status = loop {
        if let Some(status) = server.process.try_wait().unwrap() {
            break status;
        }
        let body = json!({}).to_string();
        let _ = admin.send("POST", "/admin/tree/agora/projector/crash", body.as_bytes());
        assert!(Instant::now() < deadline, "the program goes on");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(!status.success());
}
