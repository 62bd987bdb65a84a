//! What sockets and REST have in common: from wire to command or query, and back.

use super::wire;
use crate::actors::chat::presence::{Ask, Known};
use crate::actors::chat::{Chat, Refused};
use crate::domain::chat::{Action, Attachment, ChatReject, ClientMessageId, Command, FriendStep, InviteCode};
use crate::domain::chat::{MessageSequence, Role, RoomId, RoomKind, Standing, rights};
use crate::domain::ids::AccountId;
use crate::persistence::chat::messages::{self, Page};
use crate::persistence::chat::{friends, people, rooms, search, uploads};
use crate::persistence::db::Connection;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diesel::QueryResult;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Messages of one page, unless the client wants fewer.
pub const PAGE: u16 = 50;
/// The most messages of one page.
pub const MAX_PAGE: u16 = 200;

/// How many messages a client gets at once.
pub fn limit(asked: Option<u16>) -> i64 {
    i64::from(asked.unwrap_or(PAGE).clamp(1, MAX_PAGE))
}

/// An invitation as people pass it on: the room and the secret.
pub fn invite_text(room: RoomId, code: InviteCode) -> String {
    let mut bytes = room.0.to_be_bytes().to_vec();
    bytes.extend_from_slice(&code.0.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The room and the secret of an invitation.
pub fn parse_invite(text: &str) -> Option<(RoomId, InviteCode)> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim()).ok()?;
    let (room, code) = bytes.split_first_chunk::<8>()?;
    let room = RoomId::from_number(u64::from_be_bytes(*room))?;
    Some((room, InviteCode(u128::from_be_bytes(code.try_into().ok()?))))
}

/// The step of this name.
pub fn parse_step(name: &str) -> Option<FriendStep> {
    Some(match name {
        "ask" => FriendStep::Ask,
        "accept" => FriendStep::Accept,
        "decline" => FriendStep::Decline,
        "remove" => FriendStep::Remove,
        "block" => FriendStep::Block,
        "unblock" => FriendStep::Unblock,
        _ => return None,
    })
}

/// Whether somebody may read a room: its members, and in public rooms those who keep order.
pub fn may_read(conn: &mut Connection, room: RoomId, who: AccountId, warden: bool) -> QueryResult<bool> {
    if rooms::is_member(conn, room, who)? {
        return Ok(true);
    }
    let kind = if warden { rooms::kind(conn, room)? } else { None };
    Ok(kind.is_some_and(|kind: RoomKind| rights::may(kind, Standing::Warden, Action::Read)))
}

/// A part of a room's history as JSON.
///
/// # Errors
/// [`Refused`] when the room is not the asker's to read, or history is away.
pub async fn history(
    chat: &Chat,
    who: AccountId,
    warden: bool,
    room: RoomId,
    page: Page,
    count: i64,
) -> Result<Value, Refused> {
    let read = move |conn: &mut Connection| {
        if !may_read(conn, room, who, warden)? {
            return Ok(None);
        }
        Ok(Some((messages::page(conn, room, page, count)?, rooms::last(conn, room)?, blocked(conn, who)?)))
    };
    let (list, last, blocked) = chat.store().read(read).await?.ok_or(ChatReject::UnknownRoom)?;
    let first_there = list.first().is_none_or(|message| message.sequence <= MessageSequence(1));
    let last_there = list.last().is_none_or(|message| message.sequence >= last);
    Ok(json!({
        "room": room.to_string(),
        "messages": wire::messages(&list, |author| blocked.contains(&author)),
        "first": first_there,
        "last": last_there,
    }))
}

/// Whom somebody blocks.
pub fn blocked(conn: &mut Connection, who: AccountId) -> QueryResult<HashSet<AccountId>> {
    let friends = friends::of(conn, who)?;
    Ok(friends.into_iter().filter(|friend| friend.blocked).map(|friend| friend.other).collect())
}

/// A text that the database is asked about.
///
/// # Errors
/// [`ChatReject::Invalid`] when there is a NUL in it: PostgreSQL knows none.
pub fn refuse_nul(text: &str) -> Result<(), ChatReject> {
    if text.contains('\0') { Err(ChatReject::Invalid) } else { Ok(()) }
}

/// Messages with these words as JSON, newest first, in the asker's rooms or in one that the asker may read.
///
/// # Errors
/// [`Refused`] when the words are not valid or history is away.
pub async fn find(
    chat: &Chat,
    who: AccountId,
    warden: bool,
    text: String,
    room: Option<RoomId>,
    before: Option<i64>,
    count: i64,
) -> Result<Value, Refused> {
    refuse_nul(&text)?;
    let read = move |conn: &mut Connection| {
        // The rooms first: nobody finds what they may not read.
        let rooms = match room {
            Some(room) if may_read(conn, room, who, warden)? => vec![room],
            Some(_) => Vec::new(),
            None => rooms::ids_of(conn, who)?,
        };
        Ok((search::search(conn, &text, &rooms, before, count)?, blocked(conn, who)?))
    };
    let (found, blocked) = chat.store().read(read).await?;
    Ok(across_rooms(found, &blocked))
}

/// Messages of several rooms; `next` is where the page after this one begins.
pub fn across_rooms(found: Vec<(i64, RoomId, crate::domain::chat::Message)>, blocked: &HashSet<AccountId>) -> Value {
    let next = found.last().map(|(id, ..)| *id);
    let shown = found.iter().filter(|(_, _, message)| !blocked.contains(&message.author));
    let views: Vec<Value> = shown
        .map(|(_, room, message)| json!({"room": room.to_string(), "message": wire::message(message, false)}))
        .collect();
    json!({"messages": views, "next": next})
}

/// Who somebody is, by nick.
///
/// # Errors
/// [`Refused`] when there is nobody of that name, it cannot be one, or the names are away.
pub async fn by_nick(chat: &Chat, nick: &str) -> Result<AccountId, Refused> {
    refuse_nul(nick)?;
    let name = nick.trim().trim_start_matches('@').to_owned();
    let unnamed = name.strip_prefix("user-").and_then(|digits| digits.parse().ok()).map(AccountId);
    let found = chat.store().read_now(move |conn| people::by_nicks(conn, &[name])).await?;
    match (found.first(), unnamed) {
        (Some(person), _) => Ok(person.account),
        (None, Some(account)) if account >= AccountId::FIRST_USER => Ok(account),
        (None, _) => Err(ChatReject::UnknownRoom.into()),
    }
}

/// The `@names` in a text, as many as a message may mention.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ':' | ';' | '!' | '?' | '(' | ')'));
    words
        .filter_map(|word| word.strip_prefix('@'))
        .map(|name| name.trim_end_matches('.'))
        .filter(|name| !name.is_empty())
        .take(crate::domain::chat::MAX_MENTIONS)
}

/// The people of the `@names` in a text. Who of them is a member is for the room to say.
///
/// # Errors
/// [`Refused`] when the text is not valid or the names are away.
pub async fn mentions(chat: &Chat, text: &str) -> Result<Vec<AccountId>, Refused> {
    refuse_nul(text)?;
    let names: Vec<String> = names(text).map(str::to_owned).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let unnamed = names.iter().filter_map(|name| name.strip_prefix("user-")?.parse().ok()).map(AccountId);
    let mut accounts: Vec<AccountId> = unnamed.collect();
    let found = chat.store().read_now(move |conn| people::by_nicks(conn, &names)).await?;
    accounts.extend(found.into_iter().map(|person| person.account));
    Ok(accounts)
}

/// The images of a message: uploads of its author to the same room that stand in no other message. None when the
/// message was written before, as its client id says: then its room answers with what it wrote.
///
/// # Errors
/// [`Refused`] when one is not the author's.
pub async fn attachments(
    chat: &Chat,
    who: AccountId,
    room: RoomId,
    client_id: Option<ClientMessageId>,
    images: Vec<Uuid>,
) -> Result<Vec<Attachment>, Refused> {
    if images.is_empty() {
        return Ok(Vec::new());
    }
    if images.len() > crate::domain::chat::MAX_ATTACHMENTS {
        return Err(ChatReject::TooMany.into());
    }
    let read = move |conn: &mut Connection| {
        let found = images.iter().map(|id| uploads::get(conn, id.as_u128())).collect::<QueryResult<Vec<_>>>()?;
        // Looked at last: if its images are taken already, the message is here too.
        let known = match client_id {
            Some(id) => messages::by_client_ids(conn, &[(who, id)])?,
            None => Vec::new(),
        };
        let repeated = known.into_iter().any(|(_, _, place, _)| place == room);
        Ok(if repeated { Vec::new() } else { found })
    };
    let own = |upload: Option<uploads::Upload>| {
        let fresh = |upload: &uploads::Upload| {
            upload.account == who && upload.room == room && upload.message.is_none() && !upload.gone
        };
        let upload = upload.filter(fresh).ok_or(ChatReject::Invalid)?;
        Ok(Attachment { upload: upload.id, media_type: upload.media_type, bytes: upload.bytes })
    };
    // After what was acknowledged: an image that a message shows already is not fresh any more.
    chat.store().read(read).await?.into_iter().map(own).collect()
}

/// Names and whereabouts of people, as far as `who` may know, as JSON.
///
/// # Errors
/// [`Refused`] when the names are away.
pub async fn about(chat: &Chat, who: AccountId, mut accounts: Vec<AccountId>) -> Result<Value, Refused> {
    accounts.sort_unstable();
    accounts.dedup();
    accounts.truncate(500);
    let asked = accounts.clone();
    let read = move |conn: &mut Connection| {
        let (neighbours, blocking) = (rooms::neighbours(conn, who, &asked)?, friends::blocking(conn, who, &asked)?);
        Ok((people::get_all(conn, &asked)?, friends::of(conn, who)?, neighbours, blocking))
    };
    let (known, friends, neighbours, blocking) = chat.store().read_now(read).await?;
    let mut known: HashMap<AccountId, people::Person> =
        known.into_iter().map(|person| (person.account, person)).collect();
    let is_friend = |other: AccountId| {
        friends.iter().any(|friend| friend.other == other && friend.status == friends::Friendship::Friends)
    };
    let how_known = |other: AccountId| {
        if other == who || is_friend(other) {
            Known::Friend
        } else if neighbours.contains(&other) && !blocking.contains(&other) {
            Known::Neighbour
        } else {
            Known::Stranger
        }
    };
    let people: Vec<_> = accounts.iter().map(|who| (*who, how_known(*who))).collect();
    let there = chat.presence().send(Ask { people }).await.unwrap_or_default();
    let there: HashMap<_, _> = there.into_iter().collect();
    let view = |account: AccountId| {
        let person = known.remove(&account).unwrap_or_else(|| people::Person::unnamed(account));
        let last_seen = person.last_seen.filter(|_| person.visible_to.includes(how_known(account)));
        let now = there.get(&account).copied();
        wire::person(&person, Some(now.unwrap_or(crate::actors::chat::events::Status::Offline(last_seen))))
    };
    Ok(accounts.into_iter().map(view).collect())
}

/// A step of a friendship as a command of the pair's room.
///
/// # Errors
/// [`Refused`] when the two are one or there is no such step.
pub fn friend_step(who: AccountId, other: AccountId, step: &str) -> Result<(RoomId, Command), Refused> {
    let step = parse_step(step).ok_or(ChatReject::Invalid)?;
    let room = RoomId::direct(who, other).ok_or(ChatReject::Invalid)?;
    Ok((room, Command::Friend(step)))
}

/// Whether a platform role keeps order in chat.
pub fn is_warden(role: crate::persistence::users::Role) -> bool {
    role >= crate::persistence::users::Role::Moderator
}

/// A role of a room on the wire.
///
/// # Errors
/// [`ChatReject::Invalid`].
pub fn parse_role(name: &str) -> Result<Role, ChatReject> {
    Role::from_name(name).ok_or(ChatReject::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_looked_up() {
        let found = |text| names(text).collect::<Vec<_>>();
        assert_eq!(found("@ada, (@bob) and @user-7."), ["ada", "bob", "user-7"]);
        for text in ["", "2 @ 43000", "ada@example.org", "write to ada@example.org, please @", "@. @!"] {
            assert!(found(text).is_empty(), "{text:?}");
        }
        assert_eq!(names(&"@ada ".repeat(1_000)).count(), crate::domain::chat::MAX_MENTIONS);
    }

    #[test]
    fn a_nul_is_not_asked_about() {
        assert_eq!(refuse_nul("ada\n\u{fffd}"), Ok(()));
        assert_eq!(refuse_nul("a\0"), Err(ChatReject::Invalid));
    }

    #[test]
    fn invitations_are_read_as_they_are_written_and_nothing_else_is() {
        let (room, code) = (RoomId::made(1 << 40), InviteCode(u128::MAX - 1));
        let text = invite_text(room, code);
        assert_eq!(parse_invite(&text), Some((room, code)));
        assert_eq!(parse_invite(&text[..text.len() - 2]), None);
        assert_eq!(parse_invite("!"), None);
        assert_eq!(parse_invite(""), None);
    }
}
