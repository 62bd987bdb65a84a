//! The folder in which one run keeps what it needs beside the data, and what earlier runs have left of theirs.
//!
//! Invariants: no two runs share a folder, also where every process has the same number, as in containers; nothing in
//! it is written to once it is there, since it may be a second name of a file of the log; whoever has a folder holds a
//! shared lock on the data folder, so whoever gets an exclusive one finds leftovers alone.

use anyhow::{Context, bail};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What the names of such folders begin with.
const PREFIX: &str = "verify-";
/// What a run makes in its folder. One that holds anything else is somebody's own, whatever its name is.
const PARTS: [&str; 2] = ["log", "snapshots"];
/// The largest number that Linux gives to a process. A day that is written as one number is larger.
const LAST_PROCESS: u32 = 4_194_304;
/// How long a run waits for a data folder that another program has for itself. A run that tidies up needs less.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long until it looks again meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// A folder of this run alone: made when it is needed, removed at the end.
pub(super) struct Temporary {
    data: PathBuf,
    path: PathBuf,
    is_made: bool,
    /// Folders of other runs that are still there.
    others: Vec<PathBuf>,
    /// The data folder, locked until it is closed; none before there is a folder, and where nothing can be locked. Then
    /// no run can lock it for itself either, and none takes this folder for a leftover.
    _lock: Option<File>,
}

impl Temporary {
    /// For one run. Removes what earlier ones have left, unless another one is under way.
    pub fn begin(data: &Path) -> Temporary {
        let path = data.join(format!("{PREFIX}{}", Uuid::new_v4()));
        Temporary { data: data.to_path_buf(), path, is_made: false, others: tidy(data), _lock: None }
    }

    /// Makes a new folder in it, which is one of [`PARTS`].
    ///
    /// # Errors
    /// When it is there already or cannot be made, or another program has the data folder for itself.
    pub fn folder(&mut self, name: &str) -> anyhow::Result<PathBuf> {
        debug_assert!(PARTS.contains(&name), "no later run would remove what holds {name}");
        if !self.is_made {
            let data = &self.data;
            fs::create_dir_all(data).with_context(|| format!("{} cannot be made", data.display()))?;
            self._lock = lock_together(data, PATIENCE)?;
            fs::create_dir(&self.path).with_context(|| format!("{} cannot be made", self.path.display()))?;
            self.is_made = true;
        }
        let folder = self.path.join(name);
        fs::create_dir(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(folder)
    }

    /// Tells of the folders of other runs; empty when there are none.
    pub fn others(&self) -> String {
        if self.others.is_empty() {
            return String::new();
        }
        let names: Vec<String> = self.others.iter().map(|other| other.display().to_string()).collect();
        format!("; other runs have not removed {}", names.join(", "))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_made
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(folder = %self.path.display(), %error, "a temporary folder could not be removed");
        }
    }
}

/// The data folder, locked together with other runs; none where nothing can be locked.
///
/// # Errors
/// When it cannot be opened, or another program has it for itself for longer than `patience`.
fn lock_together(data: &Path, patience: Duration) -> anyhow::Result<Option<File>> {
    let folder = File::open(data).with_context(|| format!("{} cannot be opened", data.display()))?;
    let end = Instant::now() + patience;
    loop {
        match folder.try_lock_shared() {
            Ok(()) => return Ok(Some(folder)),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                bail!("another program holds an exclusive lock on {}: try again once it has ended", data.display())
            }
        }
    }
}

/// Removes the folders of earlier runs if none is under way; which stay.
fn tidy(data: &Path) -> Vec<PathBuf> {
    let mut others = folders(data);
    if others.is_empty() {
        return others;
    }
    let Ok(lock) = File::open(data) else { return others };
    if lock.try_lock().is_err() {
        return others;
    }
    // Older programs hold no lock. One that is at work all the same ends with an error; the log keeps its own names of
    // the files.
    others.retain(|other| fs::remove_dir_all(other).is_err());
    others
}

/// The folders of all runs, by name and content.
fn folders(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_name_of_run));
    // No run makes a link to a folder.
    let named = named.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut folders: Vec<PathBuf> = named.map(|entry| entry.path()).filter(|path| holds_parts_alone(path)).collect();
    folders.sort();
    folders
}

/// Whether a run may have given this name; older programs named their folders by the number of the process.
fn is_name_of_run(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| {
        let is_process = rest.parse::<u32>().is_ok_and(|number| number <= LAST_PROCESS);
        is_process || Uuid::parse_str(rest).is_ok()
    })
}

/// Whether a folder is known to hold nothing that no run makes.
fn holds_parts_alone(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else { return false };
    entries.all(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(|name| PARTS.contains(&name))))
}

/// Gives a file a second name, which costs no space; a copy where the file system has no links.
///
/// # Errors
/// When there is something under that name already, which stays as it is: it may be the file itself.
pub(super) fn link_or_copy(file: &Path, name: &Path) -> io::Result<()> {
    if fs::hard_link(file, name).is_ok() {
        return Ok(());
    }
    let mut copy = File::create_new(name)?;
    io::copy(&mut File::open(file)?, &mut copy).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]
mod tests {
    use super::*;

    #[test]
    fn what_has_the_name_already_is_never_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (segment, name) = (folder.path().join("1.seg"), folder.path().join("left.seg"));
        fs::write(&segment, b"frames").unwrap();
        link_or_copy(&segment, &name).unwrap();
        assert_eq!(fs::read(&name).unwrap(), b"frames");
        assert_eq!(link_or_copy(&segment, &name).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&segment).unwrap(), b"frames", "the file lost its content through its second name");
    }

    #[test]
    fn what_was_left_goes_once_no_run_is_under_way() {
        let data = tempfile::tempdir().unwrap();
        let names = || {
            let entries = fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name());
            entries.map(|name| name.into_string().unwrap()).collect::<Vec<_>>()
        };
        let mut running = Temporary::begin(data.path());
        assert!(names().is_empty(), "it is made when it is needed");
        let (log, snapshots) = (running.folder("log").unwrap(), running.folder("snapshots").unwrap());
        assert!(log.is_dir() && snapshots.is_dir() && log.parent() == snapshots.parent());
        assert!(running.folder("log").is_err(), "it is there already");

        // Killed runs, one of them of an older program, and something else.
        let left = [format!("verify-{}", Uuid::new_v4()), "verify-1".into(), "verify-notes".into()];
        left.iter().for_each(|name| fs::create_dir_all(data.path().join(name).join("log")).unwrap());
        let mut second = Temporary::begin(data.path());
        assert!(second.folder("log").unwrap() != log && log.is_dir());
        let told = second.others();
        assert!(told.contains(&left[0]) && told.contains("verify-1") && !told.contains("notes"), "{told}");
        drop(second);
        assert_eq!(names().len(), 4);

        drop(running);
        assert_eq!(Temporary::begin(data.path()).others(), "");
        assert_eq!(names(), ["verify-notes"]);
    }

    #[test]
    fn what_no_run_has_made_stays() {
        let data = tempfile::tempdir().unwrap();
        let (left, own) = (format!("verify-{}", Uuid::new_v4()), format!("verify-{}", Uuid::new_v4()));
        let cases: [(&str, &[&str], bool); 6] = [
            ("verify-20261126", &["log", "snapshots"], true),
            ("verify-1126", &["log", "snapshots", "keys"], true),
            (own.as_str(), &["log", "notes"], true),
            ("verify-4194304", &["log", "snapshots"], false),
            ("verify-3", &[], false),
            (left.as_str(), &["snapshots"], false),
        ];
        for (name, parts, _) in cases {
            let folder = data.path().join(name);
            fs::create_dir(&folder).unwrap();
            parts.iter().for_each(|part| fs::create_dir(folder.join(part)).unwrap());
        }
        let link = data.path().join("verify-7");
        std::os::unix::fs::symlink(data.path().join("verify-20261126"), &link).unwrap();
        assert_eq!(Temporary::begin(data.path()).others(), "");
        for (name, parts, stays) in cases {
            assert_eq!(data.path().join(name).exists(), stays, "{name} with {parts:?}");
        }
        assert!(link.is_symlink());
    }

    #[test]
    fn a_data_folder_that_another_program_has_for_itself_is_not_waited_for_for_ever() {
        let data = tempfile::tempdir().unwrap();
        let other = File::open(data.path()).unwrap();
        other.try_lock().unwrap();
        let said = lock_together(data.path(), Duration::ZERO).unwrap_err().to_string();
        assert!(said.contains("exclusive lock") && said.contains(&data.path().display().to_string()), "{said}");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock_together(data.path(), 6 * PATIENCE).unwrap().is_some());
            drop(other);
            assert!(waiting.join().unwrap());
        });
    }
}
