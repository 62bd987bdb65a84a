//! Outcomes on their way to the broker, those of one routing key together.
//!
//! A message costs the broker about the same whatever is in it, and orders go through the same broker. So outcomes that are
//! read together travel together.

use serde::Serialize;
use std::collections::HashMap;
use std::fmt;

/// A message grows to about this size, in bytes, before the next one of its key begins.
const LARGE: usize = 128 * 1024;

/// A routing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key<'a> {
    /// `trade.<market>`
    Trade(&'a str),
    /// `order.<what happened to it>`
    Order(&'static str),
    /// `ledger.<currency>`
    Ledger(&'a str),
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Trade(market) => write!(f, "trade.{market}"),
            Key::Order(what) => write!(f, "order.{what}"),
            Key::Ledger(currency) => write!(f, "ledger.{currency}"),
        }
    }
}

/// One message: outcomes of one routing key, as a JSON array in the order of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The routing key.
    pub(super) key: String,
    /// The id of its first outcome.
    pub(super) first: String,
    /// The array, still without its closing bracket.
    open: Vec<u8>,
}

impl Message {
    fn begin(key: String, first: String) -> Message {
        Message { key, first, open: vec![b'['] }
    }

    fn add(&mut self, outcome: &impl Serialize) -> serde_json::Result<()> {
        if self.open.len() > 1 {
            self.open.push(b',');
        }
        serde_json::to_writer(&mut self.open, outcome)
    }

    /// The content.
    pub(super) fn body(&self) -> Vec<u8> {
        [self.open.as_slice(), b"]"].concat()
    }
}

/// Messages in the order in which they are to be published.
#[derive(Debug, Default)]
pub(super) struct Outgoing<'a> {
    messages: Vec<Message>,
    /// Where the newest message of each key is.
    newest: HashMap<Key<'a>, usize>,
}

impl<'a> Outgoing<'a> {
    /// Adds an outcome after all others of its key.
    ///
    /// # Errors
    /// When it cannot be told in JSON; then nothing of this may be published.
    pub(super) fn add(
        &mut self,
        key: Key<'a>,
        id: impl fmt::Display,
        outcome: &impl Serialize,
    ) -> serde_json::Result<()> {
        if let Some(message) = self.newest.get(&key).and_then(|place| self.messages.get_mut(*place))
            && message.open.len() < LARGE
        {
            return message.add(outcome);
        }
        let mut message = Message::begin(key.to_string(), id.to_string());
        message.add(outcome)?;
        self.newest.insert(key, self.messages.len());
        self.messages.push(message);
        Ok(())
    }

    pub(super) fn messages(self) -> Vec<Message> {
        self.messages
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn outcomes_of_a_key_travel_together_in_their_order() {
        let mut outgoing = Outgoing::default();
        for number in 0..6 {
            let key = if number % 3 == 0 { Key::Trade("BTC-USDT") } else { Key::Order("done") };
            outgoing.add(key, format!("market.0/{number}/0"), &json!({ "number": number })).unwrap();
        }
        let told: Vec<_> = outgoing
            .messages()
            .into_iter()
            .map(|message| (message.key.clone(), message.first.clone(), message.body()))
            .map(|(key, first, body)| (key, first, String::from_utf8(body).unwrap()))
            .collect();
        let expected = [
            ("trade.BTC-USDT", "market.0/0/0", r#"[{"number":0},{"number":3}]"#),
            ("order.done", "market.0/1/0", r#"[{"number":1},{"number":2},{"number":4},{"number":5}]"#),
        ];
        assert_eq!(told, expected.map(|(key, first, body)| (key.into(), first.into(), body.into())));
    }

    #[test]
    fn a_message_that_is_large_is_followed_by_another() {
        let mut outgoing = Outgoing::default();
        let outcome = json!("x".repeat(1_000));
        for number in 0..300 {
            outgoing.add(Key::Order("open"), number, &outcome).unwrap();
        }
        let messages = outgoing.messages();
        assert!(messages.len() > 1);
        let counts = messages.into_iter().map(|message| {
            let first = message.first.clone();
            let body = message.body();
            assert!(body.len() < LARGE + 2_000, "{} bytes", body.len());
            (first, serde_json::from_slice::<Vec<Value>>(&body).unwrap().len())
        });
        let mut next = 0;
        for (first, count) in counts {
            assert_eq!(first, next.to_string());
            next += count;
        }
        assert_eq!(next, 300);
    }
}
