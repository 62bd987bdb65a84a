//! Planned stops, and actors that hang.

use super::*;
use crate::actors::supervision::{
    overseer::{Overseer, Roster},
    requests::{Adopt, Halt},
};
use tokio::sync::oneshot;

#[actix_rt::test]
async fn a_planned_stop_goes_backwards_lets_the_queue_be_handled_and_is_no_crash() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient());
    let branch = soon(root.branch("branch", lenient())).await.unwrap();
    let a = soon(branch.start(probe("a", &arbiter.handle(), &diary).graceful())).await.unwrap();
    let b = soon(branch.start(probe("b", &arbiter.handle(), &diary).graceful())).await.unwrap();
    let c = soon(root.start(probe("c", &arbiter.handle(), &diary))).await.unwrap();
    diary.take();
    let queued: Vec<_> = (0..50).map(|_| a.send(Add(1))).collect();
    soon(root.shutdown()).await;
    for (answer, total) in queued.into_iter().zip(1..) {
        assert_eq!(soon(answer).await, Ok(total));
    }
    let expected = ["c gone", "b told, total 0, for good true", "b gone", "a told, total 50, for good true", "a gone"];
    assert_eq!(diary.take(), expected);
    for handle in [&a, &b, &c] {
        assert_eq!(soon(handle.send(Add(1))).await, Err(Unreachable::Closed));
    }
    until(|| root.tree().snapshot().iter().all(|node| node.state == State::Stopped && node.crashes == 0)).await;
    assert_eq!(root.tree().snapshot().len(), 5);
}

#[actix_rt::test]
async fn one_child_is_stopped_revived_finished_and_removed() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient());
    let child = soon(root.start(probe("child", &arbiter.handle(), &diary))).await.unwrap();
    soon(root.stop("child")).await.unwrap();
    assert_eq!(child.send(Add(1)).await, Err(Unreachable::Closed));
    assert_eq!(root.tree().node("root/child").unwrap().state, State::Stopped);
    soon(root.revive("child")).await.unwrap();
    assert_eq!(add(&child, 1).await, 1);
    soon(child.send(Do::Finish)).await.ok();
    let view = state_of(&root, "root/child", State::Stopped).await;
    assert_eq!((view.crashes, view.incarnation), (0, 2));
    soon(root.remove("child")).await.unwrap();
    assert_eq!(root.tree().node("root/child"), None);
    let again = soon(root.start(probe("child", &arbiter.handle(), &diary))).await.unwrap();
    assert_eq!(add(&again, 1).await, 1);
    assert_eq!(child.send(Add(1)).await, Err(Unreachable::Closed), "the old name leads nowhere");
    soon(root.shutdown()).await;
}

#[actix_rt::test]
async fn only_what_runs_can_be_made_to_fail() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient());
    let child = soon(root.start(probe("child", &arbiter.handle(), &diary))).await.unwrap();
    soon(root.stop("child")).await.unwrap();
    for nobody in ["root/child", "root/nobody"] {
        assert!(!root.tree().drill(nobody, Drill::Panic), "{nobody}");
    }
    soon(root.revive("child")).await.unwrap();
    assert_eq!(add(&child, 1).await, 1);
    assert_eq!(root.tree().node("root/child").unwrap().crashes, 0);
    assert!(root.tree().drill("root/child", Drill::Panic));
    until(|| root.tree().node("root/child").unwrap().crashes == 1).await;
    soon(root.shutdown()).await;
}

/// How many children a supervisor looks after.
#[derive(Message)]
#[rtype(result = "u64")]
struct Watches;

impl Handler<Watches> for Overseer {
    type Result = u64;

    fn handle(&mut self, _: Watches, _: &mut Self::Context) -> u64 {
        self.watches.len() as u64
    }
}

#[actix_rt::test]
async fn nobody_looks_after_a_child_that_was_removed() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient());
    let roster = Arc::<Roster>::default();
    let build = move |lifeline| Ok(Overseer::new(roster.clone(), lenient(), lifeline));
    let overseer = ChildSpec::new("branch", Arbiter::current(), build).ready_by_hand().graceful();
    let overseer = soon(root.start(overseer)).await.unwrap();
    for _ in 0..3 {
        let child = probe("child", &arbiter.handle(), &diary).watch(watch());
        let child = child.settle(|level| root.tree().add(Some("root/branch"), "child", Kind::Actor, level)).unwrap();
        let (ready, is_ready) = oneshot::channel();
        overseer.try_send(Adopt { child: Box::new(child), ready }).unwrap();
        soon(is_ready).await.unwrap().unwrap();
        assert_eq!(soon(overseer.send(Watches)).await, Ok(1));
        let (done, is_done) = oneshot::channel();
        overseer.try_send(Halt { name: "child".to_owned(), forget: true, done }).unwrap();
        soon(is_done).await.unwrap().unwrap();
        assert_eq!(soon(overseer.send(Watches)).await, Ok(0));
        root.tree().remove("root/branch/child");
    }
    soon(root.shutdown()).await;
}

fn watch() -> Watch {
    let ms = Duration::from_millis;
    Watch { every: ms(10), deadline: ms(1_500), start_within: Some(ms(3_000)) }
}

#[actix_rt::test]
async fn a_blocked_actor_is_replaced_on_another_thread() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient());
    let spec = probe("child", &arbiter.handle(), &diary).watch(watch());
    let child = soon(root.start(spec)).await.unwrap();
    assert_eq!(add(&child, 5).await, 5);
    diary.take();
    let gate = Gate::default();
    let stuck = child.send(Block(gate.clone()));
    until(|| child.depth() == 0).await;
    let behind = child.send(Add(1));
    until(|| root.tree().node("root/child").unwrap().crashes == 1).await;
    assert_eq!(soon(behind).await, Err(Unreachable::Lost));
    assert_eq!(add(&child, 3).await, 3, "a fresh one answers while the old one still blocks its thread");
    assert_eq!(diary.take(), ["child started"]);
    assert!(root.tree().node("root/child").unwrap().last_crash.unwrap().reason.contains("hung"));

    // The old one comes back, and goes without having touched anything.
    gate.store(1, Ordering::Release);
    soon(stuck).await.ok();
    until(|| diary.0.lock().len() == 1).await;
    assert_eq!(diary.take(), ["child gone"]);
    assert_eq!(add(&child, 1).await, 4);
    assert_eq!(state_of(&root, "root/child", State::Running).await.crashes, 1);
    soon(root.shutdown()).await;
}

#[actix_rt::test]
async fn an_actor_that_waits_for_ever_is_replaced_and_its_neighbour_is_not() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient());
    let child = soon(root.start(probe("child", &arbiter.handle(), &diary).watch(watch()))).await.unwrap();
    let neighbour = soon(root.start(probe("neighbour", &arbiter.handle(), &diary).watch(watch()))).await.unwrap();
    assert_eq!(add(&neighbour, 5).await, 5);
    child.try_send(Do::WaitForEver).unwrap();
    until(|| root.tree().node("root/child").unwrap().crashes == 1).await;
    assert_eq!(add(&child, 3).await, 3);
    assert_eq!(add(&neighbour, 1).await, 6);
    until(|| diary.0.lock().contains(&"child gone".to_owned())).await;
    soon(root.shutdown()).await;
}

#[actix_rt::test]
async fn an_actor_that_will_not_stop_is_given_up() {
    let (diary, arbiter) = (Diary::default(), Arbiter::new());
    let root = root(lenient());
    let spec = probe("child", &arbiter.handle(), &diary).graceful().stop_within(Duration::from_millis(20));
    let child = soon(root.start(spec)).await.unwrap();
    let gate = Gate::default();
    let stuck = child.send(Block(gate.clone()));
    until(|| child.depth() == 0).await;
    soon(root.shutdown()).await;
    assert_eq!(root.tree().node("root/child").unwrap().state, State::Stopped);
    assert_eq!(child.send(Add(1)).await, Err(Unreachable::Closed));
    gate.store(1, Ordering::Release);
    soon(stuck).await.ok();
    until(|| diary.0.lock().contains(&"child gone".to_owned())).await;
}
