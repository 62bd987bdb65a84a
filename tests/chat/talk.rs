//! What people do with each other: talk, make friends, run into limits.

use crate::people::{User, block_on, next_of};
use crate::server::{Client, Server};
use crate::servers;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

#[test]
fn a_room_from_making_it_to_reading_what_was_missed() {
    let data = tempfile::tempdir().unwrap();
    make_talk_and_miss(&Server::start(data.path()));
}

#[test]
fn the_same_with_postgresql() {
    let data = tempfile::tempdir().unwrap();
    let mut postgres = servers::Postgres::start();
    make_talk_and_miss(&Server::start_with(data.path(), &["--database", &postgres.url()]));
    postgres.stop();
}

fn make_talk_and_miss(server: &Server) {
    let (mut ada, mut bob) = (User::new(server, "ada"), User::new(server, "bob"));
    let room = ada.room("public", "Lounge");
    block_on(async {
        let (mut a, mut b) = (ada.socket(), bob.socket());
        a.connect().await.unwrap();
        b.connect().await.unwrap();
        assert_eq!(a.rooms[&room].last, 0);
        assert!(!b.rooms.contains_key(&room));
        assert_eq!(b.ask(json!({"type": "join", "room": room})).await.unwrap()["type"], "ack");
        assert_eq!(next_of(&mut a, "member").await["what"], "joined");

        let id = b.send_text(&room, "hello @ada").await;
        let ack = next_of(&mut b, "ack").await;
        assert_eq!((&ack["client_id"], &ack["sequence"]), (&json!(id), &json!(1)));
        let heard = next_of(&mut a, "message").await;
        assert_eq!(heard["message"]["text"], "hello @ada");
        assert_eq!(heard["message"]["mentions"], json!([ada.id]));
        assert_eq!(heard["message"]["author"], json!(bob.id));

        // The same client id is the same message.
        let again = json!({"type": "send", "room": room, "client_id": id, "text": "hello @ada"});
        assert_eq!(b.ask(again).await.unwrap()["sequence"], 1);

        // What is missed while away comes after the reconnect, once and in order.
        a.cut();
        for text in ["two", "three", "four"] {
            b.send_text(&room, text).await;
        }
        while b.unacknowledged() > 0 {
            b.next().await.unwrap();
        }
        for (expected, sequence) in [("two", 2), ("three", 3), ("four", 4)] {
            let heard = next_of(&mut a, "message").await;
            assert_eq!(
                (&heard["message"]["text"], &heard["message"]["sequence"]),
                (&json!(expected), &json!(sequence))
            );
        }
        assert_eq!(a.connects, 2);
        assert!(a.faults.is_empty(), "{:?}", a.faults);

        // Edit, react, delete reach the others as they are then.
        b.ask(json!({"type": "edit", "room": room, "message": 2, "text": "zwei"})).await.unwrap();
        assert_eq!(next_of(&mut a, "changed").await["message"]["text"], "zwei");
        a.ask(json!({"type": "react", "room": room, "message": 2, "emoji": "👍"})).await.unwrap();
        // The first change is bob's own edit.
        assert_eq!(next_of(&mut b, "changed").await["message"]["text"], "zwei");
        assert_eq!(next_of(&mut b, "changed").await["message"]["reactions"]["👍"], json!([ada.id]));
        assert_eq!(next_of(&mut a, "changed").await["message"]["reactions"]["👍"], json!([ada.id]));
        assert_eq!(
            a.ask(json!({"type": "search", "text": "zwe"})).await.unwrap()["messages"][0]["message"]["sequence"],
            2
        );
        b.ask(json!({"type": "delete", "room": room, "message": 2})).await.unwrap();
        let gone = next_of(&mut a, "changed").await;
        assert!(gone["message"]["text"].is_null() && !gone["message"]["deleted_at"].is_null(), "{gone}");
        assert_eq!(a.ask(json!({"type": "search", "text": "zwe"})).await.unwrap()["messages"], json!([]));

        // Typing, and reading on another device.
        b.request(json!({"type": "typing", "room": room})).await;
        assert_eq!(next_of(&mut a, "typing").await["user"], json!(bob.id));
        let mut phone = ada.socket();
        phone.connect().await.unwrap();
        // Message 2 was deleted: 1, 3 and 4 are left.
        assert_eq!(phone.rooms[&room].unread, 3);
        phone.ask(json!({"type": "read", "room": room, "message": 3})).await.unwrap();
        assert_eq!(next_of(&mut a, "read").await["unread"], 1);

        // History both ways and around.
        let page = a.ask(json!({"type": "history", "room": room, "before": 4, "limit": 2})).await.unwrap();
        let sequences = |page: &Value| -> Vec<u64> {
            page["messages"].as_array().unwrap().iter().map(|m| m["sequence"].as_u64().unwrap()).collect()
        };
        assert_eq!(sequences(&page), [2, 3]);
        let page = a.ask(json!({"type": "history", "room": room, "after": 1, "limit": 2})).await.unwrap();
        assert_eq!(sequences(&page), [2, 3]);
        let page = a.ask(json!({"type": "history", "room": room, "around": 2, "limit": 3})).await.unwrap();
        assert_eq!(sequences(&page), [1, 2, 3]);
    });
    assert_eq!(bob.texts(&room), ["hello @ada", "-", "three", "four"]);
    // A text that PostgreSQL cannot keep gets no further, and neither does a question about one.
    let invalid = (400, "invalid".to_owned());
    assert_eq!(bob.refused("POST", &format!("/rooms/{room}/messages"), json!({"text": "a\0b"})), invalid);
    assert_eq!(bob.refused("POST", &format!("/rooms/{room}/messages"), json!({"text": "hi @a\0b"})), invalid);
    assert_eq!(ada.refused("PATCH", &format!("/rooms/{room}"), json!({"topic": "\0"})), invalid);
    assert_eq!(bob.refused("POST", "/friends", json!({"nick": "a\0", "step": "ask"})), invalid);
    assert_eq!(bob.refused("GET", "/rooms/public?q=a%00", Value::Null), invalid);
    assert_eq!(bob.refused("GET", "/search?q=a%00", Value::Null), invalid);
    // Names are found in upper and lower case.
    for part in ["btc", "BTC-u"] {
        assert_eq!(bob.ok("GET", &format!("/rooms/public?q={part}"), Value::Null)[0]["name"], "BTC-USDT");
    }
    assert_eq!(bob.ok("GET", "/rooms/public?q=LOUNGE", Value::Null)[0]["id"], json!(room));
    bob.say(&room, "five");
    assert_eq!(ada.refused("PATCH", &format!("/rooms/{room}/messages/1"), json!({"text": "x"})).1, "not_yours");
}

#[test]
fn friends_and_those_who_are_blocked() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let (mut ada, mut bob) = (User::new(&server, "ada"), User::new(&server, "bob"));
    let direct = ada.ok("POST", "/friends", json!({"nick": "BOB", "step": "ask"}))["room"].clone();
    let direct = direct.as_str().unwrap().to_owned();
    let friends = bob.ok("GET", "/friends", Value::Null);
    assert_eq!(friends["friends"][0]["status"], "wants");
    assert_eq!(friends["people"][0]["nick"], "ada");
    let say = |user: &mut User| user.call("POST", &format!("/rooms/{direct}/messages"), json!({"text": "hi"}));
    assert_eq!(say(&mut ada).1["code"], "not_friends");
    block_on(async {
        let (mut a, mut b) = (ada.socket(), bob.socket());
        a.connect().await.unwrap();
        b.ask(json!({"type": "friend", "user": ada.id, "step": "accept"})).await.unwrap();
        assert_eq!(next_of(&mut a, "friend").await["status"], "friends");
        // Each sees that the other is there, and that it has gone.
        loop {
            let event = next_of(&mut a, "presence").await;
            assert_eq!(event["people"][0]["user"], json!(bob.id));
            if event["people"][0]["status"] == "online" {
                break;
            }
        }
        b.request(json!({"type": "away", "away": true})).await;
        assert_eq!(next_of(&mut a, "presence").await["people"][0]["status"], "away");
        a.send_text(&direct, "hello").await;
        assert_eq!(next_of(&mut b, "message").await["message"]["text"], "hello");
        b.ask(json!({"type": "read", "room": direct, "message": 1})).await.unwrap();
        assert_eq!(next_of(&mut a, "read").await["user"], json!(bob.id));
        b.cut();
        let gone = next_of(&mut a, "presence").await;
        assert_eq!(gone["people"][0]["status"], "offline");
        assert!(gone["people"][0]["last_seen"].is_string());
    });
    let room = ada.room("public", "Square");
    bob.ok("POST", &format!("/rooms/{room}/join"), Value::Null);
    ada.say(&room, "good morning");
    bob.ok("POST", "/friends", json!({"user": ada.id, "step": "block"}));
    assert_eq!(say(&mut ada).1["code"], "blocked");
    assert_eq!(say(&mut bob).1["code"], "blocked");
    // In a room of others the blocked one's words do not arrive, its numbers do.
    block_on(async {
        let mut b = bob.socket();
        b.connect().await.unwrap();
        ada.say(&room, "do you hear me?");
        let heard = next_of(&mut b, "message").await;
        assert_eq!((&heard["message"]["hidden"], &heard["message"]["text"]), (&json!(true), &Value::Null));
        assert_eq!(heard["message"]["sequence"], 2);
    });
    assert_eq!(bob.texts(&room), ["-", "-"]);
    assert_eq!(bob.ok("GET", "/search?q=morning", Value::Null)["messages"], json!([]));
    assert_eq!(bob.ok("GET", "/messages", Value::Null)["messages"], json!([]));
    bob.ok("POST", "/friends", json!({"user": ada.id, "step": "unblock"}));
    assert_eq!(bob.texts(&room), ["good morning", "do you hear me?"]);
}

#[test]
fn only_those_who_share_a_room_of_several_see_each_other_and_not_whom_they_are_blocked_by() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let (mut ada, mut bob) = (User::new(&server, "ada"), User::new(&server, "bob"));
    let room = ada.room("public", "Square");
    let path = format!("/people?users={}", bob.id);
    let seen = |ada: &mut User| ada.ok("GET", &path, Value::Null)[0].clone();
    block_on(async {
        let mut b = bob.socket();
        b.connect().await.unwrap();
        // Anybody can ask anybody, and learns nothing by it.
        ada.ok("POST", "/friends", json!({"user": bob.id, "step": "ask"}));
        let asked = seen(&mut ada);
        assert_eq!((&asked["status"], &asked["last_seen"]), (&json!("offline"), &Value::Null));
        bob.ok("POST", &format!("/rooms/{room}/join"), Value::Null);
        // Asked after what was acknowledged, so from here on the rows say it.
        assert_eq!(bob.ok("GET", "/rooms", Value::Null).as_array().unwrap().len(), 2);
        assert_eq!(seen(&mut ada)["status"], "online");
        bob.ok("POST", "/friends", json!({"user": ada.id, "step": "block"}));
        assert_eq!(seen(&mut ada)["status"], "offline");
    });
}

#[test]
fn limits_reports_and_the_rooms_of_markets() {
    let data = tempfile::tempdir().unwrap();
    let limits = ["--chat-message-bytes", "50", "--chat-user-rate", "8", "--chat-blocked-words", "scam,spam"];
    let more = ["--chat-links", "agora.example", "--chat-rooms-owned", "1"];
    let server = Server::start_with(data.path(), &[limits.as_slice(), &more].concat());
    let (mut ada, mut bob) = (User::new(&server, "ada"), User::new(&server, "bob"));
    let room = ada.room("public", "Hall");
    let messages = format!("/rooms/{room}/messages");
    let second = ada.refused("POST", "/rooms", json!({"kind": "public", "name": "Another"}));
    assert_eq!(second.1, "too_many_rooms");
    assert_eq!(ada.refused("POST", &messages, json!({"text": "x".repeat(51)})), (400, "too_long".into()));
    assert_eq!(ada.refused("POST", &messages, json!({"text": " "})), (400, "empty".into()));
    assert_eq!(ada.refused("POST", &messages, json!({"text": "no Scam!"})), (400, "filtered".into()));
    assert_eq!(ada.refused("POST", &messages, json!({"text": "https://evil.example"})), (400, "filtered".into()));
    ada.say(&room, "https://www.agora.example/x");
    assert_eq!(bob.refused("PUT", "/me", json!({"nick": "ADA"})), (409, "nick_taken".into()));
    assert_eq!(bob.refused("PUT", "/me", json!({"nick": "a b"})).1, "invalid_nick");

    // A report reaches the moderators of the room.
    bob.ok("POST", &format!("/rooms/{room}/join"), Value::Null);
    block_on(async {
        let mut socket = ada.socket();
        socket.connect().await.unwrap();
        let report = bob.ok("POST", &format!("{messages}/1/reports"), json!({"reason": "advertising"}));
        assert_eq!(next_of(&mut socket, "reported").await["report"], report["number"]);
    });
    ada.ok("POST", &format!("/rooms/{room}/reports/1/resolve"), json!({"note": "it is ours"}));
    assert_eq!(ada.refused("POST", &format!("/rooms/{room}/reports/1/resolve"), json!({})).1, "no_request");
    assert_eq!(bob.http.send("GET", "/admin/chat/reports", b"").unwrap().status, 403);

    // The rooms of the markets are there, with a word of the venue.
    let public = bob.ok("GET", "/rooms/public?q=BTC-USDT", Value::Null);
    assert_eq!((&public[0]["id"], &public[0]["name"]), (&json!("1"), &json!("BTC-USDT")));
    bob.ok("POST", "/rooms/1/join", Value::Null);
    let said = bob.ok("GET", "/rooms/1/messages", Value::Null);
    assert_eq!((&said["messages"][0]["system"], &said["messages"][0]["sequence"]), (&json!(true), &json!(1)));
    assert_eq!(bob.refused("PATCH", "/rooms/1", json!({"topic": "mine"})).1, "not_allowed");

    // Too fast is said with a time.
    let too_fast = (0..20).find_map(|n| {
        let answer =
            ada.http.send("POST", &format!("/chat{messages}"), json!({"text": format!("{n}")}).to_string().as_bytes());
        let answer = answer.unwrap();
        (answer.status == 429).then_some(answer)
    });
    let too_fast = too_fast.expect("a limit");
    assert_eq!(too_fast.json()["code"], "too_fast");
    assert!(too_fast.header("retry-after").is_some());
}

#[test]
fn a_room_that_was_taken_out_of_memory_goes_on_where_it_was() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), &["--chat-room-idle-s", "1"]);
    let mut ada = User::new(&server, "ada");
    let room = ada.room("public", "Quiet");
    let id = Uuid::new_v4();
    let send = json!({"text": "one", "client_id": id});
    ada.ok("POST", &format!("/rooms/{room}/messages"), send.clone());
    block_on(async {
        let mut socket = ada.socket();
        socket.connect().await.unwrap();
        // Idle rooms are looked for every five seconds.
        tokio::time::sleep(Duration::from_secs(7)).await;
        // The kept connection has ended meanwhile.
        ada.http = server.client(&ada.http.token);
        assert_eq!(ada.ok("POST", &format!("/rooms/{room}/messages"), send)["sequence"], 1);
        assert_eq!(ada.say(&room, "two"), 2);
        assert_eq!(next_of(&mut socket, "message").await["message"]["text"], "two");
    });
    ada.ok("PATCH", &format!("/rooms/{room}/messages/1"), json!({"text": "uno"}));
    assert_eq!(ada.texts(&room), ["uno", "two"]);
}

/// The log's owner of each stream dies with it, and chat is no part of what is restarted after it.
#[test]
fn chat_goes_on_with_a_new_event_log() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let server = Server::start_with(data.path(), &["--allow-drills"]);
    let mut admin = Client::admin(&server);
    let mut ada = User::new(&server, "ada");
    let room = ada.room("public", "Hall");
    for number in 1..=3 {
        assert_eq!(admin.send("POST", "/admin/tree/agora/trading/event%20log/crash", b"{}").unwrap().status, 202);
        let message = json!({"text": format!("after {number}"), "client_id": Uuid::new_v4()});
        let written = ada.patiently("POST", &format!("/rooms/{room}/messages"), message);
        assert_eq!(written["sequence"], number);
    }
    assert_eq!(ada.texts(&room), ["after 1", "after 2", "after 3"]);
}

#[test]
fn the_venue_speaks_in_the_rooms_of_its_markets() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let server = Server::start_with(data.path(), &["--allow-drills", "--chat-big-trade", "50"]);
    let mut admin = Client::admin(&server);
    let mut ada = User::new(&server, "ada");
    ada.ok("POST", "/rooms/1/join", Value::Null);
    let order = |side: &str, size: &str| json!({"product_id": "BTC-USDT", "side": side, "price": "900", "size": size});
    let (mut maker, mut taker) = (Client::sign_up(&server, "m@example.org"), Client::sign_up(&server, "t@example.org"));
    let mut crash = |kind: &str| {
        let path = "/admin/tree/agora/trading/venue/order%20book%20BTC-USDT/crash";
        let body = json!({"kind": kind, "for_ms": 0}).to_string();
        assert_eq!(admin.send("POST", path, body.as_bytes()).unwrap().status, 202);
    };
    block_on(async {
        let mut socket = ada.socket();
        socket.connect().await.unwrap();
        // 9 USDT are not worth a word, 90 are.
        for (side, size) in [("sell", "0.11"), ("buy", "0.01"), ("buy", "0.1")] {
            let client = if side == "sell" { &mut maker } else { &mut taker };
            let placed = client.send("POST", "/orders", order(side, size).to_string().as_bytes()).unwrap();
            assert_eq!(placed.status, 200, "{}", placed.json());
        }
        let said = next_of(&mut socket, "message").await["message"].clone();
        assert_eq!(said["text"], "A trade worth 90 USDT in BTC-USDT.");
        assert_eq!(said["system"], true);

        crash("poison");
        let fate = maker.send("POST", "/orders", order("sell", "0.1").to_string().as_bytes()).unwrap();
        assert_eq!(fate.status, 503);
        let said = next_of(&mut socket, "message").await["message"]["text"].clone();
        assert!(said.as_str().unwrap().starts_with("BTC-USDT is halted"), "{said}");
        crash("cure");
        let revive = "/admin/tree/agora/trading/venue/order%20book%20BTC-USDT/revive";
        assert_eq!(server.client(&Client::admin(&server).token).send("POST", revive, b"").unwrap().status, 200);
        assert_eq!(next_of(&mut socket, "message").await["message"]["text"], "BTC-USDT goes on.");
    });
    // Nothing is said twice by a server that starts again.
    let said = ada.texts("1");
    drop(server);
    let server = Server::start_with(data.path(), &["--chat-big-trade", "50"]);
    ada.http = server.client(&ada.http.token);
    assert_eq!(ada.texts("1"), said);
}
