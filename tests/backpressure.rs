//! Far more load than the venue takes: what it accepts it answers, the rest it refuses at once, and its memory does not
//! grow with what waits.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod server;

use serde_json::json;
use server::{Client, Server, agora};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Commands that the market lets through at once, and callers who all want their own through at once.
const LET_THROUGH: usize = 16;
const CALLERS: usize = 3 * LET_THROUGH;
/// Memory that caches, pools and what memory remembers of ended orders may take beside the load, in MiB.
const CACHES_MIB: u64 = 64;

fn resident_mib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    refused: AtomicUsize,
}

/// Places and cancels without a pause; after a refusal it tries again at once.
fn press(mut client: Client, price: usize, counts: &Counts, enough: &AtomicBool) {
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": price.to_string(), "size": "0.1"}).to_string();
    let mut until_done = |method: &str, path: &str, body: &str| loop {
        let answer = client.send(method, path, body.as_bytes()).unwrap();
        match answer.status {
            200 => {
                counts.accepted.fetch_add(1, Ordering::Relaxed);
                return answer;
            }
            503 => {
                assert!(answer.header("retry-after").is_some(), "{}", answer.json());
                assert_eq!(answer.json()["code"], "overloaded");
                counts.refused.fetch_add(1, Ordering::Relaxed);
            }
            other => panic!("{method} {path}: {other} {}", answer.json()),
        }
    };
    while !enough.load(Ordering::Relaxed) {
        let id = until_done("POST", "/orders", &order).json()["id"].as_str().unwrap().to_string();
        until_done("DELETE", &format!("/orders/{id}"), "");
    }
}

/// `AGORA_PRESS_SECONDS` presses for longer; a minute is worth a try.
#[test]
fn three_times_the_load_is_answered_or_refused_with_flat_memory() {
    let seconds = std::env::var("AGORA_PRESS_SECONDS").map_or(6, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--market-in-flight", &LET_THROUGH.to_string()]);
    let tokens: Vec<_> =
        (0..4).map(|user| Client::sign_up(&server, &format!("user{user}@example.org")).token).collect();
    let (counts, enough) = (Counts::default(), AtomicBool::new(false));
    let (early, late) = std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let client = server.client(&tokens[caller % tokens.len()]);
            let (counts, enough) = (&counts, &enough);
            scope.spawn(move || press(client, 900 + caller, counts, enough));
        }
        let start = Instant::now();
        std::thread::sleep(Duration::from_secs(seconds) / 3);
        let early = resident_mib(&server);
        while start.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_millis(100));
        }
        let late = resident_mib(&server);
        enough.store(true, Ordering::Relaxed);
        (early, late)
    });
    let [accepted, refused] = [&counts.accepted, &counts.refused].map(|count| count.load(Ordering::Relaxed));
    println!("{accepted} accepted, {refused} refused, {early} MiB early, {late} MiB late");
    assert!(accepted > 100 && refused > 100, "{accepted} accepted, {refused} refused");
    assert!(late < early + CACHES_MIB, "memory grew from {early} to {late} MiB");
    for token in &tokens {
        assert!(server.client(token).get("/orders").as_array().unwrap().is_empty(), "every order was canceled");
    }
    drop(server);
    let verified = agora(&["verify"], folder.path()).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
