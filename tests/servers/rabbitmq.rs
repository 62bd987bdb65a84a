//! A RabbitMQ broker with a name, folders and an Erlang port mapper of its own.

use super::process::{Process, run, tail};
use super::{connect, free_port, wait_until};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// A broker; user and password are `guest`.
pub struct RabbitMq {
    mapper: Arc<Mapper>,
    folder: TempDir,
    node: String,
    port: u16,
    distribution: u16,
    /// All nodes of its cluster; none when it is alone.
    cluster: Vec<String>,
    process: Option<Process>,
}

/// The Erlang port mapper of some brokers, whose folder is their home: it holds the secret that they share.
struct Mapper {
    folder: TempDir,
    port: u16,
    _process: Process,
}

impl Mapper {
    fn start() -> Arc<Mapper> {
        let folder = tempfile::tempdir().unwrap();
        let cookie = folder.path().join(".erlang.cookie");
        std::fs::write(&cookie, format!("cookie{}", std::process::id())).unwrap();
        std::fs::set_permissions(&cookie, std::fs::Permissions::from_mode(0o400)).unwrap();
        let port = free_port();
        let mut command = Command::new("epmd");
        command.args(["-address", "127.0.0.1", "-port", &port.to_string()]);
        let process = Process::start(&command, folder.path(), &folder.path().join("epmd.log"));
        wait_until("the Erlang port mapper", || connect(port).is_some());
        Arc::new(Mapper { folder, port, _process: process })
    }
}

/// Where the scripts are that do not insist on a certain user.
fn scripts() -> PathBuf {
    std::fs::read_dir("/usr/lib/rabbitmq/lib")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("sbin"))
        .find(|path| path.join("rabbitmq-server").exists())
        .expect("RabbitMQ is not installed; run scripts/test to install it")
}

impl RabbitMq {
    /// A new broker that takes connections.
    pub fn start() -> RabbitMq {
        let mut broker = RabbitMq::new(&Mapper::start());
        broker.restart();
        broker
    }

    /// New brokers that are one cluster.
    pub fn cluster(count: usize) -> Vec<RabbitMq> {
        let mapper = Mapper::start();
        let mut brokers: Vec<RabbitMq> = (0..count).map(|_| RabbitMq::new(&mapper)).collect();
        let names: Vec<String> = brokers.iter().map(|broker| broker.node.clone()).collect();
        for broker in &mut brokers {
            broker.cluster.clone_from(&names);
            broker.launch();
        }
        brokers.iter().for_each(RabbitMq::wait);
        for broker in &brokers {
            broker.control(&["await_online_nodes", &count.to_string(), "--timeout", "120"]);
        }
        brokers
    }

    fn new(mapper: &Arc<Mapper>) -> RabbitMq {
        let port = free_port();
        RabbitMq {
            mapper: mapper.clone(),
            folder: tempfile::tempdir().unwrap(),
            node: format!("agora-{port}@localhost"),
            port,
            distribution: free_port(),
            cluster: Vec::new(),
            process: None,
        }
    }

    /// Its name among brokers.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops it in good order.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end("TERM");
        }
    }

    /// A copy of what it has stored. It must be stopped.
    pub fn copy_of_what_is_stored(&self) -> TempDir {
        assert!(self.process.is_none(), "it runs");
        let copy = tempfile::tempdir().unwrap();
        run(Command::new("cp").arg("-a").arg(self.path("mnesia")).arg(copy.path()));
        copy
    }

    /// Has it begin with what was copied once, or with nothing, when it is started again. It must be stopped.
    pub fn restore(&self, copy: Option<&TempDir>) {
        assert!(self.process.is_none(), "it runs");
        std::fs::remove_dir_all(self.path("mnesia")).unwrap();
        if let Some(copy) = copy {
            run(Command::new("cp").arg("-a").arg(copy.path().join("mnesia")).arg(self.folder.path()));
        }
    }

    /// Holds it: connections stay open, nothing is answered.
    pub fn freeze(&self) {
        self.process.as_ref().unwrap().signal("STOP");
    }

    /// Lets it go on after [`freeze`](RabbitMq::freeze).
    pub fn thaw(&self) {
        self.process.as_ref().unwrap().signal("CONT");
    }

    /// Starts it again after [`kill`](RabbitMq::kill) or [`stop`](RabbitMq::stop), on the same ports
    /// and with what it had stored.
    pub fn restart(&mut self) {
        self.launch();
        self.wait();
    }

    fn launch(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let log = self.folder.path().join("log");
        self.process = Some(Process::start(&self.command("rabbitmq-server"), self.folder.path(), &log));
    }

    fn wait(&self) {
        wait_until("RabbitMQ", || {
            assert!(self.process.as_ref().is_some_and(Process::is_alive), "RabbitMQ ended: {}", self.log());
            self.greets()
        });
    }

    /// The administrator's tool: `rabbitmqctl` with these arguments. Takes more than a second.
    pub fn control(&self, arguments: &[&str]) -> String {
        run(self.command("rabbitmqctl").args(arguments))
    }

    /// Its last words.
    pub fn log(&self) -> String {
        tail(&self.folder.path().join("log"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, script: &str) -> Command {
        let settings = self.path("rabbitmq.conf");
        if !settings.exists() {
            let mut text =
                format!("listeners.tcp.local = 127.0.0.1:{}\nlog.console = true\nlog.file = false\n", self.port);
            if !self.cluster.is_empty() {
                text += "cluster_formation.peer_discovery_backend = classic_config\n";
                text += "cluster_partition_handling = pause_minority\n";
                for (number, node) in self.cluster.iter().enumerate() {
                    text += &format!("cluster_formation.classic_config.nodes.{} = {node}\n", number + 1);
                }
            }
            self.write(&settings, &text);
            // Without this file it would take the system's plugins, whose ports others may use.
            self.write(&self.path("enabled_plugins"), "[].\n");
            self.write(&self.path("environment"), "");
        }
        let mut command = Command::new(scripts().join(script));
        command
            .current_dir(self.folder.path())
            .env("HOME", self.mapper.folder.path())
            .env("ERL_EPMD_PORT", self.mapper.port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_FLAGS", "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false")
            .env("RABBITMQ_CONF_ENV_FILE", self.path("environment"))
            .env("RABBITMQ_CONFIG_FILE", &settings)
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.path("enabled_plugins"))
            .env("RABBITMQ_NODENAME", &self.node)
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", self.path("mnesia"))
            .env("RABBITMQ_LOG_BASE", self.path("logs"))
            .env("RABBITMQ_PID_FILE", self.path("pid"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", self.path("generated"))
            // Otherwise the script stays as a process of its own before the broker.
            .env("RUNNING_UNDER_SYSTEMD", "1");
        command
    }

    fn write(&self, path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
    }

    /// Whether it answers the first words of the protocol.
    fn greets(&self) -> bool {
        let Some(mut stream) = connect(self.port) else { return false };
        let mut frame = [0];
        stream.write_all(b"AMQP\x00\x00\x09\x01").is_ok() && stream.read_exact(&mut frame).is_ok() && frame == [1]
    }
}
