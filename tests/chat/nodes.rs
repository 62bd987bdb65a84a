//! Chat on two nodes with one broker and one database.

use crate::delivery::{begin, check, free_address, rooms_with};
use crate::people::{User, Waits, block_on, comes, sees};
use crate::server::Server;
use crate::servers::{Postgres, RabbitMq};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

struct Nodes {
    broker: RabbitMq,
    database: Postgres,
    folders: [TempDir; 2],
    addresses: [String; 2],
    nodes: [Option<Server>; 2],
}

impl Nodes {
    fn start() -> Nodes {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let addresses = [(); 2].map(|()| free_address());
        let (broker, database) = (RabbitMq::start(), Postgres::start());
        let mut all = Nodes { broker, database, folders, addresses, nodes: [None, None] };
        all.start_node(0);
        // All nodes of a venue sign their tokens with the same key.
        let [first, second] = all.folders.each_ref().map(|folder| folder.path().join("keys"));
        std::fs::create_dir_all(&second).unwrap();
        for file in std::fs::read_dir(&first).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), second.join(file.file_name())).unwrap();
        }
        all.start_node(1);
        all
    }

    fn start_node(&mut self, index: usize) {
        let (number, broker, database) = ((index + 1).to_string(), self.broker.url(), self.database.url());
        let cluster = ["--rabbitmq", &broker, "--database", &database, "--node", &number];
        let more = [cluster.as_slice(), &["--chat-user-rate", "0", "--chat-room-rate", "0"]].concat();
        self.nodes[index] = Some(Server::start_at(self.folders[index].path(), &self.addresses[index], &more));
    }

    fn node(&self, index: usize) -> &Server {
        self.nodes[index].as_ref().unwrap()
    }

    /// Waits until one node is active; which.
    fn active(&self) -> usize {
        let begun = Instant::now();
        loop {
            let role = |index: usize| {
                let request = b"GET /health/ready HTTP/1.1\r\nHost: agora\r\nConnection: close\r\n\r\n";
                let answer = self.nodes[index].as_ref()?.client("").send_raw(request).ok()?;
                Some(answer.json()["cluster"]["role"].clone())
            };
            if let Some(found) = (0..2).find(|index| role(*index).is_some_and(|role| role == "active")) {
                return found;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "no node is active");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The same user with connections to this node.
    fn at(&self, index: usize, user: &User) -> User {
        let base = format!("http://{}", self.addresses[index]);
        User { http: self.node(index).client(&user.http.token), id: user.id.clone(), base }
    }
}

#[test]
fn two_nodes_a_broker_that_restarts_and_a_crash_lose_and_double_nothing() {
    let mut all = Nodes::start();
    let active = all.active();
    // Half of them sign up where commands are admitted, half where they are forwarded.
    let mut users: Vec<User> = (0..6).map(|n| User::new(all.node((active + n) % 2), &format!("user{n}x"))).collect();
    let rooms = rooms_with(&mut users, 3);
    let bases = all.addresses.each_ref().map(|address| format!("http://{address}"));
    let (all, clients) = block_on(async {
        let clients = begin(&users, 4, &bases, &rooms);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let disturbed = tokio::task::spawn_blocking(move || {
            all.broker.stop();
            all.broker.restart();
            let active = all.active();
            std::thread::sleep(Duration::from_millis(500));
            // kill -9 of the node that admits commands.
            all.nodes[active] = None;
            all.active();
            all.start_node(active);
            all
        });
        let all = disturbed.await.unwrap();
        let mut done = Vec::new();
        for client in clients {
            done.push(client.await.unwrap());
        }
        (all, done)
    });
    let mut readers = [all.at(0, &users[0]), all.at(1, &users[0])];
    check(&mut readers, &rooms, clients);
}

/// The rooms are new to the node that does not admit commands: nobody there hears of them yet.
#[test]
fn who_is_connected_to_a_standby_hears_of_new_rooms_and_of_what_follows() {
    let all = Nodes::start();
    let active = all.active();
    let mut ada = User::new(all.node(active), "ada");
    let mut bob = User::new(all.node(1 - active), "bob");
    let new_room = |name: &str| json!({"kind": "public", "name": name, "id": Uuid::new_v4()});
    let hall = ada.patiently("POST", "/rooms", new_room("Hall"))["id"].as_str().unwrap().to_owned();
    block_on(async {
        let mut b = bob.socket();
        b.connect().await.unwrap();
        bob.patiently("POST", &format!("/rooms/{hall}/join"), Value::Null);
        assert_eq!(comes(&mut b, "room").await["room"]["id"], json!(hall));
        ada.patiently("POST", &format!("/rooms/{hall}/messages"), json!({"text": "welcome"}));
        assert_eq!(comes(&mut b, "message").await["message"]["text"], "welcome");

        let bridge = bob.patiently("POST", "/rooms", new_room("Bridge"))["id"].as_str().unwrap().to_owned();
        assert_eq!(comes(&mut b, "room").await["room"]["id"], json!(bridge));
        ada.patiently("POST", &format!("/rooms/{bridge}/join"), Value::Null);
        ada.patiently("POST", &format!("/rooms/{bridge}/messages"), json!({"text": "over here"}));
        assert_eq!(comes(&mut b, "message").await["message"]["text"], "over here");

        ada.patiently("POST", "/friends", json!({"user": bob.id, "step": "ask"}));
        let asked = comes(&mut b, "friend").await;
        assert_eq!((&asked["user"], &asked["status"]), (&json!(ada.id), &json!("wants")));
    });
}

#[test]
fn people_on_different_nodes_see_and_hear_each_other() {
    let mut all = Nodes::start();
    let active = all.active();
    let mut ada = User::new(all.node(active), "ada");
    let mut bob = User::new(all.node(1 - active), "bob");
    // Asked at one node, accepted at the other; whoever is answered finds it done where they are.
    ada.patiently("POST", "/friends", json!({"user": bob.id, "step": "ask"}));
    let accepted = bob.patiently("POST", "/friends", json!({"user": ada.id, "step": "accept"}));
    assert_eq!(accepted["status"], "friends");
    let direct = accepted["room"].as_str().unwrap().to_owned();
    let room = bob.patiently("POST", "/rooms", json!({"kind": "public", "name": "Bridge"}))["id"].clone();
    let room = room.as_str().unwrap().to_owned();
    assert_eq!(bob.ok("GET", "/rooms", Value::Null).as_array().unwrap().len(), 2);
    block_on(async {
        let (mut a, mut b, mut phone) = (ada.socket(), bob.socket(), all.at(active, &bob).socket());
        a.connect().await.unwrap();
        let (there, away) = (false, true);
        sees(&mut a, &bob, "online", &mut [(&mut b, there)]).await;
        // Two devices on two nodes: away only when both are, gone only when both are.
        sees(&mut a, &bob, "away", &mut [(&mut b, away), (&mut phone, away)]).await;
        sees(&mut a, &bob, "online", &mut [(&mut b, away), (&mut phone, there)]).await;
        phone.cut();
        sees(&mut a, &bob, "away", &mut [(&mut b, away)]).await;
        sees(&mut a, &bob, "online", &mut [(&mut b, there)]).await;

        // Words, signs of typing and read markers cross. A sign of typing may get lost, so there are several.
        let mut typing = Waits::new("a sign of typing");
        let typist = loop {
            b.connect().await.unwrap();
            b.request(json!({"type": "typing", "room": direct})).await;
            if let Some(event) = typing.hears(&mut a, |event| event["type"] == "typing").await {
                break event["user"].clone();
            }
        };
        assert_eq!(typist, json!(bob.id));
        let sent = b.send_text(&direct, "hello from over there").await;
        let mut acknowledged = Waits::new("the acknowledgement");
        let ack = loop {
            b.connect().await.unwrap();
            if let Some(ack) = acknowledged.hears(&mut b, |event| event["type"] == "ack").await {
                break ack;
            }
            b.send_again().await;
        };
        assert_eq!((&ack["client_id"], &ack["sequence"]), (&json!(sent), &json!(1)));
        let heard = comes(&mut a, "message").await;
        assert_eq!(heard["message"]["text"], "hello from over there");
        let mut marked = Waits::new("the read marker");
        loop {
            a.connect().await.unwrap();
            let id = a.request(json!({"type": "read", "room": direct, "message": 1})).await;
            if marked.hears(&mut a, |event| event["id"] == id && event["type"] == "ack").await.is_some() {
                break;
            }
        }
        assert_eq!(comes(&mut b, "read").await["user"], json!(ada.id));
        // What a rule or a filter says is said by the other node too.
        assert_eq!(bob.finally_refused(&format!("/rooms/{direct}/messages"), " "), "empty");
        assert_eq!(ada.finally_refused(&format!("/rooms/{room}/messages"), "x"), "not_allowed");

        // Whoever hides is gone for friends on all nodes, and comes back.
        bob.ok("PUT", "/me", json!({"visible_to": "nobody"}));
        assert!(sees(&mut a, &bob, "offline", &mut [(&mut b, there)]).await["last_seen"].is_null());
        bob.ok("PUT", "/me", json!({"visible_to": "friends"}));
        sees(&mut a, &bob, "online", &mut [(&mut b, there)]).await;
        let seen = ada.ok("GET", &format!("/people?users={}", bob.id), Value::Null);
        assert_eq!(seen[0]["status"], "online");

        // The people of a node that dies are gone after a while.
        all.nodes[1 - active] = None;
        sees(&mut a, &bob, "offline", &mut []).await;
    });
}
