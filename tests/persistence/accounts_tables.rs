//! The tables of accounts, on either database.

use crate::new;
use agora::domain::ids::AccountId;
use agora::domain::time::{DAY, HOUR, MINUTE, SECOND, Timestamp};
use agora::persistence::api_keys::{self, KeyUse, StoredKey};
use agora::persistence::audit::{self, Entry, Filter};
use agora::persistence::db::{Connection, Database, DbError};
use agora::persistence::notifications::{self, OutletRow};
use agora::persistence::runtime_config::{self, Version};
use agora::persistence::{addresses, identities, mailed_codes, second_factors, users};
use diesel::connection::SimpleConnection;
use serde_json::json;

/// Makes the table of confirmed addresses and fills it with those that are known to be read, on either database; and
/// takes it away.
const CONFIRMED: [(&str, &str); 2] = [
    (
        include_str!("../../migrations/sqlite/2026-11-26-000100_create_confirmed_addresses/up.sql"),
        include_str!("../../migrations/sqlite/2026-11-26-000100_create_confirmed_addresses/down.sql"),
    ),
    (
        include_str!("../../migrations/postgres/2026-11-26-000100_create_confirmed_addresses/up.sql"),
        include_str!("../../migrations/postgres/2026-11-26-000100_create_confirmed_addresses/down.sql"),
    ),
];

fn user(database: &Database, email: &str) -> AccountId {
    database.write(|c| users::create(c, &new(email), Timestamp(5))).unwrap().id
}

pub fn keys_codes_and_factors(database: &Database) {
    let (ada, bob) = (user(database, "ada_x@example.org"), user(database, "adaxx@example.org"));
    let key = StoredKey {
        id: "k1".into(),
        user_id: i64::from(ada.0),
        label: "bot".into(),
        secret: vec![1, 2, 3],
        passphrase: vec![4],
        scopes: "view,trade".into(),
        networks: String::new(),
        created_at: 10,
        expires_at: Some(99),
        revoked_at: None,
        last_used: None,
        last_used_from: None,
    };
    database.write_durably(|c| api_keys::create(c, &key)).unwrap();
    assert!(matches!(database.write(|c| api_keys::create(c, &key)), Err(DbError::Taken)));
    let used = KeyUse { id: "k1".into(), at: Timestamp(20), from: "192.0.2.1".into() };
    database.write(|c| api_keys::used(c, &[used])).unwrap();
    let found = database.read(|c| api_keys::by_id(c, "k1")).unwrap().unwrap();
    let expected = StoredKey { last_used: Some(20), last_used_from: Some("192.0.2.1".into()), ..key };
    assert_eq!(found, expected);
    assert_eq!(database.read(|c| api_keys::count_of(c, ada)).unwrap(), 1);
    assert!(!database.write(|c| api_keys::revoke(c, bob, "k1", Timestamp(30))).unwrap());
    assert!(database.write(|c| api_keys::revoke(c, ada, "k1", Timestamp(30))).unwrap());
    assert_eq!(database.read(|c| api_keys::revoked_since(c, Timestamp(30))).unwrap(), ["k1"]);
    assert_eq!(database.read(|c| api_keys::revoked_since(c, Timestamp(31))).unwrap(), Vec::<String>::new());
    assert_eq!(database.read(|c| api_keys::of_user(c, ada)).unwrap(), []);

    // Signs that mean something to LIKE mean themselves.
    let search = |text: &str| database.read(|c| users::search(c, text, AccountId(0), 9)).unwrap().len();
    assert_eq!((search("ADA"), search("a_x@"), search("%"), search("\\")), (2, 1, 0, 0));
    database.write(|c| users::set_profile(c, ada, "Ada", "https://example.org/a.png")).unwrap();
    database.write(|c| users::set_frozen(c, ada, true)).unwrap();
    let shown = database.read(|c| users::by_id(c, ada)).unwrap().unwrap();
    assert_eq!((shown.name.as_str(), shown.photo.as_str(), shown.frozen), ("Ada", "https://example.org/a.png", true));

    for code in [[1], [2]] {
        database.write(|c| mailed_codes::put(c, ada, "reset", &code, Timestamp(50))).unwrap();
    }
    database.write(|c| mailed_codes::missed(c, ada, "reset")).unwrap();
    let code = database.read(|c| mailed_codes::get(c, ada, "reset")).unwrap().unwrap();
    assert_eq!((code.code, code.attempts, code.expires_at), (vec![2], 1, Timestamp(50)));
    database.write(|c| mailed_codes::remove(c, ada, "reset")).unwrap();
    assert_eq!(database.read(|c| mailed_codes::get(c, ada, "reset")).unwrap(), None);

    for seed in [[1], [2]] {
        database.write(|c| second_factors::begin_totp(c, ada, &seed)).unwrap();
    }
    let step = |seed: u8, step| database.write(|c| second_factors::use_step(c, ada, &[seed], step)).unwrap();
    assert!(!step(2, 7), "it is not asked for yet");
    // Of the seed in whose place there is another one by now, no code counts; nor does a second one confirm anything.
    let confirm = |seed: u8| {
        database.write(|c| second_factors::confirm_totp(c, ada, ([seed].as_slice(), 6), &[vec![1], vec![2]])).unwrap()
    };
    assert_eq!((confirm(1), confirm(2), confirm(2)), (false, true, false));
    assert_eq!((step(2, 6), step(2, 7), step(2, 7), step(2, 8), step(1, 9)), (false, true, false, true, false));
    assert!(matches!(database.write(|c| second_factors::begin_totp(c, ada, &[3])), Err(DbError::Taken)));
    let recover = |code: u8| database.write(|c| second_factors::use_recovery_code(c, ada, &[code])).unwrap();
    assert_eq!((recover(1), recover(1), recover(3)), (true, false, false));
    assert_eq!(database.read(|c| second_factors::totp_of(c, ada)).unwrap().unwrap().secret, [2]);
    database.write(|c| second_factors::remove_totp(c, ada)).unwrap();
    assert_eq!(database.read(|c| second_factors::totp_of(c, ada)).unwrap(), None);

    let link = |subject: &str, user| database.write(|c| identities::link(c, "line", subject, user, Timestamp(9)));
    link("u1", ada).unwrap();
    assert!(matches!(link("u1", bob), Err(DbError::Taken)), "one user for an identity");
    assert!(matches!(link("u2", ada), Err(DbError::Taken)), "one identity at a provider");
    assert_eq!(database.read(|c| identities::user_of(c, "line", "u1")).unwrap(), Some(ada));
    assert_eq!(database.read(|c| identities::of_user(c, ada)).unwrap(), [("line".into(), "u1".into(), 9)]);
    assert!(database.write(|c| identities::unlink(c, "line", ada)).unwrap());
    assert_eq!(database.read(|c| identities::user_of(c, "line", "u1")).unwrap(), None);
}

pub fn the_audit_log_and_settings(database: &Database) {
    let (ada, bob) = (user(database, "a@example.org"), user(database, "b@example.org"));
    for (action, actor, subject) in [("one", ada, ada), ("two", bob, ada), ("three", bob, bob)] {
        let address = "192.0.2.1".parse().ok();
        let (actor, subject) = (Some(actor), Some(subject));
        let entry = Entry { action, actor, subject, address, detail: json!({"before": 1}) };
        database.write_durably(|c| audit::record(c, &entry, Timestamp(7))).unwrap();
    }
    let list = |filter: Filter| -> Vec<String> {
        let rows = database.read(|c| audit::list(c, &Filter { limit: 9, ..filter })).unwrap();
        rows.into_iter().map(|row| row.action).collect()
    };
    assert_eq!(list(Filter::default()), ["three", "two", "one"]);
    assert_eq!(list(Filter { subject: Some(ada), ..Filter::default() }), ["two", "one"]);
    assert_eq!(list(Filter { actor: Some(bob), subject: Some(ada), ..Filter::default() }), ["two"]);
    assert_eq!(list(Filter { action: Some("one".into()), ..Filter::default() }), ["one"]);
    let newest = database.read(|c| audit::list(c, &Filter { limit: 1, ..Filter::default() })).unwrap();
    assert_eq!((newest[0].address.as_str(), newest[0].detail.as_str()), ("192.0.2.1", r#"{"before":1}"#));
    assert_eq!(list(Filter { below: Some(newest[0].id), ..Filter::default() }), ["two", "one"]);
    assert_eq!(list(Filter { above: Some(newest[0].id), ..Filter::default() }), Vec::<String>::new());

    let set = |key: &str, version, value: &str| {
        let (key, value) = (key.to_owned(), value.to_owned());
        let row = Version { key, version, value, set_at: 1, set_by: None };
        database.write_durably(|c| runtime_config::add(c, &row))
    };
    assert_eq!(database.read(runtime_config::current).unwrap(), []);
    set("a", 1, "1").unwrap();
    set("b", 1, "2").unwrap();
    set("a", 2, "3").unwrap();
    assert!(matches!(set("a", 2, "4"), Err(DbError::Taken)), "two that have seen the same version collide");
    let current = database.read(runtime_config::current).unwrap();
    assert_eq!(current.iter().map(|row| row.value.as_str()).collect::<Vec<_>>(), ["3", "2"]);
    assert_eq!(database.read(|c| runtime_config::history(c, "a", 9)).unwrap().len(), 2);
    assert_eq!(database.read(|c| runtime_config::newest(c, "c")).unwrap(), 0);
}

pub fn addresses_known_to_be_read_are_confirmed(database: &Database) {
    let cases = [
        ("plain@example.org", "sign_up", json!({"device": "a browser"}), false),
        ("word@example.org", "sign_up", json!({"device": "provider"}), false),
        ("field@example.org", "sign_up", json!({"device": r#""provider":"x""#}), false),
        ("other@example.org", "sign_in", json!({"provider": "corp"}), false),
        ("vouched@example.org", "sign_up", json!({"device": "a browser", "provider": "corp"}), true),
        ("changed@example.org", "email_changed", json!({"before": "x", "after": "y"}), true),
        ("reset@example.org", "password_reset", json!({}), true),
        ("line.1@users.invalid", "sign_up", json!({"device": "a browser", "provider": "line"}), false),
    ];
    let mut users = Vec::new();
    for (email, action, detail, _) in &cases {
        let user = user(database, email);
        let detail = detail.clone();
        let entry = Entry { action, actor: Some(user), subject: Some(user), address: None, detail };
        database.write(|c| audit::record(c, &entry, Timestamp(7))).unwrap();
        users.push(user);
    }
    let kind = database.read(|c| Ok(usize::from(matches!(c, Connection::Postgres(_))))).unwrap();
    let (up, down) = CONFIRMED[kind];
    database.write(|c| c.batch_execute(down)).unwrap();
    database.write(|c| c.batch_execute(up)).unwrap();
    for (user, (email, _, _, is_known)) in users.into_iter().zip(cases) {
        let confirmed = database.read(|c| addresses::confirmed(c, user)).unwrap();
        assert_eq!(confirmed.as_deref(), is_known.then_some(email), "{email}");
    }
}

/// Nodes that share a database have its clock beside their own.
pub fn a_node_whose_clock_is_behind_takes_nothing_from_others(database: &Database) {
    let user = user(database, "a@example.org");
    let row = OutletRow {
        user_id: i64::from(user.0),
        kind: "webhook".into(),
        target: "https://example.org".into(),
        secret: vec![1],
        events: "fill".into(),
    };
    let now = agora::clock::now();
    let behind = now + -7 * HOUR;
    let enqueued = database.write(|c| {
        notifications::put_outlet(c, &row, false)?;
        notifications::enqueue(c, user, "fill", "{}", now)
    });
    assert_eq!(enqueued.unwrap(), 1);
    let any_due = |now| database.read(|c| notifications::is_any_due(c, now)).unwrap();
    let take = |now: Timestamp| {
        let way = notifications::Way::Web;
        let room = notifications::Room { way, free: 9, most_of_user: 9, taken: Default::default() };
        let taken = database.write(|c| {
            notifications::mend_dates(c, now)?;
            notifications::take_due(c, now, now + 2 * MINUTE, "security", room)
        });
        taken.unwrap().iter().map(|taken| (taken.id, taken.attempts)).collect::<Vec<_>>()
    };
    assert!(take(behind).is_empty(), "it is not due yet by this clock");
    let taken = take(now);
    let [(id, 0)] = taken[..] else { panic!("{taken:?}") };
    assert_eq!((any_due(behind), take(behind)), (false, vec![]), "another node is sending it");
    let again = now + 20 * SECOND;
    database.write(|c| notifications::failed(c, id, "no answer", Some(again))).unwrap();
    assert_eq!((any_due(behind), take(behind)), (false, vec![]), "it was put off");
    assert_eq!(take(again), [(id, 1)]);
    // What a clock that was ahead has dated is due at once, as ever.
    assert_eq!(take(now + DAY), [(id, 1)]);
    assert!(any_due(now));
    assert_eq!(take(now), [(id, 1)]);
}

pub fn what_nobody_takes_is_kept_and_can_be_tried_again(database: &Database) {
    let user = user(database, "a@example.org");
    let row = OutletRow {
        user_id: i64::from(user.0),
        kind: "webhook".into(),
        target: "https://example.org".into(),
        secret: vec![1],
        events: "fill,security".into(),
    };
    for _ in 0..2 {
        database.write(|c| notifications::put_outlet(c, &row, false)).unwrap();
    }
    // A change that is under way is waited for: a secret that it renews stays.
    let (begun, change) = std::sync::mpsc::channel();
    let with = |secret: u8| OutletRow { secret: vec![secret], ..row.clone() };
    std::thread::scope(|scope| {
        let renewed = with(2);
        scope.spawn(move || {
            let changed = database.write(|c| {
                let is_new = notifications::put_outlet(c, &renewed, true)?;
                begun.send(()).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(300));
                Ok(is_new)
            });
            assert!(changed.unwrap());
        });
        change.recv().unwrap();
        assert!(!database.write(|c| notifications::put_outlet(c, &with(3), false)).unwrap());
    });
    assert_eq!(database.read(|c| notifications::outlets_of(c, user)).unwrap(), [with(2)]);
    let enqueue = |event: &str| database.write(|c| notifications::enqueue(c, user, event, "{}", Timestamp(1_000)));
    assert_eq!((enqueue("transfer").unwrap(), enqueue("fill").unwrap()), (0, 1), "only what is wanted");
    let asked = vec![i64::from(user.0), 99];
    assert_eq!(database.read(|c| notifications::listeners(c, "fill", asked)).unwrap(), [i64::from(user.0)]);
    let take_into = |at: i64, most: usize, most_of_user: usize, under_way: &[(i64, usize)]| {
        let taken = under_way.iter().map(|(_, count)| count).sum::<usize>();
        let room = notifications::Room {
            way: notifications::Way::Web,
            free: most - taken,
            most_of_user,
            taken: under_way.iter().copied().collect(),
        };
        let (now, again) = (Timestamp(at), Timestamp(at + 100));
        database.write(|c| notifications::take_due(c, now, again, "security", room)).unwrap()
    };
    let take = |at: i64| take_into(at, 10, 10, &[]);
    assert!(take(999).is_empty());
    let taken = take(1_000);
    assert_eq!((taken.len(), taken[0].attempts), (1, 0));
    assert!(take(1_050).is_empty(), "another node leaves it alone");
    assert_eq!(take(1_100).len(), 1, "whoever took it has died");
    database.write(|c| notifications::failed(c, taken[0].id, "no answer", None)).unwrap();
    assert!(take(9_999).is_empty());
    let kept = database.read(|c| notifications::given_up(c, user)).unwrap();
    assert_eq!((kept[0].attempts, kept[0].last_error.as_str()), (1, "no answer"));
    let retry = |user, at| database.write(|c| notifications::retry(c, user, kept[0].id, Timestamp(at))).unwrap();
    assert!(!retry(AccountId(99), 10_000), "it is another user's");
    assert!(retry(user, 10_000));
    let again = take(10_000);
    assert_eq!(again[0].attempts, 0);
    database.write(|c| notifications::arrived(c, again[0].id)).unwrap();
    assert!(take(99_999).is_empty());

    // Nobody takes the room of others, however much is due earlier.
    let other = self::user(database, "b@example.org");
    database
        .write(|c| notifications::put_outlet(c, &OutletRow { user_id: i64::from(other.0), ..row.clone() }, false))
        .unwrap();
    for at in 0..6 {
        let to = if at == 5 { other } else { user };
        database.write(|c| notifications::enqueue(c, to, "fill", "{}", Timestamp(at))).unwrap();
    }
    let (one, two) = (i64::from(user.0), i64::from(other.0));
    let users = |taken: Vec<notifications::Delivery>| taken.iter().map(|taken| taken.user_id).collect::<Vec<_>>();
    assert_eq!(users(take_into(10, 4, 4, &[(one, 4)])), [0_i64; 0], "there is no room");
    assert_eq!(users(take_into(10, 6, 4, &[(one, 4)])), [two]);
    assert_eq!(users(take_into(110, 4, 2, &[(one, 1)])), [one, two]);
    assert_eq!(users(take_into(210, 4, 4, &[])), [one, one, one, one]);

    // Of what was given up the newest are kept, and those for a time.
    for at in 0..notifications::MOST_GIVEN_UP + 5 {
        database.write(|c| notifications::enqueue(c, other, "fill", "{}", Timestamp(1_000 + at))).unwrap();
    }
    for delivery in take_into(2_000, 200, 200, &[]).iter().filter(|taken| taken.user_id == two) {
        database.write(|c| notifications::failed(c, delivery.id, "no answer", None)).unwrap();
    }
    let kept = || {
        let kept = database.read(|c| notifications::given_up(c, other)).unwrap();
        (kept.len(), kept.last().map(|oldest| oldest.created_at))
    };
    let forget = |user, limit| database.write(|c| notifications::forget_given_up(c, user, Timestamp(limit))).unwrap();
    forget(one, 0);
    let newest = database.read(|c| notifications::given_up(c, other)).unwrap()[0].id;
    forget(two, 0);
    assert_eq!(kept(), (100, Some(1_005)));
    database.write(|c| notifications::retry(c, other, newest, Timestamp(2_000))).unwrap();
    assert_eq!(kept(), (99, Some(1_005)), "nothing older was there any more");
    forget(one, 1_010);
    assert_eq!(kept(), (94, Some(1_010)));

    // Two nodes that read the same source do not both move on.
    let advance = |from, to| database.write(|c| notifications::advance(c, "x", from, to)).unwrap();
    assert_eq!((advance(None, 5), advance(Some(5), 7), advance(Some(5), 7)), (true, true, false));
    assert_eq!(database.read(|c| notifications::position(c, "x")).unwrap(), Some(7));

    let market = agora::domain::ids::MarketId(0);
    for (above, price) in [(true, 100), (true, 200), (false, 50), (false, 10)] {
        let add = |c: &mut _| notifications::add_alert(c, user, market, (above, price), 4, Timestamp(60 * SECOND));
        assert!(database.write(add).unwrap());
    }
    let full = |c: &mut _| notifications::add_alert(c, user, market, (true, 1), 4, Timestamp(60 * SECOND));
    assert!(!database.write(full).unwrap());
    let set_off = |trades: &[(i64, i64)]| {
        let trades: Vec<_> = trades.iter().map(|(at, price)| (Timestamp(*at * SECOND), *price)).collect();
        let mut alerts = database.write(|c| notifications::set_off(c, 0, &trades, Timestamp(64 * SECOND))).unwrap();
        alerts.sort_by_key(|(alert, _)| alert.price);
        alerts.iter().map(|(alert, price)| (alert.above, alert.price, *price)).collect::<Vec<_>>()
    };
    let none: [(bool, i64, i64); 0] = [];
    assert_eq!(set_off(&[]), none);
    // What was traded before an alert was set sets it off no more; but clocks differ a little.
    assert_eq!(set_off(&[(0, 5), (54, 250), (60, 99)]), none);
    assert_eq!(set_off(&[(0, 5), (56, 40), (61, 150), (62, 120), (63, 60)]), [(false, 50, 40), (true, 100, 150)]);
    assert_eq!(database.read(|c| notifications::alerts_of(c, user)).unwrap().len(), 2);
}
