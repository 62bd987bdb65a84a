//! Two real nodes with one broker, one database and one Redis: who somebody is, what they may and what was ended is the
//! same at both.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod server;
mod servers;

use agora::auth::signature;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use server::{Answer, Client, Server, agora};
use servers::{Postgres, RabbitMq};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PASSWORD: &str = "correct horse battery";
const PASSPHRASE: &str = "words";

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn post(node: &Server, token: &str, path: &str, body: &Value) -> Answer {
    node.client(token).send("POST", path, body.to_string().as_bytes()).unwrap()
}

fn done(node: &Server, token: &str, path: &str, body: &Value) -> Value {
    let answer = post(node, token, path, body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.json());
    answer.json()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn enter(node: &Server, email: &str, password: &str) -> Answer {
    post(node, "", "/auth/sign-in", &json!({"email": email, "password": password}))
}

fn order() -> Value {
    json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.01"})
}

/// A request as it was signed, to be sent to either node.
fn signed(key: &Value, method: &str, target: &str, body: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let timestamp = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let secret = STANDARD.decode(key["secret"].as_str().unwrap()).unwrap();
    let sign = signature::sign(&secret, &timestamp, method, target, body.as_bytes());
    format!(
        "{method} {target} HTTP/1.1\r\nHost: agora\r\nContent-Length: {}\r\nCB-ACCESS-KEY: {}\r\nCB-ACCESS-SIGN: {sign}\r\n\
         CB-ACCESS-TIMESTAMP: {timestamp}\r\nCB-ACCESS-PASSPHRASE: {PASSPHRASE}\r\n\r\n{body}",
        body.len(),
        key["key"].as_str().unwrap()
    )
}

#[test]
fn what_happens_at_one_node_counts_at_the_other() {
    let (broker, postgres, redis) = (RabbitMq::start(), Postgres::start(), servers::Redis::start());
    let (database, broker_url, redis_url) = (postgres.create_database("agora"), broker.url(), redis.url());
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let made = agora(&["admin", "create", "root@example.org", "--database", &database], folders[0].path())
        .env("AGORA_ADMIN_PASSWORD", PASSWORD)
        .status();
    assert!(made.unwrap().success());
    let common = ["--database", &database, "--rabbitmq", &broker_url, "--redis", &redis_url];
    // A busy machine is no lost Redis.
    let common = [common.as_slice(), &["--redis-timeout-ms", "20000"]].concat();
    let here = Server::start_with(folders[0].path(), &[common.as_slice(), &["--node", "1"]].concat());
    // The second node is told the keys of the first.
    let keys = folders[0].path().join("keys");
    let secrets = std::fs::read_to_string(keys.join("secrets.key")).unwrap();
    let signing = keys.join("es256.pem");
    let more =
        ["--node", "2", "--accounts-signing-key", signing.to_str().unwrap(), "--accounts-secrets-key", secrets.trim()];
    let there = Server::start_with(folders[1].path(), &[common.as_slice(), &more].concat());
    for node in [&here, &there] {
        until("Redis", || node.client("").metrics().lines().any(|line| line == "agora_redis_up 1"));
    }
    let status = |node: &Server, token: &str| node.client(token).send("GET", "/auth/me", b"").unwrap().status;

    // A session of one is a session of the other, and ends at both.
    let ada = Client::sign_up(&here, "ada@example.org").token;
    assert_eq!(status(&there, &ada), 200);
    let other = enter(&there, "ada@example.org", PASSWORD).json();
    let (access, refresh) = (text(&other["access_token"]), other["refresh_token"].clone());
    assert_eq!(status(&here, &access), 200);
    let next = done(&here, "", "/auth/refresh", &json!({"refresh_token": refresh}));
    let reused = post(&there, "", "/auth/refresh", &json!({"refresh_token": refresh}));
    assert_eq!((reused.status, &reused.json()["code"]), (401, &json!("token_reused")));
    let next = text(&next["access_token"]);
    until("the end of the session at the other node", || status(&here, &next) == 401);

    // So does a key; and a signature counts once for both.
    let wanted = json!({"passphrase": PASSPHRASE, "permissions": ["view", "trade"]});
    let key = done(&here, &ada, "/auth/keys", &wanted);
    let sent = |node: &Server, request: &str| node.client("").send_raw(request.as_bytes()).unwrap();
    let request = signed(&key, "POST", "/v1/orders", &order().to_string());
    assert_eq!(sent(&here, &request).status, 200);
    let replayed = sent(&there, &request);
    assert_eq!((replayed.status, &replayed.json()["code"]), (400, &json!("replayed")));
    assert_eq!(sent(&there, &signed(&key, "GET", "/v1/accounts", "")).status, 200);
    let path = format!("/auth/keys/{}", key["key"].as_str().unwrap());
    assert_eq!(here.client(&ada).send("DELETE", &path, b"").unwrap().status, 200);
    until("the end of the key", || sent(&there, &signed(&key, "GET", "/v1/accounts", "")).status == 401);

    // What an administrator sets at one node counts at the other, without a restart; so does a freeze.
    let admin = text(&enter(&here, "root@example.org", PASSWORD).json()["access_token"]);
    let notice = json!({"value": "Maintenance at noon", "version": 0}).to_string();
    assert_eq!(here.client(&admin).send("PUT", "/admin/config/notice", notice.as_bytes()).unwrap().status, 200);
    until("the setting", || there.client("").get("/notice")["notice"] == "Maintenance at noon");
    let stale = json!({"value": "Another", "version": 0}).to_string();
    let stale = there.client(&admin).send("PUT", "/admin/config/notice", stale.as_bytes()).unwrap();
    assert_eq!((stale.status, &stale.json()["code"]), (409, &json!("setting_changed")));
    assert_eq!(post(&there, &ada, "/orders", &order()).status, 200);
    let id = text(&here.client(&ada).get("/auth/me")["id"]);
    let frozen = done(&there, &admin, &format!("/admin/users/{id}/freeze"), &json!({"cancel_orders": true}));
    assert_eq!(frozen["canceled_orders"], 2);
    for node in [&here, &there] {
        assert_eq!(post(node, &ada, "/orders", &order()).json()["code"], "account_frozen");
    }

    // Guesses at one node slow down whoever goes on at the other.
    for _ in 0..10 {
        assert_eq!(enter(&here, "ada@example.org", "wrong horse battery").status, 401);
    }
    // Told after them, so they have been heard once this has.
    done(&here, &ada, "/auth/sign-out", &json!({}));
    until("the end of the session", || status(&there, &ada) == 401);
    let slowed = enter(&there, "ada@example.org", PASSWORD);
    assert_eq!((slowed.status, &slowed.json()["code"]), (429, &json!("too_many_attempts")));
}
