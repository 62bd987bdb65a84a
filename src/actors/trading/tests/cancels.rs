//! Cancels in the order in which they come, and those that the venue does in the name of a user who is not there.

use super::*;
use crate::actors::directory::DirectoryError;
use crate::actors::supervision::Drill;
use crate::actors::trading::order_book::GetOrders;
use crate::domain::order::Status;

/// Whoever sends orders and then cancels everything, without waiting for answers, has no order afterwards.
#[actix_web::test]
async fn cancels_do_not_overtake_orders() {
    let machine = Machine::new();
    let program = machine.start().await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    let market = program.trading.market("BTC-USDT").unwrap().clone();
    let bid = |name| program.place("BTC-USDT", ADA, Side::Buy, (2_000_000, 100), name);
    bid(1).await.unwrap();
    for name in 1..20 {
        let all = program.trading.cancel_all(&market, ADA, None);
        let (first, second, canceled) = tokio::join!(biased; bid(2 * name), bid(2 * name + 1), all);
        let (first, second, canceled) = (first.unwrap(), second.unwrap(), canceled.unwrap());
        assert!(canceled.contains(&first.id) && canceled.contains(&second.id), "{canceled:?}");
        // One that is canceled by its number does not overtake what was sent before it either.
        let resting = bid(100 + name).await.unwrap().id;
        let one = program.trading.cancel(&market, ADA, resting);
        let (other, canceled) = tokio::join!(biased; bid(200 + name), one);
        assert_eq!(canceled.unwrap(), resting);
        assert!(other.unwrap().id.number > resting.number);
    }
    program.end().await;
}

/// Orders that are handed over at once do not overtake what waits for its turn to be: what was to go before them would take
/// them along.
#[actix_web::test]
async fn orders_do_not_overtake_cancels() {
    let machine = Machine::new();
    let program = machine.start().await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    let market = program.is_open("BTC-USDT").await;
    let named = |name| (market.clone(), bid(name, TimeInForce::GoodTillCanceled));
    for name in 1..20 {
        let before = program.trading.place_all(&[named(2 * name)]).await.remove(0).unwrap();
        let next = [named(2 * name + 1)];
        let all = program.trading.cancel_all(&market, ADA, None);
        let (canceled, placed) = tokio::join!(biased; all, program.trading.place_all(&next));
        assert_eq!(canceled.unwrap(), [before.id]);
        let placed = placed[0].as_ref().unwrap();
        assert_eq!(program.trading.cancel(&market, ADA, placed.id).await, Ok(placed.id), "it is gone");
    }
    program.end().await;
}

/// Whoever hands over what others submit may not be polled for long, as a connection whose client does not read. It hands
/// over when it is told to, and nobody waits for it afterwards.
#[actix_web::test]
async fn nobody_waits_for_one_who_is_not_polled_any_more() {
    let machine = Machine::new();
    let program = machine.start().await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    let market = program.is_open("BTC-USDT").await;
    let place = |name| program.trading.place(&market, bid(name, TimeInForce::GoodTillCanceled));
    let resting = place(1).await.unwrap().id;
    {
        let mut stuck = std::pin::pin!(program.trading.cancel(&market, ADA, resting));
        assert!(futures_util::poll!(stuck.as_mut()).is_pending());
        program.trading.hand_over_now();
        assert!(place(2).await.is_ok());
        let canceled = program.trading.order(&market, resting).await.unwrap().unwrap();
        assert!(matches!(canceled.status, Status::Done(..)), "{canceled:?}");
        assert_eq!(stuck.await, Ok(resting));
    }
    program.end().await;
}

/// What the venue cancels goes by way of the user's actor, which may be on another thread. Neither does it overtake orders.
#[actix_web::test]
async fn what_the_venue_cancels_does_not_overtake_orders() {
    let machine = Machine::new();
    let program = machine.start().await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    let market = program.trading.market("BTC-USDT").unwrap().clone();
    let markets = [market.id];
    let bid = |name| program.place("BTC-USDT", ADA, Side::Buy, (2_000_000, 100), name);
    bid(1).await.unwrap();
    let before = market.book.depth();
    let everything = program.trading.cancel_everything(ADA, &markets, || true);
    let (placed, refused, waiting) = tokio::join!(biased; bid(2), everything, async { market.book.depth() });
    assert_eq!(waiting, before + 1, "the order has not left this thread");
    assert!(refused.is_empty(), "{refused:?}");
    let placed = program.trading.order(&market, placed.unwrap().id).await.unwrap().unwrap();
    assert!(matches!(placed.status, Status::Done(..)), "{placed:?}");
    program.end().await;
}

#[actix_web::test]
async fn everything_is_canceled_though_the_actor_that_does_it_panics() {
    let machine = Machine::new();
    let program = machine.start_with(Settings::default().budget(2, Duration::from_secs(600))).await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    let market = program.trading.market("BTC-USDT").unwrap().clone();
    let markets = [market.id];
    let users = program.trading.accounts();
    let open = async || market.book.send(GetOrders { account: ADA, ended: false }).await.unwrap().live.len();
    for name in 1..=2 {
        program.place("BTC-USDT", ADA, Side::Buy, (2_000_000, 100), name).await.unwrap();
        users.drill(&ADA, Drill::PanicAtWork).unwrap();
        let refused = program.trading.cancel_everything(ADA, &markets, || true).await;
        assert_eq!(refused, [(market.id, Refused::Unavailable(Unavailable::OutcomeUnknown))]);
        assert_eq!(open().await, 1);
        // The first time by a fresh actor, the second time by none.
        assert!(program.trading.cancel_everything(ADA, &markets, || true).await.is_empty());
        assert_eq!(open().await, 0);
    }
    // What does not count any more when the actor turns out to be out of reach is not done without it.
    program.place("BTC-USDT", ADA, Side::Buy, (2_000_000, 100), 3).await.unwrap();
    assert!(program.trading.cancel_everything(ADA, &markets, || false).await.is_empty());
    assert_eq!(open().await, 1);
    assert!(program.trading.cancel_everything(ADA, &markets, || true).await.is_empty());
    assert_eq!(open().await, 0);
    assert!(matches!(users.get(&ADA), Err(DirectoryError::CrashLoop { crashes: 2, .. })));
    assert_eq!(users.stats().activations, 2);
    program.end().await;
}
