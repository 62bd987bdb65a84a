//! The place of a node that is to be the only one at its broker (`--only-node`): at most one node has it, and no other node
//! starts while one has it.
//!
//! It is an exclusive queue, so it is given up when the connection that made it ends, however that happens. The broker
//! notices a node that died without a word only after two to three heartbeats. So a place that is taken is asked for longer
//! than that before it counts as taken.

use crate::config::ServeConfig;
use crate::persistence::broker::{self, BrokerError, Brokers, patiently, refusal};
use actix::Arbiter;
use anyhow::{Context, anyhow};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

/// Seconds between heartbeats.
const HEARTBEAT_S: u16 = 3;

/// A place that was taken for so long is another node's, and not one that the broker keeps for a node that died.
const TAKEN_AFTER: Duration = Duration::from_secs(12);

/// How often a place that is taken, or a broker that is away, is asked again.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// How often the place is looked after.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a broker that is not there yet is waited for when the node starts.
const BROKER_WITHIN: Duration = Duration::from_secs(60);

/// Only looks: an error with 404 when nobody has the place.
const LOOK: QueueDeclareOptions =
    QueueDeclareOptions { passive: true, durable: false, exclusive: false, auto_delete: false, nowait: false };

/// Takes the place, or finds that this connection has it.
const TAKE: QueueDeclareOptions =
    QueueDeclareOptions { passive: false, durable: false, exclusive: true, auto_delete: false, nowait: false };

/// The place while this node has it; dropping this gives it up.
pub(super) struct OnlyNode {
    lost: oneshot::Receiver<String>,
}

impl OnlyNode {
    /// Takes the place if this node is to be the only one; otherwise makes sure that no other node has it.
    ///
    /// # Errors
    /// When another node has it, or the broker is out of reach for a minute.
    pub(super) async fn begin(settings: &ServeConfig) -> anyhow::Result<Option<OnlyNode>> {
        let Some(brokers) = settings.log.broker()? else { return Ok(None) };
        let place = Place { brokers: brokers.clone(), queue: format!("{}.only", settings.log.rabbitmq_prefix) };
        if !settings.cluster.only_node {
            return match place.ask_patiently(LOOK, Some(BROKER_WITHIN)).await? {
                Some(_) => Ok(None),
                None => Err(anyhow!("a node with --only-node is at this broker, so no other one may start")),
            };
        }
        let (answer, taken) = oneshot::channel();
        let (tell, lost) = oneshot::channel();
        // A thread of its own: while a long log is replayed the heartbeats have to go on.
        Arbiter::new().spawn_fn(move || drop(actix::spawn(place.keep(answer, tell))));
        taken.await.context("the thread that keeps the only node's place has ended")??;
        Ok(Some(OnlyNode { lost }))
    }

    /// Waits until another node has the place; why.
    pub(super) async fn lost(&mut self) -> String {
        (&mut self.lost).await.unwrap_or_else(|_| "nobody looks after the only node's place any more".into())
    }
}

struct Place {
    brokers: Brokers,
    queue: String,
}

/// A connection and its channel, with which the place was asked for. They are used as long as the place is held.
struct Held {
    _connection: Connection,
    channel: Channel,
}

impl Place {
    /// Takes the place and has it until the other end of `tell` is gone. When the connection is lost, the place is taken
    /// again, unless another node was faster.
    async fn keep(self, answer: oneshot::Sender<anyhow::Result<()>>, mut tell: oneshot::Sender<String>) {
        let mut held = match self.ask_patiently(TAKE, Some(BROKER_WITHIN)).await {
            Ok(Some(held)) => held,
            Ok(None) => {
                let why = "another node with --only-node is at this broker; there can be one only";
                // Whoever asked may have gone, which is as good.
                return drop(answer.send(Err(anyhow!(why))));
            }
            Err(error) => return drop(answer.send(Err(error))),
        };
        if answer.send(Ok(())).is_err() {
            return;
        }
        loop {
            tokio::select! {
                () = tell.closed() => return,
                () = self.look_after(held) => {}
            }
            let again = tokio::select! {
                () = tell.closed() => return,
                again = self.ask_patiently(TAKE, None) => again,
            };
            held = match again {
                Ok(Some(held)) => held,
                Ok(None) => return drop(tell.send("another node with --only-node is at the same broker".into())),
                Err(error) => return drop(tell.send(format!("{error:#}"))),
            };
            tracing::info!("the only node's place was taken again");
        }
    }

    /// Ends when the place is lost. The connection ends with it, or it would keep others from the place, this node's next
    /// connection among them.
    async fn look_after(&self, held: Held) {
        loop {
            sleep(LOOK_EVERY).await;
            match self.ask(&held.channel, TAKE).await {
                Ok(true) => {}
                Ok(false) => return tracing::warn!("another node has the only node's place"),
                Err(error) => return tracing::warn!(%error, "the only node's place was lost; it is taken again"),
            }
        }
    }

    /// Asks until the place is free; none when another node has it, and not only for as long as one that died would.
    ///
    /// # Errors
    /// When the broker is out of reach for longer than `within`, if that has an end.
    async fn ask_patiently(
        &self,
        options: QueueDeclareOptions,
        within: Option<Duration>,
    ) -> anyhow::Result<Option<Held>> {
        let begun = Instant::now();
        let mut taken_since = None;
        loop {
            match self.ask_anew(options).await {
                Ok(Some(held)) => return Ok(Some(held)),
                Ok(None) => {
                    let since: Instant = *taken_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= TAKEN_AFTER {
                        return Ok(None);
                    }
                }
                Err(error) if within.is_some_and(|within| begun.elapsed() >= within) => {
                    return Err(error).context("whether this is the only node cannot be asked at the broker");
                }
                Err(error) => {
                    tracing::debug!(%error, "the broker is out of reach");
                    taken_since = None;
                }
            }
            sleep(TRY_EVERY).await;
        }
    }

    /// Asks over a new connection; none when another one has the place.
    async fn ask_anew(&self, options: QueueDeclareOptions) -> Result<Option<Held>, BrokerError> {
        let connection = broker::connect(&self.brokers, HEARTBEAT_S, "only node").await?;
        let channel = patiently("opening a channel", connection.create_channel()).await?;
        let is_free = self.ask(&channel, options).await?;
        Ok(is_free.then_some(Held { _connection: connection, channel }))
    }

    /// Whether no other connection has the place.
    async fn ask(&self, channel: &Channel, options: QueueDeclareOptions) -> Result<bool, BrokerError> {
        let declared = channel.queue_declare(self.queue.as_str().into(), options, FieldTable::default());
        match tokio::time::timeout(broker::PATIENCE, declared).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) => match refusal(&error) {
                Some(405) => Ok(false),
                Some(404) if options.passive => Ok(true),
                _ => Err(error.into()),
            },
            Err(_) => Err(BrokerError::Lost("asking for the only node's place: no answer".into())),
        }
    }
}
