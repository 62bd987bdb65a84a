//! What those who run the venue do with currencies and markets: list them, change their rules, stop and reopen them.
//!
//! Everything is an entry of the log; nodes that run pick it up without a restart. Symbol, currencies and steps of a
//! market never change, because they give the amounts of its orders and its history their meaning.

use super::admin::set_frozen;
use super::auth::{Answer, read};
use super::views::{CurrencyView, ProductView};
use crate::actors::trading::ledger::LedgerCommand;
use crate::actors::trading::order_book::{Control, IsOpen};
use crate::actors::trading::{Market, Refused, Unavailable};
use crate::domain::ids::{AccountId, CurrencyId};
use crate::domain::ledger::{Ignored, LedgerOutcome};
use crate::domain::market::{ConfigError, Currency, MAX_DECIMALS, MarketConfig, MarketState, Safety, Step};
use crate::domain::money::{Ppm, parse_decimal};
use crate::http::error::ApiError;
use crate::http::session::{CurrentUser, record, to_its_end};
use crate::http::{AppState, ids, wire};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The longest auction that may be asked for, in seconds.
const LONGEST_AUCTION: u32 = Safety::LONGEST_MS / 1_000;

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    ApiError::bad_request("invalid_market", message)
}

fn ignored(why: &Ignored) -> ApiError {
    match why {
        Ignored::Repeat => ApiError::new(StatusCode::CONFLICT, "exists_already", "it is listed already"),
        Ignored::Config(error) => invalid(error.to_string()),
        // Somebody else's listing took the place that this one was to have.
        Ignored::Invalid => Unavailable::OutcomeUnknown.into(),
    }
}

async fn list(state: &AppState, command: LedgerCommand) -> Result<LedgerOutcome, ApiError> {
    match state.trading.execute(command).await? {
        LedgerOutcome::Ignored(why) => Err(ignored(&why)),
        done => Ok(done),
    }
}

/// Waits until this node shows what was listed.
async fn shown<T>(find: impl Fn() -> Option<T>) -> Result<T, ApiError> {
    for _ in 0..500 {
        if let Some(found) = find() {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(Unavailable::Starting.into())
}

/// The body of `POST /admin/currencies`.
#[derive(Deserialize)]
struct NewCurrency {
    id: String,
    name: String,
    decimals: u8,
    #[serde(default)]
    fiat: bool,
}

/// `POST /admin/currencies`.
pub async fn add_currency(
    state: web::Data<AppState>,
    request: HttpRequest,
    admin: CurrentUser,
    body: web::Bytes,
) -> Answer {
    to_its_end(async move {
        let NewCurrency { id: code, name, decimals, fiat } = read(&body, "id, name and decimals")?;
        let currency = Currency { id: CurrencyId(0), code: code.clone(), name, decimals, fiat };
        currency.validate().map_err(|error| invalid(error.to_string()))?;
        list(&state, LedgerCommand::ListCurrency(Box::new(currency))).await?;
        let currency = shown(|| state.trading.currency(&code)).await?;
        record(&state, &request, &admin.0, "currency_listed", None, json!({"currency": code})).await;
        Ok(HttpResponse::Ok().json(CurrencyView::new(currency, &state.custody.networks(currency))))
    })
    .await
}

/// A step from its text: the finest decimal of `0.05` is the hundredth, of which it is 5.
fn step(raw: &RawValue, field: &'static str) -> Result<Step, ApiError> {
    let text = wire::decimal_text(raw, field)?;
    let decimals = text.split_once('.').map_or("", |(_, fraction)| fraction.trim_end_matches('0')).len();
    let decimals = u8::try_from(decimals).ok().filter(|decimals| *decimals <= MAX_DECIMALS);
    let decimals = decimals.ok_or_else(|| invalid(format!("{field} has too many decimals")))?;
    let units = parse_decimal(&text, decimals).ok().and_then(|units| u64::try_from(units).ok());
    let units =
        units.filter(|units| *units > 0).ok_or_else(|| invalid(format!("{field} must be a positive number")))?;
    Ok(Step { units, decimals })
}

/// A share of one, to the millionth.
fn share(raw: &RawValue, field: &'static str) -> Result<Ppm, ApiError> {
    let text = wire::decimal_text(raw, field)?;
    let ppm = parse_decimal(&text, 6).ok().and_then(|ppm| u32::try_from(ppm).ok());
    ppm.map(Ppm).ok_or_else(|| invalid(format!("{field} must be a share of one with at most 6 decimals")))
}

/// The rules that can be given and changed; what is absent stays as it is.
#[derive(Deserialize)]
struct Rules {
    maker_fee_rate: Option<Box<RawValue>>,
    taker_fee_rate: Option<Box<RawValue>>,
    min_size: Option<Box<RawValue>>,
    max_size: Option<Box<RawValue>>,
    min_funds: Option<Box<RawValue>>,
    max_funds: Option<Box<RawValue>>,
    price_band: Option<Box<RawValue>>,
    reference_price: Option<Box<RawValue>>,
    max_open_orders: Option<u32>,
    state: Option<String>,
    halt: Option<Box<RawValue>>,
    halt_window_ms: Option<u32>,
    auction_ms: Option<u32>,
}

impl Rules {
    fn apply(&self, config: &mut MarketConfig, quote: &Currency) -> Result<(), ApiError> {
        let present: &MarketConfig = config;
        let rate = |raw: &Option<Box<RawValue>>, field| raw.as_ref().map(|raw| share(raw, field)).transpose();
        let size = |raw: &Option<Box<RawValue>>| raw.as_ref().map(|raw| wire::parse_size(raw, present)).transpose();
        let funds = |raw: &Option<Box<RawValue>>, field| {
            raw.as_ref().map(|raw| wire::parse_amount(raw, quote, field)).transpose()
        };
        let (maker, taker) =
            (rate(&self.maker_fee_rate, "maker_fee_rate")?, rate(&self.taker_fee_rate, "taker_fee_rate")?);
        let (band, halt) = (rate(&self.price_band, "price_band")?, rate(&self.halt, "halt")?);
        let (min_size, max_size) = (size(&self.min_size)?, size(&self.max_size)?);
        let (min_funds, max_funds) = (funds(&self.min_funds, "min_funds")?, funds(&self.max_funds, "max_funds")?);
        let price = |raw| wire::parse_price(raw, present, "reference_price");
        let reference = self.reference_price.as_deref().map(price).transpose()?;
        let state = self.state.as_deref().map(market_state).transpose()?;
        config.maker_fee = maker.unwrap_or(config.maker_fee);
        config.taker_fee = taker.unwrap_or(config.taker_fee);
        config.band = band.unwrap_or(config.band);
        config.min_size = min_size.unwrap_or(config.min_size);
        config.max_size = max_size.unwrap_or(config.max_size);
        config.min_funds = min_funds.unwrap_or(config.min_funds);
        config.max_funds = max_funds.unwrap_or(config.max_funds);
        config.reference_price = reference.unwrap_or(config.reference_price);
        config.max_open_orders = self.max_open_orders.unwrap_or(config.max_open_orders);
        config.state = state.unwrap_or(config.state);
        let old = config.safety;
        config.safety = match halt.unwrap_or(old.halt) {
            Ppm(0) => Safety::default(),
            halt => Safety {
                halt,
                window_ms: self.halt_window_ms.unwrap_or(if old.window_ms == 0 { 300_000 } else { old.window_ms }),
                auction_ms: self.auction_ms.unwrap_or(if old.auction_ms == 0 { 120_000 } else { old.auction_ms }),
            },
        };
        config.check_limits().map_err(|error: ConfigError| invalid(error.to_string()))
    }
}

fn market_state(word: &str) -> Result<MarketState, ApiError> {
    Ok(match word {
        "online" => MarketState::Online,
        "post_only" => MarketState::PostOnly,
        "limit_only" => MarketState::LimitOnly,
        "cancel_only" => MarketState::CancelOnly,
        "halted" => MarketState::Halted,
        _ => return Err(invalid("state must be online, post_only, limit_only, cancel_only or halted")),
    })
}

fn state_word(state: MarketState) -> &'static str {
    match state {
        MarketState::Online => "online",
        MarketState::PostOnly => "post_only",
        MarketState::LimitOnly => "limit_only",
        MarketState::CancelOnly => "cancel_only",
        MarketState::Halted => "halted",
    }
}

/// A market with all its rules.
#[derive(Serialize)]
struct RulesView {
    #[serde(flatten)]
    product: ProductView,
    state: &'static str,
    min_size: String,
    max_size: String,
    min_funds: String,
    max_funds: String,
    reference_price: Option<String>,
    halt_window_ms: u32,
    auction_ms: u32,
}

fn view(market: &Market) -> RulesView {
    let config = &market.config;
    RulesView {
        product: ProductView::new(market),
        state: state_word(config.state),
        min_size: wire::size(config.min_size, config),
        max_size: wire::size(config.max_size, config),
        min_funds: wire::amount(config.min_funds, &market.quote),
        max_funds: wire::amount(config.max_funds, &market.quote),
        reference_price: Some(config.reference_price)
            .filter(|price| price.0 != 0)
            .map(|price| wire::price(price, config)),
        halt_window_ms: config.safety.window_ms,
        auction_ms: config.safety.auction_ms,
    }
}

/// `GET /admin/markets`.
pub async fn markets(state: web::Data<AppState>) -> Answer {
    Ok(HttpResponse::Ok().json(state.trading.markets().iter().map(|market| view(market)).collect::<Vec<_>>()))
}

/// What `POST /admin/markets` reads beside the rules.
#[derive(Deserialize)]
struct NewMarket {
    base_currency: String,
    quote_currency: String,
    base_increment: Box<RawValue>,
    quote_increment: Box<RawValue>,
}

/// `POST /admin/markets`: opens a market on every node. It trades when this is answered.
pub async fn add_market(
    state: web::Data<AppState>,
    request: HttpRequest,
    admin: CurrentUser,
    body: web::Bytes,
) -> Answer {
    to_its_end(async move {
        let wanted = "base_currency, quote_currency, base_increment and quote_increment";
        let new: NewMarket = read(&body, wanted)?;
        let rules: Rules = read(&body, "the market's rules")?;
        let currency = |code: &str| {
            state.trading.currency(code).cloned().ok_or_else(|| invalid(format!("there is no currency {code:.16}")))
        };
        let (base, quote) = (currency(&new.base_currency)?, currency(&new.quote_currency)?);
        let symbol = format!("{}-{}", base.code, quote.code);
        let (tick, lot) =
            (step(&new.quote_increment, "quote_increment")?, step(&new.base_increment, "base_increment")?);
        let mut config = MarketConfig::new(symbol.clone(), base.id, quote.id, tick, lot);
        rules.apply(&mut config, &quote)?;
        config.validate(&base, &quote).map_err(|error| invalid(error.to_string()))?;
        list(&state, LedgerCommand::ListMarket(Box::new(config))).await?;
        let market = shown(|| state.trading.market(&symbol).cloned()).await?;
        for _ in 0..500 {
            if !state.trading.role().is_active() || market.book.send(IsOpen).await.unwrap_or(false) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        record(&state, &request, &admin.0, "market_listed", None, json!({"product_id": symbol})).await;
        Ok(HttpResponse::Ok().json(view(&market)))
    })
    .await
}

fn named(state: &AppState, symbol: &str) -> Result<Arc<Market>, ApiError> {
    state.trading.market(symbol).cloned().ok_or_else(ApiError::not_found)
}

/// Changes a market's rules from what they are now; the market as it was before, and its rules.
///
/// # Errors
/// 400 when it cannot have such rules; 409 when somebody else is just changing them.
async fn change(
    state: &AppState,
    mut market: Arc<Market>,
    rules: &Rules,
) -> Result<(Arc<Market>, MarketConfig), ApiError> {
    let mut is_first = true;
    loop {
        let mut config = market.config.clone();
        rules.apply(&mut config, &market.quote)?;
        let (to, from) = (Box::new(config.clone()), Box::new(market.config.clone()));
        match state.trading.steer(&market, Control::Reconfigure { config: to, from }).await {
            Ok(_) => return Ok((market, config)),
            // This node showed rules of before. By now it has the present ones, unless the change is on its way still.
            Err(Refused::Changed) if std::mem::take(&mut is_first) => {
                let now = named(state, &market.config.symbol)?;
                if now.config == market.config {
                    return Err(Refused::Changed.into());
                }
                market = now;
            }
            Err(why) => return Err(why.into()),
        }
    }
}

/// `PATCH /admin/markets/{id}`: what the body names changes, everything else stays.
pub async fn change_market(
    state: web::Data<AppState>,
    request: HttpRequest,
    admin: CurrentUser,
    id: web::Path<String>,
    body: web::Bytes,
) -> Answer {
    to_its_end(async move {
        let market = named(&state, &id)?;
        let fixed: serde_json::Map<String, Value> = read(&body, "the rules to change")?;
        if let Some(name) = ["base_currency", "quote_currency", "base_increment", "quote_increment"]
            .iter()
            .find(|n| fixed.contains_key(**n))
        {
            return Err(invalid(format!("{name} of a market never changes: list another market")));
        }
        let rules: Rules = read(&body, "the rules to change")?;
        let (before, config) = change(&state, market, &rules).await?;
        let changed = shown(|| state.trading.market(&id).filter(|market| market.config == config).cloned()).await?;
        let detail = json!({"product_id": *id, "before": view(&before), "after": view(&changed)});
        record(&state, &request, &admin.0, "market_changed", None, detail).await;
        Ok(HttpResponse::Ok().json(view(&changed)))
    })
    .await
}

/// The body of `POST /admin/markets/{id}/auction`.
#[derive(Deserialize)]
struct Auction {
    seconds: u32,
}

/// `POST /admin/markets/{id}/auction`: gathers orders from now on, and trades all that can be at one price then.
pub async fn begin_auction(
    state: web::Data<AppState>,
    request: HttpRequest,
    admin: CurrentUser,
    id: web::Path<String>,
    body: web::Bytes,
) -> Answer {
    to_its_end(async move {
        let market = named(&state, &id)?;
        let Auction { seconds } = read(&body, "seconds")?;
        if !(1..=LONGEST_AUCTION).contains(&seconds) {
            return Err(invalid(format!("seconds must be 1 to {LONGEST_AUCTION}")));
        }
        let ends_at = state.trading.steer(&market, Control::BeginAuction { lasts_s: seconds }).await?.ends_at;
        record(&state, &request, &admin.0, "auction_begun", None, json!({"product_id": *id, "seconds": seconds})).await;
        Ok(HttpResponse::Ok().json(json!({"product_id": *id, "ends_at": ends_at.map(wire::time)})))
    })
    .await
}

/// The body of `POST /admin/kill`.
#[derive(Deserialize)]
struct Kill {
    scope: String,
    engaged: bool,
    user_id: Option<Uuid>,
    product_id: Option<String>,
    #[serde(default)]
    reason: String,
}

/// What was done in many places, whatever went wrong in some of them.
#[derive(Default)]
pub struct Sweep {
    canceled: usize,
    faulted: Vec<String>,
    /// Whether that for which it was done is so now.
    reached: bool,
    failed: Option<ApiError>,
}

impl Sweep {
    /// Steers all markets at once, each by itself.
    async fn over_all(state: &AppState, control: &Control) -> Sweep {
        let markets = state.trading.markets();
        let steered = join_all(markets.iter().map(|market| state.trading.steer(market, control.clone()))).await;
        let mut sweep = Sweep::default();
        for (market, outcome) in markets.iter().zip(steered) {
            match outcome {
                Ok(done) => sweep.canceled += done.canceled.len(),
                // Nobody trades there until it is repaired, and that is just when the switch is needed for the others.
                Err(Refused::Unavailable(Unavailable::MarketFaulted)) => {
                    sweep.faulted.push(market.config.symbol.clone());
                }
                Err(why) => {
                    sweep.failed.get_or_insert(why.into());
                }
            }
        }
        sweep
    }

    /// Adds what came of that for which all of this is done, such as an account being frozen. That it failed is told rather
    /// than what went wrong in single markets.
    pub fn aim(&mut self, outcome: Result<(), ApiError>) {
        self.reached = outcome.is_ok();
        self.failed = outcome.err().or(self.failed.take());
    }

    /// What is so afterwards, when it was to be `wanted`; none when that is not known.
    pub fn after(&self, wanted: bool) -> Option<bool> {
        self.reached.then_some(wanted)
    }

    /// What whoever asked for it is told, beside what it was about.
    pub fn told(&self, mut about: Value) -> Value {
        about["canceled_orders"] = self.canceled.into();
        if !self.faulted.is_empty() {
            about["faulted_markets"] = json!(self.faulted);
        }
        about
    }

    /// The same for the audit log, with what went wrong.
    pub fn audited(&self, about: Value) -> Value {
        let mut told = self.told(about);
        if let Some(why) = &self.failed {
            told["failed"] = why.to_string().into();
        }
        told
    }

    /// Whether all of it was done.
    ///
    /// # Errors
    /// The first failure; asking again finishes what was begun.
    pub fn finish(self) -> Result<(), ApiError> {
        self.failed.map_or(Ok(()), Err)
    }
}

/// Cancels the open orders of a user in every market, also in those that take no cancels from anybody.
pub async fn cancel_all_of(state: &AppState, user: AccountId) -> Sweep {
    Sweep::over_all(state, &Control::Kill { account: Some(user), engaged: true }).await
}

/// `POST /admin/kill`: the kill switch of a user, a market or the whole venue. Engaged, it cancels what is open and takes
/// nothing new; released, trading goes on. What fails keeps nothing else from being done, and the audit log has it in
/// any case. Engaging it again is safe, and finishes what a failure left undone.
pub async fn kill(state: web::Data<AppState>, request: HttpRequest, admin: CurrentUser, body: web::Bytes) -> Answer {
    to_its_end(async move {
        let Kill { scope, engaged, user_id, product_id, reason } =
            read(&body, "scope, engaged, user_id or product_id")?;
        let mut sweep = Sweep::default();
        let mut subject = None;
        match scope.as_str() {
            "user" => {
                let user = user_id.and_then(ids::parse_user).ok_or_else(ApiError::not_found)?;
                let user = state.accounts.user(user).await?.id;
                subject = Some(user);
                let frozen = set_frozen(&state, user, engaged).await;
                if engaged {
                    sweep = cancel_all_of(&state, user).await;
                }
                sweep.aim(frozen);
            }
            "market" => {
                let market = named(&state, product_id.as_deref().unwrap_or_default())?;
                let steered = state.trading.steer(&market, Control::Kill { account: None, engaged }).await;
                sweep.canceled = steered.as_ref().map_or(0, |done| done.canceled.len());
                sweep.aim(steered.map(drop).map_err(ApiError::from));
            }
            "venue" => {
                // First nothing new is taken, then what is open goes; and the other way round.
                let stopped = if engaged { stop_venue(&state, true).await } else { Ok(()) };
                sweep = Sweep::over_all(&state, &Control::Kill { account: None, engaged }).await;
                sweep.aim(if engaged { stopped } else { stop_venue(&state, false).await });
            }
            _ => return Err(ApiError::bad_request("invalid_scope", "scope must be user, market or venue")),
        }
        let after = sweep.after(engaged);
        let detail =
            json!({"scope": scope, "engaged": engaged, "after": after, "product_id": product_id, "reason": reason});
        record(&state, &request, &admin.0, "kill_switch", subject, sweep.audited(detail)).await;
        let answer = sweep.told(json!({"scope": scope, "engaged": engaged}));
        sweep.finish()?;
        Ok(HttpResponse::Ok().json(answer))
    })
    .await
}

async fn stop_venue(state: &AppState, stopped: bool) -> Result<(), ApiError> {
    list(state, LedgerCommand::SetStopped(stopped)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_first_is_not_what_is_told_first() {
        let failure = |code: &'static str| -> Result<(), ApiError> { Err(ApiError::bad_request(code, code)) };
        let market = || Sweep { failed: failure("market").err(), ..Sweep::default() };
        let mut frozen = market();
        frozen.aim(failure("account"));
        assert_eq!(frozen.after(true), None, "an account that was not frozen");
        assert_eq!(frozen.audited(json!({}))["failed"], "account");
        let mut partly = market();
        partly.aim(Ok(()));
        assert_eq!(partly.after(true), Some(true));
        assert_eq!(partly.finish().err().map(|why| why.to_string()), Some("market".into()));
        let mut done = Sweep::default();
        done.aim(Ok(()));
        assert_eq!((done.after(false), done.finish().is_ok()), (Some(false), true));
    }
}
