//! One market as its readers see it: what they begin with, and what they get after a hole.

use super::*;
use crate::domain::ids::MarketId;
use crate::http::ws::examples::{market, picture, said, session, update};
use serde_json::json;

/// A new reader of one channel.
fn reader(feed: &mut MarketFeed, id: u64, channel: Channel) -> Rc<Session> {
    let (session, new) = (session(id), BTreeSet::from([channel]));
    assert!(feed.join(&session, &new, &new, false));
    session
}

/// The numbers of the trades that a reader's tickers are of.
fn trades(session: &Session) -> Vec<u64> {
    said(session).iter().map(|ticker| ticker["trade_id"].as_u64().unwrap()).collect()
}

#[test]
fn gathered_levels_are_not_older_than_the_snapshot_of_whoever_gets_them() {
    let mut feed = MarketFeed::new(market(), picture(1, 1, None));
    let level = |lots| vec![(Side::Buy, Price(100), Size(lots))];
    let first = reader(&mut feed, 1, Channel::Level2Batch);
    feed.update(&update(2, level(5)));
    feed.leave(&first, &BTreeSet::from([Channel::Level2Batch]), &BTreeSet::new());
    // Nobody reads them now.
    feed.update(&update(3, level(0)));
    let second = reader(&mut feed, 2, Channel::Level2Batch);
    feed.flush_levels();
    let told = said(&second);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["type"], &told[0]["bids"]), (&json!("snapshot"), &json!([])));
    feed.update(&update(4, level(7)));
    feed.flush_levels();
    let told = said(&second);
    assert_eq!((told.len(), &told[0]["type"], &told[0]["sequence"]), (1, &json!("l2update"), &json!(4)));
}

#[test]
fn a_reader_of_events_that_has_got_none_yet_knows_where_it_began() {
    let mut feed = MarketFeed::new(market(), picture(1, 7, None));
    let full = reader(&mut feed, 1, Channel::Full);
    assert!(said(&full).is_empty());
    assert_eq!(full.outbox.delivered(), [(MarketId(0), 7)]);
    feed.update(&update(8, Vec::new()));
    // Another channel does not begin anew.
    let (new, both) = (BTreeSet::from([Channel::Matches]), BTreeSet::from([Channel::Full, Channel::Matches]));
    assert!(feed.join(&full, &new, &both, false));
    assert_eq!(said(&full).len(), 1);
    assert_eq!(full.outbox.delivered(), [(MarketId(0), 8)]);
}

/// Notes what it has missed.
#[derive(Debug, Default)]
struct Noted(RefCell<Vec<Missed>>);

impl Listener for Noted {
    fn changed(&self, _: &MarketFeed, _: &Arc<Update>) {}

    fn restarted(&self, _: &MarketFeed, missed: Missed) {
        self.0.borrow_mut().push(missed);
    }

    fn ended(&self, _: &MarketFeed) {}
}

#[test]
fn a_trade_that_was_missed_is_told_by_the_ticker() {
    let mut feed = MarketFeed::new(market(), picture(1, 1, Some(1)));
    let fast = reader(&mut feed, 1, Channel::Ticker);
    let slow = reader(&mut feed, 2, Channel::TickerBatch);
    let noted = Rc::new(Noted::default());
    let listener: Rc<dyn Listener> = noted.clone();
    feed.listen(&listener);
    assert_eq!((trades(&fast), trades(&slow)), (vec![1], vec![1]));

    assert!(feed.restart(picture(9, 5, Some(3))).is_empty());
    assert_eq!((trades(&fast), trades(&slow)), (vec![3], vec![]));
    // The slow one gets it in its turn, also when the data were rebuilt again before that.
    feed.restart(picture(10, 6, Some(3)));
    feed.flush_tickers();
    assert_eq!((trades(&fast), trades(&slow)), (vec![], vec![3]));
    feed.restart(picture(10, 6, Some(3)));
    feed.flush_tickers();
    assert_eq!((trades(&fast), trades(&slow)), (vec![], vec![]));
    let missed = |changes, trade| Missed { changes, trade };
    assert_eq!(*noted.0.borrow(), [missed(true, true), missed(true, false), missed(false, false)]);
}
