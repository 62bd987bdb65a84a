//! A market to write rule tables in: BTC-USDT with one quote atom for each tick × lot.

use agora::domain::book::Book;
use agora::domain::entry::MarketEntry;
use agora::domain::event::{DoneReason, Event};
use agora::domain::ids::{AccountId, CurrencyId, MarketId, OrderId, Ticket};
use agora::domain::market::{Currency, MarketConfig, MarketState, Step};
use agora::domain::money::{Amount, MAX_AMOUNT, Ppm, Price, Size};
use agora::domain::order::{Kind, NewOrder, SelfTrade, Side, TimeInForce};
use agora::domain::time::Timestamp;

pub fn config() -> MarketConfig {
    MarketConfig {
        id: MarketId(0),
        symbol: "BTC-USDT".into(),
        base: CurrencyId(0),
        quote: CurrencyId(1),
        tick: Step { units: 1, decimals: 2 },
        lot: Step { units: 1, decimals: 4 },
        maker_fee: Ppm(0),
        taker_fee: Ppm(0),
        min_size: Size(1),
        max_size: Size(1 << 40),
        min_funds: Amount(1),
        max_funds: MAX_AMOUNT,
        band: Ppm(0),
        reference_price: Price(0),
        max_open_orders: 0,
        safety: Default::default(),
        state: MarketState::Online,
    }
}

pub fn book(config: MarketConfig) -> Book {
    let currency = |id, code: &str, decimals| Currency {
        id: CurrencyId(id),
        code: code.into(),
        name: code.into(),
        decimals,
        fiat: false,
    };
    let scale = config.validate(&currency(0, "BTC", 4), &currency(1, "USDT", 6)).unwrap();
    Book::new(config, scale)
}

/// A good-till-canceled order of this account without fees, with the hold that it needs.
pub fn limit(account: u32, side: Side, price: u64, size: u64) -> NewOrder {
    NewOrder {
        ticket: Ticket(0),
        account: AccountId(account),
        client_id: None,
        side,
        kind: Kind::Limit { price: Price(price), time_in_force: TimeInForce::GoodTillCanceled, post_only: false },
        size: Size(size),
        stop: None,
        self_trade: SelfTrade::DecrementAndCancel,
        maker_fee: Ppm(0),
        taker_fee: Ppm(0),
        hold: Amount(i128::from(size) * if side == Side::Buy { i128::from(price) } else { 1 }),
    }
}

#[allow(dead_code, reason = "not every test file has market orders")]
pub fn market(account: u32, side: Side, size: u64, funds: Option<i128>) -> NewOrder {
    let hold = funds.unwrap_or(i128::from(size));
    NewOrder { kind: Kind::Market { funds: funds.map(Amount) }, hold: Amount(hold), ..limit(account, side, 1, size) }
}

pub fn apply(book: &mut Book, at: i64, entry: &MarketEntry) -> Vec<Event> {
    let mut events = Vec::new();
    book.apply(Timestamp(at), entry, &mut events);
    events
}

pub fn place(book: &mut Book, order: NewOrder) -> Vec<Event> {
    apply(book, 0, &MarketEntry::Place(order))
}

/// Places an order that must be accepted and gives its id.
#[allow(dead_code, reason = "not every test file needs ids")]
pub fn placed(book: &mut Book, order: NewOrder) -> OrderId {
    match place(book, order).first() {
        Some(Event::Accepted(id, _)) => *id,
        other => panic!("{order:?} gave {other:?}"),
    }
}

/// Events in few words: `fill 1x2@100:5`, `done 2 Filled`, `open 2@100:3`, `change 1 5->3`, `wake 4`.
#[allow(dead_code, reason = "not every test file tells stories")]
pub fn story(events: &[Event]) -> String {
    let words: Vec<String> = events
        .iter()
        .map(|event| match event {
            Event::Accepted(id, _) => format!("accept {}", id.number),
            Event::Rejected { reason, .. } => format!("reject {}", reason.code()),
            Event::Refused { reason, .. } => format!("refuse {}", reason.code()),
            Event::Opened(o) => format!("open {}@{}:{}", o.id.number, o.price.0, o.remaining.0),
            Event::Filled(f) => format!("fill {}x{}@{}:{}", f.maker.number, f.taker.number, f.price.0, f.size.0),
            Event::Changed(c) => match c.new_funds {
                Some(funds) => format!("funds {} {}", c.id.number, funds.0),
                None => format!("change {} {}->{}", c.id.number, c.old_size.0, c.new_size.0),
            },
            Event::Triggered(t) => format!("wake {}", t.id.number),
            Event::Done(d) => {
                let reason: DoneReason = d.reason;
                format!("done {} {reason:?}", d.id.number)
            }
            Event::Configured(_) => "configured".into(),
            Event::Crossed(c) => {
                format!("cross {}x{}@{}:{}", c.fill.maker.number, c.fill.taker.number, c.fill.price.0, c.fill.size.0)
            }
            Event::Phase(p) => format!("phase {}", p.reason.code()),
            Event::BatchRefused { part, reason, .. } => format!("part {part} refused {}", reason.code()),
        })
        .collect();
    words.join(", ")
}
