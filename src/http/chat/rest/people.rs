//! Friends, and how people are seen.

use super::{Answer, State, body, ok, run};
use crate::actors::chat::presence::SetVisible;
use crate::domain::chat::ChatReject;
use crate::domain::ids::AccountId;
use crate::http::chat::requests;
use crate::http::chat::wire::{self, UserText};
use crate::http::error::ApiError;
use crate::http::ids;
use crate::http::session::CurrentUser;
use crate::persistence::chat::friends;
use crate::persistence::chat::people::{self, VisibleTo};
use crate::persistence::db::DbError;
use actix_web::http::StatusCode;
use actix_web::web;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

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
    let who = user.0.user;
    let saved = state.database.elsewhere(move |database| {
        database.write_durably(|conn| {
            let mut me = people::get(conn, who)?;
            me.nick = nick.unwrap_or(me.nick);
            me.visible_to = visible_to.unwrap_or(me.visible_to);
            people::save(conn, &me)?;
            Ok(me)
        })
    });
    let me = match saved.await {
        Err(DbError::Taken) => {
            return Err(ApiError::new(StatusCode::CONFLICT, "nick_taken", "somebody else has that name"));
        }
        saved => saved?,
    };
    let _ = state.chat.presence().try_send(SetVisible(who, me.visible_to));
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
