//! Rate limits across nodes: one bucket for each name, counted by Redis itself.
//!
//! A bucket is one number, the time at which it is full again (GCRA), by the clock of Redis: nodes
//! whose clocks differ count alike. When that clock is set back, a bucket that would be full later than
//! a burst from now is put right.

use super::{Away, Redis};
use deadpool_redis::redis;

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Between two requests in the long run, µs; at least 1.
    pub interval: i64,
    /// Requests at once after a pause; at least 1.
    pub burst: u32,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Whether it may go on; a refused one costs nothing.
    pub admitted: bool,
    /// From now until the bucket is full again, µs.
    pub full_after: i64,
}

/// Keys: the bucket. Arguments: interval and span of a burst, both in µs.
const TAKE: &str = "
    local time = redis.call('TIME')
    local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
    local said = tonumber(redis.call('GET', KEYS[1]) or '0')
    local full = math.min(math.max(said, now), now + tonumber(ARGV[2]))
    local after, admitted = full + tonumber(ARGV[1]), 1
    if after - now > tonumber(ARGV[2]) then
        after, admitted = full, 0
        if said <= full then return {0, full - now} end
    end
    redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1000)
    return {admitted, after - now}";

impl Redis {
    /// Counts a request against the bucket of this name. Atomic, whichever node asks.
    ///
    /// # Errors
    /// [`Away`]: count it on this node alone then.
    pub async fn take(&self, bucket: &str, rate: Rate) -> Result<Counted, Away> {
        let (interval, burst) = (rate.interval.max(1), i64::from(rate.burst.max(1)));
        let mut command = redis::cmd("EVAL");
        command.arg(TAKE).arg(1).arg(self.key(&format!("rate:{bucket}"))).arg(interval).arg(interval * burst);
        let (admitted, full_after): (i64, i64) = self.run(&command).await?;
        Ok(Counted { admitted: admitted == 1, full_after })
    }
}
