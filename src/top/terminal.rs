//! The program `agora top`: a dashboard in a terminal, or one frame of it as plain text.

use super::client::{Access, Client, SignIn};
use super::model::{Model, Round, Tree};
use super::view;
use crate::prompt::ask;
use anyhow::{Context, anyhow};
use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Looks of `--once` at most: so many markets that they need more are shown as far as they are known.
const MOST_LOOKS: u32 = 60;

/// The options of `agora top`.
#[derive(Args, Clone, Debug)]
pub struct TopOptions {
    /// The server.
    #[arg(long, env = "AGORA_SERVER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub server: String,
    /// The e-mail address of an administrator, to see the supervision tree; the password is read from
    /// AGORA_TOP_PASSWORD, or asked for.
    #[arg(long)]
    pub email: Option<String>,
    /// An administrator's access token, instead of e-mail address and password.
    #[arg(long, env = "AGORA_TOP_TOKEN", hide_env_values = true, conflicts_with = "email")]
    pub token: Option<String>,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub every: u64,
    /// Print one frame as plain text and end, as it does without a terminal. Rates need a second look, so it takes as
    /// long as --every says. The status is 0 unless the server is out of reach or refuses the tree.
    #[arg(long)]
    pub once: bool,
}

/// Runs until the user ends it, or prints one frame.
///
/// # Errors
/// When signing in is refused, the terminal cannot be used, or there is nothing to print.
pub async fn run(options: &TopOptions) -> anyhow::Result<()> {
    let access = match (&options.token, &options.email) {
        (Some(token), _) => Access::Token(token.clone()),
        (None, Some(email)) => Access::Password { email: email.clone(), password: password()?, code: None },
        (None, None) => Access::Guest,
    };
    let mut client = Client::new(&options.server, access);
    sign_in(&mut client).await?;
    let (model, every) = (Model::new(&options.server), Duration::from_secs(options.every));
    if options.once || !std::io::stdout().is_terminal() {
        return once(model, client, every).await;
    }
    let (tell, rounds) = mpsc::channel(1);
    let network = actix_web::rt::spawn(look(client, every, tell));
    let shown = match ratatui::try_init() {
        Ok(terminal) => show(terminal, model, rounds).await,
        Err(error) => Err(error).context("this is no terminal"),
    };
    ratatui::restore();
    network.abort();
    shown
}

/// Signs in before anything is shown, so that what is asked for can be typed. A server that cannot do it now is asked
/// again later.
async fn sign_in(client: &mut Client) -> anyhow::Result<()> {
    for may_ask in [true, false] {
        match client.sign_in().await {
            Ok(SignIn::Done | SignIn::Later(_)) | Err(_) => return Ok(()),
            Ok(SignIn::Refused(reason)) => return Err(anyhow!("{reason}")),
            Ok(SignIn::SecondFactor) if may_ask => client.set_code(ask("Code of the second factor")?),
            Ok(SignIn::SecondFactor) => return Err(anyhow!("the code of the second factor is missing")),
        }
    }
    Ok(())
}

fn password() -> anyhow::Result<String> {
    std::env::var("AGORA_TOP_PASSWORD").or_else(|_| ask("Password"))
}

/// Prints one frame.
async fn once(mut model: Model, mut client: Client, every: Duration) -> anyhow::Result<()> {
    let mut due = tokio::time::interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in 1..=MOST_LOOKS {
        due.tick().await;
        model.hear(client.round().await);
        if model.trouble.is_some() || (look > 1 && model.is_complete()) {
            break;
        }
    }
    std::io::stdout().write_all(view::plain(&model).as_bytes())?;
    match (model.trouble, model.tree) {
        (Some(trouble), _) => Err(anyhow!("{} is out of reach: {trouble}", model.server)),
        (None, Tree::Refused(reason)) => Err(anyhow!("the supervision tree: {reason}")),
        (None, Tree::Awaited | Tree::Guest | Tree::Places(_)) => Ok(()),
    }
}

/// Looks again and again, until nobody wants to know.
async fn look(mut client: Client, every: Duration, tell: mpsc::Sender<Result<Round, String>>) {
    let mut due = tokio::time::interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if tell.send(client.round().await).await.is_err() {
            return;
        }
    }
}

/// What is typed, from a thread of its own, since reading it blocks.
fn events() -> mpsc::Receiver<Event> {
    let (send, receive) = mpsc::channel(64);
    std::thread::spawn(move || {
        while !send.is_closed() {
            match event::poll(Duration::from_millis(200)) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(_) => return,
            }
            let Ok(event) = event::read() else { return };
            if send.blocking_send(event).is_err() {
                return;
            }
        }
    });
    receive
}

async fn show(
    mut terminal: ratatui::DefaultTerminal,
    mut model: Model,
    mut rounds: mpsc::Receiver<Result<Round, String>>,
) -> anyhow::Result<()> {
    let mut events = events();
    let mut terminate = signal(SignalKind::terminate())?;
    while !model.ended {
        let mut furthest = 0;
        terminal.draw(|frame| furthest = view::draw(frame, &model))?;
        model.scroll = model.scroll.min(furthest);
        tokio::select! {
            round = rounds.recv() => match round {
                Some(round) => model.hear(round),
                None => return Err(anyhow!("what asks the server has failed")),
            },
            event = events.recv() => match event {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => model.press(key),
                // Of another size, for instance: it is drawn anew.
                Some(_) => {}
                None => return Err(anyhow!("nothing can be read from the terminal any more")),
            },
            _ = terminate.recv() => return Ok(()),
        }
    }
    Ok(())
}
