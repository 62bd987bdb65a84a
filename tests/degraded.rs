//! Servers that the program leans on go away while it trades, and come back: what works meanwhile,
//! what a client sees, and what is true afterwards.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "degraded/database.rs"]
mod database;
#[path = "degraded/disk.rs"]
mod disk;
#[path = "server/ending.rs"]
mod ending;
#[path = "server/feed.rs"]
mod feed;
mod nodes;
#[path = "model/rng.rs"]
#[allow(dead_code, reason = "no test uses all of it")]
mod rng;
mod server;
mod servers;
#[allow(dead_code, reason = "no test uses all of it")]
mod traders;

use ending::ended;
use nodes::{Cluster, begin_trading, figure, users, wait_for_rows};
use rng::Rng;
use serde_json::{Value, json};
use server::{Client, Server, agora};
use servers::{Postgres, RabbitMq};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use traders::{Placed, USERS, check_orders, check_orders_within, check_sums, terminate, trade, uuid};

/// How long orders may be answered with 503 while another node takes over, as docs/operations.md says.
const TAKE_OVER: Duration = Duration::from_secs(5);

/// Asks until the path is answered with this status; a minute at most.
fn wait_for(client: &mut Client, path: &str, status: u16) {
    let began = Instant::now();
    while client.send("GET", path, b"").map(|answer| answer.status).ok() != Some(status) {
        assert!(began.elapsed() < Duration::from_secs(60), "{path} was not answered with {status} for a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends the traders also when the test fails while they trade, which would otherwise wait for them.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn trading_goes_on_without_the_database_and_history_comes_back_complete() {
    let mut postgres = Postgres::start();
    let url = postgres.create_database("agora");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--database", &url]);
    let emails = (0..traders::USERS).map(|n| format!("user{n}@example.org"));
    let clients: Vec<_> = emails.map(|email| Client::sign_up(&server, &email)).collect();
    let connect = || clients.iter().map(|client| server.client(&client.token)).collect::<Vec<_>>();
    let mut watcher = Client::sign_up(&server, "watcher@example.org");

    let mut rng = Rng(0xdead_beef);
    let mut history: Vec<Vec<Placed>> = Vec::new();
    for round in 0..3 {
        let enough = AtomicBool::new(false);
        let placed: Vec<Vec<Placed>> = std::thread::scope(|scope| {
            let _stop = Stop(&enough);
            let pause = Duration::from_millis(3);
            let markets = ["BTC-USDT", "ETH-USDT"];
            let threads: Vec<_> = connect()
                .into_iter()
                .enumerate()
                .map(|(n, client)| {
                    let (rng, enough) = (Rng(rng.next()), &enough);
                    scope.spawn(move || trade(client, rng, markets[n % 2], pause, enough))
                })
                .collect();
            std::thread::sleep(Duration::from_millis(300 + rng.below(700)));
            postgres.kill();

            // An order and its cancel need no database, nor does what is asked of the present.
            for _ in 0..3 {
                let id = uuid(&mut rng);
                let order =
                    json!({"product_id": "BTC-USDT", "side": "buy", "price": "1", "size": "1", "client_oid": id});
                let answer = watcher.send("POST", "/orders", order.to_string().as_bytes()).unwrap();
                assert_eq!(answer.status, 200, "{}", answer.json());
                let path = format!("/orders/{}", answer.json()["id"].as_str().unwrap());
                assert_eq!(watcher.get(&path)["status"], "open");
                assert_eq!(watcher.send("DELETE", &path, b"").unwrap().status, 200);
            }
            for path in ["/accounts", "/orders?status=open", "/products/BTC-USDT/ticker", "/products/BTC-USDT/book"] {
                assert_eq!(watcher.send("GET", path, b"").unwrap().status, 200, "{path}");
            }
            // What lies in the past is out of reach, and said to be.
            for path in ["/orders?status=done", "/fills?product_id=BTC-USDT"] {
                let answer = watcher.send("GET", path, b"").unwrap();
                assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("history_unavailable")), "{path}");
                assert!(answer.header("retry-after").is_some());
            }
            std::thread::sleep(Duration::from_millis(rng.below(1_500)));
            postgres.restart();
            wait_for(&mut watcher, "/orders?status=done", 200);
            std::thread::sleep(Duration::from_millis(500));
            enough.store(true, Ordering::Relaxed);
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        history.resize_with(placed.len(), Vec::new);
        for (all, new) in history.iter_mut().zip(placed) {
            all.extend(new);
        }
        println!("round {round}: {} orders so far", history.iter().map(Vec::len).sum::<usize>());
    }
    for (client, placed) in connect().iter_mut().zip(&mut history) {
        check_orders(client, placed);
    }
    drop(watcher);
    assert!(terminate(server).success());

    // The watermark and the rows below it are exactly those of the log.
    let output = agora(&["verify", "--database", &url], folder.path()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("no divergence"), "{said}");
    let count = |query: &str| postgres.execute("agora", query).trim().parse::<u64>().unwrap();
    let entries = count("SELECT count(*) FROM ledger_entries");
    assert!(entries > 100, "{entries} ledger entries");
    assert_eq!(count("SELECT max(id) FROM ledger_entries"), entries);
    assert_eq!(count("SELECT ledger_entries FROM watermark"), entries);
    let chain = "SELECT count(*) FROM (SELECT amount::numeric AS amount, balance::numeric AS balance, \
         lag(balance::numeric, 1, 0) OVER (PARTITION BY account, currency ORDER BY id) AS before FROM ledger_entries) e \
         WHERE before + amount <> balance";
    assert_eq!(count(chain), 0, "entries that do not follow from the one before");
    assert_eq!(count("SELECT count(*) FROM (SELECT market FROM fills GROUP BY 1 HAVING count(*) <> max(trade)) f"), 0);
    assert_eq!(
        count("SELECT count(*) FROM (SELECT market FROM orders GROUP BY 1 HAVING count(*) <> max(number)) o"),
        0
    );

    // A program that is started again shows each user the same.
    let server = Server::start_with(folder.path(), &["--database", &url]);
    let clients = clients.iter().map(|client| server.client(&client.token)).collect();
    check_sums(clients, &history);
}

/// A database that is frozen keeps its connections, and whoever asks it something would wait for ever: callers get their
/// refusal all the same, orders go on, and everything is there when the database goes on.
#[test]
fn a_frozen_database_is_given_up_and_comes_back() {
    let postgres = Postgres::start();
    let url = postgres.create_database("agora");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--database", &url]);
    let mut client = Client::sign_up(&server, "ada@example.org");
    let mut placed = 0;
    let mut place = |client: &mut Client| {
        let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.01"}).to_string();
        let answer = client.send("POST", "/orders", order.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        placed += 1;
    };
    place(&mut client);
    wait_for(&mut client, "/orders?status=done", 200);
    for _ in 0..2 {
        postgres.freeze();
        let sign_in = json!({"email": "ada@example.org", "password": "correct horse battery"}).to_string();
        // More callers than there are connections, all at once: each has its answer.
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let mut client = server.client(&client.token);
                    let answer = client.send("GET", "/fills?product_id=BTC-USDT", b"").unwrap();
                    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("history_unavailable")));
                    assert!(answer.header("retry-after").is_some());
                });
            }
            scope.spawn(|| {
                let answer = server.client("").send("POST", "/auth/sign-in", sign_in.as_bytes()).unwrap();
                assert_eq!(answer.status, 503, "{}", answer.json());
            });
        });
        for _ in 0..20 {
            place(&mut client);
        }
        assert_eq!(client.send("GET", "/accounts", b"").unwrap().status, 200);
        postgres.thaw();
        wait_for(&mut client, "/fills?product_id=BTC-USDT", 200);
        place(&mut client);
        wait_for_rows(&server);
    }
    assert_eq!(postgres.execute("agora", "SELECT count(*) FROM orders").trim(), placed.to_string());
}

/// Whoever was told that a refresh could not be done still has a token that counts, though the database, once it goes on,
/// does what it was asked for.
#[test]
fn a_refresh_that_a_frozen_database_held_up_can_be_tried_again() {
    let postgres = Postgres::start();
    let url = postgres.create_database("agora");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--database", &url]);
    Client::sign_up(&server, "ada@example.org");
    let post = |path: &str, body: &Value| server.client("").send("POST", path, body.to_string().as_bytes()).unwrap();
    let known = json!({"email": "ada@example.org", "password": "correct horse battery"});
    let mut token = post("/auth/sign-in", &known).json()["refresh_token"].clone();
    for round in 0..3 {
        let refresh = json!({"refresh_token": token});
        postgres.freeze();
        let held_up = post("/auth/refresh", &refresh);
        assert_eq!(held_up.status, 503, "{round}: {}", held_up.json());
        postgres.thaw();
        token = nodes::wait_for("the next token", || {
            let answer = post("/auth/refresh", &refresh);
            assert!(matches!(answer.status, 200 | 503), "{round}: {} {}", answer.status, answer.json());
            (answer.status == 200).then(|| answer.json()["refresh_token"].clone())
        });
    }
}

/// A cluster of three brokers loses the one that the log's leader is on, and one at a time the others: after a moment
/// everything goes on at what is left, and comes back to full strength by itself.
#[test]
fn any_broker_of_three_may_be_lost() {
    let mut cluster = Cluster::over(RabbitMq::cluster(3), &[]);
    cluster.active();
    let tokens = users(&cluster, USERS);
    let mut placed: Vec<Vec<Placed>> = (0..USERS).map(|_| Vec::new()).collect();
    let leader = "rabbit_amqqueue:with(rabbit_misc:r(<<\"/\">>, queue, <<\"agora.log\">>), \
        fun(Q) -> maps:get(leader_node, amqqueue:get_type_state(Q)) end).";
    let replicas = cluster.brokers[0].control(&["eval", leader]);
    let leads = cluster.brokers.iter().position(|broker| replicas.contains(broker.node()));
    let leads = leads.unwrap_or_else(|| panic!("no broker leads: {replicas}"));
    for lost in [leads, (leads + 1) % 3] {
        let trading = begin_trading(&tokens, 500 + lost as u64, &cluster.addresses());
        std::thread::sleep(Duration::from_millis(500));
        cluster.brokers[lost].kill();
        // Whoever insists gets through, with one broker of three down.
        let (gap, more) = nodes::first_acknowledgement(cluster.node(0).address, &tokens[0], 900 + lost as u64);
        println!("broker {lost} of three killed: an order was acknowledged {gap:?} later");
        placed[0].extend(more);
        let (gap, more) = nodes::first_acknowledgement(cluster.node(1).address, &tokens[1], 950 + lost as u64);
        println!("and at the other node {gap:?} later");
        placed[1].extend(more);
        cluster.brokers[lost].restart();
        std::thread::sleep(Duration::from_millis(500));
        nodes::add(&mut placed, trading.end());
        cluster.agree();
    }
    for (user, (token, placed)) in tokens.iter().zip(&mut placed).enumerate() {
        check_orders(&mut cluster.node(user % 2).client(token), placed);
    }
    for node in [0, 1] {
        wait_for_rows(cluster.node(node));
        check_sums(tokens.iter().map(|token| cluster.node(node).client(token)).collect(), &placed);
    }
    println!("{}", cluster.verify());
}

/// A broker that is short of memory, or frozen, takes nothing while its connections stay: orders are refused at once, and
/// go on by themselves when it takes them again.
#[test]
fn a_broker_that_takes_nothing_is_noticed() {
    let cluster = Cluster::over(vec![RabbitMq::start()], &[]);
    cluster.active();
    let tokens = users(&cluster, USERS);
    let mut placed: Vec<Vec<Placed>> = (0..USERS).map(|_| Vec::new()).collect();
    let broker = &cluster.brokers[0];
    let limit = |part: &str| drop(broker.control(&["set_vm_memory_high_watermark", part]));
    for (round, stop, go) in [
        (1, &(|| limit("0.00001")) as &dyn Fn(), &(|| limit("0.6")) as &dyn Fn()),
        (2, &|| broker.freeze(), &|| broker.thaw()),
    ] {
        let active = cluster.node(cluster.active());
        let trading = begin_trading(&tokens, 700 + round, &cluster.addresses());
        std::thread::sleep(Duration::from_millis(500));
        stop();
        let mut client = active.client(&tokens[0]);
        nodes::wait_for("a refusal at once", || {
            let answer = client.send("DELETE", "/orders", b"").ok()?;
            (answer.status == 503 && answer.json()["code"] == "log_unavailable").then_some(())
        });
        nodes::wait_for("a node that is not ready", || {
            let ready = client.send_raw(b"GET /health/ready HTTP/1.1\r\nHost: agora\r\n\r\n").ok()?;
            (ready.status == 503).then_some(())
        });
        for path in ["/accounts", "/orders?status=open", "/products/BTC-USDT/book"] {
            assert_eq!(client.send("GET", path, b"").unwrap().status, 200, "{path}");
        }
        go();
        for node in [0, 1] {
            let seed = 1_000 * round + node as u64;
            let (_, more) = nodes::first_acknowledgement(cluster.node(node).address, &tokens[node], seed);
            placed[node].extend(more);
        }
        nodes::add(&mut placed, trading.end());
        cluster.agree();
    }
    for (user, (token, placed)) in tokens.iter().zip(&mut placed).enumerate() {
        check_orders_within(&mut cluster.node(user % 2).client(token), placed, TAKE_OVER);
    }
    println!("{}", cluster.verify());
}

/// A broker comes back without the newest of what it had stored, then without anything: no node goes on from a hole or
/// begins the log anew, however often it is started. With what was stored, everything is there again.
#[test]
fn nobody_goes_on_without_what_the_broker_had_stored() {
    let mut cluster = Cluster::over(vec![RabbitMq::start()], &[]);
    cluster.active();
    let tokens = users(&cluster, USERS);
    let mut placed: Vec<Vec<Placed>> = (0..USERS).map(|_| Vec::new()).collect();
    let trade = |cluster: &Cluster, seed: u64, placed: &mut Vec<Vec<Placed>>| {
        let trading = begin_trading(&tokens, seed, &cluster.addresses());
        let (_, more) = nodes::first_acknowledgement(cluster.node(0).address, &tokens[0], seed + 1_000);
        placed[0].extend(more);
        nodes::add(placed, trading.end());
    };
    trade(&cluster, 21, &mut placed);
    cluster.brokers[0].stop();
    let older = cluster.brokers[0].copy_of_what_is_stored();
    cluster.brokers[0].restart();
    trade(&cluster, 22, &mut placed);
    cluster.agree();
    for node in [0, 1] {
        wait_for_rows(cluster.node(node));
    }
    cluster.brokers[0].stop();
    let whole = cluster.brokers[0].copy_of_what_is_stored();

    for (stored, reason) in [(Some(&older), "the log ends before"), (None, "is not there any more")] {
        cluster.brokers[0].restore(stored);
        cluster.brokers[0].restart();
        for index in 0..2 {
            if let Some(node) = cluster.nodes[index].take() {
                // It still knows what was acknowledged, and takes nothing on top of it.
                let mut client = node.client(&tokens[0]);
                nodes::wait_for("the end of the log", || {
                    let tree = client.send_raw(b"GET /health/ready HTTP/1.1\r\nHost: agora\r\n\r\n").ok()?;
                    (tree.status == 503 && tree.json()["down"].to_string().contains("event log")).then_some(())
                });
                assert_eq!(client.send("GET", "/accounts", b"").unwrap().status, 200);
                assert_eq!(client.send("DELETE", "/orders", b"").unwrap().status, 503);
            }
            let (number, brokers, database) = ((index + 1).to_string(), cluster.brokers(), cluster.database.url());
            let cluster_of = ["--rabbitmq", &brokers, "--database", &database, "--node", &number];
            let arguments = [["serve", "--listen", "127.0.0.1:0"].as_slice(), &cluster_of].concat();
            for _ in 0..2 {
                let again = ended(agora(&arguments, cluster.folders[index].path()), Duration::from_secs(120));
                let said = String::from_utf8_lossy(&again.stderr).into_owned();
                assert!(!again.status.success() && said.contains(reason), "{}: {said}", again.status);
            }
        }
        cluster.brokers[0].stop();
    }

    cluster.brokers[0].restore(Some(&whole));
    cluster.brokers[0].restart();
    // At once: for a moment the broker says that it does not find the queue, which it is still bringing up.
    cluster.start_node(0);
    cluster.start_node(1);
    trade(&cluster, 23, &mut placed);
    cluster.agree();
    for (user, (token, placed)) in tokens.iter().zip(&mut placed).enumerate() {
        check_orders(&mut cluster.node(user % 2).client(token), placed);
    }
    println!("{}", cluster.verify());
}

/// The clock is set back an hour, and forward a day, while people trade: nothing is lost, no time of the log goes
/// backwards, what hangs on the clock (the life of tokens) goes by it, and nobody has to wait until it is there again.
/// What is newest is what the log has last, though its time has not come yet.
#[test]
fn the_clock_may_jump() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start_with(folder.path(), &["--allow-drills", "--accounts-trusted-proxies", "127.0.0.1"]);
    let set_clock = |ahead_ms: i64| {
        // Signed in by the clock of the moment: a token from before may be over.
        let body = json!({"ahead_ms": ahead_ms}).to_string();
        let answer = Client::admin(&server).send("PUT", "/admin/drills/clock", body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
    };
    let trade = |name: &str| {
        for side in ["sell", "buy"] {
            let mut client = Client::sign_up(&server, &format!("{side}-{name}@example.org"));
            let order = json!({"product_id": "BTC-USDT", "side": side, "price": "101", "size": "0.01"}).to_string();
            let answer = client.send("POST", "/orders", order.as_bytes()).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.json());
        }
    };
    let mut client = Client::sign_up(&server, "ada@example.org");
    let mut times = Vec::new();
    let mut place = |client: &mut Client, tif: Value| -> Value {
        let mut order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.01"});
        order.as_object_mut().unwrap().extend(tif.as_object().unwrap().clone());
        let answer = client.send("POST", "/orders", order.to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        times.push(answer.json()["created_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
        answer.json()["id"].clone()
    };
    let plain = || json!({});
    let gtt = place(&mut client, json!({"time_in_force": "GTT", "cancel_after": "hour"}));
    trade("first");
    // Somebody who comes through a proxy is counted, and has used up what may be asked at once.
    let mut counted = server.client("");
    let mut ask = || {
        let text = b"GET /v1/time HTTP/1.1\r\nHost: agora\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n";
        counted.send_raw(text).unwrap().status
    };
    while ask() == 200 {}
    set_clock(-3_600_000);
    nodes::wait_for("an answer although the clock was set back", || (ask() == 200).then_some(()));
    for _ in 0..20 {
        place(&mut client, plain());
    }
    set_clock(0);
    place(&mut client, plain());
    // A day and a bit later the tokens of before are over, the order is expired, and everything goes on.
    set_clock(86_520_000);
    let over = client.send("GET", "/accounts", b"").unwrap();
    assert_eq!((over.status, &over.json()["code"]), (401, &json!("token_expired")));
    let body = json!({"email": "ada@example.org", "password": "correct horse battery"}).to_string();
    let again = client.send("POST", "/auth/sign-in", body.as_bytes()).unwrap();
    client.token = again.json()["access_token"].as_str().unwrap().into();
    place(&mut client, plain());
    let path = format!("/orders/{}", gtt.as_str().unwrap());
    nodes::wait_for("the order to expire", || (client.get(&path)["status"] == "done").then_some(()));
    // Back at the right time the log's own is a day ahead; orders go on all the same, and live as long as they are to.
    set_clock(0);
    let again = client.send("POST", "/auth/sign-in", body.as_bytes()).unwrap();
    client.token = again.json()["access_token"].as_str().unwrap().into();
    for _ in 0..19 {
        place(&mut client, plain());
    }
    let ahead = place(&mut client, plain());
    let minute = place(&mut client, json!({"time_in_force": "GTT", "cancel_after": "min"}));
    assert_eq!(client.get(&format!("/orders/{}", minute.as_str().unwrap()))["status"], "open");
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(client.get("/orders?status=open").as_array().map(Vec::len), Some(times.len() - 1));
    // The first trade was more than a day before this one.
    trade("second");
    for query in ["", "?end=2100-01-01T00:00:00Z"] {
        let minutes = client.get(&format!("/products/BTC-USDT/candles{query}"));
        assert_eq!(minutes.as_array().map(Vec::len), Some(1), "{query}: {minutes}");
    }
    let hours = client.get("/products/BTC-USDT/candles?granularity=3600");
    assert_eq!(hours.as_array().map(Vec::len), Some(2), "{hours}");
    assert_eq!(client.get("/products/spark-lines")["BTC-USDT"][0], hours[0]);
    let stats = client.get("/products/BTC-USDT/stats");
    assert_eq!((&stats["volume"], &stats["volume_30day"]), (&json!("0.01"), &json!("0.02")));
    assert!(terminate(server).success());
    traders::verify(folder.path());
    // And a start with a clock that is behind the log.
    let server = Server::start(folder.path());
    let mut client = server.client(&client.token);
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.01"}).to_string();
    let answer = client.send("POST", "/orders", order.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    let placed: jiff::Timestamp = answer.json()["created_at"].as_str().unwrap().parse().unwrap();
    assert!(Some(&placed) >= times.last());
    // What memory has no more is found in the archive.
    let trace = client.get(&format!("/orders/{}/trace", ahead.as_str().unwrap()));
    assert_eq!((&trace["complete"], &trace["events"][0]["type"]), (&json!(true), &json!("received")), "{trace}");
}

/// Without Redis, which is killed and comes back empty, a node serves everything.
#[test]
fn without_redis_everything_goes_on() {
    let mut redis = servers::Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--redis", &redis.url(), "--accounts-unlimited", "10.0.0.0/8"]);
    let up =
        |value: u64| nodes::wait_for("Redis", || (figure(&server, "agora_redis_up ") == Some(value)).then_some(()));
    up(1);
    let mut client = Client::sign_up(&server, "ada@example.org");
    let place = |client: &mut Client| {
        let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.01"}).to_string();
        let answer = client.send("POST", "/orders", order.as_bytes()).unwrap();
        assert!(matches!(answer.status, 200 | 429), "{} {}", answer.status, answer.json());
        for path in ["/accounts", "/products/BTC-USDT/book?level=2", "/products/BTC-USDT/candles"] {
            let status = client.send("GET", path, b"").unwrap().status;
            assert!(matches!(status, 200 | 429), "{path}: {status}");
        }
    };
    place(&mut client);
    redis.freeze();
    place(&mut client);
    redis.thaw();
    up(1);
    redis.kill();
    for _ in 0..5 {
        place(&mut client);
    }
    up(0);
    place(&mut client);
    // A session that ends now is over here at once.
    let other = Client::sign_up(&server, "bob@example.org");
    let mut bob = server.client(&other.token);
    assert_eq!(bob.send("POST", "/auth/sign-out", b"").unwrap().status, 200);
    assert_eq!(bob.send("GET", "/accounts", b"").unwrap().status, 401);
    redis.restart();
    up(1);
    place(&mut client);
}
