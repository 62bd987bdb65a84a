//! Settings of accounts: keys, proxies, sessions, mail.

use crate::auth::{Secret, Settings, load_providers, parse_network};
use crate::domain::time::{DAY, MINUTE};
use crate::notify::mail::Mailer;
use crate::notify::outlets::Line;
use clap::Args;
use ipnet::IpNet;
use std::path::PathBuf;
use std::sync::Arc;

/// The settings of accounts and sign-in.
#[derive(Args, Clone, Debug)]
pub struct AccountsConfig {
    /// The key that encrypts API secrets and second factors in the database, and without which mailed codes and refresh
    /// tokens count no more: 32 bytes in base64. Nodes that share a database need the same one. By default it is made
    /// on the first start and kept in the data folder.
    #[arg(long, env = "AGORA_ACCOUNTS_SECRETS_KEY", value_name = "BASE64", hide_env_values = true, value_parser = secret)]
    pub accounts_secrets_key: Option<Secret>,
    /// The key that signs access tokens: a file with a P-256 private key in PKCS#8 PEM form. Nodes that serve the same
    /// users need the same one. By default it is made on the first start and kept in the data folder.
    #[arg(long, env = "AGORA_ACCOUNTS_SIGNING_KEY", value_name = "FILE")]
    pub accounts_signing_key: Option<PathBuf>,
    /// Networks of proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8.
    #[arg(long, env = "AGORA_ACCOUNTS_TRUSTED_PROXIES", value_name = "NETWORK", value_delimiter = ',',
          value_parser = network)]
    pub accounts_trusted_proxies: Vec<IpNet>,
    /// Networks whose clients no rate limit counts: by default this machine, so that bots, tests and load generators on
    /// it run freely. Behind a proxy on this machine set --accounts-trusted-proxies, or everybody comes from here.
    #[arg(
        long,
        env = "AGORA_ACCOUNTS_UNLIMITED",
        value_name = "NETWORK",
        value_delimiter = ',',
        value_parser = network,
        default_value = "127.0.0.0/8,::1/128"
    )]
    pub accounts_unlimited: Vec<IpNet>,
    /// Mark session cookies as for TLS alone. They are anyway when a trusted proxy says X-Forwarded-Proto: https.
    #[arg(long, env = "AGORA_ACCOUNTS_SECURE_COOKIES")]
    pub accounts_secure_cookies: bool,
    /// How long an access token lives, in minutes.
    #[arg(long, env = "AGORA_ACCOUNTS_TOKEN_MINUTES", default_value_t = 15, value_name = "MINUTES",
          value_parser = clap::value_parser!(i64).range(1..=1440))]
    pub accounts_token_minutes: i64,
    /// How long a session can be prolonged with refresh tokens, in days.
    #[arg(long, env = "AGORA_ACCOUNTS_SESSION_DAYS", default_value_t = 30, value_name = "DAYS",
          value_parser = clap::value_parser!(i64).range(1..=365))]
    pub accounts_session_days: i64,
    /// The server that sends mail: smtps://user:password@host, or smtp://host?tls=required. Without it a demo shows mail
    /// in its log, and any other server sends none.
    #[arg(long, env = "AGORA_ACCOUNTS_SMTP_URL", value_name = "URL", hide_env_values = true, value_parser = secret)]
    pub accounts_smtp_url: Option<Secret>,
    /// The sender of mail.
    #[arg(
        long,
        env = "AGORA_ACCOUNTS_MAIL_FROM",
        default_value = "Agora <agora@localhost.localdomain>",
        value_name = "MAILBOX"
    )]
    pub accounts_mail_from: String,
    /// The channel access token of LINE's Messaging API; without it nothing is sent to LINE.
    /// Needs --accounts-line-secret.
    #[arg(long, env = "AGORA_ACCOUNTS_LINE_TOKEN", value_name = "TOKEN", hide_env_values = true, value_parser = secret)]
    pub accounts_line_token: Option<Secret>,
    /// The channel secret of LINE's Messaging API, which signs what LINE sends to /v1/line/webhook.
    #[arg(long, env = "AGORA_ACCOUNTS_LINE_SECRET", value_name = "SECRET", hide_env_values = true, value_parser = secret)]
    pub accounts_line_secret: Option<Secret>,
    /// Where LINE's Messaging API is.
    #[arg(long, env = "AGORA_ACCOUNTS_LINE_URL", value_name = "URL", default_value = "https://api.line.me")]
    pub accounts_line_url: String,
    /// Where the pictures are that people send over LINE.
    #[arg(long, env = "AGORA_ACCOUNTS_LINE_DATA_URL", value_name = "URL", default_value = "https://api-data.line.me")]
    pub accounts_line_data_url: String,
    /// Let webhooks of users go to addresses of this machine and private networks. Users could then reach what is meant
    /// to be out of their reach.
    #[arg(long, env = "AGORA_ACCOUNTS_PRIVATE_WEBHOOKS")]
    pub accounts_private_webhooks: bool,
    /// A TOML file with providers that people may sign in through, see docs/accounts.md.
    #[arg(long, env = "AGORA_ACCOUNTS_PROVIDERS", value_name = "FILE")]
    pub accounts_providers: Option<PathBuf>,
    /// The address under which people reach this server, such as https://agora.example. Without it the Host header of
    /// requests is taken.
    #[arg(long, env = "AGORA_ACCOUNTS_PUBLIC_URL", value_name = "URL")]
    pub accounts_public_url: Option<String>,
}

fn network(text: &str) -> Result<IpNet, String> {
    parse_network(text).ok_or_else(|| "this is no address or network such as 10.0.0.0/8".into())
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

impl AccountsConfig {
    /// Looks at the settings that depend on each other.
    ///
    /// # Errors
    /// When a setting is missing that another one needs.
    pub fn check(&self) -> anyhow::Result<()> {
        let complete = self.accounts_line_token.is_none() || self.accounts_line_secret.is_some();
        anyhow::ensure!(complete, "--accounts-line-token needs --accounts-line-secret");
        Ok(())
    }

    fn line(&self) -> Option<Line> {
        let (token, secret) = self.accounts_line_token.clone().zip(self.accounts_line_secret.clone())?;
        let (url, data_url) = (self.accounts_line_url.clone(), self.accounts_line_data_url.clone());
        Some(Line { url, data_url, token, secret })
    }

    /// What accounts are started with.
    ///
    /// # Errors
    /// When the mail server, the sender or the providers cannot be used.
    pub fn settings(&self, demo: bool) -> anyhow::Result<Settings> {
        let providers = self.accounts_providers.as_deref().map(load_providers).transpose()?;
        let smtp = self.accounts_smtp_url.as_ref().map(Secret::expose);
        Ok(Settings {
            mailer: Mailer::new(smtp, &self.accounts_mail_from, demo)?,
            token_lifetime: self.accounts_token_minutes * MINUTE,
            session_lifetime: self.accounts_session_days * DAY,
            secure_cookies: self.accounts_secure_cookies,
            providers: Arc::new(providers.unwrap_or_default()),
            line: self.line(),
            private_webhooks: self.accounts_private_webhooks,
            public_url: self.accounts_public_url.clone(),
            secrets_key: self.accounts_secrets_key.clone(),
            signing_key: self.accounts_signing_key.clone(),
            limits_exempt: self.accounts_unlimited.clone(),
            trusted_proxies: self.accounts_trusted_proxies.clone(),
            ..Settings::default()
        })
    }
}
