//! Why commands are refused before they reach the log: of several reasons the first counts, whoever gives it.

use super::*;
use crate::domain::entry::Amend;
use crate::domain::market::MarketState;
use crate::domain::order::{Status, Stop, Trigger};
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

/// A limit buy of Ada's.
fn limit(price: u64, lots: u64, post_only: bool) -> NewOrder {
    let time_in_force = TimeInForce::GoodTillCanceled;
    NewOrder { kind: Kind::Limit { price: Price(price), time_in_force, post_only }, ..until(NOW, lots) }
}

/// What the ledger has against an order comes before that the order would take, and what it has against an earlier part
/// before what anybody has against a later one; for batches as for single orders.
#[actix_web::test]
async fn what_the_ledger_has_against_a_part_comes_before_that_it_would_take() {
    let machine = Machine::new();
    let program = Program::with_two_rich_users(&machine).await;
    program.place("BTC-USDT", BOB, Side::Sell, (2_000_000, 100), 1).await.unwrap();
    // She has 1,000 USDT; 100,000 lots cost twice as much.
    let (good, dear) = (limit(1_900_000, 100, false), limit(1_900_000, 100_000, false));
    let (takes, takes_dear) = (limit(2_000_000, 100, true), limit(2_000_000, 100_000, true));
    let kind = Kind::Market { funds: Some(Amount(2_000 * ONE)) };
    let by_funds_too_dear = NewOrder { kind, ..by_market(0) };
    let before = program.trading.balances(ADA).await.unwrap();
    let batch = |places| Atomic { account: ADA, places, ..Atomic::default() };
    for (order, reason) in [(takes, Reject::PostOnlyWouldTake), (takes_dear, Reject::InsufficientFunds)] {
        assert_eq!(program.refusal(order).await, reason, "{order:?}");
        assert_eq!(program.refused_part(batch(vec![order])).await, (0, reason), "{order:?}");
    }
    for (places, part, reason) in [
        (vec![dear, takes], 0, Reject::InsufficientFunds),
        (vec![good, dear, takes], 1, Reject::InsufficientFunds),
        (vec![takes, dear], 0, Reject::PostOnlyWouldTake),
        (vec![good, takes, dear], 1, Reject::PostOnlyWouldTake),
        (vec![good, takes, good], 1, Reject::PostOnlyWouldTake),
        (vec![takes, by_funds_too_dear], 0, Reject::PostOnlyWouldTake),
        (vec![by_funds_too_dear, takes], 0, Reject::InsufficientFunds),
    ] {
        assert_eq!(program.refused_part(batch(places.clone())).await, (part, reason), "{places:?}");
    }
    assert_eq!(program.trading.balances(ADA).await.unwrap(), before);

    // What is refused with others of its batch leaves nothing behind.
    let small = |name| NewOrder { client_id: Some(ClientOrderId(name)), ..limit(1_900_000, 1, false) };
    let refused = program.refused_part(batch(vec![takes, small(8), small(9)])).await;
    assert_eq!(refused, (0, Reject::PostOnlyWouldTake));
    for name in [8, 9] {
        program.place("BTC-USDT", ADA, Side::Buy, (1_900_000, 100), name).await.unwrap();
    }

    // A batch that is repeated was done, also when its order would take by now.
    let market = program.is_open("BTC-USDT").await;
    let order = program.place("BTC-USDT", ADA, Side::Buy, (1_900_000, 100), 7).await.unwrap().id;
    let again = batch(vec![NewOrder { client_id: Some(ClientOrderId(7)), ..takes }]);
    let repeated = program.trading.together(&market, again, None).await;
    assert_eq!(repeated.unwrap_err(), Refused::PartRepeat(0, Known::Order(market.id, order)));

    program.trading.execute(LedgerCommand::SetFrozen(ADA, true)).await.unwrap();
    assert_eq!(program.refusal(takes).await, Reject::AccountFrozen);
    let refused = program.trading.together(&market, batch(vec![takes]), None).await;
    assert_eq!(refused.unwrap_err(), Refused::Reject(Reject::AccountFrozen));
    program.end().await;
}

/// The same where a later part would cost more than the market allows.
#[actix_web::test]
async fn a_part_that_costs_too_much_hides_nothing_before_it() {
    let machine = Machine::new();
    let program = Program::with_two_rich_users(&machine).await;
    // Ada has 1,000 USDT, and what is for sale costs 2,000.
    program.place("BTC-USDT", BOB, Side::Sell, (2_000_000, 100_000), 1).await.unwrap();
    program.change_rules(|rules| rules.max_funds = Amount(1_500 * ONE)).await;
    let (good, dear) = (limit(1_900_000, 100, false), limit(1_900_000, 70_000, false));
    let (takes, costly) = (limit(2_000_000, 100, true), by_market(100_000));
    for (places, part, reason) in [
        (vec![costly, dear], 0, Reject::FundsTooLarge),
        (vec![good, costly, takes], 1, Reject::FundsTooLarge),
        (vec![takes, costly], 0, Reject::PostOnlyWouldTake),
        (vec![dear, takes, costly], 0, Reject::InsufficientFunds),
    ] {
        let batch = Atomic { account: ADA, places: places.clone(), ..Atomic::default() };
        assert_eq!(program.refused_part(batch).await, (part, reason), "{places:?}");
    }
    program.end().await;
}

/// A market buy that sleeps needs what it would cost where it wakes, and that is bounded as what others cost now.
#[actix_web::test]
async fn a_stop_costs_no_more_than_an_order_may() {
    let machine = Machine::new();
    let program = Program::with_two_rich_users(&machine).await;
    let market = program.is_open("BTC-USDT").await;
    let change = |rules: &mut MarketConfig| {
        (rules.max_funds, rules.max_size, rules.band) = (Amount(100 * ONE), Size::MAX, Ppm(100_000));
        rules.reference_price = Price(2_000_000);
    };
    program.change_rules(change).await;
    let stop = |price, lots| {
        let stop = Some(Stop { trigger: Trigger::Entry, price: Price(price) });
        NewOrder { stop, ..by_market(lots) }
    };
    let batch = |places| Atomic { account: ADA, places, ..Atomic::default() };
    // 5,000 lots cost 100 USDT there. The greatest order at the greatest price is also too far away, which comes later.
    for (order, reason) in [
        (stop(2_000_000, 5_001), Reject::FundsTooLarge),
        (stop(Price::MAX.0, Size::MAX.0), Reject::FundsTooLarge),
        (stop(3_000_000, 100), Reject::PriceOutsideBand),
    ] {
        assert_eq!(program.refusal(order).await, reason, "{order:?}");
        let places = vec![limit(1_900_000, 100, false), order];
        assert_eq!(program.refused_part(batch(places)).await, (1, reason), "{order:?}");
    }
    let asleep = program.trading.place(&market, stop(2_000_000, 5_000)).await.unwrap();
    assert_eq!(asleep.status, Status::Active);
    program.end().await;
}

/// However much is asked for, what there may be at most is a number.
#[test]
fn what_is_needed_at_most_has_a_bound() {
    let need = |least, most| ledger::Need { least: Amount(least), most: Amount(most) };
    assert_eq!(ledger::Need::about(Amount(100), Amount(0)), need(100, 110));
    assert_eq!(ledger::Need::about(Amount(100), Amount(50)), need(100, 165));
    assert_eq!(ledger::Need::about(Amount(1 << 100), Amount(0)), need(1 << 100, 1 << 100));
    assert_eq!(ledger::Need::about(Amount(1 << 126), Amount(1 << 125)), need(1 << 126, 1 << 126));
}
