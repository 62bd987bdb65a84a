//! Trading: the actors of the exchange, and the one handle through which everything else uses them.
//!
//! ```text
//! trading (rest for one)
//! ├── twins (one for one): ledger, order book «BTC-USDT» …
//! ├── event log
//! └── venue (one for one)
//!     ├── ledger
//!     ├── market data «BTC-USDT» …
//!     └── order book «BTC-USDT» …
//! ```
//! When the event log dies, everything after it begins new epochs; anything else heals alone. Beside the tree there is
//! an actor for each user in whose name the venue does something ([`account`](super::account)).

pub mod ambient;
pub mod balance_watch;
mod client_ids;
pub mod ledger;
mod lister;
pub mod listing;
pub mod market_data;
mod on_behalf;
pub mod order_book;
mod outbox;
pub mod post;
pub mod projector;
mod recent;
pub mod recovery;
pub mod remote;
mod start;
#[cfg(test)]
mod tests;
mod tickets;
pub mod twin;

pub use client_ids::Found;
pub use on_behalf::WeakTrading;
pub use start::{Foundation, Threads, start};
pub use tickets::next_ticket;

use super::account::AccountActor;
use super::directory::Directory;
use super::event_log::{EventLog, LogMeter};
use super::latency::Latency;
use super::role::Role;
use super::supervision::{Answer, Handle, Unreachable};
use crate::domain::admission::Known;
use crate::domain::entry::Atomic;
use crate::domain::entry::Movement;
use crate::domain::ids::{AccountId, CurrencyId, MarketId, OrderId};
use crate::domain::ledger::{Balance, LedgerOutcome};
use crate::domain::market::{Currency, MarketConfig, Scale};
use crate::domain::money::{Price, Size};
use crate::domain::order::{NewOrder, OrderRecord, Reject, Side};
use balance_watch::{BalanceWatch, Watched};
use ledger::{Execute, GetBalances, LedgerActor, LedgerCommand};
use market_data::MarketDataActor;
use order_book::{
    AmendOrder, BatchDone, BookState, Cancel, CancelAll, Control, FullBook, GetFullBook, GetOrder, OrderBook, Place,
    PlaceTogether, Steer, Steered,
};
use post::Reply;
use remote::{Command, Done, Forwarder};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::Instrument;
use twin::{Berth, CompareTwin, Fault, TwinMeter};

/// How long a caller waits for its outcome before it is told that it is unknown.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often whoever needs an order that is on its way looks again for what became of it.
const LOOKS: u32 = 50;
/// How long it waits before each look.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why a command has no outcome of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refused {
    /// A rule says no; nothing has changed.
    #[error(transparent)]
    Reject(#[from] Reject),
    /// The client order id is taken.
    #[error("the client order id is taken")]
    Repeat(Known),
    /// It cannot be done now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A rule says no to this part of an atomic batch; nothing of it has changed anything.
    #[error("part {0}: {1}")]
    Part(u32, Reject),
    /// The client order id of this part of an atomic batch is taken; nothing of it has changed anything.
    #[error("part {0}: the client order id is taken")]
    PartRepeat(u32, Known),
    /// The market's rules are not those any more, or not for long, on which a change of them was based; nothing has changed.
    #[error("the rules of the market were changed meanwhile, please look at them again")]
    Changed,
}

/// Why a command cannot be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Unavailable {
    /// The market or the ledger is starting or recovering.
    #[error("trading is starting, please retry")]
    Starting,
    /// Too much is on its way already.
    #[error("too many requests are waiting, please retry")]
    Overloaded,
    /// The log could not be written (its disk is full, its broker is away). Nothing has changed.
    #[error("the log cannot be written at the moment, please retry")]
    LogRefused,
    /// An entry has stopped the market, which is halted until it is repaired.
    #[error("the market is halted because of a fault")]
    MarketFaulted,
    /// It may or may not have happened.
    #[error("the outcome is unknown, please retry with the same client order id")]
    OutcomeUnknown,
}

impl Unavailable {
    /// The stable code that clients may rely on.
    pub fn code(self) -> &'static str {
        match self {
            Unavailable::Starting => "starting",
            Unavailable::Overloaded => "overloaded",
            Unavailable::LogRefused => "log_unavailable",
            Unavailable::MarketFaulted => "market_faulted",
            Unavailable::OutcomeUnknown => "outcome_unknown",
        }
    }
}

impl From<Unreachable> for Unavailable {
    fn from(why: Unreachable) -> Unavailable {
        match why {
            Unreachable::Full => Unavailable::Overloaded,
            Unreachable::Restarting | Unreachable::Closed => Unavailable::Starting,
            Unreachable::Lost | Unreachable::Late => Unavailable::OutcomeUnknown,
        }
    }
}

/// One market, as everything outside sees it.
#[derive(Clone, Debug)]
pub struct Market {
    /// Its place in the list.
    pub id: MarketId,
    /// Its rules.
    pub config: MarketConfig,
    /// Its factors for exact amounts.
    pub scale: Scale,
    /// What is traded.
    pub base: Currency,
    /// What it is paid with.
    pub quote: Currency,
    /// Its book.
    pub book: Handle<OrderBook>,
    /// Its data.
    pub data: Handle<MarketDataActor>,
    /// What outlives its book's actors.
    pub berth: Arc<Berth<BookState>>,
    /// What goes on in it.
    pub phase: Arc<listing::PhaseBoard>,
}

impl Market {
    /// Why the market is halted, if one of its entries has stopped it.
    pub fn fault(&self) -> Option<Fault> {
        self.berth.fault()
    }

    /// Every resting order, at a sequence that is not below what the feed has told so far. The twin says it, if there is
    /// one: the thread on which everybody trades does not walk through a large book for one reader.
    ///
    /// # Errors
    /// [`Unavailable`] when the book does not answer, or too many ask its twin: what is left of the twin's mailbox is for what
    /// it is fed with.
    pub async fn full_book(&self) -> Result<FullBook, Unavailable> {
        let published = self.berth.published();
        // The public hears of a batch before the twin does. Once the twin has answered, what was in hand is usually done,
        // so it is asked once more before the book is.
        for _ in 0..2 {
            let Some(twin) = self.berth.twin() else { break };
            if twin.depth() > twin::MAILBOX / 2 {
                return Err(Unavailable::Overloaded);
            }
            match twin.send(GetFullBook).within(PATIENCE).await {
                Ok(Some(full)) if full.sequence >= published => return Ok(full),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        Ok(within(self.book.send(GetFullBook)).await.map_err(|why| self.unavailable(why))?.unwrap_or_default())
    }

    /// Why the book does not answer: the fault, if that is why it is down.
    pub fn unavailable(&self, why: impl Into<Unavailable>) -> Unavailable {
        match why.into() {
            Unavailable::Starting if self.fault().is_some() => Unavailable::MarketFaulted,
            why => why,
        }
    }

    fn explain(&self, refused: Refused) -> Refused {
        match refused {
            Refused::Unavailable(why) => Refused::Unavailable(self.unavailable(why)),
            other => other,
        }
    }
}

/// The exchange. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Trading {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    listing: Arc<listing::Listing>,
    log: Handle<EventLog>,
    ledger: Handle<LedgerActor>,
    balances: Arc<BalanceWatch>,
    role: Role,
    meter: Arc<LogMeter>,
    /// The way to the active node, when there are others.
    forward: Option<Forwarder>,
    accounts: Directory<AccountId, AccountActor>,
    twins: Arc<TwinMeter>,
    acknowledged: Latency,
}

impl Trading {
    /// All currencies, in the order of their listing.
    pub fn currencies(&self) -> &[Currency] {
        &self.inner.listing.now().currencies
    }

    /// A currency by its code.
    pub fn currency(&self, code: &str) -> Option<&Currency> {
        self.currencies().iter().find(|currency| currency.code == code)
    }

    /// All markets, in the order of their listing.
    pub fn markets(&self) -> &[Arc<Market>] {
        &self.inner.listing.now().markets
    }

    /// A market by its symbol.
    pub fn market(&self, symbol: &str) -> Option<&Arc<Market>> {
        self.markets().iter().find(|market| market.config.symbol == symbol)
    }

    /// A market by its place.
    pub fn market_by_id(&self, id: MarketId) -> Option<&Arc<Market>> {
        self.markets().get(usize::from(id.0))
    }

    /// The actors of the users in whose name the venue does something.
    pub fn accounts(&self) -> &Directory<AccountId, AccountActor> {
        &self.inner.accounts
    }

    /// Time from an order's arrival to the answer that it is durable.
    pub fn acknowledged(&self) -> &Latency {
        &self.inner.acknowledged
    }

    /// What is counted about the twins.
    pub fn twins(&self) -> &TwinMeter {
        &self.inner.twins
    }

    /// Lets every twin be compared with its primary.
    pub fn compare_twins(&self) {
        // Those that are down or full are compared at the next checkpoint.
        let _ = self.inner.ledger.try_send(CompareTwin);
        for market in self.markets() {
            let _ = market.book.try_send(CompareTwin);
        }
    }

    /// What this node does.
    pub fn role(&self) -> &Role {
        &self.inner.role
    }

    /// The ledger, for those who take over.
    pub fn ledger(&self) -> &Handle<LedgerActor> {
        &self.inner.ledger
    }

    /// The log's figures.
    pub fn log_meter(&self) -> &Arc<LogMeter> {
        &self.inner.meter
    }

    /// The event log, for those who follow it.
    pub fn log(&self) -> &Handle<EventLog> {
        &self.inner.log
    }

    /// Places an order; its record comes back once the outcome is known and durable.
    ///
    /// # Errors
    /// [`Refused`]; after [`Unavailable::OutcomeUnknown`] a retry with the same client id is safe.
    pub async fn place(&self, market: &Market, order: NewOrder) -> Result<OrderRecord, Refused> {
        match self.perform(Command::Place(market.id, order)).await? {
            Done::Placed(record) => Ok(record),
            _ => Err(Unavailable::OutcomeUnknown.into()),
        }
    }

    /// The same for an order whose client id the database did not know when memory had forgotten so many
    /// ([`ledger::ForgottenIds::count`]).
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn place_vouched(
        &self,
        market: &Market,
        order: NewOrder,
        forgotten: Option<u64>,
    ) -> Result<OrderRecord, Refused> {
        match self.perform(Command::PlaceVouched(market.id, order, forgotten)).await? {
            Done::Placed(record) => Ok(record),
            _ => Err(Unavailable::OutcomeUnknown.into()),
        }
    }

    async fn place_here(
        &self,
        market: &Market,
        mut order: NewOrder,
        vouched: Option<u64>,
    ) -> Result<OrderRecord, Refused> {
        let mut patience = LOOKS;
        loop {
            order.ticket = next_ticket();
            // The events of all that happens to the order name its ticket; this span names the request that it is of.
            let span =
                tracing::debug_span!(target: "agora::path", "order", ticket = order.ticket.0, market = market.id.0);
            let asked = Instant::now();
            let outcome = command(market, |reply| Place { order, vouched, reply }).instrument(span.clone()).await;
            match &outcome {
                Ok(record) => {
                    self.inner.acknowledged.observe(asked.elapsed());
                    tracing::debug!(target: "agora::path", parent: &span, number = record.id.number, "answered");
                }
                Err(why) => tracing::debug!(target: "agora::path", parent: &span, %why, "refused"),
            }
            match outcome {
                // The first order with this client id is still on its way; its outcome is the answer.
                Err(Refused::Repeat(Known::InFlight)) if patience > 0 => patience -= 1,
                other => return other.map_err(|refused| market.explain(refused)),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Cancels one order.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn cancel(&self, market: &Market, account: AccountId, order: OrderId) -> Result<OrderId, Refused> {
        match self.perform(Command::Cancel(market.id, account, order)).await? {
            Done::Canceled(order) => Ok(order),
            _ => Err(Unavailable::OutcomeUnknown.into()),
        }
    }

    async fn cancel_here(&self, market: &Market, account: AccountId, order: OrderId) -> Result<OrderId, Refused> {
        let asked = command(market, |reply| Cancel { account, order, reply }).await;
        asked.map_err(|refused| market.explain(refused))
    }

    /// Cancels all orders of a user in a market.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn cancel_all(
        &self,
        market: &Market,
        account: AccountId,
        side: Option<Side>,
    ) -> Result<Vec<OrderId>, Refused> {
        match self.perform(Command::CancelAll(market.id, account, side)).await? {
            Done::CanceledAll(orders) => Ok(orders),
            _ => Err(Unavailable::OutcomeUnknown.into()),
        }
    }

    async fn cancel_all_here(
        &self,
        market: &Market,
        account: AccountId,
        side: Option<Side>,
    ) -> Result<Vec<OrderId>, Refused> {
        let asked = command(market, |reply| CancelAll { account, side, reply }).await;
        asked.map_err(|refused| market.explain(refused))
    }

    /// Changes a live limit order; its record comes back once the change is durable. A smaller size alone keeps the
    /// order's place in the queue, a larger one or another price puts it at the end.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn amend(
        &self,
        market: &Market,
        account: AccountId,
        order: OrderId,
        price: Option<Price>,
        size: Option<Size>,
    ) -> Result<OrderRecord, Refused> {
        match self.perform(Command::Amend(market.id, account, order, price, size)).await? {
            Done::Placed(record) => Ok(record),
            _ => Err(Unavailable::OutcomeUnknown.into()),
        }
    }

    async fn amend_here(
        &self,
        market: &Market,
        account: AccountId,
        order: OrderId,
        (price, size): (Option<Price>, Option<Size>),
    ) -> Result<OrderRecord, Refused> {
        let asked = command(market, |reply| AmendOrder { account, order, price, size, reply }).await;
        asked.map_err(|refused| market.explain(refused))
    }

    /// Does what those who run the venue want of a market.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn steer(&self, market: &Market, control: Control) -> Result<Steered, Refused> {
        match self.perform(Command::Steer(market.id, control)).await? {
            Done::Steered(done) => Ok(done),
            _ => Err(Unavailable::OutcomeUnknown.into()),
        }
    }

    async fn steer_here(&self, market: &Market, control: Control) -> Result<Steered, Refused> {
        let asked = command(market, |reply| Steer { control, reply }).await;
        asked.map_err(|refused| market.explain(refused))
    }

    /// Whether the kill switch of the whole venue is engaged.
    pub fn is_stopped(&self) -> bool {
        self.inner.listing.is_stopped()
    }

    /// Carries out cancels, amends and new orders of one user in one market together or not at all. `vouched` as in
    /// [`Trading::place_vouched`], for all its client ids.
    ///
    /// # Errors
    /// [`Refused`]; nothing of it was done then, unless the outcome is unknown.
    pub async fn together(&self, market: &Market, batch: Atomic, vouched: Option<u64>) -> Result<BatchDone, Refused> {
        match self.perform(Command::Together(market.id, Box::new(batch), vouched)).await? {
            Done::Together(done) => Ok(done),
            _ => Err(Unavailable::OutcomeUnknown.into()),
        }
    }

    async fn together_here(
        &self,
        market: &Market,
        batch: Box<Atomic>,
        vouched: Option<u64>,
    ) -> Result<BatchDone, Refused> {
        let asked = command(market, |reply| PlaceTogether { batch, vouched, reply }).await;
        asked.map_err(|refused| market.explain(refused))
    }

    /// An order that lives, or ended a short while ago.
    ///
    /// # Errors
    /// [`Unavailable`] when the book does not answer.
    pub async fn order(&self, market: &Market, id: OrderId) -> Result<Option<OrderRecord>, Unavailable> {
        within(market.book.send(GetOrder(id))).await.map_err(|why| market.unavailable(why))
    }

    /// All balances of a user, by currency; `None` when there is no such account.
    ///
    /// # Errors
    /// [`Unavailable`] when the ledger does not answer.
    pub async fn balances(&self, account: AccountId) -> Result<Option<Vec<Balance>>, Unavailable> {
        within(self.inner.ledger.send(GetBalances(account))).await
    }

    /// Whether a user's balances change, from now on; what they are is asked with [`Trading::balances`].
    pub fn watch_balances(&self, account: AccountId) -> Watched {
        self.inner.balances.watch(account)
    }

    /// Opens a user's account; a repeat is fine.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn open_account(&self, account: AccountId) -> Result<(), Refused> {
        self.execute(LedgerCommand::OpenAccount(account)).await.map(drop)
    }

    /// Brings money into an account. A repeat of the transfer id changes nothing.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn deposit(
        &self,
        account: AccountId,
        currency: CurrencyId,
        amount: crate::domain::money::Amount,
        transfer: u128,
    ) -> Result<LedgerOutcome, Refused> {
        let ticket = crate::domain::ids::Ticket(0);
        self.execute(LedgerCommand::Deposit(Movement { ticket, account, currency, amount, transfer })).await
    }

    /// The withdrawals whose money is reserved.
    ///
    /// # Errors
    /// [`Unavailable`] when the ledger does not answer, or knows nothing yet.
    pub async fn withdrawals(&self) -> Result<Vec<crate::domain::ledger::Withdrawal>, Unavailable> {
        within(self.inner.ledger.send(ledger::GetWithdrawals)).await?.ok_or(Unavailable::Starting)
    }

    /// The first account number above all that were ever opened.
    ///
    /// # Errors
    /// [`Unavailable`] when the ledger does not answer, or knows nothing yet.
    pub async fn next_account(&self) -> Result<AccountId, Unavailable> {
        within(self.inner.ledger.send(ledger::GetNextAccount)).await?.ok_or(Unavailable::Starting)
    }

    /// Commits and applies a command of the ledger's stream.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn execute(&self, command: LedgerCommand) -> Result<LedgerOutcome, Refused> {
        match self.perform(Command::Ledger(command)).await? {
            Done::Ledger(outcome) => Ok(outcome),
            _ => Err(Unavailable::OutcomeUnknown.into()),
        }
    }

    async fn execute_here(&self, command: LedgerCommand) -> Result<LedgerOutcome, Refused> {
        ask(|reply| self.inner.ledger.try_send(Execute { command, reply })).await
    }
}

async fn ask<T>(send: impl FnOnce(Reply<T>) -> Result<(), Unreachable>) -> Result<T, Refused> {
    let (reply, outcome) = Reply::here();
    send(reply).map_err(Unavailable::from)?;
    wait_for(outcome).await
}

/// Submits a command to a market's book and waits for its outcome.
async fn command<T, C: Into<order_book::Command>>(
    market: &Market,
    make: impl FnOnce(Reply<T>) -> C,
) -> Result<T, Refused> {
    let (reply, outcome) = Reply::here();
    outbox::submit(&market.book, make(reply).into()).await;
    wait_for(outcome).await
}

async fn wait_for<T>(outcome: oneshot::Receiver<Result<T, Refused>>) -> Result<T, Refused> {
    match tokio::time::timeout(PATIENCE, outcome).await {
        Ok(Ok(outcome)) => outcome,
        // The actor died before it answered, or the log takes too long: it may have happened.
        Ok(Err(_)) | Err(_) => Err(Unavailable::OutcomeUnknown.into()),
    }
}

async fn within<R>(answer: Answer<R>) -> Result<R, Unavailable> {
    answer.within(PATIENCE).await.map_err(unanswered)
}

/// Why a question has no answer.
fn unanswered(why: Unreachable) -> Unavailable {
    match why {
        // Nothing was asked to change, so nothing is unknown.
        Unreachable::Full | Unreachable::Late => Unavailable::Overloaded,
        Unreachable::Restarting | Unreachable::Closed | Unreachable::Lost => Unavailable::Starting,
    }
}
