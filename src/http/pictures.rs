//! Pictures that clients upload: read up to a bound, a few at a time and not for ever, and told by their first bytes.

use super::error::ApiError;
use crate::domain::ids::AccountId;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use futures_util::StreamExt;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

/// Pictures that this node has in memory at a time, from their first byte until they are stored, and those of one user
/// among them: whose pictures come slowly does not keep others from theirs.
const MOST: usize = 16;
const MOST_OF_ACCOUNT: usize = 2;
static PLACES: Places = Places::new();
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

/// The pictures in memory, by whose they are. Nobody is listed who has none.
#[derive(Debug)]
struct Places(Mutex<BTreeMap<AccountId, usize>>);

/// Room for one picture; it is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    account: AccountId,
    places: &'static Places,
}

impl Places {
    const fn new() -> Places {
        Places(Mutex::new(BTreeMap::new()))
    }

    fn take(&'static self, account: AccountId) -> Result<Place, ApiError> {
        let mut taken = self.0.lock();
        if taken.get(&account).is_some_and(|own| *own >= MOST_OF_ACCOUNT) {
            let message = "your pictures before this one are still being uploaded, please retry";
            let refusal = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_uploads", message);
            return Err(refusal.retry_after(RETRY_AFTER_S));
        }
        if taken.values().sum::<usize>() >= MOST {
            let message = "many pictures are being uploaded at this moment, please retry";
            let refusal = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message);
            return Err(refusal.retry_after(RETRY_AFTER_S));
        }
        *taken.entry(account).or_default() += 1;
        Ok(Place { account, places: self })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        if let Some(own) = taken.get_mut(&self.account) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.account);
            }
        }
    }
}

/// Room for a picture of this user, wherever it comes from.
///
/// # Errors
/// 429 when as many of the user's are under way as may be, 503 when as many of everybody's are.
pub fn place(account: AccountId) -> Result<Place, ApiError> {
    PLACES.take(account)
}

/// A picture as it came. While it is kept, it has one of the node's few places for pictures.
#[derive(Debug)]
pub struct Received {
    /// The bytes.
    pub content: web::Bytes,
    /// What they say that it is.
    pub media_type: &'static str,
    _place: Place,
}

/// Reads a picture of this user of at most so many bytes, and tells its media type.
///
/// # Errors
/// 400 when it breaks off, 408 when it takes too long, 413 when it is larger, 415 when it is no picture, and those of
/// [`place`].
pub async fn receive(account: AccountId, payload: web::Payload, most: usize) -> Result<Received, ApiError> {
    let place = place(account)?;
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
#[allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]
mod tests {
    use super::*;
    use actix_web::error::PayloadError;
    use actix_web::test::TestRequest;
    use actix_web::{FromRequest, ResponseError, dev};
    use futures_util::{Stream, stream};

    /// A body that comes like this.
    async fn body(content: impl Stream<Item = Result<web::Bytes, PayloadError>> + 'static) -> web::Payload {
        let request = TestRequest::default().to_http_request();
        let mut payload: dev::Payload = dev::Payload::Stream { payload: Box::pin(content) };
        web::Payload::from_request(&request, &mut payload).await.unwrap()
    }

    fn refusal<T: std::fmt::Debug>(answer: Result<T, ApiError>) -> (u16, &'static str) {
        let error = answer.unwrap_err();
        (error.status_code().as_u16(), error.code())
    }

    #[test]
    fn a_user_has_few_places_and_all_users_together_have_some_more() {
        static PLACES: Places = Places::new();
        let (ada, bob) = (AccountId(2), AccountId(3));
        let mut held = vec![PLACES.take(ada).unwrap(), PLACES.take(ada).unwrap()];
        assert_eq!(refusal(PLACES.take(ada)), (429, "too_many_uploads"));
        held.remove(0);
        held.push(PLACES.take(ada).unwrap());
        while held.len() < MOST {
            let account = AccountId(100 + u32::try_from(held.len() / MOST_OF_ACCOUNT).unwrap());
            held.push(PLACES.take(account).unwrap());
        }
        assert_eq!(refusal(PLACES.take(bob)), (503, "overloaded"));
        assert_eq!(refusal(PLACES.take(ada)), (429, "too_many_uploads"), "the user's own matter comes first");
        held.pop();
        held.push(PLACES.take(bob).unwrap());
        drop(held);
        assert!(PLACES.0.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_picture_has_a_place_while_it_is_kept_and_no_longer_than_it_may_take() {
        const GIF: &[u8] = b"GIF89a";
        let user = AccountId(70_000);
        let whole = || stream::iter([Ok(web::Bytes::from_static(GIF))]);
        let first = receive(user, body(whole()).await, 6).await.unwrap();
        assert_eq!((&first.content[..], first.media_type), (GIF, "image/gif"));
        // The beginning comes, and nothing more for ever.
        let stuck = body(whole().chain(stream::pending())).await;
        let second = receive(user, stuck, 100);
        let third = async {
            tokio::time::sleep(PATIENCE / 2).await;
            receive(user, body(whole()).await, 6).await
        };
        let (second, third) = tokio::join!(second, third);
        assert_eq!(refusal(second), (408, "too_slow"));
        assert_eq!(refusal(third), (429, "too_many_uploads"));
        // What failed has given its place back.
        assert_eq!(refusal(receive(user, body(whole()).await, 5).await), (413, "too_large"));
        let text = stream::iter([Ok(web::Bytes::from_static(b"text"))]);
        assert_eq!(refusal(receive(user, body(text).await, 6).await), (415, "not_an_image"));
        let broken = stream::iter([Err(PayloadError::Incomplete(None))]);
        assert_eq!(refusal(receive(user, body(broken).await, 6).await), (400, "invalid_body"));
        let again = receive(user, body(whole()).await, 6).await.unwrap();
        drop((first, again));
        assert!(!PLACES.0.lock().contains_key(&user));
    }

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
