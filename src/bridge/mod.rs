//! Outcomes for other services: JSON to a topic exchange of the broker.
//!
//! Only the active node publishes. It applies the log to a venue of its own and keeps in the database how far it has
//! published, so that the next active node goes on from there. Every outcome is published at least once; its id is the
//! same each time, and what one key tells of one stream comes in the order of the log.
//!
//! Invariant: the watermark never passes a message that the broker has not confirmed.

mod messages;
mod outgoing;

use crate::actors::event_log::LogMeter;
use crate::actors::supervision::{ChildSpec, Failure, Lifeline};
use crate::actors::supervisor::Supervisor;
use crate::actors::trading::Trading;
use crate::actors::trading::projector::start::newest_state;
use crate::actors::trading::recovery::catch_up;
use crate::config::{NodeRole, ServeConfig};
use crate::domain::venue::{Silent, Venue};
use crate::persistence::bridge as watermark;
use crate::persistence::broker::Brokers;
use crate::persistence::broker::{self, BrokerError, patiently};
use crate::persistence::db::Database;
use crate::persistence::log::{LogReader, Position};
use crate::persistence::snapshots::Snapshots;
use crate::priority::{Priority, give_way};
use actix::prelude::*;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ExchangeKind};
use messages::Collector;
use outgoing::Message;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Batches whose outcomes are published together: one message for each routing key, as long as it does not grow too large.
const BATCHES_AT_ONCE: usize = 20;

/// Batches that are published before the watermark moves, unless there are no more.
const NOTED_EVERY: u64 = 200;

/// How often is looked for more.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The wait after something failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Seconds between heartbeats.
const HEARTBEAT_S: u16 = 10;

/// What the bridge works with.
#[derive(Clone)]
pub struct Parts {
    /// The log.
    pub reader: Arc<dyn LogReader>,
    /// Where the watermark is.
    pub database: Database,
    /// Where the venue begins.
    pub snapshots: Snapshots,
    /// How far the log is.
    pub log: Arc<LogMeter>,
    /// The lists of markets and currencies, and the node's role.
    pub trading: Trading,
}

/// Starts the bridge, on nodes that have one.
///
/// # Errors
/// [`Failure`] when it cannot be started.
pub async fn start(settings: &ServeConfig, root: &Supervisor, parts: Parts) -> Result<(), Failure> {
    let Some(brokers) = settings.log.rabbitmq.clone().filter(|_| settings.cluster.has(NodeRole::Bridge)) else {
        return Ok(());
    };
    let exchange = format!("{}.events", settings.log.rabbitmq_prefix);
    let spec = ChildSpec::new("bridge", Arbiter::new().handle(), move |_: Lifeline| {
        Ok(Bridge { brokers: brokers.clone(), exchange: exchange.clone(), parts: parts.clone() })
    });
    root.start(spec).await.map(drop)
}

/// The actor: it lives while the work goes on.
struct Bridge {
    brokers: Brokers,
    exchange: String,
    parts: Parts,
}

impl Actor for Bridge {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Orders come first. What reads, applies and sends for the bridge are threads that this one starts.
        give_way(Priority::Behind);
        let work = run(self.brokers.clone(), self.exchange.clone(), self.parts.clone());
        ctx.spawn(work.into_actor(self));
    }
}

async fn run(brokers: Brokers, exchange: String, parts: Parts) {
    let mut kept = None;
    loop {
        if parts.trading.role().is_active() {
            if let Err(error) = publish(&brokers, &exchange, &parts, &mut kept).await {
                tracing::warn!(error, "outcomes are not published for now");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        } else {
            kept = None;
            parts.log.published.store(0, Ordering::Relaxed);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How far this process is. While a market stands still the watermark stays behind it, and a lost connection should not
/// bring everything since then again.
struct Progress {
    /// The watermark, as this process knows it.
    noted: Position,
    /// The venue as it is at `position`; none while it is being worked with.
    venue: Option<Venue>,
    position: Position,
    /// What the broker has not confirmed of what happened up to there.
    unsent: Vec<Message>,
}

/// Publishes as long as this node is active; what it goes on from next time is kept.
async fn publish(brokers: &Brokers, exchange: &str, parts: &Parts, kept: &mut Option<Progress>) -> Result<(), String> {
    let words = |error: BrokerError| error.to_string();
    let database = parts.database.clone();
    let until = blocking(move || watermark::position(&database).map_err(|error| error.to_string())).await?;
    // Known before it can fail, so that an alarm goes off for a bridge that gets nowhere. 0 would say that there is none.
    parts.log.published.store(until.0.max(1), Ordering::Relaxed);
    let (_connection, channel) = open(brokers, exchange).await.map_err(words)?;
    let mut progress = match kept.take().filter(|kept| kept.noted == until && kept.venue.is_some()) {
        Some(progress) => progress,
        None => {
            let parts = parts.clone();
            let (venue, position) = blocking(move || load(&parts, until)).await?;
            Progress { noted: position, venue: Some(venue), position, unsent: Vec::new() }
        }
    };
    let ended = follow(&channel, exchange, parts, &mut progress).await;
    *kept = Some(progress);
    ended
}

async fn follow(channel: &Channel, exchange: &str, parts: &Parts, progress: &mut Progress) -> Result<(), String> {
    flush(channel, exchange, parts, progress).await?;
    while parts.trading.role().is_active() {
        let newest = parts.log.position.load(Ordering::Relaxed);
        let is_level = newest <= progress.position.0;
        // While a market stands still the watermark stays before it: a program in which it goes on tells its outcomes too.
        let moves = progress.venue.as_ref().is_some_and(|venue| venue.fault().is_none());
        if moves && (is_level || progress.position.0 - progress.noted.0 >= NOTED_EVERY) {
            note(parts, progress.noted, progress.position).await?;
            progress.noted = progress.position;
        }
        if is_level {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        let begun = Instant::now();
        let Some(venue) = progress.venue.take() else { return Err("the state was lost on the way".into()) };
        let (work, from) = (parts.clone(), progress.position);
        let ((venue, position), messages) = blocking(move || advance(&work, (venue, from))).await?;
        (progress.venue, progress.position, progress.unsent) = (Some(venue), position, messages);
        flush(channel, exchange, parts, progress).await?;
        // Orders come first: while there are new ones, this takes half of the time at most, and catches up afterwards.
        if parts.log.position.load(Ordering::Relaxed) > newest {
            tokio::time::sleep(begun.elapsed().min(LOOK_EVERY)).await;
        }
    }
    Ok(())
}

async fn flush(channel: &Channel, exchange: &str, parts: &Parts, progress: &mut Progress) -> Result<(), String> {
    send(channel, exchange, &progress.unsent).await.map_err(|error| error.to_string())?;
    progress.unsent.clear();
    parts.log.published.store(progress.position.0.max(1), Ordering::Relaxed);
    Ok(())
}

/// Moves the watermark.
async fn note(parts: &Parts, from: Position, to: Position) -> Result<(), String> {
    if to <= from {
        return Ok(());
    }
    let database = parts.database.clone();
    let moved = blocking(move || watermark::advance(&database, from, to).map_err(|error| error.to_string()));
    match moved.await? {
        true => Ok(()),
        false => Err("another node has published too; beginning anew".into()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

/// The venue as it was when the last message was published.
fn load(parts: &Parts, until: Position) -> Result<(Venue, Position), String> {
    // Another node may have published from where this one has no snapshots.
    let newest = newest_state(&parts.snapshots, &parts.database, until, |_| true);
    let (mut venue, position) = newest.map_err(|error| error.to_string())?;
    let position = bring(&mut venue, position, until, parts.reader.as_ref())?;
    Ok((venue, position))
}

/// Brings a venue that stands at `from` to where the last message was published; its position then.
fn bring(venue: &mut Venue, from: Position, until: Position, reader: &dyn LogReader) -> Result<Position, String> {
    let mut position = from;
    while position < until {
        let before = position;
        position =
            catch_up(venue, reader, before, until, usize::MAX, &mut Silent).map_err(|error| error.to_string())?;
        if position == before {
            return Err(format!("outcomes were published up to position {until}, but the log ends at {position}"));
        }
    }
    Ok(position)
}

fn advance(parts: &Parts, (mut venue, from): (Venue, Position)) -> Result<((Venue, Position), Vec<Message>), String> {
    let mut collector = Collector::new(&parts.trading);
    let all = Position(u64::MAX);
    let to = catch_up(&mut venue, parts.reader.as_ref(), from, all, BATCHES_AT_ONCE, &mut collector)
        .map_err(|error| error.to_string())?;
    Ok(((venue, to), collector.messages()?))
}

async fn open(brokers: &Brokers, exchange: &str) -> Result<(Connection, Channel), BrokerError> {
    let connection = broker::connect(brokers, HEARTBEAT_S, "bridge").await?;
    let channel = patiently("opening a channel", connection.create_channel()).await?;
    patiently("asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared = channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, FieldTable::default());
    patiently("making the exchange", declared).await?;
    Ok((connection, channel))
}

async fn send(channel: &Channel, exchange: &str, messages: &[Message]) -> Result<(), BrokerError> {
    let mut confirms = Vec::with_capacity(messages.len());
    for message in messages {
        let (key, first) = (message.key.clone(), message.first.clone());
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(2)
            .with_message_id(first.into());
        // Not mandatory: an outcome that nobody has asked for is dropped.
        let options = BasicPublishOptions::default();
        let body = message.body();
        let published = channel.basic_publish(exchange.into(), key.into(), options, &body, properties);
        confirms.push(patiently("publishing", published).await?);
    }
    for confirm in confirms {
        if !patiently("waiting for a confirm", confirm).await?.is_ack() {
            return Err(BrokerError::Lost("the broker did not take a message".into()));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]
mod tests {
    use super::*;
    use crate::domain::ids::StreamId;
    use crate::persistence::log::conformance::batch;
    use crate::persistence::log::{Batches, Committed, LogError};

    /// A log whose batches stand at these positions.
    struct Log(Vec<u64>);

    impl LogReader for Log {
        fn read(&self, from: Position) -> Result<Batches, LogError> {
            let committed = |position| Committed {
                position: Position(position),
                batch: Arc::new(batch(StreamId::Chat(1), 1, position, 0)),
            };
            let after: Vec<u64> = self.0.iter().copied().filter(|position| *position > from.0).collect();
            Ok(Box::new(after.into_iter().map(move |position| Ok(committed(position)))))
        }
    }

    #[test]
    fn a_log_that_ends_before_what_was_published_is_an_error() {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let log = Log(vec![1, 2, 4]);
            for until in [0, 2, 4, 5] {
                let brought = bring(&mut Venue::default(), Position(0), Position(until), &log);
                tell.send(brought.map(|position| position.0)).unwrap();
            }
        });
        let next = || told.recv_timeout(Duration::from_secs(60)).expect("it looks for the rest without end");
        assert_eq!([(); 3].map(|()| next()), [Ok(0), Ok(2), Ok(4)]);
        let error = next().unwrap_err();
        assert!(error.contains("up to position 5, but the log ends at 4"), "{error}");
    }
}
