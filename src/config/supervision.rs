//! How crashes and hangs of actors are treated.

use crate::actors::supervision::{Settings, Watch};
use clap::Args;
use std::time::Duration;

/// The settings of the supervision tree.
#[derive(Args, Clone, Copy, Debug)]
pub struct SupervisionConfig {
    /// Restarts that one actor may need within --supervision-within-s; the next crash makes its supervisor fail, and
    /// at the root the program.
    #[arg(long, env = "AGORA_SUPERVISION_RESTARTS", default_value_t = 5)]
    pub supervision_restarts: usize,
    /// The sliding window of --supervision-restarts, in seconds.
    #[arg(long, env = "AGORA_SUPERVISION_WITHIN_S", default_value_t = 60)]
    pub supervision_within_s: u64,
    /// An actor that takes no messages for so long, in milliseconds, is replaced.
    #[arg(long, env = "AGORA_SUPERVISION_HANG_AFTER_MS", default_value_t = 3_000)]
    pub supervision_hang_after_ms: u64,
    /// Let administrators make actors crash and hang on purpose. Not for a venue with real money.
    #[arg(long, env = "AGORA_ALLOW_DRILLS")]
    pub allow_drills: bool,
}

impl SupervisionConfig {
    /// The settings of a supervisor. The first restart comes at once; a child that goes on crashing waits longer and
    /// longer.
    pub fn settings(self) -> Settings {
        Settings::default().budget(self.supervision_restarts, Duration::from_secs(self.supervision_within_s)).backoff(
            Duration::from_millis(1),
            4,
            Duration::from_secs(2),
        )
    }

    /// How hangs are noticed.
    pub fn watch(self) -> Watch {
        let deadline = Duration::from_millis(self.supervision_hang_after_ms.max(10));
        // A start may have to replay the log.
        Watch { every: deadline / 4, deadline, start_within: Some(Duration::from_secs(900)) }
    }
}
