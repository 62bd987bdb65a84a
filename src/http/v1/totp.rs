//! The second factor of the signed-in user.

use super::auth::{Answer, read};
use crate::auth::{AuthError, Secret};
use crate::http::AppState;
use crate::http::session::{CurrentUser, client_address};
use actix_web::{HttpRequest, HttpResponse, web};
use qrcode::QrCode;
use qrcode::render::svg;
use serde::Deserialize;
use serde_json::json;

/// `GET /auth/totp`: whether codes are asked for.
pub async fn get(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    Ok(HttpResponse::Ok().json(json!({"enabled": state.accounts.has_totp(user.0.user).await?})))
}

/// `POST /auth/totp`: a seed for an authenticator, also as a picture to scan (SVG); it counts once a code has
/// confirmed it.
pub async fn begin(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    let seed = state.accounts.begin_totp(user.0.user).await?;
    let qr = QrCode::new(seed.uri.expose()).map_err(|_| AuthError::Interrupted)?;
    let picture = qr.render::<svg::Color<'_>>().min_dimensions(200, 200).build();
    let body = json!({"secret": seed.secret.expose(), "uri": seed.uri.expose(), "qr": picture});
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(body))
}

/// The body of `POST /auth/totp/confirm`.
#[derive(Deserialize)]
struct Confirm {
    code: String,
}

/// `POST /auth/totp/confirm`: from now on codes are asked for. Answers the recovery codes, this once.
pub async fn confirm(state: web::Data<AppState>, request: HttpRequest, user: CurrentUser, body: web::Bytes) -> Answer {
    let Confirm { code } = read(&body, "code")?;
    let from = client_address(&request, &state);
    let codes = state.accounts.confirm_totp(user.0.user, &code, from).await?;
    let codes: Vec<&str> = codes.iter().map(Secret::expose).collect();
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(json!({"recovery_codes": codes})))
}

/// The body of `DELETE /auth/totp`.
#[derive(Deserialize)]
struct Remove {
    password: Secret,
    code: Secret,
}

/// `DELETE /auth/totp`.
pub async fn remove(state: web::Data<AppState>, request: HttpRequest, user: CurrentUser, body: web::Bytes) -> Answer {
    let Remove { password, code } = read(&body, "password and code")?;
    state.accounts.remove_totp(user.0.user, password, &code, client_address(&request, &state)).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}
