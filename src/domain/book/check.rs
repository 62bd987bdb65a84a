//! What an order must satisfy before it is taken in. [`Reject`]'s order of variants is the order
//! of these checks.

use super::Book;
use crate::domain::entry::Amend;
use crate::domain::ids::AccountId;
use crate::domain::market::{MarketState, Phase};
use crate::domain::money::{Amount, MAX_AMOUNT, MILLION, Ppm, Price, Size};
use crate::domain::order::{Kind, NewOrder, Reject, Side, TimeInForce, Trigger};
use crate::domain::time::Timestamp;

impl Book {
    /// How many resting orders are looked at to tell what a market order needs, or whether a fill-or-kill order that was a
    /// stop can be filled: of those very many may wake at once. Whoever asks pays nothing for the answer, and everybody
    /// waits for it.
    pub const MOST_LOOKED_AT: usize = 1_000;

    /// How many resting orders are looked at to tell whether a fill-or-kill order can be filled that has just come.
    pub const MOST_TAKEN_AT_ONCE: usize = 100_000;

    /// Everything that can be said about a new order without looking at the other side of the book.
    /// Asked at admission, so that no hold is taken in vain, and again by `apply`.
    ///
    /// # Errors
    /// The first [`Reject`] that applies.
    pub fn check(&self, order: &NewOrder, at: Timestamp) -> Result<(), Reject> {
        self.check_alone(order, at)?;
        if self.is_full(order.account, 0) {
            return Err(Reject::TooManyOpenOrders);
        }
        Ok(())
    }

    /// The price of an order that surely passes [`Book::check`] and [`Book::check_taking`]: the answer for nearly all orders in
    /// a market as it nearly always is, in 64 bits and at a third of the price. `None` says nothing.
    #[inline]
    pub(super) fn plain_price(&self, order: &NewOrder) -> Option<Price> {
        let Kind::Limit { price, time_in_force: TimeInForce::GoodTillCanceled, post_only: false } = order.kind else {
            return None;
        };
        let config = &self.config;
        let usual = config.state == MarketState::Online && self.phase == Phase::Trading && order.stop.is_none();
        let in_range = (1..=Price::MAX.0).contains(&price.0) && (1..=Size::MAX.0).contains(&order.size.0);
        if !usual || !in_range || order.size < config.min_size || order.size > config.max_size {
            return None;
        }
        let quote = price.0.checked_mul(order.size.0)?.checked_mul(self.scale.quote_per_tick_lot)?;
        let needed = match order.side {
            Side::Sell => order.size.0.checked_mul(self.scale.base_per_lot)?,
            Side::Buy => {
                let millionths = quote.checked_mul(u64::from(order.maker_fee.max(order.taker_fee).0))?;
                quote.checked_add(millionths.div_ceil(MILLION as u64))?
            }
        };
        let (notional, needed) = (Amount(i128::from(quote)), Amount(i128::from(needed)));
        let passes = (config.min_funds..=config.max_funds.min(MAX_AMOUNT)).contains(&notional)
            && (needed..=MAX_AMOUNT).contains(&order.hold)
            && self.is_inside_band(price, config.band)
            && !self.is_full(order.account, 0);
        passes.then_some(price)
    }

    /// The same, whatever other orders the user has.
    ///
    /// # Errors
    /// The first [`Reject`] that applies.
    pub fn check_alone(&self, order: &NewOrder, at: Timestamp) -> Result<(), Reject> {
        match self.config.state {
            MarketState::Halted => return Err(Reject::MarketHalted),
            MarketState::CancelOnly => return Err(Reject::CancelOnly),
            MarketState::Online | MarketState::PostOnly | MarketState::LimitOnly => {}
        }
        if self.phase == Phase::Killed {
            return Err(Reject::KillSwitch);
        }
        check_form(order, at)?;
        let post_only = match order.kind {
            Kind::Market { .. } if self.config.state == MarketState::LimitOnly => return Err(Reject::LimitOnly),
            Kind::Market { .. } => false,
            Kind::Limit { post_only, .. } => post_only,
        };
        if self.config.state == MarketState::PostOnly && !post_only {
            return Err(Reject::PostOnlyMode);
        }
        if self.in_auction() && (post_only || order.stop.is_some() || !may_rest(order)) {
            return Err(Reject::AuctionOnly);
        }
        self.check_limits(order)
    }

    /// Whether the user has as many live orders as the market allows, or would with so many `more`.
    pub(super) fn is_full(&self, account: AccountId, more: i64) -> bool {
        let limit = i64::from(self.config.max_open_orders);
        if limit == 0 {
            return false;
        }
        let count = self.users.get(&account).map_or(0, |orders| i64::from(orders.count));
        count + more >= limit
    }

    fn check_limits(&self, order: &NewOrder) -> Result<(), Reject> {
        let config = &self.config;
        if !order.size.is_zero() {
            self.check_size(order.size)?;
        }
        let notional = match order.kind {
            Kind::Limit { price, .. } => Some(self.scale.quote(price, order.size)),
            Kind::Market { funds } => funds,
        };
        if let Some(notional) = notional {
            self.check_notional(notional)?;
        }
        if order.hold > MAX_AMOUNT {
            return Err(Reject::FundsTooLarge);
        }
        let limit = match order.kind {
            Kind::Limit { price, .. } => Some(price),
            Kind::Market { .. } => None,
        };
        for price in limit.into_iter().chain(order.stop.map(|stop| stop.price)) {
            if !self.is_inside_band(price, config.band) {
                return Err(Reject::PriceOutsideBand);
            }
        }
        Ok(())
    }

    pub(super) fn check_size(&self, size: Size) -> Result<(), Reject> {
        if size < self.config.min_size {
            return Err(Reject::SizeTooSmall);
        }
        if size > self.config.max_size {
            return Err(Reject::SizeTooLarge);
        }
        Ok(())
    }

    pub(super) fn check_notional(&self, notional: Amount) -> Result<(), Reject> {
        if notional < self.config.min_funds {
            return Err(Reject::FundsTooSmall);
        }
        if notional > self.config.max_funds || notional > MAX_AMOUNT {
            return Err(Reject::FundsTooLarge);
        }
        Ok(())
    }

    /// Whether a price lies within the band around the last trade, or around the configured
    /// reference before any.
    pub(super) fn is_inside_band(&self, price: Price, band: Ppm) -> bool {
        let reference = self.last_price.unwrap_or(self.config.reference_price);
        if band.0 == 0 || reference.0 == 0 {
            return true;
        }
        let (price, reference) = (i128::from(price.0), i128::from(reference.0));
        (price - reference).abs() * MILLION <= reference * i128::from(band.0)
    }

    /// What depends on the other side of the book, and on the hold that came with the order.
    #[inline]
    pub(super) fn check_taking(
        &self,
        order: &NewOrder,
        would_take: impl FnOnce(Side, Price) -> bool,
    ) -> Result<(), Reject> {
        if order.hold.is_negative() {
            return Err(Reject::HoldTooSmall);
        }
        match order.kind {
            Kind::Limit { price, post_only, .. } => {
                let needed = self.hold_for(order.side, price, order.size, order.maker_fee.max(order.taker_fee));
                if order.hold < needed {
                    return Err(Reject::HoldTooSmall);
                }
                if post_only && order.stop.is_none() && would_take(order.side, price) {
                    return Err(Reject::PostOnlyWouldTake);
                }
            }
            Kind::Market { funds } => {
                let too_small = match (order.side, funds) {
                    // Without a size, the hold is what may be sold.
                    (Side::Sell, _) => order.hold < self.scale.base(order.size.max(Size(1))),
                    (Side::Buy, Some(funds)) => order.size.is_zero() && order.hold < funds,
                    (Side::Buy, None) => false,
                };
                if too_small {
                    return Err(Reject::HoldTooSmall);
                }
            }
        }
        Ok(())
    }

    /// What must be reserved for a limit order: quote with the worse fee for a buy, base for a sell.
    pub fn hold_for(&self, side: Side, price: Price, size: Size, worst_fee: Ppm) -> Amount {
        self.scale.hold_for(side, price, size, worst_fee)
    }

    /// Whether a limit order at this price would trade at once.
    pub(super) fn would_take(&self, side: Side, price: Price) -> bool {
        match side {
            Side::Buy => self.asks.best_price().is_some_and(|ask| ask <= price),
            Side::Sell => self.bids.best_price().is_some_and(|bid| bid >= price),
        }
    }

    /// What a market buy of `size` would cost now at most, fees included, if the book stayed as it is: what is to be had
    /// from the first [`Book::MOST_LOOKED_AT`] orders, and what the rest would cost at the price of the next, when there are
    /// more.
    ///
    /// # Errors
    /// [`Reject::FundsTooLarge`] when the first is more than the market's `max_funds`, fees aside.
    pub fn cost_of(&self, size: Size, fee: Ppm) -> Result<(Amount, Amount), Reject> {
        let mut left = size;
        let (mut notional, mut cost) = (Amount::ZERO, Amount::ZERO);
        for (looked, resting) in self.resting(Side::Sell).enumerate() {
            if left.is_zero() {
                break;
            }
            if looked == Book::MOST_LOOKED_AT {
                // Some prices further it is dearer; whoever reserves adds something for that.
                let quote = self.scale.quote(resting.price, left).min(self.config.max_funds - notional);
                return Ok((cost, quote + quote.share_rounded_up(fee)));
            }
            let part = left.min(resting.remaining);
            let quote = self.scale.quote(resting.price, part);
            notional += quote;
            if notional > self.config.max_funds {
                return Err(Reject::FundsTooLarge);
            }
            cost += quote + quote.share_rounded_up(fee);
            left = left - part;
        }
        Ok((cost, Amount::ZERO))
    }

    /// How many lots a market sell would need to bring in `funds` now, fees aside, if the book stayed as it is: those that
    /// the first [`Book::MOST_LOOKED_AT`] orders would take, at least one, and how many more it would be at the price of
    /// the next, when there are more.
    pub fn lots_to_obtain(&self, funds: Amount) -> (Size, Size) {
        let mut left = funds;
        let (mut lots, mut further) = (0u64, Size::ZERO);
        for (looked, resting) in self.resting(Side::Buy).enumerate() {
            if looked == Book::MOST_LOOKED_AT {
                further = self.scale.lots_for(left, resting.price, Ppm(0));
                break;
            }
            let part = self.scale.lots_for(left, resting.price, Ppm(0)).min(resting.remaining);
            lots = lots.saturating_add(part.0);
            if part < resting.remaining {
                break;
            }
            left -= self.scale.quote(resting.price, part);
        }
        (Size(lots.clamp(1, Size::MAX.0)), further)
    }

    /// What a market buy of `size` that sleeps until this price would cost there, fees included.
    ///
    /// # Errors
    /// [`Reject::FundsTooLarge`] when that is more than the market's `max_funds`, fees aside.
    pub fn cost_at(&self, price: Price, size: Size, fee: Ppm) -> Result<Amount, Reject> {
        let quote = self.scale.quote(price, size);
        if quote > self.config.max_funds {
            return Err(Reject::FundsTooLarge);
        }
        Ok(quote + quote.share_rounded_up(fee))
    }

    /// How many lots a market sell that sleeps until this price would need there to bring in `funds`, fees aside; at least
    /// one.
    pub fn lots_to_obtain_at(&self, price: Price, funds: Amount) -> Size {
        self.scale.lots_for(funds, price, Ppm(0)).max(Size(1))
    }

    /// What must be reserved in addition before a live order is changed like this; zero when it
    /// needs less than it has, or when the change will be refused anyway.
    pub fn extra_hold_for(&self, amend: &Amend) -> Amount {
        let Some(hot) = self.slab.find(amend.order) else { return Amount::ZERO };
        if hot.account != amend.account || hot.is_market() {
            return Amount::ZERO;
        }
        let live = self.slab.live(amend.order.slot);
        let filled = live.cold.size.0.saturating_sub(live.hot.remaining.0);
        let total = amend.size.unwrap_or(live.cold.size);
        let remaining = Size(total.0.saturating_sub(filled).min(Size::MAX.0));
        let price = amend.price.unwrap_or(live.hot.price).min(Price::MAX);
        let changed = self.on_other_terms(live, price, remaining);
        (self.required_hold(&changed, remaining) - live.hot.hold).max(Amount::ZERO)
    }
}

/// Whether what is not taken at once may stay in the book.
fn may_rest(order: &NewOrder) -> bool {
    let Kind::Limit { time_in_force, .. } = order.kind else { return false };
    matches!(time_in_force, TimeInForce::GoodTillCanceled | TimeInForce::GoodTillTime(_))
}

/// Whether the order makes sense in any market.
fn check_form(order: &NewOrder, at: Timestamp) -> Result<(), Reject> {
    let in_range = |price: Price| (1..=Price::MAX.0).contains(&price.0);
    if let Kind::Limit { price, .. } = order.kind
        && !in_range(price)
    {
        return Err(Reject::PriceOutOfRange);
    }
    let by_funds = matches!(order.kind, Kind::Market { funds: Some(_) });
    if order.size > Size::MAX || (order.size.is_zero() && !by_funds) {
        let market = matches!(order.kind, Kind::Market { .. });
        return Err(if market && order.size.is_zero() { Reject::FundsRequired } else { Reject::SizeRequired });
    }
    if let Kind::Market { funds: Some(funds) } = order.kind
        && (funds <= Amount::ZERO || funds > MAX_AMOUNT)
    {
        return Err(Reject::FundsRequired);
    }
    if let Kind::Limit { time_in_force, post_only, .. } = order.kind {
        let immediate = matches!(time_in_force, TimeInForce::ImmediateOrCancel | TimeInForce::FillOrKill);
        if post_only && immediate {
            return Err(Reject::PostOnlyCannotRest);
        }
    }
    if let Some(stop) = order.stop {
        let pair = matches!((order.side, stop.trigger), (Side::Sell, Trigger::Loss) | (Side::Buy, Trigger::Entry));
        if !pair || !in_range(stop.price) {
            return Err(Reject::BadStop);
        }
    }
    if let Kind::Limit { time_in_force: TimeInForce::GoodTillTime(expires_at), .. } = order.kind
        && expires_at <= at
    {
        return Err(Reject::AlreadyExpired);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::MarketEntry;
    use crate::domain::ids::{CurrencyId, Ticket};
    use crate::domain::market::{MOST_BASE_ATOMS, MOST_QUOTE_ATOMS, MarketConfig, Scale, Step};
    use crate::domain::order::SelfTrade;

    fn sell(price: u64, size: u64, hold: i128) -> NewOrder {
        NewOrder {
            ticket: Ticket(0),
            account: AccountId(2),
            client_id: None,
            side: Side::Sell,
            kind: Kind::Limit { price: Price(price), time_in_force: TimeInForce::GoodTillCanceled, post_only: false },
            size: Size(size),
            stop: None,
            self_trade: SelfTrade::DecrementAndCancel,
            maker_fee: Ppm(1_000),
            taker_fee: Ppm(2_000),
            hold: Amount(hold),
        }
    }

    fn books() -> impl Iterator<Item = Book> {
        let step = Step { units: 1, decimals: 0 };
        let config = MarketConfig::new("BTC-USDT".into(), CurrencyId(0), CurrencyId(1), step, step);
        let scales = [(1, 1), (MOST_QUOTE_ATOMS, MOST_BASE_ATOMS)];
        let scales = scales.map(|(quote_per_tick_lot, base_per_lot)| Scale { quote_per_tick_lot, base_per_lot });
        let changes: [fn(&mut MarketConfig); 8] = [
            |_| {},
            |config| config.state = MarketState::PostOnly,
            |config| config.state = MarketState::LimitOnly,
            |config| config.state = MarketState::CancelOnly,
            |config| config.state = MarketState::Halted,
            |config| (config.min_size, config.max_size) = (Size(2), Size(1_000)),
            |config| (config.min_funds, config.max_funds) = (Amount(150), Amount(1 << 50)),
            |config| (config.band, config.reference_price) = (Ppm(100_000), Price(100)),
        ];
        let changed = changes.into_iter().flat_map(move |change| {
            let mut config = config.clone();
            change(&mut config);
            scales.map(|scale| Book::new(config.clone(), scale))
        });
        changed.flat_map(|book| {
            // As it is, with the one order that a user may have, in an auction, and stopped.
            let mut full = book.clone();
            full.config.max_open_orders = 1;
            let order = sell(101, 5, i128::from(full.scale.base_per_lot) * 5);
            full.apply(Timestamp(1), &MarketEntry::Place(order), &mut Vec::new());
            let begin = MarketEntry::BeginAuction { ticket: Ticket(0), ends_at: Timestamp(9) };
            let kill = MarketEntry::Kill { ticket: Ticket(0), account: None, engaged: true };
            let [mut gathering, mut killed] = [book.clone(), book.clone()];
            gathering.apply(Timestamp(1), &begin, &mut Vec::new());
            killed.apply(Timestamp(1), &kill, &mut Vec::new());
            [book, full, gathering, killed]
        })
    }

    /// The quick answer is given where the whole one is asked in vain, and never where that refuses.
    #[test]
    fn what_passes_quickly_passes() {
        let mut plain = 0;
        let numbers = [0, 1, 2, 95, 100, 111, 1_000, 1_001, 1 << 32, Price::MAX.0, Price::MAX.0 + 1, u64::MAX];
        for book in books() {
            let pairs = numbers.into_iter().flat_map(|price| numbers.map(|size| (price, size)));
            for ((price, size), side) in pairs.flat_map(|pair| [Side::Buy, Side::Sell].map(|side| (pair, side))) {
                for fee in [0, 3, 100_000] {
                    let in_range = price <= Price::MAX.0 && size <= Size::MAX.0;
                    let needed = if in_range { book.hold_for(side, Price(price), Size(size), Ppm(fee)).0 } else { 1 };
                    let usual = book.config.state == MarketState::Online && book.phase == Phase::Trading;
                    let quote = if in_range { book.scale.quote(Price(price), Size(size)).0 } else { i128::MAX };
                    let in_64_bits = [quote, needed, quote.saturating_mul(i128::from(fee))];
                    let in_64_bits = in_64_bits.into_iter().all(|amount| u64::try_from(amount).is_ok());
                    for hold in [-1, needed - 1, needed, needed + 1, MAX_AMOUNT.0, MAX_AMOUNT.0 + 1] {
                        let order =
                            NewOrder { side, taker_fee: Ppm(fee), maker_fee: Ppm(0), ..sell(price, size, hold) };
                        let whole = book.examine(&order, Timestamp(2));
                        let quick = book.plain_price(&order);
                        assert!(quick.is_none() || whole == Ok(()), "{order:?} is refused: {whole:?}");
                        if usual && in_64_bits {
                            assert_eq!(quick.is_some(), whole.is_ok(), "{order:?} is no rare one: {whole:?}");
                        }
                        plain += usize::from(quick.is_some());
                    }
                }
            }
        }
        assert!(plain > 3_000, "only {plain} are plain");
    }
}
