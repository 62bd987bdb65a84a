//! Pictures of users: kept with the images of chat, shown to everybody, one for each user.

use super::auth::{Answer, user_view};
use super::oidc::home;
use crate::domain::ids::AccountId;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::exchange::profiles::{self, PHOTOS, object};
use crate::http::pictures::{self, media_type, not_an_image};
use crate::http::session::CurrentUser;
use crate::persistence::users::User;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use bytes::Bytes;
use uuid::Uuid;

/// Makes this image the picture of a user, in place of the one before.
///
/// # Errors
/// When it is no image, or the store fails.
pub async fn set(state: &AppState, request: &HttpRequest, user: AccountId, content: Bytes) -> Result<User, ApiError> {
    media_type(&content).ok_or_else(not_an_image)?;
    let id = profiles::new_photo(user);
    state.chat.objects().put(&object(id), content).await?;
    let photo = format!("{}{PHOTOS}{id}", home(request, state).trim_end_matches('/'));
    let changed = profiles::change(state, user, None, Some(photo)).await;
    // After a failure the profile may show it all the same; a picture too many is better than one that is not there.
    let refused = changed.as_ref().is_err_and(|error| error.status_code().is_client_error());
    if refused && let Err(error) = state.chat.objects().remove(&object(id)).await {
        tracing::warn!(%error, "a picture that no profile shows could not be removed");
    }
    changed
}

/// `PUT /auth/me/photo`: the image is the body.
pub async fn put(state: web::Data<AppState>, request: HttpRequest, user: CurrentUser, payload: web::Payload) -> Answer {
    let picture = pictures::receive(user.0.user, payload, state.chat.limits().image_bytes).await?;
    let changed = set(&state, &request, user.0.user, picture.content.clone()).await?;
    Ok(HttpResponse::Ok().json(user_view(&changed)))
}

/// `GET /photos/{id}`.
pub async fn get(state: web::Data<AppState>, id: web::Path<Uuid>) -> Answer {
    let content = state.chat.objects().get(&object(*id)).await?;
    let kind = media_type(&content).ok_or_else(ApiError::not_found)?;
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"))
        .body(content))
}
