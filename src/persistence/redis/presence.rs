//! Who is there, on any node.
//!
//! Each node says for each of its users, now and then, how they are there; what was not said again for a while is over,
//! also when the node that said it is. All times are by the clock of Redis. A user may be at several nodes at once and
//! counts as what the most lively of them says.

use super::{Away, Heard, Redis};
use crate::domain::ids::AccountId;
use deadpool_redis::redis;
use std::time::Duration;
use tokio::sync::broadcast;

const CHANNEL: &str = "presence";

/// How somebody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Connected, but away from the keys.
    Idle,
    /// Connected.
    Online,
}

impl Seen {
    fn code(seen: Option<Seen>) -> u8 {
        match seen {
            None => 0,
            Some(Seen::Idle) => 1,
            Some(Seen::Online) => 2,
        }
    }

    fn of(code: u8) -> Option<Seen> {
        match code {
            1 => Some(Seen::Idle),
            2 => Some(Seen::Online),
            _ => None,
        }
    }
}

/// The best that any node has said of a user lately. KEYS[1] is a hash: node -> "code:until in ms".
const BEST: &str = "
    local time = redis.call('TIME')
    local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    local function best(key)
        local most, all = 0, redis.call('HGETALL', key)
        for i = 2, #all, 2 do
            local code, till = string.match(all[i], '(%d+):(%d+)')
            if tonumber(till) > now and tonumber(code) > most then most = tonumber(code) end
        end
        return most
    end
";

/// Arguments: node, code, how long it counts in ms, user, channel. Others are told of what changes by it.
const SAY: &str = "
    local before = best(KEYS[1])
    if ARGV[2] == '0' then
        redis.call('HDEL', KEYS[1], ARGV[1])
    else
        redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. string.format('%.0f', now + tonumber(ARGV[3])))
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
    end
    local after = best(KEYS[1])
    if after ~= before then redis.call('PUBLISH', ARGV[5], ARGV[4] .. ':' .. after) end
    return after";

const ASK: &str = "
    local answer = {}
    for i = 1, #KEYS do answer[i] = best(KEYS[i]) end
    return answer";

/// How users are there, for some time after it was said.
#[derive(Clone, Debug)]
pub struct Presence {
    redis: Redis,
    node: u16,
    /// How long what was said counts.
    keep: Duration,
}

impl Presence {
    /// For the node of this number. Say again how each present user is at least twice in `keep`.
    pub fn new(redis: Redis, node: u16, keep: Duration) -> Presence {
        Presence { redis, node, keep }
    }

    /// The Redis that this is in.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    fn key(&self, user: AccountId) -> String {
        self.redis.key(&format!("present:{}", user.0))
    }

    /// Says how a user is at this node; `None` when it has left. Everybody who listens hears of what changes by it.
    ///
    /// # Errors
    /// [`Away`]: the other nodes do not know then.
    pub async fn say(&self, user: AccountId, seen: Option<Seen>) -> Result<(), Away> {
        let mut command = redis::cmd("EVAL");
        command.arg(format!("{BEST}{SAY}")).arg(1).arg(self.key(user));
        command.arg(self.node).arg(Seen::code(seen)).arg(self.keep.as_millis() as u64);
        command.arg(user.0).arg(self.redis.key(CHANNEL));
        self.redis.run::<i64>(&command).await.map(drop)
    }

    /// How these users are anywhere, in the same order.
    ///
    /// # Errors
    /// [`Away`]: only this node's own users are known then.
    pub async fn of(&self, users: &[AccountId]) -> Result<Vec<Option<Seen>>, Away> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("EVAL");
        command.arg(format!("{BEST}{ASK}")).arg(users.len());
        for user in users {
            command.arg(self.key(*user));
        }
        let codes: Vec<u8> = self.redis.run(&command).await?;
        Ok(codes.into_iter().map(Seen::of).collect())
    }

    /// What changes anywhere, from now on. That a node was lost is no change: ask from time to time.
    pub fn changes(&self) -> PresenceChanges {
        PresenceChanges { heard: self.redis.listen() }
    }
}

/// Users who come, go, or are idle or back.
pub struct PresenceChanges {
    heard: broadcast::Receiver<Heard>,
}

impl PresenceChanges {
    /// The next one; `None` after a gap, when everything must be asked for.
    pub async fn next(&mut self) -> Option<(AccountId, Option<Seen>)> {
        loop {
            match self.heard.recv().await {
                Ok(Heard::Message { channel, content }) if channel == CHANNEL => {
                    // What no node of ours has said is treated as a gap.
                    let text = String::from_utf8(content).ok()?;
                    let (user, code) = text.split_once(':')?;
                    return Some((AccountId(user.parse().ok()?), Seen::of(code.parse().ok()?)));
                }
                Ok(Heard::Message { .. }) => {}
                Ok(Heard::Gap) | Err(broadcast::error::RecvError::Lagged(_)) => return None,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
