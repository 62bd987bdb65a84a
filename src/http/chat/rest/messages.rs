//! Messages: history, writing, search.

use super::{Answer, State, body, ok, room_id, run, run_and_show};
use crate::actors::chat::{Outcome, Refused};
use crate::domain::chat::{ClientMessageId, Command, MessageSequence, RoomId};
use crate::http::chat::requests::{self, is_warden};
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::wire;
use crate::persistence::chat::messages::{self, Page};
use crate::persistence::db::Connection;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

/// The query of a history page.
#[derive(Debug, Deserialize)]
pub struct HistoryQuery {
    before: Option<u64>,
    after: Option<u64>,
    around: Option<u64>,
    limit: Option<u16>,
}

/// `GET /chat/rooms/{id}/messages`.
pub async fn history(
    state: State,
    user: CurrentUser,
    id: web::Path<String>,
    query: web::Query<HistoryQuery>,
) -> Answer {
    let page = match (query.around, query.after) {
        (Some(middle), _) => Page::Around(MessageSequence(middle)),
        (None, Some(after)) => Page::After(MessageSequence(after)),
        (None, None) => Page::Before(query.before.map(MessageSequence)),
    };
    let (room, count) = (room_id(&id)?, requests::limit(query.limit));
    ok(requests::history(&state.chat, user.0.user, is_warden(user.0.role), room, page, count).await?)
}

#[derive(Deserialize)]
struct NewMessage {
    client_id: Option<Uuid>,
    #[serde(default)]
    text: String,
    reply_to: Option<u64>,
    #[serde(default)]
    images: Vec<Uuid>,
}

/// `POST /chat/rooms/{id}/messages`: writes a message.
pub async fn send(state: State, user: CurrentUser, id: web::Path<String>, bytes: web::Bytes) -> Answer {
    let NewMessage { client_id, text, reply_to, images } = body(&bytes)?;
    let (room, who) = (room_id(&id)?, user.0.user);
    let mentions = requests::mentions(&state.chat, &text).await?;
    let client_id = client_id.map(|id| ClientMessageId(id.as_u128()));
    let attachments = requests::attachments(&state.chat, who, room, client_id, images).await?;
    let reply_to = reply_to.map(MessageSequence);
    let done = run(&state, &user, room, Command::Send { client_id, text, reply_to, mentions, attachments }).await?;
    let Outcome::Written(sequence) = done.outcome else { return Err(Refused::OutcomeUnknown.into()) };
    let view = json!({"room": room.to_string(), "sequence": sequence.0, "at": wire::time(done.at)});
    Ok(HttpResponse::Created().json(view))
}

#[derive(Deserialize)]
struct NewText {
    text: String,
}

pub(super) fn one_message(path: &(String, u64)) -> Result<(RoomId, MessageSequence), ApiError> {
    Ok((room_id(&path.0)?, MessageSequence(path.1)))
}

/// `PATCH /chat/rooms/{id}/messages/{sequence}`: another text for an own message.
pub async fn edit(state: State, user: CurrentUser, path: web::Path<(String, u64)>, bytes: web::Bytes) -> Answer {
    let NewText { text } = body(&bytes)?;
    let (room, message) = one_message(&path)?;
    let mentions = requests::mentions(&state.chat, &text).await?;
    run_and_show(&state, &user, room, Command::Edit { message, text, mentions }).await
}

/// `DELETE /chat/rooms/{id}/messages/{sequence}`.
pub async fn delete(state: State, user: CurrentUser, path: web::Path<(String, u64)>) -> Answer {
    let (room, message) = one_message(&path)?;
    run_and_show(&state, &user, room, Command::Delete(message)).await
}

#[derive(Deserialize)]
struct NewReaction {
    emoji: String,
    #[serde(default = "yes")]
    on: bool,
}

fn yes() -> bool {
    true
}

/// `POST /chat/rooms/{id}/messages/{sequence}/reactions`.
pub async fn react(state: State, user: CurrentUser, path: web::Path<(String, u64)>, bytes: web::Bytes) -> Answer {
    let NewReaction { emoji, on } = body(&bytes)?;
    let (room, message) = one_message(&path)?;
    run_and_show(&state, &user, room, Command::React { message, emoji, on }).await
}

/// The query of a search.
#[derive(Debug, Deserialize)]
pub struct SearchQuery {
    q: String,
    room: Option<String>,
    before: Option<i64>,
    limit: Option<u16>,
}

/// `GET /chat/search`: messages with words that begin so, in the caller's rooms or in one that the caller may read.
pub async fn search(state: State, user: CurrentUser, query: web::Query<SearchQuery>) -> Answer {
    let SearchQuery { q, room, before, limit } = query.into_inner();
    let room = room.map(|room| room_id(&room)).transpose()?;
    let (who, warden, count) = (user.0.user, is_warden(user.0.role), requests::limit(limit));
    ok(requests::find(&state.chat, who, warden, q, room, before, count).await?)
}

/// The query of the combined history.
#[derive(Debug, Deserialize)]
pub struct NewestQuery {
    before: Option<i64>,
    limit: Option<u16>,
}

/// `GET /chat/messages`: the newest messages of all the caller's rooms together.
pub async fn newest(state: State, user: CurrentUser, query: web::Query<NewestQuery>) -> Answer {
    let (who, before, count) = (user.0.user, query.before, requests::limit(query.limit));
    let read = move |conn: &mut Connection| {
        Ok((messages::newest_of_all(conn, who, before, count)?, requests::blocked(conn, who)?))
    };
    let (found, blocked) = state.chat.store().read(read).await?;
    ok(requests::across_rooms(found, &blocked))
}
