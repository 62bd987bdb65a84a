//! Who has a client order id: memory knows the newest and those that are on their way; of those of long ago it says
//! that there may be one, and the database knows.

use crate::actors::trading::Unavailable;
use crate::actors::trading::ledger::ClientIdAnswer;
use crate::domain::ids::{AccountId, ClientOrderId, MarketId, OrderId};
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::persistence::orders::{self, OldId};
use actix_web::http::StatusCode;

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
/// 503 while such an order stays on its way, the ledger begins anew, or the database is away or behind what memory has
/// forgotten.
pub async fn look_up(state: &AppState, account: AccountId, id: ClientOrderId) -> Result<Holder, ApiError> {
    let known = state.trading.find_client_id(account, id).await?;
    holder(state, account, id, known).await
}

/// The same for an order that a client names, which may have been sent right before.
///
/// # Errors
/// As [`look_up`]; 503 also while a market does not answer.
pub async fn look_up_named(state: &AppState, account: AccountId, id: ClientOrderId) -> Result<Holder, ApiError> {
    let known = state.trading.find_named(account, id).await?;
    holder(state, account, id, known).await
}

async fn holder(
    state: &AppState,
    account: AccountId,
    id: ClientOrderId,
    known: ClientIdAnswer,
) -> Result<Holder, ApiError> {
    if let Some((market, order)) = known.order {
        return Ok(Holder::Order(market, order));
    }
    let mut vouched = None;
    if let Some(forgotten) = known.forgotten {
        let count = forgotten.count;
        match state.query(move |c| orders::old_client_id(c, account, id, &forgotten.newest)).await? {
            OldId::Order(market, order) => return Ok(Holder::Order(market, order)),
            OldId::Free => vouched = Some(count),
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
}
