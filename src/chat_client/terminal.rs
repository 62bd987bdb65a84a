//! `agora chat`: rooms, messages and a line to write, in a terminal.

use super::ChatClient;
use super::model::{Model, Order};
use super::session::Session;
use super::view;
use crate::prompt::ask;
use anyhow::{Context, anyhow};
use clap::Args;
use ratatui::Terminal;
use ratatui::backend::Backend;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use serde_json::Value;
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;

/// Events that may wait for the screen, and orders for the network.
const QUEUE: usize = 4_096;
/// How long what was ordered last may take to be sent once the user has ended.
const FAREWELL: Duration = Duration::from_secs(2);
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

/// Runs until the user or a signal ends it.
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
    let (orders, take_orders) = mpsc::channel(QUEUE);
    let (tell, events) = mpsc::channel(QUEUE);
    let network = actix_web::rt::spawn(talk(client, take_orders, tell));
    // Before the terminal is changed: whoever ends the program gets it back as it was.
    let mut terminate = signal(SignalKind::terminate())?;
    let terminal = ratatui::try_init().context("this is no terminal")?;
    let terminated = async {
        terminate.recv().await;
    };
    let shown = show(terminal, keys(), orders, events, terminated).await;
    ratatui::restore();
    end(network, shown).await
}

/// Ends with what the network ended with, or the screen. A server that takes nothing holds nobody up.
async fn end(mut network: JoinHandle<anyhow::Result<()>>, shown: anyhow::Result<()>) -> anyhow::Result<()> {
    match tokio::time::timeout(FAREWELL, &mut network).await {
        Ok(Ok(Err(error))) => Err(error),
        Ok(Ok(Ok(())) | Err(_)) => shown,
        Err(_) => {
            network.abort();
            shown
        }
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
    /// Why it is not.
    Trouble(String),
    /// A connection broke before the answer to a command came.
    Lost,
}

/// Speaks with the server: orders out, events in.
async fn talk(
    mut client: ChatClient,
    mut orders: mpsc::Receiver<Order>,
    tell: mpsc::Sender<FromServer>,
) -> anyhow::Result<()> {
    let mut trouble = client.trouble();
    let (mut connected, mut connects) = (false, client.connects);
    // Commands without an answer, by the numbers of their requests.
    let mut under_way = BTreeSet::new();
    let mut again = tokio::time::interval(Duration::from_secs(2));
    loop {
        let mut news = None;
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Say { room, text }) => drop(client.send_text(&room, &text).await),
                Some(Order::Command(frame)) => {
                    under_way.insert(client.request(frame).await);
                }
                Some(Order::Request(frame)) => drop(client.request(frame).await),
                None => return Ok(()),
            },
            event = client.next() => {
                let event = event?;
                if let Some(number) = event["id"].as_u64() {
                    under_way.remove(&number);
                }
                news = Some(FromServer::Event(event));
            }
            // A reason that is gone by now is empty.
            Ok(()) = trouble.changed() => {
                let reason = trouble.borrow_and_update().clone();
                news = Some(reason).filter(|reason| !reason.is_empty()).map(FromServer::Trouble);
            }
            // A connection that is being made is left to it; it sends everything again by itself.
            _ = again.tick(), if connected => {
                client.stay_signed_in().await?;
                if client.unacknowledged() > 0 {
                    client.send_again().await;
                }
            },
        }
        // Messages are sent again over the next connection, commands are not.
        let is_cut = !client.is_connected() || client.connects != connects;
        let lost = (is_cut && !under_way.is_empty()).then_some(FromServer::Lost);
        if is_cut {
            under_way.clear();
        }
        let is_other = client.is_connected() != connected;
        (connected, connects) = (client.is_connected(), client.connects);
        let switched = is_other.then_some(FromServer::Connected(connected));
        for news in [lost, news, switched].into_iter().flatten() {
            if tell.send(news).await.is_err() {
                return Ok(());
            }
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

/// Shows what there is to see until the user ends it, it is `terminated`, or one of the others is gone. It waits for
/// nothing else: the network may wait until the screen has heard what it has to tell.
async fn show<B: Backend>(
    mut terminal: Terminal<B>,
    mut keys: mpsc::Receiver<KeyEvent>,
    orders: mpsc::Sender<Order>,
    mut events: mpsc::Receiver<FromServer>,
    terminated: impl Future<Output = ()>,
) -> anyhow::Result<()>
where
    B::Error: Send + Sync + 'static,
{
    let mut model = Model::default();
    let mut terminated = pin!(terminated);
    let mut tick = tokio::time::interval(TICK);
    loop {
        let mut furthest = 0;
        terminal.draw(|frame| furthest = view::draw(frame, &model))?;
        model.drawn(furthest);
        let wanted = tokio::select! {
            event = events.recv() => match event {
                Some(FromServer::Event(event)) => model.hear(&event),
                Some(FromServer::Connected(connected)) => {
                    model.connected = connected;
                    Vec::new()
                }
                Some(FromServer::Trouble(reason)) => {
                    model.note = reason;
                    Vec::new()
                }
                Some(FromServer::Lost) => {
                    model.hear_loss();
                    Vec::new()
                }
                None => return Ok(()),
            },
            key = keys.recv() => match key {
                Some(key) => model.press(key),
                None => return Ok(()),
            },
            _ = tick.tick() => model.tick(),
            () = &mut terminated => return Ok(()),
        };
        for order in wanted {
            match orders.try_send(order) {
                Ok(()) => {}
                Err(TrySendError::Full(order)) => model.leave_out(order),
                Err(TrySendError::Closed(_)) => return Ok(()),
            }
        }
        if model.ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{listen, say, welcome};
    use super::*;
    use actix_http::ws::Frame;
    use futures_util::StreamExt;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;
    use serde_json::json;

    #[tokio::test(start_paused = true)]
    async fn a_program_that_is_to_end_gives_the_terminal_back() {
        let terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let ((_types, keys), (orders, _taken)) = (mpsc::channel(1), mpsc::channel(1));
        let (_tell, events) = mpsc::channel(1);
        let shown = show(terminal, keys, orders, events, std::future::ready(()));
        tokio::time::timeout(100 * TICK, shown).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_takes_nothing_keeps_nobody_from_ending() {
        let room = json!({"id": "8", "name": "A", "unread": 0, "last": 0});
        let hello = json!({"type": "hello", "user": "me", "nick": "ada", "rooms": [room], "people": []});
        let late = 10 * TICK;
        for by_key in [true, false] {
            let terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
            let ((press, keys), (orders, mut taken)) = (mpsc::channel(1), mpsc::channel(1));
            let (tell, events) = mpsc::channel(3);
            // After each the room's newest messages are asked for.
            for _ in 0..3 {
                tell.send(FromServer::Event(hello.clone())).await.unwrap();
            }
            let ending = async {
                tokio::time::sleep(late).await;
                if by_key {
                    press.send(KeyEvent::from(KeyCode::Esc)).await.unwrap();
                }
            };
            let terminated = tokio::time::sleep(if by_key { 1_000 * late } else { late });
            let both = async { tokio::join!(show(terminal, keys, orders, events, terminated), ending) };
            let (shown, ()) = tokio::time::timeout(2 * late, both).await.unwrap();
            shown.unwrap();
            assert!(matches!(taken.try_recv(), Ok(Order::Request(_))));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_does_not_end_is_ended() {
        let (held, gone) = tokio::sync::oneshot::channel::<()>();
        let network = tokio::spawn(async move {
            let _held = held;
            std::future::pending::<anyhow::Result<()>>().await
        });
        tokio::time::timeout(2 * FAREWELL, end(network, Ok(()))).await.unwrap().unwrap();
        assert!(tokio::time::timeout(FAREWELL, gone).await.unwrap().is_err(), "it goes on");
    }

    /// Whether a loss is told before the next event of this type.
    async fn is_lost_before(told: &mut mpsc::Receiver<FromServer>, kind: &str) -> bool {
        let mut is_lost = false;
        loop {
            match told.recv().await.unwrap() {
                FromServer::Event(event) if event["type"] == kind => return is_lost,
                FromServer::Lost => is_lost = true,
                FromServer::Event(_) | FromServer::Connected(_) | FromServer::Trouble(_) => {}
            }
        }
    }

    #[actix_web::test]
    async fn commands_that_a_cut_took_with_it_are_told_and_answered_ones_are_not() {
        let (listener, address) = listen().await;
        let client = ChatClient::new(&format!("http://{address}"), "token");
        let ((orders, take_orders), (tell, mut told)) = (mpsc::channel(4), mpsc::channel(64));
        actix_web::rt::spawn(talk(client, take_orders, tell));
        let mut losses = Vec::new();
        for is_answered in [true, false] {
            let mut wire = welcome(&listener).await;
            losses.push(is_lost_before(&mut told, "hello").await);
            orders.send(Order::Command(json!({"type": "leave", "room": "8"}))).await.unwrap();
            let Some(Ok(Frame::Text(text))) = wire.next().await else { panic!("no command") };
            let command: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(command["type"], "leave");
            if is_answered {
                say(&mut wire, &json!({"type": "ack", "id": command["id"]})).await.unwrap();
                losses.push(is_lost_before(&mut told, "ack").await);
            }
        }
        let _wire = welcome(&listener).await;
        losses.push(is_lost_before(&mut told, "hello").await);
        assert_eq!(losses, [false, false, false, true]);
    }

    #[actix_web::test]
    async fn why_there_is_no_connection_reaches_the_screen() {
        let (listener, address) = listen().await;
        let client = ChatClient::new(&format!("http://{address}"), "token");
        let ((_orders, take_orders), (tell, mut told)) = (mpsc::channel(4), mpsc::channel(64));
        actix_web::rt::spawn(talk(client, take_orders, tell));
        drop(listener.accept().await);
        let first = tokio::time::timeout(Duration::from_secs(20), told.recv()).await.unwrap();
        assert!(matches!(first, Some(FromServer::Trouble(reason)) if !reason.is_empty()));
    }
}
