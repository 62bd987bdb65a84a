//! Which threads give way to others when there are not enough processors for all.

/// How far a thread steps back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Goes on beside the others, with a tenth of what one of them gets.
    Behind,
    /// Runs when nobody else wants the processor.
    Last,
}

/// Lowers the priority of this thread, and of those that it starts from now on. On Linux a priority belongs to a
/// thread; elsewhere it would be that of the whole program, and nothing is done.
pub fn give_way(priority: Priority) {
    #[cfg(target_os = "linux")]
    {
        let nice = match priority {
            Priority::Behind => 10,
            Priority::Last => 19,
        };
        if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), nice) {
            tracing::debug!(%error, "a thread keeps its priority");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = priority;
}
