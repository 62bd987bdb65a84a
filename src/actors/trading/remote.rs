//! Commands that travel to the node that admits them.
//!
//! Any node takes any request. One that is not active hands the command to the active node and gives back its answer,
//! once it has itself applied everything that the answer follows from: whoever reads here afterwards finds it done.
//! What is on its way the active node alone knows, so that questions about it travel like commands.

use super::client_ids::{FOUND_ELSEWHERE_WITHIN, Found};
use super::ledger::{IsReady, LedgerCommand};
use super::order_book::{BatchDone, Control, GetSequence, Steered};
use super::{Market, PATIENCE, Refused, Trading, Unavailable};
use crate::domain::admission::Known;
use crate::domain::entry::Atomic;
use crate::domain::ids::{AccountId, ClientOrderId, MarketId, OrderId};
use crate::domain::ledger::LedgerOutcome;
use crate::domain::money::{Price, Size};
use crate::domain::order::{NewOrder, OrderRecord, Side};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How long an answer is held back until this node has applied what it follows from.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(2);

/// A command for whichever node is active.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Places an order.
    Place(MarketId, NewOrder),
    /// Cancels one order.
    Cancel(MarketId, AccountId, OrderId),
    /// Cancels all orders of a user in a market.
    CancelAll(MarketId, AccountId, Option<Side>),
    /// Commits a command of the ledger's stream.
    Ledger(LedgerCommand),
    /// Changes a live order's price and size.
    Amend(MarketId, AccountId, OrderId, Option<Price>, Option<Size>),
    /// Carries out an atomic batch.
    Together(MarketId, Box<Atomic>, Option<u64>),
    /// Places an order whose client id the database did not know.
    PlaceVouched(MarketId, NewOrder, Option<u64>),
    /// Does what those who run the venue want of a market.
    Steer(MarketId, Control),
    /// Looks for the orders behind client ids of a user; whether behind all that was sent before.
    FindClientIds(AccountId, Vec<ClientOrderId>, bool),
}

impl Command {
    /// Why it was refused, as far as a node may tell that has not applied all that this follows from. A market refuses before
    /// anybody looks at client ids, and whose they are is looked up here: what the command repeats may not be known here yet.
    fn explain(&self, why: Refused) -> Refused {
        let has_client_id = match self {
            Command::Place(_, order) | Command::PlaceVouched(_, order, _) => order.client_id.is_some(),
            Command::Together(_, batch, _) => batch.places.iter().any(|order| order.client_id.is_some()),
            Command::Cancel(..)
            | Command::CancelAll(..)
            | Command::Ledger(_)
            | Command::Amend(..)
            | Command::Steer(..)
            | Command::FindClientIds(..) => false,
        };
        match why {
            Refused::Reject(_) | Refused::Part(..) | Refused::Repeat(Known::Order(..)) if has_client_id => {
                Refused::Unavailable(Unavailable::OutcomeUnknown)
            }
            other => other,
        }
    }
}

/// What a command did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Done {
    /// The order's record.
    Placed(OrderRecord),
    /// The order.
    Canceled(OrderId),
    /// The orders.
    CanceledAll(Vec<OrderId>),
    /// What the ledger did.
    Ledger(LedgerOutcome),
    /// What an atomic batch did.
    Together(BatchDone),
    /// What was done with a market.
    Steered(Steered),
    /// What is known about client ids, in the order in which they were named.
    ClientIds(Vec<Found>),
}

impl Done {
    /// Whether nothing follows from it that is to be found here afterwards.
    fn is_nothing(&self) -> bool {
        match self {
            Done::ClientIds(found) => found.iter().flatten().all(|known| known.order.is_none()),
            _ => false,
        }
    }
}

/// An answer as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// What became of the command.
    pub outcome: Result<Done, Refused>,
    /// The newest position of the log that the active node had read then.
    pub position: u64,
}

/// Whose command travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Trading's.
    Trading,
    /// Chat's.
    Chat,
}

impl Service {
    /// Its name as it travels.
    pub fn name(self) -> &'static str {
        match self {
            Service::Trading => "trading",
            Service::Chat => "chat",
        }
    }

    /// The service of this name.
    pub fn from_name(name: &str) -> Option<Service> {
        [Service::Trading, Service::Chat].into_iter().find(|service| service.name() == name)
    }
}

/// An encoded answer; `Err` when the command never left this node. Nothing comes when the outcome is unknown.
pub type Returned = oneshot::Receiver<Result<Vec<u8>, Unavailable>>;

/// A command on its way out of this node. The answer is `Err` when it never left.
#[derive(Debug)]
pub struct Call {
    /// Who executes it.
    pub service: Service,
    /// The encoded command.
    pub command: Vec<u8>,
    /// Takes the encoded answer; dropped when the outcome is unknown.
    pub reply: oneshot::Sender<Result<Vec<u8>, Unavailable>>,
    /// When its caller began to wait.
    pub since: Instant,
}

/// The way to the active node. Clones share it.
#[derive(Clone, Debug)]
pub struct Forwarder(mpsc::Sender<Call>);

impl Forwarder {
    /// A way, and its other end.
    pub fn new(bound: usize) -> (Forwarder, mpsc::Receiver<Call>) {
        let (calls, taken) = mpsc::channel(bound);
        (Forwarder(calls), taken)
    }

    /// Sends a command now; what one caller sends leaves in that order.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] when too much is on its way already.
    pub fn send(&self, service: Service, command: Vec<u8>) -> Result<Returned, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let since = Instant::now();
        self.0.try_send(Call { service, command, reply, since }).map_err(|_| Unavailable::Overloaded)?;
        Ok(answer)
    }

    async fn ask(&self, command: &Command) -> Result<Answer, Unavailable> {
        let patience = match command {
            Command::FindClientIds(_, _, true) => FOUND_ELSEWHERE_WITHIN,
            _ => PATIENCE,
        };
        let command = postcard::to_stdvec(command).map_err(|_| Unavailable::Starting)?;
        let answer = self.send(Service::Trading, command)?;
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => postcard::from_bytes(&answer?).map_err(|_| Unavailable::OutcomeUnknown),
            Ok(Err(_)) | Err(_) => Err(Unavailable::OutcomeUnknown),
        }
    }
}

impl Trading {
    /// Whether commands are executed on another node.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.elsewhere().is_some()
    }

    /// The way to the active node, when that is another one.
    pub fn elsewhere(&self) -> Option<&Forwarder> {
        self.inner.forward.as_ref().filter(|_| !self.inner.role.is_active())
    }

    /// Executes a command on the active node, wherever that is.
    pub(super) async fn perform(&self, command: Command) -> Result<Done, Refused> {
        match self.elsewhere() {
            Some(forward) => {
                let answer = forward.ask(&command).await?;
                let is_nothing = answer.outcome.as_ref().is_ok_and(Done::is_nothing);
                let caught_up = is_nothing || self.catch_up(&command, answer.position).await;
                answer.outcome.map_err(|why| if caught_up { why } else { command.explain(why) })
            }
            None => self.perform_here(command).await,
        }
    }

    /// Executes a command that came from another node; the answer as it travels back.
    pub async fn perform_for_another(&self, command: &[u8]) -> Vec<u8> {
        let outcome = match postcard::from_bytes(command) {
            // Never forwarded again: two nodes that each take the other for the active one would play ping-pong.
            Ok(_) if !self.inner.role.is_active() => Err(Refused::Unavailable(Unavailable::Starting)),
            Ok(command) => self.perform_here(command).await,
            Err(_) => Err(Refused::Unavailable(Unavailable::Starting)),
        };
        let position = self.inner.meter.position.load(Ordering::Relaxed);
        postcard::to_stdvec(&Answer { outcome, position }).unwrap_or_default()
    }

    async fn perform_here(&self, command: Command) -> Result<Done, Refused> {
        let market = |id| self.market_by_id(id).cloned().ok_or(Refused::Unavailable(Unavailable::Starting));
        Ok(match command {
            Command::Place(id, order) => Done::Placed(self.place_here(&*market(id)?, order, None).await?),
            Command::Steer(id, control) => Done::Steered(self.steer_here(&*market(id)?, control).await?),
            Command::PlaceVouched(id, order, vouched) => {
                Done::Placed(self.place_here(&*market(id)?, order, vouched).await?)
            }
            Command::Cancel(id, account, order) => {
                Done::Canceled(self.cancel_here(&*market(id)?, account, order).await?)
            }
            Command::CancelAll(id, account, side) => {
                Done::CanceledAll(self.cancel_all_here(&*market(id)?, account, side).await?)
            }
            Command::Ledger(command) => Done::Ledger(self.execute_here(command).await?),
            Command::Amend(id, account, order, price, size) => {
                Done::Placed(self.amend_here(&*market(id)?, account, order, (price, size)).await?)
            }
            Command::Together(id, batch, vouched) => {
                Done::Together(self.together_here(&*market(id)?, batch, vouched).await?)
            }
            Command::FindClientIds(account, ids, behind_all) => {
                Done::ClientIds(self.find_client_ids_here(account, &ids, behind_all).await)
            }
        })
    }

    /// Waits until this node has applied the log up to `position`, but not for ever; whether it has.
    async fn catch_up(&self, command: &Command, position: u64) -> bool {
        let deadline = Instant::now() + CATCH_UP_WITHIN;
        while self.inner.meter.position.load(Ordering::Acquire) < position && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let left = || deadline.saturating_duration_since(Instant::now());
        // The mailboxes are in order: an answer from the book means that its outcomes are with the ledger.
        let book = match command {
            Command::Place(id, _)
            | Command::Cancel(id, ..)
            | Command::CancelAll(id, ..)
            | Command::Amend(id, ..)
            | Command::PlaceVouched(id, ..)
            | Command::Steer(id, _)
            | Command::Together(id, ..) => self.market_by_id(*id),
            Command::Ledger(_) | Command::FindClientIds(..) => None,
        };
        let waited = match book.map(|market: &std::sync::Arc<Market>| market.book.send(GetSequence)) {
            Some(answer) => answer.within(left()).await.map(drop),
            None => {
                // What a market has done before may have paid for it. One that does not answer stands still.
                let books = self.markets().iter().map(|market| market.book.send(GetSequence).within(left()));
                futures_util::future::join_all(books).await;
                self.inner.ledger.send(IsReady).within(left()).await.map(drop)
            }
        };
        if let Err(why) = waited {
            tracing::debug!(%why, "an answer is given before this node has caught up");
        }
        waited.is_ok() && self.inner.meter.position.load(Ordering::Acquire) >= position
    }
}
