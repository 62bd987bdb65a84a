//! What sessions hear: an event is made once, serialised once, and shared by all who get it.

use crate::domain::chat::{Message, MessageSequence, Role, RoomId, RoomKind};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::persistence::chat::friends::Friendship;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

/// A room as its members see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Public, private or direct.
    pub kind: RoomKind,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// The same at length.
    pub description: String,
    /// Seconds between two messages of one member.
    pub slow_mode_s: u32,
    /// How many members.
    pub members: usize,
    /// Its newest message.
    pub last: MessageSequence,
    /// Whether it was closed.
    pub closed: bool,
}

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Is a member now.
    Joined,
    /// Left.
    Left,
    /// Was removed.
    Kicked,
    /// Is kept out.
    Banned,
    /// Has another role.
    Role(Role),
    /// May not write until then; `None`: may again.
    Muted(Option<Timestamp>),
}

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There.
    Online,
    /// There, but not at the keys.
    Away,
    /// Not there since then, as far as is known.
    Offline(Option<Timestamp>),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message was written.
    Message(Arc<Message>),
    /// A message was edited, deleted or reacted to; this is what it is now.
    Changed(Arc<Message>),
    /// Something became of a member.
    Member(AccountId, Fate),
    /// The room is this now; also what a new member hears first.
    Room(Summary),
    /// How far somebody has read; with what is unread then, if it is known without asking the database.
    Read(AccountId, MessageSequence, Option<u64>),
    /// How somebody else stands to the hearer, and whether the hearer blocks.
    Friend(AccountId, Friendship, bool),
    /// Somebody types.
    Typing(AccountId),
    /// The room's newest message: whoever has not got so far shall ask for the rest.
    Head(MessageSequence),
    /// A message was reported.
    Reported(u64, MessageSequence),
    /// Who is there now, and who is not.
    Presence(Vec<(AccountId, Status)>),
}

/// An event on its way.
#[derive(Debug)]
pub struct Delivered {
    /// The room, unless it is about people.
    pub room: Option<RoomId>,
    /// Whose doing it is: those who block them do not get its content.
    pub by: Option<AccountId>,
    /// What happened.
    pub event: Event,
    /// As the frame that sessions are sent, once the first of them has made it.
    pub frame: OnceLock<Bytes>,
}

impl Delivered {
    /// An event of a room.
    pub fn of(room: RoomId, by: Option<AccountId>, event: Event) -> Arc<Delivered> {
        Arc::new(Delivered { room: Some(room), by, event, frame: OnceLock::new() })
    }

    /// An event that is about people.
    pub fn about_people(event: Event) -> Arc<Delivered> {
        Arc::new(Delivered { room: None, by: None, event, frame: OnceLock::new() })
    }
}
