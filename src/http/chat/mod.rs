//! Chat over HTTP and WebSocket: wire types, conversions, routes.

pub mod images;
mod requests;
pub mod rest;
pub mod socket;
mod wire;

use crate::actors::chat::{Away, Refused};
use crate::domain::chat::ChatReject;
use crate::http::error::ApiError;
use actix_web::http::StatusCode;
use std::borrow::Cow;

impl From<ChatReject> for ApiError {
    fn from(reject: ChatReject) -> ApiError {
        let status = match reject {
            ChatReject::UnknownRoom | ChatReject::UnknownMessage | ChatReject::NotAMember => StatusCode::NOT_FOUND,
            ChatReject::NotAllowed
            | ChatReject::Banned
            | ChatReject::Muted
            | ChatReject::RankTooHigh
            | ChatReject::NotYours
            | ChatReject::NotFriends
            | ChatReject::Blocked => StatusCode::FORBIDDEN,
            ChatReject::RoomExists
            | ChatReject::AlreadyMember
            | ChatReject::AlreadyFriends
            | ChatReject::OwnerStays
            | ChatReject::NoRequest
            | ChatReject::RoomClosed
            | ChatReject::ClientIdTaken => StatusCode::CONFLICT,
            ChatReject::SlowMode => StatusCode::TOO_MANY_REQUESTS,
            ChatReject::RoomFull
            | ChatReject::BadInvite
            | ChatReject::TooManyInvites
            | ChatReject::TooManyBans
            | ChatReject::Empty
            | ChatReject::TooLong
            | ChatReject::TooMany
            | ChatReject::Invalid => StatusCode::BAD_REQUEST,
        };
        ApiError::new(status, reject.code(), reject.to_string())
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> ApiError {
        let message: Cow<'static, str> = refused.to_string().into();
        let status = match &refused {
            Refused::Reject(reject) => return (*reject).into(),
            Refused::TooFast { retry_after_s } => {
                return ApiError::new(StatusCode::TOO_MANY_REQUESTS, refused.code(), message)
                    .retry_after(*retry_after_s);
            }
            Refused::Filtered(_) | Refused::TooManyRooms => StatusCode::BAD_REQUEST,
            Refused::Starting | Refused::Overloaded | Refused::LogRefused | Refused::Away | Refused::OutcomeUnknown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        ApiError::new(status, refused.code(), message)
    }
}

impl From<Away> for ApiError {
    fn from(away: Away) -> ApiError {
        Refused::from(away).into()
    }
}
