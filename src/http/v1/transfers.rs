//! Movements of money: their history, and payments from one user to another.

use super::accounts::transfer_id;
use super::page;
use super::params::Params;
use super::wallets::{amount, currency, named, read};
use crate::actors::trading::ledger::LedgerCommand;
use crate::auth::AuthError;
use crate::domain::entry::Movement;
use crate::domain::ids::{AccountId, CurrencyId, Ticket};
use crate::domain::ledger::{Ignored, LedgerOutcome};
use crate::domain::market::Currency;
use crate::domain::money::Amount;
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::exchange::transfers::{self as exchange, Cursor, Named, Once, Query, Seen};
use crate::http::session::CurrentUser;
use crate::http::{AppState, ids, wire};
use crate::persistence::custody::{self, Stage, WithdrawalRow};
use crate::persistence::transfers::{self, TransferKind};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

type Answer = Result<HttpResponse, ApiError>;

/// An account that is never opened. A payment to nobody whom we know goes there: the ledger looks at who pays first, and
/// says that there is no such receiver only to those who could have paid one.
const NOBODY: AccountId = AccountId(u32::MAX);

fn view(seen: &Seen, state: &AppState, account: AccountId) -> Option<Value> {
    let currency = state.trading.currencies().get(usize::from(seen.currency.0))?;
    let mut details = serde_json::Map::new();
    let (mut completed_at, mut canceled_at) = (Some(seen.at), None);
    if let Some(row) = &seen.withdrawal {
        completed_at = row.ended_at.filter(|_| row.stage == Stage::Done);
        canceled_at = row.ended_at.filter(|_| row.stage == Stage::Canceled);
        details.insert("crypto_address".into(), json!(row.address));
        details.insert("sent_to_address".into(), json!(row.address));
        details.insert("network".into(), json!(row.network));
        details.insert("fee".into(), json!(wire::amount(row.fee, currency)));
        details.insert("crypto_transaction_hash".into(), json!(row.hash));
        details.insert("destination_tag".into(), json!(row.tag));
    }
    if let Some(counterpart) = seen.counterpart {
        details.insert("counterpart_user_id".into(), json!(ids::user(counterpart)));
    }
    Some(json!({
        "id": Uuid::from_u128(seen.id),
        "type": seen.kind.name(),
        "created_at": wire::time(seen.at),
        "completed_at": completed_at.map(wire::time),
        "canceled_at": canceled_at.map(wire::time),
        // Set without a completion it would be read as a failure.
        "processed_at": completed_at.map(wire::time),
        "account_id": ids::balance(account, currency.id),
        "user_id": ids::user(account),
        "user_nonce": null,
        "amount": wire::amount(seen.amount, currency),
        "currency": currency.code,
        "details": details,
    }))
}

/// The movements of a user that `params` ask for, newest first.
async fn history(
    state: &AppState,
    account: AccountId,
    only: Option<CurrencyId>,
    params: &Params,
) -> Result<HttpResponse, ApiError> {
    let page = params.page()?;
    let cursor = |text: &Option<String>| text.as_deref().map(parse_cursor).transpose();
    let (after, before): (Option<Cursor>, Option<Cursor>) = (cursor(&page.after)?, cursor(&page.before)?);
    let words = ["deposit", "withdraw", "internal_deposit", "internal_withdraw"];
    let kind = params.word("type", &words)?.and_then(TransferKind::from_name);
    let query = Query { currency: only, kind, after, before, limit: page.limit };
    let shown = exchange::list(state, account, query).await?;
    let ends =
        shown.first().zip(shown.last()).map(|(first, last)| (cursor_text(first.cursor()), cursor_text(last.cursor())));
    let views: Vec<Value> = shown.iter().filter_map(|seen| view(seen, state, account)).collect();
    Ok(page::answer(&views, ends))
}

/// A cursor as it travels.
pub(super) fn cursor_text((at, id): Cursor) -> String {
    format!("{}_{}", at.0, Uuid::from_u128(id))
}

/// The cursor behind its text.
pub(super) fn parse_cursor(text: &str) -> Result<Cursor, ApiError> {
    let (at, id) = text.split_once('_').ok_or_else(page::invalid_cursor)?;
    let at = at.parse().map_err(|_| page::invalid_cursor())?;
    Ok((Timestamp(at), Uuid::try_parse(id).map_err(|_| page::invalid_cursor())?.as_u128()))
}

/// `GET /transfers`.
pub async fn list(state: web::Data<AppState>, user: CurrentUser, params: Params) -> Answer {
    history(&state, user.0.user, None, &params).await
}

/// `GET /accounts/{id}/transfers`.
pub async fn of_account(
    state: web::Data<AppState>,
    user: CurrentUser,
    id: web::Path<String>,
    params: Params,
) -> Answer {
    let parsed = Uuid::try_parse(&id).ok().and_then(ids::parse_balance);
    let (account, place) = parsed.filter(|(account, _)| *account == user.0.user).ok_or_else(ApiError::not_found)?;
    history(&state, account, Some(place), &params).await
}

/// `GET /transfers/{id}`.
pub async fn get(state: web::Data<AppState>, user: CurrentUser, id: web::Path<String>) -> Answer {
    let (account, id) = (user.0.user, named(&id)?);
    state.history_catches_up().await?;
    let (done, withdrawal) = state.query(move |c| Ok((transfers::get(c, account, id)?, custody::get(c, id)?))).await?;
    // A row that has never heard that its money was held is of before that, if the money has left.
    let tells = |row: &WithdrawalRow| match row.stage {
        Stage::Refused => false,
        Stage::Requested => done.is_none(),
        Stage::Held | Stage::Done | Stage::Canceled => true,
    };
    let seen = match (withdrawal.filter(|row| row.account == account && tells(row)), done) {
        (Some(row), _) => Seen::from(row),
        (None, Some(row)) => row.into(),
        (None, None) => return Err(ApiError::not_found()),
    };
    Ok(HttpResponse::Ok().json(view(&seen, &state, account).ok_or_else(ApiError::not_found)?))
}

#[derive(Deserialize)]
struct Body<'a> {
    from: Option<String>,
    to: Option<String>,
    currency: Option<String>,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    id: Option<Uuid>,
}

fn no_receiver() -> ApiError {
    ApiError::bad_request("unknown_receiver", "there is no such receiver")
}

/// What is to be paid.
fn sum<'a>(state: &'a AppState, body: &Body<'_>) -> Result<(&'a Currency, Amount), ApiError> {
    let currency = currency(state, body.currency.as_deref())?;
    Ok((currency, amount(body.amount, currency)?))
}

/// Whom a text names: a user, by its id, that of its profile, or its e-mail address.
async fn receiver(state: &AppState, text: &str) -> Result<AccountId, ApiError> {
    if let Ok(id) = Uuid::try_parse(text) {
        return ids::parse_user(id).or_else(|| ids::parse_profile(id)).ok_or_else(no_receiver);
    }
    let user = match state.accounts.user_by_email(text).await {
        Ok(user) => user.id,
        Err(AuthError::UnknownUser) => return Ok(NOBODY),
        Err(error) if error.status() == 503 => return Err(error.into()),
        Err(_) => return Err(no_receiver()),
    };
    // Anybody can sign up with any address. Where people can show that they read its mail, only whoever has shown it is
    // paid in its name; play money is not worth the trouble.
    let asks_for_proof = state.accounts.mailer().works() && !state.gives_demo_funds();
    if asks_for_proof && state.accounts.confirmed_address(user).await?.is_none() {
        return Ok(NOBODY);
    }
    Ok(user)
}

/// Moves money; answers the movement's id, and who has it.
async fn carry_out(
    state: &AppState,
    from: AccountId,
    to: AccountId,
    (currency, amount): (&Currency, Amount),
    key: Option<Uuid>,
) -> Result<(Uuid, AccountId), ApiError> {
    if from == to {
        return Err(ApiError::bad_request("same_account", "sender and receiver are the same"));
    }
    // The numbers before those of users are the venue's own: the outside world and the house.
    if to < AccountId::FIRST_USER {
        return Err(no_receiver());
    }
    let transfer = transfer_id("transfer", from, key.unwrap_or_else(Uuid::new_v4).as_bytes());
    let movement = Movement { ticket: Ticket(0), account: from, currency: currency.id, amount, transfer };
    let command = LedgerCommand::Transfer(movement, to);
    let named = Named {
        account: from,
        id: transfer,
        kind: TransferKind::InternalWithdraw,
        currency: currency.id,
        amount,
        counterpart: (to != NOBODY).then_some(to),
    };
    let done = match key {
        Some(_) => named.carry_out(state, command).await?,
        None => Once::Now(state.trading.execute(command).await?),
    };
    match done {
        Once::Now(LedgerOutcome::Ignored(Ignored::Invalid)) => Err(no_receiver()),
        Once::Now(_) => Ok((Uuid::from_u128(transfer), to)),
        Once::Before(row) => Ok((Uuid::from_u128(transfer), row.counterpart.unwrap_or(to))),
    }
}

/// `POST /transfers` (ours): to another user, named by user id, profile id or e-mail address. A repeated `id` changes
/// nothing.
pub async fn to_user(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let body: Body<'_> = read(&body)?;
    let (currency, amount) = sum(&state, &body)?;
    let to = receiver(&state, body.to.as_deref().unwrap_or_default()).await?;
    let (id, to) = carry_out(&state, user.0.user, to, (currency, amount), body.id).await?;
    let amount = wire::amount(amount, currency);
    Ok(HttpResponse::Ok().json(json!({"id": id, "to": ids::user(to), "currency": currency.code, "amount": amount})))
}

/// `POST /profiles/transfer`: from the caller's profile to another one, which here is another user's.
pub async fn between_profiles(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let body: Body<'_> = read(&body)?;
    super::profiles::check(body.from.as_deref(), user.0.user)?;
    let sum = sum(&state, &body)?;
    let to = body.to.as_deref().and_then(|text| Uuid::try_parse(text).ok()).and_then(ids::parse_profile);
    carry_out(&state, user.0.user, to.ok_or_else(no_receiver)?, sum, body.id).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}
