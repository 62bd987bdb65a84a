//! Chat's JSON: what clients send, and what they get.

use crate::actors::chat::events::{Delivered, Event, Fate, Status, Summary};
use crate::domain::chat::{Message, MessageKind, RoomId};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::http::web_socket::frame;
use crate::http::{ids, wire};
use crate::persistence::chat::friends::Friend;
use crate::persistence::chat::people::Person;
use crate::persistence::chat::reports::Report;
use crate::persistence::chat::rooms::{Listed, Mine};
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use uuid::Uuid;

/// A room id as text, since JavaScript's numbers end at 53 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoomText(pub RoomId);

impl<'de> Deserialize<'de> for RoomText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RoomText, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_room(&text).map(RoomText).ok_or_else(|| serde::de::Error::custom("not a room id"))
    }
}

/// The room of this id.
pub fn parse_room(text: &str) -> Option<RoomId> {
    text.parse().ok().and_then(RoomId::from_number)
}

/// A user's outward id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserText(pub AccountId);

impl<'de> Deserialize<'de> for UserText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UserText, D::Error> {
        let id = Uuid::deserialize(deserializer)?;
        ids::parse_user(id).map(UserText).ok_or_else(|| serde::de::Error::custom("not a user id"))
    }
}

fn time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| wire::time(at).into())
}

/// A message. Without its content when `hidden`: its author is blocked by whoever gets it.
pub fn message(message: &Message, hidden: bool) -> Value {
    let mut view = Map::new();
    view.insert("sequence".into(), message.sequence.0.into());
    view.insert("author".into(), json!(ids::user(message.author)));
    view.insert("at".into(), wire::time(message.at).into());
    if message.kind == MessageKind::System {
        view.insert("system".into(), true.into());
    }
    if let Some((at, by)) = message.deleted {
        view.insert("deleted_at".into(), wire::time(at).into());
        view.insert("deleted_by".into(), json!(ids::user(by)));
        return Value::Object(view);
    }
    if hidden {
        view.insert("hidden".into(), true.into());
        return Value::Object(view);
    }
    view.insert("text".into(), message.text.as_str().into());
    if let Some(id) = message.client_id {
        view.insert("client_id".into(), json!(Uuid::from_u128(id.0)));
    }
    if let Some(to) = message.reply_to {
        view.insert("reply_to".into(), to.0.into());
    }
    if let Some(at) = message.edited_at {
        view.insert("edited_at".into(), wire::time(at).into());
    }
    if !message.mentions.is_empty() {
        view.insert("mentions".into(), message.mentions.iter().map(|who| json!(ids::user(*who))).collect());
    }
    if !message.attachments.is_empty() {
        let image = |a: &crate::domain::chat::Attachment| {
            let id = Uuid::from_u128(a.upload);
            json!({"id": id, "media_type": a.media_type, "bytes": a.bytes, "url": format!("/v1/chat/images/{id}")})
        };
        view.insert("images".into(), message.attachments.iter().map(image).collect());
    }
    if !message.reactions.is_empty() {
        let reactions = message.reactions.iter().map(|(emoji, who)| {
            let users: Vec<Uuid> = who.iter().map(|who| ids::user(*who)).collect();
            (emoji.clone(), json!(users))
        });
        view.insert("reactions".into(), Value::Object(reactions.collect()));
    }
    Value::Object(view)
}

/// Messages of one room as a list.
pub fn messages(list: &[Message], hidden: impl Fn(AccountId) -> bool) -> Value {
    list.iter().map(|one| message(one, hidden(one.author))).collect()
}

/// A room as its members see it.
pub fn room(id: RoomId, summary: &Summary) -> Value {
    json!({
        "id": id.to_string(),
        "kind": summary.kind.name(),
        "name": summary.name,
        "topic": summary.topic,
        "description": summary.description,
        "slow_mode_s": summary.slow_mode_s,
        "members": summary.members,
        "last": summary.last.0,
        "closed": summary.closed,
    })
}

/// A room in a list of public ones.
pub fn listed(room: &Listed) -> Value {
    json!({
        "id": room.id.to_string(),
        "kind": room.kind.name(),
        "name": room.name,
        "topic": room.topic,
        "members": room.members,
        "last": room.last.0,
        "last_at": wire::time(room.last_at),
        "closed": room.closed,
    })
}

/// One of somebody's own rooms.
pub fn mine(mine: &Mine, who: AccountId) -> Value {
    let mut view = listed(&mine.room);
    view["role"] = mine.member.role.name().into();
    view["read"] = mine.member.read_to.0.into();
    view["unread"] = mine.unread.into();
    if let Some(other) = mine.room.id.other(who) {
        view["with"] = json!(ids::user(other));
    }
    if let Some(until) = mine.member.muted_until {
        view["muted_until"] = wire::time(until).into();
    }
    view
}

/// One side of a relation.
pub fn friend(friend: &Friend, who: AccountId) -> Value {
    let room = RoomId::direct(who, friend.other).map(|room| room.to_string());
    json!({
        "user": ids::user(friend.other),
        "status": friend.status.name(),
        "blocked": friend.blocked,
        "since": wire::time(friend.since),
        "room": room,
    })
}

/// Whether somebody is there.
pub fn status(status: Status) -> Value {
    match status {
        Status::Online => json!({"status": "online"}),
        Status::Away => json!({"status": "away"}),
        Status::Offline(last_seen) => json!({"status": "offline", "last_seen": time(last_seen)}),
    }
}

fn presence(people: &[(AccountId, Status)]) -> Value {
    let one = |(who, now): &(AccountId, Status)| {
        let mut view = status(*now);
        view["user"] = json!(ids::user(*who));
        view
    };
    people.iter().map(one).collect()
}

/// Somebody as others see them.
pub fn person(person: &Person, now: Option<Status>) -> Value {
    let now = now.unwrap_or(Status::Offline(None));
    let mut view = status(now);
    view["user"] = json!(ids::user(person.account));
    view["nick"] = person.nick.as_str().into();
    view
}

/// A report.
pub fn report(report: &Report) -> Value {
    let resolved = report
        .resolved
        .as_ref()
        .map(|(at, by, note)| json!({"at": wire::time(*at), "by": ids::user(*by), "note": note}));
    json!({
        "room": report.room.to_string(),
        "number": report.number,
        "message": report.message.0,
        "author": ids::user(report.author),
        "reporter": ids::user(report.reporter),
        "reason": report.reason,
        "at": wire::time(report.at),
        "resolved": resolved,
    })
}

/// An event's text: made by the first session that sends it, shared by all.
pub fn event(delivered: &Delivered) -> Bytes {
    delivered.frame.get_or_init(|| frame::text(&event_value(delivered).to_string())).clone()
}

/// A message that was written or changed, as those see it who do or do not block its author.
pub fn told(kind: &str, room: RoomId, told: &Message, hidden: bool) -> String {
    json!({"type": kind, "room": room.to_string(), "message": message(told, hidden)}).to_string()
}

fn event_value(delivered: &Delivered) -> Value {
    let room_id = delivered.room.map(|room| room.to_string());
    match &delivered.event {
        Event::Message(one) => json!({"type": "message", "room": room_id, "message": message(one, false)}),
        Event::Changed(one) => json!({"type": "changed", "room": room_id, "message": message(one, false)}),
        Event::Member(who, fate) => {
            let mut view = json!({"type": "member", "room": room_id, "user": ids::user(*who)});
            view["what"] = match fate {
                Fate::Joined => "joined",
                Fate::Left => "left",
                Fate::Kicked => "kicked",
                Fate::Banned => "banned",
                Fate::Role(_) => "role",
                Fate::Muted(_) => "muted",
            }
            .into();
            match fate {
                Fate::Role(role) => view["role"] = role.name().into(),
                Fate::Muted(until) => view["until"] = time(*until),
                Fate::Joined | Fate::Left | Fate::Kicked | Fate::Banned => {}
            }
            view
        }
        Event::Room(summary) => {
            json!({"type": "room", "room": delivered.room.map(|id| room(id, summary))})
        }
        Event::Read(who, to, unread) => {
            json!({"type": "read", "room": room_id, "user": ids::user(*who), "message": to.0, "unread": unread})
        }
        Event::Friend(other, status, blocked) => json!({
            "type": "friend", "user": ids::user(*other), "status": status.name(), "blocked": blocked, "room": room_id,
        }),
        Event::Typing(who) => json!({"type": "typing", "room": room_id, "user": ids::user(*who)}),
        Event::Head(last) => json!({"type": "head", "room": room_id, "last": last.0}),
        Event::Reported(number, message) => {
            json!({"type": "reported", "room": room_id, "report": number, "message": message.0})
        }
        Event::Presence(people) => json!({"type": "presence", "people": presence(people)}),
    }
}

/// What a client sends.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Who it is, and how far it has got in each room.
    Hello {
        token: Option<String>,
        #[serde(default)]
        resume: HashMap<String, u64>,
    },
    /// A newer token.
    Auth { token: String },
    /// A new message.
    Send {
        room: RoomText,
        client_id: Uuid,
        #[serde(default)]
        text: String,
        reply_to: Option<u64>,
        #[serde(default)]
        images: Vec<Uuid>,
    },
    /// Another text for an own message.
    Edit { room: RoomText, message: u64, text: String },
    /// A message's content is to go.
    Delete { room: RoomText, message: u64 },
    /// A reaction.
    React {
        room: RoomText,
        message: u64,
        emoji: String,
        #[serde(default = "yes")]
        on: bool,
    },
    /// Everything up to a message was read.
    Read { room: RoomText, message: u64 },
    /// Somebody types.
    Typing { room: RoomText },
    /// Away from the keys, or back.
    Away { away: bool },
    /// Become a member: of a public room, or by invitation.
    Join { room: Option<RoomText>, invite: Option<String> },
    /// Stop to be one.
    Leave { room: RoomText },
    /// A step of a friendship.
    Friend { user: Option<UserText>, nick: Option<String>, step: String },
    /// A part of a room's history.
    History { room: RoomText, before: Option<u64>, after: Option<u64>, around: Option<u64>, limit: Option<u16> },
    /// Messages with these words.
    Search { text: String, room: Option<RoomText>, before: Option<i64>, limit: Option<u16> },
    /// Names and whereabouts of people.
    People { users: Vec<UserText> },
}

fn yes() -> bool {
    true
}

/// A client's message with its own number for the answer.
#[derive(Debug, Deserialize)]
pub struct Request {
    /// Echoed in the answer.
    pub id: Option<u64>,
    /// What it wants.
    #[serde(flatten)]
    pub message: ClientMessage,
}
