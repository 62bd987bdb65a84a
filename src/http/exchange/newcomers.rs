//! What a new user gets: an account in the ledger and, where the server gives it out, play money.
//!
//! The account has the user's number, which the database gives. A database that fell back (a backup was restored, a copy
//! that lagged took over) gives numbers that the log knows as those of users whom it has lost: nobody else gets their
//! accounts. Whoever makes a user asks the ledger for the first number that is free before the database gives one, and
//! none below it becomes anybody's. The ledger of a standby node may be behind, so the account itself tells once more.

use crate::actors::trading::ledger::LedgerCommand;
use crate::auth::{Accounts, AuthError};
use crate::domain::ids::{AccountId, CurrencyId};
use crate::domain::ledger::{Balance, Ignored, LedgerOutcome};
use crate::domain::market::Currency;
use crate::domain::money::Amount;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::v1::accounts::transfer_id;
use crate::persistence::transfers;

/// Gives a user that was made in this very request an account in the ledger and, where the server does, play money.
/// If the account is there already and nobody has signed in as the user, it is somebody else's, unless the user is
/// frozen and nothing is in it: the user is taken back, and the next sign-up gets another number.
///
/// # Errors
/// When the ledger does not take it; a later sign-in completes it. When it is taken back.
pub async fn welcome(state: &AppState, user: AccountId) -> Result<(), ApiError> {
    let opened = state.trading.execute(LedgerCommand::OpenAccount(user)).await?;
    if opened == LedgerOutcome::Ignored(Ignored::Repeat) {
        take_back(state, user).await?;
    }
    freeze_as_noted(state, user).await?;
    give(state, user, &[]).await
}

/// Completes a sign-up that broke off half-way.
///
/// # Errors
/// As [`welcome`].
pub async fn complete(state: &AppState, user: AccountId) -> Result<(), ApiError> {
    let balances = state.trading.balances(user).await?;
    if balances.is_none() {
        state.trading.open_account(user).await?;
    }
    // An account that was used was frozen before that was noted.
    if balances.as_deref().is_none_or(is_empty) {
        freeze_as_noted(state, user).await?;
    }
    if !state.gives_demo_funds() {
        return Ok(());
    }
    // The ledger remembers the newest transfers, the database all; a gift that neither knows was not made.
    let ids: Vec<u128> = gifts(user, state.trading.currencies(), &[]).map(|gift| gift.transfer).collect();
    let known = state.query(move |c| transfers::known(c, user, &ids)).await?;
    give(state, user, &known).await
}

/// Whether nothing is in an account.
fn is_empty(balances: &[Balance]) -> bool {
    balances.iter().all(|balance| *balance == Balance::default())
}

/// Freezes the account of a user who is noted as frozen. Whoever freezes a user without an account notes it first, and
/// may have got no further.
async fn freeze_as_noted(state: &AppState, user: AccountId) -> Result<(), ApiError> {
    if state.accounts.user(user).await?.frozen {
        state.trading.execute(LedgerCommand::SetFrozen(user, true)).await?;
    }
    Ok(())
}

/// Gives play money, where the server does, but for the gifts that are `known` to be made.
async fn give(state: &AppState, user: AccountId, known: &[u128]) -> Result<(), ApiError> {
    if state.gives_demo_funds() {
        for Gift { currency, amount, transfer } in gifts(user, state.trading.currencies(), known) {
            state.trading.deposit(user, currency, amount, transfer).await?;
        }
    }
    Ok(())
}

/// Play money in one currency.
struct Gift {
    currency: CurrencyId,
    amount: Amount,
    /// The same for the same user and currency: given once, whatever is retried.
    transfer: u128,
}

/// What a user gets, but for the gifts that are `known` to be made.
fn gifts(user: AccountId, currencies: &[Currency], known: &[u128]) -> impl Iterator<Item = Gift> {
    let all = currencies.iter().map(move |currency| {
        let whole = if currency.code.starts_with("USD") { 100_000 } else { 10 };
        Gift {
            currency: currency.id,
            amount: Amount(10i128.pow(u32::from(currency.decimals)) * whole),
            transfer: transfer_id("welcome", user, currency.code.as_bytes()),
        }
    });
    all.filter(move |gift| !known.contains(&gift.transfer))
}

/// Takes a new user back that has the number of an account of somebody else.
///
/// # Errors
/// What its client is told then.
async fn take_back(state: &AppState, user: AccountId) -> Result<(), ApiError> {
    // This one is known at least, if the ledger does not say.
    let next = state.trading.next_account().await.map_or(0, |next| next.0);
    let newest = AccountId(next.saturating_sub(1).max(user.0));
    let found = state.trading.balances(user).await.ok().flatten();
    take_back_below(&state.accounts, user, newest, found.as_deref()).await
}

/// The same, where the numbers of accounts are known up to `newest`, and this was found in the account; nothing if that
/// is not known.
async fn take_back_below(
    accounts: &Accounts,
    user: AccountId,
    newest: AccountId,
    found: Option<&[Balance]>,
) -> Result<(), ApiError> {
    // An administrator has frozen the user meanwhile, which has opened the account: that was noted before. A stranger's
    // is frozen in the same way, but is not as empty as one that was just opened.
    if found.is_some_and(is_empty) && accounts.user(user).await.is_ok_and(|user| user.frozen) {
        return Ok(());
    }
    match accounts.take_back(user, newest).await {
        // Signing in has opened the account before this request did.
        Ok(false) => return Ok(()),
        Ok(true) => tracing::error!(
            user = user.0,
            newest = newest.0,
            "the database gave a new user the number of an account that the log knows; the user was taken back, and \
             further ones get numbers above the newest"
        ),
        Err(error) => tracing::error!(
            user = user.0,
            %error,
            "the database gave a new user the number of an account that the log knows, and the user may not have \
             been taken back: see that it is gone"
        ),
    }
    Err(AuthError::StoreUnavailable.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]
mod tests {
    use super::*;
    use crate::auth::{Device, Secret, Settings};
    use crate::domain::ids::Sequence;
    use crate::domain::time::Timestamp;
    use crate::persistence::db::Database;
    use crate::persistence::transfers::{TransferKind, TransferRow};
    use std::sync::Arc;

    const ADA: AccountId = AccountId::FIRST_USER;

    fn currency(id: u16, code: &str) -> Currency {
        Currency { id: CurrencyId(id), code: code.into(), name: code.into(), decimals: 2, fiat: false }
    }

    #[actix_rt::test]
    async fn who_was_frozen_while_signing_up_is_not_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        let accounts =
            Accounts::start(folder.path(), database, Settings::default(), Arc::new(|| Timestamp(1_000_000))).unwrap();
        let device = Device::default();
        let mut made = Vec::new();
        for email in ["ada@example.org", "bob@example.org", "carol@example.org", "dan@example.org"] {
            let password = Secret::new("correct horse battery");
            made.push(accounts.sign_up(email, password, false, &device, ADA).await.unwrap().user.id);
        }
        let newest = AccountId(40);
        let empty = [Balance::default()];
        accounts.note_frozen(made[0], true).await.unwrap();
        assert!(take_back_below(&accounts, made[0], newest, Some(&empty[..])).await.is_ok());
        assert!(accounts.user(made[0]).await.unwrap().frozen);
        // Who was not frozen, and who is frozen with an account that somebody has used or that is not known.
        let used = [Balance { available: Amount(1), hold: Amount::ZERO }];
        for user in &made[2..] {
            accounts.note_frozen(*user, true).await.unwrap();
        }
        for (user, found) in [(made[1], Some(&empty[..])), (made[2], Some(&used[..])), (made[3], None)] {
            assert!(take_back_below(&accounts, user, newest, found).await.is_err());
            assert_eq!(accounts.user(user).await.map(drop), Err(AuthError::UnknownUser));
        }
    }

    /// The ledger may have forgotten by then that the others were given.
    #[test]
    fn a_currency_that_is_listed_later_brings_its_own_gift_alone() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        let mut listed = vec![currency(0, "BTC"), currency(1, "USDT")];
        let given: Vec<TransferRow> = (1..)
            .zip(gifts(ADA, &listed, &[]))
            .map(|(sequence, gift)| TransferRow {
                account: ADA,
                sequence: Sequence(sequence),
                id: gift.transfer,
                kind: TransferKind::Deposit,
                currency: gift.currency,
                amount: gift.amount,
                counterpart: None,
                at: Timestamp(1),
            })
            .collect();
        assert_eq!(given.iter().map(|row| row.amount).collect::<Vec<_>>(), [Amount(1_000), Amount(10_000_000)]);
        database.write(|c| transfers::insert(c, &given)).unwrap();
        listed.push(currency(2, "ETH"));
        let left = |user: AccountId| -> Vec<CurrencyId> {
            let ids: Vec<u128> = gifts(user, &listed, &[]).map(|gift| gift.transfer).collect();
            let known = database.read(|c| transfers::known(c, user, &ids)).unwrap();
            gifts(user, &listed, &known).map(|gift| gift.currency).collect()
        };
        assert_eq!(left(ADA), [CurrencyId(2)]);
        assert_eq!(left(AccountId(3)), [CurrencyId(0), CurrencyId(1), CurrencyId(2)]);
    }
}
