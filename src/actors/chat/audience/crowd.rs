//! The sessions of one worker, on its thread.
//!
//! Invariant: news reach all outboxes at once and in order; the sessions are called one after the other (see [`Calls`]).

use super::calls::Calls;
use super::{Audience, Inbox, News, Outbox, Session, count};
use crate::domain::chat::RoomId;
use crate::domain::ids::AccountId;
use actix::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// News that may wait for one crowd.
const MAILBOX: usize = 65_536;
/// How often it is looked whether news were missed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// One session, as its crowd sees it.
#[derive(Debug)]
struct Listener {
    id: u64,
    account: AccountId,
    outbox: Rc<Outbox>,
    rooms: RefCell<HashSet<RoomId>>,
    /// The rooms that its user left while it was still being told of its rooms.
    left: RefCell<Option<HashSet<RoomId>>>,
}

type Listeners = BTreeMap<u64, Rc<Listener>>;

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<u64, Rc<Listener>>,
    rooms: HashMap<RoomId, Listeners>,
    users: HashMap<AccountId, Listeners>,
}

/// The sessions of one worker. See the parent module's documentation.
#[derive(Debug)]
pub struct Crowd {
    audience: Arc<Audience>,
    inbox: Arc<Inbox>,
    inner: RefCell<Inner>,
    /// Whose sessions are to be called.
    calls: RefCell<Calls>,
}

thread_local! {
    static OWN: RefCell<Option<Rc<Crowd>>> = const { RefCell::new(None) };
}

impl Crowd {
    /// The crowd of the worker on whose thread this is called.
    pub fn of_worker(audience: &Arc<Audience>) -> Rc<Crowd> {
        let known = OWN.with_borrow(Clone::clone);
        if let Some(known) = known.filter(|known| Arc::ptr_eq(&known.audience, audience) && known.listens()) {
            return known;
        }
        let crowd = Crowd::start(audience);
        OWN.set(Some(crowd.clone()));
        crowd
    }

    fn start(audience: &Arc<Audience>) -> Rc<Crowd> {
        let mut ear = actix::Context::<Ear>::new();
        ear.set_mailbox_capacity(MAILBOX);
        let inbox = Arc::new(Inbox { to: ear.address().recipient(), missed: AtomicBool::new(false) });
        let crowd =
            Rc::new(Crowd { audience: audience.clone(), inbox, inner: RefCell::default(), calls: RefCell::default() });
        ear.run(Ear(crowd.clone()));
        let mut crowds = audience.crowds.write();
        crowds.retain(|other| other.to.connected());
        crowds.push(crowd.inbox.clone());
        drop(crowds);
        crowd
    }

    /// Whether it hears at all; a session of a deaf crowd must end.
    pub fn listens(&self) -> bool {
        self.inbox.to.connected()
    }

    /// A session begins: from now on what becomes of its user's memberships is known to it.
    pub fn arrive(&self, account: AccountId) -> (Arc<Session>, Rc<Outbox>) {
        let session = Arc::new(Session::new(account, self.inbox.clone()));
        let outbox = Rc::new(Outbox::default());
        let listener = Rc::new(Listener {
            id: session.id,
            account,
            outbox: outbox.clone(),
            rooms: RefCell::default(),
            left: RefCell::new(Some(HashSet::new())),
        });
        let mut inner = self.inner.borrow_mut();
        inner.sessions.insert(session.id, listener.clone());
        inner.users.entry(account).or_default().insert(session.id, listener);
        count(&mut self.audience.present.lock(), account, true);
        (session, outbox)
    }

    /// The session hears of these rooms, but not of those that its user has left meanwhile.
    pub fn attend(&self, session: u64, rooms: impl IntoIterator<Item = RoomId>) {
        let mut inner = self.inner.borrow_mut();
        let Some(listener) = inner.sessions.get(&session).cloned() else { return };
        let left = listener.left.take().unwrap_or_default();
        for room in rooms.into_iter().filter(|room| !left.contains(room)) {
            self.add(&mut inner, room, &listener);
        }
    }

    /// Whether a session hears of a room.
    pub fn attends(&self, session: u64, room: RoomId) -> bool {
        self.inner.borrow().rooms.get(&room).is_some_and(|listeners| listeners.contains_key(&session))
    }

    /// The session has ended.
    pub fn depart(&self, session: u64) {
        let mut inner = self.inner.borrow_mut();
        let Some(listener) = inner.sessions.remove(&session) else { return };
        if let Some(own) = inner.users.get_mut(&listener.account) {
            own.remove(&session);
            if own.is_empty() {
                inner.users.remove(&listener.account);
            }
        }
        count(&mut self.audience.present.lock(), listener.account, false);
        for room in listener.rooms.take() {
            self.remove(&mut inner, room, session);
        }
    }

    fn add(&self, inner: &mut Inner, room: RoomId, listener: &Rc<Listener>) {
        if inner.rooms.entry(room).or_default().insert(listener.id, listener.clone()).is_none() {
            listener.rooms.borrow_mut().insert(room);
            count(&mut self.audience.shard(room).lock(), room, true);
        }
    }

    fn remove(&self, inner: &mut Inner, room: RoomId, session: u64) {
        let Some(listeners) = inner.rooms.get_mut(&room) else { return };
        if listeners.remove(&session).is_some() {
            count(&mut self.audience.shard(room).lock(), room, false);
        }
        if listeners.is_empty() {
            inner.rooms.remove(&room);
        }
    }

    fn hear(&self, news: &News) {
        let (mut inner, mut calls) = (self.inner.borrow_mut(), self.calls.borrow_mut());
        let mut put = |listener: &Listener, event| {
            if listener.outbox.put(event) {
                calls.add(listener.outbox.clone());
            }
        };
        match news {
            News::Room(room, event, except) => {
                let listeners = inner.rooms.get(room).into_iter().flat_map(BTreeMap::values);
                for listener in listeners.filter(|listener| *except != Some(listener.id)) {
                    put(listener, event);
                }
            }
            News::User(user, event) => {
                for listener in inner.users.get(user).into_iter().flat_map(BTreeMap::values) {
                    put(listener, event);
                }
            }
            News::Session(session, event) => {
                if let Some(listener) = inner.sessions.get(session) {
                    put(listener, event);
                }
            }
            News::Join(room, user) => {
                for listener in inner.users.get(user).cloned().unwrap_or_default().values() {
                    if let Some(left) = listener.left.borrow_mut().as_mut() {
                        left.remove(room);
                    }
                    self.add(&mut inner, *room, listener);
                }
            }
            News::Leave(room, user) => {
                for listener in inner.users.get(user).cloned().unwrap_or_default().values() {
                    if let Some(left) = listener.left.borrow_mut().as_mut() {
                        left.insert(*room);
                    }
                    listener.rooms.borrow_mut().remove(room);
                    self.remove(&mut inner, *room, listener.id);
                }
            }
        }
    }
}

/// The actor through which a crowd hears.
struct Ear(Rc<Crowd>);

impl Actor for Ear {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let crowd = self.0.clone();
        ctx.spawn(poll_fn(move |context| crowd.calls.borrow_mut().call(context)).into_actor(self));
        ctx.run_interval(LOOK_EVERY, |Ear(crowd), _| {
            if crowd.inbox.missed.swap(false, Ordering::Relaxed) {
                tracing::warn!("a worker was too slow for its chat sessions; they have to resume");
                crowd.inner.borrow().sessions.values().for_each(|listener| listener.outbox.give_up());
            }
        });
    }
}

impl Handler<News> for Ear {
    type Result = ();

    fn handle(&mut self, news: News, _: &mut Self::Context) {
        self.0.hear(&news);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::chat::audience::outbox::WAITING;
    use crate::actors::chat::events::{Delivered, Event};
    use crate::domain::chat::MessageSequence;

    const ADA: AccountId = AccountId(100);

    fn head(room: RoomId, number: u64) -> Arc<Delivered> {
        Delivered::of(room, None, Event::Head(MessageSequence(number)))
    }

    /// The numbers that wait in an outbox.
    async fn heard(outbox: &Outbox) -> Vec<u64> {
        // The crowd's mailbox comes first.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let number = |event: Arc<Delivered>| match event.event {
            Event::Head(number) => number.0,
            _ => 0,
        };
        std::iter::from_fn(|| outbox.take()).map(number).collect()
    }

    #[actix::test]
    async fn memberships_keep_their_place_among_the_events() {
        let audience = Arc::new(Audience::default());
        let crowd = Crowd::of_worker(&audience);
        let [first, second] = [1 << 30, 1 << 31].map(RoomId::made);
        let (session, outbox) = crowd.arrive(ADA);
        // Left while the session was still being told of its rooms.
        audience.leave(second, ADA);
        tokio::time::sleep(Duration::from_millis(20)).await;
        crowd.attend(session.id, [first, second]);
        assert!(audience.hears(first) && !audience.hears(second));
        audience.tell(first, &head(first, 1), None);
        audience.leave(first, ADA);
        audience.tell(first, &head(first, 2), None);
        audience.join(first, ADA);
        audience.tell_user(ADA, &head(first, 3));
        audience.tell(first, &head(first, 4), None);
        audience.tell(first, &head(first, 5), Some(session.id));
        assert_eq!(heard(&outbox).await, [1, 3, 4]);
        assert!(crowd.attends(session.id, first) && audience.size(first) == 1);
        crowd.depart(session.id);
        assert!(!audience.hears(first) && audience.devices(ADA) == 0);
    }

    #[actix::test]
    async fn who_does_not_take_events_gets_no_more_of_them() {
        let audience = Arc::new(Audience::default());
        let crowd = Crowd::of_worker(&audience);
        let room = RoomId::made(1 << 30);
        let (session, outbox) = crowd.arrive(ADA);
        crowd.attend(session.id, [room]);
        let first = |number| outbox.put(&head(room, number));
        assert!((0..=WAITING as u64).all(|number| !first(number)), "nobody waits for a call");
        assert!(outbox.is_slow() && outbox.take().is_none());
        let _ = outbox.put(&head(room, 1));
        assert!(outbox.take().is_none());
    }
}
