//! What a room's actor keeps in memory: the newest messages, a few older ones that were asked for, and
//! how fast people write.

use super::store::RECENT;
use crate::domain::chat::{Message, MessageSequence};
use crate::domain::time::{SECOND, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Older messages that are kept.
const OLDER: usize = 2_048;

/// Messages by their number.
#[derive(Debug, Default)]
pub struct Memory {
    recent: BTreeMap<MessageSequence, Arc<Message>>,
    /// Forgotten all at once when there are too many; what is needed is then read again.
    older: HashMap<MessageSequence, Arc<Message>>,
}

impl Memory {
    /// The newest messages of a room.
    pub fn of(recent: BTreeMap<MessageSequence, Message>) -> Memory {
        let recent = recent.into_iter().map(|(sequence, message)| (sequence, Arc::new(message))).collect();
        Memory { recent, older: HashMap::new() }
    }

    /// Whether a message is here.
    pub fn has(&self, message: MessageSequence) -> bool {
        self.get(message).is_some()
    }

    /// A message, if it is here.
    pub fn get(&self, message: MessageSequence) -> Option<&Message> {
        self.recent.get(&message).or_else(|| self.older.get(&message)).map(Arc::as_ref)
    }

    /// Adds a new message.
    pub fn add(&mut self, message: Arc<Message>) {
        self.recent.insert(message.sequence, message);
        if self.recent.len() > RECENT
            && let Some((sequence, message)) = self.recent.pop_first()
        {
            // A command about it may be on its way.
            self.keep(sequence, message);
        }
    }

    /// Adds an older message that was read from the database, unless it is here.
    pub fn add_older(&mut self, message: Message) {
        if !self.has(message.sequence) {
            self.keep(message.sequence, Arc::new(message));
        }
    }

    fn keep(&mut self, sequence: MessageSequence, message: Arc<Message>) {
        if self.older.len() >= OLDER {
            self.older.clear();
        }
        self.older.insert(sequence, message);
    }

    /// Puts what a message is now in the place of what it was.
    pub fn change(&mut self, message: Arc<Message>) {
        if let Some(place) = self.recent.get_mut(&message.sequence).or_else(|| self.older.get_mut(&message.sequence)) {
            *place = message;
        }
    }
}

/// A token bucket over some seconds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    most: u32,
    seconds: u32,
    /// What is left, in millionths of a message.
    left: i64,
    at: Timestamp,
}

impl Pace {
    /// So many in ten seconds; 0 is no limit.
    pub fn new(per_10s: u32) -> Pace {
        Pace::over(10, per_10s)
    }

    /// So many in so many seconds, and at once after a pause; 0 is no limit.
    pub fn over(seconds: u32, most: u32) -> Pace {
        Pace { most, seconds, left: i64::from(most) * SECOND, at: Timestamp::ZERO }
    }

    /// Goes by another number from now on, with all of it left; the same one changes nothing.
    pub fn follow(&mut self, most: u32) {
        if self.most != most {
            *self = Pace { at: self.at, ..Pace::over(self.seconds, most) };
        }
    }

    /// Takes one.
    ///
    /// # Errors
    /// When none is left: the seconds after which there is one.
    pub fn take(&mut self, now: Timestamp) -> Result<(), u32> {
        if self.most == 0 {
            return Ok(());
        }
        let (most, seconds) = (i64::from(self.most), i64::from(self.seconds));
        let elapsed = (now - self.at).clamp(0, seconds * SECOND);
        self.left = (self.left + elapsed * most / seconds).min(most * SECOND);
        self.at = self.at.max(now);
        if self.left < SECOND {
            let missing = (SECOND - self.left) * seconds / most;
            return Err(u32::try_from((missing + SECOND - 1) / SECOND).unwrap_or(u32::MAX));
        }
        self.left -= SECOND;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_lets_through_what_it_says_and_says_when_to_come_back() {
        let mut pace = Pace::new(5);
        let start = Timestamp(1_000 * SECOND);
        for _ in 0..5 {
            assert_eq!(pace.take(start), Ok(()));
        }
        assert_eq!(pace.take(start), Err(2));
        assert_eq!(pace.take(start + SECOND), Err(1));
        assert_eq!(pace.take(start + 2 * SECOND), Ok(()));
        assert_eq!(pace.take(start + 2 * SECOND), Err(2));
        // A clock that goes back gives nothing away.
        assert_eq!(pace.take(start), Err(2));
        pace.follow(5);
        assert_eq!(pace.take(start + 2 * SECOND), Err(2));
        pace.follow(1);
        assert_eq!((pace.take(start + 2 * SECOND), pace.take(start + 2 * SECOND)), (Ok(()), Err(10)));
        assert_eq!(Pace::new(0).take(start), Ok(()));
        let mut quick = Pace::over(2, 4);
        for _ in 0..4 {
            assert_eq!(quick.take(start), Ok(()));
        }
        assert_eq!(quick.take(start), Err(1));
        assert_eq!(quick.take(start + SECOND / 2), Ok(()));
        assert_eq!(quick.take(start + SECOND / 2), Err(1));
    }
}
