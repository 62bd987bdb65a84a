//! How a supervisor reacts: which children it restarts, how soon, and when it gives up.

use std::time::Duration;

/// Which children are restarted when one of them ends by a panic or a hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// That one alone.
    OneForOne,
    /// That one and those that were started after it, because they depend on it: they are stopped in reverse order,
    /// then all are started in order, each once the one before it is ready.
    RestForOne,
}

/// How many restarts one child may need within a time before its supervisor gives up on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Restarts allowed. The next crash exhausts the budget.
    pub restarts: usize,
    /// The sliding window that they are counted in.
    pub within: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { restarts: 5, within: Duration::from_secs(60) }
    }
}

/// How long a restart waits. The wait grows with the crashes that the budget's window holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first crash; zero restarts at once, always.
    pub first: Duration,
    /// What each further crash multiplies the wait by.
    pub factor: u32,
    /// The longest wait.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { first: Duration::from_millis(20), factor: 2, max: Duration::from_secs(2) }
    }
}

impl Backoff {
    /// The wait after the `crashes`-th crash within the window, counted from 1.
    pub fn delay(&self, crashes: usize) -> Duration {
        let steps = u32::try_from(crashes.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(self.factor.saturating_pow(steps)).min(self.max)
    }
}

/// What happens to a child whose budget is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// The supervisor stops its other children and fails itself, which its own parent has to deal with.
    Escalate,
    /// The child stays down as faulted until somebody revives it; its siblings go on.
    Fault,
    /// The child faults alone as long as it has never been ready, so that who could not be begun disturbs nobody; later
    /// it escalates.
    FaultAtFirst,
}

/// How a hang is noticed: the child has to take a heartbeat, as it takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// How often it is asked.
    pub every: Duration,
    /// How long the answer may take before the child is given up and replaced. Messages that wait in the queue do
    /// not delay it, one handler that blocks and a future that the context waits for do.
    pub deadline: Duration,
    /// How long the start may take, from building the actor to its taking messages; `None` waits for ever.
    pub start_within: Option<Duration>,
}

/// How a supervisor treats its children, unless a child's specification says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which children a crash concerns.
    pub strategy: Strategy,
    /// Restarts allowed for each child.
    pub budget: Budget,
    /// The wait before a restart.
    pub backoff: Backoff,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { strategy: Strategy::OneForOne, budget: Budget::default(), backoff: Backoff::default() }
    }
}

impl Settings {
    /// Children depend on those before them.
    #[must_use]
    pub fn rest_for_one(mut self) -> Self {
        self.strategy = Strategy::RestForOne;
        self
    }

    /// Allows `restarts` for each child in any stretch of `within`.
    #[must_use]
    pub fn budget(mut self, restarts: usize, within: Duration) -> Self {
        self.budget = Budget { restarts, within };
        self
    }

    /// Waits `first` before the first restart, then each time `factor` times as long, up to `max`.
    #[must_use]
    pub fn backoff(mut self, first: Duration, factor: u32, max: Duration) -> Self {
        self.backoff = Backoff { first, factor, max };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let backoff = Backoff::default();
        let waits: Vec<u128> = [1, 2, 3, 4, 7, 8, 9, 1_000_000].iter().map(|&n| backoff.delay(n).as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 160, 1_280, 2_000, 2_000, 2_000]);
        let at_once = Backoff { first: Duration::ZERO, ..backoff };
        assert_eq!(at_once.delay(1_000), Duration::ZERO);
    }
}
