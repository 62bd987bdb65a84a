//! The book as bytes.

use super::ladder::Ladder;
use super::slab::{NIL, Slab};
use super::stops::Range;
use super::{Book, UserOrders};
use crate::domain::market::{MarketConfig, Phase, Scale};
use crate::domain::money::Price;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The book as snapshots hold it. User lists, expiries and stops follow from the slots.
#[derive(Deserialize)]
struct Image {
    config: MarketConfig,
    scale: Scale,
    slab: Slab,
    bids: Ladder,
    asks: Ladder,
    orders: u64,
    trades: u64,
    last_price: Option<Price>,
    feed_sequence: u64,
    digest: u64,
    phase: Phase,
    unheard: Range,
    /// The reference price of the halt, and since when.
    reference: (Price, Timestamp),
}

impl Serialize for Book {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut image = serializer.serialize_struct("Image", 13)?;
        image.serialize_field("config", &self.config)?;
        image.serialize_field("scale", &self.scale)?;
        image.serialize_field("slab", &self.slab)?;
        image.serialize_field("bids", &self.bids)?;
        image.serialize_field("asks", &self.asks)?;
        image.serialize_field("orders", &self.orders)?;
        image.serialize_field("trades", &self.trades)?;
        image.serialize_field("last_price", &self.last_price)?;
        image.serialize_field("feed_sequence", &self.feed_sequence)?;
        image.serialize_field("digest", &self.digest)?;
        image.serialize_field("phase", &self.phase)?;
        image.serialize_field("unheard", &self.unheard)?;
        image.serialize_field("reference", &(self.corridor.reference, self.corridor.since))?;
        image.end()
    }
}

impl Book {
    fn restore(image: Image) -> Book {
        let Image { phase, unheard, reference, .. } = image;
        let Image { config, scale, slab, bids, asks, orders, trades, last_price, feed_sequence, digest, .. } = image;
        let mut book =
            Book { slab, bids, asks, orders, trades, last_price, feed_sequence, digest, ..Book::new(config, scale) };
        (book.phase, book.unheard) = (phase, unheard);
        book.corridor = book.corridor_around(reference.0, reference.1);
        for slot in book.slab.slots() {
            let live = book.slab.live(slot);
            let user = book.users.entry(live.hot.account).or_insert(UserOrders { head: NIL, count: 0 });
            user.count += 1;
            if live.hot.user_prev == NIL {
                user.head = slot;
            }
            if live.hot.expires() {
                book.expiries.insert((live.rare.expires_at, live.hot.number, slot));
            }
            if live.hot.is_sleeping() {
                book.stops.insert(&live);
            }
        }
        book
    }
}

impl<'de> Deserialize<'de> for Book {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Book, D::Error> {
        Image::deserialize(deserializer).map(Book::restore)
    }
}
