//! Orders over the WebSocket and batches over REST, as a trader's program sends them over a real socket.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "entry/drills.rs"]
mod drills;
#[path = "server/feed.rs"]
mod feed;
#[path = "entry/pipelined.rs"]
mod pipelined;
mod server;
#[path = "entry/stopping.rs"]
mod stopping;

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
    // What cannot be read is answered under its name all the same.
    let answer = desk.ask(json!({"type": "place", "request_id": "odd", "order": 7}));
    assert_eq!((answer["type"].as_str(), answer["code"].as_str()), (Some("request_failed"), Some("invalid_body")));
    // Nobody could tell whose answer one without its name is, so nothing is done that would have one.
    let longest = "x".repeat(62);
    assert_eq!(desk.ask(json!({"type": "authenticate", "request_id": longest}))["type"], "authenticated");
    let place = json!({"type": "place", "request_id": format!("{longest}x"), "order": buy("1000.00")});
    desk.feed.send_text(&place.to_string());
    let answer = desk.feed.next().unwrap();
    assert_eq!((answer["type"].as_str(), answer["code"].as_str()), (Some("request_failed"), Some("invalid_body")));
    assert!(answer.get("request_id").is_none(), "{answer}");
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

fn order(client: &mut Client, id: &str) -> Value {
    client.get(&format!("/orders/{id}"))
}

fn patch(client: &mut Client, id: &str, body: &Value) -> (u16, Value) {
    let answer = client.send("PATCH", &format!("/orders/{id}"), body.to_string().as_bytes()).unwrap();
    (answer.status, answer.json())
}

/// The resting orders of a side at a price, oldest first.
fn queue(client: &mut Client, side: &str, price: &str) -> Vec<String> {
    let book = client.get(&format!("/products/{PRODUCT}/book?level=3"));
    let rows = book[side].as_array().unwrap();
    rows.iter().filter(|row| row[0] == price).map(|row| row[2].as_str().unwrap().to_owned()).collect()
}

/// Places an order.
fn place(client: &mut Client, body: Value) -> String {
    let answer = client.send("POST", "/orders", body.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Places an order with the client id of one that ended long ago. That is looked up in the database, which may be
/// behind for a moment; then the answer is 503, and a client asks again.
fn repeat(client: &mut Client, body: &Value) -> String {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = client.send("POST", "/orders", body.to_string().as_bytes()).unwrap();
        if answer.status == 200 {
            return answer.json()["id"].as_str().unwrap().to_owned();
        }
        let waits = answer.status == 503 && answer.json()["code"] == "history_behind";
        assert!(waits && Instant::now() < patience, "{}", answer.json());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_order_that_shrinks_keeps_its_place_and_any_other_change_loses_it() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let mut client = Client::sign_up(&server, "amend@example.org");
    let mut other = Client::sign_up(&server, "other@example.org");
    let first = place(&mut client, buy("1000.00"));
    let second = place(&mut client, buy("1000.00"));

    let (status, changed) = patch(&mut client, &first, &json!({"size": "0.004000"}));
    assert_eq!((status, changed["size"].as_str()), (200, Some("0.004")), "{changed}");
    assert_eq!(queue(&mut client, "bids", "1000"), [first.clone(), second.clone()], "smaller: it stays");
    let (status, changed) = patch(&mut client, &first, &json!({"size": "0.020000"}));
    assert_eq!((status, changed["size"].as_str()), (200, Some("0.02")), "{changed}");
    assert_eq!(queue(&mut client, "bids", "1000"), [second.clone(), first.clone()], "larger: to the end");

    // Over the socket, by the client's own id or by ours.
    let mut desk = Desk::open(&server, &client);
    let moved = desk.ask(json!({"type": "amend", "request_id": 1, "order_id": second, "price": "1001.00"}));
    assert_eq!((moved["type"].as_str(), moved["result"]["order_id"].as_str()), (Some("amended"), Some(&*second)));
    assert_eq!(queue(&mut client, "bids", "1001"), std::slice::from_ref(&second));
    assert_eq!(order(&mut client, &second)["price"], "1001");

    // What is reserved follows: 0.02 at 1000 and 0.01 at 1001, with the fee that may be due.
    let accounts = client.get("/accounts");
    let usdt = accounts.as_array().unwrap().iter().find(|account| account["currency"] == "USDT").unwrap();
    let held: f64 = usdt["hold"].as_str().unwrap().parse().unwrap();
    assert!((30.01..30.2).contains(&held), "{usdt}");

    place(&mut other, json!({"side": "sell", "product_id": PRODUCT, "price": "1100.00", "size": "0.010000"}));
    for (id, body, status, code) in [
        (&second, json!({"price": "1100.00"}), 400, "amend_would_take"),
        (&second, json!({"price": "1001.00"}), 400, "bad_amend"),
        (&second, json!({"size": "900.000000"}), 400, "insufficient_funds"),
        (&second, json!({}), 400, "invalid_body"),
        (&second, json!({"price": "1.001"}), 400, "invalid_price"),
    ] {
        let (is, answer) = patch(&mut client, id, &body);
        assert_eq!(is, status, "{body}: {answer}");
        if code != "invalid_price" {
            assert_eq!(answer["code"], code, "{body}");
        }
    }
    let (status, answer) = patch(&mut other, &second, &json!({"size": "0.001000"}));
    assert_eq!((status, answer["code"].as_str()), (404, Some("order_not_found")), "it is somebody else's");
    client.send("DELETE", &format!("/orders/{second}"), b"").unwrap();
    let (status, answer) = patch(&mut client, &second, &json!({"size": "0.001000"}));
    assert_eq!((status, answer["code"].as_str()), (400, Some("order_done")));

    let trace = client.get(&format!("/orders/{first}/trace"));
    let steps: Vec<_> = trace["events"].as_array().unwrap().iter().map(|step| step["type"].as_str().unwrap()).collect();
    assert_eq!(steps, ["received", "open", "change", "change"]);
    assert_eq!(trace["events"][2]["reason"], "amended");
}

#[test]
fn an_atomic_batch_happens_as_a_whole_or_not_at_all() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let mut client = Client::sign_up(&server, "atomic@example.org");
    let mut other = Client::sign_up(&server, "other@example.org");
    let bid = place(&mut client, buy("1000.00"));
    let ask = json!({"side": "sell", "product_id": PRODUCT, "price": "1100.00", "size": "0.010000"});
    let ask = place(&mut client, ask);
    let theirs = place(&mut other, buy("900.00"));
    let post = |client: &mut Client, body: &Value| {
        let answer = client.send("POST", "/orders/atomic", body.to_string().as_bytes()).unwrap();
        (answer.status, answer.json())
    };
    let before = open_orders(&mut client);

    let oid = "6f9619ff-8b86-4011-b42d-00cf4fc964ff";
    let mut named = buy("1010.00");
    named["client_oid"] = oid.into();
    let sell = |price: &str| json!({"side": "sell", "product_id": PRODUCT, "price": price, "size": "0.010000"});
    let mut careful = sell("1010.00");
    careful["post_only"] = true.into();
    let mut dear = buy("1000.00");
    dear["size"] = "900.000000".into();
    let elsewhere = json!({"side": "buy", "product_id": "ETH-USDT", "price": "1.00", "size": "1"});
    for (body, part, code) in [
        (json!({"cancel": [bid, theirs], "place": [buy("1001.00")]}), json!(1), "order_not_found"),
        (json!({"cancel": [bid], "place": [buy("1001.00"), dear]}), json!(2), "insufficient_funds"),
        (json!({"amend": [{"order_id": bid, "price": "1100.00"}]}), json!(0), "amend_would_take"),
        (json!({"cancel": [bid, bid]}), json!(1), "bad_batch"),
        (json!({"place": [named, named]}), json!(1), "bad_batch"),
        (json!({"cancel": null, "amend": null, "place": [named, named]}), json!(1), "bad_batch"),
        (json!({"cancel": [bid, bid], "place": null}), json!(1), "bad_batch"),
        (json!({"cancel": [bid], "place": [buy("1010.00"), careful]}), json!(2), "post_only_would_take"),
        (json!({"place": [buy("1001.00"), elsewhere]}), json!(1), "invalid_batch"),
        (json!({}), Value::Null, "invalid_batch"),
    ] {
        let (status, answer) = post(&mut client, &body);
        assert!(status == 400 || status == 404, "{body}: {answer}");
        assert_eq!((&answer["code"], &answer["part"]), (&json!(code), &part), "{body}: {answer}");
        assert_eq!(open_orders(&mut client), before, "{body} changed something");
    }

    // What it cancels makes room for what it adds: a bid where the own ask was.
    let mut post_only = buy("1100.00");
    post_only["post_only"] = true.into();
    let body = json!({"cancel": [ask], "amend": [{"order_id": bid, "size": "0.005000"}], "place": [named, post_only]});
    let (status, done) = post(&mut client, &body);
    assert_eq!(status, 200, "{done}");
    assert_eq!(done["cancel"][0]["order_id"], ask.as_str());
    assert_eq!(done["amend"][0]["order_id"], bid.as_str());
    assert_eq!((&done["place"][0]["client_oid"], &done["place"][1]["status"]), (&json!(oid), &json!("open")));
    assert_eq!(order(&mut client, &bid)["size"], "0.005");
    assert_eq!(open_orders(&mut client).len(), 3);

    // A repeat says that it was done, and does nothing, though its cancel is not possible any more.
    let (status, answer) = post(&mut client, &body);
    assert_eq!(
        (status, answer["code"].as_str(), &answer["part"]),
        (400, Some("client_oid_taken"), &json!(2)),
        "{answer}"
    );
    let (status, answer) = post(&mut client, &json!({"cancel": [bid], "place": [named]}));
    assert_eq!(
        (status, answer["code"].as_str(), &answer["part"]),
        (400, Some("client_oid_taken"), &json!(1)),
        "{answer}"
    );
    assert_eq!(open_orders(&mut client).len(), 3);

    // The same over the socket.
    let mut desk = Desk::open(&server, &client);
    let refused = desk.ask(json!({"type": "batch", "atomic": true, "request_id": 1, "cancel": [bid, theirs]}));
    assert_eq!((refused["type"].as_str(), &refused["part"]), (Some("request_failed"), &json!(1)), "{refused}");
    let done = desk.ask(json!({
        "type": "batch", "atomic": true, "request_id": 2, "cancel": [bid], "place": [buy("990.00"), buy("991.00")],
    }));
    assert_eq!(
        (done["type"].as_str(), done["place"].as_array().map(Vec::len)),
        (Some("batch_done"), Some(2)),
        "{done}"
    );
    assert_eq!(open_orders(&mut client).len(), 4);
}

#[test]
fn an_order_with_an_end_is_over_then_though_nothing_else_happens() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let mut client = Client::sign_up(&server, "gtt@example.org");
    let soon = client.get("/time")["epoch"].as_f64().unwrap() + 2.0;
    let at = client.get("/time")["iso"].as_str().unwrap().to_owned();
    assert!(!at.is_empty());
    let mut ending = buy("1000.00");
    ending["time_in_force"] = "GTT".into();
    ending["expire_time"] = json!(jiff::Timestamp::from_microsecond((soon * 1e6) as i64).unwrap().to_string());
    let id = place(&mut client, ending);
    let lasting = place(&mut client, buy("1001.00"));
    let start = Instant::now();
    let over = loop {
        let order = order(&mut client, &id);
        if order["status"] == "done" {
            break order;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{order}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(over["done_reason"], "canceled");
    assert_eq!(open_orders(&mut client), [lasting]);
    let trace = client.get(&format!("/orders/{id}/trace"));
    let last = trace["events"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((last["type"].as_str(), last["reason"].as_str()), (Some("done"), Some("expired")));
}

/// A repeat gives the first order, also when memory has forgotten its id, in another process, and in every manner of
/// placing orders.
#[test]
fn a_client_id_names_its_first_order_for_ever() {
    let data = tempfile::tempdir().unwrap();
    let more = ["--client-ids-in-memory", "20"];
    let oid = |n: u32| format!("6f9619ff-8b86-4011-b42d-{n:012}");
    let named = |n: u32, price: &str| {
        let mut order = buy(price);
        order["client_oid"] = oid(n).into();
        order
    };
    let (token, first) = {
        let server = Server::start_with(data.path(), &more);
        let mut client = Client::sign_up(&server, "forever@example.org");
        let first: Vec<String> = (0..30).map(|n| place(&mut client, named(n, "100.00"))).collect();
        let body = json!({"orders": (30..90).map(|n| named(n, "100.00")).collect::<Vec<_>>()}).to_string();
        assert_eq!(client.send("POST", "/orders/batch", body.as_bytes()).unwrap().status, 200);
        // What was asked for does not matter: an id is an id.
        let again: Vec<String> = (0..30).map(|n| repeat(&mut client, &named(n, "200.00"))).collect();
        assert_eq!(again, first);
        assert_eq!(open_orders(&mut client).len(), 90);
        for id in &first[..10] {
            client.send("DELETE", &format!("/orders/{id}"), b"").unwrap();
        }
        (client.token.clone(), first)
    };
    let server = Server::start_with(data.path(), &more);
    let mut client = server.client(&token);
    for n in 0..30 {
        assert_eq!(repeat(&mut client, &named(n, "300.00")), first[n as usize], "order {n} after a restart");
        assert_eq!(client.get(&format!("/orders/client:{}", oid(n)))["id"], first[n as usize].as_str());
    }
    let body = json!({"orders": (0..30).map(|n| named(n, "300.00")).collect::<Vec<_>>()}).to_string();
    let answer = client.send("POST", "/orders/batch", body.as_bytes()).unwrap().json();
    let ids: Vec<_> = answer.as_array().unwrap().iter().map(|o| o["order_id"].as_str().unwrap_or_default()).collect();
    assert_eq!(ids, first);
    let mut desk = Desk::open(&server, &client);
    let answer = desk.ask(json!({"type": "place", "request_id": 1, "order": named(3, "300.00")}));
    assert_eq!(answer["result"]["order_id"], first[3].as_str(), "{answer}");
    let batch = json!({"place": [buy("100.00"), named(4, "300.00")]}).to_string();
    let answer = client.send("POST", "/orders/atomic", batch.as_bytes()).unwrap().json();
    assert_eq!((&answer["code"], &answer["part"]), (&json!("client_oid_taken"), &json!(1)), "{answer}");
    // Somebody else's ids are their own.
    let mut other = Client::sign_up(&server, "other@example.org");
    assert!(!first.contains(&place(&mut other, named(3, "300.00"))));
    assert_eq!(open_orders(&mut client).len(), 80);
    // New ids are new.
    assert!(!first.contains(&place(&mut client, named(1_000, "100.00"))));
}

/// Whoever lost the answer asks again, and must hear of the first order though the market would not take it any more.
#[test]
fn a_repeat_gives_the_first_order_whatever_the_market_takes_by_now() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let server = Server::start(data.path());
    let mut admin = Client::admin(&server);
    let mut rule = |rules: Value| {
        let answer = admin.send("PATCH", &format!("/admin/markets/{PRODUCT}"), rules.to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
    };
    let mut client = Client::sign_up(&server, "again@example.org");
    let named = |n: u32| {
        let mut order = buy("100.00");
        order["client_oid"] = format!("6f9619ff-8b86-4011-b42d-{n:012}").into();
        order
    };
    rule(json!({"max_open_orders": 1}));
    let first = place(&mut client, named(1));
    let refused = |client: &mut Client, code: &str| {
        let answer = client.send("POST", "/orders", named(2).to_string().as_bytes()).unwrap();
        assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some(code)), "{}", answer.json());
    };
    refused(&mut client, "too_many_open_orders");
    assert_eq!(repeat(&mut client, &named(1)), first);
    rule(json!({"state": "halted"}));
    refused(&mut client, "market_halted");
    assert_eq!(repeat(&mut client, &named(1)), first);
    let mut desk = Desk::open(&server, &client);
    let answer = desk.ask(json!({"type": "batch", "request_id": 1, "place": [named(1), named(2)]}));
    assert_eq!(answer["place"][0]["order_id"], first.as_str(), "{answer}");
    assert_eq!(answer["place"][1]["error"]["code"], "market_halted", "{answer}");
    assert_eq!(open_orders(&mut client), [first]);
}

/// Cancels all orders of a user.
fn cancel_all(client: &mut Client, query: &str) -> (u16, Value) {
    let answer = client.send("DELETE", &format!("/orders{query}"), b"").unwrap();
    (answer.status, answer.json())
}

fn until_open(client: &mut Client, expected: &[String]) {
    let start = Instant::now();
    while open_orders(client) != expected {
        assert!(start.elapsed() < Duration::from_secs(30), "{:?} are open", open_orders(client));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What stands still keeps its own orders, but nobody else's: whoever asks for all to be canceled gets as much as can be.
#[test]
fn a_market_that_stands_still_keeps_no_order_of_another_alive() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let server = Server::start_with(data.path(), &["--allow-drills"]);
    let mut admin = Client::admin(&server);
    let mut client = Client::sign_up(&server, "still@example.org");
    let mut stranger = Client::sign_up(&server, "elsewhere@example.org");
    let mut done = |method: &str, path: &str, body: Value| {
        let answer = admin.send(method, path, body.to_string().as_bytes()).unwrap();
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.json());
        answer.json()
    };
    let elsewhere = json!({"side": "buy", "product_id": "ETH-USDT", "price": "100.00", "size": "0.1"});
    let stuck = place(&mut client, buy("1000.00"));
    let rest = std::slice::from_ref(&stuck);
    let market = format!("/admin/markets/{PRODUCT}");

    done("PATCH", &market, json!({"state": "halted"}));
    place(&mut client, elsewhere.clone());
    let (status, answer) = cancel_all(&mut client, "");
    assert_eq!((status, answer["code"].as_str()), (400, Some("market_halted")), "{answer}");
    assert_eq!(open_orders(&mut client), rest);
    // Who has nothing there hears nothing of it.
    let theirs = place(&mut stranger, elsewhere.clone());
    assert_eq!(cancel_all(&mut stranger, ""), (200, json!([theirs])));
    assert_eq!(cancel_all(&mut stranger, &format!("?product_id={PRODUCT}")), (200, json!([])));
    // Over the socket, and when the trader falls silent.
    place(&mut client, elsewhere.clone());
    let mut desk = Desk::open(&server, &client);
    let answer = desk.ask(json!({"type": "cancel_all", "request_id": 1}));
    assert_eq!((answer["type"].as_str(), answer["code"].as_str()), (Some("request_failed"), Some("market_halted")));
    assert_eq!(open_orders(&mut client), rest);
    place(&mut client, elsewhere.clone());
    desk.ask(json!({"type": "cancel_all_after", "request_id": 2, "timeout_ms": 100}));
    until_open(&mut client, rest);
    done("PATCH", &market, json!({"state": "online"}));

    // The same entry stops the book again and again.
    done("POST", "/admin/tree/agora/trading/venue/order%20book%20BTC-USDT/crash", json!({"kind": "poison"}));
    assert_eq!(stranger.send("POST", "/orders", buy("900.00").to_string().as_bytes()).unwrap().status, 503);
    let start = Instant::now();
    while stranger.get(&format!("/products/{PRODUCT}"))["status"] != "offline" {
        assert!(start.elapsed() < Duration::from_secs(60), "the market is not faulted");
        std::thread::sleep(Duration::from_millis(50));
    }
    place(&mut client, elsewhere);
    let (status, answer) = cancel_all(&mut client, "");
    assert_eq!((status, answer["code"].as_str()), (503, Some("market_faulted")), "{answer}");
    assert_eq!(open_orders(&mut client), rest);
    // What was before the fault can be looked up.
    assert_eq!(order(&mut client, &stuck)["status"], "open");
    assert_eq!(client.get(&format!("/orders/{stuck}/trace"))["events"][0]["type"], "received");
    assert_eq!(client.get(&format!("/fills?product_id={PRODUCT}")), json!([]));
    let accounts = client.get("/accounts");
    let usdt = accounts.as_array().unwrap().iter().find(|account| account["currency"] == "USDT").unwrap();
    let holds = client.get(&format!("/accounts/{}/holds", usdt["id"].as_str().unwrap()));
    assert_eq!(holds.as_array().unwrap().iter().map(|hold| hold["ref"].clone()).collect::<Vec<_>>(), [json!(stuck)]);

    let killed = done("POST", "/admin/kill", json!({"scope": "venue", "engaged": true}));
    assert_eq!(killed["faulted_markets"], json!([PRODUCT]), "{killed}");
    let start = Instant::now();
    while stranger.get("/products/ETH-USDT")["trading_disabled"] != true {
        assert!(start.elapsed() < Duration::from_secs(30), "the other markets are not stopped");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(admin.get("/admin/audit?action=kill_switch")[0]["detail"]["faulted_markets"], json!([PRODUCT]));
}
