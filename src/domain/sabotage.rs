//! Mistakes made on purpose, so that tests can show that the simulator finds them. Not part of the program.

use std::cell::Cell;

/// One mistake in one of the rules that everything else rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The log's owner takes as committed what was only handed to the engine.
    TakesProposedForCommitted,
    /// A reader applies a batch again that it has read before.
    AppliesRepeats,
    /// A reader applies what an older epoch appended after a newer one's marker.
    IgnoresTheFence,
    /// Admission does not count what is on its way.
    ForgetsPendingHolds,
    /// Admission does not look for the client order id.
    ForgetsClientIds,
    /// What the log refused is proposed again although its caller was told that nothing was done.
    ProposesRefusedAgain,
    /// What will never be applied keeps its pending hold.
    KeepsVoidHolds,
    /// A twin leaves out what its primary has applied.
    TwinSkipsEntries,
    /// Market data goes on after a restart without what was in hand, and says nothing of it.
    FeedHidesAHole,
    /// A recovery leaves out the last batch before the log's end.
    RecoversTooLittle,
    /// The ledger admits before markets that are listed, and not opened on this node, have begun an epoch.
    ForgetsUnopenedMarkets,
    /// A ledger that does not lead takes it for a bug that it hears of spending before it hears what paid for it.
    ExpectsCreditsFirst,
    /// The rules panic at any order of [`STUMBLING_BLOCK`] lots.
    Stumbles,
}

/// The size of the orders at which [`Mistake::Stumbles`], in lots.
pub const STUMBLING_BLOCK: u64 = 4_711;

thread_local! {
    static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
}

/// Makes a mistake on this thread from now on, or none.
pub fn make(mistake: Option<Mistake>) {
    MADE.set(mistake);
}

/// Whether this mistake is made.
pub fn is_made(mistake: Mistake) -> bool {
    MADE.get() == Some(mistake)
}
