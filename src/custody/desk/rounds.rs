//! The desk's rounds: each takes every withdrawal one step further and books what has arrived.
//!
//! Invariants: what a round does may be done again, by another node at the same time too; money is given back only by an
//! entry of the log, and for a request only when nobody is told any more that it is held.

use super::{CustodyError, Desk, Inner};
use crate::actors::trading::Refused;
use crate::actors::trading::ledger::{IsReady, LedgerCommand};
use crate::actors::trading::market_data::wall_clock;
use crate::custody::{Arrival, Progress, Shipment};
use crate::domain::entry::{Settlement, TransferId};
use crate::domain::ledger::{Ignored, LedgerOutcome, Withdrawal};
use crate::domain::market::Currency;
use crate::domain::order::Reject;
use crate::domain::time::{SECOND, Timestamp};
use crate::persistence::custody::{self, Place, Stage, WithdrawalRow};
use crate::persistence::projection;
use crate::persistence::transfers::{self, TransferKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How old a request is at least that a round may call back. It is longer than requests are acknowledged, by what the
/// clocks of two nodes may be apart.
pub(super) const REQUESTED_FOR: i64 = 20 * SECOND;
/// Withdrawals that are asked for in the log in one round, at most: what is held waits meanwhile.
pub(super) const MOST_RECALLED: usize = 100;
/// How often, and at which interval, it is looked whether the database has what was committed.
const HISTORY_LOOKS: u32 = 200;
const HISTORY_LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long the ledger may take to say whether it is ready.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// How the desk's rounds went.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// When the last one was completed, in seconds since the Unix epoch; 0 before.
    pub(super) completed_at: AtomicI64,
    /// How many ended by a panic.
    pub(super) panics: AtomicU64,
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

impl Desk {
    /// A round in a task of its own: if the custodian panics, that ends this round and not those after it.
    pub(super) async fn watched_round(&self) {
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

    /// Looks after everything once. It may take long, so what may be on its way is told by the time at which it began:
    /// what was just made then may be held since.
    pub(super) async fn round(&self, begun: Timestamp) -> Result<(), CustodyError> {
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
    pub(super) fn committed(&self) -> u64 {
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
    pub(super) async fn tidy(&self, missing: &[&WithdrawalRow]) -> Result<(), CustodyError> {
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
}
