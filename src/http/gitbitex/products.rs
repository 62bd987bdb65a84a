//! What everybody may ask: products, trades, candles, books, the small price line, configurations.

use super::views;
use crate::actors::trading::Market;
use crate::actors::trading::market_data::wall_clock;
use crate::auth::key;
use crate::domain::book::Resting;
use crate::domain::candle::{Candle, widened};
use crate::domain::market::Step;
use crate::domain::market_data::{Level, Trade};
use crate::domain::money::{Price, Size};
use crate::domain::time::{DAY, SECOND, Timestamp};
use crate::http::error::ApiError;
use crate::http::exchange::market_data::{self, picture};
use crate::http::v1::markets::candle_rows;
use crate::http::v1::params::Params;
use crate::http::v1::views::side;
use crate::http::{AppState, wire};
use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::sync::Arc;

type Answer = Result<HttpResponse, ApiError>;

/// The widths of candles in seconds that are served.
const GRANULARITIES: [u32; 7] = [60, 300, 900, HALF_HOUR, 3_600, 21_600, 86_400];
/// A width that nobody keeps: two of the width below make one.
const HALF_HOUR: u32 = 1_800;
/// Candles of one answer.
const CANDLES: usize = 1_000;
const MOST_CANDLES: usize = 10_000;
/// Trades of one answer.
const TRADES: usize = 100;
const MOST_TRADES: usize = 1_000;
/// Width and height of the small price line.
const LINE: (i128, i128) = (200, 50);
/// Seconds of one of its points.
const LINE_STEP: u32 = 900;

/// The product of this id.
pub fn market<'a>(state: &'a AppState, symbol: &str) -> Result<&'a Arc<Market>, ApiError> {
    let unknown = || ApiError::new(actix_web::http::StatusCode::NOT_FOUND, "product_not_found", "Product not found");
    state.trading.market(symbol).ok_or_else(unknown)
}

/// The front end takes the length of this text minus two as a number of decimals, so it must begin with `0.`.
fn fraction(text: String, step: Step) -> String {
    if text.starts_with("0.") {
        return text;
    }
    match wire::steps(1, step) {
        step if step.starts_with("0.") => step,
        // Whole steps: one decimal more than there is; the order itself is checked exactly.
        _ => "0.1".to_owned(),
    }
}

/// `GET /products`.
pub async fn list(state: web::Data<AppState>) -> HttpResponse {
    let view = |market: &Arc<Market>| {
        let config = &market.config;
        json!({
            "id": config.symbol,
            "baseCurrency": market.base.code,
            "quoteCurrency": market.quote.code,
            "baseMinSize": fraction(wire::size(config.min_size, config), config.lot),
            "baseMaxSize": wire::size(config.max_size, config),
            "quoteMinSize": wire::amount(config.min_funds, &market.quote),
            "quoteMaxSize": wire::amount(config.max_funds, &market.quote),
            "quoteIncrement": fraction(wire::steps(1, config.tick), config.tick),
            "baseScale": config.lot.decimals,
            "quoteScale": config.tick.decimals,
        })
    };
    HttpResponse::Ok().json(state.trading.markets().iter().map(view).collect::<Vec<_>>())
}

/// `GET /products/{id}/trades`: newest first, the maker's side.
pub async fn trades(state: web::Data<AppState>, symbol: web::Path<String>, params: Params) -> Answer {
    let market = market(&state, &symbol)?;
    let limit = params.number::<usize>("limit")?.unwrap_or(TRADES).min(MOST_TRADES);
    let view = |trade: &Trade| {
        json!({
            "tradeId": trade.id.0,
            "sequence": trade.id.0,
            "time": views::time(trade.at),
            "price": wire::price(trade.price, &market.config),
            "size": wire::size(trade.size, &market.config),
            "side": side(trade.maker_side),
        })
    };
    let newest = market_data::trades(&state, market, limit, None, None).await?;
    Ok(HttpResponse::Ok().json(newest.iter().map(view).collect::<Vec<_>>()))
}

/// The newest candles of a width, newest first.
async fn newest_candles(
    state: &AppState,
    market: &Market,
    granularity: u32,
    from: Timestamp,
    limit: usize,
) -> Result<Vec<Candle>, ApiError> {
    let span = (from, Timestamp(i64::MAX));
    if granularity != HALF_HOUR {
        return market_data::candles(state, market, granularity, span, limit).await;
    }
    // The oldest one may be half of one, so one more is read.
    let halves = market_data::candles(state, market, HALF_HOUR / 2, span, limit * 2 + 1).await?;
    let mut whole = widened(&halves, i64::from(HALF_HOUR) * SECOND);
    whole.truncate(limit);
    Ok(whole)
}

/// `GET /products/{id}/candles`: newest first. A product that was never traded has one flat candle at its reference
/// price, if it has one: with an empty list the front end shows no chart until it is loaded again.
pub async fn candles(state: web::Data<AppState>, symbol: web::Path<String>, params: Params) -> Answer {
    let market = market(&state, &symbol)?;
    let unsupported = || {
        let known = GRANULARITIES.map(|width| width.to_string()).join(", ");
        ApiError::bad_request("unsupported_granularity", format!("The granularity must be one of {known}."))
    };
    let granularity = params.number::<u32>("granularity").map_err(|_| unsupported())?.unwrap_or(60);
    if !GRANULARITIES.contains(&granularity) {
        return Err(unsupported());
    }
    let limit = params.number::<usize>("limit")?.unwrap_or(CANDLES).clamp(1, MOST_CANDLES);
    let mut found = newest_candles(&state, market, granularity, Timestamp(i64::MIN), limit).await?;
    let reference = market.config.reference_price;
    if found.is_empty() && reference != Price(0) {
        let start = wall_clock().bucket(i64::from(granularity) * SECOND);
        let (open, high, low, close) = (reference, reference, reference, reference);
        found.push(Candle { start, open, high, low, close, volume: Size::ZERO, trades: 0 });
    }
    let body = candle_rows(found.iter(), market);
    Ok(HttpResponse::Ok().content_type("application/json; charset=utf-8").body(body))
}

/// `GET /products/{id}/book`.
pub async fn book(state: web::Data<AppState>, symbol: web::Path<String>, params: Params) -> Answer {
    let market = market(&state, &symbol)?;
    let config = &market.config;
    let invalid = || ApiError::bad_request("invalid_level", "The level must be 1, 2 or 3.");
    let (sequence, bids, asks): (u64, Vec<Value>, Vec<Value>) =
        match params.number::<u8>("level").map_err(|_| invalid())?.unwrap_or(2) {
            level @ (1 | 2) => {
                let picture = picture(market, if level == 1 { 1 } else { usize::MAX }).await?;
                let rows = |levels: Vec<(Price, Level)>| levels.iter().map(|level| row(market, level)).collect();
                (picture.sequence, rows(picture.bids), rows(picture.asks))
            }
            3 => {
                let full = market.full_book().await?;
                let row = |order: &Resting| {
                    let id = views::order_id(market, order.id);
                    json!([id, wire::price(order.price, config), wire::size(order.remaining, config)])
                };
                (full.sequence, full.bids.iter().map(row).collect(), full.asks.iter().map(row).collect())
            }
            _ => return Err(invalid()),
        };
    Ok(HttpResponse::Ok().json(json!({
        "productId": config.symbol, "sequence": sequence, "time": wall_clock().0.div_euclid(1_000),
        "bids": bids, "asks": asks,
    })))
}

/// A price level: price, size, number of orders.
pub(super) fn row(market: &Market, (price, level): &(Price, Level)) -> Value {
    json!([wire::price(*price, &market.config), wire::size(level.size, &market.config), level.orders])
}

/// `GET /products/{id}/svg`: the prices of the last day as a small line.
pub async fn line(state: web::Data<AppState>, symbol: web::Path<String>) -> Answer {
    let market = market(&state, &symbol)?;
    let points = usize::try_from(DAY / SECOND / i64::from(LINE_STEP)).unwrap_or(1) + 1;
    let from = picture(market, 0).await?.now() + -DAY;
    let candles = newest_candles(&state, market, LINE_STEP, from, points).await?;
    Ok(svg(drawn(&candles, from)))
}

/// A picture that a browser may show and nothing else.
pub(super) fn svg(body: String) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("image/svg+xml")
        .insert_header(("Cache-Control", "max-age=60"))
        .insert_header(("X-Content-Type-Options", "nosniff"))
        .insert_header(("Content-Security-Policy", "default-src 'none'; sandbox"))
        .body(body)
}

/// Candles, newest first, as a line over the day that began at `from`.
fn drawn(candles: &[Candle], from: Timestamp) -> String {
    let (width, height) = LINE;
    let lowest = candles.iter().map(|candle| candle.close.0).min().unwrap_or(0);
    let highest = candles.iter().map(|candle| candle.close.0).max().unwrap_or(0);
    let range = i128::from(highest - lowest);
    let mut points = String::new();
    for candle in candles.iter().rev() {
        let x = i128::from((candle.start - from).clamp(0, DAY)) * width / i128::from(DAY);
        // A day of one price is a line in the middle.
        let y = match highest == lowest {
            true => height / 2,
            false => height - 1 - i128::from(candle.close.0 - lowest) * (height - 2) / range,
        };
        // Writing to a text never fails.
        let _ = write!(points, "{x},{y} ");
    }
    let color = match (candles.last(), candles.first()) {
        (Some(first), Some(last)) if last.close < first.open => "#e74c3c",
        _ => "#27ae60",
    };
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"><polyline fill="none" stroke="{color}" stroke-width="1.5" points="{}"/></svg>"#,
        points.trim_end()
    )
}

/// `GET /configs`: text values by key; empty ones are left out.
pub async fn configs(state: web::Data<AppState>) -> HttpResponse {
    let now = state.accounts.runtime();
    let notice = now.settings().get(key::NOTICE).and_then(|setting| setting.value.as_str().map(str::to_owned));
    let values: Map<String, Value> = notice
        .filter(|text| !text.is_empty())
        .map(|text| ("notice".to_owned(), Value::String(text)))
        .into_iter()
        .collect();
    HttpResponse::Ok().json(values)
}

/// `GET /health`.
pub async fn health() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("OK")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_begin_with_zero_and_a_point() {
        let step = |units, decimals| Step { units, decimals };
        assert_eq!(fraction("0.0001".into(), step(1, 6)), "0.0001");
        assert_eq!(fraction("1".into(), step(1, 3)), "0.001");
        assert_eq!(fraction("5".into(), step(5, 0)), "0.1");
    }

    #[test]
    fn a_line_rises_to_the_right() {
        let candle = |minutes: i64, price: u64| Candle {
            start: Timestamp(minutes * 60 * SECOND),
            open: Price(price),
            high: Price(price),
            low: Price(price),
            close: Price(price),
            volume: Size(1),
            trades: 1,
        };
        let text = drawn(&[candle(1_440, 30), candle(720, 20), candle(0, 10)], Timestamp(0));
        assert!(text.contains(r#"points="0,49 100,25 200,1""#), "{text}");
        assert!(text.contains("#27ae60"));
        assert!(drawn(&[candle(10, 10)], Timestamp(0)).contains("points=\"1,25\""));
        assert!(drawn(&[], Timestamp(0)).contains("points=\"\""));
    }
}
