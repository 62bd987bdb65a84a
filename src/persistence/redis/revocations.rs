//! Ended sessions and API keys: told to all nodes at once. The database has them anyway; nodes look there every
//! second and after every gap.

use super::{Heard, Redis};
use crate::domain::time::Timestamp;
use crate::persistence::sessions::SessionId;
use tokio::sync::broadcast;
use uuid::Uuid;

const SESSIONS: &str = "revocations";
const KEYS: &str = "revocations:keys";
const LENGTH: usize = 24;

/// What was ended on any node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Sessions, and until when their tokens would have counted.
    Sessions(Vec<(SessionId, Timestamp)>),
    /// An API key, by its public name.
    Key(String),
}

/// What is ended on any node, this one too, from now on.
pub struct Revocations {
    redis: Redis,
    heard: broadcast::Receiver<Heard>,
}

impl Revocations {
    /// From now on.
    pub fn new(redis: Redis) -> Revocations {
        let heard = redis.listen();
        Revocations { redis, heard }
    }

    /// Tells all nodes what was ended, without waiting. To be called after the database has it: nodes that do not hear
    /// it find it there.
    pub fn publish(redis: &Redis, ended: &Ended) {
        match ended {
            Ended::Sessions(sessions) => {
                let mut content = Vec::with_capacity(sessions.len() * LENGTH);
                for (SessionId(id), expires_at) in sessions {
                    content.extend_from_slice(id.as_bytes());
                    content.extend_from_slice(&expires_at.0.to_le_bytes());
                }
                redis.tell(SESSIONS, content);
            }
            Ended::Key(id) => redis.tell(KEYS, id.clone().into_bytes()),
        }
    }

    /// The next; `None` after a gap, when the database must be asked.
    pub async fn next(&mut self) -> Option<Ended> {
        loop {
            match self.heard.recv().await {
                Ok(Heard::Message { channel, content }) if channel == SESSIONS => {
                    return parse(&content).map(Ended::Sessions);
                }
                Ok(Heard::Message { channel, content }) if channel == KEYS => {
                    return String::from_utf8(content).ok().map(Ended::Key);
                }
                Ok(Heard::Message { .. }) => {}
                Ok(Heard::Gap) | Err(broadcast::error::RecvError::Lagged(_)) => return None,
                Err(broadcast::error::RecvError::Closed) => {
                    self.heard = self.redis.listen();
                    return None;
                }
            }
        }
    }
}

/// `None` for what no node of ours has said.
fn parse(content: &[u8]) -> Option<Vec<(SessionId, Timestamp)>> {
    let (entries, rest) = content.as_chunks::<LENGTH>();
    if !rest.is_empty() {
        return None;
    }
    let entry = |entry: &[u8; LENGTH]| {
        let (id, time) = entry.split_first_chunk::<16>()?;
        Some((SessionId(Uuid::from_bytes(*id)), Timestamp(i64::from_le_bytes(*time.first_chunk::<8>()?))))
    };
    entries.iter().map(entry).collect()
}
