//! Whether a server answers at all.
//!
//! A frozen server keeps its connections, and its system acknowledges what is sent to it, so a call would wait without end;
//! and nothing ends a call from outside. So a thread asks the shortest question once a second, on a connection of its own:
//! a long statement is not taken for a frozen server.

use super::{Connection, Options};
use diesel::r2d2::R2D2Connection;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the server is asked.
const EVERY: Duration = Duration::from_secs(1);

/// A server is silent after so long; longer than an attempt to connect may take.
const SILENT_AFTER: Duration = Duration::from_secs(4);

/// A refusal comes quickly, and is an answer; what fails later than this was not answered.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// How often those who wait look.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The question that was not answered yet, if there is one.
#[derive(Default)]
pub(super) struct Pulse {
    since: Mutex<Option<Instant>>,
}

impl Pulse {
    /// Asks until nobody is left who wants to know.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(options: &Options) -> std::io::Result<Arc<Pulse>> {
        let (pulse, options) = (Arc::new(Pulse::default()), options.clone());
        let weak = Arc::downgrade(&pulse);
        std::thread::Builder::new().name("database pulse".into()).spawn(move || {
            let mut connection = None;
            while let Some(pulse) = weak.upgrade() {
                pulse.feel(&mut connection, &options);
                drop(pulse);
                std::thread::sleep(EVERY);
            }
        })?;
        Ok(pulse)
    }

    fn feel(&self, connection: &mut Option<Connection>, options: &Options) {
        let asked = Instant::now();
        self.since.lock().get_or_insert(asked);
        if connection.is_none() {
            *connection = Connection::open(options).ok();
        }
        let answered = connection.as_mut().is_some_and(|connection| connection.ping().is_ok());
        if !answered {
            *connection = None;
        }
        if answered || asked.elapsed() < REFUSED_WITHIN {
            *self.since.lock() = None;
        }
    }

    /// Whether the server has not answered for some seconds.
    pub(super) fn is_silent(&self) -> bool {
        self.since.lock().is_some_and(|since| since.elapsed() > SILENT_AFTER)
    }

    /// Waits until it is silent.
    pub(super) async fn silence(&self) {
        while !self.is_silent() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
