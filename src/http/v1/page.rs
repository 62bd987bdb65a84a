//! Cursor pages: newest first, `CB-BEFORE` and `CB-AFTER` name the first and last item.

use crate::http::error::ApiError;
use actix_web::HttpResponse;
use serde::Serialize;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// The paging part of a query.
#[derive(Clone, Debug)]
pub struct PageQuery {
    /// How many items at most: 1 to 1000.
    pub limit: usize,
    /// Strictly older than this cursor.
    pub after: Option<String>,
    /// Strictly newer than this cursor.
    pub before: Option<String>,
}

impl PageQuery {
    /// A page of at most `limit` items between two cursors. Above 1000 is clamped, however large.
    ///
    /// # Errors
    /// 400 when the limit is not a whole number from 1 on.
    pub fn new(limit: Option<&str>, after: Option<String>, before: Option<String>) -> Result<PageQuery, ApiError> {
        let limit = match limit {
            None => DEFAULT_LIMIT,
            Some(text) => {
                let valid = text.bytes().all(|digit| digit.is_ascii_digit()) && text.bytes().any(|digit| digit != b'0');
                if !valid || text.len() > 30 {
                    return Err(ApiError::bad_request("invalid_limit", "limit must be a whole number from 1 on"));
                }
                text.parse().unwrap_or(MAX_LIMIT).min(MAX_LIMIT)
            }
        };
        Ok(PageQuery { limit, after, before })
    }

    /// The cursors as numbers: (older than, newer than).
    ///
    /// # Errors
    /// 400 when one is not a number.
    pub fn numbers(&self) -> Result<(Option<u64>, Option<u64>), ApiError> {
        let number = |cursor: &Option<String>| match cursor.as_deref() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_clamped_above_and_refused_below() {
        let limit = |text| PageQuery::new(Some(text), None, None).map(|page| page.limit).ok();
        assert_eq!(PageQuery::new(None, None, None).unwrap().limit, 100);
        assert_eq!((limit("1"), limit("1000"), limit("1001")), (Some(1), Some(1_000), Some(1_000)));
        assert_eq!(limit("184467440737095516150"), Some(1_000));
        assert_eq!((limit("0"), limit("-1"), limit("x"), limit("1.5"), limit(" 1")), (None, None, None, None, None));
    }
}
