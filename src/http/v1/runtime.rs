//! Settings that administrators change while the program runs.

use super::auth::{Answer, read};
use crate::auth::{Setting, key};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::session::{CurrentUser, client_address};
use crate::http::wire::time;
use crate::http::{AppState, ids};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

/// Earlier values that are shown.
const HISTORY: i64 = 100;

fn view(key: &str, setting: &Setting) -> Value {
    json!({
        "key": key,
        "version": setting.version,
        "value": setting.value,
        "set_at": setting.set_at.map(time),
        "set_by": setting.set_by.map(ids::user),
    })
}

/// `GET /admin/config`.
pub async fn list(state: web::Data<AppState>) -> Answer {
    let now = state.accounts.runtime();
    let views = state.accounts.runtime_specs().into_iter().filter_map(|spec| {
        let mut view = view(&spec.key, now.settings().get(&spec.key)?);
        view["default"] = spec.default;
        view["about"] = spec.about.into();
        Some(view)
    });
    Ok(HttpResponse::Ok().json(views.collect::<Vec<_>>()))
}

/// `GET /admin/config/{key}`: with earlier values.
pub async fn get(state: web::Data<AppState>, key: web::Path<String>) -> Answer {
    let history = state.accounts.setting_history(&key, HISTORY).await?;
    let now = state.accounts.runtime();
    let mut view = view(&key, now.settings().get(key.as_str()).ok_or_else(ApiError::not_found)?);
    let by = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok()).map(|id| ids::user(AccountId(id)));
    let earlier = history.into_iter().map(|row| {
        json!({
            "version": row.version,
            "value": serde_json::from_str::<Value>(&row.value).unwrap_or_default(),
            "set_at": time(Timestamp(row.set_at)),
            "set_by": by(row.set_by),
        })
    });
    view["history"] = earlier.collect();
    Ok(HttpResponse::Ok().json(view))
}

/// The body of `PUT /admin/config/{key}`.
#[derive(Deserialize)]
struct Change {
    value: Value,
    /// The version that its author has seen; a newer one refuses the change.
    #[serde(default)]
    version: Option<i64>,
}

/// `PUT /admin/config/{key}`.
pub async fn set(
    state: web::Data<AppState>,
    request: HttpRequest,
    admin: CurrentUser,
    key: web::Path<String>,
    body: web::Bytes,
) -> Answer {
    let Change { value, version } = read(&body, "value, and version to compare with")?;
    let from = client_address(&request, &state);
    let changed = state.accounts.set(&key, value, version, admin.0.user, from).await?;
    let (_, after) = changed.map_err(|wrong| ApiError::bad_request("invalid_value", format!("{key} {wrong}")))?;
    Ok(HttpResponse::Ok().json(view(&key, &after)))
}

/// `GET /notice`: what the web app tells everybody before they sign in: a line, which may be empty, and whether a new
/// account gets play money.
pub async fn notice(state: web::Data<AppState>) -> Answer {
    let now = state.accounts.runtime();
    let text = now.settings().get(key::NOTICE).map(|setting| setting.value.clone()).unwrap_or_default();
    Ok(HttpResponse::Ok().json(json!({"notice": text, "demo_funds": state.gives_demo_funds()})))
}
