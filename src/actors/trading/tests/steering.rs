//! What those who run the venue want of a market that has more to do than it takes.

use super::*;

/// Whoever floods a market does not keep it from being stopped.
#[actix_web::test]
async fn a_kill_switch_is_taken_when_nothing_else_is() {
    let machine = Machine { in_flight: 1, ..Machine::new() };
    let program = machine.start().await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    let market = program.is_open("BTC-USDT").await;
    machine.stalled.store(true, Ordering::Relaxed);
    let placed = program.trading.place(&market, bid(1, TimeInForce::GoodTillCanceled));
    let kill_behind_it = async {
        let look = || program.trading.ledger().send(ledger::FindClientId(ADA, ClientOrderId(1)));
        while !look().await.unwrap().in_flight {
            a_moment().await;
        }
        // It is on its way through the log by now, and the only one that may be.
        let refused = program.trading.place(&market, bid(2, TimeInForce::GoodTillCanceled)).await;
        assert_eq!(refused.unwrap_err(), Refused::Unavailable(Unavailable::Overloaded));
        let refused = program.trading.cancel_all(&market, ADA, None).await;
        assert_eq!(refused.unwrap_err(), Refused::Unavailable(Unavailable::Overloaded));
        let killed = program.trading.steer(&market, Control::Kill { account: None, engaged: true });
        let go_on = async { machine.stalled.store(false, Ordering::Relaxed) };
        tokio::join!(biased; killed, go_on).0
    };
    let (placed, killed) = tokio::join!(biased; placed, kill_behind_it);
    assert_eq!(killed.unwrap().canceled, [placed.unwrap().id]);
    program.end().await;
}
