//! What needs the database to begin with, or to end.

use crate::nodes::{figure, wait_for, wait_for_rows};
use crate::server::{Client, Server, agora};
use crate::servers::Postgres;
use crate::traders::terminate;
use agora::domain::ids::OrderId;
use agora::http::ids;
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn place(client: &mut Client) -> u16 {
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.01"}).to_string();
    client.send("POST", "/orders", order.as_bytes()).unwrap().status
}

/// What dies while the database is away, and could not begin again without it, waits: trading, which does without, must not
/// end because of it.
#[test]
fn what_dies_without_the_database_waits_for_it_while_trading_goes_on() {
    let mut postgres = Postgres::start();
    let url = postgres.create_database("agora");
    let folder = tempfile::tempdir().unwrap();
    let mut create = agora(&["admin", "create", "admin@example.org", "--database", &url], folder.path());
    let made = create.env("AGORA_ADMIN_PASSWORD", "correct horse battery").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let server = Server::start_with(folder.path(), &["--database", &url, "--allow-drills"]);
    let mut admin = Client::admin(&server);
    let mut client = Client::sign_up(&server, "ada@example.org");
    let room = br#"{"kind": "public", "name": "Hall"}"#;
    let made = wait_for("chat", || client.send("POST", "/chat/rooms", room).ok().filter(|made| made.status != 503));
    let messages = format!("/chat/rooms/{}/messages", made.json()["id"].as_str().unwrap());
    let mut talker = server.client(&client.token);
    let mut say = |text: &str| {
        let message = json!({"text": text}).to_string();
        talker.send("POST", &messages, message.as_bytes()).unwrap().status
    };
    assert_eq!(say("before"), 201);
    assert_eq!(place(&mut client), 200);

    postgres.kill();
    // With the log all of trading begins anew, and chat's streams with it.
    for part in ["agora/chat/chat projector", "agora/projector", "agora/trading/event log"] {
        let path = format!("/admin/tree/{}/crash", part.replace(' ', "%20"));
        assert_eq!(admin.send("POST", &path, br#"{"kind": "panic"}"#).unwrap().status, 202, "{part}");
        let restarts = format!("agora_actor_restarts{{actor=\"{part}\"}} ");
        wait_for(part, || figure(&server, &restarts).filter(|restarts| *restarts > 0));
    }
    wait_for("an order", || (place(&mut client) == 200).then_some(()));
    // Longer than the budgets of all supervisors would last together.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(40) {
        assert_eq!(place(&mut client), 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    wait_for("a node that is ready", || ready_status(&server).filter(|status| *status == 200));

    postgres.restart();
    wait_for("chat", || (say("after") == 201).then_some(()));
    wait_for_rows(&server);
    assert!(terminate(server).success());
    verify(folder.path(), &url);
}

fn ready_status(server: &Server) -> Option<u16> {
    let request = b"GET /health/ready HTTP/1.1\r\nHost: agora\r\nConnection: close\r\n\r\n";
    server.client("").send_raw(request).ok().map(|answer| answer.status)
}

fn verify(data: &Path, url: &str) {
    let output = agora(&["verify", "--database", url], data).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("no divergence"), "{said}");
}

/// A call to a database that is frozen never comes back, and nobody can break it off; the program ends all the same when it
/// is told to, and what was acknowledged is there afterwards.
#[test]
fn a_frozen_database_keeps_no_program_from_ending() {
    let postgres = Postgres::start();
    let url = postgres.create_database("agora");
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_with(folder.path(), &["--database", &url]);
    let mut client = Client::sign_up(&server, "ada@example.org");
    assert_eq!(place(&mut client), 200);
    postgres.freeze();
    // Its rows are written by a thread that waits from now on, and so does the one that asks for history.
    assert_eq!(place(&mut client), 200);
    assert_eq!(client.send("GET", "/fills?product_id=BTC-USDT", b"").unwrap().status, 503);
    let id = server.process.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    let status = wait_for("the end", || server.process.try_wait().unwrap());
    assert!(status.success(), "{status}");
    postgres.thaw();
    let server = Server::start_with(folder.path(), &["--database", &url]);
    let open = server.client(&client.token).get("/orders?status=open");
    assert_eq!(open.as_array().unwrap().len(), 2, "{open}");
}

/// Of an order that memory does not have only the database knows whether there ever was one. While that is away nobody
/// says that there was none.
#[test]
fn what_only_the_database_knows_is_not_said_to_be_missing() {
    let mut postgres = Postgres::start();
    let url = postgres.create_database("agora");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--database", &url]);
    let mut client = Client::sign_up(&server, "ada@example.org");
    assert_eq!(place(&mut client), 200);
    wait_for_rows(&server);
    let open = client.get("/orders?status=open");
    let (market, order) = ids::parse_order(open[0]["id"].as_str().unwrap().parse().unwrap()).unwrap();
    // An id whose number was given out, and which is that of no order.
    let id = ids::order(market, OrderId { slot: order.slot + 1, ..order });
    let mut ask = |method: &str| {
        let (path, body) = match method {
            "BATCH" => ("/orders/batch".to_owned(), json!({"order_ids": [id]})),
            _ => (format!("/orders/{id}"), json!({"size": "0.005"})),
        };
        let answer = client.send(if method == "BATCH" { "DELETE" } else { method }, &path, body.to_string().as_bytes());
        let answer = answer.unwrap();
        match method {
            "BATCH" => answer.json()[0]["error"]["code"].as_str().unwrap().to_owned(),
            _ => format!("{} {}", answer.status, answer.json()["code"].as_str().unwrap()),
        }
    };
    let asked = ["GET", "DELETE", "PATCH", "BATCH"];
    let known = ["404 not_found", "404 order_not_found", "404 order_not_found", "order_not_found"];
    assert_eq!(asked.map(&mut ask), known);
    postgres.kill();
    let unknown = ["503 history_unavailable"; 3];
    assert_eq!([asked[0], asked[1], asked[2]].map(&mut ask), unknown);
    assert_eq!(ask(asked[3]), "history_unavailable");
}
