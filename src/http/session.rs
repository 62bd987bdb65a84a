//! Who is calling.

use super::AppState;
use super::error::ApiError;
use crate::auth::{AuthError, Caller, bearer};
use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use std::future::{Ready, ready};

/// The signed-in caller of a request.
#[derive(Clone, Debug)]
pub struct CurrentUser(pub Caller);

impl FromRequest for CurrentUser {
    type Error = ApiError;
    type Future = Ready<Result<CurrentUser, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticate(request))
    }
}

fn authenticate(request: &HttpRequest) -> Result<CurrentUser, ApiError> {
    let state = request.app_data::<web::Data<AppState>>().ok_or_else(|| {
        ApiError::new(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR, "internal", "not configured")
    })?;
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer(header.ok_or(AuthError::TokenMissing)?)?;
    Ok(CurrentUser(state.accounts.authenticate(token)?))
}
