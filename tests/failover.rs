//! Two real nodes, one broker, one database: whoever is killed or frozen, the other goes on, and nothing that was
//! acknowledged is lost, doubled or contradicted.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod nodes;
#[path = "model/rng.rs"]
mod rng;
mod server;
mod servers;
#[allow(dead_code, reason = "not everything is needed here")]
mod traders;

use lapin::options::{BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use nodes::{
    Cluster, PATIENCE, Trading, add, begin_trading, figure, first_acknowledgement, ready, user_again, users,
    users_again, wait_for, wait_for_rows,
};
use rng::Rng;
use serde_json::{Value, json};
use server::{Client, Server, agora};
use servers::RabbitMq;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use traders::{Outcome, Placed, USERS, check_orders, check_sums};

/// How often everything is done: once, or as AGORA_TEST_KILLS says.
#[test]
fn whoever_is_killed_or_frozen_the_other_goes_on() {
    run(number("AGORA_TEST_KILLS").unwrap_or(1));
}

/// The same twenty times, at other moments: `cargo nextest run --run-ignored only --test failover`.
#[test]
#[ignore = "takes half an hour; for the nightly run"]
fn whoever_is_killed_or_frozen_the_other_goes_on_every_time() {
    run(number("AGORA_TEST_KILLS").unwrap_or(20));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What is done to the cluster while users trade.
struct Drill {
    cluster: Cluster,
    tokens: Vec<String>,
    placed: Vec<Vec<Placed>>,
    random: Rng,
    seed: u64,
    gaps: BTreeMap<&'static str, Vec<Duration>>,
}

impl Drill {
    /// Waits for a random moment.
    fn pause(&mut self, from_ms: u64, to_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.random.within(from_ms, to_ms)));
    }

    /// Everybody signs in again, as a token ends with its time, and takes back what still rests: after thousands of
    /// orders all money would be held, and every order refused for that.
    fn begin_round(&mut self) {
        self.tokens = users_again(&self.cluster, USERS);
        let active = self.cluster.active();
        for token in &self.tokens {
            let mut client = self.cluster.node(active).client(token);
            wait_for("the cancels", || (client.send("DELETE", "/orders", b"").ok()?.status == 200).then_some(()));
        }
    }

    /// Lets all users trade, half of them at each node. Each time with other orders.
    fn begin(&mut self) -> Trading {
        self.seed += 1;
        begin_trading(&self.tokens, self.seed, &self.cluster.addresses())
    }

    fn end(&mut self, trading: Trading) {
        add(&mut self.placed, trading.end());
    }

    /// Says how long it takes until a node acknowledges an order.
    fn gap(&mut self, what: &'static str, address: SocketAddr) {
        self.seed += 1;
        let (gap, more) = first_acknowledgement(address, &self.tokens[0], self.seed);
        println!("{what}: an order was acknowledged {gap:?} later");
        self.gaps.entry(what).or_default().push(gap);
        self.placed[0].extend(more);
    }

    /// kill -9 of the active node.
    fn kill_the_active(&mut self) {
        let active = self.cluster.active();
        let other = self.cluster.node(1 - active).address;
        let trading = self.begin();
        self.pause(800, 2_000);
        self.cluster.kill(active);
        self.gap("kill -9", other);
        self.pause(300, 800);
        self.end(trading);
        self.cluster.start_node(active);
        self.cluster.agree();
    }

    /// The active node is frozen; when it wakes up it must notice that it is not active any more.
    fn freeze_the_active(&mut self) {
        let active = self.cluster.active();
        let other = self.cluster.node(1 - active).address;
        let trading = self.begin();
        self.pause(500, 1_500);
        self.cluster.signal(active, "STOP");
        self.gap("SIGSTOP", other);
        self.pause(100, 500);
        self.cluster.signal(active, "CONT");
        let node = self.cluster.node(active);
        wait_for("the old node to step down", || (ready(node)["role"] == "standby").then_some(()));
        self.pause(100, 500);
        self.end(trading);
        self.cluster.agree();
    }

    /// The standby is frozen, wakes up, and is lost: whoever trades at the active node does not notice.
    fn lose_the_standby(&mut self) {
        let active = self.cluster.active();
        let address = self.cluster.node(active).address;
        self.seed += 1;
        let trading = begin_trading(&self.tokens, self.seed, &[address]);
        self.pause(200, 800);
        self.cluster.signal(1 - active, "STOP");
        self.pause(500, 4_000);
        self.cluster.signal(1 - active, "CONT");
        self.pause(200, 800);
        self.cluster.kill(1 - active);
        self.pause(300, 800);
        let more = trading.end();
        for order in more.iter().flatten() {
            assert!(!matches!(order.outcome, Outcome::Unknown), "an order was disturbed by a lost standby");
        }
        add(&mut self.placed, more);
        self.cluster.start_node(1 - active);
    }

    /// The database is restarted: nobody notices, but for history.
    fn restart_the_database(&mut self) {
        let trading = self.begin();
        self.pause(300, 1_000);
        self.cluster.database.kill();
        self.pause(500, 1_500);
        let client = &mut self.cluster.node(0).client(&self.tokens[1]);
        assert_eq!(client.send("GET", "/accounts", b"").unwrap().status, 200);
        let history = client.send("GET", "/fills?product_id=BTC-USDT", b"").unwrap();
        assert!(history.status == 200 || history.json()["code"] == "history_unavailable", "{}", history.json());
        let more = trading.end();
        for order in more.iter().flatten() {
            assert!(!matches!(order.outcome, Outcome::Unknown), "an order was disturbed by a lost database");
        }
        add(&mut self.placed, more);
        self.cluster.database.restart();
        let trading = self.begin();
        for node in self.cluster.nodes.iter().flatten() {
            wait_for("history", || {
                let answer = node.client(&self.tokens[1]).send("GET", "/fills?product_id=BTC-USDT", b"").ok()?;
                (answer.status == 200).then_some(())
            });
        }
        self.end(trading);
    }

    /// The broker is restarted: writes pause and go on by themselves.
    fn restart_the_broker(&mut self) {
        let trading = self.begin();
        self.pause(300, 1_000);
        self.cluster.brokers[0].kill();
        self.pause(1_000, 2_000);
        let client = &mut self.cluster.node(0).client(&self.tokens[1]);
        let refused = client.send("DELETE", "/orders", b"").unwrap();
        assert_eq!(refused.status, 503, "{}", refused.json());
        assert!(refused.header("retry-after").is_some());
        assert_eq!(client.send("GET", "/accounts", b"").unwrap().status, 200);
        self.cluster.brokers[0].restart();
        self.gap("broker restart", self.cluster.node(0).address);
        self.pause(300, 800);
        self.end(trading);
        self.cluster.agree();
    }
}

fn run(rounds: u64) {
    let seed = number("AGORA_TEST_SEED").unwrap_or(7);
    println!("AGORA_TEST_SEED={seed} AGORA_TEST_KILLS={rounds}");
    let cluster = Cluster::start();
    cluster.active();
    let events = Events::bind(&cluster.brokers());
    let tokens = users(&cluster, USERS);
    let placed = (0..USERS).map(|_| Vec::new()).collect();
    let mut drill = Drill { cluster, tokens, placed, random: Rng(seed), seed: seed * 1_000, gaps: BTreeMap::new() };
    for _ in 0..rounds {
        drill.begin_round();
        drill.kill_the_active();
        drill.freeze_the_active();
        drill.lose_the_standby();
        drill.restart_the_database();
        drill.restart_the_broker();
    }

    let Drill { cluster, mut placed, gaps, .. } = drill;
    for (what, mut gaps) in gaps {
        gaps.sort();
        let median = gaps[gaps.len() / 2];
        println!(
            "{what}, {} times: median {median:?}, least {:?}, most {:?}",
            gaps.len(),
            gaps[0],
            gaps[gaps.len() - 1]
        );
    }
    cluster.agree();
    println!("orders: {:?}", placed.iter().map(Vec::len).collect::<Vec<_>>());
    let accepted = placed.iter().flatten().filter(|order| matches!(order.outcome, Outcome::Accepted(_))).count();
    assert!(accepted > 50, "only {accepted} orders were accepted");
    // Every promise is kept, at whichever node one asks.
    std::thread::scope(|scope| {
        for (user, placed) in placed.iter_mut().enumerate() {
            let cluster = &cluster;
            scope.spawn(move || {
                // A hundred thousand orders take a while, and a token ends meanwhile.
                for part in placed.chunks_mut(10_000) {
                    let token = user_again(cluster, user);
                    check_orders(&mut cluster.node(user % 2).client(&token), part);
                }
            });
        }
    });
    let tokens = users_again(&cluster, USERS);
    for node in [0, 1] {
        let clients = tokens.iter().map(|token| cluster.node(node).client(token)).collect();
        wait_for_rows(cluster.node(node));
        check_sums(clients, &placed);
        assert_eq!(figure(cluster.node(node), "agora_state_hashes_different_total "), Some(0));
        assert!(figure(cluster.node(node), "agora_state_hashes_compared_total ") > Some(0));
    }
    let promised = placed.iter().flatten().filter_map(|order| match &order.outcome {
        Outcome::Accepted(id) => Some(id.clone()),
        _ => None,
    });
    events.check(promised.collect());
    // The log at the broker, replayed from its first batch, agrees with snapshots and database.
    println!("{}", cluster.verify());
}

/// Markets that are listed while both nodes run, and traded at once, open on both; the one that survives goes on with them.
#[test]
fn a_market_that_is_listed_opens_on_both_nodes() {
    const MARKETS: usize = 5;
    let mut cluster = Cluster::start();
    let active = cluster.active();
    let data = cluster.folders[active].path();
    let mut create = agora(&["admin", "create", "admin@example.org", "--database", &cluster.database.url()], data);
    assert!(create.env("AGORA_ADMIN_PASSWORD", "correct horse battery").output().unwrap().status.success());
    let mut admin = Client::admin(cluster.node(active));
    let mut user = Client::sign_up(cluster.node(active), "user@example.org");
    let post = |client: &mut Client, path: &str, body: &Value| {
        let answer = client.send("POST", path, body.to_string().as_bytes()).unwrap();
        (answer.status, answer.json())
    };
    let bid = |number: usize, price: &str| json!({"product_id": format!("C{number}-USDT"), "side": "buy", "price": price, "size": "1"});
    for number in 0..MARKETS {
        let id = format!("C{number}");
        let currency = json!({"id": id, "name": "A coin", "decimals": 8});
        assert_eq!(post(&mut admin, "/admin/currencies", &currency).0, 200);
        let market = json!({
            "base_currency": id, "quote_currency": "USDT", "base_increment": "0.001", "quote_increment": "0.01",
        });
        let (status, answer) = post(&mut admin, "/admin/markets", &market);
        assert_eq!(status, 200, "{answer}");
        // The other node may still be opening it.
        for price in ["10.00", "11.00", "12.00"] {
            let (status, answer) = post(&mut user, "/orders", &bid(number, price));
            assert_eq!(status, 200, "{answer}");
        }
    }
    let standby = 1 - active;
    let mut there = cluster.node(standby).client(&user.token);
    let hold = |client: &mut Client| {
        let accounts = client.get("/accounts");
        accounts.as_array().unwrap().iter().find(|account| account["currency"] == "USDT").unwrap()["hold"].clone()
    };
    let expected = hold(&mut user);
    wait_for("the same hold at both nodes", || (hold(&mut there) == expected).then_some(()));
    cluster.agree();
    cluster.kill(active);
    assert_eq!(cluster.active(), standby);
    for number in 0..MARKETS {
        wait_for("an order at the node that is left", || {
            let answer = there.send("POST", "/orders", bid(number, "13.00").to_string().as_bytes()).ok()?;
            (answer.status == 200).then_some(())
        });
    }
    cluster.start_node(active);
    wait_for("the other node again", || (ready(cluster.node(active))["role"] == "standby").then_some(()));
    cluster.agree();
    wait_for_rows(cluster.node(standby));
    cluster.verify();
}

/// A node takes over while the database is away and stays so for long: what needs it waits, and nothing gives up.
#[test]
fn a_node_takes_over_without_the_database() {
    let mut cluster = Cluster::start();
    let active = cluster.active();
    let token = users(&cluster, 1).remove(0);
    let mut at_active = cluster.node(active).client(&token);
    let room = br#"{"kind": "public", "name": "Hall"}"#;
    let made = wait_for("chat", || at_active.send("POST", "/chat/rooms", room).ok().filter(|made| made.status != 503));
    let messages = format!("/chat/rooms/{}/messages", made.json()["id"].as_str().unwrap());
    let mut client = cluster.node(1 - active).client(&token);

    cluster.database.kill();
    cluster.kill(active);
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.01"}).to_string();
    let mut place = || client.send("POST", "/orders", order.as_bytes()).unwrap().status;
    wait_for("the other node", || (place() == 200).then_some(()));
    // Longer than the budgets of all supervisors would last together.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(40) {
        assert_eq!(place(), 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    cluster.database.restart();
    let message = br#"{"text": "still here"}"#;
    wait_for("chat", || (client.send("POST", &messages, message).ok()?.status == 201).then_some(()));
    wait_for_rows(cluster.node(1 - active));
}

/// Somebody started two processes with one number. The one that loses it while it is frozen must not take the epochs of
/// the other one for its own when it wakes up: each would begin a newer one for ever.
#[test]
fn of_two_processes_with_one_number_one_leads() {
    let cluster = Cluster::alone(vec![RabbitMq::start()], &[]);
    cluster.active();
    let token = users(&cluster, 1).remove(0);
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::create_dir_all(&keys).unwrap();
    for file in std::fs::read_dir(cluster.folders[0].path().join("keys")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), keys.join(file.file_name())).unwrap();
    }
    let (brokers, database) = (cluster.brokers(), cluster.database.url());
    let arguments = ["--rabbitmq", &brokers, "--database", &database, "--node", "1"];
    let namesake = Server::start_with(folder.path(), &arguments);
    let becomes = |node: &Server, role: &str| wait_for(role, || (ready(node)["role"] == role).then_some(()));
    wait_for("a number that is taken", || (figure(&namesake, "agora_node_number_taken ")? == 1).then_some(()));
    becomes(&namesake, "standby");
    cluster.signal(0, "STOP");
    becomes(&namesake, "active");
    cluster.signal(0, "CONT");
    becomes(cluster.node(0), "standby");
    let mut client = namesake.client(&token);
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.02"}).to_string();
    let mut in_a_row = 0;
    wait_for("peace", || {
        let placed = client.send("POST", "/orders", order.as_bytes()).is_ok_and(|answer| answer.status == 200);
        in_a_row = if placed { in_a_row + 1 } else { 0 };
        (in_a_row == 50).then_some(())
    });
    assert_eq!((&ready(&namesake)["role"], &ready(cluster.node(0))["role"]), (&json!("active"), &json!("standby")));
    assert_eq!(figure(cluster.node(0), "agora_node_number_taken "), Some(1));
}

/// A queue of another service that is bound to everything.
struct Events {
    url: String,
}

impl Events {
    const QUEUE: &'static str = "test.events";

    fn bind(url: &str) -> Events {
        let events = Events { url: url.into() };
        events.at_the_broker(async |channel| {
            let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let kind = lapin::ExchangeKind::Topic;
            channel.exchange_declare("agora.events".into(), kind, durable, FieldTable::default()).await.unwrap();
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(Self::QUEUE.into(), durable, FieldTable::default()).await.unwrap();
            let (queue, from, all) = (Self::QUEUE.into(), "agora.events".into(), "#".into());
            channel.queue_bind(queue, from, all, QueueBindOptions::default(), FieldTable::default()).await.unwrap();
        });
        events
    }

    fn at_the_broker<T>(&self, work: impl AsyncFnOnce(lapin::Channel) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let connection = lapin::Connection::connect(&self.url, Default::default()).await.unwrap();
            work(connection.create_channel().await.unwrap()).await
        })
    }

    /// Every accepted order was told of, each key in the order of the log; what came twice is the same.
    fn check(&self, mut promised: BTreeSet<String>) {
        let mut seen: HashMap<String, Value> = HashMap::new();
        let mut newest: HashMap<(String, String), (u64, u64)> = HashMap::new();
        let begun = Instant::now();
        self.at_the_broker(async |channel| {
            while !promised.is_empty() {
                assert!(begun.elapsed() < PATIENCE, "{} orders were never told of", promised.len());
                let options = BasicGetOptions { no_ack: true };
                let Some(message) = channel.basic_get(Self::QUEUE.into(), options).await.unwrap() else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let events: Vec<Value> = serde_json::from_slice(&message.delivery.data).unwrap();
                assert_eq!(message.delivery.properties.message_id().as_ref().unwrap().as_str(), events[0]["id"]);
                for event in events {
                    let id = event["id"].as_str().unwrap().to_string();
                    if event["type"] == "accepted" {
                        promised.remove(event["order_id"].as_str().unwrap());
                    }
                    if let Some(before) = seen.insert(id.clone(), event.clone()) {
                        assert_eq!(before, event, "a repeat says something else");
                        continue;
                    }
                    let parts: Vec<&str> = id.split('/').collect();
                    let ([stream, sequence, index] | [stream, sequence, "ledger", index]) = parts[..] else {
                        panic!("{id} names no place in a stream");
                    };
                    let place = (sequence.parse().unwrap(), index.parse().unwrap());
                    let of_key = (message.delivery.routing_key.to_string(), stream.to_string());
                    let before = newest.insert(of_key, place);
                    assert!(before < Some(place), "{id} came after {before:?}");
                }
            }
        });
        println!("events: {}", seen.len());
    }
}
