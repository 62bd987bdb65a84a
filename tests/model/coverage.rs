//! What a campaign came across: a rule that the random commands never reach is not proven.

use agora::domain::entry::Atomic;
use agora::domain::event::{ChangeReason, DoneReason, Event, PhaseReason};
use std::collections::BTreeMap;

/// How often each kind of outcome was seen.
#[derive(Debug, Default)]
pub struct Coverage(pub BTreeMap<String, u64>);

impl Coverage {
    fn count(&mut self, what: String) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Counts an atomic batch that was carried out.
    pub fn note_batch(&mut self, batch: &Atomic) {
        let [cancels, amends, places] =
            [batch.cancels.is_empty(), batch.amends.is_empty(), batch.places.is_empty()].map(|none| !none);
        self.count(format!("batch done, cancels {cancels}, amends {amends}, places {places}"));
    }

    /// Counts the events of one entry.
    pub fn note(&mut self, events: &[Event]) {
        let mut woken = 0;
        for (at, event) in events.iter().enumerate() {
            let fills_before = events.iter().take(at).any(|e| matches!(e, Event::Filled(_)));
            match event {
                Event::Accepted(_, order) => self.count(format!("accepted, sleeping {}", order.stop.is_some())),
                Event::Rejected { reason, .. } => self.count(format!("rejected {}", reason.code())),
                Event::Refused { reason, .. } => self.count(format!("refused {}", reason.code())),
                Event::Opened(_) => self.count(format!("opened, after fills {fills_before}")),
                Event::Filled(fill) => {
                    let wide = i64::try_from(fill.quote.0).is_err();
                    self.count(format!("filled, beyond 64 bits {wide}"));
                }
                Event::Changed(change) => {
                    let how = match change.reason {
                        ChangeReason::Amended => format!("price {}", change.new_price.is_some()),
                        ChangeReason::Auction => "for the trade that follows".into(),
                        ChangeReason::SelfTrade => format!("of funds {}", change.new_funds.is_some()),
                    };
                    self.count(format!("changed {:?}, {how}", change.reason));
                }
                Event::Triggered(_) => {
                    woken += 1;
                    let cascade = events.iter().take(at).any(|e| match e {
                        Event::Filled(fill) => {
                            events.iter().any(|e| matches!(e, Event::Triggered(t) if t.id == fill.taker))
                        }
                        _ => false,
                    });
                    if cascade {
                        self.count("triggered by a stop that woke before".into());
                    }
                    self.count(format!("triggered, after fills {fills_before}"));
                }
                Event::Done(done) => {
                    self.count(format!("done {:?}, rested {}, slept {}", done.reason, done.rested, done.slept));
                }
                Event::Configured(_) => self.count("configured".into()),
                Event::Crossed(crossed) => {
                    let moved = crossed.maker_price != crossed.fill.price;
                    self.count(format!("crossed, at another price than the maker's {moved}"));
                }
                Event::Phase(change) => {
                    let traded = change.price.is_some();
                    self.count(format!("phase {}, traded {traded}", change.reason.code()));
                    let own = |e: &Event| matches!(e, Event::Done(done) if done.reason == DoneReason::SelfTrade);
                    if change.reason == PhaseReason::AuctionEnded && events.iter().take(at).any(own) {
                        self.count("own orders met before an auction's price".into());
                    }
                    let stops = events.iter().skip(at).any(|e| matches!(e, Event::Triggered(_)));
                    if change.reason == PhaseReason::AuctionEnded && stops {
                        self.count("stops woke after an auction".into());
                    }
                }
                Event::BatchRefused { reason, .. } => self.count(format!("batch refused {}", reason.code())),
            }
        }
        if woken > 1 {
            self.count("several stops woke".into());
        }
    }

    /// Fails unless everything in `wanted` was seen.
    pub fn require(&self, wanted: &[&str]) {
        let missing: Vec<&&str> = wanted.iter().filter(|kind| !self.0.contains_key(**kind)).collect();
        assert!(missing.is_empty(), "never seen: {missing:?}\nseen: {:#?}", self.0);
    }
}

/// What a campaign of the plain rules must see.
pub const PLAIN: &[&str] = &[
    "accepted, sleeping false",
    "changed Amended, price false",
    "changed Amended, price true",
    "changed SelfTrade, of funds false",
    "changed SelfTrade, of funds true",
    "done Canceled, rested true, slept false",
    "done Expired, rested true, slept false",
    "done FillOrKill, rested false, slept false",
    "done Filled, rested false, slept false",
    "done Filled, rested true, slept false",
    "done NoLiquidity, rested false, slept false",
    "done SelfTrade, rested false, slept false",
    "done SelfTrade, rested true, slept false",
    "filled, beyond 64 bits false",
    "filled, beyond 64 bits true",
    "opened, after fills false",
    "opened, after fills true",
    "batch done, cancels true, amends true, places true",
    "batch refused amend_would_take",
    "batch refused bad_amend",
    "batch refused bad_batch",
    "batch refused order_not_found",
    "batch refused post_only_would_take",
    "refused amend_would_take",
    "refused bad_amend",
    "refused hold_too_small",
    "refused order_done",
    "refused order_not_found",
    "rejected already_expired",
    "rejected hold_too_small",
    "rejected post_only_would_take",
];

/// What a campaign of all rules must see beside the plain ones.
pub const ALL: &[&str] = &[
    "accepted, sleeping true",
    "batch refused auction_only",
    "batch refused market_halted",
    "batch refused trading_stopped",
    "changed Auction, for the trade that follows",
    "crossed, at another price than the maker's false",
    "crossed, at another price than the maker's true",
    "done Halted, rested false, slept false",
    "done Killed, rested false, slept true",
    "done Killed, rested true, slept false",
    "phase auction_asked, traded false",
    "phase auction_ended, traded false",
    "phase auction_ended, traded true",
    "phase kill_switch, traded false",
    "phase kill_switch_released, traded false",
    "phase volatility_halt, traded false",
    "refused bad_config",
    "refused bad_phase",
    "rejected auction_only",
    "rejected trading_stopped",
    "own orders met before an auction's price",
    "stops woke after an auction",
    "batch refused too_many_open_orders",
    "configured",
    "done Canceled, rested false, slept true",
    "done Expired, rested false, slept true",
    "refused cancel_only",
    "refused funds_too_small",
    "refused market_halted",
    "refused price_out_of_range",
    "refused price_outside_band",
    "refused size_too_large",
    "refused size_too_small",
    "rejected bad_stop",
    "rejected cancel_only",
    "rejected funds_required",
    "rejected funds_too_large",
    "rejected funds_too_small",
    "rejected limit_only",
    "rejected market_halted",
    "rejected post_only_cannot_rest",
    "rejected post_only_mode",
    "rejected price_out_of_range",
    "rejected price_outside_band",
    "rejected size_required",
    "rejected size_too_large",
    "rejected size_too_small",
    "rejected too_many_open_orders",
    "several stops woke",
    "triggered, after fills false",
    "triggered, after fills true",
    "triggered by a stop that woke before",
];
