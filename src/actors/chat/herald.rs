//! What the venue has to say in the rooms of its markets: makes the rooms, tells of listings, of halts and other
//! changes of which orders are taken, and of big trades.
//!
//! All nodes say the same. Every message has a client id made from what it tells of, so that a restart or a second node
//! repeats nothing. Markets that are listed while the venue runs are welcomed like those that were there before.

use super::{Chat, Refused};
use crate::actors::trading::market_data::{Interest, Subscribe, Update, Updated};
use crate::actors::trading::twin::Fault;
use crate::actors::trading::{Market, Trading};
use crate::domain::chat::{ChatReject, ClientMessageId, Command, RoomId, RoomKind};
use crate::domain::event::{Event, Fill};
use crate::domain::ids::{AccountId, MarketId};
use crate::domain::market::MarketState;
use crate::domain::money::Amount;
use actix::prelude::*;
use futures_util::future::join_all;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long to wait before something that did not work is tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// How often it is tried to say something. Without a room nothing can be said, so making one is tried for ever.
const ATTEMPTS: u32 = 240;
/// How often it is looked whether a market is new, or was stopped by a fault.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Messages under way at once; beyond, the venue keeps silent.
const AT_ONCE: usize = 256;

/// What the actor works with.
#[derive(Clone)]
pub struct Parts {
    /// Chat.
    pub chat: Chat,
    /// The exchange.
    pub trading: Trading,
    /// Trades worth at least so many whole units of quote are told; 0: none are.
    pub big_trade: u64,
    /// True once the rooms of all markets are there.
    pub rooms_made: Arc<watch::Sender<bool>>,
}

/// The actor. See the module's documentation.
pub struct Herald {
    parts: Parts,
    /// How many markets have been welcomed.
    welcomed: usize,
    /// Messages under way.
    saying: usize,
    /// Why each market is halted, as was said last.
    faults: HashMap<MarketId, Fault>,
    /// Which orders each market takes, as was said last.
    states: HashMap<MarketId, MarketState>,
}

impl Herald {
    /// A herald that makes the rooms when it starts.
    pub fn new(parts: Parts) -> Herald {
        Herald { parts, welcomed: 0, saying: 0, faults: HashMap::new(), states: HashMap::new() }
    }

    /// Listens to the markets that are new, and makes their rooms; what is returned ends when the rooms are there.
    fn welcome(&mut self, ctx: &mut Context<Self>) -> Option<impl Future<Output = ()> + use<>> {
        let trading = self.parts.trading.clone();
        let new = trading.markets().get(self.welcomed..).filter(|new| !new.is_empty())?;
        self.welcomed += new.len();
        for market in new {
            self.states.insert(market.id, market.config.state);
            self.subscribe(market, ctx);
        }
        let rooms = join_all(new.iter().map(|market| make_room(&self.parts.chat, market)).collect::<Vec<_>>());
        Some(async move { drop(rooms.await) })
    }

    fn subscribe(&self, market: &Arc<Market>, ctx: &mut Context<Self>) {
        let asked = market.data.send(Subscribe { to: ctx.address().recipient(), interest: Interest::TradesAndRules });
        let market = market.clone();
        ctx.spawn(asked.into_actor(self).map(move |picture, _, ctx| {
            if !matches!(picture, Ok(Some(_))) {
                ctx.run_later(AGAIN, move |herald, ctx| herald.subscribe(&market, ctx));
            }
        }));
    }

    /// Says something in the room of a market. A repeat with the same key is harmless.
    fn say(&mut self, market: MarketId, key: &str, text: String, ctx: &mut Context<Self>) {
        if self.saying >= AT_ONCE {
            return tracing::warn!(market = market.0, key, "the venue has too much to say; this is left out");
        }
        self.saying += 1;
        let (chat, message) = (self.parts.chat.clone(), message(market, key, text));
        let work = async move { insist(&chat, RoomId::market(market), message).await };
        ctx.spawn(work.into_actor(self).map(|_, herald, _| herald.saying -= 1));
    }

    /// Tells of markets that one of their entries has stopped, and that go on again.
    fn look_for_faults(&mut self, ctx: &mut Context<Self>) {
        for market in self.parts.trading.clone().markets() {
            let (before, now, symbol) = (self.faults.get(&market.id).cloned(), market.fault(), &market.config.symbol);
            if before == now {
                continue;
            }
            if let Some(fault) = &now {
                let text = format!("{symbol} is halted because of a fault. Open orders stay as they are.");
                self.say(market.id, &format!("fault {} {}", fault.entry.0, fault.reason), text, ctx);
                self.faults.insert(market.id, fault.clone());
            } else if let Some(fault) = self.faults.remove(&market.id) {
                let text = format!("{symbol} goes on.");
                self.say(market.id, &format!("over {} {}", fault.entry.0, fault.reason), text, ctx);
            }
        }
    }

    /// Tells which orders a market takes, when that has changed.
    fn tell_states(&mut self, update: &Update, ctx: &mut Context<Self>) {
        let outcomes = &update.outcomes;
        for (index, event) in outcomes.events.iter().enumerate() {
            let Event::Configured(config) = event else { continue };
            if self.states.insert(update.market, config.state) == Some(config.state) {
                continue;
            }
            let what = match config.state {
                MarketState::Online => "takes all orders",
                MarketState::PostOnly => "takes only orders that add to the book",
                MarketState::LimitOnly => "takes no market orders",
                MarketState::CancelOnly => "takes no new orders; open ones can be canceled",
                MarketState::Halted => "is halted",
            };
            let key = format!("state {} {index}", outcomes.first.0);
            self.say(update.market, &key, format!("{} {what}.", config.symbol), ctx);
        }
    }

    fn is_big(&self, market: &Market, fill: &Fill) -> bool {
        let one = 10i128.pow(u32::from(market.quote.decimals));
        self.parts.big_trade > 0 && fill.quote >= Amount(i128::from(self.parts.big_trade) * one)
    }

    fn tell_big_trades(&mut self, update: &Update, ctx: &mut Context<Self>) {
        let Some(market) = self.parts.trading.market_by_id(update.market).cloned() else { return };
        let big: Vec<&Fill> =
            update.fills.iter().map(|(_, fill)| fill).filter(|fill| self.is_big(&market, fill)).collect();
        for fill in big {
            let units = fill.quote.0 / 10i128.pow(u32::from(market.quote.decimals));
            let text = format!("A trade worth {units} {} in {}.", market.quote.code, market.config.symbol);
            self.say(market.id, &format!("trade {}", fill.trade.0), text, ctx);
        }
    }
}

/// The id of a message of the venue: a hash of what it tells of.
fn id(market: MarketId, key: &str) -> ClientMessageId {
    let mut hasher = blake3::Hasher::new_derive_key("agora 2026 chat herald");
    hasher.update(&market.0.to_le_bytes()).update(key.as_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    ClientMessageId(u128::from_le_bytes(id))
}

/// Makes the room of a market and says that it is listed, unless that was done before.
fn make_room(chat: &Chat, market: &Market) -> impl Future<Output = ()> + use<> {
    let (chat, id, symbol) = (chat.clone(), market.id, market.config.symbol.clone());
    let create = Command::Create {
        kind: RoomKind::Public,
        name: symbol.clone(),
        topic: format!("Talk about {symbol}"),
        description: String::new(),
    };
    async move {
        while !insist(&chat, RoomId::market(id), create.clone()).await {}
        // Also in a room that was there: whoever made it may have gone before it could say so.
        insist(&chat, RoomId::market(id), message(id, "listing", format!("{symbol} is listed."))).await;
    }
}

/// A message of the venue.
fn message(market: MarketId, key: &str, text: String) -> Command {
    Command::Send { client_id: Some(id(market, key)), text, reply_to: None, mentions: vec![], attachments: vec![] }
}

/// Does something as the venue, again and again while chat or the log are away; false when they are away for too long.
async fn insist(chat: &Chat, room: RoomId, command: Command) -> bool {
    for _ in 0..ATTEMPTS {
        match chat.execute(AccountId::HOUSE, false, room, command.clone()).await {
            Ok(_) | Err(Refused::Reject(ChatReject::RoomExists)) => return true,
            Err(why) if why.is_temporary() => tokio::time::sleep(AGAIN).await,
            Err(why) => {
                tracing::warn!(%room, %why, "the venue could not say something");
                return true;
            }
        }
    }
    tracing::warn!(%room, "chat does not take what the venue has to say");
    false
}

impl Actor for Herald {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (rooms, made) = (self.welcome(ctx), self.parts.rooms_made.clone());
        let work = async move {
            if let Some(rooms) = rooms {
                rooms.await;
            }
            made.send_replace(true);
        };
        ctx.spawn(work.into_actor(self));
        ctx.run_interval(LOOK_EVERY, |herald, ctx| {
            if let Some(rooms) = herald.welcome(ctx) {
                ctx.spawn(rooms.into_actor(herald));
            }
            herald.look_for_faults(ctx);
        });
    }
}

impl Handler<Updated> for Herald {
    type Result = ();

    fn handle(&mut self, updated: Updated, ctx: &mut Self::Context) {
        match updated {
            Updated::Changes(update) => {
                self.tell_states(&update, ctx);
                self.tell_big_trades(&update, ctx);
            }
            Updated::Lost(id) => {
                if let Some(market) = self.parts.trading.market_by_id(id) {
                    self.subscribe(market, ctx);
                }
            }
        }
    }
}
