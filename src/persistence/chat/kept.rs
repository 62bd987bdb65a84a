//! Rooms that are kept in memory for the next time: when there are too many, those go that were used the longest time
//! ago.

use crate::domain::chat::{Room, RoomId};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A room, and the use of any room that was its newest.
struct Used {
    room: Room,
    at: u64,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Kept {
    rooms: BTreeMap<RoomId, Used>,
    uses: u64,
}

impl Kept {
    /// A room that is about to be used; `load` has it when it is not here.
    ///
    /// # Errors
    /// Those of `load`.
    pub(super) fn get_or_load<E>(
        &mut self,
        id: RoomId,
        load: impl FnOnce() -> Result<Room, E>,
    ) -> Result<&mut Room, E> {
        self.uses += 1;
        let used = match self.rooms.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Used { room: load()?, at: 0 }),
        };
        used.at = self.uses;
        Ok(&mut used.room)
    }

    /// A room, if it is here; that is no use of it.
    pub(super) fn get(&self, id: RoomId) -> Option<&Room> {
        self.rooms.get(&id).map(|used| &used.room)
    }

    /// Lets so many stay.
    pub(super) fn shrink_to(&mut self, most: usize) {
        let surplus = self.rooms.len().saturating_sub(most);
        if surplus == 0 {
            return;
        }
        let mut oldest: Vec<(u64, RoomId)> = self.rooms.iter().map(|(id, used)| (used.at, *id)).collect();
        oldest.sort_unstable();
        for (_, id) in oldest.into_iter().take(surplus) {
            self.rooms.remove(&id);
        }
    }

    /// Lets all go.
    pub(super) fn clear(&mut self) {
        self.rooms.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::MarketId;
    use std::convert::Infallible;

    #[test]
    fn the_room_that_is_used_most_stays_whatever_its_number() {
        let mut kept = Kept::default();
        let market = RoomId::market(MarketId(0));
        let mut loads = 0;
        let made = |number: u64| RoomId::made((1 << 40) + number);
        for other in 0..10 {
            for id in [market, made(other)] {
                let load = || {
                    loads += 1;
                    Ok::<_, Infallible>(Room::blank(id))
                };
                assert_eq!(kept.get_or_load(id, load).unwrap().id, id);
            }
            kept.shrink_to(3);
        }
        assert_eq!(loads, 11);
        let others: Vec<u64> = (0..10).filter(|number| kept.get(made(*number)).is_some()).collect();
        assert_eq!(others, [8, 9]);
        assert!(kept.get(market).is_some());
        kept.clear();
        assert!(kept.get(market).is_none());
    }
}
