//! Outcomes as JSON, as docs/events.md promises them.

use super::outgoing::Outgoing;
use crate::actors::trading::{Market, Trading};
use crate::domain::event::{Crossed, Event};
use crate::domain::ids::{AccountId, StreamId};
use crate::domain::ledger::Ledger;
use crate::domain::money::Amount;
use crate::domain::order::Side;
use crate::domain::posting::{Posting, PostingKind};
use crate::domain::replica::{LedgerOutcomes, MarketOutcomes};
use crate::domain::time::Timestamp;
use crate::domain::venue::{self, Observer};
use crate::http::{ids, wire};
use serde_json::{Value, json};

/// Turns outcomes into messages.
pub(super) struct Collector<'a> {
    trading: &'a Trading,
    pub(super) outgoing: Outgoing,
    /// Whether something was of a market or currency that this node has not listed yet, and so could not be told.
    pub(super) unlisted: bool,
    /// Postings of the batch that is being applied.
    postings: u64,
}

impl<'a> Collector<'a> {
    pub(super) fn new(trading: &'a Trading) -> Collector<'a> {
        Collector { trading, outgoing: Outgoing::default(), unlisted: false, postings: 0 }
    }

    fn add(&mut self, key: String, id: String, mut outcome: Value) {
        if let Some(fields) = outcome.as_object_mut() {
            fields.insert("id".into(), Value::from(id.as_str()));
        }
        self.outgoing.add(key, id, &outcome);
    }

    fn posting(&mut self, id: String, posting: &Posting, market: Option<&Market>, at: Timestamp) {
        if posting.account == AccountId::OUTSIDE {
            return;
        }
        let Some(currency) = self.trading.currencies().iter().find(|currency| currency.id == posting.currency) else {
            self.unlisted = true;
            return;
        };
        let order = market.map(|market| ids::order(market.id, posting.order).to_string());
        let traded = matches!(posting.kind, PostingKind::Match | PostingKind::Fee);
        let body = json!({
            "type": "ledger",
            "user_id": ids::user(posting.account),
            "currency": currency.code,
            "available": wire::amount(posting.available, currency),
            "hold": wire::amount(posting.hold, currency),
            "kind": match posting.kind {
                PostingKind::Match => "match",
                PostingKind::Fee => "fee",
                PostingKind::Hold => "hold",
                PostingKind::Transfer => "transfer",
            },
            "product_id": market.map(|market| market.config.symbol.as_str()),
            "order_id": order,
            "trade_id": traded.then_some(posting.trade.0),
            "time": wire::time(at),
        });
        self.add(format!("ledger.{}", currency.code), id, body);
    }
}

fn side(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

/// The key and the fields of a market's event; none for what concerns nobody outside.
fn describe(market: &Market, event: &Event) -> Option<(String, Value)> {
    let config = &market.config;
    let price = |price| wire::price(price, config);
    let size = |size| wire::size(size, config);
    let order = |id| ids::order(market.id, id);
    let state = |state: &str| format!("order.{state}");
    Some(match event {
        Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => (
            format!("trade.{}", config.symbol),
            json!({
                "type": "trade",
                "trade_id": fill.trade.0,
                "price": price(fill.price),
                "size": size(fill.size),
                "funds": wire::amount(fill.quote, &market.quote),
                "side": side(fill.maker_side),
                "maker_order_id": order(fill.maker),
                "taker_order_id": order(fill.taker),
                "maker_user_id": ids::user(fill.maker_account),
                "taker_user_id": ids::user(fill.taker_account),
                "maker_fee": wire::amount(fill.maker_fee, &market.quote),
                "taker_fee": wire::amount(fill.taker_fee, &market.quote),
            }),
        ),
        Event::Accepted(id, new) => (
            state("accepted"),
            json!({
                "type": "accepted",
                "order_id": order(*id),
                "user_id": ids::user(new.account),
                "client_oid": new.client_id.map(|id| uuid::Uuid::from_u128(id.0)),
                "side": side(new.side),
                "size": size(new.size),
            }),
        ),
        Event::Opened(opened) => (
            state("open"),
            json!({
                "type": "open",
                "order_id": order(opened.id),
                "user_id": ids::user(opened.account),
                "side": side(opened.side),
                "price": price(opened.price),
                "remaining_size": size(opened.remaining),
            }),
        ),
        Event::Changed(change) => (
            state("changed"),
            json!({
                "type": "changed",
                "order_id": order(change.id),
                "user_id": ids::user(change.account),
                "side": side(change.side),
                "price": change.new_price.or(change.price).map(price),
                "old_size": size(change.old_size),
                "new_size": size(change.new_size),
            }),
        ),
        Event::Triggered(triggered) => (
            state("triggered"),
            json!({
                "type": "triggered",
                "order_id": order(triggered.id),
                "user_id": ids::user(triggered.account),
                "side": side(triggered.side),
            }),
        ),
        Event::Done(done) => (
            state("done"),
            json!({
                "type": "done",
                "order_id": order(done.id),
                "user_id": ids::user(done.account),
                "side": side(done.side),
                "price": done.price.map(price),
                "remaining_size": size(done.remaining),
                "reason": done.reason.wire(),
            }),
        ),
        Event::Rejected { account, reason, .. } => (
            state("rejected"),
            json!({"type": "rejected", "user_id": ids::user(*account), "reason": reason.to_string()}),
        ),
        Event::Refused { .. } | Event::BatchRefused { .. } | Event::Configured(_) | Event::Phase(_) => return None,
    })
}

impl Observer for Collector<'_> {
    fn posted(&mut self, outcomes: &MarketOutcomes, _: Amount, posting: &Posting) {
        self.postings += 1;
        let id = format!("{}/{}/ledger/{}", StreamId::Market(outcomes.market), outcomes.first.0, self.postings);
        let market = self.trading.market_by_id(outcomes.market).cloned();
        self.posting(id, posting, market.as_deref(), outcomes.at);
    }

    fn market(&mut self, outcomes: &MarketOutcomes, _: &venue::Market) {
        self.postings = 0;
        let Some(market) = self.trading.market_by_id(outcomes.market).cloned() else {
            self.unlisted = true;
            return;
        };
        let mut numbered = outcomes.numbered();
        for (sequence, _, events) in outcomes.by_entry() {
            for (index, event) in events.iter().enumerate() {
                let feed = numbered.next().map(|(feed, _)| feed);
                let Some((key, mut body)) = describe(&market, event) else { continue };
                if let Some(fields) = body.as_object_mut() {
                    fields.insert("product_id".into(), Value::from(market.config.symbol.as_str()));
                    fields.insert("time".into(), Value::from(wire::time(outcomes.at)));
                    fields.insert("sequence".into(), feed.filter(|_| event.is_public()).into());
                }
                self.add(key, format!("{}/{}/{index}", StreamId::Market(outcomes.market), sequence.0), body);
            }
        }
    }

    fn ledger(&mut self, outcomes: &LedgerOutcomes, _: &Ledger) {
        let mut start = 0;
        for ((_, _, end), sequence) in outcomes.entries.iter().zip(outcomes.first.0..) {
            let end = *end as usize;
            let postings = outcomes.postings.get(start..end).unwrap_or_default();
            for (index, posting) in postings.iter().enumerate() {
                self.posting(format!("{}/{sequence}/{index}", StreamId::Ledger), posting, None, outcomes.at);
            }
            start = end;
        }
    }
}
