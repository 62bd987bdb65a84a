//! Orders over HTTP against a bare server that only reads and answers JSON, and against one that flushes a log before it
//! answers, which says how far the machine lets a venue come.
//!
//! All are processes of their own, started from this program; the same closed loop of connections
//! loads one after the other, round by round, so that a slow moment meets all. At the venue each
//! connection places an order that rests and cancels it, with a bearer token; every answer means that
//! the outcome is durable. The ratios are those of the median round.

pub(super) mod client;
pub mod cluster;
mod echo;
pub mod flood;

pub use echo::serve as serve_echo;

use anyhow::{Context, anyhow, ensure};
use client::{Connection, request, until_ready};
use serde_json::{Value, json};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The file of the bare server's log in the folder of the measurement.
const BARE_LOG: &str = "bare.log";

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = Options::default().connections)]
    pub connections: usize,
    /// Users who share the connections.
    #[arg(long, default_value_t = Options::default().users)]
    pub users: usize,
    /// Threads of each server that serve HTTP.
    #[arg(long, default_value_t = Options::default().workers)]
    pub workers: usize,
    /// Rounds of each server.
    #[arg(long, default_value_t = Options::default().rounds)]
    pub rounds: usize,
    /// Seconds of a round.
    #[arg(long, default_value_t = Options::default().seconds)]
    pub seconds: f64,
    /// Where the venue's data goes, to be kept; by default a folder here that is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options { connections: 64, users: 8, workers: 2, rounds: 3, seconds: 4.0, data: None }
    }
}

/// What one server reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Requests answered in a second, in the median round.
    pub requests_per_second: f64,
    /// The median time of a request, in milliseconds.
    pub p50_ms: f64,
    /// The same, exceeded by one in a hundred.
    pub p99_ms: f64,
    /// Processor time of the server for one request, in microseconds; none where there is no `/proc`.
    pub cpu_us: Option<f64>,
}

/// The result of a run; `Display` prints it as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The bare server.
    pub echo: Figures,
    /// The bare server with a log.
    pub durable: Figures,
    /// The venue.
    pub venue: Figures,
    /// The venue's rate over the bare rate of the round beside it, in the median of all rounds.
    pub ratio: f64,
    /// The same over the rate of the bare server with a log.
    pub of_durable: f64,
    /// Orders placed in a second, in the median round; as many were canceled.
    pub orders_per_second: f64,
    /// The venue at half its rate, each request sent at its time and measured from then on.
    pub half_load: Figures,
    /// Entries that the venue's log made durable with one flush, on average.
    pub entries_per_flush: f64,
    /// Answers of either server that were not 200.
    pub errors: usize,
    /// From the start of the venue's process on its folder until its first user's first order was
    /// accepted, sign-up included.
    pub first_order: Duration,
    /// Bytes of memory that the venue took before the load; none where there is no `/proc`.
    pub idle_bytes: Option<u64>,
}

/// Measures.
///
/// # Errors
/// When a server cannot be started or a connection breaks.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(options.connections > 0 && options.users > 0 && options.rounds > 0, "nothing is to be measured");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let kept = options.data.is_some();
    let folder = options.data.clone().unwrap_or_else(|| format!("bench-rest-{}", std::process::id()).into());
    let result = runtime.block_on(measure(options, &folder));
    if kept {
        std::fs::remove_file(folder.join(BARE_LOG)).context("the bare server's log cannot be removed")?;
    } else {
        std::fs::remove_dir_all(&folder).context("the folder of the measurement cannot be removed")?;
    }
    result
}

async fn measure(options: &Options, folder: &Path) -> anyhow::Result<Report> {
    let workers = options.workers.to_string();
    let echo = Server::start(&["bench", "echo", "--listen", "127.0.0.1:0", "--workers", &workers])?;
    std::fs::create_dir_all(folder)?;
    let log = folder.join(BARE_LOG);
    let log = log.to_str().context("the folder's name is not UTF-8")?;
    let arguments = ["bench", "echo", "--listen", "127.0.0.1:0", "--workers", &workers, "--log", log];
    let durable = Server::start(&arguments)?;
    let started = Instant::now();
    let data = folder.to_str().context("the folder's name is not UTF-8")?;
    let venue = ["serve", "--demo-funds", "--listen", "127.0.0.1:0", "--data", data, "--workers", &workers];
    let venue = Server::start(&venue)?;
    until_ready(venue.address).await?;
    let mut tokens = vec![sign_up(venue.address, 0).await?];
    let mut connection = Connection::open(venue.address).await?;
    let (status, answer) = connection.exchange(&place(tokens.first().map(String::as_str), 0)).await?;
    ensure!(status == 200, "the first order was refused: {}", String::from_utf8_lossy(answer));
    let first_order = started.elapsed();
    for user in 1..options.users {
        tokens.push(sign_up(venue.address, user).await?);
    }
    until_ready(echo.address).await?;
    until_ready(durable.address).await?;
    let idle_bytes = venue.resident_bytes();

    let [mut echo_rounds, mut durable_rounds, mut venue_rounds] = [const { Vec::new() }; 3];
    for _ in 0..options.rounds {
        echo_rounds.push(round(options, &echo, &[], None).await?);
        durable_rounds.push(round(options, &durable, &[], None).await?);
        venue_rounds.push(round(options, &venue, &tokens, None).await?);
    }
    let entries_per_flush = entries_per_flush(venue.address).await?;
    let half = figures(&venue_rounds).requests_per_second / 2.0;
    let half_load = round(options, &venue, &tokens, Some(half)).await?;
    let over = |bare: &[Load]| {
        median(bare.iter().zip(&venue_rounds).map(|(bare, venue)| venue.rate() / bare.rate()).collect())
    };
    Ok(Report {
        ratio: over(&echo_rounds),
        of_durable: over(&durable_rounds),
        orders_per_second: median(venue_rounds.iter().map(|r| r.orders as f64 / r.time.as_secs_f64()).collect()),
        errors: echo_rounds
            .iter()
            .chain(&durable_rounds)
            .chain(&venue_rounds)
            .chain([&half_load])
            .map(|round| round.errors)
            .sum(),
        half_load: figures(&[half_load]),
        entries_per_flush,
        echo: figures(&echo_rounds),
        durable: figures(&durable_rounds),
        venue: figures(&venue_rounds),
        first_order,
        idle_bytes,
    })
}

/// A server in a process of its own, ended with this value.
pub(super) struct Server {
    process: Child,
    pub(super) address: SocketAddr,
    /// Kept, since a server that prints into a closed pipe fails.
    _output: BufReader<ChildStdout>,
}

impl Server {
    pub(super) fn start(arguments: &[&str]) -> anyhow::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        // Settings of the caller's environment would make the two servers differ from run to run.
        command.args(arguments).env_clear().env("AGORA_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let mut output = BufReader::new(process.stdout.take().context("the server has no output")?);
        match listening(&mut output) {
            Ok(address) => Ok(Server { process, address, _output: output }),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    /// How long the threads that the process has now have had a core so far.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        let mut nanos = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.process.id())).ok()? {
            let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            nanos += text.split(' ').next()?.parse::<u64>().ok()?;
        }
        Some(Duration::from_nanos(nanos))
    }

    /// Bytes of memory that the process holds now.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the venue's metrics say of its log.
pub(super) async fn entries_per_flush(address: SocketAddr) -> anyhow::Result<f64> {
    let mut connection = Connection::open(address).await?;
    let (_, answer) = connection.exchange(&request("GET", "/metrics", None, "")).await?;
    let text = std::str::from_utf8(answer)?;
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse::<f64>().ok()).with_context(|| format!("there is no {name}"))
    };
    Ok(value("agora_log_entries_total ")? / value("agora_log_flushes_total ")?.max(1.0))
}

/// Reads on until the server has said where it listens.
fn listening(output: &mut impl BufRead) -> anyhow::Result<SocketAddr> {
    for line in output.lines() {
        if let Some((_, url)) = line?.split_once("http://") {
            return Ok(url.trim().trim_end_matches('/').parse()?);
        }
    }
    Err(anyhow!("the server ended before it listened"))
}

/// Makes a user with play money; the access token.
pub(super) async fn sign_up(address: SocketAddr, user: usize) -> anyhow::Result<String> {
    let email = format!("bench-{}-{user}@example.com", std::process::id());
    let body = json!({"email": email, "password": "correct horse battery"}).to_string();
    let mut connection = Connection::open(address).await?;
    let (status, answer) = connection.exchange(&request("POST", "/v1/auth/sign-up", None, &body)).await?;
    ensure!(status == 200, "the sign-up was refused: {}", String::from_utf8_lossy(answer));
    let answer: Value = serde_json::from_slice(answer)?;
    answer["access_token"].as_str().map(str::to_owned).context("the sign-up gave no token")
}

/// An order that rests: buyers far below sellers.
fn place(token: Option<&str>, index: usize) -> Vec<u8> {
    let (side, price) = if index.is_multiple_of(2) { ("buy", 1_000 + index) } else { ("sell", 100_000 + index) };
    let order =
        json!({"side": side, "product_id": "BTC-USDT", "price": format!("{price}.00"), "size": "0.010000"}).to_string();
    request("POST", "/v1/orders", token, &order)
}

/// What one connection, or all in one round, reached.
#[derive(Default)]
struct Load {
    time: Duration,
    processor: Option<Duration>,
    latencies: Vec<Duration>,
    orders: usize,
    errors: usize,
}

impl Load {
    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.time.as_secs_f64()
    }
}

/// All connections against one server; without tokens it is the bare one, which only takes orders.
/// With a rate each connection sends at its times, whether or not the answers keep up.
async fn round(options: &Options, server: &Server, tokens: &[String], rate: Option<f64>) -> anyhow::Result<Load> {
    let mut connections = Vec::new();
    for index in 0..options.connections {
        let token = tokens.get(index % options.users).cloned();
        connections.push((index, token, Connection::open(server.address).await?));
    }
    let busy = server.processor_time();
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(options.seconds);
    let every = rate.map(|rate| Duration::from_secs_f64(options.connections as f64 / rate.max(1.0)));
    let count = options.connections as f64;
    let drive = |(index, token, connection)| async move {
        let pace = every.map(|every| Pace { next: start + every.mul_f64(index as f64 / count), every });
        drive(connection, index, token, until, pace).await
    };
    let loads = futures_util::future::try_join_all(connections.into_iter().map(drive).map(tokio::spawn)).await?;
    let processor = server.processor_time().zip(busy).map(|(now, before)| now.saturating_sub(before));
    let mut all = Load { time: start.elapsed(), processor, ..Load::default() };
    for load in loads {
        let load = load?;
        all.latencies.extend(load.latencies);
        all.orders += load.orders;
        all.errors += load.errors;
    }
    Ok(all)
}

/// When a connection sends.
struct Pace {
    next: Instant,
    every: Duration,
}

impl Pace {
    /// Waits for the next time to send, if it is not past already, and tells it.
    async fn turn(&mut self) -> Instant {
        let due = self.next;
        self.next += self.every;
        // Timers go by milliseconds, so up to one of them is the generator's own.
        tokio::time::sleep_until(due.into()).await;
        due
    }
}

async fn drive(
    mut connection: Connection,
    index: usize,
    token: Option<String>,
    until: Instant,
    mut pace: Option<Pace>,
) -> anyhow::Result<Load> {
    let token = token.as_deref();
    let place = place(token, index);
    let mut resting: Option<String> = None;
    let mut load = Load::default();
    let mut before = Instant::now();
    // An order that rests when the time is over is canceled still.
    while before < until || resting.is_some() {
        if let Some(pace) = &mut pace {
            before = pace.turn().await;
        }
        let cancel = resting.take().map(|id| request("DELETE", &format!("/v1/orders/{id}"), token, ""));
        let (status, answer) = connection.exchange(cancel.as_deref().unwrap_or(&place)).await?;
        match (status, &cancel) {
            (200, None) => {
                load.orders += 1;
                resting = if token.is_some() { Some(order_id(answer)?) } else { None };
            }
            (200, Some(_)) => {}
            _ => load.errors += 1,
        }
        let now = Instant::now();
        load.latencies.push(now - before);
        before = now;
    }
    Ok(load)
}

/// The order's id, found without reading the whole JSON: the generator shares the machine with what
/// it measures.
fn order_id(answer: &[u8]) -> anyhow::Result<String> {
    let text = std::str::from_utf8(answer)?;
    let id = text.strip_prefix("{\"id\":\"").and_then(|rest| rest.get(..36));
    id.map(str::to_owned).with_context(|| format!("no order's id in {text}"))
}

fn figures(rounds: &[Load]) -> Figures {
    let mut times: Vec<Duration> = rounds.iter().flat_map(|round| round.latencies.iter().copied()).collect();
    times.sort_unstable();
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let requests_per_second = median(rounds.iter().map(Load::rate).collect());
    let processor = |round: &Load| Some(round.processor?.as_secs_f64() * 1e6 / round.latencies.len() as f64);
    let cpu_us = rounds.iter().map(processor).collect::<Option<Vec<f64>>>().map(median);
    Figures { requests_per_second, p50_ms: at(0.5), p99_ms: at(0.99), cpu_us }
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "server     | requests/s |  p50 ms |  p99 ms | its CPU, us/request")?;
        let rows = [
            ("JSON echo", self.echo),
            ("with a log", self.durable),
            ("orders", self.venue),
            ("at half", self.half_load),
        ];
        for (name, figures) in rows {
            let Figures { requests_per_second, p50_ms, p99_ms, cpu_us } = figures;
            let cpu = cpu_us.map_or("unknown".to_owned(), |cpu| format!("{cpu:.1}"));
            writeln!(f, "{name:<10} | {requests_per_second:>10.0} | {p50_ms:>7.2} | {p99_ms:>7.2} | {cpu:>19}")?;
        }
        writeln!(f, "ratio       {:.2}; {:.2} of the echo with a log", self.ratio, self.of_durable)?;
        writeln!(f, "orders      {:.0} placed and as many canceled per second", self.orders_per_second)?;
        writeln!(f, "log         {:.1} entries with one flush", self.entries_per_flush)?;
        writeln!(f, "errors      {}", self.errors)?;
        write!(f, "first order {:.0} ms after the start of the process", self.first_order.as_secs_f64() * 1e3)?;
        match self.idle_bytes {
            Some(bytes) => write!(f, "\nidle memory {:.1} MiB", bytes as f64 / f64::from(1 << 20)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_address_and_the_order_are_found() {
        let said = "Agora is running.\n  page   http://127.0.0.1:4711/\n  API    http://127.0.0.1:1/v1\n";
        assert_eq!(listening(&mut said.as_bytes()).unwrap().port(), 4711);
        assert!(listening(&mut "nothing\n".as_bytes()).is_err());
        let id = "0190a5c1-0000-8000-8000-000000000001";
        assert_eq!(order_id(format!("{{\"id\":\"{id}\",\"side\":\"buy\"}}").as_bytes()).unwrap(), id);
        assert!(order_id(b"{\"message\":\"no\"}").is_err());
    }

    #[test]
    fn figures_are_those_of_the_median_round() {
        let round = |requests: usize| Load {
            time: Duration::from_secs(1),
            processor: Some(Duration::from_millis(requests as u64)),
            latencies: vec![Duration::from_millis(requests as u64); requests],
            ..Load::default()
        };
        let figures = figures(&[round(10), round(30), round(20)]);
        assert_eq!((figures.requests_per_second, figures.p50_ms, figures.p99_ms), (20.0, 30.0, 30.0));
        assert_eq!(figures.cpu_us, Some(1_000.0));
    }
}
