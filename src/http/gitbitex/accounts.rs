//! Balances, deposit addresses, withdrawals, and the history of both.

use super::{read, views};
use crate::actors::trading::Market;
use crate::custody::WithdrawalOrder;
use crate::domain::ids::AccountId;
use crate::domain::market::{Currency, Step};
use crate::domain::money::{Amount, Decimal, Price};
use crate::http::error::ApiError;
use crate::http::exchange::market_data;
use crate::http::exchange::transfers::{self, Query, Seen};
use crate::http::session::CurrentUser;
use crate::http::v1::accounts::transfer_id;
use crate::http::v1::params::Params;
use crate::http::{AppState, ids, wire};
use crate::persistence::custody::Stage;
use crate::persistence::transfers::TransferKind;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

type Answer = Result<HttpResponse, ApiError>;

/// Movements of money that a list shows at most.
const SHOWN_TRANSACTIONS: usize = 100;
/// Decimals of an amount in dollars.
const NATIVE_DECIMALS: u8 = 2;

/// `GET /accounts`: a row for every known currency that is asked for, also when it is zero; for all when none is.
pub async fn list(state: web::Data<AppState>, user: CurrentUser, params: Params) -> Answer {
    let account = user.0.user;
    let balances = state.trading.balances(account).await?.unwrap_or_default();
    let asked: Vec<&str> = params.all("currency").collect();
    let wanted = |currency: &&Currency| asked.is_empty() || asked.contains(&currency.code.as_str());
    let row = |currency: &Currency| {
        let balance = balances.get(usize::from(currency.id.0)).copied().unwrap_or_default();
        json!({
            "id": ids::balance(account, currency.id),
            "currency": currency.code,
            "currencyIcon": format!("/api/icons/{}", currency.code),
            "available": wire::amount(balance.available, currency),
            "hold": wire::amount(balance.hold, currency),
        })
    };
    let rows: Vec<Value> = state.trading.currencies().iter().filter(wanted).map(row).collect();
    Ok(HttpResponse::Ok().json(rows))
}

/// `GET /icons/{currency}`: a disc with the currency's first letter.
pub async fn icon(state: web::Data<AppState>, code: web::Path<String>) -> Answer {
    let currency = state.trading.currency(&code).ok_or_else(ApiError::not_found)?;
    let letter = currency.code.get(..1).unwrap_or_default();
    let body = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="16" fill="#3b5bdb"/><text x="16" y="22" font-family="sans-serif" font-size="17" text-anchor="middle" fill="#fff">{letter}</text></svg>"##
    );
    Ok(super::products::svg(body))
}

fn currency<'a>(state: &'a AppState, code: &str) -> Result<&'a Currency, ApiError> {
    state.trading.currency(code).ok_or_else(ApiError::not_found)
}

/// `GET /wallets/{currency}/address`: where to send deposits; the same at every call.
pub async fn address(state: web::Data<AppState>, user: CurrentUser, code: web::Path<String>) -> Answer {
    let currency = currency(&state, &code)?;
    let row = state.custody.address(user.0.user, currency, None).await?;
    Ok(HttpResponse::Ok().json(json!({"address": row.address})))
}

/// What a currency is worth in dollars, by the last trade against one.
struct Worth {
    /// The market, unless the currency is a dollar itself.
    traded: Option<(Arc<Market>, Price)>,
    is_dollar: bool,
}

impl Worth {
    async fn of(state: &AppState, currency: &Currency) -> Result<Worth, ApiError> {
        let is_dollar = currency.code.starts_with("USD");
        let against_dollars =
            |market: &&Arc<Market>| market.base.id == currency.id && market.quote.code.starts_with("USD");
        let traded = match state.trading.markets().iter().find(against_dollars) {
            Some(market) if !is_dollar => {
                market_data::ticker(market).await?.map(|ticker| (market.clone(), ticker.trade.price))
            }
            _ => None,
        };
        Ok(Worth { traded, is_dollar })
    }

    /// Price, native currency and native amount of an amount. A currency without any price stands for itself: no
    /// amount is made up.
    fn value(&self, amount: Amount, currency: &Currency) -> (String, String, String) {
        let own = wire::amount(amount, currency);
        match &self.traded {
            Some((market, price)) => {
                let units = cents(amount, currency.decimals, *price, market.config.tick).unwrap_or_default();
                let native = Decimal { units, decimals: NATIVE_DECIMALS }.to_string();
                (wire::price(*price, &market.config), "USD".to_owned(), native)
            }
            None if self.is_dollar => ("1".to_owned(), "USD".to_owned(), own),
            None => ("1".to_owned(), currency.code.clone(), own),
        }
    }
}

/// What an amount is worth at a price, in the native unit; `None` when that is more than can be told.
fn cents(amount: Amount, decimals: u8, price: Price, tick: Step) -> Option<i128> {
    let product = amount.0.checked_mul(i128::from(price.0).checked_mul(i128::from(tick.units))?)?;
    // Coarse prices of coarse currencies have fewer decimals than a dollar.
    let excess = i32::from(tick.decimals) + i32::from(decimals) - i32::from(NATIVE_DECIMALS);
    let unit = 10i128.checked_pow(excess.unsigned_abs())?;
    if excess < 0 { product.checked_mul(unit) } else { product.checked_div(unit) }
}

/// A movement of money.
fn transaction(state: &AppState, seen: &Seen, currency: &Currency, worth: &Worth) -> Value {
    let sent = matches!(seen.kind, TransferKind::Withdraw | TransferKind::InternalWithdraw);
    let row = seen.withdrawal.as_ref();
    let status = match row.map(|row| row.stage) {
        None | Some(Stage::Done) => "completed",
        Some(Stage::Canceled | Stage::Refused) => "cancelled",
        Some(Stage::Requested | Stage::Held) => "pending",
    };
    let network = row.and_then(|row| state.custody.network(currency, Some(&row.network)).ok());
    let confirmations = network.filter(|_| status == "completed").map_or(0, |network| network.confirmations);
    let amount = wire::amount(seen.amount, currency);
    let (price, native_currency, native_amount) = worth.value(seen.amount, currency);
    let counterpart = seen.counterpart.map(|user| ids::user(user).to_string()).unwrap_or_default();
    let to = row.map(|row| row.address.clone()).or_else(|| sent.then(|| counterpart.clone())).unwrap_or_default();
    json!({
        "id": Uuid::from_u128(seen.id),
        "currency": currency.code,
        "amount": amount,
        "type": if sent { "send" } else { "received" },
        "status": status,
        "price": price,
        "nativeCurrency": native_currency,
        "nativeAmount": native_amount,
        "description": "",
        "fromAddress": if sent { String::new() } else { counterpart },
        "toAddress": to,
        "createdAt": views::time(seen.at),
        "updatedAt": views::time(row.and_then(|row| row.ended_at).unwrap_or(seen.at)),
        "network": {
            "status": status,
            "hash": row.and_then(|row| row.hash.clone()).unwrap_or_default(),
            "amount": amount,
            "feeAmount": row.map_or_else(|| "0".to_owned(), |row| wire::amount(row.fee, currency)),
            "feeCurrency": currency.code,
            "confirmations": confirmations,
            "resourceUrl": "",
        },
    })
}

/// `GET /wallets/{currency}/transactions`: newest first.
pub async fn transactions(state: web::Data<AppState>, user: CurrentUser, code: web::Path<String>) -> Answer {
    let currency = currency(&state, &code)?;
    let query = Query { currency: Some(currency.id), limit: SHOWN_TRANSACTIONS, ..Query::default() };
    let all = transfers::list(&state, user.0.user, query).await?;
    let worth = Worth::of(&state, currency).await?;
    let rows: Vec<Value> = all.iter().map(|seen| transaction(&state, seen, currency, &worth)).collect();
    Ok(HttpResponse::Ok().json(rows))
}

/// The body of a withdrawal: the amount is what the user typed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Withdrawal<'a> {
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    crypto_address: Option<String>,
}

/// `POST /wallets/{currency}/withdrawal`: holds the money and sends it, through the same desk as any other.
pub async fn withdraw(
    state: web::Data<AppState>,
    user: CurrentUser,
    code: web::Path<String>,
    body: web::Bytes,
) -> Answer {
    let currency = currency(&state, &code)?;
    let Withdrawal { amount, crypto_address } = read(&body, "amount and cryptoAddress")?;
    let missing = |what: &str| ApiError::bad_request("incomplete", format!("Please enter {what}."));
    let amount = amount.filter(|raw| !matches!(raw.get(), "null" | "\"\"")).ok_or_else(|| missing("an amount"))?;
    let amount = wire::parse_amount(amount, currency, "amount")?;
    let address = crypto_address.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let address = address.ok_or_else(|| missing("an address"))?;
    let account: AccountId = user.0.user;
    let order = WithdrawalOrder {
        id: transfer_id("withdrawal", account, Uuid::new_v4().as_bytes()),
        account,
        currency: currency.clone(),
        amount,
        fee_on_top: false,
        network: None,
        address,
        tag: None,
    };
    state.takes_withdrawals()?;
    let row = state.custody.withdraw(order).await?;
    let worth = Worth::of(&state, currency).await?;
    Ok(HttpResponse::Ok().json(transaction(&state, &Seen::from(row), currency, &worth)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::CurrencyId;
    use crate::domain::time::Timestamp;

    #[test]
    fn worth_is_told_in_cents_however_few_decimals_there_are() {
        let tick = |units, decimals| Step { units, decimals };
        for (amount, decimals, price, tick, expected) in [
            (1_250_000_000, 8, 10_000, tick(1, 2), Some(125_000)),
            (3, 0, 7, tick(1, 0), Some(2_100)),
            (3, 0, 7, tick(5, 1), Some(1_050)),
            (3, 1, 7, tick(1, 0), Some(210)),
            (1, 8, 1, tick(1, 2), Some(0)),
            (i128::MAX, 0, 2, tick(1, 0), None),
            (i128::MAX, 0, 1, tick(1, 0), None),
        ] {
            assert_eq!(cents(Amount(amount), decimals, Price(price), tick), expected, "{amount} at {price}");
        }
    }

    #[test]
    fn a_currency_without_a_price_stands_for_itself() {
        let currency =
            |code: &str| Currency { id: CurrencyId(0), code: code.into(), name: code.into(), decimals: 8, fiat: false };
        let worth = |is_dollar| Worth { traded: None, is_dollar };
        let twelve = Amount(1_250_000_000);
        let text = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(worth(true).value(twelve, &currency("USDT")), text("1", "USD", "12.5"));
        assert_eq!(worth(false).value(twelve, &currency("XYZ")), text("1", "XYZ", "12.5"));
        assert_eq!(views::time(Timestamp(1_935_731_289_123_456)), "2031-05-05T07:08:09.123Z");
    }
}
