//! The desk between the ledger and the custodian. See the module above for its one rule.

use super::puzzles::Puzzles;
use super::{Arrival, Custodian, Limit, Network, Pretense, Progress, Shipment};
use crate::actors::trading::ledger::{IsReady, LedgerCommand};
use crate::actors::trading::market_data::wall_clock;
use crate::actors::trading::{Refused, Trading, Unavailable};
use crate::domain::entry::{Movement, Settlement, TransferId};
use crate::domain::ids::{AccountId, Ticket};
use crate::domain::ledger::{Ignored, LedgerOutcome, Withdrawal};
use crate::domain::market::Currency;
use crate::domain::money::Amount;
use crate::domain::order::Reject;
use crate::domain::time::{SECOND, Timestamp};
use crate::persistence::custody::{self, AddressRow, Place, Stage, Taken, WithdrawalRow};
use crate::persistence::db::{Connection, Database, DbError};
use crate::persistence::projection;
use crate::persistence::transfers::{self, HistoryPlace, TransferKind};
use diesel::QueryResult;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How often the desk looks after its withdrawals and deposits.
const ROUND: Duration = Duration::from_millis(250);
/// Withdrawals that are read at once.
const AT_ONCE: i64 = 1_000;
/// How long after it was asked for a withdrawal is acknowledged to whoever asked. What takes longer is left to the
/// rounds.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);
/// How old a request is at least that a round may call back. It is longer than requests are acknowledged, by what the
/// clocks of two nodes may be apart.
const REQUESTED_FOR: i64 = 20 * SECOND;
/// Withdrawals of a user that are not over, at most: each round looks after all of them.
const MOST_OPEN: i64 = 100;
/// Withdrawals that are asked for in the log in one round, at most: what is held waits meanwhile.
const MOST_RECALLED: usize = 100;
/// How often, and at which interval, it is looked whether the database has what was committed.
const HISTORY_LOOKS: u32 = 200;
const HISTORY_LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long the ledger may take to say whether it is ready.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

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

/// How the desk's rounds went.
#[derive(Debug, Default)]
struct Rounds {
    /// When the last one was completed, in seconds since the Unix epoch; 0 before.
    completed_at: AtomicI64,
    /// How many ended by a panic.
    panics: AtomicU64,
}

/// What became of an arrival.
enum Credit {
    /// It is in the books, now or since before.
    Booked,
    /// It is at an address that is none of ours, so it is nobody's here.
    Foreign,
    /// It is at an address of ours and cannot be credited, for this reason.
    Unclaimed(&'static str),
}

/// Whether a row tells of what is held. It may not when a request was repeated whose own row was lost.
fn tells_of(row: &WithdrawalRow, Withdrawal { movement, .. }: &Withdrawal) -> bool {
    (row.account, row.currency, row.amount) == (movement.account, movement.currency, movement.amount)
}

/// Whether it is a request that may have been on its way to the ledger at this time.
fn is_just_made(row: &WithdrawalRow, at: Timestamp) -> bool {
    row.stage == Stage::Requested && at - row.created_at < REQUESTED_FOR
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

    /// A round in a task of its own: if the custodian panics, that ends this round and not those after it.
    async fn watched_round(&self) {
        let (desk, rounds) = (self.clone(), &self.inner.rounds);
        match actix_web::rt::spawn(async move { desk.round(wall_clock()).await }).await {
            Ok(Ok(())) => rounds.completed_at.store(wall_clock().seconds(), Ordering::Relaxed),
            Ok(Err(error)) => {
                tracing::warn!(%error, "withdrawals and deposits could not be looked after; they are tried again");
            }
            Err(why) => {
                rounds.panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%why, "a round over withdrawals and deposits broke off; the next one begins anew");
            }
        }
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

    /// Every withdrawal that is not over, oldest first.
    async fn all_unfinished(&self) -> Result<Vec<WithdrawalRow>, CustodyError> {
        let (most, mut all, mut place) = (self.inner.at_once, Vec::new(), Some(Place::START));
        while let Some(behind) = place {
            let (rows, next) = self.read(move |c| custody::unfinished(c, &behind, most)).await?;
            all.extend(rows);
            place = next;
        }
        Ok(all)
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

    /// Looks after everything once. It may take long, so what may be on its way is told by the time at which it began:
    /// what was just made then may be held since.
    async fn round(&self, begun: Timestamp) -> Result<(), CustodyError> {
        // The rows before the ledger: what a row tells of is in a ledger that is read later, unless that is behind.
        let rows = self.all_unfinished().await?;
        let decides = self.decides().await;
        let held = self.inner.trading.withdrawals().await?.into_iter();
        let mut held: BTreeMap<TransferId, Withdrawal> = held.map(|held| (held.movement.transfer, held)).collect();
        let (mut unexplained, mut missing) = (BTreeSet::new(), Vec::new());
        let committed = self.committed();
        for row in &rows {
            match held.remove(&row.id) {
                Some(withdrawal) if tells_of(row, &withdrawal) => self.further(row, &withdrawal).await?,
                Some(_) => {
                    unexplained.insert(row.id);
                }
                None if decides && !is_just_made(row, begun) => missing.push(row),
                None => {}
            }
        }
        // While the history is far behind, nothing is asked of the log that it could not be compared with.
        if !missing.is_empty() && self.history_has(committed).await? {
            self.tidy(&missing).await?;
        }
        // What is left has no row among those that are not over.
        for (id, withdrawal) in held {
            if !self.give_back(id, &withdrawal).await? {
                unexplained.insert(id);
            }
        }
        self.inner.puzzles.withdrawals_are(unexplained);
        self.take_in().await
    }

    /// The newest committed batch.
    fn committed(&self) -> u64 {
        self.inner.trading.log_meter().position.load(Ordering::Relaxed)
    }

    /// Whether the database has all that was committed up to here. That is waited for a moment.
    async fn history_has(&self, committed: u64) -> Result<bool, CustodyError> {
        for _ in 0..HISTORY_LOOKS {
            if self.read(projection::stands_at).await?.0 >= committed {
                return Ok(true);
            }
            tokio::time::sleep(HISTORY_LOOK_EVERY).await;
        }
        Ok(false)
    }

    /// Books what has arrived. What cannot be credited stays with the custodian, and keeps no other waiting.
    async fn take_in(&self) -> Result<(), CustodyError> {
        let Inner { custodian, puzzles, .. } = &*self.inner;
        let (arrivals, now) = (custodian.arrivals(), Instant::now());
        puzzles.arrivals_are(&arrivals);
        let mut outcome = Ok(());
        for arrival in arrivals.iter().filter(|arrival| !puzzles.rests(arrival, now)) {
            match self.credit(arrival).await {
                Ok(Credit::Booked | Credit::Foreign) => custodian.acknowledge(&arrival.hash),
                Ok(Credit::Unclaimed(why)) => puzzles.put_aside(arrival, why, now),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Credits an arrival to whom its address was given. That takes all that moves on its network, not only what it was
    /// asked for: the money is here.
    async fn credit(&self, arrival: &Arrival) -> Result<Credit, CustodyError> {
        let text = arrival.address.clone();
        let Some(address) = self.read(move |c| custody::find_address(c, &text)).await? else {
            let ours = self.inner.custodian.is_ours(&arrival.address);
            return Ok(if ours { Credit::Unclaimed("it is not known whose address that is") } else { Credit::Foreign });
        };
        let (account, id) = (address.account, arrival.currency);
        let moves_there = |currency: &Currency| self.network(currency, Some(&address.network)).is_ok();
        let currency = self.inner.trading.currencies().get(usize::from(id.0));
        let takes = id == address.currency || currency.is_some_and(moves_there);
        if !takes {
            return Ok(Credit::Unclaimed("its currency does not move on the network of the address"));
        }
        let transfer = crate::http::v1::accounts::transfer_id("arrival", account, arrival.hash.as_bytes());
        // The ledger remembers the newest movements, the database all.
        if !self.read(move |c| transfers::known(c, account, &[transfer])).await?.is_empty() {
            return Ok(Credit::Booked);
        }
        Ok(match self.inner.trading.deposit(account, id, arrival.amount, transfer).await? {
            LedgerOutcome::Moved(..) | LedgerOutcome::Ignored(Ignored::Repeat) => Credit::Booked,
            _ => Credit::Unclaimed("the ledger does not take it"),
        })
    }

    /// Whether this node decides about what its ledger does not hold: it is the active one, and has applied all that
    /// was committed before.
    async fn decides(&self) -> bool {
        let trading = &self.inner.trading;
        trading.role().is_active() && trading.ledger().send(IsReady).within(ANSWERS_WITHIN).await == Ok(true)
    }

    /// Takes a withdrawal whose money is held one step further.
    async fn further(&self, row: &WithdrawalRow, held: &Withdrawal) -> Result<(), CustodyError> {
        let id = row.id;
        if row.stage == Stage::Requested {
            // Whoever asked for it has not heard of it yet, or never will. The next round goes on with it, unless the
            // row was refused in the meantime: what is noted as held cannot be.
            return self.write(move |c| custody::hold(c, id)).await.map(drop);
        }
        if !held.released {
            if self.waits(row) {
                return Ok(());
            }
            return match self.inner.trading.execute(LedgerCommand::ReleaseWithdrawal(id)).await {
                // Its owner is frozen, or nobody may withdraw: it stays held, and a later round asks again.
                Err(Refused::Reject(Reject::AccountFrozen | Reject::KillSwitch)) => Ok(()),
                outcome => outcome.map(drop).map_err(CustodyError::from),
            };
        }
        let amount = held.movement.amount - row.fee;
        let (network, address, tag) = (row.network.clone(), row.address.clone(), row.tag.clone());
        let shipment = Shipment { id, currency: row.currency, amount, network, address, tag };
        match self.inner.custodian.send(&shipment) {
            Progress::Underway => Ok(()),
            Progress::Arrived(hash) => {
                // The transaction is written down first: after the entry nobody would ask for it again.
                self.write(move |c| custody::note_transaction(c, id, hash)).await?;
                self.inner.trading.execute(LedgerCommand::SettleWithdrawal(id, Settlement::Paid)).await?;
                self.finish(id, Stage::Done).await
            }
            Progress::Failed => {
                self.inner.trading.execute(LedgerCommand::SettleWithdrawal(id, Settlement::Failed)).await?;
                self.finish(id, Stage::Canceled).await
            }
        }
    }

    /// Rows whose money the ledger did not hold a moment ago: the withdrawal is over, or it never came to be, or its
    /// hold is still on its way through the log.
    ///
    /// To tell these apart entries are committed that call them back. Each comes after every hold that is on its way
    /// from here, and those of older epochs count no more once it is committed; so its outcome is the last word. If
    /// nothing is held then, the history tells whether it was paid: the database may be of before, and the row with it.
    /// That is waited for once for all of them; while it is behind, later rounds look again.
    async fn tidy(&self, missing: &[&WithdrawalRow]) -> Result<(), CustodyError> {
        let mut gone = Vec::new();
        for row in missing.iter().take(MOST_RECALLED) {
            if self.is_gone(row).await? {
                gone.push(row);
            }
        }
        if gone.is_empty() || !self.history_has(self.committed()).await? {
            return Ok(());
        }
        for row in gone {
            let end = self.end_of(row).await?;
            self.finish(row.id, end).await?;
        }
        Ok(())
    }

    /// Calls a withdrawal back whose money seems not to be held; whether the ledger knows of no such withdrawal (any
    /// more), so that the history tells how it ended.
    async fn is_gone(&self, row: &WithdrawalRow) -> Result<bool, CustodyError> {
        let id = row.id;
        if row.hash.is_some() {
            // It was written down before the ledger heard that the money has left.
            self.finish(id, Stage::Done).await?;
            return Ok(false);
        }
        // A node that is not active any more would ask another one, which may hold what is missing here.
        if !self.inner.trading.role().is_active() {
            return Ok(false);
        }
        // The row was read a while ago. If something was noted since, such as that the money is held, whoever asked for
        // it may have heard that; a later round sees it as it is.
        if self.read(move |c| custody::get(c, id)).await?.is_none_or(|now| now.stage != row.stage) {
            return Ok(false);
        }
        match self.inner.trading.execute(LedgerCommand::SettleWithdrawal(id, Settlement::Canceled)).await? {
            LedgerOutcome::WithdrawalReturned(_) => {
                self.finish(id, Stage::Canceled).await?;
                Ok(false)
            }
            LedgerOutcome::Ignored(Ignored::Repeat) => Ok(true),
            // It is held after all, and released: it goes on.
            _ => Ok(false),
        }
    }

    /// How a withdrawal ended that is not held any more. The database has to have all that was committed.
    async fn end_of(&self, row: &WithdrawalRow) -> Result<Stage, CustodyError> {
        let (account, id) = (row.account, row.id);
        let moved = self.read(move |c| transfers::get(c, account, id)).await?;
        Ok(match moved {
            Some(moved) if moved.kind == TransferKind::Withdraw => Stage::Done,
            _ if row.stage == Stage::Requested => Stage::Refused,
            _ => Stage::Canceled,
        })
    }

    /// Looks after a withdrawal that is held and has no row among those that are not over. False when its money can
    /// neither be sent nor given back.
    ///
    /// One that was refused is given back: its hold came when it was expected no more. So is one that has no row at
    /// all. A row is durable before its hold is proposed, on whichever node, and was looked for after the hold was seen:
    /// it does not come later. The database is of before, or has lost it, and nobody knows where the money was to go.
    async fn give_back(&self, id: TransferId, held: &Withdrawal) -> Result<bool, CustodyError> {
        let stage = self.read(move |c| custody::get(c, id)).await?.map(|row| row.stage);
        let goes_on = matches!(stage, Some(Stage::Requested | Stage::Held | Stage::Done));
        if goes_on || !self.inner.trading.role().is_active() {
            return Ok(true);
        }
        if held.released {
            // The custodian may have sent it: only whoever has the row can tell.
            return Ok(stage.is_some());
        }
        if stage.is_none() {
            let withdrawal = uuid::Uuid::from_u128(id);
            tracing::warn!(%withdrawal, "the database has no row of a withdrawal; its money is given back");
        }
        // The ledger ignores it when it is not so any more.
        self.inner.trading.execute(LedgerCommand::SettleWithdrawal(id, Settlement::Canceled)).await?;
        Ok(true)
    }

    /// Writes down how a withdrawal ended, if that can be its end.
    async fn finish(&self, id: TransferId, stage: Stage) -> Result<(), CustodyError> {
        let now = wall_clock();
        self.write(move |c| custody::finish(c, id, stage, now)).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
