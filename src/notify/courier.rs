//! Carries notifications: reads what has happened from the database, and sends what is due.
//!
//! Invariants: the messages of an event are put on their way in one transaction with the place up to which its source
//! was read, so it is neither lost nor sent to anybody twice by us; nodes that share a database share the work; where
//! there is nothing to do nothing is written; a message that nobody takes is tried for half a day and then kept for its
//! user to look at, for a month and among a hundred. An outlet that answered but whose answer was lost gets the message
//! again. An outlet that hangs makes no other user wait, nor does a mail server that hangs keep back what goes other
//! ways. Whether its user still wants a message is looked at before it is sent; mail goes to confirmed addresses alone,
//! and not faster than [`MailPace`] says. Security goes first. What a clock that was ahead has dated is due at once.

use super::events::EventKind;
use super::outlets;
use super::pace::MailPace;
use crate::actors::supervision::{ChildSpec, Failure, Lifeline};
use crate::actors::supervisor::Supervisor;
use crate::actors::trading::{Market, Trading};
use crate::auth::Accounts;
use crate::domain::event::Fill;
use crate::domain::ids::AccountId;
use crate::domain::money::{Amount, Decimal};
use crate::domain::order::Side;
use crate::domain::time::{DAY, MINUTE, SECOND, Timestamp};
use crate::persistence::db::{Connection, Database, DbError};
use crate::persistence::fills::{self, FillRow};
use crate::persistence::notifications::{self as store, Delivery, Moved, Room, Way};
use actix::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the database is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Events of one source that are put on their way in one transaction.
const EVENTS_AT_ONCE: i64 = 500;
/// How long the sources that have more than that go on before what is due is sent.
const GATHER_FOR: Duration = Duration::from_millis(500);
/// Messages that are under way at once by mail, and of the others those that are for less than [`SLOW_AFTER`].
const SENT_AT_ONCE: usize = 32;
/// Messages of one user that are under way at once by mail, and others: whose webhook hangs makes nobody else wait.
const SENT_AT_ONCE_TO_USER: usize = 4;
/// From when on a message that is under way to LINE or a webhook makes room for another one.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// Messages that are under way to LINE and webhooks at once, however slow. Each may take a thread of its own, for a
/// name or the database, of 512 that the runtime has for the like.
const MOST_UNDER_WAY: usize = 384;
/// How long a message that was taken is left to whoever took it, µs.
const TAKEN_FOR: i64 = 2 * MINUTE;
/// Tries before a message is given up.
const MOST_TRIES: i32 = 12;
/// How long what was given up is kept for its user at most, µs.
const KEEP_GIVEN_UP: i64 = 30 * DAY;
/// The delay after the first failed try, which doubles with each, µs: with twelve tries half a day.
const FIRST_DELAY: i64 = 20 * SECOND;

/// What the courier works with.
#[derive(Clone)]
pub struct Parts {
    /// Users, their secrets and the mailer.
    pub accounts: Accounts,
    /// Where events and messages stand.
    pub database: Database,
    /// Markets and currencies, for their names and units.
    pub trading: Trading,
}

/// The actor. See the module's documentation.
pub struct Courier {
    parts: Parts,
    /// Messages under way, in the order in which they set out.
    under_way: BTreeMap<u64, UnderWay>,
    pace: Arc<MailPace>,
    _lifeline: Lifeline,
}

/// A message that is under way.
struct UnderWay {
    way: Way,
    /// An account number.
    user: i64,
    since: Instant,
}

/// Starts a courier under this supervisor, on an arbiter of its own.
///
/// # Errors
/// When it does not start.
pub async fn start(root: &Supervisor, parts: Parts) -> Result<(), Failure> {
    let spec =
        ChildSpec::new("courier", Arbiter::new().handle(), move |lifeline| Ok(Courier::new(parts.clone(), lifeline)));
    root.start(spec.mailbox(16)).await.map(drop)
}

impl Courier {
    /// A courier that works until it is stopped.
    pub fn new(parts: Parts, lifeline: Lifeline) -> Courier {
        Courier { parts, under_way: BTreeMap::new(), pace: Arc::default(), _lifeline: lifeline }
    }

    fn round(&mut self, ctx: &mut Context<Courier>) {
        let (parts, now) = (self.parts.clone(), Instant::now());
        let rooms = Way::ALL.map(|way| room(way, self.under_way.values(), now));
        // The next round takes what there is room for then; it does not wait for what this one has taken.
        ctx.spawn(async move { parts.take(rooms).await }.into_actor(self).map(|due, courier, ctx| {
            match due {
                Ok(due) => due.into_iter().for_each(|delivery| courier.carry(delivery, ctx)),
                Err(error) => tracing::warn!(%error, "notifications wait"),
            }
            ctx.run_later(EVERY, Courier::round);
        }));
    }

    fn carry(&mut self, delivery: Delivery, ctx: &mut Context<Courier>) {
        let (parts, pace, user) = (self.parts.clone(), self.pace.clone(), delivery.user_id);
        let number = self.under_way.last_key_value().map_or(0, |(newest, _)| newest + 1);
        self.under_way.insert(number, UnderWay { way: Way::of_kind(&delivery.kind), user, since: Instant::now() });
        let carried = async move { parts.deliver(delivery, &pace).await };
        ctx.spawn(carried.into_actor(self).map(move |carried, courier, _| {
            if let Err(error) = carried {
                tracing::warn!(%error, "what became of a notification could not be stored");
            }
            courier.under_way.remove(&number);
        }));
    }
}

impl Actor for Courier {
    type Context = Context<Courier>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.round(ctx);
    }
}

impl Supervised for Courier {}

impl Parts {
    /// Puts on its way what has happened, and takes of what is due as much as there is room for.
    async fn take(&self, rooms: [Room; 2]) -> anyhow::Result<Vec<Delivery>> {
        let (parts, now) = (self.clone(), self.accounts.clock_now());
        let due = actix_web::rt::task::spawn_blocking(move || -> anyhow::Result<Vec<Delivery>> {
            parts.gather(now)?;
            let is_full = rooms.iter().all(|room| room.free == 0);
            if is_full || !parts.database.read(|conn| store::is_any_due(conn, now))? {
                return Ok(Vec::new());
            }
            let security = EventKind::Security.name();
            // What is sent is on the medium before: the number of a message that was lost with the machine's power
            // would be given to another one, which would be taken for it.
            Ok(parts.database.write_durably(|conn| {
                store::mend_dates(conn, now)?;
                let mut taken = Vec::new();
                for room in rooms {
                    taken.extend(store::take_due(conn, now, now + TAKEN_FOR, security, room)?);
                }
                Ok(taken)
            })?)
        });
        due.await?
    }

    /// Puts what has happened on its way.
    fn gather(&self, now: Timestamp) -> Result<(), DbError> {
        let fills = self.trading.markets().iter().map(|market| Source::Fills(market));
        let sources: Vec<Source<'_>> = fills.chain([Source::Transfers]).collect();
        in_turns(sources, GATHER_FOR, |source| match source {
            Source::Fills(market) => self.gather_fills(market, now),
            Source::Transfers => self.gather_transfers(now),
        })
    }

    /// Puts some of a market's fills on their way; whether there may be more.
    ///
    /// Fills do not change any more, so they are read before the transaction: others who write do not wait for that,
    /// and without fills there is none. It finds out whether another node was faster; that one goes on.
    fn gather_fills(&self, market: &Market, now: Timestamp) -> Result<bool, DbError> {
        let source = format!("fills {}", market.id.0);
        let read = self.database.read(|conn| {
            let Some(from) = store::position(conn, &source)? else { return Ok(None) };
            let rows = fills::after(conn, market.id, u64::try_from(from).unwrap_or(0), EVENTS_AT_ONCE)?;
            // Read after the fills, so that nobody is missing who wanted to know before they were there.
            let parties = rows.iter().flat_map(|row| [row.fill.maker_account, row.fill.taker_account]);
            let parties: FxHashSet<i64> = parties.map(|account| i64::from(account.0)).collect();
            let listeners = if parties.is_empty() {
                Vec::new()
            } else {
                store::listeners(conn, EventKind::Fill.name(), parties.into_iter().collect())?
            };
            Ok(Some((from, rows, listeners)))
        })?;
        let Some((from, rows, listeners)) = read else {
            self.database.write(|conn| {
                let beginning = store::beginning(conn, market.id)?;
                store::advance(conn, &source, None, beginning)
            })?;
            return Ok(false);
        };
        let Some(last) = rows.last() else { return Ok(false) };
        let to = i64::try_from(last.fill.trade.0).unwrap_or(i64::MAX);
        let listeners: FxHashSet<i64> = listeners.into_iter().collect();
        let advanced = self.database.write(|conn| {
            if !store::advance(conn, &source, Some(from), to)? {
                return Ok(false);
            }
            put_fills(conn, market, &rows, &listeners, now)?;
            Ok(true)
        })?;
        Ok(advanced && rows.len() as i64 >= EVENTS_AT_ONCE)
    }

    /// Puts some transfers on their way; whether there may be more. As with fills, they are read before.
    fn gather_transfers(&self, now: Timestamp) -> Result<bool, DbError> {
        let source = store::TRANSFERS;
        let read = self.database.read(|conn| {
            let Some(from) = store::position(conn, source)? else { return Ok(None) };
            Ok(Some((from, store::transfers_after(conn, from, EVENTS_AT_ONCE)?)))
        })?;
        let Some((from, found)) = read else {
            // What happened before anybody could ask is not told.
            self.database.write(|conn| {
                let newest = store::newest_entry(conn)?;
                store::advance(conn, source, None, newest)
            })?;
            return Ok(false);
        };
        let found = found.in_known(self.trading.currencies().len());
        if found.through == from {
            return Ok(false);
        }
        let advanced = self.database.write(|conn| {
            if !store::advance(conn, source, Some(from), found.through)? {
                return Ok(false);
            }
            self.put_transfers(conn, &found.moved, now)?;
            Ok(true)
        })?;
        Ok(advanced && found.more)
    }

    fn put_transfers(&self, conn: &mut Connection, moved: &[Moved], now: Timestamp) -> diesel::QueryResult<()> {
        let mut told = Vec::with_capacity(moved.len());
        for (_, account, currency, amount) in moved {
            let (Ok(account), Ok(place)) = (u32::try_from(*account), usize::try_from(*currency)) else { continue };
            let (Some(currency), Ok(atoms)) = (self.trading.currencies().get(place), amount.parse::<i128>()) else {
                continue;
            };
            let payload = json!({
                "type": if atoms < 0 { "withdraw" } else { "deposit" },
                "currency": currency.code,
                "amount": decimal(Amount(atoms), currency.decimals),
            });
            told.push((AccountId(account), payload.to_string()));
        }
        store::enqueue_all(conn, EventKind::Transfer.name(), &told, now).map(drop)
    }

    async fn deliver(&self, delivery: Delivery, pace: &MailPace) -> anyhow::Result<()> {
        let fate = self.send(&delivery, pace).await;
        let (id, tries, now) = (delivery.id, delivery.attempts + 1, self.accounts.clock_now());
        let user = delivery.user_id;
        let database = self.database.clone();
        let stored = actix_web::rt::task::spawn_blocking(move || {
            let (error, due) = match fate {
                Ok(Fate::Arrived | Fate::Unwanted) => return database.write(|conn| store::arrived(conn, id)),
                Ok(Fate::Later(until)) => {
                    let security = EventKind::Security.name();
                    return database.write(|conn| store::postpone(conn, &delivery, security, until));
                }
                Ok(Fate::Hopeless(error)) => (error.to_owned(), None),
                Err(error) => (error.to_string(), next_try(tries, now)),
            };
            let text: String = error.chars().take(200).collect();
            tracing::debug!(delivery = id, error = text, again = due.is_some(), "a notification was not taken");
            database.write(|conn| {
                store::failed(conn, id, &text, due)?;
                if due.is_none() { store::forget_given_up(conn, user, now + -KEEP_GIVEN_UP) } else { Ok(()) }
            })
        });
        Ok(stored.await??)
    }

    async fn send(&self, delivery: &Delivery, pace: &MailPace) -> anyhow::Result<Fate> {
        let user = AccountId(u32::try_from(delivery.user_id)?);
        let kind = EventKind::from_name(&delivery.event).ok_or_else(|| anyhow::anyhow!("an unknown kind of event"))?;
        let payload: Value = serde_json::from_str(&delivery.payload)?;
        // The outlet may have gone, or listen to less, since the message was put on its way.
        let present = self.accounts.outlets(user).await?;
        if !present.iter().any(|outlet| outlet.kind == delivery.kind && outlet.wants(&delivery.event)) {
            return Ok(Fate::Unwanted);
        }
        match delivery.kind.as_str() {
            "email" => {
                // Anybody may have signed up with somebody else's address.
                let Some(to) = self.accounts.confirmed_address(user).await? else {
                    return Ok(Fate::Hopeless("the e-mail address is not confirmed"));
                };
                let security = kind == EventKind::Security;
                if let Err(until) = pace.admit(delivery.user_id, security, self.accounts.clock_now()) {
                    return Ok(Fate::Later(until));
                }
                let (subject, text) = kind.message(&payload);
                if let Err(error) = self.accounts.mailer().send(&to, &subject, text).await {
                    // The user got nothing, so it is not counted: mail that fails would hold up what is not sent yet.
                    pace.give_back(delivery.user_id, security);
                    return Err(error.into());
                }
            }
            "line" => {
                let line = self.accounts.line().ok_or_else(|| anyhow::anyhow!("this server is not linked to LINE"))?;
                let linked = self.accounts.identities(user).await?;
                let to = linked.iter().find(|(provider, ..)| provider == "line");
                let (_, to, _) = to.ok_or_else(|| anyhow::anyhow!("the account is not linked to LINE"))?;
                line.push(to, kind.message(&payload).1.trim_end()).await?;
            }
            "webhook" => {
                let hook = self.accounts.webhook(user).await?.ok_or_else(|| anyhow::anyhow!("there is no webhook"))?;
                let body = json!({"id": delivery.id, "event": delivery.event, "data": payload}).to_string();
                let seconds = self.accounts.clock_now().seconds();
                outlets::webhook(
                    &hook.url,
                    hook.secret.expose().as_bytes(),
                    seconds,
                    body,
                    self.accounts.private_webhooks(),
                )
                .await?;
            }
            other => return Err(anyhow::anyhow!("there is no outlet {other}")),
        }
        Ok(Fate::Arrived)
    }
}

/// What becomes of a message that was to be sent; one that an outlet did not take is an error.
enum Fate {
    /// It was taken.
    Arrived,
    /// Its user does not want it any more.
    Unwanted,
    /// It is too early for it.
    Later(Timestamp),
    /// Trying again would not help.
    Hopeless(&'static str),
}

/// What room there is to go one way. All mail goes through one server, so where some is slow all of it is; of
/// the others those that are slow leave their places to what may be faster.
fn room<'a>(way: Way, under_way: impl Iterator<Item = &'a UnderWay>, now: Instant) -> Room {
    let mut taken = FxHashMap::default();
    let (mut all, mut quick) = (0_usize, 0_usize);
    for message in under_way.filter(|message| message.way == way) {
        *taken.entry(message.user).or_default() += 1;
        all += 1;
        quick += usize::from(now.saturating_duration_since(message.since) < SLOW_AFTER);
    }
    let free = match way {
        Way::Mail => SENT_AT_ONCE.saturating_sub(all),
        Way::Web => SENT_AT_ONCE.saturating_sub(quick).min(MOST_UNDER_WAY.saturating_sub(all)),
    };
    Room { way, free, most_of_user: SENT_AT_ONCE_TO_USER, taken }
}

/// Where events are read.
enum Source<'a> {
    /// The trades of a market.
    Fills(&'a Market),
    /// The ledger.
    Transfers,
}

/// Gives each source a turn, then further ones to those that say that they have more, for about so long.
///
/// The time is looked at between rounds only, so that the last source gets on as fast as the first.
fn in_turns<S, E>(mut sources: Vec<S>, time: Duration, mut turn: impl FnMut(&S) -> Result<bool, E>) -> Result<(), E> {
    let begun = Instant::now();
    while !sources.is_empty() {
        let mut more = Vec::new();
        for source in sources {
            if turn(&source)? {
                more.push(source);
            }
        }
        if begun.elapsed() >= time {
            break;
        }
        sources = more;
    }
    Ok(())
}

/// Puts fills on their way to those of their parties who listen, and sets off the price alerts that they reach.
fn put_fills(
    conn: &mut Connection,
    market: &Market,
    fills: &[FillRow],
    listeners: &FxHashSet<i64>,
    now: Timestamp,
) -> diesel::QueryResult<()> {
    let mut told = Vec::new();
    for FillRow { fill, .. } in fills {
        for (account, maker) in [(fill.maker_account, true), (fill.taker_account, false)] {
            if listeners.contains(&i64::from(account.0)) {
                told.push((account, shown_fill(market, fill, maker).to_string()));
            }
        }
    }
    store::enqueue_all(conn, EventKind::Fill.name(), &told, now)?;
    // What waits to be read may have happened before an alert was set.
    let trades: Vec<(Timestamp, i64)> =
        fills.iter().map(|row| (row.at, i64::try_from(row.fill.price.0).unwrap_or(i64::MAX))).collect();
    let mut set_off = Vec::new();
    for (alert, price) in store::set_off(conn, i32::from(market.id.0), &trades, now)? {
        let payload = json!({
            "product_id": market.config.symbol,
            "direction": if alert.above { "above" } else { "below" },
            "threshold": ticks(market, alert.price),
            "price": ticks(market, price),
        });
        let Ok(user) = u32::try_from(alert.user_id) else { continue };
        set_off.push((AccountId(user), payload.to_string()));
    }
    store::enqueue_all(conn, EventKind::PriceAlert.name(), &set_off, now).map(drop)
}

/// When a message is tried again after so many tries; `None` when it is given up.
fn next_try(tries: i32, now: Timestamp) -> Option<Timestamp> {
    let doubled = u32::try_from(tries - 1).ok().and_then(|times| 2_i64.checked_pow(times))?;
    (tries < MOST_TRIES).then(|| now + FIRST_DELAY.saturating_mul(doubled))
}

fn decimal(amount: Amount, decimals: u8) -> String {
    Decimal { units: amount.0, decimals }.to_string()
}

fn ticks(market: &Market, price: i64) -> String {
    let step = market.config.tick;
    Decimal { units: i128::from(price) * i128::from(step.units), decimals: step.decimals }.to_string()
}

fn shown_fill(market: &Market, fill: &Fill, maker: bool) -> Value {
    let buys = (fill.maker_side == Side::Buy) == maker;
    let fee = if maker { fill.maker_fee } else { fill.taker_fee };
    json!({
        "trade_id": fill.trade.0,
        "product_id": market.config.symbol,
        "side": if buys { "buy" } else { "sell" },
        "liquidity": if maker { "M" } else { "T" },
        "price": ticks(market, i64::try_from(fill.price.0).unwrap_or(i64::MAX)),
        "size": decimal(fill.base, market.base.decimals),
        "fee": decimal(fee, market.quote.decimals),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The order of turns, when these sources have so much to give at one event each.
    fn turns(mut left: [usize; 3], time: Duration) -> Vec<usize> {
        let mut turns = Vec::new();
        let turn = |source: &usize| -> Result<bool, ()> {
            turns.push(*source);
            left[*source] = left[*source].saturating_sub(1);
            Ok(left[*source] > 0)
        };
        in_turns(vec![0, 1, 2], time, turn).unwrap();
        turns
    }

    #[test]
    fn a_source_with_more_has_further_turns_while_there_is_time() {
        assert_eq!(turns([0, 3, 2], Duration::MAX), [0, 1, 2, 1, 2, 1]);
        assert_eq!(turns([0, 3, 2], Duration::ZERO), [0, 1, 2], "each has one in any case");
    }

    #[test]
    fn tries_get_rarer_and_end_after_half_a_day() {
        let now = Timestamp(0);
        let delays: Vec<i64> = (1..).map_while(|tries| next_try(tries, now)).map(|at| at.0 / SECOND).collect();
        assert_eq!(delays[..3], [20, 40, 80]);
        assert_eq!(delays.len(), 11);
        let hours = delays.iter().sum::<i64>() / 3600;
        assert!((10..30).contains(&hours), "{hours}");
        let longest = delays.iter().max().unwrap() * SECOND;
        assert!(longest + 10 * MINUTE <= store::LONGEST_WAIT, "else it would be taken for misdated");
    }

    #[test]
    fn what_hangs_leaves_its_place_to_others_unless_it_is_mail() {
        let begun = Instant::now();
        let later = begun + SLOW_AFTER;
        let of = |way: Way, since: Instant, count: usize| {
            (0..count as i64).map(move |place| UnderWay { way, user: place / SENT_AT_ONCE_TO_USER as i64, since })
        };
        let free = |under_way: &[UnderWay]| Way::ALL.map(|way| room(way, under_way.iter(), later).free);
        assert_eq!(free(&[]), [SENT_AT_ONCE, SENT_AT_ONCE]);
        let quick: Vec<UnderWay> = of(Way::Web, later, SENT_AT_ONCE).collect();
        assert_eq!(free(&quick), [SENT_AT_ONCE, 0]);
        let slow: Vec<UnderWay> = of(Way::Web, begun, SENT_AT_ONCE).chain(of(Way::Web, later, 2)).collect();
        assert_eq!(free(&slow), [SENT_AT_ONCE, SENT_AT_ONCE - 2]);
        let mail: Vec<UnderWay> = of(Way::Mail, begun, SENT_AT_ONCE).collect();
        assert_eq!(free(&mail), [0, SENT_AT_ONCE], "mail that hangs keeps back no webhooks");
        let most: Vec<UnderWay> = of(Way::Web, begun, MOST_UNDER_WAY - 1).collect();
        assert_eq!(free(&most), [SENT_AT_ONCE, 1]);
        // Slow or not, it counts for its user.
        let taken = room(Way::Web, slow.iter(), later).taken;
        assert_eq!((taken.get(&0), taken.get(&1)), (Some(&(SENT_AT_ONCE_TO_USER + 2)), Some(&SENT_AT_ONCE_TO_USER)));
    }
}
