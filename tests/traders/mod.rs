//! Users who trade under bad conditions, and what must be true of their orders afterwards.

use crate::rng::Rng;
use crate::server::{Answer, Client, Server, agora};
use agora::domain::money::parse_decimal;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const USERS: usize = 4;
/// What `--demo-funds` gives to every user.
pub const WELCOME: [(&str, i128); 3] = [("BTC", 10), ("ETH", 10), ("USDT", 100_000)];

/// An order as its user knows it.
pub struct Placed {
    pub client_oid: String,
    body: String,
    pub outcome: Outcome,
    /// Whether its cancel was acknowledged.
    canceled: bool,
}

pub enum Outcome {
    /// Acknowledged with this id.
    Accepted(String),
    /// Refused with a reason.
    Refused,
    /// The answer was lost.
    Unknown,
}

/// A number with eight decimals, as a count of the eighth.
pub fn atoms(value: &Value) -> i128 {
    parse_decimal(value.as_str().unwrap_or_else(|| panic!("{value} is no decimal")), 8).unwrap()
}

pub fn uuid(rng: &mut Rng) -> String {
    let (high, low) = (rng.next() & !0xf000 | 0x4000, rng.next() & !(0b11 << 62) | 1 << 63);
    uuid::Uuid::from_u64_pair(high, low).to_string()
}

/// A new order with its client id, as it is sent.
fn some_order(rng: &mut Rng, market: &str) -> (String, String) {
    let client_oid = uuid(rng);
    let body = json!({
        "product_id": market,
        "side": rng.pick(&["buy", "sell"]),
        "price": format!("{}.{:02}", rng.within(995, 1_004), rng.below(100)),
        "size": format!("0.{:04}", rng.within(20, 900)),
        "time_in_force": rng.pick(&["GTC", "GTC", "GTC", "IOC"]),
        // Both leave the sizes alone, so that an open order's hold follows from what was filled.
        "stp": rng.pick(&["cn", "co"]),
        "client_oid": client_oid,
    });
    (client_oid, body.to_string())
}

/// Places and cancels, with a pause after each, until the connection breaks or it is enough.
pub fn trade(mut client: Client, mut rng: Rng, market: &str, pause: Duration, enough: &AtomicBool) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    while !enough.load(Ordering::Relaxed) {
        std::thread::sleep(pause);
        if rng.one_in(4) && !placed.is_empty() {
            let order = rng.below(placed.len() as u64) as usize;
            let order = &mut placed[order];
            let Ok(answer) = client.send("DELETE", &format!("/orders/client:{}", order.client_oid), b"") else { break };
            assert!(matches!(answer.status, 200 | 400 | 404 | 503), "{}: {}", answer.status, answer.json());
            order.canceled |= answer.status == 200;
            continue;
        }
        let (client_oid, body) = some_order(&mut rng, market);
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

/// Places orders and sends each again, to the next node, until its outcome is known: the client that the promises are
/// made for. Whatever answers it gets, they name the same order.
#[allow(dead_code, reason = "only clusters have several nodes")]
pub fn insist(
    at: &[SocketAddr],
    token: &str,
    mut rng: Rng,
    market: &str,
    pause: Duration,
    enough: &AtomicBool,
) -> Vec<Placed> {
    let mut clients: Vec<Client> = at.iter().map(|address| Client::at(*address, token)).collect();
    let mut turn = 0;
    let mut placed = Vec::new();
    while !enough.load(Ordering::Relaxed) {
        std::thread::sleep(pause);
        let (client_oid, body) = some_order(&mut rng, market);
        let began = Instant::now();
        let outcome = loop {
            let client = &mut clients[turn % at.len()];
            match client.send("POST", "/orders", body.as_bytes()) {
                Ok(answer) if answer.status == 200 => {
                    break Outcome::Accepted(answer.json()["id"].as_str().unwrap().into());
                }
                Ok(answer) if answer.status == 400 => break Outcome::Refused,
                Ok(answer) if answer.status == 503 => assert!(answer.header("retry-after").is_some()),
                Ok(answer) => panic!("{} {}", answer.status, answer.json()),
                Err(_) => {}
            }
            assert!(began.elapsed() < Duration::from_secs(120), "no node takes an order");
            turn += 1;
            std::thread::sleep(Duration::from_millis(20));
        };
        placed.push(Placed { client_oid, body, outcome, canceled: false });
    }
    placed
}

/// All orders of a user, page by page.
pub fn all_orders(client: &mut Client) -> Vec<Value> {
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

/// Asks, and again for so long while it is answered that it cannot be told or done now.
fn ask_within(client: &mut Client, method: &str, path: &str, body: &str, patience: Duration) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = client.send(method, path, body.as_bytes()).unwrap();
        if answer.status != 503 || begun.elapsed() >= patience {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Every order that was promised is there once; those whose answer was lost are after a retry.
pub fn check_orders(client: &mut Client, placed: &mut [Placed]) {
    check_orders_within(client, placed, Duration::ZERO);
}

/// The same where another node may just be taking over: each order is taken, or told to be unknown, within `patience`.
pub fn check_orders_within(client: &mut Client, placed: &mut [Placed], patience: Duration) {
    for order in placed.iter_mut() {
        let path = format!("/orders/client:{}", order.client_oid);
        let before = ask_within(client, "GET", &path, "", patience);
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
        let retries = [(); 2].map(|()| ask_within(client, "POST", "/orders", &order.body, patience));
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
pub fn check_sums(mut clients: Vec<Client>, placed: &[Vec<Placed>]) {
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
        let unsold = |base: &Value| -> i128 {
            let of_base = |order: &&Value| order["product_id"] == format!("{}-USDT", base.as_str().unwrap());
            let open = |order: &&Value| order["status"] != "done" && order["side"] == "sell";
            let open_sells = orders.iter().filter(of_base).filter(open);
            open_sells.map(|order| atoms(&order["size"]) - atoms(&order["filled_size"])).sum()
        };
        for account in client.get("/accounts").as_array().unwrap() {
            let [balance, available, hold] = ["balance", "available", "hold"].map(|field| atoms(&account[field]));
            assert_eq!(balance, available + hold, "{account}");
            assert!(available >= 0 && hold >= 0, "{account}");
            if account["currency"] != "USDT" {
                assert_eq!(hold, unsold(&account["currency"]), "the hold is not what the open sells need: {account}");
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

pub fn verify(data: &Path) {
    let output = agora(&["verify"], data).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("no divergence"), "{}: {said}", output.status);
}

/// Asks the program to end, and gives it ten seconds.
pub fn terminate(mut server: Server) -> ExitStatus {
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
