//! Pictures of users: kept with the images of chat, shown to everybody, one for each user.

use super::auth::{Answer, user_view};
use super::oidc::home;
use crate::domain::ids::AccountId;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::pictures::{collect, media_type, not_an_image};
use crate::http::session::CurrentUser;
use crate::persistence::users::User;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use uuid::Uuid;

/// Where pictures are served; the id of one follows.
const PATH: &str = "/v1/photos/";

fn object(id: Uuid) -> String {
    format!("photo-{id}")
}

/// The id in the address of a picture of ours; pictures may also be elsewhere.
fn id_in(photo: &str) -> Option<Uuid> {
    photo.rsplit_once(PATH).and_then(|(_, id)| Uuid::try_parse(id).ok())
}

/// An id that tells whose picture it is: whose address a profile has is for its user to say.
fn new_id(user: AccountId) -> Uuid {
    let mut bytes = Uuid::new_v4().into_bytes();
    bytes.iter_mut().zip(user.0.to_be_bytes()).for_each(|(byte, own)| *byte = own);
    Uuid::from_bytes(bytes)
}

fn is_of(id: &Uuid, user: AccountId) -> bool {
    id.as_bytes().starts_with(&user.0.to_be_bytes())
}

/// Makes this image the picture of a user, in place of the one before.
///
/// # Errors
/// When it is no image, or the store fails.
pub async fn set(state: &AppState, request: &HttpRequest, user: AccountId, content: Bytes) -> Result<User, ApiError> {
    media_type(&content).ok_or_else(not_an_image)?;
    let old = state.accounts.user(user).await?;
    let id = new_id(user);
    state.chat.objects().put(&object(id), content).await?;
    let photo = format!("{}{PATH}{id}", home(request, state).trim_end_matches('/'));
    let changed = state.accounts.set_profile(user, &old.name, &photo).await?;
    // A picture that stays behind costs some room and is seen by nobody.
    if let Some(before) = id_in(&old.photo).filter(|id| is_of(id, user))
        && let Err(error) = state.chat.objects().remove(&object(before)).await
    {
        tracing::warn!(%error, "an old picture could not be removed");
    }
    Ok(changed)
}

/// `PUT /auth/me/photo`: the image is the body.
pub async fn put(state: web::Data<AppState>, request: HttpRequest, user: CurrentUser, payload: web::Payload) -> Answer {
    let content = collect(payload, state.chat.limits().image_bytes).await?;
    let changed = set(&state, &request, user.0.user, content).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_ours_are_told_from_others() {
        let id = new_id(AccountId(7));
        assert!(is_of(&id, AccountId(7)) && !is_of(&id, AccountId(8)));
        assert_ne!(id, new_id(AccountId(7)));
        assert_eq!(id_in(&format!("https://agora.example/v1/photos/{id}")), Some(id));
        for other in ["", "https://elsewhere.example/a.png", "https://agora.example/v1/photos/../keys"] {
            assert_eq!(id_in(other), None, "{other}");
        }
    }
}
