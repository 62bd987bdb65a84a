//! Second-level caches: what one node has read from the database, the others need not read again.
//!
//! A node that changes something first commits it to the database, then removes it here, which all
//! nodes hear, so that they forget their own copy. An entry also goes by itself after some time: that
//! is how long a node that was cut off may show what has changed.
//!
//! A node that read the database before the change might put what it read after it. So a forgotten name leaves a
//! gravestone, and while that stands nothing is put: longer than any query may take.
//!
//! A Redis that was away and still has its memory may hold what has changed meanwhile. A node that could not make it
//! forget a name does without it until all that can be older than the change has gone by itself.

use super::{Away, Heard, Redis};
use deadpool_redis::redis;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::Instant;

/// How long nothing is put in the place of a forgotten name: longer than a query of the database may take.
const GRAVESTONE: Duration = Duration::from_secs(60);

/// What stands in the place of a forgotten name; what is kept begins with [`KEPT`].
const GONE: &[u8] = b"-";
const KEPT: u8 = b'+';

/// Keys: the entry. Arguments: the new content, and how long it counts in ms.
const PUT_UNLESS_GONE: &str = "
    if redis.call('GET', KEYS[1]) == '-' then return 0 end
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return 1";

/// One kind of things, by name.
#[derive(Clone, Debug)]
pub struct SecondLevel {
    redis: Redis,
    kind: &'static str,
    keep: Duration,
    /// Before this moment it may hold what has changed, since a name could not be forgotten. Clones share it.
    distrusted_until: Arc<Mutex<Option<Instant>>>,
}

impl SecondLevel {
    /// Entries of a kind live for `keep`.
    pub fn new(redis: Redis, kind: &'static str, keep: Duration) -> SecondLevel {
        SecondLevel { redis, kind, keep, distrusted_until: Arc::default() }
    }

    fn is_distrusted(&self) -> bool {
        self.distrusted_until.lock().is_some_and(|until| Instant::now() < until)
    }

    fn key(&self, name: &str) -> String {
        self.redis.key(&format!("cache:{}:{name}", self.kind))
    }

    fn channel(&self) -> String {
        format!("forget:{}", self.kind)
    }

    /// What is known of a name: nothing for a while after one could not be forgotten.
    ///
    /// # Errors
    /// [`Away`]: ask the database then.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Away> {
        let mut command = redis::cmd("GET");
        command.arg(self.key(name));
        let found: Option<Vec<u8>> = self.redis.run(&command).await?;
        // Looked at now: the name may have changed, and not been forgotten, while this was on its way.
        let believed = found.filter(|_| !self.is_distrusted());
        Ok(believed
            .and_then(|found| found.split_first().filter(|(kind, _)| **kind == KEPT).map(|(_, rest)| rest.to_vec())))
    }

    /// Keeps what the database has said, unless the name was forgotten a short while ago, or any could not be: the
    /// database may have been asked before that. Whether it is kept.
    ///
    /// # Errors
    /// [`Away`]: it is not kept then.
    pub async fn put(&self, name: &str, content: &[u8]) -> Result<bool, Away> {
        if self.is_distrusted() {
            return Ok(false);
        }
        let mut command = redis::cmd("EVAL");
        command.arg(PUT_UNLESS_GONE).arg(1).arg(self.key(name));
        command.arg([&[KEPT], content].concat()).arg(self.keep.as_millis() as u64);
        self.redis.run::<i64>(&command).await.map(|put| put == 1)
    }

    /// Makes all nodes forget a name. To be called after the database has changed.
    ///
    /// # Errors
    /// [`Away`]: the others go on with what they have, until it is too old. This node does without the level until
    /// whatever was put in before the change, or by a query from before it, has gone.
    pub async fn forget(&self, name: &str) -> Result<(), Away> {
        let mut command = redis::cmd("SET");
        command.arg(self.key(name)).arg(GONE).arg("PX").arg(GRAVESTONE.as_millis() as u64);
        let buried = self.redis.run::<()>(&command).await;
        if buried.is_err() {
            *self.distrusted_until.lock() = Some(Instant::now() + GRAVESTONE + self.keep);
        }
        buried?;
        self.redis.publish(&self.channel(), name.as_bytes()).await
    }

    /// What any node makes all forget, from now on.
    pub fn forgotten(&self) -> Forgotten {
        Forgotten { heard: self.redis.listen(), channel: self.channel() }
    }
}

/// Names that must be forgotten.
pub struct Forgotten {
    heard: broadcast::Receiver<Heard>,
    channel: String,
}

impl Forgotten {
    /// The next one; `None` after a gap, when everything must be forgotten.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            match self.heard.recv().await {
                Ok(Heard::Message { channel, content }) if channel == self.channel => {
                    return String::from_utf8(content).ok();
                }
                Ok(Heard::Message { .. }) => {}
                Ok(Heard::Gap) | Err(broadcast::error::RecvError::Lagged(_)) => return None,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
