//! The name of each request, and its place in a distributed trace.
//!
//! A client's `x-request-id` is kept if it is short and plain, else one is made; it comes back in the answer. A W3C
//! `traceparent` is taken over into the request's span, so that log lines can be joined with the caller's trace.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::Span;

/// Where the name is, in requests and in answers.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name that is kept.
const LONGEST: usize = 64;

/// One block of names for each thread, so that making one shares nothing.
static BLOCKS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static NEXT: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// The name of a request: the client's, or a new one.
pub fn of(headers: &HeaderMap) -> HeaderValue {
    let plain = |value: &&HeaderValue| {
        (1..=LONGEST).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers.get(REQUEST_ID).filter(plain).cloned().unwrap_or_else(fresh)
}

/// Unique while the program runs, and hardly ever repeated afterwards.
fn fresh() -> HeaderValue {
    let (block, number) = NEXT.with(|next| {
        let (block, number) = next.get().unwrap_or_else(|| {
            let started =
                u64::from(std::process::id()) << 32 ^ crate::actors::trading::market_data::wall_clock().0 as u64;
            (started.wrapping_add(BLOCKS.fetch_add(1, Ordering::Relaxed)), 0)
        });
        next.set(Some((block, number + 1)));
        (block, number)
    });
    let mut text = [b'-'; 25];
    write_hex(&mut text[..16], block);
    write_hex(&mut text[17..], number);
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// Writes the lowest digits of a number.
fn write_hex(text: &mut [u8], mut number: u64) {
    for place in text.iter_mut().rev() {
        *place = b"0123456789abcdef".get((number & 15) as usize).copied().unwrap_or_default();
        number >>= 4;
    }
}

/// The trace and the parent's span of a `traceparent`, if it is a valid one of version 00.
pub fn traceparent(headers: &HeaderMap) -> Option<(&str, &str)> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let shaped = version == "00" && parts.next().is_none() && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    let named = [trace, parent].iter().all(|part| part.bytes().any(|byte| byte != b'0'));
    (shaped && named).then_some((trace, parent))
}

/// The span of a request; costs next to nothing unless `agora::path` is traced at `debug`.
pub fn span(method: &str, path: &str, id: &HeaderValue, headers: &HeaderMap) -> Span {
    if !tracing::enabled!(target: "agora::path", tracing::Level::DEBUG) {
        return Span::none();
    }
    let (trace, parent) = traceparent(headers).unwrap_or_default();
    let id = id.to_str().unwrap_or_default();
    tracing::debug_span!(target: "agora::path", "request", method, path, id, trace, parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn plain_names_are_kept_and_others_replaced() {
        assert_eq!(of(&headers("x-request-id", "order-17")), "order-17");
        let made =
            [of(&HeaderMap::new()), of(&headers("x-request-id", "a b")), of(&headers("x-request-id", &"x".repeat(65)))];
        for (index, name) in made.iter().enumerate() {
            assert_eq!(name.len(), 25);
            assert!(!made[..index].contains(name));
        }
    }

    #[test]
    fn only_valid_traceparents_count() {
        let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let valid = format!("00-{trace}-{parent}-01");
        assert_eq!(traceparent(&headers("traceparent", &valid)), Some((trace, parent)));
        let zeroes = format!("00-{}-{parent}-01", "0".repeat(32));
        for wrong in
            [&valid[1..], "", &valid.to_uppercase(), &format!("{valid}-1"), &zeroes, &valid.replace("00-", "01-")]
        {
            assert_eq!(traceparent(&headers("traceparent", wrong)), None, "{wrong}");
        }
    }
}
