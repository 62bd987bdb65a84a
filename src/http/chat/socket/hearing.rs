//! What a session hears: its connection's body takes events from the outbox and sends them.
//!
//! Most events are the same for all who get them, and so is their frame; what differs are messages of somebody whom the
//! user blocks. What the body cannot do itself, the socket's actor is called for: to read what was missed, to ask for
//! somebody's presence, to end a session that is too slow.
//!
//! Invariants: of each room a session is sent the messages in the order of their sequence, each once, without a hole;
//! while what was missed is read, nothing of that room is sent but by the actor that reads it. Body and actor take
//! turns on one thread (see [`web_socket`](crate::http::web_socket)), so each finds here what the other has sent.

use super::super::wire;
use super::tracks::{Place, Tracks};
use crate::actors::chat::audience::Outbox;
use crate::actors::chat::events::{Delivered, Event, Fate};
use crate::domain::chat::RoomId;
use crate::domain::ids::AccountId;
use crate::http::web_socket::{Next, Source, frame};
use crate::persistence::chat::friends::Friendship;
use bytes::Bytes;
use futures_util::Stream;
use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What the actor is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Messages of this room are missing.
    Read(RoomId),
    /// The user wants to know whether somebody is there, or does not any more.
    Watch(AccountId, bool),
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// Where events come from, once the session has begun.
    outbox: RefCell<Option<Rc<Outbox>>>,
    me: Cell<Option<AccountId>>,
    /// How far the session has got in its rooms.
    pub(super) tracks: RefCell<Tracks>,
    blocked: RefCell<HashSet<AccountId>>,
    /// At most one for each event that was sent since the actor had its last turn, or for each room.
    tasks: RefCell<VecDeque<Task>>,
    actor: RefCell<Option<Waker>>,
}

impl Hearing {
    /// From here on what is in the outbox is sent.
    pub(super) fn begin(&self, me: AccountId, outbox: Rc<Outbox>, blocked: HashSet<AccountId>) {
        self.me.set(Some(me));
        self.blocked.replace(blocked);
        self.outbox.replace(Some(outbox));
    }

    /// Whether the user does not want to read what this one writes.
    pub(super) fn is_hidden(&self, author: AccountId) -> bool {
        self.blocked.borrow().contains(&author)
    }

    fn call(&self, task: Option<Task>) {
        self.tasks.borrow_mut().extend(task);
        if let Some(actor) = self.actor.borrow_mut().take() {
            actor.wake();
        }
    }

    /// The frame of an event, unless it is not for this session, not now or not at all.
    fn hear(&self, delivered: &Delivered) -> Option<Bytes> {
        let hidden = delivered.by.is_some_and(|by| self.is_hidden(by));
        let mut tracks = self.tracks.borrow_mut();
        match (&delivered.event, delivered.room) {
            (Event::Message(message), Some(room)) => match tracks.written(room, message.sequence) {
                Place::Next if hidden => return Some(frame::text(&wire::told("message", room, message, true))),
                Place::Next => {}
                Place::Known => return None,
                Place::Missing => {
                    self.call(Some(Task::Read(room)));
                    return None;
                }
            },
            (Event::Changed(message), Some(room)) => {
                // What was not sent yet will come as it is now.
                if !tracks.was_sent(room, message.sequence) {
                    return None;
                }
                if hidden {
                    return Some(frame::text(&wire::told("changed", room, message, true)));
                }
            }
            (Event::Head(last), Some(room)) => {
                if tracks.head(room, *last) {
                    self.call(Some(Task::Read(room)));
                }
                return None;
            }
            (Event::Member(who, Fate::Left | Fate::Kicked | Fate::Banned), Some(room))
                if Some(*who) == self.me.get() =>
            {
                tracks.leave(room);
            }
            (Event::Room(summary), Some(room)) => tracks.join(room, summary.last),
            (Event::Friend(other, status, blocks), Some(room)) => {
                tracks.join(room, Default::default());
                let mut blocked = self.blocked.borrow_mut();
                if *blocks {
                    blocked.insert(*other);
                } else {
                    blocked.remove(other);
                }
                self.call(Some(Task::Watch(*other, *status == Friendship::Friends && !blocks)));
            }
            (Event::Typing(_), _) if hidden => return None,
            _ => {}
        }
        Some(wire::event(delivered))
    }
}

/// What a session hears, as frames.
pub(super) struct Heard(pub(super) Rc<Hearing>);

impl Source for Heard {
    fn next(&mut self) -> Next {
        let Heard(hearing) = self;
        let outbox = hearing.outbox.borrow();
        let Some(outbox) = outbox.as_ref() else { return Next::Nothing };
        while let Some(event) = outbox.take() {
            if let Some(frame) = hearing.hear(&event) {
                return Next::Frames(frame);
            }
        }
        if outbox.is_slow() {
            hearing.call(None);
        }
        Next::Nothing
    }

    fn wait(&self, waker: &Waker) {
        if let Some(outbox) = self.0.outbox.borrow().as_ref() {
            outbox.wait(waker);
        }
    }
}

/// What the actor is called for; it ends once the session is too slow.
pub(super) struct Tasks(pub(super) Rc<Hearing>);

impl Stream for Tasks {
    type Item = Task;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Task>> {
        let Tasks(hearing) = &*self;
        if hearing.outbox.borrow().as_ref().is_some_and(|outbox| outbox.is_slow()) {
            return Poll::Ready(None);
        }
        if let Some(task) = hearing.tasks.borrow_mut().pop_front() {
            return Poll::Ready(Some(task));
        }
        hearing.actor.replace(Some(context.waker().clone()));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chat::{Message, MessageKind, MessageSequence};
    use crate::domain::ids::Sequence;
    use crate::domain::time::Timestamp;
    use crate::http::web_socket::Body;
    use bytes::BytesMut;
    use futures_util::{FutureExt, StreamExt};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use serde_json::Value;
    use std::sync::Arc;

    fn rooms() -> [RoomId; 2] {
        [1 << 30, 1 << 31].map(RoomId::made)
    }

    const AUTHORS: [AccountId; 2] = [AccountId(100), AccountId(101)];

    fn message(sequence: u64, author: AccountId) -> Arc<Message> {
        Arc::new(Message {
            sequence: MessageSequence(sequence),
            author,
            client_id: None,
            kind: MessageKind::Text,
            at: Timestamp(1),
            text: "words".into(),
            reply_to: None,
            mentions: vec![],
            attachments: vec![],
            edited_at: None,
            deleted: None,
            reactions: Default::default(),
            changed: Sequence(1),
        })
    }

    /// What the rooms contain, and how much of it the tables have.
    #[derive(Default)]
    struct Venue {
        rooms: [Vec<Arc<Message>>; 2],
        rows: [usize; 2],
    }

    impl Venue {
        fn page(&self, room: usize, after: MessageSequence) -> &[Arc<Message>] {
            let read = &self.rooms[room][..self.rows[room]];
            read.get(after.0 as usize..).map_or(&[], |rest| &rest[..rest.len().min(3)])
        }
    }

    /// Reads what is missing, some turns after it was called for it, and says something of its own now and then.
    struct Reader {
        hearing: Rc<Hearing>,
        venue: Rc<RefCell<Venue>>,
        tasks: Tasks,
        reading: VecDeque<(RoomId, MessageSequence)>,
        turns: u64,
        random: StdRng,
    }

    impl Stream for Reader {
        type Item = Result<Bytes, actix_web::Error>;

        fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            let Reader { hearing, venue, tasks, reading, turns, random } = &mut *self;
            let mut said = BytesMut::new();
            while let Poll::Ready(Some(task)) = tasks.poll_next_unpin(context) {
                if let Task::Read(room) = task {
                    reading.extend(hearing.tracks.borrow().read_after(room).map(|after| (room, after)));
                }
            }
            *turns += 1;
            if random.random_bool(0.2) {
                frame::put_text(&mut said, &format!(r#"{{"type":"turn","number":{turns}}}"#));
            }
            if random.random_bool(0.5)
                && let Some((room, after)) = reading.pop_front()
            {
                let venue = venue.borrow();
                let page = venue.page(rooms().iter().position(|other| *other == room).unwrap(), after);
                let sent = page.last().map_or(after, |last| last.sequence);
                let mut tracks = hearing.tracks.borrow_mut();
                if page.is_empty() || tracks.read(room, after, sent) {
                    for one in page {
                        frame::put_text(&mut said, &wire::told("message", room, one, hearing.is_hidden(one.author)));
                    }
                    if tracks.go_on(room, sent) {
                        reading.push_back((room, sent));
                    }
                }
            }
            // It comes back by itself as long as something is being read.
            if !reading.is_empty() {
                context.waker().wake_by_ref();
            }
            if said.is_empty() { Poll::Pending } else { Poll::Ready(Some(Ok(said.freeze()))) }
        }
    }

    /// The texts of these frames, which are none longer than 64 KiB.
    fn texts(mut frames: &[u8]) -> Vec<Value> {
        let mut texts = Vec::new();
        while let [0x81, length, rest @ ..] = frames {
            let (length, rest) = match (*length, rest) {
                (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
                (length, rest) => (usize::from(length), rest),
            };
            texts.push(serde_json::from_slice(&rest[..length]).unwrap());
            frames = &rest[length..];
        }
        assert!(frames.is_empty());
        texts
    }

    #[test]
    fn each_room_is_heard_in_order_and_without_a_hole_however_body_and_actor_take_turns() {
        let mut spoken = 0;
        for seed in 0..300 {
            println!("seed {seed}");
            let mut random = StdRng::seed_from_u64(seed);
            let (hearing, venue, outbox) = (Rc::<Hearing>::default(), Rc::<RefCell<Venue>>::default(), Rc::default());
            let _: &Rc<Outbox> = &outbox;
            let reader = Reader {
                hearing: hearing.clone(),
                venue: venue.clone(),
                tasks: Tasks(hearing.clone()),
                reading: VecDeque::new(),
                turns: 0,
                random: StdRng::seed_from_u64(seed + 1_000),
            };
            let mut body = Body::new(Heard(hearing.clone()), reader);
            hearing.begin(AccountId(1), outbox.clone(), HashSet::from([AUTHORS[1]]));
            for room in rooms() {
                assert!(!hearing.tracks.borrow_mut().begin(room, MessageSequence(0), MessageSequence(0)));
            }
            let mut heard = Vec::new();
            let lossy = random.random_bool(0.7);
            for _ in 0..200 {
                let room = random.random_range(0..2);
                match random.random_range(0..10) {
                    0..5 => {
                        let mut venue = venue.borrow_mut();
                        let sequence = venue.rooms[room].len() as u64 + 1;
                        let one = message(sequence, AUTHORS[random.random_range(0..2)]);
                        venue.rooms[room].push(one.clone());
                        // Some do not reach the session, as when a room was read anew.
                        if !lossy || random.random_bool(0.8) {
                            let event = Delivered::of(rooms()[room], Some(one.author), Event::Message(one));
                            let _ = outbox.put(&event);
                        }
                    }
                    5 => {
                        let last = MessageSequence(venue.borrow().rooms[room].len() as u64);
                        let _ = outbox.put(&Delivered::of(rooms()[room], None, Event::Head(last)));
                    }
                    6 => {
                        let mut venue = venue.borrow_mut();
                        venue.rows[room] = random.random_range(venue.rows[room]..=venue.rooms[room].len());
                    }
                    _ => {
                        if let Some(Some(Ok(frames))) = body.next().now_or_never() {
                            heard.extend(texts(&frames));
                        }
                    }
                }
            }
            for (room, id) in rooms().into_iter().enumerate() {
                let mut venue = venue.borrow_mut();
                venue.rows[room] = venue.rooms[room].len();
                let last = MessageSequence(venue.rooms[room].len() as u64);
                let _ = outbox.put(&Delivered::of(id, None, Event::Head(last)));
            }
            // A reader that waits its turn has nothing to say at times.
            for _ in 0..2_000 {
                if let Some(Some(Ok(frames))) = body.next().now_or_never() {
                    heard.extend(texts(&frames));
                }
            }
            for (room, id) in rooms().into_iter().enumerate() {
                let of_room = heard.iter().filter(|one| one["room"] == id.to_string());
                let expected: Vec<_> =
                    venue.borrow().rooms[room].iter().map(|one| (one.sequence.0, one.author == AUTHORS[1])).collect();
                let got: Vec<_> = of_room
                    .map(|one| (one["message"]["sequence"].as_u64().unwrap(), one["message"].get("text").is_none()))
                    .collect();
                assert_eq!(got, expected);
            }
            let turns: Vec<_> = heard.iter().filter_map(|one| one["number"].as_u64()).collect();
            assert!(turns.is_sorted());
            spoken += turns.len();
        }
        // One whose session misses nothing may never be called.
        assert!(spoken > 0);
    }

    #[test]
    fn a_session_that_left_is_not_sent_what_was_being_read_for_it() {
        let [room, _] = rooms();
        let mut tracks = Tracks::default();
        assert!(tracks.begin(room, MessageSequence(3), MessageSequence(9)));
        let after = tracks.read_after(room).unwrap();
        assert_eq!(tracks.written(room, MessageSequence(10)), Place::Known);
        tracks.leave(room);
        assert!(!tracks.read(room, after, MessageSequence(9)));
        tracks.join(room, MessageSequence(12));
        assert!(!tracks.read(room, after, MessageSequence(9)) && !tracks.go_on(room, after));
        assert_eq!(tracks.written(room, MessageSequence(13)), Place::Next);
        assert_eq!(tracks.written(room, MessageSequence(13)), Place::Known);
        assert_eq!(tracks.written(room, MessageSequence(15)), Place::Missing);
        assert!(!tracks.was_sent(room, MessageSequence(14)));
    }
}
