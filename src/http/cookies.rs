//! Sessions in cookies, for web pages that should not hold tokens.
//!
//! The access and the refresh token are hidden from scripts; the refresh token is sent to the sign-in
//! routes alone. Cookies go along with requests of other sites' making, so every change that a cookie
//! authenticates must carry `X-CSRF-Token`, which only our own pages can read.

use super::AppState;
use crate::auth::{AuthError, Caller, SignedIn};
use crate::domain::time::SECOND;
use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::http::Method;

/// The access token.
const TOKEN: &str = "agora_token";
/// The refresh token.
const REFRESH: &str = "agora_refresh";
/// What changes must carry in the header `X-CSRF-Token`; scripts may read it.
const CSRF: &str = "agora_csrf";
/// The header that proves that a page of ours made the request.
pub const CSRF_HEADER: &str = "x-csrf-token";
/// Where the refresh token is sent to.
const REFRESH_PATH: &str = "/v1/auth";

/// Refuses requests that a page of another site makes the browser send: signing somebody in to
/// a session of the other's choice would be as bad as using the own one. Programs send neither header.
///
/// # Errors
/// [`AuthError::CsrfToken`].
pub fn own_site(request: &HttpRequest, state: &AppState) -> Result<(), AuthError> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let foreign = header("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "same-site" | "none"));
    let host = header("host").unwrap_or_default();
    let of = |url: &str| url.split_once("://").map(|(_, rest)| rest.trim_end_matches('/').to_owned());
    let public = state.accounts.public_url().and_then(of);
    let other = header("origin").is_some_and(|origin| {
        let origin = of(origin);
        origin.as_deref() != Some(host) && (public.is_none() || origin != public)
    });
    if foreign || other { Err(AuthError::CsrfToken) } else { Ok(()) }
}

/// Whether the client speaks TLS, as far as this server can know.
pub fn secure(request: &HttpRequest, state: &AppState) -> bool {
    let by_proxy = || {
        let told = request.headers().get("x-forwarded-proto").is_some_and(|value| value.as_bytes() == b"https");
        told && request.peer_addr().is_some_and(|peer| state.accounts.trusts(peer.ip().to_canonical()))
    };
    state.accounts.secure_cookies() || by_proxy()
}

/// The cookies of a new session.
pub fn of_session(request: &HttpRequest, state: &AppState, signed_in: &SignedIn) -> Vec<Cookie<'static>> {
    let secure = secure(request, state);
    let build = |name: &'static str, value: String, path: &'static str, seconds: i64| {
        Cookie::build(name, value).path(path).secure(secure).max_age(Duration::seconds(seconds))
    };
    let now = state.accounts.clock_now();
    let token_s = (signed_in.expires_at - now) / SECOND;
    let session_s = (signed_in.session_expires_at - now) / SECOND;
    let csrf = state.accounts.csrf_token(signed_in.session);
    let token = signed_in.token.expose().to_owned();
    let mut cookies = vec![
        build(TOKEN, token, "/", token_s).http_only(true).same_site(SameSite::Lax).finish(),
        build(CSRF, csrf, "/", session_s).same_site(SameSite::Strict).finish(),
    ];
    if let Some(refresh) = &signed_in.refresh {
        let refresh = build(REFRESH, refresh.expose().to_owned(), REFRESH_PATH, session_s);
        cookies.push(refresh.http_only(true).same_site(SameSite::Strict).finish());
    }
    cookies
}

/// Cookies that make a browser forget the session.
pub fn of_no_session() -> Vec<Cookie<'static>> {
    [(TOKEN, "/"), (CSRF, "/"), (REFRESH, REFRESH_PATH)]
        .map(|(name, path)| Cookie::build(name, "").path(path).max_age(Duration::ZERO).finish())
        .to_vec()
}

/// The refresh token in the cookies of a request.
pub fn refresh_token(request: &HttpRequest) -> Option<String> {
    request.cookie(REFRESH).map(|cookie| cookie.value().to_owned())
}

/// Whether a request has a session's cookie at all.
pub fn present(request: &HttpRequest) -> bool {
    request.cookie(TOKEN).is_some()
}

/// Who the cookies of a request say that it is.
///
/// # Errors
/// [`AuthError::TokenMissing`] without a cookie, [`AuthError::CsrfToken`] for a change without the
/// header, or what is wrong with the token.
pub fn authenticate(request: &HttpRequest, state: &AppState) -> Result<Caller, AuthError> {
    let cookie = request.cookie(TOKEN).ok_or(AuthError::TokenMissing)?;
    let caller = state.accounts.authenticate(cookie.value())?;
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        let sent = request.headers().get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !state.accounts.is_csrf_token(caller.session()?, sent) {
            return Err(AuthError::CsrfToken);
        }
    }
    Ok(caller)
}
