//! The texts of the socket. Those for everybody are made once for each change and shared by all connections.
//!
//! No message has a type that begins with `candles`: the front end would count it as a trade.

use super::super::views::{self, OrderFields};
use crate::actors::trading::Market;
use crate::actors::trading::market_data::{Ticker, Update, wall_clock};
use crate::domain::event::Event;
use crate::domain::ids::AccountId;
use crate::domain::ledger::Balance;
use crate::domain::market::Currency;
use crate::domain::money::Price;
use crate::domain::order::{Kind, OrderRecord, Side};
use crate::domain::time::Timestamp;
use crate::http::gitbitex::products::row;
use crate::http::v1::views::side;
use crate::http::ws::market_feed::MarketFeed;
use crate::http::ws::outbox::Levels;
use crate::http::{ids, wire};
use bytestring::ByteString;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

fn text(message: &impl Serialize) -> ByteString {
    // Plain structures of texts and numbers always become JSON.
    serde_json::to_string(message).unwrap_or_default().into()
}

/// The whole book, best first; prices and sizes in their shortest form, which the front end uses as keys.
pub fn snapshot(feed: &MarketFeed) -> ByteString {
    let rows = |side| feed.levels(side).map(|level| row(&feed.market, &level)).collect::<Vec<Value>>();
    text(&json!({
        "type": "snapshot",
        "productId": feed.market.config.symbol,
        "sequence": feed.sequence,
        "time": wall_clock().0.div_euclid(1_000),
        "bids": rows(Side::Buy),
        "asks": rows(Side::Sell),
    }))
}

/// Levels with their new sizes.
pub fn level2(market: &Market, sequence: u64, changes: Levels<'_>, at: Timestamp) -> ByteString {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Message<'a> {
        r#type: &'static str,
        product_id: &'a str,
        sequence: u64,
        time: String,
        changes: Vec<(&'static str, String, String)>,
    }
    let config = &market.config;
    let changes =
        changes.map(|(of, price, size)| (side(*of), wire::price(*price, config), wire::size(*size, config))).collect();
    text(&Message { r#type: "l2update", product_id: &config.symbol, sequence, time: views::time(at), changes })
}

/// The level changes of an update; made once.
pub fn level2_of(market: &Market, update: &Update) -> ByteString {
    let made = || level2(market, update.sequence, &mut update.levels.iter(), update.at);
    update.gitbitex.level2.get_or_init(made).clone()
}

/// The trades of an update, one message each; made once.
pub fn matches_of<'a>(market: &Market, update: &'a Update) -> &'a [ByteString] {
    update.gitbitex.matches.get_or_init(|| {
        let config = &market.config;
        let message = |(sequence, fill): &(u64, crate::domain::event::Fill)| {
            text(&json!({
                "type": "match",
                "productId": config.symbol,
                "tradeId": fill.trade.0,
                "sequence": sequence,
                "time": views::time(update.at),
                "price": wire::price(fill.price, config),
                "size": wire::size(fill.size, config),
                "side": side(fill.maker_side),
                "makerOrderId": views::order_id(market, fill.maker),
                "takerOrderId": views::order_id(market, fill.taker),
            }))
        };
        update.fills.iter().map(message).collect()
    })
}

/// The last trade with statistics: all of them numbers, and no name of a field that a product has.
pub fn ticker(market: &Market, ticker: &Ticker) -> ByteString {
    let config = &market.config;
    let best =
        |level: Option<(Price, _)>| level.map_or_else(|| "0".to_owned(), |(price, _)| wire::price(price, config));
    text(&json!({
        "type": "ticker",
        "productId": config.symbol,
        "tradeId": ticker.trade.id.0,
        "sequence": ticker.sequence,
        "time": views::time(ticker.trade.at),
        "price": wire::price(ticker.trade.price, config),
        "side": side(ticker.trade.maker_side),
        "lastSize": wire::size(ticker.trade.size, config),
        "bestBid": best(ticker.bid),
        "bestAsk": best(ticker.ask),
        "open24h": wire::price(ticker.stats.open, config),
        "close24h": wire::price(ticker.stats.last, config),
        "high24h": wire::price(ticker.stats.high, config),
        "low24h": wire::price(ticker.stats.low, config),
        "volume24h": wire::steps(ticker.stats.volume, config.lot),
        "volume30d": wire::steps(ticker.stats.volume_30d, config.lot),
    }))
}

/// The ticker after the last trade of an update, if there was one; made once.
pub fn ticker_of(market: &Market, update: &Update) -> Option<ByteString> {
    let made = update
        .gitbitex
        .tickers
        .get_or_init(|| update.tickers.last().map(|one| ticker(market, one)).into_iter().collect());
    made.first().cloned()
}

/// The single orders of an update with their sequences; made once.
pub fn full_of<'a>(market: &Market, update: &'a Update) -> &'a [(u64, ByteString)] {
    update.gitbitex.full.get_or_init(|| {
        let public = update.outcomes.numbered().filter(|(_, event)| event.is_public());
        public.filter_map(|(n, event)| Some((n, single(market, n, update.at, event)?))).collect()
    })
}

fn single(market: &Market, sequence: u64, at: Timestamp, event: &Event) -> Option<ByteString> {
    let config = &market.config;
    let head = |kind: &str, id, of: Side| {
        json!({
            "type": kind, "productId": config.symbol, "sequence": sequence, "time": views::time(at),
            "orderId": views::order_id(market, id), "side": side(of),
        })
    };
    let received = |id, of, kind: Kind, size| {
        let mut message = head("received", id, of);
        let (order_type, price, funds) = match kind {
            Kind::Limit { price, .. } => ("limit", wire::price(price, config), None),
            Kind::Market { funds } => ("market", "0".to_owned(), funds),
        };
        message["orderType"] = order_type.into();
        message["price"] = price.into();
        message["size"] = wire::size(size, config).into();
        message["funds"] = funds.map_or_else(|| "0".to_owned(), |funds| wire::amount(funds, &market.quote)).into();
        message
    };
    let message = match event {
        Event::Accepted(id, order) => received(*id, order.side, order.kind, order.size),
        Event::Triggered(order) => received(order.id, order.side, order.kind, order.size),
        Event::Opened(opened) => {
            let mut message = head("open", opened.id, opened.side);
            message["price"] = wire::price(opened.price, config).into();
            message["remainingSize"] = wire::size(opened.remaining, config).into();
            message
        }
        Event::Done(done) => {
            let mut message = head("done", done.id, done.side);
            message["price"] = done.price.map_or_else(|| "0".to_owned(), |price| wire::price(price, config)).into();
            message["remainingSize"] = wire::size(done.remaining, config).into();
            message["reason"] = if done.reason.is_filled() { "filled" } else { "cancelled" }.into();
            message
        }
        Event::Filled(_)
        | Event::Crossed(_)
        | Event::Changed(_)
        | Event::Rejected { .. }
        | Event::Refused { .. }
        | Event::BatchRefused { .. }
        | Event::Configured(_)
        | Event::Phase(_) => return None,
    };
    Some(text(&message))
}

/// An order of the user's, as it stands after the event of this sequence.
pub fn order(market: &Market, sequence: u64, record: &OrderRecord) -> ByteString {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Message {
        r#type: &'static str,
        user_id: Uuid,
        sequence: u64,
        order_type: &'static str,
        #[serde(flatten)]
        fields: OrderFields,
    }
    text(&Message {
        r#type: "order",
        user_id: ids::user(record.account),
        sequence,
        order_type: views::kind(record),
        fields: OrderFields::new(market, record),
    })
}

/// What the user has of a currency now.
pub fn funds(user: AccountId, sequence: u64, currency: &Currency, balance: Balance) -> ByteString {
    text(&json!({
        "type": "funds",
        "userId": ids::user(user),
        "sequence": sequence,
        "currencyCode": currency.code,
        "available": wire::amount(balance.available, currency),
        "hold": wire::amount(balance.hold, currency),
    }))
}

/// The connection's whole state: channels with their products, or currencies.
pub fn subscriptions(products: &[(String, Vec<String>)], currencies: &[String]) -> ByteString {
    let mut channels: Vec<Value> =
        products.iter().map(|(name, products)| json!({"name": name, "product_ids": products})).collect();
    if !currencies.is_empty() {
        channels.push(json!({"name": "funds", "currency_ids": currencies}));
    }
    text(&json!({"type": "subscriptions", "channels": channels}))
}

/// The answer to a ping.
pub fn pong() -> ByteString {
    ByteString::from_static(r#"{"type":"pong"}"#)
}

/// Something was not understood, or the connection ends.
pub fn error(message: &str) -> ByteString {
    text(&json!({"type": "error", "message": message}))
}
