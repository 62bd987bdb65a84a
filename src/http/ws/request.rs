//! What a client of the feed may say.

use serde::Deserialize;
use serde_json::Value;
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
    /// The sequence after which events of a product are wanted, whichever channels of it are read.
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

/// Why a request was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What failed, in the dialect's words.
    pub message: &'static str,
    /// Why.
    pub reason: String,
    /// The same for programs; it does not change.
    pub code: &'static str,
}

impl Refusal {
    /// Of a subscription, of which nothing is done.
    pub fn of_subscription(code: &'static str, reason: impl Into<String>) -> Refusal {
        Refusal { message: "Failed to subscribe", reason: reason.into(), code }
    }

    fn of_type(kind: &str) -> Refusal {
        let reason = format!("{kind:.40} is not a valid type");
        Refusal { message: "Invalid message type", reason, code: "invalid_type" }
    }

    fn of_channel(name: &str) -> Refusal {
        Refusal::of_subscription("invalid_channel", format!("{name:.40} is not a valid channel"))
    }
}

impl Request {
    /// Reads a text message.
    ///
    /// # Errors
    /// The refusal to send back; nothing changes then.
    pub fn parse(text: &str) -> Result<Request, Refusal> {
        let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| unreadable(text, &error))?;
        let subscribe = match raw.r#type.as_str() {
            "subscribe" => true,
            "unsubscribe" => false,
            other => return Err(Refusal::of_type(other)),
        };
        let common = raw.product_ids.unwrap_or_default();
        let mut wanted = BTreeSet::new();
        let mut resume_from = BTreeMap::new();
        for channel in raw.channels.unwrap_or_default() {
            let (name, own, resume) = match channel {
                RawChannel::Name(name) => (name, None, None),
                RawChannel::Object { name, product_ids, resume_from } => (name, product_ids, resume_from),
            };
            let parsed = Channel::parse(&name).ok_or_else(|| Refusal::of_channel(&name))?;
            if parsed == Channel::Status {
                wanted.insert((parsed, None));
                continue;
            }
            let products = own.unwrap_or_else(|| common.clone());
            if products.is_empty() {
                if subscribe {
                    let reason = format!("{name:.40} needs product_ids");
                    return Err(Refusal::of_subscription("product_ids_missing", reason));
                }
                wanted.insert((parsed, None));
            }
            for product in products {
                // The events of a product come in one order, whatever channels they are of. From the greater one of two
                // positions some would be left out, and from the smaller one some would come again.
                if let Some(sequence) = resume.or(raw.resume_from).filter(|_| subscribe && parsed.is_of_events())
                    && *resume_from.entry(product.clone()).or_insert(sequence) != sequence
                {
                    let reason = format!("the channels of {product:.40} have to resume from the same sequence");
                    return Err(Refusal::of_subscription("resume_from_differs", reason));
                }
                wanted.insert((parsed, Some(product)));
            }
        }
        if wanted.is_empty() {
            return Err(Refusal::of_subscription("channels_missing", "No channels provided"));
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

/// Why a message is none of ours: it is no JSON, or something in it is not what it has to be.
fn unreadable(text: &str, error: &serde_json::Error) -> Refusal {
    // It may name a value of the message as a whole.
    let reason = error.to_string();
    let reason = format!("{reason:.200}");
    let Ok(message) = serde_json::from_str::<Value>(text) else {
        return Refusal { message: "Malformed JSON", reason, code: "malformed_json" };
    };
    match message.get("type") {
        Some(Value::String(kind)) if matches!(kind.as_str(), "subscribe" | "unsubscribe") => {}
        Some(Value::String(kind)) => return Refusal::of_type(kind),
        Some(other) => return Refusal::of_type(&other.to_string()),
        None => return Refusal::of_type("null"),
    }
    let mut channels = message.get("channels").and_then(Value::as_array).into_iter().flatten();
    match channels.find(|channel| RawChannel::deserialize(*channel).is_err()) {
        Some(odd) => Refusal::of_channel(&odd.to_string()),
        None => Refusal::of_subscription("invalid_body", reason),
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
        let refused = |text: &str| Request::parse(text).unwrap_err();
        for text in ["", "{", r#"{"type":subscribe}"#, r#"{"type":"subscribe"} {}"#] {
            assert_eq!((refused(text).message, refused(text).code), ("Malformed JSON", "malformed_json"), "{text}");
        }
        for (text, kind) in [
            (r#"{"type":"hello"}"#, "hello"),
            (r#"{"type":"hello","channels":[7]}"#, "hello"),
            (r#"{"type":["subscribe"]}"#, r#"["subscribe"]"#),
            (r#"{"type":7,"channels":["level2"]}"#, "7"),
            (r#"{"channels":["level2"]}"#, "null"),
            ("[]", "null"),
            ("7", "null"),
        ] {
            let refusal = refused(text);
            assert_eq!((refusal.message, refusal.code), ("Invalid message type", "invalid_type"), "{text}");
            assert_eq!(refusal.reason, format!("{kind} is not a valid type"), "{text}");
        }
        for (rest, code, reason) in [
            ("", "channels_missing", "No channels provided"),
            (r#","product_ids":["A-B"],"channels":["nope"]"#, "invalid_channel", "nope is not a valid channel"),
            (r#","channels":["level2"]"#, "product_ids_missing", "level2 needs product_ids"),
            (r#","channels":["status",7]"#, "invalid_channel", "7 is not a valid channel"),
            (r#","channels":[{"a":1}]"#, "invalid_channel", r#"{"a":1} is not a valid channel"#),
            (
                r#","channels":[{"name":"full","resume_from":-1}]"#,
                "invalid_channel",
                r#"{"name":"full","resume_from":-1} is not a valid channel"#,
            ),
        ] {
            let refusal = refused(&format!(r#"{{"type":"subscribe"{rest}}}"#));
            assert_eq!(refusal, Refusal::of_subscription(code, reason), "{rest}");
        }
        let long = format!(r#","channels":["level2"],"resume_from":"{}""#, "x".repeat(1_000));
        for rest in [r#","channels":"level2""#, r#","channels":["level2"],"resume_from":"7""#, long.as_str()] {
            let refusal = refused(&format!(r#"{{"type":"unsubscribe"{rest}}}"#));
            assert_eq!((refusal.message, refusal.code), ("Failed to subscribe", "invalid_body"), "{rest}");
            assert!(refusal.reason.starts_with("invalid type: string") && refusal.reason.len() <= 200, "{rest}");
        }
    }

    #[test]
    fn the_channels_of_a_product_resume_from_one_sequence() {
        let parse = |kind: &str, channels: &str| {
            let head = format!(r#"{{"type":"{kind}","product_ids":["A-B"],"resume_from":7"#);
            Request::parse(&format!(r#"{head},"channels":[{channels}]}}"#))
        };
        let differ = r#"{"name":"matches","resume_from":9},{"name":"user","resume_from":5}"#;
        for channels in [
            differ,
            r#"{"name":"user","resume_from":5},{"name":"matches","resume_from":9}"#,
            r#""matches",{"name":"user","resume_from":5}"#,
            r#"{"name":"user","resume_from":5},{"name":"user","resume_from":6}"#,
        ] {
            assert_eq!(parse("subscribe", channels).unwrap_err().code, "resume_from_differs", "{channels}");
        }
        for (channels, expected) in [
            (r#"{"name":"matches","resume_from":5},{"name":"user","resume_from":5}"#, [Some(5), None]),
            // Levels begin with a snapshot, whatever is said.
            (r#"{"name":"level2","resume_from":9},"user""#, [Some(7), None]),
            (r#""user",{"name":"full","product_ids":["C-D"],"resume_from":5}"#, [Some(7), Some(5)]),
        ] {
            let request = parse("subscribe", channels).unwrap();
            assert_eq!(["A-B", "C-D"].map(|product| request.resume_from.get(product).copied()), expected, "{channels}");
        }
        assert!(parse("unsubscribe", differ).unwrap().resume_from.is_empty());
    }
}
