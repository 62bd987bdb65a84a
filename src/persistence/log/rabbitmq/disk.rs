//! Whether this node's disk takes the local copy.
//!
//! A disk may be full, which heals, or not come back from a write at all: a cable, a controller, a volume in the network.
//! Nobody can break such a write off, but whoever asks can be told, so that another node goes on.

use crate::persistence::log::AppendError;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A write that takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_secs(3);

/// How often what a full disk did not take is written again.
const WRITE_AGAIN: Duration = Duration::from_millis(200);

/// The disk, as far as writing to it has shown.
#[derive(Default)]
pub(super) struct Disk {
    full: AtomicBool,
    /// Since when the present write is under way.
    writing: Mutex<Option<Instant>>,
}

impl Disk {
    /// Writes until it is done; while the disk is full, again and again, unless the engine is `closing`.
    ///
    /// # Errors
    /// Those of `write` that do not heal by themselves; any, when the engine is closing.
    pub(super) fn insist(
        &self,
        closing: &AtomicBool,
        mut write: impl FnMut() -> Result<(), AppendError>,
    ) -> Result<(), AppendError> {
        loop {
            *self.writing.lock() = Some(Instant::now());
            let written = write();
            *self.writing.lock() = None;
            match written {
                Err(AppendError::DiskFull | AppendError::Unavailable(_)) if !closing.load(Ordering::Acquire) => {
                    self.full.store(true, Ordering::Release);
                    std::thread::sleep(WRITE_AGAIN);
                }
                written => {
                    self.full.store(false, Ordering::Release);
                    return written;
                }
            }
        }
    }

    /// Whether it takes nothing: it is full, or does not come back from a write.
    pub(super) fn takes_nothing(&self) -> bool {
        let hangs = || self.writing.lock().is_some_and(|since| since.elapsed() > HANGS_AFTER);
        self.full.load(Ordering::Acquire) || hangs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    /// Waits until the disk is, or is not, one that takes nothing.
    fn until(disk: &Disk, takes_nothing: bool) {
        let begun = Instant::now();
        while disk.takes_nothing() != takes_nothing {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is not noticed");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_write_that_does_not_come_back_is_noticed() {
        let (disk, closing) = (Disk::default(), AtomicBool::new(false));
        let (release, released) = bounded::<()>(0);
        std::thread::scope(|scope| {
            let copy = scope.spawn(|| {
                disk.insist(&closing, || {
                    // Until the disk is there again.
                    let _ = released.recv();
                    Ok(())
                })
            });
            until(&disk, true);
            drop(release);
            assert!(copy.join().unwrap().is_ok());
            assert!(!disk.takes_nothing());
        });
    }

    #[test]
    fn a_full_disk_is_written_to_again_until_there_is_space_or_it_is_over() {
        let (disk, closing) = (Disk::default(), AtomicBool::new(false));
        let space = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let copy = scope.spawn(|| {
                disk.insist(&closing, || match space.load(Ordering::Relaxed) {
                    true => Ok(()),
                    false => Err(AppendError::DiskFull),
                })
            });
            until(&disk, true);
            space.store(true, Ordering::Relaxed);
            assert!(copy.join().unwrap().is_ok());
            assert!(!disk.takes_nothing());
        });
        closing.store(true, Ordering::Relaxed);
        assert!(matches!(disk.insist(&closing, || Err(AppendError::DiskFull)), Err(AppendError::DiskFull)));
    }
}
