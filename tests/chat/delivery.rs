//! Every acknowledged message exactly once, in the same order, in every member's history, whatever happens.

use crate::people::{User, block_on, comes, next_of};
use crate::server::Server;
use agora::chat_client::ChatClient;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Messages that each client sends.
const MESSAGES_EACH: usize = 10;

/// A socket that says hello, waits for the beginning of the answer and then does not read.
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
    // From its answer on, what is said in the room is news for this session.
    let mut answer = Vec::new();
    while !answer.ends_with(br#""type":"hello""#) {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    stream
}

/// Bytes of memory of the server.
fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Bytes of a message of a flood.
const LONG: usize = 3_900;

/// Sends this many long messages and waits until all are acknowledged.
fn flood(user: &User, room: &str, messages: u64) {
    block_on(async {
        let mut client = user.socket();
        client.connect().await.unwrap();
        let text = "x".repeat(LONG);
        for sent in 0..messages {
            client.send_text(room, &text).await;
            // Not more under way than one client may have.
            while client.unacknowledged() > 100 || (sent == messages - 1 && client.unacknowledged() > 0) {
                client.next().await.unwrap();
            }
        }
    });
}

#[test]
fn a_reader_that_does_not_read_is_told_so_and_loses_nothing() {
    use std::io::Read;
    const MESSAGES: u64 = 1_400;
    const DEAF: usize = 5;
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), &["--chat-user-rate", "0", "--chat-room-rate", "0"]);
    let (mut ada, mut bob) = (User::new(&server, "ada"), User::new(&server, "bob"));
    let room = ada.room("public", "Flood");
    bob.ok("POST", &format!("/rooms/{room}/join"), Value::Null);
    // A flood leaves memory behind by itself (log, tables, the room); the first one shows how much.
    let elsewhere = ada.room("public", "Warm");
    let begun = resident(&server);
    flood(&ada, &elsewhere, MESSAGES);
    let mut streams: Vec<_> = (0..DEAF).map(|_| deaf(&bob, &server)).collect();
    let before = resident(&server);
    let of_itself = before.saturating_sub(begun);
    flood(&ada, &room, MESSAGES);
    // What waits for the deaf is shared and bounded; without a bound it would be this much for each of them.
    let flood = MESSAGES * LONG as u64;
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < of_itself + flood * DEAF as u64 / 2, "{grown} bytes more, {of_itself} without deaf readers");
    for stream in &mut streams {
        let mut heard = Vec::new();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // It ends by the server's closing, or by the network's giving up.
        let _ = stream.read_to_end(&mut heard);
        let told = heard.windows(br#""code":"too_slow""#.len()).any(|part| part == br#""code":"too_slow""#);
        assert!(told, "{} bytes without a reason", heard.len());
        assert!((heard.len() as u64) < flood, "nothing was left out");
    }
    block_on(async {
        let mut b = bob.socket();
        b.rooms.insert(room.clone(), agora::chat_client::Room::default());
        for expected in 1..=MESSAGES {
            assert_eq!(next_of(&mut b, "message").await["message"]["sequence"], expected);
        }
        assert!(b.faults.is_empty(), "{:?}", b.faults);
    });
}

/// Whoever comes in the middle of a flood reads history behind a database that is behind, while news goes on coming.
#[test]
fn whoever_comes_while_a_room_is_busy_ends_with_all_of_it() {
    const MESSAGES: u64 = 1_000;
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), &["--chat-user-rate", "0", "--chat-room-rate", "0"]);
    let (mut ada, mut bob) = (User::new(&server, "ada"), User::new(&server, "bob"));
    let room = ada.room("public", "Busy");
    bob.ok("POST", &format!("/rooms/{room}/join"), Value::Null);
    let come = || {
        let mut client = bob.socket();
        client.rooms.insert(room.clone(), agora::chat_client::Room::default());
        async move {
            for expected in 1..=MESSAGES {
                assert_eq!(comes(&mut client, "message").await["message"]["sequence"], expected);
            }
            assert!(client.faults.is_empty(), "{:?}", client.faults);
        }
    };
    block_on(async {
        let mut sender = ada.socket();
        sender.connect().await.unwrap();
        let text = "x".repeat(LONG);
        let mut guests = Vec::new();
        for sent in 0..MESSAGES {
            if sent % 100 == 50 {
                guests.push(actix_web::rt::spawn(come()));
            }
            sender.send_text(&room, &text).await;
            while sender.unacknowledged() > 100 {
                sender.next().await.unwrap();
            }
        }
        while sender.unacknowledged() > 0 {
            sender.next().await.unwrap();
        }
        for guest in guests {
            guest.await.unwrap();
        }
    });
}

/// What a session hears is sent beside what it is answered: each keeps its order, and who is blocked stays hidden.
#[test]
fn answers_and_news_each_keep_their_order() {
    const MESSAGES: u64 = 300;
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), &["--chat-user-rate", "0", "--chat-room-rate", "0"]);
    let [mut ada, mut bob, mut eve] = ["ada", "bob", "eve"].map(|name| User::new(&server, name));
    let room = ada.room("public", "Lively");
    for user in [&mut bob, &mut eve] {
        user.ok("POST", &format!("/rooms/{room}/join"), Value::Null);
    }
    bob.ok("POST", "/friends", json!({"user": eve.id, "step": "block"}));
    let send = |user: &User| {
        let (mut client, room) = (user.socket(), room.clone());
        async move {
            client.connect().await.unwrap();
            for sent in 0..MESSAGES {
                client.send_text(&room, "words").await;
                while client.unacknowledged() > if sent == MESSAGES - 1 { 0 } else { 10 } {
                    client.next().await.unwrap();
                }
            }
        }
    };
    block_on(async {
        let mut client = bob.socket();
        client.connect().await.unwrap();
        let senders = [&ada, &eve].map(|user| actix_web::rt::spawn(send(user)));
        let (mut heard, mut asked, mut answered) = (0, 0, 0);
        while heard < 2 * MESSAGES || answered < asked {
            let event = client.next().await.unwrap();
            if event["type"] == "message" {
                heard += 1;
                let message = &event["message"];
                assert_eq!(message["sequence"], heard);
                let is_hidden = (message["hidden"] == true, message["text"].is_null());
                let by_eve = message["author"] == eve.id;
                assert_eq!(is_hidden, (by_eve, by_eve), "{message}");
                if heard % 3 == 0 {
                    asked = client.request(json!({"type": "auth", "token": bob.http.token})).await;
                }
            } else if event["type"] == "ack" {
                answered += 1;
                assert_eq!(event["id"], answered);
            }
        }
        assert!(client.faults.is_empty() && asked == 2 * MESSAGES / 3, "{asked} {:?}", client.faults);
        for sender in senders {
            sender.await.unwrap();
        }
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
    let mut unsent = MESSAGES_EACH;
    let deadline = std::time::Instant::now() + Duration::from_secs(300);
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

/// What became of one of them.
pub struct Restless {
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

/// One history of every room, as somebody reads it at the node that `reader` talks to.
fn histories(reader: &mut User, rooms: &[String]) -> BTreeMap<String, Vec<Value>> {
    let mut history = BTreeMap::new();
    for room in rooms {
        let mut messages = Vec::new();
        loop {
            let after = messages.len();
            let page = reader.ok("GET", &format!("/rooms/{room}/messages?after={after}&limit=200"), Value::Null);
            let page = page["messages"].as_array().unwrap().clone();
            if page.is_empty() {
                break;
            }
            messages.extend(page);
        }
        history.insert(room.clone(), messages);
    }
    history
}

/// Begins to talk with all devices; device `d` of each user talks to `bases[d % bases.len()]`.
pub fn begin(users: &[User], devices: usize, bases: &[String], rooms: &[String]) -> Vec<JoinHandle<Restless>> {
    let of = |(number, user): (usize, &User)| {
        let (token, rooms, bases) = (user.http.token.clone(), rooms.to_vec(), bases.to_vec());
        (0..devices).map(move |device| {
            let base = bases[device % bases.len()].clone();
            actix_web::rt::spawn(restless(number, device, base, token.clone(), rooms.clone()))
        })
    };
    users.iter().enumerate().flat_map(of).collect()
}

/// What must hold in the end: each reader finds the same history with every message once, everything that was
/// acknowledged stands where it was said to, and every client was handed exactly that.
pub fn check(readers: &mut [User], rooms: &[String], clients: Vec<Restless>) {
    let all: Vec<_> = readers.iter_mut().map(|reader| histories(reader, rooms)).collect();
    let history = &all[0];
    assert!(all.iter().all(|other| other == history), "not the same everywhere");
    let total: usize = history.values().map(Vec::len).sum();
    assert_eq!(total, clients.len() * MESSAGES_EACH, "every message once");
    let texts: BTreeSet<&str> = history.values().flatten().map(|message| message["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), total, "no message twice");
    block_on(async {
        for mut client in clients {
            assert_eq!(client.acknowledged.len(), MESSAGES_EACH);
            for ((room, id), sequence) in &client.acknowledged {
                let message = &history[room][*sequence as usize - 1];
                assert_eq!(
                    (&message["sequence"], message["client_id"].as_str()),
                    (&json!(sequence), Some(id.as_str()))
                );
            }
            // After resuming, each ends with exactly the history.
            for (room, messages) in history {
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
            assert!(client.client.faults.is_empty(), "{:?}", client.client.faults);
        }
    });
}

/// An address that is free now, to come back to after a crash.
pub fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Rooms with all of these people in them.
pub fn rooms_with(users: &mut [User], count: usize) -> Vec<String> {
    let (first, others) = users.split_first_mut().unwrap();
    let make = |n| {
        let room = first.patiently("POST", "/rooms", json!({"kind": "public", "name": format!("Room {n}")}));
        room["id"].as_str().unwrap().to_owned()
    };
    let rooms: Vec<String> = (0..count).map(make).collect();
    for user in others {
        for room in &rooms {
            user.patiently("POST", &format!("/rooms/{room}/join"), Value::Null);
        }
    }
    rooms
}

#[test]
fn fifty_clients_a_bad_network_and_two_crashes_lose_and_double_nothing() {
    let data = tempfile::tempdir().unwrap();
    let free = free_address();
    let more = ["--chat-user-rate", "0", "--chat-room-rate", "0"];
    let server = Server::start_at(data.path(), &free, &more);
    let mut users: Vec<User> = (0..10).map(|n| User::new(&server, &format!("user{n}x"))).collect();
    let rooms = rooms_with(&mut users, 3);
    let (server, clients) = block_on(async {
        let clients = begin(&users, 5, &[users[0].base.clone()], &rooms);
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
    for user in &mut users {
        user.http = server.client(&user.http.token);
    }
    check(&mut users[..1], &rooms, clients);
}
