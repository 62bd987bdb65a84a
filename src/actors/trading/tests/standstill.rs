//! A market that stands still because of one of its entries, from the mistake in the program to the repaired program: what it
//! has not applied is neither spent twice nor left out of the database.

use super::*;
use crate::actors::supervision::Drill;
use crate::domain::sabotage::{self, Mistake, STUMBLING_BLOCK};
use crate::persistence::ledger_entries::{self, LedgerFilter, LedgerRow};
use crate::persistence::{fills, orders};

const BOOK: &str = "agora/trading/venue/order book BTC-USDT";
const LEDGER: &str = "agora/trading/venue/ledger";

impl Program {
    /// What Ada has not applied in one market cannot be spent in another, nor its client id be taken again.
    async fn adas_money_is_held(&self, name: u128) {
        let wanted = self.place("ETH-USDT", ADA, Side::Buy, (150_000, 100), name).await;
        assert_eq!(wanted.unwrap_err(), Refused::Reject(Reject::InsufficientFunds));
        let repeated = self.place("ETH-USDT", ADA, Side::Sell, (900_000, 100), 1).await;
        assert_eq!(repeated.unwrap_err(), Refused::Repeat(Known::InFlight));
    }

    fn ledger_rows(&self, account: AccountId, currency: CurrencyId) -> Vec<LedgerRow> {
        let all = LedgerFilter::default();
        let rows = self.database.read(|c| ledger_entries::of_account(c, account, currency, &all, 1_000)).unwrap();
        rows.into_iter().rev().map(|(_, row)| row).collect()
    }

    /// The database says the same as the venue, and every history chains.
    fn compare(&self) {
        let venue = self.follower.venue();
        venue.audit().unwrap();
        for market in &venue.markets {
            let id = market.replica.book.config().id;
            let counts = self.database.read(orders::counts).unwrap();
            let orders = counts.iter().find(|(market, _)| *market == id).map_or(0, |(_, count)| *count);
            assert_eq!(orders, market.replica.book.accepted_orders(), "orders of market {}", id.0);
        }
        for (account, currency) in [ADA, BOB].iter().flat_map(|account| [BTC, ETH, USDT].map(|c| (*account, c))) {
            let mut balance = Amount::ZERO;
            for row in self.ledger_rows(account, currency) {
                balance += row.amount;
                assert_eq!(row.balance, balance, "{row:?}");
            }
            assert_eq!(balance, venue.ledger.ledger.balance(account, currency).total());
        }
    }
}

#[actix_web::test]
async fn what_a_market_has_not_applied_is_neither_spent_twice_nor_left_out() {
    sabotage::make(None);
    let machine = Machine::new();
    let mut program = machine.start().await;
    for account in [ADA, BOB] {
        program.trading.open_account(account).await.unwrap();
    }
    for (transfer, (account, currency, amount)) in
        (1..).zip([(ADA, USDT, 100), (ADA, ETH, 1), (BOB, BTC, 1), (BOB, USDT, 1_000)])
    {
        program.trading.deposit(account, currency, Amount(amount * ONE), transfer).await.unwrap();
    }
    program.place("BTC-USDT", BOB, Side::Sell, (2_000_000, 10_000), 10).await.unwrap();
    program.place("ETH-USDT", BOB, Side::Buy, (150_000, 1_000), 11).await.unwrap();
    program.follower.advance().unwrap();
    program.follower.keep(false);

    // 94.22 USDT and the fee.
    sabotage::make(Some(Mistake::Stumbles));
    let lost = program.place("BTC-USDT", ADA, Side::Buy, (2_000_000, STUMBLING_BLOCK), 1).await;
    assert_eq!(lost.unwrap_err(), Refused::Unavailable(Unavailable::OutcomeUnknown));
    while program.trading.market("BTC-USDT").unwrap().fault().is_none() {
        a_moment().await;
    }
    program.adas_money_is_held(2).await;
    // The other markets go on, also with her.
    program.place("ETH-USDT", ADA, Side::Sell, (150_000, 10), 3).await.unwrap();
    program.follower.advance().unwrap();

    // A ledger that goes on from its twin has heard nothing of the order.
    assert!(program.root.tree().drill(LEDGER, Drill::Panic));
    while program.root.tree().node(LEDGER).unwrap().crashes == 0 {
        a_moment().await;
    }
    program.is_ready().await;
    program.adas_money_is_held(4).await;

    // Neither has a program that is started again.
    program.end().await;
    let mut program = machine.start().await;
    assert!(program.trading.market("BTC-USDT").unwrap().fault().is_some());
    program.adas_money_is_held(5).await;
    program.place("ETH-USDT", ADA, Side::Sell, (150_000, 20), 6).await.unwrap();
    program.follower.advance().unwrap();
    let before = program.ledger_rows(ADA, USDT).len();
    program.end().await;

    sabotage::make(None);
    let program = machine.start().await;
    program.compare();
    assert_eq!(program.ledger_rows(ADA, USDT).len(), before + 2, "the fill and its fee");
    assert_eq!(program.database.read(fills::counts).unwrap(), [(MarketId(0), 1, 1), (MarketId(1), 2, 2)]);
    let repeated = program.place("ETH-USDT", ADA, Side::Sell, (900_000, 100), 1).await;
    assert!(matches!(repeated, Err(Refused::Repeat(Known::Order(MarketId(0), _)))), "{repeated:?}");
    let balances = program.trading.balances(ADA).await.unwrap().unwrap();
    assert_eq!(balances[usize::from(BTC.0)].available, Amount(i128::from(STUMBLING_BLOCK) * 100));

    // What was written late is not written again.
    program.end().await;
    let program = machine.start().await;
    program.compare();
    assert_eq!(program.ledger_rows(ADA, USDT).len(), before + 2);
    program.end().await;
}

/// A market that was halted for another reason than its entry is left behind by the snapshots, which go on. It begins
/// where the ledger has looked when it was halted, and not where the log does.
#[actix_web::test]
async fn a_market_that_is_revived_late_does_not_read_the_whole_log() {
    sabotage::make(None);
    let machine = Machine::new();
    let mut program = machine.start().await;
    for account in [ADA, BOB] {
        program.trading.open_account(account).await.unwrap();
    }
    for (transfer, (account, currency, amount)) in (1..).zip([(ADA, USDT, 1_000), (BOB, BTC, 1)]) {
        program.trading.deposit(account, currency, Amount(amount * ONE), transfer).await.unwrap();
    }
    program.place("BTC-USDT", BOB, Side::Sell, (2_000_000, 1_000), 10).await.unwrap();
    for transfer in 100..400 {
        program.trading.deposit(ADA, USDT, Amount(1), transfer).await.unwrap();
    }
    program.follower.advance().unwrap();
    program.follower.keep(false);

    let market = program.is_open("BTC-USDT").await;
    market.berth.poison(true);
    let lost = program.place("BTC-USDT", ADA, Side::Buy, (2_000_000, 1_000), 1).await;
    assert_eq!(lost.unwrap_err(), Refused::Unavailable(Unavailable::OutcomeUnknown));
    while market.fault().is_none() {
        a_moment().await;
    }
    let halted = machine.reads.batches();
    while machine.reads.batches() == halted {
        a_moment().await;
    }
    // As many as are kept.
    for transfer in 400..403 {
        program.trading.deposit(ADA, USDT, Amount(1), transfer).await.unwrap();
        program.follower.advance().unwrap();
        program.follower.keep(false);
    }

    market.berth.poison(false);
    let before = machine.reads.batches();
    program.root.tree().revive(BOOK).await.unwrap();
    program.is_open("BTC-USDT").await;
    let read = machine.reads.batches() - before;
    assert!(read < 100, "{read} batches were read");
    let repeated = program.place("BTC-USDT", ADA, Side::Buy, (2_000_000, 1_000), 1).await;
    assert!(matches!(repeated, Err(Refused::Repeat(Known::Order(MarketId(0), _)))), "{repeated:?}");
    program.follower.advance().unwrap();
    program.compare();
    program.end().await;
}
