//! The message of the status channel: all products and currencies.

use crate::http::AppState;
use crate::http::v1::views::{CurrencyView, ProductView};
use bytestring::ByteString;
use serde_json::{Value, json};

fn with(view: Value, more: [(&str, Value); 2]) -> Value {
    let mut view = view;
    if let Value::Object(fields) = &mut view {
        fields.extend(more.map(|(key, value)| (key.to_owned(), value)));
    }
    view
}

/// The state of the venue now.
pub fn message(state: &AppState) -> ByteString {
    let products: Vec<Value> = state
        .trading
        .markets()
        .iter()
        .map(|market| serde_json::to_value(ProductView::new(market)).unwrap_or_default())
        .map(|view| with(view, [("type", json!("spot")), ("venue_stopped", json!(state.trading.is_stopped()))]))
        .collect();
    let currencies: Vec<Value> = state
        .trading
        .currencies()
        .iter()
        .map(|currency| {
            serde_json::to_value(CurrencyView::new(currency, &state.custody.networks(currency))).unwrap_or_default()
        })
        .map(|view| with(view, [("funding_account_id", json!("")), ("status_message", json!(""))]))
        .collect();
    json!({"type": "status", "products": products, "currencies": currencies}).to_string().into()
}

/// Whether two messages say the same.
pub fn same(one: &ByteString, other: &ByteString) -> bool {
    one == other
}
