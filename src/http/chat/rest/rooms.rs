//! Rooms: lists, making, changing, coming and going.

use super::{Answer, State, body, ok, room_id, run, run_and_show};
use crate::actors::chat::{Done, Outcome, Refused};
use crate::domain::chat::{ChatReject, Command, JoinBy, MessageSequence, Role, RoomId, RoomKind};
use crate::domain::ids::AccountId;
use crate::http::chat::{requests, wire};
use crate::http::session::CurrentUser;
use crate::persistence::chat::rooms;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

/// `GET /chat/rooms`: the caller's rooms with unread counts.
pub async fn mine(state: State, user: CurrentUser) -> Answer {
    let who = user.0.user;
    let rooms = state.chat.store().read(move |conn| rooms::of(conn, who)).await?;
    ok(rooms.iter().map(|mine| wire::mine(mine, who)).collect())
}

/// The query of a list.
#[derive(Debug, Deserialize)]
pub struct ListQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    offset: u32,
    limit: Option<u16>,
}

/// `GET /chat/rooms/public`: public rooms, the largest first.
pub async fn public(state: State, _user: CurrentUser, query: web::Query<ListQuery>) -> Answer {
    let ListQuery { q, offset, limit } = query.into_inner();
    requests::refuse_nul(&q)?;
    let (skip, count) = (i64::from(offset), requests::limit(limit));
    let rooms = state.chat.store().read(move |conn| rooms::public(conn, &q, skip, count)).await?;
    ok(rooms.iter().map(wire::listed).collect())
}

#[derive(Deserialize)]
struct NewRoom {
    kind: String,
    name: String,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    description: String,
    /// Makes a repeat of the request harmless.
    id: Option<Uuid>,
}

/// `POST /chat/rooms`: makes a room.
pub async fn create(state: State, user: CurrentUser, bytes: web::Bytes) -> Answer {
    let new: NewRoom = body(&bytes)?;
    let kind = RoomKind::from_name(&new.kind).ok_or(ChatReject::Invalid)?;
    // The id follows from the user and the request's own id, so that a repeat meets the room that it made.
    let request = new.id.unwrap_or_else(Uuid::new_v4);
    let id = room_for(user.0.user, request);
    let create = Command::Create { kind, name: new.name, topic: new.topic, description: new.description };
    match run(&state, &user, id, create).await {
        Ok(Done { outcome: Outcome::Room(summary), .. }) => Ok(HttpResponse::Created().json(wire::room(id, &summary))),
        Ok(_) => Err(Refused::OutcomeUnknown.into()),
        Err(error) if error.code() == ChatReject::RoomExists.code() && new.id.is_some() => {
            show_room(&state, &user, id).await
        }
        Err(error) => Err(error),
    }
}

fn room_for(user: AccountId, request: Uuid) -> RoomId {
    let mut hasher = blake3::Hasher::new_derive_key("agora 2026 chat room");
    hasher.update(&user.0.to_le_bytes()).update(request.as_bytes());
    let mut number = [0; 8];
    hasher.finalize_xof().fill(&mut number);
    RoomId::made(u64::from_le_bytes(number))
}

async fn show_room(state: &State, user: &CurrentUser, room: RoomId) -> Answer {
    let view = state.chat.look(user.0.user, room).await?.ok_or(ChatReject::UnknownRoom)?;
    let known = view.role.is_some() || view.summary.kind == RoomKind::Public;
    if !known {
        return Err(ChatReject::UnknownRoom.into());
    }
    let mut shown = wire::room(room, &view.summary);
    shown["role"] = json!(view.role.map(Role::name));
    ok(shown)
}

/// `GET /chat/rooms/{id}`.
pub async fn room(state: State, user: CurrentUser, id: web::Path<String>) -> Answer {
    show_room(&state, &user, room_id(&id)?).await
}

#[derive(Deserialize)]
struct RoomChange {
    name: Option<String>,
    kind: Option<String>,
    topic: Option<String>,
    description: Option<String>,
    slow_mode_s: Option<u32>,
}

/// `PATCH /chat/rooms/{id}`: changes what is given.
pub async fn configure(state: State, user: CurrentUser, id: web::Path<String>, bytes: web::Bytes) -> Answer {
    let RoomChange { name, kind, topic, description, slow_mode_s } = body(&bytes)?;
    let kind = kind.map(|kind| RoomKind::from_name(&kind).ok_or(ChatReject::Invalid)).transpose()?;
    run_and_show(&state, &user, room_id(&id)?, Command::Configure { name, kind, topic, description, slow_mode_s }).await
}

/// `DELETE /chat/rooms/{id}`: closes the room for good.
pub async fn close(state: State, user: CurrentUser, id: web::Path<String>) -> Answer {
    run_and_show(&state, &user, room_id(&id)?, Command::Close).await
}

/// `POST /chat/rooms/{id}/join`: becomes a member of a public room.
pub async fn join(state: State, user: CurrentUser, id: web::Path<String>) -> Answer {
    run_and_show(&state, &user, room_id(&id)?, Command::Join(JoinBy::Itself)).await
}

/// `POST /chat/rooms/{id}/leave`.
pub async fn leave(state: State, user: CurrentUser, id: web::Path<String>) -> Answer {
    run_and_show(&state, &user, room_id(&id)?, Command::Leave).await
}

#[derive(Deserialize)]
struct NewMark {
    message: u64,
}

/// `PUT /chat/rooms/{id}/read`: everything up to a message was read.
pub async fn read(state: State, user: CurrentUser, id: web::Path<String>, bytes: web::Bytes) -> Answer {
    let NewMark { message } = body(&bytes)?;
    run_and_show(&state, &user, room_id(&id)?, Command::Read(MessageSequence(message))).await
}
