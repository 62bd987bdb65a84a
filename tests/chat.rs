//! Chat through the real program: HTTP and WebSocket only.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod s3;
mod server;
mod servers;

use agora::chat_client::ChatClient;
use serde_json::{Value, json};
use server::{Client, Server};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

fn block_on<T>(work: impl Future<Output = T>) -> T {
    actix_web::rt::System::new()
        .block_on(async { tokio::time::timeout(Duration::from_secs(120), work).await.expect("took too long") })
}

struct User {
    http: Client,
    id: String,
    base: String,
}

impl User {
    fn new(server: &Server, name: &str) -> User {
        let mut http = Client::sign_up(server, &format!("{name}@example.org"));
        let named = http.send("PUT", "/chat/me", json!({"nick": name}).to_string().as_bytes()).unwrap();
        assert_eq!(named.status, 200, "{}", named.json());
        let id = named.json()["user"].as_str().unwrap().to_owned();
        User { http, id, base: format!("http://{}", server.address) }
    }

    fn socket(&self) -> ChatClient {
        ChatClient::new(&self.base, &self.http.token)
    }

    fn call(&mut self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.http.send(method, &format!("/chat{path}"), body.as_bytes()).unwrap();
        (answer.status, answer.json())
    }

    /// A call that must succeed.
    fn ok(&mut self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// A call that must fail with this code.
    fn refused(&mut self, method: &str, path: &str, body: Value) -> (u16, String) {
        let (status, answer) = self.call(method, path, body);
        assert!(status >= 400, "{method} {path}: {status} {answer}");
        (status, answer["code"].as_str().unwrap().to_owned())
    }

    fn room(&mut self, kind: &str, name: &str) -> String {
        let room = self.ok("POST", "/rooms", json!({"kind": kind, "name": name}));
        room["id"].as_str().unwrap().to_owned()
    }

    fn say(&mut self, room: &str, text: &str) -> u64 {
        let body = json!({"text": text, "client_id": Uuid::new_v4()});
        self.ok("POST", &format!("/rooms/{room}/messages"), body)["sequence"].as_u64().unwrap()
    }

    fn texts(&mut self, room: &str) -> Vec<String> {
        let page = self.ok("GET", &format!("/rooms/{room}/messages?limit=200"), Value::Null);
        let text = |message: &Value| message["text"].as_str().unwrap_or("-").to_owned();
        page["messages"].as_array().unwrap().iter().map(text).collect()
    }
}

async fn next_of(client: &mut ChatClient, kind: &str) -> Value {
    loop {
        let event = client.next().await.unwrap();
        if event["type"] == kind {
            return event;
        }
    }
}

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
    assert_eq!(ada.refused("PATCH", &format!("/rooms/{room}/messages/1"), json!({"text": "x"})).1, "not_yours");
}

#[test]
fn nobody_gets_at_a_room_without_the_right_to() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let (mut ada, mut bob) = (User::new(&server, "ada"), User::new(&server, "bob"));
    let mut eve = User::new(&server, "eve");
    let room = ada.room("private", "Secret");
    ada.say(&room, "the treasure is under the tree");

    // An outsider learns nothing, not even that the room exists.
    for (method, path, body) in [
        ("GET", "".to_owned(), Value::Null),
        ("GET", "/messages".into(), Value::Null),
        ("GET", "/members".into(), Value::Null),
        ("GET", "/invites".into(), Value::Null),
        ("GET", "/bans".into(), Value::Null),
        ("POST", "/messages".into(), json!({"text": "x"})),
        ("PATCH", "/messages/1".into(), json!({"text": "x"})),
        ("DELETE", "/messages/1".into(), Value::Null),
        ("POST", "/messages/1/reactions".into(), json!({"emoji": "👍"})),
        ("POST", "/messages/1/reports".into(), json!({"reason": "x"})),
        ("PUT", "/read".into(), json!({"message": 1})),
        ("POST", "/join".into(), Value::Null),
        ("POST", "/leave".into(), Value::Null),
        ("POST", "/invites".into(), json!({})),
        ("PATCH", String::new(), json!({"topic": "x"})),
        ("DELETE", String::new(), Value::Null),
        ("DELETE", format!("/members/{}", ada.id), Value::Null),
        ("PUT", format!("/bans/{}", ada.id), Value::Null),
        ("PATCH", format!("/members/{}", ada.id), json!({"mute_s": 60})),
    ] {
        let refused = eve.refused(method, &format!("/rooms/{room}{path}"), body);
        assert_eq!(refused, (404, "unknown_room".into()), "{method} {path}");
    }
    assert_eq!(eve.ok("GET", "/search?q=treasure", Value::Null)["messages"], json!([]));
    assert_eq!(eve.ok("GET", &format!("/search?q=treasure&room={room}"), Value::Null)["messages"], json!([]));
    assert_eq!(eve.refused("GET", "/rooms/0", Value::Null).1, "unknown_room");
    block_on(async {
        let mut socket = eve.socket();
        let answer = socket.ask(json!({"type": "history", "room": room})).await.unwrap();
        assert_eq!(answer["code"], "unknown_room");
        let send = json!({"type": "send", "room": room, "client_id": Uuid::new_v4(), "text": "x"});
        assert_eq!(socket.ask(send).await.unwrap()["code"], "unknown_room");
    });

    // By invitation, once.
    let invite = ada.ok("POST", &format!("/rooms/{room}/invites"), json!({"uses": 1}))["invite"].clone();
    let invite = invite.as_str().unwrap();
    bob.ok("POST", &format!("/invites/{invite}"), Value::Null);
    assert_eq!(eve.refused("POST", &format!("/invites/{invite}"), Value::Null).1, "bad_invite");
    assert_eq!(bob.texts(&room), ["the treasure is under the tree"]);
    assert_eq!(bob.ok("GET", "/search?q=TREAS", Value::Null)["messages"][0]["message"]["sequence"], 1);
    assert_eq!(bob.refused("DELETE", &format!("/rooms/{room}/messages/1"), Value::Null).1, "not_allowed");

    // Deleted content is gone, from history and search.
    ada.ok("DELETE", &format!("/rooms/{room}/messages/1"), Value::Null);
    assert_eq!(bob.texts(&room), ["-"]);
    assert_eq!(bob.ok("GET", "/search?q=treasure", Value::Null)["messages"], json!([]));

    // Whoever is banned is out, on open sockets too.
    block_on(async {
        let mut socket = bob.socket();
        socket.connect().await.unwrap();
        ada.ok("PUT", &format!("/rooms/{room}/bans/{}", bob.id), Value::Null);
        assert_eq!(next_of(&mut socket, "member").await["what"], "banned");
        ada.say(&room, "now we are alone");
        let page = socket.ask(json!({"type": "history", "room": room})).await.unwrap();
        assert_eq!(page["code"], "unknown_room");
        // Nothing of the room came in between.
        while let Ok(Ok(event)) = tokio::time::timeout(Duration::from_millis(200), socket.next()).await {
            assert_ne!(event["type"], "message", "{event}");
        }
    });
    let (_, code) = bob.refused("POST", &format!("/rooms/{room}/messages"), json!({"text": "x"}));
    assert_eq!(code, "banned");

    // What was signed out hears nothing more.
    block_on(async {
        let mut socket = eve.socket();
        socket.connect().await.unwrap();
        eve.http.send("POST", "/auth/sign-out", b"").unwrap();
        assert_eq!(next_of(&mut socket, "closed").await["code"], "signed_out");
        assert!(socket.next().await.is_err());
    });
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

/// A socket that says hello and then does not read.
fn deaf(user: &User, server: &Server) -> std::net::TcpStream {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    write!(
        stream,
        "GET /v1/chat/ws HTTP/1.1\r\nHost: agora\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nAuthorization: Bearer {}\r\n\r\n",
        user.http.token
    )
    .unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    // A masked text frame whose mask is zero.
    let hello = br#"{"type":"hello"}"#;
    stream.write_all(&[0x81, 0x80 | hello.len() as u8, 0, 0, 0, 0]).unwrap();
    stream.write_all(hello).unwrap();
    stream
}

#[test]
fn a_reader_that_does_not_read_is_told_so_and_loses_nothing() {
    use std::io::Read;
    const MESSAGES: u64 = 3_000;
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), &["--chat-user-rate", "0", "--chat-room-rate", "0"]);
    let (mut ada, mut bob) = (User::new(&server, "ada"), User::new(&server, "bob"));
    let room = ada.room("public", "Flood");
    bob.ok("POST", &format!("/rooms/{room}/join"), Value::Null);
    let mut stream = deaf(&bob, &server);
    block_on(async {
        let mut a = ada.socket();
        a.connect().await.unwrap();
        let text = "x".repeat(3_900);
        for sent in 0..MESSAGES {
            a.send_text(&room, &text).await;
            // Not more under way than one client may have.
            while a.unacknowledged() > 100 || (sent == MESSAGES - 1 && a.unacknowledged() > 0) {
                a.next().await.unwrap();
            }
        }
    });
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut heard = Vec::new();
    // It ends by the server's closing, or by the network's giving up.
    let _ = stream.read_to_end(&mut heard);
    let told = heard.windows(br#""code":"too_slow""#.len()).any(|part| part == br#""code":"too_slow""#);
    assert!(told, "{} bytes without a reason", heard.len());
    assert!((heard.len() as u64) < MESSAGES * 3_900, "nothing was left out");
    block_on(async {
        let mut b = bob.socket();
        b.rooms.insert(room.clone(), agora::chat_client::Room::default());
        for expected in 1..=MESSAGES {
            assert_eq!(next_of(&mut b, "message").await["message"]["sequence"], expected);
        }
        assert!(b.faults.is_empty(), "{:?}", b.faults);
    });
}

/// One of many clients: sends, loses its connection now and then, reads slowly now and then.
async fn restless(user: usize, device: usize, base: String, token: String, rooms: Vec<String>) -> Restless {
    let mut rng = ((user * 31 + device * 7 + 1) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = move |bound: u64| {
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        rng % bound
    };
    let mut client = ChatClient::new(&base, &token);
    let mut heard: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for room in &rooms {
        client.rooms.insert(room.clone(), agora::chat_client::Room::default());
    }
    let mut acknowledged = BTreeMap::new();
    let mut unsent = 10;
    let deadline = std::time::Instant::now() + Duration::from_secs(100);
    while unsent > 0 || client.unacknowledged() > 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "user {user}, device {device}: {} unacknowledged",
            client.unacknowledged()
        );
        if unsent > 0 && random(3) == 0 {
            let room = &rooms[random(rooms.len() as u64) as usize];
            client.send_text(room, &format!("{user}.{device}.{unsent}")).await;
            unsent -= 1;
        }
        match random(40) {
            0 => client.cut(),
            1 => tokio::time::sleep(Duration::from_millis(300)).await,
            2 => client.send_again().await,
            _ => {}
        }
        // Not within the time limit below: giving up on a connection that is being made never makes one.
        client.connect().await.unwrap();
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(100), client.next()).await {
            note(&event.unwrap(), &mut heard, &mut acknowledged);
        }
    }
    Restless { client, heard, acknowledged }
}

struct Restless {
    client: ChatClient,
    /// What it was handed of each room: sequence and text.
    heard: BTreeMap<String, Vec<(u64, String)>>,
    /// Sequence by room and client id.
    acknowledged: BTreeMap<(String, String), u64>,
}

fn note(
    event: &Value,
    heard: &mut BTreeMap<String, Vec<(u64, String)>>,
    acknowledged: &mut BTreeMap<(String, String), u64>,
) {
    let room = event["room"].as_str().unwrap_or_default().to_owned();
    match event["type"].as_str() {
        Some("message") => {
            let message = &event["message"];
            let text = message["text"].as_str().unwrap().to_owned();
            heard.entry(room).or_default().push((message["sequence"].as_u64().unwrap(), text));
        }
        Some("ack") if event["client_id"].is_string() => {
            let id = event["client_id"].as_str().unwrap().to_owned();
            let sequence = event["sequence"].as_u64().unwrap();
            let before = acknowledged.insert((room, id), sequence);
            assert!(before.is_none_or(|before| before == sequence), "one message, two sequences");
        }
        _ => {}
    }
}

#[test]
fn fifty_clients_a_bad_network_and_two_crashes_lose_and_double_nothing() {
    const USERS: usize = 10;
    const DEVICES: usize = 5;
    let data = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let more = ["--chat-user-rate", "0", "--chat-room-rate", "0"];
    let server = Server::start_at(data.path(), &free, &more);
    let mut users: Vec<User> = (0..USERS).map(|n| User::new(&server, &format!("user{n}x"))).collect();
    let rooms: Vec<String> = (0..3).map(|n| users[0].room("public", &format!("Room {n}"))).collect();
    for user in &mut users[1..] {
        for room in &rooms {
            user.ok("POST", &format!("/rooms/{room}/join"), Value::Null);
        }
    }
    let (server, clients) = block_on(async {
        let mut clients = Vec::new();
        for (number, user) in users.iter().enumerate() {
            for device in 0..DEVICES {
                let (base, token) = (user.base.clone(), user.http.token.clone());
                clients.push(actix_web::rt::spawn(restless(number, device, base, token, rooms.clone())));
            }
        }
        let mut server = Some(server);
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            // Dropping it is kill -9.
            drop(server.take());
            let (path, free) = (data.path().to_owned(), free.clone());
            let again = tokio::task::spawn_blocking(move || Server::start_at(&path, &free, &more));
            server = Some(again.await.unwrap());
        }
        let mut done = Vec::new();
        for client in clients {
            done.push(client.await.unwrap());
        }
        (server.unwrap(), done)
    });
    // What the rooms' history says.
    let mut history = BTreeMap::new();
    for user in &mut users {
        user.http = server.client(&user.http.token);
    }
    for room in &rooms {
        let mut messages = Vec::new();
        loop {
            let after = messages.len();
            let page = users[0].ok("GET", &format!("/rooms/{room}/messages?after={after}&limit=200"), Value::Null);
            let page = page["messages"].as_array().unwrap().clone();
            if page.is_empty() {
                break;
            }
            messages.extend(page);
        }
        history.insert(room.clone(), messages);
    }
    let total: usize = history.values().map(Vec::len).sum();
    assert_eq!(total, USERS * DEVICES * 10, "every message once");
    let texts: std::collections::BTreeSet<&str> =
        history.values().flatten().map(|message| message["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), total, "no message twice");
    block_on(async {
        for mut client in clients {
            assert!(client.client.faults.is_empty(), "{:?}", client.client.faults);
            for ((room, id), sequence) in &client.acknowledged {
                let message = &history[room][*sequence as usize - 1];
                assert_eq!(
                    (&message["sequence"], message["client_id"].as_str()),
                    (&json!(sequence), Some(id.as_str()))
                );
            }
            // After resuming, each ends with exactly the history.
            for (room, messages) in &history {
                while client.heard.get(room).map_or(0, Vec::len) < messages.len() {
                    let event = client.client.next().await.unwrap();
                    note(&event, &mut client.heard, &mut client.acknowledged);
                }
                let all: Vec<(u64, String)> = messages
                    .iter()
                    .map(|message| {
                        (message["sequence"].as_u64().unwrap(), message["text"].as_str().unwrap().to_owned())
                    })
                    .collect();
                assert_eq!(client.heard[room], all);
            }
        }
    });
}

/// Uploads, shows and deletes an image; its object must then go within what `tidied` waits for.
fn images(server: &Server) -> (User, String, String) {
    let (mut ada, mut bob) = (User::new(server, "ada"), User::new(server, "bob"));
    let mut eve = User::new(server, "eve");
    let room = ada.room("private", "Gallery");
    let invite = ada.ok("POST", &format!("/rooms/{room}/invites"), json!({}))["invite"].clone();
    bob.ok("POST", &format!("/invites/{}", invite.as_str().unwrap()), Value::Null);
    let path = format!("/chat/rooms/{room}/images");
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 5_000]].concat();
    let html = ada.http.send("POST", &path, b"<script>").unwrap();
    assert_eq!((html.status, html.json()["code"].as_str()), (415, Some("not_an_image")));
    assert_eq!(eve.http.send("POST", &path, &png).unwrap().status, 404);
    let image = ada.http.send("POST", &path, &png).unwrap();
    assert_eq!(image.status, 201, "{}", image.json());
    let id = image.json()["id"].as_str().unwrap().to_owned();
    // Nobody shows somebody else's.
    let messages = format!("/rooms/{room}/messages");
    assert_eq!(bob.refused("POST", &messages, json!({"images": [id]})).1, "invalid");
    ada.ok("POST", &messages, json!({"images": [id]}));
    assert_eq!(ada.refused("POST", &messages, json!({"images": [id]})).1, "invalid");
    let page = bob.ok("GET", &messages, Value::Null);
    assert_eq!(page["messages"][0]["images"][0]["id"], json!(id));
    let get = |user: &mut User| user.http.send("GET", &format!("/chat/images/{id}"), b"").unwrap();
    let shown = get(&mut bob);
    assert_eq!((shown.status, shown.header("content-type")), (200, Some("image/png")));
    assert_eq!(shown.body, png);
    assert_eq!(get(&mut eve).status, 404);
    ada.ok("DELETE", &format!("{messages}/1"), Value::Null);
    assert_eq!(get(&mut bob).status, 404);
    (ada, room, id)
}

#[test]
fn images_are_for_members_and_go_with_their_message() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let (mut ada, room, id) = images(&server);
    assert!(data.path().join("images").join(id).exists(), "the object goes later");
    let large = [b"\x89PNG\r\n\x1a\n".as_slice(), &[0; 3 << 20]].concat();
    let refused = ada.http.send("POST", &format!("/chat/rooms/{room}/images"), &large);
    // The server may close before it has read everything.
    assert!(refused.map_or(true, |answer| answer.status == 413));
}

#[test]
fn images_can_be_kept_in_a_bucket() {
    let (data, s3) = (tempfile::tempdir().unwrap(), s3::S3::start());
    let endpoint = format!("http://{}", s3.address);
    let bucket = ["--chat-s3-endpoint", &endpoint, "--chat-s3-bucket", "pictures", "--chat-s3-region", s3::REGION];
    let keys = ["--chat-s3-key", s3::KEY, "--chat-s3-secret", s3::SECRET];
    let server = Server::start_with(data.path(), &[bucket.as_slice(), &keys].concat());
    let (_, _, id) = images(&server);
    assert!(s3.objects.lock().unwrap().contains_key(&format!("/pictures/{id}")));
    assert!(!data.path().join("images").exists());
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
