//! The lock that says who should be active, and taking over with it.

use super::Parts;
use crate::actors::role::State;
use crate::actors::trading::Trading;
use crate::actors::trading::ledger::IsReady;
use crate::actors::trading::order_book::Refence;
use crate::persistence::broker::{self, BrokerError, patiently, refusal};
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the lock is tried.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// How long a take-over may take until the lock is given to another node.
const TAKE_OVER_WITHIN: Duration = Duration::from_secs(15);

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
    loop {
        if parts.engine.available() && lock(parts, &connection).await? {
            hold(parts, trading, &connection).await?;
            // The lock goes with its connection.
            patiently("releasing the lock", connection.close(200, "deposed".into())).await?;
            sleep(STAND_BACK).await;
            return Ok(());
        }
        sleep(TRY_EVERY).await;
    }
}

/// Whether the lock is ours now. It is released when the connection ends, however that happens.
async fn lock(parts: &Parts, connection: &Connection) -> Result<bool, BrokerError> {
    let channel = patiently("opening a channel", connection.create_channel()).await?;
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(parts.name("active").into(), exclusive, FieldTable::default());
    match tokio::time::timeout(broker::PATIENCE, declared).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(error)) if refusal(&error) == Some(405) => Ok(false),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(BrokerError::Lost("asking for the lock: no answer".into())),
    }
}

/// Takes over and stays active; returns when another node has taken over, or this one could not.
async fn hold(parts: &Parts, trading: &Trading, connection: &Connection) -> Result<(), BrokerError> {
    if !parts.role.is_active() && !take_over(parts, trading).await {
        return Ok(());
    }
    let mut states = parts.role.watch();
    loop {
        if *states.borrow_and_update() == State::Standby {
            return Ok(());
        }
        tokio::select! {
            changed = states.changed() => if changed.is_err() {
                return Ok(());
            },
            () = sleep(TRY_EVERY) => if !connection.status().connected() {
                return Err(BrokerError::Lost("the connection has ended".into()));
            },
        }
    }
}

/// Begins new epochs of all streams and waits until their markers were read back. Everything that stood in the log
/// before them was applied by then, and nothing that others append after them counts.
async fn take_over(parts: &Parts, trading: &Trading) -> bool {
    let begun = Instant::now();
    if !parts.role.change(State::Standby, State::TakingOver) {
        return false;
    }
    if let Err(why) = trading.ledger().try_send(Refence) {
        tracing::warn!(%why, "the ledger cannot take over");
        parts.role.step_down();
        return false;
    }
    while parts.role.state() == State::TakingOver {
        if matches!(trading.ledger().send(IsReady).within(TAKE_OVER_WITHIN).await, Ok(true)) {
            let active = parts.role.change(State::TakingOver, State::Active);
            tracing::info!(took = ?begun.elapsed(), active, "markers read back");
            return active;
        }
        if begun.elapsed() > TAKE_OVER_WITHIN {
            tracing::warn!("taking over takes too long; another node may try");
            parts.role.step_down();
            return false;
        }
        sleep(Duration::from_millis(5)).await;
    }
    false
}
