//! Where actors get their state from: snapshot plus log.

use crate::domain::ids::{MarketId, Sequence};
use crate::domain::market_data::MarketData;
use crate::domain::replica::{LedgerReplica, MarketReplica};
use crate::domain::venue::{Market, Observer, Silent, Venue, VenueError};
use crate::persistence::log::{LogError, LogReader, Position};
use crate::persistence::snapshots::Snapshots;
use parking_lot::Mutex;
use std::sync::Arc;
use thiserror::Error;

/// Why the state could not be rebuilt.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A batch cannot be applied.
    #[error("the batch at position {0} cannot be applied: {1}")]
    Apply(Position, VenueError),
}

/// Rebuilds the venue. At the start of the program each actor takes its part of one recovery; an
/// actor that is restarted later recovers by itself.
pub struct Recovery {
    reader: Arc<dyn LogReader>,
    snapshots: Snapshots,
    seed: Mutex<Seed>,
}

/// The parts that were not taken yet, by market.
struct Seed {
    ledger: Option<LedgerReplica>,
    books: Vec<Option<MarketReplica>>,
    data: Vec<Option<(Sequence, MarketData)>>,
}

/// Applies what the log holds after `from`, up to its present end or `limit` batches.
///
/// # Errors
/// [`RecoveryError`]; the venue stands at the last good batch then.
pub fn catch_up(
    venue: &mut Venue,
    reader: &dyn LogReader,
    from: Position,
    limit: usize,
    observer: &mut impl Observer,
) -> Result<Position, RecoveryError> {
    let mut position = from;
    for committed in reader.read(from)?.take(limit) {
        let committed = committed?;
        venue.apply(&committed.batch, observer).map_err(|error| RecoveryError::Apply(committed.position, error))?;
        position = committed.position;
    }
    Ok(position)
}

impl Recovery {
    /// A recovery from this log and these snapshots. `venue` is the state at the log's end, for the
    /// first incarnation of each actor.
    pub fn new(reader: Arc<dyn LogReader>, snapshots: Snapshots, venue: Venue) -> Recovery {
        let mut seed = Seed { ledger: Some(venue.ledger), books: Vec::new(), data: Vec::new() };
        for market in venue.markets {
            seed.data.push(Some((market.replica.stream.sequence, market.data)));
            seed.books.push(Some(market.replica));
        }
        Recovery { reader, snapshots, seed: Mutex::new(seed) }
    }

    /// The whole venue at the log's present end.
    fn venue(&self) -> Result<Venue, RecoveryError> {
        let loaded = self.snapshots.newest(Position(u64::MAX));
        let (mut venue, from) = loaded.map_or_else(Default::default, |loaded| (loaded.venue, loaded.position));
        catch_up(&mut venue, self.reader.as_ref(), from, usize::MAX, &mut Silent)?;
        Ok(venue)
    }

    /// Runs the recovery where it may block.
    async fn elsewhere(self: Arc<Self>) -> Result<Venue, String> {
        tokio::task::spawn_blocking(move || self.venue()).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    /// The ledger's part.
    pub(super) async fn ledger(self: Arc<Self>) -> Result<LedgerReplica, String> {
        let seed = self.seed.lock().ledger.take();
        match seed {
            Some(replica) => Ok(replica),
            None => Ok(self.elsewhere().await?.ledger),
        }
    }

    /// A book's part.
    pub(super) async fn market(self: Arc<Self>, market: MarketId) -> Result<MarketReplica, String> {
        let seed = self.seed.lock().books.get_mut(usize::from(market.0)).and_then(Option::take);
        match seed {
            Some(replica) => Ok(replica),
            None => Ok(self.rebuilt(market).await?.replica),
        }
    }

    /// Market data's part, with the newest entry that it contains.
    pub(super) async fn data(self: Arc<Self>, market: MarketId) -> Result<(Sequence, MarketData), String> {
        let seed = self.seed.lock().data.get_mut(usize::from(market.0)).and_then(Option::take);
        match seed {
            Some(part) => Ok(part),
            None => {
                let rebuilt = self.rebuilt(market).await?;
                Ok((rebuilt.replica.stream.sequence, rebuilt.data))
            }
        }
    }

    async fn rebuilt(self: Arc<Self>, market: MarketId) -> Result<Market, String> {
        let mut markets = self.elsewhere().await?.markets;
        let index = usize::from(market.0);
        if index < markets.len() { Ok(markets.swap_remove(index)) } else { Err("the market is not listed".into()) }
    }
}
