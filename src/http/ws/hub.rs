//! One worker's share of the feed: its sessions, and the markets that they read.
//!
//! Market data tells each worker once of a change, and the worker tells its sessions without any further hop between
//! threads. Everything here lives on the worker's thread; only [`Updated`] comes from elsewhere, through the bounded
//! mailbox of the worker's one hub actor.
//!
//! Invariants: a market that a session subscribes to is active before the subscription is confirmed, so that every
//! event after the confirmation reaches the session; a session that cannot take an event is closed, with a reason and
//! the sequences from which it can resume.

use super::market_feed::{Listener, MarketFeed, Wants};
use super::messages;
use super::replay::Replay;
use super::request::Channel;
use super::session::Session;
use super::status;
use crate::actors::trading::Market;
use crate::actors::trading::market_data::{Interest, Picture, Subscribe, Unsubscribe, Update, Updated, wall_clock};
use crate::domain::ids::{MarketId, Sequence};
use crate::http::AppState;
use crate::persistence::fills;
use actix::prelude::*;
use actix_web::web;
use bytestring::ByteString;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Updates that may wait for one worker.
const MAILBOX: usize = 8_192;
/// How long level changes are gathered for those who want them so.
const GATHER: Duration = Duration::from_millis(50);
/// Seconds between the messages of the slow ticker and of the status channel.
const SELDOM_S: u32 = 5;
/// Seconds between pings, and the silence after which a session is given up.
const PING_S: u32 = 15;
const SILENCE: Duration = Duration::from_secs(45);
/// How long a market's data may take to answer. While they are rebuilt they take messages, and answer when that is
/// over; a message that nobody waits for any more does not count.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// How long the database may take to tell the last trade of a market that becomes active.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(1);
/// How long a market that did not answer is left in peace.
const PAUSE: Duration = Duration::from_millis(200);
/// Seconds after which a market that nobody reads is left.
const IDLE_S: u32 = 30;

/// Reasons for which the server ends a connection.
pub mod reasons {
    /// Its reader does not keep up.
    pub const SLOW: &str = "slow_reader";
    /// The market's data were rebuilt, and events were missed meanwhile.
    pub const RESTARTED: &str = "market_restarted";
    /// The market does not answer.
    pub const STARTING: &str = "starting";
    /// The events that it wants to resume from cannot be had now.
    pub const TOO_OLD: &str = "resume_too_old";
    /// The session or key with which it had signed in has ended.
    pub const SIGNED_OUT: &str = "signed_out";
    /// The worker failed.
    pub const FAILED: &str = "internal";
}

/// See the module's documentation.
pub struct Hub {
    state: web::Data<AppState>,
    inner: RefCell<Inner>,
    inbox: RefCell<Option<Recipient<Updated>>>,
}

#[derive(Default)]
struct Inner {
    feeds: BTreeMap<MarketId, MarketFeed>,
    /// Markets whose picture is on its way, with what came after it was asked for.
    activating: BTreeMap<MarketId, Activation>,
    sessions: BTreeMap<u64, Rc<Session>>,
    next_session: u64,
    /// What all readers of the status channel were told last, or the first one of them.
    status: Option<ByteString>,
    seconds: u32,
}

#[derive(Default)]
struct Activation {
    /// The market was lost again meanwhile.
    lost: bool,
    held: Vec<Arc<Update>>,
    waiting: Vec<oneshot::Sender<bool>>,
}

impl Inner {
    /// Those of the markets that are not there. The others are kept for now, as if somebody read them.
    fn missing(&mut self, markets: &BTreeSet<MarketId>) -> Vec<MarketId> {
        markets.iter().copied().filter(|id| self.feeds.get_mut(id).map(|feed| feed.idle = 0).is_none()).collect()
    }
}

thread_local! {
    static OF_WORKER: RefCell<Option<Rc<Hub>>> = const { RefCell::new(None) };
}

impl Hub {
    /// The hub of the worker whose thread this is; it starts with the first session.
    pub fn of_worker(state: &web::Data<AppState>) -> Rc<Hub> {
        OF_WORKER.with_borrow_mut(|slot| match slot {
            Some(hub) if hub.is_alive() => hub.clone(),
            _ => {
                let hub = Rc::new(Hub { state: state.clone(), inner: RefCell::default(), inbox: RefCell::default() });
                let inbox = HubActor { hub: hub.clone() }.start();
                *hub.inbox.borrow_mut() = Some(inbox.recipient());
                *slot = Some(hub.clone());
                hub
            }
        })
    }

    /// What handlers work with.
    pub fn state(&self) -> &web::Data<AppState> {
        &self.state
    }

    /// Whether its actor takes updates still.
    fn is_alive(&self) -> bool {
        self.inbox.borrow().as_ref().is_some_and(Recipient::connected)
    }

    /// A market by its place.
    pub fn market(&self, id: MarketId) -> Option<Arc<Market>> {
        self.state.trading.market_by_id(id).cloned()
    }

    /// A new session.
    pub fn open(&self) -> Rc<Session> {
        let mut inner = self.inner.borrow_mut();
        inner.next_session += 1;
        let session = Rc::new(Session::new(inner.next_session));
        inner.sessions.insert(session.id, session.clone());
        session
    }

    /// Forgets a session.
    pub fn leave(&self, session: &Session) {
        let mut inner = self.inner.borrow_mut();
        inner.sessions.remove(&session.id);
        for (market, channels) in session.leave() {
            if let Some(feed) = inner.feeds.get_mut(&market) {
                feed.leave(session, &channels, &BTreeSet::new());
            }
        }
    }

    /// Ends a session with a reason, and tells from where the events of each market can be resumed.
    pub fn close(&self, session: &Session, reason: &str) {
        let symbol = |id| self.market(id).map(|market| market.config.symbol.clone());
        let resume = messages::by_symbol(session.outbox.delivered().into_iter(), symbol);
        session.outbox.close(messages::closing(reason, &resume), reason);
        self.leave(session);
    }

    /// Makes markets active, so that sessions can join them at once; false when one does not answer. All of them are
    /// there at the moment at which this is done: one that nobody reads may be left while another one is waited for.
    pub async fn activate(self: &Rc<Self>, markets: BTreeSet<MarketId>) -> bool {
        loop {
            // A connection may have come in right before its hub died, or the hub died after the last answer.
            if !self.is_alive() {
                return false;
            }
            let missing = self.inner.borrow_mut().missing(&markets);
            if missing.is_empty() {
                return true;
            }
            let asked: Vec<_> = missing.into_iter().map(|id| self.ask_for(id)).collect();
            for answer in asked {
                if !answer.await.unwrap_or(false) {
                    return false;
                }
            }
        }
    }

    /// The same, asked for again and again for so long: a market that is being rebuilt may be there soon.
    pub async fn activate_within(self: &Rc<Self>, markets: BTreeSet<MarketId>, time: Duration) -> bool {
        let asking = async {
            while self.is_alive() {
                if self.activate(markets.clone()).await {
                    return true;
                }
                tokio::time::sleep(PAUSE).await;
            }
            false
        };
        tokio::time::timeout(time, asking).await.unwrap_or(false)
    }

    /// Asks for a market, unless that was done; the answer says whether it has become active.
    fn ask_for(self: &Rc<Self>, id: MarketId) -> oneshot::Receiver<bool> {
        let (answer, waiting) = oneshot::channel();
        let mut inner = self.inner.borrow_mut();
        let fresh = !inner.activating.contains_key(&id);
        let waiting_for_it = &mut inner.activating.entry(id).or_default().waiting;
        // Whoever waits for a market for a while only asks again and again.
        waiting_for_it.retain(|one| !one.is_closed());
        waiting_for_it.push(answer);
        drop(inner);
        if fresh {
            actix_web::rt::spawn(self.clone().begin(id));
        }
        waiting
    }

    /// Makes a market active whose activation was noted. Once there is a feed of it, it is asked for until that feed hears
    /// of everything again: a feed that market data have forgotten would be silent for ever.
    async fn begin(self: Rc<Self>, id: MarketId) {
        while self.try_to_begin(id).await {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks for a market's picture and everything after it, and answers those who wait. True when that has to be done
    /// again, because the market did not answer or was lost meanwhile, and somebody looks at it; updates are held then.
    async fn try_to_begin(&self, id: MarketId) -> bool {
        if let Some(activation) = self.inner.borrow_mut().activating.get_mut(&id) {
            // The picture is newer than all that was told before it was asked for.
            activation.held.clear();
            activation.lost = false;
        }
        let picture = self.picture(id).await;
        let mut inner = self.inner.borrow_mut();
        // A hub that died meanwhile has let go of everything, and must get nothing that nobody would feed.
        let Some(activation) = inner.activating.remove(&id).filter(|_| self.is_alive()) else { return false };
        let active = picture.is_some();
        let mut holed = Vec::new();
        match (picture, inner.feeds.get_mut(&id)) {
            (Some((_, picture)), Some(feed)) => holed = feed.restart(picture),
            (Some((market, picture)), None) => drop(inner.feeds.insert(id, MarketFeed::new(market, picture))),
            (None, _) => {}
        }
        for answer in activation.waiting {
            // Whoever asked may have gone meanwhile.
            let _ = answer.send(active);
        }
        drop(inner);
        for session in holed {
            self.close(&session, reasons::RESTARTED);
        }
        for update in activation.held {
            self.update(&update);
        }
        if active && !activation.lost {
            return false;
        }
        let inner = &mut *self.inner.borrow_mut();
        let is_looked_at = inner.feeds.contains_key(&id);
        if is_looked_at {
            inner.activating.entry(id).or_default();
        }
        is_looked_at
    }

    /// A market with its picture, from which on every update comes; none when it does not answer.
    async fn picture(&self, id: MarketId) -> Option<(Arc<Market>, Picture)> {
        let market = self.market(id)?;
        let inbox = self.inbox.borrow().clone()?;
        let mut picture = market
            .data
            .send(Subscribe { to: inbox, interest: Interest::Everything })
            .within(ANSWERS_WITHIN)
            .await
            .ok()
            .flatten()?;
        self.add_last_fill(id, &mut picture).await;
        Some((market, picture))
    }

    /// Looks for the last trade in the database, where the market's data have none since they were started. Without it
    /// readers of trades begin with the next one.
    async fn add_last_fill(&self, id: MarketId, picture: &mut Picture) {
        let Some(trade) = picture.ticker.map(|ticker| ticker.trade.id).filter(|_| picture.last_fill.is_none()) else {
            return;
        };
        let newest = self.state.query(move |connection| fills::trades(connection, id, None, None, 1));
        let rows = match tokio::time::timeout(LOOK_UP_WITHIN, newest).await {
            Ok(Ok(rows)) => rows,
            // The database is away or slow, which was told of where it was noticed.
            Ok(Err(_)) | Err(_) => return,
        };
        // The database may be behind; an older trade is not the last one.
        let last = rows.first().filter(|row| row.fill.trade == trade);
        picture.last_fill = last.map(|row| (row.feed_sequence, row.at, row.fill));
    }

    fn updated(self: &Rc<Self>, updated: Updated) {
        match updated {
            Updated::Changes(update) => self.update(&update),
            Updated::Lost(id) => {
                let inner = &mut *self.inner.borrow_mut();
                match inner.activating.get_mut(&id) {
                    Some(activation) => activation.lost = true,
                    None if inner.feeds.contains_key(&id) => {
                        inner.activating.insert(id, Activation::default());
                        actix_web::rt::spawn(self.clone().begin(id));
                    }
                    None => {}
                }
            }
        }
    }

    fn update(&self, update: &Arc<Update>) {
        let slow = {
            let mut inner = self.inner.borrow_mut();
            if let Some(activation) = inner.activating.get_mut(&update.market) {
                if activation.held.len() < MAILBOX {
                    activation.held.push(update.clone());
                } else {
                    activation.lost = true;
                }
                return;
            }
            let market = self.state.trading.market_by_id(update.market);
            let taken = inner.feeds.get_mut(&update.market).map(|feed| {
                if let Some(market) = market {
                    feed.renew(market);
                }
                feed.update(update)
            });
            taken.unwrap_or_default()
        };
        for session in slow {
            self.close(&session, reasons::SLOW);
        }
    }

    /// Adds channels to a session; the markets are active. `resume` names the sequences after which events are wanted,
    /// of markets of which the session reads no events yet.
    pub fn subscribe(
        self: &Rc<Self>,
        session: &Rc<Session>,
        wanted: &BTreeSet<(Channel, Option<MarketId>)>,
        resume: &BTreeMap<MarketId, u64>,
    ) {
        if !self.inner.borrow_mut().missing(&wanted.iter().filter_map(|(_, market)| *market).collect()).is_empty() {
            // Whoever was told that it has what is not there would hear nothing for ever.
            return self.close(session, reasons::STARTING);
        }
        let mut new: BTreeMap<MarketId, BTreeSet<Channel>> = BTreeMap::new();
        for (channel, market) in wanted {
            if let Some(market) = market {
                let fresh = session.channels.borrow_mut().entry(*market).or_default().insert(*channel);
                if fresh {
                    new.entry(*market).or_default().insert(*channel);
                }
            } else if *channel == Channel::Status && !session.status.replace(true) {
                let text = status::message(&self.state);
                session.outbox.optional(text.clone());
                // What the others were told last stays: they have yet to hear of a change that is in this message.
                self.inner.borrow_mut().status.get_or_insert(text);
            }
        }
        let mut slow = !session.outbox.text(self.subscriptions(session));
        for (id, channels) in new {
            let all = session.channels.borrow().get(&id).cloned().unwrap_or_default();
            let mut inner = self.inner.borrow_mut();
            let Some(feed) = inner.feeds.get_mut(&id) else { continue };
            let fresh = Wants::of(&channels) == Wants::of(&all) && Wants::of(&channels).any();
            let from = resume.get(&id).copied().filter(|_| fresh && !session.is_replaying(id));
            let joined = feed.join(session, &channels, &all, from.is_some() || session.is_replaying(id));
            slow |= !joined;
            drop(inner);
            if let (Some(from), Some(market)) = (from, self.market(id)) {
                let replay = Replay::begin(session.clone(), market, from);
                actix_web::rt::spawn(replay.run(self.clone()));
            }
        }
        if slow {
            self.close(session, reasons::SLOW);
        }
    }

    /// Takes channels off a session; a channel without market ends for all of them.
    pub fn unsubscribe(&self, session: &Rc<Session>, unwanted: &BTreeSet<(Channel, Option<MarketId>)>) {
        let mut inner = self.inner.borrow_mut();
        for (channel, market) in unwanted {
            if *channel == Channel::Status {
                session.status.set(false);
            }
            let mut all = session.channels.borrow_mut();
            let places = all.iter_mut().filter(|(id, _)| market.is_none_or(|market| market == **id));
            for (id, channels) in places {
                if channels.remove(channel)
                    && let Some(feed) = inner.feeds.get_mut(id)
                {
                    feed.leave(session, &BTreeSet::from([*channel]), channels);
                }
                if !Wants::of(channels).any() {
                    session.end_replay(*id);
                }
            }
            all.retain(|_, channels| !channels.is_empty());
        }
        drop(inner);
        if !session.outbox.text(self.subscriptions(session)) {
            self.close(session, reasons::SLOW);
        }
    }

    /// The full list of what a session has.
    fn subscriptions(&self, session: &Session) -> ByteString {
        let channels = session.channels.borrow();
        let of = |channel: Channel| -> Vec<String> {
            let has = channels.iter().filter(|(_, channels)| channels.contains(&channel));
            has.filter_map(|(id, _)| self.market(*id)).map(|market| market.config.symbol.clone()).collect()
        };
        let list: Vec<_> = Channel::ALL
            .into_iter()
            .map(|channel| (channel, of(channel)))
            .filter(|(channel, products)| match channel {
                Channel::Status => session.status.get(),
                _ => !products.is_empty(),
            })
            .map(|(channel, products)| (channel.name(), products))
            .collect();
        messages::subscriptions(&list)
    }

    /// A new snapshot of a market for a session that still wants its levels.
    pub fn snapshot(&self, session: &Session, id: MarketId) -> Option<ByteString> {
        let wanted =
            session.channels.borrow().get(&id).is_some_and(|channels| {
                channels.contains(&Channel::Level2) || channels.contains(&Channel::Level2Batch)
            });
        let mut inner = self.inner.borrow_mut();
        inner.feeds.get_mut(&id).filter(|_| wanted).map(MarketFeed::snapshot)
    }

    /// Lets a listener hear of a market, which is active; false when it is not.
    pub fn listen(&self, id: MarketId, listener: &Rc<dyn Listener>) -> bool {
        let mut inner = self.inner.borrow_mut();
        inner.feeds.get_mut(&id).map(|feed| feed.listen(listener)).is_some()
    }

    /// Lets a listener hear no more of a market.
    pub fn unlisten(&self, id: MarketId, listener: &Rc<dyn Listener>) {
        if let Some(feed) = self.inner.borrow_mut().feeds.get_mut(&id) {
            feed.unlisten(listener);
        }
    }

    /// Looks at an active market.
    pub fn look<T>(&self, id: MarketId, look: impl FnOnce(&MarketFeed) -> T) -> Option<T> {
        self.inner.borrow().feeds.get(&id).map(look)
    }

    /// Keeps a market active for a session that catches up, which is no reader of it yet; false when it is gone.
    pub(super) fn keep(&self, id: MarketId) -> bool {
        self.inner.borrow_mut().missing(&BTreeSet::from([id])).is_empty()
    }

    /// Ends the catching up of a session: from here on it follows the market, which stands at or before `applied`, the
    /// entry up to which everything was sent. False when the market is further already, or gone.
    pub(super) fn go_live(&self, session: &Rc<Session>, id: MarketId, applied: Sequence) -> bool {
        let mut inner = self.inner.borrow_mut();
        let Some(feed) = inner.feeds.get_mut(&id) else { return false };
        if feed.applied > applied {
            return false;
        }
        let wants = session.wants(id);
        if wants.any() {
            feed.follow(session, wants, applied);
        }
        session.end_replay(id);
        true
    }

    /// What happens once a second.
    fn second(&self) {
        let now = wall_clock();
        let mut inner = self.inner.borrow_mut();
        inner.seconds = inner.seconds.wrapping_add(1);
        let seldom = inner.seconds.is_multiple_of(SELDOM_S);
        let inbox = self.inbox.borrow();
        let Inner { feeds, activating, .. } = &mut *inner;
        feeds.retain(|id, feed| {
            feed.heartbeat(now);
            if seldom {
                feed.flush_tickers();
            }
            feed.idle = if feed.is_unread() { feed.idle + 1 } else { 0 };
            // One that is begun anew would be taken off after it was added.
            let kept = feed.idle < IDLE_S || activating.contains_key(id);
            if let (false, Some(inbox)) = (kept, inbox.as_ref()) {
                // Market data that does not take this finds the feed gone with its next update.
                let _ = feed.market.data.try_send(Unsubscribe(inbox.clone()));
            }
            kept
        });
        if inner.sessions.values().any(|session| session.status.get()) {
            let text = status::message(&self.state);
            if seldom || inner.status.as_ref().is_none_or(|before| !status::same(before, &text)) {
                for session in inner.sessions.values().filter(|session| session.status.get()) {
                    session.outbox.optional(text.clone());
                }
                inner.status = Some(text);
            }
        }
        if inner.seconds.is_multiple_of(PING_S) {
            let silent = |session: &&Rc<Session>| session.heard.get().elapsed() > SILENCE;
            for session in inner.sessions.values() {
                session.outbox.ping();
            }
            let gone: Vec<_> = inner.sessions.values().filter(silent).cloned().collect();
            drop(inner);
            for session in gone {
                self.close(&session, "silent");
            }
        }
    }
}

/// The hub's place on its worker: takes updates and keeps time.
struct HubActor {
    hub: Rc<Hub>,
}

impl Actor for HubActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.run_interval(Duration::from_secs(1), |actor, _| actor.hub.second());
        ctx.run_interval(GATHER, |actor, _| {
            actor.hub.inner.borrow_mut().feeds.values_mut().for_each(MarketFeed::flush_levels);
        });
    }
}

impl Handler<Updated> for HubActor {
    type Result = ();

    fn handle(&mut self, updated: Updated, _: &mut Self::Context) {
        self.hub.updated(updated);
    }
}

impl Drop for HubActor {
    /// When the actor dies, so do its sessions and those who listen: they would hear nothing more.
    fn drop(&mut self) {
        let Ok(mut inner) = self.hub.inner.try_borrow_mut() else { return };
        let sessions: Vec<_> = inner.sessions.values().cloned().collect();
        let feeds = std::mem::take(&mut inner.feeds);
        // Whoever waits for a market hears that it does not come.
        inner.activating.clear();
        drop(inner);
        feeds.values().for_each(MarketFeed::end);
        for session in sessions {
            self.hub.close(&session, reasons::FAILED);
        }
    }
}

#[cfg(test)]
mod tests;
