//! Links' tables: limits of clicks, what is searched for, what clicks leave behind; on both databases.

use agora::domain::ids::AccountId;
use agora::domain::link::edit::blank;
use agora::domain::link::visitor::OTHER;
use agora::domain::link::{ClickLimit, Link, LinkId, RedirectCode, State};
use agora::domain::time::{DAY, Timestamp};
use agora::persistence::db::Database;
use agora::persistence::links::clicks::Click;
use agora::persistence::links::search::{self, Filter, Sort};
use agora::persistence::links::stats::{self, Dimension, Grain, Range};
use agora::persistence::links::{rollup, rows};
use std::collections::BTreeMap;

const OWNER: AccountId = AccountId(7);

fn link(id: i64) -> Link {
    let link = blank(LinkId(id), String::new(), format!("slug{id}"), Some(OWNER), Timestamp(1));
    Link { target: "https://example.org/".into(), ..link }
}

pub fn a_limit_that_was_lower_for_a_while_gives_no_click_back(database: &Database) {
    let limited = Link { clicks: Some(ClickLimit { most: 5, left: 5 }), ..link(1) };
    database.write(|conn| rows::insert(conn, &[limited])).unwrap();
    let take = |wanted| database.write(|conn| rows::take(conn, LinkId(1), wanted)).unwrap();
    let limit = |most| {
        database.write(|conn| rows::set_limit(conn, LinkId(1), Some(most))).unwrap();
        database.read(|conn| rows::by_id(conn, LinkId(1))).unwrap().unwrap().link.clicks.unwrap().left
    };
    assert_eq!((take(3), limit(2), take(1), limit(5), take(9)), (3, 0, 0, 2, 2));
}

pub fn of_many_links_to_one_target_only_those_are_read_that_may_be_the_same(database: &Database) {
    let until = |id: i64, end: i64| Link { expires_at: Some(Timestamp(end)), ..link(id) };
    let other = |id: i64| Link {
        starts_at: Some(Timestamp(5)),
        clicks: Some(ClickLimit { most: 5, left: 5 }),
        password_hash: Some("hash".into()),
        ..until(id, 60)
    };
    let mut all: Vec<Link> = (1..=50).map(link).collect();
    all.extend((51..=100).map(|id| until(id, id)));
    all.push(until(101, 60));
    all.push(Link { owner: Some(AccountId(8)), ..until(102, 60) });
    all.push(Link { code: RedirectCode::Moved, ..until(103, 60) });
    all.push(Link { state: State::Deleted, ..until(104, 70) });
    all.extend([other(105), other(106)]);
    database.write(|conn| rows::insert(conn, &all)).unwrap();
    let found = |asked: &[&Link]| {
        let found = database.read(|conn| rows::alike(conn, asked)).unwrap();
        let mut ids: Vec<i64> = found.into_iter().map(|stored| stored.link.id.0).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(found(&[]), [0_i64; 0]);
    assert_eq!(found(&[&link(200)]), [1]);
    assert_eq!(found(&[&until(200, 60), &until(201, 70), &until(202, 1_000)]), [1, 60, 70]);
    assert_eq!(found(&[&other(200)]), [1, 60, 105]);
    assert_eq!(found(&[&Link { target: "https://example.org/1".into(), ..link(200) }]), [0_i64; 0]);
}

pub fn words_are_found_as_they_are_written(database: &Database) {
    let titled = |id, title: &str, notes: &str| Link { title: title.into(), notes: notes.into(), ..link(id) };
    let links = [titled(1, "Über uns", ""), titled(2, "", "Ärger"), titled(3, "Uber", "argh")];
    database.write(|conn| rows::insert(conn, &links)).unwrap();
    let found = |text: &str| -> Vec<i64> {
        let filter = Filter {
            owner: Some(OWNER),
            text: Some(text.into()),
            tag: None,
            state: None,
            domain: None,
            slug: None,
            sort: Sort::Created,
            descending: false,
            after: None,
            count: 10,
        };
        let links = database.read(|conn| search::list(conn, &filter)).unwrap();
        links.iter().map(|stored| stored.link.id.0).collect()
    };
    assert_eq!((found("Über"), found("Ärger"), found("UBER")), (vec![1], vec![2], vec![3]));
}

pub fn made_up_referrers_leave_only_so_many_rows(database: &Database) {
    let click = |number: i64| Click {
        link: LinkId(1),
        at: Timestamp(DAY + number),
        visitor: number,
        referrer: format!("{number}.example"),
        device: "desktop".into(),
        os: "Linux".into(),
        browser: "Firefox".into(),
        language: String::new(),
        country: String::new(),
        bot: String::new(),
        target: String::new(),
    };
    for first in [0_i64, 150, 300] {
        // The first one each time, which has a name.
        let clicks: Vec<Click> = std::iter::once(0).chain(first + 1..first + 150).map(click).collect();
        let after = first.unsigned_abs();
        assert!(database.write(|conn| rollup::add(conn, 9, after, after + 150, &clicks, false)).unwrap());
    }
    for grain in Grain::ALL {
        let range = Range { grain, from: Timestamp(0), to: Timestamp(2 * DAY) };
        let top = database.read(|conn| stats::top(conn, LinkId(1), Dimension::Referrer, range, 1_000)).unwrap();
        let rows: BTreeMap<String, i64> = top.into_iter().collect();
        assert_eq!(rows.len(), rollup::MAX_REFERRERS + 1, "{grain:?}: with the others");
        assert_eq!((rows["0.example"], rows["199.example"]), (3, 1), "{grain:?}");
        assert_eq!(rows.values().sum::<i64>(), 450, "{grain:?}: none is lost");
        assert!(rows[OTHER] > 200, "{grain:?}");
    }
}
