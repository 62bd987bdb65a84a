//! How long orders and auctions last, whatever the clock showed before.

use super::*;
use crate::domain::order::Status;
use crate::domain::time::{HOUR, MINUTE, SECOND};
use tokio::time::Instant;

fn ends(record: &OrderRecord) -> Timestamp {
    match record.kind {
        Kind::Limit { time_in_force: TimeInForce::GoodTillTime(end), .. } => end,
        other => panic!("{other:?} has no end"),
    }
}

impl Program {
    async fn until_it_is_over(&self, market: &Market, order: &OrderRecord) {
        let begun = Instant::now();
        while matches!(self.trading.order(market, order.id).await.unwrap().unwrap().status, Status::Open) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{order:?} lives for ever");
            a_moment().await;
        }
    }
}

/// The clock was an hour ahead when something was written, and is right again: the log is ahead of it for a while. What is to
/// last for a minute does so all the same, also in a market that has heard nothing of that hour.
#[actix_web::test]
async fn what_is_to_last_for_a_while_does_so_while_the_clock_is_behind_the_log() {
    let machine = Machine::new();
    let right = Timestamp(machine.clock.load(Ordering::Relaxed));
    let set = |to: Timestamp| machine.clock.store(to.0, Ordering::Relaxed);
    let program = machine.start().await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    let (btc, eth) = (program.is_open("BTC-USDT").await, program.is_open("ETH-USDT").await);
    set(right + HOUR);
    program.place("BTC-USDT", ADA, Side::Buy, (2_000_000, 100), 1).await.unwrap();
    set(right);

    let end = right + HOUR + MINUTE..right + HOUR + 2 * MINUTE;
    let minute = TimeInForce::good_for(MINUTE);
    let first = program.trading.place(&btc, bid(2, minute)).await.unwrap();
    let kind = Kind::Limit { price: Price(150_000), time_in_force: minute, post_only: false };
    let second = program.trading.place(&eth, NewOrder { kind, ..bid(3, minute) }).await.unwrap();
    let batch = Atomic { account: ADA, places: vec![bid(4, minute)], ..Atomic::default() };
    let third = program.trading.together(&btc, batch, None).await.unwrap().placed[0];
    for record in [first, second, third] {
        assert!(record.status == Status::Open && end.contains(&ends(&record)), "{record:?}");
    }
    // A moment is what it is.
    let moment = bid(5, TimeInForce::GoodTillTime(right + MINUTE));
    assert_eq!(program.trading.place(&btc, moment).await.unwrap_err(), Refused::Reject(Reject::AlreadyExpired));

    // Time does not stand still either until the clock is there again.
    let short = program.trading.place(&btc, bid(6, TimeInForce::good_for(SECOND / 20))).await.unwrap();
    program.until_it_is_over(&btc, &short).await;
    assert!(ends(&short) < right + HOUR + MINUTE);

    let begun = program.trading.steer(&eth, Control::BeginAuction { lasts_s: 60 }).await.unwrap();
    assert!(begun.ends_at.is_some_and(|at| end.contains(&at)), "{begun:?}");
    let time_in_force = TimeInForce::ImmediateOrCancel;
    let kind = Kind::Limit { price: Price(150_000), time_in_force, post_only: false };
    let refused = program.trading.place(&eth, NewOrder { kind, ..bid(7, minute) }).await;
    assert_eq!(refused.unwrap_err(), Refused::Reject(Reject::AuctionOnly), "the auction goes on");

    set(right + 2 * HOUR);
    program.until_it_is_over(&btc, &first).await;
    program.end().await;
}
