//! `agora chat`: rooms, messages and a line to write, in a terminal.

use super::ChatClient;
use super::model::{Model, Order};
use super::session::Session;
use super::view;
use crate::prompt::ask;
use anyhow::{Context, anyhow};
use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc;

/// Events that may wait for the screen.
const QUEUE: usize = 4_096;
/// How often the screen is drawn anew without a reason, and what was refused for now is thought of.
const TICK: Duration = Duration::from_millis(500);

/// The options of `agora chat`.
#[derive(Args, Clone, Debug)]
pub struct ChatOptions {
    /// The server.
    #[arg(long, env = "AGORA_SERVER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub server: String,
    /// The e-mail address to sign in with; the password is read from AGORA_PASSWORD, or asked for.
    #[arg(long, env = "AGORA_EMAIL")]
    pub email: Option<String>,
    /// An access token, instead of e-mail address and password; the client ends with it.
    #[arg(long, env = "AGORA_TOKEN", hide_env_values = true, conflicts_with = "email")]
    pub token: Option<String>,
}

/// Runs until the user ends it.
///
/// # Errors
/// When signing in fails, the server ends the session, or the terminal cannot be used.
pub async fn run(options: &ChatOptions) -> anyhow::Result<()> {
    let session = match (&options.token, &options.email) {
        (Some(token), _) => Session::of_token(&options.server, token),
        (None, Some(email)) => Session::sign_in(&options.server, email, &password()?).await?,
        (None, None) => return Err(anyhow!("give --email or --token")),
    };
    let client = ChatClient::of_session(session);
    let (orders, take_orders) = mpsc::channel(64);
    let (tell, events) = mpsc::channel(QUEUE);
    let network = actix_web::rt::spawn(talk(client, take_orders, tell));
    let terminal = ratatui::try_init().context("this is no terminal")?;
    let shown = show(terminal, orders, events).await;
    ratatui::restore();
    match network.await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) | Err(_) => shown,
    }
}

fn password() -> anyhow::Result<String> {
    std::env::var("AGORA_PASSWORD").or_else(|_| ask("Password"))
}

/// What the screen hears from the network.
pub enum FromServer {
    /// An event, or the answer to an order.
    Event(Value),
    /// The connection is there, or not.
    Connected(bool),
}

/// Speaks with the server: orders out, events in.
async fn talk(
    mut client: ChatClient,
    mut orders: mpsc::Receiver<Order>,
    tell: mpsc::Sender<FromServer>,
) -> anyhow::Result<()> {
    let mut connected = false;
    let mut again = tokio::time::interval(Duration::from_secs(2));
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Say { room, text }) => drop(client.send_text(&room, &text).await),
                Some(Order::Request(frame)) => drop(client.request(frame).await),
                None => return Ok(()),
            },
            event = client.next() => {
                let event = event?;
                if tell.send(FromServer::Event(event)).await.is_err() {
                    return Ok(());
                }
            }
            // A connection that is being made is left to it; it sends everything again by itself.
            _ = again.tick(), if connected => {
                client.stay_signed_in().await?;
                if client.unacknowledged() > 0 {
                    client.send_again().await;
                }
            },
        }
        if client.is_connected() != connected {
            connected = client.is_connected();
            let _ = tell.send(FromServer::Connected(connected)).await;
        }
    }
}

/// Keys from a thread of their own, since reading them blocks.
fn keys() -> mpsc::Receiver<KeyEvent> {
    let (send, receive) = mpsc::channel(64);
    std::thread::spawn(move || {
        while !send.is_closed() {
            match event::poll(Duration::from_millis(200)) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(_) => return,
            }
            let key = match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => key,
                Ok(_) => continue,
                Err(_) => return,
            };
            if send.blocking_send(key).is_err() {
                return;
            }
        }
    });
    receive
}

async fn show(
    mut terminal: ratatui::DefaultTerminal,
    orders: mpsc::Sender<Order>,
    mut events: mpsc::Receiver<FromServer>,
) -> anyhow::Result<()> {
    let mut model = Model::default();
    let mut keys = keys();
    let mut tick = tokio::time::interval(TICK);
    loop {
        terminal.draw(|frame| view::draw(frame, &model))?;
        let wanted = tokio::select! {
            event = events.recv() => match event {
                Some(FromServer::Event(event)) => model.hear(&event),
                Some(FromServer::Connected(connected)) => {
                    model.connected = connected;
                    Vec::new()
                }
                None => return Ok(()),
            },
            key = keys.recv() => match key {
                Some(key) => model.press(key),
                None => return Ok(()),
            },
            _ = tick.tick() => model.tick(),
        };
        for order in wanted {
            if orders.send(order).await.is_err() {
                return Ok(());
            }
        }
        if model.ended {
            return Ok(());
        }
    }
}
