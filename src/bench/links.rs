//! Redirects against a bare server that only answers 302, and how fast links are imported.
//!
//! Both are processes of their own, loaded in turn by the same closed loop of connections, round by
//! round, so that a slow moment meets both. Warm visits go to a few links that are all in memory; the
//! others are spread over all links of the store as visits of short links are: the link of rank `r` is
//! visited in proportion to 1 / r (Zipf). Every visit is counted, which the figures include.

mod import;

pub use import::Imported;

use super::rest::client::{Connection, request, until_ready};
use super::rest::{Server, median};
use crate::domain::ids::AccountId;
use crate::domain::link::edit::blank;
use crate::domain::link::slug::ALPHABET;
use crate::domain::link::{Link, LinkId};
use crate::domain::time::Timestamp;
use crate::persistence::db::Database;
use crate::persistence::links::rows;
use actix_web::http::header::LOCATION;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, ensure};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Links that warm visits go to.
const WARM: u64 = 1_000;
/// Links that are stored with one transaction before the venue starts.
const AT_ONCE: u64 = 50_000;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Links in the store.
    #[arg(long, default_value_t = Options::default().links)]
    pub links: u64,
    /// Megabytes of links in the venue's memory.
    #[arg(long, default_value_t = Options::default().cache_mb)]
    pub cache_mb: u64,
    /// Rows of the import.
    #[arg(long, default_value_t = Options::default().import)]
    pub import: usize,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = Options::default().connections)]
    pub connections: usize,
    /// Threads of each server that serve HTTP.
    #[arg(long, default_value_t = Options::default().workers)]
    pub workers: usize,
    /// Rounds of each server.
    #[arg(long, default_value_t = Options::default().rounds)]
    pub rounds: usize,
    /// Seconds of a round.
    #[arg(long, default_value_t = Options::default().seconds)]
    pub seconds: f64,
    /// Where the venue's data goes, to be kept and used again; by default a folder here that is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            links: 1_000_000,
            cache_mb: 256,
            import: 100_000,
            connections: 64,
            workers: 2,
            rounds: 3,
            seconds: 4.0,
            data: None,
        }
    }
}

/// What one kind of visits reached.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Visits in a second, in the median round.
    pub per_second: f64,
    /// The median time of a visit, milliseconds.
    pub p50_ms: f64,
    /// The same, exceeded by one in a hundred.
    pub p99_ms: f64,
}

/// The result of a run; `Display` prints it as a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The bare server.
    pub bare: Figures,
    /// Links that are in memory.
    pub warm: Figures,
    /// All links, as they are visited.
    pub spread: Figures,
    /// Warm visits at half their rate, each sent at its time.
    pub half: Figures,
    /// The bare server at the same rate, each visit sent at its time.
    pub bare_half: Figures,
    /// Warm visits over those of the bare server in the round beside it, in the median of all rounds.
    pub warm_ratio: f64,
    /// The same of all links.
    pub spread_ratio: f64,
    /// The import over HTTP.
    pub imported: Imported,
    /// Links that were stored in a second before the start, without HTTP.
    pub stored_per_second: f64,
    /// Links in the store.
    pub links: u64,
    /// Answers that were not 302.
    pub errors: usize,
    /// What the venue's metrics say of its memory and of dropped clicks.
    pub metrics: Vec<(String, String)>,
    /// Bytes of memory that the venue took at the end.
    pub resident: Option<u64>,
}

/// Measures.
///
/// # Errors
/// When a server cannot be started or a connection breaks.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(options.connections > 0 && options.rounds > 0 && options.links >= WARM, "nothing is to be measured");
    let kept = options.data.is_some();
    let folder = options.data.clone().unwrap_or_else(|| format!("bench-links-{}", std::process::id()).into());
    std::fs::create_dir_all(&folder)?;
    let result = store(&folder, options.links).and_then(|stored_per_second| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let report = runtime.block_on(measure(options, &folder))?;
        Ok(Report { stored_per_second, ..report })
    });
    if !kept {
        std::fs::remove_dir_all(&folder).context("the folder of the measurement cannot be removed")?;
    }
    result
}

/// The slug of a link by its rank. Its first characters are scattered, so that links of neighbouring
/// ranks are far apart in the index, as random slugs are; the others make it unique.
fn slug(rank: u64) -> String {
    let base = ALPHABET.len() as u64;
    let scattered = rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let digit = |number: u64| char::from(ALPHABET.get((number % base) as usize).copied().unwrap_or(b'x'));
    let mut text = String::with_capacity(8);
    text.extend([digit(scattered), digit(scattered / base), digit(scattered / (base * base))]);
    let mut rest = rank;
    for _ in 0..5 {
        text.push(digit(rest));
        rest /= base;
    }
    text
}

fn link(rank: u64) -> Link {
    let mut link = blank(LinkId(rank as i64 + 1), String::new(), slug(rank), Some(AccountId(2)), Timestamp(1));
    link.target = format!("https://example.org/some/page/{rank}?utm_source=bench");
    link
}

/// Fills the store, unless it is full already; how many in a second.
fn store(folder: &Path, links: u64) -> anyhow::Result<f64> {
    let database = Database::open(&folder.join("agora.db"))?;
    if database.read(|conn| rows::by_id(conn, LinkId(links as i64)))?.is_some() {
        return Ok(f64::NAN);
    }
    let started = Instant::now();
    for first in (0..links).step_by(AT_ONCE as usize) {
        let some: Vec<Link> = (first..links.min(first + AT_ONCE)).map(link).collect();
        database.write(|conn| rows::insert(conn, &some))?;
    }
    Ok(links as f64 / started.elapsed().as_secs_f64())
}

async fn measure(options: &Options, folder: &Path) -> anyhow::Result<Report> {
    let workers = options.workers.to_string();
    let bare = Server::start(&["bench", "redirector", "--listen", "127.0.0.1:0", "--workers", &workers])?;
    let data = folder.to_str().context("the folder's name is not UTF-8")?;
    let cache = options.cache_mb.to_string();
    let venue = ["serve", "--listen", "127.0.0.1:0", "--data", data, "--workers", &workers, "--links-cache-mb", &cache];
    let venue = Server::start(&[&venue[..], &["--links-max-per-user", "4294967295"]].concat())?;
    until_ready(bare.address).await?;
    until_ready(venue.address).await?;
    let imported = import::measure(venue.address, options.import).await?;

    let (warm, spread) = (Visits::Ranks(WARM), Visits::Spread(options.links));
    // Everything that is visited often is read once before it counts.
    for visits in [warm, spread] {
        round(options, venue.address, visits, None).await?;
    }
    let mut rounds: [Vec<Load>; 3] = Default::default();
    let kinds = [(bare.address, warm), (venue.address, warm), (venue.address, spread)];
    for _ in 0..options.rounds {
        for (place, (address, visits)) in rounds.iter_mut().zip(kinds) {
            place.push(round(options, address, visits, None).await?);
        }
    }
    let [bare_rounds, warm_rounds, spread_rounds] = rounds;
    let ratio =
        |loads: &[Load]| median(loads.iter().zip(&bare_rounds).map(|(load, bare)| load.rate() / bare.rate()).collect());
    let (warm_ratio, spread_ratio) = (ratio(&warm_rounds), ratio(&spread_rounds));
    let pace = figures(&warm_rounds).per_second / 2.0;
    let mut paced: [Vec<Load>; 2] = Default::default();
    for _ in 0..options.rounds {
        for (place, address) in paced.iter_mut().zip([bare.address, venue.address]) {
            place.push(round(options, address, warm, Some(pace)).await?);
        }
    }
    let [bare_half, half] = paced;
    let all = [&bare_rounds, &warm_rounds, &spread_rounds, &half, &bare_half].into_iter().flatten();
    Ok(Report {
        bare: figures(&bare_rounds),
        warm: figures(&warm_rounds),
        spread: figures(&spread_rounds),
        warm_ratio,
        spread_ratio,
        imported,
        stored_per_second: f64::NAN,
        links: options.links,
        errors: all.map(|load| load.errors).sum(),
        half: figures(&half),
        bare_half: figures(&bare_half),
        metrics: metrics(venue.address).await?,
        resident: venue.resident_bytes(),
    })
}

async fn metrics(address: SocketAddr) -> anyhow::Result<Vec<(String, String)>> {
    let mut connection = Connection::open(address).await?;
    let (_, answer) = connection.exchange(&request("GET", "/metrics", None, "")).await?;
    let text = std::str::from_utf8(answer)?;
    let wanted = ["agora_links_cached", "agora_links_cached_bytes", "agora_link_clicks_dropped_total"];
    let of = |line: &str| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(text.lines().filter_map(of).filter(|(name, _)| wanted.contains(&name.as_str())).collect())
}

/// Which links are visited.
#[derive(Clone, Copy, Debug)]
enum Visits {
    /// The first so many, all alike.
    Ranks(u64),
    /// All of them, the link of rank r in proportion to 1 / r.
    Spread(u64),
}

#[derive(Default)]
struct Load {
    time: Duration,
    latencies: Vec<Duration>,
    errors: usize,
}

impl Load {
    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.time.as_secs_f64()
    }
}

fn figures(rounds: &[Load]) -> Figures {
    let mut times: Vec<Duration> = rounds.iter().flat_map(|round| round.latencies.iter().copied()).collect();
    times.sort_unstable();
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    Figures { per_second: median(rounds.iter().map(Load::rate).collect()), p50_ms: at(0.5), p99_ms: at(0.99) }
}

async fn round(options: &Options, address: SocketAddr, visits: Visits, rate: Option<f64>) -> anyhow::Result<Load> {
    let mut connections = Vec::new();
    for index in 0..options.connections {
        connections.push((index as u64, Connection::open(address).await?));
    }
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(options.seconds);
    let count = options.connections as f64;
    let every = rate.map(|rate| Duration::from_secs_f64(count / rate.max(1.0)));
    let drive = |(index, connection): (u64, Connection)| {
        let first = every.map(|every| start + every.mul_f64(index as f64 / count));
        tokio::spawn(drive(connection, index, visits, until, first.zip(every)))
    };
    let loads = futures_util::future::try_join_all(connections.into_iter().map(drive)).await?;
    let mut all = Load { time: start.elapsed(), ..Load::default() };
    for load in loads {
        let load = load?;
        all.latencies.extend(load.latencies);
        all.errors += load.errors;
    }
    Ok(all)
}

/// The loop of one connection; with a pace it sends at its times.
async fn drive(
    mut connection: Connection,
    index: u64,
    visits: Visits,
    until: Instant,
    mut pace: Option<(Instant, Duration)>,
) -> anyhow::Result<Load> {
    // A browser's request, so that what is counted is what is usual.
    const REST: &str = " HTTP/1.1\r\nHost: agora\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:120.0) \
                        Gecko/20100101 Firefox/120.0\r\nAccept-Language: de-AT,de;q=0.8\r\n\r\n";
    let mut random = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut load = Load::default();
    let mut before = Instant::now();
    let mut bytes = String::with_capacity(256);
    while before < until {
        if let Some((next, every)) = &mut pace {
            tokio::time::sleep_until((*next).into()).await;
            before = *next;
            *next += *every;
        }
        // Xorshift: the generator shares the machine with what it measures.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let rank = match visits {
            Visits::Ranks(count) => random % count,
            Visits::Spread(count) => {
                let part = (random >> 11) as f64 / (1u64 << 53) as f64;
                ((part * (count as f64).ln()).exp() as u64).clamp(1, count) - 1
            }
        };
        bytes.clear();
        bytes.push_str("GET /s/");
        bytes.push_str(&slug(rank));
        bytes.push_str(REST);
        let (status, _) = connection.exchange(bytes.as_bytes()).await?;
        if status != 302 {
            load.errors += 1;
        }
        let now = Instant::now();
        load.latencies.push(now - before);
        before = now;
    }
    Ok(load)
}

/// The bare server: serves on this address until the process ends, and prints where.
///
/// # Errors
/// When the address is taken.
pub async fn serve_redirector(listen: SocketAddr, workers: usize) -> anyhow::Result<()> {
    async fn redirect() -> HttpResponse {
        HttpResponse::Found().insert_header((LOCATION, "https://example.org/some/page/1?utm_source=bench")).finish()
    }
    async fn ready() -> HttpResponse {
        HttpResponse::Ok().finish()
    }
    let app = || App::new().route("/s/{slug}", web::get().to(redirect)).route("/health/ready", web::get().to(ready));
    let server = HttpServer::new(app).workers(workers).tcp_nodelay(true).bind(listen)?;
    for address in server.addrs() {
        println!("redirector http://{address}/");
    }
    Ok(server.run().await?)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "visits          | per second |  p50 ms |  p99 ms")?;
        for (name, Figures { per_second, p50_ms, p99_ms }) in [
            ("bare 302", self.bare),
            ("warm", self.warm),
            ("all links", self.spread),
            ("bare, half load", self.bare_half),
            ("warm, half load", self.half),
            ("new, quiet", self.imported.quiet),
            ("new, import on", self.imported.busy),
        ] {
            writeln!(f, "{name:<15} | {per_second:>10.0} | {p50_ms:>7.2} | {p99_ms:>7.2}")?;
        }
        writeln!(f, "half load p99   {:.2} of the bare server's", self.half.p99_ms / self.bare_half.p99_ms)?;
        writeln!(f, "warm ratio      {:.2}", self.warm_ratio)?;
        writeln!(f, "all-links ratio {:.2}, of {} links", self.spread_ratio, self.links)?;
        let Imported { alone, beside, longest_ms, .. } = self.imported;
        writeln!(f, "import          {alone:.0} rows/s over HTTP, {beside:.0} while others make links")?;
        writeln!(f, "the longest of those took {longest_ms:.0} ms")?;
        if self.stored_per_second.is_finite() {
            writeln!(f, "storing         {:.0} links/s without HTTP", self.stored_per_second)?;
        }
        for (name, value) in &self.metrics {
            writeln!(f, "{name} {value}")?;
        }
        if let Some(bytes) = self.resident {
            writeln!(f, "memory          {:.0} MiB", bytes as f64 / f64::from(1 << 20))?;
        }
        write!(f, "errors          {}", self.errors)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_rank_has_a_slug_of_its_own() {
        let slugs: BTreeSet<String> = (0..200_000).map(slug).collect();
        assert_eq!(slugs.len(), 200_000);
        assert!(slugs.iter().all(|slug| crate::domain::link::slug::could_be(slug)));
    }

    #[test]
    fn links_are_stored_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(store(folder.path(), 2_000).unwrap() > 0.0);
        assert!(store(folder.path(), 2_000).unwrap().is_nan());
    }
}
