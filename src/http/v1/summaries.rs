//! All markets at a glance: spark lines and volumes.

use super::markets::candle_rows;
use crate::actors::trading::Unavailable;
use crate::actors::trading::market_data::{GetCandles, wall_clock};
use crate::domain::time::{DAY, HOUR};
use crate::http::error::ApiError;
use crate::http::exchange::market_data as exchange;
use crate::http::{AppState, wire};
use actix_web::{HttpResponse, web};
use serde_json::json;

type Answer = Result<HttpResponse, ApiError>;

/// `GET /products/spark-lines`: the hourly candles of the last day of each market.
pub async fn spark_lines(state: web::Data<AppState>) -> Answer {
    let to = wall_clock().bucket(HOUR);
    let mut lines = Vec::new();
    for market in state.trading.markets() {
        let asked = GetCandles { granularity: 3_600, from: to + -DAY, to };
        let (candles, _) = exchange::answered(market.data.send(asked)).await?.ok_or(Unavailable::Starting)?;
        lines.push(format!("\"{}\":{}", market.config.symbol, candle_rows(candles.iter(), market)));
    }
    let body = format!("{{{}}}", lines.join(","));
    Ok(HttpResponse::Ok().content_type("application/json; charset=utf-8").body(body))
}

/// `GET /products/volume-summary`: base volumes of the last day and 30 days.
pub async fn volumes(state: web::Data<AppState>) -> Answer {
    let mut rows = Vec::new();
    for market in state.trading.markets() {
        let stats = exchange::ticker(market).await?.map(|ticker| ticker.stats).unwrap_or_default();
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
