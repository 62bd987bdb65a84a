//! What the nodes tell each other about themselves.

use crate::actors::role::{Role, State};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A node that was not heard of for so long is not there.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5);

/// A number that was taken for so long is another node's, and not one that the broker keeps for a connection that has died.
const TAKEN_AFTER: Duration = Duration::from_secs(15);

/// How many state hashes are remembered of each node.
const HASHES: usize = 32;

/// What a node says about itself, once a second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Its number.
    pub node: u16,
    /// Whether it is the active one.
    pub active: bool,
    /// The newest position of the log that it has read.
    pub position: u64,
    /// Hashes of its whole state at some positions of the log.
    pub hashes: Vec<(u64, String)>,
}

/// A peer as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct Peer {
    /// Its number.
    pub node: u16,
    /// Whether it says that it is the active one.
    pub active: bool,
    /// The newest position of the log that it has read.
    pub position: u64,
}

/// The cluster as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct Picture {
    /// This node.
    pub node: u16,
    /// What it does.
    pub role: State,
    /// The newest epoch that it has read.
    pub epoch: String,
    /// Batches that others have read and this one has not.
    pub lag: u64,
    /// State hashes that were compared with those of others at the same position.
    pub hashes_compared: u64,
    /// Those that differed: the nodes do not have the same state.
    pub hashes_different: u64,
    /// The others.
    pub peers: Vec<Peer>,
}

#[derive(Debug, Default)]
struct Known {
    others: BTreeMap<u16, (Instant, Status)>,
    own: BTreeMap<u64, String>,
    compared: BTreeMap<(u16, u64), bool>,
    equal: u64,
    different: u64,
    /// Since when the broker has refused this node's number, and when it last did.
    number_taken: Option<(Instant, Instant)>,
}

/// What is known of the nodes. Clones share it.
#[derive(Clone, Debug)]
pub struct Peers {
    role: Role,
    known: Arc<Mutex<Known>>,
}

impl Peers {
    /// Nothing is known yet.
    pub fn new(role: Role) -> Peers {
        Peers { role, known: Arc::default() }
    }

    /// This node's state has this hash at this position.
    pub fn hashed(&self, position: u64, hash: String) {
        let mut known = self.known.lock();
        known.own.insert(position, hash);
        while known.own.len() > HASHES {
            known.own.pop_first();
        }
        known.compare();
    }

    /// What this node says about itself.
    pub fn status(&self, position: u64) -> Status {
        let known = self.known.lock();
        let hashes = known.own.iter().map(|(position, hash)| (*position, hash.clone())).collect();
        Status { node: self.role.node(), active: self.role.is_active(), position, hashes }
    }

    /// Another node said this.
    pub fn heard(&self, status: Status) {
        if status.node == self.role.node() {
            return;
        }
        let mut known = self.known.lock();
        known.others.insert(status.node, (Instant::now(), status));
        known.others.retain(|_, (heard, _)| heard.elapsed() < FORGOTTEN_AFTER);
        known.compare();
    }

    /// The broker has refused this node's number, which another connection holds.
    pub fn number_taken(&self) {
        let (mut known, now) = (self.known.lock(), Instant::now());
        let since = known.number_taken.filter(|(_, last)| now.duration_since(*last) < FORGOTTEN_AFTER);
        known.number_taken = Some((since.map_or(now, |(first, _)| first), now));
    }

    /// A node besides this one, if there is any: one that was heard, or one that has this node's number and so is never
    /// heard here.
    pub fn another(&self) -> Option<u16> {
        let known = self.known.lock();
        let heard = known.others.iter().find(|(_, (heard, _))| heard.elapsed() < FORGOTTEN_AFTER);
        heard.map(|(node, _)| *node).or(known.is_number_taken().then(|| self.role.node()))
    }

    /// This node's number, if another process has it, and has had it for longer than the broker keeps one for the dead.
    pub fn namesake(&self) -> Option<u16> {
        self.known.lock().is_number_taken().then(|| self.role.node())
    }

    /// Batches that others have read and this node, being at `position`, has not.
    pub fn lag(&self, position: u64) -> u64 {
        let known = self.known.lock();
        let newest = known.others.values().map(|(_, status)| status.position).max().unwrap_or(position);
        newest.saturating_sub(position)
    }

    /// The cluster as this node, being at `position`, sees it.
    pub fn picture(&self, position: u64) -> Picture {
        let lag = self.lag(position);
        let known = self.known.lock();
        let others = known.others.values().filter(|(heard, _)| heard.elapsed() < FORGOTTEN_AFTER);
        let peer = |(_, s): &(Instant, Status)| Peer { node: s.node, active: s.active, position: s.position };
        Picture {
            node: self.role.node(),
            role: self.role.state(),
            epoch: self.role.epoch().to_string(),
            lag,
            hashes_compared: known.equal + known.different,
            hashes_different: known.different,
            peers: others.map(peer).collect(),
        }
    }
}

impl Known {
    fn is_number_taken(&self) -> bool {
        self.number_taken
            .is_some_and(|(first, last)| last.duration_since(first) >= TAKEN_AFTER && last.elapsed() < FORGOTTEN_AFTER)
    }

    fn compare(&mut self) {
        for (_, status) in self.others.values() {
            for (position, theirs) in &status.hashes {
                let key = (status.node, *position);
                let Some(ours) = self.own.get(position).filter(|_| !self.compared.contains_key(&key)) else { continue };
                let equal = ours == theirs;
                self.compared.insert(key, equal);
                if equal {
                    self.equal += 1;
                } else {
                    self.different += 1;
                    tracing::error!(node = status.node, position, ours, theirs, "another node has another state");
                }
            }
        }
        let oldest = self.own.keys().next().copied().unwrap_or_default();
        self.compared.retain(|(_, position), _| *position >= oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_compared_once_at_equal_positions() {
        let peers = Peers::new(Role::one_of_several(1));
        let says = |hashes: &[(u64, &str)]| Status {
            node: 2,
            active: true,
            position: 50,
            hashes: hashes.iter().map(|(position, hash)| (*position, (*hash).to_string())).collect(),
        };
        peers.hashed(10, "a".into());
        peers.heard(says(&[(10, "a"), (20, "b")]));
        peers.heard(says(&[(10, "a"), (20, "b")]));
        assert_eq!((peers.picture(30).hashes_compared, peers.picture(30).hashes_different), (1, 0));
        peers.hashed(20, "another".into());
        let picture = peers.picture(30);
        assert_eq!((picture.hashes_compared, picture.hashes_different, picture.lag), (2, 1, 20));
        assert_eq!(peers.status(30).hashes.len(), 2);
        for position in 100..200 {
            peers.hashed(position, "x".into());
        }
        assert!(peers.status(200).hashes.len() <= HASHES);
    }
}
