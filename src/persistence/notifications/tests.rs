use super::*;
use crate::domain::ids::{CurrencyId, OrderId, TradeId};
use crate::domain::money::Amount;
use crate::persistence::db::Database;
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
        self.database.write(|conn| put_outlet(conn, &row)).unwrap();
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
    let room = Room { most: 2, most_of_user: 2, taken: FxHashMap::default() };
    let taken = scene.database.write(|conn| take_due(conn, Timestamp(5), Timestamp(6), "security", room)).unwrap();
    let events: Vec<&str> = taken.iter().map(|taken| taken.event.as_str()).collect();
    assert_eq!(events, ["security", "fill"]);
}

#[test]
fn what_is_to_go_first_does_so_however_old_the_rest_is() {
    let scene = Outlets::new();
    scene.put("line", "fill,security");
    scene.tell("fill", 3);
    scene.tell("security", 1);
    let take = |most: usize, now: i64| {
        let room = Room { most, most_of_user: most, taken: FxHashMap::default() };
        let (now, again) = (Timestamp(now), Timestamp(now + 100));
        let taken = scene.database.write(|conn| take_due(conn, now, again, "security", room)).unwrap();
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
    let room = Room { most: 2, most_of_user: 2, taken: FxHashMap::default() };
    let (now, again) = (Timestamp(5), Timestamp(6));
    let taken = scene.database.write(|conn| take_due(conn, now, again, "security", room)).unwrap();
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
