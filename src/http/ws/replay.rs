//! Past events for a reader that comes back: `resume_from`.
//!
//! Events are taken from memory as far as it goes back, else from the archive in the database. They are sent no faster
//! than the reader reads. The reader follows the market once everything up to its present entry was sent.
//!
//! Invariant: no public event is sent twice, and none is left out. Private events have no sequence of their own, so
//! those that follow the public event from which a reader resumes are sent again: the reader may not have got them.
//! Where memory and the archive meet, those between two public events may come twice.

use super::hub::{Hub, Session, reasons};
use super::messages;
use crate::actors::trading::Market;
use crate::actors::trading::market_data::GetEvents;
use crate::domain::event::Event;
use crate::domain::ids::Sequence;
use crate::domain::replica::MarketOutcomes;
use crate::domain::time::Timestamp;
use crate::persistence::events::{self, Archived, Place};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Events that are fetched at once.
const AT_ONCE: usize = 256;
/// How often the archive is asked for events that memory has forgotten and the projector has not written yet.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// Sends a session the events of a market after a sequence, and then makes it follow the market.
pub async fn run(hub: Rc<Hub>, session: Rc<Session>, market: Arc<Market>, after: u64) {
    let mut replay = Replay::new(session.clone(), market.clone(), after);
    while !session.outbox.is_closed() {
        if !session.wants(market.id).any() {
            // It has gone, or does not want events any more.
            return session.set_replaying(market.id, false);
        }
        if !hub.keep(market.id) && !hub.activate(BTreeSet::from([market.id])).await {
            return hub.close(&session, reasons::STARTING);
        }
        if session.outbox.is_behind() {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        match replay.round(&hub).await {
            Ok(Round::Sent) => {}
            Ok(Round::Nothing) => tokio::time::sleep(PAUSE).await,
            Ok(Round::Live) => return,
            Err(reason) => return hub.close(&session, reason),
        }
    }
}

/// What became of one round.
enum Round {
    /// There was something to send.
    Sent,
    /// There was nothing to send, and the session cannot follow the market yet.
    Nothing,
    /// The session follows the market.
    Live,
}

/// How far a session has caught up with a market.
struct Replay {
    session: Rc<Session>,
    market: Arc<Market>,
    /// The newest public event that was sent, or from which it began.
    after: u64,
    /// Batches up to this entry were sent, if they came from memory.
    done: Sequence,
    /// Of the batch that begins with this entry, so many events were sent.
    within: (Sequence, usize),
    /// How far the archive was read, if the newest events came from there.
    place: Option<Place>,
    /// How often in a row neither memory nor the archive had what comes next.
    missed: u32,
}

impl Replay {
    fn new(session: Rc<Session>, market: Arc<Market>, after: u64) -> Replay {
        let (done, within) = (Sequence::default(), (Sequence::default(), 0));
        Replay { session, market, after, done, within, place: None, missed: 0 }
    }

    /// Sends what comes next.
    ///
    /// # Errors
    /// The reason for which the connection must end.
    async fn round(&mut self, hub: &Hub) -> Result<Round, &'static str> {
        let asked = GetEvents { after: self.after, done: self.done, limit: AT_ONCE };
        let newest = self.market.data.send(asked).await.map_err(|_| reasons::STARTING)?;
        // A sequence that has not been yet: there is nothing to send before it comes.
        self.after = self.after.min(newest.sequence);
        let Some(batches) = newest.batches else { return self.archived(hub).await };
        (self.place, self.missed) = (None, 0);
        for batch in &batches {
            if !self.batch(batch)? {
                return Ok(Round::Sent);
            }
        }
        // As long as memory gives less than it was asked for, that is all.
        let events: usize = batches.iter().map(|batch| batch.events.len()).sum();
        if events < AT_ONCE && hub.go_live(&self.session, self.market.id, newest.applied) {
            return Ok(Round::Live);
        }
        Ok(if batches.is_empty() { Round::Nothing } else { Round::Sent })
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
