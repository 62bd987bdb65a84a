//! The folder in which one run keeps what it needs beside the data, and what earlier runs have left of theirs.
//!
//! Invariants: no two runs share a folder, also where every process has the same number, as in containers; nothing in
//! it is written to once it is there, since it may be a second name of a file of the log; whoever has a folder holds a
//! shared lock on the data folder, so whoever gets an exclusive one finds leftovers alone.

use anyhow::Context;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What the names of such folders begin with.
const PREFIX: &str = "verify-";

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

    /// Makes a new folder in it.
    ///
    /// # Errors
    /// When it is there already or cannot be made.
    pub fn folder(&mut self, name: &str) -> anyhow::Result<PathBuf> {
        if !self.is_made {
            let data = &self.data;
            fs::create_dir_all(data).with_context(|| format!("{} cannot be made", data.display()))?;
            let lock = File::open(data).with_context(|| format!("{} cannot be opened", data.display()))?;
            self._lock = lock.lock_shared().is_ok().then_some(lock);
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

/// The folders of all runs; older programs named theirs by the number of the process.
fn folders(data: &Path) -> Vec<PathBuf> {
    let is_ours = |name: &str| {
        name.strip_prefix(PREFIX).is_some_and(|rest| rest.parse::<u32>().is_ok() || Uuid::parse_str(rest).is_ok())
    };
    let entries = fs::read_dir(data).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_ours));
    let mut folders: Vec<PathBuf> = ours.map(|entry| entry.path()).collect();
    folders.sort();
    folders
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
}
