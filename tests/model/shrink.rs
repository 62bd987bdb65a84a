//! Makes a failing sequence short: drops what is not needed for it to fail.

use crate::coverage::Coverage;
use crate::flow::{Move, Scene};
use crate::real::Differs;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs a sequence; a panic of the domain is a difference too.
pub fn attempt(scene: &Scene, moves: &[Move]) -> Result<Coverage, (usize, Differs)> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(|| crate::run(scene, moves)));
    QUIET.set(false);
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err((moves.len() - 1, format!("panicked: {}", text.unwrap_or_default())))
    })
}

/// The shortest sequence found that fails, and how. First long parts are dropped, at last single steps.
pub fn shrink(scene: &Scene, moves: &[Move], at: usize, mut differs: Differs) -> (Vec<Move>, Differs) {
    let mut moves = moves[..=at].to_vec();
    let mut part = moves.len().div_ceil(2);
    while part > 0 && !moves.is_empty() {
        let mut start = 0;
        let mut dropped = false;
        while start < moves.len() {
            let end = (start + part).min(moves.len());
            let shorter: Vec<Move> = moves[..start].iter().chain(&moves[end..]).cloned().collect();
            match attempt(scene, &shorter) {
                Err((_, how)) if !shorter.is_empty() => {
                    moves = shorter;
                    differs = how;
                    dropped = true;
                }
                _ => start = end,
            }
        }
        if part == 1 && !dropped {
            break;
        }
        part = if part == 1 { 1 } else { part / 2 };
    }
    (moves, differs)
}
