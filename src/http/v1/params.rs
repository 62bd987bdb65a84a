//! The query of a request. Keys may repeat, unknown ones are ignored, an empty value is the same as none.

use super::page::PageQuery;
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::wire;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use std::future::{Ready, ready};
use std::str::FromStr;

/// All pairs of a query, decoded, in order.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the text after the question mark.
    ///
    /// # Errors
    /// 400 when it cannot be decoded.
    pub fn parse(text: &str) -> Result<Params, ApiError> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text)
            .map_err(|_| ApiError::bad_request("invalid_query", "the query cannot be read"))?;
        Ok(Params(pairs.into_inner()))
    }

    /// All values of a key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, value)| name == key && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// The last value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, value)| name == key && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// A whole number.
    ///
    /// # Errors
    /// 400 when the value is none, or out of range.
    pub fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, ApiError> {
        let invalid = |_| ApiError::bad_request("invalid_query", format!("{key} is not a valid number"));
        self.get(key).map(|text| text.parse().map_err(invalid)).transpose()
    }

    /// A moment.
    ///
    /// # Errors
    /// 400 when the value is none.
    pub fn time(&self, key: &str) -> Result<Option<Timestamp>, ApiError> {
        self.get(key).map(|text| wire::parse_time(text, key)).transpose()
    }

    /// One of these words.
    ///
    /// # Errors
    /// 400 for another one.
    pub fn word<'a>(&'a self, key: &str, words: &[&str]) -> Result<Option<&'a str>, ApiError> {
        match self.get(key) {
            Some(word) if !words.contains(&word) => {
                Err(ApiError::bad_request("invalid_query", format!("{key} must be one of {}", words.join(", "))))
            }
            word => Ok(word),
        }
    }

    /// The paging part.
    ///
    /// # Errors
    /// 400 when `limit` is not a number from 1 on.
    pub fn page(&self) -> Result<PageQuery, ApiError> {
        let text = |key| self.get(key).map(str::to_owned);
        PageQuery::new(self.get("limit"), text("after"), text("before"))
    }
}

impl FromRequest for Params {
    type Error = ApiError;
    type Future = Ready<Result<Params, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Params::parse(request.query_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_repeat_and_empty_values_do_not_count() {
        let params = Params::parse("status=open&status=pending&limit=&x&limit=5&start=2026-01-01T00%3A00:00Z").unwrap();
        assert_eq!(params.all("status").collect::<Vec<_>>(), ["open", "pending"]);
        assert_eq!((params.get("x"), params.get("limit")), (None, Some("5")));
        assert_eq!(params.number::<u8>("limit").unwrap(), Some(5));
        assert_eq!(params.time("start").unwrap(), Some(Timestamp(1_767_225_600_000_000)));
        assert!(params.number::<u8>("status").is_err());
        assert!(params.word("status", &["done"]).is_err());
        assert_eq!(params.word("none", &["done"]).unwrap(), None);
    }
}
