//! One child crashes in every way there is.

use super::*;

#[actix_rt::test]
async fn a_panic_ends_one_actor_and_its_handle_reaches_the_next() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient());
    let sibling = soon(root.start(probe("sibling", &arbiter.handle(), &diary))).await.unwrap();
    let victim = soon(root.start(probe("victim", &arbiter.handle(), &diary))).await.unwrap();
    assert_eq!(add(&sibling, 5).await, 5);
    assert_eq!(add(&victim, 5).await, 5);

    for (crash, what) in [(Do::Panic, "told to panic"), (Do::PanicInFuture, "told to panic later")] {
        assert_eq!(soon(victim.send(crash)).await, Err(Unreachable::Lost));
        assert_eq!(add(&victim, 3).await, 3, "the next incarnation starts afresh");
        let crash = root.tree().node("root/victim").unwrap().last_crash.unwrap();
        assert!(crash.reason.contains(what) && crash.reason.contains("tests/mod.rs:"), "{}", crash.reason);
    }
    assert_eq!(add(&sibling, 1).await, 6, "the sibling kept its state");
    // It answers a moment before its supervisor has heard that it is ready.
    let view = state_of(&root, "root/victim", State::Running).await;
    assert_eq!((view.incarnation, view.crashes), (3, 2));
    let view = root.tree().node("root/sibling").unwrap();
    assert_eq!((view.state, view.incarnation, view.crashes), (State::Running, 1, 0));
    soon(root.shutdown()).await;
}

#[actix_rt::test]
async fn a_thousand_panics_in_a_row_and_every_later_message_is_answered() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient());
    let child = soon(root.start(probe("child", &arbiter.handle(), &diary))).await.unwrap();
    for _ in 0..1_000 {
        soon(async {
            while child.try_send(Do::Panic).is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // Whether this one is queued before the panic (and lost) or after it, the one after that is answered.
        let _ = soon(child.send(Add(1))).await;
        assert!(add(&child, 0).await <= 1, "the state is that of a fresh actor");
    }
    assert_eq!(state_of(&root, "root/child", State::Running).await.crashes, 1_000);
    soon(root.shutdown()).await;
}

#[actix_rt::test]
async fn a_start_that_fails_is_tried_again() {
    let root = root(lenient());
    let attempts = Arc::new(AtomicUsize::new(0));
    let (diary, counter) = (Diary::default(), attempts.clone());
    let spec = ChildSpec::new("late", Arbiter::current(), move |lifeline| {
        let attempt = counter.fetch_add(1, Ordering::AcqRel);
        assert_eq!(lifeline.incarnation(), attempt as u64 + 1);
        match attempt {
            0 => return Err(StartError::failed("no connection")),
            1 => panic!("panic in the factory"),
            2 => assert!(lifeline.last_crash().unwrap().contains("panic in the factory")),
            _ => assert!(lifeline.last_crash().unwrap().contains("panic in started")),
        }
        Ok(Probe { total: 0, lifeline, diary: diary.clone(), panic_in_started: attempt == 2 })
    });
    let mut events = root.tree().events();
    let child = soon(root.start(spec)).await.unwrap();
    assert_eq!(add(&child, 1).await, 1);
    assert_eq!(attempts.load(Ordering::Acquire), 4);

    let mut reasons = Vec::new();
    while let Ok(event) = events.try_recv() {
        reasons.extend(event.reason);
    }
    let expected = ["could not start: no connection", "panic in the factory", "panic in started"];
    assert_eq!(reasons.len(), expected.len());
    assert!(reasons.iter().zip(expected).all(|(reason, part)| reason.contains(part)), "{reasons:?}");
    soon(root.shutdown()).await;
}

#[actix_rt::test]
async fn the_wait_before_a_restart_grows() {
    let ms = Duration::from_millis;
    let root = root(Settings::default().budget(10, PATIENCE).backoff(ms(20), 2, ms(80)));
    let starts = Arc::new(Mutex::new(Vec::new()));
    let (diary, log) = (Diary::default(), starts.clone());
    let spec = ChildSpec::new("child", Arbiter::current(), move |lifeline| {
        log.lock().push(std::time::Instant::now());
        match lifeline.incarnation() {
            6.. => Ok(Probe { total: 0, lifeline, diary: diary.clone(), panic_in_started: false }),
            _ => Err(StartError::failed("not yet")),
        }
    });
    soon(root.start(spec)).await.unwrap();
    let starts = starts.lock();
    let waits: Vec<Duration> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits.len(), 5);
    for (wait, least) in waits.iter().zip([20, 40, 80, 80, 80]) {
        assert!(*wait >= ms(least), "{waits:?}");
    }
}

#[actix_rt::test]
async fn while_it_is_down_it_refuses_unless_it_keeps_its_queue() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let wait = Duration::from_secs(1);
    let root = root(lenient().backoff(wait, 1, wait));
    let plain = soon(root.start(probe("plain", &arbiter.handle(), &diary))).await.unwrap();
    let kept = soon(root.start(probe("kept", &arbiter.handle(), &diary).keep_queue())).await.unwrap();

    // Both actors are busy, so that everything is queued before the panic.
    let gate = Gate::default();
    let busy = (plain.send(Block(gate.clone())), kept.send(Block(gate.clone())));
    let panics = (plain.send(Do::Panic), kept.send(Do::Panic));
    let behind = (plain.send(Add(1)), kept.send(Add(1)));
    // The thread that they share is blocked by the first of the six.
    until(|| plain.depth() + kept.depth() == 5).await;
    gate.store(1, Ordering::Release);
    assert_eq!((soon(busy.0).await, soon(busy.1).await), (Ok(()), Ok(())));
    assert_eq!((soon(panics.0).await, soon(panics.1).await), (Err(Unreachable::Lost), Err(Unreachable::Lost)));
    assert_eq!(soon(behind.0).await, Err(Unreachable::Lost));
    let meanwhile = kept.send(Add(1));
    assert_eq!(soon(plain.send(Add(1))).await, Err(Unreachable::Restarting));
    assert_eq!((soon(behind.1).await, soon(meanwhile).await), (Ok(1), Ok(2)));
    assert_eq!(add(&plain, 4).await, 4);
    soon(root.shutdown()).await;
}

#[actix_rt::test]
async fn the_mailbox_is_bounded_and_its_depth_is_exact() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient());
    let child = soon(root.start(probe("child", &arbiter.handle(), &diary).mailbox(3))).await.unwrap();
    let gate = Gate::default();
    let busy = child.send(Block(gate.clone()));
    until(|| child.depth() == 0).await;
    let port = child.port::<Add>();
    let waiting: Vec<_> = (0..3).map(|_| port.send(Add(1))).collect();
    let refused = port.offer(Add(7)).unwrap_err();
    assert_eq!((refused.message.0, refused.why), (7, Unreachable::Full));
    assert_eq!(child.send(Add(7)).await, Err(Unreachable::Full));
    let view = root.tree().node("root/child").unwrap();
    assert_eq!((view.mailbox_depth, view.mailbox_capacity), (3, 3));
    gate.store(1, Ordering::Release);
    soon(busy).await.unwrap();
    for (answer, total) in waiting.into_iter().zip(1..) {
        assert_eq!(soon(answer).await, Ok(total));
    }
    assert_eq!(child.depth(), 0);
    soon(root.shutdown()).await;
}

#[actix_rt::test]
async fn with_a_kept_queue_a_panic_costs_its_own_message_and_no_other() {
    let arbiter = Arbiter::new();
    let root = root(lenient());
    let spec = probe("child", &arbiter.handle(), &Diary::default()).keep_queue().mailbox(100_000);
    let child = soon(root.start(spec)).await.unwrap();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let child = child.clone();
            std::thread::spawn(move || {
                let send = |n: u32| {
                    if n.is_multiple_of(100) {
                        child.try_send(Do::Panic).unwrap();
                    }
                    child.send(Add(1))
                };
                (0..2_000).map(send).collect::<Vec<_>>()
            })
        })
        .collect();
    for sender in senders {
        for answer in sender.join().unwrap() {
            assert!(soon(answer).await.is_ok());
        }
    }
    assert_eq!(child.depth(), 0);
    assert_eq!(state_of(&root, "root/child", State::Running).await.crashes, 80);
    soon(root.shutdown()).await;
}
