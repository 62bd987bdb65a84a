//! What only a database that others write to as well, or that falls back, can show.

use crate::roles::{make_admin, sign_in};
use crate::server::{Client, Server, agora, execute};
use crate::sessions::post;
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PASSWORD: &str = "correct horse battery";

/// Another process changes the role of somebody who signs in at the same time: whoever was first, no session has a role
/// that its user has not.
#[test]
fn a_session_has_the_role_that_its_user_got_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Server::start(data);
    Client::sign_up(&server, "ada@example.org");
    let entered = std::thread::scope(|scope| {
        // Two statements of one transaction.
        scope.spawn(|| execute(data, "UPDATE users SET role = 'support'; SELECT pg_sleep(3)"));
        let is_changed =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        let begun = Instant::now();
        while execute(data, is_changed).trim() != "1" {
            assert!(begun.elapsed() < Duration::from_secs(30), "the role is not changed");
            std::thread::sleep(Duration::from_millis(20));
        }
        post(&mut server.client(""), "/auth/sign-in", &json!({"email": "ada@example.org", "password": PASSWORD}))
    });
    assert_eq!((entered.status, &entered.json()["user"]["role"]), (200, &json!("support")), "{}", entered.json());
    let about = post(&mut server.client(""), "/auth/introspect", &json!({"token": entered.json()["access_token"]}));
    assert_eq!(about.json()["role"], "support");
}

/// A backup is restored under a program that runs: users are lost whose accounts the log knows, and their numbers would
/// be given again. It does not matter whether the log takes anything: nobody is made who would have to be taken back.
#[test]
fn nobody_gets_the_account_of_a_user_whom_the_database_has_lost() {
    let folder = tempfile::tempdir().unwrap();
    // A write beyond a limit is to fail, not to kill.
    let direct = agora(&["serve", "--demo-funds", "--listen", "127.0.0.1:0"], folder.path());
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(direct.get_program()).args(direct.get_args());
    command.env("AGORA_LOG", "error").stderr(Stdio::null());
    let server = Server::run(command);
    let limit = |bytes: &str| {
        let pid = server.process.id().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
        assert!(set.is_ok_and(|status| status.success()), "prlimit (of util-linux) is needed");
    };
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let lost = ada.get("/auth/me")["id"].clone();
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "1"});
    assert_eq!(post(&mut ada, "/orders", &order).status, 200);
    let fall_back = "DELETE FROM sessions; DELETE FROM users; ALTER SEQUENCE users_id_seq RESTART WITH 2";
    execute(folder.path(), fall_back);

    limit("64");
    let body = |number: u32| json!({"email": format!("bob{number}@example.org"), "password": PASSWORD});
    let refused = post(&mut server.client(""), "/auth/sign-up", &body(0));
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("store_unavailable")), "{}", refused.json());
    assert!(refused.header("retry-after").is_some());
    assert_eq!(execute(folder.path(), "SELECT count(*) FROM users").trim(), "0", "nobody can sign in to it");
    assert_eq!(post(&mut server.client(""), "/auth/sign-in", &body(0)).status, 401);
    limit("unlimited");
    let (begun, mut tries) = (Instant::now(), 0);
    let made = loop {
        let made = post(&mut server.client(""), "/auth/sign-up", &body(tries));
        if made.status == 200 {
            break made;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody can sign up: {}", made.json());
        tries += 1;
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut bob = server.client(made.json()["access_token"].as_str().unwrap());
    assert_ne!(bob.get("/auth/me")["id"], lost);
    assert_eq!(bob.get("/orders?status=open"), json!([]));
    let accounts = bob.get("/accounts");
    let held: Vec<&Value> = accounts.as_array().unwrap().iter().map(|account| &account["hold"]).collect();
    let is_zero = |hold: &&Value| hold.as_str().unwrap().parse::<f64>() == Ok(0.0);
    assert!(!held.is_empty() && held.iter().all(is_zero), "{accounts}");
}

/// PostgreSQL keeps no text with U+0000. Whoever sends one is told so, rather than to come again later.
#[test]
fn a_text_with_nul_is_a_bad_request() {
    let folder = tempfile::tempdir().unwrap();
    make_admin(folder.path());
    let server = Server::start(folder.path());
    let mut admin = sign_in(&server, "root@example.org");
    for (method, path) in [
        ("DELETE", "/auth/keys/%00"),
        ("DELETE", "/notifications/outlets/%00"),
        ("DELETE", "/auth/identities/%00"),
        ("GET", "/admin/users?email=%00"),
        ("GET", "/admin/audit?action=%00"),
    ] {
        let refused = admin.send(method, path, b"").unwrap();
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_text")), "{method} {path}");
    }
    for label in ["a\u{0}b", "a\nb"] {
        let key = json!({"passphrase": "open sesame", "permissions": ["view"], "label": label});
        let refused = post(&mut admin, "/auth/keys", &key);
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_label")), "{label:?}");
    }
}
