//! What nodes share through Redis, on a real one that is killed, frozen and started again: slower
//! without it, and never wrong.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod server;
mod servers;

use agora::auth::{Accounts, AuthError, Device, NewKey, Scope, Secret, Settings};
use agora::domain::ids::AccountId;
use agora::domain::time::{SECOND, Timestamp};
use agora::http::error::ApiError;
use agora::http::v1::edge::{Edge, Shown};
use agora::persistence::db::Database;
use agora::persistence::redis::{Away, Ended, Latest, Left, Options, Rate, Redis, Revocations, SecondLevel};
use agora::persistence::sessions::SessionId;
use base64::Engine;
use serde_json::{Value, json};
use server::{Client, Server};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A node: a connection of its own to the same Redis.
async fn node(server: &servers::Redis) -> Redis {
    let redis = Redis::start(Options::new(server.url())).unwrap();
    until_up(&redis).await;
    redis
}

async fn until_up(redis: &Redis) {
    let began = Instant::now();
    while !redis.is_up() || redis.publish("probe", b"").await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "Redis was not found for a minute");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn nodes_share_what_redis_holds_and_do_without_it() {
    let mut server = servers::Redis::start();
    run(async {
        let (here, there) = (node(&server).await, node(&server).await);
        limits_count_for_all(&here, &there).await;
        a_clock_that_was_set_back_refuses_nobody_for_long(&server, &here).await;
        revocations_are_heard(&here, &there).await;
        caches_forget_together(&here, &there).await;
        only_newer_pictures_count(&here, &there).await;

        // A Redis that hangs, one that is gone, and one that is back without its memory.
        let cache = SecondLevel::new(here.clone(), "links", Duration::from_secs(60));
        let mut revocations = Revocations::new(there.clone());
        cache.put("kept", b"1").await.unwrap();
        server.freeze();
        assert_eq!(cache.get("kept").await, Err(Away));
        assert_eq!(cache.get("kept").await, Err(Away), "the second call does not wait any more");
        server.thaw();
        until_up(&here).await;
        assert_eq!(cache.get("kept").await, Ok(Some(b"1".to_vec())), "what was there before");
        server.kill();
        let rate = Rate { interval: 1_000_000, burst: 1 };
        assert_eq!(here.take("x", rate).await, Err(Away));
        server.restart();
        until_up(&here).await;
        until_up(&there).await;
        assert_eq!(cache.get("kept").await, Ok(None));
        assert_eq!(revocations.next().await, None, "what was said meanwhile is in the database alone");
        // Heard again from then on; the listener may still be on its way.
        let ended = Ended::Sessions(vec![(SessionId::random(), Timestamp(7))]);
        let heard = loop {
            Revocations::publish(&here, &ended);
            if let Ok(Some(heard)) = tokio::time::timeout(Duration::from_millis(200), revocations.next()).await {
                break heard;
            }
        };
        assert_eq!(heard, ended);
        let key = Ended::Key("0123".into());
        Revocations::publish(&here, &key);
        while revocations.next().await.unwrap() != key {}
    });
}

/// What a Redis still has that was away when it changed is old, and must not be served as if it were true.
#[test]
fn what_could_not_be_forgotten_is_not_believed() {
    let server = servers::Redis::start();
    run(async {
        let (redis, other) = (node(&server).await, node(&server).await);
        // A gravestone stands for as long.
        let keep = Duration::from_secs(60);
        let [here, there] = [&redis, &other].map(|redis| SecondLevel::new(redis.clone(), "links", keep));
        let clone = here.clone();
        assert_eq!(here.put("slug", b"old").await, Ok(true));
        server.freeze();
        assert_eq!(here.get("slug").await, Err(Away));
        assert_eq!(here.forget("slug").await, Err(Away));
        server.thaw();
        until_up(&redis).await;
        until_up(&other).await;
        // Whether it heard of that or not: what it has now may have been read before a change.
        assert_eq!(there.put("other", b"old").await, Ok(true));
        assert_eq!(there.get("other").await, Ok(Some(b"old".to_vec())));
        for level in [&here, &clone] {
            assert_eq!(level.get("other").await, Ok(None));
            assert_eq!(level.put("another", b"1").await, Ok(false));
        }
        // All of that has gone by itself once it is as old as this.
        tokio::time::pause();
        tokio::time::advance(keep * 2).await;
        tokio::time::resume();
        assert_eq!(here.put("another", b"1").await, Ok(true));
        assert_eq!(clone.get("another").await, Ok(Some(b"1".to_vec())));
    });
}

async fn limits_count_for_all(here: &Redis, there: &Redis) {
    let rate = Rate { interval: 60_000_000, burst: 3 };
    for (node, left) in [(here, 1), (there, 2), (here, 3)] {
        let counted = node.take("user:7", rate).await.unwrap();
        assert!(counted.admitted);
        assert!((left - 1) * 60_000_000 < counted.full_after && counted.full_after <= left * 60_000_000);
    }
    for node in [there, here, there] {
        let counted = node.take("user:7", rate).await.unwrap();
        assert!(!counted.admitted && counted.full_after <= 180_000_000, "{counted:?}");
    }
    assert!(here.take("user:8", rate).await.unwrap().admitted, "others have buckets of their own");
    let fast = Rate { interval: 1, burst: 1 };
    for _ in 0..3 {
        assert!(here.take("fast", fast).await.unwrap().admitted);
    }
}

/// A bucket may have been written before the clock of Redis was set back.
async fn a_clock_that_was_set_back_refuses_nobody_for_long(server: &servers::Redis, here: &Redis) {
    let rate = Rate { interval: 100_000, burst: 3 };
    assert_eq!(server.command("SET agora:rate:user:9 9000000000000000\r\n").as_deref(), Some("+OK\r\n"));
    let counted = here.take("user:9", rate).await.unwrap();
    assert_eq!((counted.admitted, counted.full_after), (false, 300_000), "as if it were empty");
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(here.take("user:9", rate).await.unwrap().admitted);
}

async fn revocations_are_heard(here: &Redis, there: &Redis) {
    let mut revocations = Revocations::new(there.clone());
    let ended = Ended::Sessions(vec![(SessionId::random(), Timestamp(5)), (SessionId::random(), Timestamp(i64::MAX))]);
    here.publish("something else", b"that is not for it").await.unwrap();
    Revocations::publish(here, &ended);
    let heard = loop {
        match revocations.next().await {
            Some(heard) => break heard,
            // A listener begins with a gap.
            None => Revocations::publish(here, &ended),
        }
    };
    assert_eq!(heard, ended);
}

async fn caches_forget_together(here: &Redis, there: &Redis) {
    let keep = Duration::from_secs(60);
    let of = |redis: &Redis| SecondLevel::new(redis.clone(), "links", keep);
    let (here, there) = (of(here), of(there));
    let mut forgotten = there.forgotten();
    assert_eq!(here.get("slug").await, Ok(None));
    assert_eq!(here.put("slug", b"target").await, Ok(true));
    assert_eq!(there.get("slug").await, Ok(Some(b"target".to_vec())));
    here.forget("slug").await.unwrap();
    assert_eq!(there.get("slug").await, Ok(None));
    assert_eq!(forgotten.next().await.as_deref(), Some("slug"));
    // Somebody asked the database before it changed, and comes late.
    assert_eq!(there.put("slug", b"target").await, Ok(false));
    assert_eq!(here.get("slug").await, Ok(None));
}

async fn only_newer_pictures_count(here: &Redis, there: &Redis) {
    let (here, there) = (Latest::new(here.clone()), Latest::new(there.clone()));
    assert_eq!(here.get("book", "BTC-USDT").await, Ok(None));
    assert_eq!(here.put("book", "BTC-USDT", 10, b"ten").await, Ok(true));
    assert_eq!(there.put("book", "BTC-USDT", 9, b"nine").await, Ok(false));
    assert_eq!(there.put("book", "BTC-USDT", 11, b"eleven").await, Ok(true));
    let newest = Left { sequence: 11, content: b"eleven".to_vec() };
    assert_eq!(here.get("book", "BTC-USDT").await, Ok(Some(newest)));
    assert_eq!(here.get("candles", "BTC-USDT").await, Ok(None));
}

/// Two nodes on one database that never look into it by themselves, so that what one knows of the other came through
/// Redis.
async fn two_nodes(server: &servers::Redis, folder: &Path) -> (Accounts, Accounts) {
    let start = async || {
        let redis = node(server).await;
        let database = Database::open(&folder.join("agora.db")).unwrap();
        let settings = Settings { redis: Some(redis.clone()), ..Settings::default() };
        let clock = Arc::new(|| Timestamp(1_800_000_000 * SECOND));
        (Accounts::start(folder, database, settings, clock).unwrap(), redis)
    };
    let ((here, redis), (there, other)) = (start().await, start().await);
    tokio::spawn(there.clone().hear());
    // Its first gap is behind it once it hears anything.
    let mut heard = Revocations::new(other.clone());
    loop {
        Revocations::publish(&redis, &Ended::Key("none".into()));
        if let Ok(Some(_)) = tokio::time::timeout(Duration::from_millis(200), heard.next()).await {
            break;
        }
    }
    (here, there)
}

#[test]
fn what_was_tried_at_one_node_is_not_tried_anew_at_the_other() {
    let server = servers::Redis::start();
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let (here, there) = two_nodes(&server, folder.path()).await;
        let device = Device::default();
        let password = |right: bool| Secret::new(if right { "correct horse battery" } else { "wrong horse battery" });
        let user =
            here.sign_up("ada@example.org", password(true), false, &device, AccountId::FIRST_USER).await.unwrap();

        // A signature that one node has let pass is refused by the other, whatever it changes.
        let new = NewKey {
            label: String::new(),
            passphrase: Secret::new("words"),
            scopes: vec![Scope::Trade],
            networks: vec![],
            expires_at: None,
        };
        let key = here.create_key(user.user.id, new).await.unwrap();
        let timestamp = "1800000000.5";
        assert!(signed_with(&here, &key, "DELETE", timestamp).await.is_ok());
        assert_eq!(signed_with(&there, &key, "DELETE", timestamp).await.err(), Some(AuthError::Replayed));
        assert!(signed_with(&there, &key, "DELETE", "1800000000.6").await.is_ok());

        // Guesses here slow down whoever goes on there.
        for _ in 0..10 {
            let guess = here.sign_in("ada@example.org", password(false), &device).await;
            assert_eq!(guess.err(), Some(AuthError::WrongCredentials));
        }
        // Told after them, so they have been heard once this has.
        here.sign_out(user.session).await.unwrap();
        let began = Instant::now();
        while there.authenticate(user.token.expose()).is_ok() {
            assert!(began.elapsed() < Duration::from_secs(60), "the other node hears nothing");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let locked = there.sign_in("ada@example.org", password(true), &device).await.err();
        assert!(matches!(locked, Some(AuthError::TooManyAttempts { .. })), "{locked:?}");
        let other = there.sign_in("bob@example.org", password(false), &device).await.err();
        assert_eq!(other, Some(AuthError::WrongCredentials));
    });
}

#[test]
fn what_one_node_ends_counts_nowhere_any_more() {
    let mut server = servers::Redis::start();
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let (here, there) = two_nodes(&server, folder.path()).await;
        let password = || Secret::new("correct horse battery");
        let device = Device::default();
        let user = here.sign_up("ada@example.org", password(), false, &device, AccountId::FIRST_USER).await.unwrap();
        let second = here.sign_in("ada@example.org", password(), &device).await.unwrap();
        let counts = |token: &Secret| there.authenticate(token.expose());
        assert!(counts(&user.token).is_ok() && counts(&second.token).is_ok());
        let until = async |what: &str, ended: &dyn Fn() -> bool| {
            let began = Instant::now();
            while !ended() {
                assert!(began.elapsed() < Duration::from_secs(60), "{what}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        here.sign_out(user.session).await.unwrap();
        let revoked = || counts(&user.token) == Err(AuthError::TokenRevoked);
        until("a session that was signed out", &revoked).await;
        here.sign_out_everywhere(user.user.id).await.unwrap();
        until("all sessions", &|| counts(&second.token) == Err(AuthError::TokenRevoked)).await;

        // An API key that the other node has in memory.
        let new = NewKey {
            label: String::new(),
            passphrase: Secret::new("words"),
            scopes: vec![Scope::View],
            networks: vec![],
            expires_at: None,
        };
        let key = here.create_key(user.user.id, new).await.unwrap();
        let caller = signed(&there, &key).await.unwrap();
        assert!(there.still_counts(&caller));
        here.revoke_key(user.user.id, &key.key.id).await.unwrap();
        until("a revoked key", &|| !there.still_counts(&caller)).await;
        assert!(signed(&there, &key).await.is_err());

        // Without Redis the other node does not know, until it asks the database; which it does once Redis is back.
        server.kill();
        let third = here.sign_in("ada@example.org", password(), &device).await.unwrap();
        here.sign_out(third.session).await.unwrap();
        assert!(counts(&third.token).is_ok());
        server.restart();
        until("what was missed", &|| counts(&third.token) == Err(AuthError::TokenRevoked)).await;
    });
}

async fn signed(accounts: &Accounts, key: &agora::auth::IssuedKey) -> Result<agora::auth::Caller, AuthError> {
    signed_with(accounts, key, "GET", "1800000000").await
}

async fn signed_with(
    accounts: &Accounts,
    key: &agora::auth::IssuedKey,
    method: &str,
    timestamp: &str,
) -> Result<agora::auth::Caller, AuthError> {
    let secret = base64::engine::general_purpose::STANDARD.decode(key.secret.expose()).unwrap();
    let signature = agora::auth::signature::sign(&secret, timestamp, method, "/v1/accounts", b"");
    let request = agora::auth::SignedRequest {
        key: &key.key.id,
        signature: &signature,
        timestamp,
        passphrase: "words",
        method,
        target: "/v1/accounts",
        body: b"",
        address: None,
        once: method != "GET",
    };
    accounts.authenticate_signed(request).await
}

/// Of two pictures the newer counts; without any there is the error of the own one.
#[test]
fn a_node_that_is_behind_shows_what_the_active_one_has_left() {
    let mut server = servers::Redis::start();
    run(async {
        let redis = node(&server).await;
        let latest = Latest::new(redis.clone());
        let edge = |behind: bool| Edge::new(Some(Latest::new(redis.clone())), Arc::new(move || behind));
        let own = || Ok::<_, ApiError>((10, "own".to_owned()));
        let down = || Err::<(u64, String), _>(ApiError::not_found());
        let show = async |behind: bool, picture: Result<(u64, String), ApiError>| {
            edge(behind).freshest(Shown::Book, "BTC-USDT", picture).await.ok()
        };
        assert_eq!(show(true, own()).await.as_deref(), Some("own"));
        assert_eq!(show(true, down()).await, None);
        for (sequence, shown) in [(9, "own"), (10, "own"), (11, "left")] {
            assert_eq!(latest.put("book", "BTC-USDT", sequence, b"left").await, Ok(true));
            assert_eq!(show(true, own()).await.as_deref(), Some(shown), "{sequence}");
            assert_eq!(show(false, own()).await.as_deref(), Some("own"));
            assert_eq!(show(false, down()).await.as_deref(), Some("left"));
        }
        server.kill();
        assert_eq!(show(true, own()).await.as_deref(), Some("own"));
        assert_eq!(show(true, down()).await, None);
    });
}

/// Two real programs behind one address, so to speak: what a client may do counts for both together, with Redis and,
/// as far as each node knows, without it. Nothing else is different when it is gone.
#[test]
fn programs_share_limits_and_pictures_and_do_without() {
    let mut redis = servers::Redis::start();
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    folders.iter().for_each(|folder| Client::create_admin(folder.path()));
    let url = redis.url();
    let nodes = folders.each_ref().map(|folder| {
        // The tests come from this machine, whose clients are not counted otherwise. A busy machine is no lost Redis.
        let patient = ["--redis-timeout-ms", "20000", "--accounts-unlimited", "10.0.0.0/8"];
        Server::start_with(folder.path(), &[["--redis", &url].as_slice(), &patient].concat())
    });
    let (burst, per_second) = (60, 1);
    for node in &nodes {
        let limit = json!({"value": {"per_second": per_second, "burst": burst}, "version": 0}).to_string();
        let answer = Client::admin(node).send("PUT", "/admin/config/limits.public", limit.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        wait_for(|| metric(node, "agora_redis_up") == Some(1));
    }
    let mut clients = nodes.each_ref().map(|node| node.client(""));
    let began = Instant::now();
    let (mut admitted, mut together) = (0, None);
    let mut ask = |clients: &mut [Client; 2], times: u64| {
        for turn in 0..times {
            let answer = clients[turn as usize % 2].send("GET", "/time", b"").unwrap();
            match answer.status {
                200 => admitted += 1,
                429 => assert!(answer.header("retry-after").is_some()),
                other => panic!("{other}: {}", answer.json()),
            }
        }
        // After the first time Redis goes away, and each node lets through by itself what drains from then on.
        let passed = began.elapsed().as_secs() + 1;
        let alone = passed - *together.get_or_insert(passed);
        let most = burst + per_second * (passed + alone) + 2;
        assert!(admitted <= most, "{admitted} requests were admitted, {most} may be");
        admitted
    };
    assert!(ask(&mut clients, 2 * burst + 20) >= burst, "the whole burst is admitted");
    let mut admin = Client::admin(&nodes[0]);
    admin.send("POST", "/deposits/demo", b"").unwrap();
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "1"}).to_string();
    assert_eq!(admin.send("POST", "/orders", order.as_bytes()).unwrap().status, 200);
    wait_for(|| {
        let left = redis.get("agora:latest:book:BTC-USDT");
        let left: Value = left.and_then(|left| serde_json::from_str(&left).ok()).unwrap_or_default();
        left["bids"][0][2] == 1 && left["sequence"].as_u64() > Some(0)
    });
    assert!(redis.get("agora:latest:candles:60:BTC-USDT").is_some());

    redis.kill();
    // Each node goes on from what it knew: the burst is not there a second time.
    ask(&mut clients, 2 * burst);
    assert_eq!(admin.send("POST", "/orders", order.as_bytes()).unwrap().status, 200);
    assert!(admin.get("/orders?status=open").as_array().is_some_and(|orders| orders.len() == 2));
    wait_for(|| metric(&nodes[0], "agora_redis_up") == Some(0));
    redis.restart();
    wait_for(|| metric(&nodes[0], "agora_redis_up") == Some(1));
    ask(&mut clients, 2 * burst);
}

fn metric(node: &Server, name: &str) -> Option<i64> {
    let text = node.client("").metrics();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[track_caller]
fn wait_for(mut look: impl FnMut() -> bool) {
    let began = Instant::now();
    while !look() {
        assert!(began.elapsed() < Duration::from_secs(60), "it did not come within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}
