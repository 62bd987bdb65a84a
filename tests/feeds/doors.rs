//! Who is let into the feed: signed subscriptions, orders of whoever has signed, limits by address, and how a connection
//! ends that does not keep the rules.

use crate::server::{Client, Server};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[path = "../server/feed.rs"]
mod reader;

use reader::Feed;

const PASSPHRASE: &str = "open sesame";
const PRODUCT: &str = "BTC-USDT";

struct Key {
    id: String,
    secret: Vec<u8>,
}

fn make_key(owner: &mut Client, permissions: &[&str]) -> Key {
    let body = json!({"passphrase": PASSPHRASE, "permissions": permissions, "label": "bot"});
    let answer = owner.send("POST", "/auth/keys", body.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    let secret = STANDARD.decode(answer.json()["secret"].as_str().unwrap()).unwrap();
    Key { id: answer.json()["key"].as_str().unwrap().to_owned(), secret }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Key {
    fn sign(&self, prehash: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).unwrap();
        mac.update(prehash.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }

    /// The text of a subscribe message with this text as its timestamp, signed over that.
    fn subscribe(&self, channel: &str, timestamp: &str, prehash: &str) -> String {
        format!(
            r#"{{"type":"subscribe","channels":["{channel}"],"product_ids":["{PRODUCT}"],"key":"{}",
               "passphrase":"{PASSPHRASE}","timestamp":{timestamp},"signature":"{}"}}"#,
            self.id,
            self.sign(prehash)
        )
    }

    fn good(&self, channel: &str) -> String {
        let now = seconds();
        self.subscribe(channel, &now.to_string(), &format!("{now}GET/users/self/verify"))
    }
}

/// The next message of this type.
fn until(feed: &mut Feed, kind: &str) -> Value {
    loop {
        let message = feed.next().unwrap();
        if message["type"] == kind {
            return message;
        }
    }
}

fn refusal(feed: &mut Feed) -> String {
    let error = until(feed, "error");
    assert_eq!(error["message"], "Authentication Failed");
    let reason: Value = serde_json::from_str(error["reason"].as_str().unwrap()).unwrap();
    reason["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_signature_opens_what_is_private_and_only_a_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let key = make_key(&mut ada, &["view"]);
    let now = seconds();
    let mut feed = Feed::connect(server.address);

    // Over another path, method, body or time; none of them opens the user channel.
    let expired = (now - 45).to_string();
    let cases = [
        (now.to_string(), format!("{now}GET/users/self/orders"), "invalid signature"),
        (now.to_string(), format!("{now}POST/users/self/verify"), "invalid signature"),
        (now.to_string(), format!("{now}GET/users/self/verify{{}}"), "invalid signature"),
        (now.to_string(), format!("{}GET/users/self/verify", now - 1), "invalid signature"),
        (format!("\"{now}.0\""), format!("{now}GET/users/self/verify"), "invalid signature"),
        (expired.clone(), format!("{expired}GET/users/self/verify"), "request timestamp expired"),
        ("\"soon\"".into(), "soonGET/users/self/verify".into(), "invalid timestamp"),
    ];
    for (timestamp, prehash, expected) in &cases {
        feed.send_text(&key.subscribe("user", timestamp, prehash));
        assert_eq!(refusal(&mut feed), *expected, "{timestamp} {prehash}");
        feed.subscribe(&["user"], &[PRODUCT], "");
        assert_eq!(until(&mut feed, "error")["reason"], "user channel requires authentication");
    }
    let stranger = Key { id: "0".repeat(32), secret: key.secret.clone() };
    feed.send_text(&stranger.good("user"));
    assert_eq!(refusal(&mut feed), "Invalid API Key");
    feed.send_text(&key.good("user").replace(PASSPHRASE, "wrong"));
    assert_eq!(refusal(&mut feed), "Invalid Passphrase");

    // The timestamp counts by its text: a number, a number with a fraction, a string; the path with prefix or without.
    let fraction = format!("{now}.1200000001");
    for (timestamp, text, path) in [
        (now.to_string(), now.to_string(), "/users/self/verify"),
        (fraction.clone(), fraction.clone(), "/users/self/verify"),
        (format!("\"{fraction}\""), fraction, "/v1/users/self/verify"),
    ] {
        let mut feed = Feed::connect(server.address);
        feed.send_text(&key.subscribe("user", &timestamp, &format!("{text}GET{path}")));
        assert_eq!(until(&mut feed, "subscriptions")["channels"][0]["name"], "user", "{timestamp}");
        let order = json!({"product_id": PRODUCT, "side": "buy", "price": "100", "size": "0.1"});
        let placed = ada.send("POST", "/orders", order.to_string().as_bytes()).unwrap().json();
        let received = until(&mut feed, "received");
        assert_eq!((&received["order_id"], received["user_id"].is_string()), (&placed["id"], true));
    }

    // Whoever has read a signature opens no further connection with it; on its own it may come with each message.
    let now = format!("{}.5", seconds());
    let message = key.subscribe("user", &now, &format!("{now}GET/users/self/verify"));
    let (mut own, mut other) = (Feed::connect(server.address), Feed::connect(server.address));
    for _ in 0..3 {
        own.send_text(&message);
        until(&mut own, "subscriptions");
    }
    other.send_text(&message);
    assert_eq!(refusal(&mut other), "request timestamp expired: this signature was used before");
}

#[test]
fn a_key_that_may_trade_places_orders_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let (trader, viewer) = (make_key(&mut ada, &["view", "trade"]), make_key(&mut ada, &["view"]));
    let place = json!({"type": "place", "request_id": 1,
        "order": {"product_id": PRODUCT, "side": "buy", "price": "100", "size": "0.1"}})
    .to_string();

    let mut feed = Feed::connect(server.address);
    feed.send_text(&place);
    assert_eq!(until(&mut feed, "request_failed")["code"], "token_missing");
    feed.send_text(&viewer.good("user"));
    until(&mut feed, "subscriptions");
    feed.send_text(&place);
    assert_eq!(until(&mut feed, "request_failed")["message"], "Forbidden");
    feed.send_text(&trader.good("user"));
    until(&mut feed, "subscriptions");
    feed.send_text(&place);
    assert_eq!(until(&mut feed, "placed")["result"]["status"], "open");

    let revoked = ada.send("DELETE", &format!("/auth/keys/{}", trader.id), b"").unwrap();
    assert_eq!(revoked.status, 200, "{}", revoked.json());
    feed.send_text(&place);
    assert_eq!(until(&mut feed, "request_failed")["message"], "Invalid API Key");
    // What was private does not go on: the connection is closed before long.
    assert_eq!(until(&mut feed, "error")["reason"], "signed_out");
    while feed.next().is_ok() {}

    let mut by_session = Feed::connect(server.address);
    by_session.subscribe(&["user"], &[PRODUCT], &ada.token);
    until(&mut by_session, "subscriptions");
    assert_eq!(ada.send("POST", "/auth/sign-out", b"").unwrap().status, 200);
    assert_eq!(until(&mut by_session, "error")["reason"], "signed_out");
}

/// A handshake of a client that a proxy names; the connection, and the status of the answer.
fn knock(server: &Server, address: &str) -> (TcpStream, u16) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "GET /v1/feed HTTP/1.1\r\nHost: agora\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-For: {address}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (stream, status)
}

/// What a connection says until it ends.
fn last_words(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    // The server ends the connection; it may do so before it has read all that was sent.
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[test]
fn an_address_has_its_share_of_connections_and_messages() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--accounts-unlimited", "192.0.2.0/24", "--accounts-trusted-proxies", "127.0.0.1"];
    Client::create_admin(folder.path());
    let server = Server::start_with(folder.path(), &[&more[..], &["--feed-connections", "12"]].concat());

    // Held at once: twelve; a place is free again when one has gone.
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..12 {
        let (stream, status) = knock(&server, "198.51.100.7");
        assert_eq!(status, 101);
        held.push(stream);
    }
    let (stream, status) = knock(&server, "198.51.100.7");
    assert_eq!(status, 429);
    assert!(last_words_of_refusal(stream).contains("too_many_connections"));
    assert_eq!(knock(&server, "198.51.100.8").1, 101);
    held.clear();
    // The server notices that they have gone when it reads from them.
    let again = (0..200).find(|_| {
        std::thread::sleep(Duration::from_millis(150));
        knock(&server, "198.51.100.7").1 == 101
    });
    assert!(again.is_some(), "no place became free");

    // Opened in a burst, whether they stay or not.
    let mut admin = Client::admin(&server);
    for (class, burst) in [("feed", 20), ("feed_messages", 10)] {
        let value = json!({"value": {"per_second": 1, "burst": burst}}).to_string();
        let set = admin.send("PUT", &format!("/admin/config/limits.{class}"), value.as_bytes()).unwrap();
        assert_eq!(set.status, 200, "{}", set.json());
    }
    let refused = (0..200).map(|_| knock(&server, "203.0.113.9")).find(|(_, status)| *status == 429);
    let words = last_words_of_refusal(refused.expect("no connection was refused").0);
    assert!(words.contains("Public rate limit exceeded") || words.contains("too_many_connections"), "{words}");
    // A client that no limit counts.
    assert!((0..30).all(|_| knock(&server, "192.0.2.1").1 == 101));

    // Two connections of one address share its messages; beyond them a connection is told and closed.
    let (mut one, mut two) = (knock(&server, "203.0.113.77").0, knock(&server, "203.0.113.77").0);
    let unknown = text_frame(r#"{"type":"hello"}"#);
    for _ in 0..100 {
        for stream in [&mut one, &mut two] {
            // It may have been closed already.
            let _ = stream.write_all(&unknown);
        }
    }
    assert!([one, two].map(last_words_soon).iter().any(|words| words.contains("too_many_messages")));
}

#[test]
fn a_connection_that_was_closed_takes_no_orders() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start_with(folder.path(), &["--accounts-trusted-proxies", "127.0.0.1"]);
    let value = json!({"value": {"per_second": 1, "burst": 10}}).to_string();
    let set = Client::admin(&server).send("PUT", "/admin/config/limits.feed_messages", value.as_bytes()).unwrap();
    assert_eq!(set.status, 200, "{}", set.json());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let order = json!({"product_id": PRODUCT, "side": "buy", "price": "100", "size": "0.1"});
    let place = json!({"type": "place", "token": ada.token, "order": order}).to_string();
    for (message, address) in
        [(r#"{"type":"hello"}"#, "198.51.100.7"), (r#"{"type":"subscribe","channels":["status"]}"#, "198.51.100.8")]
    {
        let mut stream = knock(&server, address).0;
        let mut frames = text_frame(message).repeat(300);
        frames.extend(text_frame(&place));
        // The server may end the connection before it has read everything.
        let _ = stream.write_all(&frames);
        let words = last_words(stream);
        assert!(words.contains("too_many_messages") && !words.contains("placed"), "{words}");
    }
    // What had been handed to the market before this one is there when this one is.
    let own = ada.send("POST", "/orders", order.to_string().as_bytes()).unwrap();
    assert_eq!(own.status, 200, "{}", own.json());
    let open = ada.get("/orders?status=open");
    assert_eq!(open.as_array().map(Vec::len), Some(1), "{open}");
}

/// The body of a refused handshake.
fn last_words_of_refusal(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let mut piece = [0; 1_024];
    while !text.contains('}') {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => text.push_str(&String::from_utf8_lossy(&piece[..count])),
        }
    }
    text
}

/// What a connection says until it ends, or for two seconds without a word.
fn last_words_soon(stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    last_words(stream)
}

#[test]
fn what_is_no_message_is_answered_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut large = knock(&server, "127.0.0.1").0;
    large.write_all(&text_frame(&"x".repeat(70_000))).unwrap();
    let words = last_words(large);
    assert!(words.contains("Connection closed") && words.contains("message_too_large"), "{words}");
    let mut broken = knock(&server, "127.0.0.1").0;
    // A text frame without a mask, which clients must not send.
    broken.write_all(&[0x81, 0x02, b'{', b'}']).unwrap();
    let words = last_words(broken);
    assert!(words.contains("Connection closed") && words.contains("protocol_error"), "{words}");
}
