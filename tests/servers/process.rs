//! One server process with its log, which cannot outlive the test.

use super::wait_until;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Starts the server given as its arguments in its folder and tells its number. Once its standard input is closed (by
/// whoever drops it, or by the end of the test's process) it kills the server and everything that is left of it.
///
/// What belongs to a server is told by the folder that it works in: PostgreSQL's processes put themselves into groups of
/// their own, write over their environment, and after a crash of their parent are nobody's children. Some stay for ever.
/// Whatever its parents have left open beside the standard files (locks, pipes) is closed, so that no server holds it.
const KEEPER: &str = r#"
    for fd in /proc/$$/fd/*; do fd=${fd##*/}; (( fd > 2 )) && eval "exec $fd>&-"; done
    folder=$1 log=$2; shift 2
    { cd "$folder" && exec "$@"; } </dev/null >>"$log" 2>&1 & server=$!
    echo $server
    exec >/dev/null 2>&1
    read -r _
    kill -KILL $server
    left() {
        find /proc/[0-9]*/cwd -maxdepth 0 '(' -lname "$folder" -o -lname "$folder/*" -o -lname "$folder (deleted)" ')'
    }
    while all=$(left); [[ -n $all ]]; do
        for one in $all; do one=${one#/proc/}; kill -KILL "${one%/cwd}"; done
        sleep 0.01
    done
"#;

/// A running server.
pub struct Process {
    keeper: Child,
    pid: u32,
}

impl Process {
    /// Starts a command in a folder that is its alone; what it prints is added to the log file.
    pub fn start(command: &Command, folder: &Path, log: &Path) -> Process {
        let folder = folder.canonicalize().unwrap();
        let mut keeper = Command::new("bash");
        keeper.args(["-c", KEEPER, "keeper"]).arg(folder).arg(log).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => keeper.env(name, value),
                None => keeper.env_remove(name),
            };
        }
        let keeper = keeper.current_dir("/").process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Process { keeper, pid: line.trim().parse().unwrap() }
    }

    /// Sends a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status().unwrap();
        assert!(sent.success(), "no {name} to process {}", self.pid);
    }

    /// Whether it runs, frozen or not.
    pub fn is_alive(&self) -> bool {
        runs(self.pid)
    }

    /// Kills it together with all its processes, and waits for their end.
    pub fn kill(self) {
        drop(self);
    }

    /// Sends a signal that ends it, and waits for that.
    pub fn end(self, signal: &str) {
        if self.is_alive() {
            self.signal(signal);
            wait_until("the end of a server", || !self.is_alive());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // It ends when nothing is left of the server.
        let _ = self.keeper.wait();
    }
}

/// Whether a process runs. Nobody may have waited for one that has ended, so it may stay as a zombie.
fn runs(pid: impl std::fmt::Display) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Runs a program to its end; when it fails, its output says why.
pub fn run(command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run scripts/test to install it"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The last words of a log file.
pub fn tail(log: &Path) -> String {
    let lines: Vec<String> =
        File::open(log).map(|f| BufReader::new(f).lines().map_while(Result::ok).collect()).unwrap_or_default();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
