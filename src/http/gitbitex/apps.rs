//! API keys, which this dialect calls apps.

use super::{read, views};
use crate::auth::{ApiKey, NewKey, Scope, Secret};
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::v1::keys::entry;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

type Answer = Result<HttpResponse, ApiError>;

/// A key; its secret is shown once, when it is made.
fn view(key: &ApiKey) -> Value {
    json!({"id": key.id, "name": key.label, "key": key.id, "secret": "", "createdAt": views::time(key.created_at)})
}

/// `GET /apps`, newest first.
pub async fn list(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    let keys = state.accounts.keys(user.0.user).await?;
    Ok(HttpResponse::Ok().json(keys.iter().map(view).collect::<Vec<_>>()))
}

/// The body of `POST /apps`.
#[derive(Deserialize)]
struct App {
    #[serde(default)]
    name: String,
}

/// `POST /apps`: a key for looking and trading. The passphrase that goes with it is made here, since this dialect asks
/// for none.
pub async fn create(state: web::Data<AppState>, request: HttpRequest, user: CurrentUser, body: web::Bytes) -> Answer {
    let App { name } = read(&body, "name")?;
    let passphrase = uuid::Uuid::new_v4().simple().to_string();
    let new = NewKey {
        label: name,
        passphrase: Secret::new(passphrase.clone()),
        scopes: vec![Scope::View, Scope::Trade],
        networks: Vec::new(),
        expires_at: None,
    };
    let noted = |key: &ApiKey| entry(&state, &request, &user, "key_created", json!({"after": view(key)}));
    let issued = state.accounts.create_key_noted(user.0.user, new, noted).await?;
    let mut answer = view(&issued.key);
    answer["secret"] = issued.secret.expose().into();
    answer["passphrase"] = passphrase.into();
    Ok(HttpResponse::Ok().json(answer))
}

/// `DELETE /apps/{id}`.
pub async fn remove(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    id: web::Path<String>,
) -> Answer {
    let noted = entry(&state, &request, &user, "key_revoked", json!({"key": *id}));
    state.accounts.revoke_key_noted(user.0.user, &id, noted).await?;
    Ok(HttpResponse::Ok().json(Value::Null))
}
