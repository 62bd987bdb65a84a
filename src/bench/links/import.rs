//! How fast links are imported, and how long others wait meanwhile who make one link each.

use super::super::rest::client::{Connection, request};
use super::super::rest::sign_up;
use super::{Figures, Load, figures};
use anyhow::ensure;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// People who make one link after the other, so slowly that no limit of requests turns them away.
const MAKERS: usize = 8;
/// How often each of them does.
const EVERY: Duration = Duration::from_millis(250);

/// What an import reached.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Imported {
    /// Rows in a second, while nobody else wrote.
    pub alone: f64,
    /// The same while others made links.
    pub beside: f64,
    /// Links that others made before the import.
    pub quiet: Figures,
    /// The same during the import.
    pub busy: Figures,
    /// The longest that one of them waited during the import, milliseconds.
    pub longest_ms: f64,
}

/// Measures with so many rows.
pub(super) async fn measure(address: SocketAddr, rows: usize) -> anyhow::Result<Imported> {
    // The first user, who imports, is the one whose links are stored.
    let token = sign_up(address, 0).await?;
    let mut makers = Vec::with_capacity(MAKERS);
    for user in 1..=MAKERS {
        makers.push(sign_up(address, user).await?);
    }
    let makers = Arc::new(makers);
    let alone = import(address, &token, rows, "first").await?;
    let done = Arc::new(AtomicBool::new(false));
    let some = tokio::spawn(make(address, makers.clone(), done.clone()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    done.store(true, Ordering::Relaxed);
    let quiet = some.await??;
    let done = Arc::new(AtomicBool::new(false));
    let some = tokio::spawn(make(address, makers, done.clone()));
    let beside = import(address, &token, rows, "second").await;
    done.store(true, Ordering::Relaxed);
    let busy = some.await??;
    let longest_ms = busy.latencies.iter().max().map_or(0.0, |time| time.as_secs_f64() * 1e3);
    Ok(Imported { alone, beside: beside?, quiet: figures(&[quiet]), busy: figures(&[busy]), longest_ms })
}

/// Imports fresh links; rows in a second.
async fn import(address: SocketAddr, token: &str, rows: usize, name: &str) -> anyhow::Result<f64> {
    let mut file = String::from("target,title\n");
    for row in 0..rows {
        writeln!(file, "https://example.com/{name}/{row},Row {row}")?;
    }
    let mut connection = Connection::open(address).await?;
    let request = format!(
        "POST /v1/links/import HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nContent-Type: text/csv\r\n\
         Content-Length: {}\r\n\r\n{file}",
        file.len()
    )
    .into_bytes();
    let started = Instant::now();
    let (status, answer) = connection.exchange(&request).await?;
    let time = started.elapsed();
    ensure!(status == 200, "the import was refused: {:.300}", String::from_utf8_lossy(answer));
    let report: Value = serde_json::from_slice(answer)?;
    ensure!(report["created"] == rows, "rows were not imported: {:.300}", report.to_string());
    Ok(rows as f64 / time.as_secs_f64())
}

/// Makes one link after the other, each at its time whatever became of the others, until it is told to stop.
async fn make(address: SocketAddr, makers: Arc<Vec<String>>, done: Arc<AtomicBool>) -> anyhow::Result<Load> {
    let (mut under_way, mut number) = (Vec::new(), 0);
    let start = Instant::now();
    let mut next = start;
    while !done.load(Ordering::Relaxed) {
        for token in makers.iter() {
            let body = json!({ "target": format!("https://example.net/{number}") }).to_string();
            let request = request("POST", "/v1/links", Some(token), &body);
            number += 1;
            under_way.push(tokio::spawn(async move {
                let mut connection = Connection::open(address).await?;
                let begun = Instant::now();
                let (status, _) = connection.exchange(&request).await?;
                anyhow::Ok((begun.elapsed(), status))
            }));
            next += EVERY / MAKERS as u32;
            tokio::time::sleep_until(next.into()).await;
        }
    }
    let mut load = Load { time: start.elapsed(), ..Load::default() };
    for one in under_way {
        let (time, status) = one.await??;
        ensure!(status == 201, "a link was refused with {status}");
        load.latencies.push(time);
    }
    Ok(load)
}
