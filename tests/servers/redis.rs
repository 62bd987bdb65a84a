//! A Redis server that keeps everything in memory.

use super::process::{Process, tail};
use super::{connect, free_port, wait_until};
use std::io::{Read, Write};
use std::process::Command;
use tempfile::TempDir;

/// A Redis server without a password.
pub struct Redis {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
}

impl Redis {
    /// A new server that takes connections.
    pub fn start() -> Redis {
        let mut server = Redis { folder: tempfile::tempdir().unwrap(), port: free_port(), process: None };
        server.restart();
        server
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Kills it; its content is gone.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Holds it: connections stay open, nothing is answered.
    pub fn freeze(&self) {
        self.process.as_ref().unwrap().signal("STOP");
    }

    /// Lets it go on after [`freeze`](Redis::freeze).
    pub fn thaw(&self) {
        self.process.as_ref().unwrap().signal("CONT");
    }

    /// Starts it again after [`kill`](Redis::kill), empty and on the same port.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(self.folder.path());
        let process = Process::start(&command, self.folder.path(), &self.folder.path().join("log"));
        wait_until("Redis", || {
            assert!(process.is_alive(), "Redis ended: {}", self.log());
            self.command("PING\r\n").is_some_and(|answer| answer.starts_with("+PONG"))
        });
        self.process = Some(process);
    }

    /// Sends an inline command and returns the beginning of the answer.
    pub fn command(&self, line: &str) -> Option<String> {
        let mut stream = connect(self.port)?;
        stream.write_all(line.as_bytes()).ok()?;
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    /// What is kept under a key.
    pub fn get(&self, key: &str) -> Option<String> {
        let mut command = Command::new("redis-cli");
        let answer = command.args(["-p", &self.port.to_string(), "--raw", "GET", key]).output().unwrap();
        let text = String::from_utf8(answer.stdout).unwrap().trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// Its last words.
    pub fn log(&self) -> String {
        tail(&self.folder.path().join("log"))
    }
}
