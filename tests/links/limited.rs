//! Links that may be followed only so often.

use super::{call, follow, make};
use crate::server::{Client, Server};
use crate::servers::{Postgres, RabbitMq, Redis};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many visits of a link by so many at once; how many were led on.
fn storm(addresses: &[SocketAddr], slug: &str, visits: u64) -> u64 {
    const THREADS: u64 = 50;
    let led_on = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let led_on = &led_on;
            scope.spawn(move || {
                let address = addresses[thread as usize % addresses.len()];
                let mut client = Client::at(address, "");
                for _ in 0..visits / THREADS {
                    let path = format!("GET /s/{slug} HTTP/1.1\r\nHost: agora\r\n\r\n");
                    // A server that was killed answers nothing.
                    let Ok(answer) = client.send_raw(path.as_bytes()) else { return };
                    match answer.status {
                        302 => drop(led_on.fetch_add(1, Ordering::Relaxed)),
                        410 | 503 => {}
                        status => panic!("{status} {}", answer.json()),
                    }
                }
            });
        }
    });
    led_on.into_inner()
}

#[test]
fn a_hundred_clicks_are_a_hundred_redirects_for_a_thousand_visitors() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let link = make(&mut ada, &json!({"target": "https://example.org/", "slug": "hundred", "max_clicks": 100}));
    assert_eq!(storm(&[server.address], "hundred", 1_000), 100);
    // A connection that was idle for so long may be closed.
    let mut ada = server.client(&ada.token);
    let path = format!("/links/{}", link["id"].as_str().unwrap());
    assert_eq!(ada.get(&path)["clicks_left"], 0);
    assert_eq!(follow(&mut ada, "hundred").json()["code"], "link_expired");
    // More of them: what was used stays used.
    let (status, more) = call(&mut ada, "PATCH", &path, &json!({"max_clicks": 130}));
    assert_eq!((status, more["clicks_left"].as_i64()), (200, Some(30)), "{more}");
    assert_eq!(storm(&[server.address], "hundred", 100), 30);
    let mut ada = server.client(&ada.token);
    super::eventually("every redirect is counted", || ada.get(&path)["bot_clicks"] == 130);
}

#[test]
fn a_limit_that_another_node_has_changed_counts_before_it_is_heard_of() {
    let postgres = Postgres::start();
    let url = postgres.create_database("agora");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--database", &url]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    make(&mut ada, &json!({"target": "https://example.org/", "slug": "freed", "max_clicks": 2}));
    assert_eq!(follow(&mut ada, "freed").status, 302, "it is in memory now");
    postgres.execute("agora", "UPDATE links SET max_clicks = NULL, clicks_left = NULL WHERE slug = 'freed'");
    assert_eq!(follow(&mut ada, "freed").status, 302);
}

#[test]
fn a_crash_gives_no_click_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    make(&mut ada, &json!({"target": "https://example.org/", "slug": "hundred", "max_clicks": 100}));
    let before = storm(&[server.address], "hundred", 50);
    assert_eq!(before, 50);
    let during = std::thread::scope(|scope| {
        let address = server.address;
        let visitors = scope.spawn(move || storm(&[address], "hundred", 5_000));
        // In the middle of it, whenever that is.
        super::eventually("some visits", || {
            let mut client = Client::at(address, "");
            client.send_raw(b"GET /metrics HTTP/1.1\r\nHost: agora\r\n\r\n").is_ok_and(|answer| {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                let line =
                    text.lines().find_map(|line| line.strip_prefix("agora_link_redirects_total ")).map(str::to_owned);
                line.is_some_and(|count| count.parse::<f64>().is_ok_and(|count| count > 55.0))
            })
        });
        server.process.kill().unwrap();
        server.process.wait().unwrap();
        visitors.join().unwrap()
    });
    let server = Server::start(folder.path());
    let after = storm(&[server.address], "hundred", 1_000);
    // An answer that the crash cut off may have spent a click; nothing was given twice.
    let all = before + during + after;
    assert!((50..=100).contains(&all), "{before} + {during} + {after}");
    assert_eq!(storm(&[server.address], "hundred", 100), 0);
}

/// Two nodes of one venue: a broker, a database, a Redis, the same keys.
struct Cluster {
    broker: RabbitMq,
    redis: Redis,
    _database: Postgres,
    _folders: [tempfile::TempDir; 2],
    nodes: Vec<Server>,
}

fn cluster() -> Cluster {
    let (broker, redis, database) = (RabbitMq::start(), Redis::start(), Postgres::start());
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut nodes = Vec::new();
    for (index, folder) in folders.iter().enumerate() {
        if index > 0 {
            // All nodes of a venue sign their tokens with the same key.
            let [from, to] = folders.each_ref().map(|folder| folder.path().join("keys"));
            std::fs::create_dir_all(&to).unwrap();
            for file in std::fs::read_dir(&from).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
        let number = (index + 1).to_string();
        let (broker, database, redis) = (broker.url(), database.url(), redis.url());
        let arguments = ["--rabbitmq", &broker, "--database", &database, "--redis", &redis, "--node", &number];
        nodes.push(Server::start_with(folder.path(), &arguments));
    }
    Cluster { broker, redis, _database: database, _folders: folders, nodes }
}

#[test]
fn two_nodes_share_the_clicks_and_hear_of_changes() {
    let mut cluster = cluster();
    let first = Client::sign_up(&cluster.nodes[0], "ada@example.org");
    let mut second = cluster.nodes[1].client(&first.token);
    let addresses: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.address).collect();

    // A hundred clicks over both nodes, one of which is killed in the middle of it.
    let link = make(&mut second, &json!({"target": "https://example.org/", "slug": "hundred", "max_clicks": 100}));
    assert_eq!(storm(&addresses, "hundred", 50), 50);
    let (spent, killed) = std::thread::scope(|scope| {
        let both = addresses.clone();
        let visitors = scope.spawn(move || storm(&both, "hundred", 20));
        let spent = visitors.join().unwrap();
        let visitors = scope.spawn(|| storm(&addresses, "hundred", 1_000));
        let mut node = cluster.nodes.pop().unwrap();
        node.process.kill().unwrap();
        node.process.wait().unwrap();
        (spent, visitors.join().unwrap())
    });
    let rest = storm(&addresses[..1], "hundred", 1_000);
    let all = 50 + spent + killed + rest;
    // What the killed node had spent and could not say any more is the only difference there may be.
    assert!((70..=100).contains(&all), "{all}");
    assert_eq!(storm(&addresses[..1], "hundred", 100), 0);
    let mut first = Client::at(addresses[0], &first.token);
    assert_eq!(first.get(&format!("/links/{}", link["id"].as_str().unwrap()))["clicks_left"], 0);

    // The node that is left is made anew beside a second one.
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::create_dir_all(&keys).unwrap();
    for file in std::fs::read_dir(cluster._folders[0].path().join("keys")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), keys.join(file.file_name())).unwrap();
    }
    let (broker, database, redis) = (cluster.broker.url(), cluster._database.url(), cluster.redis.url());
    let arguments = ["--rabbitmq", &broker, "--database", &database, "--redis", &redis, "--node", "3"];
    let third = Server::start_with(folder.path(), &arguments);
    let mut third_client = third.client(&first.token);
    let mut first = Client::at(addresses[0], &first.token);

    // What one node changes the other forgets.
    let link = make(&mut first, &json!({"target": "https://example.org/1", "slug": "moving"}));
    let path = format!("/links/{}", link["id"].as_str().unwrap());
    let to = |client: &mut Client| follow(client, "moving").header("location").map(str::to_owned);
    super::eventually("the link on the other node", || {
        to(&mut third_client).as_deref() == Some("https://example.org/1")
    });
    assert_eq!(call(&mut first, "PATCH", &path, &json!({"target": "https://example.org/2"})).0, 200);
    super::eventually("the change on the other node", || {
        to(&mut third_client).as_deref() == Some("https://example.org/2")
    });
    // The same without Redis: the table of changes says so too.
    let shared = cluster.redis.command("EXISTS agora:cache:link:moving\r\n").unwrap_or_default();
    assert!(shared.contains('1'), "what one node has read the others need not: {shared}");
    cluster.redis.kill();
    assert_eq!(call(&mut first, "PATCH", &path, &json!({"target": "https://example.org/3"})).0, 200);
    super::eventually("the change without Redis", || to(&mut third_client).as_deref() == Some("https://example.org/3"));
    // A slug is given once, whoever asks where.
    let taken = call(&mut third_client, "POST", "/links", &json!({"target": "https://example.org/", "slug": "moving"}));
    assert_eq!(taken.1["code"], "slug_taken");

    // Links need no broker: they are made, followed and counted without it.
    cluster.broker.stop();
    let mut third_client = third.client(&first.token);
    let mut first = Client::at(addresses[0], &first.token);
    make(&mut third_client, &json!({"target": "https://example.org/3", "slug": "brokerless"}));
    super::eventually("the link on the other node", || follow(&mut first, "brokerless").status == 302);
    let count = |client: &mut Client| client.get("/links?slug=brokerless")[0]["clicks"].as_i64().unwrap();
    super::eventually("the click", || count(&mut first) == 1);
}
