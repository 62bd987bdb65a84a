//! Lets go of the log at the end.

use crate::persistence::log::{LogEngine, Position};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// Drops the engine, which writes what it has taken and waits for its threads; where the log ended. `None` when that
/// takes longer: with a disk that hangs it may take for ever.
pub(super) async fn close(engine: Arc<dyn LogEngine + Sync>, until: Instant) -> Option<Position> {
    let (tell, closed) = oneshot::channel();
    let let_go = move || {
        let end = engine.end();
        drop(engine);
        // Nobody listens when it took too long.
        let _ = tell.send(end);
    };
    // Where there is no thread to be had, the engine goes with what the thread was to do, and is waited for.
    std::thread::Builder::new().name("log-closing".into()).spawn(let_go).ok()?;
    timeout_at(until, closed).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::log::{Busy, LogReader, Proposal};
    use parking_lot::Mutex;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    /// An engine that ends when it hears something.
    struct Slow(Mutex<Receiver<()>>);

    impl LogEngine for Slow {
        fn propose(&self, _: Proposal) -> Result<(), Busy> {
            Err(Busy)
        }

        fn end(&self) -> Position {
            Position(7)
        }

        fn reader(&self) -> Arc<dyn LogReader> {
            panic!("nobody reads it");
        }
    }

    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.0.lock().recv();
        }
    }

    #[tokio::test]
    async fn a_log_that_hangs_holds_up_nobody_who_stops() {
        let (tell, told) = channel();
        let soon = Instant::now() + Duration::from_millis(50);
        assert_eq!(close(Arc::new(Slow(Mutex::new(told))), soon).await, None);
        drop(tell);
        let (tell, told) = channel();
        tell.send(()).unwrap();
        let late = Instant::now() + Duration::from_secs(60);
        assert_eq!(close(Arc::new(Slow(Mutex::new(told))), late).await, Some(Position(7)));
    }
}
