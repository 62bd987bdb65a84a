//! Projections: what is written comes back as it was, once, whoever writes.

use agora::domain::candle::Candle;
use agora::domain::event::{DoneReason, Fill};
use agora::domain::ids::{AccountId, ClientOrderId, CurrencyId, MarketId, OrderId, Sequence, StreamId, TradeId};
use agora::domain::money::{Amount, Price, Size};
use agora::domain::order::{Kind, OrderRecord, SelfTrade, Side, Status, Stop, TimeInForce, Trigger};
use agora::domain::time::Timestamp;
use agora::persistence::db::Database;
use agora::persistence::fills::{self, FillFilter, FillRow};
use agora::persistence::ledger_entries::{self, Cause, LedgerFilter, LedgerRow, TradePlace};
use agora::persistence::log::Position;
use agora::persistence::orders::{self, DoneFilter, OrderFilter};
use agora::persistence::projection::{self, Changes, Written};
use agora::persistence::transfers::{self, TransferFilter, TransferKind, TransferRow};
use agora::persistence::{candles, shared_snapshots};

const MARKET: MarketId = MarketId(3);
const USER: AccountId = AccountId(7);

fn order(number: u64) -> OrderRecord {
    OrderRecord {
        id: OrderId { number, slot: number as u32 * 2 },
        account: USER,
        client_id: None,
        side: Side::Buy,
        kind: Kind::Limit { price: Price(10), time_in_force: TimeInForce::GoodTillCanceled, post_only: false },
        size: Size(100),
        stop: None,
        self_trade: SelfTrade::DecrementAndCancel,
        created_at: Timestamp(number as i64 * 10),
        remaining: Size(100),
        filled: Size(0),
        executed: Amount(0),
        fees: Amount(0),
        hold: Amount(1 << 100),
        status: Status::Open,
    }
}

/// Every shape that an order can have.
fn shapes() -> Vec<OrderRecord> {
    let limit = |time_in_force, post_only| Kind::Limit { price: Price(1 << 48), time_in_force, post_only };
    let kinds = [
        limit(TimeInForce::GoodTillCanceled, true),
        limit(TimeInForce::GoodTillTime(Timestamp(99)), false),
        limit(TimeInForce::ImmediateOrCancel, false),
        limit(TimeInForce::FillOrKill, false),
        Kind::Market { funds: None },
        Kind::Market { funds: Some(Amount(1 << 99)) },
    ];
    let stop = |trigger| Some(Stop { trigger, price: Price(5) });
    let stops = [None, stop(Trigger::Loss), stop(Trigger::Entry)];
    let rules =
        [SelfTrade::DecrementAndCancel, SelfTrade::CancelOldest, SelfTrade::CancelNewest, SelfTrade::CancelBoth];
    let done = |reason| Status::Done(reason, Timestamp(77));
    let statuses = [
        Status::Active,
        Status::Open,
        done(DoneReason::Filled),
        done(DoneReason::Canceled),
        done(DoneReason::Expired),
        done(DoneReason::NoLiquidity),
        done(DoneReason::FillOrKill),
        done(DoneReason::SelfTrade),
    ];
    (0..24_usize)
        .map(|n| OrderRecord {
            side: if n % 2 == 0 { Side::Buy } else { Side::Sell },
            client_id: (n % 3 == 0).then_some(ClientOrderId(u128::MAX - n as u128)),
            kind: kinds[n % 6],
            stop: stops[n % 3],
            self_trade: rules[n % 4],
            status: statuses[n % 8],
            fees: Amount(n as i128),
            ..order(n as u64 + 1)
        })
        .collect()
}

pub fn orders_come_back_as_they_were(database: &Database) {
    let rows: Vec<_> = shapes().into_iter().map(|record| (MARKET, record)).collect();
    database.write(|c| orders::upsert(c, &rows)).unwrap();
    database.write(|c| orders::upsert(c, &rows)).unwrap();
    for (market, record) in &rows {
        assert_eq!(database.read(|c| orders::get(c, *market, record.id.number)).unwrap().as_ref(), Some(record));
        if let Some(id) = record.client_id {
            let found = database.read(|c| orders::by_client_id(c, USER, id)).unwrap();
            assert_eq!(found, Some((*market, *record)));
            assert_eq!(database.read(|c| orders::by_client_id(c, AccountId(8), id)).unwrap(), None);
        }
    }
    assert_eq!(database.read(|c| orders::get(c, MarketId(4), 1)).unwrap(), None);
    // A later state replaces an earlier one.
    let kind = Kind::Limit { price: Price(11), time_in_force: TimeInForce::GoodTillCanceled, post_only: true };
    let status = Status::Done(DoneReason::Canceled, Timestamp(500));
    let later = OrderRecord { kind, remaining: Size(1), filled: Size(99), hold: Amount(0), status, ..rows[0].1 };
    database.write(|c| orders::upsert(c, &[(MARKET, later)])).unwrap();
    assert_eq!(database.read(|c| orders::get(c, MARKET, 1)).unwrap(), Some(later));

    // More rows than one statement takes.
    let many: Vec<_> = (0..12_000).map(|n| (MarketId(5), order(n + 1))).collect();
    database.write(|c| orders::upsert(c, &many)).unwrap();
    assert_eq!(database.read(|c| orders::get(c, MarketId(5), 12_000)).unwrap(), Some(many[11_999].1));
    let numbers = |filter: OrderFilter, limit| -> Vec<u64> {
        let found = database.read(|c| orders::list(c, USER, &filter, limit)).unwrap();
        found.into_iter().map(|(_, record)| record.id.number).collect()
    };
    let filter = OrderFilter { market: Some(MarketId(5)), ..OrderFilter::default() };
    assert_eq!(numbers(filter.clone(), 2), [12_000, 11_999]);
    let place = |number: u64| Some((Timestamp(number as i64 * 10), MarketId(5), number));
    assert_eq!(numbers(OrderFilter { after: place(3), ..filter.clone() }, 10), [2, 1]);
    assert_eq!(numbers(OrderFilter { after: place(5), before: place(2), ..filter.clone() }, 10), [4, 3]);
    assert_eq!(numbers(OrderFilter { done: Some(DoneFilter::Done), ..filter }, 10), [0_u64; 0]);
    assert_eq!(
        numbers(OrderFilter { done: Some(DoneFilter::Done), market: Some(MARKET), ..OrderFilter::default() }, 100)
            .len(),
        19
    );
}

fn fill(trade: u64, maker_account: AccountId, taker_account: AccountId) -> FillRow {
    let fill = Fill {
        trade: TradeId(trade),
        maker: OrderId { number: trade % 3 + 1, slot: 0 },
        taker: OrderId { number: trade + 100, slot: 1 },
        maker_account,
        taker_account,
        maker_side: if trade.is_multiple_of(2) { Side::Buy } else { Side::Sell },
        price: Price(trade),
        size: Size(1 << 48),
        base: Amount(1 << 100),
        quote: Amount(3),
        maker_fee: Amount(1),
        taker_fee: Amount(2),
    };
    FillRow { market: MARKET, at: Timestamp(trade as i64 * 10), feed_sequence: trade * 5, fill }
}

pub fn fills_are_found_by_either_party(database: &Database) {
    let other = AccountId(8);
    let rows: Vec<_> = (1..=9)
        .map(|trade| match trade % 3 {
            0 => fill(trade, USER, other),
            1 => fill(trade, other, USER),
            _ => fill(trade, other, AccountId(9)),
        })
        .collect();
    database.write(|c| fills::insert(c, &rows)).unwrap();
    database.write(|c| fills::insert(c, &rows[3..])).unwrap();
    let mut newest_first = rows.clone();
    newest_first.reverse();
    assert_eq!(database.read(|c| fills::trades(c, MARKET, None, None, 100)).unwrap(), newest_first);
    let between = database.read(|c| fills::trades(c, MARKET, Some(8), Some(5), 100)).unwrap();
    assert_eq!(between, [rows[6], rows[5]]);
    let own = |filter: FillFilter, limit| -> Vec<u64> {
        let found = database.read(|c| fills::of_account(c, USER, MARKET, &filter, limit)).unwrap();
        found.into_iter().map(|row| row.fill.trade.0).collect()
    };
    assert_eq!(own(FillFilter::default(), 100), [9, 7, 6, 4, 3, 1]);
    assert_eq!(own(FillFilter::default(), 2), [9, 7]);
    let filter = FillFilter { older_than: Some(7), newer_than: Some(1), ..FillFilter::default() };
    assert_eq!(own(filter, 100), [6, 4, 3]);
    let filter = FillFilter { from: Some(Timestamp(40)), to: Some(Timestamp(70)), ..FillFilter::default() };
    assert_eq!(own(filter, 100), [7, 6, 4]);
    let made = FillFilter { order: Some(OrderId { number: 1, slot: 0 }), ..FillFilter::default() };
    assert_eq!(own(made, 100), [9, 6, 3]);
    let taken = FillFilter { order: Some(OrderId { number: 104, slot: 1 }), ..FillFilter::default() };
    assert_eq!(own(taken, 100), [4]);
    let volume = |from| database.read(|c| fills::volume(c, USER, MARKET, Timestamp(from))).unwrap();
    let lots = |trades: &[usize]| -> u128 { trades.iter().map(|trade| u128::from(rows[trade - 1].fill.size.0)).sum() };
    assert_eq!(volume(0), lots(&[9, 7, 6, 4, 3, 1]));
    assert_eq!(volume(40), lots(&[9, 7, 6, 4]));
    assert_eq!(volume(1_000), 0);
    // Wherever it begins, and also where trades are missing.
    let holes: Vec<_> =
        (20_u64..60).filter(|trade| !trade.is_multiple_of(7)).map(|trade| fill(trade, USER, other)).collect();
    database.write(|c| fills::insert(c, &holes)).unwrap();
    let is_own = |row: &&FillRow| [row.fill.maker_account, row.fill.taker_account].contains(&USER);
    let all: Vec<&FillRow> = rows.iter().chain(&holes).filter(is_own).collect();
    for from in (0..610).step_by(5) {
        let since = all.iter().filter(|row| row.at.0 >= from);
        let expected: u128 = since.map(|row| u128::from(row.fill.size.0)).sum();
        assert_eq!(volume(from), expected, "from {from}");
    }
}

fn entry(n: i128, cause: Cause) -> LedgerRow {
    LedgerRow {
        account: USER,
        currency: CurrencyId(2),
        amount: Amount(-n),
        balance: Amount((1 << 100) - n),
        cause,
        at: Timestamp(n as i64 * 10),
    }
}

fn causes() -> [Cause; 3] {
    let place = TradePlace { market: MARKET, order: OrderId { number: 5, slot: 6 }, trade: TradeId(7) };
    [Cause::Match(place), Cause::Fee(place), Cause::Transfer(TransferKind::InternalDeposit, 1 << 127)]
}

pub fn entries_and_transfers_are_paged_both_ways(database: &Database) {
    let rows: Vec<_> = (0..9_usize).map(|n| entry(n as i128, causes()[n % 3])).collect();
    database.write(|c| ledger_entries::insert(c, 1, &rows)).unwrap();
    // The same ids again are a mistake, and nothing of it stays.
    assert!(database.write(|c| ledger_entries::insert(c, 9, &rows)).is_err());
    let read = |filter: LedgerFilter, limit| -> Vec<(u64, LedgerRow)> {
        database.read(|c| ledger_entries::of_account(c, USER, CurrencyId(2), &filter, limit)).unwrap()
    };
    let mut expected: Vec<_> = (1..).zip(rows).collect();
    expected.reverse();
    assert_eq!(read(LedgerFilter::default(), 100), expected);
    let ids = |filter| read(filter, 3).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(LedgerFilter { older_than: Some(5), ..LedgerFilter::default() }), [4, 3, 2]);
    assert_eq!(ids(LedgerFilter { older_than: Some(5), newer_than: Some(3), ..LedgerFilter::default() }), [4]);
    let dates = LedgerFilter { from: Some(Timestamp(20)), to: Some(Timestamp(30)), ..LedgerFilter::default() };
    assert_eq!(ids(dates), [4, 3]);

    let row = |n: usize| TransferRow {
        account: USER,
        sequence: Sequence(n as u64),
        id: n as u128 + (1 << 120),
        kind: TransferKind::ALL[n % 4],
        currency: CurrencyId((n % 2) as u16),
        amount: Amount(n as i128),
        counterpart: (n % 4 >= 2).then_some(AccountId(9)),
        at: Timestamp(n as i64),
    };
    let rows: Vec<_> = (1..=8).map(row).collect();
    database.write(|c| transfers::insert(c, &rows)).unwrap();
    database.write(|c| transfers::insert(c, &rows)).unwrap();
    let found = |filter: TransferFilter| -> Vec<u64> {
        let rows = database.read(|c| transfers::of_account(c, USER, &filter, 4)).unwrap();
        rows.into_iter().map(|row| row.sequence.0).collect()
    };
    assert_eq!(found(TransferFilter::default()), [8, 7, 6, 5]);
    let kinds = vec![TransferKind::Withdraw, TransferKind::InternalWithdraw];
    assert_eq!(found(TransferFilter { kinds, ..TransferFilter::default() }), [7, 5, 3, 1]);
    let filter = TransferFilter {
        currency: Some(CurrencyId(0)),
        older_than: Some((Timestamp(6), row(6).id)),
        newer_than: Some((Timestamp(2), row(2).id)),
        ..TransferFilter::default()
    };
    assert_eq!(found(filter), [4]);
    let filter = TransferFilter { older_than: Some((Timestamp(6), row(6).id + 1)), ..TransferFilter::default() };
    assert_eq!(found(filter), [6, 5, 4, 3]);
    assert_eq!(database.read(|c| transfers::get(c, USER, rows[2].id)).unwrap(), Some(rows[2]));
    assert_eq!(database.read(|c| transfers::get(c, AccountId(9), rows[2].id)).unwrap(), None);
}

fn changes(n: u64) -> Changes {
    let mut changes = Changes::default();
    changes.orders.insert((MARKET, n), order(n));
    changes.fills.push(fill(n, USER, AccountId(8)));
    let candle = Candle {
        start: Timestamp(0),
        open: Price(1),
        high: Price(n + 1),
        low: Price(1),
        close: Price(n),
        volume: Size(n),
        trades: n as u32,
    };
    changes.candles.insert((MARKET, 60, candle.start), candle);
    changes.ledger.extend(causes().map(|cause| entry(i128::from(n), cause)));
    changes.streams.insert(StreamId::Market(MARKET), Sequence(n));
    changes
}

pub fn every_row_is_written_once(database: &Database) {
    let write = |from, to| projection::write(database, &changes(to), Position(from), Position(to)).unwrap();
    assert_eq!(projection::position(database).unwrap(), Position(0));
    assert_eq!(write(0, 2), Written::Yes);
    assert_eq!(write(0, 2), Written::Yes, "an answer that was lost");
    assert_eq!(write(0, 3), Written::Elsewhere(Position(2)), "another node was faster");
    assert_eq!(write(5, 6), Written::Elsewhere(Position(2)), "an older backup was restored");
    assert_eq!(write(2, 5), Written::Yes);
    assert_eq!(projection::position(database).unwrap(), Position(5));
    let all = LedgerFilter::default();
    let rows = database.read(|c| ledger_entries::of_account(c, USER, CurrencyId(2), &all, 100)).unwrap();
    assert_eq!(rows.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [6, 5, 4, 3, 2, 1]);
    let candle = database.read(|c| candles::range(c, MARKET, 60, Timestamp(0), Timestamp(1), 10)).unwrap();
    assert_eq!((candle.len(), candle[0].trades), (1, 5));
}

pub fn the_newest_snapshots_are_kept(database: &Database) {
    assert_eq!(shared_snapshots::all(database).unwrap(), []);
    for position in [10, 20, 30, 40, 40] {
        shared_snapshots::put(database, Position(position), &vec![position as u8; 10_000]).unwrap();
    }
    assert_eq!(shared_snapshots::all(database).unwrap(), [20, 30, 40].map(Position));
    assert_eq!(shared_snapshots::get(database, Position(40)).unwrap(), Some(vec![40; 10_000]));
    assert_eq!(shared_snapshots::get(database, Position(10)).unwrap(), None);
}
