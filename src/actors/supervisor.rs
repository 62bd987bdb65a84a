//! The supervision tree: who restarts whom.
//!
//! ```ignore
//! let root = Supervisor::root("agora", Settings::default(), &Arbiter::current());
//! let trading = root.branch("trading", Settings::default().rest_for_one()).await?;
//! let book: Handle<OrderBook> = trading
//!     .start(ChildSpec::new("book BTC-USDT", arbiter, move |lifeline| Ok(OrderBook::new(market, lifeline))).mailbox(4096))
//!     .await?;
//! ```
//!
//! A child that crashes (a panic, a failed start, a stop without a reason, a hang if it is watched) is started again
//! by its factory, after a wait that grows; its handle stays the same. A child that needs more restarts than its
//! budget makes its supervisor stop the others and fail in turn, unless the specification prefers the child to be
//! faulted alone. A failed branch is restarted by its parent with all its children, under the parent's budget. When
//! the root fails, [`Supervisor::escalated`] returns and the program should end.

use std::sync::Arc;

use actix::{Actor, ArbiterHandle, Context};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::supervision::{
    ChildSpec, Failure, Handle, Lifeline, Settings, Shutdown, State, Tree, Unreachable,
    child::Child as _,
    overseer::{Overseer, Roster},
    requests::{Adopt, Halt, Revive},
    runner::{Ending, Report},
    tree::Kind,
};

/// Requests to a supervisor that may wait.
const REQUESTS: usize = 1_024;
/// What a branch may take to stop, all its children included.
const BRANCH_STOPS_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

/// One inner node of the tree. Clones are the same node.
#[derive(Clone, Debug)]
pub struct Supervisor {
    overseer: Handle<Overseer>,
    path: String,
    arbiter: ArbiterHandle,
    tree: Tree,
    escalation: watch::Receiver<Option<String>>,
}

impl Supervisor {
    /// Plants a tree. Its supervisors live on `arbiter`, which should have nothing to do that blocks.
    pub fn root(name: &str, settings: Settings, arbiter: &ArbiterHandle) -> Supervisor {
        let tree = Tree::default();
        let (escalate, escalation) = watch::channel(None);
        let spec = overseer(name, settings, arbiter);
        let planted = spec.settle(|level| tree.add(None, name, Kind::Supervisor, level));
        // A tree that has just been made has no place of that name yet.
        let Some(mut kept) = planted else { unreachable!("a new tree is empty") };
        let handle = kept.handle();
        kept.open_at_once();
        let node = kept.node().clone();
        node.starting(1);
        let requests = handle.clone();
        kept.begin(
            1,
            Arc::new(move |report| match report {
                Report::Ready => node.set(State::Running),
                Report::Gone(Ending::Crashed(reason) | Ending::Faulted(reason) | Ending::Fatal(reason)) => {
                    requests.close();
                    node.crashed(&reason, State::Faulted);
                    tracing::error!(reason, "the root of the tree has failed");
                    escalate.send_replace(Some(reason));
                }
                Report::Gone(Ending::Planned | Ending::Finished | Ending::Passivated) => {
                    requests.close();
                    node.set(State::Stopped);
                }
            }),
        );
        Supervisor { overseer: handle, path: name.to_owned(), arbiter: arbiter.clone(), tree, escalation }
    }

    /// Adds a supervisor below this one, for children of their own.
    pub async fn branch(&self, name: &str, settings: Settings) -> Result<Supervisor, Failure> {
        let overseer = self.start(overseer(name, settings, &self.arbiter)).await?;
        let path = format!("{}/{name}", self.path);
        Ok(Supervisor { overseer, path, ..self.clone() })
    }

    /// Adds a child after those that are there and waits until it is ready for the first time, through as many
    /// attempts as its budget allows. The child is kept from then on, also if nobody waits.
    pub async fn start<A: Actor<Context = Context<A>>>(&self, spec: ChildSpec<A>) -> Result<Handle<A>, Failure> {
        self.start_as(spec, &Mutex::new(None)).await
    }

    /// The same, for a child that must know its own handle: it is put into `place` before the first start.
    pub async fn start_as<A: Actor<Context = Context<A>>>(
        &self,
        spec: ChildSpec<A>,
        place: &Mutex<Option<Handle<A>>>,
    ) -> Result<Handle<A>, Failure> {
        let (name, kind) = (spec.name.clone(), spec.kind);
        let settled = spec.settle(|level| self.tree.add(Some(&self.path), &name, kind, level));
        let Some(kept) = settled else { return Err(Failure::NameTaken(name)) };
        let handle = kept.handle();
        *place.lock() = Some(handle.clone());
        let node = kept.node().clone();
        kept.node().supervised_by(self.overseer.clone());
        let (ready, is_ready) = oneshot::channel();
        if self.overseer.offer(Adopt { child: Box::new(kept), ready }).is_err() {
            self.tree.remove_same(&node);
            return Err(Failure::SupervisorGone);
        }
        let started = is_ready.await.unwrap_or(Err(Failure::SupervisorGone));
        if started == Err(Failure::SupervisorGone) {
            // A supervisor that is stopping takes nobody in; who comes again must find the name free.
            self.tree.remove_same(&node);
        }
        started.map(|()| handle)
    }

    /// Stops one child for good, as planned. It can be revived.
    pub async fn stop(&self, name: &str) -> Result<(), Failure> {
        self.request(|done| Halt { name: name.to_owned(), forget: false, done }).await
    }

    /// Stops one child for good and forgets it; its name is free again.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        self.request(|done| Halt { name: name.to_owned(), forget: true, done }).await?;
        self.tree.remove(&format!("{}/{name}", self.path));
        Ok(())
    }

    /// Starts a stopped or faulted child again, or restarts a running one, with a fresh budget; returns when it is
    /// ready.
    pub async fn revive(&self, name: &str) -> Result<(), Failure> {
        self.request(|ready| Revive { name: name.to_owned(), ready }).await
    }

    /// Stops all children for good, from the last to the first, then this supervisor itself.
    pub async fn shutdown(&self) {
        // It is gone already, or ends: both is what was asked for.
        let _: Result<(), Unreachable> = self.overseer.send(Shutdown { for_good: true }).await;
    }

    /// Waits until the root has failed, for ever if it never does, and returns the reason.
    pub async fn escalated(&self) -> String {
        let mut escalation = self.escalation.clone();
        match escalation.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The root was shut down, so it cannot fail any more.
            Err(_) => std::future::pending().await,
        }
    }

    /// The picture of the whole tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The names from the root to here, joined by `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    async fn request<M>(&self, message: impl FnOnce(oneshot::Sender<Result<(), Failure>>) -> M) -> Result<(), Failure>
    where
        Overseer: actix::Handler<M>,
        M: actix::Message<Result = ()> + Send + 'static,
    {
        let (done, is_done) = oneshot::channel();
        self.overseer.offer(message(done)).map_err(|_| Failure::SupervisorGone)?;
        is_done.await.unwrap_or(Err(Failure::SupervisorGone))
    }
}

fn overseer(name: &str, settings: Settings, arbiter: &ArbiterHandle) -> ChildSpec<Overseer> {
    let roster = Arc::<Roster>::default();
    let build = move |lifeline: Lifeline| Ok(Overseer::new(roster.clone(), settings, lifeline));
    ChildSpec::new(name, arbiter.clone(), build)
        .kind(Kind::Supervisor)
        .mailbox(REQUESTS)
        .keep_queue()
        .ready_by_hand()
        .graceful()
        .stop_within(BRANCH_STOPS_WITHIN)
}
