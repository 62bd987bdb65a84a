//! What the ledger is asked, and what it answers.

use super::super::Refused;
use super::super::order_book::{Asked, OrderBook};
use super::super::post::Reply;
use crate::actors::supervision::Handle;
use crate::domain::admission::Request;
use crate::domain::entry::{Movement, Settlement, TransferId};
use crate::domain::ids::{AccountId, ClientOrderId, Epoch, MarketId, OrderId, StreamId, Ticket};
use crate::domain::ledger::{Balance, LedgerOutcome, Withdrawal};
use crate::domain::market::{Currency, MarketConfig, Scale};
use crate::domain::money::{Amount, MAX_AMOUNT};
use crate::domain::replica::MarketOutcomes;
use actix::prelude::*;
use std::sync::Arc;

/// What an order needs: at least so much, and up to so much if it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Without this much the order is refused.
    pub least: Amount,
    /// More than this is never reserved.
    pub most: Amount,
}

/// A market buy by size may cost so much more than the book shows at admission, and a market sell by funds may have to
/// sell so much more, in percent.
const SLIPPAGE_PERCENT: i128 = 10;

impl Need {
    /// Neither more nor less.
    pub fn exactly(amount: Amount) -> Need {
        Need { least: amount, most: amount }
    }

    /// So much, and rather something more; and as much for what was not looked at as it may need, if it is there.
    pub fn about(amount: Amount, further: Amount) -> Need {
        let most = (amount + further).0;
        // What leaves 128 bits on the way is far beyond the most that there may be.
        let slippage = most.saturating_mul(SLIPPAGE_PERCENT) / 100;
        Need { least: amount, most: Amount(most.saturating_add(slippage)).min(MAX_AMOUNT).max(amount) }
    }
}

/// Something on its way through the ledger.
#[derive(Debug)]
pub enum Passing {
    /// It asks for its hold.
    Applicant(Applicant),
    /// It needs none, and keeps its place behind those that do.
    Follower(Asked),
}

impl Passing {
    /// Answers the caller that nothing was done.
    pub fn refuse(self, why: Refused) {
        match self {
            Passing::Applicant(Applicant { asked, .. }) | Passing::Follower(asked) => asked.refuse(why),
        }
    }
}

/// Something that asks for its hold.
#[derive(Debug)]
pub struct Applicant {
    /// What it needs at least.
    pub request: Request,
    /// What it may get at most.
    pub most: Amount,
    /// The needs of the parts of an atomic batch, each with what it may get at most: its amends, then its orders.
    pub more: Vec<(Request, Amount)>,
    /// The part of an atomic batch that would take though it may not. What the ledger has against it or against a part
    /// before it comes first; what it has against a later one does not.
    pub would_take: Option<u32>,
    /// What goes on once it has its hold, which is filled in by the ledger.
    pub asked: Asked,
}

/// Asks for holds; the book goes on with [`super::super::order_book::Admitted`], also when none was given.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Admit {
    /// Which message of this kind it is of the book's.
    pub number: u64,
    /// What asks, in the order in which it came.
    pub passing: Vec<Passing>,
    /// Their stream.
    pub stream: StreamId,
    /// The epoch of all of them.
    pub epoch: Epoch,
    /// Who goes on.
    pub book: Handle<OrderBook>,
}

/// What a market's batch did.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct AddOutcomes(pub Arc<MarketOutcomes>);

/// Entries of these tickets will never be applied; their holds go.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Void {
    /// The stream they were meant for.
    pub stream: StreamId,
    /// The epoch in which they were admitted.
    pub epoch: Epoch,
    /// Their tickets.
    pub tickets: Vec<Ticket>,
}

/// A command for the ledger's own stream.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum LedgerCommand {
    /// Opens an account; a repeat is fine.
    OpenAccount(AccountId),
    /// Brings money in. The ticket is filled in here.
    Deposit(Movement),
    /// Takes money out.
    Withdraw(Movement),
    /// Moves money to another user.
    Transfer(Movement, AccountId),
    /// Freezes or unfreezes an account.
    SetFrozen(AccountId, bool),
    /// Reserves money for a withdrawal.
    HoldWithdrawal(Movement),
    /// Hands a held withdrawal to the custodian.
    ReleaseWithdrawal(TransferId),
    /// Ends a held withdrawal.
    SettleWithdrawal(TransferId, Settlement),
    /// Lists a currency; its place is filled in here.
    ListCurrency(Box<Currency>),
    /// Lists a market; its place is filled in here.
    ListMarket(Box<MarketConfig>),
    /// The kill switch of the whole venue.
    SetStopped(bool),
}

/// Asks for what is listed.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<Listed>")]
pub struct GetListed;

/// What is listed.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// In the order of their listing.
    pub currencies: Vec<Currency>,
    /// As they were listed, in that order.
    pub markets: Vec<(MarketConfig, Scale)>,
    /// Whether the kill switch of the whole venue is engaged.
    pub stopped: bool,
}

/// Asks for the withdrawals whose money is reserved; nothing is known of them while the ledger is starting.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<Vec<Withdrawal>>")]
pub struct GetWithdrawals;

/// Asks for the first account number that was never opened; nothing is known of it while the ledger is starting.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<AccountId>")]
pub struct GetNextAccount;

/// Asks for a command to be committed and applied.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Execute {
    /// The command.
    pub command: LedgerCommand,
    /// Answered with what it did.
    pub reply: Reply<LedgerOutcome>,
}

/// Asks for all balances of a user, by currency.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<Vec<Balance>>")]
pub struct GetBalances(pub AccountId);

/// Asks for the order behind a client id.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "ClientIdAnswer")]
pub struct FindClientId(pub AccountId, pub ClientOrderId);

/// What is known about a client id in memory.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ClientIdAnswer {
    /// Whether not all is known: nothing is yet, or what was admitted before the ledger began anew may be on its way
    /// still. Always so where nothing is admitted.
    pub starting: bool,
    /// The order behind it.
    pub order: Option<(MarketId, OrderId)>,
    /// Whether an order with it was admitted here and is on its way through the log, so that nobody knows yet what
    /// becomes of it.
    pub in_flight: bool,
    /// Present when it may be an id of long ago, which only the database knows.
    pub forgotten: Option<ForgottenIds>,
}

/// What the database must have for its word on an id to count.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ForgottenIds {
    /// How many ids memory has forgotten.
    pub count: u64,
    /// The newest forgotten order of each market.
    pub newest: Vec<(MarketId, u64)>,
}

/// Tells the ledger of a book, so that it can ask for a new epoch.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Attach(pub MarketId, pub Handle<OrderBook>);

/// Asks whether commands are admitted, all markets being fenced.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
pub struct IsReady;
