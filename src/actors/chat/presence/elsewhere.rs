//! What nodes tell each other about who is there: numbered letters through the broker, to all at once.
//!
//! A letter holds what has changed since the one before, so what is told costs what changes, not what is there. Letters
//! may be lost; whoever misses a number asks for everything, at most once in a while, and one answer serves all. A node
//! that is silent for a while is forgotten with its people.

use crate::domain::chat::RoomId;
use crate::domain::ids::AccountId;
use crate::persistence::chat::people::VisibleTo;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// People of one letter.
pub(super) const PEOPLE_AT_ONCE: usize = 2_000;
/// A node that has nothing to tell says at least so often that it lives.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// A node that is silent for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(12);
/// The least time between two requests for everything.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Somebody as the node says where a device of theirs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// Whether all devices there are away.
    pub away: bool,
    /// Who may see them.
    pub visible_to: VisibleTo,
}

/// What a letter says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// Who came, changed or went (`None`) on the node.
    People {
        /// Counts up by one, from 1.
        number: u64,
        /// What was told before counts no more.
        anew: bool,
        /// Who is how.
        people: Vec<(AccountId, Option<Told>)>,
        /// Who was told on the node just now to be seen by others than before, wherever they are.
        visible: Vec<(AccountId, VisibleTo)>,
    },
    /// Asks a node for everything.
    Ask(u16),
    /// Somebody types in a room.
    Typing(RoomId, AccountId),
}

/// A word with who says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Letter {
    /// Which node.
    pub node: u16,
    /// Another number for each life of the node.
    pub life: u64,
    /// What it says.
    pub word: Word,
}

/// One other node, as far as its letters were read.
#[derive(Debug)]
struct Node {
    life: u64,
    number: u64,
    heard: Instant,
    people: BTreeSet<AccountId>,
}

/// The other nodes.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    known: BTreeMap<u16, Node>,
    asked: BTreeMap<u16, Instant>,
}

/// What a letter about people changes here.
#[derive(Debug, Default, PartialEq)]
pub(super) struct News {
    /// Who is how on that node now; `None`: not there any more.
    pub people: Vec<(AccountId, Option<Told>)>,
    /// The node's letters were missed: it is to be asked for everything.
    pub ask: bool,
    /// This is everything, after letters that were missed.
    pub missed: bool,
}

impl Nodes {
    /// Reads a node's letter about people.
    pub fn read(
        &mut self,
        (node, life): (u16, u64),
        number: u64,
        anew: bool,
        people: Vec<(AccountId, Option<Told>)>,
        now: Instant,
    ) -> News {
        let next = self.known.get(&node).is_some_and(|known| known.life == life && known.number + 1 == number);
        if !next && !anew {
            let ask = self.asked.get(&node).is_none_or(|asked| now - *asked >= ASK_EVERY);
            if ask {
                self.asked.insert(node, now);
            }
            return News { people: Vec::new(), ask, missed: false };
        }
        let fresh = Node { life, number, heard: now, people: BTreeSet::new() };
        let known = self.known.entry(node).or_insert(fresh);
        (known.life, known.number, known.heard) = (life, number, now);
        let before = if anew { std::mem::take(&mut known.people) } else { BTreeSet::new() };
        for (who, told) in &people {
            if told.is_some() {
                known.people.insert(*who);
            } else {
                known.people.remove(who);
            }
        }
        let gone = before.difference(&known.people).map(|who| (*who, None)).collect::<Vec<_>>();
        News { people: [gone, people].concat(), ask: false, missed: !next }
    }

    /// Forgets the nodes that are silent: each with the people that it had.
    pub fn forget(&mut self, now: Instant) -> Vec<(u16, BTreeSet<AccountId>)> {
        let silent = self.known.iter().filter(|(_, known)| now - known.heard >= FORGOTTEN_AFTER).map(|(node, _)| *node);
        let silent: Vec<u16> = silent.collect();
        silent.into_iter().filter_map(|node| Some((node, self.known.remove(&node)?.people))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<Told> = Some(Told { away: false, visible_to: VisibleTo::Everyone });

    fn one(who: u32, told: Option<Told>) -> Vec<(AccountId, Option<Told>)> {
        vec![(AccountId(who), told)]
    }

    #[test]
    fn missed_letters_are_asked_for_and_everything_mends_it() {
        let (mut nodes, now) = (Nodes::default(), Instant::now());
        let asks = News { people: vec![], ask: true, missed: false };
        assert_eq!(nodes.read((2, 7), 5, false, one(10, HERE), now), asks, "the first letters were missed");
        assert!(!nodes.read((2, 7), 6, false, vec![], now).ask, "once in a while only");
        let whole = [one(10, HERE), one(11, HERE)].concat();
        assert_eq!(nodes.read((2, 7), 7, true, whole.clone(), now).people, whole);
        assert_eq!(nodes.read((2, 7), 8, false, one(10, None), now).people, one(10, None));
        // Letter 9 is lost: what 10 says is not believed, since what 9 said might contradict it.
        let later = now + ASK_EVERY;
        assert_eq!(nodes.read((2, 7), 10, false, one(12, HERE), later), asks);
        // Whoever is not in everything is gone.
        let news = nodes.read((2, 7), 11, true, one(12, HERE), later);
        assert_eq!(news.people, [one(11, None), one(12, HERE)].concat());
        assert!(news.missed, "what the lost letter said besides is to be looked up");
        assert!(!nodes.read((2, 7), 12, true, one(12, HERE), later).missed);
        // Another life counts anew.
        assert!(nodes.read((2, 8), 13, false, vec![], later + ASK_EVERY).ask);
        assert_eq!(nodes.read((2, 8), 1, true, vec![], later).people, one(12, None));
    }

    #[test]
    fn a_node_that_is_silent_is_forgotten_with_its_people() {
        let (mut nodes, now) = (Nodes::default(), Instant::now());
        nodes.read((2, 7), 1, true, one(10, HERE), now);
        nodes.read((3, 1), 1, true, one(11, HERE), now + FORGOTTEN_AFTER / 2);
        assert_eq!(nodes.forget(now + FORGOTTEN_AFTER / 2), vec![]);
        assert_eq!(nodes.forget(now + FORGOTTEN_AFTER), vec![(2, BTreeSet::from([AccountId(10)]))]);
        assert_eq!(nodes.forget(now + FORGOTTEN_AFTER), vec![]);
    }
}
