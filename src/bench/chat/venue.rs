//! A server in a process of its own, and what a client needs to talk to it.

use actix_codec::Framed;
use actix_http::ws::{Codec, Frame, Message};
use anyhow::{Context, anyhow, ensure};
use awc::BoxedSocket;
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Requests that one set-up has under way.
pub(super) const AT_ONCE: usize = 16;

/// One WebSocket.
pub(super) type Wire = Framed<BoxedSocket, Codec>;

/// A server; it is killed when dropped.
pub(super) struct Server {
    process: Child,
    pub(super) base: String,
}

impl Server {
    pub(super) fn start(arguments: &[&str]) -> anyhow::Result<Server> {
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

    /// Its memory; none where there is no `/proc`.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    }
}

/// A venue in this folder without limits for how fast people write.
pub(super) fn venue(folder: &str, more: &[&str]) -> anyhow::Result<Server> {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", folder];
    let limits = ["--chat-user-rate", "0", "--chat-room-rate", "0", "--chat-rooms-owned", "100000"];
    Server::start(&[serve.as_slice(), &limits, more].concat())
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// New users' tokens.
pub(super) async fn sign_up(server: &Server, count: usize) -> anyhow::Result<Vec<String>> {
    let one = |user: usize| async move {
        let account = json!({"email": format!("user{user}@bench.example"), "password": "correct horse battery"});
        let answer = call(server, "/v1/auth/sign-up", "", account).await?;
        anyhow::Ok(answer["access_token"].as_str().context("no token")?.to_owned())
    };
    futures_util::stream::iter((0..count).map(one)).buffered(AT_ONCE).try_collect().await
}

/// A public room with all of these people in it; its id.
pub(super) async fn room_with(server: &Server, tokens: &[String]) -> anyhow::Result<String> {
    let owner = tokens.first().context("no user")?;
    let room = call(server, "/v1/chat/rooms", owner, json!({"kind": "public", "name": "Bench"})).await?;
    let room = room["id"].as_str().context("no room")?.to_owned();
    let path = format!("/v1/chat/rooms/{room}/join");
    let joins = tokens.iter().skip(1).map(|token| call(server, &path, token, json!({})));
    futures_util::stream::iter(joins).buffered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
    Ok(room)
}

/// A request that must succeed.
pub(super) async fn call(server: &Server, path: &str, token: &str, body: Value) -> anyhow::Result<Value> {
    let client = awc::Client::builder().timeout(Duration::from_secs(30)).finish();
    let request =
        client.post(format!("{}{path}", server.base)).insert_header(("Authorization", format!("Bearer {token}")));
    let mut answer = request.send_json(&body).await.map_err(|error| anyhow!("{path}: {error}"))?;
    let status = answer.status();
    let view: Value = answer.json().await?;
    ensure!(status.is_success(), "{path}: {status} {view}");
    Ok(view)
}

/// A new WebSocket.
pub(super) async fn open(url: &str, token: &str) -> anyhow::Result<Wire> {
    let client = awc::Client::builder().timeout(Duration::from_secs(30)).finish();
    let upgrade = client.ws(url).max_frame_size(16 << 20).set_header("Authorization", format!("Bearer {token}"));
    Ok(upgrade.connect().await.map_err(|error| anyhow!("{error}"))?.1)
}

/// Says who it is and waits for the answer.
pub(super) async fn say_hello(mut wire: Wire) -> anyhow::Result<Wire> {
    wire.send(Message::Text(r#"{"type":"hello"}"#.into())).await.map_err(|error| anyhow!("{error}"))?;
    while let Some(frame) = wire.next().await {
        if matches!(frame, Ok(Frame::Text(text)) if text.starts_with(b"{\"") && find(&text, b"\"type\":\"hello\"")) {
            return Ok(wire);
        }
    }
    Err(anyhow!("the server closed the socket"))
}

/// Whether a frame contains this.
pub(super) fn find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
