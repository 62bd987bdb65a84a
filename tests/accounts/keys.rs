//! API keys in the manner of Coinbase's exchange.

use crate::server::{Answer, Client, Server};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub const PASSPHRASE: &str = "open sesame";

/// A key as a client has it.
#[derive(Clone)]
pub struct Key {
    pub id: String,
    pub secret: Vec<u8>,
    passphrase: String,
}

pub fn make_key(owner: &mut Client, change: impl FnOnce(&mut Value)) -> Key {
    let mut body = json!({"passphrase": PASSPHRASE, "permissions": ["view", "trade"], "label": "bot"});
    change(&mut body);
    let answer = owner.send("POST", "/auth/keys", body.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    let (id, secret) = (answer.json()["key"].as_str().unwrap().to_owned(), answer.json()["secret"].clone());
    let secret = STANDARD.decode(secret.as_str().unwrap()).unwrap();
    assert_eq!(secret.len(), 64);
    Key { id, secret, passphrase: PASSPHRASE.into() }
}

/// Now, in seconds with a fraction that no other call gets.
fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

impl Key {
    fn sign(&self, timestamp: &str, method: &str, target: &str, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).unwrap();
        mac.update(format!("{timestamp}{method}{target}{body}").as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }

    fn headers(&self, timestamp: &str, signature: &str) -> String {
        format!(
            "CB-ACCESS-KEY: {}\r\nCB-ACCESS-SIGN: {signature}\r\nCB-ACCESS-TIMESTAMP: {timestamp}\r\n\
             CB-ACCESS-PASSPHRASE: {}\r\n",
            self.id, self.passphrase
        )
    }

    /// Signs the target as it is sent.
    pub fn send(&self, client: &mut Client, method: &str, target: &str, body: &str) -> Answer {
        let timestamp = now();
        let headers = self.headers(&timestamp, &self.sign(&timestamp, method, target, body));
        raw(client, method, target, &headers, body)
    }
}

fn raw(client: &mut Client, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let text = format!("{method} {target} HTTP/1.1\r\nHost: agora\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
    client.send_raw(text.as_bytes()).unwrap()
}

fn refused(answer: &Answer, status: u16, message: &str) {
    assert_eq!((answer.status, answer.json()["message"].as_str()), (status, Some(message)), "{}", answer.json());
}

#[test]
fn keys_sign_requests_over_the_raw_target_and_body() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let key = make_key(&mut ada, |_| ());
    let mut bot = server.client("");

    let me = key.send(&mut bot, "GET", "/v1/users/self/verify", "");
    assert_eq!((me.status, me.json()), (200, ada.get("/users/self/verify")));
    let order = r#"{"product_id":"BTC-USDT","side":"buy","price":"100","size":"0.5"}"#;
    let placed = key.send(&mut bot, "POST", "/v1/orders", order);
    assert_eq!(placed.status, 200, "{}", placed.json());
    for target in [
        "/v1/accounts",
        "/v1/accounts/",
        "/v1/orders?status=open&status=pending",
        "/v1/fills?product_id=BTC-USDT&before=%31",
    ] {
        let answer = key.send(&mut bot, "GET", target, "");
        assert_eq!(answer.status, 200, "{target}: {}", answer.json());
    }
    // The prefix may be left out of what is signed; a body counts, also with GET and DELETE.
    let timestamp = now();
    let without = key.headers(&timestamp, &key.sign(&timestamp, "GET", "/accounts", "{}"));
    assert_eq!(raw(&mut bot, "GET", "/v1/accounts", &without, "{}").status, 200);
    refused(&raw(&mut bot, "GET", "/v1/accounts", &without, ""), 401, "invalid signature");
    refused(&raw(&mut bot, "GET", "/v1/fees", &without, "{}"), 401, "invalid signature");
    let body = r#"{"product_id":"BTC-USDT"}"#;
    assert_eq!(key.send(&mut bot, "DELETE", "/v1/orders", body).json(), json!([placed.json()["id"]]));
    // A body that is longer than is read is refused before anything else.
    let long = format!(r#"{{"x":"{}"}}"#, "y".repeat(70_000));
    assert_eq!(key.send(&mut server.client(""), "POST", "/v1/orders", &long).status, 413);
}

#[test]
fn a_key_imports_more_than_other_bodies_hold() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let key = make_key(&mut ada, |body| body["permissions"] = json!(["view", "links"]));
    let rows = (0..3_000).map(|number| format!("https://example.org/page/{number:06}\n"));
    let csv = format!("target\n{}", rows.collect::<String>());
    assert!(csv.len() > 64 * 1024);
    let imported = key.send(&mut server.client(""), "POST", "/v1/links/import", &csv);
    assert_eq!(imported.status, 200, "{}", imported.json());
    let links = ada.get("/links?limit=1");
    assert_eq!(links.as_array().map(Vec::len), Some(1), "{links}");
    // Of whoever names no key of this venue, so much is not even read.
    let stranger = Key { id: "0".repeat(key.id.len()), ..key };
    let refused = stranger.send(&mut server.client(""), "POST", "/v1/links/import", &csv);
    assert!(refused.status == 401 || refused.status == 400, "{}", refused.json());
}

#[test]
fn what_is_wrong_with_a_signed_request_is_said_as_the_dialect_says_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let key = make_key(&mut ada, |_| ());
    let mut bot = server.client("");
    let mut get = |headers: &str| raw(&mut bot, "GET", "/v1/accounts", headers, "");

    refused(&get(""), 401, "CB-ACCESS-KEY header is required");
    let timestamp = now();
    let good = key.headers(&timestamp, &key.sign(&timestamp, "GET", "/v1/accounts", ""));
    for name in ["CB-ACCESS-KEY", "CB-ACCESS-SIGN", "CB-ACCESS-TIMESTAMP", "CB-ACCESS-PASSPHRASE"] {
        let without: String =
            good.split_inclusive("\r\n").filter(|line| !line.starts_with(&format!("{name}:"))).collect();
        refused(&get(&without), 401, &format!("{name} header is required"));
    }
    for id in ["", "nobody", &"0".repeat(32), &key.id.replace(&key.id[..1], "g"), &key.id.to_uppercase()[..31]] {
        let headers = good.replace(&key.id, id);
        let message = if id.is_empty() { "CB-ACCESS-KEY header is required" } else { "Invalid API Key" };
        refused(&get(&headers), 401, message);
    }
    refused(&get(&key.headers(&timestamp, &key.sign(&timestamp, "GET", "/v1/orders", ""))), 401, "invalid signature");
    refused(&get(&key.headers(&timestamp, "bm9uc2Vuc2U=")), 401, "invalid signature");
    let wrong = Key { passphrase: "wrong".into(), ..key.clone() };
    refused(
        &get(&wrong.headers(&timestamp, &wrong.sign(&timestamp, "GET", "/v1/accounts", ""))),
        401,
        "Invalid Passphrase",
    );
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (timestamp, message) in [
        ((seconds - 45).to_string(), "request timestamp expired"),
        ((seconds + 45).to_string(), "request timestamp expired"),
        ("soon".into(), "invalid timestamp"),
    ] {
        refused(&get(&key.headers(&timestamp, &key.sign(&timestamp, "GET", "/v1/accounts", ""))), 400, message);
    }
    for timestamp in [seconds.to_string(), format!("{seconds}.5"), format!("{}.1234567", seconds - 20)] {
        let headers = key.headers(&timestamp, &key.sign(&timestamp, "GET", "/v1/accounts", ""));
        assert_eq!(get(&headers).status, 200, "{timestamp}");
    }
    // Public routes look at none of it.
    for headers in [good.replace(&key.id, ""), good.replace("CB-ACCESS-SIGN: ", "CB-ACCESS-SIGN: x")] {
        assert_eq!(raw(&mut server.client(""), "GET", "/v1/products", &headers, "").status, 200);
    }
}

#[test]
fn a_change_is_not_made_twice_by_who_read_along() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let key = make_key(&mut ada, |_| ());
    let mut bot = server.client("");
    let order = r#"{"product_id":"BTC-USDT","side":"buy","price":"100","size":"0.5"}"#;
    let timestamp = now();
    let headers = key.headers(&timestamp, &key.sign(&timestamp, "POST", "/v1/orders", order));
    assert_eq!(raw(&mut bot, "POST", "/v1/orders", &headers, order).status, 200);
    let again = raw(&mut bot, "POST", "/v1/orders", &headers, order);
    assert_eq!((again.status, again.json()["code"].as_str()), (400, Some("replayed")));
    // A clock of whole seconds signs two equal orders of one second alike; both count. Later it is a replay.
    let timestamp = timestamp.split('.').next().unwrap();
    let headers = key.headers(timestamp, &key.sign(timestamp, "POST", "/v1/orders", order));
    for _ in 0..2 {
        assert_eq!(raw(&mut bot, "POST", "/v1/orders", &headers, order).status, 200);
    }
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(raw(&mut bot, "POST", "/v1/orders", &headers, order).json()["code"], "replayed");
    assert_eq!(ada.get("/orders").as_array().unwrap().len(), 3);
    // Reads change nothing and may be repeated.
    let timestamp = now();
    let headers = key.headers(&timestamp, &key.sign(&timestamp, "GET", "/v1/orders", ""));
    for _ in 0..2 {
        assert_eq!(raw(&mut bot, "GET", "/v1/orders", &headers, "").status, 200);
    }
}

#[test]
fn a_key_does_what_it_may_from_where_it_may_as_long_as_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bot = server.client("");
    let deposit = r#"{"currency":"USDT","amount":"1"}"#;
    for (scope, expected) in [("view", [200, 403, 403]), ("trade", [403, 400, 403]), ("transfer", [403, 403, 200])] {
        let key = make_key(&mut ada, |body| body["permissions"] = json!([scope]));
        let found = [("GET", "/v1/accounts", ""), ("POST", "/v1/orders", "{}"), ("POST", "/v1/deposits/demo", deposit)]
            .map(|(method, target, body)| key.send(&mut bot, method, target, body).status);
        assert_eq!(found, expected, "{scope}");
        refused(&key.send(&mut bot, "GET", "/v1/auth/keys", ""), 403, "Forbidden");
        refused(&key.send(&mut bot, "GET", "/v1/admin/tree", ""), 403, "Forbidden");
        assert_eq!(key.send(&mut bot, "GET", "/v1/users/self/verify", "").status, 200);
    }
    let inside = make_key(&mut ada, |body| body["networks"] = json!(["10.0.0.0/8", "127.0.0.1"]));
    assert_eq!(inside.send(&mut bot, "GET", "/v1/accounts", "").status, 200);
    let outside = make_key(&mut ada, |body| body["networks"] = json!(["10.0.0.0/8"]));
    refused(&outside.send(&mut bot, "GET", "/v1/accounts", ""), 403, "Forbidden");
    // What a client says about its address counts for nothing, unless a trusted proxy says it.
    let timestamp = now();
    let forwarded = outside.headers(&timestamp, &outside.sign(&timestamp, "GET", "/v1/accounts", ""))
        + "X-Forwarded-For: 10.1.1.1\r\n";
    refused(&raw(&mut bot, "GET", "/v1/accounts", &forwarded, ""), 403, "Forbidden");

    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1_500);
    let brief = make_key(&mut ada, |body| body["expires_at"] = soon.to_string().into());
    assert_eq!(brief.send(&mut bot, "GET", "/v1/accounts", "").status, 200);
    std::thread::sleep(Duration::from_millis(1_600));
    refused(&brief.send(&mut bot, "GET", "/v1/accounts", ""), 401, "Invalid API Key");

    // Another user's key is no key.
    let mut bob = Client::sign_up(&server, "bob@example.org");
    assert_eq!(bob.get("/auth/keys"), json!([]));
    let path = format!("/auth/keys/{}", inside.id);
    assert_eq!(bob.send("DELETE", &path, b"").unwrap().status, 404);
    assert_eq!(inside.send(&mut bot, "GET", "/v1/accounts", "").status, 200);

    // Listed without secrets, usable after a restart, ended at once and for good.
    let listed = ada.get("/auth/keys");
    assert_eq!(listed.as_array().unwrap().len(), 6);
    assert!(!listed.to_string().contains("secret") && !listed.to_string().contains(PASSPHRASE));
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let server = Server::start(folder.path());
    let (mut ada, mut bot) = (server.client(&ada.token), server.client(""));
    assert_eq!(inside.send(&mut bot, "GET", "/v1/accounts", "").status, 200);
    assert_eq!(ada.send("DELETE", &path, b"").unwrap().status, 200);
    refused(&inside.send(&mut bot, "GET", "/v1/accounts", ""), 401, "Invalid API Key");
    assert_eq!(ada.send("DELETE", &path, b"").unwrap().status, 404);
}

#[test]
fn unfit_choices_for_a_key_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    for (field, value, code) in [
        ("passphrase", json!(""), "invalid_passphrase"),
        ("passphrase", json!("x".repeat(101)), "invalid_passphrase"),
        ("passphrase", json!("öffne dich"), "invalid_passphrase"),
        ("passphrase", json!("open\tsesame"), "invalid_passphrase"),
        ("passphrase", json!(" open sesame"), "invalid_passphrase"),
        ("passphrase", json!("open sesame "), "invalid_passphrase"),
        ("passphrase", json!(7), "invalid_body"),
        ("label", json!("x".repeat(101)), "invalid_label"),
        ("permissions", json!([]), "invalid_permissions"),
        ("permissions", json!(["view", "fly"]), "invalid_permissions"),
        ("networks", json!(["somewhere"]), "invalid_networks"),
        ("networks", json!(["10.0.0.0/33"]), "invalid_networks"),
        ("expires_at", json!("2020-01-01T00:00:00Z"), "invalid_expiry"),
        ("expires_at", json!("tomorrow"), "invalid_expiry"),
    ] {
        let mut body = json!({"passphrase": PASSPHRASE, "permissions": ["view"]});
        body[field] = value.clone();
        let answer = ada.send("POST", "/auth/keys", body.to_string().as_bytes()).unwrap();
        assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some(code)), "{field} {value}");
    }
    assert_eq!(ada.get("/auth/keys"), json!([]));
    assert_eq!(server.client("").send("GET", "/auth/keys", b"").unwrap().status, 401);
}
