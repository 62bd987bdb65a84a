//! Members, invitations and bans.

use super::{Answer, State, body, ok, room_id, run, run_and_show, user_id};
use crate::actors::trading::market_data::wall_clock;
use crate::domain::chat::room::Invite;
use crate::domain::chat::{
    Action, ChatReject, Command, InviteCode, JoinBy, Member, RoomId, RoomKind, Standing, rights,
};
use crate::domain::ids::AccountId;
use crate::domain::time::{SECOND, Timestamp};
use crate::http::chat::requests::{self, is_warden};
use crate::http::chat::wire::UserText;
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::{ids, wire};
use crate::persistence::chat::{friends, rooms};
use crate::persistence::db::Connection;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// `POST /chat/invites/{text}`: becomes a member by invitation.
pub async fn accept_invite(state: State, user: CurrentUser, text: web::Path<String>) -> Answer {
    let (room, code) = requests::parse_invite(&text).ok_or(ChatReject::BadInvite)?;
    run_and_show(&state, &user, room, Command::Join(JoinBy::Invite(code))).await
}

#[derive(Deserialize)]
struct NewInvite {
    /// Seconds from now.
    expires_in_s: Option<u32>,
    uses: Option<u32>,
}

fn from_now(seconds: u32) -> Timestamp {
    wall_clock() + i64::from(seconds) * SECOND
}

/// `POST /chat/rooms/{id}/invites`: makes an invitation.
pub async fn invite(state: State, user: CurrentUser, id: web::Path<String>, bytes: web::Bytes) -> Answer {
    let NewInvite { expires_in_s, uses } = body(if bytes.is_empty() { b"{}" } else { &bytes })?;
    let room = room_id(&id)?;
    let code = InviteCode(Uuid::new_v4().as_u128());
    let expires_at = expires_in_s.map(from_now);
    run(&state, &user, room, Command::Invite { code, expires_at, uses }).await?;
    let expires = expires_at.map(wire::time);
    let view = json!({"invite": requests::invite_text(room, code), "expires_at": expires, "uses": uses});
    Ok(HttpResponse::Created().json(view))
}

/// Whether somebody may see what only those who may do `action` see.
async fn demand(state: &State, user: &CurrentUser, room: RoomId, action: Action) -> Result<(), ApiError> {
    let view = state.chat.look(user.0.user, room).await?.ok_or(ChatReject::UnknownRoom)?;
    let standing = view.role.map_or(Standing::Outsider, Standing::Member);
    let by_office = is_warden(user.0.role) && rights::may(view.summary.kind, Standing::Warden, action);
    if by_office || rights::may(view.summary.kind, standing, action) {
        return Ok(());
    }
    let hidden = view.role.is_none() && view.summary.kind != RoomKind::Public;
    Err(if hidden { ChatReject::UnknownRoom.into() } else { ChatReject::NotAllowed.into() })
}

/// `GET /chat/rooms/{id}/invites`.
pub async fn invites(state: State, user: CurrentUser, id: web::Path<String>) -> Answer {
    let room = room_id(&id)?;
    demand(&state, &user, room, Action::Invite).await?;
    let found = state.chat.store().read(move |conn| rooms::state(conn, room)).await?;
    let found = found.ok_or(ChatReject::UnknownRoom)?;
    let view = |(code, invite): (&InviteCode, &Invite)| {
        json!({
            "invite": requests::invite_text(room, *code),
            "by": ids::user(invite.by),
            "expires_at": invite.expires_at.map(wire::time),
            "uses": invite.uses,
        })
    };
    ok(found.invites.iter().map(view).collect())
}

/// `DELETE /chat/invites/{text}`: takes an invitation back.
pub async fn revoke_invite(state: State, user: CurrentUser, text: web::Path<String>) -> Answer {
    let (room, code) = requests::parse_invite(&text).ok_or(ChatReject::BadInvite)?;
    run_and_show(&state, &user, room, Command::RevokeInvite(code)).await
}

/// The query of the list of members.
#[derive(Debug, Deserialize)]
pub struct MembersQuery {
    after: Option<Uuid>,
    limit: Option<u16>,
}

/// `GET /chat/rooms/{id}/members`.
pub async fn members(
    state: State,
    user: CurrentUser,
    id: web::Path<String>,
    query: web::Query<MembersQuery>,
) -> Answer {
    let (room, who, warden) = (room_id(&id)?, user.0.user, is_warden(user.0.role));
    let (after, count) = (query.after.and_then(ids::parse_user), requests::limit(query.limit));
    let read = move |conn: &mut Connection| match requests::may_read(conn, room, who, warden)? {
        true => rooms::members(conn, room, after, count).map(Some),
        false => Ok(None),
    };
    let members = state.chat.store().read(read).await?.ok_or(ChatReject::UnknownRoom)?;
    let about = requests::about(&state.chat, who, members.iter().map(|(member, _)| *member).collect()).await?;
    let people = about.as_array().cloned().unwrap_or_default();
    let view = |((_, member), mut person): (&(AccountId, Member), Value)| {
        person["role"] = member.role.name().into();
        person["joined_at"] = wire::time(member.joined_at).into();
        person["muted_until"] = json!(member.muted_until.map(wire::time));
        person
    };
    ok(members.iter().zip(people).map(view).collect())
}

#[derive(Deserialize)]
struct NewMember {
    user: UserText,
}

/// `POST /chat/rooms/{id}/members`: adds a friend.
pub async fn add_member(state: State, user: CurrentUser, id: web::Path<String>, bytes: web::Bytes) -> Answer {
    let NewMember { user: UserText(other) } = body(&bytes)?;
    let who = user.0.user;
    // Nobody is put into rooms by strangers.
    let friends = state.chat.store().read(move |conn| friends::of(conn, who)).await?;
    let is_friend = |f: &friends::Friend| f.other == other && f.status == friends::Friendship::Friends;
    if !friends.iter().any(is_friend) {
        return Err(ChatReject::NotFriends.into());
    }
    run_and_show(&state, &user, room_id(&id)?, Command::Add(other)).await
}

#[derive(Deserialize)]
struct MemberChange {
    role: Option<String>,
    /// Seconds from now; 0 lets write again.
    mute_s: Option<u32>,
}

/// `PATCH /chat/rooms/{id}/members/{user}`: another role, or a mute.
pub async fn change_member(
    state: State,
    user: CurrentUser,
    path: web::Path<(String, String)>,
    bytes: web::Bytes,
) -> Answer {
    let (room, other) = (room_id(&path.0)?, user_id(&path.1)?);
    let command = match body(&bytes)? {
        MemberChange { role: Some(role), mute_s: None } => Command::SetRole(other, requests::parse_role(&role)?),
        MemberChange { role: None, mute_s: Some(0) } => Command::Mute(other, None),
        MemberChange { role: None, mute_s: Some(seconds) } => Command::Mute(other, Some(from_now(seconds))),
        MemberChange { .. } => return Err(ApiError::bad_request("invalid_body", "either role or mute_s is needed")),
    };
    run_and_show(&state, &user, room, command).await
}

/// `DELETE /chat/rooms/{id}/members/{user}`: removes a member; it may come back.
pub async fn kick(state: State, user: CurrentUser, path: web::Path<(String, String)>) -> Answer {
    run_and_show(&state, &user, room_id(&path.0)?, Command::Kick(user_id(&path.1)?)).await
}

/// `GET /chat/rooms/{id}/bans`.
pub async fn bans(state: State, user: CurrentUser, id: web::Path<String>) -> Answer {
    let room = room_id(&id)?;
    demand(&state, &user, room, Action::Ban).await?;
    let found = state.chat.store().read(move |conn| rooms::state(conn, room)).await?;
    let found = found.ok_or(ChatReject::UnknownRoom)?;
    let view = |(who, at): (&AccountId, &Timestamp)| json!({"user": ids::user(*who), "at": wire::time(*at)});
    ok(found.bans.iter().map(view).collect())
}

/// `PUT /chat/rooms/{id}/bans/{user}`: keeps somebody out.
pub async fn ban(state: State, user: CurrentUser, path: web::Path<(String, String)>) -> Answer {
    run_and_show(&state, &user, room_id(&path.0)?, Command::Ban(user_id(&path.1)?, true)).await
}

/// `DELETE /chat/rooms/{id}/bans/{user}`: lets somebody in again.
pub async fn unban(state: State, user: CurrentUser, path: web::Path<(String, String)>) -> Answer {
    run_and_show(&state, &user, room_id(&path.0)?, Command::Ban(user_id(&path.1)?, false)).await
}
