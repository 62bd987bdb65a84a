//! One message with what became of it.

use super::ids::{ClientMessageId, MessageSequence};
use super::{MAX_REACTIONS, MAX_REACTORS, reject::ChatReject};
use crate::domain::ids::{AccountId, Sequence};
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// A person.
    Text,
    /// The venue.
    System,
}

/// An image that was uploaded before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The upload's id.
    pub upload: u128,
    /// Its media type, like `image/png`.
    pub media_type: String,
    /// Bytes.
    pub bytes: u32,
}

/// A message as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number in the room.
    pub sequence: MessageSequence,
    /// Who wrote it.
    pub author: AccountId,
    /// The author's own id of it.
    pub client_id: Option<ClientMessageId>,
    /// Who speaks.
    pub kind: MessageKind,
    /// When it was committed.
    pub at: Timestamp,
    /// Empty when it was deleted.
    pub text: String,
    /// The message that it answers.
    pub reply_to: Option<MessageSequence>,
    /// Who is to be told of it in particular.
    pub mentions: Vec<AccountId>,
    /// Images; none when it was deleted.
    pub attachments: Vec<Attachment>,
    /// The newest edit.
    pub edited_at: Option<Timestamp>,
    /// When and by whom it was deleted.
    pub deleted: Option<(Timestamp, AccountId)>,
    /// Who reacted, by reaction.
    pub reactions: BTreeMap<String, BTreeSet<AccountId>>,
    /// The entry of the room's stream that changed it last.
    pub changed: Sequence,
}

impl Message {
    /// Whether its content is gone.
    pub fn is_deleted(&self) -> bool {
        self.deleted.is_some()
    }

    /// Takes the content away; that there was a message stays.
    pub(super) fn delete(&mut self, at: Timestamp, by: AccountId) {
        self.deleted = Some((at, by));
        self.text.clear();
        self.attachments.clear();
        self.mentions.clear();
        self.reactions.clear();
    }

    /// Whether a reaction can be added or taken away; false when it is so already.
    pub(super) fn can_react(&self, by: AccountId, emoji: &str, on: bool) -> Result<bool, ChatReject> {
        let present = self.reactions.get(emoji);
        if present.is_some_and(|who| who.contains(&by)) == on {
            return Ok(false);
        }
        match present {
            None if self.reactions.len() >= MAX_REACTIONS => Err(ChatReject::TooMany),
            Some(who) if on && who.len() >= MAX_REACTORS => Err(ChatReject::TooMany),
            None | Some(_) => Ok(true),
        }
    }

    pub(super) fn react(&mut self, by: AccountId, emoji: &str, on: bool) {
        if on {
            self.reactions.entry(emoji.to_owned()).or_default().insert(by);
        } else if let Some(who) = self.reactions.get_mut(emoji) {
            who.remove(&by);
            if who.is_empty() {
                self.reactions.remove(emoji);
            }
        }
    }
}
