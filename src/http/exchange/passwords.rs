//! New passwords, by the old one or by a mailed code.

use crate::auth::Secret;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::session::{CurrentUser, client_address};
use crate::persistence::sessions::SessionId;
use actix_web::HttpRequest;

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
    let from = client_address(request, state);
    Ok(state.accounts.change_password(user.0.user, user.0.session()?, old, new, from).await?)
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
    state.accounts.reset_password(email, code, new, client_address(request, state)).await?;
    Ok(())
}
