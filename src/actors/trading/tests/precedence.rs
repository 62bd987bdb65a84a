//! Why commands are refused before they reach the log: of several reasons the first counts, whoever gives it.

use super::*;
use crate::domain::entry::Amend;
use crate::domain::market::MarketState;
use crate::domain::time::HOUR;

/// The machine's clock stands still here, and the log's time goes on from there.
const NOW: i64 = 1_767_225_600_000_000;

/// A buy of Ada's at 20,000.00 that ends then.
fn until(ends_at: i64, lots: u64) -> NewOrder {
    let time_in_force = TimeInForce::GoodTillTime(Timestamp(ends_at));
    NewOrder {
        ticket: Ticket(0),
        account: ADA,
        client_id: None,
        side: Side::Buy,
        kind: Kind::Limit { price: Price(2_000_000), time_in_force, post_only: false },
        size: Size(lots),
        stop: None,
        self_trade: SelfTrade::default(),
        maker_fee: Ppm(0),
        taker_fee: Ppm(0),
        hold: Amount(0),
    }
}

fn by_market(lots: u64) -> NewOrder {
    NewOrder { kind: Kind::Market { funds: None }, ..until(NOW, lots) }
}

impl Program {
    async fn with_two_rich_users(machine: &Machine) -> Program {
        let program = machine.start().await;
        for (account, currency, transfer) in [(ADA, USDT, 1), (BOB, BTC, 2)] {
            program.trading.open_account(account).await.unwrap();
            program.trading.deposit(account, currency, Amount(1_000 * ONE), transfer).await.unwrap();
        }
        program
    }

    async fn refusal(&self, order: NewOrder) -> Reject {
        match self.trading.place(self.trading.market("BTC-USDT").unwrap(), order).await {
            Err(Refused::Reject(reason)) => reason,
            other => panic!("{order:?}: {other:?}"),
        }
    }

    async fn refused_part(&self, batch: Atomic) -> (u32, Reject) {
        match self.trading.together(self.trading.market("BTC-USDT").unwrap(), batch.clone(), None).await {
            Err(Refused::Part(part, reason)) => (part, reason),
            other => panic!("{batch:?}: {other:?}"),
        }
    }

    async fn change_rules(&self, change: impl FnOnce(&mut MarketConfig)) {
        let market = self.trading.market("BTC-USDT").unwrap();
        let mut config = market.config.clone();
        change(&mut config);
        let (config, from) = (Box::new(config), Box::new(market.config.clone()));
        self.trading.steer(market, Control::Reconfigure { config, from }).await.unwrap();
    }
}

#[actix_web::test]
async fn of_two_reasons_the_earlier_is_given_whoever_gives_it() {
    let machine = Machine::new();
    let program = Program::with_two_rich_users(&machine).await;
    program.place("BTC-USDT", BOB, Side::Sell, (2_000_000, 10_000), 1).await.unwrap();
    // The least size is 100 lots.
    for (order, reason) in [
        (until(NOW, 1), Reject::AlreadyExpired),
        (until(NOW + HOUR, 1), Reject::SizeTooSmall),
        (until(NOW, 100), Reject::AlreadyExpired),
        (by_market(1), Reject::SizeTooSmall),
    ] {
        assert_eq!(program.refusal(order).await, reason, "{order:?}");
        let batch = Atomic { account: ADA, places: vec![order], ..Atomic::default() };
        assert_eq!(program.refused_part(batch).await, (0, reason), "{order:?}");
    }

    // What is for sale costs 200 USDT.
    program.change_rules(|rules| rules.max_funds = Amount(100 * ONE)).await;
    let batch = |places| Atomic { account: ADA, places, ..Atomic::default() };
    assert_eq!(program.refusal(by_market(10_000)).await, Reject::FundsTooLarge);
    assert_eq!(
        program.refused_part(batch(vec![until(NOW + HOUR, 100), by_market(10_000)])).await,
        (1, Reject::FundsTooLarge)
    );
    assert_eq!(
        program.refused_part(batch(vec![until(NOW, 100), by_market(10_000)])).await,
        (0, Reject::AlreadyExpired)
    );
    let market = program.trading.market("BTC-USDT").unwrap();
    assert_eq!(program.trading.place(market, by_market(5_000)).await.unwrap().filled, Size(5_000));

    program.trading.execute(LedgerCommand::SetStopped(true)).await.unwrap();
    while !program.trading.is_stopped() {
        a_moment().await;
    }
    for order in [until(NOW + HOUR, 100), until(NOW + HOUR, 1), until(NOW, 100), by_market(1)] {
        assert_eq!(program.refusal(order).await, Reject::KillSwitch, "{order:?}");
    }
    assert_eq!(program.refused_part(batch(vec![until(NOW, 100)])).await, (0, Reject::KillSwitch));
    program.change_rules(|rules| rules.state = MarketState::Halted).await;
    assert_eq!(program.refusal(until(NOW, 100)).await, Reject::MarketHalted);
    program.end().await;
}

#[actix_web::test]
async fn the_first_part_of_a_batch_that_cannot_be_done_is_named() {
    let machine = Machine::new();
    let program = Program::with_two_rich_users(&machine).await;
    let order = program.place("BTC-USDT", ADA, Side::Buy, (2_000_000, 100), 1).await.unwrap().id;
    program.place("BTC-USDT", BOB, Side::Sell, (2_000_000, 100), 2).await.unwrap();
    let (ticket, account) = (Ticket(0), ADA);
    let amend = Amend { ticket, account, order, price: None, size: Some(Size(200)), extra_hold: Amount(0) };
    let unknown = OrderId { number: 1_000, slot: 0 };
    for (cancels, reason) in [(vec![unknown], Reject::OrderNotFound), (Vec::new(), Reject::OrderDone)] {
        let batch = Atomic { account, cancels, amends: vec![amend], ..Atomic::default() };
        assert_eq!(program.refused_part(batch).await, (0, reason));
    }
    program.end().await;
}
