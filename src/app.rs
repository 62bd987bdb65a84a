//! The one module that knows all the parts: opens the stores, recovers, starts actors and server.

mod closing;
mod descriptors;
pub(crate) mod log;
mod only_node;

use crate::actors::chat;
use crate::actors::cluster::Cluster;
use crate::actors::cluster::peers::Peers;
use crate::actors::event_log::{LogMeter, ReportLine};
use crate::actors::links;
use crate::actors::supervision::ChildSpec;
use crate::actors::supervisor::Supervisor;
use crate::actors::trading::projector::{self, Follower, Projector};
use crate::actors::trading::recovery::{Recovery, catch_up, newest};
use crate::actors::trading::{self, Foundation, Threads, market_data::wall_clock};
use crate::auth::{Accounts, Defaults, key};
use crate::bridge;
use crate::config::ServeConfig;
use crate::custody;
use crate::domain::book::Book;
use crate::domain::ids::AccountId;
use crate::domain::market::{MarketConfig, Scale};
use crate::domain::venue::Silent;
use crate::http::server::Listening;
use crate::http::v1::edge::Edge;
use crate::http::ws::switches::Switches;
use crate::http::{self, AppState, ops};
use crate::notify::courier;
use crate::persistence::archive;
use crate::persistence::bridge as watermark;
use crate::persistence::chat::projection as chat_projection;
use crate::persistence::db::Database;
use crate::persistence::log::{LogEngine, Position};
use crate::persistence::redis::{Latest, Redis};
use crate::persistence::snapshots::Snapshots;
use crate::persistence::{projection, users};
use actix::Arbiter;
use anyhow::{Context, anyhow, ensure};
use only_node::OnlyNode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long a database server that is not there yet is waited for.
const DATABASE_WITHIN: Duration = Duration::from_secs(60);

/// How long a stop waits for those who are being served. The server itself gives up sooner, unless a thread of it hangs.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

/// How long a stop waits for the log to take the cancels of those whose connections it ends.
const CANCELED_WITHIN: Duration = Duration::from_secs(10);

/// How long a stop may take as a whole: less than the service managers of our own files wait. What has not stopped by then
/// hangs (on a database that is frozen, or a disk), and nothing that was acknowledged is lost with it.
const STOPPED_WITHIN: Duration = Duration::from_secs(36);

/// A running venue.
pub struct Running {
    /// Where it listens; tests ask for port 0.
    pub address: std::net::SocketAddr,
    /// Where the API is served without prefix, if it is.
    pub api_address: Option<std::net::SocketAddr>,
    /// Where a GitBitEx front end is served, if one is.
    pub gitbitex_address: Option<std::net::SocketAddr>,
    /// Users and their sessions, for whoever works beside the server.
    pub accounts: Accounts,
    server: actix_web::dev::Server,
    root: Supervisor,
    trading: trading::Trading,
    switches: Switches,
    engine: Arc<dyn LogEngine + Sync>,
    /// The other nodes at the broker, where there must be none.
    others: Option<Peers>,
    /// The place of the only node, where this is one.
    only_node: Option<OnlyNode>,
}

/// Opens everything under the data folder, recovers, and starts to serve.
///
/// # Errors
/// When the folder is in use or damaged, an address is taken, or settings contradict each other.
pub async fn start(settings: &ServeConfig) -> anyhow::Result<Running> {
    crate::actors::supervision::panics::install();
    settings.check()?;
    let settings = &ServeConfig { max_connections: descriptors::connections_of_a_worker(settings), ..settings.clone() };
    let data = settings.data.clone();
    std::fs::create_dir_all(&data).with_context(|| format!("the folder {} cannot be made", data.display()))?;

    let database = Database::connect_within(&settings.database.options(&data), DATABASE_WITHIN)?;
    let may_be_several = among_others(settings, &database)?;
    // Before anything is written: whoever has the place has the log and the numbers of users.
    let only_node = OnlyNode::begin(settings).await?;
    // Asked before the log is opened: other nodes may move on meanwhile.
    let known = seen_of_the_log(&database)?;
    let reports = ReportLine::default();
    let log::OpenLog { engine, role, sealed, archives, prune } = log::open(settings, &data, known, &reports)?;
    if known > engine.end() {
        return Err(anyhow!("the log ends before what the database has seen; a part of the log is missing"));
    }
    let redis = settings.redis.start()?;
    let snapshots = Snapshots::open(data.join("snapshots"))?;
    snapshots.set_aside_behind(engine.end())?;
    let written = Arc::new(AtomicU64::new(0));
    // The oldest part may have gone from the log, be it by retention or pruned, and no snapshot may be of use.
    let reader = archive::whole(engine.reader(), database.clone());
    let (read, kept) = (reader.clone(), snapshots.clone());
    let meter = Arc::new(LogMeter::default());
    // A node that reads nothing new is not behind.
    meter.position.store(engine.end().0, Ordering::Relaxed);
    let cluster = Cluster::new(settings, &role, &meter, &engine)?;
    let peers = cluster.as_ref().map(Cluster::peers);
    let others = peers.clone().filter(|_| !may_be_several);
    let parts = projector::Parts {
        reader: reader.clone(),
        database: database.clone(),
        snapshots: snapshots.clone(),
        sealed,
        archives,
        written: written.clone(),
        role: role.clone(),
        peers: peers.clone(),
        prune,
        snapshot_every: Duration::from_secs(settings.checkpoint_every_s.max(1)),
    };
    let mut follower = Follower::new(parts.clone())?;
    follower.catch_up(engine.end()).context("the log cannot be replayed")?;
    if role.is_active() && follower.position() < engine.end() {
        return Err(anyhow!("the database does not take the log's content; see the messages above"));
    }
    // The active node alone moves the database on, so a standby's follower may stand before the log's end.
    let mut venue = follower.venue().clone();
    let (all, mut caught_up) = (Position(u64::MAX), follower.position());
    while caught_up < engine.end() {
        caught_up = catch_up(&mut venue, reader.as_ref(), caught_up, all, usize::MAX, &mut Silent)
            .context("the log cannot be replayed")?;
    }
    let newest_account = AccountId(venue.ledger.ledger.next_account().0.saturating_sub(1));
    database.write_durably(|connection| users::begin_above(connection, newest_account))?;

    let root = Supervisor::root("agora", settings.supervision.settings(), &Arbiter::current());
    let chat_foundation = chat::follow(&database, &reader)?;
    let (newest_epoch, newest_time) = newest(&venue, reader.as_ref(), caught_up)?;
    let foundation = Foundation {
        engine: engine.clone(),
        reports,
        meter: meter.clone(),
        currencies: venue.ledger.ledger.currencies().to_vec(),
        markets: venue.markets.iter().map(|market| rules(&market.replica.book)).collect(),
        recovery: Arc::new(
            Recovery::new(reader, snapshots, venue, caught_up, settings.client_ids_in_memory)
                .no_further_than(meter.clone()),
        ),
        newest_epoch: newest_epoch.max(chat_foundation.follower.newest_epoch()),
        newest_time,
        role: role.clone(),
        forward: cluster.as_ref().map(Cluster::forwarder),
        settings: settings.supervision.settings(),
        watch: settings.supervision.watch(),
        in_flight: settings.market_in_flight.max(1),
        clock: Arc::new(wall_clock),
        threads: Threads::Several,
    };
    let trading = trading::start(&root, foundation).await?;
    let (log, trade) = (meter.clone(), trading.clone());
    let bridged = bridge::Parts { reader: read, database: database.clone(), snapshots: kept, log, trading: trade };
    bridge::start(settings, &root, bridged).await?;
    start_projector(&root, parts, follower, &trading, &meter).await?;
    let gossip = cluster.as_ref().map(Cluster::gossip);
    let chat = chat::start(&root, chat_foundation, &trading, &settings.chat, &data, &meter, gossip).await?;
    if let Some(cluster) = cluster {
        cluster.start(&root, &trading, &chat).await?;
    }
    http::chat::images::tidy(chat.clone());

    let runtime = runtime_defaults(settings);
    let accounts = {
        let (data, database) = (data.clone(), database.clone());
        let mut settings = settings.accounts.settings(settings.demo || settings.demo_funds)?;
        settings.redis = redis.clone();
        settings.runtime = runtime;
        let start = move || Accounts::start(&data, database, settings, Arc::new(wall_clock));
        tokio::task::spawn_blocking(start).await??
    };
    tend(accounts.clone());
    actix_web::rt::spawn(accounts.clone().hear());
    let parts = courier::Parts { accounts: accounts.clone(), database: database.clone(), trading: trading.clone() };
    courier::start(&root, parts).await?;
    let edge = edge(redis.as_ref(), peers.as_ref(), &meter);
    let metrics = Arc::new(ops::Metrics::new(meter, written)?);
    let allow_drills = settings.supervision.allow_drills;
    let custody = custody::start(&settings.custody, &trading, &database)?;
    let links = {
        let public_url = settings.accounts.accounts_public_url.as_deref();
        let settings = settings.links.settings(settings.cluster.number(), public_url);
        links::start(&root, &database, redis.clone(), settings, &data).await?
    };
    hear_settings(&accounts, &links, &chat);
    let (people, trade, switches) = (accounts.clone(), trading.clone(), Switches::default());
    let state = AppState {
        trading,
        chat,
        links,
        switches: switches.clone(),
        seats: http::ws::seats::Seats::new(settings.feed_connections),
        custody,
        accounts,
        database,
        tree: root.tree().clone(),
        metrics,
        allow_drills,
        peers,
        redis,
        edge,
        gitbitex_origins: settings.gitbitex.gitbitex_origins.clone().into(),
    };
    actix_web::rt::spawn(http::v1::edge::leave(state.clone()));
    let Listening { server, address, api_address, gitbitex_address } = http::server::listen(settings, state)?;
    Ok(Running {
        address,
        api_address,
        gitbitex_address,
        accounts: people,
        server,
        root,
        trading: trade,
        switches,
        engine,
        others,
        only_node,
    })
}

/// Whether other nodes may share the log. What those share that do must not be this node's alone: users have numbers that
/// the database gives, and the log knows them by these.
///
/// # Errors
/// When the log is at a broker, the database is a file, and nobody has said that there is no other node.
fn among_others(settings: &ServeConfig, database: &Database) -> anyhow::Result<bool> {
    if settings.log.broker()?.is_none() || settings.cluster.only_node {
        return Ok(false);
    }
    ensure!(
        database.is_shared(),
        "nodes that share a log need one database too (--database postgres://…): with one each, they give the same number \
         to different people. --only-node says that there is never a second node"
    );
    if settings.chat.chat_s3_endpoint.is_none() && settings.chat.chat_images.is_none() {
        tracing::warn!(
            "images are in a folder of this node: without a bucket (--chat-s3-endpoint) or a folder that all nodes share \
             (--chat-images), no other node can show them"
        );
    }
    Ok(true)
}

/// How far the log was, at least: what followed from it for trading or for chat, or was published, stood in it.
fn seen_of_the_log(database: &Database) -> anyhow::Result<Position> {
    let of_chat = database.read(chat_projection::mark)?.position;
    Ok(projection::position(database)?.max(watermark::position(database)?).max(of_chat))
}

/// Waits until this node is not the only one at its broker, for ever where it need not be; why it is not.
async fn not_alone(others: Option<&Peers>, only_node: Option<&mut OnlyNode>) -> String {
    let (Some(others), Some(only_node)) = (others, only_node) else { return std::future::pending().await };
    let another = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Some(node) = others.another() {
                return format!("node {node} is at the same broker");
            }
        }
    };
    tokio::select! {
        why = another => why,
        why = only_node.lost() => why,
    }
}

/// The pictures that nodes leave each other in Redis.
fn edge(redis: Option<&Redis>, peers: Option<&Peers>, meter: &Arc<LogMeter>) -> Edge {
    let (peers, meter) = (peers.cloned(), meter.clone());
    let behind = move || peers.as_ref().is_some_and(|peers| peers.lag(meter.position.load(Ordering::Relaxed)) > 0);
    Edge::new(redis.cloned().map(Latest::new), Arc::new(behind))
}

/// What the settings at run time begin with: what the command line says.
fn runtime_defaults(settings: &ServeConfig) -> Defaults {
    Defaults {
        demo_funds: settings.demo || settings.demo_funds,
        links_anonymous: settings.links.links_anonymous,
        links_max_per_user: settings.links.links_max_per_user,
        links_import_rows: settings.links.links_import_rows,
        chat_user_rate: settings.chat.chat_user_rate,
        chat_room_rate: settings.chat.chat_room_rate,
    }
}

/// Tells links and chat what administrators allow, now and whenever it has changed.
fn hear_settings(accounts: &Accounts, links: &links::Links, chat: &chat::Chat) {
    let (links, chat) = (links.clone(), chat.clone());
    accounts.hear_settings(move |now| {
        links.allow(links::Allowances {
            max_per_user: i64::from(now.number(key::LINKS_MAX_PER_USER)),
            anonymous: now.flag(key::LINKS_ANONYMOUS),
            import_rows: now.number(key::LINKS_IMPORT_ROWS) as usize,
        });
        chat.limits().set_paces(now.number(key::CHAT_USER_RATE), now.number(key::CHAT_ROOM_RATE));
    });
}

/// The present rules of a market, with its factors for exact amounts.
fn rules(book: &Book) -> (MarketConfig, Scale) {
    (book.config().clone(), book.scale())
}

/// Learns of sessions that other processes ended, and forgets those that are long over.
fn tend(accounts: Accounts) {
    actix_web::rt::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Err(error) = accounts.tend().await {
                tracing::warn!(%error, "sessions could not be tended");
            }
        }
    });
}

async fn start_projector(
    root: &Supervisor,
    parts: projector::Parts,
    follower: Follower,
    trading: &trading::Trading,
    meter: &Arc<LogMeter>,
) -> anyhow::Result<()> {
    let mut first = Some(follower);
    let (twins, log, meter, written) = (trading.clone(), meter.clone(), meter.clone(), parts.written.clone());
    let checkpoint = Arc::new(move || twins.compare_twins());
    let lag = Arc::new(move || meter.position.load(Ordering::Relaxed).saturating_sub(written.load(Ordering::Relaxed)));
    let spec = ChildSpec::new("projector", Arbiter::new().handle(), move |lifeline| {
        Ok(Projector::new(parts.clone(), first.take(), log.clone(), lifeline, checkpoint.clone()))
    });
    root.start(spec.mailbox(64).graceful().stop_within(Duration::from_secs(30)).lag(lag)).await?;
    Ok(())
}

impl Running {
    /// Serves until a signal comes or the tree gives up, then stops in order: refuse, cancel what is to go with its
    /// connection, flush, checkpoint. Whatever hangs is left behind: when this returns the process can be ended.
    ///
    /// # Errors
    /// When the tree gave up or the server failed; the process should end non-zero then.
    pub async fn until_stopped(mut self) -> anyhow::Result<()> {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let handle = self.server.handle();
        let mut served = std::pin::pin!(self.server);
        let outcome = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = tokio::signal::ctrl_c() => Ok(()),
            reason = self.root.escalated() => Err(anyhow!("the supervision tree gave up: {reason}")),
            why = not_alone(self.others.as_ref(), self.only_node.as_mut()) => {
                Err(anyhow!("{why}, and this node was to be the only one (--only-node)"))
            }
            ended = &mut served => ended.map_err(Into::into),
        };
        tracing::info!("stopping: no new requests, then flush and checkpoint");
        let deadline = Instant::now() + STOPPED_WITHIN;
        let stopping = handle.stop(true);
        let left = async {
            tokio::select! {
                () = stopping => {}
                _ = &mut served => {}
            }
        };
        if tokio::time::timeout(SERVED_WITHIN, left).await.is_err() {
            tracing::error!("a thread that serves requests has not stopped in time; it is left behind");
        }
        // A tree that has given up cancels nothing any more, and a node that is one too many should not wait for it.
        if outcome.is_ok() {
            let canceled = tokio::time::timeout(CANCELED_WITHIN, self.switches.carry_out_the_rest(&self.trading));
            if canceled.await.is_err() {
                tracing::error!("not all orders that were to go with their connections could be canceled in time");
            }
        }
        if tokio::time::timeout_at(deadline, self.root.shutdown()).await.is_err() {
            tracing::error!("not everything has stopped in time; what is left behind stands in the log");
        }
        // What is left to write may be a moment's work, however late it is.
        let until = deadline.max(Instant::now() + Duration::from_secs(1));
        match closing::close(self.engine, until).await {
            Some(Position(position)) => tracing::info!(position, "stopped"),
            None => tracing::error!("the log has not ended in time, its disk hangs perhaps; it is left behind"),
        }
        outcome
    }
}
