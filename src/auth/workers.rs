//! A few threads of their own for work that blocks or burns, behind a bounded queue.
//!
//! Invariants: at most `threads` jobs run at a time; a job is either refused at once or answered
//! once, unless it panics; a panic ends the job, never the thread; work whose caller hung up is
//! skipped. (A panic inside a `SyncArbiter` would cost that thread for good, hence not that.)

use crate::priority::{Priority, give_way};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// How long a thread finds nothing to do before it rests.
const IDLE: Duration = Duration::from_secs(1);

/// Why a job has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum WorkError {
    /// The queue is full; the job was not taken.
    #[error("the queue is full")]
    Full,
    /// The job panicked, or the pool ended before it ran.
    #[error("the work broke off")]
    BrokeOff,
}

/// The pool. Its threads end when it is dropped, after what is queued.
pub(super) struct Workers {
    queue: Sender<Job>,
}

impl Workers {
    /// Starts `threads` threads named `name`, with room for `queue` jobs that wait.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(super) fn start(name: &str, threads: usize, queue: usize) -> std::io::Result<Workers> {
        Workers::spawn(name, threads, queue, || (), || ())
    }

    /// The same with threads that run when nobody else wants the processor. A thread that has had nothing to do for a
    /// second calls `rest`, to give back what it kept for the next job.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(super) fn start_behind(name: &str, threads: usize, queue: usize, rest: fn()) -> std::io::Result<Workers> {
        Workers::spawn(name, threads, queue, || give_way(Priority::Last), rest)
    }

    fn spawn(name: &str, threads: usize, queue: usize, begin: fn(), rest: fn()) -> std::io::Result<Workers> {
        let (sender, receiver) = crossbeam_channel::bounded::<Job>(queue);
        for _ in 0..threads {
            let receiver = receiver.clone();
            thread::Builder::new().name(name.to_owned()).spawn(move || {
                begin();
                while let Some(job) = next(&receiver, rest) {
                    // A job owns all that it touches, so nothing half-changed is left behind.
                    if catch_unwind(AssertUnwindSafe(job)).is_err() {
                        tracing::error!(worker = thread::current().name(), "a job panicked and was dropped");
                    }
                }
            })?;
        }
        Ok(Workers { queue: sender })
    }

    /// Whether a job would be refused at this moment, so that nothing need be done for it.
    pub(super) fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// Runs `job` on one of the threads and waits for its answer.
    ///
    /// # Errors
    /// [`WorkError::Full`] at once when the queue is full, [`WorkError::BrokeOff`] when the job panicked.
    pub(super) async fn run<R, F>(&self, job: F) -> Result<R, WorkError>
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        self.run_awaited(move |_| job()).await
    }

    /// The same for a job that may ask at any time whether its caller still waits for it.
    ///
    /// # Errors
    /// As [`Workers::run`].
    pub(super) async fn run_awaited<R, F>(&self, job: F) -> Result<R, WorkError>
    where
        R: Send + 'static,
        F: FnOnce(&dyn Fn() -> bool) -> R + Send + 'static,
    {
        let (answer, outcome) = oneshot::channel();
        let job = Box::new(move || {
            if !answer.is_closed() {
                let done = job(&|| !answer.is_closed());
                // The caller may hang up while the job runs; then nobody needs the answer.
                let _ = answer.send(done);
            }
        });
        self.queue.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => WorkError::Full,
            TrySendError::Disconnected(_) => WorkError::BrokeOff,
        })?;
        outcome.await.map_err(|_| WorkError::BrokeOff)
    }
}

/// The next job, after a rest if it is long in coming; none when the pool has ended.
fn next(jobs: &Receiver<Job>, rest: fn()) -> Option<Job> {
    match jobs.recv_timeout(IDLE) {
        Err(RecvTimeoutError::Timeout) => {
            rest();
            jobs.recv().ok()
        }
        job => job.ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[actix_rt::test]
    async fn a_panic_ends_the_job_and_not_the_thread() {
        let workers = Workers::start("test", 1, 4).unwrap();
        assert_eq!(workers.run(|| panic!("on purpose")).await, Err::<(), _>(WorkError::BrokeOff));
        assert_eq!(workers.run(|| 7).await, Ok(7));
    }

    #[actix_rt::test]
    async fn a_full_queue_refuses_and_forgotten_work_is_skipped() {
        let workers = Workers::start("test", 1, 1).unwrap();
        let (release, gate) = crossbeam_channel::bounded::<()>(0);
        let (started, running) = crossbeam_channel::bounded::<()>(1);
        let mut occupied = Box::pin(workers.run(move || {
            started.send(()).unwrap();
            gate.recv().unwrap_err();
        }));
        assert!(futures_util::poll!(&mut occupied).is_pending());
        running.recv().unwrap();

        let ran = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ran);
        let mut waiting = Box::pin(workers.run(move || counted.fetch_add(1, Ordering::SeqCst)));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(workers.run(|| ()).await, Err(WorkError::Full));
        assert!(workers.is_full());
        drop(waiting);
        drop(release);
        assert_eq!(occupied.await, Ok(()));
        // Until the thread has taken the forgotten job from the queue, there is no room.
        while workers.run(|| ()).await == Err(WorkError::Full) {
            std::thread::yield_now();
        }
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    }

    #[actix_rt::test]
    async fn a_job_can_find_out_that_its_caller_hung_up() {
        let workers = Workers::start("test", 1, 1).unwrap();
        let (release, gate) = crossbeam_channel::bounded::<()>(0);
        let (tell, told) = crossbeam_channel::bounded::<bool>(2);
        let mut job = Box::pin(workers.run_awaited(move |is_awaited| {
            tell.send(is_awaited()).unwrap();
            gate.recv().unwrap_err();
            tell.send(is_awaited()).unwrap();
        }));
        assert!(futures_util::poll!(&mut job).is_pending());
        assert_eq!(told.recv(), Ok(true));
        drop(job);
        drop(release);
        assert_eq!(told.recv(), Ok(false));
    }

    #[actix_rt::test]
    async fn a_thread_with_nothing_to_do_rests_once_and_works_on() {
        static RESTS: AtomicUsize = AtomicUsize::new(0);
        let rest = || {
            RESTS.fetch_add(1, Ordering::SeqCst);
        };
        let workers = Workers::start_behind("test", 1, 4, rest).unwrap();
        assert_eq!(workers.run(|| RESTS.load(Ordering::SeqCst)).await, Ok(0));
        while RESTS.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(2 * IDLE);
        assert_eq!(workers.run(|| RESTS.load(Ordering::SeqCst)).await, Ok(1));
    }
}
