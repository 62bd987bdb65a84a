//! All markets at a glance: spark lines and volumes.

use super::markets::candle_rows;
use crate::actors::trading::market_data::{GetCandles, wall_clock};
use crate::actors::trading::{Market, Unavailable};
use crate::domain::candle::Candle;
use crate::domain::time::{DAY, HOUR, Timestamp};
use crate::http::error::ApiError;
use crate::http::exchange::market_data as exchange;
use crate::http::{AppState, wire};
use actix_web::{HttpResponse, web};
use serde_json::json;
use std::sync::Arc;

type Answer = Result<HttpResponse, ApiError>;

/// The hourly candles of the last day, newest first. A newest trade that is ahead of this node's clock ends that day.
async fn last_day(market: &Market) -> Result<Vec<Candle>, Unavailable> {
    let now = wall_clock().bucket(HOUR);
    let asked = GetCandles { granularity: 3_600, from: now + -DAY, to: Timestamp(i64::MAX) };
    let (mut candles, _) = exchange::answered(market.data.send(asked)).await?.ok_or(Unavailable::Starting)?;
    let newest = candles.first().map_or(now, |candle| candle.start.max(now));
    candles.retain(|candle| candle.start >= newest + -DAY);
    Ok(candles)
}

/// `GET /products/spark-lines`: the hourly candles of the last day of each market; none of one that does not answer.
pub async fn spark_lines(state: web::Data<AppState>) -> Answer {
    let markets = state.trading.markets();
    let answers = exchange::of_each(markets.iter().map(|market| last_day(market))).await?;
    let line = |(market, candles): (&Arc<Market>, Option<Vec<Candle>>)| {
        format!("\"{}\":{}", market.config.symbol, candle_rows(candles.unwrap_or_default().iter(), market))
    };
    let lines: Vec<String> = markets.iter().zip(answers).map(line).collect();
    let body = format!("{{{}}}", lines.join(","));
    Ok(HttpResponse::Ok().content_type("application/json; charset=utf-8").body(body))
}

/// `GET /products/volume-summary`: base volumes of the last day and 30 days of each market that answers.
pub async fn volumes(state: web::Data<AppState>) -> Answer {
    let markets = state.trading.markets();
    let tickers = exchange::of_each(markets.iter().map(|market| exchange::ticker(market))).await?;
    let mut rows = Vec::new();
    for (market, ticker) in markets.iter().zip(tickers) {
        let Some(ticker) = ticker else { continue };
        let stats = ticker.map(|ticker| ticker.stats).unwrap_or_default();
        let lots = |count| wire::steps(count, market.config.lot);
        rows.push(json!({
            "id": market.config.symbol,
            "base_currency": market.base.code,
            "quote_currency": market.quote.code,
            "display_name": format!("{}/{}", market.base.code, market.quote.code),
            "market_types": ["spot"],
            "spot_volume_24hour": lots(stats.volume),
            "spot_volume_30day": lots(stats.volume_30d),
            "rfq_volume_24hour": "0",
            "rfq_volume_30day": "0",
            "conversion_volume_24hour": "0",
            "conversion_volume_30day": "0",
        }));
    }
    Ok(HttpResponse::Ok().json(rows))
}
