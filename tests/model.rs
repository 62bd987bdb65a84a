//! The domain against a naive model of the rules, under random entries.
//!
//! `AGORA_SEED` sets the seed of the first sequence (the next ones count on from it) and
//! `AGORA_SEQUENCES` how many there are. A failure prints its seed and the shortest sequence found
//! that still fails.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[path = "model/atomic.rs"]
mod atomic;
#[path = "model/auction.rs"]
mod auction;
#[path = "model/bank.rs"]
mod bank;
#[path = "model/changes.rs"]
mod changes;
#[path = "model/coverage.rs"]
mod coverage;
#[path = "model/driver.rs"]
mod driver;
#[path = "model/flow.rs"]
mod flow;
#[path = "model/needs.rs"]
mod needs;
#[path = "model/real.rs"]
mod real;
#[path = "model/reference.rs"]
mod reference;
#[path = "model/rng.rs"]
mod rng;
#[path = "model/rules.rs"]
mod rules;
#[path = "model/shrink.rs"]
mod shrink;

use coverage::Coverage;
use driver::World;
use flow::{Move, Scene};
use real::{Differs, Real};
use rng::Rng;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Runs a sequence; says where and how the domain first differs from the model.
fn run(scene: &Scene, moves: &[Move]) -> Result<Coverage, (usize, Differs)> {
    let mut world = World::new(scene).map_err(|differs| (0, differs))?;
    let mut middle = None;
    for (index, step) in moves.iter().enumerate() {
        world.step(step).map_err(|differs| (index, differs))?;
        if index == moves.len() / 2 {
            middle = Some((world.image().map_err(|differs| (index, differs))?, world.log.len()));
        }
    }
    let last = moves.len().saturating_sub(1);
    end_states(scene, &mut world, middle).map_err(|differs| (last, differs))?;
    Ok(world.coverage)
}

/// Live, replayed from the first entry, and restored from a snapshot with the tail: one state.
fn end_states(scene: &Scene, world: &mut World, middle: Option<(Vec<u8>, usize)>) -> Result<(), Differs> {
    world.finish()?;
    let live = blake3::hash(&world.image()?);
    let mut replayed = Real::new(scene)?;
    replayed.replay(&world.log)?;
    if blake3::hash(&replayed.image()?) != live {
        return Err("a replay of the log ends in another state".into());
    }
    if let Some((image, entries)) = middle {
        let mut restored = Real::from_image(&image)?;
        if restored.image()? != image {
            return Err("a restored snapshot has other bytes".into());
        }
        restored.replay(world.log.get(entries..).unwrap_or_default())?;
        if blake3::hash(&restored.image()?) != live {
            return Err("a snapshot with its tail ends in another state".into());
        }
    }
    Ok(())
}

fn campaign(all_rules: bool, sequences: u64, length: usize) {
    let first = number("AGORA_SEED", 1);
    let count = number("AGORA_SEQUENCES", sequences);
    let mut coverage = Coverage::default();
    for seed in first..first + count {
        let mut rng = Rng(seed);
        let scene = Scene::new(&mut rng, all_rules);
        let moves = flow::sequence(&scene, &mut rng, length);
        match shrink::attempt(&scene, &moves) {
            Ok(seen) => seen.0.into_iter().for_each(|(what, times)| *coverage.0.entry(what).or_default() += times),
            Err((at, differs)) => {
                let (minimal, differs) = shrink::shrink(&scene, &moves, at, differs);
                let steps: Vec<String> = minimal.iter().map(|step| format!("  {step:?}")).collect();
                panic!("AGORA_SEED={seed}\n{scene:?}\n{} steps:\n{}\n{differs}", steps.len(), steps.join("\n"));
            }
        }
    }
    println!("{:#?}", coverage.0);
    // A short run, asked for to look into one seed, need not see everything.
    if count >= sequences {
        coverage.require(coverage::PLAIN);
        if all_rules {
            coverage.require(coverage::ALL);
        }
    }
}

#[test]
fn plain_rules_agree_with_the_model() {
    campaign(false, 600, 500);
}

#[test]
fn all_rules_mixed_agree_with_the_model() {
    campaign(true, 1_000, 1_000);
}
