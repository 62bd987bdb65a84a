//! What nodes share through Redis, on a real one that is killed, frozen and started again: slower
//! without it, and never wrong.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod servers;

use agora::domain::ids::AccountId;
use agora::domain::time::Timestamp;
use agora::persistence::redis::{Away, Latest, Options, Presence, Rate, Redis, Revocations, SecondLevel};
use agora::persistence::sessions::SessionId;
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
        revocations_are_heard(&here, &there).await;
        presence_ends_by_itself(&here, &there).await;
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
        assert_eq!(cache.get("kept").await, Ok(Some(b"1".to_vec())));
        server.kill();
        let rate = Rate { interval: 1_000_000, burst: 1 };
        assert_eq!(here.take("x", rate).await, Err(Away));
        server.restart();
        until_up(&here).await;
        until_up(&there).await;
        assert_eq!(cache.get("kept").await, Ok(None));
        assert_eq!(revocations.next().await, None, "what was said meanwhile is in the database alone");
        // Heard again from then on; the listener may still be on its way.
        let ended = [(SessionId::random(), Timestamp(7))];
        let heard = loop {
            Revocations::publish(&here, &ended).await.unwrap();
            if let Ok(Some(heard)) = tokio::time::timeout(Duration::from_millis(200), revocations.next()).await {
                break heard;
            }
        };
        assert_eq!(heard, ended);
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

async fn revocations_are_heard(here: &Redis, there: &Redis) {
    let mut revocations = Revocations::new(there.clone());
    let ended = [(SessionId::random(), Timestamp(5)), (SessionId::random(), Timestamp(i64::MAX))];
    here.publish("something else", b"that is not for it").await.unwrap();
    Revocations::publish(here, &ended).await.unwrap();
    let heard = loop {
        match revocations.next().await {
            Some(heard) => break heard,
            // A listener begins with a gap.
            None => Revocations::publish(here, &ended).await.unwrap(),
        }
    };
    assert_eq!(heard, ended);
}

async fn presence_ends_by_itself(here: &Redis, there: &Redis) {
    let keep = Duration::from_millis(400);
    let (here, there) = (Presence::new(here.clone(), keep), Presence::new(there.clone(), keep));
    here.name(&[AccountId(2), AccountId(4)]).await.unwrap();
    let users = [AccountId(2), AccountId(3), AccountId(4)];
    assert_eq!(there.of(&users).await.unwrap(), [true, false, true]);
    assert_eq!(there.of(&[]).await.unwrap(), [false; 0]);
    while there.of(&users).await.unwrap() != [false; 3] {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn caches_forget_together(here: &Redis, there: &Redis) {
    let keep = Duration::from_secs(60);
    let of = |redis: &Redis| SecondLevel::new(redis.clone(), "links", keep);
    let (here, there) = (of(here), of(there));
    let mut forgotten = there.forgotten();
    assert_eq!(here.get("slug").await, Ok(None));
    here.put("slug", b"target").await.unwrap();
    assert_eq!(there.get("slug").await, Ok(Some(b"target".to_vec())));
    here.forget("slug").await.unwrap();
    assert_eq!(there.get("slug").await, Ok(None));
    assert_eq!(forgotten.next().await.as_deref(), Some("slug"));
}

async fn only_newer_pictures_count(here: &Redis, there: &Redis) {
    let (here, there) = (Latest::new(here.clone()), Latest::new(there.clone()));
    assert_eq!(here.get("book", "BTC-USDT").await, Ok(None));
    assert_eq!(here.put("book", "BTC-USDT", 10, b"ten").await, Ok(true));
    assert_eq!(there.put("book", "BTC-USDT", 9, b"nine").await, Ok(false));
    assert_eq!(there.put("book", "BTC-USDT", 11, b"eleven").await, Ok(true));
    assert_eq!(here.get("book", "BTC-USDT").await, Ok(Some(b"eleven".to_vec())));
    assert_eq!(here.get("candles", "BTC-USDT").await, Ok(None));
}
