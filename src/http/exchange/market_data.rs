//! What everybody may ask of a market: its picture, trades, candles.

use crate::actors::supervision::{Answer, Unreachable};
use crate::actors::trading::market_data::{GetCandles, GetPicture, GetTrades, Picture, Ticker};
use crate::actors::trading::{Market, Unavailable};
use crate::domain::candle::Candle;
use crate::domain::market_data::{KEPT_TRADES, Trade};
use crate::domain::time::Timestamp;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::persistence::{candles as stored, fills};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a market's data may take to answer. While they are rebuilt they take questions, and answer when that is over.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// What a market's data answer.
///
/// # Errors
/// 503 while the market starts.
pub async fn answered<R>(answer: Answer<R>) -> Result<R, Unavailable> {
    answer.within(ANSWERS_WITHIN).await.map_err(|why| match why {
        Unreachable::Full => Unavailable::Overloaded,
        // Nothing was asked to change, so nothing is unknown.
        Unreachable::Restarting | Unreachable::Closed | Unreachable::Lost | Unreachable::Late => Unavailable::Starting,
    })
}

/// What each of several markets answers, in their order; none for one that does not. A market whose data are being
/// rebuilt keeps nobody from what the others say.
///
/// # Errors
/// Why the first one does not answer, when none does.
pub async fn of_each<T, E>(
    asked: impl IntoIterator<Item = impl Future<Output = Result<T, E>>>,
) -> Result<Vec<Option<T>>, E> {
    those_that_came(join_all(asked).await)
}

fn those_that_came<T, E>(answers: Vec<Result<T, E>>) -> Result<Vec<Option<T>>, E> {
    let mut first = None;
    let mut found = Vec::with_capacity(answers.len());
    for answer in answers {
        found.push(match answer {
            Ok(answer) => Some(answer),
            Err(why) => {
                first = first.or(Some(why));
                None
            }
        });
    }
    match first {
        Some(why) if found.iter().all(Option::is_none) => Err(why),
        _ => Ok(found),
    }
}

/// The market now, with at most so many levels of each side.
///
/// # Errors
/// 503 while the market starts.
pub async fn picture(market: &Market, levels: usize) -> Result<Picture, Unavailable> {
    answered(market.data.send(GetPicture { levels })).await?.ok_or(Unavailable::Starting)
}

/// The last trade with best prices and statistics; `None` before the first.
///
/// # Errors
/// 503 while the market starts.
pub async fn ticker(market: &Market) -> Result<Option<Ticker>, ApiError> {
    Ok(picture(market, 0).await?.ticker)
}

/// Trades between two numbers, both left out, newest first: from memory, and older ones from the database.
///
/// # Errors
/// 503 when it cannot be told now.
pub async fn trades(
    state: &AppState,
    market: &Market,
    limit: usize,
    older: Option<u64>,
    newer: Option<u64>,
) -> Result<Vec<Trade>, ApiError> {
    let inside = |id: u64| older.is_none_or(|older| id < older) && newer.is_none_or(|newer| id > newer);
    let mut found = BTreeMap::<u64, Trade>::new();
    let newest = answered(market.data.send(GetTrades(KEPT_TRADES))).await?;
    let oldest_in_memory = newest.last().map_or(u64::MAX, |trade| trade.id.0);
    found.extend(newest.into_iter().filter(|trade| inside(trade.id.0)).map(|trade| (trade.id.0, trade)));
    if found.len() < limit && oldest_in_memory > 1 && oldest_in_memory != u64::MAX {
        let id = market.id;
        let below = older.unwrap_or(u64::MAX).min(oldest_in_memory);
        let read = || state.query(move |c| fills::trades(c, id, Some(below), newer, limit as i64));
        let mut rows = read().await?;
        // Trades are numbered without holes, so it is known which one comes first. While the database lacks it, what it
        // has would be a page with a hole, or an end where there is none.
        let first = below.saturating_sub(1);
        let exists = first > 0 && newer.is_none_or(|newer| first > newer);
        if exists && rows.first().is_none_or(|row| row.fill.trade.0 != first) {
            state.history_catches_up().await?;
            rows = read().await?;
        }
        for row in rows {
            let fill = row.fill;
            let trade =
                Trade { id: fill.trade, at: row.at, price: fill.price, size: fill.size, maker_side: fill.maker_side };
            found.insert(fill.trade.0, trade);
        }
    }
    Ok(found.into_values().rev().take(limit).collect())
}

/// The newest candles whose buckets begin between two moments, newest first, at most `limit`: from memory, and older
/// ones from the database. Buckets without trades are left out.
///
/// # Errors
/// 503 when it cannot be told now.
pub async fn candles(
    state: &AppState,
    market: &Market,
    granularity: u32,
    (from, to): (Timestamp, Timestamp),
    limit: usize,
) -> Result<Vec<Candle>, ApiError> {
    let asked = GetCandles { granularity, from, to };
    let (newest, older_exist) = answered(market.data.send(asked)).await?.ok_or(Unavailable::Starting)?;
    let mut found: BTreeMap<Timestamp, Candle> = BTreeMap::new();
    if older_exist && newest.len() < limit {
        let (id, rows) = (market.id, limit as i64);
        let rows = state.query(move |c| stored::range(c, id, granularity, from, to, rows)).await?;
        found.extend(rows.into_iter().map(|candle| (candle.start, candle)));
    }
    found.extend(newest.into_iter().map(|candle| (candle.start, candle)));
    Ok(found.into_values().rev().take(limit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_market_that_does_not_answer_keeps_nobody_from_the_others() {
        assert_eq!(those_that_came::<u8, &str>(vec![]), Ok(vec![]));
        assert_eq!(those_that_came(vec![Err("late"), Ok(7), Err("full")]), Ok(vec![None, Some(7), None]));
        assert_eq!(those_that_came::<u8, _>(vec![Err("late"), Err("full")]), Err("late"));
    }
}
