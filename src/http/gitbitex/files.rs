//! Pictures of profiles. The front end asks for a place, puts the bytes there, and as soon as that was answered, however,
//! it names the place as its picture. So a place is an address on our own origin, and a picture that was refused cannot
//! be named.

use super::views::DEFAULT_PHOTO;
use crate::actors::trading::market_data::wall_clock;
use crate::domain::ids::AccountId;
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::{AppState, pictures};
use crate::persistence::db::{Connection, DbError};
use crate::persistence::pictures::{self as rows, Picture};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use diesel::QueryResult;
use serde_json::json;
use uuid::Uuid;

type Answer = Result<HttpResponse, ApiError>;

/// Where pictures are.
const PREFIX: &str = "/api/files/";
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

/// `GET /files/url`: a place for one picture, and the address at which it will be.
pub async fn place(_user: CurrentUser) -> HttpResponse {
    let path = format!("{PREFIX}{}", Uuid::new_v4());
    HttpResponse::Ok().json(json!({"url": path, "key": path}))
}

/// `PUT /files/{id}`: the picture is the body.
pub async fn upload(
    state: web::Data<AppState>,
    user: CurrentUser,
    id: web::Path<Uuid>,
    payload: web::Payload,
) -> Answer {
    let (id, account) = (*id, user.0.user);
    let (content, media_type) = pictures::receive(payload, MOST_BYTES).await?;
    let picture = Picture { id, account, media_type: media_type.to_owned(), uploaded_at: wall_clock() };
    // The row first: an object without one would never be removed.
    let older = write(&state, move |conn| {
        rows::add(conn, &picture)?;
        rows::forget_older(conn, account, KEPT, PREFIX)
    })
    .await?;
    if let Err(error) = state.chat.objects().put(&id.to_string(), content).await {
        write(&state, move |conn| rows::remove(conn, id)).await?;
        return Err(error.into());
    }
    for id in older {
        if let Err(error) = state.chat.objects().remove(&id.to_string()).await {
            tracing::warn!(%error, "a picture could not be removed");
        }
    }
    Ok(HttpResponse::Ok().json(json!({"url": format!("{PREFIX}{id}")})))
}

/// `GET /files/{id}`: a picture, for whoever knows its address.
pub async fn get(state: web::Data<AppState>, name: web::Path<String>) -> Answer {
    if format!("{PREFIX}{name}") == DEFAULT_PHOTO {
        return Ok(super::products::svg(include_str!("default.svg").to_owned()));
    }
    let id = Uuid::try_parse(&name).map_err(|_| ApiError::not_found())?;
    let picture = state.query(move |conn| rows::get(conn, id)).await?.ok_or_else(ApiError::not_found)?;
    let content = state.chat.objects().get(&id.to_string()).await?;
    Ok(pictures::show(content, &picture.media_type))
}

/// Refuses the address of a picture here that does not exist or is another user's.
///
/// # Errors
/// 400; 503 when it cannot be told now.
pub async fn check(state: &AppState, user: AccountId, photo: &str) -> Result<(), ApiError> {
    let Some(name) = photo.strip_prefix(PREFIX) else { return Ok(()) };
    let found = match Uuid::try_parse(name) {
        Ok(id) => state.query(move |conn| rows::get(conn, id)).await?,
        Err(_) => None,
    };
    if found.is_some_and(|picture| picture.account == user) {
        return Ok(());
    }
    Err(ApiError::bad_request("no_such_picture", "There is no such picture. Please upload it again."))
}
