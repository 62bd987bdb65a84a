//! What a replay makes of the answers of memory.

use super::*;
use crate::domain::examples::{canceled, outcomes_of};
use crate::domain::ids::{AccountId, MarketId};
use crate::http::ws::examples::{market, said, session};
use crate::http::ws::request::Channel;

/// A replay for the user of the examples' orders, who reads this channel.
fn begun(channel: Channel, after: u64) -> Replay {
    let (session, market) = (session(1), market());
    session.user.set(Some(AccountId(7)));
    session.channels.borrow_mut().entry(market.id).or_default().insert(channel);
    Replay::begin(session, market, after)
}

/// A batch of one entry with one event for each of these, of which those that say so are private.
fn batch(entry: u64, feed_before: u64, private: &[bool]) -> Arc<MarketOutcomes> {
    Arc::new(outcomes_of(entry, feed_before, private.iter().map(|private| canceled(*private)).collect()))
}

/// The answer of memory.
fn memory(sequence: u64, whole: bool, batches: &[Arc<MarketOutcomes>]) -> Events {
    Events { applied: Sequence(99), sequence, batches: Some(batches.to_vec()), whole }
}

/// The sequences of what the session is sent now.
fn told(replay: &Replay) -> Vec<Option<u64>> {
    said(&replay.session).iter().map(|message| message["sequence"].as_u64()).collect()
}

#[test]
fn a_node_that_is_behind_the_reader_is_waited_for_and_nothing_comes_again() {
    let mut replay = begun(Channel::Full, 5);
    let third = batch(3, 2, &[false]);
    for _ in 0..3 {
        assert_eq!(replay.take(&memory(3, true, std::slice::from_ref(&third))), Ok(Step::Wait));
    }
    assert!(told(&replay).is_empty());
    let further = [third, batch(4, 3, &[false, false]), batch(5, 5, &[false])];
    assert_eq!(replay.take(&memory(6, true, &further)), Ok(Step::All(Sequence(99))));
    assert_eq!(told(&replay), [Some(6)]);
    assert_eq!(replay.session.outbox.delivered(), [(MarketId(0), 6)]);
}

#[test]
fn an_event_that_does_not_come_is_given_up_and_named_to_resume_from() {
    let mut replay = begun(Channel::Full, 5);
    let behind = memory(3, true, &[]);
    for _ in 0..MOST_BEHIND {
        assert_eq!(replay.take(&behind), Ok(Step::Wait));
    }
    assert_eq!(replay.take(&behind), Err(reasons::TOO_OLD));
    assert!(told(&replay).is_empty());
    assert_eq!(replay.session.outbox.delivered(), [(MarketId(0), 5)]);
}

#[test]
fn private_events_that_memory_lacks_come_before_those_that_it_has() {
    let newer = [batch(8, 5, &[true])];
    let mut replay = begun(Channel::User, 5);
    let lacking = memory(5, false, &newer);
    assert_eq!(replay.take(&lacking), Ok(Step::LookBack));
    // The second one of those in the archive is in memory, too.
    let archived = |at| Archived { sequence: 5, at: Timestamp(at), event: canceled(true) };
    (replay.looked, replay.older) = (Some(5), VecDeque::from([archived(0), archived(1)]));
    assert_eq!(replay.take(&lacking), Ok(Step::All(Sequence(99))));
    assert_eq!(told(&replay), [None, None]);
    // That the archive has none is an answer.
    let mut replay = begun(Channel::User, 5);
    replay.looked = Some(5);
    assert_eq!(replay.take(&memory(5, false, &[])), Ok(Step::All(Sequence(99))));

    // It is not asked for those who do not read them, nor where memory has them all.
    for (channel, whole) in [(Channel::Full, false), (Channel::User, true)] {
        assert_eq!(begun(channel, 5).take(&memory(5, whole, &newer)), Ok(Step::All(Sequence(99))));
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_answer_is_waited_for_before_its_reader_is_sent_away() {
    let mut since = None;
    assert_eq!(put_off(&mut since, FOUND_WITHIN), Ok(Round::PutOff));
    tokio::time::advance(FOUND_WITHIN - PAUSE).await;
    assert_eq!(put_off(&mut since, FOUND_WITHIN), Ok(Round::PutOff));
    tokio::time::advance(PAUSE).await;
    assert_eq!(put_off(&mut since, FOUND_WITHIN), Err(reasons::STARTING));
    // An answer meanwhile begins the time anew.
    since = None;
    assert_eq!(put_off(&mut since, FOUND_WITHIN), Ok(Round::PutOff));
}
