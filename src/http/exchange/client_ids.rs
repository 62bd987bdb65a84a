//! Client order ids of long ago: memory says that there may be one, the database knows.

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

/// Looks in memory, and in the database where memory may have forgotten.
///
/// # Errors
/// 503 while the database is away or behind what memory has forgotten.
pub async fn look_up(state: &AppState, account: AccountId, id: ClientOrderId) -> Result<Holder, ApiError> {
    let known = state.trading.find_client_id(account, id).await?;
    if known.starting {
        return Err(crate::actors::trading::Unavailable::Starting.into());
    }
    if let Some((market, order)) = known.order {
        return Ok(Holder::Order(market, order));
    }
    let Some(forgotten) = known.forgotten else { return Ok(Holder::Nobody(None)) };
    let count = forgotten.count;
    match state.query(move |c| orders::old_client_id(c, account, id, &forgotten.newest)).await? {
        OldId::Order(market, order) => Ok(Holder::Order(market, order)),
        OldId::Free => Ok(Holder::Nobody(Some(count))),
        OldId::Behind => {
            let message = "history is being written, please retry";
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "history_behind", message))
        }
    }
}
