//! Names that may be claimed once by all nodes together, for as long as they are kept.

use super::{Away, Redis};
use deadpool_redis::redis;
use std::time::Duration;

/// Keys: the name. Arguments: how long it is kept, ms. Gives µs since the first claim, -1 for the first itself.
const CLAIM: &str = "
    local time = redis.call('TIME')
    local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
    local first = redis.call('GET', KEYS[1])
    if first then return now - tonumber(first) end
    redis.call('SET', KEYS[1], string.format('%.0f', now), 'PX', ARGV[1])
    return -1";

impl Redis {
    /// Claims a name. `None` when nobody had it; else how long ago it was claimed first, µs by the clock of Redis.
    ///
    /// # Errors
    /// [`Away`]: only this node's own claims are known then.
    pub async fn claim(&self, name: &str, keep: Duration) -> Result<Option<i64>, Away> {
        let mut command = redis::cmd("EVAL");
        command.arg(CLAIM).arg(1).arg(self.key(&format!("claim:{name}"))).arg(keep.as_millis() as u64);
        let since: i64 = self.run(&command).await?;
        Ok((since >= 0).then_some(since))
    }

    /// Gives a name back, so that it may be claimed again.
    ///
    /// # Errors
    /// [`Away`]: it stays claimed for as long as it is kept.
    pub async fn release(&self, name: &str) -> Result<(), Away> {
        let mut command = redis::cmd("DEL");
        command.arg(self.key(&format!("claim:{name}")));
        self.run::<i64>(&command).await.map(drop)
    }
}
