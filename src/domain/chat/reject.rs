//! Why a rule of chat says no.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A refusal; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error, Serialize, Deserialize)]
pub enum ChatReject {
    /// There is no such room, or the caller must not know of it.
    #[error("there is no such room")]
    UnknownRoom,
    /// The room was closed.
    #[error("the room was closed")]
    RoomClosed,
    /// A room with this id exists already.
    #[error("the room exists already")]
    RoomExists,
    /// The caller's role does not allow it.
    #[error("that is not allowed to you in this room")]
    NotAllowed,
    /// The caller is kept out.
    #[error("you are banned from this room")]
    Banned,
    /// The caller may not write for a while.
    #[error("you are muted in this room")]
    Muted,
    /// The room is slow, and the caller wrote a short while ago.
    #[error("the room is in slow mode, please wait a moment")]
    SlowMode,
    /// The other person is of the same or a higher rank.
    #[error("that person's role is not below yours")]
    RankTooHigh,
    /// There is no such message in the room, or it was deleted.
    #[error("there is no such message")]
    UnknownMessage,
    /// The message is somebody else's.
    #[error("the message is not yours")]
    NotYours,
    /// That person is not a member.
    #[error("that person is not a member")]
    NotAMember,
    /// That person is a member already.
    #[error("that person is a member already")]
    AlreadyMember,
    /// The room is full.
    #[error("the room is full")]
    RoomFull,
    /// An owner must hand the room over before it leaves.
    #[error("the owner cannot leave; hand the room over or close it")]
    OwnerStays,
    /// The invitation does not exist, has run out or was used up.
    #[error("the invitation is not valid")]
    BadInvite,
    /// The room has too many invitations.
    #[error("the room has too many invitations")]
    TooManyInvites,
    /// The room has too many bans.
    #[error("the room has too many bans")]
    TooManyBans,
    /// The two are not friends.
    #[error("you are not friends")]
    NotFriends,
    /// They are friends already, or asked already.
    #[error("that was asked or accepted already")]
    AlreadyFriends,
    /// One of the two blocks the other.
    #[error("messages between you are blocked")]
    Blocked,
    /// Nobody asked for it.
    #[error("there is no such request")]
    NoRequest,
    /// A message without text and images.
    #[error("a message needs text or an image")]
    Empty,
    /// A text is too long.
    #[error("that is too long")]
    TooLong,
    /// Too many mentions, images, reactions or open reports.
    #[error("that is too many")]
    TooMany,
    /// A field holds what it cannot.
    #[error("that is not valid")]
    Invalid,
    /// The client message id was used for another message.
    #[error("the client id was used for another message")]
    ClientIdTaken,
}

impl ChatReject {
    /// The stable code that clients may rely on.
    pub fn code(self) -> &'static str {
        match self {
            ChatReject::UnknownRoom => "unknown_room",
            ChatReject::RoomClosed => "room_closed",
            ChatReject::RoomExists => "room_exists",
            ChatReject::NotAllowed => "not_allowed",
            ChatReject::Banned => "banned",
            ChatReject::Muted => "muted",
            ChatReject::SlowMode => "slow_mode",
            ChatReject::RankTooHigh => "rank_too_high",
            ChatReject::UnknownMessage => "unknown_message",
            ChatReject::NotYours => "not_yours",
            ChatReject::NotAMember => "not_a_member",
            ChatReject::AlreadyMember => "already_member",
            ChatReject::RoomFull => "room_full",
            ChatReject::OwnerStays => "owner_stays",
            ChatReject::BadInvite => "bad_invite",
            ChatReject::TooManyInvites => "too_many_invites",
            ChatReject::TooManyBans => "too_many_bans",
            ChatReject::NotFriends => "not_friends",
            ChatReject::AlreadyFriends => "already_friends",
            ChatReject::Blocked => "blocked",
            ChatReject::NoRequest => "no_request",
            ChatReject::Empty => "empty",
            ChatReject::TooLong => "too_long",
            ChatReject::TooMany => "too_many",
            ChatReject::Invalid => "invalid",
            ChatReject::ClientIdTaken => "client_id_taken",
        }
    }
}
