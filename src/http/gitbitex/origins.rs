//! Pages of other origins that the operator has named with `--gitbitex-origins`.
//!
//! A browser lets such a page use its user's cookie only when each answer names the page's origin, and asks beforehand
//! about anything but the plainest requests. Pages of our own origin need none of it.

use super::problem;
use crate::auth::AuthError;
use crate::http::AppState;
use crate::http::error::ApiError;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

/// Methods of the dialect.
const METHODS: &str = "GET, POST, PUT, DELETE";
/// Seconds for which a browser need not ask again.
const MAX_AGE: &str = "86400";

/// The origin of a request, if it is one that was named.
pub fn named<'a>(request: &'a HttpRequest, state: &AppState) -> Option<&'a HeaderValue> {
    let origin = request.headers().get(header::ORIGIN)?;
    state.gitbitex_origins.iter().any(|named| named.as_bytes() == origin.as_bytes()).then_some(origin)
}

/// The origin whose page may read the answer to this request with its user's cookie; `None` outside of the dialect, and
/// for every other page.
pub fn reader(request: &HttpRequest) -> Option<HeaderValue> {
    if !request.path().starts_with("/api/") {
        return None;
    }
    request.app_data::<web::Data<AppState>>().and_then(|state| named(request, state)).cloned()
}

/// Lets the page of this origin read an answer that was made for it alone.
pub fn allow(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

/// What no route of the dialect takes: a browser's question whether a page may ask, a wrong method, an unknown path.
pub async fn unknown(state: web::Data<AppState>, request: HttpRequest) -> HttpResponse {
    if request.method() != Method::OPTIONS {
        return problem::answer(&ApiError::not_found(), request.path());
    }
    if named(&request, &state).is_none() {
        return problem::answer(&AuthError::CsrfToken.into(), request.path());
    }
    let mut answer = HttpResponse::NoContent();
    answer
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, METHODS))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE));
    // The front end's own switches leak into real headers, so a named page may send whichever it wants. With a cookie,
    // a star would not mean all of them.
    if let Some(wanted) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone()));
    }
    answer.finish()
}
