//! Those who were not told of everything.

use super::*;
use crate::actors::event_log::{Begin, EngineReport, Epochs, FromLog, Propose};
use crate::actors::log_time::LogTime;
use crate::actors::supervision::{ChildSpec, Drill, Handle};
use crate::actors::trading::market_data::{GetPicture, GetTrades};
use crate::actors::trading::recent::Recent;
use crate::actors::trading::twin::Source;
use crate::domain::batch::Batch;
use crate::domain::book::Book;
use crate::domain::ids::StreamId;
use crate::domain::replica::MarketReplica;
use crate::persistence::log::{Busy, Committed, LogReader, Position, Proposal, Report};
use actix::{Actor, AsyncContext, Context, Handler, Message, WrapFuture};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

const DATA: &str = "agora/trading/venue/market data BTC-USDT";
const LEDGER: &str = "agora/trading/venue/ledger";
const LOG: &str = "agora/trading/event log";
const SYMBOLS: [&str; 3] = ["BTC-USDT", "ETH-USDT", "ETH-BTC"];

/// How many prices market data shows bids at.
async fn bids(market: &Market) -> Option<usize> {
    Some(market.data.send(GetPicture { levels: 10 }).await.ok()??.bids.len())
}

/// The last outcomes of a burst find the mailbox full, and nothing happens in the market afterwards: the book is right again
/// all the same.
#[actix_web::test]
async fn what_market_data_did_not_take_is_noticed_in_a_quiet_market() {
    let machine = Machine::new();
    // Down for long enough that its mailbox can be filled.
    let pause = Duration::from_secs(1);
    let program = machine.start_with(Settings::default().backoff(pause, 1, pause)).await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    let market = program.trading.market("BTC-USDT").unwrap().clone();
    program.place("BTC-USDT", ADA, Side::Buy, (2_000_000, 100), 1).await.unwrap();
    while bids(&market).await != Some(1) {
        a_moment().await;
    }
    assert!(program.root.tree().drill(DATA, Drill::Panic));
    while program.root.tree().node(DATA).unwrap().crashes == 0 {
        a_moment().await;
    }
    while market.data.try_send(GetTrades(0)).is_ok() {}
    program.place("BTC-USDT", ADA, Side::Buy, (2_000_100, 100), 2).await.unwrap();

    let begun = Instant::now();
    while bids(&market).await != Some(2) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the book lacks an order for ever");
        a_moment().await;
    }
    program.end().await;
}

/// Whoever has heard of an order from the feed finds it in the book, though the book's twin has not got it yet.
#[actix_web::test]
async fn a_full_book_is_not_older_than_what_the_feed_has_told() {
    let machine = Machine::new();
    let program = machine.start().await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    let market = program.trading.market("BTC-USDT").unwrap().clone();
    program.place("BTC-USDT", ADA, Side::Buy, (2_000_000, 100), 1).await.unwrap();
    while bids(&market).await != Some(1) {
        a_moment().await;
    }
    // A twin that stands before the order.
    let replica = MarketReplica::new(Book::new(market.config.clone(), market.scale));
    let before = BookState { replica, recent: Recent::default(), position: Position(0) };
    market.berth.build(u64::MAX, Source::Ready(Box::new(before)));
    let twin = loop {
        match market.berth.twin() {
            Some(twin) => break twin,
            None => a_moment().await,
        }
    };
    assert_eq!(twin.send(GetFullBook).await.unwrap().unwrap().bids.len(), 0);
    let full = market.full_book().await.unwrap();
    assert_eq!((full.bids.len(), full.sequence), (1, market.berth.published()));
    program.end().await;
}

impl Program {
    /// Lets the event log die, and with it the word of who has what, and waits until everybody has begun anew.
    async fn lose_the_log(&self) {
        let incarnation = || self.root.tree().node(LEDGER).unwrap().incarnation;
        let before = incarnation();
        assert!(self.root.tree().drill(LOG, Drill::Panic));
        while incarnation() == before {
            a_moment().await;
        }
        self.is_ready().await;
        for symbol in SYMBOLS {
            self.is_open(symbol).await;
        }
    }

    /// How often the ledger and the books have failed by themselves.
    fn crashes(&self) -> u64 {
        let books = SYMBOLS.map(|symbol| format!("agora/trading/venue/order book {symbol}"));
        let paths = books.iter().map(String::as_str).chain([LEDGER]);
        paths.map(|path| self.root.tree().node(path).unwrap().crashes).sum()
    }
}

/// Whoever has heard nothing for long does not look for what it missed in all that others did meanwhile.
#[actix_web::test]
async fn of_a_long_log_little_is_read_after_the_event_log_has_died() {
    let machine = Machine::new();
    let mut program = machine.start().await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    let order = program.place("ETH-USDT", ADA, Side::Buy, (150_000, 100), 1).await.unwrap();
    for transfer in 2..600 {
        program.trading.deposit(ADA, USDT, Amount(1), transfer).await.unwrap();
    }
    program.follower.advance().unwrap();
    program.follower.keep(false);
    for (round, name) in [(1, 2), (2, 3)] {
        // Some looks of theirs, at which they note how far they are.
        for _ in 0..250 {
            a_moment().await;
        }
        let before = machine.reads.batches();
        program.lose_the_log().await;
        let read = machine.reads.batches() - before;
        assert!(read < 300, "{read} batches were read after loss {round}");
        program.place("ETH-USDT", ADA, Side::Buy, (150_000, 100), name).await.unwrap();
    }
    assert_eq!(program.crashes(), 0);
    let market = program.trading.market("ETH-USDT").unwrap();
    assert_eq!(program.trading.cancel(market, ADA, order.id).await, Ok(order.id));
    program.follower.advance().unwrap();
    program.follower.venue().audit().unwrap();
    program.end().await;
}

/// Neither the broker nor the database, in which the older part of the log is, brings down whoever would read there.
#[actix_web::test]
async fn a_log_that_cannot_be_read_for_a_while_is_waited_for() {
    let machine = Machine::new();
    let program = machine.start().await;
    program.trading.open_account(ADA).await.unwrap();
    program.trading.deposit(ADA, USDT, Amount(1_000 * ONE), 1).await.unwrap();
    machine.reads.refuse(3);
    program.lose_the_log().await;
    assert_eq!((machine.reads.refusals(), program.crashes()), (0, 0));
    program.place("BTC-USDT", ADA, Side::Buy, (2_000_000, 100), 1).await.unwrap();
    program.end().await;
}

/// An engine that takes nothing.
struct Full;

impl LogEngine for Full {
    fn propose(&self, _: Proposal) -> Result<(), Busy> {
        Err(Busy)
    }

    fn end(&self) -> Position {
        Position(0)
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        panic!("nobody reads it");
    }
}

/// Owns a stream, and keeps what it hears.
struct Owner(Arc<Mutex<Vec<FromLog>>>);

/// Lets the owner take nothing until then.
#[derive(Message)]
#[rtype(result = "()")]
struct Wait(oneshot::Receiver<()>);

impl Actor for Owner {
    type Context = Context<Self>;
}

impl Handler<FromLog> for Owner {
    type Result = ();

    fn handle(&mut self, message: FromLog, _: &mut Self::Context) {
        self.0.lock().push(message);
    }
}

impl Handler<Wait> for Owner {
    type Result = ();

    fn handle(&mut self, Wait(until): Wait, ctx: &mut Self::Context) {
        ctx.wait(async move { drop(until.await) }.into_actor(self));
    }
}

/// A log over an engine that takes nothing, and the owner of the ledger's stream, whose mailbox holds one message.
struct Pair {
    root: Supervisor,
    log: Handle<EventLog>,
    owner: Handle<Owner>,
    epoch: Epoch,
    heard: Arc<Mutex<Vec<FromLog>>>,
}

impl Pair {
    async fn start() -> Pair {
        let root = Supervisor::root("agora", Settings::default(), &Arbiter::current());
        let heard = Arc::<Mutex<Vec<FromLog>>>::default();
        let told = heard.clone();
        let owner = ChildSpec::new("owner", Arbiter::current(), move |_| Ok(Owner(told.clone()))).mailbox(1);
        let owner = root.start(owner).await.unwrap();
        let engine: Arc<dyn LogEngine + Sync> = Arc::new(Full);
        let epochs = Arc::new(Epochs::above(Epoch::default(), 1));
        let time = Arc::new(LogTime::new(Arc::new(|| Timestamp(1)), Timestamp(1)));
        let log = ChildSpec::new("log", Arbiter::current(), move |lifeline| {
            let (engine, epochs, time) = (engine.clone(), epochs.clone(), time.clone());
            Ok(EventLog::new(engine, epochs, Role::alone(1), Arc::default(), time, lifeline))
        });
        let log = root.start(log).await.unwrap();
        let begun = log.send(Begin { stream: StreamId::Ledger, owner: owner.port() }).await.unwrap();
        Pair { root, log, owner, epoch: begun.epoch.unwrap(), heard }
    }

    /// Fills the owner's mailbox; what is returned lets it go on.
    async fn fill(&self) -> oneshot::Sender<()> {
        let (go, until) = oneshot::channel();
        self.owner.send(Wait(until)).await.unwrap();
        while self.owner.try_send(FromLog::Deposed).is_ok() {}
        go
    }

    /// The engine has committed a batch of the stream.
    async fn committed(&self, number: u64) {
        let (stream, epoch) = (StreamId::Ledger, self.epoch);
        let batch = Batch { stream, epoch, number, at: Timestamp(1), count: 0, payload: Bytes::new() };
        let batches = vec![Committed { position: Position(number), batch: Arc::new(batch) }];
        self.log.send(EngineReport(Report::Committed { proposal: None, batches })).await.unwrap();
    }

    async fn hears(&self, messages: usize) {
        let begins = Instant::now();
        while self.heard.lock().len() < messages {
            assert!(begins.elapsed() < Duration::from_secs(60), "it hears only {:?}", self.heard.lock());
            a_moment().await;
        }
    }
}

/// Whoever waits for what was not written would count as under way for ever, and in the end nothing would be taken.
#[actix_web::test]
async fn an_owner_whose_mailbox_is_full_hears_later_that_it_missed_a_refusal() {
    let pair = Pair::start().await;
    let go = pair.fill().await;
    let (stream, epoch) = (StreamId::Ledger, pair.epoch);
    assert_eq!(pair.log.send(Propose { stream, epoch, entries: vec![0], count: 1 }).await, Ok(Ok(())));
    go.send(()).unwrap();
    pair.hears(2).await;
    let heard = std::mem::take(&mut *pair.heard.lock());
    assert!(matches!(heard.as_slice(), [FromLog::Deposed, FromLog::Outrun]), "{heard:?}");
    pair.root.shutdown().await;
}

/// The marker of a newer epoch would hide what is missing of the older one.
#[actix_web::test]
async fn an_owner_that_missed_a_batch_gets_no_more_of_them_until_it_begins_anew() {
    let pair = Pair::start().await;
    let go = pair.fill().await;
    pair.committed(1).await;
    go.send(()).unwrap();
    pair.hears(1).await;
    // There is room again.
    pair.committed(2).await;
    pair.hears(2).await;
    let heard = std::mem::take(&mut *pair.heard.lock());
    assert!(matches!(heard.as_slice(), [FromLog::Deposed, FromLog::Outrun]), "{heard:?}");
    let begun = pair.log.send(Begin { stream: StreamId::Ledger, owner: pair.owner.port() }).await.unwrap();
    assert!(!begun.unbroken);
    pair.committed(3).await;
    pair.hears(1).await;
    assert!(matches!(pair.heard.lock().as_slice(), [FromLog::Committed(_)]), "{:?}", pair.heard.lock());
    pair.root.shutdown().await;
}
