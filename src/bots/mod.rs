//! Bots that trade through the public API, like anybody else's.

mod client;
mod maker;
mod taker;

use crate::auth::{Accounts, Secret};
use clap::{Args, Subcommand};
use client::Client;
use std::net::SocketAddr;
use std::time::Duration;

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

/// Runs a bot until it is stopped.
///
/// # Errors
/// When it cannot sign in.
pub async fn run(command: BotCommand) -> anyhow::Result<()> {
    let (BotCommand::Maker(options) | BotCommand::Taker(options)) = &command;
    let client = Client::sign_in(&options.url, &options.email, &options.password).await?;
    match command {
        BotCommand::Maker(_) => maker::run(client).await,
        BotCommand::Taker(_) => taker::run(client).await,
    }
}

/// Starts the demo's maker and taker beside the server; they come back after every error. Their passwords come from the
/// venue's key, so that no visitor trades or signs in as one of them.
pub fn spawn_demo(server: SocketAddr, accounts: &Accounts) {
    let url = format!("http://{server}");
    for role in ["maker", "taker"] {
        let (url, password) = (url.clone(), accounts.bot_password(role));
        actix_web::rt::spawn(async move {
            loop {
                let outcome = match demo_client(&url, role, &password).await {
                    Ok(client) if role == "maker" => maker::run(client).await,
                    Ok(client) => taker::run(client).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = outcome {
                    tracing::warn!(role, %error, "the demo bot pauses");
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        });
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
