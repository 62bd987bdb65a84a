//! Chat over plain HTTP: rooms, members, friends, history, search, reports.

use super::requests::{self, is_warden};
use super::wire::{self, UserText};
use crate::actors::chat::{Done, Refused};
use crate::domain::chat::{
    Action, ChatReject, ClientMessageId, Command, Effect, InviteCode, JoinBy, MessageSequence, RoomId, RoomKind,
};
use crate::domain::ids::AccountId;
use crate::domain::time::{SECOND, Timestamp};
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::{AppState, ids};
use crate::persistence::chat::messages::{self, Page};
use crate::persistence::chat::people::{self, VisibleTo};
use crate::persistence::chat::{friends, reports, rooms};
use crate::persistence::db::{Connection, DbError};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
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
    let done = run(state, user, room, command).await?;
    ok(wire::room(room, &done.summary))
}

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
        Ok(done) => Ok(HttpResponse::Created().json(wire::room(id, &done.summary))),
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
    shown["role"] = json!(view.role.map(crate::domain::chat::Role::name));
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
    crate::actors::trading::market_data::wall_clock() + i64::from(seconds) * SECOND
}

/// `POST /chat/rooms/{id}/invites`: makes an invitation.
pub async fn invite(state: State, user: CurrentUser, id: web::Path<String>, bytes: web::Bytes) -> Answer {
    let NewInvite { expires_in_s, uses } = body(if bytes.is_empty() { b"{}" } else { &bytes })?;
    let room = room_id(&id)?;
    let code = InviteCode(Uuid::new_v4().as_u128());
    let expires_at = expires_in_s.map(from_now);
    run(&state, &user, room, Command::Invite { code, expires_at, uses }).await?;
    let expires = expires_at.map(crate::http::wire::time);
    let view = json!({"invite": requests::invite_text(room, code), "expires_at": expires, "uses": uses});
    Ok(HttpResponse::Created().json(view))
}

/// Whether somebody may see what only those who may do `action` see.
async fn demand(state: &State, user: &CurrentUser, room: RoomId, action: Action) -> Result<(), ApiError> {
    use crate::domain::chat::{Standing, rights};
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
    let view = |(code, invite): (&InviteCode, &crate::domain::chat::room::Invite)| {
        json!({
            "invite": requests::invite_text(room, *code),
            "by": ids::user(invite.by),
            "expires_at": invite.expires_at.map(crate::http::wire::time),
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
    let view = |((_, member), mut person): (&(AccountId, crate::domain::chat::Member), Value)| {
        person["role"] = member.role.name().into();
        person["joined_at"] = crate::http::wire::time(member.joined_at).into();
        person["muted_until"] = json!(member.muted_until.map(crate::http::wire::time));
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
    let view =
        |(who, at): (&AccountId, &Timestamp)| json!({"user": ids::user(*who), "at": crate::http::wire::time(*at)});
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
    let attachments = requests::attachments(&state.chat, who, room, images).await?;
    let client_id = client_id.map(|id| ClientMessageId(id.as_u128()));
    let reply_to = reply_to.map(MessageSequence);
    let done = run(&state, &user, room, Command::Send { client_id, text, reply_to, mentions, attachments }).await?;
    let sequence = match &done.effect {
        Effect::Sent(message) => message.sequence,
        Effect::Repeated(sequence) => *sequence,
        _ => return Err(Refused::OutcomeUnknown.into()),
    };
    let view = json!({"room": room.to_string(), "sequence": sequence.0, "at": crate::http::wire::time(done.at)});
    Ok(HttpResponse::Created().json(view))
}

#[derive(Deserialize)]
struct NewText {
    text: String,
}

fn one_message(path: &(String, u64)) -> Result<(RoomId, MessageSequence), ApiError> {
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

#[derive(Deserialize)]
struct NewReport {
    #[serde(default)]
    reason: String,
}

/// `POST /chat/rooms/{id}/messages/{sequence}/reports`: tells those who keep order.
pub async fn report(state: State, user: CurrentUser, path: web::Path<(String, u64)>, bytes: web::Bytes) -> Answer {
    let NewReport { reason } = body(&bytes)?;
    let (room, message) = one_message(&path)?;
    let done = run(&state, &user, room, Command::Report { message, reason }).await?;
    let Effect::Reported(number) = done.effect else { return Err(Refused::OutcomeUnknown.into()) };
    Ok(HttpResponse::Created().json(json!({"room": room.to_string(), "number": number})))
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

/// The query of a search.
#[derive(Debug, Deserialize)]
pub struct SearchQuery {
    q: String,
    room: Option<String>,
    before: Option<i64>,
    limit: Option<u16>,
}

/// `GET /chat/search`: messages with words that begin so, in the caller's rooms.
pub async fn search(state: State, user: CurrentUser, query: web::Query<SearchQuery>) -> Answer {
    let SearchQuery { q, room, before, limit } = query.into_inner();
    let room = room.map(|room| room_id(&room)).transpose()?;
    ok(requests::find(&state.chat, user.0.user, q, room, before, requests::limit(limit)).await?)
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

/// `GET /chat/friends`: friends, requests and blocks.
pub async fn friends(state: State, user: CurrentUser) -> Answer {
    let who = user.0.user;
    let friends = state.chat.store().read(move |conn| friends::of(conn, who)).await?;
    let about = requests::about(&state.chat, who, friends.iter().map(|friend| friend.other).collect()).await?;
    let views: Vec<Value> = friends.iter().map(|friend| wire::friend(friend, who)).collect();
    ok(json!({"friends": views, "people": about}))
}

#[derive(Deserialize)]
struct Step {
    user: Option<UserText>,
    nick: Option<String>,
    step: String,
}

/// `POST /chat/friends`: a step of a friendship: ask, accept, decline, remove, block, unblock.
pub async fn befriend(state: State, user: CurrentUser, bytes: web::Bytes) -> Answer {
    let Step { user: other, nick, step } = body(&bytes)?;
    let other = match (other, nick) {
        (Some(UserText(other)), _) => other,
        (None, Some(nick)) => requests::by_nick(&state.chat, &nick).await?,
        (None, None) => return Err(ApiError::bad_request("invalid_body", "either user or nick is needed")),
    };
    state.accounts.user(other).await?;
    let (room, command) = requests::friend_step(user.0.user, other, &step)?;
    run(&state, &user, room, command).await?;
    let who = user.0.user;
    let all = state.chat.store().read(move |conn| friends::of(conn, who)).await?;
    let now = all.iter().find(|friend| friend.other == other).map(|friend| wire::friend(friend, who));
    ok(now.unwrap_or_else(|| json!({"user": ids::user(other), "status": "none", "blocked": false})))
}

/// `GET /chat/me`: the caller as others see it.
pub async fn me(state: State, user: CurrentUser) -> Answer {
    let who = user.0.user;
    let me = state.chat.store().read_now(move |conn| people::get(conn, who)).await?;
    ok(json!({"user": ids::user(who), "nick": me.nick, "visible_to": me.visible_to.name()}))
}

#[derive(Deserialize)]
struct Myself {
    nick: Option<String>,
    visible_to: Option<String>,
}

/// Names are for mentions too, so they are one word.
fn is_nick(nick: &str) -> bool {
    let length = nick.chars().count();
    let own = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    (2..=32).contains(&length) && nick.chars().all(own) && !people::folded(nick).starts_with("user-")
}

/// `PUT /chat/me`: another name, and who may see when the caller is there.
pub async fn set_me(state: State, user: CurrentUser, bytes: web::Bytes) -> Answer {
    let Myself { nick, visible_to } = body(&bytes)?;
    let visible_to = visible_to.map(|name| VisibleTo::from_name(&name).ok_or(ChatReject::Invalid)).transpose()?;
    if nick.as_deref().is_some_and(|nick| !is_nick(nick)) {
        let message = "a name has 2 to 32 letters, digits, _ or -, and does not begin with user-";
        return Err(ApiError::bad_request("invalid_nick", message));
    }
    let (who, database) = (user.0.user, state.database.clone());
    let saved = web::block(move || {
        database.write_durably(|conn| {
            let mut me = people::get(conn, who)?;
            me.nick = nick.unwrap_or(me.nick);
            me.visible_to = visible_to.unwrap_or(me.visible_to);
            people::save(conn, &me)?;
            Ok(me)
        })
    });
    let me = match saved.await.map_err(|_| Refused::Overloaded)? {
        Err(DbError::Taken) => {
            return Err(ApiError::new(StatusCode::CONFLICT, "nick_taken", "somebody else has that name"));
        }
        saved => saved?,
    };
    let _ = state.chat.presence().try_send(crate::actors::chat::presence::SetVisible(who, me.visible_to));
    ok(json!({"user": ids::user(who), "nick": me.nick, "visible_to": me.visible_to.name()}))
}

/// The query of the list of people.
#[derive(Debug, Deserialize)]
pub struct PeopleQuery {
    /// Separated by commas.
    users: String,
}

/// `GET /chat/people`: names and whereabouts.
pub async fn people(state: State, user: CurrentUser, query: web::Query<PeopleQuery>) -> Answer {
    let parse = |text: &str| Uuid::parse_str(text.trim()).ok().and_then(ids::parse_user);
    let accounts: Option<Vec<AccountId>> = query.users.split(',').map(parse).collect();
    let accounts = accounts.ok_or_else(|| ApiError::bad_request("invalid_query", "users are ids, with commas"))?;
    ok(requests::about(&state.chat, user.0.user, accounts).await?)
}

/// The query of the list of reports.
#[derive(Debug, Deserialize)]
pub struct ReportsQuery {
    #[serde(default)]
    all: bool,
    limit: Option<u16>,
}

fn demand_warden(user: &CurrentUser) -> Result<(), ApiError> {
    if is_warden(user.0.role) { Ok(()) } else { Err(ChatReject::NotAllowed.into()) }
}

/// `GET /admin/chat/reports`: reports of messages for those who keep order, with the messages.
pub async fn reports(state: State, user: CurrentUser, query: web::Query<ReportsQuery>) -> Answer {
    demand_warden(&user)?;
    let (open, count) = (!query.all, requests::limit(query.limit));
    let read = move |conn: &mut Connection| {
        let reports = reports::list(conn, open, count)?;
        let about = reports.iter().map(|report| messages::get(conn, report.room, report.message));
        let about = about.collect::<diesel::QueryResult<Vec<_>>>()?;
        Ok(reports.into_iter().zip(about).collect::<Vec<_>>())
    };
    let found = state.chat.store().read(read).await?;
    let view = |(report, about): &(reports::Report, Option<crate::domain::chat::Message>)| {
        let mut view = wire::report(report);
        view["about"] = json!(about.as_ref().map(|message| wire::message(message, false)));
        view
    };
    ok(found.iter().map(view).collect())
}

#[derive(Deserialize)]
struct Resolution {
    #[serde(default)]
    note: String,
}

/// `POST /chat/rooms/{id}/reports/{number}/resolve`: a report was dealt with.
pub async fn resolve(state: State, user: CurrentUser, path: web::Path<(String, u64)>, bytes: web::Bytes) -> Answer {
    let Resolution { note } = body(if bytes.is_empty() { b"{}" } else { &bytes })?;
    run_and_show(&state, &user, room_id(&path.0)?, Command::Resolve { report: path.1, note }).await
}
