//! One server process with its log, which cannot outlive the test.

use super::wait_until;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Starts the server given as its arguments, tells its number, and kills the whole process group
/// once its standard input is closed: by whoever drops it, or by the end of the test's process.
const KEEPER: &str = r#"log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!; read -r _; kill -s KILL -- "-$$""#;

/// A running server.
pub struct Process {
    keeper: Child,
    pid: u32,
}

impl Process {
    /// Starts a command; what it prints is added to the log file.
    pub fn start(command: &Command, log: &Path) -> Process {
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(log).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => keeper.env(name, value),
                None => keeper.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            keeper.current_dir(folder);
        }
        let mut keeper = keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
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

    /// Kills it together with the processes that it started, and waits for their end.
    pub fn kill_with_children(self) {
        let listed = Command::new("pgrep").arg("-P").arg(self.pid.to_string()).output().unwrap();
        let children: Vec<String> = String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect();
        self.signal("KILL");
        // Those that have ended meanwhile cannot be killed, which is as good.
        let _ = Command::new("kill").arg("-KILL").args(&children).stderr(Stdio::null()).status();
        wait_until("the end of a server", || !self.is_alive() && children.iter().all(|child| !runs(child)));
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
