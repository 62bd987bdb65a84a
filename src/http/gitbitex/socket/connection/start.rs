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
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a client waits for its markets, so that every event after the answer to its subscription reaches it.
const READY_WITHIN: Duration = Duration::from_secs(1);
/// How long a market may take to answer before it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Those of the markets that are active now, or in a moment.
pub async fn ready(hub: &Rc<Hub>, markets: BTreeSet<MarketId>) -> BTreeSet<MarketId> {
    let deadline = Instant::now() + READY_WITHIN;
    let mut ready = BTreeSet::new();
    for id in markets {
        if matches!(timeout_at(deadline, hub.activate(BTreeSet::from([id]))).await, Ok(true)) {
            ready.insert(id);
        }
    }
    ready
}

/// The ticker of now: what the hub has is as old as the last trade.
pub async fn last_ticker(market: &Market) -> Option<Ticker> {
    timeout(READY_WITHIN, ticker(market)).await.ok()?.ok()?
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
                let activated = timeout(PATIENCE, hub.activate(BTreeSet::from([market.id]))).await;
                let active = matches!(activated, Ok(true));
                let ticker = if active { last_ticker(&market).await } else { None };
                let Some(this) = this.upgrade().filter(|this| !this.outbox.is_closed()) else { return };
                if this.awaited(&market, active, ticker.as_ref()) {
                    return;
                }
            }
        });
    }

    /// Begins with a market that was waited for, if it is active and still wanted; false when it is to be waited for
    /// again.
    fn awaited(&self, market: &Arc<Market>, active: bool, ticker: Option<&Ticker>) -> bool {
        if !Rc::ptr_eq(&Hub::of_worker(self.state()), &self.hub) {
            self.close(reasons::FAILED);
            return true;
        }
        let channels = {
            let mut inner = self.inner.borrow_mut();
            let Some(reader) = inner.readers.get_mut(&market.id) else { return true };
            if !active && !reader.channels.is_empty() {
                return false;
            }
            reader.awaited = false;
            reader.channels.clone()
        };
        self.begin(market, &channels, ticker);
        true
    }
}
