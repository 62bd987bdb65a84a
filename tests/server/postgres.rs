//! What tests know as the server, on a database of PostgreSQL: the plain one with one argument more.

use crate::plain;
pub use crate::plain::{Answer, Client};
use crate::servers::Postgres;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

/// One for all tests of a process, with a database for each data folder.
static POSTGRES: LazyLock<Mutex<(Postgres, HashMap<PathBuf, String>)>> =
    LazyLock::new(|| Mutex::new((Postgres::start(), HashMap::new())));

fn database(data: &Path) -> String {
    // A test that failed while it held the lock has left a server that works.
    let mut all = POSTGRES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (postgres, known) = &mut *all;
    let name = format!("venue_{}", known.len());
    known.entry(data.to_owned()).or_insert_with(|| postgres.create_database(&name)).clone()
}

/// Runs a statement on the database of this data folder as the superuser and returns what it answers.
#[allow(dead_code, reason = "not every suite looks into the database")]
pub fn execute(data: &Path, statement: &str) -> String {
    let url = database(data);
    let (_, name) = url.rsplit_once('/').unwrap();
    // Others may start servers while it runs.
    let all = POSTGRES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut command = all.0.command(name, statement);
    drop(all);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `agora` with these arguments; it is not started yet.
pub fn agora(arguments: &[&str], data: &Path) -> Command {
    let mut command = plain::agora(arguments, data);
    command.args(["--database", &database(data)]);
    command
}

pub struct Server(plain::Server);

impl Server {
    pub fn start(data: &Path) -> Server {
        Server::start_with(data, &[])
    }

    pub fn start_with(data: &Path, more: &[&str]) -> Server {
        let mut command = agora(&["serve", "--demo-funds", "--listen", "127.0.0.1:0"], data);
        command.args(more);
        Server::run(command)
    }

    pub fn run(command: Command) -> Server {
        Server(plain::Server::run(command))
    }
}

impl Deref for Server {
    type Target = plain::Server;

    fn deref(&self) -> &plain::Server {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut plain::Server {
        &mut self.0
    }
}
