//! Short links over HTTP: wire types, conversions, redirects and their pages.

pub mod admin;
pub mod bulk;
pub mod export;
pub mod import_body;
pub mod live;
mod pages;
mod qr;
pub mod rest;
pub mod stats;
mod texts;
pub mod visit;
mod wire;

use crate::actors::links::LinksError;
use crate::domain::link::LinkError;
use crate::http::error::ApiError;
use actix_web::http::StatusCode;

impl From<LinkError> for ApiError {
    fn from(error: LinkError) -> ApiError {
        ApiError::bad_request(error.code(), error.to_string())
    }
}

impl From<LinksError> for ApiError {
    fn from(error: LinksError) -> ApiError {
        let status = match &error {
            LinksError::Invalid(error) => return error.clone().into(),
            LinksError::Unknown => StatusCode::NOT_FOUND,
            LinksError::SlugTaken | LinksError::Changed => StatusCode::CONFLICT,
            LinksError::TooMany => StatusCode::FORBIDDEN,
            LinksError::Away | LinksError::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        };
        ApiError::new(status, error.code(), error.to_string())
    }
}
