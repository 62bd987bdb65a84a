//! Who is there: by person, over all of that person's devices.
//!
//! Changes are gathered for a moment and told in one message per watcher, so a storm of connections
//! costs a bounded amount of work at a time and never slows a message. Nobody is said to be gone
//! before a short grace, since most who go are back at once.

use super::audience::Session;
use super::events::{Delivered, Event, Status};
use super::store::Store;
use crate::actors::trading::market_data::wall_clock;
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::persistence::chat::people::{self, VisibleTo};
use actix::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Changes are gathered for this long.
const GATHER: Duration = Duration::from_millis(400);
/// People whose change is told at a time; the others' wait for the next.
const AT_ONCE: usize = 2_000;
/// How long somebody without a device counts as there.
const GRACE: Duration = Duration::from_secs(4);
/// The most people that one session watches.
const MAX_WATCHED: usize = 2_000;

/// A session begins.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Arrive {
    /// Which.
    pub session: Arc<Session>,
    /// Who may see that its user is there.
    pub visible_to: VisibleTo,
    /// Whom it wants to hear of: its user's friends.
    pub watch: Vec<AccountId>,
}

/// A session ends.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Depart(pub Arc<Session>);

/// A session's user is away from the keys, or back.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SetAway(pub Arc<Session>, pub bool);

/// A session wants to hear of somebody from now on, or no more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Watch(pub Arc<Session>, pub AccountId, pub bool);

/// Somebody wants to be seen by others than before.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct SetVisible(pub AccountId, pub VisibleTo);

/// Asks who of these people is there. `friends` says whether the asker is a friend of theirs.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<(AccountId, Status)>")]
pub struct Ask {
    /// Of whom, and whether they are friends of the asker.
    pub people: Vec<(AccountId, bool)>,
}

struct Person {
    /// Devices, and whether each is away.
    devices: HashMap<u64, bool>,
    visible_to: VisibleTo,
    /// When the last device went.
    gone: Option<(Instant, Timestamp)>,
}

impl Person {
    fn status(&self) -> Status {
        match &self.gone {
            Some((_, at)) => Status::Offline(Some(*at)),
            None if self.devices.values().all(|away| *away) => Status::Away,
            None => Status::Online,
        }
    }
}

/// The actor. See the module's documentation.
pub struct Presence {
    store: Store,
    people: HashMap<AccountId, Person>,
    watchers: HashMap<AccountId, HashMap<u64, Arc<Session>>>,
    watched: HashMap<u64, BTreeSet<AccountId>>,
    changed: BTreeSet<AccountId>,
    /// Those that went, to be noted in the database.
    seen: BTreeMap<AccountId, Timestamp>,
    noting: bool,
}

impl Presence {
    /// Nobody is there yet.
    pub fn new(store: Store) -> Presence {
        Presence {
            store,
            people: HashMap::new(),
            watchers: HashMap::new(),
            watched: HashMap::new(),
            changed: BTreeSet::new(),
            seen: BTreeMap::new(),
            noting: false,
        }
    }

    fn watch(&mut self, session: &Arc<Session>, other: AccountId) {
        let watched = self.watched.entry(session.id).or_default();
        if watched.len() < MAX_WATCHED && watched.insert(other) {
            self.watchers.entry(other).or_default().insert(session.id, session.clone());
        }
    }

    fn unwatch(&mut self, session: u64, other: AccountId) {
        if let Some(watchers) = self.watchers.get_mut(&other) {
            watchers.remove(&session);
            if watchers.is_empty() {
                self.watchers.remove(&other);
            }
        }
    }

    /// What a friend may know of somebody.
    fn seen_by_friends(&self, who: AccountId) -> Option<Status> {
        let person = self.people.get(&who)?;
        (person.visible_to != VisibleTo::Nobody).then(|| person.status())
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let over: Vec<AccountId> = self.people.iter().filter(|(_, p)| p.is_over()).map(|(who, _)| *who).collect();
        let mut now: BTreeSet<AccountId> = self.changed.iter().take(AT_ONCE).copied().collect();
        self.changed.retain(|who| !now.contains(who));
        // Those in their grace are told when it is over.
        now.retain(|who| self.people.get(who).is_none_or(|person| person.gone.is_none()));
        now.extend(&over);
        let mut told = HashMap::<u64, (Arc<Session>, Vec<(AccountId, Status)>)>::new();
        for who in now {
            let Some(status) = self.seen_by_friends(who) else { continue };
            for (id, session) in self.watchers.get(&who).into_iter().flatten() {
                let entry = told.entry(*id).or_insert_with(|| (session.clone(), Vec::new()));
                entry.1.push((who, status));
            }
        }
        for (session, changes) in told.into_values() {
            session.deliver(&Delivered::about_people(Event::Presence(changes)));
        }
        for who in over {
            if let Some(Person { gone: Some((_, at)), .. }) = self.people.remove(&who) {
                self.seen.insert(who, at);
            }
        }
        self.note(ctx);
    }

    /// Notes in the database who went when, one transaction at a time.
    fn note(&mut self, ctx: &mut Context<Self>) {
        if self.noting || self.seen.is_empty() {
            return;
        }
        self.noting = true;
        let seen: Vec<_> = std::mem::take(&mut self.seen).into_iter().collect();
        let database = self.store.database.clone();
        let work = tokio::task::spawn_blocking(move || {
            let noted = database.write(|conn| people::seen(conn, &seen));
            noted.map_err(|error| tracing::warn!(%error, people = seen.len(), "who was last seen when is not noted"))
        });
        ctx.spawn(work.into_actor(self).map(|_, presence, _| presence.noting = false));
    }
}

impl Person {
    fn is_over(&self) -> bool {
        self.gone.is_some_and(|(since, _)| since.elapsed() >= GRACE)
    }
}

impl Actor for Presence {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(GATHER, |presence, ctx| presence.tick(ctx));
    }
}

impl Handler<Arrive> for Presence {
    type Result = ();

    fn handle(&mut self, Arrive { session, visible_to, watch }: Arrive, _: &mut Self::Context) {
        let fresh = Person { devices: HashMap::new(), visible_to, gone: None };
        let person = self.people.entry(session.account).or_insert(fresh);
        let before = (person.devices.is_empty() && person.gone.is_none(), person.status());
        (person.visible_to, person.gone) = (visible_to, None);
        person.devices.insert(session.id, false);
        if before.0 || before.1 == Status::Away {
            self.changed.insert(session.account);
        }
        watch.into_iter().for_each(|other| self.watch(&session, other));
    }
}

impl Handler<Depart> for Presence {
    type Result = ();

    fn handle(&mut self, Depart(session): Depart, _: &mut Self::Context) {
        for other in self.watched.remove(&session.id).unwrap_or_default() {
            self.unwatch(session.id, other);
        }
        let Some(person) = self.people.get_mut(&session.account) else { return };
        let before = person.status();
        person.devices.remove(&session.id);
        if person.devices.is_empty() {
            person.gone = Some((Instant::now(), wall_clock()));
        } else if person.status() != before {
            self.changed.insert(session.account);
        }
    }
}

impl Handler<SetAway> for Presence {
    type Result = ();

    fn handle(&mut self, SetAway(session, away): SetAway, _: &mut Self::Context) {
        let Some(person) = self.people.get_mut(&session.account) else { return };
        let before = person.status();
        if let Some(device) = person.devices.get_mut(&session.id) {
            *device = away;
        }
        if person.status() != before {
            self.changed.insert(session.account);
        }
    }
}

impl Handler<Watch> for Presence {
    type Result = ();

    fn handle(&mut self, Watch(session, other, on): Watch, _: &mut Self::Context) {
        if on {
            self.watch(&session, other);
            // What it is now is told with the next changes.
            if let Some(status) = self.seen_by_friends(other) {
                session.deliver(&Delivered::about_people(Event::Presence(vec![(other, status)])));
            }
        } else if self.watched.get_mut(&session.id).is_some_and(|watched| watched.remove(&other)) {
            self.unwatch(session.id, other);
        }
    }
}

impl Handler<SetVisible> for Presence {
    type Result = ();

    fn handle(&mut self, SetVisible(who, visible_to): SetVisible, _: &mut Self::Context) {
        if let Some(person) = self.people.get_mut(&who) {
            person.visible_to = visible_to;
            self.changed.insert(who);
        }
    }
}

impl Handler<Ask> for Presence {
    type Result = MessageResult<Ask>;

    fn handle(&mut self, Ask { people }: Ask, _: &mut Self::Context) -> Self::Result {
        let status = |(who, friend): &(AccountId, bool)| {
            let person = self.people.get(who)?;
            let visible = match person.visible_to {
                VisibleTo::Everyone => true,
                VisibleTo::Friends => *friend,
                VisibleTo::Nobody => false,
            };
            (visible && person.gone.is_none()).then(|| (*who, person.status()))
        };
        MessageResult(people.iter().filter_map(status).collect())
    }
}
