//! What connections cost that hear nothing.

use super::venue::{open, room_with, say_hello, sign_up, venue};
use super::{Idle, Options};
use actix_http::ws::{Frame, Message};
use anyhow::anyhow;
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use std::time::Duration;

/// Connections that are being made at once.
const AT_ONCE: usize = 32;
/// Sockets that one user may have.
const DEVICES: usize = 20;
/// How long they are idle before the memory is looked at: long enough for a ping to each.
const REST: Duration = Duration::from_secs(8);

/// Opens the sockets, all in one room, and looks at the venue's memory before and after.
pub(super) async fn measure(options: &Options, data: &str) -> anyhow::Result<Option<Idle>> {
    if options.idle == 0 {
        return Ok(None);
    }
    let server = venue(data, &[])?;
    let tokens = sign_up(&server, options.idle.div_ceil(DEVICES)).await?;
    room_with(&server, &tokens).await?;
    let url = format!("{}/v1/chat/ws", server.base);
    let before = server.resident_bytes();
    let one = |number: usize| {
        let (url, token) = (&url, tokens.get(number / DEVICES));
        async move { say_hello(open(url, token.ok_or_else(|| anyhow!("too few users"))?).await?).await }
    };
    let opened = futures_util::stream::iter((0..options.idle).map(one)).buffer_unordered(AT_ONCE);
    let opened: Vec<_> = opened.try_collect().await?;
    let connections = opened.len();
    let readers: Vec<_> = opened
        .into_iter()
        .map(|mut wire| {
            actix_web::rt::spawn(async move {
                while let Some(Ok(frame)) = wire.next().await {
                    if let Frame::Ping(content) = frame {
                        drop(wire.send(Message::Pong(content)).await);
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(REST).await;
    let lost = readers.iter().filter(|reader| reader.is_finished()).count();
    let (before_bytes, after_bytes) = (before.unwrap_or_default(), server.resident_bytes().unwrap_or_default());
    readers.iter().for_each(|reader| reader.abort());
    Ok(Some(Idle { connections: connections - lost, before_bytes, after_bytes }))
}
