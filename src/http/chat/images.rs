//! Images: uploaded to a room by a member, shown to its members, removed with their message.

use super::requests::{self, is_warden};
use super::wire;
use crate::actors::chat::Chat;
use crate::actors::trading::market_data::wall_clock;
use crate::domain::chat::{Action, ChatReject, Standing, rights};
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::{AppState, pictures};
use crate::persistence::chat::uploads::{self, Upload};
use crate::persistence::db::Connection;
use crate::persistence::objects::ObjectError;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

type Answer = Result<HttpResponse, ApiError>;

/// How often objects that nobody needs are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// How many are removed at a time.
const TIDY_AT_ONCE: i64 = 200;

impl From<ObjectError> for ApiError {
    fn from(error: ObjectError) -> ApiError {
        match error {
            ObjectError::Missing => ApiError::not_found(),
            ObjectError::Io(_) | ObjectError::Remote(_) | ObjectError::Settings(_) => {
                tracing::error!(%error, "an image cannot be stored or read");
                let message = "images are out of reach, please retry";
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "images_unavailable", message)
            }
        }
    }
}

/// `POST /chat/rooms/{id}/images`: the image is the body.
pub async fn upload(
    state: web::Data<AppState>,
    user: CurrentUser,
    room: web::Path<String>,
    payload: web::Payload,
) -> Answer {
    let room = wire::parse_room(&room).ok_or(ChatReject::UnknownRoom)?;
    let view = state.chat.look(user.0.user, room).await?.ok_or(ChatReject::UnknownRoom)?;
    let standing = view.role.map_or(Standing::Outsider, Standing::Member);
    if !rights::may(view.summary.kind, standing, Action::Send) {
        return Err(ChatReject::UnknownRoom.into());
    }
    // Before anything is read, so that whoever is too fast costs nothing.
    state.chat.limits().take(user.0.user, wall_clock())?;
    let picture = pictures::receive(user.0.user, payload, state.chat.limits().image_bytes).await?;
    let (content, media_type) = (picture.content.clone(), picture.media_type);
    let id = Uuid::new_v4();
    let upload = Upload {
        id: id.as_u128(),
        account: user.0.user,
        room,
        media_type: media_type.to_owned(),
        bytes: u32::try_from(content.len()).unwrap_or(u32::MAX),
        at: wall_clock(),
        message: None,
        gone: false,
    };
    let view = json!({
        "id": id, "media_type": media_type, "bytes": upload.bytes, "url": format!("/v1/chat/images/{id}"),
    });
    // The row first: an object without one would never be removed.
    state.database.elsewhere(move |database| database.write_durably(|conn| uploads::add(conn, &upload))).await?;
    state.chat.objects().put(&id.to_string(), content).await?;
    Ok(HttpResponse::Created().json(view))
}

/// `GET /chat/images/{id}`: for members of its room.
pub async fn get(state: web::Data<AppState>, user: CurrentUser, id: web::Path<Uuid>) -> Answer {
    let (who, warden, number) = (user.0.user, is_warden(user.0.role), id.as_u128());
    let read = move |conn: &mut Connection| {
        let Some(upload) = uploads::get(conn, number)?.filter(|upload| !upload.gone) else { return Ok(None) };
        Ok(requests::may_read(conn, upload.room, who, warden)?.then_some(upload))
    };
    let upload = state.chat.store().read(read).await?.ok_or_else(ApiError::not_found)?;
    let content = state.chat.objects().get(&id.to_string()).await?;
    Ok(pictures::show(content, &upload.media_type))
}

/// Removes the objects of deleted messages and of uploads that no message ever showed, for ever.
pub fn tidy(chat: Chat) {
    actix_web::rt::spawn(async move {
        loop {
            tokio::time::sleep(TIDY_EVERY).await;
            let found = chat.store().read_now(|conn| uploads::removable(conn, wall_clock(), TIDY_AT_ONCE)).await;
            for id in found.unwrap_or_default() {
                if let Err(error) = chat.objects().remove(&Uuid::from_u128(id).to_string()).await {
                    tracing::warn!(%error, "an image could not be removed; it is tried again");
                    break;
                }
                let database = chat.store().database.clone();
                // A row that stays is only looked at again.
                let _ = tokio::task::spawn_blocking(move || database.write(|conn| uploads::forget(conn, id))).await;
            }
        }
    });
}
