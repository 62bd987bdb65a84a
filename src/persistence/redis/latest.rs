//! The newest public picture of each market, left by the active node for those that only serve reads.

use super::{Away, Redis};
use deadpool_redis::redis;
use std::time::Duration;

/// How long a picture counts when no newer one comes.
const KEEP: Duration = Duration::from_secs(5);

/// Keys: the picture and its sequence. Arguments: the new ones, and how long they count in ms. An older
/// picture is not put in the place of a newer one, but one with the same sequence is, so that it goes on counting.
const PUT_IF_NEWER: &str = "
    local known = tonumber(redis.call('GET', KEYS[2]) or '-1')
    if tonumber(ARGV[2]) < known then return 0 end
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
    redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
    return 1";

/// What was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The feed sequence.
    pub sequence: u64,
    /// The picture.
    pub content: Vec<u8>,
}

/// Pictures by what they show (`book`, `candles:60`, …) and market.
#[derive(Clone, Debug)]
pub struct Latest {
    redis: Redis,
}

impl Latest {
    /// In this Redis.
    pub fn new(redis: Redis) -> Latest {
        Latest { redis }
    }

    fn key(&self, what: &str, market: &str) -> String {
        self.redis.key(&format!("latest:{what}:{market}"))
    }

    /// Leaves a picture with its feed sequence; false when there is a newer one already.
    ///
    /// # Errors
    /// [`Away`]: it is not left then.
    pub async fn put(&self, what: &str, market: &str, sequence: u64, content: &[u8]) -> Result<bool, Away> {
        let key = self.key(what, market);
        let mut command = redis::cmd("EVAL");
        command.arg(PUT_IF_NEWER).arg(2).arg(&key).arg(format!("{key}:sequence"));
        command.arg(content).arg(sequence).arg(KEEP.as_millis() as u64);
        self.redis.run::<i64>(&command).await.map(|put| put == 1)
    }

    /// The newest picture, if one was left a moment ago.
    ///
    /// # Errors
    /// [`Away`]: use what this node knows.
    pub async fn get(&self, what: &str, market: &str) -> Result<Option<Left>, Away> {
        let key = self.key(what, market);
        let mut command = redis::cmd("MGET");
        command.arg(&key).arg(format!("{key}:sequence"));
        let (content, sequence): (Option<Vec<u8>>, Option<u64>) = self.redis.run(&command).await?;
        Ok(content.zip(sequence).map(|(content, sequence)| Left { sequence, content }))
    }
}
