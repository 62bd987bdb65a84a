#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

use super::*;
use crate::domain::ids::Sequence;
use crate::persistence::db::Database;
use crate::persistence::transfers::{self, TransferFilter, TransferKind, TransferRow};

fn row(id: TransferId, at: i64, stage: Stage) -> WithdrawalRow {
    WithdrawalRow {
        id,
        account: AccountId::FIRST_USER,
        currency: CurrencyId(0),
        amount: Amount(100),
        fee: Amount(1),
        network: "bitcoin".into(),
        address: "somewhere".into(),
        tag: None,
        created_at: Timestamp(at),
        stage,
        approved_at: None,
        hash: None,
        ended_at: None,
    }
}

fn database() -> (tempfile::TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("agora.db")).unwrap();
    (folder, database)
}

#[test]
fn pages_of_unfinished_withdrawals_leave_none_out() {
    let (_folder, database) = database();
    // Many of one moment, and some that are over between them.
    let rows: Vec<WithdrawalRow> = (1..=40_u128)
        .map(|id| row(id, id as i64 / 8, if id % 5 == 0 { Stage::Done } else { Stage::Held }))
        .chain([row(99, -7, Stage::Requested)])
        .collect();
    for row in &rows {
        assert!(database.write(|c| insert(c, row)).unwrap());
        assert!(!database.write(|c| insert(c, row)).unwrap(), "a repeat");
    }
    let mut expected: Vec<&WithdrawalRow> = rows.iter().filter(|row| !row.stage.is_over()).collect();
    expected.sort_by_key(|row| (row.created_at, row.id));
    for limit in [1, 3, 8, 33, 1_000] {
        let (mut found, mut place) = (Vec::new(), Some(Place::START));
        while let Some(behind) = place {
            let (page, next) = database.read(|c| unfinished(c, &behind, limit)).unwrap();
            assert!(page.len() <= limit as usize);
            found.extend(page);
            place = next;
        }
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "pages of {limit}");
    }
}

#[test]
fn what_is_not_wanted_takes_no_place_in_a_history() {
    let (_folder, database) = database();
    let others = [Stage::Requested, Stage::Refused, Stage::Held].into_iter().zip([0, 0, 1]);
    let newer = others
        .cycle()
        .take(30)
        .zip(100..)
        .map(|((stage, currency), id)| WithdrawalRow { currency: CurrencyId(currency), ..row(id, id as i64, stage) });
    let older = [(1, Stage::Done), (2, Stage::Held), (3, Stage::Canceled)].map(|(id, stage)| row(id, id as i64, stage));
    for row in older.into_iter().chain(newer) {
        assert!(database.write(|c| insert(c, &row)).unwrap());
    }
    let ids = |currency, between, limit| -> Vec<TransferId> {
        let all = database.read(|c| of_account(c, AccountId::FIRST_USER, currency, between, limit)).unwrap();
        all.iter().map(|row| row.id).collect()
    };
    let ever = (None, None);
    assert_eq!(ids(Some(CurrencyId(0)), ever, 2), [3, 2]);
    assert_eq!(ids(Some(CurrencyId(0)), ever, 10), [3, 2, 1]);
    assert_eq!(ids(None, ever, 100).len(), 13);
    let place = |at: i64, id: TransferId| Some((Timestamp(at), id));
    assert_eq!(ids(None, (None, place(3, 3)), 10), [2, 1]);
    assert_eq!(ids(None, (None, place(3, 4)), 10), [3, 2, 1]);
    assert_eq!(ids(None, (place(1, 1), place(3, 3)), 10), [2]);
    assert_eq!(ids(None, (place(1, 0), place(3, 3)), 10), [2, 1]);

    // What the ledger knows of a withdrawal through the custodian is not shown a second time.
    let moved = |sequence, id, kind| TransferRow {
        account: AccountId::FIRST_USER,
        sequence: Sequence(sequence),
        id,
        kind,
        currency: CurrencyId(0),
        amount: Amount(100),
        counterpart: None,
        at: Timestamp(50),
    };
    let (deposit, withdraw) = (TransferKind::Deposit, TransferKind::Withdraw);
    let rows = [moved(1, 50, deposit), moved(2, 51, withdraw), moved(3, 102, withdraw), moved(4, 105, withdraw)];
    database.write(|c| transfers::insert(c, &rows)).unwrap();
    let left = |beyond_custody, limit| -> Vec<TransferId> {
        let filter = TransferFilter { beyond_custody, ..TransferFilter::default() };
        let all = database.read(|c| transfers::of_account(c, AccountId::FIRST_USER, &filter, limit)).unwrap();
        all.iter().map(|row| row.id).collect()
    };
    assert_eq!(left(false, 2), [105, 102]);
    assert_eq!(left(true, 2), [51, 50]);

    // A row that says that no money was ever held is not shown, so what the ledger knows is.
    database.write(|c| transfers::insert(c, &[moved(5, 100, withdraw), moved(6, 101, withdraw)])).unwrap();
    assert_eq!(left(true, 4), [101, 100, 51, 50]);
}

#[test]
fn a_user_has_so_many_unfinished_withdrawals_at_most() {
    let (_folder, database) = database();
    let other = WithdrawalRow { account: AccountId(9), ..row(1, 1, Stage::Held) };
    assert!(database.write(|c| insert(c, &other)).unwrap());
    let take = |id, stage| database.write(|c| insert_within(c, &row(id, 1, stage), 2)).unwrap();
    // What is over takes no room.
    assert_eq!([take(2, Stage::Done), take(3, Stage::Canceled), take(4, Stage::Held)], [Taken::In; 3]);
    assert_eq!((take(4, Stage::Held), take(5, Stage::Requested)), (Taken::Known, Taken::In));
    assert_eq!((take(6, Stage::Requested), take(7, Stage::Requested)), (Taken::TooMany, Taken::TooMany));
    assert_eq!((take(5, Stage::Requested), take(2, Stage::Requested)), (Taken::Known, Taken::Known), "repeats");
    assert!(database.write(|c| finish(c, 4, Stage::Done, Timestamp(3))).unwrap());
    assert_eq!((take(6, Stage::Requested), take(7, Stage::Requested)), (Taken::In, Taken::TooMany));
    let mut asked = database.read(|c| asked_at(c, &[6, 5, 99])).unwrap();
    asked.sort_unstable();
    assert_eq!(asked, [(5, Timestamp(1)), (6, Timestamp(1))]);
}

#[test]
fn a_withdrawal_ends_once_and_as_it_can() {
    use Stage::{Canceled, Done, Held, Refused, Requested};
    let (_folder, database) = database();
    // The stage, whether there is a transaction, the end that is told, and what becomes of it.
    let cases = [
        (Requested, false, Refused, Refused),
        (Requested, false, Canceled, Canceled),
        (Held, false, Refused, Held),
        (Held, false, Canceled, Canceled),
        (Held, false, Done, Done),
        (Held, true, Canceled, Held),
        (Held, true, Done, Done),
        (Done, false, Canceled, Done),
        (Canceled, false, Done, Canceled),
        (Refused, false, Canceled, Refused),
    ];
    for (id, (stage, paid, end, expected)) in (1..).zip(cases) {
        let hash = paid.then(|| "hash".to_owned());
        database.write(|c| insert(c, &row(id, 1, stage))).unwrap();
        if let Some(hash) = hash.clone() {
            database.write(|c| note_transaction(c, id, hash)).unwrap();
        }
        let ended = database.write(|c| finish(c, id, end, Timestamp(3))).unwrap();
        let after = database.read(|c| get(c, id)).unwrap().unwrap();
        let case = format!("{stage:?}, {paid}, {end:?}");
        assert_eq!((after.stage, after.hash, ended), (expected, hash, stage != expected), "{case}");
        assert_eq!(after.ended_at, ended.then_some(Timestamp(3)), "{case}");
        // Nobody comes late and wakes it up.
        assert!(!database.write(|c| hold(c, id)).unwrap(), "{case}");
    }
}

#[test]
fn only_a_request_is_held_or_taken_back() {
    let (_folder, database) = database();
    for id in [1, 2] {
        database.write(|c| insert(c, &row(id, 1, Stage::Requested))).unwrap();
    }
    assert!(database.write(|c| hold(c, 1)).unwrap());
    assert!(!database.write(|c| hold(c, 1)).unwrap(), "it is held already");
    for id in [1, 2] {
        database.write(|c| forget(c, id)).unwrap();
    }
    let stage = |id| database.read(|c| get(c, id)).unwrap().map(|row| row.stage);
    assert_eq!((stage(1), stage(2)), (Some(Stage::Held), None));
}
