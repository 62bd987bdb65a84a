//! One event of a market to many subscribers of the feed, against a bare broadcaster.
//!
//! Both are processes of their own, loaded one after the other, round by round, by the same closed loop: a few events
//! are under way, and the next one is caused when all subscribers together have heard as much as one event gives them.
//! So neither server can run ahead of its sockets, and what is counted did arrive. At the venue an event is a trade: a
//! market order that takes the least size from a resting one, over the WebSocket, durable before anybody hears of it;
//! the subscribers read `matches`. At the broadcaster it is a text of the same length.

use super::rest::client::{Connection, request, until_ready};
use super::rest::{Server, median, sign_up};
use super::ws::{frame, whole_frame};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

/// What a message of `matches` is long, about.
const MESSAGE_BYTES: usize = 310;
/// Events before a measurement, so that nothing is done for the first time in it.
const WARM_UP: u64 = 100;
/// Longer than this no event is on its way, even where everything is unoptimised.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Connections that subscribe.
    #[arg(long, default_value_t = Options::default().subscribers)]
    pub subscribers: u64,
    /// Events under way at once.
    #[arg(long, default_value_t = Options::default().under_way)]
    pub under_way: u64,
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
        Options { subscribers: 1_000, under_way: 4, workers: 2, rounds: 5, seconds: 3.0, data: None }
    }
}

/// What one server reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Messages that arrived in a second, in the median round.
    pub messages_per_second: f64,
    /// From causing an event until all have heard of it, one at a time: the median, in milliseconds.
    pub one_event_ms: f64,
    /// Processor time of the server for one message, in microseconds; none where there is no `/proc`.
    pub cpu_us: Option<f64>,
    /// Bytes of memory for each idle connection that has subscribed; none where there is no `/proc`.
    pub bytes_per_connection: Option<f64>,
}

/// The result of a run; `Display` prints it as a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// The bare broadcaster.
    pub bare: Figures,
    /// The venue's feed.
    pub feed: Figures,
    /// The feed's rate over the bare rate of the round beside it, in the median of all rounds.
    pub ratio: f64,
}

/// Measures.
///
/// # Errors
/// When a server cannot be started or a connection breaks.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(options.subscribers > 0 && options.under_way > 0 && options.rounds > 0, "nothing is to be measured");
    let folder = options.data.clone().unwrap_or_else(|| format!("bench-feed-{}", std::process::id()).into());
    let result = actix_web::rt::System::new().block_on(measure(options, &folder));
    if options.data.is_none() {
        std::fs::remove_dir_all(&folder).context("the folder of the measurement cannot be removed")?;
    }
    result
}

async fn measure(options: &Options, folder: &Path) -> anyhow::Result<Report> {
    let workers = options.workers.to_string();
    let bare = Server::start(&["bench", "broadcaster", "--listen", "127.0.0.1:0", "--workers", &workers])?;
    let data = folder.to_str().context("the folder's name is not UTF-8")?;
    let venue = ["serve", "--demo-funds", "--listen", "127.0.0.1:0", "--data", data, "--workers", &workers];
    let venue = Server::start(&venue)?;
    until_ready(venue.address).await?;
    let maker = sign_up(venue.address, 0).await?;
    let taker = sign_up(venue.address, 1).await?;
    prepare(venue.address, &maker, &taker).await?;

    let text = "x".repeat(MESSAGE_BYTES);
    let mut bare = Loaded::new(options, bare, "/ws", None, &text).await?;
    let order = json!({"side": "buy", "type": "market", "product_id": "BTC-USDT", "size": "0.0001"});
    let take = json!({"type": "place", "request_id": 1, "token": taker, "order": order}).to_string();
    let subscribe = r#"{"type":"subscribe","product_ids":["BTC-USDT"],"channels":["matches"]}"#;
    let mut feed = Loaded::new(options, venue, "/v1/feed", Some(subscribe), &take).await?;
    let mut ratios = Vec::new();
    for _ in 0..options.rounds {
        let (limit, reached) = (bare.round(options).await?, feed.round(options).await?);
        ratios.push(reached / limit);
    }
    bare.one_at_a_time(options).await?;
    feed.one_at_a_time(options).await?;
    Ok(Report { bare: bare.figures(), feed: feed.figures(), ratio: median(ratios) })
}

/// Gives maker and taker what the trades of all rounds take, and lets the maker's order rest.
async fn prepare(address: SocketAddr, maker: &str, taker: &str) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    let mut call = async |token: &str, path: &str, body: Value| -> anyhow::Result<()> {
        let (status, answer) = connection.exchange(&request("POST", path, Some(token), &body.to_string())).await?;
        ensure!(status == 200, "{path} was refused: {}", String::from_utf8_lossy(answer));
        Ok(())
    };
    call(maker, "/v1/deposits/demo", json!({"currency": "BTC", "amount": "1000"})).await?;
    call(taker, "/v1/deposits/demo", json!({"currency": "USDT", "amount": "1000000"})).await?;
    let resting = json!({"side": "sell", "product_id": "BTC-USDT", "price": "10000", "size": "90"});
    call(maker, "/v1/orders", resting).await
}

/// What the subscribers of one server have heard together.
#[derive(Default)]
struct Heard {
    messages: Cell<u64>,
    /// The count at which whoever waits wants to be woken.
    wanted: Cell<u64>,
    reached: Notify,
    broken: RefCell<Option<anyhow::Error>>,
}

impl Heard {
    fn add(&self, messages: u64) {
        let before = self.messages.get();
        self.messages.set(before + messages);
        if before < self.wanted.get() && before + messages >= self.wanted.get() {
            self.reached.notify_one();
        }
    }

    /// Waits until so many messages were heard.
    async fn until(&self, messages: u64) -> anyhow::Result<()> {
        self.wanted.set(messages);
        let started = Instant::now();
        while self.messages.get() < messages {
            let waited = tokio::time::timeout(Duration::from_secs(1), self.reached.notified()).await;
            if let Some(error) = self.broken.take() {
                return Err(error);
            }
            ensure!(waited.is_ok() || started.elapsed() < PATIENCE, "messages are missing: a subscriber was cut off");
        }
        Ok(())
    }
}

/// A server with its subscribers, and the connection that causes events.
struct Loaded {
    server: Server,
    heard: Rc<Heard>,
    subscribers: u64,
    cause: OwnedWriteHalf,
    event: Vec<u8>,
    caused: u64,
    bytes_per_connection: Option<f64>,
    rates: Vec<f64>,
    cpu_us: Vec<Option<f64>>,
    one_event_ms: f64,
}

impl Loaded {
    async fn new(
        options: &Options,
        server: Server,
        path: &str,
        subscribe: Option<&str>,
        event: &str,
    ) -> anyhow::Result<Loaded> {
        until_listening(server.address, path).await?;
        let before = server.resident_bytes();
        let heard = Rc::new(Heard::default());
        for _ in 0..options.subscribers {
            let (mut read, mut write) = open(server.address, path).await?;
            if let Some(subscribe) = subscribe {
                write.write_all(&frame(subscribe.as_bytes())).await?;
                read.until_confirmed(&mut write).await?;
            }
            let heard = heard.clone();
            actix_web::rt::spawn(async move {
                if let Err(error) = read.count(&mut write, &heard).await {
                    heard.broken.replace(Some(error));
                    heard.reached.notify_one();
                }
            });
        }
        let grown = before.zip(server.resident_bytes()).map(|(before, after)| after.saturating_sub(before));
        let (mut read, cause) = open(server.address, path).await?;
        // What this connection hears is not counted, but it has to be read.
        actix_web::rt::spawn(async move { while read.fill().await.is_ok() {} });
        Ok(Loaded {
            server,
            heard,
            subscribers: options.subscribers,
            cause,
            event: frame(event.as_bytes()),
            caused: 0,
            bytes_per_connection: grown.map(|bytes| bytes as f64 / options.subscribers as f64),
            rates: Vec::new(),
            cpu_us: Vec::new(),
            one_event_ms: 0.0,
        })
    }

    /// Causes events until the time is over, as many under way as allowed; all have arrived at the end.
    async fn drive(&mut self, under_way: u64, until: impl Fn(u64) -> bool) -> anyhow::Result<u64> {
        let mut events = 0;
        while until(events) {
            self.cause.write_all(&self.event).await?;
            (self.caused, events) = (self.caused + 1, events + 1);
            self.heard.until((self.caused.saturating_sub(under_way - 1)) * self.subscribers).await?;
        }
        self.heard.until(self.caused * self.subscribers).await?;
        Ok(events)
    }

    async fn round(&mut self, options: &Options) -> anyhow::Result<f64> {
        self.drive(options.under_way, |events| events < WARM_UP).await?;
        let busy = self.server.processor_time();
        let started = Instant::now();
        let length = Duration::from_secs_f64(options.seconds);
        let messages = self.drive(options.under_way, |_| started.elapsed() < length).await? * self.subscribers;
        let rate = messages as f64 / started.elapsed().as_secs_f64();
        self.rates.push(rate);
        let spent = self.server.processor_time().zip(busy).map(|(now, before)| now.saturating_sub(before));
        self.cpu_us.push(spent.map(|spent| spent.as_secs_f64() * 1e6 / messages.max(1) as f64));
        Ok(rate)
    }

    async fn one_at_a_time(&mut self, options: &Options) -> anyhow::Result<()> {
        let mut times = Vec::new();
        let started = Instant::now();
        while started.elapsed().as_secs_f64() < options.seconds {
            let one = Instant::now();
            self.drive(1, |events| events < 1).await?;
            times.push(one.elapsed().as_secs_f64() * 1e3);
        }
        self.one_event_ms = median(times);
        Ok(())
    }

    fn figures(self) -> Figures {
        Figures {
            messages_per_second: median(self.rates),
            one_event_ms: self.one_event_ms,
            cpu_us: self.cpu_us.into_iter().collect::<Option<Vec<f64>>>().map(median),
            bytes_per_connection: self.bytes_per_connection,
        }
    }
}

/// The reading half of a WebSocket, which only looks for frames.
struct Frames {
    stream: OwnedReadHalf,
    read: Vec<u8>,
}

impl Frames {
    /// Reads what is there, once there is something.
    async fn fill(&mut self) -> anyhow::Result<()> {
        self.read.clear();
        ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the server closed a connection");
        Ok(())
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the server closed a connection");
        Ok(())
    }

    /// Takes the whole frames that were read; how many of them were messages.
    async fn take(&mut self, write: &mut OwnedWriteHalf, mut text: impl FnMut(&[u8])) -> anyhow::Result<()> {
        let mut used = 0;
        while let Some((opcode, start, end)) = whole_frame(self.read.get(used..).unwrap_or_default()) {
            match opcode {
                0x1 => text(self.read.get(used + start..used + end).unwrap_or_default()),
                0x8 => anyhow::bail!("the server ended a connection"),
                // The answer to a ping is the same frame with another opcode and a mask of zeros.
                0x9 => write.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await?,
                _ => {}
            }
            used += end;
        }
        self.read.drain(..used);
        Ok(())
    }

    async fn until_confirmed(&mut self, write: &mut OwnedWriteHalf) -> anyhow::Result<()> {
        let mut confirmed = false;
        while !confirmed {
            self.more().await?;
            self.take(write, |text| confirmed |= text.windows(13).any(|part| part == b"subscriptions")).await?;
        }
        Ok(())
    }

    async fn count(&mut self, write: &mut OwnedWriteHalf, heard: &Heard) -> anyhow::Result<()> {
        loop {
            self.more().await?;
            let mut messages = 0;
            self.take(write, |_| messages += 1).await?;
            heard.add(messages);
        }
    }
}

async fn open(address: SocketAddr, path: &str) -> anyhow::Result<(Frames, OwnedWriteHalf)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut stream, mut write) = stream.into_split();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    write.write_all(request.as_bytes()).await?;
    let mut read = Vec::with_capacity(4_096);
    loop {
        ensure!(stream.read_buf(&mut read).await? > 0, "the server closed a connection");
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            ensure!(read.starts_with(b"HTTP/1.1 101"), "the server does not speak WebSocket");
            read.drain(..end + 4);
            return Ok((Frames { stream, read }, write));
        }
    }
}

async fn until_listening(address: SocketAddr, path: &str) -> anyhow::Result<()> {
    let started = Instant::now();
    while let Err(error) = open(address, path).await {
        ensure!(started.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "server      | messages/s | one event, ms | its CPU, us/message | idle connection, KB")?;
        for (name, figures) in [("broadcaster", self.bare), ("feed", self.feed)] {
            let Figures { messages_per_second, one_event_ms, cpu_us, bytes_per_connection } = figures;
            let cpu = cpu_us.map_or("unknown".to_owned(), |cpu| format!("{cpu:.2}"));
            let memory = bytes_per_connection.map_or("unknown".to_owned(), |bytes| format!("{:.1}", bytes / 1e3));
            writeln!(f, "{name:<11} | {messages_per_second:>10.0} | {one_event_ms:>13.2} | {cpu:>19} | {memory:>19}")?;
        }
        write!(f, "ratio       {:.2}", self.ratio)
    }
}
