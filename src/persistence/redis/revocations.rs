//! Ended sessions: told to all nodes at once. The database has them anyway; nodes look there every few
//! seconds and after every gap.

use super::{Away, Heard, Redis};
use crate::domain::time::Timestamp;
use crate::persistence::sessions::SessionId;
use tokio::sync::broadcast;
use uuid::Uuid;

const CHANNEL: &str = "revocations";
const LENGTH: usize = 24;

/// Sessions that were ended on any node.
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

    /// Tells all nodes which sessions were ended, and until when their tokens would have counted. To be
    /// called after the database has them.
    ///
    /// # Errors
    /// [`Away`]: the others find them in the database, some seconds later.
    pub async fn publish(redis: &Redis, ended: &[(SessionId, Timestamp)]) -> Result<(), Away> {
        let mut content = Vec::with_capacity(ended.len() * LENGTH);
        for (SessionId(id), expires_at) in ended {
            content.extend_from_slice(id.as_bytes());
            content.extend_from_slice(&expires_at.0.to_le_bytes());
        }
        redis.publish(CHANNEL, &content).await
    }

    /// The next ones; `None` after a gap, when the database must be asked.
    pub async fn next(&mut self) -> Option<Vec<(SessionId, Timestamp)>> {
        loop {
            match self.heard.recv().await {
                Ok(Heard::Message { channel, content }) if channel == CHANNEL => return parse(&content),
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
