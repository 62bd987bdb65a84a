//! Requests that a trader's program sends without waiting for answers enter the market in their order.

use crate::server::{Answer, Client, Server};
use crate::{Desk, PRODUCT, buy, open_orders, patch, place};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The answers to these requests, which are sent with one write, in the order of the requests.
fn ask_all(desk: &mut Desk, mut requests: Vec<Value>) -> Vec<Value> {
    for (id, request) in requests.iter_mut().enumerate() {
        request["request_id"] = id.into();
    }
    desk.feed.send_together(&requests);
    let mut answers = vec![Value::Null; requests.len()];
    for _ in &requests {
        let answer = desk.feed.next().unwrap();
        let id = answer["request_id"].as_u64().unwrap() as usize;
        answers[id] = answer;
    }
    answers
}

fn desk_of(server: &Server, client: &Client) -> Desk {
    let mut desk = Desk::open(server, client);
    assert_eq!(desk.ask(json!({"type": "authenticate", "request_id": "who"}))["type"], "authenticated");
    desk
}

/// A sell that ends without a trade when it meets an order of its own user.
fn sell(price: &str) -> Value {
    json!({"side": "sell", "product_id": PRODUCT, "price": price, "size": "0.010000", "stp": "cn"})
}

fn named(mut order: Value, oid: &str) -> Value {
    order["client_oid"] = oid.into();
    order
}

fn oid(n: u32) -> String {
    format!("6f9619ff-8b86-4011-b42d-{n:012}")
}

const BOOK: &str = "/admin/tree/agora/trading/venue/order%20book%20BTC-USDT";

fn drill(admin: &mut Client, what: &str, body: &Value) -> u16 {
    admin.send("POST", &format!("{BOOK}/{what}"), body.to_string().as_bytes()).unwrap().status
}

/// Places an order with this client's id that stays on its way: its entry stops the market, and is not applied before
/// the market goes on.
fn leave_on_its_way(admin: &mut Client, client: &mut Client, oid: &str) {
    assert_eq!(drill(admin, "crash", &json!({"kind": "poison"})), 202);
    let order = named(buy("1000.00"), oid).to_string();
    assert_eq!(client.send("POST", "/orders", order.as_bytes()).unwrap().status, 503);
    let start = Instant::now();
    while client.get(&format!("/products/{PRODUCT}"))["status"] != "offline" {
        assert!(start.elapsed() < Duration::from_secs(60), "the market is not faulted");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Asks until it can be told.
fn insist(client: &mut Client, method: &str, path: &str) -> Answer {
    let start = Instant::now();
    loop {
        let answer = client.send(method, path, b"").unwrap();
        if answer.status != 503 {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{method}: {}", answer.json());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn order_of_ether() -> Value {
    json!({"side": "buy", "product_id": "ETH-USDT", "price": "100.00", "size": "0.1"})
}

#[test]
fn requests_enter_the_market_in_the_order_in_which_they_were_sent() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let mut client = Client::sign_up(&server, "order@example.org");
    let mut desk = desk_of(&server, &client);
    for round in 0..20 {
        // Some are answered at once, some are handed over at once, some with what others submit at that moment.
        let requests = vec![
            json!({"type": "cancel_on_disconnect", "enabled": false}),
            json!({"type": "place", "order": buy("1000.00")}),
            json!({"type": "cancel_all"}),
            json!({"type": "place", "order": buy("1001.00")}),
            json!({"type": "cancel_all_after", "timeout_ms": 0}),
            json!({"type": "batch", "place": [buy("1002.00")]}),
        ];
        let answers = ask_all(&mut desk, requests);
        assert_eq!(answers[2]["order_ids"], json!([answers[1]["result"]["order_id"]]), "{round}: {answers:?}");
        let lasting = [&answers[3]["result"], &answers[5]["place"][0]].map(|order| order["order_id"].as_str().unwrap());
        let open = open_orders(&mut client);
        assert_eq!(open.iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(lasting), "{round}");
        desk.ask(json!({"type": "cancel_all", "request_id": "rest"}));
    }
}

/// Whoever names an order by the client's own id neither overtakes that order nor is overtaken while it is looked up.
#[test]
fn what_is_looked_up_first_keeps_its_place_all_the_same() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let mut client = Client::sign_up(&server, "named@example.org");
    let mut desk = desk_of(&server, &client);
    let mut oids = (0..).map(oid);
    for round in 0..10 {
        let mut tries = 0..10;
        let answers = loop {
            let (first, second) = (oids.next().unwrap(), oids.next().unwrap());
            let requests = vec![
                json!({"type": "place", "order": named(buy("1000.00"), &first)}),
                json!({"type": "cancel", "client_oid": first}),
                json!({"type": "place", "order": named(buy("1001.00"), &second)}),
                json!({"type": "amend", "client_oid": second, "size": "0.005000"}),
                json!({"type": "batch", "cancel": [format!("client:{second}")], "place": [sell("1001.00")]}),
                json!({"type": "cancel_all"}),
            ];
            let answers = ask_all(&mut desk, requests);
            // The disk may take longer than an order on its way is waited for.
            if !answers.iter().any(|answer| answer.to_string().contains("\"outcome_unknown\"")) {
                break answers;
            }
            assert!(tries.next().is_some(), "{round}: {answers:?}");
            desk.ask(json!({"type": "cancel_all", "request_id": "rest"}));
        };
        let canceled = |id: &Value| json!({"order_id": id, "status": "done", "done_reason": "canceled"});
        let (first, second) = (&answers[0]["result"]["order_id"], &answers[2]["result"]["order_id"]);
        assert_eq!(answers[1]["result"], canceled(first), "{round}: {answers:?}");
        assert_eq!((&answers[3]["type"], &answers[3]["result"]["order_id"]), (&json!("amended"), second));
        assert_eq!(answers[4]["cancel"][0], canceled(second), "{round}: {answers:?}");
        // It rested until then, though its own answer may tell already that it was canceled.
        assert_eq!(answers[5]["order_ids"], json!([answers[4]["place"][0]["order_id"]]), "{round}: {answers:?}");
    }
    assert_eq!(open_orders(&mut client), Vec::<String>::new());
}

#[test]
fn the_cancels_of_a_batch_come_before_its_orders_by_whatever_name() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let mut client = Client::sign_up(&server, "first@example.org");
    let mut desk = desk_of(&server, &client);
    for by_client_id in [false, true] {
        let oid = oid(u32::from(by_client_id));
        let resting = place(&mut client, named(buy("1000.00"), &oid));
        let name = if by_client_id { format!("client:{oid}") } else { resting.clone() };
        let batch = json!({"type": "batch", "request_id": 1, "cancel": [name], "place": [sell("1000.00")]});
        let answer = desk.ask(batch);
        let canceled = &answer["cancel"][0];
        assert_eq!((&canceled["order_id"], &canceled["status"]), (&json!(resting), &json!("done")), "{answer}");
        assert_eq!(answer["place"][0]["status"], "open", "it has met what was to go first: {answer}");
        desk.ask(json!({"type": "cancel_all", "request_id": 2}));
    }
}

/// What is on its way has its client's id already: nobody hears that there is no such order, which then comes to rest.
#[test]
fn an_order_on_its_way_is_not_said_to_be_missing() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let server = Server::start_with(data.path(), &["--allow-drills"]);
    let mut admin = Client::admin(&server);
    let mut client = Client::sign_up(&server, "onitsway@example.org");
    leave_on_its_way(&mut admin, &mut client, &oid(1));
    let unknown = json!("outcome_unknown");
    let path = format!("/orders/client:{}", oid(1));
    for method in ["GET", "DELETE"] {
        let answer = client.send(method, &path, b"").unwrap();
        assert_eq!((answer.status, &answer.json()["code"]), (503, &unknown), "{method}: {}", answer.json());
        assert!(answer.header("retry-after").is_some());
    }
    let (status, answer) = patch(&mut client, &format!("client:{}", oid(1)), &json!({"size": "0.005000"}));
    assert_eq!((status, &answer["code"]), (503, &unknown), "{answer}");
    let mut desk = desk_of(&server, &client);
    let answer = desk.ask(json!({"type": "cancel", "request_id": 1, "client_oid": oid(1)}));
    assert_eq!(answer["result"]["error"]["code"], unknown, "{answer}");
    let other = insist(&mut client, "GET", &format!("/orders/client:{}", oid(2)));
    assert_eq!(other.status, 404, "{}", other.json());

    assert_eq!(drill(&mut admin, "crash", &json!({"kind": "cure"})), 202);
    assert_eq!(drill(&mut admin, "revive", &json!({})), 200);
    let found = insist(&mut client, "GET", &path).json();
    assert_eq!((&found["status"], &found["client_oid"]), (&json!("open"), &json!(oid(1))), "{found}");
    assert_eq!(insist(&mut client, "DELETE", &path).json(), found["id"]);
}

/// A dead man's switch counts from when it is asked for, since its user is alive; and once more from its turn on, since
/// what was sent before it may have waited for longer than its time.
#[test]
fn a_switch_does_not_wait_for_what_is_looked_up_before_it() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let server = Server::start_with(data.path(), &["--allow-drills"]);
    let mut admin = Client::admin(&server);
    let mut client = Client::sign_up(&server, "alive@example.org");
    leave_on_its_way(&mut admin, &mut client, &oid(1));
    place(&mut client, order_of_ether());
    let mut desk = desk_of(&server, &client);
    desk.feed.subscribe(&["user"], &["ETH-USDT"], &client.token);
    while desk.feed.next().unwrap()["type"] != "subscriptions" {}
    let look_up = |id: &str| json!({"type": "cancel", "request_id": id, "client_oid": oid(1)});
    let switch = json!({"type": "cancel_all_after", "request_id": "switch", "timeout_ms": 1});

    desk.feed.send_together(&[look_up("a"), look_up("b"), look_up("c"), switch.clone()]);
    let mut before = Vec::new();
    loop {
        let message = desk.feed.next().unwrap();
        if message["request_id"] == "switch" {
            break;
        }
        before.push(message["type"].clone());
    }
    assert!(before.contains(&json!("done")), "the switch has waited for its turn: {before:?}");

    let order = json!({"type": "place", "request_id": "order", "order": order_of_ether()});
    desk.feed.send_together(&[look_up("d"), order, switch]);
    let (mut placed, mut gone) = (Value::Null, Vec::new());
    while placed.is_null() || !gone.contains(&placed) {
        let message = desk.feed.next().unwrap();
        match message["type"].as_str().unwrap() {
            "placed" => placed = message["result"]["order_id"].clone(),
            "done" => gone.push(message["order_id"].clone()),
            _ => {}
        }
    }
}

#[test]
fn whoever_is_too_far_behind_can_take_everything_back() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let server = Server::start_with(data.path(), &["--allow-drills"]);
    let mut admin = Client::admin(&server);
    let mut client = Client::sign_up(&server, "behind@example.org");
    leave_on_its_way(&mut admin, &mut client, &oid(1));
    let resting = place(&mut client, order_of_ether());
    let mut desk = desk_of(&server, &client);
    // All of them wait for the first.
    let mut requests = vec![json!({"type": "cancel", "client_oid": oid(1)})];
    requests.resize(32, json!({"type": "authenticate"}));
    requests.push(json!({"type": "cancel_all", "product_id": "ETH-USDT"}));
    requests.push(json!({"type": "cancel_all_after", "timeout_ms": 0}));
    let answers = ask_all(&mut desk, requests);
    assert_eq!(answers[32]["order_ids"], json!([resting]), "{}", answers[32]);
    assert_eq!(answers[33]["type"], "cancel_all_after", "{}", answers[33]);
}
