//! Past events for a reader that comes back: `resume_from`.
//!
//! Events are taken from memory as far as it goes back, else from the archive in the database. They are sent no faster
//! than the reader reads. The reader follows the market once everything up to its present entry was sent.

use super::hub::{Hub, Session, reasons};
use super::messages;
use crate::actors::trading::Market;
use crate::actors::trading::market_data::GetEvents;
use crate::domain::event::Event;
use crate::domain::time::Timestamp;
use crate::persistence::events;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Events that are fetched at once.
const AT_ONCE: usize = 256;
/// How often the archive is asked for events that memory has forgotten and the projector has not written yet.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// Sends a session the events of a market after a sequence, and then makes it follow the market.
pub async fn run(hub: Rc<Hub>, session: Rc<Session>, market: Arc<Market>, mut after: u64) {
    let mut missed = 0;
    while !session.outbox.is_closed() {
        if session.outbox.is_behind() {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let Ok(newest) = market.data.send(GetEvents { after, limit: AT_ONCE }).await else {
            return hub.close(&session, reasons::STARTING);
        };
        if after > newest.sequence {
            // A sequence that has not been yet: there is nothing to send before it comes.
            after = newest.sequence;
        }
        let sent = match newest.batches {
            Some(batches) => {
                let mut all = true;
                for batch in &batches {
                    for (sequence, event) in batch.numbered().filter(|(sequence, _)| *sequence > after) {
                        all &= send(&session, &market, sequence, batch.at, event);
                    }
                }
                if let Some(last) = batches.last() {
                    after = after.max(last.feed_after());
                }
                if all && after >= newest.sequence && hub.go_live(&session, market.id, newest.applied) {
                    return;
                }
                all
            }
            None => match archived(&hub, &market, after).await {
                Some(rows) if rows.is_empty() && missed < PATIENCE => {
                    missed += 1;
                    tokio::time::sleep(PAUSE).await;
                    true
                }
                Some(rows) if rows.first().is_some_and(|row| row.sequence == after + 1) => {
                    missed = 0;
                    let mut all = true;
                    for row in rows {
                        all &= send(&session, &market, row.sequence, row.at, &row.event);
                        after = row.sequence;
                    }
                    all
                }
                _ => return hub.close(&session, reasons::TOO_OLD),
            },
        };
        if !sent {
            return hub.close(&session, reasons::SLOW);
        }
    }
}

async fn archived(hub: &Hub, market: &Market, after: u64) -> Option<Vec<events::Archived>> {
    let id = market.id;
    hub.state().query(move |connection| events::after(connection, id, after, AT_ONCE)).await.ok()
}

/// Hands one event to the session if it wants it; false when it cannot take it.
fn send(session: &Session, market: &Market, sequence: u64, at: Timestamp, event: &Event) -> bool {
    if !event.is_public() {
        return true;
    }
    match session.wants(market.id).takes(event, session.user.get()) {
        Some(party) => messages::of_event(market, party, sequence, at, event)
            .is_none_or(|text| session.outbox.event(market.id, sequence, text)),
        None => true,
    }
}
