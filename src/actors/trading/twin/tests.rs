//! The place of a twin, without the actors around it.

use super::*;

/// State that is a list of what was applied.
struct Heard(Vec<u32>);

impl Standby for Heard {
    type Item = u32;
    type Mark = usize;

    fn apply(&mut self, item: &u32) -> Result<(), String> {
        self.0.push(*item);
        Ok(())
    }

    fn mark(&self) -> usize {
        self.0.len()
    }

    fn hash(&self) -> StateHash {
        StateHash([0; 32])
    }
}

#[test]
fn whoever_was_given_up_changes_nothing_any_more() {
    let berth: Arc<Berth<Heard>> = Berth::new(Arc::default());
    assert!(berth.take_over(1).1.is_none());
    berth.begin(1, 10);
    berth.done(1, Position(1), StreamState::default());
    berth.begin(1, 20);
    // It hangs, and another goes on with what it had in hand.
    assert_eq!(berth.take_over(2).1, Some(20));
    // It wakes, ends that and begins what came next.
    berth.done(1, Position(2), StreamState::default());
    berth.begin(1, 30);
    assert_eq!(berth.told(), Some(Position(1)));
    berth.begin(2, 20);
    berth.done(1, Position(2), StreamState::default());
    assert_eq!(berth.take_over(3).1, Some(20));
}

#[test]
fn an_entry_that_stops_two_incarnations_is_found_though_the_first_of_them_wakes() {
    let berth: Arc<Berth<Heard>> = Berth::new(Arc::default());
    assert!(berth.take_over(1).1.is_none());
    let first = berth.begin(1, 10);
    berth.applying(&first, Sequence(5));
    // It hangs there, and another goes on, which hangs there too.
    assert_eq!(berth.judge(None), Ok(()));
    assert_eq!(berth.take_over(2).1, Some(10));
    let second = berth.begin(2, 10);
    berth.applying(&second, Sequence(5));
    // The first one wakes, ends what it was doing and begins what came next.
    berth.applied(&first);
    let first = berth.begin(1, 20);
    berth.applying(&first, Sequence(6));
    assert_eq!(berth.judge(None).map_err(|fault| fault.entry), Err(Sequence(5)));
    // Whoever died between entries is no reason to halt the market.
    assert!(berth.take_over(3).1.is_some());
    let third = berth.begin(3, 10);
    berth.applying(&third, Sequence(5));
    berth.applied(&third);
    assert_eq!(berth.judge(None), Ok(()));
}

#[test]
fn work_waits_for_a_step_or_for_whoever_asks_and_never_for_a_twin_that_is_useless() {
    let berth: Arc<Berth<Heard>> = Berth::new(Arc::default());
    let work = |item| {
        berth.begin(1, item);
        berth.done(1, Position(u64::from(item)), StreamState::default());
        berth.hand.lock().waiting.len()
    };
    assert_eq!(work(1), 0, "nobody is to be fed");
    berth.hand.lock().twin = Condition::Ready;
    assert_eq!((2..STEP as u32 + 1).map(work).max(), Some(STEP - 1));
    // There is no twin here that could take the step, so from now on it has a hole.
    assert_eq!(work(100), 0);
    assert!(!berth.is_feeding());
    let asks: [fn(&Berth<Heard>); 2] = [
        |berth| {
            berth.take_over(1);
        },
        |berth| {
            berth.twin();
        },
    ];
    for ask in asks {
        berth.hand.lock().twin = Condition::Ready;
        assert_eq!(work(200), 1);
        ask(&berth);
        assert!(!berth.is_feeding() && berth.hand.lock().waiting.is_empty(), "it was to be given at once");
    }
}

#[test]
fn only_a_twin_that_is_being_built_becomes_ready() {
    let berth: Arc<Berth<Heard>> = Berth::new(Arc::default());
    for (before, after) in [
        (Condition::Building, Condition::Ready),
        (Condition::Useless, Condition::Useless),
        (Condition::Ready, Condition::Ready),
    ] {
        berth.hand.lock().twin = before;
        berth.built();
        assert_eq!(berth.hand.lock().twin, after, "{before:?}");
    }
    berth.spoiled();
    assert!(!berth.is_feeding());
}
