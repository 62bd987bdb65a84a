//! Opens the log: in files, or at a broker that other nodes share.

use crate::actors::event_log::ReportLine;
use crate::actors::role::Role;
use crate::actors::trading::projector::Prune;
use crate::config::{self, Durability, ServeConfig};
use crate::domain::batch::Batch;
use crate::domain::codec::Coded;
use crate::domain::entry::LedgerEntry;
use crate::domain::ids::{Epoch, StreamId};
use crate::domain::time::Timestamp;
use crate::persistence::log::embedded::{self, Embedded, SealedSegment};
use crate::persistence::log::rabbitmq::{self, RabbitMq};
use crate::persistence::log::{LogEngine, Position, Proposal, Report, Sink};
use anyhow::{Context, anyhow};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The log, and what this node is to it.
pub(super) struct OpenLog {
    pub engine: Arc<dyn LogEngine + Sync>,
    pub role: Role,
    /// Parts of the log that will not change any more.
    pub sealed: Arc<dyn Fn() -> Vec<SealedSegment> + Send + Sync>,
    /// Whether others may remove the oldest parts, so that they are to be archived.
    pub archives: bool,
    /// Removes the oldest parts, where the log is to be kept short.
    pub prune: Option<Prune>,
}

/// Opens the log and, when it is empty, lists the venue's currencies and markets in it.
///
/// # Errors
/// When it cannot be opened, or begins anew although the database has seen `known` of it.
pub(super) fn open(
    settings: &ServeConfig,
    data: &Path,
    known: Position,
    reports: &ReportLine,
) -> anyhow::Result<OpenLog> {
    let (genesis_report, genesis_done) = std::sync::mpsc::channel();
    let line = reports.clone();
    let sink: Sink = Box::new(move |report: Report| {
        if let Report::Committed { proposal: Some(0), .. } | Report::Refused { proposal: 0, .. } = &report {
            // Nobody waits for anything but the genesis; a gone receiver is no fault.
            let _ = genesis_report.send(());
        } else {
            line.forward(report);
        }
    });
    let node = settings.cluster.number();
    let (log, genesis_node) = match settings.log.broker()? {
        Some(brokers) => (shared(settings, brokers, data, known, sink)?, 0),
        None => (alone(settings, data, sink)?, node),
    };
    if log.engine.end() == Position(0) && known == Position(0) {
        // Nodes that begin a cluster at the same time write the same epoch, so only the first copy counts.
        let epoch = Epoch { counter: 1, node: genesis_node };
        log.engine
            .propose(genesis(epoch, wall_clock()))
            .map_err(|error| anyhow!("the venue cannot be listed: {error}"))?;
        genesis_done.recv_timeout(Duration::from_secs(30)).context("the log does not take the first batch")?;
    }
    Ok(log)
}

fn alone(settings: &ServeConfig, data: &Path, sink: Sink) -> anyhow::Result<OpenLog> {
    let mut options = embedded::Options::new(data.join("log"));
    options.max_bytes = settings.log.log_max_bytes;
    options.segment_bytes = settings.log.segment_bytes();
    let (engine, opened) = Embedded::open(options, sink)?;
    if let Some(torn) = &opened.torn {
        tracing::warn!(file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes,
            "the last write was torn and was cut off; none of it was ever acknowledged");
    }
    let engine = Arc::new(engine);
    let segments = Arc::clone(&engine);
    let sealed = Arc::new(move || segments.sealed_segments());
    let prune = settings.log.log_prune.then(|| prune(&engine));
    Ok(OpenLog { engine, role: Role::alone(settings.cluster.number()), sealed, archives: false, prune })
}

fn shared(
    settings: &ServeConfig,
    brokers: &rabbitmq::Brokers,
    data: &Path,
    known: Position,
    sink: Sink,
) -> anyhow::Result<OpenLog> {
    let mut options = rabbitmq::Options::new(brokers.clone(), settings.log.stream_queue());
    options.keep_bytes = settings.log.rabbitmq_keep_bytes;
    options.copy = (settings.log.durability == Durability::BrokerAndDisk).then(|| data.join("log-copy"));
    // Whoever has rows or a snapshot knows that there was a log; an empty one in its place would be a lost one.
    options.create = known == Position(0)
        && std::fs::read_dir(data.join("snapshots")).map_or(true, |mut files| files.next().is_none());
    let engine = RabbitMq::open(options, sink)?;
    let role = Role::one_of_several(settings.cluster.number());
    Ok(OpenLog { engine: Arc::new(engine), role, sealed: Arc::new(Vec::new), archives: true, prune: None })
}

/// Removes segments of this log.
fn prune(engine: &Arc<Embedded>) -> Prune {
    let engine = engine.clone();
    Arc::new(move |through| match engine.prune(through) {
        Ok(removed) if removed.is_empty() => {}
        Ok(removed) => tracing::info!(segments = removed.len(), through = through.0, "the log was pruned"),
        Err(error) => tracing::warn!(%error, "the log could not be pruned"),
    })
}

/// The first batch of a new venue: its currencies and markets.
pub(crate) fn genesis(epoch: Epoch, at: Timestamp) -> Proposal {
    let mut payload = Vec::new();
    let mut count = 0;
    for currency in config::currencies() {
        LedgerEntry::ListCurrency(Box::new(currency)).encode(&mut payload);
        count += 1;
    }
    for market in config::markets() {
        LedgerEntry::ListMarket(Box::new(market)).encode(&mut payload);
        count += 1;
    }
    let payload = Bytes::from(payload);
    Proposal { id: 0, batches: vec![Batch { stream: StreamId::Ledger, epoch, number: 1, at, count, payload }] }
}

fn wall_clock() -> Timestamp {
    crate::actors::trading::market_data::wall_clock()
}
