//! Nodes that begin with nothing, over a stream that does not go back to its beginning any more: they start from a
//! snapshot or from the archive, and come to the same state. `agora verify` sees all of it, and what is wrong with it.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "server/ending.rs"]
mod ending;
mod nodes;
#[path = "model/rng.rs"]
#[allow(dead_code, reason = "not everything is needed here")]
mod rng;
mod server;
mod servers;
#[allow(dead_code, reason = "not everything is needed here")]
mod traders;

use agora::persistence::log::rabbitmq::{Options, RabbitMq as Engine};
use agora::persistence::log::{LogEngine, LogError, Position};
use ending::ended;
use nodes::{Cluster, add, begin_trading, figure, ready, users, wait_for, wait_for_rows};
use serde_json::json;
use server::{Client, Server, agora};
use servers::{Postgres, RabbitMq};
use std::time::Duration;
use traders::{Placed, USERS, check_orders, check_sums};

/// The position before which the stream has nothing; 0 when it is whole.
fn stream_begins(brokers: &str) -> Position {
    let mut options = Options::new(brokers.parse().unwrap(), "agora.log");
    options.create = false;
    let engine = Engine::open(options, Box::new(|_| ())).unwrap();
    match engine.reader().read(Position(0)).unwrap().next() {
        Some(Err(LogError::Pruned { oldest, .. })) => oldest,
        Some(Ok(_)) | None => Position(0),
        Some(Err(error)) => panic!("{error}"),
    }
}

/// Orders in batches, so that the stream grows quickly; all are canceled again.
fn fill(client: &mut Client, times: usize) {
    for _ in 0..times {
        let order = json!({"product_id": "ETH-USDT", "side": "buy", "price": "10", "size": "1"});
        let body = json!({"orders": vec![order; 100]}).to_string();
        let answer = client.send("POST", "/orders/batch", body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        assert_eq!(client.send("DELETE", "/orders?product_id=ETH-USDT", b"").unwrap().status, 200);
    }
}

/// A node whose snapshot contains everything reads no batch that would tell it who leads.
#[test]
fn a_node_that_finds_nothing_new_hands_commands_to_the_active_one() {
    let mut cluster = Cluster::alone(vec![RabbitMq::start()], &["--checkpoint-every-s", "1"]);
    cluster.active();
    wait_for("a snapshot of everything", || {
        let newest = cluster.database.execute("postgres", "SELECT max(position) FROM snapshots");
        (newest.trim().parse::<u64>().ok()? >= figure(cluster.node(0), "agora_log_position ")?).then_some(())
    });
    let second = cluster.add_node();
    let sign_up = json!({"email": "ada@example.org", "password": "correct horse battery"}).to_string();
    let answer = wait_for("a sign-up at the second node", || {
        let answer = cluster.node(second).client("").send("POST", "/auth/sign-up", sign_up.as_bytes()).ok()?;
        (answer.status != 503).then_some(answer)
    });
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(ready(cluster.node(second))["role"], "standby", "it took over instead");
}

#[test]
fn a_new_node_needs_neither_the_streams_beginning_nor_a_snapshot() {
    let settings = ["--rabbitmq-keep-bytes", "400000", "--checkpoint-every-s", "1"];
    let mut cluster = Cluster::alone(vec![RabbitMq::start()], &settings);
    cluster.active();
    let tokens = users(&cluster, USERS);
    let mut placed: Vec<Vec<Placed>> = (0..USERS).map(|_| Vec::new()).collect();
    let trading = begin_trading(&tokens, 11, &cluster.addresses());
    // Chat is in the stream too.
    let mut ada = cluster.node(0).client(&tokens[0]);
    let room = json!({"name": "harbour", "kind": "public"}).to_string();
    let made =
        wait_for("chat", || ada.send("POST", "/chat/rooms", room.as_bytes()).ok().filter(|made| made.status != 503));
    assert!(made.status < 300, "{} {}", made.status, made.json());
    let room = made.json()["id"].as_str().unwrap().to_owned();
    for number in 0..10 {
        let id = uuid::Uuid::from_u128(number + 1).to_string();
        let message = json!({"text": format!("message {number}"), "client_id": id}).to_string();
        let path = format!("/chat/rooms/{room}/messages");
        let sent =
            wait_for("chat", || ada.send("POST", &path, message.as_bytes()).ok().filter(|sent| sent.status != 503));
        assert!(sent.status < 300, "{} {}", sent.status, sent.json());
    }
    std::thread::sleep(Duration::from_millis(500));
    add(&mut placed, trading.end());

    // Trading goes on until the stream has lost its beginning.
    let mut filler = Client::sign_up(cluster.node(0), "filler@example.org");
    wait_for("a stream without its head", || {
        fill(&mut filler, 20);
        (stream_begins(&cluster.brokers()) > Position(50)).then_some(())
    });
    wait_for_rows(cluster.node(0));

    // A second node takes over the newest snapshot and reads the rest.
    let second = cluster.add_node();
    let adopted = std::fs::read_dir(cluster.folders[second].path().join("snapshots")).unwrap().count();
    assert!(adopted > 0, "no snapshot was taken over");
    wait_for("the second node to be ready", || {
        let request = b"GET /health/ready HTTP/1.1\r\nHost: agora\r\nConnection: close\r\n\r\n";
        (cluster.node(second).client("").send_raw(request).ok()?.status == 200).then_some(())
    });
    let lag = ready(cluster.node(second))["lag"].as_u64().unwrap();
    assert!(lag <= 5_000, "a node that is ready lags by {lag}");
    cluster.agree();

    // A third one finds no snapshot at all: it reads the archive, then the stream.
    wait_for("the archive", || {
        let archived: u64 =
            cluster.database.execute("postgres", "SELECT max(last) FROM log_archive").trim().parse().ok()?;
        (archived > stream_begins(&cluster.brokers()).0).then_some(())
    });
    cluster.database.execute("postgres", "DELETE FROM snapshots");
    let third = cluster.add_node();
    cluster.agree();
    let said = cluster.verify();
    // The markets have rooms of their own.
    let markets = 3;
    let chat = format!("{} chat rooms with {} messages", 1 + markets, 10 + markets);
    assert!(said.contains("from the archive") && said.contains(&chat), "{said}");

    // Whoever takes over knows everything.
    let active = cluster.active();
    cluster.kill(active);
    cluster.active();
    let at = if active == third { second } else { third };
    for (token, placed) in tokens.iter().zip(&mut placed) {
        check_orders(&mut cluster.node(at).client(token), placed);
    }
    wait_for_rows(cluster.node(at));
    check_sums(tokens.iter().map(|token| cluster.node(at).client(token)).collect(), &placed);

    // The settings may stand in a file, and what is wrong is named.
    let folder = cluster.folders[at].path();
    let file = folder.join("agora.toml");
    let text = format!("rabbitmq = {:?}\ndatabase = {:?}\nnode = \"7\"\n", cluster.brokers(), cluster.database.url());
    std::fs::write(&file, text).unwrap();
    let verify = || {
        let output = agora(&["verify", "--config", file.to_str().unwrap()], folder).output().unwrap();
        let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
        (output.status.success(), said.concat())
    };
    let (agrees, said) = verify();
    assert!(agrees, "{said}");
    // A snapshot in the database that cannot be read contradicts nothing. The nodes may leave newer ones meanwhile.
    wait_for("a snapshot in the database", || {
        let newest = cluster.database.execute("postgres", "SELECT max(position) FROM snapshots");
        newest.trim().parse::<u64>().ok()
    });
    cluster.database.execute("postgres", "UPDATE snapshots SET content = substring(content FROM 2)");
    let (agrees, said) = verify();
    assert!(agrees && said.contains("are damaged, which recovery passes over"), "{said}");
    for (damage, repair, named) in [
        (
            "UPDATE chat_messages SET body = 'forged' WHERE sequence = 3",
            "UPDATE chat_messages SET body = 'message 2' WHERE sequence = 3",
            "message 3 of chat room",
        ),
        (
            "UPDATE ledger_entries SET balance = '7' WHERE id = (SELECT max(id) FROM ledger_entries)",
            "",
            "by the database's newest entry 7",
        ),
        // The newest part, which the stream has too.
        (
            "UPDATE log_archive SET content = substring(content FROM 2) WHERE first = (SELECT max(first) FROM log_archive)",
            "",
            "the archived part from",
        ),
    ] {
        cluster.database.execute("postgres", damage);
        let (agrees, said) = verify();
        assert!(!agrees && said.contains(named), "{said}");
        if !repair.is_empty() {
            cluster.database.execute("postgres", repair);
        }
    }
}

/// With a database each, two nodes would give one number to two people, and both would own its account. None of them is
/// told a name here, so that they all have the same number and never hear of each other.
#[test]
fn a_node_with_a_database_of_its_own_stays_alone() {
    let broker = RabbitMq::start();
    let (url, folder) = (broker.url(), tempfile::tempdir().unwrap());
    let refused = |more: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let arguments = [["serve", "--listen", "127.0.0.1:0", "--rabbitmq", &url].as_slice(), more].concat();
        let output = ended(agora(&arguments, folder.path()), Duration::from_secs(60));
        assert!(!output.status.success(), "{}", output.status);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(&[]);
    assert!(said.contains("need one database too"), "{said}");

    let arguments = ["--rabbitmq", &url, "--only-node"];
    let first = Server::start_with(folder.path(), &arguments);
    wait_for("an active node", || (ready(&first)["role"] == "active").then_some(()));
    let said = refused(&["--only-node"]);
    assert!(said.contains("another node with --only-node"), "{said}");
    let database = Postgres::start();
    let said = refused(&["--database", &database.url()]);
    assert!(said.contains("a node with --only-node is at this broker"), "{said}");
    // The first one is none the worse for it, and one that was killed leaves its place.
    Client::sign_up(&first, "ada@example.org").get("/accounts");
    drop(first);
    let again = Server::start_with(folder.path(), &arguments);
    wait_for("an active node", || (ready(&again)["role"] == "active").then_some(()));
}

/// Those that may be several say nothing when they start, so a node that is to be the only one finds them later.
#[test]
fn the_only_node_ends_when_there_is_another_one() {
    let cluster = Cluster::alone(vec![RabbitMq::start()], &[]);
    cluster.active();
    let url = cluster.brokers();
    // One that has the same number is never heard; it is known by that number being taken.
    for number in ["2", "1"] {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["--rabbitmq", &url, "--only-node", "--node", number];
        let mut only = Server::start_with(folder.path(), &arguments);
        let ended = wait_for("the node to end", || only.process.try_wait().unwrap());
        assert!(!ended.success(), "{ended}");
    }
}
