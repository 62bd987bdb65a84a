//! Names of rooms and messages.

use crate::domain::ids::{AccountId, MarketId, StreamId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How many streams chat is spread over.
pub const SHARDS: u8 = 16;

/// A room. Below 2^20 the rooms of markets, with bit 62 set the room of two users, else a made one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoomId(pub u64);

const DIRECT: u64 = 1 << 62;
const FIRST_MADE: u64 = 1 << 20;
const ACCOUNT_BITS: u32 = 31;
const ACCOUNT_MASK: u64 = (1 << ACCOUNT_BITS) - 1;

impl RoomId {
    /// Direct rooms have numbers from this one on, and no other rooms have.
    pub const FIRST_DIRECT: RoomId = RoomId(DIRECT);

    /// The room of two different users, the same whoever of them asks.
    pub fn direct(one: AccountId, other: AccountId) -> Option<RoomId> {
        let (low, high) = (u64::from(one.0.min(other.0)), u64::from(one.0.max(other.0)));
        (low != high && high <= ACCOUNT_MASK).then_some(RoomId(DIRECT | high << ACCOUNT_BITS | low))
    }

    /// The room beside a market's order book.
    pub fn market(market: MarketId) -> RoomId {
        RoomId(u64::from(market.0) + 1)
    }

    /// The id of a made room, from a number that its maker chose (a time and random bits).
    pub fn made(number: u64) -> RoomId {
        RoomId((number & (DIRECT - 1)).max(FIRST_MADE))
    }

    /// The room that a number names, if there can be such a room.
    pub fn from_number(number: u64) -> Option<RoomId> {
        let id = RoomId(number);
        let valid = number != 0 && number >> 63 == 0 && (number & DIRECT == 0 || id.pair().is_some());
        valid.then_some(id)
    }

    /// The two users of a direct room, the smaller id first.
    pub fn pair(self) -> Option<(AccountId, AccountId)> {
        if self.0 & DIRECT == 0 {
            return None;
        }
        let (low, high) = (self.0 & ACCOUNT_MASK, self.0 >> ACCOUNT_BITS & ACCOUNT_MASK);
        (low < high).then_some((AccountId(low as u32), AccountId(high as u32)))
    }

    /// The other user of a direct room.
    pub fn other(self, one: AccountId) -> Option<AccountId> {
        match self.pair()? {
            (low, high) if low == one => Some(high),
            (low, high) if high == one => Some(low),
            _ => None,
        }
    }

    /// The market beside which the room stands.
    pub fn beside(self) -> Option<MarketId> {
        let index = self.0.checked_sub(1)?;
        u16::try_from(index).ok().map(MarketId)
    }

    /// Which of the streams orders the room: the upper four bits of a multiplicative hash.
    pub fn shard(self) -> u8 {
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as u8
    }

    /// The stream that orders the room.
    pub fn stream(self) -> StreamId {
        StreamId::Chat(self.shard())
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a message in its room: 1, 2, 3, … without gaps. 0 is "before the first".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct MessageSequence(pub u64);

impl MessageSequence {
    /// The next number.
    #[must_use]
    pub fn next(self) -> MessageSequence {
        MessageSequence(self.0 + 1)
    }
}

/// A sender's own id of a message; a UUID as 128 bits. The same id gives the same message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientMessageId(pub u128);

/// The secret of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InviteCode(pub u128);

// As text, since JSON keys are text and JSON numbers lose digits.
impl Serialize for InviteCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for InviteCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<InviteCode, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(InviteCode).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_what_kind_of_room_they_name() {
        let direct = RoomId::direct(AccountId(9), AccountId(4)).unwrap();
        assert_eq!(RoomId::direct(AccountId(4), AccountId(9)), Some(direct));
        assert_eq!(direct.pair(), Some((AccountId(4), AccountId(9))));
        assert_eq!((direct.other(AccountId(4)), direct.other(AccountId(5))), (Some(AccountId(9)), None));
        assert!(direct >= RoomId::FIRST_DIRECT && RoomId::made(u64::MAX) < RoomId::FIRST_DIRECT);
        assert_eq!(RoomId::direct(AccountId(4), AccountId(4)), None);
        assert_eq!(RoomId::direct(AccountId(4), AccountId(1 << 31)), None);
        assert_eq!(RoomId::market(MarketId(3)).beside(), Some(MarketId(3)));
        let made = RoomId::made(u64::MAX);
        assert_eq!((made.pair(), made.beside()), (None, None));
        assert_eq!(RoomId::made(0).beside(), None);
        for (number, valid) in [(0, false), (1, true), (1 << 63, false), (1 << 62, false), (direct.0, true)] {
            assert_eq!(RoomId::from_number(number).is_some(), valid, "{number}");
        }
    }

    #[test]
    fn rooms_are_spread_over_all_streams() {
        let mut seen = [0u32; SHARDS as usize];
        for number in 0..4_096u64 {
            seen[usize::from(RoomId::made(FIRST_MADE + number).shard())] += 1;
        }
        assert!(seen.iter().all(|count| (128..512).contains(count)), "{seen:?}");
    }
}
