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
