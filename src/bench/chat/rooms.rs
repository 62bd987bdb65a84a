//! Memory with many rooms known and few of them active.

use super::venue::{Server, call, sign_up, venue};
use super::{Options, Rooms};
use anyhow::{Context, anyhow};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::json;
use std::time::{Duration, Instant};

/// People who own the rooms.
const OWNERS: usize = 20;
/// Rooms that are being made at once.
const AT_ONCE: usize = 64;
/// How long it may take until the idle rooms have left memory.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the rooms, lets them become idle, and then writes in some of them.
pub(super) async fn measure(options: &Options, data: &str) -> anyhow::Result<Option<Rooms>> {
    if options.rooms == 0 {
        return Ok(None);
    }
    let server = venue(data, &["--chat-room-idle-s", "2"])?;
    let tokens = sign_up(&server, OWNERS).await?;
    let empty_bytes = server.resident_bytes().unwrap_or_default();
    let (server, tokens) = (&server, &tokens);
    let one = |number: usize| async move {
        let token = tokens.get(number % OWNERS).context("no user")?;
        let view =
            call(server, "/v1/chat/rooms", token, json!({"kind": "public", "name": format!("R{number}")})).await?;
        anyhow::Ok((view["id"].as_str().context("no room")?.to_owned(), token))
    };
    let made = futures_util::stream::iter((0..options.rooms).map(one)).buffered(AT_ONCE);
    let made: Vec<_> = made.try_collect().await?;
    // A server that has made them holds what was needed for that; one that knows them is another process.
    settle(server).await?;
    let known_bytes = server.resident_bytes().unwrap_or_default();
    for (room, token) in made.iter().take(options.active_rooms) {
        call(server, &format!("/v1/chat/rooms/{room}/messages"), token, json!({"text": "hello"})).await?;
    }
    let (active, active_bytes) = (in_memory(server).await?, server.resident_bytes().unwrap_or_default());
    Ok(Some(Rooms { known: made.len(), empty_bytes, known_bytes, active, active_bytes }))
}

/// Waits until no room is in memory.
async fn settle(server: &Server) -> anyhow::Result<()> {
    let begun = Instant::now();
    while in_memory(server).await? > 0 {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "idle rooms stay in memory");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Rooms that are in the server's memory, as its metrics say.
async fn in_memory(server: &Server) -> anyhow::Result<u64> {
    let client = awc::Client::builder().timeout(Duration::from_secs(10)).finish();
    let mut answer = client.get(format!("{}/metrics", server.base)).send().await.map_err(|error| anyhow!("{error}"))?;
    let text = String::from_utf8(answer.body().limit(1 << 22).await?.to_vec())?;
    let line = text.lines().find_map(|line| line.strip_prefix("agora_chat_rooms_active "));
    Ok(line.context("no figure of the rooms")?.trim().parse()?)
}
