//! The program is killed while it trades, again and again, and keeps every word it gave: what was
//! acknowledged is there exactly once, a retry never makes a second order, and no money is made or
//! lost.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "server/ending.rs"]
mod ending;
#[path = "model/rng.rs"]
mod rng;
mod server;
mod traders;

use agora::persistence::db::Database;
use diesel::prelude::*;
use ending::ended;
use rng::Rng;
use serde_json::json;
use server::{Answer, Client, Server, agora};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use traders::{Outcome, Placed, USERS, check_orders, check_sums, terminate, trade, verify};

fn number_from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// `AGORA_CRASH_ROUNDS` and `AGORA_CRASH_SEED` override how often, and which random numbers.
#[test]
fn every_acknowledged_order_survives_kill_9_exactly_once() {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number_from_environment("AGORA_CRASH_SEED").unwrap_or_else(clock);
    let rounds = number_from_environment("AGORA_CRASH_ROUNDS").unwrap_or(20);
    println!("AGORA_CRASH_SEED={seed}");
    let mut rng = Rng(seed);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();

    let mut server = Server::start(data);
    let tokens: Vec<_> =
        (0..USERS).map(|user| Client::sign_up(&server, &format!("user{user}@example.org")).token).collect();
    let connect = |server: &Server| tokens.iter().map(|token| server.client(token)).collect::<Vec<_>>();
    let mut history: Vec<Vec<Placed>> = (0..USERS).map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        let traders: Vec<_> = tokens
            .iter()
            .map(|token| {
                let (client, rng) = (server.client(token), Rng(rng.next()));
                std::thread::spawn(move || trade(client, rng, "BTC-USDT", Duration::ZERO, &AtomicBool::new(false)))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(rng.within(50, 600)));
        server.process.kill().unwrap();
        drop(server);
        let mut placed: Vec<_> = traders.into_iter().map(|trader| trader.join().unwrap()).collect();
        // The torn tail of the log is no divergence: nobody was told of it.
        verify(data);

        server = Server::start(data);
        let mut clients = connect(&server);
        for (client, placed) in clients.iter_mut().zip(&mut placed) {
            check_orders(client, placed);
        }
        for (all, new) in history.iter_mut().zip(placed) {
            all.extend(new);
        }
        check_sums(connect(&server), &history);
        println!("round {round}: {} orders so far", history.iter().map(Vec::len).sum::<usize>());
        if round % 5 == 0 || round == rounds {
            assert!(terminate(server).success());
            verify(data);
            server = Server::start(data);
        }
    }
    let mut clients = connect(&server);
    for (client, placed) in clients.iter_mut().zip(&mut history) {
        check_orders(client, placed);
    }
    // New connections: the server closes those that were idle for some seconds.
    check_sums(connect(&server), &history);
}

#[test]
fn an_orderly_stop_keeps_balances_and_open_orders() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut maker = Client::sign_up(&server, "maker@example.org");
    let mut taker = Client::sign_up(&server, "taker@example.org");
    let place = |client: &mut Client, side: &str, price: u32, size: &str| {
        let order = json!({"product_id": "BTC-USDT", "side": side, "price": price, "size": size});
        let answer = client.send("POST", "/orders", order.to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
    };
    for step in 0..10 {
        place(&mut maker, "sell", 1_000 + step, "0.1");
        place(&mut maker, "buy", 900 - step, "0.1");
    }
    place(&mut taker, "buy", 1_002, "0.25");
    place(&mut taker, "sell", 1_500, "1");

    let paths = ["/accounts", "/orders", "/orders?status=all", "/fills?product_id=BTC-USDT"];
    let picture = |client: &mut Client| paths.map(|path| client.get(path));
    let before = [picture(&mut maker), picture(&mut taker)];
    let book = maker.get("/products/BTC-USDT/book?level=3");
    assert_eq!(before[0][1].as_array().unwrap().len(), 18);
    let status = terminate(server);
    assert!(status.success(), "{status}");
    verify(folder.path());

    let server = Server::start(folder.path());
    let [mut maker, mut taker] = [maker.token, taker.token].map(|token| server.client(&token));
    assert_eq!(before, [picture(&mut maker), picture(&mut taker)]);
    let again = maker.get("/products/BTC-USDT/book?level=3");
    for field in ["bids", "asks", "sequence"] {
        assert_eq!(book[field], again[field]);
    }
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let second = agora(&["serve", "--listen", "127.0.0.1:0"], folder.path());
    let output = ended(second, Duration::from_secs(60));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("in use by another process"), "{said}");
    // The first one is none the worse for it.
    Client::sign_up(&server, "still@example.org").get("/accounts");
}

fn place(client: &mut Client, price: u32) -> Answer {
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": price, "size": "0.1"}).to_string();
    client.send("POST", "/orders", order.as_bytes()).unwrap()
}

#[test]
fn a_damaged_snapshot_is_skipped_for_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut token = String::new();
    for round in 0..2 {
        let server = Server::start(folder.path());
        if token.is_empty() {
            token = Client::sign_up(&server, "user@example.org").token;
        }
        assert_eq!(place(&mut server.client(&token), 900 + round).status, 200);
        assert!(terminate(server).success());
    }
    let snapshots = std::fs::read_dir(folder.path().join("snapshots")).unwrap().map(|entry| entry.unwrap().path());
    let mut snapshots: Vec<_> = snapshots.filter(|path| path.extension().is_some_and(|e| e == "snap")).collect();
    snapshots.sort();
    assert!(snapshots.len() >= 2, "{snapshots:?}");
    let newest = snapshots.last().unwrap();
    let mut bytes = std::fs::read(newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(newest, bytes).unwrap();

    let server = Server::start(folder.path());
    let mut client = server.client(&token);
    assert_eq!(client.get("/orders").as_array().unwrap().len(), 2);
    assert_eq!(place(&mut client, 902).status, 200);
    assert!(terminate(server).success());
    verify(folder.path());
}

#[test]
fn a_log_that_was_pruned_is_verified_from_its_archive() {
    let folder = tempfile::tempdir().unwrap();
    let short = ["--log-segment-bytes", "65536", "--log-prune", "--checkpoint-every-s", "1"];
    let server = Server::start_with(folder.path(), &short);
    let tokens: Vec<_> =
        (0..USERS).map(|user| Client::sign_up(&server, &format!("user{user}@example.org")).token).collect();
    let first = folder.path().join("log").join(format!("{:020}.seg", 1));
    let enough = AtomicBool::new(false);
    let placed: Vec<_> = std::thread::scope(|scope| {
        let traders: Vec<_> = tokens
            .iter()
            .enumerate()
            .map(|(user, token)| {
                let (client, rng, enough) = (server.client(token), Rng(user as u64 + 1), &enough);
                scope.spawn(move || trade(client, rng, "BTC-USDT", Duration::ZERO, enough))
            })
            .collect();
        let deadline = Instant::now() + Duration::from_secs(60);
        while first.exists() {
            assert!(Instant::now() < deadline, "nothing was pruned");
            std::thread::sleep(Duration::from_millis(50));
        }
        enough.store(true, Ordering::Relaxed);
        traders.into_iter().map(|trader| trader.join().unwrap()).collect()
    });
    let mut other = server.client(&tokens[0]);
    other.send("GET", "/accounts", b"").unwrap();
    assert!(terminate(server).success());
    verify(folder.path());
    assert!(!first.exists());
    verify_after_a_run_that_was_killed(folder.path());

    let server = Server::start_with(folder.path(), &short);
    let placed = placed_for_sure(placed);
    let connect = |server: &Server| tokens.iter().map(|token| server.client(token)).collect::<Vec<_>>();
    check_sums(connect(&server), &placed);
    assert!(terminate(server).success());
    verify(folder.path());

    // A newer version may not read the snapshots of an older one, and the log alone no longer has everything.
    std::fs::remove_dir_all(folder.path().join("snapshots")).unwrap();
    let server = Server::start_with(folder.path(), &short);
    check_sums(connect(&server), &placed);
    assert_eq!(place(&mut server.client(&tokens[0]), 100).status, 200);
    assert!(terminate(server).success());
    verify(folder.path());

    // What the archive has of a segment that is still there must be the same.
    let database = Database::open(&folder.path().join("agora.db")).unwrap();
    let spoil = "UPDATE log_archive SET checksum = x'00' WHERE first = (SELECT max(first) FROM log_archive)";
    database.write(|conn| diesel::sql_query(spoil).execute(conn)).unwrap();
    drop(database);
    let refused = agora(&["verify"], folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("archived segment"), "{said}");
}

/// A run that is killed leaves its folder, in which the log's own files have second names. The next one may have the
/// same number, as every process of a container has: it writes to none of them.
fn verify_after_a_run_that_was_killed(data: &Path) {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let lengths = || -> Vec<(PathBuf, u64)> {
        let with_length = |path: PathBuf| (path.clone(), std::fs::metadata(path).unwrap().len());
        entries(&data.join("log")).into_iter().map(with_length).collect()
    };
    let before = lengths();
    let direct = agora(&["verify"], data);
    let leave = r#"left="$DATA/verify-$$/log" && mkdir -p "$left" && ln "$DATA"/log/*.seg "$left" && exec "$0" "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", leave]).arg(direct.get_program()).args(direct.get_args()).env("DATA", data);
    let output = command.env("AGORA_LOG", "error").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(lengths(), before, "the log itself was written to: {said}");
    assert!(output.status.success() && said.contains("no divergence"), "{}: {said}", output.status);
    let is_left = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("verify-");
    assert_eq!(entries(data).into_iter().find(is_left), None, "something is left");
}

/// What other services were told of, and what follows for chat, stands in the log: one that ends before it is not the
/// one that it was.
#[test]
fn a_log_that_ends_before_what_was_published_is_refused() {
    ahead_of_the_log_is_refused("bridge_watermark");
}

#[test]
fn a_log_that_ends_before_what_chat_has_seen_is_refused() {
    ahead_of_the_log_is_refused("chat_watermark");
}

fn ahead_of_the_log_is_refused(watermark: &str) {
    let folder = tempfile::tempdir().unwrap();
    assert!(terminate(Server::start(folder.path())).success());
    let database = Database::open(&folder.path().join("agora.db")).unwrap();
    let ahead = format!("UPDATE {watermark} SET position = 1000000");
    assert_eq!(database.write(|conn| diesel::sql_query(ahead).execute(conn)).unwrap(), 1);
    drop(database);
    let output = ended(agora(&["serve", "--listen", "127.0.0.1:0"], folder.path()), Duration::from_secs(60));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("a part of the log is missing"), "{said}");
}

/// Chat follows the log too, and what it has not read stays. When nobody chats, how far it is must be known all the
/// same.
#[test]
fn a_full_log_is_emptied_although_nobody_chats() {
    let folder = tempfile::tempdir().unwrap();
    let short =
        ["--log-segment-bytes", "65536", "--log-max-bytes", "262144", "--log-prune", "--checkpoint-every-s", "1"];
    let server = Server::start_with(folder.path(), &short);
    let mut client = Client::sign_up(&server, "user@example.org");
    let order = json!({"product_id": "ETH-USDT", "side": "buy", "price": "10", "size": "1"});
    let orders = json!({"orders": vec![order; 100]}).to_string();
    let mut are_taken = || {
        let answer = client.send("POST", "/orders/batch", orders.as_bytes()).unwrap();
        let placed = answer.status == 200 && answer.json().to_string().contains("order_id");
        placed && client.send("DELETE", "/orders?product_id=ETH-USDT", b"").unwrap().status == 200
    };
    let first = folder.path().join("log").join(format!("{:020}.seg", 1));
    let deadline = Instant::now() + Duration::from_secs(120);
    while first.exists() || !are_taken() {
        assert!(Instant::now() < deadline, "the log is full, and stays so");
        if !are_taken() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    assert!(terminate(server).success());
    verify(folder.path());
}

/// Of traders that nobody disturbed, every outcome is known.
fn placed_for_sure(placed: Vec<Vec<Placed>>) -> Vec<Vec<Placed>> {
    assert!(placed.iter().flatten().all(|order| !matches!(order.outcome, Outcome::Unknown)));
    placed
}

/// `prlimit` takes the room away from a running program, and gives it back.
#[test]
fn a_full_disk_refuses_orders_until_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    // A write beyond the limit is to fail, not to kill.
    let direct = agora(&["serve", "--demo-funds", "--listen", "127.0.0.1:0"], folder.path());
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(direct.get_program()).args(direct.get_args());
    command.env("AGORA_LOG", "error");
    let server = Server::run(command);
    let mut client = Client::sign_up(&server, "user@example.org");
    assert_eq!(place(&mut client, 900).status, 200);
    let limit = |bytes: &str| {
        let pid = server.process.id().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
        assert!(set.is_ok_and(|status| status.success()), "prlimit (of util-linux) is needed");
    };
    limit("64");
    let refused = place(&mut client, 901);
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("log_unavailable")));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(client.get("/orders").as_array().unwrap().len(), 1, "what was refused is not there");
    limit("unlimited");
    let deadline = Instant::now() + Duration::from_secs(30);
    while place(&mut client, 902).status != 200 {
        assert!(Instant::now() < deadline, "no order is taken although there is room");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(client.get("/orders").as_array().unwrap().len(), 2);
    assert!(terminate(server).success());
    verify(folder.path());
}

/// Somebody put a copy of the log back and left the snapshots of what was lost with it where they were.
#[test]
fn a_snapshot_from_behind_the_end_of_the_log_is_set_aside() {
    let lost = tempfile::tempdir().unwrap();
    let server = Server::start(lost.path());
    let token = Client::sign_up(&server, "user@example.org").token;
    assert_eq!(place(&mut server.client(&token), 900).status, 200);
    assert!(terminate(server).success());
    let restored = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-a").arg(lost.path().join(".")).arg(restored.path()).status();
    assert!(copied.unwrap().success());

    let server = Server::start(lost.path());
    for price in 901..905 {
        assert_eq!(place(&mut server.client(&token), price).status, 200);
    }
    assert!(terminate(server).success());
    let newest = |data: &Path| {
        let files = std::fs::read_dir(data.join("snapshots")).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "snap")).max().unwrap()
    };
    let ahead = newest(lost.path());
    let planted = restored.path().join("snapshots").join(ahead.file_name().unwrap());
    assert!(planted > newest(restored.path()), "nothing was written behind the copy");
    std::fs::copy(&ahead, &planted).unwrap();

    let server = Server::start(restored.path());
    assert!(!planted.exists() && planted.with_extension("ahead").exists());
    let mut client = server.client(&token);
    assert_eq!(client.get("/orders").as_array().unwrap().len(), 1);
    assert_eq!(place(&mut client, 901).status, 200);
    assert!(terminate(server).success());
    verify(restored.path());
}
