//! Chat over plain HTTP: rooms, members, friends, history, search, reports.

mod members;
mod messages;
mod people;
mod reports;
mod rooms;

pub use members::{
    accept_invite, add_member, ban, bans, change_member, invite, invites, kick, members, revoke_invite, unban,
};
pub use messages::{delete, edit, history, newest, react, search, send};
pub use people::{befriend, friends, me, people, set_me};
pub use reports::{report, reports, resolve};
pub use rooms::{close, configure, create, join, leave, mine, public, read, room};

use super::requests::is_warden;
use super::wire;
use crate::actors::chat::{Done, Outcome, Refused};
use crate::domain::chat::{ChatReject, Command, RoomId};
use crate::domain::ids::AccountId;
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::{AppState, ids};
use actix_web::{HttpResponse, web};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

type Answer = Result<HttpResponse, ApiError>;
type State = web::Data<AppState>;

fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let invalid = |error| ApiError::bad_request("invalid_body", format!("the body cannot be read: {error}"));
    serde_json::from_slice(bytes).map_err(invalid)
}

fn room_id(text: &str) -> Result<RoomId, ApiError> {
    wire::parse_room(text).ok_or_else(|| ChatReject::UnknownRoom.into())
}

fn user_id(text: &str) -> Result<AccountId, ApiError> {
    Uuid::parse_str(text).ok().and_then(ids::parse_user).ok_or_else(|| ChatReject::NotAMember.into())
}

fn ok(view: Value) -> Answer {
    Ok(HttpResponse::Ok().json(view))
}

async fn run(state: &State, user: &CurrentUser, room: RoomId, command: Command) -> Result<Done, ApiError> {
    Ok(state.chat.execute(user.0.user, is_warden(user.0.role), room, command).await?)
}

async fn run_and_show(state: &State, user: &CurrentUser, room: RoomId, command: Command) -> Answer {
    show(room, run(state, user, room, command).await?)
}

/// The room as it is after a command.
fn show(room: RoomId, done: Done) -> Answer {
    match done.outcome {
        Outcome::Room(summary) => ok(wire::room(room, &summary)),
        Outcome::Written(_) | Outcome::Reported(_) => Err(Refused::OutcomeUnknown.into()),
    }
}
