//! A PostgreSQL server.

use super::process::{Process, run, tail};
use super::{free_port, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A PostgreSQL server with one superuser, `agora`, who needs no password.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    process: Option<Process>,
}

/// Where `initdb` and `postgres` are; Debian keeps them out of the search path.
fn programs() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|path| path.join("postgres").exists())
        .collect();
    versions.sort();
    versions.pop().unwrap_or_else(|| {
        let said = run(Command::new("pg_config").arg("--bindir"));
        PathBuf::from(said.trim())
    })
}

/// The command as a user under whom PostgreSQL is willing to run.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
    command
}

fn is_root() -> bool {
    run(Command::new("id").arg("-u")).trim() == "0"
}

impl Postgres {
    /// A new server that takes connections.
    pub fn start() -> Postgres {
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let programs = programs();
        let data = folder.path().join("data");
        run(unprivileged(&programs.join("initdb"))
            .args(["--username=agora", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"])
            .arg(&data)
            .current_dir("/"));
        let mut server = Postgres { folder, programs, port: free_port(), process: None };
        server.restart();
        server
    }

    /// Where all its processes work.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of the database that every server has.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The address of a database of this server.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://agora@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes another database and tells its address.
    pub fn create_database(&self, name: &str) -> String {
        self.execute("postgres", &format!("CREATE DATABASE {name}"));
        self.url_of(name)
    }

    /// Runs a statement as the superuser and returns what it answers, columns separated by `|`.
    pub fn execute(&self, database: &str, statement: &str) -> String {
        run(&mut self.command(database, statement))
    }

    /// The program that does so.
    pub fn command(&self, database: &str, statement: &str) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]).arg(self.url_of(database));
        command
    }

    /// Kills it as a crash would: no checkpoint, no goodbye to clients.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            // Its sessions would otherwise answer for a moment longer.
            process.kill();
        }
    }

    /// Stops it in good order; clients are cut off.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end("INT");
        }
    }

    /// Holds it with all its sessions: connections stay open, nothing is answered.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`freeze`](Postgres::freeze).
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        // The one that makes sessions first, so that none are left out.
        self.process.as_ref().unwrap().signal(name);
        let folder = self.folder.path().canonicalize().unwrap();
        let works_there = |one: &PathBuf| std::fs::read_link(one.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&folder));
        let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        for one in all.filter(works_there) {
            // A session may have ended meanwhile.
            let _ = Command::new("kill").arg(format!("-{name}")).arg(one.file_name().unwrap()).output().unwrap();
        }
    }

    /// Starts it again after [`kill`](Postgres::kill) or [`stop`](Postgres::stop), on the same port.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let (data, log) = (self.folder.path().join("data"), self.folder.path().join("log"));
        let mut command = unprivileged(&self.programs.join("postgres"));
        command.arg("-D").arg(&data);
        let folder = self.folder.path().display();
        for setting in [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".into(),
            format!("unix_socket_directories={folder}"),
            "max_connections=60".into(),
            "shared_buffers=32MB".into(),
            // A killed process loses nothing that it wrote; only the machine's crash would.
            "fsync=off".into(),
        ] {
            command.arg("-c").arg(setting);
        }
        wait_until("PostgreSQL", || {
            // After a crash it refuses to start until the last of its old processes has noticed.
            if !self.process.as_ref().is_some_and(Process::is_alive) {
                // The old one takes everything with it that works in the folder.
                self.process = None;
                self.process = Some(Process::start(&command, &data, &log));
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
            let ready = Command::new(self.programs.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status()
                .unwrap();
            ready.success()
        });
    }

    /// Its last words.
    pub fn log(&self) -> String {
        tail(&self.folder.path().join("log"))
    }
}
