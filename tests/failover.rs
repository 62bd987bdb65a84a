//! Two real nodes, one broker, one database: whoever is killed or frozen, the other goes on, and nothing that was
//! acknowledged is lost, doubled or contradicted.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "model/rng.rs"]
mod rng;
mod server;
mod servers;
#[allow(dead_code, reason = "not everything is needed here")]
mod traders;

use lapin::options::{BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use rng::Rng;
use serde_json::Value;
use server::{Client, Server};
use servers::{Postgres, RabbitMq};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use traders::{Placed, USERS, check_orders, check_sums, trade};

/// How long anything may take before the test gives it up. The limits that matter are printed, not asserted: this
/// machine may be busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

struct Cluster {
    broker: RabbitMq,
    database: Postgres,
    folders: [TempDir; 2],
    nodes: [Option<Server>; 2],
}

impl Cluster {
    fn start() -> Cluster {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mut cluster =
            Cluster { broker: RabbitMq::start(), database: Postgres::start(), folders, nodes: [None, None] };
        cluster.start_node(0);
        // All nodes of a venue sign their tokens with the same key.
        let [first, second] = cluster.folders.each_ref().map(|folder| folder.path().join("keys"));
        std::fs::create_dir_all(&second).unwrap();
        for file in std::fs::read_dir(&first).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), second.join(file.file_name())).unwrap();
        }
        cluster.start_node(1);
        cluster
    }

    fn start_node(&mut self, index: usize) {
        let (number, broker, database) = ((index + 1).to_string(), self.broker.url(), self.database.url());
        let arguments = ["--rabbitmq", &broker, "--database", &database, "--node", &number];
        self.nodes[index] = Some(Server::start_with(self.folders[index].path(), &arguments));
    }

    fn node(&self, index: usize) -> &Server {
        self.nodes[index].as_ref().unwrap()
    }

    /// Waits until one node is active; which.
    fn active(&self) -> usize {
        wait_for("an active node", || {
            let running = self.nodes.iter().enumerate().filter_map(|(index, node)| Some((index, node.as_ref()?)));
            running.map(|(index, node)| (index, ready(node))).find(|(_, ready)| ready["role"] == "active")
        })
        .0
    }

    fn signal(&self, index: usize, signal: &str) {
        let id = self.node(index).process.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    fn kill(&mut self, index: usize) {
        self.nodes[index] = None;
    }

    /// Waits until both nodes have read the same and their state was compared.
    fn agree(&self) {
        wait_for("equal states", || {
            let both = [0, 1].map(|index| ready(self.node(index)));
            let compared = both.iter().all(|ready| ready["hashes_compared"].as_u64() > Some(0));
            let different = both.iter().any(|ready| ready["hashes_different"].as_u64() != Some(0));
            assert!(!different, "the nodes have different states: {both:?}");
            compared.then_some(())
        });
    }
}

/// What `/health/ready` says; `null` when nothing answers.
fn ready(node: &Server) -> Value {
    let request = b"GET /health/ready HTTP/1.1\r\nHost: agora\r\nConnection: close\r\n\r\n";
    node.client("").send_raw(request).map(|answer| answer.json()["cluster"].clone()).unwrap_or_default()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Trading {
    enough: Arc<AtomicBool>,
    users: Vec<JoinHandle<Vec<Placed>>>,
}

/// Every user trades at the node that `at` gives.
fn begin_trading(tokens: &[String], seed: u64, at: impl Fn(usize) -> std::net::SocketAddr) -> Trading {
    let enough = Arc::new(AtomicBool::new(false));
    let users = tokens.iter().enumerate().map(|(index, token)| {
        let (client, enough) = (Client::at(at(index), token), enough.clone());
        let rng = Rng(seed * 100 + index as u64);
        std::thread::spawn(move || trade(client, rng, "BTC-USDT", Duration::from_millis(3), &enough))
    });
    let users = users.collect();
    Trading { enough, users }
}

impl Trading {
    fn end(self) -> Vec<Vec<Placed>> {
        self.enough.store(true, Ordering::Relaxed);
        self.users.into_iter().map(|user| user.join().unwrap()).collect()
    }
}

/// How long it takes until an order is acknowledged at this address.
fn first_acknowledgement(address: std::net::SocketAddr, token: &str, seed: u64) -> (Duration, Vec<Placed>) {
    let begun = Instant::now();
    let mut rng = Rng(seed);
    let mut all = Vec::new();
    loop {
        let enough = Arc::new(AtomicBool::new(false));
        let (client, rng) = (Client::at(address, token), Rng(rng.next()));
        let user = {
            let enough = enough.clone();
            std::thread::spawn(move || trade(client, rng, "BTC-USDT", Duration::from_millis(1), &enough))
        };
        std::thread::sleep(Duration::from_millis(50));
        enough.store(true, Ordering::Relaxed);
        let placed = user.join().unwrap();
        let acknowledged = placed.iter().any(|order| matches!(order.outcome, traders::Outcome::Accepted(_)));
        all.extend(placed);
        if acknowledged {
            return (begun.elapsed(), all);
        }
        assert!(begun.elapsed() < PATIENCE, "no order is acknowledged");
    }
}

fn add(all: &mut [Vec<Placed>], more: Vec<Vec<Placed>>) {
    for (all, more) in all.iter_mut().zip(more) {
        all.extend(more);
    }
}

#[test]
fn whoever_is_killed_or_frozen_the_other_goes_on() {
    let seed = std::env::var("AGORA_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let rounds = std::env::var("AGORA_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(1);
    println!("AGORA_TEST_SEED={seed} AGORA_TEST_KILLS={rounds}");
    let mut random = Rng(seed);
    let mut cluster = Cluster::start();
    let first = cluster.active();
    let events = Events::bind(&cluster.broker.url());
    let tokens: Vec<String> = (0..USERS)
        // Half of them sign up at the node that is not active.
        .map(|user| Client::sign_up(cluster.node((first + user) % 2), &format!("user{user}@example.org")).token)
        .collect();
    let mut placed: Vec<Vec<Placed>> = (0..USERS).map(|_| Vec::new()).collect();
    for round in 0..rounds {
        // kill -9 of the active node, while half of the users trade at it and half at the other.
        let active = cluster.active();
        let standby = 1 - active;
        let addresses = [0, 1].map(|index| cluster.node(index).address);
        let trading = begin_trading(&tokens, seed + round, |user| addresses[user % 2]);
        std::thread::sleep(Duration::from_millis(random.within(800, 2_000)));
        cluster.kill(active);
        let (gap, more) = first_acknowledgement(addresses[standby], &tokens[0], seed * 1_000 + round);
        println!("kill -9: an order was acknowledged {gap:?} later");
        placed[0].extend(more);
        std::thread::sleep(Duration::from_millis(500));
        add(&mut placed, trading.end());
        cluster.start_node(active);
        cluster.agree();

        // The active node is frozen; when it wakes up it must notice that it is not active any more.
        let active = cluster.active();
        let standby = 1 - active;
        let addresses = [0, 1].map(|index| cluster.node(index).address);
        let trading = begin_trading(&tokens, seed + round + 50, |user| addresses[user % 2]);
        std::thread::sleep(Duration::from_millis(random.within(500, 1_500)));
        cluster.signal(active, "STOP");
        let (gap, more) = first_acknowledgement(addresses[standby], &tokens[0], seed * 2_000 + round);
        println!("SIGSTOP: an order was acknowledged {gap:?} later");
        placed[0].extend(more);
        std::thread::sleep(Duration::from_millis(300));
        cluster.signal(active, "CONT");
        wait_for("the old node to step down", || (ready(cluster.node(active))["role"] == "standby").then_some(()));
        std::thread::sleep(Duration::from_millis(300));
        add(&mut placed, trading.end());
    }

    // The standby is lost: whoever trades at the active node does not notice.
    let active = cluster.active();
    let address = cluster.node(active).address;
    let trading = begin_trading(&tokens, seed + 70, |_| address);
    std::thread::sleep(Duration::from_millis(300));
    cluster.kill(1 - active);
    std::thread::sleep(Duration::from_millis(500));
    let more = trading.end();
    for order in more.iter().flatten() {
        assert!(!matches!(order.outcome, traders::Outcome::Unknown), "an order was disturbed by a lost standby");
    }
    add(&mut placed, more);
    cluster.start_node(1 - active);

    // The broker is restarted: writes pause and go on by themselves.
    let addresses = [0, 1].map(|index| cluster.node(index).address);
    let trading = begin_trading(&tokens, seed + 99, |user| addresses[user % 2]);
    std::thread::sleep(Duration::from_millis(700));
    cluster.broker.kill();
    std::thread::sleep(Duration::from_millis(1_500));
    let refused = cluster.node(0).client(&tokens[1]).send("DELETE", "/orders", b"").unwrap();
    assert_eq!(refused.status, 503, "{}", refused.json());
    assert!(refused.header("retry-after").is_some());
    assert_eq!(cluster.node(0).client(&tokens[1]).send("GET", "/accounts", b"").unwrap().status, 200);
    cluster.broker.restart();
    let (gap, more) = first_acknowledgement(addresses[0], &tokens[0], seed * 3_000);
    println!("broker restart: an order was acknowledged {gap:?} after it was back");
    placed[0].extend(more);
    std::thread::sleep(Duration::from_millis(500));
    add(&mut placed, trading.end());

    cluster.agree();
    println!("orders: {:?}", placed.iter().map(Vec::len).collect::<Vec<_>>());
    let accepted =
        placed.iter().flatten().filter(|order| matches!(order.outcome, traders::Outcome::Accepted(_))).count();
    assert!(accepted > 50, "only {accepted} orders were accepted");
    // Every promise is kept, at whichever node one asks.
    for (user, (token, placed)) in tokens.iter().zip(&mut placed).enumerate() {
        check_orders(&mut cluster.node(user % 2).client(token), placed);
    }
    for node in [0, 1] {
        let clients = tokens.iter().map(|token| cluster.node(node).client(token)).collect();
        wait_for_rows(cluster.node(node), &tokens[0]);
        check_sums(clients, &placed);
    }
    let promised = placed.iter().flatten().filter_map(|order| match &order.outcome {
        traders::Outcome::Accepted(id) => Some(id.clone()),
        _ => None,
    });
    events.check(promised.collect());

    // The log at the broker, replayed from its first batch, agrees with snapshots and database.
    let (broker, database) = (cluster.broker.url(), cluster.database.url());
    for folder in &cluster.folders {
        let mut verify = server::agora(&["verify", "--rabbitmq", &broker, "--database", &database], folder.path());
        let output = verify.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("no divergence"), "{}: {said}", output.status);
        println!("{said}");
    }
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

    /// Every accepted order was told of, in the order of the log; what came twice is the same.
    fn check(&self, mut promised: BTreeSet<String>) {
        let mut seen: HashMap<String, Vec<u8>> = HashMap::new();
        let mut newest: HashMap<String, (u64, u64)> = HashMap::new();
        let begun = Instant::now();
        self.at_the_broker(async |channel| {
            while !promised.is_empty() {
                assert!(begun.elapsed() < PATIENCE, "{} orders were never told of", promised.len());
                let options = BasicGetOptions { no_ack: true };
                let Some(message) = channel.basic_get(Self::QUEUE.into(), options).await.unwrap() else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let event: Value = serde_json::from_slice(&message.delivery.data).unwrap();
                let id = event["id"].as_str().unwrap().to_string();
                if let Some(before) = seen.insert(id.clone(), message.delivery.data.clone()) {
                    assert_eq!(before, message.delivery.data, "a repeat says something else");
                } else if event["type"] != "ledger" {
                    let mut parts = id.split('/');
                    let stream = parts.next().unwrap().to_string();
                    let place = [(); 2].map(|()| parts.next().unwrap().parse().unwrap());
                    let before = newest.insert(stream, (place[0], place[1]));
                    assert!(before < Some((place[0], place[1])), "{id} came after {before:?}");
                }
                if event["type"] == "accepted" {
                    promised.remove(event["order_id"].as_str().unwrap());
                }
            }
        });
        println!("events: {}", seen.len());
    }
}

/// Older orders are in the database only, which follows a moment later.
fn wait_for_rows(node: &Server, _: &str) {
    let figure = |text: &str, name: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'))?;
        line.split(' ').nth(1)?.parse().ok()
    };
    wait_for("the rows", || {
        let request = b"GET /metrics HTTP/1.1\r\nHost: agora\r\nConnection: close\r\n\r\n";
        let answer = node.client("").send_raw(request).ok()?;
        let text = String::from_utf8(answer.body).ok()?;
        (figure(&text, "agora_projected_position ")? >= figure(&text, "agora_log_position ")?).then_some(())
    });
}
