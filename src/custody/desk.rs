//! The desk between the ledger and the custodian. See the module above for its one rule.

mod rounds;

use super::puzzles::Puzzles;
use super::{Custodian, Limit, Network, Pretense};
use crate::actors::trading::ledger::LedgerCommand;
use crate::actors::trading::market_data::wall_clock;
use crate::actors::trading::{Refused, Trading, Unavailable};
use crate::domain::entry::{Movement, Settlement, TransferId};
use crate::domain::ids::{AccountId, Ticket};
use crate::domain::ledger::{Ignored, LedgerOutcome};
use crate::domain::market::Currency;
use crate::domain::money::Amount;
use crate::persistence::custody::{self, AddressRow, Place, Stage, Taken, WithdrawalRow};
use crate::persistence::db::{Connection, Database, DbError};
use crate::persistence::transfers::HistoryPlace;
use diesel::QueryResult;
use rounds::Rounds;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How often the desk looks after its withdrawals and deposits.
const ROUND: Duration = Duration::from_millis(250);
/// Withdrawals that are read at once.
const AT_ONCE: i64 = 1_000;
/// How long after it was asked for a withdrawal is acknowledged to whoever asked. What takes longer is left to the
/// rounds.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);
/// Withdrawals of a user that are not over, at most: each round looks after all of them.
const MOST_OPEN: i64 = 100;

/// Why the desk did not do what it was asked to.
#[derive(Debug, Error)]
pub enum CustodyError {
    /// The currency does not move on this network.
    #[error("the currency does not move on this network")]
    NoSuchNetwork,
    /// The address is none of the network's.
    #[error("invalid crypto_address")]
    BadAddress,
    /// Below what may be withdrawn.
    #[error("amount is too small. Minimum size is {0}")]
    TooSmall(String),
    /// Above what may be withdrawn.
    #[error("amount is too large. Maximum size is {0}")]
    TooLarge(String),
    /// There is no such withdrawal.
    #[error("NotFound")]
    NotFound,
    /// It is on its way, or over.
    #[error("the withdrawal cannot be changed any more")]
    TooLate,
    /// The request repeats one that was refused or called back.
    #[error("the withdrawal with this id was refused or called back; a new one needs another id")]
    Over,
    /// The user has so many already that are not over.
    #[error("{0} withdrawals are under way already; wait until one is over, or call one back")]
    TooMany(i64),
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] Refused),
    /// The database is out of reach.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CustodyError {
    /// Whether what was asked for may have been done all the same.
    pub fn may_be_done(&self) -> bool {
        matches!(
            self,
            CustodyError::Database(_) | CustodyError::Ledger(Refused::Unavailable(Unavailable::OutcomeUnknown))
        )
    }
}

impl From<Unavailable> for CustodyError {
    fn from(why: Unavailable) -> CustodyError {
        CustodyError::Ledger(why.into())
    }
}

/// What a user asks to withdraw.
#[derive(Clone, Debug)]
pub struct WithdrawalOrder {
    /// The withdrawal's id; a repeat changes nothing, and is an error once the withdrawal was refused or called back.
    pub id: TransferId,
    /// Who.
    pub account: AccountId,
    /// In which currency.
    pub currency: Currency,
    /// How much.
    pub amount: Amount,
    /// Whether the fee comes on top; it is part of the amount otherwise.
    pub fee_on_top: bool,
    /// On which network; the usual one otherwise.
    pub network: Option<String>,
    /// Where to.
    pub address: String,
    /// What the receiver needs beside the address.
    pub tag: Option<String>,
}

/// The desk. Clones are the same one.
#[derive(Clone)]
pub struct Desk {
    inner: Arc<Inner>,
}

struct Inner {
    trading: Trading,
    database: Database,
    custodian: Box<dyn Custodian>,
    /// Above these amounts, by currency, an administrator has to approve.
    limits: BTreeMap<String, Limit>,
    /// How many withdrawals are read at once.
    at_once: i64,
    /// What needs a person.
    puzzles: Puzzles,
    rounds: Rounds,
}

/// What came of calling a withdrawal back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalledBack {
    /// Its money was given back just now.
    Now,
    /// It was before.
    Before,
}

/// What a repeated request is answered with.
fn repeated(known: WithdrawalRow) -> Result<WithdrawalRow, CustodyError> {
    match known.stage {
        Stage::Held | Stage::Done => Ok(known),
        // Whether the money is held is not known yet.
        Stage::Requested => Err(Unavailable::OutcomeUnknown.into()),
        Stage::Canceled | Stage::Refused => Err(CustodyError::Over),
    }
}

/// What whoever calls a withdrawal back is told that is in this stage; nothing while it is not over.
fn called_back(stage: Stage) -> Option<Result<CalledBack, CustodyError>> {
    match stage {
        Stage::Requested | Stage::Held => None,
        Stage::Canceled => Some(Ok(CalledBack::Before)),
        Stage::Done | Stage::Refused => Some(Err(CustodyError::TooLate)),
    }
}

impl Desk {
    /// A desk that works as long as the program runs.
    pub fn start(
        trading: Trading,
        database: Database,
        custodian: Box<dyn Custodian>,
        limits: BTreeMap<String, Limit>,
    ) -> Desk {
        let (puzzles, rounds) = (Puzzles::default(), Rounds::default());
        let inner = Inner { trading, database, custodian, limits, at_once: AT_ONCE, puzzles, rounds };
        let desk = Desk { inner: Arc::new(inner) };
        let busy = desk.clone();
        actix_web::rt::spawn(async move {
            loop {
                tokio::time::sleep(ROUND).await;
                busy.watched_round().await;
            }
        });
        desk
    }

    /// The networks on which the currency moves, the usual one first.
    pub fn networks(&self, currency: &Currency) -> Vec<Network> {
        self.inner.custodian.networks(currency)
    }

    /// The network of this name, or the usual one.
    ///
    /// # Errors
    /// [`CustodyError::NoSuchNetwork`].
    pub fn network(&self, currency: &Currency, name: Option<&str>) -> Result<Network, CustodyError> {
        let mut networks = self.networks(currency).into_iter();
        let found = match name {
            Some(name) => networks.find(|network| network.id == name),
            None => networks.next(),
        };
        found.ok_or(CustodyError::NoSuchNetwork)
    }

    /// Whether a withdrawal of this amount has to be approved.
    pub fn needs_approval(&self, currency: &Currency, amount: Amount) -> bool {
        self.inner.limits.get(&currency.code).is_some_and(|limit| limit.is_exceeded_by(amount, currency))
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, CustodyError> {
        Ok(self.inner.database.elsewhere(move |database| database.read(query)).await?)
    }

    async fn write<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, CustodyError> {
        Ok(self.inner.database.elsewhere(move |database| database.write_durably(query)).await?)
    }

    /// The user's address for deposits; the first time a new one.
    ///
    /// # Errors
    /// [`CustodyError`].
    pub async fn address(
        &self,
        account: AccountId,
        currency: &Currency,
        network: Option<&str>,
    ) -> Result<AddressRow, CustodyError> {
        let (id, network) = (currency.id, self.network(currency, network)?.id);
        if let Some(known) = self.read(move |c| custody::address_of(c, account, id, network)).await? {
            return Ok(known);
        }
        let address = self.inner.custodian.new_address(account, id, network);
        let row = AddressRow { address, account, currency: id, network: network.into(), created_at: wall_clock() };
        let stored = row.clone();
        self.write(move |c| custody::insert_address(c, &stored)).await?;
        Ok(row)
    }

    /// Takes a withdrawal in: from here on its money is held.
    ///
    /// # Errors
    /// [`CustodyError`]; nothing is held then, unless the outcome is unknown or the database is out of reach.
    pub async fn withdraw(&self, order: WithdrawalOrder) -> Result<WithdrawalRow, CustodyError> {
        let WithdrawalOrder { id, account, currency, amount, fee_on_top, network, address, tag } = order;
        let network = self.network(&currency, network.as_deref())?;
        if !self.inner.custodian.is_address(network.id, &address) {
            return Err(CustodyError::BadAddress);
        }
        let total = if fee_on_top { amount + network.fee } else { amount };
        let shown = |amount| crate::domain::money::Decimal { units: amount, decimals: currency.decimals }.to_string();
        if total < network.least {
            return Err(CustodyError::TooSmall(shown(network.least.0)));
        }
        if total > network.most {
            return Err(CustodyError::TooLarge(shown(network.most.0)));
        }
        if let Some(known) = self.read(move |c| custody::get(c, id)).await? {
            return repeated(known);
        }
        let until = Instant::now() + ACKNOWLEDGED_WITHIN;
        let row = WithdrawalRow {
            id,
            account,
            currency: currency.id,
            amount: total,
            fee: network.fee,
            network: network.id.into(),
            address,
            tag,
            created_at: wall_clock(),
            stage: Stage::Requested,
            approved_at: None,
            hash: None,
            ended_at: None,
        };
        let stored = row.clone();
        match self.write(move |c| custody::insert_within(c, &stored, MOST_OPEN)).await? {
            Taken::In => {}
            // The same request came twice at once; the other one goes on.
            Taken::Known => return Err(Unavailable::OutcomeUnknown.into()),
            Taken::TooMany => return Err(CustodyError::TooMany(MOST_OPEN)),
        }
        let ticket = Ticket(0);
        let movement = Movement { ticket, account, currency: currency.id, amount: total, transfer: id };
        match self.inner.trading.execute(LedgerCommand::HoldWithdrawal(movement)).await {
            Ok(LedgerOutcome::WithdrawalHeld(_) | LedgerOutcome::Ignored(Ignored::Repeat)) => {
                self.acknowledge(row, until).await
            }
            // What became of it is not known yet; a later round finds out.
            Err(error @ Refused::Unavailable(Unavailable::OutcomeUnknown)) => Err(error.into()),
            // Nothing happened, and the same request may come again.
            Err(error @ Refused::Unavailable(_)) => {
                self.write(move |c| custody::forget(c, id)).await?;
                Err(error.into())
            }
            refused => {
                self.finish(id, Stage::Refused).await?;
                match refused {
                    Err(error) => Err(error.into()),
                    Ok(_) => Err(CustodyError::NotFound),
                }
            }
        }
    }

    /// Notes that the money of a request is held, of which its user is to hear until then. Afterwards a round may be
    /// calling it back already, so the rounds alone say what becomes of it.
    async fn acknowledge(&self, row: WithdrawalRow, until: Instant) -> Result<WithdrawalRow, CustodyError> {
        let id = row.id;
        let is_late = || Instant::now() >= until;
        let noted = !is_late() && self.write(move |c| custody::hold(c, id)).await?;
        if is_late() {
            return Err(Unavailable::OutcomeUnknown.into());
        }
        if noted {
            return Ok(WithdrawalRow { stage: Stage::Held, ..row });
        }
        // A round was faster, and it goes on already.
        let row = self.read(move |c| custody::get(c, id)).await?;
        repeated(row.ok_or(CustodyError::NotFound)?)
    }

    /// A page of the withdrawals that are not over: those behind a place, or the first ones, oldest first, at most
    /// `limit`; each with whether it waits for an approval.
    ///
    /// # Errors
    /// [`CustodyError`].
    pub async fn unfinished(
        &self,
        behind: Option<HistoryPlace>,
        limit: usize,
    ) -> Result<Vec<(WithdrawalRow, bool)>, CustodyError> {
        let (place, most) = (behind.map_or(Place::START, Place::behind), i64::try_from(limit).unwrap_or(i64::MAX));
        let (rows, _) = self.read(move |c| custody::unfinished(c, &place, most)).await?;
        Ok(rows.into_iter().map(|row| self.with_waits(row)).collect())
    }

    /// A withdrawal, over or not, with whether it waits for an approval.
    ///
    /// # Errors
    /// [`CustodyError`].
    pub async fn find(&self, id: TransferId) -> Result<Option<(WithdrawalRow, bool)>, CustodyError> {
        let row = self.read(move |c| custody::get(c, id)).await?;
        Ok(row.map(|row| self.with_waits(row)))
    }

    fn with_waits(&self, row: WithdrawalRow) -> (WithdrawalRow, bool) {
        let waits = self.waits(&row);
        (row, waits)
    }

    fn waits(&self, row: &WithdrawalRow) -> bool {
        let currency = self.inner.trading.currencies().get(usize::from(row.currency.0));
        let open = row.approved_at.is_none() && !row.stage.is_over();
        open && currency.is_some_and(|currency| self.needs_approval(currency, row.amount))
    }

    /// An administrator lets a withdrawal go.
    ///
    /// # Errors
    /// [`CustodyError`].
    pub async fn approve(&self, id: TransferId, by: AccountId) -> Result<(), CustodyError> {
        let row = self.read(move |c| custody::get(c, id)).await?.ok_or(CustodyError::NotFound)?;
        if row.stage.is_over() {
            return Err(CustodyError::TooLate);
        }
        self.write(move |c| custody::approve(c, id, by, wall_clock())).await
    }

    /// Gives a withdrawal's money back, as long as the custodian does not have it. With an owner, only theirs. A repeat
    /// is fine, and told as one.
    ///
    /// # Errors
    /// [`CustodyError`]; when the outcome is unknown ([`CustodyError::may_be_done`]), asking again tells it.
    pub async fn cancel(&self, id: TransferId, owner: Option<AccountId>) -> Result<CalledBack, CustodyError> {
        let row = self.read(move |c| custody::get(c, id)).await?.ok_or(CustodyError::NotFound)?;
        if owner.is_some_and(|owner| owner != row.account) {
            return Err(CustodyError::NotFound);
        }
        if let Some(end) = called_back(row.stage) {
            return end;
        }
        // What the ledger of this node holds may be out of date, so the entry decides.
        let recall = LedgerCommand::SettleWithdrawal(id, Settlement::Canceled);
        match self.inner.trading.execute(recall).await? {
            LedgerOutcome::WithdrawalReturned(_) => {
                self.finish(id, Stage::Canceled).await?;
                Ok(CalledBack::Now)
            }
            LedgerOutcome::Ignored(Ignored::Repeat) => {
                // It is not held any more, or not yet. How it ended may not be written down yet; a round does that.
                let row = self.read(move |c| custody::get(c, id)).await?.ok_or(CustodyError::NotFound)?;
                called_back(row.stage).unwrap_or_else(|| Err(Unavailable::OutcomeUnknown.into()))
            }
            _ => Err(CustodyError::TooLate),
        }
    }

    /// Pretends that money comes from outside; false when the custodian is a real one.
    ///
    /// # Errors
    /// [`CustodyError::BadAddress`] when the currency could not come there; [`Unavailable::Overloaded`] when too much is
    /// on its way already.
    pub fn pretend(&self, address: &str, currency: &Currency, amount: Amount) -> Result<bool, CustodyError> {
        let custodian = &self.inner.custodian;
        if !self.networks(currency).iter().any(|network| custodian.is_address(network.id, address)) {
            return Err(CustodyError::BadAddress);
        }
        match custodian.pretend(address, currency.id, amount) {
            Pretense::Underway => Ok(true),
            Pretense::Full => Err(Unavailable::Overloaded.into()),
            Pretense::Impossible => Ok(false),
        }
    }

    /// How many withdrawals are held that cannot go on, since no row says where their money goes.
    pub fn unexplained_withdrawals(&self) -> usize {
        self.inner.puzzles.withdrawals()
    }

    /// How many arrivals at our addresses cannot be credited.
    pub fn unclaimed_arrivals(&self) -> usize {
        self.inner.puzzles.arrivals()
    }

    /// When the last round was completed, in seconds since the Unix epoch; 0 before the first one.
    pub fn last_round_at(&self) -> i64 {
        self.inner.rounds.completed_at.load(Ordering::Relaxed)
    }

    /// How many rounds ended by a panic.
    pub fn round_panics(&self) -> u64 {
        self.inner.rounds.panics.load(Ordering::Relaxed)
    }

    /// Writes down how a withdrawal ended, if that can be its end.
    async fn finish(&self, id: TransferId, stage: Stage) -> Result<(), CustodyError> {
        let now = wall_clock();
        self.write(move |c| custody::finish(c, id, stage, now)).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
