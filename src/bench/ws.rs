//! Orders over the WebSocket, in batches: how many become durable and are acknowledged one by one in a second.
//!
//! The venue is a process of its own. Each connection has a user of its own and keeps a few batches under way, so this
//! is a closed loop. Every order rests; now and then the connection cancels all of them, which is in the time but not
//! in the count. An order counts when its own outcome came back, after it was committed to the durable log.

use super::rest::client::until_ready;
use super::rest::{Server, entries_per_flush, median, sign_up};
use anyhow::{Context, ensure};
use serde_json::json;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Batches after which a connection cancels all its orders.
const CANCEL_AFTER: usize = 20;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Connections, each of a user of its own.
    #[arg(long, default_value_t = Options::default().connections)]
    pub connections: usize,
    /// Orders in a batch, at most 100.
    #[arg(long, default_value_t = Options::default().batch)]
    pub batch: usize,
    /// Batches that a connection has under way.
    #[arg(long, default_value_t = Options::default().under_way)]
    pub under_way: usize,
    /// Threads of the server that serve HTTP.
    #[arg(long, default_value_t = Options::default().workers)]
    pub workers: usize,
    /// Rounds.
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
        Options { connections: 8, batch: 100, under_way: 2, workers: 2, rounds: 3, seconds: 4.0, data: None }
    }
}

/// The result of a run; `Display` prints it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Orders acknowledged in a second, in the median round.
    pub orders_per_second: f64,
    /// The median time from sending a batch to its outcomes, in milliseconds.
    pub p50_ms: f64,
    /// The same, exceeded by one in a hundred.
    pub p99_ms: f64,
    /// Processor time of the server for one order, in microseconds; none where there is no `/proc`.
    pub cpu_us: Option<f64>,
    /// Entries that the venue's log made durable with one flush, on average.
    pub entries_per_flush: f64,
    /// Orders that were refused.
    pub refused: usize,
}

/// Measures.
///
/// # Errors
/// When the server cannot be started or a connection breaks.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(options.connections > 0 && options.rounds > 0 && options.under_way > 0, "nothing is to be measured");
    ensure!((1..=100).contains(&options.batch), "a batch has 1 to 100 orders");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = options.data.clone().unwrap_or_else(|| format!("bench-ws-{}", std::process::id()).into());
    let result = runtime.block_on(measure(options, &folder));
    if options.data.is_none() {
        std::fs::remove_dir_all(&folder).context("the folder of the measurement cannot be removed")?;
    }
    result
}

#[derive(Default)]
struct Load {
    orders: usize,
    refused: usize,
    latencies: Vec<Duration>,
}

async fn measure(options: &Options, folder: &Path) -> anyhow::Result<Report> {
    let workers = options.workers.to_string();
    let data = folder.to_str().context("the folder's name is not UTF-8")?;
    let venue = ["serve", "--demo-funds", "--listen", "127.0.0.1:0", "--data", data, "--workers", &workers];
    let venue = Server::start(&venue)?;
    until_ready(venue.address).await?;
    let mut tokens = Vec::new();
    for user in 0..options.connections {
        tokens.push(sign_up(venue.address, user).await?);
    }
    let (mut rates, mut processor, mut latencies, mut refused) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..options.rounds {
        let mut sockets = Vec::new();
        for token in &tokens {
            sockets.push(Socket::open(venue.address, token).await?);
        }
        let busy = venue.processor_time();
        let start = Instant::now();
        let until = start + Duration::from_secs_f64(options.seconds);
        let (batch, under_way) = (options.batch, options.under_way);
        let drive = |(index, socket)| drive(socket, index, batch, under_way, until);
        let tasks: Vec<_> = sockets.into_iter().enumerate().map(drive).map(tokio::spawn).collect();
        let mut orders = 0;
        for task in tasks {
            let load = task.await??;
            orders += load.orders;
            refused += load.refused;
            latencies.extend(load.latencies);
        }
        rates.push(orders as f64 / start.elapsed().as_secs_f64());
        let spent = venue.processor_time().zip(busy).map(|(now, before)| now.saturating_sub(before));
        processor.push(spent.map(|spent| spent.as_secs_f64() * 1e6 / orders.max(1) as f64));
    }
    latencies.sort_unstable();
    let at = |part: f64| {
        let time = latencies.get((latencies.len() as f64 * part) as usize);
        time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    Ok(Report {
        orders_per_second: median(rates),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        cpu_us: processor.into_iter().collect::<Option<Vec<f64>>>().map(median),
        entries_per_flush: entries_per_flush(venue.address).await?,
        refused,
    })
}

async fn drive(
    mut socket: Socket,
    index: usize,
    batch: usize,
    under_way: usize,
    until: Instant,
) -> anyhow::Result<Load> {
    let order = |at: usize| {
        let price = format!("{}.00", 1_000 + (index * 7 + at) % 500);
        json!({"side": "buy", "product_id": "BTC-USDT", "price": price, "size": "0.001000"})
    };
    let orders: Vec<_> = (0..batch).map(order).collect();
    let place = frame(json!({"type": "batch", "request_id": 1, "place": orders}).to_string().as_bytes());
    let cancel = frame(br#"{"type":"cancel_all","request_id":2,"product_id":"BTC-USDT"}"#);
    let mut load = Load::default();
    let mut sent = std::collections::VecDeque::new();
    let mut batches = 0;
    while Instant::now() < until || !sent.is_empty() {
        while sent.len() < under_way && batches < CANCEL_AFTER && Instant::now() < until {
            socket.stream.write_all(&place).await?;
            sent.push_back(Instant::now());
            batches += 1;
        }
        if sent.is_empty() {
            socket.stream.write_all(&cancel).await?;
            ensure!(socket.next().await?.contains("canceled_all"), "the orders were not canceled");
            batches = 0;
            continue;
        }
        let answer = socket.next().await?;
        let placed = answer.matches("\"status\":\"open\"").count();
        ensure!(placed > 0, "a batch was refused: {}", answer.get(..300).unwrap_or(answer));
        load.orders += placed;
        load.refused += batch - placed;
        load.latencies.extend(sent.pop_front().map(|at| at.elapsed()));
    }
    socket.stream.write_all(&cancel).await?;
    ensure!(socket.next().await?.contains("canceled_all"), "the orders were not canceled");
    Ok(load)
}

/// A text frame of a client. Its mask is zero, which leaves the text as it is.
pub(super) fn frame(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text);
    frame
}

/// A WebSocket that reads whole text messages.
struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
    /// Bytes of `read` that were given out.
    used: usize,
}

impl Socket {
    async fn open(address: SocketAddr, token: &str) -> anyhow::Result<Socket> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut socket = Socket { stream, read: Vec::with_capacity(64 * 1024), used: 0 };
        let request = "GET /v1/feed HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.stream.write_all(request.as_bytes()).await?;
        loop {
            ensure!(socket.stream.read_buf(&mut socket.read).await? > 0, "the server closed the connection");
            if let Some(end) = socket.read.windows(4).position(|four| four == b"\r\n\r\n") {
                ensure!(socket.read.starts_with(b"HTTP/1.1 101"), "the server does not speak WebSocket");
                socket.used = end + 4;
                break;
            }
        }
        let hello = json!({"type": "authenticate", "request_id": 0, "token": token}).to_string();
        socket.stream.write_all(&frame(hello.as_bytes())).await?;
        let answer = socket.next().await?;
        ensure!(answer.contains("authenticated"), "the token was refused: {answer}");
        Ok(socket)
    }

    /// The next text message.
    async fn next(&mut self) -> anyhow::Result<&str> {
        loop {
            let rest = self.read.get(self.used..).unwrap_or_default();
            if let Some((opcode, start, end)) = whole_frame(rest) {
                let (start, end) = (self.used + start, self.used + end);
                self.used = end;
                match opcode {
                    0x1 => return Ok(std::str::from_utf8(self.read.get(start..end).unwrap_or_default())?),
                    0x8 => anyhow::bail!("the server ended the connection"),
                    _ => continue,
                }
            }
            self.read.drain(..self.used);
            self.used = 0;
            ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the server closed the connection");
        }
    }
}

/// The opcode of the frame at the start, and where its payload begins and ends, once all of it is there.
pub(super) fn whole_frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&[first, second], _) = bytes.split_first_chunk::<2>()?;
    let (start, length) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let end = start + length;
    if bytes.len() < end { None } else { Some((first & 0x0f, start, end)) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { orders_per_second, p50_ms, p99_ms, cpu_us, entries_per_flush, refused } = self;
        writeln!(f, "orders   {orders_per_second:.0} durable and acknowledged per second")?;
        writeln!(f, "batch    p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms from sending to all outcomes")?;
        if let Some(cpu) = cpu_us {
            writeln!(f, "its CPU  {cpu:.2} us/order")?;
        }
        writeln!(f, "log      {entries_per_flush:.0} entries with one flush")?;
        write!(f, "refused  {refused}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_once_they_are_whole() {
        let mut bytes = vec![0x81, 126, 0, 200];
        bytes.extend([b'x'; 200]);
        assert_eq!(whole_frame(&bytes), Some((1, 4, 204)));
        assert_eq!(whole_frame(&bytes[..203]), None);
        assert_eq!(whole_frame(&[0x89, 0]), Some((9, 2, 2)));
        assert_eq!(frame(&[b'x'; 200]).len(), 208);
    }
}
