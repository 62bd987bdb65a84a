//! Nodes of one venue over one log and one database, all real processes, and users who trade at them.

#![allow(dead_code, reason = "not every test needs everything")]

use crate::rng::Rng;
use crate::server::{Client, Server};
use crate::servers::{Postgres, RabbitMq};
use crate::traders::{Outcome, Placed, insist, trade};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take before a test gives it up. The limits that matter are printed, not asserted: this
/// machine may be busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Two nodes, sometimes three.
pub struct Cluster {
    pub brokers: Vec<RabbitMq>,
    pub database: Postgres,
    pub folders: Vec<TempDir>,
    pub nodes: Vec<Option<Server>>,
    /// What every node is started with.
    more: Vec<String>,
}

impl Cluster {
    /// Two nodes over one broker.
    pub fn start() -> Cluster {
        Cluster::over(vec![RabbitMq::start()], &[])
    }

    /// Two nodes over these brokers.
    pub fn over(brokers: Vec<RabbitMq>, more: &[&str]) -> Cluster {
        let mut cluster = Cluster::alone(brokers, more);
        cluster.add_node();
        cluster
    }

    /// One node.
    pub fn alone(brokers: Vec<RabbitMq>, more: &[&str]) -> Cluster {
        let more = more.iter().map(|text| (*text).to_owned()).collect();
        let mut cluster =
            Cluster { brokers, database: Postgres::start(), folders: Vec::new(), nodes: Vec::new(), more };
        cluster.add_node();
        cluster
    }

    /// Starts another node with an empty folder; which.
    pub fn add_node(&mut self) -> usize {
        let folder = tempfile::tempdir().unwrap();
        // All nodes of a venue sign their tokens with the same key.
        if let Some(first) = self.folders.first() {
            let keys = folder.path().join("keys");
            std::fs::create_dir_all(&keys).unwrap();
            for file in std::fs::read_dir(first.path().join("keys")).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), keys.join(file.file_name())).unwrap();
            }
        }
        self.folders.push(folder);
        self.nodes.push(None);
        self.start_node(self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// The addresses of all brokers.
    pub fn brokers(&self) -> String {
        self.brokers.iter().map(RabbitMq::url).collect::<Vec<_>>().join(",")
    }

    /// Starts a node that does not run.
    pub fn start_node(&mut self, index: usize) {
        let (number, brokers, database) = ((index + 1).to_string(), self.brokers(), self.database.url());
        let mut arguments = vec!["--rabbitmq", &brokers, "--database", &database, "--node", &number];
        arguments.extend(self.more.iter().map(String::as_str));
        self.nodes[index] = Some(Server::start_with(self.folders[index].path(), &arguments));
    }

    pub fn node(&self, index: usize) -> &Server {
        self.nodes[index].as_ref().unwrap()
    }

    /// The addresses of the nodes that run.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().flatten().map(|node| node.address).collect()
    }

    /// Waits until one node is active; which.
    pub fn active(&self) -> usize {
        wait_for("an active node", || {
            let running = self.nodes.iter().enumerate().filter_map(|(index, node)| Some((index, node.as_ref()?)));
            running.map(|(index, node)| (index, ready(node))).find(|(_, ready)| ready["role"] == "active")
        })
        .0
    }

    pub fn signal(&self, index: usize, signal: &str) {
        let id = self.node(index).process.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    /// kill -9.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index] = None;
    }

    /// Waits until all nodes have read the same and their state was compared.
    pub fn agree(&self) {
        let begun: Vec<u64> = self.nodes.iter().flatten().map(compared).collect();
        wait_for("equal states", || {
            let all: Vec<Value> = self.nodes.iter().flatten().map(ready).collect();
            let different = all.iter().any(|ready| ready["hashes_different"].as_u64().is_some_and(|count| count > 0));
            assert!(!different, "the nodes have different states: {all:?}");
            let newly = all.iter().zip(&begun).all(|(ready, before)| {
                let compared = ready["hashes_compared"].as_u64().unwrap_or_default();
                compared > *before || (compared > 0 && ready["lag"] == 0)
            });
            newly.then_some(())
        });
    }

    /// `agora verify` at every node's folder finds no divergence; what it said last.
    pub fn verify(&self) -> String {
        let mut said = String::new();
        for folder in &self.folders {
            let brokers = self.brokers();
            let database = self.database.url();
            let arguments = ["verify", "--rabbitmq", &brokers, "--database", &database];
            let output = crate::server::agora(&arguments, folder.path()).output().unwrap();
            said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.contains("no divergence"), "{}: {said}", output.status);
        }
        said
    }
}

fn compared(node: &Server) -> u64 {
    ready(node)["hashes_compared"].as_u64().unwrap_or_default()
}

/// What `/health/ready` says of the cluster; `null` when nothing answers.
pub fn ready(node: &Server) -> Value {
    let request = b"GET /health/ready HTTP/1.1\r\nHost: agora\r\nConnection: close\r\n\r\n";
    node.client("").send_raw(request).map(|answer| answer.json()["cluster"].clone()).unwrap_or_default()
}

/// A figure of `/metrics`.
pub fn figure(node: &Server, name: &str) -> Option<u64> {
    let request = b"GET /metrics HTTP/1.1\r\nHost: agora\r\nConnection: close\r\n\r\n";
    let answer = node.client("").send_raw(request).ok()?;
    let text = String::from_utf8(answer.body).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Older orders are in the database only, which follows a moment later.
pub fn wait_for_rows(node: &Server) {
    wait_for("the rows", || {
        (figure(node, "agora_projected_position ")? >= figure(node, "agora_log_position ")?).then_some(())
    });
}

#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Users at work.
pub struct Trading {
    enough: Arc<AtomicBool>,
    users: Vec<JoinHandle<Vec<Placed>>>,
}

/// Every user but the last trades at the node that `at` gives, and gives up when it is lost; the last one insists on
/// each of its orders, at whichever of the nodes.
pub fn begin_trading(tokens: &[String], seed: u64, at: &[SocketAddr]) -> Trading {
    let enough = Arc::new(AtomicBool::new(false));
    let last = tokens.len() - 1;
    let users = tokens.iter().enumerate().map(|(index, token)| {
        let (token, enough, at) = (token.clone(), enough.clone(), at.to_vec());
        let rng = Rng(seed * 100 + index as u64);
        let pause = Duration::from_millis(3);
        std::thread::spawn(move || {
            if index == last {
                insist(&at, &token, rng, "BTC-USDT", pause, &enough)
            } else {
                trade(Client::at(at[index % at.len()], &token), rng, "BTC-USDT", pause, &enough)
            }
        })
    });
    let users = users.collect();
    Trading { enough, users }
}

impl Trading {
    pub fn end(self) -> Vec<Vec<Placed>> {
        self.enough.store(true, Ordering::Relaxed);
        self.users.into_iter().map(|user| user.join().unwrap()).collect()
    }
}

/// How long it takes until an order is acknowledged at this address.
pub fn first_acknowledgement(address: SocketAddr, token: &str, seed: u64) -> (Duration, Vec<Placed>) {
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
        let acknowledged = placed.iter().any(|order| matches!(order.outcome, Outcome::Accepted(_)));
        let (asked, refused) = (placed.len(), placed.iter().filter(|order| matches!(order.outcome, Outcome::Refused)));
        let refused = refused.count();
        all.extend(placed);
        if acknowledged {
            return (begun.elapsed(), all);
        }
        // Refused orders are an answer too: then the users are at fault, not the node.
        assert!(begun.elapsed() < PATIENCE, "no order is acknowledged; of the last {asked}, {refused} were refused");
    }
}

/// What each user has placed so far.
pub fn add(all: &mut [Vec<Placed>], more: Vec<Vec<Placed>>) {
    for (all, more) in all.iter_mut().zip(more) {
        all.extend(more);
    }
}

/// Users who sign up at the nodes by turns.
pub fn users(cluster: &Cluster, count: usize) -> Vec<String> {
    each_user(cluster, count, Client::sign_up)
}

/// The same users with new tokens: one is good for fifteen minutes.
pub fn users_again(cluster: &Cluster, count: usize) -> Vec<String> {
    each_user(cluster, count, Client::sign_in)
}

/// The same for one of them.
pub fn user_again(cluster: &Cluster, user: usize) -> String {
    one_user(cluster, user, Client::sign_in)
}

fn each_user(cluster: &Cluster, count: usize, enter: fn(&Server, &str) -> Client) -> Vec<String> {
    (0..count).map(|user| one_user(cluster, user, enter)).collect()
}

fn one_user(cluster: &Cluster, user: usize, enter: fn(&Server, &str) -> Client) -> String {
    let nodes: Vec<&Server> = cluster.nodes.iter().flatten().collect();
    enter(nodes[user % nodes.len()], &format!("user{user}@example.org")).token
}
