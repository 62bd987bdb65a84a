//! Errors as the front end takes them: a sentence for its user, a number as code, and 401 only where it belongs.
//!
//! The front end shows `message` as it is. On any page but that of sign-in it trips over a 401, so 401 is kept for
//! "no valid session" and for a failed sign-in. Four of its calls look for the message in `response.data` of the body.

use crate::http::error::ApiError;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Value, json};
use std::borrow::Cow;

/// The calls whose message is looked for in `response.data.message` of the body.
const NESTED: [&str; 5] = [
    "/api/wallets/{currency}/withdrawal",
    "/api/users/password",
    "/api/verifyCodes/restPassword",
    "/api/users/password/reset",
    "/api/codes",
];

/// The number for a stable code: 1 too many requests, 2 unreadable, 3 expired, 4 ended, 5 wrong password, 0 else.
fn number(code: &str) -> u8 {
    match code {
        "rate_limited" | "too_many_attempts" | "too_many_uploads" => 1,
        "invalid_body" => 2,
        "token_expired" => 3,
        "token_revoked" => 4,
        "wrong_credentials" => 5,
        _ => 0,
    }
}

/// The status of an error on this route, where the dialect's differs.
fn status(error: &ApiError, pattern: &str) -> StatusCode {
    match error.code() {
        // Wrong as a name in a path: there is no such order.
        "invalid_order_id" | "product_not_found" | "unknown_currency" => StatusCode::NOT_FOUND,
        "invalid_client_oid" if pattern.contains("{id}") => StatusCode::NOT_FOUND,
        "order_done" => StatusCode::CONFLICT,
        "wrong_credentials" if !matches!(pattern, "/api/users/accessToken" | "/api/users/token") => {
            StatusCode::BAD_REQUEST
        }
        _ => error.status_code(),
    }
}

/// A sentence for the user.
fn message(error: &ApiError, pattern: &str) -> String {
    let plain = match error.code() {
        "not_found" => Cow::Borrowed("There is no such thing, or it is not yours."),
        "header_missing" => Cow::Borrowed("Please sign in first."),
        "wrong_credentials" if pattern == "/api/users/password" => Cow::Borrowed("The old password is wrong."),
        "rate_limited" => Cow::Borrowed("That was too fast. Please wait a moment and try again."),
        "csrf_token" => Cow::Borrowed("This request came from a page of another site."),
        _ => Cow::Owned(error.to_string()),
    };
    let mut letters = plain.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}

/// The answer that this error is on this route.
pub fn answer(error: &ApiError, pattern: &str) -> HttpResponse {
    let message = message(error, pattern);
    let mut body = json!({"code": number(error.code()), "message": message});
    if let (true, Value::Object(fields)) = (NESTED.contains(&pattern), &mut body) {
        fields.insert("response".into(), json!({"data": {"message": message}}));
    }
    let mut response = HttpResponse::build(status(error, pattern));
    if let Some(seconds) = error.waits_s() {
        response.insert_header(("Retry-After", seconds.to_string()));
    }
    response.json(body)
}

/// Puts an answer of a route of the dialect that is an error into the dialect's form.
pub fn in_dialect<B: MessageBody>(
    response: ServiceResponse<EitherBody<B>>,
    pattern: &str,
) -> ServiceResponse<EitherBody<B>> {
    let Some(error) = response.response().error() else { return response };
    let answer = match error.as_error::<ApiError>() {
        Some(error) => answer(error, pattern),
        None => {
            // Of the answer as it is: not every error has the status that it is answered with.
            let status = response.status();
            let text = if status.is_server_error() {
                "Something went wrong on our side."
            } else {
                "The request cannot be read."
            };
            answer(&ApiError::new(status, "invalid_body", text), pattern)
        }
    };
    let (request, _) = response.into_parts();
    ServiceResponse::new(request, answer).map_into_right_body()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::AuthError;
    use crate::domain::order::Reject;

    fn of(error: impl Into<ApiError>, pattern: &str) -> (u16, String, u8) {
        let error = error.into();
        (status(&error, pattern).as_u16(), message(&error, pattern), number(error.code()))
    }

    #[test]
    fn unauthorized_is_kept_for_sessions_and_sign_in() {
        assert_eq!(of(AuthError::WrongCredentials, "/api/users/accessToken").0, 401);
        assert_eq!(of(AuthError::WrongCredentials, "/api/users/token").0, 401);
        let old = of(AuthError::WrongCredentials, "/api/users/password");
        assert_eq!(old, (400, "The old password is wrong.".into(), 5));
        assert_eq!(of(AuthError::TokenExpired, "/api/orders").0, 401);
        assert_eq!(of(AuthError::TokenExpired, "/api/orders").2, 3);
        assert_eq!(of(AuthError::TokenRevoked, "/api/orders").2, 4);
        assert_eq!(of(AuthError::CsrfToken, "/api/orders").0, 403);
    }

    #[test]
    fn statuses_differ_where_the_dialect_says_so() {
        assert_eq!(of(Reject::OrderDone, "/api/orders/{id}").0, 409);
        assert_eq!(of(Reject::OrderNotFound, "/api/orders/{id}").0, 404);
        let id = || ApiError::bad_request("invalid_client_oid", "client_oid must be a UUID");
        assert_eq!((of(id(), "/api/orders/{id}").0, of(id(), "/api/orders").0), (404, 400));
        assert_eq!(of(Reject::SizeTooSmall, "/api/orders").1, "Size is too small");
    }
}
