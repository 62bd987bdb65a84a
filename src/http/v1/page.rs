//! Cursor pages: newest first, `CB-BEFORE` and `CB-AFTER` name the first and last item.

use crate::http::error::ApiError;
use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// The paging part of a query.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PageQuery {
    /// 1 to 1000; above is clamped.
    pub limit: Option<usize>,
    /// Strictly older than this cursor.
    pub after: Option<String>,
    /// Strictly newer than this cursor.
    pub before: Option<String>,
}

impl PageQuery {
    /// How many items at most.
    ///
    /// # Errors
    /// 400 for zero.
    pub fn limit(&self) -> Result<usize, ApiError> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            0 => Err(ApiError::bad_request("invalid_limit", "limit must be at least 1")),
            limit => Ok(limit.min(MAX_LIMIT)),
        }
    }

    /// The cursors as trade numbers: (older than, newer than).
    ///
    /// # Errors
    /// 400 when one is not a number.
    pub fn numbers(&self) -> Result<(Option<u64>, Option<u64>), ApiError> {
        let number = |cursor: &Option<String>| match cursor.as_deref().filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| invalid_cursor()),
        };
        Ok((number(&self.after)?, number(&self.before)?))
    }
}

/// 400 for a cursor that this server did not give out.
pub fn invalid_cursor() -> ApiError {
    ApiError::bad_request("invalid_cursor", "the cursor is not valid")
}

/// A page with the cursors of its first and last item; an empty page has none.
pub fn answer<T: Serialize>(items: &[T], cursors: Option<(String, String)>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    if let Some((first, last)) = cursors {
        response.insert_header(("CB-BEFORE", first)).insert_header(("CB-AFTER", last));
    }
    response.json(items)
}
