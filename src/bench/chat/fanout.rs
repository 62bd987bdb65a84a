//! Frames that reach a thousand sockets, from the venue and from the bare broadcaster.

use super::venue::{Server, Wire, find, open, room_with, say_hello, sign_up, venue};
use super::{Fanout, Options};
use actix_http::ws::{Frame, Message};
use anyhow::{Context, anyhow};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Bytes of a message's text; with the rest of the frame about what people write.
const TEXT_BYTES: usize = 120;

/// Measures both, one after the other.
pub(super) async fn measure(options: &Options, data: &str) -> anyhow::Result<Fanout> {
    let bare_per_second = bare(options).await?;
    let server = venue(data, &[])?;
    let tokens = sign_up(&server, options.users).await?;
    let owner = tokens.first().context("no user")?.clone();
    let room = room_with(&server, &tokens).await?;
    let url = format!("{}/v1/chat/ws", server.base);
    let heard = Rc::new(Cell::new(0));
    for (_, token) in (0..options.listeners).zip(tokens.iter().cycle()) {
        listen(say_hello(open(&url, token).await?).await?, heard.clone());
    }
    let text = "x".repeat(TEXT_BYTES);
    let frame = move |_: u64| {
        let id = Uuid::new_v4();
        json!({"type": "send", "room": room, "client_id": id, "text": text}).to_string()
    };
    let mut senders = Vec::new();
    for token in tokens.iter().cycle().take(options.senders) {
        senders.push(say_hello(open(&url, token).await?).await?);
    }
    let (chat_per_second, messages_per_second) = flood(options, senders, &heard, frame.clone()).await?;
    let sender = say_hello(open(&url, &owner).await?).await?;
    let ack_ms = pace(options, sender, messages_per_second / 2.0, frame).await?;
    Ok(Fanout { bare_per_second, chat_per_second, ack_ms })
}

/// What reaches the sockets of a server that only passes on.
async fn bare(options: &Options) -> anyhow::Result<f64> {
    let server = Server::start(&["bench", "broadcaster", "--listen", "127.0.0.1:0"])?;
    let url = format!("{}/ws", server.base);
    let heard = Rc::new(Cell::new(0));
    for _ in 0..options.listeners {
        listen(open(&url, "").await?, heard.clone());
    }
    let mut senders = Vec::new();
    for _ in 0..options.senders {
        senders.push(open(&url, "").await?);
    }
    // As many bytes as a frame of the venue with such a text has.
    Ok(flood(options, senders, &heard, |_| "x".repeat(TEXT_BYTES + 180)).await?.0)
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
                Some(Ok(Frame::Text(text))) if find(&text, b"\"type\":\"error\"") => {
                    return Err(anyhow!("{}", String::from_utf8_lossy(&text)));
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
