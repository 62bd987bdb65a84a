//! The stores, on SQLite and on PostgreSQL alike: one suite, run against both.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod accounts_tables;
mod chat;
mod large;
mod links;
mod projections;
#[path = "../servers/mod.rs"]
mod servers;

use agora::domain::ids::AccountId;
use agora::domain::time::Timestamp;
use agora::persistence::db::{Connection, Database, DbError, Options, Target, Url};
use agora::persistence::sessions::{self, Session, SessionId};
use agora::persistence::users::{self, NewUser, Role};
use diesel::prelude::*;
use servers::Postgres;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Runs a test on a new, empty database of each kind.
fn on_each(server: &Postgres, name: &str, test: impl Fn(&Database)) {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Options::new(Target::Sqlite(folder.path().join("agora.db")));
    let postgres = Options::new(Target::Postgres(Url::parse(&server.create_database(name)).unwrap()));
    for options in [sqlite, postgres] {
        eprintln!("{name} on {}", options.target);
        test(&Database::connect(&options).unwrap());
    }
}

#[test]
fn both_databases_do_the_same() {
    let server = Postgres::start();
    on_each(&server, "users", users_have_unique_addresses_and_numbers);
    on_each(&server, "sessions", sessions_end);
    on_each(&server, "many_sessions", of_too_many_sessions_those_end_that_were_not_used_for_longest);
    on_each(&server, "proofs", what_was_proved_counts_while_it_holds);
    on_each(&server, "accounts", accounts_tables::keys_codes_and_factors);
    on_each(&server, "records", accounts_tables::the_audit_log_and_settings);
    on_each(&server, "notifications", accounts_tables::what_nobody_takes_is_kept_and_can_be_tried_again);
    on_each(&server, "addresses", accounts_tables::addresses_known_to_be_read_are_confirmed);
    on_each(&server, "failures", a_failed_transaction_changes_nothing);
    on_each(&server, "orders", projections::orders_come_back_as_they_were);
    on_each(&server, "fills", projections::fills_are_found_by_either_party);
    on_each(&server, "entries", projections::entries_and_transfers_are_paged_both_ways);
    on_each(&server, "rows", projections::every_row_is_written_once);
    on_each(&server, "snapshots", projections::the_newest_snapshots_are_kept);
    on_each(&server, "indexes", large::what_is_looked_for_has_an_index);
    on_each(&server, "histories", large::histories_are_paged_through_one_moment);
    on_each(&server, "events", large::a_span_of_events_is_found_however_long_the_archive_is);
    on_each(&server, "chat", chat::random_histories_are_found_as_they_were);
    on_each(&server, "neighbours", chat::people_know_those_they_share_a_room_with);
    on_each(&server, "client_ids", chat::client_ids_are_looked_up_without_reading_the_whole_table);
    on_each(&server, "reports", chat::reports_are_paged_also_where_many_are_of_one_moment);
    on_each(&server, "limits", links::a_limit_that_was_lower_for_a_while_gives_no_click_back);
    on_each(&server, "alike", links::of_many_links_to_one_target_only_those_are_read_that_may_be_the_same);
    on_each(&server, "words", links::words_are_found_as_they_are_written);
    on_each(&server, "referrers", links::made_up_referrers_leave_only_so_many_rows);
    nodes_migrate_one_after_the_other(&server);
    let shared = Options::new(Target::Postgres(Url::parse(&server.create_database("clocks")).unwrap()));
    accounts_tables::a_node_whose_clock_is_behind_takes_nothing_from_others(&Database::connect(&shared).unwrap());
}

#[test]
fn whoever_writes_without_a_pause_leaves_others_their_turn() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("agora.db")).unwrap();
    let over = AtomicBool::new(false);
    // A part of an import.
    let long = |_: &mut Connection| {
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    };
    let made = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                database.write(long).unwrap();
            }
        });
        let make = |number: i64| {
            let email = format!("user-{number}@example.org");
            database.write_durably(|c| users::create(c, &new(&email), Timestamp(number)))
        };
        let made: Result<Vec<_>, DbError> = (0..20).map(make).collect();
        over.store(true, Ordering::Relaxed);
        made
    });
    assert_eq!(made.unwrap().len(), 20);
}

pub(crate) fn new(email: &str) -> NewUser<'_> {
    NewUser { email, password_hash: "$argon2id$secret", role: Role::User, demo: true }
}

fn users_have_unique_addresses_and_numbers(database: &Database) {
    let make = |email: &str| database.write_durably(|c| users::create(c, &new(email), Timestamp(5)));
    assert_eq!(make("a@example.org").unwrap().id, AccountId::FIRST_USER);
    assert!(matches!(make("a@example.org"), Err(DbError::Taken)));
    assert_eq!(make("b@example.org").unwrap().id, AccountId(3));
    // Numbers that the log knows are never given again, also when they are below those given here.
    for (newest, expected) in [(2, 4), (4, 5), (90, 91), (91, 92), (7, 93)] {
        database.write_durably(|c| users::begin_above(c, AccountId(newest))).unwrap();
        assert_eq!(make(&format!("{newest}@example.org")).unwrap().id, AccountId(expected));
    }
    // Nor do they become anybody's when the database gives them all the same.
    let make_from = |email: &str, first: u32| {
        database.write_durably(|c| users::create_from(c, &new(email), AccountId(first), Timestamp(5))).unwrap()
    };
    assert_eq!(make_from("lost@example.org", 200), None);
    assert!(database.read(|c| users::by_email(c, "lost@example.org")).unwrap().is_none());
    database.write_durably(|c| users::begin_above(c, AccountId(199))).unwrap();
    assert_eq!(make_from("lost@example.org", 200).unwrap().id, AccountId(200));
    assert_eq!(make_from("next@example.org", 200).unwrap().id, AccountId(201));
    let found = database.read(|c| users::by_email(c, "b@example.org")).unwrap().unwrap();
    assert_eq!((found.user.id, found.user.role, found.user.demo), (AccountId(3), Role::User, true));
    assert!(database.write(|c| users::set_role(c, AccountId(3), Role::Admin)).unwrap());
    assert_eq!(database.read(|c| users::by_id(c, AccountId(3))).unwrap().unwrap().role, Role::Admin);
}

fn sessions_end(database: &Database) {
    let user = database.write_durably(|c| users::create(c, &new("a@example.org"), Timestamp(5))).unwrap().id;
    let session = |last_used| Session {
        id: SessionId::random(),
        user,
        created_at: Timestamp(10),
        expires_at: Timestamp(1_000),
        revoked_at: None,
        last_used: Timestamp(last_used),
        user_agent: "a browser".into(),
        token_expires_at: Timestamp(500),
        refresh_number: Some(0),
        address: "192.0.2.1".into(),
    };
    let (first, second) = (session(10), session(11));
    database.write_durably(|c| sessions::create(c, &first).and_then(|()| sessions::create(c, &second))).unwrap();
    let unknown = Session { user: AccountId(99), ..session(12) };
    assert!(database.write_durably(|c| sessions::create(c, &unknown)).is_err());

    database.write(|c| sessions::revoke(c, first.id, Timestamp(20))).unwrap();
    assert_eq!(database.read(|c| sessions::live_of(c, user, Timestamp(30), 9)).unwrap(), std::slice::from_ref(&second));
    let refresh =
        |number| database.write(|c| sessions::refreshed(c, &second, number, Timestamp(600), Timestamp(35))).unwrap();
    assert_eq!((refresh(1), refresh(0), refresh(0), refresh(1)), (false, true, false, true));
    // What nobody was told of is taken back, and nothing else.
    let take_back = |number| database.write(|c| sessions::take_back(c, second.id, number)).unwrap();
    take_back(0);
    take_back(1);
    assert_eq!(database.read(|c| sessions::by_id(c, second.id)).unwrap().unwrap().refresh_number, Some(1));
    let kept = database.write_durably(|c| sessions::revoke_all_of(c, user, Some(second.id), Timestamp(40))).unwrap();
    assert_eq!(kept, []);
    let ended = database.write_durably(|c| sessions::revoke_all_of(c, user, None, Timestamp(40))).unwrap();
    assert_eq!(ended, [(second.id, Timestamp(600))]);
    let known = |lately, now| {
        database.read(|c| sessions::revoked(c, Timestamp(30), Timestamp(lately), Timestamp(now))).unwrap()
    };
    assert_eq!(known(50, 50), ended);
    assert_eq!(known(39, 700), ended, "its sockets may be open still");
    assert_eq!(known(50, 700), []);
    assert_eq!(database.write(|c| sessions::remove_expired(c, Timestamp(2_000))).unwrap(), 2);
}

/// A client that signs in for each request ends its own sessions, not that of a phone that lies about.
fn of_too_many_sessions_those_end_that_were_not_used_for_longest(database: &Database) {
    let user = database.write_durably(|c| users::create(c, &new("a@example.org"), Timestamp(5))).unwrap().id;
    let begin = |agent: &str, last_used, expires_at| {
        let session = Session {
            id: SessionId::random(),
            user,
            created_at: Timestamp(10),
            expires_at: Timestamp(expires_at),
            revoked_at: None,
            last_used: Timestamp(last_used),
            user_agent: agent.into(),
            token_expires_at: Timestamp(500),
            refresh_number: None,
            address: "192.0.2.1".into(),
        };
        database.write_durably(|c| sessions::create(c, &session)).unwrap();
        session
    };
    let (phone, over) = (begin("a phone", 11, 1_000), begin("a bot", 10, 30));
    let bots = [13, 12, 14].map(|last_used| begin("a bot", last_used, 1_000));
    let begun = begin("a bot", 20, 1_000);
    let end = |most| -> Vec<SessionId> {
        let ended = database.write_durably(|c| sessions::end_beyond(c, &begun, most, Timestamp(40))).unwrap();
        ended.into_iter().map(|(id, _)| id).collect()
    };
    assert_eq!(end(5), []);
    assert_eq!(end(4), [bots[1].id]);
    assert_eq!(end(1), [bots[0].id, bots[2].id, phone.id]);
    let live = database.read(|c| sessions::live_of(c, user, Timestamp(40), 9)).unwrap();
    assert_eq!(database.read(|c| sessions::count_live(c, user, Timestamp(40))).unwrap(), 1);
    assert_eq!(live, std::slice::from_ref(&begun));
    let kept = database.read(|c| sessions::by_id(c, over.id)).unwrap().unwrap();
    assert_eq!(kept.revoked_at, None, "what has expired has ended by itself");
}

fn what_was_proved_counts_while_it_holds(database: &Database) {
    let user = database.write_durably(|c| users::create(c, &new("a@example.org"), Timestamp(5))).unwrap().id;
    let enter = |proved: Option<&str>| database.write(|c| users::signed_in(c, user, proved, Timestamp(9))).unwrap();
    let old = "$argon2id$secret";
    assert!(enter(None) && enter(Some(old)) && !enter(Some("$argon2id$other")));
    assert_eq!(database.read(|c| users::by_id(c, user)).unwrap().unwrap().last_sign_in_at, Some(Timestamp(9)));
    assert!(!database.write(|c| users::signed_in(c, AccountId(99), None, Timestamp(9))).unwrap());
    let replace = |proved: &str, new: &str| database.write(|c| users::replace_password(c, user, proved, new)).unwrap();
    assert!(replace(old, "$argon2id$new") && !replace(old, "$argon2id$newer"));
    assert_eq!(database.read(|c| users::credentials(c, user)).unwrap().unwrap().password_hash, "$argon2id$new");
    assert!(!enter(Some(old)) && enter(Some("$argon2id$new")));
    let has = |hash: &str| database.write(|c| users::has_password(c, user, hash)).unwrap();
    assert!(!has(old) && has("$argon2id$new"));

    // A change that is under way is waited for, and then counts.
    let (begun, change) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let changed = database.write(|c| {
                users::set_password(c, user, "$argon2id$newest")?;
                users::set_role(c, user, Role::Support)?;
                begun.send(()).unwrap();
                std::thread::sleep(Duration::from_millis(300));
                Ok(())
            });
            changed.unwrap();
        });
        change.recv().unwrap();
        assert!(!has("$argon2id$new") && !enter(Some("$argon2id$new")));
        let role = database.write(|c| {
            users::signed_in(c, user, None, Timestamp(9))?;
            users::by_id(c, user)
        });
        assert_eq!(role.unwrap().unwrap().role, Role::Support);
    });

    // Who was made a moment ago is removed with its session; whoever has left more is not.
    let session = Session {
        id: SessionId::random(),
        user,
        created_at: Timestamp(10),
        expires_at: Timestamp(1_000),
        revoked_at: None,
        last_used: Timestamp(10),
        user_agent: String::new(),
        token_expires_at: Timestamp(500),
        refresh_number: None,
        address: String::new(),
    };
    database.write(|c| sessions::create(c, &session)).unwrap();
    let again = Session { id: SessionId::random(), ..session.clone() };
    assert!(!database.write(|c| users::came_in_again(c, user)).unwrap());
    database.write(|c| sessions::create(c, &again)).unwrap();
    assert!(database.write(|c| users::came_in_again(c, user)).unwrap());
    let seed = |c: &mut Connection| agora::persistence::second_factors::begin_totp(c, user, &[1]);
    database.write(seed).unwrap();
    assert!(database.write(|c| users::remove(c, user)).is_err());
    assert!(database.read(|c| sessions::by_id(c, session.id)).unwrap().is_some());
    database.write(|c| agora::persistence::second_factors::remove_totp(c, user)).unwrap();
    database.write(|c| users::remove(c, user)).unwrap();
    assert_eq!(database.read(|c| users::by_id(c, user)).unwrap(), None);
    assert_eq!(database.read(|c| sessions::by_id(c, session.id)).unwrap(), None);
}

fn a_failed_transaction_changes_nothing(database: &Database) {
    let failed = database.write(|c| {
        users::create(c, &new("a@example.org"), Timestamp(5))?;
        diesel::sql_query("SELECT no_such_column").execute(c).map(drop)
    });
    assert!(matches!(failed, Err(DbError::Query(_))), "{failed:?}");
    assert!(database.read(|c| users::by_email(c, "a@example.org")).unwrap().is_none());
    // The connection is as good as before.
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        database.write(|_| -> QueryResult<()> { panic!("in the middle of a transaction") })
    }));
    assert!(panicked.is_err());
    for n in 0..8 {
        let email = format!("{n}@example.org");
        database.write(|c| users::create(c, &new(&email), Timestamp(5))).unwrap();
    }
}

fn nodes_migrate_one_after_the_other(server: &Postgres) {
    let mut options = Options::new(Target::Postgres(Url::parse(&server.create_database("migrations")).unwrap()));
    options.statement_timeout = Duration::from_millis(200);
    let connect = || {
        std::thread::spawn({
            let options = options.clone();
            move || Database::connect(&options).unwrap()
        })
    };
    let nodes: Vec<Database> = [connect(), connect(), connect()].map(|node| node.join().unwrap()).into();
    let pause = |c: &mut Connection| diesel::sql_query("SELECT pg_sleep(5)").execute(c).map(drop);
    for node in nodes {
        assert!(node.read(|c| users::by_email(c, "a@example.org")).unwrap().is_none());
        assert!(matches!(node.read(pause), Err(DbError::Query(_))), "a statement has a time limit");
    }
}
