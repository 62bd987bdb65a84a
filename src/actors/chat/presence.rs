//! Who is there: by person, over all of that person's devices on all nodes.
//!
//! Changes are gathered for a moment and told in one message per watcher and one letter to the other nodes, so a storm
//! of connections costs a bounded amount of work at a time and never slows a message. Nobody is said to be gone before
//! a short grace, since most who go are back at once; until it is over they are as they were.
//!
//! Invariants: what somebody is stays among the changes until it was told, so a watcher may miss what was only for a
//! moment and always ends with the truth. Who may see somebody is the database's to say: what is heard of it counts at
//! once and is looked up afterwards, since it may be overtaken or lost.

mod elsewhere;

use super::Audience;
use super::audience::Session;
use super::events::{Delivered, Event, Status};
use super::store::Store;
use crate::actors::cluster::Gossip;
use crate::actors::trading::market_data::wall_clock;
use crate::domain::chat::RoomId;
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::persistence::chat::people::{self, VisibleTo};
use actix::prelude::*;
use elsewhere::{ALIVE_EVERY, Letter, Nodes, PEOPLE_AT_ONCE, Told, Word};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;

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

/// Somebody who is connected here types in a room; those who are connected elsewhere shall see it too.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Types(pub RoomId, pub AccountId);

/// Asks who of these people is there.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<(AccountId, Status)>")]
pub struct Ask {
    /// Of whom, and how each of them knows the asker.
    pub people: Vec<(AccountId, Known)>,
}

/// How somebody knows whoever asks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// Not at all.
    Stranger,
    /// They share a room.
    Neighbour,
    /// They are friends, or the same.
    Friend,
}

impl VisibleTo {
    /// Whether those who are known like this may see somebody with this setting.
    pub fn includes(self, known: Known) -> bool {
        match self {
            VisibleTo::Everyone => known >= Known::Neighbour,
            VisibleTo::Friends => known >= Known::Friend,
            VisibleTo::Nobody => false,
        }
    }
}

/// Another node said this; `None`: some letters were missed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Heard(Option<Letter>);

struct Person {
    /// Devices here, and whether each is away.
    devices: HashMap<u64, bool>,
    /// The other nodes with a device of theirs, and whether all devices there are away.
    elsewhere: BTreeMap<u16, bool>,
    visible_to: VisibleTo,
    /// When the last device of all went.
    gone: Option<(Instant, Timestamp)>,
    /// What they were when it went.
    left_as: Status,
}

impl Person {
    fn new(visible_to: VisibleTo) -> Person {
        let (devices, elsewhere, left_as) = (HashMap::new(), BTreeMap::new(), Status::Online);
        Person { devices, elsewhere, visible_to, gone: None, left_as }
    }

    /// What they are; in their grace, what they were.
    fn status(&self) -> Status {
        if self.is_nowhere() {
            self.left_as
        } else if self.devices.values().chain(self.elsewhere.values()).all(|away| *away) {
            Status::Away
        } else {
            Status::Online
        }
    }

    /// What other nodes are told.
    fn told(&self) -> Option<Told> {
        let away = self.devices.values().all(|away| *away);
        (!self.devices.is_empty()).then_some(Told { away, visible_to: self.visible_to })
    }

    fn is_nowhere(&self) -> bool {
        self.devices.is_empty() && self.elsewhere.is_empty()
    }

    /// Whether nothing was ever known of them.
    fn is_fresh(&self) -> bool {
        self.is_nowhere() && self.gone.is_none()
    }

    /// The last device of all went, when they were this.
    fn leave(&mut self, since: Instant, left_as: Status) {
        (self.gone, self.left_as) = (Some((since, wall_clock())), left_as);
    }
}

/// What the actor works with.
#[derive(Clone)]
pub struct Parts {
    /// Where it is noted who went when.
    pub store: Store,
    /// Who hears who types.
    pub audience: Arc<Audience>,
    /// This node's number.
    pub node: u16,
    /// The way to the other nodes, if there can be any.
    pub gossip: Option<Gossip>,
}

/// The actor. See the module's documentation.
pub struct Presence {
    parts: Parts,
    life: u64,
    people: HashMap<AccountId, Person>,
    /// Those in their grace, in the order in which they went.
    leaving: VecDeque<(Instant, AccountId)>,
    watchers: HashMap<AccountId, HashMap<u64, Arc<Session>>>,
    watched: HashMap<u64, BTreeSet<AccountId>>,
    changed: BTreeSet<AccountId>,
    /// Those that went, to be noted in the database.
    seen: BTreeMap<AccountId, Timestamp>,
    noting: bool,
    /// Those of whom it has to be looked up who may see them.
    doubtful: BTreeSet<AccountId>,
    looking: bool,
    nodes: Nodes,
    /// Those whose devices here the other nodes have to hear of.
    news: BTreeSet<AccountId>,
    /// The newest letter's number, and when it was sent.
    letters: (u64, Option<Instant>),
    /// Whether the other nodes are to be told everything.
    tell_all: bool,
}

impl Presence {
    /// Nobody is there yet.
    pub fn new(parts: Parts) -> Presence {
        Presence {
            parts,
            life: rand::random(),
            people: HashMap::new(),
            leaving: VecDeque::new(),
            watchers: HashMap::new(),
            watched: HashMap::new(),
            changed: BTreeSet::new(),
            seen: BTreeMap::new(),
            noting: false,
            doubtful: BTreeSet::new(),
            looking: false,
            nodes: Nodes::default(),
            news: BTreeSet::new(),
            letters: (0, None),
            tell_all: true,
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
        person.visible_to.includes(Known::Friend).then(|| person.status())
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        for (node, people) in self.nodes.forget(Instant::now()) {
            tracing::info!(node, people = people.len(), "a node is silent; its people count as gone");
            people.into_iter().for_each(|who| self.told_elsewhere(node, who, None));
        }
        let mut now: BTreeSet<AccountId> = self.changed.iter().take(AT_ONCE).copied().collect();
        self.changed.retain(|who| !now.contains(who));
        let over = self.graces_over();
        now.extend(over.keys());
        let mut told = HashMap::<u64, (Arc<Session>, Vec<(AccountId, Status)>)>::new();
        for who in &now {
            let Some(mut status) = self.seen_by_friends(*who) else { continue };
            if let Some(at) = over.get(who) {
                status = Status::Offline(Some(*at));
            }
            for (id, session) in self.watchers.get(who).into_iter().flatten() {
                let entry = told.entry(*id).or_insert_with(|| (session.clone(), Vec::new()));
                entry.1.push((*who, status));
            }
        }
        for (session, changes) in told.into_values() {
            session.deliver(&Delivered::about_people(Event::Presence(changes)));
        }
        for (who, at) in over {
            self.people.remove(&who);
            self.seen.insert(who, at);
        }
        self.write_letters();
        self.note(ctx);
        self.look_up(ctx);
    }

    /// Those whose grace is over now, and when they went.
    fn graces_over(&mut self) -> BTreeMap<AccountId, Timestamp> {
        let mut over = BTreeMap::new();
        while over.len() < AT_ONCE
            && let Some((since, who)) = self.leaving.front().copied()
            && since.elapsed() >= GRACE
        {
            self.leaving.pop_front();
            // Whoever came back and went again stands in the queue a second time.
            let gone = self.people.get(&who).and_then(|person| person.gone);
            if let Some((_, at)) = gone.filter(|(gone, _)| *gone == since) {
                over.insert(who, at);
            }
        }
        over
    }

    /// Tells the other nodes what they have to hear.
    fn write_letters(&mut self) {
        if self.parts.gossip.is_none() {
            return self.news.clear();
        }
        if std::mem::take(&mut self.tell_all) {
            self.news.clear();
            let all = self.people.iter().filter_map(|(who, person)| Some((*who, Some(person.told()?))));
            let all: Vec<_> = all.collect();
            self.write_letter(true, all.get(..PEOPLE_AT_ONCE.min(all.len())).unwrap_or_default().to_vec(), Vec::new());
            for rest in all.chunks(PEOPLE_AT_ONCE).skip(1) {
                self.write_letter(false, rest.to_vec(), Vec::new());
            }
            return;
        }
        // Whoever is in their grace here is still said to be there.
        let graced = |who: &AccountId| self.people.get(who).is_some_and(|person| person.gone.is_some());
        let ready: BTreeSet<AccountId> =
            self.news.iter().filter(|who| !graced(who)).take(PEOPLE_AT_ONCE).copied().collect();
        let alive = self.letters.1.is_some_and(|at| at.elapsed() < ALIVE_EVERY);
        if ready.is_empty() && alive {
            return;
        }
        self.news.retain(|who| !ready.contains(who));
        let told = |who: AccountId| (who, self.people.get(&who).and_then(Person::told));
        self.write_letter(false, ready.into_iter().map(told).collect(), Vec::new());
    }

    fn write_letter(
        &mut self,
        anew: bool,
        people: Vec<(AccountId, Option<Told>)>,
        visible: Vec<(AccountId, VisibleTo)>,
    ) {
        self.letters = (self.letters.0 + 1, Some(Instant::now()));
        self.tell(Word::People { number: self.letters.0, anew, people, visible });
    }

    fn tell(&self, word: Word) {
        let Some(gossip) = &self.parts.gossip else { return };
        let letter = Letter { node: self.parts.node, life: self.life, word };
        // One that is dropped is missed by its number and asked for.
        if let Ok(bytes) = postcard::to_stdvec(&letter) {
            gossip.tell(bytes);
        }
    }

    /// A node says how somebody is there; `None`: not any more.
    fn told_elsewhere(&mut self, node: u16, who: AccountId, told: Option<Told>) {
        match told {
            Some(Told { away, visible_to }) => {
                let person = self.people.entry(who).or_insert_with(|| Person::new(visible_to));
                let (fresh, before) = (person.is_fresh(), person.status());
                person.elsewhere.insert(node, away);
                person.gone = None;
                if fresh || before != person.status() {
                    self.changed.insert(who);
                }
                // One of the two has not heard of a change yet.
                if person.visible_to != visible_to {
                    self.doubtful.insert(who);
                }
            }
            None => {
                let Some(person) = self.people.get_mut(&who) else { return };
                let before = person.status();
                if person.elsewhere.remove(&node).is_none() {
                    return;
                }
                if person.is_nowhere() {
                    // That node has waited already.
                    let since = Instant::now().checked_sub(GRACE).unwrap_or_else(Instant::now);
                    person.leave(since, before);
                    self.leaving.push_front((since, who));
                } else if person.status() != before {
                    self.changed.insert(who);
                }
            }
        }
    }

    /// Sets who may see somebody. Friends hear at once that whoever hides is gone, and nothing after that.
    fn set_visible(&mut self, who: AccountId, visible_to: VisibleTo) {
        let Some(person) = self.people.get_mut(&who) else { return };
        let before = std::mem::replace(&mut person.visible_to, visible_to);
        if before != visible_to && !person.devices.is_empty() {
            self.news.insert(who);
        }
        let (was, is) = (before.includes(Known::Friend), visible_to.includes(Known::Friend));
        if was && !is {
            let event = Delivered::about_people(Event::Presence(vec![(who, Status::Offline(None))]));
            for session in self.watchers.get(&who).into_iter().flat_map(HashMap::values) {
                session.deliver(&event);
            }
        } else if !was && is {
            self.changed.insert(who);
        }
    }

    /// Somebody has chosen this just now.
    fn hear_visible(&mut self, who: AccountId, visible_to: VisibleTo) {
        if self.people.contains_key(&who) {
            self.set_visible(who, visible_to);
            self.doubtful.insert(who);
        }
    }

    /// Notes in the database who went when, one transaction at a time.
    fn note(&mut self, ctx: &mut Context<Self>) {
        if self.noting || self.seen.is_empty() {
            return;
        }
        self.noting = true;
        let seen: Vec<_> = std::mem::take(&mut self.seen).into_iter().collect();
        let database = self.parts.store.database.clone();
        let work = tokio::task::spawn_blocking(move || {
            let noted = database.write(|conn| people::seen(conn, &seen));
            noted.map_err(|error| tracing::warn!(%error, people = seen.len(), "who was last seen when is not noted"))
        });
        ctx.spawn(work.into_actor(self).map(|_, presence, _| presence.noting = false));
    }

    /// Looks up who may see those of whom that is in doubt, as often as it takes.
    fn look_up(&mut self, ctx: &mut Context<Self>) {
        if self.looking || self.doubtful.is_empty() {
            return;
        }
        self.looking = true;
        let asked: Vec<AccountId> = self.doubtful.iter().take(AT_ONCE).copied().collect();
        self.doubtful.retain(|who| asked.binary_search(who).is_err());
        let (database, people) = (self.parts.store.database.clone(), asked.clone());
        let work = tokio::task::spawn_blocking(move || database.read(|conn| people::get_all(conn, &people)));
        ctx.spawn(work.into_actor(self).map(move |found, presence, _| {
            presence.looking = false;
            let Ok(Ok(found)) = found else { return presence.doubtful.extend(asked) };
            let found: HashMap<_, _> = found.into_iter().map(|person| (person.account, person.visible_to)).collect();
            for who in asked {
                // What is in doubt again was changed meanwhile.
                if !presence.doubtful.contains(&who) {
                    presence.set_visible(who, found.get(&who).copied().unwrap_or_default());
                }
            }
        }));
    }
}

impl Actor for Presence {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(GATHER, |presence, ctx| presence.tick(ctx));
        let Some(gossip) = &self.parts.gossip else { return };
        let hints = futures_util::stream::unfold(gossip.listen(), |mut hints| async move {
            match hints.recv().await {
                // What cannot be read is of another version, and only a hint.
                Ok(hint) => Some((postcard::from_bytes::<Letter>(&hint).ok(), hints)),
                Err(RecvError::Lagged(_)) => Some((None, hints)),
                Err(RecvError::Closed) => None,
            }
        });
        ctx.add_message_stream(futures_util::StreamExt::map(hints, Heard));
    }
}

impl Handler<Heard> for Presence {
    type Result = ();

    fn handle(&mut self, Heard(letter): Heard, _: &mut Self::Context) {
        let Some(Letter { node, life, word }) = letter.filter(|letter| letter.node != self.parts.node) else { return };
        match word {
            Word::People { number, anew, people, visible } => {
                visible.into_iter().for_each(|(who, visible_to)| self.hear_visible(who, visible_to));
                let news = self.nodes.read((node, life), number, anew, people, Instant::now());
                news.people.into_iter().for_each(|(who, told)| self.told_elsewhere(node, who, told));
                if news.ask {
                    self.tell(Word::Ask(node));
                }
                if news.missed {
                    // Among it may have been who may see whom.
                    let here = self.people.iter().filter(|(_, person)| !person.devices.is_empty());
                    self.doubtful.extend(here.map(|(who, _)| *who));
                }
            }
            Word::Ask(node) => self.tell_all |= node == self.parts.node,
            Word::Typing(room, who) => {
                if self.parts.audience.size(room) <= super::TYPING_AUDIENCE {
                    self.parts.audience.tell(room, &Delivered::of(room, Some(who), Event::Typing(who)), None);
                }
            }
        }
    }
}

impl Handler<Arrive> for Presence {
    type Result = ();

    fn handle(&mut self, Arrive { session, visible_to, watch }: Arrive, _: &mut Self::Context) {
        let person = self.people.entry(session.account).or_insert_with(|| Person::new(visible_to));
        let (told, fresh, before) = (person.told(), person.is_fresh(), person.status());
        person.gone = None;
        person.devices.insert(session.id, false);
        if fresh || before != person.status() {
            self.changed.insert(session.account);
        }
        // It was read a while ago.
        self.doubtful.insert(session.account);
        if told != person.told() {
            self.news.insert(session.account);
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
        let who = session.account;
        let Some(person) = self.people.get_mut(&who) else { return };
        let (told, before) = (person.told(), person.status());
        if person.devices.remove(&session.id).is_none() {
            return;
        }
        if told != person.told() {
            self.news.insert(who);
        }
        if person.is_nowhere() {
            let now = Instant::now();
            person.leave(now, before);
            self.leaving.push_back((now, who));
        } else if person.status() != before {
            self.changed.insert(who);
        }
    }
}

impl Handler<SetAway> for Presence {
    type Result = ();

    fn handle(&mut self, SetAway(session, away): SetAway, _: &mut Self::Context) {
        let Some(person) = self.people.get_mut(&session.account) else { return };
        let (told, before) = (person.told(), person.status());
        if let Some(device) = person.devices.get_mut(&session.id) {
            *device = away;
        }
        if told != person.told() {
            self.news.insert(session.account);
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
            // A change that waits is told to all soon.
            let waits = self.changed.contains(&other);
            if let Some(status) = self.seen_by_friends(other).filter(|_| !waits) {
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
        self.hear_visible(who, visible_to);
        self.write_letter(false, Vec::new(), vec![(who, visible_to)]);
    }
}

impl Handler<Types> for Presence {
    type Result = ();

    fn handle(&mut self, Types(room, who): Types, _: &mut Self::Context) {
        self.tell(Word::Typing(room, who));
    }
}

impl Handler<Ask> for Presence {
    type Result = MessageResult<Ask>;

    fn handle(&mut self, Ask { people }: Ask, _: &mut Self::Context) -> Self::Result {
        let status = |(who, known): &(AccountId, Known)| {
            let person = self.people.get(who)?;
            person.visible_to.includes(*known).then(|| (*who, person.status()))
        };
        MessageResult(people.iter().filter_map(status).collect())
    }
}
