//! The users: what they wish, whom they ask, and what they were told.
//!
//! A wish has a name of its own (client order id, transfer id) and is asked for again, of any node, until it was
//! fulfilled or a rule refused it. Invariants: what a user was told is held against every node for ever; a wish all of
//! whose attempts were answered with "nothing was done" must not be in the log.

use super::oracle::Oracle;
use crate::actors::trading::ledger::LedgerCommand;
use crate::actors::trading::order_book::BatchDone;
use crate::actors::trading::{Refused, Trading, Unavailable};
use crate::domain::admission::Known;
use crate::domain::entry::{Atomic, Movement};
use crate::domain::ids::{AccountId, ClientOrderId, CurrencyId, MarketId, OrderId, Ticket};
use crate::domain::ledger::{Ignored, LedgerOutcome};
use crate::domain::market::{MarketConfig, Step};
use crate::domain::money::{Amount, Ppm, Price, Size};
use crate::domain::order::{Kind, NewOrder, OrderRecord, Reject, SelfTrade, Side, Stop, TimeInForce, Trigger};
use crate::domain::time::Timestamp;
use crate::persistence::log::faulty::SplitMix;

/// How many users there are.
pub(super) const USERS: u32 = 4;

/// The account of a user.
pub(super) fn account(user: u32) -> AccountId {
    AccountId(AccountId::FIRST_USER.0 + user)
}

/// What a user wants.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Ledger(LedgerCommand),
    Place(MarketId, NewOrder),
    Cancel(MarketId, OrderId),
    CancelAll(MarketId, Option<Side>),
    Amend(MarketId, OrderId, Option<Price>, Option<Size>),
    Together(MarketId, Box<Atomic>),
}

/// What was answered when it was done.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Ledger(LedgerOutcome),
    Placed(Box<OrderRecord>),
    Canceled(OrderId),
    CanceledAll(Vec<OrderId>),
    Together(Box<BatchDone>),
}

/// What became of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Asked of this process of this node.
    Asked(usize, u64),
    /// Nothing was done.
    No,
    Unknown,
    Yes,
}

/// A wish with its attempts.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// The user's own name for it; client order id or transfer id.
    pub(super) name: u128,
    pub(super) account: AccountId,
    pub(super) ask: Ask,
    pub(super) attempts: Vec<Attempt>,
    /// Whether it is asked for no more.
    pub(super) over: bool,
    /// The order that was acknowledged.
    pub(super) order: Option<(MarketId, OrderId)>,
}

impl Wish {
    /// Whether the user was told of every attempt that nothing was done.
    pub(super) fn was_denied(&self) -> bool {
        self.attempts.iter().all(|attempt| *attempt == Attempt::No)
    }

    /// The client order ids that it would bring into the log.
    pub(super) fn client_ids(&self) -> Vec<ClientOrderId> {
        match &self.ask {
            Ask::Place(..) => vec![ClientOrderId(self.name)],
            Ask::Together(_, batch) => batch.places.iter().filter_map(|order| order.client_id).collect(),
            Ask::Ledger(_) | Ask::Cancel(..) | Ask::CancelAll(..) | Ask::Amend(..) => Vec::new(),
        }
    }

    pub(super) fn is_being_asked(&self) -> bool {
        self.attempts.iter().any(|attempt| matches!(attempt, Attempt::Asked(..)))
    }
}

/// Asks a node.
pub(super) async fn ask(trading: Trading, ask: Ask, account: AccountId) -> Result<Said, Refused> {
    let market = |id| trading.market_by_id(id).cloned().ok_or(Refused::Unavailable(Unavailable::Starting));
    Ok(match ask {
        Ask::Ledger(command) => Said::Ledger(trading.execute(command).await?),
        Ask::Place(id, order) => Said::Placed(Box::new(trading.place(&*market(id)?, order).await?)),
        Ask::Cancel(id, order) => Said::Canceled(trading.cancel(&*market(id)?, account, order).await?),
        Ask::Amend(id, order, price, size) => {
            Said::Placed(Box::new(trading.amend(&*market(id)?, account, order, price, size).await?))
        }
        Ask::Together(id, batch) => Said::Together(Box::new(trading.together(&*market(id)?, *batch, None).await?)),
        Ask::CancelAll(id, side) => Said::CanceledAll(trading.cancel_all(&*market(id)?, account, side).await?),
    })
}

/// Takes note of an answer and holds it against the log.
///
/// # Errors
/// When the answer contradicts the log.
pub(super) fn answered(
    oracle: &Oracle,
    wish: &mut Wish,
    attempt: usize,
    outcome: &Result<Said, Refused>,
) -> Result<(), String> {
    let is = match outcome {
        Ok(said) => {
            fulfilled(oracle, wish, said)?;
            wish.over = true;
            if let (Ask::Place(market, _), Said::Placed(record)) = (&wish.ask, said) {
                wish.order = Some((*market, record.id));
            }
            Attempt::Yes
        }
        Err(Refused::Repeat(Known::Order(market, id))) => {
            is_accepted(oracle, wish, *market, *id)?;
            wish.over = true;
            wish.order = Some((*market, *id));
            Attempt::Yes
        }
        Err(Refused::Reject(reason) | Refused::Part(_, reason)) => {
            rejected(oracle, wish, *reason)?;
            wish.over = true;
            Attempt::No
        }
        // An attempt before this one has got through.
        Err(Refused::PartRepeat(_, Known::Order(..))) => {
            all_or_nothing(oracle, wish, Some(true))?;
            wish.over = true;
            Attempt::No
        }
        Err(Refused::Unavailable(Unavailable::MarketFaulted)) => {
            return Err("a market is halted although every entry can be applied".into());
        }
        Err(Refused::Unavailable(Unavailable::OutcomeUnknown)) => Attempt::Unknown,
        Err(Refused::Repeat(_) | Refused::PartRepeat(..) | Refused::Changed | Refused::Unavailable(_)) => Attempt::No,
    };
    if let Some(attempt) = wish.attempts.get_mut(attempt) {
        *attempt = is;
    }
    if is == Attempt::No && wish.was_denied() { must_not_be_there(oracle, wish) } else { Ok(()) }
}

/// That a wish whose user was told that nothing was done is not in the log.
///
/// # Errors
/// When it is.
pub(super) fn must_not_be_there(oracle: &Oracle, wish: &Wish) -> Result<(), String> {
    let facts = oracle.facts();
    let is_there = match &wish.ask {
        Ask::Ledger(LedgerCommand::ListMarket(config)) => oracle.lists(&config.symbol),
        Ask::Ledger(_) => facts.transfers.contains_key(&wish.name),
        _ => wish.client_ids().iter().any(|id| facts.orders.contains_key(&(wish.account, *id))),
    };
    if is_there {
        return Err(format!("the user was told that nothing was done of {}, and it is in the log", wish.name));
    }
    Ok(())
}

/// That either all orders of a wish are in the log or none of them, and which of the two if that is known.
///
/// # Errors
/// When it is otherwise.
pub(super) fn all_or_nothing(oracle: &Oracle, wish: &Wish, expected: Option<bool>) -> Result<(), String> {
    let there = |id: &ClientOrderId| oracle.facts().orders.contains_key(&(wish.account, *id));
    let ids = wish.client_ids();
    let count = ids.iter().filter(|id| there(id)).count();
    let wrong = match expected {
        Some(true) => count < ids.len(),
        Some(false) => count > 0,
        None => count > 0 && count < ids.len(),
    };
    if wrong {
        Err(format!("{count} of {} orders of the batch {} are in the log", ids.len(), wish.name))
    } else {
        Ok(())
    }
}

fn is_accepted(oracle: &Oracle, wish: &Wish, market: MarketId, id: OrderId) -> Result<(), String> {
    let name = wish.name;
    let Some(accepted) = oracle.facts().orders.get(&(wish.account, ClientOrderId(name))) else {
        return Err(format!("order {name} was acknowledged as {}, and it is not in the log", id.number));
    };
    if (accepted.market, accepted.id) != (market, id) {
        let other = accepted.id.number;
        return Err(format!("order {name} was acknowledged as {}, in the log it is {other}", id.number));
    }
    let Ask::Place(_, asked) = &wish.ask else { return Ok(()) };
    let same = |order: &NewOrder| (order.side, order.kind, order.size, order.stop);
    if same(asked) != same(&accepted.order) {
        return Err(format!("order {name} is another one in the log: {:?}", accepted.order));
    }
    Ok(())
}

fn fulfilled(oracle: &Oracle, wish: &Wish, said: &Said) -> Result<(), String> {
    let name = wish.name;
    match (&wish.ask, said) {
        (Ask::Place(market, _), Said::Placed(record)) => is_accepted(oracle, wish, *market, record.id),
        (Ask::Cancel(market, asked), Said::Canceled(id)) => {
            if asked != id || !oracle.is_done(*market, *id) {
                return Err(format!("order {} was canceled, says the answer; it is live", asked.number));
            }
            Ok(())
        }
        (Ask::Amend(_, asked, ..), Said::Placed(record)) if *asked == record.id => Ok(()),
        (Ask::Together(market, batch), Said::Together(done)) => {
            all_or_nothing(oracle, wish, Some(true))?;
            match batch.cancels.iter().find(|id| !oracle.is_done(*market, **id)) {
                _ if done.placed.len() != batch.places.len() => Err(format!("batch {name}: an answer is missing")),
                Some(live) => Err(format!("order {} was canceled, says the answer; it is live", live.number)),
                None => Ok(()),
            }
        }
        (Ask::CancelAll(market, _), Said::CanceledAll(ids)) => {
            match ids.iter().find(|id| !oracle.is_done(*market, **id)) {
                Some(live) => Err(format!("order {} was canceled, says the answer; it is live", live.number)),
                None => Ok(()),
            }
        }
        (Ask::Ledger(LedgerCommand::OpenAccount(account)), Said::Ledger(_)) => {
            let open = oracle.venue().ledger.ledger.is_open(*account);
            if open { Ok(()) } else { Err(format!("account {} is open, says the answer; it is not", account.0)) }
        }
        (Ask::Ledger(LedgerCommand::ListMarket(config)), Said::Ledger(_)) => {
            let (symbol, there) = (&config.symbol, oracle.lists(&config.symbol));
            if there { Ok(()) } else { Err(format!("{symbol} is listed, says the answer; it is not in the log")) }
        }
        (Ask::Ledger(_), Said::Ledger(LedgerOutcome::Moved(..) | LedgerOutcome::Ignored(Ignored::Repeat))) => {
            let there = oracle.facts().transfers.contains_key(&name);
            if there { Ok(()) } else { Err(format!("transfer {name} was acknowledged and is not in the log")) }
        }
        (ask, said) => Err(format!("{ask:?} was answered with {said:?}")),
    }
}

fn rejected(oracle: &Oracle, wish: &Wish, reason: Reject) -> Result<(), String> {
    match (&wish.ask, reason) {
        (Ask::Cancel(market, id), Reject::OrderDone) if !oracle.is_done(*market, *id) => {
            Err(format!("order {} is over, says the answer; it is live", id.number))
        }
        // What an amend needs is reserved by what the order was when it was asked; it may be another when its turn comes.
        (Ask::Amend(..) | Ask::Together(..), Reject::HoldTooSmall | Reject::OrderNotFound) => Ok(()),
        (_, Reject::OrderNotFound | Reject::UnknownAccount | Reject::HoldTooSmall) => {
            Err(format!("{:?} of account {} was answered with {reason}", wish.ask, wish.account.0))
        }
        _ => Ok(()),
    }
}

/// The wishes with which every user begins: an account, and money of every currency.
pub(super) fn first_wishes(names: &mut u128) -> Vec<Wish> {
    let mut wishes = Vec::new();
    for user in 0..USERS {
        wishes.push(wish(names, account(user), |_| Ask::Ledger(LedgerCommand::OpenAccount(account(user)))));
    }
    for user in 0..USERS {
        for currency in 0..3 {
            // So little that holds matter.
            let amount = if currency == 2 { 2_000_000_000_000 } else { 40_000_000 };
            wishes.push(transfer(names, account(user), CurrencyId(currency), Amount(amount), Direction::In));
        }
    }
    wishes
}

/// The market that is listed while the venue runs.
pub(super) const LATE: &str = "BTC-ETH";

/// The wish of whoever runs the venue: another market.
pub(super) fn listing(names: &mut u128) -> Wish {
    let (tick, lot) = (Step { units: 1, decimals: 2 }, Step { units: 1, decimals: 3 });
    let config = MarketConfig::new(LATE.into(), CurrencyId(0), CurrencyId(1), tick, lot);
    wish(names, AccountId::HOUSE, |_| Ask::Ledger(LedgerCommand::ListMarket(Box::new(config))))
}

/// Which way money goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    In,
    Out,
    To(AccountId),
}

fn wish(names: &mut u128, account: AccountId, ask: impl FnOnce(u128) -> Ask) -> Wish {
    *names += 1;
    Wish { name: *names, account, ask: ask(*names), attempts: Vec::new(), over: false, order: None }
}

/// A wish to move money.
pub(super) fn transfer(
    names: &mut u128,
    account: AccountId,
    currency: CurrencyId,
    amount: Amount,
    direction: Direction,
) -> Wish {
    wish(names, account, |transfer| {
        let movement = Movement { ticket: Ticket(0), account, currency, amount, transfer };
        Ask::Ledger(match direction {
            Direction::In => LedgerCommand::Deposit(movement),
            Direction::Out => LedgerCommand::Withdraw(movement),
            Direction::To(other) => LedgerCommand::Transfer(movement, other),
        })
    })
}

/// A wish as it comes to a user's mind. `live` are orders of the user that were acknowledged.
pub(super) fn next_wish(
    names: &mut u128,
    random: &mut SplitMix,
    now: Timestamp,
    market: MarketId,
    live: &[(MarketId, OrderId)],
    account: AccountId,
) -> Wish {
    match random.below(100) {
        8..60 => wish(names, account, |name| Ask::Place(market, order(random, now, market, account, name))),
        0..8 => together(names, random, now, market, live, account),
        60..70 if !live.is_empty() => {
            let (market, order) = live[random.below(live.len() as u64) as usize];
            let (middle, lots) = scale_of(market);
            let price = (random.below(2) == 0).then(|| Price(middle - 20 + random.below(41)));
            let size = (price.is_none() || random.below(2) == 0).then(|| Size(lots + random.below(lots * 4)));
            wish(names, account, |_| Ask::Amend(market, order, price, size))
        }
        70..85 if !live.is_empty() => {
            let (market, order) = live[random.below(live.len() as u64) as usize];
            wish(names, account, |_| Ask::Cancel(market, order))
        }
        85..88 => {
            let side = [None, Some(Side::Buy), Some(Side::Sell)][random.below(3) as usize];
            wish(names, account, |_| Ask::CancelAll(market, side))
        }
        88..94 => {
            let currency = CurrencyId(random.below(3) as u16);
            let amount = Amount(i128::from(1 + random.below(20_000_000)));
            let direction = match random.below(3) {
                0 => Direction::In,
                1 => Direction::Out,
                _ => {
                    let user = account.0 - AccountId::FIRST_USER.0;
                    Direction::To(self::account((user + 1 + random.below(3) as u32) % USERS))
                }
            };
            transfer(names, account, currency, amount, direction)
        }
        // Most of what the user has: two of these cannot both be had.
        94.. => {
            let amount = Amount(if market.0 == 0 { 30_000_000 } else { 1_500_000_000_000 });
            let currency = if market.0 == 0 { CurrencyId(0) } else { CurrencyId(2) };
            transfer(names, account, currency, amount, Direction::Out)
        }
        _ => wish(names, account, |name| Ask::Place(market, order(random, now, market, account, name))),
    }
}

/// A wish to take out most of the currency in which [`LATE`] is traded: who has ordered there cannot have that too.
pub(super) fn spending(names: &mut u128, random: &mut SplitMix, account: AccountId) -> Wish {
    let amount = Amount(i128::from(20_000_000 + random.below(20_000_000)));
    transfer(names, account, CurrencyId(1), amount, Direction::Out)
}

/// A price and a size at which the least amounts of a market are kept.
fn scale_of(market: MarketId) -> (u64, u64) {
    match market.0 {
        0 => (2_000_000, 20_000),
        1 => (150_000, 2_000),
        2 => (5_000, 200),
        _ => (2_000, 5),
    }
}

/// Two orders, and perhaps a cancel: all of it or nothing.
fn together(
    names: &mut u128,
    random: &mut SplitMix,
    now: Timestamp,
    market: MarketId,
    live: &[(MarketId, OrderId)],
    account: AccountId,
) -> Wish {
    *names += 2;
    let places = [*names - 1, *names].map(|name| order(random, now, market, account, name)).to_vec();
    let own = live.iter().filter(|(of, _)| *of == market).map(|(_, order)| *order);
    let cancels = own.take(random.below(2) as usize).collect();
    let batch = Atomic { ticket: Ticket(0), account, cancels, amends: Vec::new(), places };
    wish(names, account, |_| Ask::Together(market, Box::new(batch)))
}

fn order(random: &mut SplitMix, now: Timestamp, market: MarketId, account: AccountId, name: u128) -> NewOrder {
    let side = if random.below(2) == 0 { Side::Buy } else { Side::Sell };
    let (middle, lots) = scale_of(market);
    let price = Price(middle - 20 + random.below(41));
    let size = Size(lots + random.below(lots * 4));
    let time_in_force = match random.below(10) {
        0 => TimeInForce::ImmediateOrCancel,
        1 => TimeInForce::FillOrKill,
        2 | 3 => TimeInForce::GoodTillTime(now + (1 + random.below(3_000_000)) as i64),
        _ => TimeInForce::GoodTillCanceled,
    };
    let rests = matches!(time_in_force, TimeInForce::GoodTillCanceled | TimeInForce::GoodTillTime(_));
    let limit = Kind::Limit { price, time_in_force, post_only: rests && random.below(8) == 0 };
    let kind = if random.below(8) == 0 { Kind::Market { funds: None } } else { limit };
    let trigger = if side == Side::Buy { Trigger::Entry } else { Trigger::Loss };
    let stop = (random.below(10) == 0).then(|| Stop { trigger, price: Price(middle - 10 + random.below(21)) });
    let rules =
        [SelfTrade::DecrementAndCancel, SelfTrade::CancelOldest, SelfTrade::CancelNewest, SelfTrade::CancelBoth];
    NewOrder {
        ticket: Ticket(0),
        account,
        client_id: Some(ClientOrderId(name)),
        side,
        kind,
        size,
        stop,
        self_trade: rules[random.below(4) as usize],
        maker_fee: Ppm(0),
        taker_fee: Ppm(0),
        hold: Amount(0),
    }
}
