//! Settings of accounts: keys, proxies.

use crate::auth::{Secret, Settings};
use clap::Args;
use ipnet::IpNet;

/// The settings of accounts and sign-in.
#[derive(Args, Clone, Debug)]
pub struct AccountsConfig {
    /// The key that encrypts API secrets in the database: 32 bytes in base64. Nodes that share a database need the same
    /// one. By default it is made on the first start and kept in the data folder.
    #[arg(long, env = "AGORA_ACCOUNTS_SECRETS_KEY", value_name = "BASE64", hide_env_values = true, value_parser = secret)]
    pub accounts_secrets_key: Option<Secret>,
    /// Networks of proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8.
    #[arg(long, env = "AGORA_ACCOUNTS_TRUSTED_PROXIES", value_name = "NETWORK", value_delimiter = ',')]
    pub accounts_trusted_proxies: Vec<IpNet>,
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

impl AccountsConfig {
    /// What accounts are started with.
    pub fn settings(&self) -> Settings {
        Settings {
            secrets_key: self.accounts_secrets_key.clone(),
            trusted_proxies: self.accounts_trusted_proxies.clone(),
            ..Settings::default()
        }
    }
}
