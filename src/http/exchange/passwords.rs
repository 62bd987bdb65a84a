//! New passwords, by the old one or by a mailed code, with their entries in the audit log.

use crate::auth::Secret;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::session::{CurrentUser, client_address, record};
use crate::persistence::audit::Entry;
use crate::persistence::sessions::SessionId;
use actix_web::HttpRequest;
use serde_json::json;

/// Gives a signed-in user another password; the other sessions end. Says which.
///
/// # Errors
/// Those of [`Accounts::change_password`](crate::auth::Accounts::change_password).
pub async fn change(
    state: &AppState,
    request: &HttpRequest,
    user: &CurrentUser,
    old: Secret,
    new: Secret,
) -> Result<Vec<SessionId>, ApiError> {
    let ended = state.accounts.change_password(user.0.user, user.0.session()?, old, new).await?;
    record(state, request, &user.0, "password_changed", None, json!({"ended_sessions": ended})).await;
    Ok(ended)
}

/// Gives whoever has the mailed code another password; all sessions end.
///
/// # Errors
/// Those of [`Accounts::reset_password`](crate::auth::Accounts::reset_password).
pub async fn reset(
    state: &AppState,
    request: &HttpRequest,
    email: &str,
    code: &str,
    new: Secret,
) -> Result<(), ApiError> {
    let address = client_address(request, state);
    let (user, ended) = state.accounts.reset_password(email, code, new, address).await?;
    let detail = json!({"ended_sessions": ended});
    let entry = Entry { action: "password_reset", actor: Some(user), subject: Some(user), address, detail };
    state.accounts.record(entry).await;
    Ok(())
}
