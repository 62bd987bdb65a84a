//! Where the log is.

use super::unshown::Unshown;
use crate::persistence::broker::Brokers;
use anyhow::ensure;
use clap::{Args, ValueEnum};

/// The engines of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Files under the data folder; one node.
    Embedded,
    /// A stream queue of RabbitMQ, for several nodes.
    Rabbitmq,
}

/// What must have happened before anybody is told that an entry counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// The broker has confirmed it and it was read back.
    Broker,
    /// That, and this node has flushed it to a local copy of the log.
    #[value(name = "broker+disk")]
    BrokerAndDisk,
}

/// The settings of the log.
#[derive(Args, Clone, Debug)]
pub struct LogConfig {
    /// The most bytes that the log may take; beyond, orders are refused until old segments go. With --log-prune at least
    /// four times --log-segment-bytes.
    #[arg(long, env = "AGORA_LOG_MAX_BYTES", value_name = "BYTES")]
    pub log_max_bytes: Option<u64>,
    /// Bytes after which a new segment of the log is begun; 536870912 at most, since a segment is one value of the
    /// archive.
    #[arg(long, env = "AGORA_LOG_SEGMENT_BYTES", value_name = "BYTES", default_value_t = 64 << 20)]
    pub log_segment_bytes: u64,
    /// Remove segments of the log once they are in the database's archive and a snapshot lies behind them; of a full log,
    /// also without that snapshot while a market stands still. Without this the log is kept for ever.
    #[arg(long, env = "AGORA_LOG_PRUNE")]
    pub log_prune: bool,
    /// Where the log is: in files under the data folder, or in RabbitMQ.
    #[arg(long, env = "AGORA_LOG_ENGINE", value_enum, default_value_t = Engine::Embedded)]
    pub log_engine: Engine,
    /// The broker, as in amqp://user:password@host:5672/vhost, or the brokers of one cluster with commas between them.
    /// It makes RabbitMQ the log's engine.
    #[arg(long, env = "AGORA_RABBITMQ", value_name = "URL", hide_env_values = true, value_parser = Unshown(brokers))]
    pub rabbitmq: Option<Brokers>,
    /// What the names of all queues and exchanges begin with: one venue, one prefix.
    #[arg(long, env = "AGORA_RABBITMQ_PREFIX", default_value = "agora", value_name = "NAME")]
    pub rabbitmq_prefix: String,
    /// What must have happened before an entry is acknowledged; for RabbitMQ alone.
    #[arg(long, env = "AGORA_DURABILITY", value_enum, default_value_t = Durability::Broker)]
    pub durability: Durability,
    /// The most bytes that a new stream queue keeps; without it, everything is kept.
    #[arg(long, env = "AGORA_RABBITMQ_KEEP_BYTES", value_name = "BYTES")]
    pub rabbitmq_keep_bytes: Option<u64>,
}

/// Of a log that is pruned: the most bytes that it may take, in segments. What is written must be able to go on while the
/// oldest snapshot, before which segments may go, is still one or two segments behind.
const LEAST_SEGMENTS: u64 = 4;

/// The most bytes of a segment. It is archived as one value, and neither database takes one of 1 GiB.
const MOST_SEGMENT_BYTES: u64 = 512 << 20;

fn brokers(text: &str) -> Result<Brokers, &'static str> {
    // The parser's own words repeat the address.
    text.parse()
        .map_err(|_| "brokers are named as in amqp://user:password@host:5672/vhost, with commas between several")
}

impl LogConfig {
    /// Bytes after which a new segment is begun.
    pub fn segment_bytes(&self) -> u64 {
        self.log_segment_bytes.max(1 << 16)
    }

    /// Looks at the settings that depend on each other.
    ///
    /// # Errors
    /// When a log that is pruned could fill before anything of it may go, or its segments could not be archived.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.log_segment_bytes <= MOST_SEGMENT_BYTES,
            "--log-segment-bytes must be at most {MOST_SEGMENT_BYTES} (512 MiB): a segment is archived as one \
             value of the database"
        );
        let least = self.segment_bytes().saturating_mul(LEAST_SEGMENTS);
        ensure!(
            !self.log_prune || self.log_max_bytes.is_none_or(|most| most >= least),
            "--log-max-bytes must be at least {least} with --log-prune, {LEAST_SEGMENTS} times --log-segment-bytes: \
             only whole segments are removed"
        );
        Ok(())
    }

    /// The name of the stream queue that is the log.
    pub fn stream_queue(&self) -> String {
        format!("{}.log", self.rabbitmq_prefix)
    }

    /// The broker, if the log is there.
    ///
    /// # Errors
    /// When the engine is RabbitMQ and no broker is named.
    pub fn broker(&self) -> anyhow::Result<Option<&Brokers>> {
        match (&self.rabbitmq, self.log_engine) {
            (Some(brokers), _) => Ok(Some(brokers)),
            (None, Engine::Embedded) => Ok(None),
            (None, Engine::Rabbitmq) => Err(anyhow::anyhow!("--log-engine rabbitmq needs --rabbitmq URL")),
        }
    }
}
