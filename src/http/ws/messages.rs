//! The texts of the feed. Public ones are made once for each update and shared by all sessions.

use crate::actors::trading::Market;
use crate::actors::trading::market_data::{Picture, Ticker, Update, parties_of};
use crate::domain::event::{ChangeReason, Event, Fill};
use crate::domain::ids::AccountId;
use crate::domain::market_data::Level;
use crate::domain::money::{Price, Size};
use crate::domain::order::{Kind, Side, Trigger};
use crate::domain::time::Timestamp;
use crate::http::v1::views::side;
use crate::http::{ids, wire};
use bytestring::ByteString;
use serde_json::{Value, json};

/// The whole book, best first.
pub fn snapshot(market: &Market, picture: &Picture, at: Timestamp) -> ByteString {
    let row = |(price, level): &(Price, Level)| {
        json!([wire::price(*price, &market.config), wire::size(level.size, &market.config)])
    };
    json!({
        "type": "snapshot",
        "product_id": market.config.symbol,
        "bids": picture.bids.iter().map(row).collect::<Vec<_>>(),
        "asks": picture.asks.iter().map(row).collect::<Vec<_>>(),
        "sequence": picture.sequence,
        "time": wire::time(at),
    })
    .to_string()
    .into()
}

/// The levels that changed.
pub fn level2(market: &Market, update: &Update) -> ByteString {
    let text = update.texts.level2.get_or_init(|| {
        let row = |(book_side, price, size): &(Side, Price, Size)| {
            json!([side(*book_side), wire::price(*price, &market.config), wire::size(*size, &market.config)])
        };
        json!({
            "type": "l2update",
            "product_id": market.config.symbol,
            "changes": update.levels.iter().map(row).collect::<Vec<_>>(),
            "sequence": update.sequence,
            "time": wire::time(update.at),
        })
        .to_string()
        .into()
    });
    text.clone()
}

fn match_message(market: &Market, kind: &str, sequence: u64, at: Timestamp, fill: &Fill) -> Value {
    json!({
        "type": kind,
        "trade_id": fill.trade.0,
        "sequence": sequence,
        "maker_order_id": ids::order(market.id, fill.maker),
        "taker_order_id": ids::order(market.id, fill.taker),
        "time": wire::time(at),
        "product_id": market.config.symbol,
        "size": wire::size(fill.size, &market.config),
        "price": wire::price(fill.price, &market.config),
        "side": side(fill.maker_side),
    })
}

/// The trades of an update.
pub fn matches(market: &Market, update: &Update) -> Vec<ByteString> {
    let texts = update.texts.matches.get_or_init(|| {
        let text = |(sequence, fill): &(u64, Fill)| {
            match_message(market, "match", *sequence, update.at, fill).to_string().into()
        };
        update.fills.iter().map(text).collect()
    });
    texts.clone()
}

/// The last trade, for a new subscriber of matches. Its orders are not known any more.
pub fn last_match(market: &Market, ticker: &Ticker) -> ByteString {
    let nobody = uuid::Uuid::nil();
    json!({
        "type": "last_match",
        "trade_id": ticker.trade.id.0,
        "sequence": ticker.sequence,
        "maker_order_id": nobody,
        "taker_order_id": nobody,
        "time": wire::time(ticker.trade.at),
        "product_id": market.config.symbol,
        "size": wire::size(ticker.trade.size, &market.config),
        "price": wire::price(ticker.trade.price, &market.config),
        "side": side(ticker.trade.maker_side),
    })
    .to_string()
    .into()
}

/// The tickers of an update.
pub fn tickers<'a>(market: &Market, update: &'a Update) -> &'a [ByteString] {
    update.texts.tickers.get_or_init(|| update.tickers.iter().map(|one| ticker(market, one)).collect())
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
pub fn error(message: &str, reason: &str) -> ByteString {
    json!({"type": "error", "message": message, "reason": reason}).to_string().into()
}

/// What the owner of an order hears of one event; `None` when it does not concern the user.
pub fn private(market: &Market, user: AccountId, sequence: u64, at: Timestamp, event: &Event) -> Option<ByteString> {
    let mut concerned = false;
    parties_of(event, |party| concerned |= party == user);
    if !concerned {
        return None;
    }
    let mut message = event_message(market, user, sequence, at, event)?;
    if let Value::Object(fields) = &mut message {
        fields.insert("user_id".into(), json!(ids::user(user)));
        fields.insert("profile_id".into(), json!(ids::profile(user)));
    }
    Some(message.to_string().into())
}

fn event_message(market: &Market, user: AccountId, sequence: u64, at: Timestamp, event: &Event) -> Option<Value> {
    let config = &market.config;
    let order_id = |id| ids::order(market.id, id);
    let base = |kind: &str, id, order_side| {
        json!({
            "type": kind, "time": wire::time(at), "product_id": config.symbol, "sequence": sequence,
            "order_id": order_id(id), "side": side(order_side),
        })
    };
    let with = |mut message: Value, more: Vec<(&str, Value)>| {
        if let Value::Object(fields) = &mut message {
            fields.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
        }
        message
    };
    Some(match event {
        Event::Accepted(id, order) => match order.stop {
            None => {
                let mut more = match order.kind {
                    Kind::Limit { price, .. } => vec![
                        ("order_type", json!("limit")),
                        ("price", json!(wire::price(price, config))),
                        ("size", json!(wire::size(order.size, config))),
                    ],
                    Kind::Market { funds } => {
                        let mut more = vec![("order_type", json!("market"))];
                        if !order.size.is_zero() {
                            more.push(("size", json!(wire::size(order.size, config))));
                        }
                        more.extend(funds.map(|funds| ("funds", json!(wire::amount(funds, &market.quote)))));
                        more
                    }
                };
                more.extend(order.client_id.map(|id| ("client_oid", json!(uuid::Uuid::from_u128(id.0)))));
                with(base("received", *id, order.side), more)
            }
            Some(stop) => json!({
                "type": "activate",
                "product_id": config.symbol,
                "timestamp": crate::domain::money::Decimal { units: i128::from(at.0), decimals: 6 }.to_string(),
                "order_id": order_id(*id),
                "stop_type": if stop.trigger == Trigger::Loss { "loss" } else { "entry" },
                "side": side(order.side),
                "stop_price": wire::price(stop.price, config),
                "size": wire::size(order.size, config),
                "private": true,
            }),
        },
        Event::Opened(opened) => with(
            base("open", opened.id, opened.side),
            vec![
                ("price", json!(wire::price(opened.price, config))),
                ("remaining_size", json!(wire::size(opened.remaining, config))),
            ],
        ),
        Event::Filled(fill) => {
            let (role, rate) =
                if fill.taker_account == user { ("taker", config.taker_fee) } else { ("maker", config.maker_fee) };
            let mut message = match_message(market, "match", sequence, at, fill);
            if let Value::Object(fields) = &mut message {
                fields.insert(format!("{role}_user_id"), json!(ids::user(user)));
                fields.insert(format!("{role}_profile_id"), json!(ids::profile(user)));
                fields.insert(format!("{role}_fee_rate"), json!(wire::rate(rate)));
            }
            message
        }
        Event::Changed(change) => {
            let reason = match change.reason {
                ChangeReason::SelfTrade => "STP",
                ChangeReason::Amended => "modify_order",
            };
            let mut more = vec![("reason", json!(reason))];
            more.extend(change.price.map(|price| ("price", json!(wire::price(price, config)))));
            more.extend(change.new_price.map(|price| ("new_price", json!(wire::price(price, config)))));
            match (change.old_funds, change.new_funds) {
                (Some(old), Some(new)) => {
                    more.push(("old_funds", json!(wire::amount(old, &market.quote))));
                    more.push(("new_funds", json!(wire::amount(new, &market.quote))));
                }
                _ => {
                    more.push(("old_size", json!(wire::size(change.old_size, config))));
                    more.push(("new_size", json!(wire::size(change.new_size, config))));
                }
            }
            with(base("change", change.id, change.side), more)
        }
        Event::Done(done) => {
            let mut more = vec![("reason", json!(done.reason.wire()))];
            if let Some(price) = done.price {
                more.push(("price", json!(wire::price(price, config))));
                more.push(("remaining_size", json!(wire::size(done.remaining, config))));
            }
            with(base("done", done.id, done.side), more)
        }
        Event::Triggered(triggered) => json!({
            "type": "received", "time": wire::time(at), "product_id": config.symbol, "sequence": sequence,
            "order_id": order_id(triggered.id),
        }),
        Event::Rejected { .. } | Event::Refused { .. } | Event::Configured(_) => return None,
    })
}
