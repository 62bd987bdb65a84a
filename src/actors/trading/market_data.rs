//! What the public sees of one market, as an actor: answers questions and feeds subscribers.
//!
//! Invariants: outcomes are folded in stream order without a hole (a hole restarts the actor, which
//! rebuilds itself from the log); a subscriber gets its first answer and every change after it that it
//! asked for, in order, also across a restart. A subscriber that does not keep up, or for whom changes were lost,
//! loses its place and is told so.

mod newest;

use super::listing::PhaseBoard;
use super::recovery::Recovery;
use crate::actors::supervision::Lifeline;
use crate::domain::candle::Candle;
use crate::domain::event::{Crossed, Event, Fill, PhaseReason};
use crate::domain::ids::{AccountId, MarketId, OrderId, Sequence};
use crate::domain::market::Phase;
use crate::domain::market_data::{Level, MarketData, Stats, Trade};
use crate::domain::money::{Price, Size};
use crate::domain::order::Side;
use crate::domain::replica::MarketOutcomes;
use crate::domain::time::Timestamp;
use actix::prelude::*;
use bytestring::ByteString;
use newest::Newest;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How soon after a change of the book it is told what an auction would do. The answer takes a look at every level that
/// crosses, and the data of all markets share a thread.
pub(super) const INDICATED_AFTER: Duration = Duration::from_millis(100);

/// What a market's batch did, for the public.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Publish(pub Arc<MarketOutcomes>);

/// Everything up to this entry was published. Whoever is behind it has missed something, and nothing more may come.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Reaches(pub Sequence);

/// The changes of one batch, as subscribers get them.
#[derive(Debug)]
pub struct Update {
    /// The market.
    pub market: MarketId,
    /// The time of the batch.
    pub at: Timestamp,
    /// The newest public event contained.
    pub sequence: u64,
    /// What the batch did, private events included.
    pub outcomes: Arc<MarketOutcomes>,
    /// Levels that have another size now.
    pub levels: Vec<(Side, Price, Size)>,
    /// How many orders rest at each of these levels.
    pub orders: Vec<u32>,
    /// Trades with their public sequence.
    pub fills: Vec<(u64, Fill)>,
    /// The ticker after the trades of each incoming order.
    pub tickers: Vec<Ticker>,
    /// What is sent of it.
    pub texts: Texts,
    /// What is sent of it in the GitBitEx dialect.
    pub gitbitex: Texts,
}

/// The messages of an update, made at most once, by whoever needs them first, and shared by all readers.
#[derive(Debug, Default)]
pub struct Texts {
    /// Of the level2 channel.
    pub level2: OnceLock<ByteString>,
    /// Of the matches channel.
    pub matches: OnceLock<Vec<ByteString>>,
    /// Of the ticker channel.
    pub tickers: OnceLock<Vec<ByteString>>,
    /// Of the full channel, each with its sequence.
    pub full: OnceLock<Vec<(u64, ByteString)>>,
}

/// The last trade with the best prices and statistics after it.
#[derive(Clone, Copy, Debug)]
pub struct Ticker {
    /// The newest public event contained.
    pub sequence: u64,
    /// The last trade.
    pub trade: Trade,
    /// The best bid.
    pub bid: Option<(Price, Level)>,
    /// The best ask.
    pub ask: Option<(Price, Level)>,
    /// Rolling statistics.
    pub stats: Stats,
}

/// Tells a subscriber what happened.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum Updated {
    /// The market changed.
    Changes(Arc<Update>),
    /// The subscriber has lost its place, because it did not keep up or because the market's data were rebuilt. It
    /// hears nothing more until it subscribes again.
    Lost(MarketId),
}

/// Which batches a subscriber is told of. Each one wakes its thread, so whoever needs few should ask for few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// All.
    Everything,
    /// Those with a trade, or in which other rules were asked for; of a market that is lost it hears all the same.
    TradesAndRules,
}

/// Asks for what happens from now on; answered with the state that the first update follows.
#[derive(Debug, Message)]
#[rtype(result = "Option<Picture>")]
pub struct Subscribe {
    /// Who is told. A subscriber has one place: asking again gives it a new one.
    pub to: Recipient<Updated>,
    /// Of what.
    pub interest: Interest,
}

/// Ends a subscription.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Unsubscribe(pub Recipient<Updated>);

/// Asks for the state.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<Picture>")]
pub struct GetPicture {
    /// How many levels of each side at most.
    pub levels: usize,
}

/// The market at one sequence.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The newest entry of the stream contained.
    pub applied: Sequence,
    /// The newest public event contained.
    pub sequence: u64,
    /// Bids, best first.
    pub bids: Vec<(Price, Level)>,
    /// Asks, best first.
    pub asks: Vec<(Price, Level)>,
    /// The ticker, if there was a trade.
    pub ticker: Option<Ticker>,
    /// The last trade with its sequence and time, if it happened since the actor started.
    pub last_fill: Option<(u64, Timestamp, Fill)>,
}

impl Picture {
    /// The present time, as this market has it: see [`present`].
    pub fn now(&self) -> Timestamp {
        present(self.ticker.map(|ticker| ticker.trade.at))
    }
}

/// Asks for what happened after a sequence, as far as memory goes back.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Events")]
pub struct GetEvents {
    /// Only what came after this feed sequence; the first batch may have earlier events, too.
    pub after: u64,
    /// Batches up to this entry were taken already.
    pub done: Sequence,
    /// About how many events at most.
    pub limit: usize,
}

/// The newest batches after a sequence.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// The newest entry of the market's stream.
    pub applied: Sequence,
    /// The newest sequence of the market.
    pub sequence: u64,
    /// The batches, oldest first; `None` when memory does not go back so far.
    pub batches: Option<Vec<Arc<MarketOutcomes>>>,
    /// Whether memory has all private events that follow that sequence; they have no sequence of their own.
    pub whole: bool,
}

/// Asks for the events of one order that are in memory, and for the phases of the market since the first of them, with
/// their feed sequence, oldest first.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<(u64, Timestamp, Event)>")]
pub struct GetOrderEvents(pub OrderId);

/// Asks for the newest trades, newest first.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<Trade>")]
pub struct GetTrades(pub usize);

/// Asks for candles of a width in seconds, newest first. The flag says whether older ones exist
/// only in the database.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<(Vec<Candle>, bool)>")]
pub struct GetCandles {
    /// Seconds.
    pub granularity: u32,
    /// The first bucket start.
    pub from: Timestamp,
    /// The last bucket start.
    pub to: Timestamp,
}

/// What the actor is built from.
#[derive(Clone)]
pub struct Parts {
    /// Which market.
    pub market: MarketId,
    /// Where the state comes from.
    pub recovery: Arc<Recovery>,
    /// What outlives the actor.
    pub desk: Arc<Desk>,
    /// Where the market's phase is shown.
    pub phase: Arc<PhaseBoard>,
}

/// What outlives the incarnations of one market's data: who listens, and what they were told.
#[derive(Debug, Default)]
pub struct Desk {
    subscribers: Mutex<Vec<Subscribe>>,
    /// The newest entry that everybody was told of, once the first incarnation has begun.
    told: Mutex<Option<Sequence>>,
    /// What is being told.
    in_hand: Mutex<Option<Arc<MarketOutcomes>>>,
    /// What happened lately, for readers that missed some.
    recent: Mutex<Newest>,
}

/// What one batch changed.
#[derive(Default)]
struct Changes {
    levels: Vec<(Side, Price, Size)>,
    fills: Vec<(u64, Fill)>,
    tickers: Vec<Ticker>,
}

/// The actor. See the module's documentation.
pub struct MarketDataActor {
    parts: Parts,
    lifeline: Lifeline,
    data: Option<MarketData>,
    applied: Sequence,
    /// Whether what an auction would do is about to be told anew.
    indicates: bool,
}

impl MarketDataActor {
    /// Market data that will recover itself when it starts.
    pub fn new(parts: Parts, lifeline: Lifeline) -> MarketDataActor {
        MarketDataActor { parts, lifeline, data: None, applied: Sequence::default(), indicates: false }
    }

    fn picture(&self, levels: usize) -> Option<Picture> {
        let data = self.data.as_ref()?;
        Some(Picture {
            applied: self.applied,
            sequence: data.feed_sequence(),
            bids: data.levels(Side::Buy).take(levels).collect(),
            asks: data.levels(Side::Sell).take(levels).collect(),
            ticker: ticker(data, present(data.last_trade().map(|trade| trade.at))),
            last_fill: self.parts.desk.recent.lock().last_fill,
        })
    }

    fn publish(&mut self, outcomes: Arc<MarketOutcomes>, ctx: &mut Context<Self>) {
        if self.data.is_some() && outcomes.first > self.applied.next() {
            return self.give_up(outcomes.first, ctx);
        }
        let Some(data) = &mut self.data else { return };
        if outcomes.last() <= self.applied {
            return;
        }
        *self.parts.desk.in_hand.lock() = Some(outcomes.clone());
        self.applied = outcomes.last();
        let silent = self.parts.desk.subscribers.lock().is_empty();
        let mut changes = Changes::default();
        let mut sequence = outcomes.feed_before;
        let mut new_phase = None;
        for (_, _, events) in outcomes.by_entry() {
            let before = changes.fills.len();
            for event in events {
                sequence += u64::from(event.is_public());
                data.fold(outcomes.at, event, |side, price, size| changes.levels.push((side, price, size)));
                if let Event::Phase(change) = event {
                    new_phase = Some(change.reason);
                }
                if let Some(fill) = event.fill() {
                    changes.fills.push((sequence, *fill));
                }
            }
            if changes.fills.len() > before && !silent {
                let traded = changes.fills.iter().skip(before).map(|(_, fill)| fill);
                changes.tickers.extend(next_ticker(data, outcomes.at, changes.tickers.last(), traded));
            }
        }
        match (new_phase, data.phase()) {
            (Some(_), _) => self.show_phase(new_phase),
            (None, Phase::Auction { .. }) if !changes.levels.is_empty() => self.indicate_soon(ctx),
            (None, _) => {}
        }
        self.parts.desk.recent.lock().add(&outcomes, changes.fills.last());
        self.lifeline.hazard();
        self.update(outcomes, sequence, changes);
        *self.parts.desk.told.lock() = Some(self.applied);
        self.parts.desk.in_hand.lock().take();
    }

    /// Shows what goes on in the market, and why, if that is news.
    fn show_phase(&self, reason: Option<PhaseReason>) {
        if let Some(data) = &self.data {
            self.parts.phase.show(data.phase(), reason, data.indication());
        }
    }

    /// Shows what the auction would do once the book may have changed further.
    fn indicate_soon(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.indicates, true) {
            ctx.run_later(INDICATED_AFTER, |actor, _| {
                actor.indicates = false;
                actor.show_phase(None);
            });
        }
    }

    /// What is missing before this entry will not come any more: the next incarnation reads the whole log.
    fn give_up(&self, entry: Sequence, ctx: &mut Context<Self>) {
        *self.parts.desk.told.lock() = None;
        self.lifeline.fail(format!("outcomes before entry {} are missing", entry.0));
        ctx.stop();
    }

    /// Tells the subscribers.
    fn update(&self, outcomes: Arc<MarketOutcomes>, sequence: u64, changes: Changes) {
        let mut subscribers = self.parts.desk.subscribers.lock();
        if subscribers.is_empty() || outcomes.events.is_empty() {
            return;
        }
        let eventful = !changes.fills.is_empty() || outcomes.rules_changed;
        let concerns = |subscriber: &Subscribe| eventful || subscriber.interest == Interest::Everything;
        if !subscribers.iter().any(concerns) {
            return;
        }
        let market = self.parts.market;
        let levels = newest_of_each(changes.levels);
        let resting = |(side, price, _): &(Side, Price, Size)| {
            self.data.as_ref().map_or(0, |data| data.level(*side, *price).orders)
        };
        let update = Arc::new(Update {
            market,
            at: outcomes.at,
            sequence,
            orders: levels.iter().map(resting).collect(),
            levels,
            fills: changes.fills,
            tickers: changes.tickers,
            outcomes,
            texts: Texts::default(),
            gitbitex: Texts::default(),
        });
        subscribers.retain(|subscriber| {
            let kept = !concerns(subscriber) || subscriber.to.try_send(Updated::Changes(update.clone())).is_ok();
            if !kept {
                // The only message that may pass the bound: the last one that this subscriber gets.
                subscriber.to.do_send(Updated::Lost(market));
            }
            kept
        });
    }

    /// There is a hole in what the subscribers were told: they lose their places and hear of it.
    fn lose_subscribers(&self) {
        for subscriber in self.parts.desk.subscribers.lock().drain(..) {
            subscriber.to.do_send(Updated::Lost(self.parts.market));
        }
    }
}

/// The users that an event concerns.
pub fn parties_of(event: &Event, mut party: impl FnMut(AccountId)) {
    match event {
        Event::Accepted(_, order) => party(order.account),
        Event::Opened(opened) => party(opened.account),
        Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => {
            party(fill.maker_account);
            party(fill.taker_account);
        }
        Event::Changed(change) => party(change.account),
        Event::Triggered(triggered) => party(triggered.account),
        Event::Done(done) => party(done.account),
        Event::Rejected { .. }
        | Event::Refused { .. }
        | Event::BatchRefused { .. }
        | Event::Configured(_)
        | Event::Phase(_) => {}
    }
}

/// The present time, for statistics that roll with the clock.
pub fn wall_clock() -> Timestamp {
    crate::clock::now()
}

/// The present time for whoever asks of a market's newest candles or of its statistics: the newest trade's, if that is
/// later than this node's clock. Trades have the time of the log, which another clock has made, or this one before it
/// was set back.
pub fn present(newest_trade: Option<Timestamp>) -> Timestamp {
    let now = wall_clock();
    newest_trade.map_or(now, |at| at.max(now))
}

fn ticker(data: &MarketData, now: Timestamp) -> Option<Ticker> {
    current(data, data.stats(now)?)
}

fn current(data: &MarketData, stats: Stats) -> Option<Ticker> {
    Some(Ticker {
        sequence: data.feed_sequence(),
        trade: *data.last_trade()?,
        bid: data.best(Side::Buy),
        ask: data.best(Side::Sell),
        stats,
    })
}

/// The ticker after an order's trades. Statistics of a moment are computed once and then carried on, trade by trade.
fn next_ticker<'a>(
    data: &MarketData,
    at: Timestamp,
    before: Option<&Ticker>,
    fills: impl Iterator<Item = &'a Fill>,
) -> Option<Ticker> {
    let Some(before) = before else { return ticker(data, at) };
    let mut stats = before.stats;
    for fill in fills {
        stats.high = stats.high.max(fill.price);
        stats.low = stats.low.min(fill.price);
        stats.last = fill.price;
        stats.volume = stats.volume.saturating_add(fill.size.0);
        stats.volume_30d = stats.volume_30d.saturating_add(fill.size.0);
    }
    current(data, stats)
}

impl Actor for MarketDataActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Rebuilt as far as the subscribers were told, it goes on with what waits in its mailbox, so they miss nothing.
        let told = *self.parts.desk.told.lock();
        let work = self.parts.recovery.clone().data(self.parts.market, told);
        ctx.wait(work.into_actor(self).map(move |recovered, actor, ctx| match recovered {
            Ok((applied, data)) => {
                let hole = told.is_none_or(|told| applied > told);
                #[cfg(test)]
                let hole = hole && !crate::domain::sabotage::is_made(crate::domain::sabotage::Mistake::FeedHidesAHole);
                if hole {
                    actor.lose_subscribers();
                    *actor.parts.desk.recent.lock() = Newest::default();
                }
                *actor.parts.desk.told.lock() = Some(applied);
                actor.applied = applied;
                actor.parts.phase.show(data.phase(), None, data.indication());
                actor.data = Some(data);
                let in_hand = actor.parts.desk.in_hand.lock().take();
                #[cfg(test)]
                let in_hand = in_hand
                    .filter(|_| !crate::domain::sabotage::is_made(crate::domain::sabotage::Mistake::FeedHidesAHole));
                if let Some(outcomes) = in_hand {
                    actor.publish(outcomes, ctx);
                }
            }
            Err(reason) => {
                actor.lifeline.fail(reason);
                ctx.stop();
            }
        }));
    }
}

impl Handler<Publish> for MarketDataActor {
    type Result = ();

    fn handle(&mut self, Publish(outcomes): Publish, ctx: &mut Self::Context) {
        self.publish(outcomes, ctx);
    }
}

impl Handler<Reaches> for MarketDataActor {
    type Result = ();

    fn handle(&mut self, Reaches(entry): Reaches, ctx: &mut Self::Context) {
        if self.data.is_some() && entry > self.applied {
            self.give_up(entry.next(), ctx);
        }
    }
}

/// Of several changes of one level in a batch, the last counts.
fn newest_of_each(mut levels: Vec<(Side, Price, Size)>) -> Vec<(Side, Price, Size)> {
    if levels.len() > 1 {
        levels.reverse();
        let mut seen = BTreeSet::new();
        levels.retain(|(side, price, _)| seen.insert((*side, *price)));
        levels.reverse();
    }
    levels
}

impl Handler<Subscribe> for MarketDataActor {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, subscriber: Subscribe, _: &mut Self::Context) -> Self::Result {
        let picture = self.picture(usize::MAX);
        let mut subscribers = self.parts.desk.subscribers.lock();
        subscribers.retain(|other| other.to != subscriber.to && other.to.connected());
        if picture.is_some() {
            subscribers.push(subscriber);
        }
        MessageResult(picture)
    }
}

impl Handler<Unsubscribe> for MarketDataActor {
    type Result = ();

    fn handle(&mut self, Unsubscribe(subscriber): Unsubscribe, _: &mut Self::Context) {
        self.parts.desk.subscribers.lock().retain(|other| other.to != subscriber);
    }
}

impl Handler<GetPicture> for MarketDataActor {
    type Result = MessageResult<GetPicture>;

    fn handle(&mut self, GetPicture { levels }: GetPicture, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.picture(levels))
    }
}

impl Handler<GetEvents> for MarketDataActor {
    type Result = MessageResult<GetEvents>;

    fn handle(&mut self, GetEvents { after, done, limit }: GetEvents, _: &mut Self::Context) -> Self::Result {
        let sequence = self.data.as_ref().map_or(0, MarketData::feed_sequence);
        let recent = self.parts.desk.recent.lock();
        MessageResult(Events {
            applied: self.applied,
            sequence,
            batches: recent.after(after, done, limit, sequence),
            whole: recent.is_whole_after(after, done),
        })
    }
}

impl Handler<GetOrderEvents> for MarketDataActor {
    type Result = MessageResult<GetOrderEvents>;

    fn handle(&mut self, GetOrderEvents(id): GetOrderEvents, _: &mut Self::Context) -> Self::Result {
        let recent = self.parts.desk.recent.lock();
        let all = recent.batches().flat_map(|batch| batch.numbered().map(|(n, event)| (n, batch.at, event)));
        MessageResult(
            all.skip_while(|(.., event)| !event.concerns(id))
                .filter(|(.., event)| event.concerns(id) || matches!(event, Event::Phase(_)))
                .map(|(n, at, event)| (n, at, event.clone()))
                .collect(),
        )
    }
}

impl Handler<GetTrades> for MarketDataActor {
    type Result = MessageResult<GetTrades>;

    fn handle(&mut self, GetTrades(limit): GetTrades, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.data.iter().flat_map(MarketData::trades).take(limit).copied().collect())
    }
}

impl Handler<GetCandles> for MarketDataActor {
    type Result = MessageResult<GetCandles>;

    fn handle(&mut self, GetCandles { granularity, from, to }: GetCandles, _: &mut Self::Context) -> Self::Result {
        let series = self.data.as_ref().and_then(|data| data.series(granularity));
        MessageResult(series.map(|series| {
            let inside = |candle: &&Candle| (from..=to).contains(&candle.start);
            let older = series.complete_since().is_some_and(|since| from < since);
            (series.iter().filter(inside).copied().collect(), older)
        }))
    }
}
