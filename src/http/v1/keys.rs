//! API keys: made, listed and revoked by their signed-in owner.

use crate::auth::{ApiKey, NewKey, Scope, Secret};
use crate::domain::time::Timestamp;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::session::{CurrentUser, client_address};
use crate::http::wire::time;
use crate::persistence::audit::Entry;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

type Answer = Result<HttpResponse, ApiError>;

/// The body of `POST /auth/keys`.
#[derive(Deserialize)]
struct Body {
    passphrase: Secret,
    permissions: Vec<String>,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    networks: Option<Vec<String>>,
    #[serde(default)]
    expires_at: Option<String>,
}

fn view(key: &ApiKey) -> Value {
    json!({
        "key": key.id,
        "label": key.label,
        "permissions": key.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>(),
        "networks": key.networks,
        "created_at": time(key.created_at),
        "expires_at": key.expires_at.map(time),
        "last_used": key.last_used.map(time),
        "last_used_from": key.last_used_from,
    })
}

/// What a user did to a key, for the audit log.
pub fn entry(
    state: &AppState,
    request: &HttpRequest,
    user: &CurrentUser,
    action: &'static str,
    detail: Value,
) -> Option<Entry> {
    let (owner, address) = (Some(user.0.user), client_address(request, state));
    Some(Entry { action, actor: owner, subject: owner, address, detail })
}

/// `POST /auth/keys`: the only answer that ever shows the secret.
pub async fn create(state: web::Data<AppState>, request: HttpRequest, user: CurrentUser, body: web::Bytes) -> Answer {
    let body: Body = serde_json::from_slice(&body)
        .map_err(|_| ApiError::bad_request("invalid_body", "the body needs passphrase and permissions"))?;
    let scopes = body.permissions.iter().map(|name| {
        let unknown = || ApiError::bad_request("invalid_permissions", format!("there is no permission {name}"));
        Scope::from_name(name).ok_or_else(unknown)
    });
    let expires_at = body.expires_at.map(|text| {
        let at: Result<jiff::Timestamp, _> = text.parse();
        let invalid = |_| ApiError::bad_request("invalid_expiry", "expires_at is not a time like 2026-01-31T12:00:00Z");
        at.map(|at| Timestamp(at.as_microsecond())).map_err(invalid)
    });
    let new = NewKey {
        label: body.label.unwrap_or_default(),
        passphrase: body.passphrase,
        scopes: scopes.collect::<Result<_, _>>()?,
        networks: body.networks.unwrap_or_default(),
        expires_at: expires_at.transpose()?,
    };
    let noted = |key: &ApiKey| entry(&state, &request, &user, "key_created", json!({"after": view(key)}));
    let issued = state.accounts.create_key_noted(user.0.user, new, noted).await?;
    let mut answer = view(&issued.key);
    answer["secret"] = issued.secret.expose().into();
    Ok(HttpResponse::Ok().json(answer))
}

/// `GET /auth/keys`, newest first; without secrets.
pub async fn list(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    let keys = state.accounts.keys(user.0.user).await?;
    Ok(HttpResponse::Ok().json(keys.iter().map(view).collect::<Vec<_>>()))
}

/// `DELETE /auth/keys/{id}`.
pub async fn revoke(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    id: web::Path<String>,
) -> Answer {
    let before = state.accounts.keys(user.0.user).await?.iter().find(|key| key.id == *id).map(view);
    let noted = entry(&state, &request, &user, "key_revoked", json!({"key": *id, "before": before}));
    state.accounts.revoke_key_noted(user.0.user, &id, noted).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}
