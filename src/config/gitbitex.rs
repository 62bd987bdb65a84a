//! The settings of the GitBitEx dialect.

use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a GitBitEx front end is served, and from where else one may come.
#[derive(Args, Clone, Debug)]
pub struct GitbitexConfig {
    /// An address of its own for a GitBitEx front end: its files at the root, beside /api and /ws. Needs
    /// --gitbitex-assets.
    #[arg(long, env = "AGORA_GITBITEX_LISTEN", value_name = "ADDR")]
    pub gitbitex_listen: Option<SocketAddr>,
    /// The folder with the files of that front end, index.html among them.
    #[arg(long, env = "AGORA_GITBITEX_ASSETS", value_name = "DIR")]
    pub gitbitex_assets: Option<PathBuf>,
    /// Origins of other pages that may use /api with their cookie and open /ws, such as https://trade.example.
    #[arg(long, env = "AGORA_GITBITEX_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    pub gitbitex_origins: Vec<String>,
}

impl GitbitexConfig {
    /// Looks at the settings that depend on each other.
    ///
    /// # Errors
    /// When one of two settings that need each other is missing.
    pub fn check(&self) -> anyhow::Result<()> {
        let both = self.gitbitex_listen.is_some() == self.gitbitex_assets.is_some();
        anyhow::ensure!(both, "--gitbitex-listen and --gitbitex-assets need each other");
        Ok(())
    }
}
