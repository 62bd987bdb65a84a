//! A market without actors, what is told of it, and what its readers got, for tests of those who tell it on.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

use super::outbox::Outgoing;
use super::session::Session;
use crate::actors::supervision::Handle;
use crate::actors::supervision::mailbox::{Door, Mailbox};
use crate::actors::trading::Market;
use crate::actors::trading::market_data::{Picture, Texts, Ticker, Update};
use crate::actors::trading::twin::Berth;
use crate::domain::examples::{canceled, outcomes_of};
use crate::domain::ids::{CurrencyId, Sequence, TradeId};
use crate::domain::market::{Currency, MarketConfig, Step};
use crate::domain::market_data::{Stats, Trade};
use crate::domain::money::{Price, Size};
use crate::domain::order::Side;
use crate::domain::time::Timestamp;
use actix::Actor;
use serde_json::Value;
use std::rc::Rc;
use std::sync::Arc;

/// The place of an actor that takes no messages.
fn nobody<A: Actor>() -> Handle<A> {
    Handle::new(Arc::new(Mailbox::new(0, Door::Closed)))
}

/// A market that nobody trades.
pub(super) fn market() -> Arc<Market> {
    let currency = |id, code: &str| {
        let (id, code, name) = (CurrencyId(id), code.to_owned(), code.to_owned());
        Currency { id, code, name, decimals: 8, fiat: false }
    };
    let step = |decimals| Step { units: 1, decimals };
    let (base, quote) = (currency(0, "BTC"), currency(1, "USDT"));
    let config = MarketConfig::new("BTC-USDT".into(), base.id, quote.id, step(2), step(6));
    let scale = config.validate(&base, &quote).unwrap();
    let (book, data) = (nobody(), nobody());
    let (berth, phase) = (Berth::new(Arc::default()), Arc::default());
    Arc::new(Market { id: config.id, config, scale, base, quote, book, data, berth, phase })
}

/// That market with an empty book after this entry and this event, perhaps with a trade of this number.
pub(super) fn picture(applied: u64, sequence: u64, trade: Option<u64>) -> Picture {
    let ticker = |number| {
        let (price, size) = (Price(100), Size(5));
        let trade = Trade { id: TradeId(number), at: Timestamp(1), price, size, maker_side: Side::Sell };
        Ticker { sequence, trade, bid: None, ask: None, stats: Stats::default() }
    };
    Picture {
        applied: Sequence(applied),
        sequence,
        bids: Vec::new(),
        asks: Vec::new(),
        ticker: trade.map(ticker),
        last_fill: None,
    }
}

/// What an entry did: it ended an order, which makes one public event of the entry's number, and changed these levels.
pub(super) fn update(entry: u64, levels: Vec<(Side, Price, Size)>) -> Arc<Update> {
    let outcomes = outcomes_of(entry, entry - 1, vec![canceled(false)]);
    Arc::new(Update {
        market: outcomes.market,
        at: outcomes.at,
        sequence: outcomes.feed_after(),
        orders: vec![1; levels.len()],
        levels,
        fills: Vec::new(),
        tickers: Vec::new(),
        outcomes: Arc::new(outcomes),
        texts: Texts::default(),
        gitbitex: Texts::default(),
    })
}

/// A connection.
pub(super) fn session(id: u64) -> Rc<Session> {
    Rc::new(Session::new(id))
}

/// What a connection is sent now.
pub(super) fn said(session: &Session) -> Vec<Value> {
    let mut all = Vec::new();
    session.outbox.take(|outgoing| {
        if let Outgoing::Text(text) = outgoing {
            all.push(serde_json::from_str(&text).unwrap());
        }
    });
    all
}
