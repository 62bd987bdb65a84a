//! Chat's tables: what the projection writes of random histories is what a naive model says, on both databases, also
//! when batches come again and the projection starts anew in between.

use agora::domain::batch::Batch;
use agora::domain::chat::{
    ChatEntry, ClientMessageId, Command, FriendStep, JoinBy, MessageSequence, RoomId, RoomKind, SHARDS,
};
use agora::domain::codec::Coded;
use agora::domain::ids::{AccountId, Epoch, Ticket};
use agora::domain::time::{SECOND, Timestamp};
use agora::persistence::chat::messages::{self, Page};
use agora::persistence::chat::projection::Projection;
use agora::persistence::chat::reports::{self, Report};
use agora::persistence::chat::{friends, people, rooms, search};
use agora::persistence::db::{Connection, Database};
use agora::persistence::log::{Committed, Position};
use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::dsl::sql;
use diesel::sql_types::{Integer, Text};
use diesel::{Connection as _, QueryResult, RunQueryDsl};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

const PEOPLE: [AccountId; 4] = [AccountId(101), AccountId(102), AccountId(103), AccountId(104)];
const WORDS: [&str; 8] = ["apple", "apricot", "banana", "Birne", "OR", "cherry", "née", "x1"];

struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Entries as batches of their streams, each in the log after the one before.
struct Log {
    numbers: [u64; SHARDS as usize],
    position: u64,
    now: Timestamp,
}

impl Log {
    fn new() -> Log {
        Log { numbers: [0; SHARDS as usize], position: 0, now: Timestamp(1_000 * SECOND) }
    }

    fn batch(&mut self, room: RoomId, entries: &[(AccountId, Command)]) -> Vec<Committed> {
        let number = self.numbers[usize::from(room.shard())];
        let mut payload = Vec::new();
        for (by, command) in entries {
            let (ticket, command) = (Ticket(0), command.clone());
            let entry = ChatEntry { ticket, room, by: *by, warden: false, after_close: false, command };
            entry.encode(&mut payload);
        }
        // The first batch of an epoch is empty.
        let first = (number == 0).then(|| (0, Vec::new()));
        self.numbers[usize::from(room.shard())] = number + 1 + u64::from(first.is_some());
        let all = first.into_iter().chain([(entries.len() as u32, payload)]).collect::<Vec<_>>();
        let mut committed = Vec::new();
        for (offset, (count, payload)) in all.into_iter().enumerate() {
            self.position += 1;
            self.now = self.now + 1;
            let batch = Batch {
                stream: room.stream(),
                epoch: Epoch { counter: 1, node: 1 },
                number: number + 1 + offset as u64,
                at: self.now,
                count,
                payload: payload.into(),
            };
            committed.push(Committed { position: Position(self.position), batch: Arc::new(batch) });
        }
        committed
    }
}

/// One message as the model has it.
struct Said {
    by: AccountId,
    text: Option<String>,
}

#[derive(Default)]
struct Model {
    messages: BTreeMap<RoomId, Vec<Said>>,
    read: BTreeMap<(RoomId, AccountId), u64>,
    ids: BTreeMap<(RoomId, AccountId, u128), u64>,
}

impl Model {
    /// What a rule would not allow is not asked for, so that everything here happens.
    fn random(&mut self, rng: &mut Rng, room: RoomId) -> (AccountId, Command) {
        let who = rng.one(&PEOPLE);
        let said = self.messages.entry(room).or_default();
        let last = said.len() as u64;
        let own = (0..said.len()).rev().find(|index| said[*index].by == who && said[*index].text.is_some());
        match (rng.below(8), own) {
            (0, Some(index)) => {
                said[index].text = None;
                (who, Command::Delete(MessageSequence(index as u64 + 1)))
            }
            (1, Some(index)) => {
                let text = format!("{} edited {}", rng.one(&WORDS), rng.one(&WORDS));
                said[index].text = Some(text.clone());
                (who, Command::Edit { message: MessageSequence(index as u64 + 1), text, mentions: vec![] })
            }
            (2 | 3, _) if last > 0 => {
                let to = 1 + rng.below(last);
                let marker = self.read.entry((room, who)).or_default();
                *marker = (*marker).max(to);
                (who, Command::Read(MessageSequence(to)))
            }
            (repeat, _) => {
                // Now and then the same id again: that is the same message, not another one.
                let id = u128::from(if repeat == 4 { rng.below(5) } else { rng.below(u64::MAX) });
                let [one, two, three] = [(); 3].map(|()| rng.one(&WORDS));
                let text = format!("{one}, {two}-{three}! see host.example/{one}_{two}");
                if let std::collections::btree_map::Entry::Vacant(place) = self.ids.entry((room, who, id)) {
                    place.insert(last + 1);
                    said.push(Said { by: who, text: Some(text.clone()) });
                }
                let client_id = Some(ClientMessageId(id));
                (who, Command::Send { client_id, text, reply_to: None, mentions: vec![], attachments: vec![] })
            }
        }
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase).filter(|word| !word.is_empty()).collect()
}

fn read<T>(database: &Database, query: impl FnOnce(&mut Connection) -> QueryResult<T>) -> T {
    database.read(query).unwrap()
}

pub fn random_histories_are_found_as_they_were(database: &Database) {
    let seed = std::env::var("AGORA_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(11);
    println!("AGORA_TEST_SEED={seed}");
    let mut rng = Rng(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1);
    let all = [1u64 << 30, (1 << 30) + 1, 1 << 40].map(RoomId::made);
    let (mut log, mut model) = (Log::new(), Model::default());
    let mut projection = Projection::open(database.clone()).unwrap();
    for room in all {
        let create = Command::Create {
            kind: RoomKind::Public,
            name: "Lounge".into(),
            topic: String::new(),
            description: String::new(),
        };
        let joins = PEOPLE[1..].iter().map(|who| (*who, Command::Join(JoinBy::Itself)));
        let batches = log.batch(room, &[(PEOPLE[0], create)].into_iter().chain(joins).collect::<Vec<_>>());
        projection.write(&batches).unwrap();
    }
    let mut before = Vec::new();
    for _ in 0..120 {
        let room = rng.one(&all);
        let entries: Vec<_> = (0..1 + rng.below(6)).map(|_| model.random(&mut rng, room)).collect();
        let batches = log.batch(room, &entries);
        match rng.below(10) {
            // A new process that begins where the database stands.
            0 => projection = Projection::open(database.clone()).unwrap(),
            // What was written already comes again, to a process that does not know.
            1 => {
                let stale = Projection::open(database.clone()).unwrap();
                projection.write(&batches).unwrap();
                projection = stale;
                projection.write(&batches).unwrap();
                before = batches;
                continue;
            }
            _ => {}
        }
        projection.write(&batches).unwrap();
        before = batches;
    }
    assert!(!before.is_empty());

    for (room, said) in &model.messages {
        let last = said.len() as u64;
        assert_eq!(read(database, |conn| rooms::last(conn, *room)), MessageSequence(last));
        let mut after = 0;
        while after < last {
            let page = read(database, |conn| messages::page(conn, *room, Page::After(MessageSequence(after)), 7));
            for message in &page {
                after += 1;
                let expected = &said[after as usize - 1];
                assert_eq!((message.sequence.0, message.author), (after, expected.by));
                assert_eq!(message.text, expected.text.clone().unwrap_or_default());
                assert_eq!(message.is_deleted(), expected.text.is_none());
            }
            assert!(!page.is_empty(), "a hole after {after}");
        }
        let back = read(database, |conn| messages::page(conn, *room, Page::Before(Some(MessageSequence(last))), 5));
        assert_eq!(back.first().map(|message| message.sequence.0), Some(last.saturating_sub(5).max(1)));
        assert_eq!(back.last().map(|message| message.sequence.0), Some(last - 1));
        for who in PEOPLE {
            // Last sequence − read marker − own and deleted.
            let marker = model.read.get(&(*room, who)).copied().unwrap_or_default();
            let rest = said.iter().skip(marker as usize);
            let not_counted = rest.filter(|one| one.by == who || one.text.is_none()).count() as u64;
            let mine = read(database, |conn| rooms::of(conn, who));
            let mine = mine.iter().find(|mine| mine.room.id == *room).unwrap();
            assert_eq!((mine.member.read_to.0, mine.unread), (marker, last - marker - not_counted), "{who:?}");
        }
    }
    // All together, and each by itself; the same small ids were used by several people and in several rooms.
    let ids = model.ids.iter().map(|((room, who, id), sequence)| (*who, ClientMessageId(*id), *room, *sequence));
    let ids: BTreeSet<_> = ids.map(|(who, id, room, sequence)| (who, id, room, MessageSequence(sequence))).collect();
    assert!(ids.len() > 32, "no more than are looked up at once");
    let sent: Vec<_> = ids.iter().map(|(who, id, ..)| (*who, *id)).collect();
    assert_eq!(read(database, |conn| messages::by_client_ids(conn, &sent)).into_iter().collect::<BTreeSet<_>>(), ids);
    for one in sent {
        let found = read(database, |conn| messages::by_client_ids(conn, &[one]));
        let expected = ids.iter().filter(|(who, id, ..)| (*who, *id) == one).copied().collect::<BTreeSet<_>>();
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    // Words as they are now, by their beginning, whatever their case; an operator of a query language is a word.
    for query in [
        "ap",
        "APPLE",
        "banana birne",
        "or",
        "edited",
        "che",
        "née",
        "nee",
        "x1",
        "exam",
        "https://host.example/x",
        "nothing",
        "\" ! *",
    ] {
        let wanted = words(query);
        let found = read(database, |conn| {
            let mine = rooms::ids_of(conn, PEOPLE[1])?;
            search::search(conn, query, &mine, None, 10_000)
        });
        let found: BTreeSet<(RoomId, u64)> = found.iter().map(|(_, room, m)| (*room, m.sequence.0)).collect();
        let mut expected = BTreeSet::new();
        for (room, said) in &model.messages {
            for (one, sequence) in said.iter().zip(1u64..) {
                let has = words(one.text.as_deref().unwrap_or_default());
                let fits = |word: &String| has.iter().any(|own| own.starts_with(word.as_str()));
                if !wanted.is_empty() && one.text.is_some() && wanted.iter().all(fits) {
                    expected.insert((*room, sequence));
                }
            }
        }
        assert_eq!(found, expected, "{query}");
    }
    let in_one = read(database, |conn| search::search(conn, "ap", &all[..1], None, 10_000));
    assert!(!in_one.is_empty() && in_one.iter().all(|(_, room, _)| *room == all[0]));
    assert!(read(database, |conn| rooms::ids_of(conn, AccountId(500))).is_empty());
    assert!(read(database, |conn| search::search(conn, "ap", &[], None, 10)).is_empty());
}

pub fn people_know_those_they_share_a_room_with(database: &Database) {
    let [ada, bob, eve, tom] = PEOPLE;
    let (mut log, mut projection) = (Log::new(), Projection::open(database.clone()).unwrap());
    let direct = RoomId::direct(ada, bob).unwrap();
    let steps = [(ada, Command::Friend(FriendStep::Ask)), (bob, Command::Friend(FriendStep::Accept))];
    projection.write(&log.batch(direct, &steps)).unwrap();
    let room = RoomId::made(1 << 41);
    let create = Command::Create {
        kind: RoomKind::Public,
        name: "Hall".into(),
        topic: String::new(),
        description: String::new(),
    };
    let entries = [(ada, create), (eve, Command::Join(JoinBy::Itself))];
    projection.write(&log.batch(room, &entries)).unwrap();
    // Found by a part of its name in upper or lower case; a sign of a pattern is a sign.
    let named = |text: &str| read(database, |conn| rooms::public(conn, text, 0, 10)).len();
    assert_eq!(["Hall", "hall", "AL", "", "H_ll", "%l", "x"].map(named), [1, 1, 1, 1, 0, 0, 0]);
    let known = |who: AccountId| read(database, |conn| rooms::neighbours(conn, who, &[bob, eve, tom]));
    // Friends are known for being that: a direct room begins with a question that nobody need answer.
    assert_eq!(known(ada), [eve].into());
    assert_eq!(known(tom), [].into());
    let friends = read(database, |conn| friends::of(conn, bob));
    assert_eq!((friends[0].other, friends[0].status), (ada, friends::Friendship::Friends));
    projection.write(&log.batch(room, &[(eve, Command::Leave)])).unwrap();
    assert_eq!(known(ada), [].into());
    // Who was seen last when, also of those who have chosen nothing.
    database.write(|conn| people::seen(conn, &[(tom, Timestamp(5))])).unwrap();
    database.write(|conn| people::seen(conn, &[(tom, Timestamp(9))])).unwrap();
    assert_eq!(read(database, |conn| people::get(conn, tom)).last_seen, Some(Timestamp(9)));
}

/// How the database would answer the statements that these queries make, in its own words.
fn plans(database: &Database, query: impl FnOnce(&mut Connection) -> QueryResult<()>) -> Vec<String> {
    read(database, |conn| {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event {
                heard.lock().unwrap().push(query.to_string());
            }
        });
        query(conn)?;
        conn.set_instrumentation(|_: InstrumentationEvent<'_>| ());
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        asked.iter().map(|statement| plan(conn, statement)).collect()
    })
}

fn plan(conn: &mut Connection, statement: &str) -> QueryResult<String> {
    // Some value or other stands for each that was given.
    let statement = statement.split(" -- binds").next().unwrap_or_default();
    let lines = match conn {
        Connection::Sqlite(inner) => {
            let explain = format!("EXPLAIN QUERY PLAN {}", statement.replace('?', "'101'"));
            let steps: Vec<(i32, i32, i32, String)> = sql::<(Integer, Integer, Integer, Text)>(&explain).load(inner)?;
            steps.into_iter().map(|(.., step)| step).collect()
        }
        Connection::Postgres(inner) => {
            let explain = format!("EXPLAIN {}", statement.replace("$1", "'{101}'").replace("$2", "'{101}'"));
            sql::<Text>(&explain).load::<String>(inner)?
        }
    };
    Ok(lines.join("\n"))
}

/// Every message with a client id is looked up so before it is admitted.
pub fn client_ids_are_looked_up_without_reading_the_whole_table(database: &Database) {
    // PostgreSQL reads small tables whole, which is quicker; it must know that this one is not small. SQLite goes by
    // the statement alone.
    let fill = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
        INSERT INTO chat_messages (room, sequence, author, client_id, system, at, body, details, changed)
        SELECT 1073741824, n, 100 + n % 50, 'id-' || n, 1 = 0, 1, 'x', '{}', 1 FROM numbers";
    database.write(|conn| conn.batch_execute(fill)).unwrap();
    if database.is_shared() {
        database.write(|conn| conn.batch_execute("ANALYZE chat_messages")).unwrap();
    }
    let plans = plans(database, |conn| {
        messages::by_client_ids(conn, &[(AccountId(101), ClientMessageId(1))]).map(|found| assert!(found.is_empty()))
    });
    assert_eq!(plans.len(), 1);
    for plan in plans {
        let looks = plan.contains("chat_messages_by_client_id") && plan.replace(' ', "").contains("(author=");
        assert!(looks && !plan.contains("SCAN") && !plan.contains("Seq Scan"), "{plan}");
    }
}

pub fn reports_are_paged_also_where_many_are_of_one_moment(database: &Database) {
    let [ada, bob, ..] = PEOPLE;
    let both = [RoomId::made(1 << 30), RoomId::made(1 << 31)];
    let report = |room, number: i64| Report {
        room,
        number: number as u64,
        message: MessageSequence(number as u64),
        author: ada,
        reporter: bob,
        reason: "spam".into(),
        at: Timestamp(number / 4),
        resolved: None,
    };
    let write = |conn: &mut Connection| {
        for (room, number) in both.into_iter().flat_map(|room| (1..=10).map(move |number| (room, number))) {
            reports::insert(conn, &report(room, number))?;
        }
        reports::resolve(conn, both[0], 3, Timestamp(9), ada, "done")
    };
    database.write(write).unwrap();
    for (open, count) in [(true, 19), (false, 20)] {
        let mut seen: Vec<(i64, RoomId, u64)> = Vec::new();
        loop {
            let before = seen.last().map(|(_, room, number)| (*room, *number));
            let page = read(database, |conn| reports::list(conn, open, before, 3)).unwrap();
            if page.is_empty() {
                break;
            }
            seen.extend(page.iter().map(|report| (report.at.0, report.room, report.number)));
        }
        assert_eq!(seen.len(), count);
        assert!(seen.is_sorted_by(|one, next| one > next), "{seen:?}");
    }
    assert!(read(database, |conn| reports::list(conn, true, Some((both[0], 99)), 3)).is_none());
    let open_of = |who, number| read(database, |conn| reports::open_of(conn, who, both[0], MessageSequence(number)));
    assert_eq!([open_of(bob, 3), open_of(bob, 4), open_of(ada, 4)], [(19, false), (19, true), (0, false)]);
}
