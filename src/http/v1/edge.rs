//! The newest public pictures in Redis: level-2 books and candles, left there by the active node.
//!
//! Two kinds of readers use them. Caches at the edge of the network take them from Redis itself, without any load on a
//! node. And a node whose own picture cannot be had (its market data restarts) or is behind the others answers with
//! what the active node has left. Of two pictures the one with the higher feed sequence counts, so nobody ever sees an
//! older one because of Redis.

use super::markets::{SERVED_GRANULARITIES, levels, newest_candles};
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::persistence::redis::Latest;
use futures_util::future::join_all;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the active node looks for something new.
const EVERY: Duration = Duration::from_millis(250);
/// A picture that does not change is left again after this long, since it counts for a few seconds only.
const AGAIN: Duration = Duration::from_secs(2);

/// A kind of picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shown {
    /// The whole level-2 book.
    Book,
    /// The newest candles of so many seconds.
    Candles(u32),
}

impl Shown {
    /// The name in the keys of Redis.
    fn name(self) -> String {
        match self {
            Shown::Book => "book".into(),
            Shown::Candles(granularity) => format!("candles:{granularity}"),
        }
    }

    fn all() -> impl Iterator<Item = Shown> {
        std::iter::once(Shown::Book).chain(SERVED_GRANULARITIES.map(Shown::Candles))
    }
}

/// Whether this node is behind others, so that theirs may be newer.
pub type Behind = Arc<dyn Fn() -> bool + Send + Sync>;

/// The pictures, if there is a Redis.
#[derive(Clone)]
pub struct Edge {
    shared: Option<(Latest, Behind)>,
}

impl Edge {
    /// With or without Redis.
    pub fn new(latest: Option<Latest>, behind: Behind) -> Edge {
        Edge { shared: latest.map(|latest| (latest, behind)) }
    }

    /// What to show: this node's own picture with its feed sequence, or what the active node has left where the own one
    /// is not to be had or may be older.
    ///
    /// # Errors
    /// That of the own picture, when there is no other.
    pub async fn freshest<E: Into<ApiError>>(
        &self,
        shown: Shown,
        symbol: &str,
        own: Result<(u64, String), E>,
    ) -> Result<String, ApiError> {
        let own = own.map_err(Into::into);
        let Some((latest, behind)) = &self.shared else { return own.map(|(_, body)| body) };
        if own.is_ok() && !behind() {
            return own.map(|(_, body)| body);
        }
        let left = latest.get(&shown.name(), symbol).await.ok().flatten();
        let left = left.and_then(|left| Some((left.sequence, String::from_utf8(left.content).ok()?)));
        match (own, left) {
            (Ok((sequence, _)), Some((newer, body))) if newer > sequence => Ok(body),
            (Ok((_, body)), _) => Ok(body),
            (Err(_), Some((_, body))) => Ok(body),
            (Err(error), None) => Err(error),
        }
    }
}

/// Leaves the pictures of all markets as long as this node is active; for ever.
pub async fn leave(state: AppState) {
    let Some((latest, _)) = state.edge.shared.clone() else { return };
    let mut left = HashMap::<(String, Shown), (u64, Instant)>::new();
    loop {
        tokio::time::sleep(EVERY).await;
        if !state.trading.role().is_active() {
            continue;
        }
        // All are asked together, and not for long: one whose data are being rebuilt holds up no other.
        let looks = state.trading.markets().iter().map(|market| async move {
            let look = tokio::time::timeout(EVERY, levels(market, 0)).await;
            (market, look.ok().and_then(Result::ok))
        });
        for (market, look) in join_all(looks).await {
            // One that is not at hand is shown by nobody until it is.
            let Some((sequence, _)) = look else { continue };
            for shown in Shown::all() {
                let key = (market.config.symbol.to_string(), shown);
                let known = left.get(&key).is_some_and(|(known, at)| *known == sequence && at.elapsed() < AGAIN);
                if known {
                    continue;
                }
                let picture = match shown {
                    Shown::Book => {
                        let book = levels(market, usize::MAX).await;
                        book.map(|(sequence, body)| (sequence, body.to_string())).map_err(ApiError::from)
                    }
                    Shown::Candles(granularity) => newest_candles(&state, market, granularity).await,
                };
                let Ok((sequence, body)) = picture else { continue };
                if latest.put(&shown.name(), &key.0, sequence, body.as_bytes()).await.is_ok() {
                    left.insert(key, (sequence, Instant::now()));
                }
            }
        }
    }
}
