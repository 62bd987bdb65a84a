//! How subscriptions to a market begin: with its ticker, levels and orders, as soon as it is active.
//!
//! A market whose data are being rebuilt does not hold up the answer to a subscription, nor those to other markets: what
//! is read of it is noted, and begins when it is there.

use super::{AGAIN, Channel, Connection, Reader};
use crate::actors::trading::Market;
use crate::actors::trading::market_data::Ticker;
use crate::domain::ids::MarketId;
use crate::http::exchange::market_data::ticker;
use crate::http::gitbitex::socket::messages;
use crate::http::ws::hub::{Hub, reasons};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a client waits for its markets, all together, so that every event after the answer to its subscription
/// reaches it.
const READY_WITHIN: Duration = Duration::from_secs(1);
/// How long a market may take to answer before it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// A market does not answer: its data are being rebuilt, say.
#[derive(Debug)]
struct NotNow;

/// Those of the markets that are active now, or in a moment, with their tickers of now if they are wanted.
pub async fn ready(hub: &Rc<Hub>, markets: BTreeSet<MarketId>, tickers: bool) -> BTreeMap<MarketId, Option<Ticker>> {
    let deadline = Instant::now() + READY_WITHIN;
    // One that does not answer holds up no other.
    let all =
        markets.into_iter().map(move |id| async move { (id, timeout_at(deadline, activate(hub, id, tickers)).await) });
    let answered = join_all(all).await.into_iter();
    answered.filter_map(|(id, answer)| Some((id, answer.ok()?.ok()?))).collect()
}

/// Makes a market active; its ticker of now, before the first trade none, if that is wanted. What the hub has of it is
/// as old as the last trade.
async fn activate(hub: &Rc<Hub>, id: MarketId, with_ticker: bool) -> Result<Option<Ticker>, NotNow> {
    if !hub.activate(BTreeSet::from([id])).await {
        return Err(NotNow);
    }
    if !with_ticker {
        return Ok(None);
    }
    let market = hub.market(id).ok_or(NotNow)?;
    ticker(&market).await.map_err(|_| NotNow)
}

impl Connection {
    /// Sends what the subscriptions to these channels of a market begin with.
    pub(super) fn begin(&self, market: &Arc<Market>, channels: &BTreeSet<Channel>, ticker: Option<&Ticker>) {
        let Some(listener) = self.listener() else { return };
        let reads = self.inner.borrow().readers.get(&market.id).is_some_and(|reader| !reader.channels.is_empty());
        if reads && !self.hub.listen(market.id, &listener) {
            return self.begin_later(market);
        }
        if channels.contains(&Channel::Ticker)
            && let Some(ticker) = ticker
        {
            self.outbox.ticker(market.id, messages::ticker(market, ticker));
        }
        if channels.contains(&Channel::Level2) {
            self.snapshot(market.id);
        }
        if channels.contains(&Channel::Order) {
            self.follow_orders(market);
        }
    }

    /// Waits for a market that is not active, and then begins with all that is read of it.
    pub(super) fn begin_later(&self, market: &Arc<Market>) {
        let begins = |reader: &mut Reader| !reader.channels.is_empty() && !std::mem::replace(&mut reader.awaited, true);
        if !self.inner.borrow_mut().readers.get_mut(&market.id).is_some_and(begins) {
            return;
        }
        let (this, hub, market) = (self.this.clone(), self.hub.clone(), market.clone());
        actix_web::rt::spawn(async move {
            loop {
                tokio::time::sleep(AGAIN).await;
                // Whether the ticker will be wanted when the market is there is not known yet.
                let answer = timeout(PATIENCE, activate(&hub, market.id, true)).await.unwrap_or(Err(NotNow));
                let Some(this) = this.upgrade().filter(|this| !this.outbox.is_closed()) else { return };
                if this.awaited(&market, &answer) {
                    return;
                }
            }
        });
    }

    /// Begins with a market that was waited for, if it has answered and is still wanted; false when it is to be waited
    /// for again.
    fn awaited(&self, market: &Arc<Market>, answer: &Result<Option<Ticker>, NotNow>) -> bool {
        if !Rc::ptr_eq(&Hub::of_worker(self.state()), &self.hub) {
            self.close(reasons::FAILED);
            return true;
        }
        let channels = {
            let mut inner = self.inner.borrow_mut();
            let Some(reader) = inner.readers.get_mut(&market.id) else { return true };
            if answer.is_err() && !reader.channels.is_empty() {
                return false;
            }
            reader.awaited = false;
            reader.channels.clone()
        };
        self.begin(market, &channels, answer.as_ref().ok().and_then(Option::as_ref));
        true
    }
}
