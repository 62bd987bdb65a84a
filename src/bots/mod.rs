//! Bots that trade through the public API, like anybody else's.

mod client;
mod maker;
mod taker;

use crate::auth::{Accounts, Secret};
use clap::{Args, Subcommand};
use client::Client;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

/// The wait before a bot that has met an error signs in anew.
const PAUSE: Duration = Duration::from_secs(2);

/// Which bot.
#[derive(Debug, Subcommand)]
pub enum BotCommand {
    /// Quotes both sides of every market around a wandering price.
    Maker(BotOptions),
    /// Takes a little now and then.
    Taker(BotOptions),
}

/// Whom it trades with and as.
#[derive(Args, Clone, Debug)]
pub struct BotOptions {
    /// The server.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// The e-mail address to sign in with; signed up when it is unknown.
    #[arg(long)]
    pub email: String,
    /// The password.
    #[arg(long, env = "AGORA_BOT_PASSWORD", hide_env_values = true)]
    pub password: String,
}

/// What a bot does.
#[derive(Clone, Copy)]
enum Role {
    Maker,
    Taker,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Maker => "maker",
            Role::Taker => "taker",
        }
    }
}

/// Runs a bot until it is stopped; once it has signed in, it comes back after every error.
///
/// # Errors
/// When it cannot sign in at the beginning.
pub async fn run(command: BotCommand) -> anyhow::Result<()> {
    let (role, BotOptions { url, email, password }) = match command {
        BotCommand::Maker(options) => (Role::Maker, options),
        BotCommand::Taker(options) => (Role::Taker, options),
    };
    let sign_in = async || Client::sign_in(&url, &email, &password).await;
    let client = sign_in().await?;
    match trade(role, Some(client), sign_in).await {}
}

/// Starts the demo's maker and taker beside the server; they come back after every error. Their passwords come from the
/// venue's key, so that no visitor trades or signs in as one of them.
pub fn spawn_demo(server: SocketAddr, accounts: &Accounts) {
    let url = format!("http://{server}");
    for role in [Role::Maker, Role::Taker] {
        let (url, password) = (url.clone(), accounts.bot_password(role.name()));
        actix_web::rt::spawn(async move {
            trade(role, None, async || demo_client(&url, role.name(), &password).await).await
        });
    }
}

/// Trades without end: whatever goes wrong, it signs in anew after a pause. It begins as `client`, if there is one.
async fn trade(
    role: Role,
    mut client: Option<Client>,
    sign_in: impl AsyncFn() -> anyhow::Result<Client>,
) -> Infallible {
    loop {
        let signed_in = match client.take() {
            Some(client) => Ok(client),
            None => sign_in().await,
        };
        let outcome = match (signed_in, role) {
            (Ok(client), Role::Maker) => maker::run(client).await,
            (Ok(client), Role::Taker) => taker::run(client).await,
            (Err(error), _) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(role = role.name(), %error, "the bot pauses");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn demo_client(url: &str, role: &str, password: &Secret) -> anyhow::Result<Client> {
    let email = format!("{role}@demo.agora.invalid");
    let refused = match Client::sign_in(url, &email, password.expose()).await {
        Ok(client) => return Ok(client),
        Err(error) => error,
    };
    // Accounts from before have a password that everybody can read here.
    let older = format!("demo-{role}-plays-with-play-money");
    let Ok(client) = Client::of_account(url, &email, &older).await else { return Err(refused) };
    client.take_over(&older, password.expose()).await?;
    Ok(client)
}
