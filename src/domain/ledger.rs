//! Every balance of the venue: double entry, exact, never negative for a user.
//!
//! Invariants, checked after every entry before anything leaves the actor: per currency the changes
//! add up to zero; available and hold of every account but the outside world are at or above zero.
//! A violation is a bug and stops the actor.
//!
//! The ledger's own entries and the markets' outcomes are sums, so their order across streams does
//! not matter; whether a balance suffices is decided at admission alone (see [`super::admission`]).

use super::entry::{LedgerEntry, Movement, Settlement, TransferId};
use super::ids::{AccountId, CurrencyId, MarketId, OrderId, Ticket, TradeId};
use super::invariant::broken;
use super::market::{ConfigError, Currency, MarketConfig, Scale};
use super::money::{Amount, MAX_AMOUNT};
use super::posting::{Posting, PostingKind};
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// How many of the newest transfer ids are remembered, so that a repeat changes nothing.
const REMEMBERED_TRANSFERS: usize = 65_536;

/// What one account has of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Balance {
    /// Free to use.
    pub available: Amount,
    /// Reserved for open orders.
    pub hold: Amount,
}

impl Balance {
    /// Available and hold together.
    pub fn total(self) -> Amount {
        self.available + self.hold
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Account {
    open: bool,
    frozen: bool,
    /// By currency; shorter than the list of currencies while the rest is zero.
    balances: Vec<Balance>,
}

/// What an entry of the ledger's stream did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LedgerOutcome {
    /// A currency joined the list.
    CurrencyListed(Box<Currency>),
    /// A market joined the list.
    MarketListed(Box<MarketConfig>, Scale),
    /// An account is open now.
    AccountOpened(AccountId),
    /// Money moved; the postings say how.
    Moved(MovedKind, Movement),
    /// An account may not trade or withdraw, or may again.
    FrozenSet(AccountId, bool),
    /// Money is reserved for a withdrawal.
    WithdrawalHeld(Movement),
    /// A withdrawal was handed to the custodian.
    WithdrawalReleased(TransferId),
    /// A withdrawal was given up; its money is free again.
    WithdrawalReturned(Movement),
    /// The entry changed nothing.
    Ignored(Ignored),
    /// Nobody trades or withdraws from now on, or everybody may again.
    StoppedSet(bool),
}

/// Which way money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MovedKind {
    /// In from outside.
    Deposit,
    /// Out.
    Withdraw,
    /// To this user.
    Transfer(AccountId),
}

/// Why an entry changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ignored {
    /// It was done before (same transfer id, account already open).
    Repeat,
    /// It names an account or a currency that does not exist, or an amount out of range.
    Invalid,
    /// The currency or market cannot be listed.
    Config(ConfigError),
}

/// Every balance, and the venue's lists of currencies and markets.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    currencies: Vec<Currency>,
    markets: Vec<(MarketConfig, Scale)>,
    accounts: Vec<Account>,
    transfers: Transfers,
    withdrawals: BTreeMap<TransferId, Withdrawal>,
    stopped: bool,
    /// Whether a balance may be below zero for a while; see [`Ledger::allow_debts`].
    #[serde(skip)]
    debts_allowed: bool,
}

/// A withdrawal whose money is reserved and has not left yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// What is to leave.
    pub movement: Movement,
    /// Whether the custodian has it, so that it cannot be called back.
    pub released: bool,
}

/// The newest transfer ids. The set follows from the queue.
#[derive(Clone, Debug, Default)]
struct Transfers {
    queue: VecDeque<TransferId>,
    known: FxHashSet<TransferId>,
}

impl Transfers {
    /// Remembers an id; false when it was known.
    fn insert(&mut self, id: TransferId) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.queue.push_back(id);
        if self.queue.len() > REMEMBERED_TRANSFERS
            && let Some(oldest) = self.queue.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

impl PartialEq for Transfers {
    fn eq(&self, other: &Transfers) -> bool {
        self.queue == other.queue
    }
}

impl Eq for Transfers {}

impl Serialize for Transfers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.queue.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Transfers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Transfers, D::Error> {
        let queue = VecDeque::<TransferId>::deserialize(deserializer)?;
        let known = queue.iter().copied().collect();
        Ok(Transfers { queue, known })
    }
}

impl Ledger {
    /// An empty ledger: the outside world and the house, no currencies.
    pub fn new() -> Ledger {
        let own = Account { open: true, ..Account::default() };
        Ledger { accounts: vec![own.clone(), own], ..Ledger::default() }
    }

    /// Applies one entry of the ledger's stream; its postings go to `postings`.
    pub fn apply(&mut self, entry: &LedgerEntry, postings: &mut Vec<Posting>) -> LedgerOutcome {
        let first = postings.len();
        let outcome = match entry {
            LedgerEntry::ListCurrency(currency) | LedgerEntry::AddCurrency { currency, .. } => {
                self.list_currency(currency)
            }
            LedgerEntry::ListMarket(config) | LedgerEntry::AddMarket { config, .. } => self.list_market(config),
            LedgerEntry::SetStopped { stopped, .. } => {
                self.stopped = *stopped;
                LedgerOutcome::StoppedSet(*stopped)
            }
            LedgerEntry::OpenAccount { account, .. } => self.open(*account),
            LedgerEntry::Deposit(movement) => self.movement(MovedKind::Deposit, movement, postings),
            LedgerEntry::Withdraw(movement) => self.movement(MovedKind::Withdraw, movement, postings),
            LedgerEntry::Transfer { movement, to } => self.movement(MovedKind::Transfer(*to), movement, postings),
            LedgerEntry::SetFrozen { account, frozen, .. } => match self.accounts.get_mut(account.0 as usize) {
                Some(state) if state.open && *account >= AccountId::FIRST_USER => {
                    state.frozen = *frozen;
                    LedgerOutcome::FrozenSet(*account, *frozen)
                }
                _ => LedgerOutcome::Ignored(Ignored::Invalid),
            },
            LedgerEntry::HoldWithdrawal(movement) => self.hold_withdrawal(movement, postings),
            LedgerEntry::ReleaseWithdrawal { transfer, .. } => match self.withdrawals.get_mut(transfer) {
                Some(withdrawal) if !withdrawal.released => {
                    withdrawal.released = true;
                    LedgerOutcome::WithdrawalReleased(*transfer)
                }
                Some(_) => LedgerOutcome::Ignored(Ignored::Repeat),
                None => LedgerOutcome::Ignored(Ignored::Invalid),
            },
            LedgerEntry::SettleWithdrawal { transfer, how, .. } => self.settle_withdrawal(*transfer, *how, postings),
        };
        self.post(postings.get(first..).unwrap_or_default());
        outcome
    }

    /// From now on what is available of a balance may be below zero for a while: whoever reads streams side by side may
    /// hear that money was spent before he hears, in another stream, what paid for it.
    pub fn allow_debts(&mut self) {
        #[cfg(test)]
        if super::sabotage::is_made(super::sabotage::Mistake::ExpectsCreditsFirst) {
            return;
        }
        self.debts_allowed = true;
    }

    /// From now on no balance may be below zero: everything was heard that has happened so far, and what comes is heard in
    /// an order in which it could happen. Stops whoever holds a balance that is below zero now.
    pub fn forbid_debts(&mut self) {
        if !std::mem::take(&mut self.debts_allowed) {
            return;
        }
        let users = self.accounts.iter().skip(AccountId::OUTSIDE.0 as usize + 1);
        if users.flat_map(|account| &account.balances).any(|balance| balance.available.is_negative()) {
            broken("a balance below zero when everything was heard");
        }
    }

    /// Applies the postings of one outcome.
    pub fn post(&mut self, postings: &[Posting]) {
        let debts_allowed = self.debts_allowed;
        for posting in postings {
            let balance = self.balance_mut(posting.account, posting.currency);
            balance.available += posting.available;
            balance.hold += posting.hold;
            // A hold is made and released in one and the same stream.
            let negative = (balance.available.is_negative() && !debts_allowed) || balance.hold.is_negative();
            if negative && posting.account != AccountId::OUTSIDE {
                broken("a balance below zero");
            }
        }
        // Few currencies move at once, so the sums are checked by looking again, without a map.
        for (at, posting) in postings.iter().enumerate() {
            let same = |other: &&Posting| other.currency == posting.currency;
            let seen = postings.iter().take(at).any(|other| same(&other));
            if !seen && !postings.iter().filter(same).map(Posting::amount).sum::<Amount>().is_zero() {
                broken("postings that do not add up to zero");
            }
        }
    }

    fn balance_mut(&mut self, account: AccountId, currency: CurrencyId) -> &mut Balance {
        let known = self.currencies.len();
        let index = usize::from(currency.0);
        match self.accounts.get_mut(account.0 as usize) {
            Some(state) if state.open && index < known => {
                if state.balances.len() <= index {
                    state.balances.resize(index + 1, Balance::default());
                }
                match state.balances.get_mut(index) {
                    Some(balance) => balance,
                    None => broken("a balance that was just made"),
                }
            }
            _ => broken("a posting to an account or in a currency that does not exist"),
        }
    }

    fn list_currency(&mut self, currency: &Currency) -> LedgerOutcome {
        let free = usize::from(currency.id.0) == self.currencies.len();
        let known = self.currencies.iter().any(|other| other.code == currency.code);
        if let Err(error) = currency.validate() {
            return LedgerOutcome::Ignored(Ignored::Config(error));
        }
        if !free || known {
            return LedgerOutcome::Ignored(if known { Ignored::Repeat } else { Ignored::Invalid });
        }
        self.currencies.push(currency.clone());
        LedgerOutcome::CurrencyListed(Box::new(currency.clone()))
    }

    fn list_market(&mut self, config: &MarketConfig) -> LedgerOutcome {
        let (Some(base), Some(quote)) = (self.currency(config.base), self.currency(config.quote)) else {
            return LedgerOutcome::Ignored(Ignored::Config(ConfigError::BadCurrencies));
        };
        let scale = match config.validate(base, quote) {
            Ok(scale) => scale,
            Err(error) => return LedgerOutcome::Ignored(Ignored::Config(error)),
        };
        if self.markets.iter().any(|(other, _)| other.symbol == config.symbol) {
            return LedgerOutcome::Ignored(Ignored::Repeat);
        }
        if usize::from(config.id.0) != self.markets.len() {
            return LedgerOutcome::Ignored(Ignored::Invalid);
        }
        self.markets.push((config.clone(), scale));
        LedgerOutcome::MarketListed(Box::new(config.clone()), scale)
    }

    fn open(&mut self, account: AccountId) -> LedgerOutcome {
        let index = account.0 as usize;
        // Ids come from a counter that may have gaps (a sign-up that failed half-way), but not leaps.
        if account < AccountId::FIRST_USER || index > self.accounts.len() + 1_000_000 {
            return LedgerOutcome::Ignored(Ignored::Invalid);
        }
        if self.accounts.len() <= index {
            self.accounts.resize(index + 1, Account::default());
        }
        match self.accounts.get_mut(index) {
            Some(state) if !state.open => {
                state.open = true;
                LedgerOutcome::AccountOpened(account)
            }
            _ => LedgerOutcome::Ignored(Ignored::Repeat),
        }
    }

    fn movement(&mut self, kind: MovedKind, movement: &Movement, postings: &mut Vec<Posting>) -> LedgerOutcome {
        let (from, to) = match kind {
            MovedKind::Deposit => (AccountId::OUTSIDE, movement.account),
            MovedKind::Withdraw => (movement.account, AccountId::OUTSIDE),
            MovedKind::Transfer(to) => (movement.account, to),
        };
        let valid = self.is_open(from)
            && self.is_open(to)
            && from != to
            && self.currency(movement.currency).is_some()
            && movement.amount > Amount::ZERO
            && movement.amount <= MAX_AMOUNT;
        if !valid {
            return LedgerOutcome::Ignored(Ignored::Invalid);
        }
        if !self.transfers.insert(movement.transfer) {
            return LedgerOutcome::Ignored(Ignored::Repeat);
        }
        for (account, available) in [(from, -movement.amount), (to, movement.amount)] {
            postings.push(Posting {
                account,
                currency: movement.currency,
                available,
                hold: Amount::ZERO,
                kind: PostingKind::Transfer,
                order: OrderId::default(),
                trade: TradeId(0),
            });
        }
        LedgerOutcome::Moved(kind, *movement)
    }

    fn hold_withdrawal(&mut self, movement: &Movement, postings: &mut Vec<Posting>) -> LedgerOutcome {
        let valid = self.is_open(movement.account)
            && movement.account >= AccountId::FIRST_USER
            && self.currency(movement.currency).is_some()
            && movement.amount > Amount::ZERO
            && movement.amount <= MAX_AMOUNT;
        if !valid {
            return LedgerOutcome::Ignored(Ignored::Invalid);
        }
        if !self.transfers.insert(movement.transfer) || self.withdrawals.contains_key(&movement.transfer) {
            return LedgerOutcome::Ignored(Ignored::Repeat);
        }
        self.withdrawals.insert(movement.transfer, Withdrawal { movement: *movement, released: false });
        let (available, hold) = (-movement.amount, movement.amount);
        postings.push(withdrawal_posting(movement.account, movement, available, hold, PostingKind::Hold));
        LedgerOutcome::WithdrawalHeld(*movement)
    }

    fn settle_withdrawal(
        &mut self,
        transfer: TransferId,
        how: Settlement,
        postings: &mut Vec<Posting>,
    ) -> LedgerOutcome {
        // What the custodian has cannot be called back; what it has not can neither be paid nor fail.
        match self.withdrawals.get(&transfer) {
            None => return LedgerOutcome::Ignored(Ignored::Repeat),
            Some(withdrawal) if withdrawal.released == (how == Settlement::Canceled) => {
                return LedgerOutcome::Ignored(Ignored::Invalid);
            }
            Some(_) => {}
        }
        let Some(Withdrawal { movement, .. }) = self.withdrawals.remove(&transfer) else {
            return LedgerOutcome::Ignored(Ignored::Repeat);
        };
        let (none, kind) = (Amount::ZERO, PostingKind::Transfer);
        if how == Settlement::Paid {
            postings.push(withdrawal_posting(movement.account, &movement, none, -movement.amount, kind));
            postings.push(withdrawal_posting(AccountId::OUTSIDE, &movement, movement.amount, none, kind));
            return LedgerOutcome::Moved(MovedKind::Withdraw, movement);
        }
        let (available, hold) = (movement.amount, -movement.amount);
        postings.push(withdrawal_posting(movement.account, &movement, available, hold, PostingKind::Hold));
        LedgerOutcome::WithdrawalReturned(movement)
    }

    /// The withdrawals whose money is reserved, by their ids.
    pub fn withdrawals(&self) -> impl Iterator<Item = &Withdrawal> {
        self.withdrawals.values()
    }

    /// One of them.
    pub fn withdrawal(&self, transfer: TransferId) -> Option<&Withdrawal> {
        self.withdrawals.get(&transfer)
    }

    /// Whether the account exists.
    pub fn is_open(&self, account: AccountId) -> bool {
        self.accounts.get(account.0 as usize).is_some_and(|state| state.open)
    }

    /// Whether the account may neither trade nor withdraw.
    pub fn is_frozen(&self, account: AccountId) -> bool {
        self.accounts.get(account.0 as usize).is_some_and(|state| state.frozen)
    }

    /// Whether the kill switch of the whole venue is engaged.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// A balance; zero where there is none.
    pub fn balance(&self, account: AccountId, currency: CurrencyId) -> Balance {
        let balances = self.accounts.get(account.0 as usize).map(|state| state.balances.as_slice());
        balances.and_then(|balances| balances.get(usize::from(currency.0))).copied().unwrap_or_default()
    }

    /// All accounts that exist, in order, with their balances by currency.
    pub fn balances(&self) -> impl Iterator<Item = (AccountId, &[Balance])> {
        let open = self.accounts.iter().enumerate().filter(|(_, state)| state.open);
        open.map(|(index, state)| (AccountId(index as u32), state.balances.as_slice()))
    }

    /// The sum over all accounts of one currency: zero, always.
    pub fn total(&self, currency: CurrencyId) -> Amount {
        self.balances().filter_map(|(_, b)| b.get(usize::from(currency.0))).map(|b| b.total()).sum()
    }

    /// A currency by its place.
    pub fn currency(&self, id: CurrencyId) -> Option<&Currency> {
        self.currencies.get(usize::from(id.0))
    }

    /// All currencies, in the order of their listing.
    pub fn currencies(&self) -> &[Currency] {
        &self.currencies
    }

    /// All markets as they were listed, in that order.
    pub fn markets(&self) -> &[(MarketConfig, Scale)] {
        &self.markets
    }

    /// A market as it was listed.
    pub fn market(&self, id: MarketId) -> Option<&(MarketConfig, Scale)> {
        self.markets.get(usize::from(id.0))
    }

    /// The first account number that was never opened.
    pub fn next_account(&self) -> AccountId {
        AccountId(self.accounts.len() as u32)
    }

    /// Whether this transfer was done already, as far as is remembered.
    pub fn knows_transfer(&self, transfer: TransferId) -> bool {
        self.transfers.known.contains(&transfer)
    }
}

fn withdrawal_posting(
    account: AccountId,
    movement: &Movement,
    available: Amount,
    hold: Amount,
    kind: PostingKind,
) -> Posting {
    let (order, trade) = (OrderId::default(), TradeId(0));
    Posting { account, currency: movement.currency, available, hold, kind, order, trade }
}

impl LedgerOutcome {
    /// Whether the entry changed anything.
    pub fn is_done(&self) -> bool {
        !matches!(self, LedgerOutcome::Ignored(_))
    }
}

/// The hold or payment that an entry of the ledger's stream needs: whose, what, how much.
pub fn needs(entry: &LedgerEntry) -> Option<(Ticket, AccountId, CurrencyId, Amount)> {
    match entry {
        LedgerEntry::Withdraw(m) | LedgerEntry::HoldWithdrawal(m) | LedgerEntry::Transfer { movement: m, .. } => {
            Some((m.ticket, m.account, m.currency, m.amount))
        }
        LedgerEntry::ListCurrency(_)
        | LedgerEntry::ListMarket(_)
        | LedgerEntry::OpenAccount { .. }
        | LedgerEntry::Deposit(_)
        | LedgerEntry::SetFrozen { .. }
        | LedgerEntry::ReleaseWithdrawal { .. }
        | LedgerEntry::SettleWithdrawal { .. }
        | LedgerEntry::AddCurrency { .. }
        | LedgerEntry::AddMarket { .. }
        | LedgerEntry::SetStopped { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Ticket;

    const ADA: AccountId = AccountId::FIRST_USER;
    const BTC: CurrencyId = CurrencyId(0);

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new();
        let btc = Currency { id: BTC, code: "BTC".into(), name: "Bitcoin".into(), decimals: 8, fiat: false };
        let movement = Movement { ticket: Ticket(1), account: ADA, currency: BTC, amount: Amount(100), transfer: 1 };
        for entry in [
            LedgerEntry::ListCurrency(Box::new(btc)),
            LedgerEntry::OpenAccount { ticket: Ticket(1), account: ADA },
            LedgerEntry::Deposit(movement),
        ] {
            assert!(ledger.apply(&entry, &mut Vec::new()).is_done());
        }
        ledger
    }

    fn hold(amount: i128, transfer: TransferId) -> LedgerEntry {
        let amount = Amount(amount);
        LedgerEntry::HoldWithdrawal(Movement { ticket: Ticket(2), account: ADA, currency: BTC, amount, transfer })
    }

    #[test]
    fn a_withdrawal_is_held_released_and_paid_once() {
        let mut ledger = ledger();
        let mut apply = |entry: &LedgerEntry| ledger.apply(entry, &mut Vec::new());
        let release = LedgerEntry::ReleaseWithdrawal { ticket: Ticket(3), transfer: 7 };
        let pay = LedgerEntry::SettleWithdrawal { ticket: Ticket(4), transfer: 7, how: Settlement::Paid };
        assert_eq!(apply(&release), LedgerOutcome::Ignored(Ignored::Invalid));
        assert!(matches!(apply(&hold(60, 7)), LedgerOutcome::WithdrawalHeld(_)));
        assert_eq!(apply(&hold(60, 7)), LedgerOutcome::Ignored(Ignored::Repeat));
        assert_eq!(apply(&pay), LedgerOutcome::Ignored(Ignored::Invalid), "not before the custodian has it");
        assert_eq!(apply(&release), LedgerOutcome::WithdrawalReleased(7));
        assert_eq!(apply(&release), LedgerOutcome::Ignored(Ignored::Repeat));
        let recall = LedgerEntry::SettleWithdrawal { ticket: Ticket(4), transfer: 7, how: Settlement::Canceled };
        assert_eq!(apply(&recall), LedgerOutcome::Ignored(Ignored::Invalid), "the custodian has it");
        assert!(matches!(apply(&pay), LedgerOutcome::Moved(MovedKind::Withdraw, _)));
        assert_eq!(apply(&pay), LedgerOutcome::Ignored(Ignored::Repeat));
        assert_eq!(ledger.balance(ADA, BTC), Balance { available: Amount(40), hold: Amount::ZERO });
        assert_eq!(ledger.total(BTC), Amount::ZERO);
        assert_eq!(ledger.withdrawals().count(), 0);
    }

    #[test]
    fn a_withdrawal_that_is_given_up_frees_its_money() {
        let mut ledger = ledger();
        ledger.apply(&hold(100, 8), &mut Vec::new());
        assert_eq!(ledger.balance(ADA, BTC), Balance { available: Amount::ZERO, hold: Amount(100) });
        let back = LedgerEntry::SettleWithdrawal { ticket: Ticket(4), transfer: 8, how: Settlement::Canceled };
        assert!(matches!(ledger.apply(&back, &mut Vec::new()), LedgerOutcome::WithdrawalReturned(_)));
        assert_eq!(ledger.balance(ADA, BTC), Balance { available: Amount(100), hold: Amount::ZERO });
        assert_eq!(ledger.apply(&hold(0, 9), &mut Vec::new()), LedgerOutcome::Ignored(Ignored::Invalid));
    }
}
