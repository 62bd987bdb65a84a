//! The GitBitEx dialect on two real nodes with one broker and one database.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "gitbitex/browser.rs"]
mod browser;
#[path = "server/feed.rs"]
mod feed;
mod server;
mod servers;

use browser::Browser;
use serde_json::json;
use server::Server;
use servers::{Postgres, RabbitMq};
use std::time::{Duration, Instant};

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn sign_out_at_one_node_counts_at_the_other_for_rest_and_open_sockets() {
    let (broker, postgres, redis) = (RabbitMq::start(), Postgres::start(), servers::Redis::start());
    // A busy machine is no lost Redis.
    let hints = ["--redis", &redis.url(), "--redis-timeout-ms", "20000"].map(str::to_owned);
    for (name, more) in [("plain", Vec::new()), ("hinted", hints.to_vec())] {
        let database = postgres.create_database(name);
        let url = broker.url();
        let prefix = format!("agora-{name}");
        let mut common: Vec<&str> = vec!["--database", &database, "--rabbitmq", &url, "--rabbitmq-prefix", &prefix];
        common.extend(more.iter().map(String::as_str));
        signed_out(&common);
    }
}

fn signed_out(common: &[&str]) {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let here = Server::start_with(folders[0].path(), &[common, &["--node", "1"]].concat());
    // All nodes of a venue sign their tokens with the same key.
    let keys = folders[1].path().join("keys");
    std::fs::create_dir_all(&keys).unwrap();
    for file in std::fs::read_dir(folders[0].path().join("keys")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), keys.join(file.file_name())).unwrap();
    }
    let there = Server::start_with(folders[1].path(), &[common, &["--node", "2"]].concat());

    let mut ada = Browser::of_new_user(&here, "ada@example.org");
    let mut bob = Browser::of_new_user(&here, "bob@example.org");
    // A second session of the same user, at the other node; it goes on.
    let mut elsewhere = Browser::visit(&there);
    elsewhere.sign_in("ada@example.org");
    let (token, cookies) = (ada.storage.clone(), ada.cookies.clone());
    let mut same_cookies = Browser::visit(&there);
    same_cookies.cookies = cookies;
    assert_eq!(same_cookies.ask("/api/users/self").status, 200);
    // Sockets at both nodes: known by the token of their messages, or by the cookie of their opening alone.
    let mut followed = [Browser::visit(&here).socket(), Browser::visit(&there).socket(), same_cookies.socket()];
    let mut other = elsewhere.socket();
    for (socket, token) in followed.iter_mut().zip([&token, &token, ""]).chain([(&mut other, "")]) {
        socket.subscribe(&["order", "match"], token);
        socket.subscribe_funds(token);
        socket.shows(|page| page.funds.len() == 2);
    }

    assert_eq!(ada.delete("/api/users/accessToken").status, 200);
    until("the end of the session at the other node", || same_cookies.ask("/api/users/self").status == 401);
    let ended = same_cookies.ask(&format!("/api/accounts?token={token}"));
    assert_eq!((ended.status, &ended.json()["code"]), (401, &json!(4)));
    assert_eq!(there.client(&token).send("GET", "/accounts", b"").unwrap().status, 401);

    // What happens to the user from now on reaches the other session alone, wherever it happens.
    elsewhere.limit("sell", "500", "0.5");
    bob.limit("buy", "500", "0.25");
    other.until(|message| message["type"] == "order" && message["filledSize"] == "0.25");
    for socket in &mut followed {
        socket.kind("match");
        // The page keeps sending the old token.
        socket.subscribe(&["order"], &token);
        socket.subscribe_funds(&token);
        socket.kind("subscriptions");
        let state = socket.kind("subscriptions")["channels"].clone();
        assert_eq!(state, json!([{"name": "match", "product_ids": ["BTC-USDT"]}]));
    }
    bob.limit("buy", "500", "0.25");
    other.until(|message| message["type"] == "order" && message["status"] == "filled");
    for socket in &mut followed {
        socket.kind("match");
        socket.settle();
        assert_eq!((socket.count("order"), socket.count("funds")), (0, 2), "{:?}", socket.log);
    }
}
