//! Entries as bytes.
//!
//! Each entry is `kind: u8, length: u16 LE, fields`; the length covers the fields alone. Numbers are
//! LEB128 varints (signed ones zigzag), ids of 128 bits are 16 bytes LE, options are a byte 0 or 1
//! before the value, text is a varint length and UTF-8. The layout is part of the batch format
//! version ([`super::batch::FORMAT_VERSION`]); golden files hold it.

mod fields;

pub use fields::Reader;
pub(in crate::domain) use fields::Writer;

use super::entry::{Amend, Atomic, LedgerEntry, MarketEntry, Movement, Settlement};
use super::ids::{ClientOrderId, CurrencyId, MarketId};
use super::invariant::broken;
use super::market::{Currency, MarketConfig, MarketState, Safety, Step};
use super::money::{Ppm, Price, Size};
use super::order::{Kind, NewOrder, SelfTrade, Side, Stop, TimeInForce, Trigger};
use thiserror::Error;

/// Why bytes are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The bytes end inside a field.
    #[error("the entry ends early")]
    Truncated,
    /// A kind that this stream does not have.
    #[error("there is no entry of kind {0}")]
    UnknownKind(u8),
    /// A field holds a value that it cannot have.
    #[error("an entry has a bad {0}")]
    BadField(&'static str),
    /// Bytes are left over inside the entry.
    #[error("an entry is longer than its fields")]
    TrailingBytes,
}

/// An entry that can stand in a stream.
pub trait Coded: Sized {
    /// Appends the entry to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads one entry of this kind with these fields.
    ///
    /// # Errors
    /// [`CodecError`] when they are not exactly one entry.
    fn decode_fields(kind: u8, fields: &mut Reader<'_>) -> Result<Self, CodecError>;
}

/// Reads entries from a batch's payload, one after the other.
#[derive(Clone, Debug)]
pub struct Entries<'a, E> {
    bytes: &'a [u8],
    kind: std::marker::PhantomData<E>,
}

impl<'a, E: Coded> Entries<'a, E> {
    /// The entries in `payload`.
    pub fn new(payload: &'a [u8]) -> Self {
        Entries { bytes: payload, kind: std::marker::PhantomData }
    }
}

impl<E: Coded> Iterator for Entries<'_, E> {
    type Item = Result<E, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let decoded = decode_one(self.bytes);
        self.bytes = match &decoded {
            Ok((_, rest)) => rest,
            Err(_) => &[],
        };
        Some(decoded.map(|(entry, _)| entry))
    }
}

fn decode_one<E: Coded>(bytes: &[u8]) -> Result<(E, &[u8]), CodecError> {
    let (&[kind, low, high], rest) = bytes.split_first_chunk::<3>().ok_or(CodecError::Truncated)?;
    let length = usize::from(u16::from_le_bytes([low, high]));
    let (fields, rest) = rest.split_at_checked(length).ok_or(CodecError::Truncated)?;
    let mut reader = Reader(fields);
    let entry = E::decode_fields(kind, &mut reader)?;
    if reader.0.is_empty() { Ok((entry, rest)) } else { Err(CodecError::TrailingBytes) }
}

/// Appends one entry: `fields` writes what follows kind and length.
pub(super) fn frame(out: &mut Vec<u8>, kind: u8, fields: impl FnOnce(&mut Writer<'_>)) {
    out.extend_from_slice(&[kind, 0, 0]);
    let start = out.len();
    fields(&mut Writer(out));
    // The longest entry is a market's configuration, well under a kilobyte. A length that wrapped
    // would make all that follows in the log unreadable, so it must never be written.
    let Ok(length) = u16::try_from(out.len() - start) else { broken("an entry longer than its length can say") };
    if let Some(place) = out.get_mut(start - 2..start) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

mod kind {
    pub(super) const PLACE: u8 = 1;
    pub(super) const CANCEL: u8 = 2;
    pub(super) const CANCEL_ALL: u8 = 3;
    pub(super) const AMEND: u8 = 4;
    pub(super) const CONFIGURE: u8 = 5;
    pub(super) const TICK: u8 = 6;
    pub(super) const ATOMIC: u8 = 7;
    pub(super) const RECONFIGURE: u8 = 8;
    pub(super) const KILL: u8 = 9;
    pub(super) const BEGIN_AUCTION: u8 = 10;
    pub(super) const LIST_CURRENCY: u8 = 32;
    pub(super) const LIST_MARKET: u8 = 33;
    pub(super) const OPEN_ACCOUNT: u8 = 34;
    pub(super) const DEPOSIT: u8 = 35;
    pub(super) const WITHDRAW: u8 = 36;
    pub(super) const TRANSFER: u8 = 37;
    pub(super) const SET_FROZEN: u8 = 38;
    pub(super) const HOLD_WITHDRAWAL: u8 = 39;
    pub(super) const RELEASE_WITHDRAWAL: u8 = 40;
    pub(super) const SETTLE_WITHDRAWAL: u8 = 41;
    pub(super) const ADD_CURRENCY: u8 = 42;
    pub(super) const ADD_MARKET: u8 = 43;
    pub(super) const SET_STOPPED: u8 = 44;
}

impl Coded for MarketEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            MarketEntry::Place(order) => frame(out, kind::PLACE, |w| write_order(w, order)),
            MarketEntry::Cancel { ticket, account, order } => frame(out, kind::CANCEL, |w| {
                w.uint(ticket.0);
                w.uint(u64::from(account.0));
                w.order_id(*order);
            }),
            MarketEntry::CancelAll { ticket, account, side } => frame(out, kind::CANCEL_ALL, |w| {
                w.uint(ticket.0);
                w.uint(u64::from(account.0));
                w.option(*side, |w, side| w.byte(side_code(side)));
            }),
            MarketEntry::Amend(amend) => frame(out, kind::AMEND, |w| write_amend(w, amend)),
            MarketEntry::Configure(config) => frame(out, kind::CONFIGURE, |w| write_market_without_safety(w, config)),
            MarketEntry::Tick => frame(out, kind::TICK, |_| {}),
            MarketEntry::Atomic(batch) => frame(out, kind::ATOMIC, |w| {
                w.uint(batch.ticket.0);
                w.uint(u64::from(batch.account.0));
                w.list(&batch.cancels, |w, order| w.order_id(*order));
                w.list(&batch.amends, write_amend);
                w.list(&batch.places, write_order);
            }),
            MarketEntry::Reconfigure { ticket, config } => frame(out, kind::RECONFIGURE, |w| {
                w.uint(ticket.0);
                write_market(w, config);
                write_safety(w, config.safety);
            }),
            MarketEntry::Kill { ticket, account, engaged } => frame(out, kind::KILL, |w| {
                w.uint(ticket.0);
                w.option(*account, |w, account| w.uint(u64::from(account.0)));
                w.bool(*engaged);
            }),
            MarketEntry::BeginAuction { ticket, ends_at } => frame(out, kind::BEGIN_AUCTION, |w| {
                w.uint(ticket.0);
                w.time(*ends_at);
            }),
        }
    }

    fn decode_fields(kind: u8, r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match kind {
            kind::PLACE => MarketEntry::Place(read_order(r)?),
            kind::CANCEL => MarketEntry::Cancel { ticket: r.ticket()?, account: r.account()?, order: r.order_id()? },
            kind::CANCEL_ALL => {
                MarketEntry::CancelAll { ticket: r.ticket()?, account: r.account()?, side: r.option(read_side)? }
            }
            kind::AMEND => MarketEntry::Amend(read_amend(r)?),
            kind::CONFIGURE => MarketEntry::Configure(Box::new(read_market(r)?)),
            kind::TICK => MarketEntry::Tick,
            kind::ATOMIC => MarketEntry::Atomic(Box::new(Atomic {
                ticket: r.ticket()?,
                account: r.account()?,
                cancels: r.list(Reader::order_id)?,
                amends: r.list(read_amend)?,
                places: r.list(read_order)?,
            })),
            kind::RECONFIGURE => {
                let (ticket, config, safety) = (r.ticket()?, read_market(r)?, read_safety(r)?);
                MarketEntry::Reconfigure { ticket, config: Box::new(MarketConfig { safety, ..config }) }
            }
            kind::KILL => {
                MarketEntry::Kill { ticket: r.ticket()?, account: r.option(Reader::account)?, engaged: r.bool()? }
            }
            kind::BEGIN_AUCTION => MarketEntry::BeginAuction { ticket: r.ticket()?, ends_at: r.time()? },
            other => return Err(CodecError::UnknownKind(other)),
        })
    }
}

impl Coded for LedgerEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            LedgerEntry::ListCurrency(currency) => frame(out, kind::LIST_CURRENCY, |w| write_currency(w, currency)),
            LedgerEntry::AddCurrency { ticket, currency } => frame(out, kind::ADD_CURRENCY, |w| {
                w.uint(ticket.0);
                write_currency(w, currency);
            }),
            LedgerEntry::AddMarket { ticket, config } => frame(out, kind::ADD_MARKET, |w| {
                w.uint(ticket.0);
                write_market(w, config);
                write_safety(w, config.safety);
            }),
            LedgerEntry::SetStopped { ticket, stopped } => frame(out, kind::SET_STOPPED, |w| {
                w.uint(ticket.0);
                w.bool(*stopped);
            }),
            LedgerEntry::ListMarket(config) => {
                frame(out, kind::LIST_MARKET, |w| write_market_without_safety(w, config))
            }
            LedgerEntry::OpenAccount { ticket, account } => frame(out, kind::OPEN_ACCOUNT, |w| {
                w.uint(ticket.0);
                w.uint(u64::from(account.0));
            }),
            LedgerEntry::Deposit(movement) => frame(out, kind::DEPOSIT, |w| write_movement(w, movement)),
            LedgerEntry::Withdraw(movement) => frame(out, kind::WITHDRAW, |w| write_movement(w, movement)),
            LedgerEntry::Transfer { movement, to } => frame(out, kind::TRANSFER, |w| {
                write_movement(w, movement);
                w.uint(u64::from(to.0));
            }),
            LedgerEntry::SetFrozen { ticket, account, frozen } => frame(out, kind::SET_FROZEN, |w| {
                w.uint(ticket.0);
                w.uint(u64::from(account.0));
                w.bool(*frozen);
            }),
            LedgerEntry::HoldWithdrawal(movement) => frame(out, kind::HOLD_WITHDRAWAL, |w| write_movement(w, movement)),
            LedgerEntry::ReleaseWithdrawal { ticket, transfer } => frame(out, kind::RELEASE_WITHDRAWAL, |w| {
                w.uint(ticket.0);
                w.wide(*transfer);
            }),
            LedgerEntry::SettleWithdrawal { ticket, transfer, how } => frame(out, kind::SETTLE_WITHDRAWAL, |w| {
                w.uint(ticket.0);
                w.wide(*transfer);
                w.byte(match how {
                    Settlement::Canceled => 0,
                    Settlement::Failed => 1,
                    Settlement::Paid => 2,
                });
            }),
        }
    }

    fn decode_fields(kind: u8, r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match kind {
            kind::LIST_CURRENCY => LedgerEntry::ListCurrency(Box::new(read_currency(r)?)),
            kind::ADD_CURRENCY => {
                LedgerEntry::AddCurrency { ticket: r.ticket()?, currency: Box::new(read_currency(r)?) }
            }
            kind::ADD_MARKET => {
                let (ticket, config, safety) = (r.ticket()?, read_market(r)?, read_safety(r)?);
                LedgerEntry::AddMarket { ticket, config: Box::new(MarketConfig { safety, ..config }) }
            }
            kind::SET_STOPPED => LedgerEntry::SetStopped { ticket: r.ticket()?, stopped: r.bool()? },
            kind::LIST_MARKET => LedgerEntry::ListMarket(Box::new(read_market(r)?)),
            kind::OPEN_ACCOUNT => LedgerEntry::OpenAccount { ticket: r.ticket()?, account: r.account()? },
            kind::DEPOSIT => LedgerEntry::Deposit(read_movement(r)?),
            kind::WITHDRAW => LedgerEntry::Withdraw(read_movement(r)?),
            kind::TRANSFER => LedgerEntry::Transfer { movement: read_movement(r)?, to: r.account()? },
            kind::SET_FROZEN => {
                LedgerEntry::SetFrozen { ticket: r.ticket()?, account: r.account()?, frozen: r.bool()? }
            }
            kind::HOLD_WITHDRAWAL => LedgerEntry::HoldWithdrawal(read_movement(r)?),
            kind::RELEASE_WITHDRAWAL => LedgerEntry::ReleaseWithdrawal { ticket: r.ticket()?, transfer: r.wide()? },
            kind::SETTLE_WITHDRAWAL => {
                let (ticket, transfer) = (r.ticket()?, r.wide()?);
                let how = match r.byte()? {
                    0 => Settlement::Canceled,
                    1 => Settlement::Failed,
                    2 => Settlement::Paid,
                    _ => return Err(CodecError::BadField("settlement")),
                };
                LedgerEntry::SettleWithdrawal { ticket, transfer, how }
            }
            other => return Err(CodecError::UnknownKind(other)),
        })
    }
}

fn write_currency(w: &mut Writer<'_>, currency: &Currency) {
    w.uint(u64::from(currency.id.0));
    w.text(&currency.code);
    w.text(&currency.name);
    w.byte(currency.decimals);
    w.bool(currency.fiat);
}

fn read_currency(r: &mut Reader<'_>) -> Result<Currency, CodecError> {
    Ok(Currency {
        id: CurrencyId(r.small("currency")?),
        code: r.text()?,
        name: r.text()?,
        decimals: r.byte()?,
        fiat: r.bool()?,
    })
}

/// The first entries about markets have no room for it: what they would leave out must not be lost in silence.
fn write_market_without_safety(w: &mut Writer<'_>, config: &MarketConfig) {
    if config.safety != Safety::default() {
        broken("an entry that cannot say when its market halts");
    }
    write_market(w, config);
}

/// What the first entries about markets did not know; it follows the market's other fields in the later ones.
fn write_safety(w: &mut Writer<'_>, safety: Safety) {
    for number in [safety.halt.0, safety.window_ms, safety.auction_ms] {
        w.uint(u64::from(number));
    }
}

fn read_safety(r: &mut Reader<'_>) -> Result<Safety, CodecError> {
    Ok(Safety { halt: Ppm(r.small("halt")?), window_ms: r.small("window")?, auction_ms: r.small("auction")? })
}

fn write_amend(w: &mut Writer<'_>, amend: &Amend) {
    w.uint(amend.ticket.0);
    w.uint(u64::from(amend.account.0));
    w.order_id(amend.order);
    w.option(amend.price, |w, price| w.uint(price.0));
    w.option(amend.size, |w, size| w.uint(size.0));
    w.amount(amend.extra_hold);
}

fn read_amend(r: &mut Reader<'_>) -> Result<Amend, CodecError> {
    Ok(Amend {
        ticket: r.ticket()?,
        account: r.account()?,
        order: r.order_id()?,
        price: r.option(|r| r.uint().map(Price))?,
        size: r.option(|r| r.uint().map(Size))?,
        extra_hold: r.amount()?,
    })
}

fn side_code(side: Side) -> u8 {
    match side {
        Side::Buy => 0,
        Side::Sell => 1,
    }
}

fn read_side(r: &mut Reader<'_>) -> Result<Side, CodecError> {
    Ok(if r.bool()? { Side::Sell } else { Side::Buy })
}

/// Flags of an order, one byte: bit 0 sell, 1 market, 2 post-only, 3 stop, 4 entry (of a stop),
/// 5 client id, 6 and 7 the self-trade rule.
fn write_order(w: &mut Writer<'_>, order: &NewOrder) {
    let (market, post_only) = match order.kind {
        Kind::Market { .. } => (1, 0),
        Kind::Limit { post_only, .. } => (0, u8::from(post_only)),
    };
    let entry = u8::from(order.stop.is_some_and(|stop| stop.trigger == Trigger::Entry));
    let rule = match order.self_trade {
        SelfTrade::DecrementAndCancel => 0,
        SelfTrade::CancelOldest => 1,
        SelfTrade::CancelNewest => 2,
        SelfTrade::CancelBoth => 3,
    };
    w.byte(
        side_code(order.side)
            | market << 1
            | post_only << 2
            | u8::from(order.stop.is_some()) << 3
            | entry << 4
            | u8::from(order.client_id.is_some()) << 5
            | rule << 6,
    );
    w.uint(order.ticket.0);
    w.uint(u64::from(order.account.0));
    w.uint(order.size.0);
    w.amount(order.hold);
    w.uint(u64::from(order.maker_fee.0));
    w.uint(u64::from(order.taker_fee.0));
    match order.kind {
        Kind::Limit { price, time_in_force, .. } => {
            w.uint(price.0);
            match time_in_force {
                TimeInForce::GoodTillCanceled => w.byte(0),
                TimeInForce::GoodTillTime(at) => {
                    w.byte(1);
                    w.time(at);
                }
                TimeInForce::ImmediateOrCancel => w.byte(2),
                TimeInForce::FillOrKill => w.byte(3),
            }
        }
        Kind::Market { funds } => w.option(funds, Writer::amount),
    }
    if let Some(stop) = order.stop {
        w.uint(stop.price.0);
    }
    if let Some(ClientOrderId(id)) = order.client_id {
        w.wide(id);
    }
}

fn read_order(r: &mut Reader<'_>) -> Result<NewOrder, CodecError> {
    let flags = r.byte()?;
    let has = |bit: u8| flags >> bit & 1 == 1;
    let ticket = r.ticket()?;
    let account = r.account()?;
    let size = Size(r.uint()?);
    let hold = r.amount()?;
    let maker_fee = Ppm(r.small("fee")?);
    let taker_fee = Ppm(r.small("fee")?);
    let kind = if has(1) {
        if has(2) {
            return Err(CodecError::BadField("flags"));
        }
        Kind::Market { funds: r.option(Reader::amount)? }
    } else {
        let price = Price(r.uint()?);
        let time_in_force = match r.byte()? {
            0 => TimeInForce::GoodTillCanceled,
            1 => TimeInForce::GoodTillTime(r.time()?),
            2 => TimeInForce::ImmediateOrCancel,
            3 => TimeInForce::FillOrKill,
            _ => return Err(CodecError::BadField("time in force")),
        };
        Kind::Limit { price, time_in_force, post_only: has(2) }
    };
    let stop = match (has(3), has(4)) {
        (true, entry) => {
            let trigger = if entry { Trigger::Entry } else { Trigger::Loss };
            Some(Stop { trigger, price: Price(r.uint()?) })
        }
        (false, false) => None,
        (false, true) => return Err(CodecError::BadField("flags")),
    };
    let client_id = if has(5) { Some(ClientOrderId(r.wide()?)) } else { None };
    let self_trade = match flags >> 6 {
        0 => SelfTrade::DecrementAndCancel,
        1 => SelfTrade::CancelOldest,
        2 => SelfTrade::CancelNewest,
        _ => SelfTrade::CancelBoth,
    };
    let side = if has(0) { Side::Sell } else { Side::Buy };
    Ok(NewOrder { ticket, account, client_id, side, kind, size, stop, self_trade, maker_fee, taker_fee, hold })
}

fn write_movement(w: &mut Writer<'_>, movement: &Movement) {
    w.uint(movement.ticket.0);
    w.uint(u64::from(movement.account.0));
    w.uint(u64::from(movement.currency.0));
    w.amount(movement.amount);
    w.wide(movement.transfer);
}

fn read_movement(r: &mut Reader<'_>) -> Result<Movement, CodecError> {
    Ok(Movement {
        ticket: r.ticket()?,
        account: r.account()?,
        currency: CurrencyId(r.small("currency")?),
        amount: r.amount()?,
        transfer: r.wide()?,
    })
}

fn write_market(w: &mut Writer<'_>, config: &MarketConfig) {
    w.uint(u64::from(config.id.0));
    w.text(&config.symbol);
    w.uint(u64::from(config.base.0));
    w.uint(u64::from(config.quote.0));
    for step in [config.tick, config.lot] {
        w.uint(step.units);
        w.byte(step.decimals);
    }
    for number in [u64::from(config.maker_fee.0), u64::from(config.taker_fee.0), config.min_size.0, config.max_size.0] {
        w.uint(number);
    }
    w.amount(config.min_funds);
    w.amount(config.max_funds);
    for number in [u64::from(config.band.0), config.reference_price.0, u64::from(config.max_open_orders)] {
        w.uint(number);
    }
    w.byte(match config.state {
        MarketState::Online => 0,
        MarketState::PostOnly => 1,
        MarketState::LimitOnly => 2,
        MarketState::CancelOnly => 3,
        MarketState::Halted => 4,
    });
}

fn read_market(r: &mut Reader<'_>) -> Result<MarketConfig, CodecError> {
    let step = |r: &mut Reader<'_>| Ok(Step { units: r.uint()?, decimals: r.byte()? });
    Ok(MarketConfig {
        id: MarketId(r.small("market")?),
        symbol: r.text()?,
        base: CurrencyId(r.small("currency")?),
        quote: CurrencyId(r.small("currency")?),
        tick: step(r)?,
        lot: step(r)?,
        maker_fee: Ppm(r.small("fee")?),
        taker_fee: Ppm(r.small("fee")?),
        min_size: Size(r.uint()?),
        max_size: Size(r.uint()?),
        min_funds: r.amount()?,
        max_funds: r.amount()?,
        band: Ppm(r.small("band")?),
        reference_price: Price(r.uint()?),
        max_open_orders: r.small("limit")?,
        state: match r.byte()? {
            0 => MarketState::Online,
            1 => MarketState::PostOnly,
            2 => MarketState::LimitOnly,
            3 => MarketState::CancelOnly,
            4 => MarketState::Halted,
            _ => return Err(CodecError::BadField("market state")),
        },
        safety: Safety::default(),
    })
}
