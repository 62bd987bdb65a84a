//! Sign-up, sign-in, sign-out.

use super::accounts::transfer_id;
use crate::auth::{Secret, SignedIn};
use crate::domain::ids::AccountId;
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::{AppState, ids};
use crate::persistence::transfers;
use actix_web::http::header::USER_AGENT;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

type Answer = Result<HttpResponse, ApiError>;

/// The body of sign-up and sign-in.
#[derive(Deserialize)]
pub struct Credentials {
    email: String,
    password: String,
}

fn credentials(body: &[u8]) -> Result<Credentials, ApiError> {
    serde_json::from_slice(body).map_err(|_| ApiError::bad_request("invalid_body", "the body needs email and password"))
}

fn user_agent(request: &HttpRequest) -> Option<&str> {
    request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok())
}

fn answer(signed_in: &SignedIn) -> Value {
    json!({
        "user": {"id": ids::user(signed_in.user.id), "email": signed_in.user.email, "role": signed_in.user.role.name()},
        "access_token": signed_in.token.expose(),
        "token_type": "Bearer",
        "expires_at": crate::http::wire::time(signed_in.expires_at),
    })
}

/// Completes a sign-up that broke off half-way.
async fn complete_sign_up(state: &AppState, user: AccountId) -> Result<(), ApiError> {
    let mut whole = state.trading.balances(user).await?.is_some();
    if whole && state.demo_funds {
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

/// Gives a new user an account in the ledger and, where the server does, play money.
async fn welcome(state: &AppState, user: AccountId) -> Result<(), ApiError> {
    state.trading.open_account(user).await?;
    if state.demo_funds {
        for currency in state.trading.currencies() {
            let whole = if currency.code.starts_with("USD") { 100_000 } else { 10 };
            let amount = crate::domain::money::Amount(10i128.pow(u32::from(currency.decimals)) * whole);
            state.trading.deposit(user, currency.id, amount, gift(user, &currency.code)).await?;
        }
    }
    Ok(())
}

/// `POST /auth/sign-up`.
pub async fn sign_up(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    let Credentials { email, password } = credentials(&body)?;
    let signed_in =
        state.accounts.sign_up(&email, Secret::new(password), state.demo_funds, user_agent(&request)).await?;
    welcome(&state, signed_in.user.id).await?;
    Ok(HttpResponse::Ok().json(answer(&signed_in)))
}

/// `POST /auth/sign-in`.
pub async fn sign_in(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    let Credentials { email, password } = credentials(&body)?;
    let signed_in = state.accounts.sign_in(&email, Secret::new(password), user_agent(&request)).await?;
    complete_sign_up(&state, signed_in.user.id).await?;
    Ok(HttpResponse::Ok().json(answer(&signed_in)))
}

/// `POST /auth/sign-out`.
pub async fn sign_out(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    state.accounts.sign_out(user.0.session()?).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `GET /auth/me`.
pub async fn me(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    let user = state.accounts.user(user.0.user).await?;
    Ok(HttpResponse::Ok().json(json!({"id": ids::user(user.id), "email": user.email, "role": user.role.name()})))
}

/// `GET /users/self/verify`.
pub async fn verify(user: CurrentUser) -> HttpResponse {
    HttpResponse::Ok().json(json!({"id": ids::user(user.0.user)}))
}

/// The public keys that verify access tokens.
pub async fn jwks(state: web::Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json; charset=utf-8").body(state.accounts.jwks().to_owned())
}
