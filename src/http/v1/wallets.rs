//! How a user's money comes and goes: addresses, withdrawals, wallets, limits, and what administrators do about them.

use super::accounts::transfer_id;
use super::params::Params;
use super::transfers::{cursor_text, parse_cursor};
use crate::custody::{CalledBack, CustodyError, WithdrawalOrder};
use crate::domain::ids::AccountId;
use crate::domain::market::Currency;
use crate::domain::money::Amount;
use crate::http::error::ApiError;
use crate::http::session::{CurrentUser, record, to_its_end};
use crate::http::{AppState, ids, wire};
use crate::persistence::custody::WithdrawalRow;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

type Answer = Result<HttpResponse, ApiError>;

/// Withdrawals on a page for administrators, unless they ask for fewer.
const PAGE: usize = 1_000;

impl From<CustodyError> for ApiError {
    fn from(error: CustodyError) -> ApiError {
        let text = error.to_string();
        match error {
            CustodyError::NoSuchNetwork => ApiError::bad_request("unknown_network", text),
            CustodyError::BadAddress => ApiError::bad_request("invalid_address", text),
            CustodyError::TooSmall(_) => ApiError::bad_request("amount_too_small", text),
            CustodyError::TooLarge(_) => ApiError::bad_request("amount_too_large", text),
            CustodyError::TooLate => ApiError::bad_request("withdrawal_underway", text),
            CustodyError::Over => ApiError::bad_request("withdrawal_over", text),
            CustodyError::TooMany(_) => ApiError::bad_request("too_many_withdrawals", text),
            CustodyError::NotFound => ApiError::not_found(),
            CustodyError::Ledger(refused) => refused.into(),
            CustodyError::Database(error) => error.into(),
        }
    }
}

/// A body that may be missing where nothing in it is required.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    let text = if body.trim_ascii().is_empty() { b"{}" } else { body };
    serde_json::from_slice(text)
        .map_err(|error| ApiError::bad_request("invalid_body", format!("the body is not what is needed: {error}")))
}

fn read_owned<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    read(body)
}

/// The currency of this code.
pub(super) fn currency<'a>(state: &'a AppState, code: Option<&str>) -> Result<&'a Currency, ApiError> {
    let unknown = || ApiError::bad_request("unknown_currency", "there is no such currency");
    state.trading.currency(code.unwrap_or_default()).ok_or_else(unknown)
}

/// A required amount.
pub(super) fn amount(raw: Option<&RawValue>, currency: &Currency) -> Result<Amount, ApiError> {
    let raw = raw.ok_or_else(|| ApiError::bad_request("amount_required", "amount is required"))?;
    wire::parse_amount(raw, currency, "amount")
}

/// The withdrawal or transfer that a path names.
pub(super) fn named(id: &str) -> Result<u128, ApiError> {
    Uuid::try_parse(id).map(|id| id.as_u128()).map_err(|_| ApiError::not_found())
}

/// `GET /coinbase-accounts`: the user's money outside of the venue. On servers that give out play money each wallet
/// holds plenty of it; elsewhere there is none.
pub async fn list(state: web::Data<AppState>, user: CurrentUser) -> HttpResponse {
    let wallets: Vec<Value> = state
        .trading
        .currencies()
        .iter()
        .map(|currency| {
            let balance = if state.gives_demo_funds() { "1000000" } else { "0" };
            json!({
                "id": ids::wallet(user.0.user, currency.id),
                "name": format!("{} Wallet", currency.code),
                "balance": balance,
                "currency": currency.code,
                "type": if currency.fiat { "fiat" } else { "wallet" },
                "primary": currency.id.0 == 0,
                "active": true,
                "available_on_consumer": true,
                "ready": true,
                "hold_balance": "0",
                "hold_currency": currency.code,
            })
        })
        .collect();
    HttpResponse::Ok().json(wallets)
}

#[derive(Deserialize)]
struct AddressBody {
    network: Option<String>,
    profile_id: Option<String>,
}

/// `POST /coinbase-accounts/{id}/addresses`: where to send deposits. The id is that of a wallet or of an account.
pub async fn address(state: web::Data<AppState>, user: CurrentUser, id: web::Path<String>, body: web::Bytes) -> Answer {
    let body: AddressBody = read_owned(&body)?;
    super::profiles::check(body.profile_id.as_deref(), user.0.user)?;
    let parsed = Uuid::try_parse(&id).ok().and_then(|id| ids::parse_wallet(id).or_else(|| ids::parse_balance(id)));
    let (account, place) = parsed.filter(|(account, _)| *account == user.0.user).ok_or_else(ApiError::not_found)?;
    let currency = state.trading.currencies().get(usize::from(place.0)).ok_or_else(ApiError::not_found)?;
    let row = state.custody.address(account, currency, body.network.as_deref().filter(|name| !name.is_empty())).await?;
    let created_at = wire::time(row.created_at);
    Ok(HttpResponse::Ok().json(json!({
        "id": Uuid::from_u128(transfer_id("address", account, row.address.as_bytes())),
        "address": row.address,
        "address_info": {"address": row.address},
        "name": "New exchange deposit address",
        "created_at": created_at,
        "updated_at": created_at,
        "network": row.network,
        "uri_scheme": row.network,
        "resource": "address",
        "resource_path": format!("/v2/accounts/{}/addresses/{}", *id, row.address),
        "warnings": [],
        "deposit_uri": format!("{}:{}", row.network, row.address),
        "callback_url": null,
        "exchange_deposit_address": true,
    })))
}

#[derive(Deserialize)]
struct CryptoBody<'a> {
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    currency: Option<String>,
    crypto_address: Option<String>,
    destination_tag: Option<String>,
    network: Option<String>,
    add_network_fee_to_total: Option<bool>,
    profile_id: Option<String>,
    id: Option<Uuid>,
}

fn view(row: &WithdrawalRow, currency: &Currency) -> Value {
    json!({
        "id": Uuid::from_u128(row.id),
        "amount": wire::amount(row.amount, currency),
        "currency": currency.code,
        "fee": wire::amount(row.fee, currency),
        "subtotal": wire::amount(row.amount - row.fee, currency),
        "network": row.network,
        "payout_at": null,
    })
}

/// `POST /withdrawals/crypto`: holds the money and sends it; above a limit an administrator has to approve. A repeated
/// `id` (ours) is the same withdrawal, and an error once that was refused or called back.
pub async fn withdraw(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let account = user.0.user;
    let body: CryptoBody<'_> = read(&body)?;
    super::profiles::check(body.profile_id.as_deref(), account)?;
    let currency = currency(&state, body.currency.as_deref())?;
    let amount = amount(body.amount, currency)?;
    let required = || ApiError::bad_request("address_required", "crypto_address is required");
    let address = body.crypto_address.filter(|text| !text.is_empty() && text.len() <= 200).ok_or_else(required)?;
    let tag = body.destination_tag.filter(|tag| !tag.is_empty());
    if tag.as_ref().is_some_and(|tag| tag.chars().count() > 200 || tag.contains('\0')) {
        // Money that is sent without the tag that it was meant for may be lost.
        return Err(ApiError::bad_request("invalid_destination_tag", "destination_tag has at most 200 characters"));
    }
    let key = body.id.unwrap_or_else(Uuid::new_v4);
    let order = WithdrawalOrder {
        id: transfer_id("withdrawal", account, key.as_bytes()),
        account,
        currency: currency.clone(),
        amount,
        fee_on_top: body.add_network_fee_to_total.unwrap_or(false),
        network: body.network.filter(|name| !name.is_empty()),
        address,
        tag,
    };
    state.takes_withdrawals()?;
    let row = state.custody.withdraw(order).await?;
    Ok(HttpResponse::Ok().json(view(&row, currency)))
}

/// `DELETE /withdrawals/{id}` (ours): calls a withdrawal back that was not released yet. Answers its id.
pub async fn recall(state: web::Data<AppState>, user: CurrentUser, id: web::Path<String>) -> Answer {
    state.custody.cancel(named(&id)?, Some(user.0.user)).await?;
    Ok(HttpResponse::Ok().json(&*id))
}

/// `GET /withdrawals/fee-estimate`.
pub async fn fee_estimate(state: web::Data<AppState>, _user: CurrentUser, params: Params) -> Answer {
    let currency = currency(&state, params.get("currency"))?;
    let network = state.custody.network(currency, params.get("network"))?;
    Ok(HttpResponse::Ok().json(json!({"fee": wire::amount(network.fee, currency)})))
}

#[derive(Deserialize)]
struct WalletBody<'a> {
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    currency: Option<String>,
    coinbase_account_id: Option<String>,
    profile_id: Option<String>,
}

/// What a movement between the venue and the user's own wallet is about.
fn wallet_movement<'a>(
    state: &'a AppState,
    account: AccountId,
    body: &WalletBody<'_>,
) -> Result<(&'a Currency, Amount), ApiError> {
    super::profiles::check(body.profile_id.as_deref(), account)?;
    let currency = currency(state, body.currency.as_deref())?;
    let wallet = body.coinbase_account_id.as_deref().and_then(|text| Uuid::try_parse(text).ok());
    if wallet != Some(ids::wallet(account, currency.id)) {
        return Err(ApiError::bad_request("unknown_wallet", "coinbase_account_id is none of your wallets"));
    }
    let amount = amount(body.amount, currency)?;
    if amount.0 > 10i128.pow(u32::from(currency.decimals)) * 1_000_000 {
        return Err(ApiError::bad_request("too_large", "at most 1000000 at once"));
    }
    Ok((currency, amount))
}

fn moved(id: Uuid, amount: Amount, currency: &Currency) -> HttpResponse {
    let text = wire::amount(amount, currency);
    HttpResponse::Ok().json(json!({
        "id": id, "amount": text, "currency": currency.code, "payout_at": null, "fee": "0", "subtotal": text,
    }))
}

/// `POST /deposits/coinbase-account`: play money from the user's wallet, where the server gives it out.
pub async fn from_wallet(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let body: WalletBody<'_> = read(&body)?;
    let (currency, amount) = wallet_movement(&state, user.0.user, &body)?;
    if !state.gives_demo_funds() {
        return Err(crate::domain::order::Reject::InsufficientFunds.into());
    }
    let id = transfer_id("wallet deposit", user.0.user, Uuid::new_v4().as_bytes());
    state.trading.deposit(user.0.user, currency.id, amount, id).await?;
    Ok(moved(Uuid::from_u128(id), amount, currency))
}

/// `POST /withdrawals/coinbase-account`: back into the user's wallet, at once.
pub async fn to_wallet(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let body: WalletBody<'_> = read(&body)?;
    let (currency, amount) = wallet_movement(&state, user.0.user, &body)?;
    if !state.gives_demo_funds() {
        return Err(ApiError::bad_request("no_wallets", "this server knows no wallets"));
    }
    state.takes_withdrawals()?;
    let transfer = transfer_id("wallet withdrawal", user.0.user, Uuid::new_v4().as_bytes());
    let ticket = crate::domain::ids::Ticket(0);
    let movement =
        crate::domain::entry::Movement { ticket, account: user.0.user, currency: currency.id, amount, transfer };
    state.trading.execute(crate::actors::trading::ledger::LedgerCommand::Withdraw(movement)).await?;
    Ok(moved(Uuid::from_u128(transfer), amount, currency))
}

/// `GET /payment-methods`: none.
pub async fn payment_methods(_user: CurrentUser) -> HttpResponse {
    HttpResponse::Ok().json(Vec::<Value>::new())
}

/// Deposits and withdrawals by a payment method: there is none.
pub async fn no_payment_method(_user: CurrentUser) -> Answer {
    Err(ApiError::bad_request("unknown_payment_method", "there is no such payment method"))
}

#[derive(Deserialize)]
struct SimulatedBody<'a> {
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    currency: Option<String>,
    address: Option<String>,
}

/// `POST /deposits/simulated` (ours): somebody outside sends play money to an address; it is credited once it is
/// confirmed. Only on servers that give out play money.
pub async fn simulated_deposit(state: web::Data<AppState>, _user: CurrentUser, body: web::Bytes) -> Answer {
    if !state.gives_demo_funds() {
        let message = "this server gives no demo funds";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "no_demo_funds", message));
    }
    let body: SimulatedBody<'_> = read(&body)?;
    let currency = currency(&state, body.currency.as_deref())?;
    let amount = amount(body.amount, currency)?;
    if amount.0 > 10i128.pow(u32::from(currency.decimals)) * 1_000_000 {
        return Err(ApiError::bad_request("too_large", "at most 1000000 at once"));
    }
    let required = || ApiError::bad_request("address_required", "address is required");
    // Such as addresses have: what no database takes would have to be looked for in it.
    let sound = |text: &String| text.len() <= 200 && text.bytes().all(|byte| byte.is_ascii_graphic());
    let address = body.address.filter(|text| !text.is_empty() && sound(text)).ok_or_else(required)?;
    if !state.custody.pretend(&address, currency, amount)? {
        return Err(ApiError::bad_request("not_simulated", "the custodian is a real one"));
    }
    Ok(HttpResponse::Ok()
        .json(json!({"address": address, "currency": currency.code, "amount": wire::amount(amount, currency)})))
}

/// `GET /users/{id}/exchange-limits`: what may be withdrawn at once, by currency. Nothing limits what is withdrawn over
/// a time, so what remains of a day is always as much again.
pub async fn limits(state: web::Data<AppState>, user: CurrentUser, id: web::Path<String>) -> Answer {
    if *id != "self" && Uuid::try_parse(&id).ok() != Some(ids::user(user.0.user)) {
        return Err(ApiError::not_found());
    }
    let mut withdraw = serde_json::Map::new();
    for currency in state.trading.currencies() {
        let Some(network) = state.custody.networks(currency).into_iter().next() else { continue };
        let most = wire::amount(network.most, currency);
        withdraw.insert(currency.code.clone(), json!({"max": most, "remaining": most, "period_in_days": 1}));
    }
    Ok(HttpResponse::Ok().json(json!({"limit_currency": "USD", "transfer_limits": {"exchange_withdraw": withdraw}})))
}

/// `GET /admin/withdrawals`: those that are not over, oldest first; `after` is the cursor of the last one of the page
/// before. There is no way back: what was before may be over.
pub async fn unfinished(state: web::Data<AppState>, _user: CurrentUser, params: Params) -> Answer {
    let page = params.page()?;
    if page.before.is_some() {
        return Err(ApiError::bad_request("invalid_cursor", "this list is paged with after alone"));
    }
    // Whoever does not ask for fewer sees as many as possible: what waits may be among the newest.
    let limit = if params.get("limit").is_some() { page.limit } else { PAGE };
    let behind = page.after.as_deref().map(parse_cursor).transpose()?;
    let rows = state.custody.unfinished(behind, limit).await?;
    let mut answer = HttpResponse::Ok();
    if let Some((last, _)) = rows.last() {
        answer.insert_header(("CB-AFTER", cursor_text((last.created_at, last.id))));
    }
    let views = rows.iter().filter_map(|(row, waits)| admin_view(&state, row, *waits));
    Ok(answer.json(views.collect::<Vec<_>>()))
}

/// A withdrawal with what only administrators see.
fn admin_view(state: &AppState, row: &WithdrawalRow, waits: bool) -> Option<Value> {
    let currency = state.trading.currencies().get(usize::from(row.currency.0))?;
    let mut view = view(row, currency);
    if let Value::Object(fields) = &mut view {
        fields.extend([
            ("user_id".to_owned(), json!(ids::user(row.account))),
            ("crypto_address".to_owned(), json!(row.address)),
            // Whoever approves it has to see all that decides where the money goes.
            ("destination_tag".to_owned(), json!(row.tag)),
            ("crypto_transaction_hash".to_owned(), json!(row.hash)),
            ("created_at".to_owned(), json!(wire::time(row.created_at))),
            ("stage".to_owned(), json!(row.stage.name())),
            ("needs_approval".to_owned(), json!(waits)),
        ]);
    }
    Some(view)
}

/// Owner and view of a withdrawal as it is before somebody decides about it, for the audit log.
async fn pending(state: &AppState, id: &str) -> Result<(Option<AccountId>, Option<Value>), ApiError> {
    let found = state.custody.find(named(id)?).await?;
    let view = found.as_ref().and_then(|(row, waits)| admin_view(state, row, *waits));
    Ok((found.map(|(row, _)| row.account), view))
}

/// `POST /admin/withdrawals/{id}/approve`.
pub async fn approve(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    id: web::Path<String>,
) -> Answer {
    to_its_end(async move {
        let (owner, before) = pending(&state, &id).await?;
        state.custody.approve(named(&id)?, user.0.user).await?;
        let detail = json!({"withdrawal": *id, "before": before});
        record(&state, &request, &user.0, "withdrawal_approved", owner, detail).await;
        Ok(HttpResponse::Ok().json(json!({})))
    })
    .await
}

/// `POST /admin/withdrawals/{id}/reject`: its money is free again.
pub async fn reject(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    id: web::Path<String>,
) -> Answer {
    to_its_end(async move {
        let (owner, before) = pending(&state, &id).await?;
        let done = state.custody.cancel(named(&id)?, None).await;
        let mut detail = json!({"withdrawal": *id, "before": before});
        let remembered = match &done {
            Ok(CalledBack::Now) => true,
            // Perhaps by somebody whose rejection took effect and did not get as far as the audit log.
            Ok(CalledBack::Before) => {
                detail["already"] = true.into();
                true
            }
            // It may have happened although nobody knows it yet.
            Err(why) if why.may_be_done() => {
                detail["failed"] = why.to_string().into();
                true
            }
            Err(_) => false,
        };
        if remembered {
            record(&state, &request, &user.0, "withdrawal_rejected", owner, detail).await;
        }
        done?;
        Ok(HttpResponse::Ok().json(json!({})))
    })
    .await
}
