//! What a client of the feed may say.

use serde::Deserialize;
use std::collections::BTreeSet;

/// The channels that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Snapshot, then level changes.
    Level2,
    /// The same under the older name.
    Level2Batch,
    /// Trades.
    Matches,
    /// The last trade with statistics.
    Ticker,
    /// One message a second.
    Heartbeat,
    /// The user's own orders and trades.
    User,
}

impl Channel {
    /// All channels.
    pub const ALL: [Channel; 6] =
        [Channel::Level2, Channel::Level2Batch, Channel::Matches, Channel::Ticker, Channel::Heartbeat, Channel::User];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Level2 => "level2",
            Channel::Level2Batch => "level2_batch",
            Channel::Matches => "matches",
            Channel::Ticker => "ticker",
            Channel::Heartbeat => "heartbeat",
            Channel::User => "user",
        }
    }

    fn parse(name: &str) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| channel.name() == name)
    }
}

#[derive(Debug, Deserialize)]
struct Raw {
    r#type: String,
    #[serde(default)]
    product_ids: Option<Vec<String>>,
    #[serde(default)]
    channels: Option<Vec<RawChannel>>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawChannel {
    Name(String),
    Object {
        name: String,
        #[serde(default)]
        product_ids: Option<Vec<String>>,
    },
}

/// A request that was understood.
#[derive(Debug)]
pub struct Request {
    /// Whether to add or to remove.
    pub subscribe: bool,
    /// Channel and product symbol; a channel without products stands for all that it has.
    pub wanted: BTreeSet<(Channel, Option<String>)>,
    /// An access token, if one came.
    pub token: Option<String>,
    /// Whether signed keys came, which this server does not know yet.
    pub signed: bool,
}

/// Why a request was refused: message and reason of the dialect.
pub type Refusal = (&'static str, String);

impl Request {
    /// Reads a text message.
    ///
    /// # Errors
    /// The refusal to send back; nothing changes then.
    pub fn parse(text: &str) -> Result<Request, Refusal> {
        let raw: Raw = serde_json::from_str(text).map_err(|error| ("Malformed JSON", error.to_string()))?;
        let subscribe = match raw.r#type.as_str() {
            "subscribe" => true,
            "unsubscribe" => false,
            other => return Err(("Invalid message type", format!("{other} is not a valid type"))),
        };
        let common = raw.product_ids.unwrap_or_default();
        let mut wanted = BTreeSet::new();
        for channel in raw.channels.unwrap_or_default() {
            let (name, own) = match channel {
                RawChannel::Name(name) => (name, None),
                RawChannel::Object { name, product_ids } => (name, product_ids),
            };
            let failed = || ("Failed to subscribe", format!("{name} is not a valid channel"));
            let parsed = Channel::parse(&name).ok_or_else(failed)?;
            let products = own.unwrap_or_else(|| common.clone());
            if products.is_empty() {
                if subscribe {
                    return Err(("Failed to subscribe", format!("{name} needs product_ids")));
                }
                wanted.insert((parsed, None));
            }
            wanted.extend(products.into_iter().map(|product| (parsed, Some(product))));
        }
        if wanted.is_empty() {
            return Err(("Failed to subscribe", "No channels provided".into()));
        }
        Ok(Request { subscribe, wanted, token: raw.token, signed: raw.key.is_some() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_channels_are_read() {
        let text = r#"{"type":"subscribe","product_ids":["A-B"],"channels":["level2",{"name":"ticker","product_ids":["C-D"]}]}"#;
        let request = Request::parse(text).unwrap();
        assert!(request.subscribe);
        let wanted: Vec<_> = request.wanted.into_iter().map(|(c, p)| (c.name(), p.unwrap())).collect();
        assert_eq!(wanted, [("level2", "A-B".to_string()), ("ticker", "C-D".to_string())]);
    }

    #[test]
    fn bad_requests_name_what_is_wrong() {
        let reason = |text: &str| Request::parse(text).unwrap_err();
        assert_eq!(reason("{").0, "Malformed JSON");
        assert_eq!(reason(r#"{"type":"hello"}"#).0, "Invalid message type");
        assert_eq!(reason(r#"{"type":"subscribe"}"#).1, "No channels provided");
        let unknown = r#"{"type":"subscribe","product_ids":["A-B"],"channels":["nope"]}"#;
        assert_eq!(reason(unknown).1, "nope is not a valid channel");
    }
}
