//! What the event log makes of batches that it did not propose.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::actors::role::State;
use crate::actors::supervision::{ChildSpec, Settings};
use crate::actors::supervisor::Supervisor;
use crate::persistence::log::{Busy, LogReader, Position};
use parking_lot::Mutex;

const STREAM: StreamId = StreamId::Ledger;

/// An engine that takes everything and reports nothing by itself.
#[derive(Default)]
struct Silent(Mutex<Vec<Proposal>>);

impl LogEngine for Silent {
    fn propose(&self, proposal: Proposal) -> Result<(), Busy> {
        self.0.lock().push(proposal);
        Ok(())
    }

    fn end(&self) -> Position {
        Position(0)
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        panic!("nobody reads it");
    }
}

/// Owns the stream, and keeps what it hears.
struct Owner(Arc<Mutex<Vec<FromLog>>>);

impl Actor for Owner {
    type Context = Context<Self>;
}

impl Handler<FromLog> for Owner {
    type Result = ();

    fn handle(&mut self, message: FromLog, _: &mut Self::Context) {
        self.0.lock().push(message);
    }
}

/// A log of node 1 with the owner of its stream, whose epoch has begun.
struct Pair {
    root: Supervisor,
    engine: Arc<Silent>,
    log: Handle<EventLog>,
    owner: Handle<Owner>,
    role: Role,
    meter: Arc<LogMeter>,
    epoch: Epoch,
    heard: Arc<Mutex<Vec<FromLog>>>,
}

impl Pair {
    async fn start() -> Pair {
        let root = Supervisor::root("agora", Settings::default(), &Arbiter::current());
        let heard = Arc::<Mutex<Vec<FromLog>>>::default();
        let told = heard.clone();
        let owner = ChildSpec::new("owner", Arbiter::current(), move |_| Ok(Owner(told.clone())));
        let owner = root.start(owner.mailbox(64)).await.unwrap();
        let (engine, role, meter) = (Arc::<Silent>::default(), Role::alone(1), Arc::<LogMeter>::default());
        let epochs = Arc::new(Epochs::above(Epoch::default(), 1));
        let time = Arc::new(LogTime::new(Arc::new(|| Timestamp(1)), Timestamp(1)));
        let parts = (engine.clone(), role.clone(), meter.clone());
        let log = ChildSpec::new("log", Arbiter::current(), move |lifeline| {
            let (engine, role, meter) = parts.clone();
            Ok(EventLog::new(engine, epochs.clone(), role, meter, time.clone(), lifeline))
        });
        let log = root.start(log).await.unwrap();
        let begun = log.send(Begin { stream: STREAM, owner: owner.port() }).await.unwrap();
        let pair = Pair { root, engine, log, owner, role, meter, epoch: begun.epoch.unwrap(), heard };
        pair.writes(0).await;
        assert!(matches!(pair.hears(1).await.as_slice(), [FromLog::Committed(_)]), "the marker does not come back");
        pair
    }

    /// The engine has written this proposal of the log's.
    async fn writes(&self, proposal: usize) {
        let Proposal { id, batches } = self.engine.0.lock()[proposal].clone();
        self.reads(Some(id), batches).await;
    }

    /// The engine has read these batches.
    async fn reads(&self, proposal: Option<u64>, batches: Vec<Batch>) {
        let committed = |batch: Batch| Committed { position: Position(1), batch: Arc::new(batch) };
        let batches = batches.into_iter().map(committed).collect();
        self.log.send(EngineReport(Report::Committed { proposal, batches })).await.unwrap();
    }

    fn proposals(&self) -> usize {
        self.engine.0.lock().len()
    }

    async fn proposes(&self, entry: u8) {
        let entries = vec![entry];
        assert_eq!(self.log.send(Propose { stream: STREAM, epoch: self.epoch, entries, count: 1 }).await, Ok(Ok(())));
    }

    /// What the owner has heard once that are so many messages.
    async fn hears(&self, messages: usize) -> Vec<FromLog> {
        let begun = Instant::now();
        while self.heard.lock().len() < messages {
            assert!(begun.elapsed() < Duration::from_secs(60), "it hears only {:?}", self.heard.lock());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        std::mem::take(&mut *self.heard.lock())
    }
}

/// A batch of another process.
fn foreign(epoch: Epoch, number: u64, count: u32) -> Batch {
    let payload = Bytes::from(vec![99; count as usize]);
    Batch { stream: STREAM, epoch, number, at: Timestamp(1), count, payload }
}

/// Two processes with one number have begun the same epoch. What the other one has written stands where this one's was
/// to stand, which counts for nobody then.
#[actix_web::test]
async fn other_content_in_the_place_of_a_proposal_is_not_taken_for_it() {
    let pair = Pair::start().await;
    pair.proposes(7).await;
    assert_eq!(pair.proposals(), 2);
    pair.reads(None, vec![foreign(pair.epoch, 2, 1)]).await;
    let heard = pair.hears(2).await;
    assert!(matches!(heard.as_slice(), [FromLog::Outrun, FromLog::Committed(_)]), "{heard:?}");
    let begun = pair.log.send(Begin { stream: STREAM, owner: pair.owner.port() }).await.unwrap();
    assert!(begun.epoch.unwrap() > pair.epoch);
    assert_eq!(pair.proposals(), 2, "what is on its way was taken for done");
    pair.writes(1).await;
    assert_eq!(pair.proposals(), 3);
    pair.root.shutdown().await;
}

#[actix_web::test]
async fn a_batch_that_this_process_never_proposed_outruns_it() {
    for number in [2, 7] {
        let pair = Pair::start().await;
        pair.reads(None, vec![foreign(pair.epoch, number, 1)]).await;
        let heard = pair.hears(2).await;
        assert!(matches!(heard.as_slice(), [FromLog::Outrun, FromLog::Committed(_)]), "{number}: {heard:?}");
        pair.root.shutdown().await;
    }
}

/// What was lost with a connection is published again.
#[actix_web::test]
async fn what_comes_twice_outruns_nobody() {
    let pair = Pair::start().await;
    pair.proposes(7).await;
    let again = pair.engine.0.lock()[1].batches.clone();
    pair.reads(None, again.clone()).await;
    pair.reads(None, again).await;
    // The other process was later in this place, or has only begun.
    pair.reads(None, vec![foreign(pair.epoch, 1, 0), foreign(pair.epoch, 2, 1)]).await;
    let heard = pair.hears(4).await;
    assert!(heard.iter().all(|message| matches!(message, FromLog::Committed(_))), "{heard:?}");
    pair.root.shutdown().await;
}

/// Two processes with one number would each begin a newer epoch than the other's for ever.
#[actix_web::test]
async fn a_process_whose_number_was_given_away_steps_down_before_its_namesake() {
    for (taken, state) in [(false, State::Active), (true, State::Standby)] {
        let pair = Pair::start().await;
        pair.meter.number_taken.store(taken, Ordering::Relaxed);
        let newer = Epoch { counter: pair.epoch.counter + 5, node: 1 };
        pair.reads(None, vec![foreign(newer, 1, 0)]).await;
        let heard = pair.hears(2).await;
        let told = match heard.as_slice() {
            [FromLog::Outrun, FromLog::Committed(_)] => State::Active,
            [FromLog::Deposed, FromLog::Committed(_)] => State::Standby,
            _ => panic!("{heard:?}"),
        };
        assert_eq!((told, pair.role.state()), (state, state));
        pair.root.shutdown().await;
    }
}
