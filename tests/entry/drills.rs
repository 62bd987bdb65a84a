//! The actor that cancels the orders of a user who is gone fails: they go all the same.

use crate::server::{Client, Server};
use crate::{Desk, buy, place, until_none_is_open};
use agora::http::ids;
use serde_json::json;
use std::time::{Duration, Instant};

/// The path of a user's actor.
fn actor(client: &mut Client) -> String {
    let id = client.get("/auth/me")["id"].as_str().unwrap().parse().unwrap();
    format!("accounts/{}", ids::parse_user(id).unwrap().0)
}

fn drill(admin: &mut Client, actor: &str, kind: &str) -> u16 {
    let body = json!({ "kind": kind }).to_string();
    admin.send("POST", &format!("/admin/tree/{actor}/crash"), body.as_bytes()).unwrap().status
}

/// Waits until so many actors of users have crashed.
fn until_crashed(server: &Server, expected: u64) {
    let start = Instant::now();
    let crashes = || {
        let metrics = server.client("").metrics();
        let of_users = |line: &str| line.strip_prefix("agora_account_crashes_total ")?.parse::<u64>().ok();
        metrics.lines().find_map(of_users).unwrap()
    };
    while crashes() != expected {
        assert!(start.elapsed() < Duration::from_secs(30), "{} crashes, not {expected}", crashes());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn orders_go_with_their_trader_though_the_actor_that_cancels_them_panics() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    // Five crashes of one actor, however slow the machine is.
    let server = Server::start_with(data.path(), &["--allow-drills", "--supervision-within-s", "600"]);
    let mut admin = Client::admin(&server);
    let mut client = Client::sign_up(&server, "gone@example.org");
    let own = actor(&mut client);
    for nobody in ["accounts/1", "accounts/4000000", "accounts/99999999999", "accounts/ada"] {
        assert_eq!(drill(&mut admin, nobody, "panic"), 404, "{nobody}");
    }
    let elsewhere = json!({"side": "buy", "product_id": "ETH-USDT", "price": "100.00", "size": "0.1"});

    // The trader falls silent.
    place(&mut client, buy("1000.00"));
    place(&mut client, elsewhere.clone());
    assert_eq!(drill(&mut admin, &own, "panic_at_work"), 202);
    let mut desk = Desk::open(&server, &client);
    desk.ask(json!({"type": "cancel_all_after", "request_id": 1, "timeout_ms": 100}));
    until_none_is_open(&mut client);
    until_crashed(&server, 1);

    // The connection ends.
    desk.ask(json!({"type": "cancel_on_disconnect", "request_id": 2, "enabled": true}));
    place(&mut client, buy("1000.00"));
    assert_eq!(drill(&mut admin, &own, "panic_at_work"), 202);
    drop(desk);
    until_none_is_open(&mut client);
    until_crashed(&server, 2);

    // An actor that crashes too often is not made again for a while: it is done without it.
    for crashes in 3..=5 {
        assert_eq!(drill(&mut admin, &own, "panic"), 202);
        until_crashed(&server, crashes);
    }
    assert_eq!(drill(&mut admin, &own, "panic"), 503);
    place(&mut client, buy("1000.00"));
    place(&mut client, elsewhere);
    let mut desk = Desk::open(&server, &client);
    desk.ask(json!({"type": "cancel_all_after", "request_id": 3, "timeout_ms": 100}));
    until_none_is_open(&mut client);
    until_crashed(&server, 5);
}
