//! What a round does with what is there, and with what is not.

use super::*;
use crate::custody::desk::rounds::MOST_RECALLED;

/// However long a round takes: what was on its way when it began may be held by now, and its user may have heard that.
#[actix_rt::test]
async fn what_was_on_its_way_when_a_round_began_is_not_called_back() {
    let bench = Bench::start().await;
    let row = bench.write_down(1, Stage::Requested).await;
    let long_after = row.created_at + REQUESTED_FOR;
    bench.desk.round(long_after + -1).await.unwrap();
    assert_eq!(bench.stage(1).await, Stage::Requested);
    bench.trading.execute(hold(1)).await.unwrap();
    assert!(bench.desk.write(|c| custody::hold(c, 1)).await.unwrap());
    // As by a round that has read the row before, and the ledger too.
    bench.desk.tidy(&[&row]).await.unwrap();
    assert_eq!((bench.stage(1).await, bench.held().await), (Stage::Held, vec![(1, false)]));

    bench.write_down(2, Stage::Requested).await;
    bench.desk.round(long_after).await.unwrap();
    assert_eq!((bench.stage(1).await, bench.stage(2).await), (Stage::Held, Stage::Refused));
}

/// The history is written behind the log, so it never has what a round has committed a moment ago.
#[actix_rt::test]
async fn the_history_is_waited_for_once_however_many_withdrawals_are_over() {
    let bench = Bench::start().await;
    for id in 0..MOST_RECALLED + 5 {
        bench.write_down(id as TransferId, Stage::Held).await;
    }
    let begun = bench.desk.committed();
    history_stands_at(&bench.desk, begun as i64).await;
    // It stands still until every one was asked for that is in one round.
    let desk = bench.desk.clone();
    let history = actix_web::rt::spawn(async move {
        while desk.committed() < begun + MOST_RECALLED as u64 {
            a_moment().await;
        }
        history_stands_at(&desk, i64::MAX).await;
    });
    bench.rounds(1).await;
    history.await.unwrap();
    let left = async || bench.desk.unfinished(None, 1_000).await.unwrap().len();
    assert_eq!((left().await, bench.stage(0).await), (5, Stage::Canceled));
    bench.rounds(1).await;
    assert_eq!(left().await, 0);

    // While it does not move on, a round waits once more, and later ones find what this one has asked for.
    for id in [1_000, 1_001] {
        bench.write_down(id, Stage::Held).await;
    }
    let begun = bench.desk.committed();
    history_stands_at(&bench.desk, begun as i64).await;
    bench.rounds(1).await;
    assert_eq!((left().await, bench.desk.committed()), (2, begun + 2));
    history_stands_at(&bench.desk, i64::MAX).await;
    bench.rounds(1).await;
    assert_eq!(left().await, 0);
}

#[actix_rt::test]
async fn what_is_held_without_a_row_is_given_back_unless_it_may_have_left() {
    let bench = Bench::start().await;
    bench.desk.withdraw(order(1, 2 * COIN)).await.unwrap();
    bench.lose_rows().await;
    // Only the node that admits decides.
    assert!(bench.role.step_down());
    bench.desk.round(wall_clock()).await.unwrap();
    assert_eq!(bench.held().await, [(1, false)]);
    assert!(
        bench.role.change(State::Standby, State::TakingOver) && bench.role.change(State::TakingOver, State::Active)
    );
    bench.desk.round(wall_clock()).await.unwrap();
    assert_eq!((bench.held().await, bench.balance().await), (Vec::new(), whole()));
    assert_eq!(bench.desk.unexplained_withdrawals(), 0);

    // What the custodian may have sent stays, and is told of until its row is back.
    bench.desk.withdraw(order(2, 2 * COIN)).await.unwrap();
    bench.trading.execute(LedgerCommand::ReleaseWithdrawal(2)).await.unwrap();
    bench.lose_rows().await;
    for _ in 0..2 {
        bench.desk.round(wall_clock()).await.unwrap();
        assert_eq!((bench.held().await, bench.desk.unexplained_withdrawals()), (vec![(2, true)], 1));
    }
    // A repeat of the request brings it back, one that asks for something else does not.
    bench.desk.withdraw(order(2, 3 * COIN)).await.unwrap();
    for _ in 0..2 {
        bench.desk.round(wall_clock()).await.unwrap();
        assert_eq!((bench.held().await, bench.desk.unexplained_withdrawals()), (vec![(2, true)], 1));
    }
    bench.lose_rows().await;
    bench.desk.withdraw(order(2, 2 * COIN)).await.unwrap();
    bench.rounds(2).await;
    assert_eq!((bench.stage(2).await, bench.desk.unexplained_withdrawals()), (Stage::Done, 0));
    assert_eq!(bench.balance().await, Balance { available: Amount(18 * COIN), hold: Amount::ZERO });
}

#[actix_rt::test]
async fn an_arrival_is_acknowledged_once_it_is_in_the_books() {
    let vault = Vault::default();
    let bench = Bench::with(Box::new(vault.clone())).await;
    for (place, code) in [(1, "ETH"), (2, "USDT")] {
        let currency = Currency { id: CurrencyId(place), code: code.into(), name: code.into(), ..btc() };
        list(&bench.trading, currency).await;
    }
    let eth = bench.trading.currency("ETH").unwrap().clone();
    let address = bench.desk.address(ADA, &eth, None).await.unwrap().address;
    let available = async || {
        let balances = bench.trading.balances(ADA).await.unwrap().unwrap();
        balances.iter().map(|balance| balance.available.0).collect::<Vec<_>>()
    };
    // Of another network, of no amount, at an address whose row is lost, and at somebody else's.
    vault.arrive("another network", &address, 0, 3);
    vault.arrive("nothing", &address, 1, 0);
    vault.arrive("lost", "own-ethereum-9-1", 1, 4);
    vault.arrive("foreign", "somewhere", 1, 5);
    vault.arrive("its own", &address, 1, 7);
    // Of the same network, so its user has it.
    vault.arrive("another currency", &address, 2, 11);
    for _ in 0..3 {
        bench.desk.round(wall_clock()).await.unwrap();
        assert_eq!(vault.waiting(), ["another network", "nothing", "lost"]);
        assert_eq!(bench.desk.unclaimed_arrivals(), 3);
        assert_eq!(available().await, [20 * COIN, 7, 11]);
    }
    // An acknowledgement that was lost: it is credited once.
    vault.arrive("its own", &address, 1, 7);
    bench.desk.round(wall_clock()).await.unwrap();
    assert_eq!((vault.waiting().len(), available().await), (3, vec![20 * COIN, 7, 11]));
}

/// The database fell back to a backup of before a payment, and the log goes on: what was paid is written down as paid.
#[actix_rt::test]
async fn what_the_history_has_paid_is_done_whatever_its_row_says() {
    let bench = Bench::start().await;
    for (id, stage) in [(1, Stage::Held), (2, Stage::Requested), (3, Stage::Held), (4, Stage::Requested)] {
        bench.write_down(id, stage).await;
    }
    // The history is being written still, so nobody can tell.
    history_stands_at(&bench.desk, 0).await;
    bench.rounds(1).await;
    let stages = async || [bench.stage(1).await, bench.stage(2).await, bench.stage(3).await, bench.stage(4).await];
    assert_eq!(stages().await, [Stage::Held, Stage::Requested, Stage::Held, Stage::Requested]);
    bench.moved(1, 1, TransferKind::Withdraw).await;
    bench.moved(2, 2, TransferKind::Withdraw).await;
    history_stands_at(&bench.desk, i64::MAX).await;
    bench.rounds(1).await;
    assert_eq!(stages().await, [Stage::Done, Stage::Done, Stage::Canceled, Stage::Refused]);
}

/// The ledger has forgotten it long ago, and the custodian tells of it once more.
#[actix_rt::test]
async fn an_arrival_that_the_history_has_is_not_credited_again() {
    let vault = Vault::default();
    let bench = Bench::with(Box::new(vault.clone())).await;
    let address = bench.desk.address(ADA, &btc(), None).await.unwrap().address;
    let known = crate::http::v1::accounts::transfer_id("arrival", ADA, b"known");
    bench.moved(1, known, TransferKind::Deposit).await;
    vault.arrive("known", &address, 0, 7);
    bench.rounds(1).await;
    assert_eq!((vault.waiting().len(), bench.balance().await), (0, whole()));
    vault.arrive("new", &address, 0, 7);
    bench.rounds(1).await;
    assert_eq!((vault.waiting().len(), bench.balance().await.available), (0, Amount(20 * COIN + 7)));
}

#[actix_rt::test]
async fn the_rounds_go_on_after_one_that_panicked() {
    let vault = Vault::default();
    let bench = Bench::with(Box::new(vault.clone())).await;
    vault.stumbles.store(true, Ordering::Relaxed);
    bench.desk.watched_round().await;
    assert_eq!((bench.desk.round_panics(), bench.desk.last_round_at()), (1, 0));
    bench.desk.watched_round().await;
    assert_eq!(bench.desk.round_panics(), 1);
    assert!(bench.desk.last_round_at() > 0);
}
