//! Which sessions hear of which rooms.
//!
//! The sessions of one HTTP worker are its crowd and live on its thread. Whoever has something to say to a room tells
//! each crowd once, and the crowd tells its sessions without a further hop between threads, so that a message costs
//! what is connected, not what is known, and one message between threads for each worker, not for each session. What
//! becomes of memberships goes the same way, so it keeps its place among the events of its room.
//!
//! Invariants: a session is told of a room only while its user is a member; one that does not take an event gets no
//! more of them and ends, so that it is never served with holes.

mod calls;
mod crowd;
mod outbox;

pub use crowd::Crowd;
pub use outbox::Outbox;

use super::events::Delivered;
use crate::domain::chat::{RoomId, SHARDS};
use crate::domain::ids::AccountId;
use actix::prelude::*;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One connected session, as everybody else sees it.
#[derive(Debug)]
pub struct Session {
    /// Its number, never used again.
    pub id: u64,
    /// Whose it is.
    pub account: AccountId,
    inbox: Arc<Inbox>,
}

static NEWEST: AtomicU64 = AtomicU64::new(0);

impl Session {
    fn new(account: AccountId, inbox: Arc<Inbox>) -> Session {
        Session { id: NEWEST.fetch_add(1, Ordering::Relaxed) + 1, account, inbox }
    }

    /// Hands over an event.
    pub fn deliver(&self, event: &Arc<Delivered>) {
        self.inbox.put(News::Session(self.id, event.clone()));
    }
}

/// What a crowd hears.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
enum News {
    /// For everybody who hears of a room, one session left out if so wanted.
    Room(RoomId, Arc<Delivered>, Option<u64>),
    /// For all sessions of a user.
    User(AccountId, Arc<Delivered>),
    /// For one session.
    Session(u64, Arc<Delivered>),
    /// A user is a member now.
    Join(RoomId, AccountId),
    /// A user is a member no more.
    Leave(RoomId, AccountId),
}

/// The way to one crowd.
#[derive(Debug)]
struct Inbox {
    to: Recipient<News>,
    /// Something was not taken: its sessions have holes.
    missed: AtomicBool,
}

impl Inbox {
    fn put(&self, news: News) {
        if self.to.try_send(news).is_err() {
            self.missed.store(true, Ordering::Relaxed);
        }
    }
}

/// Who hears what. See the module's documentation.
#[derive(Debug, Default)]
pub struct Audience {
    crowds: RwLock<Vec<Arc<Inbox>>>,
    /// How many sessions hear of each room.
    listening: [Mutex<HashMap<RoomId, u32>>; SHARDS as usize],
    /// How many sessions each user has.
    present: Mutex<HashMap<AccountId, u32>>,
}

impl Audience {
    fn shard(&self, room: RoomId) -> &Mutex<HashMap<RoomId, u32>> {
        // Shards are four bits, so there is always one; the first stands in for what cannot be.
        self.listening.get(usize::from(room.shard())).unwrap_or(&self.listening[0])
    }

    fn announce(&self, news: &News) {
        for crowd in self.crowds.read().iter() {
            crowd.put(news.clone());
        }
    }

    /// Tells a crowd about a user, unless the user has no session. One that begins now finds it in the tables.
    fn announce_to(&self, user: AccountId, news: &News) {
        if self.devices(user) > 0 {
            self.announce(news);
        }
    }

    /// A user is a member now.
    pub fn join(&self, room: RoomId, user: AccountId) {
        self.announce_to(user, &News::Join(room, user));
    }

    /// A user is a member no more: hears what was told before this and nothing that is told after it.
    pub fn leave(&self, room: RoomId, user: AccountId) {
        self.announce_to(user, &News::Leave(room, user));
    }

    /// Whether anybody hears of a room.
    pub fn hears(&self, room: RoomId) -> bool {
        self.shard(room).lock().contains_key(&room)
    }

    /// How many sessions hear of a room.
    pub fn size(&self, room: RoomId) -> usize {
        self.shard(room).lock().get(&room).map_or(0, |count| *count as usize)
    }

    /// Tells everybody who hears of a room, one session left out if so wanted.
    pub fn tell(&self, room: RoomId, event: &Arc<Delivered>, except: Option<u64>) {
        if self.hears(room) {
            self.announce(&News::Room(room, event.clone(), except));
        }
    }

    /// Tells all sessions of a user.
    pub fn tell_user(&self, user: AccountId, event: &Arc<Delivered>) {
        self.announce_to(user, &News::User(user, event.clone()));
    }

    /// How many sessions a user has.
    pub fn devices(&self, user: AccountId) -> usize {
        self.present.lock().get(&user).map_or(0, |count| *count as usize)
    }
}

fn count<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: K, more: bool) {
    if more {
        *counts.entry(key).or_default() += 1;
        return;
    }
    if let std::collections::hash_map::Entry::Occupied(mut place) = counts.entry(key) {
        *place.get_mut() = place.get().saturating_sub(1);
        if *place.get() == 0 {
            place.remove();
        }
    }
}
