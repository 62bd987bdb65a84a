//! What is kept out of the log when it is asked for, though the log would take it.

use super::*;
use crate::domain::ledger::Ignored;
use crate::domain::market::MarketState;
use std::cell::RefCell;
use std::rc::Rc;

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

/// What is on its way has its client's id already. Nobody hears that there is no such order, which then comes to rest.
#[actix_web::test]
async fn an_order_on_its_way_is_found_by_its_client_id() {
    let machine = Machine::new();
    let program = machine.start().await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    let market = program.is_open("BTC-USDT").await;
    let find = async |name| {
        let look = async || program.trading.find_named(ADA, &[ClientOrderId(name)]).await.remove(0);
        let mut found = look().await;
        // The log may take longer than a look lasts.
        for _ in 0..30 {
            if !matches!(found, Err(Refused::Unavailable(Unavailable::OutcomeUnknown))) {
                break;
            }
            found = look().await;
        }
        found
    };
    for name in 1..10 {
        let placed = program.trading.place(&market, bid(name, TimeInForce::GoodTillCanceled));
        let (placed, found) = tokio::join!(biased; placed, find(name));
        assert_eq!(found.unwrap().order, Some((market.id, placed.unwrap().id)));
    }
    let nobody = find(10).await.unwrap();
    assert!(nobody.order.is_none() && !nobody.in_flight && !nobody.starting, "{nobody:?}");

    // The log takes it and tells nobody what became of it. That keeps none of the others that are looked for with it.
    machine.stalled.store(true, Ordering::Relaxed);
    let placed = program.trading.place(&market, bid(11, TimeInForce::GoodTillCanceled));
    let find_and_go_on = async {
        let found = program.trading.find_named(ADA, &[10, 11, 9].map(ClientOrderId)).await;
        machine.stalled.store(false, Ordering::Relaxed);
        found
    };
    let (placed, mut found) = tokio::join!(biased; placed, find_and_go_on);
    assert!(found.pop().unwrap().unwrap().order.is_some());
    assert_eq!(found.pop().unwrap().unwrap_err(), Refused::Unavailable(Unavailable::OutcomeUnknown));
    assert!(found.pop().unwrap().unwrap().order.is_none());
    assert_eq!(find(11).await.unwrap().order, Some((market.id, placed.unwrap().id)));
    program.end().await;
}

/// What is on its way is known where it was admitted. A node that admits nothing asks there before it says that there is no
/// such order: once for all that are named together, and only then behind all that was sent before.
#[actix_web::test]
async fn a_node_that_admits_nothing_asks_the_one_that_does() {
    let machine = Machine::new();
    let (forwarder, mut calls) = Forwarder::new(16);
    let program = machine.start_as(Role::one_of_several(2), Some(forwarder), Settings::default()).await;
    let order = (MarketId(0), OrderId { number: 7, slot: 3 });
    let asked = Rc::new(RefCell::new(Vec::new()));
    let noted = asked.clone();
    actix_web::rt::spawn(async move {
        while let Some(call) = calls.recv().await {
            let (ids, behind_all) = match postcard::from_bytes(&call.command) {
                Ok(remote::Command::FindClientIds(ADA, ids, behind_all)) => (ids, behind_all),
                other => panic!("{other:?}"),
            };
            let known = |id: &ClientOrderId| match id.0 {
                1 => Ok(ledger::ClientIdAnswer { order: Some(order), ..Default::default() }),
                2 => Err(Refused::Unavailable(Unavailable::OutcomeUnknown)),
                _ => Ok(ledger::ClientIdAnswer::default()),
            };
            let outcome = Ok(remote::Done::ClientIds(ids.iter().map(known).collect()));
            noted.borrow_mut().push((ids, behind_all));
            let answer = remote::Answer { outcome, position: 0 };
            call.reply.send(Ok(postcard::to_stdvec(&answer).unwrap())).unwrap();
        }
    });
    let ids = [3, 1, 2].map(ClientOrderId);
    let named = program.trading.find_named(ADA, &ids).await;
    let plain = program.trading.find_client_ids(ADA, &ids).await;
    for found in [named, plain] {
        let orders: Vec<_> = found.into_iter().map(|known| known.map(|known| known.order)).collect();
        assert_eq!(orders, [Ok(None), Ok(Some(order)), Err(Refused::Unavailable(Unavailable::OutcomeUnknown))]);
    }
    assert_eq!(asked.take(), [(ids.to_vec(), true), (ids.to_vec(), false)]);
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
