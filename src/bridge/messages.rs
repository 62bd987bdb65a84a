//! Outcomes as JSON, as docs/events.md promises them.

use super::outgoing::{Key, Message, Outgoing};
use crate::actors::trading::{Market, Trading};
use crate::domain::event::{Crossed, Event};
use crate::domain::ids::{AccountId, StreamId};
use crate::domain::ledger::Ledger;
use crate::domain::money::Amount;
use crate::domain::posting::{Posting, PostingKind};
use crate::domain::replica::{LedgerOutcomes, MarketOutcomes};
use crate::domain::time::Timestamp;
use crate::domain::venue::{self, Observer};
use crate::http::v1::views::side;
use crate::http::{ids, wire};
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// What tells an outcome from all others: the same on every node, each time it is published.
#[derive(Clone, Copy, Debug)]
struct Name {
    stream: StreamId,
    /// The entry in its stream.
    entry: u64,
    /// The outcome in the entry.
    place: usize,
    /// Whether it is one of the balances that a market changes, which are counted by themselves.
    posting: bool,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if self.posting { "/ledger" } else { "" };
        write!(f, "{}/{}{between}/{}", self.stream, self.entry, self.place)
    }
}

/// An outcome as JSON has it. Written as it stands instead of being built as a tree first: that took most of the bridge's time.
#[derive(Serialize)]
struct Outcome<'a, B> {
    #[serde(serialize_with = "as_text")]
    id: Name,
    #[serde(flatten)]
    body: B,
    product_id: Option<&'a str>,
    time: &'a str,
}

fn as_text<S: Serializer>(name: &Name, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

/// A change of a balance.
#[derive(Serialize)]
struct Change<'a> {
    r#type: &'static str,
    user_id: Uuid,
    currency: &'a str,
    available: String,
    hold: String,
    kind: &'static str,
    order_id: Option<Uuid>,
    trade_id: Option<u64>,
}

/// What happened in a market.
#[derive(Serialize)]
struct Happened {
    #[serde(flatten)]
    what: What,
    /// The feed's number of it, if the public sees it.
    sequence: Option<u64>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum What {
    Trade {
        trade_id: u64,
        price: String,
        size: String,
        funds: String,
        side: &'static str,
        maker_order_id: Uuid,
        taker_order_id: Uuid,
        maker_user_id: Uuid,
        taker_user_id: Uuid,
        maker_fee: String,
        taker_fee: String,
    },
    Accepted {
        order_id: Uuid,
        user_id: Uuid,
        client_oid: Option<Uuid>,
        side: &'static str,
        size: String,
    },
    Open {
        order_id: Uuid,
        user_id: Uuid,
        side: &'static str,
        price: String,
        remaining_size: String,
    },
    Changed {
        order_id: Uuid,
        user_id: Uuid,
        side: &'static str,
        price: Option<String>,
        old_size: String,
        new_size: String,
    },
    Triggered {
        order_id: Uuid,
        user_id: Uuid,
        side: &'static str,
    },
    Done {
        order_id: Uuid,
        user_id: Uuid,
        side: &'static str,
        price: Option<String>,
        remaining_size: String,
        reason: &'static str,
    },
    Rejected {
        user_id: Uuid,
        reason: String,
    },
}

/// Turns outcomes into messages.
pub(super) struct Collector<'a> {
    trading: &'a Trading,
    outgoing: Outgoing<'a>,
    /// Why something could not be told.
    failed: Option<String>,
    /// Postings of the batch that is being applied.
    postings: usize,
    /// The time of that batch.
    at: Timestamp,
    /// The same as text: all outcomes of a batch have it.
    time: String,
}

impl<'a> Collector<'a> {
    pub(super) fn new(trading: &'a Trading) -> Collector<'a> {
        let (at, outgoing) = (Timestamp::ZERO, Outgoing::default());
        Collector { trading, outgoing, failed: None, postings: 0, at, time: wire::time(at) }
    }

    /// What was collected, in the order in which it is to be published.
    ///
    /// # Errors
    /// In words, when something could not be told.
    pub(super) fn messages(self) -> Result<Vec<Message>, String> {
        self.failed.map_or_else(|| Ok(self.outgoing.messages()), Err)
    }

    fn unlisted(&mut self) {
        self.failed = Some("a market or currency is not listed here yet".into());
    }

    fn begin(&mut self, at: Timestamp) {
        if at != self.at {
            (self.at, self.time) = (at, wire::time(at));
        }
    }

    fn add(&mut self, key: Key<'a>, id: Name, product_id: Option<&str>, body: impl Serialize) {
        let outcome = Outcome { id, body, product_id, time: &self.time };
        if let Err(error) = self.outgoing.add(key, id, &outcome) {
            self.failed = Some(error.to_string());
        }
    }

    fn posting(&mut self, id: Name, posting: &Posting, market: Option<&Market>) {
        if posting.account == AccountId::OUTSIDE {
            return;
        }
        let Some(currency) = self.trading.currencies().iter().find(|currency| currency.id == posting.currency) else {
            return self.unlisted();
        };
        let traded = matches!(posting.kind, PostingKind::Match | PostingKind::Fee);
        let change = Change {
            r#type: "ledger",
            user_id: ids::user(posting.account),
            currency: &currency.code,
            available: wire::amount(posting.available, currency),
            hold: wire::amount(posting.hold, currency),
            kind: match posting.kind {
                PostingKind::Match => "match",
                PostingKind::Fee => "fee",
                PostingKind::Hold => "hold",
                PostingKind::Transfer => "transfer",
            },
            order_id: market.map(|market| ids::order(market.id, posting.order)),
            trade_id: traded.then_some(posting.trade.0),
        };
        let product = market.map(|market| market.config.symbol.as_str());
        self.add(Key::Ledger(&currency.code), id, product, change);
    }
}

/// The key of a market's event and what it says; none for what concerns nobody outside.
fn describe<'a>(market: &'a Market, event: &Event) -> Option<(Key<'a>, What)> {
    let config = &market.config;
    let price = |price| wire::price(price, config);
    let size = |size| wire::size(size, config);
    let order_id = |id| ids::order(market.id, id);
    Some(match event {
        Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => (
            Key::Trade(&config.symbol),
            What::Trade {
                trade_id: fill.trade.0,
                price: price(fill.price),
                size: size(fill.size),
                funds: wire::amount(fill.quote, &market.quote),
                side: side(fill.maker_side),
                maker_order_id: order_id(fill.maker),
                taker_order_id: order_id(fill.taker),
                maker_user_id: ids::user(fill.maker_account),
                taker_user_id: ids::user(fill.taker_account),
                maker_fee: wire::amount(fill.maker_fee, &market.quote),
                taker_fee: wire::amount(fill.taker_fee, &market.quote),
            },
        ),
        Event::Accepted(id, new) => (
            Key::Order("accepted"),
            What::Accepted {
                order_id: order_id(*id),
                user_id: ids::user(new.account),
                client_oid: new.client_id.map(|id| Uuid::from_u128(id.0)),
                side: side(new.side),
                size: size(new.size),
            },
        ),
        Event::Opened(opened) => (
            Key::Order("open"),
            What::Open {
                order_id: order_id(opened.id),
                user_id: ids::user(opened.account),
                side: side(opened.side),
                price: price(opened.price),
                remaining_size: size(opened.remaining),
            },
        ),
        Event::Changed(change) => (
            Key::Order("changed"),
            What::Changed {
                order_id: order_id(change.id),
                user_id: ids::user(change.account),
                side: side(change.side),
                price: change.new_price.or(change.price).map(price),
                old_size: size(change.old_size),
                new_size: size(change.new_size),
            },
        ),
        Event::Triggered(triggered) => (
            Key::Order("triggered"),
            What::Triggered {
                order_id: order_id(triggered.id),
                user_id: ids::user(triggered.account),
                side: side(triggered.side),
            },
        ),
        Event::Done(done) => (
            Key::Order("done"),
            What::Done {
                order_id: order_id(done.id),
                user_id: ids::user(done.account),
                side: side(done.side),
                price: done.price.map(price),
                remaining_size: size(done.remaining),
                reason: done.reason.wire(),
            },
        ),
        Event::Rejected { account, reason, .. } => {
            (Key::Order("rejected"), What::Rejected { user_id: ids::user(*account), reason: reason.to_string() })
        }
        Event::Refused { .. } | Event::BatchRefused { .. } | Event::Configured(_) | Event::Phase(_) => return None,
    })
}

impl Observer for Collector<'_> {
    fn posted(&mut self, outcomes: &MarketOutcomes, _: Amount, posting: &Posting) {
        self.begin(outcomes.at);
        self.postings += 1;
        let stream = StreamId::Market(outcomes.market);
        let id = Name { stream, entry: outcomes.first.0, place: self.postings, posting: true };
        let market = self.trading.market_by_id(outcomes.market);
        self.posting(id, posting, market.map(Arc::as_ref));
    }

    fn market(&mut self, outcomes: &MarketOutcomes, _: &venue::Market) {
        self.begin(outcomes.at);
        self.postings = 0;
        let Some(market) = self.trading.market_by_id(outcomes.market) else {
            return self.unlisted();
        };
        let stream = StreamId::Market(market.id);
        let mut numbered = outcomes.numbered();
        for (sequence, _, events) in outcomes.by_entry() {
            for (place, event) in events.iter().enumerate() {
                let feed = numbered.next().map(|(feed, _)| feed);
                let Some((key, what)) = describe(market, event) else { continue };
                let id = Name { stream, entry: sequence.0, place, posting: false };
                let sequence = feed.filter(|_| event.is_public());
                self.add(key, id, Some(&market.config.symbol), Happened { what, sequence });
            }
        }
    }

    fn ledger(&mut self, outcomes: &LedgerOutcomes, _: &Ledger) {
        self.begin(outcomes.at);
        let mut start = 0;
        for ((_, _, end), entry) in outcomes.entries.iter().zip(outcomes.first.0..) {
            let end = *end as usize;
            let postings = outcomes.postings.get(start..end).unwrap_or_default();
            for (place, posting) in postings.iter().enumerate() {
                self.posting(Name { stream: StreamId::Ledger, entry, place, posting: false }, posting, None);
            }
            start = end;
        }
    }
}
