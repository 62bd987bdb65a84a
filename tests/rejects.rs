//! Every reason against a new order alone, and every pair of them that can hold together: the one
//! that stands earlier in `Reject` is given.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use agora::domain::admission::{Admission, Known, Refusal, Request};
use agora::domain::book::Book;
use agora::domain::client_ids::ClientIds;
use agora::domain::entry::{LedgerEntry, MarketEntry, Movement};
use agora::domain::event::Event;
use agora::domain::ids::{AccountId, ClientOrderId, CurrencyId, Epoch, MarketId, OrderId, StreamId, Ticket};
use agora::domain::ledger::Ledger;
use agora::domain::market::{Currency, MarketConfig, MarketState};
use agora::domain::money::{Amount, MAX_AMOUNT, Ppm, Price, Size};
use agora::domain::order::{Kind, NewOrder, Reject, Side, Stop, TimeInForce, Trigger};
use agora::domain::time::Timestamp;
use support::{book, config, limit, place};

type Break = (Reject, fn(&mut MarketConfig), fn(&mut NewOrder));

fn set_time_in_force(order: &mut NewOrder, wanted: TimeInForce) {
    if let Kind::Limit { time_in_force, .. } = &mut order.kind {
        *time_in_force = wanted;
    }
}

fn set_post_only(order: &mut NewOrder) {
    if let Kind::Limit { post_only, .. } = &mut order.kind {
        *post_only = true;
    }
}

/// Each breaks one rule for the limit buy of 10 lots at 100 ticks that the market takes otherwise.
const BREAKS: &[Break] = &[
    (Reject::MarketHalted, |m| m.state = MarketState::Halted, |_| {}),
    (Reject::CancelOnly, |m| m.state = MarketState::CancelOnly, |_| {}),
    (
        Reject::PriceOutOfRange,
        |_| {},
        |o| {
            if let Kind::Limit { price, .. } = &mut o.kind {
                *price = Price(0);
            }
        },
    ),
    (Reject::SizeRequired, |_| {}, |o| o.size = Size(Size::MAX.0 + 1)),
    (
        Reject::PostOnlyCannotRest,
        |_| {},
        |o| {
            set_post_only(o);
            set_time_in_force(o, TimeInForce::FillOrKill);
        },
    ),
    (Reject::BadStop, |_| {}, |o| o.stop = Some(Stop { trigger: Trigger::Loss, price: Price(100) })),
    (Reject::AlreadyExpired, |_| {}, |o| set_time_in_force(o, TimeInForce::GoodTillTime(Timestamp(0)))),
    (Reject::PostOnlyMode, |m| m.state = MarketState::PostOnly, |_| {}),
    (Reject::SizeTooSmall, |m| m.min_size = Size(11), |_| {}),
    (Reject::SizeTooLarge, |m| (m.min_size, m.max_size) = (Size(1), Size(9)), |_| {}),
    (Reject::FundsTooSmall, |m| m.min_funds = Amount(1_001), |_| {}),
    (Reject::FundsTooLarge, |_| {}, |o| o.hold = Amount(MAX_AMOUNT.0 + 1)),
    (Reject::PriceOutsideBand, |m| (m.band, m.reference_price) = (Ppm(1_000), Price(90)), |_| {}),
    (Reject::TooManyOpenOrders, |m| m.max_open_orders = 1, |_| {}),
    (Reject::HoldTooSmall, |_| {}, |o| o.hold = Amount(-1)),
    (Reject::PostOnlyWouldTake, |_| {}, set_post_only),
];

/// A book in which account 2 has an order already and where a buy at 100 would take.
fn crowded(config: MarketConfig) -> Book {
    let mut book = book(MarketConfig { state: MarketState::Online, ..self::config() });
    place(&mut book, limit(2, Side::Buy, 50, 20));
    place(&mut book, limit(3, Side::Sell, 100, 20));
    let configure = agora::domain::entry::MarketEntry::Configure(Box::new(config));
    assert_eq!(support::apply(&mut book, 0, &configure).len(), 1);
    book
}

fn reason(config: MarketConfig, order: NewOrder) -> Option<Reject> {
    match place(&mut crowded(config), order).first() {
        Some(Event::Rejected { reason, .. }) => Some(*reason),
        _ => None,
    }
}

/// Whether both changes can hold together without undoing each other.
fn compatible(first: Reject, second: Reject) -> bool {
    use Reject::{AlreadyExpired, BadStop, CancelOnly, FundsTooLarge, HoldTooSmall, MarketHalted};
    use Reject::{PostOnlyCannotRest, PostOnlyMode, PostOnlyWouldTake, PriceOutOfRange, SizeTooLarge, SizeTooSmall};
    let groups: &[&[Reject]] = &[
        &[MarketHalted, CancelOnly, PostOnlyMode],
        // A post-only order is what that market takes.
        &[PostOnlyMode, PostOnlyCannotRest],
        &[PostOnlyMode, PostOnlyWouldTake],
        &[PostOnlyCannotRest, AlreadyExpired],
        &[SizeTooSmall, SizeTooLarge],
        &[FundsTooLarge, HoldTooSmall],
        // An order without a price takes nothing, and a stop is looked at when it wakes.
        &[PriceOutOfRange, PostOnlyWouldTake],
        &[BadStop, PostOnlyWouldTake],
    ];
    !groups.iter().any(|group| group.contains(&first) && group.contains(&second))
}

#[test]
fn each_reason_is_given_alone() {
    assert_eq!(reason(config(), limit(2, Side::Buy, 100, 10)), None, "the order is good as it is");
    for (expected, change_market, change_order) in BREAKS {
        let (mut config, mut order) = (config(), limit(2, Side::Buy, 100, 10));
        change_market(&mut config);
        change_order(&mut order);
        assert_eq!(reason(config, order), Some(*expected));
    }
}

#[test]
fn of_two_reasons_the_earlier_is_given() {
    let mut pairs = 0;
    for (index, (first, first_market, first_order)) in BREAKS.iter().enumerate() {
        for (second, second_market, second_order) in BREAKS.iter().skip(index + 1).filter(|b| compatible(*first, b.0)) {
            assert!(first < second, "the table must follow the order of Reject");
            let (mut config, mut order) = (config(), limit(2, Side::Buy, 100, 10));
            // The second change first, then the other way round: neither may hide the other.
            second_market(&mut config);
            first_market(&mut config);
            second_order(&mut order);
            first_order(&mut order);
            assert_eq!(reason(config, order), Some(*first), "{first:?} with {second:?}");
            pairs += 1;
        }
    }
    assert!(pairs > 80, "only {pairs} pairs were tried");
}

#[test]
fn market_orders_have_reasons_of_their_own() {
    use support::market;
    let limit_only = MarketConfig { state: MarketState::LimitOnly, ..config() };
    let cases: &[(MarketConfig, NewOrder, Option<Reject>)] = &[
        (config(), market(2, Side::Buy, 0, None), Some(Reject::FundsRequired)),
        (config(), market(2, Side::Buy, 0, Some(0)), Some(Reject::FundsRequired)),
        (config(), market(2, Side::Buy, 5, Some(-1)), Some(Reject::FundsRequired)),
        (config(), market(2, Side::Sell, 0, None), Some(Reject::FundsRequired)),
        (config(), market(2, Side::Sell, 5, Some(0)), Some(Reject::FundsRequired)),
        (limit_only.clone(), market(2, Side::Sell, 0, Some(5)), Some(Reject::LimitOnly)),
        (limit_only, market(2, Side::Buy, 0, Some(5)), Some(Reject::LimitOnly)),
        (config(), NewOrder { hold: Amount(0), ..market(2, Side::Sell, 0, Some(5)) }, Some(Reject::HoldTooSmall)),
        (config(), market(2, Side::Buy, 0, Some(MAX_AMOUNT.0 + 1)), Some(Reject::FundsRequired)),
        (config(), NewOrder { hold: Amount(4), ..market(2, Side::Sell, 5, None) }, Some(Reject::HoldTooSmall)),
        (config(), NewOrder { hold: Amount(4), ..market(2, Side::Buy, 0, Some(5)) }, Some(Reject::HoldTooSmall)),
        (config(), NewOrder { hold: Amount(-4), ..market(2, Side::Buy, 5, None) }, Some(Reject::HoldTooSmall)),
        (config(), market(2, Side::Buy, 0, Some(5)), None),
        (config(), market(2, Side::Sell, 5, None), None),
        (config(), market(2, Side::Sell, 0, Some(5)), None),
        (config(), market(2, Side::Sell, 5, Some(5)), None),
    ];
    for (config, order, expected) in cases {
        assert_eq!(reason(config.clone(), *order), *expected, "{order:?}");
    }
}

/// The reason in a market in another phase.
fn reason_in(phase: &MarketEntry, config: MarketConfig, order: NewOrder) -> Option<Reject> {
    let mut book = crowded(config);
    support::apply(&mut book, 0, phase);
    match place(&mut book, order).first() {
        Some(Event::Rejected { reason, .. }) => Some(*reason),
        _ => None,
    }
}

#[test]
fn a_phase_has_its_place_among_the_reasons() {
    let killed = MarketEntry::Kill { ticket: Ticket(1), account: None, engaged: true };
    let auction = MarketEntry::BeginAuction { ticket: Ticket(1), ends_at: Timestamp(1_000) };
    let plain = || limit(2, Side::Buy, 100, 10);
    assert_eq!(reason_in(&killed, config(), plain()), Some(Reject::KillSwitch));
    assert_eq!(reason_in(&auction, config(), plain()), None, "a plain order waits for the end of the auction");
    for (reject, change_market, change_order) in BREAKS {
        let (mut config, mut order) = (config(), plain());
        change_market(&mut config);
        change_order(&mut order);
        assert_eq!(reason_in(&killed, config.clone(), order), Some(Reject::KillSwitch.min(*reject)));
        if *reject != Reject::PostOnlyMode {
            set_post_only(&mut order);
            assert_eq!(reason_in(&auction, config, order), Some(Reject::AuctionOnly.min(*reject)), "{reject:?}");
        }
    }
    let stop = Some(Stop { trigger: Trigger::Entry, price: Price(100) });
    for order in [
        NewOrder { stop, ..plain() },
        support::market(2, Side::Buy, 5, None),
        NewOrder {
            kind: Kind::Limit { price: Price(100), time_in_force: TimeInForce::ImmediateOrCancel, post_only: false },
            ..plain()
        },
    ] {
        assert_eq!(reason_in(&auction, config(), order), Some(Reject::AuctionOnly), "{order:?}");
    }
}

/// The ledger is asked once the market's rules have nothing against an order. What it has to say has the order of `Reject`
/// too; only a client id that is taken goes before everything, so that a repeat gets its first order whatever has changed.
#[test]
fn of_the_ledgers_reasons_the_earlier_is_given() {
    const BTC: CurrencyId = CurrencyId(0);
    let (ada, nobody, ticket) = (AccountId::FIRST_USER, AccountId(AccountId::FIRST_USER.0 + 7), Ticket(1));
    let (taken, first) = (ClientOrderId(5), OrderId { number: 9, slot: 3 });
    let mut client_ids = ClientIds::default();
    for account in [ada, nobody] {
        client_ids.remember(account, taken, MarketId(0), first);
    }
    let btc = Currency { id: BTC, code: "BTC".into(), name: "Bitcoin".into(), decimals: 8, fiat: false };
    let movement = Movement { ticket, account: ada, currency: BTC, amount: Amount(100), transfer: 1 };
    let mut cases = 0;
    for case in 0..32u32 {
        let [stopped, frozen, unknown, poor, repeated] = [0, 1, 2, 3, 4].map(|bit| case >> bit & 1 == 1);
        let mut ledger = Ledger::new();
        for entry in [
            LedgerEntry::ListCurrency(Box::new(btc.clone())),
            LedgerEntry::OpenAccount { ticket, account: ada },
            LedgerEntry::Deposit(movement),
            LedgerEntry::SetFrozen { ticket, account: ada, frozen },
            LedgerEntry::SetStopped { ticket, stopped },
        ] {
            ledger.apply(&entry, &mut Vec::new());
        }
        let request = Request {
            stream: StreamId::Market(MarketId(0)),
            ticket,
            epoch: Epoch { counter: 1, node: 1 },
            account: if unknown { nobody } else { ada },
            currency: BTC,
            amount: Amount(if poor { 101 } else { 100 }),
            client_id: Some(if repeated { taken } else { ClientOrderId(6) }),
            vouched: None,
        };
        let reasons = [
            (stopped, Reject::KillSwitch),
            (frozen && !unknown, Reject::AccountFrozen),
            (unknown, Reject::UnknownAccount),
            (poor || unknown, Reject::InsufficientFunds),
        ];
        let reason = reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason).min();
        let expected = match reason {
            _ if repeated => Err(Refusal::Repeat(Known::Order(MarketId(0), first))),
            Some(reason) => Err(Refusal::Reject(reason)),
            None => Ok(()),
        };
        let mut admission = Admission::default();
        assert_eq!(admission.admit(&ledger, &client_ids, request), expected, "{reasons:?}, repeated {repeated}");
        assert_eq!(admission.pending(), usize::from(expected.is_ok()), "only what is admitted is held");
        cases += usize::from(expected.is_ok());
    }
    assert_eq!(cases, 1, "only the order that nothing is wrong with is admitted");
}
