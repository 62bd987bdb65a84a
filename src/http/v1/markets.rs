//! What everybody may ask: time, currencies, products, books, trades, candles, statistics.

use super::edge::Shown;
use super::page;
use super::params::Params;
use super::views::{AuctionView, CurrencyView, ProductView, side};
use crate::actors::trading::market_data::wall_clock;
use crate::actors::trading::{Market, Unavailable};
use crate::domain::book::Resting;
use crate::domain::candle::Candle;
use crate::domain::market_data::{Level, Trade};
use crate::domain::money::Price;
use crate::domain::time::{SECOND, Timestamp};
use crate::http::error::ApiError;
use crate::http::exchange::market_data as exchange;
use crate::http::{AppState, ids, wire};
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use std::sync::Arc;

type Answer = Result<HttpResponse, ApiError>;

/// The most buckets of one candle request.
const MAX_BUCKETS: i64 = 300;

/// The widths of candles in seconds that are served.
pub(super) const SERVED_GRANULARITIES: [u32; 6] = [60, 300, 900, 3_600, 21_600, 86_400];

/// A market that a path names.
pub(super) fn market<'a>(state: &'a AppState, symbol: &str) -> Result<&'a Arc<Market>, ApiError> {
    state.trading.market(symbol).ok_or_else(ApiError::not_found)
}

/// `GET /time`.
pub async fn time() -> HttpResponse {
    let now = wall_clock();
    let millis = now.0.div_euclid(1_000);
    let epoch = crate::domain::money::Decimal { units: i128::from(millis), decimals: 3 }.to_string();
    let body = format!(r#"{{"iso":"{}","epoch":{epoch}}}"#, wire::time(Timestamp(millis * 1_000)));
    HttpResponse::Ok().content_type("application/json; charset=utf-8").body(body)
}

/// `GET /currencies`.
pub async fn currencies(state: web::Data<AppState>) -> HttpResponse {
    let view = |currency| CurrencyView::new(currency, &state.custody.networks(currency));
    HttpResponse::Ok().json(state.trading.currencies().iter().map(view).collect::<Vec<_>>())
}

/// `GET /currencies/{id}`. Without the `message` that the list has: at the top of an answer, clients take it for an error.
pub async fn currency(state: web::Data<AppState>, code: web::Path<String>) -> Answer {
    let currency = state.trading.currency(&code).ok_or_else(ApiError::not_found)?;
    let view = CurrencyView::new(currency, &state.custody.networks(currency));
    Ok(HttpResponse::Ok().json(view.alone()))
}

/// `GET /products`.
pub async fn products(state: web::Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(state.trading.markets().iter().map(|market| ProductView::new(market)).collect::<Vec<_>>())
}

/// `GET /products/{id}`.
pub async fn product(state: web::Data<AppState>, symbol: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok().json(ProductView::new(market(&state, &symbol)?)))
}

/// `GET /products/{id}/book`.
pub async fn book(state: web::Data<AppState>, symbol: web::Path<String>, params: Params) -> Answer {
    let market = market(&state, &symbol)?;
    let invalid = || ApiError::bad_request("invalid_level", "level must be 1, 2 or 3");
    let own = match params.number::<u8>("level").map_err(|_| invalid())?.unwrap_or(1) {
        level @ (1 | 2) => levels(market, if level == 1 { 1 } else { usize::MAX }).await,
        3 => every_order(market).await,
        _ => return Err(invalid()),
    };
    let own = own.map(|(sequence, body)| (sequence, body.to_string()));
    let shown = match params.number::<u8>("level") {
        Ok(Some(2)) => state.edge.freshest(Shown::Book, &market.config.symbol, own).await?,
        _ => own?.1,
    };
    Ok(HttpResponse::Ok().content_type("application/json; charset=utf-8").body(shown))
}

fn book_view(market: &Market, sequence: u64, bids: Vec<Value>, asks: Vec<Value>) -> (u64, Value) {
    let auction = AuctionView::of(market, &market.phase.view());
    let view = json!({
        "bids": bids, "asks": asks, "sequence": sequence,
        "auction_mode": auction.is_some(), "auction": auction, "time": wire::time(wall_clock()),
    });
    (sequence, view)
}

/// The best levels of a book, `most` of each side, with their feed sequence.
///
/// # Errors
/// While the market's data is not at hand.
pub(super) async fn levels(market: &Market, most: usize) -> Result<(u64, Value), Unavailable> {
    let config = &market.config;
    let picture = exchange::picture(market, most).await?;
    let row = |(price, level): (Price, Level)| {
        json!([wire::price(price, config), wire::size(level.size, config), level.orders])
    };
    let rows = |levels: Vec<(Price, Level)>| levels.into_iter().map(row).collect::<Vec<_>>();
    Ok(book_view(market, picture.sequence, rows(picture.bids), rows(picture.asks)))
}

async fn every_order(market: &Market) -> Result<(u64, Value), Unavailable> {
    let config = &market.config;
    let full = market.full_book().await?;
    let row = |order: &Resting| {
        let id = ids::order(market.id, order.id);
        json!([wire::price(order.price, config), wire::size(order.remaining, config), id])
    };
    Ok(book_view(market, full.sequence, full.bids.iter().map(row).collect(), full.asks.iter().map(row).collect()))
}

/// `GET /products/{id}/ticker`.
pub async fn ticker(state: web::Data<AppState>, symbol: web::Path<String>) -> Answer {
    let market = market(&state, &symbol)?;
    let config = &market.config;
    let ticker = exchange::ticker(market).await?.ok_or_else(ApiError::not_found)?;
    let best = |level: Option<(Price, Level)>| level.map_or("0".into(), |(price, _)| wire::price(price, config));
    Ok(HttpResponse::Ok().json(json!({
        "trade_id": ticker.trade.id.0,
        "price": wire::price(ticker.trade.price, config),
        "size": wire::size(ticker.trade.size, config),
        "bid": best(ticker.bid),
        "ask": best(ticker.ask),
        "volume": wire::steps(ticker.stats.volume, config.lot),
        "time": wire::time(ticker.trade.at),
    })))
}

/// `GET /products/{id}/stats`.
pub async fn stats(state: web::Data<AppState>, symbol: web::Path<String>) -> Answer {
    let market = market(&state, &symbol)?;
    let config = &market.config;
    let stats = exchange::ticker(market).await?.map(|ticker| ticker.stats).unwrap_or_default();
    Ok(HttpResponse::Ok().json(json!({
        "open": wire::price(stats.open, config),
        "high": wire::price(stats.high, config),
        "low": wire::price(stats.low, config),
        "last": wire::price(stats.last, config),
        "volume": wire::steps(stats.volume, config.lot),
        "volume_30day": wire::steps(stats.volume_30d, config.lot),
    })))
}

/// `GET /products/{id}/trades`.
pub async fn trades(state: web::Data<AppState>, symbol: web::Path<String>, params: Params) -> Answer {
    let market = market(&state, &symbol)?;
    let page = params.page()?;
    let (older, newer) = page.numbers()?;
    let page = exchange::trades(&state, market, page.limit, older, newer).await?;
    let view = |trade: &Trade| {
        json!({
            "trade_id": trade.id.0,
            "side": side(trade.maker_side),
            "price": wire::price(trade.price, &market.config),
            "size": wire::size(trade.size, &market.config),
            "time": wire::time(trade.at),
        })
    };
    let ends = page.first().zip(page.last()).map(|(a, b)| (a.id.0.to_string(), b.id.0.to_string()));
    Ok(page::answer(&page.iter().map(view).collect::<Vec<_>>(), ends))
}

/// `GET /products/{id}/candles`.
pub async fn candles(state: web::Data<AppState>, symbol: web::Path<String>, params: Params) -> Answer {
    let market = market(&state, &symbol)?;
    let unsupported = || ApiError::bad_request("unsupported_granularity", "Unsupported granularity");
    let granularity = params.number::<u32>("granularity").map_err(|_| unsupported())?.unwrap_or(60);
    if !SERVED_GRANULARITIES.contains(&granularity) {
        return Err(unsupported());
    }
    let width = i64::from(granularity) * SECOND;
    let (from, to) = match (params.time("start")?, params.time("end")?) {
        (Some(start), Some(end)) => (start, end),
        (Some(start), None) => (start, start + width * (MAX_BUCKETS - 1)),
        (None, Some(_)) => newest_range(exchange::picture(market, 0).await?.now(), width),
        (None, None) => {
            let own = newest_candles(&state, market, granularity).await;
            let body = state.edge.freshest(Shown::Candles(granularity), &market.config.symbol, own).await?;
            return Ok(HttpResponse::Ok().content_type("application/json; charset=utf-8").body(body));
        }
    };
    let from = if from.bucket(width) < from { from.bucket(width) + width } else { from };
    // Clients ask for 300 buckets with both edges, so 301 may begin in the range.
    if to - from >= width * (MAX_BUCKETS + 1) {
        let message = format!("the range holds more than {MAX_BUCKETS} candles");
        return Err(ApiError::bad_request("range_too_long", message));
    }
    let body = candle_range(&state, market, granularity, (from, to)).await?;
    Ok(HttpResponse::Ok().content_type("application/json; charset=utf-8").body(body))
}

/// The first and the last of the newest buckets that one answer holds.
fn newest_range(now: Timestamp, width: i64) -> (Timestamp, Timestamp) {
    let newest = now.bucket(width);
    (newest + -width * (MAX_BUCKETS - 1), newest)
}

/// The newest candles, with the feed sequence of the market before they were read.
///
/// # Errors
/// While the market's data or the database is not at hand.
pub(super) async fn newest_candles(
    state: &AppState,
    market: &Market,
    granularity: u32,
) -> Result<(u64, String), ApiError> {
    let picture = exchange::picture(market, 0).await?;
    let range = newest_range(picture.now(), i64::from(granularity) * SECOND);
    Ok((picture.sequence, candle_range(state, market, granularity, range).await?))
}

async fn candle_range(
    state: &AppState,
    market: &Market,
    granularity: u32,
    (from, to): (Timestamp, Timestamp),
) -> Result<String, ApiError> {
    let found = exchange::candles(state, market, granularity, (from, to), MAX_BUCKETS as usize + 1).await?;
    Ok(candle_rows(found.iter(), market))
}

/// Candles as the dialect has them: rows `[time, low, high, open, close, volume]` of JSON numbers, which are printed
/// from exact decimals rather than through floats.
pub(in crate::http) fn candle_rows<'a>(candles: impl Iterator<Item = &'a Candle>, market: &Market) -> String {
    let config = &market.config;
    let rows: Vec<String> = candles
        .map(|candle| {
            let [low, high, open, close] =
                [candle.low, candle.high, candle.open, candle.close].map(|price| wire::price(price, config));
            let volume = wire::size(candle.volume, config);
            format!("[{},{low},{high},{open},{close},{volume}]", candle.start.seconds())
        })
        .collect();
    format!("[{}]", rows.join(","))
}
