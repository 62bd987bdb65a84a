//! Outward ids: UUIDs (version 8, RFC 9562) that carry our own numbers, so that no id needs a table.
//!
//! The first 48 bits hold the number, the next 12 say what kind of thing it is, the rest more of its
//! key. They are names, not secrets: whoever guesses one is still checked for being its owner.

use crate::domain::ids::{AccountId, CurrencyId, MarketId, OrderId};
use uuid::Uuid;

const ORDER: u16 = 0x0a1;
const BALANCE: u16 = 0x0a2;
const USER: u16 = 0x0a3;
const PROFILE: u16 = 0x0a4;
const WALLET: u16 = 0x0a5;

fn build(number: u64, kind: u16, rest: u64) -> Uuid {
    let high = number << 16 | 0x8000 | u64::from(kind);
    let low = 0x8000_0000_0000_0000 | (rest & 0x3fff_ffff_ffff_ffff);
    Uuid::from_u64_pair(high, low)
}

fn open(id: Uuid, kind: u16) -> Option<(u64, u64)> {
    let (high, low) = id.as_u64_pair();
    let matches = high & 0xffff == 0x8000 | u64::from(kind) && low >> 62 == 0b10;
    matches.then_some((high >> 16, low & 0x3fff_ffff_ffff_ffff))
}

/// An order's outward id.
pub fn order(market: MarketId, id: OrderId) -> Uuid {
    build(id.number, ORDER, u64::from(market.0) << 32 | u64::from(id.slot))
}

/// The order behind an outward id.
pub fn parse_order(id: Uuid) -> Option<(MarketId, OrderId)> {
    let (number, rest) = open(id, ORDER)?;
    Some((MarketId(u16::try_from(rest >> 32).ok()?), OrderId { number, slot: rest as u32 }))
}

/// The outward id of a user's balance in a currency: the dialect's "account".
pub fn balance(account: AccountId, currency: CurrencyId) -> Uuid {
    build(u64::from(account.0), BALANCE, u64::from(currency.0))
}

/// The balance behind an outward id.
pub fn parse_balance(id: Uuid) -> Option<(AccountId, CurrencyId)> {
    let (number, rest) = open(id, BALANCE)?;
    Some((AccountId(u32::try_from(number).ok()?), CurrencyId(u16::try_from(rest).ok()?)))
}

/// A user's outward id.
pub fn user(account: AccountId) -> Uuid {
    build(u64::from(account.0), USER, 0)
}

/// The user behind an outward id.
pub fn parse_user(id: Uuid) -> Option<AccountId> {
    let (number, rest) = open(id, USER)?;
    (rest == 0).then_some(())?;
    u32::try_from(number).ok().map(AccountId)
}

/// The user behind a profile's outward id.
pub fn parse_profile(id: Uuid) -> Option<AccountId> {
    let (number, _) = open(id, PROFILE)?;
    Some(AccountId(u32::try_from(number).ok()?))
}

/// The outward id of a user's money outside of the venue, in a currency.
pub fn wallet(account: AccountId, currency: CurrencyId) -> Uuid {
    build(u64::from(account.0), WALLET, u64::from(currency.0))
}

/// The wallet behind an outward id.
pub fn parse_wallet(id: Uuid) -> Option<(AccountId, CurrencyId)> {
    let (number, rest) = open(id, WALLET)?;
    Some((AccountId(u32::try_from(number).ok()?), CurrencyId(u16::try_from(rest).ok()?)))
}

/// The outward id of a user's only profile.
pub fn profile(account: AccountId) -> Uuid {
    build(u64::from(account.0), PROFILE, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_and_are_told_apart() {
        let id = OrderId { number: (1 << 48) - 1, slot: u32::MAX };
        let outward = order(MarketId(65_535), id);
        assert_eq!(outward.get_version_num(), 8);
        assert_eq!(outward.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(parse_order(outward), Some((MarketId(65_535), id)));
        assert_eq!(parse_balance(outward), None);
        let held = balance(AccountId(7), CurrencyId(2));
        assert_eq!(parse_balance(held), Some((AccountId(7), CurrencyId(2))));
        assert_eq!(parse_order(held), None);
        assert_eq!(parse_order(Uuid::nil()), None);
        assert_ne!(user(AccountId(7)), profile(AccountId(7)));
        assert_eq!(parse_user(user(AccountId(7))), Some(AccountId(7)));
        assert_eq!(parse_user(profile(AccountId(7))), None);
    }
}
