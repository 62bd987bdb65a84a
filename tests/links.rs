//! Short links through the real program: HTTP and WebSocket only.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod server;
mod servers;

#[path = "server/feed.rs"]
mod feed;

#[path = "links/counting.rs"]
mod counting;
#[path = "links/files.rs"]
mod files;
#[path = "links/following.rs"]
mod following;
#[path = "links/limited.rs"]
mod limited;
#[path = "links/making.rs"]
mod making;
#[path = "links/order.rs"]
mod order;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use server::{Answer, Client, Server};
use servers::Postgres;
use sha2::Sha256;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A call with a JSON body.
fn call(client: &mut Client, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let answer = client.send(method, path, text.as_bytes()).unwrap();
    (answer.status, answer.json())
}

/// A new link.
fn make(client: &mut Client, body: &Value) -> Value {
    let (status, link) = call(client, "POST", "/links", body);
    assert_eq!(status, 201, "{body}: {link}");
    link
}

const PASSPHRASE: &str = "open sesame";

/// A new API key with one permission.
fn make_key(client: &mut Client, permission: &str) -> Value {
    let (status, key) =
        call(client, "POST", "/auth/keys", &json!({"passphrase": PASSPHRASE, "permissions": [permission]}));
    assert_eq!(status, 200, "{key}");
    key
}

/// The header lines of a request below `/v1` that a key signs.
fn signed(key: &Value, method: &str, path: &str, body: &str) -> String {
    let secret = STANDARD.decode(key["secret"].as_str().unwrap()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
    mac.update(format!("{at}{method}/v1{path}{body}").as_bytes());
    let sign = STANDARD.encode(mac.finalize().into_bytes());
    let key = key["key"].as_str().unwrap();
    format!(
        "CB-ACCESS-KEY: {key}\r\nCB-ACCESS-SIGN: {sign}\r\nCB-ACCESS-TIMESTAMP: {at}\r\n\
         CB-ACCESS-PASSPHRASE: {PASSPHRASE}\r\n"
    )
}

/// A visit, with these header lines.
fn visit(client: &mut Client, method: &str, path: &str, headers: &str) -> Answer {
    let text = format!("{method} {path} HTTP/1.1\r\nHost: agora\r\n{headers}\r\n");
    client.send_raw(text.as_bytes()).unwrap()
}

fn follow(client: &mut Client, slug: &str) -> Answer {
    visit(
        client,
        "GET",
        &format!("/s/{slug}"),
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0\r\n",
    )
}

/// Runs a test on either database, with a server of its own.
fn on_each_store(test: impl Fn(&Server, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    test(&Server::start(folder.path()), folder.path());
    let postgres = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let database = postgres.create_database("agora");
    test(&Server::start_with(folder.path(), &["--database", &database]), folder.path());
}

/// Asks until it holds; a minute at most.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not come about within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}
