//! The whole venue as one state machine: ledger, books and market data, fed with batches in log
//! order. Recovery, the projector, `agora verify` and simulations use it; live actors own its parts.

use super::batch::Batch;
use super::book::Book;
use super::ids::{CurrencyId, Epoch, MarketId, Sequence, StreamId};
use super::ledger::{Ledger, LedgerOutcome, Withdrawal};
use super::market::Phase;
use super::market_data::MarketData;
use super::money::Amount;
use super::posting::Posting;
use super::replica::{LedgerOutcomes, LedgerReplica, MarketOutcomes, MarketReplica, ReplicaError};
use super::stream::StreamState;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One market's part of the venue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Market {
    /// Its book and its place in its stream.
    pub replica: MarketReplica,
    /// What the public sees of it.
    pub data: MarketData,
    /// Where the market stands still, if it does. Not kept in snapshots: a program in which the entry can be applied goes
    /// on.
    #[serde(skip)]
    pub fault: Option<Standstill>,
}

/// A market whose rules cannot apply one of its entries stands still before the batch of that entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standstill {
    /// The entry.
    pub entry: Sequence,
    /// How far its stream goes beyond: epochs are begun in it all the same.
    pub stream: StreamState,
}

impl Market {
    /// Reads the next batch; `None` when the market stands still, or does so from now on. A bug that one entry brings
    /// out must not stop the others; every reader of the log stops this market at the same entry.
    fn read(&mut self, batch: &Batch) -> Option<Result<Option<MarketOutcomes>, ReplicaError>> {
        if let Some(fault) = &mut self.fault {
            return fault.stream.judge(batch).err().map(|gap| Err(gap.into()));
        }
        let mut at = Sequence::default();
        let Market { replica, data, .. } = self;
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let read = replica.read_each(batch, |entry| at = entry);
            if let Ok(Some(outcomes)) = &read {
                outcomes.events.iter().for_each(|event| data.fold(outcomes.at, event, |_, _, _| {}));
            }
            read
        }));
        if read.is_err() {
            self.fault = Some(Standstill { entry: at, stream: self.replica.stream });
        }
        read.ok()
    }
}

/// Everything that follows from the trading streams.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Venue {
    /// Balances, client ids and the catalogue.
    pub ledger: LedgerReplica,
    /// The markets, by their place in the catalogue.
    pub markets: Vec<Market>,
    #[serde(skip)]
    keeps_ended: bool,
}

/// Why the venue cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VenueError {
    /// A batch cannot be applied.
    #[error("stream {0}: {1}")]
    Replica(StreamId, ReplicaError),
    /// A batch belongs to a market that was never listed.
    #[error("a batch of market {0:?}, which is not listed")]
    UnknownMarket(MarketId),
}

/// Hears what each batch does, in log order.
pub trait Observer {
    /// A posting of a market's batch was made; the balance is the whole one right after it, so that the history of an
    /// account chains.
    fn posted(&mut self, _outcomes: &MarketOutcomes, _balance: Amount, _posting: &Posting) {}
    /// A market's batch was applied, its postings included.
    fn market(&mut self, _outcomes: &MarketOutcomes, _market: &Market) {}
    /// A batch of the ledger's stream was applied.
    fn ledger(&mut self, _outcomes: &LedgerOutcomes, _ledger: &Ledger) {}
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

impl Venue {
    /// Makes the outcomes of all markets carry the records of orders that end.
    pub fn keep_ended(&mut self) {
        self.keeps_ended = true;
        for market in &mut self.markets {
            market.replica.book.keep_ended();
        }
    }

    /// Applies the next batch of the log. Streams that are not trading streams change nothing.
    ///
    /// # Errors
    /// [`VenueError`] when the batch cannot be applied.
    pub fn apply(&mut self, batch: &Batch, observer: &mut impl Observer) -> Result<(), VenueError> {
        match batch.stream {
            StreamId::Ledger => {
                let read = self.ledger.read(batch).map_err(|error| VenueError::Replica(batch.stream, error))?;
                if let Some(outcomes) = read {
                    self.list(&outcomes);
                    observer.ledger(&outcomes, &self.ledger.ledger);
                }
            }
            StreamId::Market(id) => {
                let market = self.markets.get_mut(usize::from(id.0)).ok_or(VenueError::UnknownMarket(id))?;
                let Some(read) = market.read(batch) else { return Ok(()) };
                let read = read.map_err(|error| VenueError::Replica(batch.stream, error))?;
                if let Some(outcomes) = read {
                    self.ledger.add(&outcomes, |ledger, posting, later| {
                        let same =
                            |other: &&Posting| (other.account, other.currency) == (posting.account, posting.currency);
                        let later: Amount = later.iter().filter(same).map(Posting::amount).sum();
                        let balance = ledger.balance(posting.account, posting.currency).total() - later;
                        observer.posted(&outcomes, balance, posting);
                    });
                    observer.market(&outcomes, market);
                }
            }
            StreamId::Chat(_) => {}
        }
        Ok(())
    }

    fn list(&mut self, outcomes: &LedgerOutcomes) {
        for (_, outcome, _) in &outcomes.entries {
            if let LedgerOutcome::MarketListed(config, scale) = outcome {
                let mut replica = MarketReplica::new(Book::new((**config).clone(), *scale));
                if self.keeps_ended {
                    replica.book.keep_ended();
                }
                self.markets.push(Market { replica, data: MarketData::default(), fault: None });
            }
        }
    }

    /// The newest epoch of any of its streams.
    pub fn newest_epoch(&self) -> Epoch {
        let stream = |market: &Market| market.fault.map_or(market.replica.stream, |fault| fault.stream);
        let markets = self.markets.iter().map(|market| stream(market).epoch);
        markets.chain([self.ledger.stream.epoch]).max().unwrap_or_default()
    }

    /// A hash of everything that must be equal on every node that applied the same batches: books,
    /// market data, balances, catalogue.
    pub fn hash(&self) -> StateHash {
        let mut hasher = Hasher(blake3::Hasher::new());
        for market in &self.markets {
            hasher.add(&(&market.replica, &market.data));
        }
        hasher.add(&(&self.ledger.ledger, &self.ledger.stream, &self.ledger.markets));
        StateHash(*hasher.0.finalize().as_bytes())
    }

    /// The first market that stands still because of one of its entries.
    pub fn fault(&self) -> Option<(MarketId, Sequence)> {
        self.markets.iter().find_map(|market| Some((market.replica.book.config().id, market.fault?.entry)))
    }

    /// The first rule of the ledger that does not hold, if any: sums that are not zero, holds that
    /// differ from those of the live orders and of the withdrawals that have not left. Linear in accounts and orders: for audits.
    pub fn audit(&self) -> Result<(), String> {
        if let Some((market, entry)) = self.fault() {
            return Err(format!("entry {} of market {} cannot be applied", entry.0, market.0));
        }
        let ledger = &self.ledger.ledger;
        for currency in ledger.currencies() {
            let total = ledger.total(currency.id);
            if !total.is_zero() {
                return Err(format!("the {} balances add up to {} atoms instead of 0", currency.code, total.0));
            }
        }
        let mut holds = std::collections::BTreeMap::<_, Amount>::new();
        for market in &self.markets {
            let config = market.replica.book.config();
            let pair = super::posting::Pair { base: config.base, quote: config.quote };
            for order in market.replica.book.all_orders() {
                *holds.entry((order.account, pair.held(order.side))).or_default() += order.hold;
            }
            self.audit_market(market)?;
        }
        for Withdrawal { movement, .. } in ledger.withdrawals() {
            *holds.entry((movement.account, movement.currency)).or_default() += movement.amount;
        }
        for (account, balances) in ledger.balances() {
            for (index, balance) in balances.iter().enumerate() {
                let expected = holds.remove(&(account, CurrencyId(index as u16))).unwrap_or_default();
                if balance.hold != expected {
                    let (has, needs) = (balance.hold.0, expected.0);
                    return Err(format!(
                        "account {} holds {has} atoms of currency {index}, its orders and withdrawals need {needs}",
                        account.0
                    ));
                }
            }
        }
        match holds.iter().find(|(_, amount)| !amount.is_zero()) {
            Some(((account, _), _)) => Err(format!("account {} has orders or withdrawals without a hold", account.0)),
            None => Ok(()),
        }
    }

    fn audit_market(&self, market: &Market) -> Result<(), String> {
        use super::order::Side;
        let book = &market.replica.book;
        let symbol = &book.config().symbol;
        if let (Some(bid), Some(ask)) = (book.best(Side::Buy), book.best(Side::Sell))
            && bid >= ask
            && !matches!(book.phase(), Phase::Auction { .. })
        {
            return Err(format!("the book of {symbol} is crossed: bid {} and ask {} ticks", bid.0, ask.0));
        }
        if market.data.feed_sequence() != book.feed_sequence() {
            return Err(format!("the market data of {symbol} is at another feed sequence than its book"));
        }
        for side in [Side::Buy, Side::Sell] {
            let mut levels = Vec::<(u64, u128, u32)>::new();
            for resting in book.resting(side) {
                match levels.last_mut() {
                    Some((price, size, orders)) if *price == resting.price.0 => {
                        *size += u128::from(resting.remaining.0);
                        *orders += 1;
                    }
                    _ => levels.push((resting.price.0, u128::from(resting.remaining.0), 1)),
                }
            }
            let folded = market.data.depths(side).map(|(price, depth)| (price.0, depth.lots, depth.orders));
            if !folded.eq(levels) {
                return Err(format!("the price levels of {symbol} differ from its book"));
            }
        }
        Ok(())
    }
}

/// A hash of state, 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHash(pub [u8; 32]);

impl std::fmt::Display for StateHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl StateHash {
    /// The hash of one part of the state.
    pub fn of(part: &impl Serialize) -> StateHash {
        let mut hasher = Hasher(blake3::Hasher::new());
        hasher.add(part);
        StateHash(*hasher.0.finalize().as_bytes())
    }
}

struct Hasher(blake3::Hasher);

impl Hasher {
    fn add(&mut self, part: &impl Serialize) {
        // Writing to a hasher cannot fail, and every part can be serialised.
        if postcard::to_io(part, &mut self.0).is_err() {
            super::invariant::broken("a state that cannot be hashed");
        }
    }
}
