//! Market data that was not told of everything.

use super::*;
use crate::actors::supervision::Drill;
use crate::actors::trading::market_data::{GetPicture, GetTrades};
use tokio::time::Instant;

const DATA: &str = "agora/trading/venue/market data BTC-USDT";

/// How many prices market data shows bids at.
async fn bids(market: &Market) -> Option<usize> {
    Some(market.data.send(GetPicture { levels: 10 }).await.ok()??.bids.len())
}

/// The last outcomes of a burst find the mailbox full, and nothing happens in the market afterwards: the book is right again
/// all the same.
#[actix_web::test]
async fn what_market_data_did_not_take_is_noticed_in_a_quiet_market() {
    let machine = Machine::new();
    // Down for long enough that its mailbox can be filled.
    let pause = Duration::from_secs(1);
    let program = machine.start_with(Settings::default().backoff(pause, 1, pause)).await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    let market = program.trading.market("BTC-USDT").unwrap().clone();
    program.place("BTC-USDT", ADA, Side::Buy, (2_000_000, 100), 1).await.unwrap();
    while bids(&market).await != Some(1) {
        a_moment().await;
    }
    assert!(program.root.tree().drill(DATA, Drill::Panic));
    while program.root.tree().node(DATA).unwrap().crashes == 0 {
        a_moment().await;
    }
    while market.data.try_send(GetTrades(0)).is_ok() {}
    program.place("BTC-USDT", ADA, Side::Buy, (2_000_100, 100), 2).await.unwrap();

    let begun = Instant::now();
    while bids(&market).await != Some(2) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the book lacks an order for ever");
        a_moment().await;
    }
    program.end().await;
}
