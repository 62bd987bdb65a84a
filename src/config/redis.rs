//! Redis.

use super::unshown::Unshown;
use crate::persistence::redis::{Options, Redis, RedisError};
use clap::Args;
use std::fmt;
use std::time::Duration;

/// Whether there is a Redis, and how it is used.
#[derive(Args, Clone, Debug)]
pub struct RedisConfig {
    /// A Redis that nodes share, as redis://USER:PASSWORD@HOST:PORT/DATABASE: what one node ends or
    /// changes the others know at once. Without it they find it in the database within about a second.
    #[arg(long, env = "AGORA_REDIS", hide_env_values = true, value_name = "URL", value_parser = Unshown(RedisUrl::read))]
    pub redis: Option<RedisUrl>,
    /// What all keys and channels begin with, so that several venues can share a Redis.
    #[arg(long, env = "AGORA_REDIS_PREFIX", default_value = "agora:", value_name = "TEXT")]
    pub redis_prefix: String,
    /// A call to Redis that takes so many milliseconds has failed.
    #[arg(long, env = "AGORA_REDIS_TIMEOUT_MS", default_value_t = 250, value_name = "MS")]
    pub redis_timeout_ms: u64,
}

/// The address of a Redis. `Debug` hides it, since it may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

impl RedisUrl {
    fn read(text: &str) -> Result<RedisUrl, &'static str> {
        let known = text.starts_with("redis://");
        known.then(|| RedisUrl(text.to_owned())).ok_or("the address of a Redis begins with redis://")
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redis://…")
    }
}

impl RedisConfig {
    /// Starts to connect, if there is a Redis to connect to.
    ///
    /// # Errors
    /// [`RedisError`]; not when it is away.
    pub fn start(&self) -> Result<Option<Redis>, RedisError> {
        let Some(RedisUrl(url)) = &self.redis else { return Ok(None) };
        let options = Options { prefix: self.redis_prefix.clone(), ..Options::new(url) };
        Redis::start(Options { patience: Duration::from_millis(self.redis_timeout_ms), ..options }).map(Some)
    }
}
