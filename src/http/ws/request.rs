//! What a client of the feed may say.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

/// The channels that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Snapshot, then level changes.
    Level2,
    /// The same, gathered for a moment.
    Level2Batch,
    /// Trades.
    Matches,
    /// The last trade with statistics.
    Ticker,
    /// The same, at most every few seconds.
    TickerBatch,
    /// One message a second.
    Heartbeat,
    /// Every event.
    Full,
    /// The user's own orders and trades.
    User,
    /// The state of all products and currencies; it belongs to no product.
    Status,
}

impl Channel {
    /// All channels, in the order of their variants.
    pub const ALL: [Channel; 9] = [
        Channel::Level2,
        Channel::Level2Batch,
        Channel::Matches,
        Channel::Ticker,
        Channel::TickerBatch,
        Channel::Heartbeat,
        Channel::Full,
        Channel::User,
        Channel::Status,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Level2 => "level2",
            Channel::Level2Batch => "level2_batch",
            Channel::Matches => "matches",
            Channel::Ticker => "ticker",
            Channel::TickerBatch => "ticker_batch",
            Channel::Heartbeat => "heartbeat",
            Channel::Full => "full",
            Channel::User => "user",
            Channel::Status => "status",
        }
    }

    fn parse(name: &str) -> Option<Channel> {
        match name {
            "ticker_1000" => Some(Channel::TickerBatch),
            "level2_50" => Some(Channel::Level2Batch),
            name => Channel::ALL.into_iter().find(|channel| channel.name() == name),
        }
    }

    /// Whether single events of a market are sent, which must not be left out.
    pub fn is_of_events(self) -> bool {
        matches!(self, Channel::Matches | Channel::Full | Channel::User)
    }
}

#[derive(Debug, Deserialize)]
struct Raw<'a> {
    r#type: String,
    product_ids: Option<Vec<String>>,
    channels: Option<Vec<RawChannel>>,
    resume_from: Option<u64>,
    token: Option<String>,
    key: Option<String>,
    passphrase: Option<String>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    signature: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawChannel {
    Name(String),
    Object { name: String, product_ids: Option<Vec<String>>, resume_from: Option<u64> },
}

/// A request that was understood.
#[derive(Debug)]
pub struct Request {
    /// Whether to add or to remove.
    pub subscribe: bool,
    /// Channel and product symbol; a channel without products stands for all that it has.
    pub wanted: BTreeSet<(Channel, Option<String>)>,
    /// The sequence after which events of a product are wanted.
    pub resume_from: BTreeMap<String, u64>,
    /// Who the client says it is.
    pub credentials: Option<Credentials>,
}

/// How a client says who it is.
#[derive(Debug)]
pub enum Credentials {
    /// By an access token.
    Token(String),
    /// By a signature over `GET /users/self/verify`.
    Signature {
        /// The API key.
        key: String,
        /// The key's passphrase.
        passphrase: String,
        /// The literal text of the timestamp, whether it was a JSON string or a JSON number.
        timestamp: String,
        /// Base64 of the signature.
        signature: String,
    },
}

/// Why a request was refused: message and reason of the dialect.
pub type Refusal = (&'static str, String);

const FAILED: &str = "Failed to subscribe";

impl Request {
    /// Reads a text message.
    ///
    /// # Errors
    /// The refusal to send back; nothing changes then.
    pub fn parse(text: &str) -> Result<Request, Refusal> {
        let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| ("Malformed JSON", error.to_string()))?;
        let subscribe = match raw.r#type.as_str() {
            "subscribe" => true,
            "unsubscribe" => false,
            other => return Err(("Invalid message type", format!("{other:.40} is not a valid type"))),
        };
        let common = raw.product_ids.unwrap_or_default();
        let mut wanted = BTreeSet::new();
        let mut resume_from = BTreeMap::new();
        for channel in raw.channels.unwrap_or_default() {
            let (name, own, resume) = match channel {
                RawChannel::Name(name) => (name, None, None),
                RawChannel::Object { name, product_ids, resume_from } => (name, product_ids, resume_from),
            };
            let parsed = Channel::parse(&name).ok_or_else(|| (FAILED, format!("{name:.40} is not a valid channel")))?;
            if parsed == Channel::Status {
                wanted.insert((parsed, None));
                continue;
            }
            let products = own.unwrap_or_else(|| common.clone());
            if products.is_empty() {
                if subscribe {
                    return Err((FAILED, format!("{name:.40} needs product_ids")));
                }
                wanted.insert((parsed, None));
            }
            for product in products {
                if let Some(sequence) = resume.or(raw.resume_from).filter(|_| parsed.is_of_events()) {
                    resume_from.insert(product.clone(), sequence);
                }
                wanted.insert((parsed, Some(product)));
            }
        }
        if wanted.is_empty() {
            return Err((FAILED, "No channels provided".into()));
        }
        let credentials = match (raw.token.filter(|token| !token.is_empty()), raw.key) {
            (Some(token), _) => Some(Credentials::Token(token)),
            (None, Some(key)) => Some(Credentials::Signature {
                key,
                passphrase: raw.passphrase.unwrap_or_default(),
                timestamp: raw.timestamp.map(literal).unwrap_or_default(),
                signature: raw.signature.unwrap_or_default(),
            }),
            (None, None) => None,
        };
        Ok(Request { subscribe, wanted, resume_from, credentials })
    }
}

/// The text of a JSON string or number, as it was written.
fn literal(raw: &RawValue) -> String {
    serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_channels_are_read() {
        let text = r#"{"type":"subscribe","product_ids":["A-B"],"channels":["level2","status",
            {"name":"ticker_1000","product_ids":["C-D"]},{"name":"full","resume_from":7}]}"#;
        let request = Request::parse(text).unwrap();
        assert!(request.subscribe);
        let wanted: Vec<_> = request.wanted.iter().map(|(c, p)| (c.name(), p.as_deref())).collect();
        assert_eq!(
            wanted,
            [("level2", Some("A-B")), ("ticker_batch", Some("C-D")), ("full", Some("A-B")), ("status", None)]
        );
        assert_eq!(request.resume_from, BTreeMap::from([("A-B".into(), 7)]));
        for (index, channel) in Channel::ALL.into_iter().enumerate() {
            assert_eq!(channel as usize, index);
            assert_eq!(Channel::parse(channel.name()), Some(channel));
        }
    }

    #[test]
    fn the_text_of_a_timestamp_is_kept() {
        for (json, expected) in [
            ("1795341737", "1795341737"),
            ("1795341737.12", "1795341737.12"),
            ("1795341737.1200000001", "1795341737.1200000001"),
            ("\"1795341737.120\"", "1795341737.120"),
        ] {
            let text = format!(
                r#"{{"type":"subscribe","channels":["status"],"key":"k","passphrase":"p","timestamp":{json},"signature":"s"}}"#
            );
            match Request::parse(&text).unwrap().credentials {
                Some(Credentials::Signature { timestamp, .. }) => assert_eq!(timestamp, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn bad_requests_name_what_is_wrong() {
        let reason = |text: &str| Request::parse(text).unwrap_err();
        assert_eq!(reason("{").0, "Malformed JSON");
        assert_eq!(reason(r#"{"type":"hello"}"#).0, "Invalid message type");
        assert_eq!(reason(r#"{"type":"subscribe"}"#).1, "No channels provided");
        let unknown = r#"{"type":"subscribe","product_ids":["A-B"],"channels":["nope"]}"#;
        assert_eq!(reason(unknown).1, "nope is not a valid channel");
        let bare = r#"{"type":"subscribe","channels":["level2"]}"#;
        assert_eq!(reason(bare).1, "level2 needs product_ids");
    }
}
