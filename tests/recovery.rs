//! The program is killed while it trades, again and again, and keeps every word it gave: what was
//! acknowledged is there exactly once, a retry never makes a second order, and no money is made or
//! lost.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "model/rng.rs"]
mod rng;
mod server;

use agora::domain::money::parse_decimal;
use rng::Rng;
use serde_json::{Value, json};
use server::{Client, Server, agora};
use std::collections::HashMap;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const USERS: usize = 4;
/// What `--demo-funds` gives to every user.
const WELCOME: [(&str, i128); 3] = [("BTC", 10), ("ETH", 10), ("USDT", 100_000)];

/// An order as its user knows it.
struct Placed {
    client_oid: String,
    body: String,
    outcome: Outcome,
    /// Whether its cancel was acknowledged.
    canceled: bool,
}

enum Outcome {
    /// Acknowledged with this id.
    Accepted(String),
    /// Refused with a reason.
    Refused,
    /// The answer was lost.
    Unknown,
}

/// A number with eight decimals, as a count of the eighth.
fn atoms(value: &Value) -> i128 {
    parse_decimal(value.as_str().unwrap_or_else(|| panic!("{value} is no decimal")), 8).unwrap()
}

fn uuid(rng: &mut Rng) -> String {
    let (high, low) = (rng.next() & !0xf000 | 0x4000, rng.next() & !(0b11 << 62) | 1 << 63);
    uuid::Uuid::from_u64_pair(high, low).to_string()
}

/// Places and cancels until the connection breaks.
fn trade(mut client: Client, mut rng: Rng) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    loop {
        if rng.one_in(4) && !placed.is_empty() {
            let order = rng.below(placed.len() as u64) as usize;
            let order = &mut placed[order];
            let Ok(answer) = client.send("DELETE", &format!("/orders/client:{}", order.client_oid), b"") else { break };
            assert!(matches!(answer.status, 200 | 400 | 404 | 503), "{}: {}", answer.status, answer.json());
            order.canceled |= answer.status == 200;
            continue;
        }
        let client_oid = uuid(&mut rng);
        let body = json!({
            "product_id": "BTC-USDT",
            "side": rng.pick(&["buy", "sell"]),
            "price": format!("{}.{:02}", rng.within(995, 1_004), rng.below(100)),
            "size": format!("0.{:06}", rng.within(2_000, 90_000)),
            "time_in_force": rng.pick(&["GTC", "GTC", "GTC", "IOC"]),
            // Both leave the sizes alone, so that an open order's hold follows from what was filled.
            "stp": rng.pick(&["cn", "co"]),
            "client_oid": client_oid,
        })
        .to_string();
        let answer = client.send("POST", "/orders", body.as_bytes());
        let lost = answer.is_err();
        let outcome = match &answer {
            Ok(answer) if answer.status == 200 => Outcome::Accepted(answer.json()["id"].as_str().unwrap().into()),
            Ok(answer) if answer.status == 400 => Outcome::Refused,
            Ok(answer) if answer.status == 503 => Outcome::Unknown,
            Ok(answer) => panic!("{} {}", answer.status, answer.json()),
            Err(_) => Outcome::Unknown,
        };
        placed.push(Placed { client_oid, body, outcome, canceled: false });
        if lost {
            break;
        }
    }
    placed
}

/// All orders of a user, page by page.
fn all_orders(client: &mut Client) -> Vec<Value> {
    let mut orders = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/orders?status=all&limit=1000&after={cursor}");
        let answer = client.send("GET", &path, b"").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        let Some(after) = answer.header("cb-after").map(str::to_string) else { return orders };
        orders.extend(answer.json().as_array().unwrap().iter().cloned());
        cursor = after;
    }
}

/// Every order that was promised is there once; those whose answer was lost are after a retry.
fn check_orders(client: &mut Client, placed: &mut [Placed]) {
    for order in placed.iter_mut() {
        let path = format!("/orders/client:{}", order.client_oid);
        let before = client.send("GET", &path, b"").unwrap();
        if let Outcome::Accepted(id) = &order.outcome {
            assert_eq!(before.status, 200, "the acknowledged order {id} is lost: {}", before.json());
            assert_eq!(before.json()["id"], id.as_str());
            if order.canceled {
                assert_eq!(before.json()["status"], "done", "the acknowledged cancel of {id} is lost");
            }
        }
        if matches!(order.outcome, Outcome::Refused) {
            assert_eq!(before.status, 404, "a refused order is there: {}", before.json());
            continue;
        }
        let retries = [(); 2].map(|()| client.send("POST", "/orders", order.body.as_bytes()).unwrap());
        if let Outcome::Unknown = order.outcome {
            if before.status == 404 && retries[0].status == 400 {
                order.outcome = Outcome::Refused;
                continue;
            }
            order.outcome = Outcome::Accepted(retries[0].json()["id"].as_str().unwrap_or_default().into());
        }
        let Outcome::Accepted(id) = &order.outcome else { continue };
        for retry in retries {
            assert_eq!(retry.status, 200, "{}", retry.json());
            assert_eq!(retry.json()["id"], id.as_str(), "a retry made another order");
        }
        assert_eq!(client.get(&path)["id"], id.as_str());
    }
}

/// Each list of orders has every accepted order once and no other; the balances fit the orders.
fn check_sums(mut clients: Vec<Client>, placed: &[Vec<Placed>]) {
    let mut totals: HashMap<String, i128> = HashMap::new();
    let mut fees = 0;
    for (client, placed) in clients.iter_mut().zip(placed) {
        let orders = all_orders(client);
        let mut listed: Vec<_> = orders.iter().map(|order| order["id"].as_str().unwrap()).collect();
        let mut promised: Vec<_> = Vec::new();
        for order in placed {
            if let Outcome::Accepted(id) = &order.outcome {
                promised.push(id.as_str());
            }
        }
        listed.sort_unstable();
        promised.sort_unstable();
        assert_eq!(listed, promised, "the user's list is not what was accepted");
        fees += orders.iter().map(|order| atoms(&order["fill_fees"])).sum::<i128>();
        let open_sells = orders.iter().filter(|order| order["status"] != "done" && order["side"] == "sell");
        let unsold: i128 = open_sells.map(|order| atoms(&order["size"]) - atoms(&order["filled_size"])).sum();
        for account in client.get("/accounts").as_array().unwrap() {
            let [balance, available, hold] = ["balance", "available", "hold"].map(|field| atoms(&account[field]));
            assert_eq!(balance, available + hold, "{account}");
            assert!(available >= 0 && hold >= 0, "{account}");
            if account["currency"] == "BTC" {
                assert_eq!(hold, unsold, "the hold is not what the open sells need: {account}");
            }
            *totals.entry(account["currency"].as_str().unwrap().into()).or_default() += balance;
        }
    }
    for (currency, whole) in WELCOME {
        let paid = if currency == "USDT" { fees } else { 0 };
        let given = whole * 100_000_000 * USERS as i128;
        assert_eq!(totals[currency], given - paid, "{currency} was made or lost");
    }
}

fn verify(data: &Path) {
    let output = agora(&["verify"], data).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("no divergence"), "{}: {said}", output.status);
}

/// Asks the program to end, and gives it ten seconds.
fn terminate(mut server: Server) -> ExitStatus {
    let asked = std::process::Command::new("kill").arg("-TERM").arg(server.process.id().to_string()).status();
    assert!(asked.unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(status) = server.process.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "the program still runs ten seconds after SIGTERM");
        std::thread::sleep(Duration::from_millis(20));
    }
}

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
                std::thread::spawn(move || trade(client, rng))
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
    let mut second = agora(&["serve", "--listen", "127.0.0.1:0"], folder.path());
    let output = second.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("in use by another process"), "{said}");
    // The first one is none the worse for it.
    Client::sign_up(&server, "still@example.org").get("/accounts");
}
