//! Rules of matching as tables: what stands in the book, what comes, what happens.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use agora::domain::book::Book;
use agora::domain::entry::{Amend, MarketEntry};
use agora::domain::event::Event;
use agora::domain::ids::{AccountId, OrderId, Ticket};
use agora::domain::market::{MarketConfig, MarketState, Safety, Scale, Step};
use agora::domain::money::{Amount, Ppm, Price, Size};
use agora::domain::order::{Kind, NewOrder, Reject, SelfTrade, Side, Stop, TimeInForce, Trigger};
use agora::domain::time::Timestamp;
use support::{apply, book, config, limit, market, place, placed, story};

use Side::{Buy, Sell};

fn with_tif(mut order: NewOrder, wanted: TimeInForce) -> NewOrder {
    if let Kind::Limit { time_in_force, .. } = &mut order.kind {
        *time_in_force = wanted;
    }
    order
}

fn with_rule(order: NewOrder, self_trade: SelfTrade) -> NewOrder {
    NewOrder { self_trade, ..order }
}

fn stop(order: NewOrder, price: u64) -> NewOrder {
    let trigger = if order.side == Buy { Trigger::Entry } else { Trigger::Loss };
    NewOrder { stop: Some(Stop { trigger, price: Price(price) }), ..order }
}

/// Places all but the last silently and tells the story of the last.
fn last(orders: &[NewOrder]) -> String {
    let mut book = book(config());
    let (newest, before) = orders.split_last().unwrap();
    before.iter().for_each(|order| drop(place(&mut book, *order)));
    story(&place(&mut book, *newest))
}

#[test]
fn self_trades_are_prevented_by_the_incoming_orders_rule() {
    use SelfTrade::{CancelBoth, CancelNewest, CancelOldest, DecrementAndCancel};
    let own = limit(2, Sell, 100, 5);
    let other = limit(3, Sell, 100, 5);
    let cases: &[(&[NewOrder], &str)] = &[
        (&[own, limit(2, Buy, 100, 3)], "accept 2, change 1 5->2, done 2 SelfTrade"),
        (&[own, limit(2, Buy, 100, 5)], "accept 2, done 1 SelfTrade, done 2 SelfTrade"),
        (&[own, limit(2, Buy, 100, 8)], "accept 2, done 1 SelfTrade, change 2 8->3, open 2@100:3"),
        (
            &[own, other, limit(2, Buy, 100, 8)],
            "accept 3, done 1 SelfTrade, change 3 8->3, fill 2x3@100:3, done 3 Filled",
        ),
        (
            &[other, own, limit(2, Buy, 100, 8)],
            "accept 3, fill 1x3@100:5, done 1 Filled, change 2 5->2, done 3 SelfTrade",
        ),
        (&[own, with_rule(limit(2, Buy, 100, 3), CancelNewest)], "accept 2, done 2 SelfTrade"),
        (&[own, with_rule(limit(2, Buy, 100, 3), CancelOldest)], "accept 2, done 1 SelfTrade, open 2@100:3"),
        (&[own, with_rule(limit(2, Buy, 100, 3), CancelBoth)], "accept 2, done 1 SelfTrade, done 2 SelfTrade"),
        (&[own, with_rule(limit(2, Buy, 99, 3), CancelBoth)], "accept 2, open 2@99:3"),
        // By size, with and beside funds: the size is reduced, the funds stay.
        (
            &[own, other, market(2, Buy, 8, Some(1_000))],
            "accept 3, done 1 SelfTrade, change 3 8->3, fill 2x3@100:3, done 3 Filled",
        ),
        // By funds alone: what the resting order would have cost is taken from the funds.
        (
            &[own, other, market(2, Buy, 0, Some(750))],
            "accept 3, done 1 SelfTrade, funds 3 250, fill 2x3@100:2, done 3 Filled",
        ),
        (&[own, market(2, Buy, 0, Some(300))], "accept 2, change 1 5->2, done 2 SelfTrade"),
        (&[own, market(2, Buy, 0, Some(500))], "accept 2, done 1 SelfTrade, funds 2 0, done 2 SelfTrade"),
        (
            &[limit(2, Buy, 100, 5), with_rule(market(2, Sell, 3, None), DecrementAndCancel)],
            "accept 2, change 1 5->2, done 2 SelfTrade",
        ),
        // A sell by funds alone: what the resting order would have brought is taken from the funds.
        (
            &[limit(2, Buy, 100, 5), limit(3, Buy, 100, 5), market(2, Sell, 0, Some(750))],
            "accept 3, done 1 SelfTrade, funds 3 250, fill 2x3@100:2, done 3 Filled",
        ),
        (&[limit(2, Buy, 100, 5), market(2, Sell, 0, Some(300))], "accept 2, change 1 5->2, done 2 SelfTrade"),
        // With a size the size is reduced and the funds stay.
        (
            &[limit(2, Buy, 100, 5), limit(3, Buy, 100, 5), market(2, Sell, 8, Some(200))],
            "accept 3, done 1 SelfTrade, change 3 8->3, fill 2x3@100:2, done 3 Filled",
        ),
    ];
    for (orders, expected) in cases {
        assert_eq!(last(orders), *expected, "{orders:#?}");
    }
}

#[test]
fn dust_meets_nobody() {
    // 50 atoms are left after the fill; they buy nothing, so the own order behind is left alone.
    for rule in [SelfTrade::CancelOldest, SelfTrade::CancelBoth, SelfTrade::CancelNewest, SelfTrade::DecrementAndCancel]
    {
        let orders = [limit(3, Sell, 100, 5), limit(2, Sell, 100, 5), with_rule(market(2, Buy, 0, Some(550)), rule)];
        assert_eq!(last(&orders), "accept 3, fill 1x3@100:5, done 1 Filled, done 3 Filled", "{rule:?}");
    }
}

#[test]
fn fill_or_kill_counts_what_it_may_really_take() {
    let kill = |size, rule| with_rule(with_tif(limit(2, Buy, 101, size), TimeInForce::FillOrKill), rule);
    let (own, other) = (limit(2, Sell, 100, 5), limit(3, Sell, 101, 5));
    let filled = "accept 3, done 1 SelfTrade, fill 2x3@101:5, done 2 Filled, done 3 Filled";
    let killed = "accept 3, done 3 FillOrKill";
    let cases: &[(&[NewOrder], &str)] = &[
        (&[own, other, kill(5, SelfTrade::CancelOldest)], filled),
        (&[own, other, kill(6, SelfTrade::CancelOldest)], killed),
        (&[own, other, kill(5, SelfTrade::DecrementAndCancel)], killed),
        (&[own, other, kill(5, SelfTrade::CancelNewest)], killed),
        (&[own, other, kill(5, SelfTrade::CancelBoth)], killed),
        // An own order behind what it needs does not matter.
        (
            &[limit(3, Sell, 99, 5), own, kill(5, SelfTrade::CancelNewest)],
            "accept 3, fill 1x3@99:5, done 1 Filled, done 3 Filled",
        ),
        (&[other, limit(3, Sell, 102, 9), kill(6, SelfTrade::CancelOldest)], killed),
    ];
    for (orders, expected) in cases {
        assert_eq!(last(orders), *expected, "{orders:#?}");
    }
    // A stop that wakes does not look through a whole book in vain: many may wake at once.
    for (before, woken, end) in
        [(1_500, false, "done 1501 Filled"), (1_000, true, "done 1002 Filled"), (1_001, true, "done 1003 FillOrKill")]
    {
        let mut orders = vec![limit(4, Sell, 100, 1); before];
        let wanted = kill(before as u64 + u64::from(woken), SelfTrade::CancelOldest);
        if woken {
            orders.extend([limit(4, Sell, 100, 2), stop(wanted, 100), limit(3, Buy, 100, 1)]);
        } else {
            orders.push(wanted);
        }
        let told = last(&orders);
        assert!(told.ends_with(end), "{before} orders before what it wants, woken: {woken}: {told}");
    }
}

#[test]
fn a_stop_that_wakes_finds_what_the_market_takes_then() {
    use MarketState::{LimitOnly, Online, PostOnly};
    let by_market = market(4, Buy, 2, Some(1_000));
    let (takes, rests) = (limit(4, Buy, 110, 2), limit(4, Buy, 105, 2));
    let killed = with_tif(limit(4, Buy, 110, 9), TimeInForce::FillOrKill);
    let traded = "fill 1x2@110:2, done 2 Filled";
    let cases = [
        (Online, by_market, traded),
        (LimitOnly, by_market, "done 2 NoLiquidity"),
        (PostOnly, by_market, "done 2 NoLiquidity"),
        (Online, takes, traded),
        (LimitOnly, takes, traded),
        (PostOnly, takes, "done 2 NoLiquidity"),
        (PostOnly, rests, "open 2@105:2"),
        (LimitOnly, killed, "done 2 FillOrKill"),
        (PostOnly, killed, "done 2 NoLiquidity"),
    ];
    for (state, order, expected) in cases {
        let mut book = book(config());
        place(&mut book, limit(3, Sell, 110, 5));
        place(&mut book, stop(order, 100));
        // Where nobody may take, an auction can still wake a stop.
        let begin = MarketEntry::BeginAuction { ticket: Ticket(1), ends_at: Timestamp(1_000) };
        apply(&mut book, 0, &begin);
        place(&mut book, limit(5, Sell, 100, 1));
        place(&mut book, limit(6, Buy, 100, 1));
        apply(&mut book, 1, &MarketEntry::Configure(Box::new(MarketConfig { state, ..config() })));
        let story = story(&apply(&mut book, 1_000, &MarketEntry::Tick));
        let woken = story.split_once("phase auction_ended, wake 2, ").map(|(_, woken)| woken);
        assert_eq!(woken, Some(expected), "{state:?} {order:?}: {story}");
    }
}

#[test]
fn an_amend_that_loses_its_place_has_the_fees_of_its_day() {
    let amend = |order, price: Option<u64>, size: Option<u64>, extra_hold| {
        let (ticket, account) = (Ticket(1), AccountId(2));
        Amend { ticket, account, order, price: price.map(Price), size: size.map(Size), extra_hold: Amount(extra_hold) }
    };
    let fee_of = |book: &mut Book| match place(book, limit(3, Sell, 90, 5)).get(1) {
        Some(Event::Filled(fill)) => fill.maker_fee.0,
        other => panic!("{other:?}"),
    };
    // A fee of a tenth where there was none: what is held and what is paid follow it together.
    let dearer = MarketConfig { maker_fee: Ppm(100_000), taker_fee: Ppm(100_000), ..config() };
    for (price, size, extra, fee) in
        [(None, Some(8), 0, 0), (None, Some(20), 1_200, 50), (Some(90), None, 0, 45), (Some(95), None, 45, 48)]
    {
        let mut book = book(config());
        let order = placed(&mut book, limit(2, Buy, 100, 10));
        apply(&mut book, 0, &MarketEntry::Configure(Box::new(dearer.clone())));
        assert_eq!(book.extra_hold_for(&amend(order, price, size, 0)), Amount(extra), "{price:?} {size:?}");
        if extra > 0 {
            let short = amend(order, price, size, extra - 1);
            assert_eq!(story(&apply(&mut book, 0, &MarketEntry::Amend(short))), "refuse hold_too_small");
        }
        let changed = apply(&mut book, 0, &MarketEntry::Amend(amend(order, price, size, extra)));
        assert!(story(&changed).starts_with("change 1 10->"), "{}", story(&changed));
        assert_eq!(fee_of(&mut book), fee, "{price:?} {size:?}");
    }
}

#[test]
fn an_order_may_shrink_where_the_market_has_left_it() {
    let mut book = book(config());
    let order = placed(&mut book, limit(2, Buy, 100, 10));
    place(&mut book, limit(3, Sell, 150, 1));
    place(&mut book, limit(4, Buy, 150, 1));
    let band = MarketConfig { band: Ppm(100_000), ..config() };
    apply(&mut book, 0, &MarketEntry::Configure(Box::new(band)));
    let (ticket, account, extra_hold) = (Ticket(1), AccountId(2), Amount(1_000));
    let amend = Amend { ticket, account, order, price: None, size: Some(Size(4)), extra_hold };
    for (price, size, expected) in [
        (None, Some(4), "change 1 10->4"),
        (Some(100), Some(3), "change 1 4->3"),
        (None, Some(5), "change 1 3->5"),
        (Some(101), None, "refuse price_outside_band"),
        (Some(140), None, "change 1 5->5"),
    ] {
        let amend = Amend { price: price.map(Price), size: size.map(Size), ..amend };
        assert_eq!(story(&apply(&mut book, 0, &MarketEntry::Amend(amend))), expected, "{price:?} {size:?}");
    }
}

#[test]
fn stops_cascade_in_waves() {
    let mut book = book(config());
    for (price, size) in [(100, 1), (90, 1), (80, 1), (70, 9)] {
        place(&mut book, limit(3, Buy, price, size));
    }
    // 5 and 6 wake together at 100 in the order of acceptance; 5 trades at 90, which wakes 7 after 6.
    place(&mut book, stop(market(4, Sell, 1, None), 100));
    place(&mut book, stop(market(5, Sell, 1, None), 100));
    place(&mut book, stop(market(6, Sell, 1, None), 90));
    assert_eq!(
        story(&place(&mut book, limit(7, Sell, 100, 1))),
        "accept 8, fill 1x8@100:1, done 1 Filled, done 8 Filled, \
         wake 5, fill 2x5@90:1, done 2 Filled, done 5 Filled, \
         wake 6, fill 3x6@80:1, done 3 Filled, done 6 Filled, \
         wake 7, fill 4x7@70:1, done 7 Filled"
    );
    // The price is reached already: it wakes as soon as it is accepted.
    assert_eq!(story(&place(&mut book, stop(limit(8, Sell, 75, 2), 70))), "accept 9, wake 9, open 9@75:2");
}

#[test]
fn a_stop_that_sleeps_stays_hidden_when_it_is_changed() {
    let mut book = book(config());
    let asleep = placed(&mut book, stop(limit(4, Sell, 90, 2), 95));
    let resting = placed(&mut book, limit(4, Buy, 80, 2));
    for (order, shown) in [(asleep, false), (resting, true)] {
        let (ticket, account) = (Ticket(77), AccountId(4));
        let amend = Amend { ticket, account, order, price: None, size: Some(Size(1)), extra_hold: Amount(0) };
        let events = apply(&mut book, 0, &MarketEntry::Amend(amend));
        let changes = events.iter().filter(|event| matches!(event, Event::Changed(_)));
        assert_eq!(changes.map(Event::is_public).collect::<Vec<_>>(), [shown], "{}", story(&events));
    }
}

#[test]
fn every_price_on_the_way_counts() {
    let mut book = book(config());
    place(&mut book, limit(3, Sell, 100, 1));
    place(&mut book, limit(3, Sell, 110, 1));
    let loss = placed(&mut book, stop(limit(4, Sell, 120, 1), 100));
    // The last price is 110, but it was 100 for a moment.
    let events = place(&mut book, limit(5, Buy, 110, 2));
    assert!(events.iter().any(|e| matches!(e, Event::Triggered(t) if t.id == loss)), "{}", story(&events));
}

#[test]
fn a_market_sell_by_funds_brings_in_no_more_than_that() {
    let (bid, lower) = (limit(3, Buy, 100, 5), limit(3, Buy, 90, 5));
    let held = |order: NewOrder, hold| NewOrder { hold: Amount(hold), ..order };
    let cases: &[(&[NewOrder], &str)] = &[
        (&[bid, market(2, Sell, 0, Some(300))], "accept 2, fill 1x2@100:3, done 2 Filled"),
        // What is left brings less than a lot costs.
        (&[bid, market(2, Sell, 0, Some(399))], "accept 2, fill 1x2@100:3, done 2 Filled"),
        (
            &[bid, lower, market(2, Sell, 0, Some(770))],
            "accept 3, fill 1x3@100:5, done 1 Filled, fill 2x3@90:3, done 3 Filled",
        ),
        // The size counts too, and so does what is held; whoever has no more to sell did not get what was asked for.
        (&[bid, market(2, Sell, 2, Some(300))], "accept 2, fill 1x2@100:2, done 2 Filled"),
        (&[bid, held(market(2, Sell, 0, Some(300)), 2)], "accept 2, fill 1x2@100:2, done 2 NoLiquidity"),
        (&[bid, held(market(2, Sell, 0, Some(700)), 5)], "accept 2, fill 1x2@100:5, done 1 Filled, done 2 NoLiquidity"),
        (&[bid, market(2, Sell, 0, Some(99))], "accept 2, done 2 NoLiquidity"),
        (&[market(2, Sell, 0, Some(300))], "accept 1, done 1 NoLiquidity"),
    ];
    for (orders, expected) in cases {
        assert_eq!(last(orders), *expected, "{orders:#?}");
    }
    let mut book = book(config());
    place(&mut book, bid);
    place(&mut book, lower);
    for (funds, lots) in [(99, 1), (300, 3), (500, 5), (770, 8), (5_000, 10)] {
        assert_eq!(book.lots_to_obtain(Amount(funds)), (Size(lots), Size::ZERO), "{funds}");
    }
}

#[test]
fn an_order_by_funds_that_empties_the_book_is_filled_when_its_funds_are_spent() {
    let ask = limit(1, Sell, 100, 2);
    for (funds, end) in [(200, "Filled"), (299, "Filled"), (300, "NoLiquidity")] {
        let story = last(&[ask, market(2, Buy, 0, Some(funds))]);
        assert_eq!(story, format!("accept 2, fill 1x2@100:2, done 1 Filled, done 2 {end}"), "{funds}");
    }
}

#[test]
fn a_market_buy_by_size_is_filled_only_when_all_of_it_is() {
    let mut book = book(config());
    for price in [100, 200, 300] {
        place(&mut book, limit(4, Sell, price, 1));
    }
    // What two lots cost now and a tenth more; then somebody else is faster.
    assert_eq!(book.cost_of(Size(2), Ppm(0)), Ok((Amount(300), Amount::ZERO)));
    let ada = NewOrder { hold: Amount(330), ..market(2, Buy, 2, None) };
    place(&mut book, limit(3, Buy, 100, 1));
    let events = place(&mut book, ada);
    assert_eq!(story(&events), "accept 5, fill 2x5@200:1, done 2 Filled, done 5 NoLiquidity");
    let Some(Event::Done(done)) = events.last() else { panic!("{}", story(&events)) };
    assert_eq!((done.remaining, done.released), (Size(1), Amount(130)));
    // With funds they are what bounds it, whatever the size.
    place(&mut book, limit(4, Sell, 200, 1));
    let bounded = market(2, Buy, 2, Some(330));
    assert_eq!(story(&place(&mut book, bounded)), "accept 7, fill 6x7@200:1, done 6 Filled, done 7 Filled");
}

#[test]
fn what_a_market_order_needs_is_told_after_a_bounded_look() {
    let mut book = book(MarketConfig { max_funds: Amount(250_000), ..config() });
    for _ in 0..1_500 {
        place(&mut book, limit(4, Sell, 101, 1));
        place(&mut book, limit(5, Buy, 100, 1));
    }
    // What is not looked at is taken to cost what the first of it does, up to the most that an order may cost.
    let rest = 250_000 - 101_000;
    for (size, cost, further) in
        [(1, 101, 0), (1_000, 101_000, 0), (1_001, 101_000, 101), (5_000, 101_000, rest), (Size::MAX.0, 101_000, rest)]
    {
        assert_eq!(book.cost_of(Size(size), Ppm(0)), Ok((Amount(cost), Amount(further))), "{size}");
    }
    for (funds, lots, further) in [(99_999, 999, 0), (100_000, 1_000, 0), (250_000, 1_000, 1_500)] {
        assert_eq!(book.lots_to_obtain(Amount(funds)), (Size(lots), Size(further)), "{funds}");
    }
    // More than one order may cost, fees aside, is not added up to the end.
    let mut dear = self::book(MarketConfig { max_funds: Amount(250), ..config() });
    for price in [100, 150, 150] {
        place(&mut dear, limit(4, Sell, price, 1));
    }
    assert_eq!(dear.cost_of(Size(2), Ppm(100_000)), Ok((Amount(275), Amount::ZERO)));
    assert_eq!(dear.cost_of(Size(3), Ppm(0)), Err(Reject::FundsTooLarge));
    assert_eq!(dear.cost_of(Size::MAX, Ppm(0)), Err(Reject::FundsTooLarge));
}

#[test]
fn a_market_buy_spends_its_funds_to_the_last_lot() {
    let scale = Scale { quote_per_tick_lot: 1, base_per_lot: 1 };
    for (fee, price) in [(0, 7), (1, 7), (3_333, 7), (100_000, 1), (100_000, 13), (99_999, 1_000)] {
        for funds in 0..3_000i128 {
            let costs = |lots: u64| {
                let quote = i128::from(price * lots);
                quote + (quote * i128::from(fee) + 999_999) / 1_000_000
            };
            let lots = scale.lots_for(Amount(funds), Price(price), Ppm(fee as u32)).0;
            assert!(costs(lots) <= funds || lots == 0, "{funds} atoms pay {lots} lots at {price} with {fee} ppm");
            assert!(costs(lots + 1) > funds, "{funds} atoms pay more than {lots} lots at {price} with {fee} ppm");
        }
    }
    let mut book = book(config());
    place(&mut book, limit(3, Sell, 7, 1_000));
    let order = NewOrder { taker_fee: Ppm(3_333), ..market(2, Buy, 0, Some(1_000)) };
    let events = place(&mut book, order);
    let Some(Event::Filled(fill)) = events.get(1) else { panic!("{}", story(&events)) };
    assert_eq!((fill.size, fill.quote, fill.taker_fee), (Size(142), Amount(994), Amount(4)));
    let Some(Event::Done(done)) = events.last() else { panic!("{}", story(&events)) };
    assert_eq!(done.released, Amount(2));
}

#[test]
fn a_buys_fees_round_up_but_never_beyond_its_hold() {
    let mut book = book(config());
    let (fee, hold) = (Ppm(100), Amount(1_000 + 1));
    let id = placed(&mut book, NewOrder { maker_fee: fee, hold, ..limit(2, Buy, 10, 100) });
    let mut paid = Vec::new();
    for _ in 0..100 {
        let events = place(&mut book, limit(3, Sell, 10, 1));
        paid.extend(events.iter().filter_map(|e| match e {
            Event::Filled(fill) => Some(fill.maker_fee.0),
            _ => None,
        }));
    }
    assert_eq!(paid.len(), 100);
    assert_eq!((paid.first(), paid.iter().sum::<i128>()), (Some(&1), 1), "the hold covers one atom of fees");
    assert_eq!(book.order(id), None, "it is filled");
}

#[test]
fn an_id_never_names_a_later_order_in_its_slot() {
    let mut book = book(config());
    let cancel = |order| MarketEntry::Cancel { ticket: Ticket(9), account: AccountId(2), order };
    let first = placed(&mut book, limit(2, Buy, 10, 1));
    assert_eq!(story(&apply(&mut book, 0, &cancel(first))), "done 1 Canceled");
    let second = placed(&mut book, limit(2, Buy, 10, 1));
    assert_eq!((first.slot, second.slot), (0, 0), "the slot is used again");
    assert_eq!(story(&apply(&mut book, 0, &cancel(first))), "refuse order_done");
    assert_eq!(book.order(first), None);
    let never = OrderId { number: 3, slot: 0 };
    assert_eq!(story(&apply(&mut book, 0, &cancel(never))), "refuse order_not_found");
    let free = OrderId { number: 0, slot: 0 };
    assert_eq!(story(&apply(&mut book, 0, &cancel(free))), "refuse order_not_found");
    let foreign = MarketEntry::Cancel { ticket: Ticket(9), account: AccountId(3), order: second };
    assert_eq!(story(&apply(&mut book, 0, &foreign)), "refuse order_not_found");
    assert!(book.order(second).is_some());
}

#[test]
fn a_halted_market_takes_no_cancels_but_orders_still_expire() {
    let mut book = book(config());
    let until = TimeInForce::GoodTillTime(Timestamp(50));
    let order = placed(&mut book, with_tif(limit(2, Buy, 10, 1), until));
    let halt = MarketConfig { state: MarketState::Halted, ..config() };
    apply(&mut book, 1, &MarketEntry::Configure(Box::new(halt)));
    let (ticket, account) = (Ticket(1), AccountId(2));
    let cancel = MarketEntry::Cancel { ticket, account, order };
    assert_eq!(story(&apply(&mut book, 2, &cancel)), "refuse market_halted");
    let all = MarketEntry::CancelAll { ticket, account, side: None };
    assert_eq!(story(&apply(&mut book, 3, &all)), "refuse market_halted");
    assert_eq!(story(&apply(&mut book, 49, &MarketEntry::Tick)), "");
    assert_eq!(story(&apply(&mut book, 50, &MarketEntry::Tick)), "done 1 Expired");
}

#[test]
fn the_greatest_amounts_do_not_overflow() {
    // 2^48 ticks × 2^48 lots × 10^9 atoms would leave 128 bits when multiplied by a fee in ppm.
    let (tick, lot) = (Step { units: 1_000, decimals: 0 }, Step { units: 1, decimals: 0 });
    let mut book = book(MarketConfig { tick, lot, max_size: Size::MAX, ..config() });
    let worst = Ppm(100_000);
    let hold = book.hold_for(Buy, Price(1), Size(1), worst);
    let order = placed(&mut book, NewOrder { maker_fee: worst, hold, ..limit(2, Buy, 1, 1) });
    let (ticket, account) = (Ticket(1), AccountId(2));
    let mut amend =
        Amend { ticket, account, order, price: Some(Price::MAX), size: Some(Size::MAX), extra_hold: Amount(0) };
    amend.extra_hold = book.extra_hold_for(&amend);
    assert!(amend.extra_hold > Amount(1 << 120));
    assert_eq!(story(&apply(&mut book, 0, &MarketEntry::Amend(amend))), "refuse funds_too_large");
    amend = Amend { price: Some(Price(2)), size: None, extra_hold: Amount(i128::MAX), ..amend };
    assert_eq!(story(&apply(&mut book, 0, &MarketEntry::Amend(amend))), "refuse funds_too_large");
}

#[test]
fn a_restored_book_knows_its_stops_expiries_and_users() {
    let mut book = book(config());
    let until = |at| TimeInForce::GoodTillTime(Timestamp(at));
    place(&mut book, limit(3, Sell, 100, 5));
    place(&mut book, with_tif(limit(2, Buy, 90, 1), until(70)));
    place(&mut book, stop(with_tif(limit(2, Sell, 80, 1), until(60)), 95));
    place(&mut book, stop(limit(4, Buy, 120, 2), 100));
    place(&mut book, limit(2, Buy, 91, 1));
    let bytes = postcard::to_stdvec(&book).unwrap();
    let mut restored: Book = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(postcard::to_stdvec(&restored).unwrap(), bytes);
    let numbers = |book: &Book| book.orders_of(AccountId(2)).map(|o| o.id.number).collect::<Vec<_>>();
    assert_eq!(numbers(&restored), [5, 3, 2]);
    let tail = [
        (
            10,
            MarketEntry::Place(limit(5, Buy, 100, 1)),
            "accept 6, fill 1x6@100:1, done 6 Filled, wake 4, fill 1x4@100:2, done 4 Filled",
        ),
        (60, MarketEntry::Tick, "done 3 Expired"),
        (70, MarketEntry::Tick, "done 2 Expired"),
        (71, MarketEntry::CancelAll { ticket: Ticket(0), account: AccountId(2), side: None }, "done 5 Canceled"),
    ];
    for (at, entry, expected) in tail {
        assert_eq!(story(&apply(&mut restored, at, &entry)), expected);
        assert_eq!(story(&apply(&mut book, at, &entry)), expected);
    }
    assert_eq!(postcard::to_stdvec(&restored).unwrap(), postcard::to_stdvec(&book).unwrap());
}

#[test]
fn far_apart_levels_keep_their_order() {
    use std::collections::BTreeMap;
    let mut book = book(MarketConfig { min_funds: Amount(0), ..config() });
    let mut levels: [BTreeMap<u64, Vec<OrderId>>; 2] = [BTreeMap::new(), BTreeMap::new()];
    let mut state = 7u64;
    let mut random = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for step in 0..20_000 {
        let side = if random(2) == 0 { Buy } else { Sell };
        let index = usize::from(side == Sell);
        if random(100) < if step % 4_000 < 2_000 { 60 } else { 35 } {
            // Bids below 2^47 and asks above; neighbours, other pages, and the very ends.
            let distance = match random(4) {
                0 => random(4),
                1 => random(1_000) * 257,
                2 => random(1 << 30) << 16,
                _ => (1 << 47) - 1 - random(3),
            };
            let price = if side == Buy { (1 << 47) - distance } else { (1 << 47) + 1 + distance };
            let id = placed(&mut book, limit(2 + index as u32, side, price, 1));
            levels[index].entry(price).or_default().push(id);
        } else if let Some(price) = {
            let all: Vec<u64> = levels[index].keys().copied().collect();
            // Often the best, else any.
            let place = if random(2) == 0 {
                if side == Buy { all.len().saturating_sub(1) } else { 0 }
            } else {
                random(all.len().max(1) as u64) as usize
            };
            all.get(place).copied()
        } {
            let queue = levels[index].get_mut(&price).unwrap();
            let order = queue.remove(random(queue.len() as u64) as usize);
            if queue.is_empty() {
                levels[index].remove(&price);
            }
            let cancel = MarketEntry::Cancel { ticket: Ticket(0), account: AccountId(2 + index as u32), order };
            assert_eq!(apply(&mut book, 0, &cancel).len(), 1);
        }
        assert_eq!(book.best(Buy).map(|p| p.0), levels[0].keys().next_back().copied(), "step {step}");
        assert_eq!(book.best(Sell).map(|p| p.0), levels[1].keys().next().copied(), "step {step}");
        if step % 1_000 == 0 {
            let is = |side| book.resting(side).map(|row| (row.price.0, row.id)).collect::<Vec<_>>();
            let rows = |(price, ids): (&u64, &Vec<OrderId>)| ids.iter().map(|id| (*price, *id)).collect::<Vec<_>>();
            assert_eq!(is(Buy), levels[0].iter().rev().flat_map(rows).collect::<Vec<_>>(), "step {step}");
            assert_eq!(is(Sell), levels[1].iter().flat_map(rows).collect::<Vec<_>>(), "step {step}");
        }
    }
}

#[test]
fn an_auction_trades_all_that_can_at_one_price() {
    let mut book = book(config());
    let begin = MarketEntry::BeginAuction { ticket: Ticket(1), ends_at: Timestamp(1_000) };
    assert_eq!(story(&apply(&mut book, 0, &begin)), "phase auction_asked");
    place(&mut book, limit(2, Side::Buy, 103, 5));
    place(&mut book, limit(3, Side::Sell, 101, 4));
    place(&mut book, limit(4, Side::Buy, 102, 5));
    place(&mut book, limit(5, Side::Sell, 102, 3));
    assert_eq!(book.next_due(), Some(Timestamp(1_000)));
    assert_eq!(apply(&mut book, 999, &MarketEntry::Tick), []);
    // At 102 seven can be sold and ten bought; the better prices come first, and one bid keeps a rest.
    assert_eq!(
        story(&apply(&mut book, 1_000, &MarketEntry::Tick)),
        "change 2 4->0, cross 1x2@102:4, done 2 Filled, change 4 3->2, cross 1x4@102:1, done 1 Filled, \
         change 4 2->0, cross 3x4@102:2, done 4 Filled, phase auction_ended"
    );
    assert_eq!(book.resting(Side::Buy).map(|row| (row.price.0, row.remaining.0)).collect::<Vec<_>>(), [(102, 3)]);
    assert_eq!(book.next_due(), None);
}

#[test]
fn a_trade_too_far_from_the_reference_halts_the_market() {
    let safety = Safety { halt: Ppm(50_000), window_ms: 1_000, auction_ms: 1 };
    let mut book = book(MarketConfig { safety, ..config() });
    place(&mut book, limit(2, Side::Sell, 100, 1));
    place(&mut book, limit(3, Side::Buy, 100, 1));
    place(&mut book, limit(2, Side::Sell, 105, 1));
    place(&mut book, limit(2, Side::Sell, 106, 1));
    let mut hungry = limit(3, Side::Buy, 110, 3);
    assert_eq!(
        story(&place(&mut book, hungry)),
        "accept 5, fill 3x5@105:1, done 3 Filled, phase volatility_halt, open 5@110:2"
    );
    // A fill-or-kill order that would need the far price does nothing, and halts nothing.
    let mut calm = self::book(MarketConfig { safety, ..config() });
    place(&mut calm, limit(2, Side::Sell, 100, 1));
    place(&mut calm, limit(3, Side::Buy, 100, 1));
    place(&mut calm, limit(2, Side::Sell, 106, 1));
    hungry = limit(3, Side::Buy, 110, 1);
    hungry.kind = Kind::Limit { price: Price(110), time_in_force: TimeInForce::FillOrKill, post_only: false };
    assert_eq!(story(&place(&mut calm, hungry)), "accept 4, done 4 FillOrKill");
}

#[test]
fn own_orders_have_no_say_in_the_price_of_an_auction() {
    use SelfTrade::{CancelBoth, CancelNewest, CancelOldest, DecrementAndCancel};
    let others = "change 2 10->0, cross 1x2@90:10, done 1 Filled, done 2 Filled";
    // Two orders of one user, which nobody could meet but each other, would move the price from 90 to 100.
    let cases = [
        (DecrementAndCancel, 1_000, 1_000, "done 3 SelfTrade, done 4 SelfTrade"),
        (DecrementAndCancel, 1_000, 400, "done 4 SelfTrade, change 3 1000->600"),
        (CancelBoth, 1_000, 400, "done 3 SelfTrade, done 4 SelfTrade"),
        (CancelNewest, 1_000, 1_000, "done 4 SelfTrade"),
        (CancelOldest, 1_000, 5, "done 3 SelfTrade"),
    ];
    for (rule, bought, sold, own) in cases {
        let mut book = book(MarketConfig { reference_price: Price(95), ..config() });
        let begin = MarketEntry::BeginAuction { ticket: Ticket(1), ends_at: Timestamp(1_000) };
        apply(&mut book, 0, &begin);
        place(&mut book, limit(2, Sell, 90, 10));
        place(&mut book, limit(3, Buy, 100, 10));
        place(&mut book, with_rule(limit(4, Buy, 100, bought), rule));
        place(&mut book, with_rule(limit(4, Sell, 100, sold), rule));
        let story = story(&apply(&mut book, 1_000, &MarketEntry::Tick));
        assert_eq!(story, format!("{own}, {others}, phase auction_ended"), "{rule:?}");
    }
}
