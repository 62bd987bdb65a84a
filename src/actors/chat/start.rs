//! How chat's actors come to life.

use super::herald::{self, Herald};
use super::presence::{self, Presence};
use super::projector::{ChatProjector, Follower};
use super::room::{self, RoomActor};
use super::shard::{self, ChatShard};
use super::store::{Progress, Store};
use super::{Audience, Chat, Gate, Limits};
use crate::actors::cluster::Gossip;
use crate::actors::directory::{Directory, DirectorySettings};
use crate::actors::event_log::LogMeter;
use crate::actors::supervision::{ChildSpec, Settings};
use crate::actors::supervisor::Supervisor;
use crate::actors::trading::Trading;
use crate::config::chat::ChatConfig;
use crate::domain::chat::{RoomId, SHARDS};
use crate::persistence::chat::projection::Projection;
use crate::persistence::db::{Database, DbError};
use crate::persistence::log::LogReader;
use actix::Arbiter;
use anyhow::anyhow;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long the venue's opening waits for chat: until it takes commands and the rooms of the markets are there, so
/// that who is served finds them.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// What chat is built on.
pub struct Foundation {
    /// Stored state.
    pub store: Store,
    /// The projection's follower, which has caught up with the log.
    pub follower: Follower,
}

/// Brings chat's rows up to the log's end. Its streams' epochs count for the next one.
///
/// # Errors
/// When the log cannot be replayed or the database does not take it.
pub fn follow(database: &Database, reader: &Arc<dyn LogReader>) -> anyhow::Result<Foundation> {
    let progress = Arc::new(Progress::default());
    let projection = Projection::open(database.clone())?;
    let mut follower = Follower::new(projection, reader.clone(), progress.clone());
    let caught_up = follower.advance().map_err(|reason| anyhow!("chat's streams cannot be replayed: {reason}"))?;
    if !caught_up {
        return Err(anyhow!("chat's rows cannot be brought up to date; see the messages above"));
    }
    Ok(Foundation { store: Store { database: database.clone(), reader: reader.clone(), progress }, follower })
}

/// Starts chat below `root`.
///
/// # Errors
/// When an actor cannot start within its budget.
pub async fn start(
    root: &Supervisor,
    foundation: Foundation,
    trading: &Trading,
    config: &ChatConfig,
    data: &Path,
    meter: &Arc<LogMeter>,
    gossip: Option<Gossip>,
) -> anyhow::Result<Chat> {
    let Foundation { store, follower } = foundation;
    let branch = root.branch("chat", Settings::default()).await?;
    let arbiter = Arbiter::new().handle();
    let (audience, limits) = (Arc::new(Audience::default()), Arc::new(Limits::new(config)));
    start_projector(&branch, &store, follower, meter).await?;

    let gates: Arc<[Arc<Gate>]> = (0..SHARDS).map(|_| Arc::default()).collect();
    let parts = room::Parts {
        log: trading.log().clone(),
        store: store.clone(),
        audience: audience.clone(),
        gates: gates.clone(),
        limits: limits.clone(),
    };
    let settings = DirectorySettings {
        idle_after: Duration::from_secs(config.chat_room_idle_s),
        capacity: 10_000,
        mailbox: 4_096,
        ..DirectorySettings::default()
    };
    let make = move |id: &RoomId, lifeline| Ok(RoomActor::new(*id, parts.clone(), lifeline));
    let rooms = Directory::new("rooms", std::slice::from_ref(&arbiter), settings, make);

    for (shard, gate) in (0..SHARDS).zip(gates.iter()) {
        let parts = shard::Parts {
            shard,
            log: trading.log().clone(),
            rooms: rooms.clone(),
            store: store.clone(),
            audience: audience.clone(),
            gate: gate.clone(),
            role: trading.role().clone(),
            meter: trading.log_meter().clone(),
        };
        let this = Arc::new(Mutex::new(None));
        let name = this.clone();
        let spec = ChildSpec::new(format!("chat shard {shard}"), arbiter.clone(), move |lifeline| {
            Ok(ChatShard::new(parts.clone(), name.clone(), lifeline))
        });
        branch.start_as(spec.mailbox(16_384).keep_queue(), &this).await?;
    }
    let presence = {
        let (store, audience, node) = (store.clone(), audience.clone(), trading.role().node());
        let parts = presence::Parts { store, audience, node, gossip };
        let spec = ChildSpec::new("presence", arbiter.clone(), move |_| Ok(Presence::new(parts.clone())));
        branch.start(spec.mailbox(65_536)).await?
    };
    let objects = config.objects(data)?;
    let chat = Chat { rooms, audience, presence, store, limits, objects, trading: trading.clone() };
    let rooms_made = Arc::new(watch::Sender::new(false));
    let mut made = rooms_made.subscribe();
    let (big_trade, trade) = (config.chat_big_trade, trading.clone());
    let parts = herald::Parts { chat: chat.clone(), trading: trade, big_trade, rooms_made };
    let spec = ChildSpec::new("herald", arbiter, move |_| Ok(Herald::new(parts.clone())));
    branch.start(spec.mailbox(4_096)).await?;
    if trading.role().may_begin() {
        let ready = async {
            for gate in gates.iter() {
                gate.opened().await;
            }
            made.wait_for(|made| *made).await.is_ok()
        };
        // The venue opens without chat when that is not to be had; it comes when it can.
        if !matches!(tokio::time::timeout(READY_WITHIN, ready).await, Ok(true)) {
            tracing::warn!("chat is not ready yet; the venue opens without it");
        }
    }
    Ok(chat)
}

async fn start_projector(
    branch: &Supervisor,
    store: &Store,
    follower: Follower,
    meter: &Arc<LogMeter>,
) -> anyhow::Result<()> {
    let (mut first, store, meter, progress) = (Some(follower), store.clone(), meter.clone(), store.progress.clone());
    let spec = ChildSpec::new("chat projector", Arbiter::new().handle(), move |lifeline| {
        let store = store.clone();
        // By the actor itself: a database that is away is no crash, of which there may be a few only.
        let open = move || {
            let projection = Projection::open(store.database.clone())?;
            Ok::<_, DbError>(Follower::new(projection, store.reader.clone(), store.progress.clone()))
        };
        Ok(ChatProjector::new(first.take(), open, meter.clone(), lifeline))
    });
    let lag = Arc::new(move || progress.lag());
    branch.start(spec.mailbox(64).graceful().stop_within(Duration::from_secs(30)).lag(lag)).await?;
    Ok(())
}
