//! What a flood of sign-ins does to orders: the same paced orders alone and beside a thousand sign-ins
//! that come at once and come again, when they are told to, until each was let in.
//!
//! The bound that counts is the second time over the first: both are taken in one run, on one server.

use super::{Connection, Figures, Options, Server, figures, request, round, sign_up, until_ready};
use anyhow::{Context, ensure};
use serde_json::json;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// People who sign in, each from several places at once.
const PEOPLE: usize = 125;
/// Places of each; more would be slowed down as guesses.
const PLACES: usize = 8;

/// How much longer orders may take beside the sign-ins.
const GOAL: u32 = 2;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct FloodOptions {
    /// Orders and cancels in a second.
    #[arg(long, default_value_t = 1_000.0)]
    pub rate: f64,
    /// Seconds of orders alone.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}

/// The result of a run; `Display` prints it as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct FloodReport {
    /// Orders alone.
    pub alone: Figures,
    /// Orders beside the sign-ins.
    pub beside: Figures,
    /// How long it took until everybody was let in.
    pub took: Duration,
    /// How often somebody was told to come back.
    pub turned_away: usize,
}

/// Measures.
///
/// # Errors
/// When the server cannot be started, a connection breaks, or somebody is not let in at all.
pub fn run(options: &FloodOptions) -> anyhow::Result<FloodReport> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = std::path::PathBuf::from(format!("bench-sign-in-{}", std::process::id()));
    let result = runtime.block_on(measure(options, &folder));
    std::fs::remove_dir_all(&folder).context("the folder of the measurement cannot be removed")?;
    result
}

async fn measure(options: &FloodOptions, folder: &std::path::Path) -> anyhow::Result<FloodReport> {
    let data = folder.to_str().context("the folder's name is not UTF-8")?;
    let venue = Server::start(&["serve", "--demo-funds", "--listen", "127.0.0.1:0", "--data", data])?;
    until_ready(venue.address).await?;
    for person in 0..PEOPLE {
        sign_up(venue.address, person).await?;
    }
    let token = vec![sign_up(venue.address, PEOPLE).await?];
    let load = |seconds| Options { connections: 16, users: 1, seconds, ..Options::default() };
    let alone = round(&load(options.seconds), &venue, &token, Some(options.rate)).await?;

    let begin = Instant::now();
    let sign_ins = (0..PEOPLE * PLACES).map(|place| tokio::spawn(sign_in(venue.address, place % PEOPLE)));
    let everybody = futures_util::future::try_join_all(sign_ins);
    let watched = async {
        let (mut loads, short) = (Vec::new(), load(0.5));
        // Orders go on in short rounds for as long as somebody waits.
        let mut everybody = std::pin::pin!(everybody);
        loop {
            let orders = round(&short, &venue, &token, Some(options.rate));
            let mut orders = std::pin::pin!(orders);
            tokio::select! {
                done = &mut everybody => return anyhow::Ok((done?, loads)),
                load = &mut orders => loads.push(load?),
            }
        }
    };
    let (turned_away, loads) = watched.await?;
    ensure!(!loads.is_empty(), "the sign-ins were over before an order was measured");
    let turned_away: anyhow::Result<Vec<usize>> = turned_away.into_iter().collect();
    Ok(FloodReport {
        alone: figures(&[alone]),
        beside: figures(&loads),
        took: begin.elapsed(),
        turned_away: turned_away?.into_iter().sum(),
    })
}

/// Signs in, and comes back when told to; says how often it was.
async fn sign_in(address: SocketAddr, person: usize) -> anyhow::Result<usize> {
    let email = format!("bench-{}-{person}@example.com", std::process::id());
    let body = json!({"email": email, "password": "correct horse battery"}).to_string();
    let sign_in = request("POST", "/v1/auth/sign-in", None, &body);
    let mut connection = Connection::open(address).await?;
    let mut turned_away = 0;
    loop {
        match connection.exchange(&sign_in).await? {
            (200, _) => return Ok(turned_away),
            (429 | 503, _) => turned_away += 1,
            (status, answer) => anyhow::bail!("a sign-in got {status}: {}", String::from_utf8_lossy(answer)),
        }
        let wait = connection.header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(1);
        tokio::time::sleep(Duration::from_secs(wait)).await;
    }
}

impl fmt::Display for FloodReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "orders                | requests/s |  p50 ms |  p99 ms")?;
        for (name, figures) in [("alone", self.alone), ("beside the sign-ins", self.beside)] {
            let Figures { requests_per_second, p50_ms, p99_ms, .. } = figures;
            writeln!(f, "{name:<21} | {requests_per_second:>10.0} | {p50_ms:>7.2} | {p99_ms:>7.2}")?;
        }
        writeln!(f, "ratio of the medians   {:.2} (goal: at most {GOAL})", self.beside.p50_ms / self.alone.p50_ms)?;
        writeln!(f, "ratio of the p99       {:.2} (goal: at most {GOAL})", self.beside.p99_ms / self.alone.p99_ms)?;
        let (count, took, away) = (PEOPLE * PLACES, self.took.as_secs_f64(), self.turned_away);
        write!(f, "sign-ins    {count} at once, all let in after {took:.1} s, {away} times told to come back")
    }
}
