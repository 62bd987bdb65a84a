//! The engine's thread: publishes what is proposed, reads everything back, and connects again when it must.

use super::Shared;
use super::copy::Copied;
use super::link::{self, LinkError, Start};
use super::outbox::Outbox;
use super::reader::{HOLE, has, newest_batch_before};
use super::tail::Tail;
use crate::domain::batch::Batch;
use crate::persistence::log::{AppendError, Committed, LogError, Position, Proposal, Report};
use bytes::Bytes;
use crossbeam_channel::Sender;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::message::Delivery;
use lapin::{Channel, Connection, Consumer};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

/// Messages that the broker may send ahead. It reads so many before it sends the first, so more is slower.
const CREDIT: u16 = 500;

/// Credit is granted anew after so many.
const GRANT_EVERY: u32 = 50;

/// The waits between attempts to connect.
const RETRY_FROM: Duration = Duration::from_millis(50);
const RETRY_UP_TO: Duration = Duration::from_secs(1);

/// How long closing waits for what was taken.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked whether the broker takes anything.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What was published comes back within milliseconds. After so long nobody else is kept waiting for it.
const STALLED_AFTER: Duration = Duration::from_secs(2);

/// A broker that is frozen, or has forgotten us, is left after so long.
const LEFT_AFTER: Duration = Duration::from_secs(10);

/// A pair of connections: a broker that is short of memory blocks those that publish, and reading must go on.
struct Link {
    publishing: Connection,
    _consuming: Connection,
    publisher: Channel,
    consumer: Consumer,
}

/// Runs until the engine is dropped or the log is no longer what it was. The offset at which reading begins is told once
/// the engine is open; what was `copied` must stand before it.
pub(super) fn run(
    shared: &Arc<Shared>,
    proposals: mpsc::UnboundedReceiver<Proposal>,
    reports: mpsc::Sender<Report>,
    copied: Option<Copied>,
    opened: &Sender<Result<u64, LogError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Nobody waits any more when the opener has gone.
            let _ = opened.send(Err(LogError::Broker { reason: error.to_string() }));
            return;
        }
    };
    runtime.block_on(async {
        let mut session = Session {
            shared: Arc::clone(shared),
            outbox: Outbox::new(uuid::Uuid::new_v4().simple().to_string()),
            proposals,
            closing: None,
            known: None,
            copied,
            reports,
        };
        let link = match session.open().await {
            Ok(link) => link,
            Err(error) => return drop(opened.send(Err(error))),
        };
        // Read before anything more is read from the queue.
        let next = session.shared.tail.lock().next();
        if opened.send(Ok(next)).is_ok() {
            session.serve(link).await;
        }
        session.shared.connected.store(false, Ordering::Release);
    });
}

struct Session {
    shared: Arc<Shared>,
    outbox: Outbox,
    proposals: mpsc::UnboundedReceiver<Proposal>,
    /// When waiting for what was taken ends; set once the engine is being dropped.
    closing: Option<Instant>,
    /// The newest batch before the connection was lost, until it was found again.
    known: Option<Committed>,
    /// The newest batch of the local copy, until it was found in the stream.
    copied: Option<Copied>,
    reports: mpsc::Sender<Report>,
}

/// Why a connection is not used any more.
enum End {
    Closed,
    Link(LinkError),
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> End {
        End::Link(error)
    }
}

impl Session {
    async fn open(&mut self) -> Result<Link, LogError> {
        let deadline = Instant::now() + self.shared.options.open_within;
        let mut wait = RETRY_FROM;
        loop {
            match self.connect(None).await {
                Ok(link) => return Ok(link),
                Err(LinkError::Fatal(reason)) => return Err(LogError::Broker { reason }),
                Err(LinkError::Lost(reason)) if Instant::now() + wait > deadline => {
                    return Err(LogError::Broker { reason });
                }
                Err(LinkError::Lost(reason)) => tracing::warn!(reason, "the broker is out of reach; trying again"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_UP_TO);
        }
    }

    /// Connects; with `resume`, to go on reading at that offset.
    async fn connect(&mut self, resume: Option<u64>) -> Result<Link, LinkError> {
        let options = &self.shared.options;
        let publishing = link::connect(options, "publish").await?;
        link::declare(&publishing, options, options.create && resume.is_none()).await?;
        let publisher = link::confirming(&publishing).await?;
        let consuming = link::connect(options, "read").await?;
        let question = uuid::Uuid::new_v4().simple().to_string();
        let end = link::find_end(&publisher, &consuming, &options.queue, &question).await?;
        let next = match resume {
            None => {
                let end = end.proven(&options.queue)?;
                if let Some(Copied { batch, position, part }) = &self.copied
                    && !has(&consuming, &options.queue, batch, *position, end).await?
                {
                    return Err(LinkError::Fatal(format!(
                        "the stream queue {} has lost what was acknowledged: the newest batch of the local copy in {} \
                         is not in it. See \"What is durable\" in docs/operations.md",
                        options.queue,
                        part.display()
                    )));
                }
                self.copied = None;
                let newest = newest_batch_before(&consuming, &options.queue, end).await?;
                *self.shared.tail.lock() = Tail::at(end, newest);
                end
            }
            Some(next) => {
                end.reaches(next, &options.queue)?;
                // Questions and what others append may have filled the place of what was lost, so the end alone proves
                // nothing: the newest batch must come once more.
                self.known = self.shared.tail.lock().newest();
                self.known.as_ref().map_or(next, |known| known.position.0 - 1)
            }
        };
        let channel = link::patiently("opening a channel", consuming.create_channel()).await?;
        let consumer = link::consume(&channel, &options.queue, Start::Offset(next), CREDIT).await?;
        Ok(Link { publishing, _consuming: consuming, publisher, consumer })
    }

    async fn serve(&mut self, mut link: Link) {
        loop {
            self.shared.connected.store(true, Ordering::Release);
            let end = self.exchange(&mut link).await;
            self.shared.connected.store(false, Ordering::Release);
            drop(link);
            match end {
                End::Closed => return,
                End::Link(LinkError::Lost(reason)) => tracing::warn!(reason, "the broker was lost"),
                End::Link(LinkError::Fatal(reason)) => return self.fail(reason).await,
            }
            link = match self.reconnect().await {
                Ok(Some(link)) => link,
                Ok(None) => return,
                Err(reason) => return self.fail(reason).await,
            };
            tracing::info!(unread = !self.outbox.is_empty(), "the broker is back");
        }
    }

    fn stalled(&self, stalled: bool) {
        if self.shared.stalled.swap(stalled, Ordering::AcqRel) != stalled {
            match stalled {
                true => tracing::warn!("the broker takes nothing for now"),
                false => tracing::info!("the broker takes batches again"),
            }
        }
    }

    async fn fail(&self, reason: String) {
        tracing::error!(reason, "the log cannot be used any more");
        let error = AppendError::Lost(reason);
        // A reporter that has gone has nobody to tell.
        let _ = self.reports.send(Report::Failed { error }).await;
    }

    /// `None` when the engine is dropped meanwhile; the error is one that does not heal.
    async fn reconnect(&mut self) -> Result<Option<Link>, String> {
        let mut wait = RETRY_FROM;
        loop {
            // Proposals that come meanwhile are taken: whoever made them asked for that. They are bounded.
            loop {
                match self.proposals.try_recv() {
                    Ok(proposal) => drop(self.take(proposal).await),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    // Without a broker nothing of the rest can be saved.
                    Err(mpsc::error::TryRecvError::Disconnected) => return Ok(None),
                }
            }
            let next = self.shared.tail.lock().next();
            match self.connect(Some(next)).await {
                Ok(link) => return Ok(Some(link)),
                Err(LinkError::Fatal(reason)) => return Err(reason),
                Err(LinkError::Lost(reason)) => tracing::debug!(reason, "the broker is still out of reach"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_UP_TO);
        }
    }

    async fn take(&mut self, proposal: Proposal) -> Vec<(u64, Bytes)> {
        let (publish, report) = self.outbox.take(proposal);
        if let Some(report) = report {
            let _ = self.reports.send(report).await;
        }
        publish
    }

    /// Publishes and reads until the connection ends or the engine is dropped.
    async fn exchange(&mut self, link: &mut Link) -> End {
        // Holds no more than the outbox: proposals that were taken and not reported, which the event log bounds.
        let (outgoing, to_publish) = mpsc::unbounded_channel();
        let (trouble, mut troubled) = mpsc::channel(1);
        let publisher = publish(link.publisher.clone(), self.shared.options.queue.clone(), to_publish);
        // A task of its own: a broker that takes nothing must not keep us from reading.
        let publishing = tokio::spawn(async move {
            if let Err(error) = publisher.await {
                // The first trouble is enough.
                let _ = trouble.try_send(error);
            }
        });
        for (serial, bytes) in self.outbox.unread() {
            let _ = outgoing.send((self.outbox.name(serial), bytes));
        }
        let (mut ungranted, mut first) = (0, true);
        let begun = std::time::Instant::now();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            if self.closing.is_some() && self.outbox.is_empty() {
                break End::Closed;
            }
            let deadline = self.closing.unwrap_or_else(|| Instant::now() + CLOSE_WITHIN);
            tokio::select! {
                next = link.consumer.next() => {
                    let done = match next {
                        Some(Ok(delivery)) => self.delivered(delivery, &mut ungranted, &mut first).await,
                        Some(Err(error)) => Err(error.into()),
                        None => Err(LinkError::Lost("the consumer was canceled".into())),
                    };
                    if let Err(error) = done {
                        break error.into();
                    }
                }
                taken = self.proposals.recv(), if self.closing.is_none() => match taken {
                    Some(proposal) => for (serial, bytes) in self.take(proposal).await {
                        let _ = outgoing.send((self.outbox.name(serial), bytes));
                    },
                    None => self.closing = Some(Instant::now() + CLOSE_WITHIN),
                },
                Some(error) = troubled.recv() => break error.into(),
                _ = looks.tick() => {
                    // Of what was published before this connection nothing can have come back earlier.
                    let waited = self.outbox.waits_since().map_or(Duration::ZERO, |since| since.max(begun).elapsed());
                    // A broker that is short of memory or disk says so, and takes everything once it is not.
                    let blocked = link.publishing.status().blocked();
                    self.stalled(blocked || waited > STALLED_AFTER);
                    if waited > LEFT_AFTER && !blocked {
                        break LinkError::Lost("nothing comes back of what was published".into()).into();
                    }
                }
                () = tokio::time::sleep_until(deadline), if self.closing.is_some() => break End::Closed,
            }
        };
        publishing.abort();
        end
    }

    /// Takes in the next message; `first` says whether it is the first of its consumer.
    async fn delivered(&mut self, delivery: Delivery, ungranted: &mut u32, first: &mut bool) -> Result<(), LinkError> {
        let offset = link::offset(&delivery)?;
        let next = self.shared.tail.lock().next();
        if let Some(known) = self.known.take_if(|known| offset + 1 >= known.position.0) {
            recognize(&known, offset, &delivery)?;
        }
        *ungranted += 1;
        if *ungranted >= GRANT_EVERY {
            link::acknowledge(&delivery).await?;
            *ungranted = 0;
        }
        if offset < next {
            return Ok(());
        }
        if offset > next + HOLE {
            return Err(if *first {
                LinkError::Fatal(format!("the messages from {next} to {offset} are gone: they were not kept"))
            } else {
                // A new consumer that begins there tells the truth.
                LinkError::Lost(format!("the broker left out the messages from {next} to {offset}"))
            });
        }
        if offset > next {
            self.shared.tail.lock().skip();
        }
        *first = false;
        if !link::is_batch(&delivery) {
            self.shared.tail.lock().skip();
            return Ok(());
        }
        let name = link::name(&delivery).to_owned();
        let committed = decode(offset, delivery.data).map_err(|error| LinkError::Fatal(error.to_string()))?;
        self.shared.tail.lock().push(committed.clone(), self.shared.options.cache_bytes);
        for report in self.outbox.came_back(&name, committed) {
            // A reporter that has gone has nobody to tell; the engine is being dropped then.
            let _ = self.reports.send(report).await;
        }
        Ok(())
    }
}

/// Makes sure that the batch that was read from an offset before the connection was lost is still there.
fn recognize(known: &Committed, offset: u64, delivery: &Delivery) -> Result<(), LinkError> {
    let at = known.position.0 - 1;
    // What retention has removed meanwhile was there.
    let same = offset > at
        || (link::is_batch(delivery)
            && Batch::decode(&Bytes::from(delivery.data.clone())).is_ok_and(|batch| batch.is_same_place(&known.batch)));
    match same {
        true => Ok(()),
        false => Err(LinkError::Fatal(format!(
            "another message than the one that was read stands at {at}: batches were lost"
        ))),
    }
}

/// The batch that a message holds.
///
/// # Errors
/// [`LogError::Batch`]: waiting does not mend it.
pub(super) fn decode(offset: u64, data: Vec<u8>) -> Result<Committed, LogError> {
    let position = Position(offset + 1);
    let batch = Batch::decode(&Bytes::from(data)).map_err(|error| LogError::Batch(position, error))?;
    Ok(Committed { position, batch: Arc::new(batch) })
}

/// Publishes in order, many ahead of their confirms.
async fn publish(
    channel: Channel,
    queue: String,
    mut outgoing: mpsc::UnboundedReceiver<(String, Bytes)>,
) -> Result<(), LinkError> {
    let mut confirms = FuturesUnordered::new();
    loop {
        tokio::select! {
            next = outgoing.recv() => match next {
                Some((name, bytes)) => confirms.push(link::publish(&channel, &queue, &name, &bytes).await?),
                None => return Ok(()),
            },
            Some(confirm) = confirms.next(), if !confirms.is_empty() => link::judge(confirm)?,
        }
    }
}
