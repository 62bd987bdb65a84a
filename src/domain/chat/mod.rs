//! Chat: rooms, people in them, messages; pure rules, folded from the `chat.<k>` streams.
//!
//! A [`Room`] changes only by [`Room::apply`], from an entry that was committed to its stream. A pair
//! of users has one direct room, whose state is also their friendship and who blocks whom: everything
//! that one rule looks at is therefore in one room, and one stream orders it.
//!
//! Invariants: messages of a room are numbered 1, 2, 3, … without gaps; a client message id of a
//! sender gives one message; what a room does not allow changes nothing.

mod codec;
pub mod entry;
pub mod ids;
pub mod message;
pub mod reject;
pub mod rights;
pub mod room;
mod rules;
#[cfg(test)]
mod tests;

pub use entry::{ChatEntry, Command, FriendStep, JoinBy};
pub use ids::{ClientMessageId, InviteCode, MessageSequence, RoomId, SHARDS};
pub use message::{Attachment, Message, MessageKind};
pub use reject::ChatReject;
pub use rights::{Action, Role, RoomKind, Standing};
pub use room::{Effect, Member, Relation, Room, RoomState, Unread};

/// The most bytes of a message's text that any configuration can allow.
pub const MAX_TEXT: usize = 16_000;
/// The most bytes of a room's name.
pub const MAX_NAME: usize = 80;
/// The most bytes of a topic.
pub const MAX_TOPIC: usize = 250;
/// The most bytes of a description.
pub const MAX_DESCRIPTION: usize = 2_000;
/// The most bytes of a reason.
pub const MAX_REASON: usize = 500;
/// The most bytes of a reaction: one emoji with its joiners.
pub const MAX_EMOJI: usize = 40;
/// The most different reactions of one message.
pub const MAX_REACTIONS: usize = 20;
/// The most people with the same reaction to one message.
pub const MAX_REACTORS: usize = 1_000;
/// The most people that one message mentions.
pub const MAX_MENTIONS: usize = 50;
/// The most images of one message.
pub const MAX_ATTACHMENTS: usize = 4;
/// The most members of a room.
pub const MAX_MEMBERS: usize = 100_000;
/// The most invitations of a room at once.
pub const MAX_INVITES: usize = 50;
/// The most bans of a room at once.
pub const MAX_BANS: usize = 10_000;
/// The most reports of a room at once that nobody has dealt with.
pub const MAX_OPEN_REPORTS: usize = 1_000;
/// The longest slow mode, seconds.
pub const MAX_SLOW_MODE_S: u32 = 6 * 3_600;
/// How many of a room's newest messages are known by author and client id.
pub const REMEMBERED: usize = 1_024;
