//! How far a session has got in its rooms.
//!
//! Invariant: what was sent of a room is everything up to a message, and nothing after it.

use crate::domain::chat::{MessageSequence, RoomId};
use std::collections::HashMap;

#[derive(Clone, Copy, Debug, Default)]
struct Track {
    /// The newest message that was sent.
    sent: MessageSequence,
    /// The newest message that is known to exist.
    head: MessageSequence,
    /// Whether older messages are being read.
    catching_up: bool,
}

impl Track {
    /// Whether something is missing that nobody reads yet; it counts as being read from then on.
    fn begins_to_read(&mut self) -> bool {
        self.sent < self.head && !std::mem::replace(&mut self.catching_up, true)
    }
}

/// What a message is to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// What it is to be sent now.
    Next,
    /// It was sent, or will be with what is being read.
    Known,
    /// There are others before it, which are to be read.
    Missing,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Tracks(HashMap<RoomId, Track>);

impl Tracks {
    /// The session begins in a room: its client has everything up to a message; whether it lacks others.
    pub(super) fn begin(&mut self, room: RoomId, sent: MessageSequence, head: MessageSequence) -> bool {
        let mut track = Track { sent: sent.min(head), head, catching_up: false };
        let missing = track.begins_to_read();
        self.0.insert(room, track);
        missing
    }

    /// The session hears of a room from its newest message on, unless it does already.
    pub(super) fn join(&mut self, room: RoomId, last: MessageSequence) {
        self.0.entry(room).or_insert(Track { sent: last, head: last, catching_up: false });
    }

    /// The session hears of a room no more.
    pub(super) fn leave(&mut self, room: RoomId) {
        self.0.remove(&room);
    }

    /// A message was written. If it is the next one, it is sent.
    pub(super) fn written(&mut self, room: RoomId, message: MessageSequence) -> Place {
        let before = MessageSequence(message.0.saturating_sub(1));
        let track = self.0.entry(room).or_insert(Track { sent: before, head: before, catching_up: false });
        track.head = track.head.max(message);
        if track.catching_up || message <= track.sent {
            return Place::Known;
        }
        if message == track.sent.next() {
            track.sent = message;
            return Place::Next;
        }
        track.catching_up = true;
        Place::Missing
    }

    /// Whether a message was sent.
    pub(super) fn was_sent(&self, room: RoomId, message: MessageSequence) -> bool {
        self.0.get(&room).is_some_and(|track| message <= track.sent)
    }

    /// The room is known to have messages up to this one; whether some are to be read.
    pub(super) fn head(&mut self, room: RoomId, last: MessageSequence) -> bool {
        self.0.get_mut(&room).is_some_and(|track| {
            track.head = track.head.max(last);
            track.begins_to_read()
        })
    }

    /// After which message is to be read; none when nothing is to be read any more.
    pub(super) fn read_after(&self, room: RoomId) -> Option<MessageSequence> {
        self.0.get(&room).filter(|track| track.catching_up).map(|track| track.sent)
    }

    /// Everything after a message up to another was read; whether it is to be sent. It is not when the session has left
    /// the room meanwhile, though it be there again.
    pub(super) fn read(&mut self, room: RoomId, after: MessageSequence, last: MessageSequence) -> bool {
        let track = self.0.get_mut(&room).filter(|track| track.catching_up && track.sent == after);
        let Some(track) = track else { return false };
        track.sent = last;
        track.head = track.head.max(last);
        true
    }

    /// What was being read is there up to this message, or is not there yet; whether there is more to be read.
    pub(super) fn go_on(&mut self, room: RoomId, sent: MessageSequence) -> bool {
        let track = self.0.get_mut(&room).filter(|track| track.catching_up && track.sent == sent);
        track.is_some_and(|track| {
            track.catching_up = false;
            track.begins_to_read()
        })
    }
}
