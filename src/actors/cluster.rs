//! What this node is among others: who leads, who is there, and the commands that travel between them.
//!
//! Two conversations with the broker, each with a connection of its own that is made again when it is lost:
//!
//! - [`lead`] holds the exclusive queue that says who should be active, or waits for it, and takes over with it. The
//!   lock is a hint; that this node leads is proved by its markers in the log.
//! - [`converse`] takes commands from the other nodes, sends ours, and tells each other how far everybody is.
//!
//! Invariants: a node's number is held as an exclusive queue while it lives, so of two processes that share one, one
//! alone talks to the others and leads; a command that left this node and was not answered has an unknown outcome.

mod converse;
mod gossip;
pub(crate) mod lead;
pub mod peers;

pub use gossip::Gossip;

use super::chat::Chat;
use super::event_log::LogMeter;
use super::role::Role;
use super::supervision::{ChildSpec, Failure, Lifeline};
use super::supervisor::Supervisor;
use super::trading::Trading;
use super::trading::remote::{Call, Forwarder};
use crate::config::{NodeRole, ServeConfig};
use crate::persistence::broker::Brokers;
use crate::persistence::log::LogEngine;
use actix::prelude::*;
use peers::Peers;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};

/// Commands that wait for their way to the active node.
const CALLS: usize = 4_096;

/// What both conversations work with.
#[derive(Clone)]
struct Parts {
    brokers: Brokers,
    prefix: String,
    heartbeat_s: u16,
    takes_over: bool,
    role: Role,
    meter: Arc<LogMeter>,
    engine: Arc<dyn LogEngine + Sync>,
    peers: Peers,
    calls: Arc<Mutex<mpsc::Receiver<Call>>>,
    gossip: Gossip,
    hints: Arc<Mutex<mpsc::Receiver<Vec<u8>>>>,
}

impl Parts {
    fn name(&self, what: impl std::fmt::Display) -> String {
        format!("{}.{what}", self.prefix)
    }
}

/// The node's place in the cluster, before it is started.
pub struct Cluster {
    parts: Parts,
    forwarder: Forwarder,
}

impl Cluster {
    /// `None` when there is no broker, so that the node is alone.
    ///
    /// # Errors
    /// When the settings contradict each other.
    pub fn new(
        settings: &ServeConfig,
        role: &Role,
        meter: &Arc<LogMeter>,
        engine: &Arc<dyn LogEngine + Sync>,
    ) -> anyhow::Result<Option<Cluster>> {
        let Some(brokers) = settings.log.broker()? else { return Ok(None) };
        let (forwarder, calls) = Forwarder::new(CALLS);
        let (gossip, hints) = Gossip::new();
        let parts = Parts {
            brokers: brokers.clone(),
            prefix: settings.log.rabbitmq_prefix.clone(),
            heartbeat_s: settings.cluster.cluster_heartbeat,
            takes_over: settings.cluster.has(NodeRole::Trading),
            role: role.clone(),
            meter: Arc::clone(meter),
            engine: Arc::clone(engine),
            peers: Peers::new(role.clone()),
            calls: Arc::new(Mutex::new(calls)),
            gossip,
            hints: Arc::new(Mutex::new(hints)),
        };
        Ok(Some(Cluster { parts, forwarder }))
    }

    /// The way to the active node.
    pub fn forwarder(&self) -> Forwarder {
        self.forwarder.clone()
    }

    /// The way to all nodes for hints.
    pub fn gossip(&self) -> Gossip {
        self.parts.gossip.clone()
    }

    /// What is known of the nodes.
    pub fn peers(&self) -> Peers {
        self.parts.peers.clone()
    }

    /// Starts the conversations.
    ///
    /// # Errors
    /// [`Failure`] when the actor cannot be started.
    pub async fn start(self, root: &Supervisor, trading: &Trading, chat: &Chat) -> Result<(), Failure> {
        let (parts, trading, chat) = (self.parts, trading.clone(), chat.clone());
        let spec = ChildSpec::new("cluster", Arbiter::new().handle(), move |_: Lifeline| {
            Ok(ClusterActor { parts: parts.clone(), trading: trading.clone(), chat: chat.clone() })
        });
        root.start(spec).await.map(drop)
    }
}

/// The actor: it lives while the conversations go on.
struct ClusterActor {
    parts: Parts,
    trading: Trading,
    chat: Chat,
}

impl Actor for ClusterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.parts.takes_over {
            ctx.spawn(lead::run(self.parts.clone(), self.trading.clone()).into_actor(self));
        }
        ctx.spawn(converse::run(self.parts.clone(), self.trading.clone(), self.chat.clone()).into_actor(self));
    }
}
