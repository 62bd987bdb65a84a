//! Tables with many rows: nothing is left out, and nothing is searched from one end to the other.

use agora::domain::ids::{AccountId, CurrencyId, MarketId, Sequence};
use agora::domain::money::Amount;
use agora::domain::time::Timestamp;
use agora::persistence::custody::{self, Stage, WithdrawalRow};
use agora::persistence::db::{Connection, Database};
use agora::persistence::events;
use agora::persistence::transfers::{self, TransferFilter, TransferKind, TransferRow};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use std::time::{Duration, Instant};

const USER: AccountId = AccountId(7);

/// Makes the indexes of histories and of what was given up, on either database; and takes them away.
const INDEXES: [(&str, &str); 2] = [
    (
        include_str!("../../migrations/sqlite/2026-11-26-000200_add_indexes/up.sql"),
        include_str!("../../migrations/sqlite/2026-11-26-000200_add_indexes/down.sql"),
    ),
    (
        include_str!("../../migrations/postgres/2026-11-26-000200_add_indexes/up.sql"),
        include_str!("../../migrations/postgres/2026-11-26-000200_add_indexes/down.sql"),
    ),
];

fn is_postgres(connection: &Connection) -> bool {
    matches!(connection, Connection::Postgres(_))
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// How the database would carry a statement out, were the table large.
fn plan(database: &Database, statement: &str) -> String {
    let asked = |connection: &mut Connection| -> QueryResult<Vec<Step>> {
        if !is_postgres(connection) {
            return diesel::sql_query(format!("EXPLAIN QUERY PLAN {statement}")).load(connection);
        }
        connection.batch_execute(
            "SET LOCAL enable_seqscan = off; \
             CREATE OR REPLACE FUNCTION pg_temp.plan(asked TEXT) RETURNS SETOF TEXT LANGUAGE plpgsql AS \
             $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN ' || asked; END $$",
        )?;
        diesel::sql_query(format!("SELECT detail FROM pg_temp.plan('{statement}') AS detail")).load(connection)
    };
    database.write(asked).unwrap().into_iter().map(|step| step.detail).collect::<Vec<_>>().join("\n")
}

pub fn what_is_looked_for_has_an_index(database: &Database) {
    let given_up = "DELETE FROM deliveries WHERE due_at IS NULL AND created_at < 5";
    let history = "SELECT id FROM transfers WHERE account = 7 AND at <= 5 ORDER BY at DESC, id DESC LIMIT 10";
    let (up, down) = INDEXES[database.read(|c| Ok(usize::from(is_postgres(c)))).unwrap()];
    for (statement, index) in [(given_up, "deliveries_given_up"), (history, "transfers_by_time")] {
        assert!(plan(database, statement).contains(index), "{}", plan(database, statement));
    }
    database.write(|c| c.batch_execute(down)).unwrap();
    assert!(!plan(database, given_up).contains("deliveries_given_up"));
    database.write(|c| c.batch_execute(up)).unwrap();
    assert!(plan(database, given_up).contains("deliveries_given_up"));
}

pub fn histories_are_paged_through_one_moment(database: &Database) {
    let moment = Timestamp(50);
    let id = |number: u64| u128::from(number * 11 % 301) << 64;
    let payment = |number: u64| TransferRow {
        account: USER,
        sequence: Sequence(number),
        id: id(number),
        kind: TransferKind::InternalDeposit,
        currency: CurrencyId(0),
        amount: Amount(1),
        counterpart: Some(AccountId(9)),
        at: moment,
    };
    let withdrawal = |number: u64| WithdrawalRow {
        id: id(number),
        account: USER,
        currency: CurrencyId(0),
        amount: Amount(2),
        fee: Amount(1),
        network: "bitcoin".into(),
        address: "somewhere".into(),
        tag: None,
        created_at: moment,
        stage: Stage::Held,
        approved_at: None,
        hash: None,
        ended_at: None,
    };
    let payments: Vec<TransferRow> = (1..=300).map(payment).collect();
    database.write(|c| transfers::insert(c, &payments)).unwrap();
    let withdrawals: Vec<WithdrawalRow> = (1..=300).map(withdrawal).collect();
    database.write(|c| withdrawals.iter().try_for_each(|row| custody::insert(c, row).map(drop))).unwrap();
    let newest_first: Vec<u128> = (1..=300_u128).rev().map(|number| number << 64).collect();

    let (mut found, mut older_than) = (Vec::new(), None);
    loop {
        let filter = TransferFilter { older_than, ..TransferFilter::default() };
        let page = database.read(|c| transfers::of_account(c, USER, &filter, 100)).unwrap();
        let Some(last) = page.last() else { break };
        older_than = Some((last.at, last.id));
        found.extend(page.iter().map(|row| row.id));
    }
    assert_eq!(found, newest_first);

    let (mut found, mut older_than) = (Vec::new(), None);
    loop {
        let page = database.read(|c| custody::of_account(c, USER, None, (None, older_than), 100)).unwrap();
        let Some(last) = page.last() else { break };
        older_than = Some((last.created_at, last.id));
        found.extend(page.iter().map(|row| row.id));
    }
    assert_eq!(found, newest_first);
}

/// The shortest of some attempts.
fn fastest(attempt: impl Fn()) -> Duration {
    let times = (0..9).map(|_| {
        let begun = Instant::now();
        attempt();
        begun.elapsed()
    });
    times.min().unwrap()
}

pub fn a_span_of_events_is_found_however_long_the_archive_is(database: &Database) {
    const ROWS: i64 = 200_000;
    // A run of no events.
    let mut content = vec![1];
    content.extend(zstd::bulk::compress(&[0], 1).unwrap());
    let digits: String = content.iter().map(|byte| format!("{byte:02x}")).collect();
    database
        .write(|c| {
            let content = if is_postgres(c) { format!("'\\x{digits}'::BYTEA") } else { format!("x'{digits}'") };
            c.batch_execute(&format!(
                "WITH RECURSIVE numbers (n) AS \
                 (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS}) \
                 INSERT INTO market_events (market, entry, first_sequence, last_sequence, first_at, last_at, events) \
                 SELECT 3, n * 10, n, n, n * 1000, n * 1000 + 999, {content} FROM numbers"
            ))?;
            if is_postgres(c) { c.batch_execute("ANALYZE market_events") } else { Ok(()) }
        })
        .unwrap();
    let walk = fastest(|| {
        let all = "SELECT count(*) AS found FROM market_events WHERE first_at + last_at > 0";
        let count: Count = database.read(|c| diesel::sql_query(all).get_result(c)).unwrap();
        assert_eq!(count.found, ROWS);
    });
    for from in [1_500, ROWS / 2 * 1000 + 500, (ROWS - 2) * 1000 + 500] {
        let span = (Timestamp(from), Timestamp(from + 1_000));
        let found = fastest(|| {
            let read = database.read(|c| events::between(c, MarketId(3), span, None, 16, |_| true));
            assert_eq!(read.unwrap(), (Vec::new(), None));
        });
        assert!(found * 3 < walk, "{found:?} from {from} on, where the whole archive takes {walk:?}");
    }
}
