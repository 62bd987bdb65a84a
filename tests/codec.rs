//! Entries as bytes: what is written is read, what was written once stays readable, and no bytes
//! make the decoder panic.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[path = "model/rng.rs"]
mod rng;

use agora::domain::codec::{CodecError, Coded, Entries};
use agora::domain::entry::{Amend, Atomic, LedgerEntry, MarketEntry, Movement, Settlement};
use agora::domain::ids::{AccountId, ClientOrderId, CurrencyId, MarketId, OrderId, Ticket};
use agora::domain::market::{Currency, MarketConfig, MarketState, Safety, Step};
use agora::domain::money::{Amount, Ppm, Price, Size};
use agora::domain::order::{Kind, NewOrder, SelfTrade, Side, Stop, TimeInForce, Trigger};
use agora::domain::time::Timestamp;
use rng::Rng;
use std::fmt::Debug;

/// A number of any magnitude, the ends of its range often.
fn wild(rng: &mut Rng) -> u64 {
    let edges = [0, 1, 127, 128, u64::MAX];
    if rng.one_in(4) { rng.pick(&edges) } else { rng.next() >> rng.below(64) }
}

fn amount(rng: &mut Rng) -> Amount {
    let wide = (u128::from(rng.next()) << 64 | u128::from(rng.next())) as i128;
    if rng.one_in(6) { Amount(rng.pick(&[0, -1, i128::MAX, i128::MIN])) } else { Amount(wide >> rng.below(127)) }
}

fn wide(rng: &mut Rng) -> u128 {
    u128::from(rng.next()) << 64 | u128::from(rng.next())
}

fn text(rng: &mut Rng) -> String {
    (0..rng.below(20)).map(|_| rng.pick(&['A', 'z', '0', '-', 'é', '₿'])).collect()
}

fn maybe<T>(rng: &mut Rng, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    if rng.one_in(2) { Some(make(rng)) } else { None }
}

fn order(rng: &mut Rng) -> NewOrder {
    let kind = if rng.one_in(2) {
        let until = Timestamp(wild(rng) as i64);
        let time_in_force = rng.pick(&[
            TimeInForce::GoodTillCanceled,
            TimeInForce::GoodTillTime(until),
            TimeInForce::ImmediateOrCancel,
            TimeInForce::FillOrKill,
        ]);
        Kind::Limit { price: Price(wild(rng)), time_in_force, post_only: rng.one_in(2) }
    } else {
        Kind::Market { funds: maybe(rng, amount) }
    };
    NewOrder {
        ticket: Ticket(wild(rng)),
        account: AccountId(wild(rng) as u32),
        client_id: maybe(rng, |rng| ClientOrderId(wide(rng))),
        side: rng.pick(&[Side::Buy, Side::Sell]),
        kind,
        size: Size(wild(rng)),
        stop: maybe(rng, |rng| Stop { trigger: rng.pick(&[Trigger::Loss, Trigger::Entry]), price: Price(wild(rng)) }),
        self_trade: rng.pick(&[
            SelfTrade::DecrementAndCancel,
            SelfTrade::CancelOldest,
            SelfTrade::CancelNewest,
            SelfTrade::CancelBoth,
        ]),
        maker_fee: Ppm(wild(rng) as u32),
        taker_fee: Ppm(wild(rng) as u32),
        hold: amount(rng),
    }
}

fn config(rng: &mut Rng) -> MarketConfig {
    let step = |rng: &mut Rng| Step { units: wild(rng), decimals: wild(rng) as u8 };
    MarketConfig {
        id: MarketId(wild(rng) as u16),
        symbol: text(rng),
        base: CurrencyId(wild(rng) as u16),
        quote: CurrencyId(wild(rng) as u16),
        tick: step(rng),
        lot: step(rng),
        maker_fee: Ppm(wild(rng) as u32),
        taker_fee: Ppm(wild(rng) as u32),
        min_size: Size(wild(rng)),
        max_size: Size(wild(rng)),
        min_funds: amount(rng),
        max_funds: amount(rng),
        band: Ppm(wild(rng) as u32),
        reference_price: Price(wild(rng)),
        max_open_orders: wild(rng) as u32,
        safety: Default::default(),
        state: rng.pick(&[
            MarketState::Online,
            MarketState::PostOnly,
            MarketState::LimitOnly,
            MarketState::CancelOnly,
            MarketState::Halted,
        ]),
    }
}

fn safe_config(rng: &mut Rng) -> MarketConfig {
    let safety = Safety { halt: Ppm(wild(rng) as u32), window_ms: wild(rng) as u32, auction_ms: wild(rng) as u32 };
    MarketConfig { safety, ..config(rng) }
}

fn currency(rng: &mut Rng) -> Currency {
    Currency {
        id: CurrencyId(wild(rng) as u16),
        code: text(rng),
        name: text(rng),
        decimals: wild(rng) as u8,
        fiat: rng.one_in(2),
    }
}

fn atomic(rng: &mut Rng) -> Atomic {
    let order_id = |rng: &mut Rng| OrderId { number: wild(rng), slot: wild(rng) as u32 };
    Atomic {
        ticket: Ticket(wild(rng)),
        account: AccountId(wild(rng) as u32),
        cancels: (0..rng.below(4)).map(|_| order_id(rng)).collect(),
        amends: (0..rng.below(4)).map(|_| amend(rng)).collect(),
        places: (0..rng.below(4)).map(|_| order(rng)).collect(),
    }
}

fn amend(rng: &mut Rng) -> Amend {
    Amend {
        ticket: Ticket(wild(rng)),
        account: AccountId(wild(rng) as u32),
        order: OrderId { number: wild(rng), slot: wild(rng) as u32 },
        price: maybe(rng, |rng| Price(wild(rng))),
        size: maybe(rng, |rng| Size(wild(rng))),
        extra_hold: amount(rng),
    }
}

fn market_entry(rng: &mut Rng, kind: u64) -> MarketEntry {
    let (ticket, account) = (Ticket(wild(rng)), AccountId(wild(rng) as u32));
    let order_id = OrderId { number: wild(rng), slot: wild(rng) as u32 };
    match kind {
        0 => MarketEntry::Place(order(rng)),
        1 => MarketEntry::Cancel { ticket, account, order: order_id },
        2 => MarketEntry::CancelAll { ticket, account, side: rng.pick(&[None, Some(Side::Buy), Some(Side::Sell)]) },
        3 => MarketEntry::Amend(Amend {
            ticket,
            account,
            order: order_id,
            price: maybe(rng, |rng| Price(wild(rng))),
            size: maybe(rng, |rng| Size(wild(rng))),
            extra_hold: amount(rng),
        }),
        4 => MarketEntry::Configure(Box::new(config(rng))),
        5 => MarketEntry::Tick,
        6 => MarketEntry::Atomic(Box::new(atomic(rng))),
        7 => MarketEntry::Reconfigure { ticket, config: Box::new(safe_config(rng)) },
        8 => {
            MarketEntry::Kill { ticket, account: maybe(rng, |rng| AccountId(wild(rng) as u32)), engaged: rng.one_in(2) }
        }
        _ => MarketEntry::BeginAuction { ticket, ends_at: Timestamp(wild(rng) as i64) },
    }
}

fn ledger_entry(rng: &mut Rng, kind: u64) -> LedgerEntry {
    let (ticket, account) = (Ticket(wild(rng)), AccountId(wild(rng) as u32));
    let currency = CurrencyId(wild(rng) as u16);
    let movement = Movement { ticket, account, currency, amount: amount(rng), transfer: wide(rng) };
    match kind {
        0 => LedgerEntry::ListCurrency(Box::new(Currency {
            id: currency,
            code: text(rng),
            name: text(rng),
            decimals: wild(rng) as u8,
            fiat: rng.one_in(2),
        })),
        1 => LedgerEntry::ListMarket(Box::new(config(rng))),
        2 => LedgerEntry::OpenAccount { ticket, account },
        3 => LedgerEntry::Deposit(movement),
        4 => LedgerEntry::Withdraw(movement),
        5 => LedgerEntry::Transfer { movement, to: AccountId(wild(rng) as u32) },
        6 => LedgerEntry::SetFrozen { ticket, account, frozen: rng.one_in(2) },
        7 => LedgerEntry::HoldWithdrawal(movement),
        8 => LedgerEntry::ReleaseWithdrawal { ticket, transfer: wide(rng) },
        10 => LedgerEntry::AddCurrency { ticket, currency: Box::new(self::currency(rng)) },
        11 => LedgerEntry::AddMarket { ticket, config: Box::new(safe_config(rng)) },
        12 => LedgerEntry::SetStopped { ticket, stopped: rng.one_in(2) },
        _ => {
            let how = rng.pick(&[Settlement::Canceled, Settlement::Failed, Settlement::Paid]);
            LedgerEntry::SettleWithdrawal { ticket, transfer: wide(rng), how }
        }
    }
}

const MARKET_KINDS: u64 = 10;
const LEDGER_KINDS: u64 = 13;
/// The kinds that the first golden file holds; later ones are held below.
const FIRST_LEDGER_KINDS: u64 = 7;
const FIRST_MARKET_KINDS: u64 = 6;

fn encoded<E: Coded>(entries: &[E]) -> Vec<u8> {
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| entry.encode(&mut bytes));
    bytes
}

fn decoded<E: Coded>(bytes: &[u8]) -> Result<Vec<E>, CodecError> {
    Entries::new(bytes).collect()
}

fn comes_back<E: Coded + PartialEq + Debug>(entries: &[E]) {
    let bytes = encoded(entries);
    let back = decoded::<E>(&bytes);
    assert_eq!(back.as_deref(), Ok(entries));
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut rng = Rng(1);
    for _ in 0..5_000 {
        let market: Vec<_> = (0..MARKET_KINDS).map(|kind| market_entry(&mut rng, kind)).collect();
        let ledger: Vec<_> = (0..LEDGER_KINDS).map(|kind| ledger_entry(&mut rng, kind)).collect();
        comes_back(&market);
        comes_back(&ledger);
    }
}

/// Bytes that decode are the only bytes for what they say.
fn is_canonical<E: Coded + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(entries) = decoded::<E>(bytes) else { return false };
    assert_eq!(encoded(&entries), bytes, "two texts for {entries:?}");
    true
}

#[test]
fn no_bytes_make_the_decoder_panic() {
    let mut rng = Rng(2);
    let mut readable = 0;
    for case in 0..120_000 {
        let mut bytes = match case % 3 {
            0 => (0..rng.below(80)).map(|_| rng.next() as u8).collect(),
            1 => encoded(&[{
                let kind = rng.below(MARKET_KINDS);
                market_entry(&mut rng, kind)
            }]),
            _ => encoded(&[{
                let kind = rng.below(LEDGER_KINDS);
                ledger_entry(&mut rng, kind)
            }]),
        };
        for _ in 0..rng.below(4) {
            let at = rng.below(bytes.len() as u64 + 1) as usize;
            match rng.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, rng.next() as u8),
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << rng.below(8);
                    }
                }
            }
        }
        readable += u32::from(is_canonical::<MarketEntry>(&bytes)) + u32::from(is_canonical::<LedgerEntry>(&bytes));
    }
    assert!(readable > 10_000, "only {readable} cases could be read: the mutations are too rough");
}

#[test]
fn entries_of_version_1_stay_readable() {
    let mut rng = Rng(20_240_601);
    let mut lines = String::new();
    let mut line = |name: &str, bytes: &[u8]| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push_str(&format!("{name} {hex}\n"));
    };
    for kind in 0..FIRST_MARKET_KINDS {
        // Several orders, so that each of their shapes is there.
        for _ in 0..if kind == 0 { 12 } else { 2 } {
            line("market", &encoded(&[market_entry(&mut rng, kind)]));
        }
    }
    for kind in 0..FIRST_LEDGER_KINDS {
        for _ in 0..2 {
            line("ledger", &encoded(&[ledger_entry(&mut rng, kind)]));
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/entries-v1.hex");
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    // A new format version gets a file of its own; this one is never written again.
    assert!(golden == lines, "the bytes of version 1 have changed; they are now:\n{lines}");
    for (number, line) in golden.lines().enumerate() {
        let (stream, hex) = line.split_once(' ').unwrap();
        let bytes: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        let readable =
            if stream == "market" { is_canonical::<MarketEntry>(&bytes) } else { is_canonical::<LedgerEntry>(&bytes) };
        assert!(readable, "line {} cannot be read any more", number + 1);
    }
}

#[test]
fn withdrawals_keep_their_bytes() {
    let movement = Movement {
        ticket: Ticket(300),
        account: AccountId(2),
        currency: CurrencyId(1),
        amount: Amount(5),
        transfer: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
    };
    let (ticket, transfer) = (movement.ticket, movement.transfer);
    for (entry, expected) in [
        (LedgerEntry::HoldWithdrawal(movement), "271500ac0202010a100f0e0d0c0b0a090807060504030201"),
        (LedgerEntry::ReleaseWithdrawal { ticket, transfer }, "281200ac02100f0e0d0c0b0a090807060504030201"),
        (
            LedgerEntry::SettleWithdrawal { ticket, transfer, how: Settlement::Paid },
            "291300ac02100f0e0d0c0b0a09080706050403020102",
        ),
    ] {
        let bytes = encoded(std::slice::from_ref(&entry));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected, "{entry:?}");
        assert!(is_canonical::<LedgerEntry>(&bytes));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The kinds that were added after the first golden file: many of each, drawn with a fixed seed.
#[test]
fn later_entries_of_version_1_stay_readable() {
    let mut lines = String::new();
    for kind in FIRST_MARKET_KINDS..MARKET_KINDS {
        let mut rng = Rng(20_261_125 + kind);
        for _ in 0..6 {
            lines.push_str(&format!("market {}\n", hex(&encoded(&[market_entry(&mut rng, kind)]))));
        }
    }
    for kind in FIRST_LEDGER_KINDS..LEDGER_KINDS {
        let mut rng = Rng(20_261_225 + kind);
        for _ in 0..4 {
            lines.push_str(&format!("ledger {}\n", hex(&encoded(&[ledger_entry(&mut rng, kind)]))));
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/entries-v1-later.hex");
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    // A new kind adds lines; those that are there never change.
    assert!(golden == lines, "the bytes of later kinds have changed; they are now:\n{lines}");
}
