//! How the actors of links come to life.

use super::cache::Cache;
use super::clicks::Counter;
use super::counts::Counts;
use super::imports::Imports;
use super::keeper::{self, Keeper};
use super::pace::Pace;
use super::policy::{Policy, Settings};
use super::roller::{self, Roller};
use super::second::Second;
use super::shortener::{self, Shortener};
use super::watcher::Watcher;
use super::{Inner, Links, Meter};
use crate::actors::supervision::{self, ChildSpec};
use crate::actors::supervisor::Supervisor;
use crate::persistence::db::Database;
use crate::persistence::links::clicks::Buffer;
use crate::persistence::links::rollup;
use crate::persistence::redis::Redis;
use actix::Arbiter;
use anyhow::Context;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::broadcast;

/// Shorteners. SQLite has one writer anyway; PostgreSQL is kept busy by a few.
const SHORTENERS: usize = 4;
/// Live clicks that a slow watcher may be behind.
const LIVE: usize = 1_024;

/// Starts links below `root`; clicks wait in a folder below `data`.
///
/// # Errors
/// When the folder or the database cannot be read, or an actor cannot start within its budget.
pub async fn start(
    root: &Supervisor,
    database: &Database,
    redis: Option<Redis>,
    settings: Settings,
    data: &Path,
) -> anyhow::Result<Links> {
    let branch = root.branch("links", supervision::Settings::default()).await?;
    let mut buffer = Buffer::open(&data.join("clicks")).context("the buffer of clicks cannot be opened")?;
    // Before anybody appends: what has a number that the database has seen is never read.
    let number = buffer.number();
    buffer.count_from(database.read(|conn| rollup::mark(conn, number))?);
    let buffer = Arc::new(Mutex::new(buffer));
    let policy = Arc::new(ArcSwap::from_pointee(database.read(|conn| Policy::load(conn, &settings))?));
    let cache = Arc::new(Cache::new(settings.cache_bytes));
    let second = Second::new(redis);
    let counter = Arc::new(Counter::default());
    let (live, _) = broadcast::channel(LIVE);

    let pace = Arc::new(Pace::default());

    let arbiter = Arbiter::new().handle();
    let mut shorteners = Vec::with_capacity(SHORTENERS);
    for number in 0..SHORTENERS {
        let parts = shortener::Parts {
            database: database.clone(),
            cache: cache.clone(),
            second: second.clone(),
            policy: policy.clone(),
            pace: pace.clone(),
        };
        let spec =
            ChildSpec::new(format!("shortener {number}"), arbiter.clone(), move |_| Ok(Shortener::new(parts.clone())));
        shorteners.push(branch.start(spec.mailbox(32_768)).await?);
    }

    let parts = keeper::Parts {
        counter: counter.clone(),
        buffer: buffer.clone(),
        database: database.clone(),
        live: live.clone(),
        buffer_bytes: settings.buffer_bytes,
    };
    let spec = ChildSpec::new("click keeper", Arbiter::new().handle(), move |lifeline| {
        Ok(Keeper::new(parts.clone(), lifeline))
    });
    branch.start(spec.mailbox(16).graceful()).await?;

    let waiting = Arc::new(AtomicU64::new(0));
    let parts = roller::Parts { buffer, database: database.clone(), raw_days: settings.raw_days, lag: waiting.clone() };
    let spec = ChildSpec::new("click roller", Arbiter::new().handle(), move |lifeline| {
        Ok(Roller::new(parts.clone(), lifeline))
    });
    let lag = Arc::new(move || waiting.load(Ordering::Relaxed));
    branch.start(spec.mailbox(16).graceful().stop_within(Duration::from_secs(30)).lag(lag)).await?;

    let imports = Imports::new(settings.import_bytes);
    let links = Links(Arc::new(Inner {
        shorteners,
        cache: cache.clone(),
        counter,
        database: database.clone(),
        policy,
        reloading: tokio::sync::Mutex::default(),
        settings,
        allowances: ArcSwap::default(),
        live,
        last_id: AtomicI64::new(0),
        counts: Counts::default(),
        meter: Meter::default(),
        pace,
        imports,
    }));
    // A database of this process alone is changed by nobody else.
    if database.is_shared() {
        let (shared, cache) = (links.clone(), cache);
        let spec = ChildSpec::new("watcher", arbiter, move |_| {
            Ok(Watcher::new(shared.clone(), cache.clone(), second.clone()))
        });
        branch.start(spec.mailbox(16)).await?;
    }
    Ok(links)
}
