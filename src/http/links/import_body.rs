//! The bodies of imports, which are larger than all others: how much memory they take together, and for how long.
//!
//! Invariants: nothing of a body is read before there is room for as much as it may have; the room is given back with
//! the body, or when its sender was too slow.

use crate::actors::links::Links;
use crate::http::error::ApiError;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::{HttpMessage, HttpRequest, web};
use futures_util::{Stream, StreamExt};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How long a body may take to arrive, beside the time for its bytes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that arrive in a second at least.
const SLOWEST: usize = 256 * 1024;
/// Seconds after which another try is worth while.
const RETRY_AFTER_S: u32 = 5;

/// A whole body, with the room that it takes.
pub struct ImportBody {
    /// What was sent.
    pub bytes: web::Bytes,
    _room: OwnedSemaphorePermit,
}

/// 503: other imports take all there is.
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
pub(super) async fn of(request: &HttpRequest, links: &Links, payload: web::Payload) -> Result<ImportBody, ApiError> {
    let read = request.extensions_mut().remove::<ImportBody>();
    match read {
        Some(body) => Ok(body),
        None => read_whole(links, request.headers(), payload).await,
    }
}

/// The whole body of an import with these headers.
///
/// # Errors
/// 413 when it is larger than an import may be, 503 when there is no room for it at the moment, 408 when it takes too
/// long, 400 when it breaks off.
pub async fn read_whole<S>(links: &Links, headers: &HeaderMap, payload: S) -> Result<ImportBody, ApiError>
where
    S: Stream<Item = Result<web::Bytes, PayloadError>> + Unpin,
{
    let most = links.settings().import_bytes;
    let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let most_of_this = told.unwrap_or(most);
    if most_of_this > most {
        return Err(too_large(most));
    }
    let room = links.room_for_import(most_of_this).ok_or_else(busy)?;
    let patience = PATIENCE + Duration::from_secs((most_of_this / SLOWEST) as u64);
    let slow = |_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body took too long");
    let body = collect(payload, told.unwrap_or(0), most_of_this);
    let bytes = tokio::time::timeout(patience, body).await.map_err(slow)??;
    Ok(ImportBody { bytes, _room: room })
}

async fn collect<S>(mut payload: S, expected: usize, most: usize) -> Result<web::Bytes, ApiError>
where
    S: Stream<Item = Result<web::Bytes, PayloadError>> + Unpin,
{
    let mut bytes = web::BytesMut::with_capacity(expected);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad_request("invalid_body", "the body broke off"))?;
        if bytes.len() + chunk.len() > most {
            return Err(too_large(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
