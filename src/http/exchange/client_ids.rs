//! Who has a client order id: memory knows the newest and those that are on their way; of those of long ago it says
//! that there may be one, and the database knows.

use crate::actors::trading::{Found, Unavailable};
use crate::domain::ids::{AccountId, ClientOrderId, MarketId, OrderId};
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::persistence::orders::{self, OldId};
use actix_web::http::StatusCode;
use std::time::Duration;

/// How long the database is waited for: requests of the same connection wait behind it.
const REMEMBERED_WITHIN: Duration = Duration::from_secs(3);

/// Who has an id.
#[derive(Clone, Copy, Debug)]
pub enum Holder {
    /// This order.
    Order(MarketId, OrderId),
    /// None. Present is how many ids memory had forgotten when the database was asked.
    Nobody(Option<u64>),
}

/// Looks in memory, and in the database where memory may have forgotten. An order that is on its way is waited for.
///
/// # Errors
/// 503 while such an order stays on its way, the ledger begins anew, or the database is away, slow, or behind what
/// memory has forgotten.
pub async fn look_up(state: &AppState, account: AccountId, id: ClientOrderId) -> Result<Holder, ApiError> {
    look_up_all(state, account, &[id]).await.pop().unwrap_or(Err(Unavailable::OutcomeUnknown.into()))
}

/// The same for several ids of one user together: one answer for each, in their order.
pub async fn look_up_all(state: &AppState, account: AccountId, ids: &[ClientOrderId]) -> Vec<Result<Holder, ApiError>> {
    let known = state.trading.find_client_ids(account, ids).await;
    holders(state, account, ids, known).await
}

/// The same for orders that a client names, which may have been sent right before; 503 also while a market does not
/// answer.
pub async fn look_up_named(
    state: &AppState,
    account: AccountId,
    ids: &[ClientOrderId],
) -> Vec<Result<Holder, ApiError>> {
    let known = state.trading.find_named(account, ids).await;
    holders(state, account, ids, known).await
}

async fn holders(
    state: &AppState,
    account: AccountId,
    ids: &[ClientOrderId],
    known: Vec<Found>,
) -> Vec<Result<Holder, ApiError>> {
    let asked = ids.iter().zip(&known).filter_map(|(id, known)| {
        let known = known.as_ref().ok().filter(|known| known.order.is_none())?;
        Some((*id, known.forgotten.as_ref()?.newest.clone()))
    });
    let mut old = old_ids(state, account, asked.collect()).await.map(Vec::into_iter);
    let holders = known.into_iter().map(|known| -> Result<Holder, ApiError> {
        let known = known?;
        if let Some((market, order)) = known.order {
            return Ok(Holder::Order(market, order));
        }
        let mut vouched = None;
        if let Some(forgotten) = known.forgotten {
            let old = old.as_mut().map_err(|error| error.clone())?;
            match old.next().ok_or_else(out_of_reach)? {
                OldId::Order(market, order) => return Ok(Holder::Order(market, order)),
                OldId::Free => vouched = Some(forgotten.count),
                OldId::Behind => {
                    let message = "history is being written, please retry";
                    return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "history_behind", message));
                }
            }
        }
        if known.starting {
            return Err(Unavailable::Starting.into());
        }
        Ok(Holder::Nobody(vouched))
    });
    holders.collect()
}

/// What the database knows of ids that memory may have forgotten, in their order; each with the newest forgotten order
/// of each market as of when memory was asked.
async fn old_ids(
    state: &AppState,
    account: AccountId,
    asked: Vec<(ClientOrderId, Vec<(MarketId, u64)>)>,
) -> Result<Vec<OldId>, ApiError> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let query = state.query(move |connection| {
        let mut old = Vec::with_capacity(asked.len());
        for (id, newest) in &asked {
            old.push(orders::old_client_id(connection, account, *id, newest)?);
        }
        Ok(old)
    });
    tokio::time::timeout(REMEMBERED_WITHIN, query).await.unwrap_or_else(|_| Err(out_of_reach()))
}

fn out_of_reach() -> ApiError {
    let message = "history is out of reach, please retry";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "history_unavailable", message)
}
