//! Connections to RabbitMQ, with a bound on every wait.

use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, ErrorKind};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use thiserror::Error;

/// How long one question to the broker may take before the connection counts as lost.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Why something at the broker was not done.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// It may heal: try again.
    #[error("{0}")]
    Lost(String),
    /// Trying again cannot help.
    #[error("{0}")]
    Fatal(String),
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> BrokerError {
        BrokerError::Lost(error.to_string())
    }
}

/// The address of a broker, or those of the brokers of one cluster. Clones share which of them answered last.
#[derive(Clone)]
pub struct Brokers {
    all: Arc<[AMQPUri]>,
    /// The one to try first.
    first: Arc<AtomicUsize>,
}

impl FromStr for Brokers {
    type Err = String;

    /// Addresses such as `amqp://user:password@host:5672/vhost`, with commas between them.
    fn from_str(text: &str) -> Result<Brokers, String> {
        let all = text.split(',').map(|one| one.trim().parse()).collect::<Result<Vec<AMQPUri>, String>>()?;
        Ok(Brokers { all: all.into(), first: Arc::default() })
    }
}

impl fmt::Debug for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An address may hold a password.
        let places = self.all.iter().map(|uri| format!("{}:{}", uri.authority.host, uri.authority.port));
        f.debug_list().entries(places).finish()
    }
}

/// Puts a bound on the wait for the broker. `what` is being done, for the message.
///
/// # Errors
/// [`BrokerError::Lost`] when the broker refused or did not answer in time.
pub async fn patiently<T>(what: &str, work: impl Future<Output = Result<T, lapin::Error>>) -> Result<T, BrokerError> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(|error| BrokerError::Lost(format!("{what}: {error}"))),
        Err(_) => Err(BrokerError::Lost(format!("{what}: no answer"))),
    }
}

/// Connects to the broker that answered last, else to the next one that answers, with heartbeats every `heartbeat_s`
/// seconds, unless the address says otherwise: a dead peer is noticed after two to three of them. `purpose` is what
/// operators see.
///
/// # Errors
/// [`BrokerError::Lost`].
pub async fn connect(brokers: &Brokers, heartbeat_s: u16, purpose: &str) -> Result<Connection, BrokerError> {
    let count = brokers.all.len();
    let first = brokers.first.load(Ordering::Relaxed);
    let mut lost = BrokerError::Lost("there is no broker".into());
    for index in (first..first + count).map(|index| index % count) {
        let Some(uri) = brokers.all.get(index) else { break };
        match connect_to(uri.clone(), heartbeat_s, purpose).await {
            Ok(connection) => {
                brokers.first.store(index, Ordering::Relaxed);
                return Ok(connection);
            }
            Err(error) => lost = error,
        }
    }
    Err(lost)
}

async fn connect_to(mut uri: AMQPUri, heartbeat_s: u16, purpose: &str) -> Result<Connection, BrokerError> {
    uri.query.heartbeat.get_or_insert(heartbeat_s);
    uri.query.connection_timeout.get_or_insert(PATIENCE.as_millis() as u64);
    let properties = ConnectionProperties::default().with_connection_name(format!("agora {purpose}").into());
    patiently("connecting", Connection::connect_uri(uri, properties)).await
}

/// Whether the broker knows no queue of that name. It gives the same code for one that it is about to bring up, as it
/// does for a moment after each of its starts; only its words tell the two apart.
pub fn is_no_queue(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(said) = error.kind() else { return false };
    said.get_id() == 404 && said.get_message().as_str().contains("no queue")
}

/// The code of an AMQP refusal: 404 for what is not there, 405 for what another connection has locked.
pub fn refusal(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}
