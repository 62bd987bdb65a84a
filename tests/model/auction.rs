//! Halts, auctions and kill switches, as plainly as they can be said.

use crate::reference::{Market, Order, ceil_share, crosses};
use agora::domain::event::{Change, ChangeReason, Crossed, DoneReason, Event, Fill, PhaseChange, PhaseReason};
use agora::domain::ids::{AccountId, Ticket, TradeId};
use agora::domain::market::Phase;
use agora::domain::money::{Amount, Price, Size};
use agora::domain::order::{SelfTrade, Side};

impl Market {
    pub fn in_auction(&self) -> bool {
        matches!(self.phase, Phase::Auction { .. })
    }

    pub fn newest_reference(&self) -> Option<u64> {
        self.last_price.or(Some(self.config.reference_price.0)).filter(|price| *price != 0)
    }

    /// Whether a trade at this price would halt the market.
    pub fn too_far(&self, price: u64) -> bool {
        let (reference, halt) = (i128::from(self.reference.0), i128::from(self.config.safety.halt.0));
        halt != 0 && reference != 0 && (i128::from(price) - reference).abs() * 1_000_000 > reference * halt
    }

    pub fn enter(&mut self, phase: Phase, ticket: Ticket, reason: PhaseReason, (price, volume): (Option<Price>, u128)) {
        self.phase = phase;
        let reference = self.newest_reference().map(Price);
        self.events.push(Event::Phase(PhaseChange { ticket, phase, reason, reference, price, volume }));
    }

    pub fn kill(&mut self, ticket: Ticket, account: Option<AccountId>, engaged: bool) {
        let mut doomed: Vec<u64> =
            self.live.iter().filter(|o| account.is_none_or(|a| a == o.asked.account)).map(|o| o.number).collect();
        doomed.sort_unstable();
        let killed = self.phase == Phase::Killed;
        if engaged && (account.is_some() || !killed) {
            doomed.into_iter().for_each(|number| self.end_live(number, ticket, DoneReason::Killed));
        }
        if account.is_none() && engaged != killed {
            self.traded.clear();
            let (phase, reason) = match engaged {
                true => (Phase::Killed, PhaseReason::KillSwitch),
                false => (Phase::Trading, PhaseReason::Released),
            };
            self.enter(phase, ticket, reason, (None, 0));
        }
    }

    /// The price at which the most trades, the least is left, nearest to the newest price, the lowest.
    pub fn clearing(&self) -> Option<(u64, u128)> {
        let sum = |side, price: u64| -> u128 {
            let suits = |o: &&&Order| crosses(side, o.limit, price);
            self.rows(side).iter().filter(suits).map(|o| u128::from(o.remaining)).sum()
        };
        let mut prices: Vec<u64> = self.live.iter().filter(|o| !o.sleeping).map(|o| o.limit.unwrap()).collect();
        prices.sort_unstable();
        let reference = self.newest_reference();
        let all = prices.into_iter().map(|price| {
            let (demand, supply) = (sum(Side::Buy, price), sum(Side::Sell, price));
            (demand.min(supply), demand.abs_diff(supply), reference.map_or(0, |r| r.abs_diff(price)), price)
        });
        let best = all
            .filter(|(volume, ..)| *volume > 0)
            .min_by_key(|(v, left, far, price)| (std::cmp::Reverse(*v), *left, *far, *price));
        best.map(|(volume, _, _, price)| (price, volume))
    }

    /// The best bid and the best ask of a user where they cross; of several users that of the smallest id.
    fn own_pair(&self) -> Option<(Order, Order)> {
        let mut users: Vec<AccountId> = self.live.iter().map(|o| o.asked.account).collect();
        users.sort_unstable();
        users.dedup();
        users.into_iter().find_map(|user| {
            let best = |side| self.rows(side).into_iter().find(|o| o.asked.account == user).cloned();
            let (bid, ask) = (best(Side::Buy)?, best(Side::Sell)?);
            (bid.limit >= ask.limit).then_some((bid, ask))
        })
    }

    /// First every user's orders that cross meet each other, then the price is found, then all that can trades.
    pub fn end_auction(&mut self) {
        while let Some((bid, ask)) = self.own_pair() {
            self.meet_own_resting(bid, ask);
        }
        let (clearing, mut volume) = (self.clearing(), 0u128);
        if let Some((price, _)) = clearing {
            loop {
                let bid = self.rows(Side::Buy).first().filter(|o| o.limit.unwrap() >= price).map(|o| o.number);
                let ask = self.rows(Side::Sell).first().filter(|o| o.limit.unwrap() <= price).map(|o| o.number);
                let (Some(bid), Some(ask)) = (bid, ask) else { break };
                volume += u128::from(self.trade(bid, ask, price));
                self.traded.push(price);
            }
        }
        let price = clearing.map(|(price, _)| Price(price));
        self.enter(Phase::Trading, Ticket(0), PhaseReason::AuctionEnded, (price, volume));
        if let Some(reference) = self.newest_reference() {
            self.reference = (reference, self.now);
        }
        self.wake();
    }

    /// Two resting orders of one user: the rule of the newer one decides.
    fn meet_own_resting(&mut self, bid: Order, ask: Order) {
        let (newer, older) = if bid.number > ask.number { (bid, ask) } else { (ask, bid) };
        let ended = match newer.asked.self_trade {
            SelfTrade::CancelOldest => vec![older.number],
            SelfTrade::CancelNewest => vec![newer.number],
            SelfTrade::CancelBoth => vec![older.number, newer.number],
            SelfTrade::DecrementAndCancel if newer.remaining == older.remaining => vec![older.number, newer.number],
            SelfTrade::DecrementAndCancel => {
                let (small, large) = if newer.remaining > older.remaining { (older, newer) } else { (newer, older) };
                self.end_live(small.number, Ticket(0), DoneReason::SelfTrade);
                let left = large.remaining - small.remaining;
                let hold = large.hold.min(self.needs(&large, left));
                self.changed_by_self_trade(&large, left, hold - large.hold, None);
                let order = self.live.iter_mut().find(|o| o.number == large.number).unwrap();
                (order.remaining, order.hold) = (left, hold);
                vec![]
            }
        };
        ended.into_iter().for_each(|number| self.end_live(number, Ticket(0), DoneReason::SelfTrade));
    }

    /// Two resting orders trade at the price of an auction; the newer one is the taker. Tells the lots.
    fn trade(&mut self, bid: u64, ask: u64, price: u64) -> u64 {
        let find = |market: &Market, number: u64| market.live.iter().find(|o| o.number == number).unwrap().clone();
        let (mut buyer, mut seller) = (find(self, bid), find(self, ask));
        let size = buyer.remaining.min(seller.remaining);
        let (taker, maker) = if bid > ask { (buyer.clone(), seller.clone()) } else { (seller.clone(), buyer.clone()) };
        let quote = self.quote(price, size);
        let base = i128::from(size) * self.scale.1;
        let rest = self.quote(buyer.limit.unwrap(), buyer.remaining - size);
        let buyer_fee = ceil_share(quote, buyer.asked.maker_fee.0).min(buyer.hold - quote - rest);
        let seller_fee = ceil_share(quote, seller.asked.maker_fee.0);
        buyer.hold -= quote + buyer_fee;
        seller.hold -= base;
        for mut order in [buyer, seller] {
            order.remaining -= size;
            order.filled += size;
            let number = order.number;
            *self.live.iter_mut().find(|o| o.number == number).unwrap() = order;
        }
        self.trades += 1;
        self.last_price = Some(price);
        self.events.push(Event::Changed(Change {
            id: taker.id(),
            ticket: Ticket(0),
            account: taker.asked.account,
            side: taker.side(),
            reason: ChangeReason::Auction,
            price: taker.limit.map(Price),
            new_price: None,
            old_size: Size(taker.remaining),
            new_size: Size(taker.remaining - size),
            new_total: None,
            old_funds: None,
            new_funds: None,
            hold_delta: Amount(0),
            rests: true,
        }));
        let (taker_fee, maker_fee) =
            if taker.number == bid { (buyer_fee, seller_fee) } else { (seller_fee, buyer_fee) };
        let fill = Fill {
            trade: TradeId(self.trades),
            maker: maker.id(),
            taker: taker.id(),
            maker_account: maker.asked.account,
            taker_account: taker.asked.account,
            maker_side: maker.side(),
            price: Price(price),
            size: Size(size),
            base: Amount(base),
            quote: Amount(quote),
            maker_fee: Amount(maker_fee),
            taker_fee: Amount(taker_fee),
        };
        self.events.push(Event::Crossed(Crossed { fill, maker_price: Price(maker.limit.unwrap()) }));
        for number in [maker.number, taker.number] {
            if find(self, number).remaining == 0 {
                self.end_live(number, Ticket(0), DoneReason::Filled);
            }
        }
        size
    }
}
