//! One chat room with many listeners against a bare broadcaster.
//!
//! Both are processes of their own, started from this program, loaded one after the other by the same
//! closed loop: a few senders, each with a few messages under way, and a thousand sockets that listen.
//! At the venue an acknowledgement means that the message is durable. Then the venue alone gets half of
//! what it reached, each message at its time, and the acknowledgements are measured from then on.

use actix_codec::Framed;
use actix_http::ws::{Codec, Frame, Message};
use anyhow::{Context, anyhow, ensure};
use awc::BoxedSocket;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::cell::Cell;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Bytes of a message's text; with the rest of the frame about what people write.
const TEXT_BYTES: usize = 120;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Sockets that listen to the room.
    #[arg(long, default_value_t = 1_000)]
    pub listeners: usize,
    /// Users who share the sockets; at most 20 sockets each.
    #[arg(long, default_value_t = 60)]
    pub users: usize,
    /// Sockets that write.
    #[arg(long, default_value_t = 4)]
    pub senders: usize,
    /// Messages that each of them has under way.
    #[arg(long, default_value_t = 4)]
    pub window: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4.0)]
    pub seconds: f64,
}

/// What was measured; `Display` prints it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Frames that reached a listener in a second, from the bare broadcaster.
    pub bare_per_second: f64,
    /// The same, from the venue.
    pub chat_per_second: f64,
    /// Acknowledgements at half load: median and 99th percentile, ms.
    pub ack_ms: (f64, f64),
    /// Bytes of memory of the venue for each idle socket; none where there is no `/proc`.
    pub bytes_per_socket: Option<u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | frames/s |\n| --- | --- |")?;
        writeln!(f, "| bare broadcaster | {:.0} |", self.bare_per_second)?;
        writeln!(f, "| chat room | {:.0} |", self.chat_per_second)?;
        writeln!(f, "\nratio {:.2}", self.chat_per_second / self.bare_per_second)?;
        writeln!(f, "acknowledged at half load: p50 {:.1} ms, p99 {:.1} ms", self.ack_ms.0, self.ack_ms.1)?;
        match self.bytes_per_socket {
            Some(bytes) => write!(f, "memory of an idle socket: {:.1} KiB", bytes as f64 / 1024.0),
            None => Ok(()),
        }
    }
}

type Wire = Framed<BoxedSocket, Codec>;

struct Server {
    process: Child,
    base: String,
}

impl Server {
    fn start(arguments: &[&str]) -> anyhow::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.args(arguments).env("AGORA_LOG", "error").stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("no output")?).lines();
        let base = loop {
            let line = lines.next().ok_or_else(|| anyhow!("the server ended before it was ready"))??;
            if let Some(rest) = line.trim().strip_prefix("page") {
                break rest.trim().trim_end_matches('/').to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Server { process, base })
    }

    fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Measures.
///
/// # Errors
/// When a server cannot be started or a connection breaks.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    // The senders' sockets and the last one are its users' too.
    let sockets = options.listeners + options.senders + options.users;
    ensure!(sockets <= options.users * 20, "a user has at most 20 sockets");
    ensure!(options.senders > 0 && options.window > 0 && options.users > 0, "nothing is to be measured");
    let folder = std::env::temp_dir().join(format!("agora-bench-chat-{}", std::process::id()));
    let result = actix_web::rt::System::new().block_on(measure(options, &folder));
    // What is left behind is only a temporary folder.
    let _ = std::fs::remove_dir_all(&folder);
    result
}

async fn measure(options: &Options, folder: &std::path::Path) -> anyhow::Result<Report> {
    let bare_per_second = {
        let server = Server::start(&["bench", "broadcaster", "--listen", "127.0.0.1:0"])?;
        let heard = Rc::new(Cell::new(0));
        for _ in 0..options.listeners {
            listen(open(&format!("{}/ws", server.base), "").await?, heard.clone());
        }
        let mut senders = Vec::new();
        for _ in 0..options.senders {
            senders.push(open(&format!("{}/ws", server.base), "").await?);
        }
        flood(options, senders, &heard, |_| "x".repeat(TEXT_BYTES + 180)).await?.0
    };

    let data = folder.to_str().context("the folder's name is not UTF-8")?;
    let limits = ["--chat-user-rate", "0", "--chat-room-rate", "0", "--chat-rooms-owned", "1000"];
    let server = Server::start(&[&["serve", "--listen", "127.0.0.1:0", "--data", data], limits.as_slice()].concat())?;
    let mut tokens = Vec::new();
    for user in 0..options.users {
        let account = json!({"email": format!("user{user}@bench.example"), "password": "correct horse battery"});
        let answer = call(&server, "/v1/auth/sign-up", "", account).await?;
        tokens.push(answer["access_token"].as_str().context("no token")?.to_owned());
    }
    let owner = tokens.first().context("no user")?.clone();
    let room = call(&server, "/v1/chat/rooms", &owner, json!({"kind": "public", "name": "Bench"})).await?;
    let room = room["id"].as_str().context("no room")?.to_owned();
    for token in tokens.iter().skip(1) {
        call(&server, &format!("/v1/chat/rooms/{room}/join"), token, json!({})).await?;
    }
    let url = format!("{}/v1/chat/ws", server.base);
    let before = server.resident_bytes();
    let heard = Rc::new(Cell::new(0));
    for (_, token) in (0..options.listeners).zip(tokens.iter().cycle()) {
        listen(say_hello(open(&url, token).await?).await?, heard.clone());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let grown = before.zip(server.resident_bytes()).map(|(before, after)| after.saturating_sub(before));
    let bytes_per_socket = grown.map(|bytes| bytes / options.listeners.max(1) as u64);
    let text = "x".repeat(TEXT_BYTES);
    let frame = move |_: u64| {
        let id = Uuid::new_v4();
        json!({"type": "send", "room": room, "client_id": id, "text": text}).to_string()
    };
    // Writers are users of their own sockets' budget: the owner's.
    let mut senders = Vec::new();
    for token in tokens.iter().cycle().take(options.senders) {
        senders.push(say_hello(open(&url, token).await?).await?);
    }
    let (chat_per_second, messages_per_second) = flood(options, senders, &heard, frame.clone()).await?;
    let sender = say_hello(open(&url, &owner).await?).await?;
    let ack_ms = pace(options, sender, messages_per_second / 2.0, frame).await?;
    Ok(Report { bare_per_second, chat_per_second, ack_ms, bytes_per_socket })
}

async fn call(server: &Server, path: &str, token: &str, body: Value) -> anyhow::Result<Value> {
    let client = awc::Client::builder().timeout(Duration::from_secs(30)).finish();
    let request =
        client.post(format!("{}{path}", server.base)).insert_header(("Authorization", format!("Bearer {token}")));
    let mut answer = request.send_json(&body).await.map_err(|error| anyhow!("{path}: {error}"))?;
    let status = answer.status();
    let view: Value = answer.json().await?;
    ensure!(status.is_success(), "{path}: {status} {view}");
    Ok(view)
}

async fn open(url: &str, token: &str) -> anyhow::Result<Wire> {
    let client = awc::Client::builder().timeout(Duration::from_secs(30)).finish();
    let upgrade = client.ws(url).max_frame_size(16 << 20).set_header("Authorization", format!("Bearer {token}"));
    Ok(upgrade.connect().await.map_err(|error| anyhow!("{error}"))?.1)
}

async fn say_hello(mut wire: Wire) -> anyhow::Result<Wire> {
    wire.send(Message::Text(r#"{"type":"hello"}"#.into())).await.map_err(|error| anyhow!("{error}"))?;
    while let Some(frame) = wire.next().await {
        if matches!(frame, Ok(Frame::Text(text)) if text.starts_with(b"{\"") && find(&text, b"\"type\":\"hello\"")) {
            return Ok(wire);
        }
    }
    Err(anyhow!("the server closed the socket"))
}

fn find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Counts what comes, and answers pings, until the socket ends.
fn listen(mut wire: Wire, heard: Rc<Cell<u64>>) {
    actix_web::rt::spawn(async move {
        while let Some(Ok(frame)) = wire.next().await {
            match frame {
                Frame::Text(_) => heard.set(heard.get() + 1),
                Frame::Ping(content) => drop(wire.send(Message::Pong(content)).await),
                _ => {}
            }
        }
    });
}

/// Sends as fast as acknowledgements come; frames heard and messages acknowledged in a second.
async fn flood(
    options: &Options,
    senders: Vec<Wire>,
    heard: &Rc<Cell<u64>>,
    frame: impl Fn(u64) -> String + Clone + 'static,
) -> anyhow::Result<(f64, f64)> {
    let length = Duration::from_secs_f64(options.seconds);
    let acknowledged = Rc::new(Cell::new(0u64));
    let before = heard.get();
    let started = Instant::now();
    let tasks = senders.into_iter().map(|wire| {
        let (frame, acknowledged, window) = (frame.clone(), acknowledged.clone(), options.window);
        actix_web::rt::spawn(send_until(wire, started + length, window, frame, acknowledged))
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(((heard.get() - before) as f64 / seconds, acknowledged.get() as f64 / seconds))
}

async fn send_until(
    mut wire: Wire,
    end: Instant,
    window: usize,
    frame: impl Fn(u64) -> String,
    acknowledged: Rc<Cell<u64>>,
) -> anyhow::Result<()> {
    let (mut under_way, mut number) = (0, 0);
    loop {
        while under_way < window && Instant::now() < end {
            number += 1;
            wire.send(Message::Text(frame(number).into())).await.map_err(|error| anyhow!("{error}"))?;
            under_way += 1;
        }
        if under_way == 0 {
            return Ok(());
        }
        match wire.next().await {
            Some(Ok(Frame::Text(text))) if is_ack(&text) => {
                under_way -= 1;
                acknowledged.set(acknowledged.get() + 1);
            }
            Some(Ok(Frame::Text(text))) if find(&text, b"\"type\":\"error\"") => {
                return Err(anyhow!("{}", String::from_utf8_lossy(&text)));
            }
            Some(Ok(Frame::Ping(content))) => drop(wire.send(Message::Pong(content)).await),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(anyhow!("a sender's socket ended")),
        }
    }
}

fn is_ack(text: &[u8]) -> bool {
    find(text.get(..text.len().min(400)).unwrap_or_default(), b"\"type\":\"ack\"")
}

/// Sends at a rate and measures each acknowledgement from the moment at which its message was due.
async fn pace(
    options: &Options,
    mut wire: Wire,
    per_second: f64,
    frame: impl Fn(u64) -> String,
) -> anyhow::Result<(f64, f64)> {
    let started = Instant::now();
    let due = |number: u64| started + Duration::from_secs_f64(number as f64 / per_second.max(1.0));
    let count = (per_second * options.seconds) as u64;
    let (mut sent, mut waiting, mut times) = (0, std::collections::VecDeque::new(), Vec::new());
    while sent < count || !waiting.is_empty() {
        let until = if sent < count { due(sent) } else { Instant::now() + Duration::from_secs(5) };
        tokio::select! {
            () = tokio::time::sleep_until(until.into()), if sent < count => {
                wire.send(Message::Text(frame(sent).into())).await.map_err(|error| anyhow!("{error}"))?;
                waiting.push_back(until);
                sent += 1;
            }
            read = wire.next() => match read {
                Some(Ok(Frame::Text(text))) if is_ack(&text) => {
                    if let Some(due) = waiting.pop_front() {
                        times.push(due.elapsed().as_secs_f64() * 1e3);
                    }
                }
                Some(Ok(Frame::Ping(content))) => drop(wire.send(Message::Pong(content)).await),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(anyhow!("the sender's socket ended")),
            },
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).or(times.last()).copied().unwrap_or_default();
    Ok((at(0.5), at(0.99)))
}
