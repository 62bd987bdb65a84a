//! Commands between nodes over request and reply, and what the nodes say about themselves.

use super::Parts;
use super::peers::Status;
use crate::actors::chat::{self, Chat};
use crate::actors::trading::remote::{Call, Service};
use crate::actors::trading::{Refused, Trading, Unavailable, remote};
use crate::persistence::broker::{self, BrokerError, patiently, refusal};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer, ExchangeKind};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Seconds between heartbeats.
const HEARTBEAT_S: u16 = 3;

/// How often a node says how far it is.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Commands of other nodes that are executed at once; beyond, they are told that too much waits.
const AT_ONCE: usize = 4_096;

/// Commands of this node that are on their way at once; beyond, they wait, and then are refused.
const ON_THEIR_WAY: usize = 4_096;

/// A command that nobody has taken for so long has been given up by its caller.
const EXPIRES: Duration = Duration::from_secs(5);

/// What messages to all nodes are called that are no statuses.
const HINT: &str = "hint";

/// The broker's own queue for answers.
const REPLIES: &str = "amq.rabbitmq.reply-to";

/// Talks as long as the node lives.
pub(super) async fn run(parts: Parts, trading: Trading, chat: Chat) {
    // There is one of us at a time; after a restart the one before has let go.
    let calls = parts.calls.clone();
    let mut calls = calls.lock().await;
    let hints = parts.hints.clone();
    let mut hints = hints.lock().await;
    loop {
        match Conversation::begin(&parts).await {
            Ok(conversation) => {
                let Err(error) = conversation.hold(&parts, &trading, &chat, &mut calls, &mut hints).await;
                tracing::warn!(%error, "the connection to the other nodes was lost");
            }
            Err(error) => tracing::warn!(%error, "the other nodes are out of reach"),
        }
        // Callers need not wait for a broker that is away.
        while let Ok(call) = calls.try_recv() {
            refuse(call.reply);
        }
        // Hints are of the moment; nobody needs old ones.
        while hints.try_recv().is_ok() {}
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Where the answer to a call goes.
type Waiting = oneshot::Sender<Result<Vec<u8>, Unavailable>>;

fn refuse(reply: Waiting) {
    // A caller that hung up does not want the answer.
    let _ = reply.send(Err(Unavailable::Starting));
}

/// The calls that were not answered yet, with the node that was asked.
#[derive(Default)]
struct Unanswered {
    waiting: HashMap<u64, (u16, Waiting)>,
    sent: u64,
}

impl Unanswered {
    /// The next call that may leave. While too many are on their way none comes, until an answer does or a caller gives
    /// up.
    async fn next(&self, calls: &mut mpsc::Receiver<Call>) -> Option<Call> {
        if self.waiting.len() >= ON_THEIR_WAY {
            return std::future::pending().await;
        }
        loop {
            let call = calls.recv().await?;
            // Whoever gave up was told that the outcome is unknown, and may have asked for the opposite meanwhile.
            if !call.reply.is_closed() && call.since.elapsed() < EXPIRES {
                return Some(call);
            }
        }
    }

    /// A call leaves for this node; its number.
    fn leaves(&mut self, node: u16, reply: Waiting) -> u64 {
        self.sent += 1;
        self.waiting.insert(self.sent, (node, reply));
        self.sent
    }

    /// Who waits for the answer to the call of this number, if anybody still does.
    fn take(&mut self, number: u64) -> Option<Waiting> {
        self.waiting.remove(&number).map(|(_, reply)| reply)
    }
}

enum Never {}

struct Conversation {
    connection: Connection,
    channel: Channel,
    replies: Consumer,
    commands: Consumer,
    statuses: Consumer,
    unanswered: Unanswered,
}

impl Conversation {
    async fn begin(parts: &Parts) -> Result<Conversation, BrokerError> {
        let connection = broker::connect(&parts.brokers, HEARTBEAT_S, "converse").await?;
        let channel = patiently("opening a channel", connection.create_channel()).await?;
        patiently("asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let replies = consume(&channel, REPLIES).await?;
        let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let own = parts.name(format_args!("node.{}", parts.role.node()));
        let declared = channel.queue_declare(own.as_str().into(), exclusive, FieldTable::default());
        match tokio::time::timeout(broker::PATIENCE, declared).await {
            Ok(Ok(_)) => parts.meter.number_taken.store(false, Ordering::Relaxed),
            Ok(Err(error)) if refusal(&error) == Some(405) => {
                parts.meter.number_taken.store(true, Ordering::Relaxed);
                parts.peers.number_taken();
                return Err(BrokerError::Lost(format!("another node has the number {}", parts.role.node())));
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(BrokerError::Lost("making the node's queue: no answer".into())),
        }
        let commands = consume(&channel, &own).await?;
        let exchange = parts.name("nodes");
        let options = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
        let kind = ExchangeKind::Fanout;
        let made = channel.exchange_declare(exchange.as_str().into(), kind, options, FieldTable::default());
        patiently("making the nodes' exchange", made).await?;
        let queue = channel.queue_declare("".into(), exclusive, FieldTable::default());
        let queue = patiently("making a queue", queue).await?.name().to_string();
        let options = QueueBindOptions::default();
        let (to, from) = (queue.as_str().into(), exchange.as_str().into());
        patiently("binding a queue", channel.queue_bind(to, from, "".into(), options, FieldTable::default())).await?;
        let statuses = consume(&channel, &queue).await?;
        let unanswered = Unanswered::default();
        Ok(Conversation { connection, channel, replies, commands, statuses, unanswered })
    }

    /// Ends when the connection does; callers whose answers did not come by then learn that the outcome is unknown.
    async fn hold(
        mut self,
        parts: &Parts,
        trading: &Trading,
        chat: &Chat,
        calls: &mut mpsc::Receiver<Call>,
        hints: &mut mpsc::Receiver<Vec<u8>>,
    ) -> Result<Never, BrokerError> {
        let (answer, mut answers) = mpsc::channel::<(Delivery, Vec<u8>)>(AT_ONCE);
        let mut executing = 0;
        let mut confirms = FuturesUnordered::new();
        let mut tick = tokio::time::interval(STATUS_EVERY);
        let mut epochs = parts.role.watch_epoch();
        loop {
            tokio::select! {
                changed = epochs.changed() => {
                    let leader = epochs.borrow_and_update().node;
                    if changed.is_ok() {
                        // What the node before was asked and has not answered is unknown; it may be frozen for long.
                        self.unanswered.waiting.retain(|_, (asked, _)| *asked == leader);
                    }
                }
                Some(call) = self.unanswered.next(calls) => {
                    let leader = parts.role.leader();
                    let left = EXPIRES.saturating_sub(call.since.elapsed()).as_millis();
                    let number = self.unanswered.leaves(leader, call.reply);
                    let to = parts.name(format_args!("node.{leader}"));
                    let properties = BasicProperties::default()
                        .with_correlation_id(number.to_string().into())
                        .with_type(call.service.name().into())
                        .with_reply_to(REPLIES.into())
                        .with_expiration(left.to_string().into());
                    let confirm = self.publish("", &to, true, &call.command, properties).await?;
                    confirms.push(confirm.map(move |confirmed| (number, confirmed)));
                }
                Some((number, confirmed)) = confirms.next(), if !confirms.is_empty() => {
                    // Returned: the active node is not there, so the command went nowhere.
                    if let Confirmation::Ack(Some(_)) | Confirmation::Nack(_) = confirmed?
                        && let Some(reply) = self.unanswered.take(number)
                    {
                        refuse(reply);
                    }
                }
                reply = self.replies.next() => {
                    let delivery = delivered(reply)?;
                    let number = delivery.properties.correlation_id().as_ref().and_then(|id| id.as_str().parse().ok());
                    if let Some(reply) = number.and_then(|number| self.unanswered.take(number)) {
                        let _ = reply.send(Ok(delivery.data));
                    }
                }
                command = self.commands.next() => {
                    let delivery = delivered(command)?;
                    let service = delivery.properties.kind().as_ref().and_then(|kind| Service::from_name(kind.as_str()));
                    let service = service.unwrap_or(Service::Trading);
                    if executing >= AT_ONCE {
                        self.answer(&delivery, &overloaded(service)).await?;
                        continue;
                    }
                    executing += 1;
                    let answer = answer.clone();
                    match service {
                        Service::Trading => {
                            let trading = trading.clone();
                            actix::spawn(async move {
                                let done = trading.perform_for_another(&delivery.data).await;
                                let _ = answer.send((delivery, done)).await;
                            });
                        }
                        Service::Chat => {
                            // Queued here and now, so that a client's commands keep their order.
                            let done = chat.perform_for_another(&delivery.data);
                            actix::spawn(async move {
                                let done = done.await;
                                let _ = answer.send((delivery, done)).await;
                            });
                        }
                    }
                }
                Some((delivery, done)) = answers.recv() => {
                    executing -= 1;
                    self.answer(&delivery, &done).await?;
                }
                status = self.statuses.next() => {
                    let delivery = delivered(status)?;
                    if delivery.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == HINT) {
                        parts.gossip.heard(delivery.data);
                    } else if let Ok(status) = serde_json::from_slice::<Status>(&delivery.data) {
                        parts.peers.heard(status);
                    }
                }
                Some(hint) = hints.recv() => {
                    let (exchange, properties) = (parts.name("nodes"), BasicProperties::default().with_type(HINT.into()));
                    drop(self.publish(&exchange, "", false, &hint, properties).await?);
                }
                _ = tick.tick() => {
                    if !self.connection.status().connected() {
                        return Err(BrokerError::Lost("the connection has ended".into()));
                    }
                    self.unanswered.waiting.retain(|_, (_, reply)| !reply.is_closed());
                    let position = parts.meter.position.load(Ordering::Relaxed);
                    let status = serde_json::to_vec(&parts.peers.status(position)).unwrap_or_default();
                    let exchange = parts.name("nodes");
                    drop(self.publish(&exchange, "", false, &status, BasicProperties::default()).await?);
                }
            }
        }
    }

    /// Sends what came of a command to whoever asked.
    async fn answer(&self, delivery: &Delivery, done: &[u8]) -> Result<(), BrokerError> {
        let (to, id) = (delivery.properties.reply_to(), delivery.properties.correlation_id());
        if let (Some(to), Some(id)) = (to, id) {
            let properties = BasicProperties::default().with_correlation_id(id.clone());
            drop(self.publish("", to.as_str(), false, done, properties).await?);
        }
        Ok(())
    }

    async fn publish(
        &self,
        exchange: &str,
        to: &str,
        mandatory: bool,
        content: &[u8],
        properties: BasicProperties,
    ) -> Result<lapin::PublisherConfirm, BrokerError> {
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        patiently("publishing", self.channel.basic_publish(exchange.into(), to.into(), options, content, properties))
            .await
    }
}

fn overloaded(service: Service) -> Vec<u8> {
    if service == Service::Chat {
        return chat::remote::overloaded();
    }
    let outcome = Err(Refused::Unavailable(Unavailable::Overloaded));
    postcard::to_stdvec(&remote::Answer { outcome, position: 0 }).unwrap_or_default()
}

async fn consume(channel: &Channel, queue: &str) -> Result<Consumer, BrokerError> {
    // What is lost with the connection is answered as unknown, so nothing has to be delivered again.
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consumed = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    patiently("reading a queue", consumed).await
}

fn delivered(next: Option<Result<Delivery, lapin::Error>>) -> Result<Delivery, BrokerError> {
    next.ok_or_else(|| BrokerError::Lost("a consumer was canceled".into()))?.map_err(BrokerError::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::trading::remote::Forwarder;

    #[tokio::test]
    async fn no_more_calls_leave_than_may_be_on_their_way() {
        let (forwarder, mut calls) = Forwarder::new(1);
        let mut unanswered = Unanswered::default();
        let (mut numbers, mut answers) = (Vec::new(), Vec::new());
        for _ in 0..ON_THEIR_WAY {
            let (reply, answer) = oneshot::channel();
            numbers.push(unanswered.leaves(1, reply));
            answers.push(answer);
        }
        let given_up = forwarder.send(Service::Trading, vec![6]).unwrap();
        assert!(unanswered.next(&mut calls).now_or_never().is_none(), "one too many is on its way");
        let refused = forwarder.send(Service::Trading, vec![8]).map(drop);
        assert_eq!(refused, Err(Unavailable::Overloaded));
        refuse(unanswered.take(numbers[0]).unwrap());
        assert_eq!(answers.remove(0).await, Ok(Err(Unavailable::Starting)));
        drop(given_up);
        assert!(unanswered.next(&mut calls).now_or_never().is_none(), "nobody waits for it any more");
        let _next = forwarder.send(Service::Trading, vec![7]).unwrap();
        let next = unanswered.next(&mut calls).now_or_never().flatten();
        assert_eq!(next.map(|call| call.command), Some(vec![7]));
        assert!(unanswered.take(numbers[0]).is_none());
    }
}
