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
    for (from, left_out) in [(0, 0), (1, 1), (4, 3), (5, 3)] {
        let mut again = Feed::open(server.address).await;
        let channels = json!([{"name": "user", "resume_from": from}]);
        again.subscribe(channels, json!({"token": ada.token})).await;
        assert_eq!(told(&mut again, expected.len() - left_out).await, expected[left_out..], "from {from}");
    }
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
