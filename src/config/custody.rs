//! The settings of custody.

use clap::Args;

/// How money enters and leaves.
#[derive(Args, Clone, Debug)]
pub struct CustodyConfig {
    /// Milliseconds between two blocks of the simulated network.
    #[arg(long, env = "AGORA_CUSTODY_BLOCK_TIME_MS", default_value_t = 1_000, value_name = "MS")]
    pub custody_block_time_ms: u64,
    /// Withdrawals above these amounts wait for an administrator: CODE=AMOUNT, with commas between. A currency may be
    /// listed later.
    #[arg(
        long,
        env = "AGORA_CUSTODY_APPROVAL_ABOVE",
        default_value = "BTC=1,ETH=20,USDT=50000",
        value_delimiter = ',',
        value_name = "CODE=AMOUNT"
    )]
    pub custody_approval_above: Vec<String>,
}
