//! The steady state of a book allocates nothing. This test stands alone in its program, because it
//! counts every allocation of the process.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use agora::domain::entry::MarketEntry;
use agora::domain::event::Event;
use agora::domain::ids::{AccountId, OrderId, Ticket};
use agora::domain::money::Size;
use agora::domain::order::Side;
use agora::domain::time::Timestamp;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use support::{book, config, limit};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A mix in which about as many orders come as go: two thirds rest near a middle that moves, the
/// others take or cancel the oldest that are known.
struct Mix {
    state: u64,
    known: Vec<(AccountId, OrderId)>,
    canceled: usize,
}

impl Mix {
    fn random(&mut self, n: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % n
    }

    fn next(&mut self, live: usize) -> MarketEntry {
        let side = if self.random(2) == 0 { Side::Buy } else { Side::Sell };
        let account = 2 + 2 * self.random(200) as u32 + u32::from(side == Side::Sell);
        if live > 10_000 && self.random(2) == 0 && self.canceled < self.known.len() {
            let (account, order) = self.known[self.canceled];
            self.canceled += 1;
            return MarketEntry::Cancel { ticket: Ticket(0), account, order };
        }
        let distance = self.random(900) as i64 - i64::from(self.random(8) == 0) * 500;
        let price = if side == Side::Buy { 100_000 - distance } else { 100_001 + distance };
        MarketEntry::Place(limit(account, side, price as u64, 1 + self.random(50)))
    }

    fn note(&mut self, events: &[Event]) {
        for event in events {
            if let Event::Opened(opened) = event {
                self.known.push((opened.account, opened.id));
            }
        }
    }
}

#[test]
fn the_steady_state_allocates_nothing() {
    let mut book = book(config());
    let mut events = Vec::with_capacity(4_096);
    let mut mix = Mix { state: 1, known: Vec::with_capacity(500_000), canceled: 0 };
    let mut run = |entries: i64| {
        let (mut fills, mut cancels) = (0, 0);
        for at in 0..entries {
            let entry = mix.next(book.live_orders());
            events.clear();
            book.apply(Timestamp(at), &entry, &mut events);
            mix.note(&events);
            fills += events.iter().filter(|e| matches!(e, Event::Filled(fill) if fill.size > Size::ZERO)).count();
            cancels += usize::from(matches!(entry, MarketEntry::Cancel { .. }));
        }
        (fills, cancels, book.live_orders())
    };
    run(200_000);
    let region = Region::new(ALLOCATOR);
    let (fills, cancels, live) = run(100_000);
    let change = region.change();
    assert!(fills > 5_000 && cancels > 10_000 && live > 9_000, "{fills} fills, {cancels} cancels, {live} live orders");
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
}
