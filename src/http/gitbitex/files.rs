//! Pictures of profiles. The front end asks for a place, puts the bytes there, and as soon as that was answered, however,
//! it names the place as its picture. So a place is an address on our own origin, and a picture that was refused cannot
//! be named (see `exchange::profiles`).
//!
//! Names of places are made here, and each is for the user who asked for it; so nobody can put anything in the place of
//! what there is. Their objects have names apart from those of other images. They had not always: older ones go by their
//! plain names, as images of chat do, and one that is an image of chat is none of ours.

use super::views::DEFAULT_PHOTO;
use crate::actors::trading::market_data::wall_clock;
use crate::domain::ids::AccountId;
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::{AppState, pictures};
use crate::persistence::chat::uploads;
use crate::persistence::db::{Connection, DbError};
use crate::persistence::objects::ObjectError;
use crate::persistence::pictures::{self as rows, ADDRESS, Picture};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use diesel::QueryResult;
use serde_json::json;
use uuid::Uuid;

type Answer = Result<HttpResponse, ApiError>;

/// The front end promises 20 MB.
const MOST_BYTES: usize = 20 << 20;
/// Pictures of a user that are kept beside the one that is shown.
const KEPT: i64 = 3;

async fn write<T: Send + 'static>(
    state: &AppState,
    query: impl FnOnce(&mut Connection) -> QueryResult<T> + Send + 'static,
) -> Result<T, ApiError> {
    match state.database.elsewhere(move |database| database.write_durably(query)).await {
        Ok(value) => Ok(value),
        Err(DbError::Taken) => {
            let message = "There is a picture at this place already.";
            Err(ApiError::new(StatusCode::CONFLICT, "picture_exists", message))
        }
        Err(error) => Err(error.into()),
    }
}

fn object(id: Uuid) -> String {
    format!("profile-{id}")
}

/// The name of an object from before they had names apart; none for what is an image of chat.
async fn older_object(state: &AppState, id: Uuid) -> Result<Option<String>, ApiError> {
    let of_chat = state.query(move |conn| uploads::get(conn, id.as_u128())).await?.is_some();
    Ok((!of_chat).then(|| id.to_string()))
}

async fn content(state: &AppState, id: Uuid) -> Result<web::Bytes, ApiError> {
    let found = state.chat.objects().get(&object(id)).await;
    if matches!(found, Err(ObjectError::Missing))
        && let Some(older) = older_object(state, id).await?
    {
        return Ok(state.chat.objects().get(&older).await?);
    }
    Ok(found?)
}

async fn remove(state: &AppState, id: Uuid) -> Result<(), ApiError> {
    state.chat.objects().remove(&object(id)).await?;
    if let Some(older) = older_object(state, id).await? {
        state.chat.objects().remove(&older).await?;
    }
    // The row last: an object without one would never be removed.
    write(state, move |conn| rows::remove(conn, id)).await
}

/// Removes the pictures of a user that are of no use any more. What could not be removed is with the next upload.
async fn tidy(state: &AppState, user: AccountId) -> Result<(), ApiError> {
    for id in state.query(move |conn| rows::older(conn, user, KEPT)).await? {
        remove(state, id).await?;
    }
    Ok(())
}

/// `GET /files/url`: a place for one picture of the caller, and the address at which it will be.
pub async fn place(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    let path = format!("{ADDRESS}{}", state.accounts.new_picture(user.0.user)?);
    Ok(HttpResponse::Ok().json(json!({"url": path, "key": path})))
}

/// `PUT /files/{id}`: the picture is the body.
pub async fn upload(
    state: web::Data<AppState>,
    user: CurrentUser,
    id: web::Path<Uuid>,
    payload: web::Payload,
) -> Answer {
    let (id, account) = (*id, user.0.user);
    if !state.accounts.may_put_picture(account, id) {
        let message = "This is no place for a picture of yours. Please upload it again.";
        return Err(ApiError::new(StatusCode::NOT_FOUND, "no_such_place", message));
    }
    let received = pictures::receive(account, payload, MOST_BYTES).await?;
    let picture = Picture { id, account, media_type: received.media_type.to_owned(), uploaded_at: wall_clock() };
    // The row first: an object without one would never be removed.
    write(&state, move |conn| rows::add(conn, &picture)).await?;
    if let Err(error) = state.chat.objects().put(&object(id), received.content.clone()).await {
        write(&state, move |conn| rows::remove(conn, id)).await?;
        return Err(error.into());
    }
    if let Err(error) = tidy(&state, account).await {
        tracing::warn!(%error, "pictures could not be removed");
    }
    Ok(HttpResponse::Ok().json(json!({"url": format!("{ADDRESS}{id}")})))
}

/// `GET /files/{id}`: a picture, for whoever knows its address.
pub async fn get(state: web::Data<AppState>, name: web::Path<String>) -> Answer {
    if format!("{ADDRESS}{name}") == DEFAULT_PHOTO {
        return Ok(super::products::svg(include_str!("default.svg").to_owned()));
    }
    let id = Uuid::try_parse(&name).map_err(|_| ApiError::not_found())?;
    let picture = state.query(move |conn| rows::get(conn, id)).await?.ok_or_else(ApiError::not_found)?;
    Ok(pictures::show(content(&state, id).await?, &picture.media_type))
}
