//! Connections to the broker, and the few things that are done with a stream queue.

use super::Options;
use crate::persistence::broker::{self, PATIENCE, is_no_queue};
use bytes::Bytes;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer};
use std::time::Duration;

pub(super) use crate::persistence::broker::{BrokerError as LinkError, patiently};

/// The type of the messages that are batches.
const BATCH: &str = "agora.batch";

/// The type of the messages that only ask where the log ends.
const PROBE: &str = "agora.probe";

/// How long the question where the log ends may take to come back.
const NEWEST_WITHIN: Duration = Duration::from_secs(2);

/// Seconds between heartbeats, unless the address says otherwise: a dead broker is noticed after twice as long.
const HEARTBEAT_S: u16 = 3;

pub(super) async fn connect(options: &Options, purpose: &str) -> Result<Connection, LinkError> {
    broker::connect(&options.brokers, HEARTBEAT_S, purpose).await
}

/// Makes sure of the queue.
pub(super) async fn declare(connection: &Connection, options: &Options, create: bool) -> Result<(), LinkError> {
    let queue = &options.queue;
    let channel = patiently("opening a channel", connection.create_channel()).await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let asked =
        tokio::time::timeout(PATIENCE, channel.queue_declare(queue.as_str().into(), passive, FieldTable::default()));
    match asked.await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) if is_no_queue(&error) && create => {}
        // A queue that the broker is about to bring up is one that will be there.
        Ok(Err(error)) if is_no_queue(&error) => {
            return Err(LinkError::Fatal(format!("the stream queue {queue} is not there any more")));
        }
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Err(LinkError::Lost("asking for the queue: no answer".into())),
    }
    // The refused question has closed its channel.
    let channel = patiently("opening a channel", connection.create_channel()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    if let Some(bytes) = options.keep_bytes {
        let number = |bytes: u64| AMQPValue::LongLongInt(i64::try_from(bytes).unwrap_or(i64::MAX));
        arguments.insert("x-max-length-bytes".into(), number(bytes));
        // Only whole segments go, and the newest two always stay.
        arguments.insert("x-stream-max-segment-size-bytes".into(), number((bytes / 4).clamp(1 << 16, 500_000_000)));
    }
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue.as_str().into(), durable, arguments);
    patiently("making the queue", declared).await?;
    Ok(())
}

/// A channel whose messages are confirmed.
pub(super) async fn confirming(connection: &Connection) -> Result<Channel, LinkError> {
    let channel = patiently("opening a channel", connection.create_channel()).await?;
    patiently("asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}

fn properties(kind: &str, name: &str) -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2).with_type(kind.into()).with_message_id(name.into())
}

/// Hands a batch to the broker; its confirm follows. Mandatory: without that, a message to a queue that is not there
/// would be confirmed all the same.
pub(super) async fn publish(
    channel: &Channel,
    queue: &str,
    name: &str,
    bytes: &Bytes,
) -> Result<lapin::PublisherConfirm, lapin::Error> {
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    channel.basic_publish("".into(), queue.into(), mandatory, bytes, properties(BATCH, name)).await
}

/// What a confirm means.
pub(super) fn judge(confirm: Result<Confirmation, lapin::Error>) -> Result<(), LinkError> {
    match confirm? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => {
            // Whether the queue is gone for good is found out with the next connection.
            Err(LinkError::Lost("a message was returned: the queue is not there".into()))
        }
        Confirmation::Nack(None) => Err(LinkError::Lost("the broker did not take a message".into())),
        Confirmation::NotRequested => Err(LinkError::Lost("the channel gives no confirms".into())),
    }
}

/// Where a consumer begins.
#[derive(Clone, Copy)]
pub(super) enum Start {
    /// At the newest chunk, which holds some messages.
    Newest,
    /// At this offset, which must not lie behind the end: the broker would wait in silence.
    Offset(u64),
}

/// A consumer of the queue. Acknowledgements only grant it credit.
pub(super) async fn consume(
    channel: &Channel,
    queue: &str,
    start: Start,
    prefetch: u16,
) -> Result<Consumer, LinkError> {
    patiently("setting the credit", channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
    let offset = match start {
        Start::Newest => AMQPValue::LongString("last".into()),
        Start::Offset(offset) => AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX)),
    };
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), offset);
    let consumed = channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), arguments);
    patiently("reading the queue", consumed).await
}

/// Grants credit for everything up to this delivery.
pub(super) async fn acknowledge(delivery: &Delivery) -> Result<(), LinkError> {
    let all = BasicAckOptions { multiple: true };
    delivery.acker.ack(all).await.map(drop).map_err(LinkError::from)
}

/// The offset of a message.
pub(super) fn offset(delivery: &Delivery) -> Result<u64, LinkError> {
    let headers = delivery.properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get("x-stream-offset")) {
        Some(AMQPValue::LongLongInt(offset)) => Ok(u64::try_from(*offset).unwrap_or_default()),
        _ => Err(LinkError::Fatal("the queue is no stream: its messages have no offset".into())),
    }
}

/// Whether a message is a batch; what others put into the queue counts for nobody.
pub(super) fn is_batch(delivery: &Delivery) -> bool {
    delivery.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == BATCH)
}

/// The name that its publisher gave a message.
pub(super) fn name(delivery: &Delivery) -> &str {
    delivery.properties.message_id().as_ref().map_or("", |name| name.as_str())
}

/// How far the log goes, as far as is known.
pub(super) struct LogEnd {
    /// An offset at or before the log's end.
    pub(super) at: u64,
    /// Whether the question itself was read, so that the log ends right there.
    pub(super) proven: bool,
}

impl LogEnd {
    /// Makes sure that nothing is missing of what was read before the offset `next`.
    ///
    /// # Errors
    /// [`LinkError::Fatal`] when the log ends before that; [`LinkError::Lost`] when it only seems to: a broker under load,
    /// or one that has to catch up, may not have given its newest part yet.
    pub(super) fn reaches(&self, next: u64, queue: &str) -> Result<(), LinkError> {
        let end = self.at;
        match end >= next {
            true => Ok(()),
            false if self.proven => Err(LinkError::Fatal(format!(
                "the stream queue {queue} ends at {end}, but was read up to {next}: it lost batches"
            ))),
            false => Err(LinkError::Lost(format!("the stream queue {queue} does not go beyond {end} yet"))),
        }
    }

    /// Where the log ends, for whoever knows nothing of it yet.
    ///
    /// # Errors
    /// [`LinkError::Lost`] when the question was not read: there may be more, and whoever took this for the end would
    /// miss it.
    pub(super) fn proven(&self, queue: &str) -> Result<u64, LinkError> {
        let unproven = || LinkError::Lost(format!("where the stream queue {queue} ends is not known yet"));
        self.proven.then_some(self.at).ok_or_else(unproven)
    }
}

/// Finds the log's end, behind everything that was confirmed before the question: publishes a message of no meaning and
/// reads from the newest chunk on until it comes. Reading begins before the question is asked, since others append too,
/// and a chunk that was the newest one afterwards could begin behind it. When it does not come in time, there is at
/// least what was read.
pub(super) async fn find_end(
    publishing: &Channel,
    consuming: &Connection,
    queue: &str,
    question: &str,
) -> Result<LogEnd, LinkError> {
    let channel = patiently("opening a channel", consuming.create_channel()).await?;
    let mut consumer = consume(&channel, queue, Start::Newest, 500).await?;
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let asked = publishing.basic_publish("".into(), queue.into(), mandatory, &[], properties(PROBE, question));
    let confirm = patiently("publishing", asked).await?;
    judge(tokio::time::timeout(PATIENCE, confirm).await.map_err(|_| LinkError::Lost("no confirm".into()))?)?;
    let mut newest = None;
    let deadline = tokio::time::Instant::now() + NEWEST_WITHIN;
    let end = loop {
        let Ok(next) = tokio::time::timeout_at(deadline, consumer.next()).await else {
            let newest: u64 = newest.ok_or_else(|| LinkError::Lost("the queue delivers nothing".into()))?;
            break LogEnd { at: newest + 1, proven: false };
        };
        let delivery = next.ok_or_else(|| LinkError::Lost("the consumer was canceled".into()))??;
        let at = offset(&delivery)?;
        newest = Some(at);
        if name(&delivery) == question {
            break LogEnd { at: at + 1, proven: true };
        }
        if !is_probe_or_batch(&delivery) {
            tracing::warn!(offset = at, "a message in the stream queue is none of ours and is ignored");
        }
        acknowledge(&delivery).await?;
    };
    patiently("closing a channel", channel.close(200, "done".into())).await?;
    Ok(end)
}

fn is_probe_or_batch(delivery: &Delivery) -> bool {
    delivery.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == BATCH || kind.as_str() == PROBE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_question_that_was_read_proves_a_loss() {
        let reaches = |at, proven| LogEnd { at, proven }.reaches(10, "agora.log");
        for proven in [false, true] {
            assert!(reaches(10, proven).is_ok() && reaches(11, proven).is_ok());
        }
        assert!(matches!(reaches(9, true), Err(LinkError::Fatal(_))));
        assert!(matches!(reaches(9, false), Err(LinkError::Lost(_))));
        // Whoever begins has nothing to compare with, and must not begin before the end.
        let begins = |proven| LogEnd { at: 9, proven }.proven("agora.log");
        assert!(matches!(begins(true), Ok(9)));
        assert!(matches!(begins(false), Err(LinkError::Lost(_))));
    }
}
