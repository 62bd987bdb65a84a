//! Pictures that clients upload: read up to a bound, a few at a time and not for ever, and told by their first bytes.

use super::error::ApiError;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Pictures that this node has in memory at a time, from their first byte until they are stored.
static PLACES: Semaphore = Semaphore::const_new(16);
/// How long one may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
/// When it is worth while to come again, in seconds.
const RETRY_AFTER_S: u32 = 5;

/// The media type that the first bytes of an image say; what the client calls it does not count.
pub fn media_type(content: &[u8]) -> Option<&'static str> {
    match content {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// The refusal of what is no image.
pub fn not_an_image() -> ApiError {
    let message = "an image is a PNG, JPEG, GIF or WebP file";
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_an_image", message)
}

/// A picture as it came. While it is kept, it has one of the node's few places for pictures.
#[derive(Debug)]
pub struct Received {
    /// The bytes.
    pub content: web::Bytes,
    /// What they say that it is.
    pub media_type: &'static str,
    _place: SemaphorePermit<'static>,
}

/// Reads a picture of at most so many bytes, and tells its media type.
///
/// # Errors
/// 400 when it breaks off, 408 when it takes too long, 413 when it is larger, 415 when it is no picture, 503 when there
/// are as many under way as may be.
pub async fn receive(payload: web::Payload, most: usize) -> Result<Received, ApiError> {
    let full = |_| {
        let message = "many pictures are being uploaded at this moment, please retry";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(RETRY_AFTER_S)
    };
    let place = PLACES.try_acquire().map_err(full)?;
    let slow = |_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the image took too long to arrive");
    let content = tokio::time::timeout(PATIENCE, collect(payload, most)).await.map_err(slow)??;
    let media_type = media_type(&content).ok_or_else(not_an_image)?;
    Ok(Received { content, media_type, _place: place })
}

async fn collect(mut payload: web::Payload, most: usize) -> Result<web::Bytes, ApiError> {
    let mut content = web::BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad_request("invalid_body", "the image broke off"))?;
        if content.len() + chunk.len() > most {
            let message = format!("an image has at most {most} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content.freeze())
}

/// A picture that a browser may show and nothing else.
pub fn show(content: web::Bytes, media_type: &str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(media_type)
        .insert_header((header::CACHE_CONTROL, "private, max-age=86400"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"))
        .body(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_what_its_first_bytes_say() {
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\nrest"), Some("image/png"));
        assert_eq!(media_type(b"\xff\xd8\xff\xe0"), Some("image/jpeg"));
        assert_eq!(media_type(b"GIF89a"), Some("image/gif"));
        assert_eq!(media_type(b"RIFF\0\0\0\0WEBPVP8 "), Some("image/webp"));
        for other in [b"<svg onload=x>".as_slice(), b"", b"\x89PNG", b"RIFF\0\0\0\0WAVE"] {
            assert_eq!(media_type(other), None);
        }
    }
}
