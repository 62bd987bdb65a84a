//! What a new user gets: an account in the ledger and, where the server gives it out, play money.

use crate::domain::ids::AccountId;
use crate::domain::money::Amount;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::v1::accounts::transfer_id;
use crate::persistence::transfers;

/// Gives a new user an account in the ledger and, where the server does, play money.
///
/// # Errors
/// When the ledger does not take it; a later sign-in completes it.
pub async fn welcome(state: &AppState, user: AccountId) -> Result<(), ApiError> {
    state.trading.open_account(user).await?;
    if state.gives_demo_funds() {
        for currency in state.trading.currencies() {
            let whole = if currency.code.starts_with("USD") { 100_000 } else { 10 };
            let amount = Amount(10i128.pow(u32::from(currency.decimals)) * whole);
            state.trading.deposit(user, currency.id, amount, gift(user, &currency.code)).await?;
        }
    }
    Ok(())
}

/// Completes a sign-up that broke off half-way.
///
/// # Errors
/// As [`welcome`].
pub async fn complete(state: &AppState, user: AccountId) -> Result<(), ApiError> {
    let mut whole = state.trading.balances(user).await?.is_some();
    if whole && state.gives_demo_funds() {
        // The ledger remembers the newest transfers, the database all; a gift that neither knows was not made.
        let gifts: Vec<u128> = state.trading.currencies().iter().map(|currency| gift(user, &currency.code)).collect();
        let wanted = gifts.len() as i64;
        whole = state.query(move |c| transfers::known(c, user, &gifts)).await? >= wanted;
    }
    if whole { Ok(()) } else { welcome(state, user).await }
}

/// The same id for the same user and currency: given once, whatever is retried.
fn gift(user: AccountId, currency: &str) -> u128 {
    transfer_id("welcome", user, currency.as_bytes())
}
