//! Cancels in the order in which they come.

use super::*;

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
