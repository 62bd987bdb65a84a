//! Chat: its actors, and the one handle through which everything else uses them.
//!
//! ```text
//! chat
//! ├── chat projector       the streams → the database
//! ├── chat shard «0…15»    each owns a stream
//! ├── presence
//! └── herald               what the venue has to say in the rooms of its markets
//! rooms (directory: activated on use, passivated when idle)
//! ```
//! A command goes to its room, which admits it; its entry is committed to the stream of the room's
//! shard; the shard hands it to the room, which applies it, tells who listens, and answers the caller.

pub mod audience;
pub mod events;
pub mod herald;
pub mod limits;
mod memory;
pub mod presence;
pub mod projector;
pub mod remote;
pub mod room;
mod shard;
mod start;
pub mod store;

pub use audience::{Audience, Crowd, Session};
pub use limits::Limits;
pub use start::{Foundation, follow, start};
pub use store::{Away, Store};

use super::directory::{Directory, DirectoryError, DirectoryStats};
use super::supervision::{Handle, Unreachable};
use super::trading::Trading;
use super::trading::market_data::wall_clock;
use crate::domain::chat::{ChatReject, Command, MessageSequence, RoomId};
use crate::domain::ids::{AccountId, Epoch};
use crate::domain::time::Timestamp;
use crate::persistence::chat::rooms;
use crate::persistence::db::Connection;
use crate::persistence::objects::Objects;
use events::{Delivered, Event, Summary};
use presence::{Presence, Types};
use room::{Execute, Look, RoomActor, View};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{oneshot, watch};

/// How long a caller waits for its outcome before it is told that it is unknown.
const PATIENCE: Duration = Duration::from_secs(5);
/// In rooms with more listeners nobody hears who types.
const TYPING_AUDIENCE: usize = 200;

/// What rooms see of their stream's epoch: that in which they may admit, if they may.
#[derive(Debug, Default)]
pub struct Gate(watch::Sender<Option<Epoch>>);

impl Gate {
    fn open(&self, epoch: Epoch) {
        self.0.send_replace(Some(epoch));
    }

    fn close(&self) {
        self.0.send_replace(None);
    }

    fn epoch(&self) -> Option<Epoch> {
        *self.0.borrow()
    }

    /// Waits until commands are admitted.
    async fn opened(&self) {
        // The sender is this gate's own, so it cannot be gone.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }
}

/// What was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// When.
    pub at: Timestamp,
    /// What the caller needs of it.
    pub outcome: Outcome,
}

/// What a caller needs of what was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// A message stands under this number.
    Written(MessageSequence),
    /// A report has this number.
    Reported(u64),
    /// The room is this now.
    Room(Box<Summary>),
}

/// Which filter a text did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Filter {
    /// That of words.
    #[error("a word in the message is not allowed")]
    Word,
    /// That of links.
    #[error("a link in the message is not allowed")]
    Link,
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refused {
    /// A rule says no; nothing has changed.
    #[error(transparent)]
    Reject(#[from] ChatReject),
    /// The content is not allowed here; nothing has changed.
    #[error("{0}")]
    Filtered(Filter),
    /// Too many rooms; nothing has changed.
    #[error("you have too many rooms")]
    TooManyRooms,
    /// Too many messages in a short time; nothing has changed.
    #[error("that was too fast, please wait {retry_after_s} s")]
    TooFast {
        /// When to try again.
        retry_after_s: u32,
    },
    /// Chat is starting or recovering.
    #[error("chat is starting, please retry")]
    Starting,
    /// Too much is on its way already.
    #[error("too many requests are waiting, please retry")]
    Overloaded,
    /// The log could not be written; nothing has changed.
    #[error("the log cannot be written at the moment, please retry")]
    LogRefused,
    /// The database is needed and out of reach; nothing has changed.
    #[error("history is out of reach, please retry")]
    Away,
    /// It may or may not have happened.
    #[error("the outcome is unknown, please retry with the same client id")]
    OutcomeUnknown,
}

impl Refused {
    /// The stable code that clients may rely on.
    pub fn code(&self) -> &'static str {
        match self {
            Refused::Reject(reject) => reject.code(),
            Refused::Filtered(_) => "filtered",
            Refused::TooManyRooms => "too_many_rooms",
            Refused::TooFast { .. } => "too_fast",
            Refused::Starting => "starting",
            Refused::Overloaded => "overloaded",
            Refused::LogRefused => "log_unavailable",
            Refused::Away => "history_unavailable",
            Refused::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, Refused::Reject(_) | Refused::Filtered(_) | Refused::TooManyRooms)
    }
}

impl From<Away> for Refused {
    fn from(_: Away) -> Refused {
        Refused::Away
    }
}

impl From<DirectoryError> for Refused {
    fn from(error: DirectoryError) -> Refused {
        match error {
            DirectoryError::CrashLoop { .. } | DirectoryError::Closed => Refused::Starting,
            DirectoryError::Unreachable(Unreachable::Full) => Refused::Overloaded,
            DirectoryError::Unreachable(Unreachable::Restarting | Unreachable::Closed) => Refused::Starting,
            DirectoryError::Unreachable(Unreachable::Lost | Unreachable::Late) => Refused::OutcomeUnknown,
        }
    }
}

/// Where a room answers.
type Answer = oneshot::Receiver<Result<Done, Refused>>;

/// A command on its way.
#[derive(Debug)]
pub enum Posted {
    /// To its room, here.
    Here(Answer),
    /// To the node that admits commands.
    Elsewhere(remote::Sent),
}

impl Posted {
    /// Its outcome, once it is committed and applied.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn outcome(self) -> Result<Done, Refused> {
        let answer = match self {
            Posted::Here(answer) => answer,
            Posted::Elsewhere(sent) => return sent.outcome().await,
        };
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(outcome)) => outcome,
            // The room died before it answered, or the log takes too long: it may have happened.
            Ok(Err(_)) | Err(_) => Err(Refused::OutcomeUnknown),
        }
    }
}

/// Chat. Clones are the same one.
#[derive(Clone)]
pub struct Chat {
    rooms: Directory<RoomId, RoomActor>,
    audience: Arc<Audience>,
    presence: Handle<Presence>,
    store: Store,
    limits: Arc<Limits>,
    objects: Objects,
    trading: Trading,
}

impl Chat {
    /// Commits and applies a command. `warden`: whoever wants it keeps order on the whole platform.
    ///
    /// # Errors
    /// [`Refused`]; after [`Refused::OutcomeUnknown`] a retry is safe, a message's with the same
    /// client id.
    pub async fn execute(&self, by: AccountId, warden: bool, room: RoomId, command: Command) -> Result<Done, Refused> {
        match self.trading.elsewhere() {
            Some(_) => self.post(by, warden, room, command)?.outcome().await,
            None => self.execute_here(by, warden, room, command).await,
        }
    }

    async fn execute_here(&self, by: AccountId, warden: bool, room: RoomId, command: Command) -> Result<Done, Refused> {
        self.check_counts(by, room, &command).await?;
        Posted::Here(self.post_here(by, warden, room, command)?).outcome().await
    }

    /// Queues a command now and gives its outcome later: what one caller posts is admitted in that
    /// order. Limits of how many rooms somebody may have are for [`Chat::execute`].
    ///
    /// # Errors
    /// [`Refused`] when it was not queued.
    pub fn post(&self, by: AccountId, warden: bool, room: RoomId, command: Command) -> Result<Posted, Refused> {
        // Filters and paces are the active node's: there they hold however many nodes a user writes through.
        match self.trading.elsewhere() {
            Some(forward) => remote::send(forward, &self.store, by, warden, room, command).map(Posted::Elsewhere),
            None => self.post_here(by, warden, room, command).map(Posted::Here),
        }
    }

    fn post_here(&self, by: AccountId, warden: bool, room: RoomId, command: Command) -> Result<Answer, Refused> {
        if command.has_nul() {
            return Err(ChatReject::Invalid.into());
        }
        if by != AccountId::HOUSE {
            self.limits.check(&command)?;
            match command {
                Command::Send { .. } | Command::Edit { .. } | Command::React { .. } => {
                    self.limits.take(by, wall_clock())?;
                }
                Command::Delete(_) => self.limits.take_deletion(by, wall_clock())?,
                // Read markers follow what others write.
                Command::Read(_) => {}
                _ => self.limits.take_deed(by, wall_clock())?,
            }
        }
        let (reply, outcome) = oneshot::channel();
        self.rooms.try_send(&room, Execute { by, warden, command, reply })?;
        Ok(outcome)
    }

    /// Whether somebody may have one more room, or has this one already: a repeat is answered like the first time.
    /// Counted from the rows, so that two requests at once may both pass: the limit is there against floods, not for
    /// exactness.
    async fn check_counts(&self, by: AccountId, room: RoomId, command: &Command) -> Result<(), Refused> {
        let makes = match command {
            Command::Create { .. } => true,
            Command::Join(_) => false,
            _ => return Ok(()),
        };
        let most = i64::from(if makes { self.limits.rooms_owned } else { self.limits.rooms_joined });
        let may = move |conn: &mut Connection| {
            let count = if makes { rooms::owned(conn, by)? } else { rooms::joined(conn, by)? };
            match count < most {
                true => Ok(true),
                false if makes => Ok(rooms::kind(conn, room)?.is_some()),
                false => rooms::is_member(conn, room, by),
            }
        };
        if self.store.read(may).await? { Ok(()) } else { Err(Refused::TooManyRooms) }
    }

    /// A room as somebody sees it; `None` when there is none.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn look(&self, who: AccountId, room: RoomId) -> Result<Option<View>, Refused> {
        let look = self.rooms.send(&room, Look(who));
        tokio::time::timeout(PATIENCE, look).await.map_err(|_| Refused::Overloaded)?.map_err(Refused::from)
    }

    /// Tells the others in a room that somebody types. Nothing is stored; the session must hear of the room itself.
    pub fn typing(&self, session: &Session, room: RoomId) {
        if self.audience.size(room) <= TYPING_AUDIENCE {
            let event = Delivered::of(room, Some(session.account), Event::Typing(session.account));
            self.audience.tell(room, &event, Some(session.id));
            // Those on other nodes see it if it gets through.
            let _ = self.presence.try_send(Types(room, session.account));
        }
    }

    /// Who hears what.
    pub fn audience(&self) -> &Arc<Audience> {
        &self.audience
    }

    /// Who is there.
    pub fn presence(&self) -> &Handle<Presence> {
        &self.presence
    }

    /// Stored state.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Images.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// What is allowed.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Rooms in memory, and what was counted of them.
    pub fn room_stats(&self) -> DirectoryStats {
        self.rooms.stats()
    }
}
