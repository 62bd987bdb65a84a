//! Movements of money: their history, and payments from one user to another.

use super::accounts::transfer_id;
use super::page;
use super::params::Params;
use super::wallets::{amount, currency, named, read};
use crate::actors::trading::ledger::LedgerCommand;
use crate::domain::entry::Movement;
use crate::domain::ids::{AccountId, CurrencyId, Ticket};
use crate::domain::ledger::LedgerOutcome;
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::exchange::transfers::{self as exchange, Cursor, Query, Seen};
use crate::http::session::CurrentUser;
use crate::http::{AppState, ids, wire};
use crate::persistence::custody::{self, Stage};
use crate::persistence::transfers::{self, TransferKind};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

type Answer = Result<HttpResponse, ApiError>;

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
    let text = |(at, id): Cursor| format!("{}_{}", at.0, Uuid::from_u128(id));
    let ends = shown.first().zip(shown.last()).map(|(first, last)| (text(first.cursor()), text(last.cursor())));
    let views: Vec<Value> = shown.iter().filter_map(|seen| view(seen, state, account)).collect();
    Ok(page::answer(&views, ends))
}

fn parse_cursor(text: &str) -> Result<Cursor, ApiError> {
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
    let seen = match (withdrawal.filter(|row| row.account == account && row.stage != Stage::Refused), done) {
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

/// Moves money; answers the movement's id.
async fn carry_out(state: &AppState, from: AccountId, to: AccountId, body: &Body<'_>) -> Result<Uuid, ApiError> {
    if from == to {
        return Err(ApiError::bad_request("same_account", "sender and receiver are the same"));
    }
    // The numbers before those of users are the venue's own: the outside world and the house.
    if to < AccountId::FIRST_USER {
        return Err(no_receiver());
    }
    let currency = currency(state, body.currency.as_deref())?;
    let amount = amount(body.amount, currency)?;
    let key = body.id.unwrap_or_else(Uuid::new_v4);
    let transfer = transfer_id("transfer", from, key.as_bytes());
    let movement = Movement { ticket: Ticket(0), account: from, currency: currency.id, amount, transfer };
    match state.trading.execute(LedgerCommand::Transfer(movement, to)).await? {
        LedgerOutcome::Ignored(crate::domain::ledger::Ignored::Invalid) => Err(no_receiver()),
        _ => Ok(Uuid::from_u128(transfer)),
    }
}

/// `POST /transfers` (ours): to another user, named by user id, profile id or e-mail address. A repeated `id` changes
/// nothing.
pub async fn to_user(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let body: Body<'_> = read(&body)?;
    let text = body.to.as_deref().unwrap_or_default();
    let to = match Uuid::try_parse(text) {
        Ok(id) => ids::parse_user(id).or_else(|| ids::parse_profile(id)).ok_or_else(no_receiver)?,
        Err(_) => {
            state
                .accounts
                .user_by_email(text)
                .await
                .map_err(|error| match error.status() {
                    503 => ApiError::from(error),
                    _ => no_receiver(),
                })?
                .id
        }
    };
    let id = carry_out(&state, user.0.user, to, &body).await?;
    let currency = currency(&state, body.currency.as_deref())?;
    let amount = wire::amount(amount(body.amount, currency)?, currency);
    Ok(HttpResponse::Ok().json(json!({"id": id, "to": ids::user(to), "currency": currency.code, "amount": amount})))
}

/// `POST /profiles/transfer`: from the caller's profile to another one, which here is another user's.
pub async fn between_profiles(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let body: Body<'_> = read(&body)?;
    super::profiles::check(body.from.as_deref(), user.0.user)?;
    let to = body.to.as_deref().and_then(|text| Uuid::try_parse(text).ok()).and_then(ids::parse_profile);
    carry_out(&state, user.0.user, to.ok_or_else(no_receiver)?, &body).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}
