//! Commands as they were admitted: what stands in the log.

use super::ids::{AccountId, CurrencyId, OrderId, Ticket};
use super::market::{Currency, MarketConfig};
use super::money::{Amount, Price, Size};
use super::order::{NewOrder, Side};
use super::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One entry of a market's stream.
///
/// Its tag is one byte: hidden in one of the fields' unused values it would be read from what was just written in parts,
/// and the processor would wait for its own stores.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MarketEntry {
    /// A new order.
    Place(NewOrder),
    /// One order is to be canceled.
    Cancel {
        /// Who waits for the answer.
        ticket: Ticket,
        /// Whose order it must be.
        account: AccountId,
        /// Which.
        order: OrderId,
    },
    /// All live orders of one user in this market are to be canceled.
    CancelAll {
        /// Who waits for the answer.
        ticket: Ticket,
        /// Whose orders.
        account: AccountId,
        /// Only this side, if given.
        side: Option<Side>,
    },
    /// A live limit order gets another price or size.
    Amend(Amend),
    /// The market's rules from now on.
    Configure(Box<MarketConfig>),
    /// Time passes; orders whose time has come are canceled.
    Tick,
    /// Several commands of one user that happen together or not at all.
    Atomic(Box<Atomic>),
    /// The market's rules from now on, asked for by somebody who waits.
    Reconfigure {
        /// Who waits for the answer.
        ticket: Ticket,
        /// The rules.
        config: Box<MarketConfig>,
    },
    /// A kill switch is engaged or released.
    Kill {
        /// Who waits for the answer.
        ticket: Ticket,
        /// Whose orders go; the whole market's when it is nobody's.
        account: Option<AccountId>,
        /// Engaged: orders are canceled, and a market takes none from now on. Released: the market trades again.
        engaged: bool,
    },
    /// A call auction begins.
    BeginAuction {
        /// Who waits for the answer.
        ticket: Ticket,
        /// When it ends.
        ends_at: Timestamp,
    },
}

/// Cancels, amends and new orders of one user, carried out in this order, all or none.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Atomic {
    /// Who waits for the answer.
    pub ticket: Ticket,
    /// Whose batch it is.
    pub account: AccountId,
    /// The orders to cancel.
    pub cancels: Vec<OrderId>,
    /// The orders to change, each with a ticket of its own.
    pub amends: Vec<Amend>,
    /// The new orders, each with a ticket of its own.
    pub places: Vec<NewOrder>,
}

impl Atomic {
    /// The most parts of one batch.
    pub const MOST_PARTS: usize = 100;

    /// How many parts it has.
    pub fn parts(&self) -> usize {
        self.cancels.len() + self.amends.len() + self.places.len()
    }
}

/// A change of a live limit order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amend {
    /// Ties it to its pending hold and its caller.
    pub ticket: Ticket,
    /// Whose order it must be.
    pub account: AccountId,
    /// Which.
    pub order: OrderId,
    /// The new price, if it changes.
    pub price: Option<Price>,
    /// The new whole size, filled part included, if it changes.
    pub size: Option<Size>,
    /// What was reserved in addition to the order's present hold.
    pub extra_hold: Amount,
}

/// The id that whoever moves money gives the movement; a UUID as 128 bits.
pub type TransferId = u128;

/// One entry of the ledger's stream. Admission has checked that the balances suffice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerEntry {
    /// A currency joins the venue's list, at the next free place.
    ListCurrency(Box<Currency>),
    /// A market joins the venue's list, at the next free place; its stream begins here.
    ListMarket(Box<MarketConfig>),
    /// A user gets an account. Repeats change nothing.
    OpenAccount {
        /// Who waits for the answer.
        ticket: Ticket,
        /// Which account.
        account: AccountId,
    },
    /// Money comes in from outside.
    Deposit(Movement),
    /// Money goes out.
    Withdraw(Movement),
    /// Money goes from one user to another.
    Transfer {
        /// The movement, seen from the payer.
        movement: Movement,
        /// Who receives.
        to: AccountId,
    },
    /// An account may not trade or withdraw, or may again.
    SetFrozen {
        /// Who waits for the answer.
        ticket: Ticket,
        /// Which account.
        account: AccountId,
        /// From now on.
        frozen: bool,
    },
    /// Money is reserved for a withdrawal that waits to be sent.
    HoldWithdrawal(Movement),
    /// A held withdrawal is handed to the custodian: from here on it cannot be called back.
    ReleaseWithdrawal {
        /// Who waits for the answer.
        ticket: Ticket,
        /// Which withdrawal.
        transfer: TransferId,
    },
    /// A held withdrawal is over: its money has left, or is given back.
    SettleWithdrawal {
        /// Who waits for the answer.
        ticket: Ticket,
        /// Which withdrawal.
        transfer: TransferId,
        /// How it ended.
        how: Settlement,
    },
    /// A currency joins the venue's list, asked for by somebody who waits.
    AddCurrency {
        /// Who waits for the answer.
        ticket: Ticket,
        /// The currency; its place must be the next free one.
        currency: Box<Currency>,
    },
    /// A market joins the venue's list, asked for by somebody who waits.
    AddMarket {
        /// Who waits for the answer.
        ticket: Ticket,
        /// Its rules; its place must be the next free one.
        config: Box<MarketConfig>,
    },
    /// The kill switch of the whole venue: nobody trades or withdraws, or everybody may again.
    SetStopped {
        /// Who waits for the answer.
        ticket: Ticket,
        /// From now on.
        stopped: bool,
    },
}

/// How a held withdrawal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settlement {
    /// It was called back before it was released.
    Canceled,
    /// It was released, and the custodian could not send it.
    Failed,
    /// It was released, and the money has left.
    Paid,
}

/// An amount of one currency that enters or leaves an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movement {
    /// Ties it to its pending hold and its caller.
    pub ticket: Ticket,
    /// Whose account.
    pub account: AccountId,
    /// Which currency.
    pub currency: CurrencyId,
    /// How much; positive.
    pub amount: Amount,
    /// The movement's own id: a repeat of it changes nothing.
    pub transfer: TransferId,
}

impl MarketEntry {
    /// Who waits for its outcome.
    pub fn ticket(&self) -> Ticket {
        match self {
            MarketEntry::Place(order) => order.ticket,
            MarketEntry::Cancel { ticket, .. } | MarketEntry::CancelAll { ticket, .. } => *ticket,
            MarketEntry::Amend(amend) => amend.ticket,
            MarketEntry::Atomic(batch) => batch.ticket,
            MarketEntry::Reconfigure { ticket, .. }
            | MarketEntry::Kill { ticket, .. }
            | MarketEntry::BeginAuction { ticket, .. } => *ticket,
            MarketEntry::Configure(_) | MarketEntry::Tick => Ticket(0),
        }
    }
}

impl MarketEntry {
    /// Names the tickets under which holds may be pending for it.
    pub fn holds(&self, mut name: impl FnMut(Ticket)) {
        name(self.ticket());
        if let MarketEntry::Atomic(batch) = self {
            batch.part_tickets().for_each(name);
        }
    }
}

impl Atomic {
    /// The tickets of its amends and new orders.
    pub fn part_tickets(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.amends.iter().map(|amend| amend.ticket).chain(self.places.iter().map(|order| order.ticket))
    }
}

impl LedgerEntry {
    /// Who waits for its outcome.
    pub fn ticket(&self) -> Ticket {
        match self {
            LedgerEntry::OpenAccount { ticket, .. }
            | LedgerEntry::SetFrozen { ticket, .. }
            | LedgerEntry::ReleaseWithdrawal { ticket, .. }
            | LedgerEntry::SettleWithdrawal { ticket, .. }
            | LedgerEntry::AddCurrency { ticket, .. }
            | LedgerEntry::AddMarket { ticket, .. }
            | LedgerEntry::SetStopped { ticket, .. } => *ticket,
            LedgerEntry::Deposit(movement)
            | LedgerEntry::Withdraw(movement)
            | LedgerEntry::HoldWithdrawal(movement)
            | LedgerEntry::Transfer { movement, .. } => movement.ticket,
            LedgerEntry::ListCurrency(_) | LedgerEntry::ListMarket(_) => Ticket(0),
        }
    }

    /// The transfer that it makes, and that a repeat would make again.
    pub fn transfer(&self) -> Option<TransferId> {
        match self {
            LedgerEntry::Deposit(movement)
            | LedgerEntry::Withdraw(movement)
            | LedgerEntry::HoldWithdrawal(movement)
            | LedgerEntry::Transfer { movement, .. } => Some(movement.transfer),
            LedgerEntry::ListCurrency(_)
            | LedgerEntry::ListMarket(_)
            | LedgerEntry::OpenAccount { .. }
            | LedgerEntry::SetFrozen { .. }
            | LedgerEntry::ReleaseWithdrawal { .. }
            | LedgerEntry::SettleWithdrawal { .. }
            | LedgerEntry::AddCurrency { .. }
            | LedgerEntry::AddMarket { .. }
            | LedgerEntry::SetStopped { .. } => None,
        }
    }
}
