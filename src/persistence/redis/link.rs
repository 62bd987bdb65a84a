//! The connection, kept up.

use arc_swap::ArcSwapOption;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, AsyncConnectionConfig, Client, FromRedisValue};
use deadpool_redis::{Manager, Pool};
use futures_util::StreamExt;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::broadcast;

/// Messages that a slow listener may be behind; then it hears of a gap.
const HEARD_AT_MOST: usize = 1_024;

/// Where nodes say that they live.
const PULSE_CHANNEL: &str = "pulse";

/// How often the connection is tried.
const PULSE: Duration = Duration::from_secs(1);

/// Where Redis is and how it is used.
#[derive(Clone)]
pub struct Options {
    /// `redis://USER:PASSWORD@HOST:PORT/DATABASE`.
    pub url: String,
    /// What all keys and channels begin with, so that venues can share a server.
    pub prefix: String,
    /// A call that takes longer has failed.
    pub patience: Duration,
}

impl Options {
    /// The usual ones.
    pub fn new(url: impl Into<String>) -> Options {
        Options { url: url.into(), prefix: "agora:".into(), patience: Duration::from_millis(250) }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("Options").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Redis does not answer, or not in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("Redis is out of reach")]
pub struct Away;

/// Why Redis cannot be used at all.
#[derive(Debug, Error)]
pub enum RedisError {
    /// The address is none.
    #[error("the address of Redis is of no use: {0}")]
    Address(String),
    /// No thread could be started.
    #[error("no thread for Redis: {0}")]
    Thread(#[from] std::io::Error),
}

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something was published.
    Message {
        /// The channel, without the prefix.
        channel: String,
        /// What was said.
        content: Vec<u8>,
    },
    /// Messages may have been missed since the last one.
    Gap,
}

struct Inner {
    options: Options,
    connection: ArcSwapOption<MultiplexedConnection>,
    heard: broadcast::Sender<Heard>,
    /// Of the thread that keeps the connection.
    runtime: tokio::runtime::Handle,
}

/// The way to Redis. Clones share it; the thread behind it ends with the last one.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("up", &self.is_up()).finish_non_exhaustive()
    }
}

impl Redis {
    /// Starts to connect. Redis need not be there yet.
    ///
    /// # Errors
    /// [`RedisError`].
    pub fn start(options: Options) -> Result<Redis, RedisError> {
        let unusable = |error: redis::RedisError| RedisError::Address(error.to_string());
        let client = Client::open(options.url.as_str()).map_err(unusable)?;
        let timeouts = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(options.patience));
        let manager = Manager::new_with_config(options.url.as_str(), timeouts).map_err(unusable)?;
        let pool = Pool::builder(manager).max_size(1).build().map_err(|e| RedisError::Address(e.to_string()))?;
        let (heard, _) = broadcast::channel(HEARD_AT_MOST);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = ArcSwapOption::empty();
        let inner = Arc::new(Inner { options, connection, heard, runtime: runtime.handle().clone() });
        let weak = Arc::downgrade(&inner);
        std::thread::Builder::new().name("redis".into()).spawn(move || {
            let listener = weak.clone();
            runtime.block_on(async move {
                tokio::select! {
                    () = keep_up(&pool, &weak) => {}
                    () = listen(&client, &listener) => {}
                }
            });
        })?;
        Ok(Redis(inner))
    }

    /// Whether the connection stands, as far as is known.
    pub fn is_up(&self) -> bool {
        self.0.connection.load().is_some()
    }

    /// Everything that is published on channels of this venue from now on.
    pub fn listen(&self) -> broadcast::Receiver<Heard> {
        self.0.heard.subscribe()
    }

    /// Tells all nodes, this one too.
    ///
    /// # Errors
    /// [`Away`]; some may have heard it.
    pub async fn publish(&self, channel: &str, content: &[u8]) -> Result<(), Away> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(self.key(channel)).arg(content);
        self.run::<i64>(&command).await.map(drop)
    }

    /// The same from any thread and without waiting: who does not hear it asks the database.
    pub fn tell(&self, channel: &'static str, content: Vec<u8>) {
        let redis = self.clone();
        self.0.runtime.spawn(async move {
            if redis.publish(channel, &content).await.is_err() {
                tracing::debug!(channel, "Redis is away; other nodes find it in the database");
            }
        });
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0.options.prefix)
    }

    /// Runs a command.
    pub(super) async fn run<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, Away> {
        let Some(shared) = self.0.connection.load_full() else { return Err(Away) };
        let mut connection = (*shared).clone();
        let answer = tokio::time::timeout(self.0.options.patience, command.query_async::<T>(&mut connection)).await;
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::debug!(%error, "Redis refused");
                self.gone(&shared, error.is_unrecoverable_error());
                Err(Away)
            }
            Err(_) => {
                // A server that hangs would cost every caller its patience; the keeper looks after it.
                self.gone(&shared, true);
                Err(Away)
            }
        }
    }

    fn gone(&self, connection: &Arc<MultiplexedConnection>, broken: bool) {
        if broken {
            let current = self.0.connection.load_full();
            if current.is_some_and(|current| Arc::ptr_eq(&current, connection)) {
                self.0.connection.store(None);
            }
        }
    }
}

/// Opens the connection whenever there is none, and tries it now and then.
async fn keep_up(pool: &Pool, shared: &std::sync::Weak<Inner>) {
    loop {
        let Some(inner) = shared.upgrade() else { return };
        match inner.connection.load_full() {
            Some(connection) => {
                let mut connection = (*connection).clone();
                // Answered here and heard by the listener, it shows that both connections live.
                let mut pulse = redis::cmd("PUBLISH");
                pulse.arg(format!("{}{PULSE_CHANNEL}", inner.options.prefix)).arg("");
                let answer = tokio::time::timeout(PULSE, pulse.query_async::<i64>(&mut connection)).await;
                if !matches!(answer, Ok(Ok(_))) {
                    tracing::warn!("Redis does not answer; going on without it");
                    inner.connection.store(None);
                }
            }
            None => match tokio::time::timeout(Duration::from_secs(3), pool.get()).await {
                Ok(Ok(object)) => {
                    // Taken out of the pool for good: it is shared, and a broken one must not come back.
                    let connection = deadpool_redis::Connection::take(object);
                    inner.connection.store(Some(Arc::new(connection)));
                    tracing::info!("Redis is connected");
                }
                Ok(Err(error)) => tracing::debug!(%error, "Redis cannot be connected"),
                Err(_) => tracing::debug!("Redis cannot be connected in time"),
            },
        }
        drop(inner);
        tokio::time::sleep(PULSE / 2).await;
    }
}

/// Listens to the venue's channels and passes on what is said there.
async fn listen(client: &Client, shared: &std::sync::Weak<Inner>) {
    loop {
        let Some(inner) = shared.upgrade() else { return };
        let prefix = inner.options.prefix.clone();
        drop(inner);
        if let Ok(Ok(mut channels)) = tokio::time::timeout(Duration::from_secs(3), client.get_async_pubsub()).await
            && channels.psubscribe(format!("{prefix}*")).await.is_ok()
        {
            pass_on(shared, Heard::Gap);
            let mut messages = channels.into_on_message();
            // Without a pulse for a while the connection has died in silence.
            while let Ok(Some(message)) = tokio::time::timeout(PULSE * 5, messages.next()).await {
                let channel = message.get_channel_name().strip_prefix(&prefix).unwrap_or_default().to_owned();
                if channel == PULSE_CHANNEL {
                    continue;
                }
                let content = message.get_payload_bytes().to_vec();
                if !pass_on(shared, Heard::Message { channel, content }) {
                    return;
                }
            }
        }
        tokio::time::sleep(PULSE / 2).await;
    }
}

/// False when nobody is there any more.
fn pass_on(shared: &std::sync::Weak<Inner>, heard: Heard) -> bool {
    let Some(inner) = shared.upgrade() else { return false };
    // That nobody listens is no fault.
    let _ = inner.heard.send(heard);
    true
}
