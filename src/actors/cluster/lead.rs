//! The lock that says who should be active, and taking over with it.

use super::Parts;
use crate::actors::role::State;
use crate::actors::trading::Trading;
use crate::actors::trading::ledger::IsReady;
use crate::actors::trading::order_book::Refence;
use crate::persistence::broker::{self, BrokerError, patiently, refusal};
use crate::persistence::log::LogEngine;
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the lock is tried.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// How long a take-over may take until the lock is given to another node.
const TAKE_OVER_WITHIN: Duration = Duration::from_secs(15);

/// A node whose disk takes nothing for so long gives the lock to another one.
const HELD_UP_FOR: Duration = Duration::from_secs(3);

/// A node that was deposed, or could not take over, lets others go first for so long.
const STAND_BACK: Duration = Duration::from_secs(2);

/// Tries for the lock as long as the node lives.
pub(super) async fn run(parts: Parts, trading: Trading) {
    loop {
        if let Err(error) = lead(&parts, &trading).await {
            tracing::warn!(%error, "the connection for the leader's lock was lost");
        }
        sleep(TRY_EVERY).await;
    }
}

async fn lead(parts: &Parts, trading: &Trading) -> Result<(), BrokerError> {
    let connection = broker::connect(&parts.brokers, parts.heartbeat_s, "lead").await?;
    contend(&ExclusiveQueue { parts, connection }, parts.engine.as_ref(), trading).await
}

/// A lock of which at most one node should believe that it has it. It is a hint: what a node does that believes so
/// wrongly counts for nobody.
pub(crate) trait Lock {
    /// Why it cannot be asked for.
    type Error;

    /// Whether it is ours now.
    async fn take(&self) -> Result<bool, Self::Error>;

    /// An error when it has been lost, as far as is known here.
    fn check(&self) -> Result<(), Self::Error>;

    /// Lets others have it.
    async fn release(&self) -> Result<(), Self::Error>;
}

/// The lock as an exclusive queue: it is released when its connection ends, however that happens. It is not for a
/// process whose number another one has: of two that lead under one number, each would take the other's epochs for its
/// own.
struct ExclusiveQueue<'a> {
    parts: &'a Parts,
    connection: Connection,
}

impl Lock for ExclusiveQueue<'_> {
    type Error = BrokerError;

    async fn take(&self) -> Result<bool, BrokerError> {
        if self.parts.meter.number_taken.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let channel = patiently("opening a channel", self.connection.create_channel()).await?;
        let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(self.parts.name("active").into(), exclusive, FieldTable::default());
        match tokio::time::timeout(broker::PATIENCE, declared).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) if refusal(&error) == Some(405) => Ok(false),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(BrokerError::Lost("asking for the lock: no answer".into())),
        }
    }

    fn check(&self) -> Result<(), BrokerError> {
        if !self.connection.status().connected() {
            return Err(BrokerError::Lost("the connection has ended".into()));
        }
        match self.parts.peers.namesake() {
            None => Ok(()),
            Some(number) => Err(BrokerError::Lost(format!("another process has the number {number}"))),
        }
    }

    async fn release(&self) -> Result<(), BrokerError> {
        patiently("releasing the lock", self.connection.close(200, "deposed".into())).await
    }
}

/// Waits for the lock, leads while it has it, and stands back; returns when the lock was released or lost.
///
/// # Errors
/// When the lock is out of reach. The node may be active still: only a newer epoch of another node ends that.
pub(crate) async fn contend<L: Lock>(lock: &L, engine: &dyn LogEngine, trading: &Trading) -> Result<(), L::Error> {
    loop {
        if engine.available() && lock.take().await? {
            hold(lock, engine, trading).await?;
            lock.release().await?;
            sleep(STAND_BACK).await;
            return Ok(());
        }
        sleep(TRY_EVERY).await;
    }
}

/// Takes over and stays active; returns when another node has taken over, or should because this one cannot go on. It
/// stays active then until it reads of another one: it may be the only one there is.
async fn hold<L: Lock>(lock: &L, engine: &dyn LogEngine, trading: &Trading) -> Result<(), L::Error> {
    let role = trading.role();
    if !role.is_active() && !take_over(trading).await {
        return Ok(());
    }
    let mut states = role.watch();
    let mut held_up_since = None;
    loop {
        if *states.borrow_and_update() == State::Standby {
            return Ok(());
        }
        tokio::select! {
            biased;
            changed = states.changed() => if changed.is_err() {
                return Ok(());
            },
            () = sleep(TRY_EVERY) => {
                lock.check()?;
                if trading.log().is_closed() {
                    tracing::warn!("the log takes nothing here any more; another node may take over");
                    return Ok(());
                }
                held_up_since = engine.is_held_up_by_its_disk().then(|| held_up_since.unwrap_or_else(Instant::now));
                if held_up_since.is_some_and(|since| since.elapsed() > HELD_UP_FOR) {
                    tracing::warn!("the disk is full or hangs; another node may take over");
                    return Ok(());
                }
            }
        }
    }
}

/// Begins new epochs of all streams and waits until their markers were read back. Everything that stood in the log
/// before them was applied by then, and nothing that others append after them counts.
async fn take_over(trading: &Trading) -> bool {
    let role = trading.role();
    let begun = Instant::now();
    if !role.change(State::Standby, State::TakingOver) {
        return false;
    }
    if let Err(why) = trading.ledger().try_send(Refence) {
        tracing::warn!(%why, "the ledger cannot take over");
        role.step_down();
        return false;
    }
    while role.state() == State::TakingOver {
        if matches!(trading.ledger().send(IsReady).within(TAKE_OVER_WITHIN).await, Ok(true)) {
            let active = role.change(State::TakingOver, State::Active);
            tracing::info!(took = ?begun.elapsed(), active, "markers read back");
            return active;
        }
        if begun.elapsed() > TAKE_OVER_WITHIN {
            tracing::warn!("taking over takes too long; another node may try");
            role.step_down();
            return false;
        }
        sleep(Duration::from_millis(5)).await;
    }
    false
}
