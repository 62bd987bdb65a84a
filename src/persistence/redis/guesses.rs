//! Guesses at passwords and codes: what one node has seen slows down whoever goes on at another. Hints alone: who does
//! not hear them counts what it sees itself.

use super::{Heard, Redis};
use tokio::sync::broadcast;

const CHANNEL: &str = "guesses";

/// What nodes say of guesses, this one too, from now on. The content is theirs to read.
pub struct Guesses {
    redis: Redis,
    heard: broadcast::Receiver<Heard>,
}

impl Guesses {
    /// From now on.
    pub fn new(redis: Redis) -> Guesses {
        let heard = redis.listen();
        Guesses { redis, heard }
    }

    /// Tells all nodes, without waiting.
    pub fn publish(redis: &Redis, content: Vec<u8>) {
        redis.tell(CHANNEL, content);
    }

    /// The next. What was missed is not made up for.
    pub async fn next(&mut self) -> Vec<u8> {
        loop {
            match self.heard.recv().await {
                Ok(Heard::Message { channel, content }) if channel == CHANNEL => return content,
                Ok(Heard::Message { .. } | Heard::Gap) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => self.heard = self.redis.listen(),
            }
        }
    }
}
