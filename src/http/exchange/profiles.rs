//! What users say of themselves: name and picture, in whichever dialect.
//!
//! A picture of ours that a profile shows no more is removed, whatever took its place. One that was put at a place of the
//! GitBitEx dialect is kept for a while with a few others (see `gitbitex::files`), and is named by its owner alone.

use crate::domain::ids::AccountId;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::persistence::pictures;
use crate::persistence::users::User;
use uuid::Uuid;

/// Where pictures are served that were uploaded to a profile; the id of one follows.
pub const PHOTOS: &str = "/v1/photos/";

/// The object with a picture that was uploaded to a profile.
pub fn object(id: Uuid) -> String {
    format!("photo-{id}")
}

/// An id that tells whose picture it is: whose address a profile has is for its user to say.
pub fn new_photo(user: AccountId) -> Uuid {
    let mut bytes = Uuid::new_v4().into_bytes();
    bytes.iter_mut().zip(user.0.to_be_bytes()).for_each(|(byte, own)| *byte = own);
    Uuid::from_bytes(bytes)
}

/// The id in the address of a picture, if that is one of ours and this user's; pictures may also be elsewhere.
fn own_photo(photo: &str, user: AccountId) -> Option<Uuid> {
    let id = photo.rsplit_once(PHOTOS).and_then(|(_, id)| Uuid::try_parse(id).ok())?;
    id.as_bytes().starts_with(&user.0.to_be_bytes()).then_some(id)
}

/// Changes what is given and keeps the rest. The picture that was shown before is removed if it was uploaded to this
/// profile.
///
/// # Errors
/// 400 for what cannot be shown, and for a picture here that does not exist or is another user's; 503 when it cannot be
/// done now.
pub async fn change(
    state: &AppState,
    user: AccountId,
    name: Option<String>,
    photo: Option<String>,
) -> Result<User, ApiError> {
    // As it is stored, so that nothing else is looked at than what counts.
    let photo = photo.map(|photo| photo.trim().to_owned());
    if let Some(photo) = &photo {
        check(state, user, photo).await?;
    }
    let (before, after) = state.accounts.set_profile(user, name.as_deref(), photo.as_deref()).await?;
    let gone = own_photo(&before.photo, user).filter(|id| own_photo(&after.photo, user) != Some(*id));
    // A picture that stays behind costs some room and is seen by nobody.
    if let Some(id) = gone
        && let Err(error) = state.chat.objects().remove(&object(id)).await
    {
        tracing::warn!(%error, "an old picture could not be removed");
    }
    Ok(after)
}

/// The place of this name. It is known by one spelling alone: what a profile shows is compared as text.
fn place(name: &str) -> Option<Uuid> {
    Uuid::try_parse(name).ok().filter(|id| id.hyphenated().to_string() == name)
}

/// Refuses the address of a place for pictures at which there is none, or another user's.
async fn check(state: &AppState, user: AccountId, photo: &str) -> Result<(), ApiError> {
    let Some(name) = photo.strip_prefix(pictures::ADDRESS) else { return Ok(()) };
    let found = match place(name) {
        Some(id) => state.query(move |conn| pictures::get(conn, id)).await?,
        None => None,
    };
    if found.is_some_and(|picture| picture.account == user) {
        return Ok(());
    }
    Err(ApiError::bad_request("no_such_picture", "There is no such picture. Please upload it again."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_spelling() {
        let id = Uuid::from_u128(0xabcd_ef00_1234);
        assert_eq!(place(&id.to_string()), Some(id));
        let others =
            [id.to_string().to_uppercase(), id.simple().to_string(), id.braced().to_string(), id.urn().to_string()];
        for other in others.iter().map(String::as_str).chain(["", "x"]) {
            assert_eq!(place(other), None, "{other}");
        }
    }

    #[test]
    fn pictures_of_ours_are_told_from_others() {
        let (ada, bob) = (AccountId(7), AccountId(8));
        let id = new_photo(ada);
        assert_ne!(id, new_photo(ada));
        let shown = format!("https://agora.example{PHOTOS}{id}");
        assert_eq!((own_photo(&shown, ada), own_photo(&shown, bob)), (Some(id), None));
        for other in ["", "https://elsewhere.example/a.png", "https://agora.example/v1/photos/../keys"] {
            assert_eq!(own_photo(other, ada), None, "{other}");
        }
    }
}
