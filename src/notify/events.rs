//! What users can be told of.

use serde_json::Value;
use std::fmt::Write;

/// One kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Sign-ins, other passwords, keys, second factors.
    Security,
    /// An order of the user's was filled, whole or in part.
    Fill,
    /// Money came in or went out.
    Transfer,
    /// A price that the user waits for was traded.
    PriceAlert,
}

impl EventKind {
    /// All of them.
    pub const ALL: [EventKind; 4] = [EventKind::Security, EventKind::Fill, EventKind::Transfer, EventKind::PriceAlert];

    /// The name on the wire and in the database.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Security => "security",
            EventKind::Fill => "fill",
            EventKind::Transfer => "transfer",
            EventKind::PriceAlert => "price_alert",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// These kinds, each once, in the order of [`EventKind::ALL`].
    pub fn each_once(kinds: &[EventKind]) -> Vec<EventKind> {
        EventKind::ALL.into_iter().filter(|kind| kinds.contains(kind)).collect()
    }

    /// Subject and text of a message to people.
    pub fn message(self, payload: &Value) -> (String, String) {
        let field = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
        let subject = match self {
            EventKind::Security => format!("Your account: {}", field("action").replace('_', " ")),
            EventKind::Fill => format!("{} {} {} filled", field("side"), field("size"), field("product_id")),
            EventKind::Transfer => format!("{} {}", field("amount"), field("currency")),
            EventKind::PriceAlert => format!("{} is at {}", field("product_id"), field("price")),
        };
        let mut text = format!("{subject}\n\n");
        for (name, value) in payload.as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            // Writing to a text never fails.
            let _ = writeln!(text, "{}: {value}", name.replace('_', " "));
        }
        (subject, text)
    }
}
