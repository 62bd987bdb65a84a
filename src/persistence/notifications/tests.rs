use super::*;
use crate::domain::event::Fill;
use crate::domain::ids::{CurrencyId, OrderId, TradeId};
use crate::domain::money::{Amount, Price, Size};
use crate::domain::order::Side;
use crate::domain::time::SECOND;
use crate::persistence::db::Database;
use crate::persistence::fills::{self as trades, FillRow};
use crate::persistence::ledger_entries::{self as ledger, Cause, LedgerRow, TradePlace};
use crate::persistence::transfers::TransferKind;
use crate::persistence::users::{NewUser, Role, create};

/// A user's outlets and deliveries, in a database of their own.
struct Outlets {
    database: Database,
    user: AccountId,
    _folder: tempfile::TempDir,
}

impl Outlets {
    fn new() -> Outlets {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let new = NewUser { email: "a@example.org", password_hash: "x", role: Role::User, demo: false };
        let user = database.write(|conn| create(conn, &new, Timestamp(1))).unwrap().id;
        Outlets { database, user, _folder: folder }
    }

    fn put(&self, kind: &str, events: &str) {
        let row = OutletRow {
            user_id: i64::from(self.user.0),
            kind: kind.into(),
            target: String::new(),
            secret: Vec::new(),
            events: events.into(),
        };
        self.database.write(|conn| put_outlet(conn, &row, false)).unwrap();
    }

    /// Takes what is due to go one way, and has it due again at another time.
    fn take(&self, way: Way, free: usize, now: i64, again: i64) -> Vec<Delivery> {
        let room = Room { way, free, most_of_user: free, taken: FxHashMap::default() };
        let take = |conn: &mut Connection| take_due(conn, Timestamp(now), Timestamp(again), "security", room);
        self.database.write(take).unwrap()
    }

    fn tell(&self, event: &str, count: usize) -> usize {
        let told = vec![(self.user, "{}".to_owned()); count];
        self.database.write(|conn| enqueue_all(conn, event, &told, Timestamp(5))).unwrap()
    }

    /// What waits: number, kind, event and when it is due.
    fn waiting(&self) -> Vec<(i64, String, String, Option<i64>)> {
        let columns = (deliveries::id, deliveries::kind, deliveries::event, deliveries::due_at);
        self.database.read(|conn| deliveries::table.order(deliveries::id).select(columns).load(conn)).unwrap()
    }

    fn kinds(&self) -> Vec<(String, String)> {
        self.waiting().into_iter().map(|(_, kind, event, _)| (kind, event)).collect()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(kind, event)| ((*kind).to_owned(), (*event).to_owned())).collect()
}

#[test]
fn what_waits_for_an_outlet_goes_with_it_or_with_the_wish_for_it() {
    let scene = Outlets::new();
    scene.put("line", "fill,security");
    scene.put("webhook", "fill");
    assert_eq!((scene.tell("fill", 1), scene.tell("security", 1), scene.tell("transfer", 1)), (2, 1, 0));
    let line = [("line", "fill"), ("line", "security")];
    assert_eq!(scene.kinds(), pairs(&[line[0], ("webhook", "fill"), line[1]]));
    scene.put("webhook", "fill,transfer");
    assert_eq!(scene.kinds().len(), 3, "it is wanted as before");
    assert!(scene.database.write(|conn| remove_outlet(conn, scene.user, "webhook")).unwrap());
    assert_eq!(scene.kinds(), pairs(&line));
    scene.put("line", "security");
    assert_eq!(scene.kinds(), pairs(&line[1..]));
    scene.put("line", "");
    assert_eq!(scene.kinds(), []);
}

#[test]
fn of_what_waits_for_an_outlet_the_oldest_go() {
    let scene = Outlets::new();
    scene.put("email", "fill");
    scene.put("webhook", "fill");
    let most = MOST_WAITING as usize;
    scene.tell("fill", most + 3);
    scene.tell("fill", 1);
    let kept = scene.waiting();
    assert_eq!(kept.len(), 2 * most);
    let newest = kept.last().map(|(id, ..)| *id).unwrap();
    assert_eq!(kept.first().map(|(id, ..)| *id), Some(newest - 2 * MOST_WAITING + 1));
}

#[test]
fn what_happens_often_pushes_out_nothing_that_happens_seldom() {
    let scene = Outlets::new();
    scene.put("email", "fill,security");
    scene.tell("security", 1);
    let most = MOST_WAITING as usize;
    scene.tell("fill", most + 100);
    let kept = scene.kinds();
    let of = |event: &str| kept.iter().filter(|(_, kept)| kept == event).count();
    assert_eq!((of("security"), of("fill")), (1, most));
    let taken = scene.take(Way::Mail, 2, 5, 6);
    let events: Vec<&str> = taken.iter().map(|taken| taken.event.as_str()).collect();
    assert_eq!(events, ["security", "fill"]);
}

#[test]
fn what_is_to_go_first_does_so_however_old_the_rest_is() {
    let scene = Outlets::new();
    scene.put("line", "fill,security");
    scene.tell("fill", 3);
    scene.tell("security", 1);
    let take = |free: usize, now: i64| {
        let taken = scene.take(Way::Web, free, now, now + 100);
        taken.into_iter().map(|taken| taken.event).collect::<Vec<_>>()
    };
    assert_eq!(take(1, 5), ["security"]);
    assert_eq!(take(8, 5), ["fill", "fill", "fill"], "the other one was taken");
    assert_eq!(take(8, 4), [""; 0], "nothing is due");
}

#[test]
fn what_has_to_wait_waits_together_and_security_apart() {
    let scene = Outlets::new();
    scene.put("email", "fill,security");
    scene.put("line", "fill");
    scene.tell("fill", 2);
    scene.tell("security", 1);
    let taken = scene.take(Way::Mail, 2, 5, 6);
    let fill = taken.last().unwrap();
    assert_eq!((taken.len(), fill.kind.as_str(), fill.event.as_str()), (2, "email", "fill"));
    scene.database.write(|conn| postpone(conn, fill, "security", Timestamp(9))).unwrap();
    let due = |wanted: (&str, &str)| -> Vec<Option<i64>> {
        let all = scene.waiting().into_iter();
        all.filter(|(_, kind, event, _)| (kind.as_str(), event.as_str()) == wanted).map(|(.., due)| due).collect()
    };
    assert_eq!(due(("email", "fill")), [Some(9), Some(9)]);
    assert_eq!(due(("email", "security")), [Some(6)]);
    assert_eq!(due(("line", "fill")), [Some(5), Some(5)]);
}

#[test]
fn the_ledger_is_searched_once_also_where_no_money_moves_in_or_out() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("db")).unwrap();
    let order = OrderId { number: 1, slot: 0 };
    let trade = Cause::Match(TradePlace { market: MarketId(0), order, trade: TradeId(1) });
    let transfer = Cause::Transfer(TransferKind::Deposit, 7);
    let row = |cause| LedgerRow {
        account: AccountId(2),
        currency: CurrencyId(0),
        amount: Amount(5),
        balance: Amount(5),
        cause,
        at: Timestamp(1),
    };
    let after = |id, most| {
        let found = database.read(|conn| transfers_after(conn, id, most)).unwrap();
        (found.moved.iter().map(|(id, ..)| *id).collect::<Vec<i64>>(), found.through, found.more)
    };
    assert_eq!(after(0, 10), (vec![], 0, false));
    let rows = [trade, transfer, trade, transfer, trade].map(row);
    database.write(|conn| ledger::insert(conn, 1, &rows)).unwrap();
    assert_eq!(after(0, 10), (vec![2, 4], 5, false));
    assert_eq!(after(0, 2), (vec![2, 4], 4, true));
    assert_eq!(after(0, 1), (vec![2], 2, true));
    assert_eq!(after(4, 10), (vec![], 5, false), "trades alone move it on too");
    assert_eq!(after(5, 10), (vec![], 5, false));
}

#[test]
fn mail_is_taken_apart_from_what_goes_other_ways() {
    let scene = Outlets::new();
    for kind in ["email", "line", "webhook"] {
        scene.put(kind, "fill");
    }
    scene.tell("fill", 2);
    let take = |way| scene.take(way, 9, 5, 100).into_iter().map(|taken| taken.kind).collect::<Vec<_>>();
    assert_eq!(take(Way::Mail), ["email", "email"]);
    assert_eq!(take(Way::Web), ["line", "webhook", "line", "webhook"]);
}

#[test]
fn what_a_clock_that_was_ahead_has_dated_is_due() {
    let scene = Outlets::new();
    scene.put("line", "fill");
    scene.tell("fill", 1);
    let year = 365 * 24 * HOUR;
    assert_eq!(scene.take(Way::Web, 9, year, year + 1).len(), 1, "the clock is ahead");
    let any_due = |now| scene.database.read(|conn| is_any_due(conn, Timestamp(now))).unwrap();
    let mend = |now| scene.database.write(|conn| mend_dates(conn, Timestamp(now))).unwrap();
    mend(year - LONGEST_WAIT + 1);
    assert!(!any_due(year - LONGEST_WAIT + 1), "it may have been given this time");
    assert!(any_due(9));
    mend(9);
    assert_eq!(scene.take(Way::Web, 9, 9, 10).len(), 1);
    // Nor does an alert of then wait until then.
    let (user, market) = (scene.user, MarketId(0));
    let alert = |conn: &mut Connection| add_alert(conn, user, market, (true, 100), 4, Timestamp(year));
    assert!(scene.database.write(alert).unwrap());
    let now = Timestamp(60 * SECOND);
    let trade = |at: i64| scene.database.write(|conn| set_off(conn, 0, &[(Timestamp(at), 100)], now)).unwrap().len();
    assert_eq!((trade(54 * SECOND), trade(56 * SECOND)), (0, 1));
}

#[test]
fn a_secret_that_was_renewed_stays_whoever_read_it_before() {
    let scene = Outlets::new();
    let mut row = OutletRow {
        user_id: i64::from(scene.user.0),
        kind: "webhook".into(),
        target: "https://example.org/a".into(),
        secret: vec![1],
        events: "fill".into(),
    };
    let put = |row: &OutletRow, renew| {
        let is_new = scene.database.write(|conn| put_outlet(conn, row, renew)).unwrap();
        let stored = scene.database.read(|conn| outlets_of(conn, scene.user)).unwrap();
        (is_new, stored[0].secret.clone(), stored[0].events.clone())
    };
    assert_eq!(put(&row, false), (true, vec![1], "fill".to_owned()));
    row.secret = vec![2];
    assert_eq!(put(&row, true), (true, vec![2], "fill".to_owned()));
    (row.secret, row.events) = (vec![3], "security".into());
    assert_eq!(put(&row, false), (false, vec![2], "security".to_owned()), "only the events are others");
    row.target = "https://example.org/b".into();
    assert_eq!(put(&row, false), (true, vec![3], "security".to_owned()), "it goes elsewhere");
}

#[test]
fn who_listens_is_looked_up_among_those_asked_for() {
    let scene = Outlets::new();
    scene.put("line", "fill,security");
    let user = i64::from(scene.user.0);
    let listeners =
        |event: &str, among: &[i64]| scene.database.read(|conn| listeners(conn, event, among.to_vec())).unwrap();
    assert_eq!(listeners("fill", &[user, 99]), [user]);
    assert_eq!(listeners("fill", &[99]), [0_i64; 0]);
    assert_eq!(listeners("transfer", &[user]), [0_i64; 0]);
}

#[test]
fn of_a_market_that_was_listed_while_people_could_ask_every_trade_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("db")).unwrap();
    let fill = Fill {
        trade: TradeId(7),
        maker: OrderId { number: 1, slot: 0 },
        taker: OrderId { number: 2, slot: 0 },
        maker_account: AccountId(2),
        taker_account: AccountId(3),
        maker_side: Side::Sell,
        price: Price(100),
        size: Size(3),
        base: Amount(30),
        quote: Amount(300),
        maker_fee: Amount(1),
        taker_fee: Amount(2),
    };
    let row = FillRow { market: MarketId(1), at: Timestamp(1), feed_sequence: 1, fill };
    database.write(|conn| trades::insert(conn, &[row])).unwrap();
    let begins = || database.read(|conn| beginning(conn, MarketId(1))).unwrap();
    assert_eq!(begins(), 7, "nobody has been asked yet");
    database.write(|conn| advance(conn, TRANSFERS, None, 5)).unwrap();
    assert_eq!(begins(), 0);
}

#[test]
fn movements_in_a_currency_that_is_not_known_yet_wait_with_what_comes_after_them() {
    let row = |id: i64, currency: i32| (id, 2_i64, currency, "5".to_owned());
    let found = Movements { moved: vec![row(11, 0), row(13, 2), row(14, 1)], through: 20, more: true };
    assert_eq!(found.clone().in_known(3), found);
    let cut = found.clone().in_known(2);
    assert_eq!(cut, Movements { moved: vec![row(11, 0)], through: 12, more: false });
    assert_eq!(found.in_known(0), Movements { moved: Vec::new(), through: 10, more: false });
}
