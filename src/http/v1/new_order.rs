//! The body of `POST /orders`: read strictly, exactly, and by literal text.

use crate::actors::trading::Market;
use crate::domain::ids::{AccountId, Ticket};
use crate::domain::money::{Amount, Ppm, Size, parse_decimal};
use crate::domain::order::{Kind, NewOrder, SelfTrade, Side, Stop, TimeInForce, Trigger};
use crate::domain::time::{DAY, HOUR, MINUTE, Timestamp};
use crate::http::error::ApiError;
use crate::http::exchange::orders::parse_client_id;
use crate::http::wire;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The fields as they come; `null` is the same as absent, unknown ones are ignored.
#[derive(Debug, Default, Deserialize)]
pub struct NewOrderBody<'a> {
    pub(in crate::http) r#type: Option<String>,
    pub(in crate::http) side: Option<String>,
    /// The market's symbol.
    pub product_id: Option<String>,
    #[serde(borrow)]
    pub(in crate::http) price: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::http) size: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::http) funds: Option<&'a RawValue>,
    pub(in crate::http) time_in_force: Option<String>,
    pub(in crate::http) cancel_after: Option<String>,
    /// Ours: the exact moment of a GTT order's end.
    pub(in crate::http) expire_time: Option<String>,
    pub(in crate::http) post_only: Option<bool>,
    pub(in crate::http) stop: Option<String>,
    #[serde(borrow)]
    pub(in crate::http) stop_price: Option<&'a RawValue>,
    pub(in crate::http) stp: Option<String>,
    pub(in crate::http) client_oid: Option<String>,
    pub(in crate::http) profile_id: Option<String>,
    #[serde(borrow)]
    pub(in crate::http) max_floor: Option<&'a RawValue>,
}

impl<'a> NewOrderBody<'a> {
    /// Reads the JSON text.
    ///
    /// # Errors
    /// 400 when it is not a JSON object of these fields.
    pub fn parse(body: &'a [u8]) -> Result<NewOrderBody<'a>, ApiError> {
        serde_json::from_slice(body)
            .map_err(|error| ApiError::bad_request("invalid_body", format!("the body is not a valid order: {error}")))
    }

    /// Refuses a profile that is not the caller's.
    ///
    /// # Errors
    /// 403.
    pub fn check_profile(&self, account: AccountId) -> Result<(), ApiError> {
        super::profiles::check(self.profile_id.as_deref(), account)
    }

    /// The order that it asks for in this market.
    ///
    /// # Errors
    /// 400 that names the first field that is wrong.
    pub fn into_order(self, account: AccountId, market: &Market) -> Result<NewOrder, ApiError> {
        let config = &market.config;
        let side = match self.side.as_deref() {
            Some("buy") => Side::Buy,
            Some("sell") => Side::Sell,
            _ => return Err(ApiError::bad_request("invalid_side", "side must be buy or sell")),
        };
        let size = self.size.map(|raw| wire::parse_size(raw, config)).transpose()?;
        let shows_all = |shown| {
            let shown = wire::parse_size(shown, config);
            size.is_some_and(|size| shown.is_ok_and(|shown| shown >= size))
        };
        if self.max_floor.is_some_and(|shown| !shows_all(shown)) {
            // Taken for an order like any other it would show what its owner wants hidden.
            let message = "max_floor: orders that show only a part of their size are not supported";
            return Err(ApiError::bad_request("max_floor_unsupported", message));
        }
        let kind = match self.r#type.as_deref().unwrap_or("limit") {
            "limit" => self.limit(market)?,
            "market" => self.market(market)?,
            other => {
                let shown: String = other.chars().take(32).collect();
                return Err(ApiError::bad_request("invalid_order_type", format!("Invalid order_type {shown}")));
            }
        };
        let stop = self.stop(side, market)?;
        let self_trade = match self.stp.as_deref() {
            None | Some("dc") => SelfTrade::DecrementAndCancel,
            Some("co") => SelfTrade::CancelOldest,
            Some("cn") => SelfTrade::CancelNewest,
            Some("cb") => SelfTrade::CancelBoth,
            Some(_) => return Err(ApiError::bad_request("invalid_stp", "stp must be dc, co, cn or cb")),
        };
        Ok(NewOrder {
            ticket: Ticket(0),
            account,
            client_id: self.client_oid.as_deref().map(parse_client_id).transpose()?,
            side,
            kind,
            size: size.unwrap_or(Size::ZERO),
            stop,
            self_trade,
            maker_fee: Ppm(0),
            taker_fee: Ppm(0),
            hold: Amount::ZERO,
        })
    }

    fn limit(&self, market: &Market) -> Result<Kind, ApiError> {
        let price = self.price.ok_or_else(|| ApiError::bad_request("price_required", "price is required"))?;
        let price = wire::parse_price(price, &market.config, "price")?;
        if self.funds.is_some() {
            return Err(ApiError::bad_request("funds_not_allowed", "funds are for market orders"));
        }
        let lifetime = self.lifetime()?;
        let at = self.expire_time.as_deref().map(|text| wire::parse_time(text, "expire_time")).transpose()?;
        let at = at.map(|at| TimeInForce::GoodTillTime(at.max(Timestamp::ZERO)));
        let lifetime = match (lifetime, at) {
            (Some(_), Some(_)) => {
                let message = "an order has cancel_after or expire_time, not both";
                return Err(ApiError::bad_request("invalid_cancel_after", message));
            }
            (lifetime, at) => lifetime.or(at),
        };
        let time_in_force = match (self.time_in_force.as_deref().unwrap_or("GTC"), lifetime) {
            ("GTC", None) => TimeInForce::GoodTillCanceled,
            ("GTT", Some(until)) => until,
            ("IOC", None) => TimeInForce::ImmediateOrCancel,
            ("FOK", None) => TimeInForce::FillOrKill,
            ("GTC" | "GTT" | "IOC" | "FOK", _) => {
                return Err(ApiError::bad_request(
                    "invalid_cancel_after",
                    "cancel_after or expire_time goes with GTT, and GTT needs one of them",
                ));
            }
            _ => {
                let message = "time_in_force must be GTC, GTT, IOC or FOK";
                return Err(ApiError::bad_request("invalid_time_in_force", message));
            }
        };
        Ok(Kind::Limit { price, time_in_force, post_only: self.post_only.unwrap_or(false) })
    }

    /// How long the order lives by its `cancel_after`.
    fn lifetime(&self) -> Result<Option<TimeInForce>, ApiError> {
        Ok(match self.cancel_after.as_deref() {
            None => None,
            Some("min") => Some(TimeInForce::good_for(MINUTE)),
            Some("hour") => Some(TimeInForce::good_for(HOUR)),
            Some("day") => Some(TimeInForce::good_for(DAY)),
            Some(_) => {
                return Err(ApiError::bad_request("invalid_cancel_after", "cancel_after must be min, hour or day"));
            }
        })
    }

    fn market(&self, market: &Market) -> Result<Kind, ApiError> {
        if self.post_only == Some(true) {
            return Err(ApiError::bad_request("post_only_cannot_rest", "a market order cannot be post only"));
        }
        // Whoever says one of these expects something that a market order does not do. But clients that have a field
        // for each, and fill it in whatever the order is, say that the price is zero.
        if self.price.is_some_and(|price| !is_zero(price)) {
            return Err(ApiError::bad_request("price_not_allowed", "price is for limit orders"));
        }
        if self.expire_time.is_some() {
            return Err(ApiError::bad_request("invalid_cancel_after", "expire_time is for limit orders"));
        }
        // By then it is over anyway; only what is no such word is refused.
        self.lifetime()?;
        // What it cannot fill at once is canceled, so it says the same of these.
        if self.time_in_force.as_deref().is_some_and(|word| !matches!(word, "GTC" | "IOC")) {
            let message = "time_in_force of a market order must be GTC or IOC";
            return Err(ApiError::bad_request("invalid_time_in_force", message));
        }
        let funds = self.funds.map(|raw| wire::parse_funds(raw, market)).transpose()?;
        Ok(Kind::Market { funds })
    }

    fn stop(&self, side: Side, market: &Market) -> Result<Option<Stop>, ApiError> {
        let price = self.stop_price.map(|raw| wire::parse_price(raw, &market.config, "stop_price")).transpose()?;
        let trigger = match (self.stop.as_deref(), side) {
            (Some("loss"), _) | (None, Side::Sell) => Trigger::Loss,
            (Some("entry"), _) | (None, Side::Buy) => Trigger::Entry,
            (Some(_), _) => return Err(ApiError::bad_request("bad_stop", "stop must be loss or entry")),
        };
        match (price, &self.stop) {
            (Some(price), _) => Ok(Some(Stop { trigger, price })),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(ApiError::bad_request("bad_stop", "stop needs a stop_price")),
        }
    }
}

/// Whether this is the number zero, however it is written.
fn is_zero(raw: &RawValue) -> bool {
    wire::decimal_text(raw, "price").is_ok_and(|text| parse_decimal(&text, 0) == Ok(0))
}
