//! Which sessions hear of which rooms.
//!
//! Shared by rooms (which change it when somebody joins or goes) and sessions (which come and go), so
//! that a message costs what is connected, not what is known. Invariants: a session is in the audience
//! of a room only while its user is a member; one that does not take an event gets no more of them and
//! is told to end, so that it is never served with holes.

use super::events::{Deliver, Delivered};
use crate::domain::chat::{RoomId, SHARDS};
use crate::domain::ids::AccountId;
use actix::prelude::*;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One connected session.
#[derive(Debug)]
pub struct Session {
    /// Its number, never used again.
    pub id: u64,
    /// Whose it is.
    pub account: AccountId,
    to: Recipient<Deliver>,
    slow: AtomicBool,
    /// The rooms that it is in the audience of.
    rooms: Mutex<HashSet<RoomId>>,
    /// The rooms that its user left while it was still being told of its rooms.
    left: Mutex<Option<HashSet<RoomId>>>,
}

static NEWEST: AtomicU64 = AtomicU64::new(0);

impl Session {
    /// A session that takes events here.
    pub fn new(account: AccountId, to: Recipient<Deliver>) -> Arc<Session> {
        let id = NEWEST.fetch_add(1, Ordering::Relaxed) + 1;
        let left = Mutex::new(Some(HashSet::new()));
        let rooms = Mutex::default();
        Arc::new(Session { id, account, to, slow: AtomicBool::new(false), rooms, left })
    }

    /// Hands over an event; false when it was not taken and the session must end.
    pub fn deliver(&self, event: &Arc<Delivered>) -> bool {
        if self.slow.load(Ordering::Relaxed) {
            return false;
        }
        let taken = self.to.try_send(Deliver(event.clone())).is_ok();
        if !taken {
            self.slow.store(true, Ordering::Relaxed);
        }
        taken
    }

    /// Whether an event was not taken, so that there is a hole in what it has heard.
    pub fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }
}

type Rooms = HashMap<RoomId, Vec<Arc<Session>>>;

/// Who hears what. See the module's documentation.
#[derive(Debug, Default)]
pub struct Audience {
    rooms: [Mutex<Rooms>; SHARDS as usize],
    users: Mutex<HashMap<AccountId, Vec<Arc<Session>>>>,
}

impl Audience {
    fn shard(&self, room: RoomId) -> &Mutex<Rooms> {
        // Shards are four bits, so there is always one; the first stands in for what cannot be.
        self.rooms.get(usize::from(room.shard())).unwrap_or(&self.rooms[0])
    }

    /// A session begins: from now on what becomes of its user's memberships is known to it.
    pub fn arrive(&self, session: &Arc<Session>) {
        self.users.lock().entry(session.account).or_default().push(session.clone());
    }

    /// The session hears of these rooms, but not of those that its user has left meanwhile.
    pub fn attend(&self, session: &Arc<Session>, rooms: impl IntoIterator<Item = RoomId>) {
        let _order = self.users.lock();
        let left = session.left.lock().take().unwrap_or_default();
        for room in rooms.into_iter().filter(|room| !left.contains(room)) {
            add(&mut self.shard(room).lock(), room, session);
        }
    }

    /// The session has ended.
    pub fn depart(&self, session: &Arc<Session>) {
        let mut users = self.users.lock();
        if let Some(sessions) = users.get_mut(&session.account) {
            sessions.retain(|other| other.id != session.id);
            if sessions.is_empty() {
                users.remove(&session.account);
            }
        }
        let rooms = std::mem::take(&mut *session.rooms.lock());
        for room in rooms {
            remove(&mut self.shard(room).lock(), room, |other| other.id == session.id);
        }
    }

    /// A user is a member now.
    pub fn join(&self, room: RoomId, user: AccountId) {
        let users = self.users.lock();
        for session in users.get(&user).into_iter().flatten() {
            if let Some(left) = session.left.lock().as_mut() {
                left.remove(&room);
            }
            add(&mut self.shard(room).lock(), room, session);
        }
    }

    /// A user is a member no more.
    pub fn leave(&self, room: RoomId, user: AccountId) {
        let users = self.users.lock();
        for session in users.get(&user).into_iter().flatten() {
            if let Some(left) = session.left.lock().as_mut() {
                left.insert(room);
            }
            session.rooms.lock().remove(&room);
        }
        remove(&mut self.shard(room).lock(), room, |other| other.account == user);
    }

    /// Whether anybody hears of a room.
    pub fn hears(&self, room: RoomId) -> bool {
        self.shard(room).lock().contains_key(&room)
    }

    /// How many sessions hear of a room, if this one is among them.
    pub fn size_for(&self, room: RoomId, session: u64) -> Option<usize> {
        let rooms = self.shard(room).lock();
        let sessions = rooms.get(&room)?;
        sessions.iter().any(|other| other.id == session).then_some(sessions.len())
    }

    /// Tells everybody who hears of a room, one session left out if so wanted.
    pub fn tell(&self, room: RoomId, event: &Arc<Delivered>, except: Option<u64>) {
        let mut rooms = self.shard(room).lock();
        let Some(sessions) = rooms.get_mut(&room) else { return };
        sessions.retain(|session| except == Some(session.id) || session.deliver(event));
        if sessions.is_empty() {
            rooms.remove(&room);
        }
    }

    /// Tells all sessions of a user.
    pub fn tell_user(&self, user: AccountId, event: &Arc<Delivered>) {
        for session in self.users.lock().get(&user).into_iter().flatten() {
            session.deliver(event);
        }
    }

    /// How many sessions a user has.
    pub fn devices(&self, user: AccountId) -> usize {
        self.users.lock().get(&user).map_or(0, Vec::len)
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.users.lock().values().map(Vec::len).sum()
    }
}

fn add(rooms: &mut Rooms, room: RoomId, session: &Arc<Session>) {
    let sessions = rooms.entry(room).or_default();
    if !sessions.iter().any(|other| other.id == session.id) {
        sessions.push(session.clone());
        session.rooms.lock().insert(room);
    }
}

fn remove(rooms: &mut Rooms, room: RoomId, gone: impl Fn(&Session) -> bool) {
    if let Some(sessions) = rooms.get_mut(&room) {
        sessions.retain(|session| !gone(session));
        if sessions.is_empty() {
            rooms.remove(&room);
        }
    }
}
