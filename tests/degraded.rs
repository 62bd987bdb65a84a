//! Servers that the program leans on go away while it trades, and come back: what works meanwhile,
//! what a client sees, and what is true afterwards.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "model/rng.rs"]
#[allow(dead_code, reason = "no test uses all of it")]
mod rng;
mod server;
mod servers;
#[allow(dead_code, reason = "no test uses all of it")]
mod traders;

use rng::Rng;
use serde_json::json;
use server::{Client, Server, agora};
use servers::Postgres;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use traders::{Placed, check_orders, check_sums, terminate, trade, uuid};

/// Asks until the path is answered with this status; a minute at most.
fn wait_for(client: &mut Client, path: &str, status: u16) {
    let began = Instant::now();
    while client.send("GET", path, b"").map(|answer| answer.status).ok() != Some(status) {
        assert!(began.elapsed() < Duration::from_secs(60), "{path} was not answered with {status} for a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends the traders also when the test fails while they trade, which would otherwise wait for them.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn trading_goes_on_without_the_database_and_history_comes_back_complete() {
    let mut postgres = Postgres::start();
    let url = postgres.create_database("agora");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--database", &url]);
    let emails = (0..traders::USERS).map(|n| format!("user{n}@example.org"));
    let clients: Vec<_> = emails.map(|email| Client::sign_up(&server, &email)).collect();
    let connect = || clients.iter().map(|client| server.client(&client.token)).collect::<Vec<_>>();
    let mut watcher = Client::sign_up(&server, "watcher@example.org");

    let mut rng = Rng(0xdead_beef);
    let mut history: Vec<Vec<Placed>> = Vec::new();
    for round in 0..3 {
        let enough = AtomicBool::new(false);
        let placed: Vec<Vec<Placed>> = std::thread::scope(|scope| {
            let _stop = Stop(&enough);
            let pause = Duration::from_millis(3);
            let markets = ["BTC-USDT", "ETH-USDT"];
            let threads: Vec<_> = connect()
                .into_iter()
                .enumerate()
                .map(|(n, client)| {
                    let (rng, enough) = (Rng(rng.next()), &enough);
                    scope.spawn(move || trade(client, rng, markets[n % 2], pause, enough))
                })
                .collect();
            std::thread::sleep(Duration::from_millis(300 + rng.below(700)));
            postgres.kill();

            // An order and its cancel need no database, nor does what is asked of the present.
            for _ in 0..3 {
                let id = uuid(&mut rng);
                let order =
                    json!({"product_id": "BTC-USDT", "side": "buy", "price": "1", "size": "1", "client_oid": id});
                let answer = watcher.send("POST", "/orders", order.to_string().as_bytes()).unwrap();
                assert_eq!(answer.status, 200, "{}", answer.json());
                let path = format!("/orders/{}", answer.json()["id"].as_str().unwrap());
                assert_eq!(watcher.get(&path)["status"], "open");
                assert_eq!(watcher.send("DELETE", &path, b"").unwrap().status, 200);
            }
            for path in ["/accounts", "/orders?status=open", "/products/BTC-USDT/ticker", "/products/BTC-USDT/book"] {
                assert_eq!(watcher.send("GET", path, b"").unwrap().status, 200, "{path}");
            }
            // What lies in the past is out of reach, and said to be.
            for path in ["/orders?status=done", "/fills?product_id=BTC-USDT"] {
                let answer = watcher.send("GET", path, b"").unwrap();
                assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("history_unavailable")), "{path}");
                assert!(answer.header("retry-after").is_some());
            }
            std::thread::sleep(Duration::from_millis(rng.below(1_500)));
            postgres.restart();
            wait_for(&mut watcher, "/orders?status=done", 200);
            std::thread::sleep(Duration::from_millis(500));
            enough.store(true, Ordering::Relaxed);
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        history.resize_with(placed.len(), Vec::new);
        for (all, new) in history.iter_mut().zip(placed) {
            all.extend(new);
        }
        println!("round {round}: {} orders so far", history.iter().map(Vec::len).sum::<usize>());
    }
    for (client, placed) in connect().iter_mut().zip(&mut history) {
        check_orders(client, placed);
    }
    drop(watcher);
    assert!(terminate(server).success());

    // The watermark and the rows below it are exactly those of the log.
    let output = agora(&["verify", "--database", &url], folder.path()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("no divergence"), "{said}");
    let count = |query: &str| postgres.execute("agora", query).trim().parse::<u64>().unwrap();
    let entries = count("SELECT count(*) FROM ledger_entries");
    assert!(entries > 100, "{entries} ledger entries");
    assert_eq!(count("SELECT max(id) FROM ledger_entries"), entries);
    assert_eq!(count("SELECT ledger_entries FROM watermark"), entries);
    let chain = "SELECT count(*) FROM (SELECT amount::numeric AS amount, balance::numeric AS balance, \
         lag(balance::numeric, 1, 0) OVER (PARTITION BY account, currency ORDER BY id) AS before FROM ledger_entries) e \
         WHERE before + amount <> balance";
    assert_eq!(count(chain), 0, "entries that do not follow from the one before");
    assert_eq!(count("SELECT count(*) FROM (SELECT market FROM fills GROUP BY 1 HAVING count(*) <> max(trade)) f"), 0);
    assert_eq!(
        count("SELECT count(*) FROM (SELECT market FROM orders GROUP BY 1 HAVING count(*) <> max(number)) o"),
        0
    );

    // A program that is started again shows each user the same.
    let server = Server::start_with(folder.path(), &["--database", &url]);
    let clients = clients.iter().map(|client| server.client(&client.token)).collect();
    check_sums(clients, &history);
}
