//! Every setting with its default and unit. A setting has one definition here and three ways in; the first that is
//! given counts: a flag (`--listen`), an environment variable (`AGORA_LISTEN`), a line of the TOML file that `--config`
//! names (`listen = "…"`). A flag with a hyphen may stand in a table of the file: `--log-max-bytes` is `log_max_bytes`,
//! or `max_bytes` in `[log]`. An empty variable of a setting without a default counts as none.

mod accounts;
pub mod chat;
mod cluster;
mod custody;
mod database;
mod file;
mod gitbitex;
mod links;
mod log;
mod redis;
pub mod supervision;
mod unshown;
mod venue;

pub use accounts::AccountsConfig;
pub use cluster::{ClusterConfig, NodeRole};
pub use custody::CustodyConfig;
pub use database::{DatabaseConfig, DatabaseUrl};
pub use file::{ConfigError, layered, without_empty};
pub use gitbitex::GitbitexConfig;
pub use links::LinksConfig;
pub use log::{Durability, Engine, LogConfig};
pub use redis::{RedisConfig, RedisUrl};
pub use venue::{currencies, markets};

use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The settings of `agora serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeConfig {
    /// A TOML file with settings; flags and environment variables go before it.
    #[arg(long, env = "AGORA_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the web app and the API listen.
    #[arg(long, env = "AGORA_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Where the API listens without the /v1 prefix, for clients that cannot take a path in their base URL.
    #[arg(long, env = "AGORA_API_LISTEN", value_name = "ADDR")]
    pub api_listen: Option<SocketAddr>,
    /// The folder of log, database, snapshots and keys.
    #[arg(long, env = "AGORA_DATA", default_value = "./data", value_name = "DIR")]
    pub data: PathBuf,
    /// Play money for new users, and a market maker: --demo-funds and --demo-bots together. The
    /// default when `agora` is started without a command.
    #[arg(long, env = "AGORA_DEMO")]
    pub demo: bool,
    /// Play money for new users.
    #[arg(long, env = "AGORA_DEMO_FUNDS")]
    pub demo_funds: bool,
    /// A market maker and a taker, so that every market lives; they need --demo-funds.
    #[arg(long, env = "AGORA_DEMO_BOTS")]
    pub demo_bots: bool,
    /// Threads that serve HTTP; 0 means one for each core.
    #[arg(long, env = "AGORA_WORKERS", default_value_t = 0)]
    pub workers: usize,
    /// The most connections at once, for each worker.
    #[arg(long, env = "AGORA_MAX_CONNECTIONS", default_value_t = 10_000)]
    pub max_connections: usize,
    /// The most connections to the feed that one address (an IPv6 /64) may hold at once; 0 sets no limit. Clients of
    /// --accounts-unlimited are not counted.
    #[arg(long, env = "AGORA_FEED_CONNECTIONS", value_name = "COUNT", default_value_t = 200)]
    pub feed_connections: usize,
    /// Where the log is.
    #[command(flatten)]
    pub log: LogConfig,
    /// What this node is among others.
    #[command(flatten)]
    pub cluster: ClusterConfig,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseConfig,
    /// Chat.
    #[command(flatten)]
    pub chat: chat::ChatConfig,
    /// Short links.
    #[command(flatten)]
    pub links: LinksConfig,
    /// Seconds between two checkpoints, if anything has changed.
    #[arg(long, env = "AGORA_CHECKPOINT_EVERY_S", value_name = "SECONDS", default_value_t = 60)]
    pub checkpoint_every_s: u64,
    /// The most commands of one market that may be on their way through the log; beyond, they are refused with 503.
    #[arg(long, env = "AGORA_MARKET_IN_FLIGHT", value_name = "COMMANDS", default_value_t = 8_192)]
    pub market_in_flight: usize,
    /// Client order ids that are remembered with their orders; older ones are looked up in the database.
    #[arg(long, env = "AGORA_CLIENT_IDS_IN_MEMORY", value_name = "IDS", default_value_t = crate::domain::client_ids::REMEMBERED)]
    pub client_ids_in_memory: usize,
    /// Redis.
    #[command(flatten)]
    pub redis: RedisConfig,
    /// Custody.
    #[command(flatten)]
    pub custody: CustodyConfig,
    /// The GitBitEx dialect.
    #[command(flatten)]
    pub gitbitex: GitbitexConfig,
    /// Write log lines as JSON.
    #[arg(long, env = "AGORA_JSON_LOGS")]
    pub json_logs: bool,
    /// How crashes and hangs of actors are treated.
    #[command(flatten)]
    pub supervision: supervision::SupervisionConfig,
    /// Accounts and sign-in.
    #[command(flatten)]
    pub accounts: AccountsConfig,
}

impl ServeConfig {
    /// Looks at the settings that depend on others, wherever each was given.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> anyhow::Result<()> {
        self.log.check()?;
        self.gitbitex.check()?;
        self.accounts.check()
    }
}
