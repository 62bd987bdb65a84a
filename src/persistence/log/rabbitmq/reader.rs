//! Reading batches back: the newest from memory, older ones from the broker.

use super::Shared;
use super::link::{self, LinkError, Start};
use super::session::decode;
use crate::domain::batch::Batch;
use crate::persistence::log::places::Places;
use crate::persistence::log::{Batches, Committed, LogError, LogReader, Position};
use crossbeam_channel::{Receiver, Sender};
use futures_util::StreamExt;
use lapin::Connection;
use lapin::message::Delivery;
use std::sync::Arc;
use std::time::Duration;

/// Messages that the broker may send ahead, and after how many credit is granted anew.
const CREDIT: u16 = 500;
const GRANT_EVERY: u64 = 50;

/// Offsets that may be missing between two messages. Where the broker begins a segment it notes what its publishers have
/// sent last, and that note takes an offset which no consumer sees. Whether a batch is missing is told by its number.
pub(super) const HOLE: u64 = 1;

/// How far before its place a batch is looked for: earlier versions noted the place of what they copied a little late.
const SLACK: u64 = 4_096;

/// How long the broker may be silent while there is something to read.
const SILENCE: Duration = Duration::from_secs(10);

/// How often reading begins again after a lost connection.
const ATTEMPTS: u32 = 10;

/// Batches that wait between broker and reader.
const AHEAD: usize = 256;

/// How long a connection to the broker is kept for whoever goes on where it stands.
const LASTING: Duration = Duration::from_secs(10);

/// Reads the log: from memory as far as that goes back, else from the broker.
pub(super) struct Reader(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// Not in what is shared with the threads that fetch: they would keep themselves alive.
    places: Places<Older>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Reader {
        Reader(Arc::new(Inner { shared, places: Places::new(LASTING) }))
    }
}

impl LogReader for Reader {
    /// That batches are missing at the broker is known only when the first one arrives, so it is the first item that says
    /// so.
    fn read(&self, from: Position) -> Result<Batches, LogError> {
        let older = self.0.places.take(from);
        Ok(Box::new(Walk { inner: Arc::clone(&self.0), at: from, older }))
    }
}

/// Batches that the broker sends, and where that ends and memory goes on.
struct Older {
    batches: Receiver<Result<Committed, LogError>>,
    to: Position,
}

/// One walk through the log. Dropped on the way, it leaves what the broker was sending to whoever goes on from there.
struct Walk {
    inner: Arc<Inner>,
    at: Position,
    older: Option<Older>,
}

impl Drop for Walk {
    fn drop(&mut self) {
        if let Some(older) = self.older.take() {
            self.inner.places.keep(self.at, older);
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Committed, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(older) = &self.older {
                match older.batches.recv() {
                    Ok(Ok(committed)) => {
                        self.at = committed.position;
                        return Some(Ok(committed));
                    }
                    Ok(Err(error)) => {
                        // Whoever goes on after an error meets it again.
                        self.older = None;
                        return Some(Err(error));
                    }
                    Err(_) => {
                        self.at = self.at.max(older.to);
                        self.older = None;
                    }
                }
            }
            let floor = {
                let tail = self.inner.shared.tail.lock();
                if self.at >= tail.end() {
                    return None;
                }
                if let Some(committed) = tail.after(self.at) {
                    self.at = committed.position;
                    return Some(Ok(committed));
                }
                tail.floor()
            };
            let (send, receive) = crossbeam_channel::bounded(AHEAD);
            let (shared, from) = (Arc::clone(&self.inner.shared), self.at);
            let spawned = std::thread::Builder::new()
                .name("log reader".into())
                .spawn(move || fetch(&shared, from, floor, &send))
                .map_err(|source| LogError::Io { what: "a thread cannot be started".into(), source });
            if let Err(error) = spawned {
                return Some(Err(error));
            }
            self.older = Some(Older { batches: receive, to: floor });
        }
    }
}

/// Reads the batches after `from` up to `to`, on a thread and a connection of its own.
fn fetch(shared: &Shared, from: Position, to: Position, send: &Sender<Result<Committed, LogError>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(send.send(Err(LogError::Broker { reason: error.to_string() }))),
    };
    let mut at = from;
    let mut failures = 0;
    while at < to {
        let result = runtime.block_on(async {
            let connection = link::connect(&shared.options, "read back").await?;
            scan(&connection, &shared.options.queue, at.0, to.0, |offset, delivery| {
                if at == from && offset > at.0 + HOLE {
                    let (asked, oldest) = (from, Position(offset));
                    return Err(Stop::Log(LogError::Pruned { asked, oldest }));
                }
                if offset > at.0 + HOLE {
                    // Whoever begins there anew gets what was left out, or hears that it is gone.
                    let missing = format!("the broker left out the messages from {at} to {offset}");
                    return Err(Stop::Link(LinkError::Lost(missing)));
                }
                at = Position(offset + 1);
                if offset >= to.0 || !link::is_batch(&delivery) {
                    return Ok(());
                }
                let committed = decode(offset, delivery.data).map_err(Stop::Log)?;
                // A receiver that has gone does not want the rest.
                send.send(Ok(committed)).map_err(|_| Stop::Unwanted)
            })
            .await
        });
        match result {
            Ok(()) | Err(Stop::Unwanted) => return,
            Err(Stop::Log(error)) => return drop(send.send(Err(error))),
            Err(Stop::Link(error)) => {
                failures += 1;
                if matches!(error, LinkError::Fatal(_)) || failures >= ATTEMPTS {
                    return drop(send.send(Err(LogError::Broker { reason: error.to_string() })));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Why a scan ended early.
enum Stop {
    Link(LinkError),
    Log(LogError),
    Unwanted,
}

impl From<LinkError> for Stop {
    fn from(error: LinkError) -> Stop {
        Stop::Link(error)
    }
}

/// Hands over the messages from offset `from` on, up to the one that ends the scan: the last before `to`, or the first
/// behind that when those before it are gone. `to` must not be beyond the end.
async fn scan(
    connection: &Connection,
    queue: &str,
    from: u64,
    to: u64,
    mut each: impl FnMut(u64, Delivery) -> Result<(), Stop>,
) -> Result<(), Stop> {
    if from >= to {
        return Ok(());
    }
    let channel = link::patiently("opening a channel", connection.create_channel()).await?;
    let mut consumer = link::consume(&channel, queue, Start::Offset(from), CREDIT).await?;
    let mut count = 0;
    loop {
        let next = tokio::time::timeout(SILENCE, consumer.next()).await;
        let next = next.map_err(|_| LinkError::Lost("the queue delivers nothing".into()))?;
        let delivery = next
            .ok_or_else(|| LinkError::Lost("the consumer was canceled".into()))?
            .map_err(|error| Stop::Link(error.into()))?;
        let offset = link::offset(&delivery)?;
        count += 1;
        if count % GRANT_EVERY == 0 {
            link::acknowledge(&delivery).await?;
        }
        each(offset, delivery)?;
        if offset + 1 >= to {
            link::patiently("closing a channel", channel.close(200, "done".into())).await?;
            return Ok(());
        }
    }
}

/// Whether a batch stands in the queue, between position `from` and the offset `end`. What retention has removed
/// meanwhile was there.
pub(super) async fn has(
    connection: &Connection,
    queue: &str,
    batch: &Batch,
    from: Position,
    end: u64,
) -> Result<bool, LinkError> {
    let (mut first, mut found) = (true, false);
    let scanned = scan(connection, queue, from.0.saturating_sub(1 + SLACK), end, |offset, delivery| {
        if offset >= end {
            return Ok(());
        }
        let removed = std::mem::take(&mut first) && offset >= from.0;
        let same = |other: Batch| other.is_same_place(batch);
        found = removed || (link::is_batch(&delivery) && Batch::decode(&delivery.data.into()).is_ok_and(same));
        if found { Err(Stop::Unwanted) } else { Ok(()) }
    });
    match scanned.await {
        Ok(()) | Err(Stop::Unwanted) => Ok(found),
        Err(Stop::Link(error)) => Err(error),
        Err(Stop::Log(error)) => Err(LinkError::Fatal(error.to_string())),
    }
}

/// The newest batch with an offset below `end`; `Position(0)` when there is none. Messages that are no batches are few.
pub(super) async fn newest_batch_before(connection: &Connection, queue: &str, end: u64) -> Result<Position, LinkError> {
    let mut newest = Position(0);
    for window in [64, 4_096, 262_144, u64::MAX] {
        let from = end.saturating_sub(window);
        let scanned = scan(connection, queue, from, end, |offset, delivery| {
            if offset < end && link::is_batch(&delivery) {
                newest = Position(offset + 1);
            }
            Ok(())
        })
        .await;
        match scanned {
            Ok(()) => {}
            Err(Stop::Link(error)) => return Err(error),
            Err(Stop::Log(error)) => return Err(LinkError::Fatal(error.to_string())),
            Err(Stop::Unwanted) => {}
        }
        if newest > Position(0) || from == 0 {
            break;
        }
    }
    Ok(newest)
}
