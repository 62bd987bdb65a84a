//! The shapes of this dialect's answers, shared by REST and socket.

use crate::actors::trading::Market;
use crate::domain::ids::OrderId;
use crate::domain::money::Amount;
use crate::domain::order::{Kind, OrderRecord, Side, Status};
use crate::domain::time::Timestamp;
use crate::http::v1::views::side;
use crate::http::{ids, wire};
use crate::persistence::users::User;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// The picture of those who have none.
pub const DEFAULT_PHOTO: &str = "/api/files/default";

/// ISO 8601 in UTC, with milliseconds.
pub fn time(at: Timestamp) -> String {
    wire::time(Timestamp(at.0.div_euclid(1_000) * 1_000))
}

/// A user. A name and a picture are always there, also where a provider told neither name nor address.
pub fn user(user: &User, has_second_factor: bool) -> Value {
    let local = user.email.split('@').next().unwrap_or_default();
    let name = [user.name.as_str(), local].into_iter().find(|name| !name.is_empty()).unwrap_or("user");
    json!({
        "id": ids::user(user.id),
        "email": user.email,
        "name": name,
        "profilePhoto": if user.photo.is_empty() { DEFAULT_PHOTO } else { &user.photo },
        "createdAt": time(user.created_at),
        "band": user.frozen,
        "isBand": user.frozen,
        "twoStepVerificationType": if has_second_factor { "totp" } else { "none" },
    })
}

/// What REST and socket tell of an order alike.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderFields {
    id: Uuid,
    client_oid: Option<Uuid>,
    price: String,
    size: String,
    funds: String,
    product_id: String,
    side: &'static str,
    created_at: String,
    fill_fees: String,
    filled_size: String,
    executed_value: String,
    status: &'static str,
    settled: bool,
}

/// An order of the REST API.
#[derive(Debug, Serialize)]
pub struct Order {
    #[serde(flatten)]
    fields: OrderFields,
    r#type: &'static str,
}

impl Order {
    /// The order as it stands.
    pub fn new(market: &Market, record: &OrderRecord) -> Order {
        Order { fields: OrderFields::new(market, record), r#type: kind(record) }
    }
}

/// `limit` or `market`.
pub fn kind(record: &OrderRecord) -> &'static str {
    match record.kind {
        Kind::Limit { .. } => "limit",
        Kind::Market { .. } => "market",
    }
}

/// The front end knows three words, and offers to cancel for the first alone.
fn status(status: Status) -> &'static str {
    match status {
        Status::Open | Status::Active => "open",
        Status::Done(reason, _) if reason.is_filled() => "filled",
        Status::Done(..) => "cancelled",
    }
}

impl OrderFields {
    /// The order as it stands.
    pub fn new(market: &Market, record: &OrderRecord) -> OrderFields {
        let config = &market.config;
        let (price, funds) = match record.kind {
            Kind::Limit { price, .. } => (wire::price(price, config), market.scale.quote(price, record.size)),
            // The front end prints MARKET for a price of 0.
            Kind::Market { funds } => ("0".to_owned(), funds.unwrap_or(Amount::ZERO)),
        };
        let size = match (record.kind, record.side) {
            (Kind::Market { .. }, Side::Buy) => record.filled,
            _ => record.size,
        };
        OrderFields {
            id: order_id(market, record.id),
            client_oid: record.client_id.map(|id| Uuid::from_u128(id.0)),
            price,
            size: wire::size(size, config),
            funds: wire::amount(funds, &market.quote),
            product_id: config.symbol.clone(),
            side: side(record.side),
            created_at: time(record.created_at),
            fill_fees: wire::amount(record.fees, &market.quote),
            filled_size: wire::size(record.filled, config),
            executed_value: wire::amount(record.executed, &market.quote),
            status: status(record.status),
            settled: record.is_done(),
        }
    }
}

/// The outward id of an order.
pub fn order_id(market: &Market, id: OrderId) -> Uuid {
    ids::order(market.id, id)
}
