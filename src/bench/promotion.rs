//! How long a market stands still when its book's actor panics: from just before the panic is asked for to the first
//! order after it that is acknowledged as durable.
//!
//! The venue is a process of its own that allows drills; the book holds as many resting orders as are asked for. Every
//! round makes the book panic and places orders, one after the other, until one is accepted.

use super::rest::Server;
use super::rest::client::{Connection, request, until_ready};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Panics.
    #[arg(long, default_value_t = 50)]
    pub rounds: usize,
    /// Orders that rest in the book.
    #[arg(long, default_value_t = 5_000)]
    pub resting: usize,
}

/// What the median may be at most.
const AIM: Duration = Duration::from_millis(20);

/// The result of a run; `Display` prints it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// One for each round, ascending.
    pub times: Vec<Duration>,
    /// Orders that were answered with 503 meanwhile.
    pub refused: usize,
}

const PASSWORD: &str = "correct horse battery";

/// Measures.
///
/// # Errors
/// When the server cannot be started or a connection breaks.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(options.rounds > 0, "nothing is to be measured");
    let folder = std::path::PathBuf::from(format!("bench-promotion-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(measure(options, &folder));
    std::fs::remove_dir_all(&folder).context("the folder of the measurement cannot be removed")?;
    result
}

async fn measure(options: &Options, folder: &Path) -> anyhow::Result<Report> {
    let data = folder.to_str().context("the folder's name is not UTF-8")?;
    let mut create = Command::new(std::env::current_exe()?);
    create.args(["admin", "create", "admin@example.com", "--data", data]).stdin(Stdio::null()).stdout(Stdio::null());
    let created = create.env_clear().env("AGORA_ADMIN_PASSWORD", PASSWORD).status()?;
    ensure!(created.success(), "no administrator could be made");
    let venue = ["serve", "--demo-funds", "--listen", "127.0.0.1:0", "--data", data, "--allow-drills"];
    // Every crash counts as the first, so that no restart waits for longer than the shortest time.
    let lenient = ["--supervision-restarts", "1000000", "--supervision-within-s", "0"];
    let venue = Server::start(&[venue.as_slice(), lenient.as_slice()].concat())?;
    until_ready(venue.address).await?;
    let mut connection = Connection::open(venue.address).await?;
    let admin = sign(&mut connection, "sign-in", "admin@example.com").await?;
    let user = sign(&mut connection, "sign-up", "user@example.com").await?;
    let order = |index: usize| {
        let price = format!("{}.00", 1_000 + index % 5_000);
        let order = json!({"side": "buy", "product_id": "BTC-USDT", "price": price, "size": "0.001000"});
        request("POST", "/v1/orders", Some(&user), &order.to_string())
    };
    for index in 0..options.resting {
        let (status, answer) = connection.exchange(&order(index)).await?;
        ensure!(status == 200, "an order was refused: {}", String::from_utf8_lossy(answer));
    }
    let path = "/v1/admin/tree/agora/trading/venue/order%20book%20BTC-USDT/crash";
    let crash = request("POST", path, Some(&admin), "");
    let (mut times, mut refused) = (Vec::new(), 0);
    for round in 0..options.rounds {
        // Time for the next twin.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let start = Instant::now();
        let (status, answer) = connection.exchange(&crash).await?;
        ensure!(status == 202, "no drill: {}", String::from_utf8_lossy(answer));
        while connection.exchange(&order(round)).await?.0 != 200 {
            refused += 1;
            ensure!(start.elapsed() < Duration::from_secs(30), "the market does not go on");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(Report { times, refused })
}

async fn sign(connection: &mut Connection, how: &str, email: &str) -> anyhow::Result<String> {
    let body = json!({"email": email, "password": PASSWORD}).to_string();
    let (status, answer) = connection.exchange(&request("POST", &format!("/v1/auth/{how}"), None, &body)).await?;
    ensure!(status == 200, "{how} was refused: {}", String::from_utf8_lossy(answer));
    let answer: Value = serde_json::from_slice(answer)?;
    answer["access_token"].as_str().map(str::to_owned).context("no token was given")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |part: usize| {
            let index = (self.times.len() * part / 100).min(self.times.len().saturating_sub(1));
            self.times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        writeln!(f, "panic to next acknowledged order, {} rounds", self.times.len())?;
        writeln!(f, "median {:.1} ms, p90 {:.1} ms, slowest {:.1} ms", at(50), at(90), at(100))?;
        let aim = AIM.as_secs_f64() * 1e3;
        writeln!(f, "the median is {:.2} of the {aim:.0} ms that it may be", at(50) / aim)?;
        write!(f, "{} orders were refused with 503 meanwhile", self.refused)
    }
}
