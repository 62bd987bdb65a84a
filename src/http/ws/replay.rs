//! Past events for a reader that comes back: `resume_from`.
//!
//! Events are taken from memory as far as it goes back, else from the archive in the database. They are sent no faster
//! than the reader reads. The reader follows the market once everything up to its present entry was sent.
//!
//! Invariant: no public event is sent twice, and none is left out. Private events have no sequence of their own, so
//! those that follow the public event from which a reader resumes are sent again: the reader may not have got them.
//! Memory that begins with the event after that one may lack some of them, so the archive is asked for these.
//! Where memory and the archive meet, those between two public events may come twice.

use super::hub::{ANSWERS_WITHIN, Hub, reasons};
use super::messages;
use super::session::Session;
use crate::actors::trading::Market;
use crate::actors::trading::market_data::{Events, GetEvents};
use crate::domain::event::Event;
use crate::domain::ids::Sequence;
use crate::domain::replica::MarketOutcomes;
use crate::domain::time::Timestamp;
use crate::persistence::events::{self, Archived, Place};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Events that are fetched at once.
const AT_ONCE: usize = 256;
/// How often the archive is asked for events that memory has forgotten and the projector has not written yet.
const PATIENCE: u32 = 100;
/// How often this node is asked for an event that it has not come to yet: five seconds.
const MOST_BEHIND: u32 = 250;
const PAUSE: Duration = Duration::from_millis(20);
/// How long market data that do not answer are waited for. While they are rebuilt, the connection's other markets go on.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// How long the archive is waited for where private events can be nowhere else.
const FOUND_WITHIN: Duration = Duration::from_secs(10);
/// The pause before what did not answer is asked again.
const LONG_PAUSE: Duration = Duration::from_millis(200);

/// What became of one round.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// There was something to send.
    Sent,
    /// There was nothing to send, and the session cannot follow the market yet.
    Nothing,
    /// Who was asked does not answer, or cannot.
    PutOff,
    /// The session follows the market, or does not want its events any more.
    Over,
}

/// What follows from the answer of memory.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Something was sent, and there may be more.
    Sent,
    /// This node has not come to where the reader stands.
    Wait,
    /// Memory does not go back so far.
    Archive,
    /// Private events right after where the reader stands may be older than what memory has.
    LookBack,
    /// Everything up to this entry was sent.
    All(Sequence),
}

/// How far a session has caught up with a market.
pub(super) struct Replay {
    session: Rc<Session>,
    market: Arc<Market>,
    /// Which replay of the session this is.
    number: u64,
    /// The newest public event that was sent, or from which it began.
    after: u64,
    /// Batches up to this entry were sent, if they came from memory.
    done: Sequence,
    /// Of the batch that begins with this entry, so many events were sent.
    within: (Sequence, usize),
    /// How far the archive was read, if the newest events came from there.
    place: Option<Place>,
    /// The event after which private ones were looked for in the archive.
    looked: Option<u64>,
    /// Those that were found and not sent yet.
    older: VecDeque<Archived>,
    /// How often in a row neither memory nor the archive had what comes next.
    missed: u32,
    /// How often in a row this node had not come to where the reader stands.
    behind: u32,
    /// Since when market data do not answer.
    unanswered: Option<Instant>,
    /// Since when the archive cannot be asked for private events.
    unfound: Option<Instant>,
}

impl Replay {
    /// The replay of a market's events after a sequence, which the session does not follow yet.
    pub(super) fn begin(session: Rc<Session>, market: Arc<Market>, after: u64) -> Replay {
        session.outbox.begin(market.id, after);
        let number = session.begin_replay(market.id);
        Replay {
            session,
            market,
            number,
            after,
            done: Sequence::default(),
            within: (Sequence::default(), 0),
            place: None,
            looked: None,
            older: VecDeque::new(),
            missed: 0,
            behind: 0,
            unanswered: None,
            unfound: None,
        }
    }

    /// Sends the session what it has missed, and then makes it follow the market.
    pub(super) async fn run(mut self, hub: Rc<Hub>) {
        let (session, id) = (self.session.clone(), self.market.id);
        while self.goes_on() {
            let there = hub.keep(id) || hub.activate_within(BTreeSet::from([id]), ANSWERED_WITHIN).await;
            if !self.goes_on() {
                return;
            }
            if !there {
                return hub.close(&session, reasons::STARTING);
            }
            if session.outbox.is_behind() {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            match self.round(&hub).await {
                Ok(Round::Sent) => {}
                Ok(Round::Nothing) => tokio::time::sleep(PAUSE).await,
                Ok(Round::PutOff) => tokio::time::sleep(LONG_PAUSE).await,
                Ok(Round::Over) => return,
                Err(reason) if self.goes_on() => return hub.close(&session, reason),
                Err(_) => return,
            }
        }
    }

    /// Whether the session is there still and wants this. Asked after whatever was waited for: what its client has said
    /// meanwhile counts.
    fn goes_on(&self) -> bool {
        !self.session.outbox.is_closed() && self.session.is_replay(self.market.id, self.number)
    }

    /// Sends what comes next.
    ///
    /// # Errors
    /// The reason for which the connection must end.
    async fn round(&mut self, hub: &Hub) -> Result<Round, &'static str> {
        let asked = GetEvents { after: self.after, done: self.done, limit: AT_ONCE };
        let Ok(newest) = self.market.data.send(asked).within(ANSWERS_WITHIN).await else {
            return put_off(&mut self.unanswered, ANSWERED_WITHIN);
        };
        self.unanswered = None;
        if !self.goes_on() {
            return Ok(Round::Over);
        }
        let empty = newest.batches.as_ref().is_none_or(Vec::is_empty);
        match self.take(&newest)? {
            Step::Sent => Ok(Round::Sent),
            Step::Wait => Ok(Round::Nothing),
            Step::Archive => self.archived(hub).await,
            Step::LookBack => self.look_back(hub).await,
            Step::All(applied) if hub.go_live(&self.session, self.market.id, applied) => Ok(Round::Over),
            Step::All(_) if empty => Ok(Round::Nothing),
            Step::All(_) => Ok(Round::Sent),
        }
    }

    /// Sends what memory has of it.
    ///
    /// # Errors
    /// The reason for which the connection must end.
    fn take(&mut self, newest: &Events) -> Result<Step, &'static str> {
        if newest.sequence < self.after {
            // What the reader has got already must not come again. The node that it was connected to was further; or
            // there never was such an event.
            self.behind += 1;
            return if self.behind <= MOST_BEHIND { Ok(Step::Wait) } else { Err(reasons::TOO_OLD) };
        }
        self.behind = 0;
        let Some(batches) = &newest.batches else { return Ok(Step::Archive) };
        let is_private = self.session.wants(self.market.id).user;
        if is_private && !newest.whole && self.looked != Some(self.after) {
            return Ok(Step::LookBack);
        }
        (self.place, self.missed, self.unfound) = (None, 0, None);
        while !self.older.is_empty() {
            if self.session.outbox.is_behind() {
                return Ok(Step::Sent);
            }
            let Some(Archived { sequence, at, event }) = self.older.pop_front() else { break };
            let same = |batch: &Arc<MarketOutcomes>| {
                batch.at == at && batch.numbered().any(|(number, other)| number == sequence && *other == event)
            };
            // What memory has, too, comes with its batch.
            if !batches.iter().any(same) {
                self.event(sequence, at, &event)?;
            }
        }
        for batch in batches {
            if !self.batch(batch)? {
                return Ok(Step::Sent);
            }
        }
        // As long as memory gives less than it was asked for, that is all.
        let events: usize = batches.iter().map(|batch| batch.events.len()).sum();
        Ok(if events < AT_ONCE { Step::All(newest.applied) } else { Step::Sent })
    }

    /// Sends what was not sent of a batch; false when the reader is behind before its end.
    fn batch(&mut self, batch: &MarketOutcomes) -> Result<bool, &'static str> {
        let sent = if self.within.0 == batch.first { self.within.1 } else { 0 };
        for (index, (sequence, event)) in batch.numbered().enumerate().skip(sent) {
            if self.session.outbox.is_behind() {
                self.within = (batch.first, index);
                return Ok(false);
            }
            self.event(sequence, batch.at, event)?;
        }
        self.done = batch.last();
        Ok(true)
    }

    /// The same where memory does not go back so far.
    async fn archived(&mut self, hub: &Hub) -> Result<Round, &'static str> {
        let (id, after, place) = (self.market.id, self.after, self.place);
        let query = hub.state().query(move |connection| events::after(connection, id, after, place, AT_ONCE));
        let (rows, place) = query.await.map_err(|_| reasons::TOO_OLD)?;
        if !self.goes_on() {
            return Ok(Round::Over);
        }
        match rows.first() {
            None if self.missed < PATIENCE => {
                self.missed += 1;
                Ok(Round::Nothing)
            }
            Some(first) if first.sequence <= after + 1 => {
                (self.place, self.missed) = (place, 0);
                for Archived { sequence, at, event } in &rows {
                    self.event(*sequence, *at, event)?;
                }
                Ok(Round::Sent)
            }
            _ => Err(reasons::TOO_OLD),
        }
    }

    /// Looks in the archive for the user's events that follow the one at which the reader stands and precede the next
    /// public one. That there are none is an answer, too.
    async fn look_back(&mut self, hub: &Hub) -> Result<Round, &'static str> {
        // What is committed and not written yet would be found nowhere.
        if hub.state().history_catches_up().await.is_err() {
            return put_off(&mut self.unfound, FOUND_WITHIN);
        }
        let (id, after, mut place) = (self.market.id, self.after, self.place);
        let user = self.session.user.get();
        let mut found = VecDeque::new();
        loop {
            let query = hub.state().query(move |connection| events::after(connection, id, after, place, AT_ONCE));
            let Ok((rows, reached)) = query.await else {
                return put_off(&mut self.unfound, FOUND_WITHIN);
            };
            if !self.goes_on() {
                return Ok(Round::Over);
            }
            let more = rows.last().is_some_and(|last| last.sequence == after);
            let own = |one: &Archived| user.is_some_and(|user| messages::concerns(&one.event, user));
            found.extend(rows.into_iter().filter(|one| one.sequence == after && own(one)));
            if !more {
                break;
            }
            place = reached;
        }
        (self.looked, self.older) = (Some(after), found);
        Ok(Round::Sent)
    }

    /// Hands one event to the session if it is new and the session wants it.
    fn event(&mut self, sequence: u64, at: Timestamp, event: &Event) -> Result<(), &'static str> {
        let is_new = sequence > self.after || (sequence == self.after && !event.is_public());
        if !is_new {
            return Ok(());
        }
        self.after = sequence;
        let (session, market) = (&self.session, &self.market);
        let Some(party) = session.wants(market.id).takes(event, session.user.get()) else { return Ok(()) };
        let text = messages::of_event(market, party, sequence, at, event);
        if text.is_none_or(|text| session.outbox.event(market.id, sequence, text)) {
            return Ok(());
        }
        // It was closed meanwhile, so the reason does not matter any more.
        Err(reasons::SLOW)
    }
}

/// Puts off what did not work, unless it has not worked for too long already.
///
/// # Errors
/// The reason for which the connection must end then: whoever comes back later goes on where it was.
fn put_off(since: &mut Option<Instant>, longest: Duration) -> Result<Round, &'static str> {
    let since = since.get_or_insert_with(Instant::now);
    if since.elapsed() < longest { Ok(Round::PutOff) } else { Err(reasons::STARTING) }
}

#[cfg(test)]
mod tests;
