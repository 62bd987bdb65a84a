//! What the reference refuses: for each rule a test that stands alone; the smallest reject wins.

use crate::reference::{Market, Order};
use agora::domain::entry::Amend;
use agora::domain::market::{MarketState, Phase};
use agora::domain::order::{Kind, NewOrder, Reject, Side, TimeInForce, Trigger};
use agora::domain::time::Timestamp;

const UNITS: u64 = 1 << 48;
const AMOUNT: i128 = 1 << 100;

fn is_post_only(kind: Kind) -> bool {
    matches!(kind, Kind::Limit { post_only: true, .. })
}

/// Whether a price is too far from the last trade, or from the reference before any.
fn outside_band(market: &Market, price: u64) -> bool {
    let reference = i128::from(market.last_price.unwrap_or(market.config.reference_price.0));
    let band = i128::from(market.config.band.0);
    let distance = (i128::from(price) - reference).abs();
    band != 0 && reference != 0 && distance * 1_000_000 > reference * band
}

/// The reason of highest precedence against a new order.
pub fn first_reject(market: &Market, order: &NewOrder, at: Timestamp) -> Option<Reject> {
    let config = &market.config;
    let buy = order.side == Side::Buy;
    let size = order.size.0;
    let (limit, time_in_force, funds) = match order.kind {
        Kind::Limit { price, time_in_force, .. } => (Some(price.0), Some(time_in_force), None),
        Kind::Market { funds } => (None, None, funds.map(|f| f.0)),
    };
    let good_price = |price: u64| (1..=UNITS).contains(&price);
    let by_market = limit.is_none();
    let mut reasons = Vec::new();
    let mut against = |broken: bool, reason: Reject| {
        if broken {
            reasons.push(reason);
        }
    };
    against(config.state == MarketState::Halted, Reject::MarketHalted);
    against(config.state == MarketState::CancelOnly, Reject::CancelOnly);
    against(market.phase == Phase::Killed, Reject::KillSwitch);
    against(limit.is_some_and(|price| !good_price(price)), Reject::PriceOutOfRange);
    against(size > UNITS || (size == 0 && !by_market), Reject::SizeRequired);
    against(by_market && size == 0 && funds.is_none(), Reject::FundsRequired);
    against(funds.is_some_and(|f| f <= 0 || f > AMOUNT), Reject::FundsRequired);
    let immediate = matches!(time_in_force, Some(TimeInForce::ImmediateOrCancel | TimeInForce::FillOrKill));
    against(is_post_only(order.kind) && immediate, Reject::PostOnlyCannotRest);
    if let Some(stop) = order.stop {
        let wanted = if buy { Trigger::Entry } else { Trigger::Loss };
        against(stop.trigger != wanted || !good_price(stop.price.0), Reject::BadStop);
    }
    let expired = matches!(time_in_force, Some(TimeInForce::GoodTillTime(until)) if until <= at);
    against(expired, Reject::AlreadyExpired);
    against(config.state == MarketState::LimitOnly && limit.is_none(), Reject::LimitOnly);
    against(config.state == MarketState::PostOnly && !is_post_only(order.kind), Reject::PostOnlyMode);
    let plain = order.stop.is_none() && limit.is_some() && !immediate && !is_post_only(order.kind);
    against(market.in_auction() && !plain, Reject::AuctionOnly);
    against(size != 0 && size < config.min_size.0, Reject::SizeTooSmall);
    against(size > config.max_size.0, Reject::SizeTooLarge);
    let formed = limit.is_none_or(good_price) && size <= UNITS;
    let notional = if formed { limit.map(|price| market.quote(price, size)).or(funds) } else { None };
    against(notional.is_some_and(|n| n < config.min_funds.0), Reject::FundsTooSmall);
    against(notional.is_some_and(|n| n > config.max_funds.0 || n > AMOUNT), Reject::FundsTooLarge);
    against(order.hold.0 > AMOUNT, Reject::FundsTooLarge);
    let stop_price = order.stop.map(|stop| stop.price.0);
    against(limit.into_iter().chain(stop_price).any(|price| outside_band(market, price)), Reject::PriceOutsideBand);
    let open = market.live.iter().filter(|o| o.asked.account == order.account).count();
    against(config.max_open_orders != 0 && open >= config.max_open_orders as usize, Reject::TooManyOpenOrders);
    let worst = order.maker_fee.max(order.taker_fee).0;
    let needed = match (limit, order.side) {
        (Some(_), _) if !formed => 0,
        (Some(price), side) => market.hold_for(side, price, size, worst),
        (None, Side::Sell) => i128::from(size.max(1)) * market.scale.1,
        (None, Side::Buy) if size == 0 => funds.unwrap_or(0),
        (None, Side::Buy) => 0,
    };
    against(order.hold.0 < needed, Reject::HoldTooSmall);
    let takes = limit.is_some_and(|price| market.would_take(order.side, price));
    against(is_post_only(order.kind) && order.stop.is_none() && takes, Reject::PostOnlyWouldTake);
    reasons.into_iter().min()
}

/// The order, its new price and its new rest, or why not. A change looks for its order first.
pub fn amended<'m>(
    market: &'m Market,
    amend: &Amend,
    missing: Option<Reject>,
) -> Result<(&'m Order, u64, u64), Reject> {
    match market.config.state {
        MarketState::Halted => return Err(Reject::MarketHalted),
        MarketState::CancelOnly => return Err(Reject::CancelOnly),
        _ => {}
    }
    if let Some(reason) = missing {
        return Err(reason);
    }
    let order = market.live.iter().find(|o| o.number == amend.order.number).ok_or(Reject::OrderNotFound)?;
    let immediate = matches!(
        order.asked.kind,
        Kind::Market { .. }
            | Kind::Limit { time_in_force: TimeInForce::ImmediateOrCancel | TimeInForce::FillOrKill, .. }
    );
    let (Some(old_price), false) = (order.limit, immediate) else { return Err(Reject::BadAmend) };
    let price = amend.price.map_or(old_price, |p| p.0);
    let total = amend.size.map_or(order.size, |s| s.0);
    let gone = order.size - order.remaining;
    let config = &market.config;
    let refusals = [
        (price == 0 || price > UNITS, Reject::PriceOutOfRange),
        (total <= gone || (price == old_price && total == order.size), Reject::BadAmend),
        (total < config.min_size.0, Reject::SizeTooSmall),
        (total > config.max_size.0, Reject::SizeTooLarge),
    ];
    if let Some((_, reason)) = refusals.into_iter().find(|(broken, _)| *broken) {
        return Err(reason);
    }
    let notional = market.quote(price, total);
    let rest = total - gone;
    let (maker_fee, taker_fee) = market.fees_of_changed(order, price, rest);
    let worst = maker_fee.max(taker_fee).0;
    let uncovered = order.hold + amend.extra_hold.0.min(AMOUNT) < market.hold_for(order.asked.side, price, rest, worst);
    let smaller_only = price == old_price && rest < order.remaining;
    let refusals = [
        (notional < config.min_funds.0, Reject::FundsTooSmall),
        (notional > config.max_funds.0 || notional > AMOUNT, Reject::FundsTooLarge),
        (price != old_price && outside_band(market, price), Reject::PriceOutsideBand),
        (amend.extra_hold.0 < 0, Reject::HoldTooSmall),
        (amend.extra_hold.0 > AMOUNT, Reject::FundsTooLarge),
        (uncovered && !smaller_only, Reject::HoldTooSmall),
        (
            !order.sleeping && price != old_price && !market.in_auction() && market.would_take(order.asked.side, price),
            Reject::AmendWouldTake,
        ),
    ];
    match refusals.into_iter().find(|(broken, _)| *broken) {
        Some((_, reason)) => Err(reason),
        None => Ok((order, price, rest)),
    }
}
