//! What an auction would do, as it is shown while it goes on.

use super::*;
use crate::actors::trading::market_data::{GetPicture, INDICATED_AFTER, Publish};
use crate::domain::auction::{CLEARINGS, Clearing};
use crate::domain::event::{Event, Opened, PhaseChange, PhaseReason};
use crate::domain::examples::outcomes_of;
use crate::domain::market::Phase;
use crate::domain::replica::MarketOutcomes;
use std::time::Instant;

/// The price is looked for once in a while, however many batches come, and once more after the last of them.
#[actix_web::test]
async fn many_batches_of_an_auction_take_few_looks() {
    const BATCHES: u64 = 1_000;
    let machine = Machine::new();
    let program = machine.start().await;
    let market = program.is_open("BTC-USDT").await;
    let stands = market.data.send(GetPicture { levels: 0 }).await.unwrap().unwrap();
    let publish = |after: u64, events: Vec<Event>| {
        let (entry, feed_before) = (stands.applied.next().0 + after, stands.sequence + after);
        let outcomes = MarketOutcomes { market: market.id, ..outcomes_of(entry, feed_before, events) };
        market.data.try_send(Publish(Arc::new(outcomes))).unwrap();
    };
    let phase = Phase::Auction { ends_at: Timestamp(i64::MAX) };
    let (ticket, reason) = (Ticket(0), PhaseReason::AuctionAsked);
    CLEARINGS.set(0);
    let began = Instant::now();
    publish(0, vec![Event::Phase(PhaseChange { ticket, phase, reason, reference: None, price: None, volume: 0 })]);
    for number in 1..=BATCHES {
        let side = if number % 2 == 0 { Side::Buy } else { Side::Sell };
        let (id, price, remaining) = (OrderId { number, slot: number as u32 }, Price(2_000_000), Size(1));
        publish(number, vec![Event::Opened(Opened { id, account: ADA, side, price, remaining })]);
    }
    let whole = Clearing { price: Price(2_000_000), volume: u128::from(BATCHES / 2) };
    while market.phase.view().indication != Some(whole) {
        a_moment().await;
    }
    let view = market.phase.view();
    assert_eq!((view.phase, view.reason), (phase, Some(reason)));
    // Once when the auction began, and then not more often than it may be.
    let most = 1 + began.elapsed().as_millis() / INDICATED_AFTER.as_millis();
    let looks = u128::from(CLEARINGS.get());
    assert!((2..=most).contains(&looks), "{looks} looks, {most} at most");
    program.end().await;
}
