//! The bodies of imports, which are larger than all others: how much memory they take together, and for how long.
//!
//! Invariants: nothing of a body is read before there is room for as much as it may have; no holder has room for two; the
//! room is given back with the body, or when its sender was too slow.

use crate::actors::links::{Holder, ImportRoom, Links};
use crate::domain::ids::AccountId;
use crate::http::error::ApiError;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::{HttpMessage, HttpRequest, web};
use futures_util::{Stream, StreamExt};
use std::time::Duration;
use tokio::time::Instant;

/// How long a body may take to arrive, beside the time for the bytes that have, and how long it may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that arrive in a second at least.
const SLOWEST: usize = 256 * 1024;
/// Seconds after which another try is worth while.
const RETRY_AFTER_S: u32 = 5;

/// A whole body, with the room that it takes.
pub struct ImportBody {
    /// What was sent.
    pub bytes: web::Bytes,
    _room: ImportRoom,
}

/// 503: other imports take all there is, or another one of the same owner is being read.
pub(super) fn busy() -> ApiError {
    let message = "other imports are being read, please retry";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "imports_busy", message).retry_after(RETRY_AFTER_S)
}

fn too_large(most: usize) -> ApiError {
    let message = format!("an import has at most {most} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

/// The body of the request that is being handled: the one that was read for its signature, or what is still to come.
///
/// # Errors
/// Those of [`read_whole`].
pub(super) async fn of(
    request: &HttpRequest,
    links: &Links,
    whose: AccountId,
    payload: web::Payload,
) -> Result<ImportBody, ApiError> {
    let read = request.extensions_mut().remove::<ImportBody>();
    match read {
        Some(body) => Ok(body),
        None => read_whole(links, Holder::Known(whose), request.headers(), payload).await,
    }
}

/// The whole body of an import with these headers.
///
/// # Errors
/// 413 when it is larger than an import may be, 503 when there is no room for it at the moment, 408 when it takes too
/// long, 400 when it breaks off.
pub async fn read_whole<S>(
    links: &Links,
    whose: Holder,
    headers: &HeaderMap,
    payload: S,
) -> Result<ImportBody, ApiError>
where
    S: Stream<Item = Result<web::Bytes, PayloadError>> + Unpin,
{
    let most = links.settings().import_bytes;
    let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let most_of_this = told.unwrap_or(most);
    if most_of_this > most {
        return Err(too_large(most));
    }
    let room = links.room_for_import(whose, most_of_this).ok_or_else(busy)?;
    let bytes = collect(payload, told.unwrap_or(0), most_of_this).await?;
    Ok(ImportBody { bytes, _room: room })
}

/// How much longer a body is waited for that has begun so long ago, once so many bytes are there. What was announced is
/// only said.
fn patience(since: Duration, bytes: usize) -> Duration {
    let due = PATIENCE + Duration::from_secs((bytes / SLOWEST) as u64);
    due.saturating_sub(since).min(PATIENCE)
}

async fn collect<S>(mut payload: S, expected: usize, most: usize) -> Result<web::Bytes, ApiError>
where
    S: Stream<Item = Result<web::Bytes, PayloadError>> + Unpin,
{
    let slow = |_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body took too long");
    let (begun, mut bytes) = (Instant::now(), web::BytesMut::with_capacity(expected));
    loop {
        let next = tokio::time::timeout(patience(begun.elapsed(), bytes.len()), payload.next());
        let Some(chunk) = next.await.map_err(slow)? else { return Ok(bytes.freeze()) };
        let chunk = chunk.map_err(|_| ApiError::bad_request("invalid_body", "the body broke off"))?;
        if bytes.len() + chunk.len() > most {
            return Err(too_large(most));
        }
        bytes.extend_from_slice(&chunk);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures_util::stream;

    const MOST: usize = 64 << 20;
    type Chunk = Result<web::Bytes, PayloadError>;

    /// So many chunks of so many bytes, each of which comes so long after the one before.
    fn chunks(count: usize, bytes: usize, every: Duration) -> impl Stream<Item = Chunk> + Unpin {
        let next = move |left: usize| async move {
            if left == 0 {
                return None;
            }
            tokio::time::sleep(every).await;
            Some((Ok(web::Bytes::from(vec![0_u8; bytes])), left - 1))
        };
        Box::pin(stream::unfold(count, next))
    }

    /// The seconds after which a body is given up that was announced as the largest.
    async fn given_up_after(payload: impl Stream<Item = Chunk> + Unpin) -> u64 {
        let begun = Instant::now();
        assert_eq!(collect(payload, MOST, MOST).await.unwrap_err().code(), "body_too_slow");
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_waited_for_by_what_has_come_and_not_by_what_was_announced() {
        let second = Duration::from_secs(1);
        assert_eq!(given_up_after(stream::pending()).await, 30);
        let much = chunks(1, MOST / 2, second).chain(stream::pending());
        assert_eq!(given_up_after(much).await, 31, "what has come is no reason to be silent for longer");
        assert_eq!(given_up_after(chunks(1_000, 1, 7 * second)).await, 30, "hardly anything comes");
        let slow = collect(chunks(200, SLOWEST, second), MOST, MOST).await;
        assert_eq!(slow.unwrap().len(), 200 * SLOWEST);
        let quick = collect(chunks(3, 10, Duration::ZERO), 0, 29).await;
        assert_eq!(quick.unwrap_err().code(), "body_too_large");
    }
}
