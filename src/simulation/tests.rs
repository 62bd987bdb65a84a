//! A seed gives the same run twice, many seeds find nothing, and mistakes made on purpose are found.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::domain::sabotage::{self, Mistake};

fn check(setup: Setup) -> Outcome {
    run(setup).unwrap_or_else(|violation| panic!("{violation}"))
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for nodes in 1..=3 {
        let setup = Setup { seed: 4_711, nodes, steps: STEPS };
        assert_eq!(check(setup), check(setup));
        assert_ne!(check(setup).digest, check(Setup { seed: 4_712, ..setup }).digest);
    }
}

/// A few hundred runs, in parts that run side by side. `AGORA_SEEDS=A..B` runs others.
fn many(part: u64) {
    let mut counts = Counts::default();
    let seeds = std::env::var("AGORA_SEEDS").map(|text| range(&text).unwrap());
    for seed in seeds.unwrap_or(part * 75..(part + 1) * 75) {
        counts.add(&check(Setup::of(seed)).counts);
    }
    println!("{counts}");
    // A simulator in which nothing goes wrong finds nothing.
    let Counts { acknowledged, unknown, crashes, panics, freezes, .. } = counts;
    let Counts { partitions, take_overs, promotions, listings, usurpations, .. } = counts;
    for count in [acknowledged, unknown, crashes, panics, freezes, partitions, take_overs, promotions, listings] {
        assert!(count > 20, "{counts}");
    }
    assert!(usurpations > 0, "{counts}");
    assert!(counts.comparisons > 1_000 && counts.snapshots > 20 && counts.events > 1_000, "{counts}");
}

#[test]
fn nothing_is_found_1() {
    many(0);
}

#[test]
fn nothing_is_found_2() {
    many(1);
}

#[test]
fn nothing_is_found_3() {
    many(2);
}

#[test]
fn nothing_is_found_4() {
    many(3);
}

/// What nights have found: batches that a node had on its way before it was started came late, with epochs above those that
/// it began then (the first two); a market was opened from a snapshot that has the marker of its epoch already.
#[test]
fn what_was_found_once_stays_mended() {
    for (seed, nodes) in [(7_006_752, 1), (7_011_812, 3), (7_001_150, 3), (7_002_086, 3), (7_010_849, 3)] {
        check(Setup { seed, nodes, steps: STEPS });
    }
}

/// A mistake must be found within some seeds, and not by seeds in which it is not made. Which seed finds it changes with
/// the simulator alone; the bounds are about twice what it took when they were set.
fn is_found(mistake: Mistake, within: u64) {
    sabotage::make(Some(mistake));
    let found = (0..within).find_map(|seed| run(Setup::of(seed)).err());
    let Some(violation) = found else { panic!("{mistake:?} is not found within {within} seeds") };
    let again = run(violation.setup).err();
    sabotage::make(None);
    println!("{mistake:?}, seed {}: {}", violation.setup.seed, violation.what);
    assert_eq!(again.map(|again| again.digest), Some(violation.digest.clone()), "the seed does not find it again");
    check(violation.setup);
}

#[test]
fn acknowledging_what_was_not_read_back_is_found() {
    is_found(Mistake::TakesProposedForCommitted, 20);
}

#[test]
fn applying_repeats_is_found() {
    is_found(Mistake::AppliesRepeats, 20);
}

#[test]
fn ignoring_the_fence_is_found() {
    is_found(Mistake::IgnoresTheFence, 20);
}

#[test]
fn forgetting_pending_holds_is_found() {
    is_found(Mistake::ForgetsPendingHolds, 20);
}

#[test]
fn forgetting_client_ids_is_found() {
    is_found(Mistake::ForgetsClientIds, 20);
}

#[test]
fn proposing_again_what_was_refused_is_found() {
    is_found(Mistake::ProposesRefusedAgain, 20);
}

#[test]
fn keeping_void_holds_is_found() {
    is_found(Mistake::KeepsVoidHolds, 20);
}

#[test]
fn a_twin_that_skips_entries_is_found() {
    is_found(Mistake::TwinSkipsEntries, 20);
}

#[test]
fn a_feed_that_hides_a_hole_is_found() {
    is_found(Mistake::FeedHidesAHole, 20);
}

#[test]
fn leading_without_the_newest_market_is_found() {
    is_found(Mistake::ForgetsUnopenedMarkets, 400);
}

#[test]
fn expecting_credits_before_debits_is_found() {
    is_found(Mistake::ExpectsCreditsFirst, 400);
}

#[test]
fn recovering_too_little_is_found() {
    is_found(Mistake::RecoversTooLittle, 90);
}
