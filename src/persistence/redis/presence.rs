//! Who is there, on any node. Each node says for each of its users, now and then, that they are; who
//! was not named for a while is gone, also when the node that named them is.

use super::{Away, Redis};
use crate::domain::ids::AccountId;
use deadpool_redis::redis;
use std::time::Duration;

/// Users who are there, for some time after they were named.
#[derive(Clone, Debug)]
pub struct Presence {
    redis: Redis,
    /// How long a user counts as present after having been named.
    keep: Duration,
}

impl Presence {
    /// Name each present user at least twice in `keep`.
    pub fn new(redis: Redis, keep: Duration) -> Presence {
        Presence { redis, keep }
    }

    fn key(&self, user: AccountId) -> String {
        self.redis.key(&format!("present:{}", user.0))
    }

    /// Says that these users are there.
    ///
    /// # Errors
    /// [`Away`]: the other nodes do not know then.
    pub async fn name(&self, users: &[AccountId]) -> Result<(), Away> {
        for user in users {
            let mut command = redis::cmd("SET");
            command.arg(self.key(*user)).arg(1).arg("PX").arg(self.keep.as_millis() as u64);
            self.redis.run::<()>(&command).await?;
        }
        Ok(())
    }

    /// Which of these users are there, in the same order.
    ///
    /// # Errors
    /// [`Away`]: only this node's own users are known then.
    pub async fn of(&self, users: &[AccountId]) -> Result<Vec<bool>, Away> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        for user in users {
            command.arg(self.key(*user));
        }
        let found: Vec<Option<i64>> = self.redis.run(&command).await?;
        Ok(found.into_iter().map(|value| value.is_some()).collect())
    }
}
