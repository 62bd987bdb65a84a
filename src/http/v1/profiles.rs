//! Profiles, as far as clients need them: each user has exactly one, the default.

use super::params::Params;
use crate::actors::trading::market_data::wall_clock;
use crate::domain::ids::AccountId;
use crate::domain::time::DAY;
use crate::http::error::ApiError;
use crate::http::exchange::market_data as exchange;
use crate::http::session::CurrentUser;
use crate::http::{AppState, ids, wire};
use crate::persistence::fills;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

type Answer = Result<HttpResponse, ApiError>;

/// Refuses a profile that is not the caller's; none at all is the caller's own.
///
/// # Errors
/// 403.
pub fn check(profile: Option<&str>, account: AccountId) -> Result<(), ApiError> {
    let own = |text: &str| Uuid::try_parse(text).is_ok_and(|id| id == ids::profile(account));
    match profile.filter(|text| !text.is_empty()) {
        Some(text) if !own(text) => {
            Err(ApiError::new(StatusCode::FORBIDDEN, "foreign_profile", "the profile is not one of yours"))
        }
        _ => Ok(()),
    }
}

async fn view(state: &AppState, account: AccountId) -> Result<Value, ApiError> {
    let user = state.accounts.user(account).await?;
    Ok(json!({
        "id": ids::profile(account),
        "user_id": ids::user(account),
        "name": "default",
        "active": true,
        "is_default": true,
        "has_margin": false,
        "created_at": wire::time(user.created_at),
    }))
}

/// `GET /profiles`: the one that the caller has; none when inactive ones are asked for.
pub async fn list(state: web::Data<AppState>, user: CurrentUser, params: Params) -> Answer {
    let wanted = params.word("active", &["true", "false"])? != Some("false");
    let views = if wanted { vec![view(&state, user.0.user).await?] } else { Vec::new() };
    Ok(HttpResponse::Ok().json(views))
}

/// `GET /profiles/{id}`.
pub async fn get(state: web::Data<AppState>, user: CurrentUser, id: web::Path<String>) -> Answer {
    match Uuid::try_parse(&id) {
        Ok(id) if id == ids::profile(user.0.user) => Ok(HttpResponse::Ok().json(view(&state, user.0.user).await?)),
        _ => Err(ApiError::not_found()),
    }
}

/// `GET /users/self/trailing-volume`: what each market that answers and the user in it traded in the last 30 days.
pub async fn trailing_volume(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    let account = user.0.user;
    let now = wall_clock();
    let markets = state.trading.markets();
    let tickers = exchange::of_each(markets.iter().map(|market| exchange::ticker(market))).await?;
    let mut rows = Vec::new();
    for (market, ticker) in markets.iter().zip(tickers) {
        let Some(ticker) = ticker else { continue };
        let id = market.id;
        let lots = state.query(move |c| fills::volume(c, account, id, now + -30 * DAY)).await?;
        let stats = ticker.map(|ticker| ticker.stats).unwrap_or_default();
        rows.push(json!({
            "product_id": market.config.symbol,
            "exchange_volume": wire::steps(stats.volume_30d, market.config.lot),
            "volume": wire::steps(u64::try_from(lots).unwrap_or(u64::MAX), market.config.lot),
            "recorded_at": wire::time(now),
        }));
    }
    Ok(HttpResponse::Ok().json(rows))
}
