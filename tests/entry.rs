//! Orders over the WebSocket and batches over REST, as a trader's program sends them over a real socket.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "server/feed.rs"]
mod feed;
mod server;

use feed::Feed;
use serde_json::{Value, json};
use server::{Client, Server};
use std::time::{Duration, Instant};

const PRODUCT: &str = "BTC-USDT";

struct Desk {
    feed: Feed,
    token: String,
}

impl Desk {
    fn open(server: &Server, client: &Client) -> Desk {
        Desk { feed: Feed::connect(server.address), token: client.token.clone() }
    }

    /// Sends a message and returns its answer; the token goes along until the connection knows it.
    fn ask(&mut self, mut message: Value) -> Value {
        let id = message["request_id"].clone();
        if !self.token.is_empty() {
            message["token"] = std::mem::take(&mut self.token).into();
        }
        self.feed.send_text(&message.to_string());
        loop {
            let answer = self.feed.next().unwrap();
            if answer["request_id"] == id {
                return answer;
            }
        }
    }
}

fn buy(price: &str) -> Value {
    json!({"side": "buy", "product_id": PRODUCT, "price": price, "size": "0.010000"})
}

fn open_orders(client: &mut Client) -> Vec<String> {
    let answer = client.send("GET", "/orders?status=open", b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json().as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap().to_owned()).collect()
}

fn until_none_is_open(client: &mut Client) {
    let start = Instant::now();
    while !open_orders(client).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "the orders stay open");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn each_command_of_a_batch_is_acknowledged_by_itself() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let mut client = Client::sign_up(&server, "batch@example.org");
    let mut desk = Desk::open(&server, &client);

    let placed = desk.ask(json!({"type": "place", "request_id": "a", "order": buy("1000.00")}));
    assert_eq!((placed["type"].as_str(), placed["result"]["status"].as_str()), (Some("placed"), Some("open")));
    let first = placed["result"]["order_id"].as_str().unwrap().to_owned();

    let too_dear = json!({"side": "buy", "product_id": PRODUCT, "price": "90000.00", "size": "900.000000"});
    let strange = json!({"side": "buy", "product_id": "NO-SUCH", "price": "1.00", "size": "1"});
    let unknown = "00000000-0000-8000-8000-000000000000";
    let answer = desk.ask(json!({
        "type": "batch", "request_id": 7, "cancel": [first, unknown],
        "place": [buy("1001.00"), too_dear, strange, buy("1002.00")],
    }));
    assert_eq!(answer["type"], "batch_done");
    assert_eq!(answer["cancel"][0], json!({"order_id": first, "status": "done", "done_reason": "canceled"}));
    assert_eq!(answer["cancel"][1]["error"]["code"], "order_not_found");
    let codes: Vec<_> = (0..4).map(|i| answer["place"][i]["error"]["code"].as_str().unwrap_or("")).collect();
    assert_eq!(codes, ["", "insufficient_funds", "product_not_found", ""]);
    let mut expected: Vec<_> =
        [0, 3].map(|i| answer["place"][i]["order_id"].as_str().unwrap().to_owned()).into_iter().collect();
    let mut open = open_orders(&mut client);
    open.sort();
    expected.sort();
    assert_eq!(open, expected, "what was acknowledged is there, and nothing else");

    // A hundred at once, each with an id of its own; and a hundred and one, of which none is placed.
    let many: Vec<_> = (0..101).map(|i| buy(&format!("{}.00", 1100 + i))).collect();
    let refused = desk.ask(json!({"type": "batch", "request_id": 8, "place": many}));
    assert_eq!((refused["type"].as_str(), refused["code"].as_str()), (Some("request_failed"), Some("invalid_batch")));
    let done = desk.ask(json!({"type": "batch", "request_id": 9, "place": many[..100]}));
    let ids: std::collections::BTreeSet<_> =
        done["place"].as_array().unwrap().iter().map(|order| order["order_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 100);

    let canceled = desk.ask(json!({"type": "cancel_all", "request_id": 10}));
    assert_eq!(canceled["order_ids"].as_array().unwrap().len(), 102);
    assert_eq!(open_orders(&mut client), Vec::<String>::new());
}

#[test]
fn bad_messages_are_answered_and_change_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let mut client = Client::sign_up(&server, "bad@example.org");

    let mut stranger = Desk { feed: Feed::connect(server.address), token: String::new() };
    let answer = stranger.ask(json!({"type": "place", "request_id": 1, "order": buy("1000.00")}));
    assert_eq!((answer["type"].as_str(), answer["code"].as_str()), (Some("request_failed"), Some("token_missing")));

    let mut desk = Desk::open(&server, &client);
    assert_eq!(desk.ask(json!({"type": "authenticate", "request_id": 1}))["type"], "authenticated");
    for (message, code) in [
        (json!({"type": "place"}), "invalid_body"),
        (json!({"type": "place", "order": {"side": "up", "product_id": PRODUCT}}), "invalid_side"),
        (json!({"type": "place", "order": 7}), "invalid_body"),
        (json!({"type": "cancel"}), "invalid_body"),
        (json!({"type": "cancel", "order_id": "no id"}), "invalid_order_id"),
        (json!({"type": "batch"}), "invalid_batch"),
        (json!({"type": "cancel_all", "product_id": "NO-SUCH"}), "not_found"),
        (json!({"type": "cancel_all_after", "timeout_ms": -1}), "invalid_body"),
        (json!({"type": "cancel_all_after"}), "invalid_body"),
    ] {
        desk.feed.send_text(&message.to_string());
        let answer = desk.feed.next().unwrap();
        let told = answer["code"].as_str().or(answer["result"]["error"]["code"].as_str());
        assert_eq!(told, Some(code), "{message} got {answer}");
    }
    assert_eq!(open_orders(&mut client), Vec::<String>::new());
}

#[test]
fn orders_go_when_their_trader_goes() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let mut client = Client::sign_up(&server, "gone@example.org");

    // The connection ends.
    let mut desk = Desk::open(&server, &client);
    desk.ask(json!({"type": "cancel_on_disconnect", "request_id": 1, "enabled": true}));
    desk.ask(json!({"type": "place", "request_id": 2, "order": buy("1000.00")}));
    assert_eq!(open_orders(&mut client).len(), 1);
    drop(desk);
    until_none_is_open(&mut client);

    // The trader falls silent. A switch that is armed again, or disarmed, does not fire.
    let mut desk = Desk::open(&server, &client);
    desk.ask(json!({"type": "place", "request_id": 3, "order": buy("1000.00")}));
    desk.ask(json!({"type": "cancel_all_after", "request_id": 4, "timeout_ms": 300}));
    desk.ask(json!({"type": "cancel_all_after", "request_id": 5, "timeout_ms": 0}));
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(open_orders(&mut client).len(), 1, "a disarmed switch has fired");
    desk.ask(json!({"type": "cancel_all_after", "request_id": 6, "timeout_ms": 200}));
    until_none_is_open(&mut client);
}

#[test]
fn batches_over_rest_answer_for_each_command() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let mut client = Client::sign_up(&server, "rest@example.org");
    let client_oid = "5f1a6c9e-8d0b-4a43-9a57-0d1c2b3a4f5e";
    let mut named = buy("1000.00");
    named["client_oid"] = client_oid.into();
    // The second repeats the first's client id, and is the same order.
    let body = json!({"orders": [named, named, {"side": "buy"}]}).to_string();
    let answer = client.send("POST", "/orders/batch", body.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    let outcomes = answer.json();
    assert_eq!(outcomes[0]["client_oid"], client_oid);
    assert_eq!(outcomes[0]["order_id"], outcomes[1]["order_id"]);
    assert_eq!(outcomes[2]["error"]["code"], "product_not_found");
    assert_eq!(open_orders(&mut client).len(), 1);

    let body = json!({"order_ids": [format!("client:{client_oid}"), "nonsense"]}).to_string();
    let outcomes = client.send("DELETE", "/orders/batch", body.as_bytes()).unwrap().json();
    assert_eq!(outcomes[0]["status"], "done");
    assert_eq!(outcomes[1]["error"]["code"], "invalid_order_id");
    assert_eq!(open_orders(&mut client), Vec::<String>::new());
    for body in ["{}", r#"{"orders":[]}"#, "[1]", ""] {
        assert_eq!(client.send("POST", "/orders/batch", body.as_bytes()).unwrap().status, 400, "{body}");
    }
}
