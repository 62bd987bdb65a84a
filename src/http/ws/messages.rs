//! The texts of the feed. Public ones are made once for each update and shared by all readers; only what a party of
//! an event hears beyond that is made for its own.

use crate::actors::trading::Market;
use crate::actors::trading::market_data::{Ticker, Update, parties_of};
use crate::domain::event::{Change, ChangeReason, Crossed, Done, Event, Fill, Opened, Triggered};
use crate::domain::ids::{AccountId, ClientOrderId, MarketId, OrderId};
use crate::domain::market_data::Level;
use crate::domain::money::{Amount, Decimal, MILLION, Ppm, Price, Size};
use crate::domain::order::{Kind, NewOrder, Side, Stop, Trigger};
use crate::domain::time::Timestamp;
use crate::http::v1::views::side;
use crate::http::{ids, wire};
use bytestring::ByteString;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

fn text(message: &impl Serialize) -> ByteString {
    // Plain structures of texts and numbers always become JSON.
    serde_json::to_string(message).unwrap_or_default().into()
}

/// One side of a book, best first, as an iterator.
pub type Levels<'a> = &'a mut dyn Iterator<Item = (Price, Size)>;

/// The whole book, best first.
pub fn snapshot(market: &Market, sequence: u64, bids: Levels<'_>, asks: Levels<'_>, at: Timestamp) -> ByteString {
    let config = &market.config;
    let rows = |levels: Levels<'_>| -> Vec<[String; 2]> {
        levels.map(|(price, size)| [wire::price(price, config), wire::size(size, config)]).collect()
    };
    json!({
        "type": "snapshot",
        "product_id": config.symbol,
        "bids": rows(bids),
        "asks": rows(asks),
        "sequence": sequence,
        "time": wire::time(at),
    })
    .to_string()
    .into()
}

/// Levels with their new sizes.
pub fn level2<'a>(
    market: &Market,
    sequence: u64,
    changes: impl Iterator<Item = &'a (Side, Price, Size)>,
    at: Timestamp,
) -> ByteString {
    #[derive(Serialize)]
    struct Message<'a> {
        r#type: &'static str,
        product_id: &'a str,
        changes: Vec<(&'static str, String, String)>,
        sequence: u64,
        time: String,
    }
    let config = &market.config;
    let row = |(book_side, price, size): &(Side, Price, Size)| {
        (side(*book_side), wire::price(*price, config), wire::size(*size, config))
    };
    text(&Message {
        r#type: "l2update",
        product_id: &config.symbol,
        changes: changes.map(row).collect(),
        sequence,
        time: wire::time(at),
    })
}

/// The level changes of an update; made once.
pub fn level2_of(market: &Market, update: &Update) -> ByteString {
    let made = || level2(market, update.sequence, update.levels.iter(), update.at);
    update.texts.level2.get_or_init(made).clone()
}

/// The trades of an update; made once.
pub fn matches_of<'a>(market: &Market, update: &'a Update) -> &'a [ByteString] {
    update.texts.matches.get_or_init(|| {
        let message = |(sequence, fill): &(u64, Fill)| text(&matched(market, "match", *sequence, update.at, fill));
        update.fills.iter().map(message).collect()
    })
}

/// The tickers of an update; made once.
pub fn tickers_of<'a>(market: &Market, update: &'a Update) -> &'a [ByteString] {
    update.texts.tickers.get_or_init(|| update.tickers.iter().map(|one| ticker(market, one)).collect())
}

/// The public events of an update with their sequences; made once.
pub fn full_of<'a>(market: &Market, update: &'a Update) -> &'a [(u64, ByteString)] {
    update.texts.full.get_or_init(|| {
        let public = update.outcomes.numbered().filter(|(_, event)| event.is_public());
        public.filter_map(|(n, event)| Some((n, of_event(market, None, n, update.at, event)?))).collect()
    })
}

#[derive(Serialize)]
struct Match<'a> {
    r#type: &'static str,
    trade_id: u64,
    sequence: u64,
    maker_order_id: Uuid,
    taker_order_id: Uuid,
    time: String,
    product_id: &'a str,
    size: String,
    price: String,
    side: &'static str,
    #[serde(flatten)]
    own: Option<Own>,
}

fn matched<'a>(market: &'a Market, kind: &'static str, sequence: u64, at: Timestamp, fill: &Fill) -> Match<'a> {
    Match {
        r#type: kind,
        trade_id: fill.trade.0,
        sequence,
        maker_order_id: ids::order(market.id, fill.maker),
        taker_order_id: ids::order(market.id, fill.taker),
        time: wire::time(at),
        product_id: &market.config.symbol,
        size: wire::size(fill.size, &market.config),
        price: wire::price(fill.price, &market.config),
        side: side(fill.maker_side),
        own: None,
    }
}

/// The last trade, for a new reader of matches.
pub fn last_match(market: &Market, sequence: u64, at: Timestamp, fill: &Fill) -> ByteString {
    text(&matched(market, "last_match", sequence, at, fill))
}

/// The ticker after the trades of one order.
pub fn ticker(market: &Market, ticker: &Ticker) -> ByteString {
    let config = &market.config;
    let best = |level: Option<(Price, Level)>| match level {
        Some((price, level)) => (wire::price(price, config), wire::size(level.size, config)),
        None => ("0".to_owned(), "0".to_owned()),
    };
    let ((bid, bid_size), (ask, ask_size)) = (best(ticker.bid), best(ticker.ask));
    json!({
        "type": "ticker",
        "sequence": ticker.sequence,
        "product_id": config.symbol,
        "price": wire::price(ticker.trade.price, config),
        "open_24h": wire::price(ticker.stats.open, config),
        "volume_24h": wire::steps(ticker.stats.volume, config.lot),
        "low_24h": wire::price(ticker.stats.low, config),
        "high_24h": wire::price(ticker.stats.high, config),
        "volume_30d": wire::steps(ticker.stats.volume_30d, config.lot),
        "best_bid": bid,
        "best_bid_size": bid_size,
        "best_ask": ask,
        "best_ask_size": ask_size,
        "side": side(ticker.trade.maker_side.opposite()),
        "time": wire::time(ticker.trade.at),
        "trade_id": ticker.trade.id.0,
        "last_size": wire::size(ticker.trade.size, config),
    })
    .to_string()
    .into()
}

/// One a second and product.
pub fn heartbeat(market: &Market, sequence: u64, last_trade: u64, at: Timestamp) -> ByteString {
    json!({
        "type": "heartbeat",
        "sequence": sequence,
        "last_trade_id": last_trade,
        "product_id": market.config.symbol,
        "time": wire::time(at),
    })
    .to_string()
    .into()
}

/// An error; the connection stays open.
pub fn error(message: &str, reason: &str, code: &str) -> ByteString {
    json!({"type": "error", "message": message, "reason": reason, "code": code}).to_string().into()
}

/// The last message before the server closes a connection: why, and from where each market's events can be resumed.
pub fn closing(reason: &str, resume_from: &BTreeMap<String, u64>) -> ByteString {
    json!({"type": "error", "message": "Connection closed", "reason": reason, "resume_from": resume_from})
        .to_string()
        .into()
}

/// What only the party of an event hears of it.
#[derive(Serialize)]
struct Own {
    user_id: Uuid,
    profile_id: Uuid,
    #[serde(flatten)]
    roles: BTreeMap<String, Value>,
}

/// Whether the event concerns the user.
pub fn concerns(event: &Event, user: AccountId) -> bool {
    let mut concerned = false;
    parties_of(event, |party| concerned |= party == user);
    concerned
}

/// The message of one event, for the public or, with its own fields, for a party of it. `None` when it has none. An
/// event that is not public has no sequence of its own, so its message names none: that of the event before would look
/// like a repeat.
pub fn of_event(
    market: &Market,
    party: Option<AccountId>,
    sequence: u64,
    at: Timestamp,
    event: &Event,
) -> Option<ByteString> {
    let own = |roles| party.map(|user| Own { user_id: ids::user(user), profile_id: ids::profile(user), roles });
    let head = |kind, id, order_side| Head {
        r#type: kind,
        time: wire::time(at),
        product_id: &market.config.symbol,
        sequence: event.is_public().then_some(sequence),
        order_id: ids::order(market.id, id),
        side: side(order_side),
        own: own(BTreeMap::new()),
    };
    Some(match event {
        Event::Accepted(id, order) => match order.stop {
            None => text(&Received::new(market, head("received", *id, order.side), order.into())),
            Some(stop) => activate(market, *id, order, stop, party?, at),
        },
        Event::Triggered(order) => text(&Received::new(market, head("received", order.id, order.side), order.into())),
        Event::Opened(opened) => text(&open(market, head("open", opened.id, opened.side), opened)),
        Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => {
            // In an auction both sides pay as makers do.
            let crossed = matches!(event, Event::Crossed(_));
            let roles = party.map(|user| roles(market, fill, user, crossed)).unwrap_or_default();
            text(&Match { own: own(roles), ..matched(market, "match", sequence, at, fill) })
        }
        Event::Changed(change) => text(&changed(market, head("change", change.id, change.side), change)),
        Event::Done(done) => text(&ended(market, head("done", done.id, done.side), done)),
        Event::Rejected { .. }
        | Event::Refused { .. }
        | Event::BatchRefused { .. }
        | Event::Configured(_)
        | Event::Phase(_) => {
            return None;
        }
    })
}

/// The user's own roles in a match. Clients tell maker from taker by the fee rate that they are shown: what was charged,
/// as far as the fee tells it, else what the market charges now.
fn roles(market: &Market, fill: &Fill, user: AccountId, crossed: bool) -> BTreeMap<String, Value> {
    let config = &market.config;
    let (role, fee, usual) = if fill.taker_account == user {
        ("taker", fill.taker_fee, if crossed { config.maker_fee } else { config.taker_fee })
    } else {
        ("maker", fill.maker_fee, config.maker_fee)
    };
    let rate = charged(fee, fill.quote).unwrap_or(usual);
    BTreeMap::from([
        (format!("{role}_user_id"), json!(ids::user(user))),
        (format!("{role}_profile_id"), json!(ids::profile(user))),
        (format!("{role}_fee_rate"), json!(wire::rate(rate))),
    ])
}

/// The rate by which an amount has this fee, if there is but one. Fees are rounded up to an atom, so several rates make
/// the same fee of a small amount.
fn charged(fee: Amount, of: Amount) -> Option<Ppm> {
    // The greatest rate whose fee is at most so many atoms.
    let greatest = |atoms: i128| -> Option<i128> { atoms.checked_mul(MILLION)?.checked_div_euclid(of.0) };
    let (smaller, rate) = (greatest(fee.0 - 1)?, greatest(fee.0)?);
    if smaller.max(-1) + 1 == rate { u32::try_from(rate).ok().map(Ppm) } else { None }
}

#[derive(Serialize)]
struct Head<'a> {
    r#type: &'static str,
    time: String,
    product_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    order_id: Uuid,
    side: &'static str,
    #[serde(flatten)]
    own: Option<Own>,
}

/// What a `received` message tells of an order.
struct Asked {
    client_id: Option<ClientOrderId>,
    kind: Kind,
    size: Size,
}

impl From<&NewOrder> for Asked {
    fn from(order: &NewOrder) -> Asked {
        Asked { client_id: order.client_id, kind: order.kind, size: order.size }
    }
}

impl From<&Triggered> for Asked {
    fn from(order: &Triggered) -> Asked {
        Asked { client_id: order.client_id, kind: order.kind, size: order.size }
    }
}

#[derive(Serialize)]
struct Received<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    order_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    funds: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_oid: Option<Uuid>,
}

impl Received<'_> {
    fn new<'a>(market: &Market, head: Head<'a>, asked: Asked) -> Received<'a> {
        let config = &market.config;
        let (order_type, price, funds) = match asked.kind {
            Kind::Limit { price, .. } => ("limit", Some(wire::price(price, config)), None),
            Kind::Market { funds } => ("market", None, funds.map(|funds| wire::amount(funds, &market.quote))),
        };
        Received {
            head,
            order_type,
            size: (!asked.size.is_zero()).then(|| wire::size(asked.size, config)),
            price,
            funds,
            client_oid: asked.client_id.map(|id| Uuid::from_u128(id.0)),
        }
    }
}

fn activate(market: &Market, id: OrderId, order: &NewOrder, stop: Stop, user: AccountId, at: Timestamp) -> ByteString {
    let config = &market.config;
    let funds = match order.kind {
        Kind::Market { funds } => funds.map(|funds| wire::amount(funds, &market.quote)),
        Kind::Limit { .. } => None,
    };
    json!({
        "type": "activate",
        "product_id": config.symbol,
        "timestamp": Decimal { units: i128::from(at.0), decimals: 6 }.to_string(),
        "user_id": ids::user(user),
        "profile_id": ids::profile(user),
        "order_id": ids::order(market.id, id),
        "stop_type": if stop.trigger == Trigger::Loss { "loss" } else { "entry" },
        "side": side(order.side),
        "stop_price": wire::price(stop.price, config),
        "size": wire::size(order.size, config),
        "funds": funds.unwrap_or_else(|| "0".into()),
        "private": true,
    })
    .to_string()
    .into()
}

fn open<'a>(market: &Market, head: Head<'a>, opened: &Opened) -> impl Serialize + use<'a> {
    #[derive(Serialize)]
    struct Open<'a> {
        #[serde(flatten)]
        head: Head<'a>,
        price: String,
        remaining_size: String,
    }
    Open {
        head,
        price: wire::price(opened.price, &market.config),
        remaining_size: wire::size(opened.remaining, &market.config),
    }
}

fn changed<'a>(market: &Market, head: Head<'a>, change: &Change) -> impl Serialize + use<'a> {
    #[derive(Serialize)]
    struct Changed<'a> {
        #[serde(flatten)]
        head: Head<'a>,
        reason: &'static str,
        #[serde(flatten)]
        values: BTreeMap<&'static str, String>,
    }
    let config = &market.config;
    let mut values = BTreeMap::new();
    values.extend(change.price.map(|price| ("price", wire::price(price, config))));
    values.extend(change.new_price.map(|price| ("new_price", wire::price(price, config))));
    match (change.old_funds, change.new_funds) {
        (Some(old), Some(new)) => values
            .extend([("old_funds", wire::amount(old, &market.quote)), ("new_funds", wire::amount(new, &market.quote))]),
        _ => values.extend([
            ("old_size", wire::size(change.old_size, config)),
            ("new_size", wire::size(change.new_size, config)),
        ]),
    }
    let reason = match change.reason {
        ChangeReason::SelfTrade => "STP",
        ChangeReason::Amended => "modify_order",
        ChangeReason::Auction => "auction",
    };
    Changed { head, reason, values }
}

fn ended<'a>(market: &Market, head: Head<'a>, done: &Done) -> impl Serialize + use<'a> {
    #[derive(Serialize)]
    struct Ended<'a> {
        #[serde(flatten)]
        head: Head<'a>,
        reason: &'static str,
        reason_code: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        price: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        remaining_size: Option<String>,
    }
    let config = &market.config;
    Ended {
        head,
        reason: done.reason.wire(),
        reason_code: done.reason.code(),
        price: done.price.map(|price| wire::price(price, config)),
        remaining_size: done.price.map(|_| wire::size(done.remaining, config)),
    }
}

/// The full list of what a connection has: channel names with product symbols.
pub fn subscriptions(channels: &[(&'static str, Vec<String>)]) -> ByteString {
    let rows: Vec<_> = channels.iter().map(|(name, products)| json!({"name": name, "product_ids": products})).collect();
    json!({"type": "subscriptions", "channels": rows}).to_string().into()
}

/// Symbols of markets by their place, for `resume_from`.
pub fn by_symbol(
    sequences: impl Iterator<Item = (MarketId, u64)>,
    market: impl Fn(MarketId) -> Option<String>,
) -> BTreeMap<String, u64> {
    sequences.filter_map(|(id, sequence)| Some((market(id)?, sequence))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_from_its_fee_where_no_other_has_the_same() {
        for rate in [0, 1, 999, 1_000, 2_000, 123_456, 1_000_000].map(Ppm) {
            for of in [Amount(1_000_000), Amount(7_654_321), Amount(123 * 10i128.pow(20))] {
                assert_eq!(charged(of.share_rounded_up(rate), of), Some(rate), "{rate:?} of {of:?}");
            }
        }
        assert_eq!(charged(Amount(1), Amount(500)), None, "from 1 to 2000 all the same");
        assert_eq!(charged(Amount(0), Amount(500)), Some(Ppm(0)));
        assert_eq!(charged(Amount(0), Amount(0)), None);
    }
}
