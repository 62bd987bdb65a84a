//! What is kept out of the log when it is asked for, though the log would take it.

use super::*;
use crate::domain::ledger::Ignored;
use crate::domain::market::MarketState;

/// Of two changes that were made from the same rules the second would undo the first, whether they come at once or one
/// after the other.
#[actix_web::test]
async fn a_change_of_a_market_that_is_not_based_on_its_rules_is_refused() {
    let machine = Machine::new();
    let program = machine.start().await;
    let market = program.is_open("BTC-USDT").await;
    let change = |market: &Market, change: fn(&mut MarketConfig)| {
        let (mut config, from) = (Box::new(market.config.clone()), Box::new(market.config.clone()));
        change(&mut config);
        Control::Reconfigure { config, from }
    };
    let halt = change(&market, |rules| rules.state = MarketState::Halted);
    let limit = change(&market, |rules| rules.max_open_orders = 7);
    let (first, second) = (program.trading.steer(&market, halt), program.trading.steer(&market, limit.clone()));
    let (first, second) = tokio::join!(biased; first, second);
    assert!(first.is_ok(), "{first:?}");
    assert_eq!(second.unwrap_err(), Refused::Changed);
    assert_eq!(program.trading.steer(&market, limit).await.unwrap_err(), Refused::Changed);
    let now = program.trading.market("BTC-USDT").unwrap();
    let expected = MarketConfig { state: MarketState::Halted, ..market.config.clone() };
    assert_eq!(now.config, expected);

    let limit = change(now, |rules| rules.max_open_orders = 7);
    program.trading.steer(now, limit).await.unwrap();
    let now = program.trading.market("BTC-USDT").unwrap();
    assert_eq!(now.config, MarketConfig { max_open_orders: 7, ..expected });
    program.end().await;
}

/// `client_oid_taken` tells whoever asks again that all of a batch was done. While the first is on its way nobody knows.
#[actix_web::test]
async fn a_batch_on_its_way_is_told_from_one_that_was_done() {
    let machine = Machine::new();
    let program = machine.start().await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    let market = program.is_open("BTC-USDT").await;
    let places = vec![bid(1, TimeInForce::GoodTillCanceled)];
    let batch = Atomic { account: ADA, places, ..Atomic::default() };
    let ask = || program.trading.together(&market, batch.clone(), None);
    let (first, repeated) = tokio::join!(biased; ask(), ask());
    let order = first.unwrap().placed[0].id;
    assert_eq!(repeated.unwrap_err(), Refused::PartRepeat(0, Known::InFlight));
    assert_eq!(ask().await.unwrap_err(), Refused::PartRepeat(0, Known::Order(market.id, order)));
    program.end().await;
}

/// Money leaves the ledger through a custodian, and the house earns fees: neither is paid by a user.
#[actix_web::test]
async fn nobody_pays_the_venues_own_accounts() {
    let machine = Machine::new();
    let program = machine.start().await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(10 * ONE), 1).await.unwrap();
    let before = program.trading.balances(ADA).await.unwrap();
    for (transfer, receiver) in [(2, AccountId::OUTSIDE), (3, AccountId::HOUSE)] {
        let movement = Movement { ticket: Ticket(0), account: ADA, currency: USDT, amount: Amount(ONE), transfer };
        let outcome = program.trading.execute(LedgerCommand::Transfer(movement, receiver)).await;
        assert_eq!(outcome, Ok(LedgerOutcome::Ignored(Ignored::Invalid)));
    }
    assert_eq!(program.trading.balances(ADA).await.unwrap(), before);
    program.end().await;
}
