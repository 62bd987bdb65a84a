//! One room as an actor: admits commands, applies committed entries, tells who listens.
//!
//! Invariants: the room changes only by applying entries of its stream, in order, each once; a waiting
//! caller is answered exactly once, from the outcome of its own entry; commands are admitted in the
//! order in which they came.

mod telling;

use super::events::{Event, Summary};
use super::memory::{Memory, Pace};
use super::store::{Away, Loaded, Store};
use super::{Audience, Done, Gate, Limits, Outcome, Refused};
use crate::actors::directory::Passivate;
use crate::actors::event_log::{EventLog, Propose};
use crate::actors::supervision::{Handle, Lifeline};
use crate::actors::trading::{market_data::wall_clock, next_ticket};
use crate::domain::chat::{
    ChatEntry, ChatReject, ClientMessageId, Command, Effect, Message, MessageSequence, Role, Room, RoomId,
};
use crate::domain::codec::Coded;
use crate::domain::ids::{AccountId, Sequence, Ticket};
use crate::domain::time::Timestamp;
use crate::persistence::chat::messages;
use actix::prelude::*;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Commands of one room that may be on their way through the log.
const MAX_IN_FLIGHT: usize = 1_024;
/// Commands of one room that may wait for admission.
const MAX_QUEUED: usize = 1_024;

/// Where the answer to a command goes.
pub type Reply = oneshot::Sender<Result<Done, Refused>>;

/// Asks for something to be done in the room.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Execute {
    /// Who wants it.
    pub by: AccountId,
    /// Whether whoever wants it keeps order on the whole platform.
    pub warden: bool,
    /// What.
    pub command: Command,
    /// Answered once it is committed and applied, or refused.
    pub reply: Reply,
}

/// A committed entry on its way to its room.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its place in the stream.
    pub sequence: Sequence,
    /// Its time.
    pub at: Timestamp,
    /// Whether it was admitted here, in the present epoch.
    pub own: bool,
    /// The entry.
    pub entry: ChatEntry,
}

/// Entries of one batch that are this room's.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Apply(pub Vec<Item>);

/// Entries may have been missed: everything is to be read anew.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Reload;

/// Entries of these tickets, or of all, will not be answered.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Void {
    /// Those that were not written; `None`: nobody knows of any.
    pub tickets: Option<Vec<Ticket>>,
}

/// Asks for the room as it is now.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<View>")]
pub struct Look(pub AccountId);

/// A room as somebody sees it.
#[derive(Clone, Debug)]
pub struct View {
    /// What it is.
    pub summary: Summary,
    /// What the asker is in it; `None` for those who are no members.
    pub role: Option<Role>,
}

/// What the actor is built from.
#[derive(Clone)]
pub struct Parts {
    /// The log.
    pub log: Handle<EventLog>,
    /// Where the state comes from.
    pub store: Store,
    /// Who hears of which room.
    pub audience: Arc<Audience>,
    /// Of each stream.
    pub gates: Arc<[Arc<Gate>]>,
    /// What is allowed.
    pub limits: Arc<Limits>,
}

struct Pending {
    replies: Vec<Reply>,
    id: Option<(AccountId, ClientMessageId)>,
}

/// What had to be looked up before commands can be admitted.
#[derive(Default)]
struct LookedUp {
    /// Who used which client id where.
    ids: HashMap<(AccountId, ClientMessageId), (RoomId, MessageSequence)>,
    /// Older messages that commands are about.
    subjects: Vec<Message>,
    /// Those of them that are not there.
    absent: Vec<MessageSequence>,
    /// The database did not answer.
    away: bool,
}

/// The actor. See the module's documentation.
pub struct RoomActor {
    parts: Parts,
    lifeline: Lifeline,
    room: Room,
    applied: Sequence,
    memory: Memory,
    pace: Pace,
    queue: VecDeque<Execute>,
    /// Whether a look-up for the front of the queue is under way.
    looking: bool,
    waiting: HashMap<Ticket, Pending>,
    /// Looked up only. Keys come from clients, so its hash is keyed.
    in_flight: HashMap<(AccountId, ClientMessageId), Ticket>,
    /// Who was kicked, if that is what was told last: does not hear of a ban that follows with the room's members.
    kicked: Option<AccountId>,
}

impl RoomActor {
    /// A room that reads itself when it starts.
    pub fn new(id: RoomId, parts: Parts, lifeline: Lifeline) -> RoomActor {
        let pace = Pace::new(parts.limits.room_pace());
        RoomActor {
            parts,
            lifeline,
            room: Room::blank(id),
            applied: Sequence(0),
            memory: Memory::default(),
            pace,
            queue: VecDeque::new(),
            looking: false,
            waiting: HashMap::new(),
            in_flight: HashMap::new(),
            kicked: None,
        }
    }

    /// Reads the room. Entries that are committed meanwhile wait in the mailbox; those that were read
    /// already are left out by their sequence.
    fn load(&mut self, ctx: &mut Context<Self>) {
        let (store, id) = (self.parts.store.clone(), self.room.id);
        let work = async move { store.load(id).await };
        ctx.wait(work.into_actor(self).map(|loaded, actor, ctx| match loaded {
            Ok(Loaded { room, applied, recent }) => {
                (actor.room, actor.applied) = (room, applied);
                actor.memory = Memory::of(recent);
                // Whoever has not got so far hears that there is more.
                actor.tell(None, Event::Head(actor.room.last));
            }
            Err(reason) => {
                actor.lifeline.fail(reason);
                ctx.stop();
            }
        }));
    }

    fn gate(&self) -> Option<&Arc<Gate>> {
        self.parts.gates.get(usize::from(self.room.id.shard()))
    }

    /// Admits what waits, in order; looks up first what is needed for that.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        if self.looking || self.queue.is_empty() {
            return;
        }
        let (mut ids, mut subjects) = (Vec::new(), Vec::new());
        for Execute { by, warden, command, .. } in &self.queue {
            if let Command::Send { client_id: Some(id), .. } = command
                && self.room.sent_as(*by, *id).is_none()
                && !self.in_flight.contains_key(&(*by, *id))
            {
                ids.push((*by, *id));
            }
            if let Some(message) = self.room.subject_of(*by, *warden, command)
                && !self.memory.has(message)
                && !subjects.contains(&message)
            {
                subjects.push(message);
            }
        }
        let ready = self.queue.len();
        if ids.is_empty() && subjects.is_empty() {
            return self.admit_all(ready, &LookedUp::default());
        }
        self.looking = true;
        let (store, room) = (self.parts.store.clone(), self.room.id);
        let work = async move { look_up(&store, room, ids, subjects).await };
        ctx.spawn(work.into_actor(self).map(move |mut found, actor, ctx| {
            actor.looking = false;
            for message in std::mem::take(&mut found.subjects) {
                actor.memory.add_older(message);
            }
            actor.admit_all(ready, &found);
            actor.pump(ctx);
        }));
    }

    fn admit_all(&mut self, count: usize, found: &LookedUp) {
        for _ in 0..count {
            let Some(command) = self.queue.pop_front() else { return };
            self.admit(command, found);
        }
    }

    fn admit(&mut self, Execute { by, warden, command, reply }: Execute, found: &LookedUp) {
        let answer = |reply: Reply, outcome| drop(reply.send(outcome));
        let Some(epoch) = self.gate().and_then(|gate| gate.epoch()) else {
            return answer(reply, Err(Refused::Starting));
        };
        if self.waiting.len() >= MAX_IN_FLIGHT {
            return answer(reply, Err(Refused::Overloaded));
        }
        let now = wall_clock();
        let mut id = None;
        if let Command::Send { client_id: Some(client_id), .. } = &command {
            let key = (by, *client_id);
            if let Some(pending) = self.in_flight.get(&key).and_then(|ticket| self.waiting.get_mut(ticket)) {
                // The same message is on its way already; one outcome answers both.
                return pending.replies.push(reply);
            }
            match found.ids.get(&key) {
                Some((room, before)) if *room == self.room.id => {
                    return answer(reply, Ok(Done { at: now, outcome: Outcome::Written(*before) }));
                }
                Some(_) => return answer(reply, Err(ChatReject::ClientIdTaken.into())),
                None => id = Some(key),
            }
        }
        let missing = self.room.subject_of(by, warden, &command).filter(|message| !self.memory.has(*message));
        // What was not looked for came into question, or was forgotten, only since the look-up began.
        if missing.is_some_and(|message| found.away || !found.absent.contains(&message)) {
            return answer(reply, Err(Refused::Away));
        }
        let subject = command.subject().and_then(|message| self.memory.get(message));
        let entry = self.room.entry(next_ticket(), by, warden, command);
        match self.room.check(now, &entry, subject) {
            Err(reject) => return answer(reply, Err(reject.into())),
            Ok(Some(effect)) => {
                return answer(reply, Ok(Done { at: now, outcome: self.outcome(&effect) }));
            }
            Ok(None) => {}
        }
        let writes = matches!(entry.command, Command::Send { .. } | Command::Edit { .. } | Command::React { .. });
        self.pace.follow(self.parts.limits.room_pace());
        if writes
            && by != AccountId::HOUSE
            && let Err(retry_after_s) = self.pace.take(now)
        {
            return answer(reply, Err(Refused::TooFast { retry_after_s }));
        }
        let (mut entries, mut count) = (Vec::with_capacity(128), 1);
        if let Some(before) = self.room.prelude(&entry.command) {
            // Nobody waits for it.
            self.room.entry(Ticket(0), by, warden, before).encode(&mut entries);
            count += 1;
        }
        entry.encode(&mut entries);
        let proposal = Propose { stream: self.room.id.stream(), epoch, entries, count };
        if self.parts.log.try_send(proposal).is_err() {
            return answer(reply, Err(Refused::Overloaded));
        }
        if let Some(key) = id {
            self.in_flight.insert(key, entry.ticket);
        }
        self.waiting.insert(entry.ticket, Pending { replies: vec![reply], id });
    }

    /// Applies entries in order. One that is about a message that is not in memory waits for it, and
    /// everything else with it.
    fn apply(&mut self, mut items: VecDeque<Item>, ctx: &mut Context<Self>) {
        while let Some(item) = items.pop_front() {
            if item.sequence <= self.applied {
                self.tell_late(&item.entry, ctx);
                continue;
            }
            let subject = item.entry.command.subject().filter(|message| self.room.has(*message));
            let Some(missing) = subject.filter(|message| !self.memory.has(*message)) else {
                self.apply_one(&item);
                continue;
            };
            items.push_front(item);
            let (store, room) = (self.parts.store.clone(), self.room.id);
            let work = async move { store.read(move |conn| messages::get(conn, room, missing)).await };
            ctx.wait(work.into_actor(self).map(move |found, actor, ctx| match found {
                Ok(Some(message)) => {
                    actor.memory.add_older(message);
                    actor.apply(items, ctx);
                }
                Ok(None) | Err(Away) => {
                    actor.lifeline.fail(format!("message {} of room {room} cannot be read", missing.0));
                    ctx.stop();
                }
            }));
            return;
        }
    }

    fn apply_one(&mut self, item: &Item) {
        let Item { sequence, at, entry, .. } = item;
        let subject = entry.command.subject();
        let mut subject = subject.and_then(|message| self.memory.get(message)).cloned();
        let outcome = self.room.apply(*sequence, *at, entry, subject.as_mut());
        self.applied = *sequence;
        let subject = subject.map(Arc::new);
        if let Ok(effect) = &outcome {
            let written = match effect {
                Effect::Sent(message) => {
                    let message = Arc::new((**message).clone());
                    self.memory.add(message.clone());
                    Some(message)
                }
                Effect::Edited(_) | Effect::Deleted(_) | Effect::Reacted(_) => {
                    subject.inspect(|message| self.memory.change(message.clone()))
                }
                _ => subject,
            };
            // Whoever writes is answered before those who listen are told: it may have more to write meanwhile. Whatever
            // else changes the room is told first, so that it is so for everybody once it is acknowledged.
            if matches!(effect, Effect::Sent(_)) {
                self.answer(item, &outcome);
            }
            self.publish(entry, effect, written.as_ref());
        }
        self.answer(item, &outcome);
    }

    /// Answers those who wait for an entry, unless that was done.
    fn answer(&mut self, Item { at, own, entry, .. }: &Item, outcome: &Result<Effect, ChatReject>) {
        if !own {
            return;
        }
        let Some(pending) = self.waiting.remove(&entry.ticket) else { return };
        if let Some(key) = pending.id {
            self.in_flight.remove(&key);
        }
        let done = match outcome {
            Ok(effect) => Ok(Done { at: *at, outcome: self.outcome(effect) }),
            Err(reject) => Err(Refused::Reject(*reject)),
        };
        for reply in pending.replies {
            // A caller that hung up does not want the answer; that is its right.
            let _ = reply.send(done.clone());
        }
    }

    /// What a caller needs of an effect.
    fn outcome(&self, effect: &Effect) -> Outcome {
        match effect {
            Effect::Sent(message) => Outcome::Written(message.sequence),
            Effect::Repeated(sequence) => Outcome::Written(*sequence),
            Effect::Reported(number) => Outcome::Reported(*number),
            _ => Outcome::Room(Box::new(self.summary())),
        }
    }

    fn summary(&self) -> Summary {
        let state = &self.room.state;
        Summary {
            kind: state.kind,
            name: state.name.clone(),
            topic: state.topic.clone(),
            description: state.description.clone(),
            slow_mode_s: state.slow_mode_s,
            members: self.room.members.len(),
            last: self.room.last,
            closed: state.closed,
        }
    }

    fn void(&mut self, tickets: Option<Vec<Ticket>>) {
        let (tickets, why) = match tickets {
            Some(tickets) => (tickets, Refused::LogRefused),
            None => (self.waiting.keys().copied().collect(), Refused::OutcomeUnknown),
        };
        for pending in tickets.iter().filter_map(|ticket| self.waiting.remove(ticket)).collect::<Vec<_>>() {
            if let Some(key) = pending.id {
                self.in_flight.remove(&key);
            }
            pending.replies.into_iter().for_each(|reply| drop(reply.send(Err(why.clone()))));
        }
    }
}

/// Looks up client ids of any age with their senders, and older messages.
async fn look_up(
    store: &Store,
    room: RoomId,
    sent: Vec<(AccountId, ClientMessageId)>,
    asked: Vec<MessageSequence>,
) -> LookedUp {
    let query = move |conn: &mut crate::persistence::db::Connection| {
        let ids = messages::by_client_ids(conn, &sent)?;
        let (mut subjects, mut absent) = (Vec::new(), Vec::new());
        for message in asked {
            match messages::get(conn, room, message)? {
                Some(found) => subjects.push(found),
                None => absent.push(message),
            }
        }
        Ok((ids, subjects, absent))
    };
    // Ids that are newer than the rows are in the room's memory, and so are the newest messages.
    match store.read_now(query).await {
        Ok((ids, subjects, absent)) => {
            let ids = ids.into_iter().map(|(by, id, room, sequence)| ((by, id), (room, sequence))).collect();
            LookedUp { ids, subjects, absent, away: false }
        }
        Err(Away) => LookedUp { away: true, ..LookedUp::default() },
    }
}

impl Actor for RoomActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.load(ctx);
    }
}

impl Passivate for RoomActor {
    fn may_passivate(&self) -> bool {
        self.waiting.is_empty() && self.queue.is_empty() && !self.looking
    }
}

impl Handler<Execute> for RoomActor {
    type Result = ();

    fn handle(&mut self, command: Execute, ctx: &mut Self::Context) {
        if self.queue.len() >= MAX_QUEUED {
            return drop(command.reply.send(Err(Refused::Overloaded)));
        }
        self.queue.push_back(command);
        self.pump(ctx);
    }
}

impl Handler<Apply> for RoomActor {
    type Result = ();

    fn handle(&mut self, Apply(items): Apply, ctx: &mut Self::Context) {
        self.apply(items.into(), ctx);
    }
}

impl Handler<Reload> for RoomActor {
    type Result = ();

    fn handle(&mut self, _: Reload, ctx: &mut Self::Context) {
        self.void(None);
        self.load(ctx);
    }
}

impl Handler<Void> for RoomActor {
    type Result = ();

    fn handle(&mut self, Void { tickets }: Void, _: &mut Self::Context) {
        self.void(tickets);
    }
}

impl Handler<Look> for RoomActor {
    type Result = MessageResult<Look>;

    fn handle(&mut self, Look(who): Look, _: &mut Self::Context) -> Self::Result {
        let role = match self.room.standing(who) {
            crate::domain::chat::Standing::Member(role) => Some(role),
            _ => None,
        };
        MessageResult(self.room.exists().then(|| View { summary: self.summary(), role }))
    }
}
