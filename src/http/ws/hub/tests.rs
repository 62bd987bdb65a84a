//! What a worker keeps while it waits for something else.

use super::*;
use crate::http::ws::examples::{market, picture};

#[test]
fn a_market_that_is_there_stays_while_another_one_is_waited_for() {
    let (here, other) = (MarketId(0), MarketId(1));
    let mut feed = MarketFeed::new(market(), picture(1, 1, None));
    feed.idle = IDLE_S - 1;
    let mut inner = Inner { feeds: BTreeMap::from([(here, feed)]), ..Inner::default() };
    assert_eq!(inner.missing(&BTreeSet::from([here, other])), [other]);
    assert_eq!(inner.feeds[&here].idle, 0);
    assert!(inner.missing(&BTreeSet::from([here])).is_empty());
}
