//! Who is calling, in this dialect: a token in the cookie `accessToken`, in `Authorization: Bearer`, or in the query.
//!
//! The front end knows no CSRF token, so a change that its cookie authenticates must come from a page of our own
//! origin, or of one that is configured.

use super::origins;
use crate::auth::{AuthError, Caller, Secret, bearer};
use crate::domain::time::SECOND;
use crate::http::v1::params::Params;
use crate::http::{AppState, cookies};
use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::http::Method;
use actix_web::http::header::AUTHORIZATION;

/// The cookie that holds the access token.
const COOKIE: &str = "accessToken";

/// What a request brings to prove who sends it, in the order in which it counts.
struct Proofs {
    cookie: Option<String>,
    others: Vec<String>,
}

fn proofs(request: &HttpRequest) -> Proofs {
    let cookie = request.cookie(COOKIE).map(|cookie| cookie.value().to_owned()).filter(|token| !token.is_empty());
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let mut others: Vec<String> = header.and_then(|text| bearer(text).ok()).map(str::to_owned).into_iter().collect();
    if let Ok(query) = Params::parse(request.query_string()) {
        others.extend(["accessToken", "token"].into_iter().filter_map(|name| query.get(name)).map(str::to_owned));
    }
    Proofs { cookie, others }
}

/// Who sends a request.
///
/// # Errors
/// [`AuthError::TokenMissing`] without any token, [`AuthError::CsrfToken`] for a change from a foreign page, or what is
/// wrong with the first token.
pub fn authenticate(request: &HttpRequest, state: &AppState) -> Result<Caller, AuthError> {
    let Proofs { cookie, others } = proofs(request);
    let mut refusal = None;
    if let Some(token) = cookie {
        match state.accounts.authenticate(&token) {
            Ok(caller) => {
                if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
                    own_page(request, state)?;
                }
                return Ok(caller);
            }
            Err(error) => refusal = Some(error),
        }
    }
    for token in others {
        match state.accounts.authenticate(&token) {
            Ok(caller) => return Ok(caller),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    Err(refusal.unwrap_or(AuthError::TokenMissing))
}

/// Refuses requests of pages of other origins than our own and the configured ones. Programs send no origin.
///
/// # Errors
/// [`AuthError::CsrfToken`].
pub fn own_page(request: &HttpRequest, state: &AppState) -> Result<(), AuthError> {
    if is_configured(request, state) { Ok(()) } else { cookies::own_site(request, state) }
}

/// Refuses sockets of pages of other origins. What else browsers say of a socket's site is not to be relied on.
///
/// # Errors
/// [`AuthError::CsrfToken`].
pub fn own_socket(request: &HttpRequest, state: &AppState) -> Result<(), AuthError> {
    let foreign = cookies::is_of_other_origin(request, state) && !is_configured(request, state);
    if foreign { Err(AuthError::CsrfToken) } else { Ok(()) }
}

fn is_configured(request: &HttpRequest, state: &AppState) -> bool {
    origins::named(request, state).is_some()
}

/// The cookie of a session whose token ends at `expires_at`.
pub fn cookie(request: &HttpRequest, state: &AppState, token: &Secret, lifetime: i64) -> Cookie<'static> {
    Cookie::build(COOKIE, token.expose().to_owned())
        .path("/")
        .max_age(Duration::seconds(lifetime / SECOND))
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(cookies::secure(request, state))
        .finish()
}

/// The cookie that makes a browser forget the session.
pub fn no_cookie() -> Cookie<'static> {
    Cookie::build(COOKIE, "").path("/").max_age(Duration::ZERO).http_only(true).same_site(SameSite::Lax).finish()
}
