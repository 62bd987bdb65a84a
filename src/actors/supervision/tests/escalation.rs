//! What a crash means for the others: siblings, parents, the root.

use super::*;

#[actix_rt::test]
async fn rest_for_one_restarts_the_later_siblings_in_order_and_no_other() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient().rest_for_one());
    let mut children = Vec::new();
    for name in ["a", "b", "c", "d"] {
        children.push(soon(root.start(probe(name, &arbiter.handle(), &diary).graceful())).await.unwrap());
    }
    assert_eq!(add(&children[0], 5).await, 5);
    assert_eq!(add(&children[3], 9).await, 9);
    assert_eq!(diary.take(), ["a started", "b started", "c started", "d started"]);

    assert_eq!(soon(children[1].send(Do::Panic)).await, Err(Unreachable::Lost));
    until(|| diary.0.lock().len() == 8).await;
    state_of(&root, "root/d", State::Running).await;
    assert_eq!(
        diary.take(),
        [
            "b gone",
            "d told, total 9, for good false",
            "d gone",
            "c told, total 0, for good false",
            "c gone",
            "b started",
            "c started",
            "d started"
        ]
    );
    assert_eq!(add(&children[0], 1).await, 6, "the earlier sibling kept its state");
    assert_eq!(add(&children[3], 1).await, 1);
    let crashes: Vec<_> = root.tree().snapshot().iter().map(|node| (node.name.clone(), node.crashes)).collect();
    assert_eq!(crashes, [("root", 0), ("a", 0), ("b", 1), ("c", 0), ("d", 0)].map(|(n, c)| (n.to_owned(), c)));
    soon(root.shutdown()).await;
}

#[actix_rt::test]
async fn an_exhausted_budget_restarts_the_branch_and_then_ends_the_root() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient().budget(1, PATIENCE));
    let neighbour = soon(root.start(probe("neighbour", &arbiter.handle(), &diary))).await.unwrap();
    let branch = soon(root.branch("branch", lenient().budget(2, PATIENCE))).await.unwrap();
    let first = soon(branch.start(probe("first", &arbiter.handle(), &diary))).await.unwrap();
    let second = soon(branch.start(probe("second", &arbiter.handle(), &diary))).await.unwrap();
    assert_eq!((add(&neighbour, 1).await, add(&first, 1).await), (1, 1));

    // Two restarts are in the budget of the branch, the third crash is not: the branch fails, with both its children.
    for crash in 1..=3 {
        soon(async {
            while second.send(Do::Panic).await != Err(Unreachable::Lost) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        until(|| root.tree().node("root/branch/second").unwrap().crashes == crash).await;
    }
    until(|| root.tree().node("root/branch").unwrap().crashes == 1).await;
    let branch_view = state_of(&root, "root/branch", State::Running).await;
    assert!(branch_view.last_crash.unwrap().reason.contains("second crashed 3 times"));
    assert_eq!(add(&first, 1).await, 1, "the sibling was restarted with its branch");
    assert_eq!(add(&second, 1).await, 1, "the handle reaches the new one");
    assert_eq!(add(&neighbour, 1).await, 2, "other branches never noticed");

    // The budget of the root for the branch is one restart: the second failure of the branch is too much.
    for crash in 4..=6 {
        soon(async {
            while second.send(Do::Panic).await != Err(Unreachable::Lost) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        until(|| root.tree().node("root/branch/second").unwrap().crashes == crash).await;
    }
    let reason = soon(root.escalated()).await;
    assert!(reason.contains("branch crashed 2 times") && reason.contains("told to panic"), "{reason}");
    assert_eq!(root.tree().node("root").unwrap().state, State::Faulted);
    assert!(diary.take().iter().filter(|line| line.contains("neighbour gone")).count() == 1, "the root stopped all");
    let late = soon(branch.start(probe("late", &arbiter.handle(), &diary))).await;
    assert_eq!(late.map(|_| ()), Err(Failure::SupervisorGone));
    assert_eq!(soon(neighbour.send(Add(1))).await, Err(Unreachable::Closed));
}

#[actix_rt::test]
async fn what_is_fatal_ends_the_root_whatever_the_budgets_are() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient());
    let neighbour = soon(root.start(probe("neighbour", &arbiter.handle(), &diary))).await.unwrap();
    let branch = soon(root.branch("branch", lenient())).await.unwrap();
    let twig = soon(branch.branch("twig", lenient())).await.unwrap();
    let broken = soon(twig.start(probe("broken", &arbiter.handle(), &diary))).await.unwrap();
    assert_eq!((add(&neighbour, 1).await, add(&broken, 1).await), (1, 1));
    let _ = soon(broken.send(Do::Doom)).await;
    assert_eq!(soon(root.escalated()).await, "the disk is broken");
    assert_eq!(root.tree().node("root").unwrap().state, State::Faulted);
    assert_eq!(soon(neighbour.send(Add(1))).await, Err(Unreachable::Closed));
    assert_eq!(diary.take().iter().filter(|line| line.ends_with("started")).count(), 2, "nothing was started again");
}

#[actix_rt::test]
async fn a_fault_stays_down_alone_until_it_is_revived() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient().budget(1, PATIENCE));
    let healthy = soon(root.start(probe("healthy", &arbiter.handle(), &diary))).await.unwrap();
    let by_itself = soon(root.start(probe("by itself", &arbiter.handle(), &diary))).await.unwrap();
    let too_often = probe("too often", &arbiter.handle(), &diary).when_exhausted(Exhausted::Fault);
    let too_often = soon(root.start(too_often)).await.unwrap();

    assert_eq!(soon(by_itself.send(Do::Fault)).await, Err(Unreachable::Lost));
    let view = state_of(&root, "root/by itself", State::Faulted).await;
    assert_eq!(view.last_crash.unwrap().reason, "entry 7 is poison");
    assert_eq!(by_itself.send(Add(1)).await, Err(Unreachable::Closed));

    for crash in 1..=2 {
        let reason = if crash == 1 { Do::Fail } else { Do::Stop };
        soon(async {
            while too_often.try_send(reason.clone()).is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        until(|| root.tree().node("root/too often").unwrap().crashes == crash).await;
        if crash == 1 {
            let view = root.tree().node("root/too often").unwrap();
            assert_eq!(view.last_crash.unwrap().reason, "the sums do not add up");
        }
    }
    let view = state_of(&root, "root/too often", State::Faulted).await;
    assert!(view.last_crash.unwrap().reason.contains("it stopped by itself"));
    assert_eq!(add(&healthy, 1).await, 1);

    for (name, handle) in [("by itself", &by_itself), ("too often", &too_often)] {
        soon(root.revive(name)).await.unwrap();
        assert_eq!(add(handle, 2).await, 2);
    }
    soon(root.revive("healthy")).await.unwrap();
    assert_eq!(add(&healthy, 2).await, 2, "reviving a running child restarts it");
    assert_eq!(soon(root.revive("nobody")).await, Err(Failure::Unknown("nobody".into())));
    let taken = soon(root.start(probe("healthy", &arbiter.handle(), &diary))).await;
    assert_eq!(taken.map(|_| ()), Err(Failure::NameTaken("healthy".into())));
    soon(root.shutdown()).await;
}

#[actix_rt::test]
async fn a_child_that_never_starts_tells_whoever_waits() {
    let root = root(lenient().budget(2, PATIENCE));
    let spec = ChildSpec::<Probe>::new("never", Arbiter::current(), |_| Err(StartError::failed("no disk")));
    let failed = soon(root.start(spec.when_exhausted(Exhausted::Fault))).await.map(|_| ()).unwrap_err();
    assert!(matches!(&failed, Failure::Down { name, reason } if name == "never" && reason.contains("no disk")));
    let spec = ChildSpec::<Probe>::new("refuses", Arbiter::current(), |_| Err(StartError::Faulted("no".into())));
    let failed = soon(root.start(spec)).await.map(|_| ()).unwrap_err();
    assert_eq!(failed, Failure::Down { name: "refuses".into(), reason: "no".into() });
    assert_eq!(root.tree().node("root/refuses").unwrap().incarnation, 1);
    soon(root.shutdown()).await;
}

#[actix_rt::test]
async fn a_stopped_arbiter_is_a_crash_of_what_was_on_it() {
    let (diary, first) = (Diary::default(), Arbiter::new());
    let root = root(lenient());
    let (doomed, safe) = (first.handle(), Arbiter::new().handle());
    let spec = probe("child", &safe, &diary);
    let spec = spec.arbiters(move |incarnation| if incarnation == 1 { doomed.clone() } else { safe.clone() });
    let child = soon(root.start(spec)).await.unwrap();
    assert_eq!(add(&child, 5).await, 5);
    first.stop();
    first.join().unwrap();
    until(|| root.tree().node("root/child").unwrap().crashes == 1).await;
    assert_eq!(add(&child, 5).await, 5);
    let view = root.tree().node("root/child").unwrap();
    assert_eq!(view.last_crash.unwrap().reason, "its arbiter has stopped");
    soon(root.shutdown()).await;
}

#[actix_rt::test]
async fn who_was_never_ready_faults_alone_and_escalates_later() {
    let (diary, arbiter, broken) = (Diary::default(), Arbiter::new(), Gate::new(AtomicUsize::new(1)));
    let root = root(lenient().budget(1, PATIENCE));
    let healthy = soon(root.start(probe("healthy", &arbiter.handle(), &diary))).await.unwrap();
    let late = || {
        let (diary, broken) = (diary.clone(), broken.clone());
        let spec = ChildSpec::new("late", arbiter.handle(), move |lifeline| match broken.load(Ordering::Acquire) {
            0 => Ok(Probe { total: 0, lifeline, diary: diary.clone(), panic_in_started: false }),
            _ => Err(StartError::failed("what it needs is not there")),
        });
        spec.when_exhausted(Exhausted::FaultAtFirst)
    };
    let refused = soon(root.start(late())).await.map(drop);
    assert!(matches!(&refused, Err(Failure::Down { reason, .. }) if reason.contains("is not there")), "{refused:?}");
    assert_eq!(root.tree().node("root/late").unwrap().state, State::Faulted);
    assert_eq!(add(&healthy, 1).await, 1);

    // Taken away, it can be begun anew under its name; from then on its crashes are its supervisor's too.
    assert_eq!(soon(root.start(late())).await.map(drop), Err(Failure::NameTaken("late".to_owned())));
    soon(root.remove("late")).await.unwrap();
    broken.store(0, Ordering::Release);
    let late = soon(root.start(late())).await.unwrap();
    assert_eq!(add(&healthy, 1).await, 2, "nobody else noticed");
    for crash in 1..=2 {
        soon(async {
            while late.send(Do::Panic).await != Err(Unreachable::Lost) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        until(|| root.tree().node("root/late").unwrap().crashes == crash).await;
    }
    let reason = soon(root.escalated()).await;
    assert!(reason.contains("late crashed 2 times"), "{reason}");
}

#[actix_rt::test]
async fn a_name_is_free_again_when_its_supervisor_took_nobody_in() {
    let (diary, arbiter, other) = (Diary::default(), Arbiter::new(), Arbiter::new());
    let root = root(lenient().rest_for_one());
    let first = soon(root.start(probe("first", &arbiter.handle(), &diary))).await.unwrap();
    let branch = soon(root.branch("branch", lenient())).await.unwrap();
    let slow = soon(branch.start(probe("slow", &other.handle(), &diary).graceful())).await.unwrap();
    // The branch is restarted with what it depends on, and has to wait for its child meanwhile.
    let gate = Gate::default();
    slow.try_send(Block(gate.clone())).unwrap();
    assert_eq!(soon(first.send(Do::Panic)).await, Err(Unreachable::Lost));
    state_of(&root, "root/branch/slow", State::Stopping).await;
    let refused = soon(branch.start(probe("late", &arbiter.handle(), &diary))).await.map(drop);
    assert_eq!(refused, Err(Failure::SupervisorGone));
    assert!(root.tree().node("root/branch/late").is_none(), "nobody of that name was taken in");
    gate.store(1, Ordering::Release);
    let late = soon(async {
        loop {
            match branch.start(probe("late", &arbiter.handle(), &diary)).await {
                Ok(late) => return late,
                Err(Failure::SupervisorGone) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(other) => panic!("{other}"),
            }
        }
    })
    .await;
    assert_eq!(add(&late, 1).await, 1);
    soon(root.shutdown()).await;
}
