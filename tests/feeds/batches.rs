//! Batches with more events than may wait for a reader.

use crate::server::{Client, Server};
use crate::{Feed, PRODUCT};
use serde_json::{Value, json};

/// Orders in one request, and requests; each order makes two events, and one more when it is canceled.
const ORDERS: u64 = 100;
const REQUESTS: u64 = 42;

/// The next event, which must have this sequence.
async fn event(feed: &mut Feed, sequence: u64) -> Value {
    let message = feed.next().await.unwrap_or_else(|| panic!("the feed ended before {sequence}"));
    assert_eq!(message["sequence"], sequence, "{message}");
    message
}

#[actix_rt::test]
async fn a_batch_of_more_events_than_may_wait_cuts_nobody_off() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut feed = Feed::open(server.address).await;
    feed.subscribe(json!(["full"]), json!({})).await;
    feed.until("subscriptions").await;

    let order = json!({"product_id": PRODUCT, "side": "sell", "price": "1000", "size": "0.002"});
    let orders = json!({"orders": vec![order; ORDERS as usize]}).to_string();
    let mut sequence = 0;
    for _ in 0..REQUESTS {
        let answer = ada.send("POST", "/orders/batch", orders.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        for outcome in answer.json().as_array().unwrap() {
            assert_eq!(outcome["status"], "open", "{outcome}");
        }
        for _ in 0..2 * ORDERS {
            sequence += 1;
            event(&mut feed, sequence).await;
        }
    }

    // All of them in one entry: one batch, which is handed over at once.
    let answer = ada.send("DELETE", "/orders", b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(answer.json().as_array().unwrap().len() as u64, ORDERS * REQUESTS);
    let before = sequence;
    for next in before + 1..=before + ORDERS * REQUESTS {
        let message = event(&mut feed, next).await;
        assert_eq!((&message["type"], &message["reason"]), (&json!("done"), &json!("canceled")));
    }

    // Whoever was away while it happened resumes within it, at its start and before it.
    for from in [before - 10, before, before + 2_000] {
        let mut again = Feed::open(server.address).await;
        again.subscribe(json!([{"name": "full", "resume_from": from}]), json!({})).await;
        again.until("subscriptions").await;
        for next in from + 1..=before + ORDERS * REQUESTS {
            event(&mut again, next).await;
        }
        if from == before {
            // It follows the market from there on.
            let placed = json!({"product_id": PRODUCT, "side": "sell", "price": "1000", "size": "0.002"});
            ada.send("POST", "/orders", placed.to_string().as_bytes()).unwrap();
            assert_eq!(event(&mut again, before + ORDERS * REQUESTS + 1).await["type"], "received");
        }
    }
}
