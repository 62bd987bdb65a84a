//! The private servers of the tests themselves: they start, can be killed, and come back.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod servers;

use servers::{Postgres, RabbitMq, Redis};

#[test]
fn postgres_survives_a_crash() {
    let mut server = Postgres::start();
    server.execute("postgres", "CREATE TABLE facts (fact TEXT); INSERT INTO facts VALUES ('stays')");
    server.kill();
    server.restart();
    assert_eq!(server.execute("postgres", "SELECT fact FROM facts").trim(), "stays");
    server.stop();
    server.restart();
    let url = server.create_database("other");
    assert!(url.ends_with("/other"));
    assert_eq!(server.execute("other", "SELECT 1").trim(), "1");
}

/// What a server has started ends with it, however it ends, and holds no file that the test has open.
#[test]
fn nothing_is_left_of_a_server() {
    let lock = tempfile::NamedTempFile::new().unwrap();
    let mut server = Postgres::start();
    let processes = |folder: &std::path::Path| -> Vec<std::path::PathBuf> {
        let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let works_there = |cwd: std::path::PathBuf| cwd.starts_with(folder);
        all.filter(|process| std::fs::read_link(process.join("cwd")).is_ok_and(works_there)).collect()
    };
    let folder = server.folder().canonicalize().unwrap();
    let running = processes(&folder);
    assert!(running.len() > 3, "{running:?}");
    for process in &running {
        for file in std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            let target = std::fs::read_link(file.path()).unwrap_or_default();
            assert_ne!(target, lock.path(), "{} holds a file of the test", process.display());
        }
    }
    server.kill();
    assert_eq!(processes(&folder), Vec::<std::path::PathBuf>::new());
    server.restart();
    assert!(processes(&folder).len() > 3);
    drop(server);
    assert_eq!(processes(&folder), Vec::<std::path::PathBuf>::new());
}

#[test]
fn brokers_are_one_cluster() {
    let mut brokers = RabbitMq::cluster(3);
    assert_eq!(brokers[0].control(&["eval", "length(rabbit_mnesia:cluster_nodes(running))."]).trim(), "3");
    brokers[2].kill();
    // A name is only a member that runs after it was heard of again.
    brokers[2].restart();
    brokers[1].control(&["await_online_nodes", "3", "--timeout", "120"]);
}

#[test]
fn redis_forgets_and_answers_again() {
    let mut server = Redis::start();
    assert_eq!(server.command("SET key value\r\n").as_deref(), Some("+OK\r\n"));
    server.kill();
    assert_eq!(server.command("PING\r\n"), None);
    server.restart();
    assert_eq!(server.command("GET key\r\n").as_deref(), Some("$-1\r\n"));
}

#[test]
fn rabbitmq_comes_back_with_what_it_stored() {
    let mut broker = RabbitMq::start();
    broker.control(&["add_user", "somebody", "secret"]);
    broker.kill();
    broker.restart();
    assert!(broker.control(&["list_users"]).contains("somebody"));
    broker.stop();
}
