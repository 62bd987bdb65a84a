//! A user's balances, fees and demo deposits.

use super::page;
use super::params::Params;
use crate::actors::trading::ledger::LedgerCommand;
use crate::domain::entry::Movement;
use crate::domain::ids::{AccountId, CurrencyId, Ticket};
use crate::domain::ledger::Balance;
use crate::domain::market::Currency;
use crate::domain::money::Amount;
use crate::domain::order::Side;
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::exchange::orders;
use crate::http::exchange::transfers::Named;
use crate::http::session::CurrentUser;
use crate::http::{AppState, ids, wire};
use crate::persistence::custody;
use crate::persistence::transfers::TransferKind;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

type Answer = Result<HttpResponse, ApiError>;

#[derive(Serialize)]
struct AccountView<'a> {
    id: Uuid,
    currency: &'a str,
    balance: String,
    hold: String,
    available: String,
    profile_id: Uuid,
    trading_enabled: bool,
}

fn view<'a>(user: &CurrentUser, currency: &'a Currency, balance: Balance) -> AccountView<'a> {
    AccountView {
        id: ids::balance(user.0.user, currency.id),
        currency: &currency.code,
        balance: wire::amount(balance.total(), currency),
        hold: wire::amount(balance.hold, currency),
        available: wire::amount(balance.available, currency),
        profile_id: ids::profile(user.0.user),
        trading_enabled: true,
    }
}

/// `GET /accounts`: one for each currency, also the empty ones.
pub async fn list(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    let balances = state.trading.balances(user.0.user).await?.ok_or_else(ApiError::not_found)?;
    let of = |id: CurrencyId| balances.get(usize::from(id.0)).copied().unwrap_or_default();
    let views: Vec<_> = state.trading.currencies().iter().map(|c| view(&user, c, of(c.id))).collect();
    Ok(HttpResponse::Ok().json(views))
}

/// `GET /accounts/{id}`.
pub async fn get(state: web::Data<AppState>, user: CurrentUser, id: web::Path<String>) -> Answer {
    let parsed = Uuid::try_parse(&id).ok().and_then(ids::parse_balance);
    let (account, currency) = parsed.ok_or_else(ApiError::not_found)?;
    if account != user.0.user {
        return Err(ApiError::not_found());
    }
    let balances = state.trading.balances(account).await?.ok_or_else(ApiError::not_found)?;
    let balance = balances.get(usize::from(currency.0)).ok_or_else(ApiError::not_found)?;
    let currency = state.trading.currencies().get(usize::from(currency.0)).ok_or_else(ApiError::not_found)?;
    Ok(HttpResponse::Ok().json(view(&user, currency, *balance)))
}

/// `GET /accounts/{id}/holds`: what the account's money is reserved for, newest first.
pub async fn holds(state: web::Data<AppState>, user: CurrentUser, id: web::Path<String>, params: Params) -> Answer {
    let parsed = Uuid::try_parse(&id).ok().and_then(ids::parse_balance);
    let (account, place) = parsed.filter(|(account, _)| *account == user.0.user).ok_or_else(ApiError::not_found)?;
    let currency = state.trading.currencies().get(usize::from(place.0)).ok_or_else(ApiError::not_found)?;
    let page = params.page()?;
    let cursor = |text: &Option<String>| text.as_deref().map(parse_hold_cursor).transpose();
    let (after, before) = (cursor(&page.after)?, cursor(&page.before)?);
    // A hold is what its order or withdrawal still reserves; there is no other record of it.
    let mut found = std::collections::BTreeMap::new();
    for market in state.trading.markets() {
        for order in orders::live(&state, market, account).await?.iter().filter(|order| !order.hold.is_zero()) {
            let held = if order.side == Side::Buy { &market.quote } else { &market.base };
            if held.id == place {
                let id = ids::order(market.id, order.id);
                found.insert((order.created_at, id), (order.hold, "order"));
            }
        }
    }
    let held = state.trading.withdrawals().await?.into_iter().map(|held| held.movement);
    let held: Vec<_> = held.filter(|held| held.account == account && held.currency == place).collect();
    if !held.is_empty() {
        let ids: Vec<u128> = held.iter().map(|held| held.transfer).collect();
        let asked = state.query(move |c| custody::asked_at(c, &ids)).await?;
        let asked: std::collections::BTreeMap<u128, Timestamp> = asked.into_iter().collect();
        for held in held {
            let at = asked.get(&held.transfer).copied().unwrap_or_default();
            found.insert((at, Uuid::from_u128(held.transfer)), (held.amount, "transfer"));
        }
    }
    let inside =
        |key: &(Timestamp, Uuid)| after.is_none_or(|after| *key < after) && before.is_none_or(|before| *key > before);
    let shown: Vec<_> = found.into_iter().rev().filter(|(key, _)| inside(key)).take(page.limit).collect();
    let text = |(at, id): &(Timestamp, Uuid)| format!("{}_{id}", at.0);
    let ends = shown.first().zip(shown.last()).map(|(first, last)| (text(&first.0), text(&last.0)));
    let view = |((at, reference), (amount, kind)): &((Timestamp, Uuid), (Amount, &str))| {
        json!({
            "id": reference, "account_id": *id, "amount": wire::amount(*amount, currency), "type": kind,
            "ref": reference, "created_at": wire::time(*at), "updated_at": wire::time(*at),
        })
    };
    Ok(page::answer(&shown.iter().map(view).collect::<Vec<_>>(), ends))
}

fn parse_hold_cursor(text: &str) -> Result<(Timestamp, Uuid), ApiError> {
    let (at, id) = text.split_once('_').ok_or_else(page::invalid_cursor)?;
    let at = at.parse().map_err(|_| page::invalid_cursor())?;
    Ok((Timestamp(at), Uuid::try_parse(id).map_err(|_| page::invalid_cursor())?))
}

/// `GET /fees`: the rates that new orders get.
pub async fn fees(state: web::Data<AppState>, _user: CurrentUser) -> Answer {
    let market = state.trading.markets().first().ok_or_else(ApiError::not_found)?;
    let (maker, taker) = (wire::rate(market.config.maker_fee), wire::rate(market.config.taker_fee));
    Ok(HttpResponse::Ok().json(json!({"maker_fee_rate": maker, "taker_fee_rate": taker, "usd_volume": null})))
}

/// The body of a demo deposit.
#[derive(Debug, Deserialize)]
pub struct DemoDeposit<'a> {
    currency: String,
    #[serde(borrow)]
    amount: &'a RawValue,
    id: Option<Uuid>,
}

/// `POST /deposits/demo`: play money, where the server gives it out. A repeated `id` changes nothing.
pub async fn demo_deposit(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    if !state.gives_demo_funds() {
        let message = "this server gives no demo funds";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "no_demo_funds", message));
    }
    let invalid = |error| ApiError::bad_request("invalid_body", format!("the body is not a deposit: {error}"));
    let body: DemoDeposit<'_> = serde_json::from_slice(&body).map_err(invalid)?;
    let currency = state.trading.currency(&body.currency);
    let currency = currency.ok_or_else(|| ApiError::bad_request("unknown_currency", "there is no such currency"))?;
    let amount = wire::parse_amount(body.amount, currency, "amount")?;
    let most = 10i128.pow(u32::from(currency.decimals)) * 1_000_000;
    if amount.0 > most {
        return Err(ApiError::bad_request("too_large", "at most 1000000 at once"));
    }
    let id = body.id.unwrap_or_else(Uuid::new_v4);
    let account = user.0.user;
    let transfer = transfer_id("demo deposit", account, id.as_bytes());
    if body.id.is_some() {
        let movement = Movement { ticket: Ticket(0), account, currency: currency.id, amount, transfer };
        let kind = TransferKind::Deposit;
        let named = Named { account, id: transfer, kind, currency: currency.id, amount, counterpart: None };
        named.carry_out(&state, LedgerCommand::Deposit(movement)).await?;
    } else {
        state.trading.deposit(account, currency.id, amount, transfer).await?;
    }
    let text = wire::amount(amount, currency);
    Ok(HttpResponse::Ok().json(json!({"id": id, "currency": currency.code, "amount": text})))
}

/// The id of a movement of money: a hash of its purpose, its user and the user's own key for it, so
/// that nobody can name another user's movements, and a repeat gets the same id.
pub fn transfer_id(purpose: &str, user: AccountId, key: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new_derive_key("agora 2026 transfer id");
    for part in [purpose.as_bytes(), &user.0.to_le_bytes(), key] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    u128::from_le_bytes(id)
}
