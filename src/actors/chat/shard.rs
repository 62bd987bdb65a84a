//! One chat stream's owner: its epoch, and the way of its entries to their rooms.
//!
//! Invariants: rooms hear of every committed entry in order, or are told to read everything anew; a
//! room that is not active is read from database and log when it is needed. While it is not known how far
//! the stream is, because the database does not say, nothing is admitted, and what is committed is left
//! out: whoever reads the stream later finds it there.

use super::room::{Apply, Item, Reload, RoomActor, Void};
use super::store::{Store, Unknown};
use super::{Audience, Gate};
use crate::actors::directory::Directory;
use crate::actors::event_log::{Begin, Begun, EventLog, FromLog, LogMeter};
use crate::actors::role::Role;
use crate::actors::supervision::{Handle, Lifeline};
use crate::domain::batch::Batch;
use crate::domain::chat::{ChatEntry, Command, RoomId};
use crate::domain::codec::Entries;
use crate::domain::ids::{AccountId, Epoch, StreamId, Ticket};
use crate::domain::stream::{StreamState, Verdict};
use actix::prelude::*;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often it is looked whether an epoch is to be begun, or something is to be tried again.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A database that does not say how far the stream is gets asked again after so long.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How often it is told that it does not.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What the actor is built from.
#[derive(Clone)]
pub struct Parts {
    /// Which stream.
    pub shard: u8,
    /// The log.
    pub log: Handle<EventLog>,
    /// The rooms.
    pub rooms: Directory<RoomId, RoomActor>,
    /// Where the state comes from.
    pub store: Store,
    /// Who hears of which room.
    pub audience: Arc<Audience>,
    /// What rooms see of the stream's epoch.
    pub gate: Arc<Gate>,
    /// Whether this node admits commands.
    pub role: Role,
    /// Tells of new event logs.
    pub meter: Arc<LogMeter>,
}

/// The actor. See the module's documentation.
pub struct ChatShard {
    parts: Parts,
    lifeline: Lifeline,
    /// Its own stable name, handed to the log.
    this: Arc<Mutex<Option<Handle<ChatShard>>>>,
    /// How far the stream was read; none while that is not known.
    state: Option<StreamState>,
    /// When the database last did not say how far the stream is.
    unsaid: Option<Instant>,
    /// When that was last told.
    told: Option<Instant>,
    epoch: Epoch,
    /// The incarnation of the event log that knows of this shard.
    log: u64,
    /// Rooms that did not take entries, until they have taken the message that says so.
    lost: BTreeSet<RoomId>,
}

impl ChatShard {
    /// A shard that begins an epoch when it starts.
    pub fn new(parts: Parts, this: Arc<Mutex<Option<Handle<ChatShard>>>>, lifeline: Lifeline) -> ChatShard {
        ChatShard {
            parts,
            lifeline,
            this,
            state: None,
            unsaid: None,
            told: None,
            epoch: Epoch::default(),
            log: 0,
            lost: BTreeSet::new(),
        }
    }

    /// Begins an epoch and then looks how far the stream is: everything that is committed after this
    /// arrives as a message, so nothing can be missed between the two. Where everything before it has arrived
    /// too, that is known already, and a database that is away keeps nobody from going on.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        self.parts.gate.close();
        self.void_all();
        self.log = self.log_now();
        let Some(this) = self.this.lock().clone() else {
            self.lifeline.fail("the shard has no name yet");
            return ctx.stop();
        };
        let begun = self.parts.log.send(Begin { stream: StreamId::Chat(self.parts.shard), owner: this.port() });
        ctx.wait(begun.into_actor(self).map(|begun, shard, ctx| match begun {
            Ok(Begun { epoch, unbroken, .. }) => {
                shard.epoch = epoch.unwrap_or_default();
                if unbroken && shard.state.is_some() {
                    shard.open_if_begun();
                } else {
                    shard.look(ctx);
                }
            }
            Err(why) => {
                shard.lifeline.fail(why);
                ctx.stop();
            }
        }));
    }

    /// Reads how far the stream is. A database that is away is asked again later: shards that gave up because of it
    /// would soon take all of chat with them, and what is above chat. A log that cannot be read is another matter:
    /// waiting does not mend it.
    fn look(&mut self, ctx: &mut Context<Self>) {
        self.state = None;
        let store = self.parts.store.clone();
        let work = async move {
            let database = store.database.clone();
            let streams = database.answered(tokio::task::spawn_blocking(move || store.streams())).await;
            let read = streams.map_err(|error| Unknown::Away(error.to_string()))?;
            read.map_err(|error| Unknown::Broken(error.to_string()))?
        };
        ctx.wait(work.into_actor(self).map(|streams, shard, ctx| match streams {
            Ok(streams) => {
                let own = shard.parts.shard;
                let state = streams.get(usize::from(own)).copied().unwrap_or_default();
                shard.state = Some(state);
                shard.unsaid = None;
                if shard.told.take().is_some() {
                    tracing::info!(shard = own, "it is known again how far the chat stream is");
                }
                shard.parts.store.progress.committed(own, state.sequence);
                shard.parts.store.progress.handed_over(own, state.sequence);
                shard.open_if_begun();
                // Rooms that were active before may have missed what was committed meanwhile.
                shard.lost.extend(shard.parts.rooms.keys().into_iter().filter(|room| room.shard() == own));
                shard.retry_lost();
                // As for ledger and books: the event log died with another node's marker in hand, and has not heard of it.
                if shard.epoch != Epoch::default() && state.epoch > shard.epoch {
                    shard.begin(ctx);
                }
            }
            Err(Unknown::Away(reason)) => {
                let (own, now) = (shard.parts.shard, Instant::now());
                shard.unsaid = Some(now);
                if shard.told.is_none_or(|at| now - at >= TELL_EVERY) {
                    shard.told = Some(now);
                    tracing::warn!(shard = own, reason, "nobody says how far the chat stream is; it waits");
                }
            }
            Err(Unknown::Broken(reason)) => {
                shard.lifeline.fail(reason);
                ctx.stop();
            }
        }));
    }

    /// Whether it is time to ask again how far the stream is.
    fn may_look_again(&self) -> bool {
        self.state.is_none() && self.unsaid.is_none_or(|at| at.elapsed() >= ASK_AGAIN)
    }

    fn log_now(&self) -> u64 {
        self.parts.meter.incarnations.load(Ordering::Relaxed)
    }

    /// Its own marker was read back, so commands are admitted. A standby has no epoch of its own.
    fn open_if_begun(&self) {
        let Some(state) = &self.state else { return };
        if self.epoch != Epoch::default() && state.epoch == self.epoch {
            self.parts.gate.open(self.epoch);
        } else if state.epoch > self.epoch {
            self.parts.gate.close();
        }
    }

    fn committed(&mut self, batch: &Batch, ctx: &mut Context<Self>) {
        // What comes while it is not known how far the stream is will be read with the rest.
        let Some(state) = &mut self.state else { return };
        let before = state.epoch;
        let judged = state.judge(batch);
        let StreamState { epoch, sequence: read_to, .. } = *state;
        let first = match judged {
            Ok(Verdict::Accept(first)) => first,
            Ok(Verdict::NewEpoch) => {
                self.open_if_begun();
                if epoch != before && epoch != self.epoch {
                    self.void_all();
                }
                return;
            }
            Ok(Verdict::Repeat | Verdict::Stale) => return,
            Err(gap) => {
                self.lifeline.fail(gap);
                return ctx.stop();
            }
        };
        // Before the rooms are looked at: whoever begins to listen after that look reads at least up to here.
        self.parts.store.progress.committed(self.parts.shard, read_to);
        let mut of_rooms = BTreeMap::<RoomId, Vec<Item>>::new();
        for (entry, sequence) in Entries::<ChatEntry>::new(&batch.payload).zip(first.0..) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.lifeline.fail(format!("entry {sequence} of chat stream {}: {error}", self.parts.shard));
                    return ctx.stop();
                }
            };
            let sequence = crate::domain::ids::Sequence(sequence);
            let item = Item { sequence, at: batch.at, own: batch.epoch == self.epoch, entry };
            of_rooms.entry(item.entry.room).or_default().push(item);
        }
        self.retry_lost();
        for (room, items) in of_rooms {
            self.hand_over(room, items);
        }
        self.parts.store.progress.handed_over(self.parts.shard, read_to);
    }

    fn hand_over(&mut self, room: RoomId, items: Vec<Item>) {
        if self.lost.contains(&room) {
            return;
        }
        match self.parts.rooms.peek(&room) {
            Some(handle) => {
                if let Err(why) = handle.try_send(Apply(items)) {
                    tracing::warn!(%room, %why, "a room did not take entries and will be read anew");
                    self.lost.insert(room);
                }
            }
            // Whoever is active from now on reads these entries with the rest. If anybody listens, or begins to by one of
            // them, that is now, and they are handed over all the same, so that they are told.
            None if self.parts.audience.hears(room) || items.iter().any(|item| self.is_news_here(&item.entry)) => {
                if let Ok(handle) = self.parts.rooms.get(&room)
                    && let Err(why) = handle.try_send(Apply(items))
                {
                    tracing::warn!(%room, %why, "a room did not take entries and will be read anew");
                    self.lost.insert(room);
                }
            }
            None => {}
        }
    }

    /// Whether somebody with a device on this node may hear of the room from this entry on.
    fn is_news_here(&self, entry: &ChatEntry) -> bool {
        let is_here = |who: AccountId| self.parts.audience.devices(who) > 0;
        match &entry.command {
            Command::Create { .. } | Command::Join(_) => is_here(entry.by),
            Command::Add(who) => is_here(*who),
            Command::Friend(_) => entry.room.pair().is_some_and(|(low, high)| is_here(low) || is_here(high)),
            _ => false,
        }
    }

    fn retry_lost(&mut self) {
        let rooms = &self.parts.rooms;
        self.lost.retain(|room| rooms.peek(room).is_some_and(|handle| handle.try_send(Reload).is_err()));
    }

    /// What the rooms wait for will never be answered.
    fn void_all(&self) {
        let own = |room: &RoomId| room.shard() == self.parts.shard;
        for room in self.parts.rooms.keys().into_iter().filter(own) {
            if let Some(handle) = self.parts.rooms.peek(&room) {
                // One whose queue is full keeps its callers waiting until their patience ends.
                let _ = handle.try_send(Void { tickets: None });
            }
        }
    }

    fn not_written(&self, batch: &Batch) {
        let mut tickets = BTreeMap::<RoomId, Vec<Ticket>>::new();
        for entry in Entries::<ChatEntry>::new(&batch.payload).flatten() {
            tickets.entry(entry.room).or_default().push(entry.ticket);
        }
        for (room, tickets) in tickets {
            if let Some(handle) = self.parts.rooms.peek(&room) {
                let _ = handle.try_send(Void { tickets: Some(tickets) });
            }
        }
    }
}

impl Actor for ChatShard {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.begin(ctx);
        ctx.run_interval(LOOK_EVERY, |shard, ctx| {
            shard.retry_lost();
            // A new event log knows of no owner of the stream, here nor on a standby. Or this node takes over: what others
            // append after the marker counts no more.
            let takes_over = shard.epoch == Epoch::default() && shard.parts.role.may_begin();
            if takes_over || shard.log != shard.log_now() {
                shard.begin(ctx);
            } else if shard.may_look_again() {
                shard.look(ctx);
            }
        });
    }
}

impl Handler<FromLog> for ChatShard {
    type Result = ();

    fn handle(&mut self, message: FromLog, ctx: &mut Self::Context) {
        match message {
            FromLog::Committed(committed) => self.committed(&committed.batch, ctx),
            FromLog::NotWritten { batch, .. } => self.not_written(&batch),
            FromLog::Outrun => self.begin(ctx),
            FromLog::Deposed => {
                self.epoch = Epoch::default();
                self.parts.gate.close();
                self.void_all();
            }
        }
    }
}
