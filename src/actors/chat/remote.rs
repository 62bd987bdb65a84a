//! Chat's commands that travel to the node that admits them.
//!
//! Any node takes any command. One that is not active hands it to the active node and gives back its answer, once its
//! own streams are as far as those of the active node were then: whoever reads here afterwards finds it done. What one
//! caller posts leaves in that order, travels through one queue, and is admitted in that order.

use super::{Chat, Done, Refused, Store};
use crate::actors::trading::Unavailable;
use crate::actors::trading::remote::{Forwarder, Returned, Service};
use crate::domain::chat::{ChatEntry, Command, RoomId};
use crate::domain::codec::{Coded, Entries};
use crate::domain::ids::{AccountId, Sequence, Ticket};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long an answer is held back until this node has applied what it follows from.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(2);

/// An answer as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    outcome: Result<Done, Refused>,
    /// How far the active node had read the room's stream then.
    read_to: Sequence,
}

/// A command on its way to the active node.
pub struct Sent {
    returned: Returned,
    store: Store,
    shard: u8,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sent").field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl From<Unavailable> for Refused {
    fn from(why: Unavailable) -> Refused {
        match why {
            Unavailable::Starting | Unavailable::MarketFaulted => Refused::Starting,
            Unavailable::Overloaded => Refused::Overloaded,
            Unavailable::LogRefused => Refused::LogRefused,
            Unavailable::OutcomeUnknown => Refused::OutcomeUnknown,
        }
    }
}

/// Sends a command to the active node. It travels as the entry that it may become.
pub(super) fn send(
    forward: &Forwarder,
    store: &Store,
    by: AccountId,
    warden: bool,
    room: RoomId,
    command: Command,
) -> Result<Sent, Refused> {
    let mut bytes = Vec::with_capacity(128);
    // Whether its room is closed is for the room there to say.
    ChatEntry { ticket: Ticket(0), room, by, warden, after_close: false, command }.encode(&mut bytes);
    let returned = forward.send(Service::Chat, bytes)?;
    Ok(Sent { returned, store: store.clone(), shard: room.shard() })
}

impl Sent {
    pub(super) async fn outcome(self) -> Result<Done, Refused> {
        let returned = match tokio::time::timeout(super::PATIENCE, self.returned).await {
            Ok(Ok(returned)) => returned?,
            // The active node died before it answered, or takes too long: it may have happened.
            Ok(Err(_)) | Err(_) => return Err(Refused::OutcomeUnknown),
        };
        let answer: Answer = postcard::from_bytes(&returned).map_err(|_| Refused::OutcomeUnknown)?;
        let caught_up = self.store.progress.reaches(self.shard, answer.read_to);
        if tokio::time::timeout(CATCH_UP_WITHIN, caught_up).await.is_err() {
            tracing::debug!(shard = self.shard, "an answer is given before this node has caught up");
        }
        answer.outcome
    }
}

/// Too much is on its way, as it travels.
pub fn overloaded() -> Vec<u8> {
    encode(&Answer { outcome: Err(Refused::Overloaded), read_to: Sequence(0) })
}

fn encode(answer: &Answer) -> Vec<u8> {
    postcard::to_stdvec(answer).unwrap_or_default()
}

impl Chat {
    /// Executes a command that came from another node. It is queued before this returns, so what comes in an order is
    /// admitted in that order; the future gives the answer as it travels back.
    pub fn perform_for_another(&self, command: &[u8]) -> impl Future<Output = Vec<u8>> + use<> {
        let chat = self.clone();
        let command = Entries::<ChatEntry>::new(command).next();
        let begun = match command {
            Some(Ok(entry)) => chat.begin_for_another(entry),
            Some(Err(_)) | None => Err(Refused::Starting),
        };
        async move {
            let (shard, outcome) = match begun {
                Ok((shard, Begun::Posted(answer))) => (shard, super::Posted::Here(answer).outcome().await),
                Ok((shard, Begun::Counted(entry))) => {
                    let ChatEntry { room, by, warden, command, .. } = entry;
                    (shard, chat.execute_here(by, warden, room, command).await)
                }
                Err(why) => return encode(&Answer { outcome: Err(why), read_to: Sequence(0) }),
            };
            encode(&Answer { outcome, read_to: chat.store.progress.read_to(shard) })
        }
    }

    fn begin_for_another(&self, entry: ChatEntry) -> Result<(u8, Begun), Refused> {
        // Never forwarded again: two nodes that each take the other for the active one would play ping-pong.
        if self.trading.elsewhere().is_some() {
            return Err(Refused::Starting);
        }
        let shard = entry.room.shard();
        if matches!(entry.command, Command::Create { .. } | Command::Join(_)) {
            return Ok((shard, Begun::Counted(entry)));
        }
        let ChatEntry { room, by, warden, command, .. } = entry;
        Ok((shard, Begun::Posted(self.post_here(by, warden, room, command)?)))
    }
}

/// How far a command of another node has got.
enum Begun {
    /// It is queued with its room.
    Posted(super::Answer),
    /// The rooms of whoever wants it must be counted first.
    Counted(ChatEntry),
}
