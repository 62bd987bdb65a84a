//! Every error that leaves the program over HTTP: a status, a message for people, a stable code.

use crate::actors::trading::{Refused, Unavailable};
use crate::auth::AuthError;
use crate::domain::admission::Known;
use crate::domain::order::Reject;
use crate::persistence::db::DbError;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;

/// Seconds after which an overloaded or recovering server is worth another try.
const RETRY_AFTER_S: u32 = 1;

/// An error answer: `{"message": …, "code": …}`.
#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    message: Cow<'static, str>,
    code: &'static str,
    retry_after_s: Option<u32>,
    part: Option<u32>,
}

#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u32>,
}

impl ApiError {
    /// An error with this status, message and code.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> ApiError {
        let retry_after_s = if status == StatusCode::SERVICE_UNAVAILABLE { Some(RETRY_AFTER_S) } else { None };
        ApiError { status, message: message.into(), code, retry_after_s, part: None }
    }

    /// 400.
    pub fn bad_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 429, worth another try after so many seconds.
    pub fn rate_limited(message: &'static str, retry_after_s: i64) -> ApiError {
        let mut error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message);
        error.retry_after_s = u32::try_from(retry_after_s.max(1)).ok();
        error
    }

    /// The same with a time after which another try is worth while, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> ApiError {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The same, said of one part of an atomic batch.
    #[must_use]
    pub fn of_part(mut self, part: u32) -> ApiError {
        self.part = Some(part);
        self
    }

    /// The part of an atomic batch that it is about, if it is about one.
    pub fn part(&self) -> Option<u32> {
        self.part
    }

    /// Seconds after which another try is worth while, if waiting helps.
    pub fn waits_s(&self) -> Option<u32> {
        self.retry_after_s
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// 404 with the dialect's text.
    pub fn not_found() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "not_found", "NotFound")
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after_s {
            response.insert_header(("Retry-After", seconds.to_string()));
        }
        response.json(Body { message: &self.message, code: self.code, part: self.part })
    }
}

impl From<Reject> for ApiError {
    fn from(reject: Reject) -> ApiError {
        let status = match reject {
            Reject::OrderNotFound => StatusCode::NOT_FOUND,
            Reject::AccountFrozen | Reject::UnknownAccount => StatusCode::FORBIDDEN,
            Reject::MarketHalted
            | Reject::CancelOnly
            | Reject::PriceOutOfRange
            | Reject::SizeRequired
            | Reject::FundsRequired
            | Reject::PostOnlyCannotRest
            | Reject::BadStop
            | Reject::AlreadyExpired
            | Reject::LimitOnly
            | Reject::PostOnlyMode
            | Reject::SizeTooSmall
            | Reject::SizeTooLarge
            | Reject::FundsTooSmall
            | Reject::FundsTooLarge
            | Reject::PriceOutsideBand
            | Reject::TooManyOpenOrders
            | Reject::InsufficientFunds
            | Reject::HoldTooSmall
            | Reject::PostOnlyWouldTake
            | Reject::OrderDone
            | Reject::BadAmend
            | Reject::AmendWouldTake
            | Reject::BadBatch
            | Reject::KillSwitch
            | Reject::AuctionOnly
            | Reject::BadPhase
            | Reject::BadConfig => StatusCode::BAD_REQUEST,
        };
        ApiError::new(status, reject.code(), reject.to_string())
    }
}

impl From<Unavailable> for ApiError {
    fn from(why: Unavailable) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, why.code(), why.to_string())
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> ApiError {
        match refused {
            Refused::Reject(reject) => reject.into(),
            Refused::Unavailable(why) => why.into(),
            // The same order is on its way still: asking again a little later gives its outcome.
            Refused::Repeat(_) => Unavailable::OutcomeUnknown.into(),
            Refused::Part(part, reject) => ApiError::from(reject).of_part(part),
            // So is the batch that took the id first, and it may do nothing yet; or nobody knows whose the id is.
            Refused::PartRepeat(_, Known::InFlight | Known::Forgotten) => Unavailable::OutcomeUnknown.into(),
            Refused::PartRepeat(part, Known::Order(..)) => {
                ApiError::bad_request("client_oid_taken", "the client_oid of a part is taken").of_part(part)
            }
            Refused::Changed => ApiError::new(StatusCode::CONFLICT, "market_changed", refused.to_string()),
        }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> ApiError {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = ApiError::new(status, error.code(), error.to_string());
        answer.retry_after_s = error.retry_after_s();
        answer
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> ApiError {
        match error {
            DbError::NulCharacter => AuthError::NulCharacter.into(),
            DbError::Unavailable(_)
            | DbError::Taken
            | DbError::Query(_)
            | DbError::Migration(_)
            | DbError::Version(_) => {
                tracing::error!(%error, "a query failed");
                let message = "history is out of reach, please retry";
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "history_unavailable", message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{MarketId, OrderId};

    /// `client_oid_taken` tells whoever asks again that the whole batch was done.
    #[test]
    fn a_batch_that_is_on_its_way_is_not_said_to_be_done() {
        for known in [Known::InFlight, Known::Forgotten] {
            let answer = ApiError::from(Refused::PartRepeat(1, known));
            assert_eq!((answer.status_code(), answer.code()), (StatusCode::SERVICE_UNAVAILABLE, "outcome_unknown"));
            assert!(answer.waits_s().is_some() && answer.part().is_none());
        }
        let done = ApiError::from(Refused::PartRepeat(1, Known::Order(MarketId(0), OrderId::default())));
        assert_eq!(
            (done.status_code(), done.code(), done.part()),
            (StatusCode::BAD_REQUEST, "client_oid_taken", Some(1))
        );
    }
}
