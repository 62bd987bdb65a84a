//! What only its owner hears of, and how it is resumed.

use crate::server::{Client, Server};
use crate::{Feed, place};
use serde_json::{Value, json};

/// The next messages of the user channel, by type and sequence.
async fn told(feed: &mut Feed, count: usize) -> Vec<(String, Option<u64>)> {
    let mut all = Vec::new();
    while all.len() < count {
        let message: Value = feed.next().await.expect("the feed ended");
        if message["type"] != "subscriptions" {
            all.push((message["type"].as_str().unwrap().to_owned(), message["sequence"].as_u64()));
        }
    }
    all
}

/// Resumes the user channel from each of these events, after which so many of all messages are left out.
async fn resume(server: &Server, token: &str, cases: &[(u64, usize)], all: &[(String, Option<u64>)]) {
    for (from, left_out) in cases {
        let mut again = Feed::open(server.address).await;
        let channels = json!([{"name": "user", "resume_from": from}]);
        again.subscribe(channels, json!({"token": token})).await;
        assert_eq!(told(&mut again, all.len() - left_out).await, all[*left_out..], "from {from}");
    }
}

#[actix_rt::test]
async fn private_events_have_no_sequence_and_are_resumed_with_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let mut live = Feed::open(server.address).await;
    live.subscribe(json!(["user"]), json!({"token": ada.token})).await;
    live.until("subscriptions").await;

    place(&mut ada, json!({"side": "sell", "price": "1000", "size": "1"}));
    place(&mut bob, json!({"side": "buy", "price": "1000", "size": "0.25"}));
    let stop = place(&mut ada, json!({"side": "sell", "price": "9", "size": "1", "stop_price": "10"}));
    let id = stop["id"].as_str().unwrap();
    assert_eq!(ada.send("DELETE", &format!("/orders/{id}"), b"").unwrap().status, 200);

    let expected = [
        ("received", Some(1_u64)),
        ("open", Some(2)),
        // The others are of the taker's order.
        ("match", Some(4)),
        ("activate", None),
        ("done", None),
    ];
    let expected = expected.map(|(kind, sequence)| (kind.to_owned(), sequence));
    assert_eq!(told(&mut live, expected.len()).await, expected);
    // The stop came after event 5, the end of the taker's order.
    let cases = [(0, 0), (1, 1), (4, 3), (5, 3)];
    resume(&server, &ada.token, &cases, &expected).await;
    // A program that has just started has nothing of it in memory.
    drop((server, live));
    let server = Server::start(folder.path());
    resume(&server, &ada.token, &cases, &expected).await;
    let mut bob = server.client(&bob.token);
    // Nobody else hears of it.
    let mut bobs = Feed::open(server.address).await;
    let channels = json!([{"name": "user", "resume_from": 0}, {"name": "full", "resume_from": 0}]);
    bobs.subscribe(channels, json!({"token": bob.token})).await;
    let all = told(&mut bobs, 5).await;
    let sequences: Vec<_> = all.iter().filter_map(|(_, sequence)| *sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    place(&mut bob, json!({"side": "buy", "price": "5", "size": "0.5"}));
    assert_eq!(told(&mut bobs, 1).await, [("received".to_owned(), Some(6_u64))]);
}

#[actix_rt::test]
async fn a_position_goes_with_the_first_channels_of_a_product_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    place(&mut ada, json!({"side": "sell", "price": "1000", "size": "1"}));
    let mut feed = Feed::open(server.address).await;
    feed.subscribe(json!(["matches"]), json!({})).await;
    feed.until("subscriptions").await;

    // Its events would come after those that are read already, so nothing of such a message is done.
    let differ = json!([
        {"name": "user", "product_ids": ["ETH-USDT"], "resume_from": 1},
        {"name": "full", "product_ids": ["ETH-USDT"], "resume_from": 2},
    ]);
    for (channels, code) in [
        (json!([{"name": "user", "resume_from": 0}, "level2"]), "resume_from_late"),
        (json!([{"name": "matches", "resume_from": 0}]), "resume_from_late"),
        (differ, "resume_from_differs"),
    ] {
        feed.subscribe(channels, json!({"token": ada.token})).await;
        let error = feed.until("error").await;
        assert_eq!((&error["message"], &error["code"]), (&json!("Failed to subscribe"), &json!(code)), "{error}");
    }
    feed.subscribe(json!(["ticker"]), json!({})).await;
    let listed = feed.until("subscriptions").await;
    let names: Vec<_> = listed["channels"].as_array().unwrap().iter().map(|channel| &channel["name"]).collect();
    assert_eq!(names, ["matches", "ticker"]);

    // Whoever leaves the events of a product may come back to them where it likes, also while it is catching up.
    let channels = json!([{"name": "user", "resume_from": 0}, {"name": "matches", "resume_from": 0}]);
    for _ in 0..3 {
        feed.send(json!({"type": "unsubscribe", "channels": ["matches", "ticker", "user"]})).await;
        feed.subscribe(channels.clone(), json!({"token": ada.token})).await;
    }
    // What the first ones may have begun with comes between the answers.
    for _ in 0..6 {
        feed.until("subscriptions").await;
    }
    assert_eq!(told(&mut feed, 2).await, [("received".to_owned(), Some(1_u64)), ("open".to_owned(), Some(2))]);
    place(&mut bob, json!({"side": "buy", "price": "1000", "size": "0.25"}));
    assert_eq!(told(&mut feed, 1).await, [("match".to_owned(), Some(4_u64))]);
}
