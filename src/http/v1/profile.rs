//! What signed-in people do with their own account: sessions, password, name.

use super::auth::{Answer, read, user_view};
use crate::auth::Secret;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::exchange::{passwords, profiles};
use crate::http::session::{CurrentUser, client_address};
use crate::http::wire::time;
use crate::persistence::sessions::SessionId;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

/// `GET /auth/sessions`: where the user is signed in, newest first.
pub async fn sessions(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    let own = user.0.session()?;
    let sessions = state.accounts.sessions(user.0.user).await?;
    let views: Vec<_> = sessions
        .iter()
        .map(|session| {
            json!({
                "id": session.id,
                "current": session.id == own,
                "device": session.user_agent,
                "address": session.address,
                "created_at": time(session.created_at),
                "last_used": time(session.last_used),
                "expires_at": time(session.expires_at),
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(views))
}

/// `DELETE /auth/sessions/{id}`.
pub async fn end_session(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    id: web::Path<String>,
) -> Answer {
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::not_found())?;
    state.accounts.end_session(user.0.user, SessionId(id), client_address(&request, &state)).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// The body of `PUT /auth/me`; what is absent stays as it is.
#[derive(Deserialize)]
struct Profile {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    photo: Option<String>,
}

/// `PUT /auth/me`.
pub async fn change(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let Profile { name, photo } = read(&body, "name or photo")?;
    let user = profiles::change(&state, user.0.user, name, photo).await?;
    Ok(HttpResponse::Ok().json(user_view(&user)))
}

/// The body of `POST /auth/password`.
#[derive(Deserialize)]
struct ChangePassword {
    old_password: Secret,
    new_password: Secret,
}

/// `POST /auth/password`: another password; the other sessions end.
pub async fn change_password(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    body: web::Bytes,
) -> Answer {
    let ChangePassword { old_password, new_password } = read(&body, "old_password and new_password")?;
    let ended = passwords::change(&state, &request, &user, old_password, new_password).await?;
    Ok(HttpResponse::Ok().json(json!({"ended_sessions": ended})))
}

/// The body of `POST /auth/email`.
#[derive(Deserialize)]
struct NewAddress {
    email: String,
    /// Needed by whoever has an address that mail reaches.
    #[serde(default)]
    password: Option<Secret>,
}

/// `POST /auth/email`: mails a code to another address, or to the user's own to confirm it. The answer is the same for
/// every address of others.
pub async fn begin_address(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let NewAddress { email, password } = read(&body, "email, and password where there is one")?;
    state.accounts.begin_address(user.0.user, &email, password).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// The body of `POST /auth/email/confirm`.
#[derive(Deserialize)]
struct Confirmed {
    email: String,
    code: String,
}

/// `POST /auth/email/confirm`: the address counts from now on.
pub async fn confirm_address(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    body: web::Bytes,
) -> Answer {
    let Confirmed { email, code } = read(&body, "email and code")?;
    let from = client_address(&request, &state);
    let user = state.accounts.confirm_address(user.0.user, &email, &code, from).await?;
    Ok(HttpResponse::Ok().json(user_view(&user)))
}

/// The body of `POST /auth/password/forgot`.
#[derive(Deserialize)]
struct Forgot {
    email: String,
}

/// `POST /auth/password/forgot`: mails a code. The answer is the same for every address.
pub async fn forgot_password(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    let Forgot { email } = read(&body, "email")?;
    state.accounts.forgot_password(&email, client_address(&request, &state))?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// The body of `POST /auth/password/reset`.
#[derive(Deserialize)]
struct Reset {
    email: String,
    code: String,
    new_password: Secret,
}

/// `POST /auth/password/reset`: another password by a mailed code; all sessions end.
pub async fn reset_password(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    let Reset { email, code, new_password } = read(&body, "email, code and new_password")?;
    passwords::reset(&state, &request, &email, &code, new_password).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}
