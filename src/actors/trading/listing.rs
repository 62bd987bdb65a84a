//! What is listed: currencies and markets with their present rules. Grows and changes while the program runs.
//!
//! Readers get references that stay valid: a list that was once handed out lives as long as the program. Each change
//! makes a new list; that costs some hundred bytes, and changes are rare acts of those who run the venue. The books of
//! this node tell of changed rules, the ledger of new currencies and markets, so every node follows the log.

use super::Market;
use crate::domain::auction::Clearing;
use crate::domain::event::PhaseReason;
use crate::domain::ids::MarketId;
use crate::domain::market::{Currency, MarketConfig, Phase};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// The lists at one moment.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// In the order of their listing.
    pub currencies: Vec<Currency>,
    /// In the order of their listing.
    pub markets: Vec<Arc<Market>>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Listing {
    now: RwLock<&'static Catalogue>,
    /// The newest rules that were told of, also of markets that are not in the list yet.
    rules: Mutex<BTreeMap<MarketId, MarketConfig>>,
    stopped: AtomicBool,
    grown: Notify,
}

impl Listing {
    /// A list of these currencies, without markets.
    pub fn new(currencies: Vec<Currency>) -> Listing {
        let first: &'static Catalogue = Box::leak(Box::new(Catalogue { currencies, markets: Vec::new() }));
        Listing {
            now: RwLock::new(first),
            rules: Mutex::default(),
            stopped: AtomicBool::new(false),
            grown: Notify::new(),
        }
    }

    /// The newest lists.
    pub fn now(&self) -> &'static Catalogue {
        *self.now.read()
    }

    fn replace(&self, change: impl FnOnce(&mut Catalogue)) {
        let mut now = self.now.write();
        let mut next = Catalogue { currencies: now.currencies.clone(), markets: now.markets.clone() };
        change(&mut next);
        *now = Box::leak(Box::new(next));
    }

    /// Adds those that are not listed yet.
    pub(super) fn add_currencies(&self, all: &[Currency]) {
        let known = self.now().currencies.len();
        if let Some(new) = all.get(known..).filter(|new| !new.is_empty()) {
            self.replace(|lists| lists.currencies.extend_from_slice(new));
        }
    }

    /// Adds a market, with the newest rules that were told of.
    pub(super) fn add_market(&self, market: Market) {
        let rules = self.rules.lock();
        let config = rules.get(&market.id).cloned().unwrap_or_else(|| market.config.clone());
        self.replace(|lists| lists.markets.push(Arc::new(Market { config, ..market })));
    }

    /// A market has these rules now.
    pub(super) fn configure(&self, config: &MarketConfig) {
        let mut rules = self.rules.lock();
        rules.insert(config.id, config.clone());
        let place = usize::from(config.id.0);
        if self.now().markets.get(place).is_some_and(|market| market.config != *config) {
            self.replace(|lists| {
                if let Some(market) = lists.markets.get_mut(place) {
                    *market = Arc::new(Market { config: config.clone(), ..Market::clone(market) });
                }
            });
        }
    }

    /// Whether the kill switch of the whole venue is engaged.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn set_stopped(&self, stopped: bool) {
        self.stopped.store(stopped, Ordering::Relaxed);
    }

    /// Says that the ledger may know more than is listed.
    pub(super) fn may_have_grown(&self) {
        self.grown.notify_one();
    }

    /// Waits until that was said.
    pub(super) async fn grows(&self) {
        self.grown.notified().await;
    }
}

/// What goes on in a market, for everybody who shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct PhaseView {
    /// What goes on.
    pub phase: Phase,
    /// Why, as far as is remembered.
    pub reason: Option<PhaseReason>,
    /// What the auction would do now.
    pub indication: Option<Clearing>,
}

/// The one place where a market's phase is shown; written by its market data.
#[derive(Debug, Default)]
pub struct PhaseBoard(RwLock<PhaseView>);

impl PhaseBoard {
    /// What goes on now.
    pub fn view(&self) -> PhaseView {
        *self.0.read()
    }

    pub(super) fn show(&self, phase: Phase, reason: Option<PhaseReason>, indication: Option<Clearing>) {
        let mut view = self.0.write();
        let reason = reason.or(view.reason);
        *view = PhaseView { phase, reason, indication };
    }
}
