//! The same orders over RabbitMQ and over the embedded log, and how long a fail-over takes.
//!
//! Both venues are processes of their own and loaded by turns; while one is measured the other does not run, so that
//! nothing of it, its catching up neither, takes from the one that is. With a PostgreSQL database two nodes are started
//! beside that, and the active one is killed again and again while orders are sent to the other: the gap is the time from
//! the last acknowledgement before the kill to the first after it.

use super::client::{Connection, request, until_ready};
use super::{Figures, Load, Options as RestOptions, Server, figures, round, sign_up};
use anyhow::{Context, ensure};
use serde_json::json;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a fail-over may take until the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The broker, as in amqp://user:password@host:5672/vhost.
    #[arg(long, env = "AGORA_RABBITMQ", value_name = "URL", hide_env_values = true)]
    pub rabbitmq: String,
    /// A PostgreSQL database that may be filled; without it no fail-overs are measured.
    #[arg(long, env = "AGORA_DATABASE", value_name = "URL", hide_env_values = true)]
    pub database: Option<String>,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Rounds of each venue.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Seconds of a round.
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// What the node over the broker does; without `bridge` it tells no other services what happens.
    #[arg(long, default_value = "trading,bridge", value_name = "LIST")]
    pub roles: String,
    /// How often the active node is killed.
    #[arg(long, default_value_t = 20)]
    pub kills: usize,
}

/// The result of a run; `Display` prints it.
#[derive(Clone, Debug)]
pub struct Report {
    /// One node on the embedded log.
    pub embedded: Figures,
    /// One node over the broker.
    pub broker: Figures,
    /// The same at half its rate, each request sent at its time.
    pub half_load: Figures,
    /// The embedded log at that rate.
    pub embedded_then: Figures,
    /// Answers that were not 200.
    pub errors: usize,
    /// From the last acknowledgement before each kill to the first after it, shortest first.
    pub gaps: Vec<Duration>,
}

/// Measures.
///
/// # Errors
/// When a server cannot be started, a connection breaks or nobody takes over.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = PathBuf::from(format!("bench-cluster-{}", std::process::id()));
    let result = runtime.block_on(measure(options, &folder));
    std::fs::remove_dir_all(&folder).context("the folder of the measurement cannot be removed")?;
    result
}

/// A node of its own data folder.
fn start(folder: &Path, more: &[&str]) -> anyhow::Result<Server> {
    let data = folder.to_str().context("the folder's name is not UTF-8")?;
    let common = ["serve", "--demo-funds", "--listen", "127.0.0.1:0", "--workers", "2", "--data", data];
    Server::start(&[&common, more].concat())
}

/// A user with funds; tried again until the node, or the one that it hands commands to, is active.
async fn user(server: &Server, index: usize) -> anyhow::Result<String> {
    let begun = Instant::now();
    loop {
        match sign_up(server.address, index).await {
            Err(error) if begun.elapsed() > PATIENCE => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            Ok(token) => return Ok(token),
        }
    }
}

/// One of the two venues: how it is started, and its users once it has any.
struct Contender<'a> {
    folder: PathBuf,
    more: Vec<&'a str>,
    /// Whether it tells other services what happens.
    bridge: bool,
    tokens: Vec<String>,
}

impl Contender<'_> {
    /// Loads it for a round, in a process that lives only so long.
    async fn round(&mut self, options: &RestOptions, rate: Option<f64>) -> anyhow::Result<Load> {
        let server = start(&self.folder, &self.more)?;
        until_ready(server.address).await?;
        for index in self.tokens.len()..options.users {
            self.tokens.push(user(&server, index).await?);
        }
        let token = self.tokens.first().context("nobody is to trade")?;
        acknowledged(&mut Connection::open(server.address).await?, token).await?;
        settle(&server, self.bridge).await?;
        round(options, &server, &self.tokens, rate).await
    }
}

/// Waits until a server has worked off what the round before left: everything in the log is in its database and, if
/// it has a bridge, was told to other services.
async fn settle(server: &Server, bridge: bool) -> anyhow::Result<()> {
    let metrics = request("GET", "/metrics", None, "");
    let mut connection = Connection::open(server.address).await?;
    let begun = Instant::now();
    loop {
        let (_, text) = connection.exchange(&metrics).await?;
        let text = String::from_utf8_lossy(text);
        let position = gauge(&text, "agora_log_position")?;
        let told = if bridge { gauge(&text, "agora_published_position")? } else { position };
        if told.min(gauge(&text, "agora_projected_position")?) >= position {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "a node does not work off what is in its log");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A figure in Prometheus text.
fn gauge(metrics: &str, name: &str) -> anyhow::Result<u64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).with_context(|| format!("there is no figure {name}"))
}

async fn measure(options: &Options, folder: &Path) -> anyhow::Result<Report> {
    let (connections, rounds, seconds) = (options.connections, options.rounds.max(1), options.seconds);
    let rest = RestOptions { connections, users: 8, workers: 2, rounds, seconds, data: None };
    let prefix = format!("agora-bench-{}", std::process::id());
    let roles = ["--roles", &options.roles, "--only-node"];
    let shared = [["--rabbitmq", &options.rabbitmq, "--rabbitmq-prefix", &prefix].as_slice(), &roles].concat();
    let contender = |name, more, bridge| Contender { folder: folder.join(name), more, bridge, tokens: Vec::new() };
    let mut embedded = contender("embedded", Vec::new(), false);
    let mut broker = contender("broker", shared, options.roles.split(',').any(|role| role == "bridge"));
    let (mut embedded_rounds, mut broker_rounds) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        embedded_rounds.push(embedded.round(&rest, None).await?);
        broker_rounds.push(broker.round(&rest, None).await?);
    }
    let half = figures(&broker_rounds).requests_per_second / 2.0;
    let half_load = broker.round(&rest, Some(half)).await?;
    let embedded_then = embedded.round(&rest, Some(half)).await?;
    let all = embedded_rounds.iter().chain(&broker_rounds).chain([&half_load, &embedded_then]);
    let errors = all.map(|round| round.errors).sum();
    let gaps = match &options.database {
        Some(database) if options.kills > 0 => fail_overs(options, database, folder).await?,
        _ => Vec::new(),
    };
    Ok(Report {
        embedded: figures(&embedded_rounds),
        broker: figures(&broker_rounds),
        half_load: figures(&[half_load]),
        embedded_then: figures(&[embedded_then]),
        errors,
        gaps,
    })
}

async fn fail_overs(options: &Options, database: &str, folder: &Path) -> anyhow::Result<Vec<Duration>> {
    let prefix = format!("agora-bench-{}-2", std::process::id());
    let folders = [folder.join("one"), folder.join("two")];
    let node = |index: usize| -> anyhow::Result<Server> {
        let number = (index + 1).to_string();
        let shared = ["--rabbitmq", &options.rabbitmq, "--rabbitmq-prefix", &prefix];
        let own = ["--database", database, "--node", &number];
        let folder = folders.get(index).context("there are two nodes")?;
        start(folder, &[&shared[..], &own[..]].concat())
    };
    let mut active = node(0)?;
    until_ready(active.address).await?;
    let token = user(&active, 0).await?;
    let [first, second] = folders.each_ref().map(|folder| folder.join("keys"));
    std::fs::create_dir_all(&second)?;
    for file in std::fs::read_dir(&first)? {
        let file = file?;
        std::fs::copy(file.path(), second.join(file.file_name()))?;
    }
    let mut standby = node(1)?;
    let mut gaps = Vec::new();
    for kill in 0..options.kills {
        until_ready(standby.address).await?;
        let mut connection = Connection::open(standby.address).await?;
        let (begun, dies_at) = (Instant::now(), Duration::from_millis(1_500));
        let mut last = acknowledged(&mut connection, &token).await?;
        while begun.elapsed() < dies_at {
            last = acknowledged(&mut connection, &token).await?;
        }
        // Killed when dropped.
        drop(active);
        gaps.push(acknowledged(&mut connection, &token).await?.duration_since(last));
        active = standby;
        standby = node(kill % 2)?;
    }
    gaps.sort_unstable();
    Ok(gaps)
}

/// Sends orders, one after the other, until one is acknowledged; when that was. None of them rests, since a user may have
/// only so many open.
async fn acknowledged(connection: &mut Connection, token: &str) -> anyhow::Result<Instant> {
    let order = json!({
        "side": "buy", "product_id": "BTC-USDT", "price": "100.00", "size": "0.010000", "time_in_force": "IOC",
    });
    let order = request("POST", "/v1/orders", Some(token), &order.to_string());
    let begun = Instant::now();
    loop {
        let (status, answer) = connection.exchange(&order).await?;
        if status == 200 {
            return Ok(Instant::now());
        }
        ensure!(status == 503, "an order was refused: {}", String::from_utf8_lossy(answer));
        ensure!(begun.elapsed() < PATIENCE, "no order is acknowledged: {}", String::from_utf8_lossy(answer));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "log               | requests/s |  p50 ms |  p99 ms | its CPU, us/request")?;
        let rows = [
            ("embedded", self.embedded),
            ("broker", self.broker),
            ("broker at half", self.half_load),
            ("embedded as fast", self.embedded_then),
        ];
        for (name, figures) in rows {
            let Figures { requests_per_second, p50_ms, p99_ms, cpu_us } = figures;
            let cpu = cpu_us.map_or("unknown".to_owned(), |cpu| format!("{cpu:.1}"));
            writeln!(f, "{name:<17} | {requests_per_second:>10.0} | {p50_ms:>7.2} | {p99_ms:>7.2} | {cpu:>19}")?;
        }
        let ratio = self.broker.requests_per_second / self.embedded.requests_per_second;
        write!(f, "broker / embedded: {ratio:.2}; answers that were not 200: {}", self.errors)?;
        if let (Some(shortest), Some(longest)) = (self.gaps.first(), self.gaps.last()) {
            let at = |part: usize| self.gaps.get(self.gaps.len() * part / 100).unwrap_or(longest).as_millis();
            write!(
                f,
                "\nfail-over, {} kills: {} ms shortest, {} ms median, {} ms at 90 %, {} ms longest",
                self.gaps.len(),
                shortest.as_millis(),
                at(50),
                at(90),
                longest.as_millis()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_by_its_whole_name() {
        let text = "# HELP agora_log_position the newest\nagora_log_position_x 7\nagora_log_position 12\n";
        assert_eq!(gauge(text, "agora_log_position").unwrap(), 12);
        assert!(gauge(text, "agora_log").is_err());
    }
}
