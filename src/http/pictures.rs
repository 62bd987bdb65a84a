//! Pictures that clients upload: read up to a bound, and told by their first bytes.

use super::error::ApiError;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use futures_util::StreamExt;

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

/// Reads a body of `most` bytes at most.
///
/// # Errors
/// 400 when it breaks off, 413 when it is larger.
pub async fn collect(mut payload: web::Payload, most: usize) -> Result<web::Bytes, ApiError> {
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

/// Reads a picture of at most so many bytes, and tells its media type.
///
/// # Errors
/// As [`collect`]; 415 when it is no picture.
pub async fn receive(payload: web::Payload, most: usize) -> Result<(web::Bytes, &'static str), ApiError> {
    let content = collect(payload, most).await?;
    let media_type = media_type(&content).ok_or_else(not_an_image)?;
    Ok((content, media_type))
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
