//! Answers on their way back to the threads whose tasks wait for them, delivered together.
//!
//! Waking another thread costs a call of the operating system for each answer, and that thread works off one answer,
//! sleeps, and is woken for the next. So what one committed batch answers is gathered here for each thread, and a task of
//! that thread, its postman, hands the answers out, which wakes nobody any more. The way there gathers likewise
//! ([`outbox`](super::outbox)). Invariants: whatever is posted is delivered, when its [`Post`] is dropped at the latest,
//! also when the thread's postman has ended; answers to one thread keep their order. A thread without a postman (a test,
//! a simulated node, a tool) gets each answer at once. What waits is bounded by the commands that are on their way: each
//! is answered once.

use super::Refused;
use std::cell::RefCell;
use tokio::sync::{mpsc, oneshot};

/// An outcome on its way to whoever waits for it.
type Delivery = Box<dyn FnOnce() + Send>;

/// The way to one thread's postman.
type Home = mpsc::UnboundedSender<Vec<Delivery>>;

thread_local! {
    static HOME: RefCell<Option<Home>> = const { RefCell::new(None) };
}

/// Gives this thread a postman, if it has none. To be called where tasks of this thread can be spawned.
pub fn open() {
    HOME.with_borrow_mut(|home| {
        if home.as_ref().is_none_or(mpsc::UnboundedSender::is_closed) {
            let (way, mut sacks) = mpsc::unbounded_channel::<Vec<Delivery>>();
            *home = Some(way);
            actix::spawn(async move {
                while let Some(sack) = sacks.recv().await {
                    sack.into_iter().for_each(|deliver| deliver());
                }
            });
        }
    });
}

/// Where the outcome of a command goes.
#[derive(Debug)]
pub struct Reply<T> {
    to: oneshot::Sender<Result<T, Refused>>,
    home: Option<Home>,
}

impl<T> Reply<T> {
    /// A reply to a task of this thread, and where it arrives.
    pub fn here() -> (Reply<T>, oneshot::Receiver<Result<T, Refused>>) {
        let (to, outcome) = oneshot::channel();
        (Reply { to, home: HOME.with_borrow(Clone::clone) }, outcome)
    }

    /// Answers at once. A caller that hung up does not want the answer; that is its right.
    pub fn send(self, outcome: Result<T, Refused>) {
        let _ = self.to.send(outcome);
    }
}

/// Outcomes that are delivered when it is dropped.
#[derive(Default)]
pub(super) struct Post(Vec<(Home, Vec<Delivery>)>);

impl Post {
    /// Delivers an outcome with the others.
    pub fn add<T: Send + 'static>(&mut self, reply: Reply<T>, outcome: Result<T, Refused>) {
        let Reply { to, home } = reply;
        let Some(home) = home else { return drop(to.send(outcome)) };
        let deliver: Delivery = Box::new(move || drop(to.send(outcome)));
        match self.0.iter_mut().find(|(other, _)| other.same_channel(&home)) {
            Some((_, sack)) => sack.push(deliver),
            None => self.0.push((home, vec![deliver])),
        }
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        for (home, sack) in self.0.drain(..) {
            // Whoever waits may have left the thread whose postman has ended.
            if let Err(mpsc::error::SendError(sack)) = home.send(sack) {
                sack.into_iter().for_each(|deliver| deliver());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake};

    /// Counts how often it is woken from another thread.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    type Outcome = oneshot::Receiver<Result<u64, Refused>>;

    fn replies(count: u64) -> (Vec<Reply<u64>>, Vec<Outcome>) {
        (0..count).map(|_| Reply::here()).unzip()
    }

    fn answered(outcome: &mut Outcome) -> Option<u64> {
        outcome.try_recv().ok().map(|outcome| outcome.unwrap())
    }

    #[actix::test]
    async fn what_another_thread_posts_arrives_through_one_postman() {
        open();
        open();
        let (replies, outcomes) = replies(100);
        let home = HOME.with_borrow(Clone::clone).unwrap();
        assert!(replies.iter().all(|reply| reply.home.as_ref().is_some_and(|other| other.same_channel(&home))));
        std::thread::spawn(move || {
            let mut post = Post::default();
            replies.into_iter().zip(0..).for_each(|(reply, number)| post.add(reply, Ok(number)));
            assert_eq!(post.0.len(), 1);
        });
        for (outcome, number) in outcomes.into_iter().zip(0..) {
            assert_eq!(outcome.await.unwrap().unwrap(), number);
        }
    }

    #[actix::test]
    async fn nothing_is_delivered_before_the_post_goes() {
        open();
        let (mut replies, mut outcomes) = replies(2);
        let mut post = Post::default();
        post.add(replies.remove(0), Ok(7));
        tokio::task::yield_now().await;
        assert_eq!(answered(&mut outcomes[0]), None);
        // What is sent by itself does not wait for the post.
        replies.remove(0).send(Ok(8));
        assert_eq!(answered(&mut outcomes[1]), Some(8));
        drop(post);
        assert_eq!(outcomes.remove(0).await.unwrap().unwrap(), 7);
    }

    #[test]
    fn a_thread_without_a_postman_is_answered_at_once() {
        let (mut replies, mut outcomes) = replies(1);
        let mut post = Post::default();
        post.add(replies.remove(0), Ok(1));
        assert_eq!(answered(&mut outcomes[0]), Some(1));
    }

    #[test]
    fn what_a_postman_has_left_behind_is_delivered_all_the_same() {
        let (way, sacks) = mpsc::unbounded_channel();
        let (mut replies, mut outcomes) = replies(1);
        replies[0].home = Some(way);
        drop(sacks);
        let mut post = Post::default();
        post.add(replies.remove(0), Ok(3));
        assert_eq!(answered(&mut outcomes[0]), None);
        drop(post);
        assert_eq!(answered(&mut outcomes[0]), Some(3));
    }

    #[test]
    fn a_thread_is_woken_once_for_all_that_is_posted() {
        let (way, mut sacks) = mpsc::unbounded_channel();
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        assert!(sacks.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        let (replies, _outcomes) = replies(50);
        let mut post = Post::default();
        for (mut reply, number) in replies.into_iter().zip(0..) {
            reply.home = Some(way.clone());
            post.add(reply, Ok(number));
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        drop(post);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        let Poll::Ready(Some(sack)) = sacks.poll_recv(&mut Context::from_waker(&waker)) else { panic!("no sack") };
        assert_eq!(sack.len(), 50);
    }
}
