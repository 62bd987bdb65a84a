//! The fields of entries as bytes.

use super::CodecError;
use crate::domain::ids::{AccountId, OrderId, Ticket};
use crate::domain::money::Amount;
use crate::domain::time::Timestamp;

/// Writes fields one after the other.
pub(in crate::domain) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(in crate::domain) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(in crate::domain) fn bool(&mut self, value: bool) {
        self.byte(u8::from(value));
    }

    pub(in crate::domain) fn uint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(in crate::domain) fn amount(&mut self, Amount(value): Amount) {
        let mut rest = ((value << 1) ^ (value >> 127)) as u128;
        while rest >= 0x80 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }

    pub(in crate::domain) fn wide(&mut self, value: u128) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(in crate::domain) fn text(&mut self, value: &str) {
        self.uint(value.len() as u64);
        self.0.extend_from_slice(value.as_bytes());
    }

    pub(in crate::domain) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(in crate::domain) fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.uint(items.len() as u64);
        items.iter().for_each(|item| write(self, item));
    }

    pub(in crate::domain) fn order_id(&mut self, id: OrderId) {
        self.uint(id.number);
        self.uint(u64::from(id.slot));
    }

    pub(in crate::domain) fn time(&mut self, at: Timestamp) {
        self.amount(Amount(i128::from(at.0)));
    }
}

/// Reads fields one after the other; every read checks what is left.
#[derive(Debug)]
pub struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(in crate::domain) fn byte(&mut self) -> Result<u8, CodecError> {
        let (&first, rest) = self.0.split_first().ok_or(CodecError::Truncated)?;
        self.0 = rest;
        Ok(first)
    }

    pub(in crate::domain) fn bool(&mut self) -> Result<bool, CodecError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::BadField("flag")),
        }
    }

    pub(in crate::domain) fn varint(&mut self, bits: u32) -> Result<u128, CodecError> {
        let mut value: u128 = 0;
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            if shift >= bits || (bits - shift < 7 && part >> (bits - shift) != 0) {
                return Err(CodecError::BadField("number"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                // Exactly one text for each number: a padded one was written by somebody else.
                return if byte == 0 && shift > 0 { Err(CodecError::BadField("number")) } else { Ok(value) };
            }
            shift += 7;
        }
    }

    pub(in crate::domain) fn uint(&mut self) -> Result<u64, CodecError> {
        self.varint(64).map(|value| value as u64)
    }

    pub(in crate::domain) fn small<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, CodecError> {
        T::try_from(self.uint()?).map_err(|_| CodecError::BadField(what))
    }

    pub(in crate::domain) fn amount(&mut self) -> Result<Amount, CodecError> {
        let zigzag = self.varint(128)?;
        Ok(Amount((zigzag >> 1) as i128 ^ -((zigzag & 1) as i128)))
    }

    pub(in crate::domain) fn wide(&mut self) -> Result<u128, CodecError> {
        let (bytes, rest) = self.0.split_first_chunk::<16>().ok_or(CodecError::Truncated)?;
        self.0 = rest;
        Ok(u128::from_le_bytes(*bytes))
    }

    pub(in crate::domain) fn text(&mut self) -> Result<String, CodecError> {
        let length: usize = self.small("text length")?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(CodecError::Truncated)?;
        self.0 = rest;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| CodecError::BadField("text"))
    }

    pub(in crate::domain) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(in crate::domain) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let count: usize = self.small("count")?;
        // Every item has at least one byte, so a count that was made up reserves nothing.
        if count > self.0.len() {
            return Err(CodecError::Truncated);
        }
        (0..count).map(|_| read(self)).collect()
    }

    pub(in crate::domain) fn order_id(&mut self) -> Result<OrderId, CodecError> {
        Ok(OrderId { number: self.uint()?, slot: self.small("slot")? })
    }

    pub(in crate::domain) fn time(&mut self) -> Result<Timestamp, CodecError> {
        i64::try_from(self.amount()?.0).map(Timestamp).map_err(|_| CodecError::BadField("time"))
    }

    pub(in crate::domain) fn account(&mut self) -> Result<AccountId, CodecError> {
        self.small("account").map(AccountId)
    }

    pub(in crate::domain) fn ticket(&mut self) -> Result<Ticket, CodecError> {
        self.uint().map(Ticket)
    }
}
