//! What a client of the socket may say. Unknown types, channels, ids and fields are ignored.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// The channels of products of which something is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// The last trade with statistics.
    Ticker,
    /// Snapshot, then level changes.
    Level2,
    /// Trades.
    Match,
    /// Single orders: taken in, opened, done.
    Full,
    /// The user's own orders.
    Order,
}

impl Channel {
    /// All of them, in the order of their variants.
    pub const ALL: [Channel; 5] = [Channel::Ticker, Channel::Level2, Channel::Match, Channel::Full, Channel::Order];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Ticker => "ticker",
            Channel::Level2 => "level2",
            Channel::Match => "match",
            Channel::Full => "full",
            Channel::Order => "order",
        }
    }
}

/// A message of a client, as far as it is understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Whether something is wanted or not wanted any more; otherwise it is about nothing but `ping`.
    pub change: Option<Change>,
    /// Whether an answer to a ping is wanted.
    pub ping: bool,
    /// Who the client says that it is; may be empty or nonsense.
    pub token: String,
}

/// Which subscriptions are to begin or to end.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// Begin or end.
    pub subscribe: bool,
    /// Channels of products.
    pub channels: BTreeSet<Channel>,
    /// Channels of candles by name: nothing is ever sent of them.
    pub candles: BTreeSet<String>,
    /// Whether balances are meant.
    pub funds: bool,
    /// Symbols.
    pub products: Vec<String>,
    /// Codes.
    pub currencies: Vec<String>,
}

/// Names of candle channels that a connection may have; further ones are ignored like any unknown channel.
pub const MOST_CANDLE_CHANNELS: usize = 16;

#[derive(Deserialize)]
struct Raw {
    r#type: Option<Value>,
    product_ids: Option<Value>,
    currency_ids: Option<Value>,
    channels: Option<Value>,
    token: Option<Value>,
}

/// The texts of a list; what is no text is left out.
fn texts(value: Option<Value>) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => items.into_iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

impl Request {
    /// Reads a message; `None` when it is no JSON object.
    pub fn parse(text: &str) -> Option<Request> {
        let raw: Raw = serde_json::from_str(text).ok()?;
        let word = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
        let kind = word(raw.r#type);
        let token = word(raw.token);
        let subscribe = kind == "subscribe";
        if !subscribe && kind != "unsubscribe" {
            return Some(Request { ping: kind == "ping", token, ..Request::default() });
        }
        let names = texts(raw.channels);
        let has = |name: &str| names.iter().any(|one| one == name);
        let is_candle = |name: &&String| name.as_str() == "candles" || name.starts_with("candles_");
        let candles = names.iter().filter(is_candle).filter(|name| name.len() <= 32).take(MOST_CANDLE_CHANNELS);
        let change = Change {
            subscribe,
            channels: Channel::ALL.into_iter().filter(|channel| has(channel.name())).collect(),
            candles: candles.cloned().collect(),
            funds: has("funds"),
            products: texts(raw.product_ids),
            currencies: texts(raw.currency_ids),
        };
        // The reference takes `ping` for a channel.
        Some(Request { change: Some(change), ping: has("ping"), token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_ignored() {
        let text = r#"{"type":"subscribe","name":"level2","product_ids":["A-B",7],"currency_ids":["B"],"extra":[{}],
            "channels":["match","nope","candles_60",{"name":"level2"},"funds"],"token":"t"}"#;
        let request = Request::parse(text).unwrap();
        assert_eq!(request.token, "t");
        let change = request.change.unwrap();
        assert!(change.subscribe && change.funds && !request.ping);
        assert_eq!(change.channels, BTreeSet::from([Channel::Match]));
        assert_eq!(change.candles, BTreeSet::from(["candles_60".to_owned()]));
        assert_eq!((change.products, change.currencies), (vec!["A-B".to_owned()], vec!["B".to_owned()]));
    }

    #[test]
    fn a_ping_is_one_as_type_and_as_channel() {
        assert!(Request::parse(r#"{"type":"ping"}"#).unwrap().ping);
        assert!(Request::parse(r#"{"type":"subscribe","channels":["ping"]}"#).unwrap().ping);
        for other in [r#"{"type":"hello"}"#, r#"{}"#, r#"{"type":7,"channels":"x"}"#] {
            assert_eq!(Request::parse(other), Some(Request::default()), "{other}");
        }
        for broken in ["", "{", "[]", "7"] {
            assert_eq!(Request::parse(broken), None, "{broken}");
        }
    }
}
