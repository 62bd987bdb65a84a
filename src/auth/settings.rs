//! What can be chosen about accounts, and about one session.

use super::oidc::Provider;
use super::runtime::Defaults;
use super::secret::Secret;
use crate::domain::time::{DAY, MINUTE};
use crate::notify::mail::Mailer;
use crate::notify::outlets::Line;
use crate::persistence::redis::Redis;
use crate::persistence::sessions::Session;
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Characters of a user agent that are kept.
const LONGEST_USER_AGENT: usize = 256;

/// What can be chosen about accounts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an access token lives; µs, whole seconds. Default 15 minutes.
    pub token_lifetime: i64,
    /// How long a session can be prolonged with refresh tokens; µs, whole seconds. Default 30 days.
    pub session_lifetime: i64,
    /// Password checks that may wait for one of the two workers. Default 64: over a second of
    /// work, after which more waiting would only be more giving up.
    pub password_queue: usize,
    /// The key for secrets at rest, 32 bytes in base64; `None` takes that of the data folder.
    pub secrets_key: Option<Secret>,
    /// The file with the key that signs access tokens; `None` takes that of the data folder.
    pub signing_key: Option<PathBuf>,
    /// Networks of proxies that are believed about their clients' addresses.
    pub trusted_proxies: Vec<IpNet>,
    /// Networks whose clients no rate limit counts.
    pub limits_exempt: Vec<IpNet>,
    /// Whether cookies are for TLS alone even when nothing says that the client uses it.
    pub secure_cookies: bool,
    /// What sends mail.
    pub mailer: Mailer,
    /// The Messaging API of LINE, when it is configured.
    pub line: Option<Line>,
    /// Whether webhooks may go to addresses of our own network.
    pub private_webhooks: bool,
    /// Other providers that people may sign in through.
    pub providers: Arc<Vec<Provider>>,
    /// The address under which people reach this server, such as `https://agora.example`.
    pub public_url: Option<String>,
    /// What nodes share, if they do.
    pub redis: Option<Redis>,
    /// What the settings at run time begin with.
    pub runtime: Defaults,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            token_lifetime: 15 * MINUTE,
            session_lifetime: 30 * DAY,
            password_queue: 64,
            secrets_key: None,
            signing_key: None,
            trusted_proxies: Vec::new(),
            limits_exempt: Vec::new(),
            secure_cookies: false,
            mailer: Mailer::none(),
            line: None,
            private_webhooks: false,
            providers: Arc::default(),
            public_url: None,
            redis: None,
            runtime: Defaults::default(),
        }
    }
}

/// How a session proves itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plan {
    /// Short access tokens, and refresh tokens that get the next one.
    #[default]
    Refreshed,
    /// One access token that lives as long as the session: this long, µs.
    OneToken(i64),
}

/// From where somebody signs in, and for what kind of session.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// What the device calls itself.
    pub user_agent: Option<String>,
    /// Its address, if that is known.
    pub address: Option<IpAddr>,
    /// The kind of session.
    pub plan: Plan,
    /// The code of a second factor, or a recovery code; asked for only where the user has one.
    pub second_factor: Option<Secret>,
}

impl Device {
    /// What the device calls itself, cut to what is kept of it.
    pub(super) fn name(&self) -> String {
        self.user_agent.as_deref().unwrap_or_default().chars().take(LONGEST_USER_AGENT).collect()
    }

    pub(super) fn place(&self) -> String {
        self.address.map(|address| address.to_string()).unwrap_or_default()
    }

    /// Puts name and address of this device into a session.
    pub(super) fn mark(&self, session: &mut Session) {
        session.user_agent = self.name();
        session.address = self.place();
    }
}
