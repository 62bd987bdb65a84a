//! `GET /accounts/{id}/ledger`: every change of a balance, newest first.

use super::page;
use super::params::Params;
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::{AppState, ids, wire};
use crate::persistence::ledger_entries::{self, Cause, LedgerFilter, LedgerRow};
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

/// The entries of the caller's account; all of them when no dates are given.
pub async fn list(
    state: web::Data<AppState>,
    user: CurrentUser,
    id: web::Path<String>,
    params: Params,
) -> Result<HttpResponse, ApiError> {
    let parsed = Uuid::try_parse(&id).ok().and_then(ids::parse_balance);
    let (account, place) = parsed.filter(|(account, _)| *account == user.0.user).ok_or_else(ApiError::not_found)?;
    let currency = state.trading.currencies().get(usize::from(place.0)).ok_or_else(ApiError::not_found)?;
    let page = params.page()?;
    let (older_than, newer_than) = page.numbers()?;
    let (from, to) = (params.time("start_date")?, params.time("end_date")?);
    let filter = LedgerFilter { older_than, newer_than, from, to };
    state.history_catches_up().await?;
    let limit = page.limit as i64;
    let rows = state.query(move |c| ledger_entries::of_account(c, account, place, &filter, limit)).await?;
    let view = |(entry, row): &(u64, LedgerRow)| {
        let (kind, details) = cause(&state, row)?;
        Some(json!({
            "id": entry.to_string(),
            "amount": wire::amount(row.amount, currency),
            "balance": wire::amount(row.balance, currency),
            "type": kind,
            "created_at": wire::time(row.at),
            "details": details,
        }))
    };
    let views: Vec<Value> = rows.iter().filter_map(view).collect();
    let ends = rows.first().zip(rows.last()).map(|(first, last)| (first.0.to_string(), last.0.to_string()));
    Ok(page::answer(&views, ends))
}

fn cause(state: &AppState, row: &LedgerRow) -> Option<(&'static str, Value)> {
    let (kind, place) = match &row.cause {
        Cause::Match(place) => ("match", place),
        Cause::Fee(place) => ("fee", place),
        Cause::Transfer(kind, id) => {
            let details = json!({"transfer_id": Uuid::from_u128(*id), "transfer_type": kind.name()});
            return Some(("transfer", details));
        }
    };
    let details = json!({
        "order_id": ids::order(place.market, place.order),
        "trade_id": place.trade.0.to_string(),
        "product_id": state.trading.market_by_id(place.market)?.config.symbol,
    });
    Some((kind, details))
}
