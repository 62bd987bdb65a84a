//! Commands as they were admitted: what stands in the `chat.<k>` streams.

use super::ids::{ClientMessageId, InviteCode, MessageSequence, RoomId};
use super::message::Attachment;
use super::rights::{Role, RoomKind};
use crate::domain::ids::{AccountId, Ticket};
use crate::domain::time::Timestamp;

/// One entry of a chat stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatEntry {
    /// Who waits for the answer.
    pub ticket: Ticket,
    /// In which room.
    pub room: RoomId,
    /// Who wants it; [`AccountId::HOUSE`] is the venue.
    pub by: AccountId,
    /// Whether whoever wants it keeps order on the whole platform.
    pub warden: bool,
    /// Whether the room was closed when it was admitted. Only what [keeps order](Command::keeps_order) is written with
    /// it. What was on its way when a room was closed has it not and is refused, as older logs have it.
    pub after_close: bool,
    /// What.
    pub command: Command,
}

/// How somebody becomes a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinBy {
    /// The room is open.
    Itself,
    /// By invitation.
    Invite(InviteCode),
}

/// One step of a friendship.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FriendStep {
    /// Asks to be friends; accepts when the other has asked.
    Ask,
    /// Accepts.
    Accept,
    /// Declines, or takes the own request back.
    Decline,
    /// Ends it.
    Remove,
    /// Wants to hear nothing of the other.
    Block,
    /// Wants to hear again.
    Unblock,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Makes the room; whoever makes it owns it.
    Create {
        /// Public or private.
        kind: RoomKind,
        /// Its name.
        name: String,
        /// What it is about.
        topic: String,
        /// The same at length.
        description: String,
    },
    /// Changes what is given.
    Configure {
        /// Its name.
        name: Option<String>,
        /// Public or private.
        kind: Option<RoomKind>,
        /// What it is about.
        topic: Option<String>,
        /// The same at length.
        description: Option<String>,
        /// Seconds between two messages of one member; 0 is none.
        slow_mode_s: Option<u32>,
    },
    /// Becomes a member.
    Join(JoinBy),
    /// Stops to be one.
    Leave,
    /// Makes somebody else a member.
    Add(AccountId),
    /// Gives a member another role; making somebody else the owner hands the room over.
    SetRole(AccountId, Role),
    /// Removes a member.
    Kick(AccountId),
    /// Keeps a member from writing until then.
    Mute(AccountId, Option<Timestamp>),
    /// Keeps somebody out, or lets in again.
    Ban(AccountId, bool),
    /// Makes an invitation.
    Invite {
        /// Its secret.
        code: InviteCode,
        /// When it runs out.
        expires_at: Option<Timestamp>,
        /// How often it may be used.
        uses: Option<u32>,
    },
    /// Takes an invitation back.
    RevokeInvite(InviteCode),
    /// Writes a message.
    Send {
        /// The sender's own id of it.
        client_id: Option<ClientMessageId>,
        /// The text.
        text: String,
        /// The message that it answers.
        reply_to: Option<MessageSequence>,
        /// Who is to be told of it in particular.
        mentions: Vec<AccountId>,
        /// Images.
        attachments: Vec<Attachment>,
    },
    /// Changes an own message's text.
    Edit {
        /// Which message.
        message: MessageSequence,
        /// The new text.
        text: String,
        /// The new mentions.
        mentions: Vec<AccountId>,
    },
    /// Takes a message's content away.
    Delete(MessageSequence),
    /// Adds a reaction or takes it away.
    React {
        /// To which message.
        message: MessageSequence,
        /// The reaction.
        emoji: String,
        /// Added, or taken away.
        on: bool,
    },
    /// Has read everything up to a message.
    Read(MessageSequence),
    /// A step of the friendship of a direct room's two.
    Friend(FriendStep),
    /// Tells those who keep order about a message.
    Report {
        /// Which message.
        message: MessageSequence,
        /// What is wrong with it.
        reason: String,
    },
    /// A report was dealt with.
    Resolve {
        /// The report's number in the room.
        report: u64,
        /// What was done.
        note: String,
    },
    /// Closes the room for good.
    Close,
}

impl Command {
    /// The message that the command is about: whoever applies it must have it at hand.
    pub fn subject(&self) -> Option<MessageSequence> {
        match self {
            Command::Edit { message, .. }
            | Command::Delete(message)
            | Command::React { message, .. }
            | Command::Report { message, .. } => Some(*message),
            Command::Send { .. }
            | Command::Create { .. }
            | Command::Configure { .. }
            | Command::Join(_)
            | Command::Leave
            | Command::Add(_)
            | Command::SetRole(..)
            | Command::Kick(_)
            | Command::Mute(..)
            | Command::Ban(..)
            | Command::Invite { .. }
            | Command::RevokeInvite(_)
            | Command::Read(_)
            | Command::Friend(_)
            | Command::Resolve { .. }
            | Command::Close => None,
        }
    }

    /// Whether it keeps order, so that it can be done in a closed room too.
    pub fn keeps_order(&self) -> bool {
        matches!(self, Command::Delete(_) | Command::Kick(_) | Command::Ban(..))
    }

    /// All that somebody wrote in it.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let texts = match self {
            Command::Create { name, topic, description, .. } => [Some(name), Some(topic), Some(description)],
            Command::Configure { name, topic, description, .. } => {
                [name.as_ref(), topic.as_ref(), description.as_ref()]
            }
            Command::Send { text, .. }
            | Command::Edit { text, .. }
            | Command::React { emoji: text, .. }
            | Command::Report { reason: text, .. }
            | Command::Resolve { note: text, .. } => [Some(text), None, None],
            Command::Join(_)
            | Command::Leave
            | Command::Add(_)
            | Command::SetRole(..)
            | Command::Kick(_)
            | Command::Mute(..)
            | Command::Ban(..)
            | Command::Invite { .. }
            | Command::RevokeInvite(_)
            | Command::Delete(_)
            | Command::Read(_)
            | Command::Friend(_)
            | Command::Close => [None; 3],
        };
        texts.into_iter().flatten().map(String::as_str)
    }

    /// Whether a text has a NUL in it, which PostgreSQL cannot keep. Asked before a command becomes an entry and not
    /// when one is applied: older logs have such entries, and what they did must stay so.
    pub fn has_nul(&self) -> bool {
        self.texts().any(|text| text.contains('\0'))
    }
}
