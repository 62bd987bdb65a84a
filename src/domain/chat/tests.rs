mod order;

use super::rights::may;
use super::room::Brief;
use super::*;
use crate::domain::codec::{Coded, Entries};
use crate::domain::ids::{AccountId, MarketId, Sequence, Ticket};
use crate::domain::time::{SECOND, Timestamp};
use std::collections::BTreeMap;

const ADA: AccountId = AccountId(10);
const BOB: AccountId = AccountId(11);
const EVE: AccountId = AccountId(12);

/// A room with all its messages, as a database would have them.
struct World {
    room: Room,
    messages: BTreeMap<u64, Message>,
    sequence: Sequence,
    now: Timestamp,
}

impl World {
    fn new(id: RoomId) -> World {
        World {
            room: Room::blank(id),
            messages: BTreeMap::new(),
            sequence: Sequence(0),
            now: Timestamp(1_000 * SECOND),
        }
    }

    fn public() -> World {
        let mut world = World::new(RoomId::made(1 << 30));
        world.run(ADA, create(RoomKind::Public)).unwrap();
        world
    }

    fn run(&mut self, by: AccountId, command: Command) -> Result<Effect, ChatReject> {
        self.run_as(by, false, command)
    }

    fn run_as(&mut self, by: AccountId, warden: bool, command: Command) -> Result<Effect, ChatReject> {
        self.sequence = self.sequence.next();
        self.now = self.now + 1;
        let subject = command.subject().and_then(|message| self.messages.get_mut(&message.0));
        let entry = self.room.entry(Ticket(0), by, warden, command);
        let before = (self.room.state.clone(), self.room.members.clone(), self.room.last);
        let effect = self.room.apply(self.sequence, self.now, &entry, subject);
        if matches!(effect, Err(_) | Ok(Effect::Unchanged | Effect::Repeated(_))) {
            assert_eq!(before, (self.room.state.clone(), self.room.members.clone(), self.room.last));
        }
        if let Ok(Effect::Sent(message)) = &effect {
            assert_eq!(message.sequence, before.2.next());
            self.messages.insert(message.sequence.0, (**message).clone());
        }
        effect
    }
}

fn create(kind: RoomKind) -> Command {
    Command::Create { kind, name: "Lounge".into(), topic: String::new(), description: String::new() }
}

fn send(text: &str) -> Command {
    send_as(None, text)
}

fn send_as(id: Option<u128>, text: &str) -> Command {
    let client_id = id.map(ClientMessageId);
    Command::Send { client_id, text: text.into(), reply_to: None, mentions: vec![], attachments: vec![] }
}

#[test]
fn the_table_of_roles_and_actions() {
    // One letter for each action, in the order of Action::ALL; a dot is a no.
    //  r read, s send, t react, e edit own, d delete own, D delete other, ! report, j join, i join invited, l leave,
    //  I invite, T topic, C configure, R roles, K kick, M mute, B ban, X close, ? resolve, A announce
    let letters = "rsted".chars().chain("D!jilITCRKMBX?A".chars()).collect::<Vec<_>>();
    let table = [
        (RoomKind::Public, Standing::Banned, ""),
        (RoomKind::Public, Standing::Outsider, "ji"),
        (RoomKind::Public, Standing::Member(Role::Member), "rsted!lI"),
        (RoomKind::Public, Standing::Member(Role::Moderator), "rstedD!lITKMB?"),
        (RoomKind::Public, Standing::Member(Role::Owner), "rstedD!lITCRKMBX?"),
        (RoomKind::Public, Standing::Warden, "rDjiTCKMBX?"),
        (RoomKind::Public, Standing::Venue, "TCA"),
        (RoomKind::Private, Standing::Banned, ""),
        (RoomKind::Private, Standing::Outsider, "i"),
        (RoomKind::Private, Standing::Member(Role::Member), "rsted!l"),
        (RoomKind::Private, Standing::Member(Role::Moderator), "rstedD!lITKMB?"),
        (RoomKind::Private, Standing::Member(Role::Owner), "rstedD!lITCRKMBX?"),
        (RoomKind::Private, Standing::Warden, "DiKMBX?"),
        (RoomKind::Private, Standing::Venue, "TCA"),
        (RoomKind::Direct, Standing::Banned, ""),
        (RoomKind::Direct, Standing::Outsider, ""),
        (RoomKind::Direct, Standing::Member(Role::Member), "rsted!"),
        (RoomKind::Direct, Standing::Member(Role::Moderator), "rsted!"),
        (RoomKind::Direct, Standing::Member(Role::Owner), "rsted!"),
        (RoomKind::Direct, Standing::Warden, "D?"),
        (RoomKind::Direct, Standing::Venue, ""),
    ];
    assert_eq!(table.len(), RoomKind::ALL.len() * Standing::ALL.len());
    for (kind, standing, allowed) in table {
        for (action, letter) in Action::ALL.into_iter().zip(&letters) {
            assert_eq!(may(kind, standing, action), allowed.contains(*letter), "{kind:?} {standing:?} {action:?}");
        }
    }
}

#[test]
fn a_client_id_gives_one_message_even_after_its_sender_was_removed() {
    let mut world = World::public();
    world.run(BOB, Command::Join(JoinBy::Itself)).unwrap();
    let first = world.run(BOB, send_as(Some(7), "hello"));
    assert!(matches!(first, Ok(Effect::Sent(_))));
    assert_eq!(world.run(BOB, send_as(Some(7), "hello")), Ok(Effect::Repeated(MessageSequence(1))));
    // Another sender's id is another message's.
    assert!(matches!(world.run(ADA, send_as(Some(7), "hi")), Ok(Effect::Sent(_))));
    world.run(ADA, Command::Kick(BOB)).unwrap();
    assert_eq!(world.run(BOB, send_as(Some(7), "hello")), Ok(Effect::Repeated(MessageSequence(1))));
    assert_eq!(world.run(BOB, send_as(Some(8), "hello")), Err(ChatReject::NotAllowed));
}

#[test]
fn moderation() {
    let mut world = World::public();
    for who in [BOB, EVE] {
        world.run(who, Command::Join(JoinBy::Itself)).unwrap();
    }
    assert_eq!(world.run(BOB, Command::Kick(EVE)), Err(ChatReject::NotAllowed));
    world.run(ADA, Command::SetRole(BOB, Role::Moderator)).unwrap();
    assert_eq!(world.run(BOB, Command::Kick(ADA)), Err(ChatReject::RankTooHigh));
    let until = world.now + SECOND;
    world.run(BOB, Command::Mute(EVE, Some(until))).unwrap();
    assert_eq!(world.run(EVE, send("x")), Err(ChatReject::Muted));
    world.now = until;
    assert!(world.run(EVE, send("x")).is_ok());
    world.run(BOB, Command::Delete(MessageSequence(1))).unwrap();
    let deleted = &world.messages[&1];
    assert_eq!((deleted.text.as_str(), deleted.is_deleted()), ("", true));
    assert_eq!(world.run(BOB, Command::Delete(MessageSequence(1))), Err(ChatReject::UnknownMessage));
    world.run(BOB, Command::Ban(EVE, true)).unwrap();
    assert_eq!(world.run(EVE, Command::Join(JoinBy::Itself)), Err(ChatReject::Banned));
    assert_eq!(world.run(ADA, Command::Leave), Err(ChatReject::OwnerStays));
    world.run(ADA, Command::SetRole(BOB, Role::Owner)).unwrap();
    assert_eq!(world.room.members[&ADA].role, Role::Moderator);
    assert_eq!(world.run(ADA, Command::Leave), Ok(Effect::Left(ADA)));
    let slow = |s| Command::Configure { name: None, kind: None, topic: None, description: None, slow_mode_s: Some(s) };
    world.run(BOB, slow(60)).unwrap();
    world.run(BOB, Command::Ban(EVE, false)).unwrap();
    world.run(EVE, Command::Join(JoinBy::Itself)).unwrap();
    assert!(world.run(EVE, send("one")).is_ok());
    assert_eq!(world.run(EVE, send("two")), Err(ChatReject::SlowMode));
    assert!(world.run(BOB, send("owners")).is_ok() && world.run(BOB, send("are free")).is_ok());
    // Those who keep order on the platform stand above an owner, and need not be members.
    let warden = AccountId(99);
    assert_eq!(world.run(warden, Command::Kick(BOB)), Err(ChatReject::NotAllowed));
    assert_eq!(world.run_as(warden, true, Command::Kick(BOB)), Ok(Effect::Kicked(BOB)));
    world.run_as(warden, true, Command::Close).unwrap();
    assert_eq!(world.run(EVE, send("late")), Err(ChatReject::RoomClosed));
}

#[test]
fn whoever_leaves_and_comes_again_is_as_muted_and_as_slow_as_before() {
    let mut world = World::public();
    let slow = |s| Command::Configure { name: None, kind: None, topic: None, description: None, slow_mode_s: Some(s) };
    let join = || Command::Join(JoinBy::Itself);
    for who in [BOB, EVE] {
        world.run(who, join()).unwrap();
    }
    let until = world.now + 100 * SECOND;
    world.run(ADA, Command::Mute(BOB, Some(until))).unwrap();
    world.run(BOB, Command::Leave).unwrap();
    // It is stored with the room, and rooms that older versions stored have none.
    let stored = serde_json::to_value(&world.room.state).unwrap();
    assert_eq!(serde_json::from_value::<RoomState>(stored.clone()).unwrap(), world.room.state);
    let mut older = stored;
    older.as_object_mut().unwrap().remove("set_aside");
    assert!(serde_json::from_value::<RoomState>(older).unwrap().set_aside.is_empty());
    world.run(BOB, join()).unwrap();
    assert!(world.room.state.set_aside.is_empty());
    assert_eq!(world.run(BOB, send("x")), Err(ChatReject::Muted));
    world.run(ADA, Command::Kick(BOB)).unwrap();
    world.run(BOB, join()).unwrap();
    assert_eq!(world.run(BOB, send("x")), Err(ChatReject::Muted));
    world.run(ADA, Command::Mute(BOB, None)).unwrap();
    world.run(BOB, Command::Leave).unwrap();
    world.run(BOB, join()).unwrap();
    assert!(world.run(BOB, send("x")).is_ok());

    world.run(ADA, slow(60)).unwrap();
    assert!(world.run(EVE, send("one")).is_ok());
    world.run(EVE, Command::Leave).unwrap();
    world.run(EVE, join()).unwrap();
    assert_eq!(world.run(EVE, send("two")), Err(ChatReject::SlowMode));
    world.run(EVE, Command::Leave).unwrap();
    world.now = world.now + 60 * SECOND;
    // What has run out is forgotten when the next one goes.
    world.run(BOB, Command::Leave).unwrap();
    assert!(world.room.state.set_aside.is_empty());
    world.run(EVE, join()).unwrap();
    assert!(world.run(EVE, send("two")).is_ok());
}

#[test]
fn open_reports_are_bounded() {
    let mut world = World::public();
    world.run(ADA, send("x")).unwrap();
    let report = || Command::Report { message: MessageSequence(1), reason: "spam".into() };
    for number in 1..=MAX_OPEN_REPORTS as u64 {
        assert_eq!(world.run(ADA, report()), Ok(Effect::Reported(number)));
    }
    assert_eq!(world.run(ADA, report()), Err(ChatReject::TooMany));
    world.run(ADA, Command::Resolve { report: 7, note: String::new() }).unwrap();
    assert!(world.run(ADA, report()).is_ok());
}

#[test]
fn a_nul_is_found_in_every_text() {
    let configure = |name: Option<&str>, topic: Option<&str>, description: Option<&str>| {
        let [name, topic, description] = [name, topic, description].map(|text| text.map(str::to_owned));
        Command::Configure { name, kind: None, topic, description, slow_mode_s: None }
    };
    let make = |[name, topic, description]: [&str; 3]| Command::Create {
        kind: RoomKind::Public,
        name: name.into(),
        topic: topic.into(),
        description: description.into(),
    };
    let message = MessageSequence(1);
    for command in [
        make(["\0", "", ""]),
        make(["", "\0", ""]),
        make(["", "", "\0"]),
        configure(Some("\0"), None, None),
        configure(None, Some("\0"), None),
        configure(None, None, Some("\0")),
        send("a\0b"),
        Command::Edit { message, text: "\0".into(), mentions: vec![] },
        Command::React { message, emoji: "\0".into(), on: true },
        Command::Report { message, reason: "\0".into() },
        Command::Resolve { report: 1, note: "\0".into() },
    ] {
        assert!(command.has_nul(), "{command:?}");
    }
    assert!(samples().iter().all(|entry| !entry.command.has_nul()));
    // Older logs have such messages, and what they did stays so.
    assert!(World::public().run(ADA, send("a\0b")).is_ok());
}

#[test]
fn private_rooms_are_unknown_to_outsiders_and_entered_by_invitation() {
    let mut world = World::new(RoomId::made(1 << 31));
    assert_eq!(world.run(BOB, send("x")), Err(ChatReject::UnknownRoom));
    world.run(ADA, create(RoomKind::Private)).unwrap();
    let code = InviteCode(5);
    for command in [send("x"), Command::Join(JoinBy::Itself), Command::Leave, Command::Kick(ADA), Command::Close] {
        assert_eq!(world.run(BOB, command.clone()), Err(ChatReject::UnknownRoom), "{command:?}");
    }
    assert_eq!(world.run(BOB, Command::Join(JoinBy::Invite(code))), Err(ChatReject::BadInvite));
    world.run(ADA, Command::Invite { code, expires_at: None, uses: Some(1) }).unwrap();
    world.run(BOB, Command::Join(JoinBy::Invite(code))).unwrap();
    assert_eq!(world.run(EVE, Command::Join(JoinBy::Invite(code))), Err(ChatReject::BadInvite));
    let expires_at = Some(world.now + SECOND);
    world.run(ADA, Command::Invite { code, expires_at, uses: None }).unwrap();
    world.now = world.now + SECOND;
    assert_eq!(world.run(EVE, Command::Join(JoinBy::Invite(code))), Err(ChatReject::BadInvite));
}

#[test]
fn friends_write_each_other_and_the_blocked_do_not() {
    let mut world = World::new(RoomId::direct(ADA, BOB).unwrap());
    assert_eq!(world.run(ADA, send("x")), Err(ChatReject::UnknownRoom));
    assert_eq!(world.run(EVE, Command::Friend(FriendStep::Ask)), Err(ChatReject::UnknownRoom));
    world.run(ADA, Command::Friend(FriendStep::Ask)).unwrap();
    assert_eq!(world.run(ADA, send("x")), Err(ChatReject::NotFriends));
    assert_eq!(world.run(ADA, Command::Friend(FriendStep::Ask)), Err(ChatReject::AlreadyFriends));
    assert_eq!(world.run(ADA, Command::Friend(FriendStep::Accept)), Err(ChatReject::NoRequest));
    world.run(BOB, Command::Friend(FriendStep::Accept)).unwrap();
    assert!(world.run(ADA, send("hello")).is_ok());
    assert_eq!(world.run(EVE, Command::Read(MessageSequence(1))), Err(ChatReject::UnknownRoom));
    world.run(BOB, Command::Friend(FriendStep::Block)).unwrap();
    assert_eq!(world.run(ADA, send("x")), Err(ChatReject::Blocked));
    assert_eq!(world.run(BOB, send("x")), Err(ChatReject::Blocked));
    assert_eq!(world.run(ADA, Command::Friend(FriendStep::Ask)), Err(ChatReject::Blocked));
    world.run(BOB, Command::Friend(FriendStep::Unblock)).unwrap();
    world.run(BOB, Command::Friend(FriendStep::Ask)).unwrap();
    // Asking somebody who has asked is accepting.
    world.run(ADA, Command::Friend(FriendStep::Ask)).unwrap();
    assert!(world.run(BOB, send("x")).is_ok());
    world.run(ADA, Command::Friend(FriendStep::Remove)).unwrap();
    assert_eq!(world.run(BOB, send("x")), Err(ChatReject::NotFriends));
}

#[test]
fn reactions_and_edits_are_for_those_who_may() {
    let mut world = World::public();
    world.run(BOB, Command::Join(JoinBy::Itself)).unwrap();
    world.run(BOB, send("one")).unwrap();
    let message = MessageSequence(1);
    let react = |on| Command::React { message, emoji: "🚀".into(), on };
    assert_eq!(world.run(EVE, react(true)), Err(ChatReject::NotAllowed));
    assert_eq!(world.run(ADA, react(true)), Ok(Effect::Reacted(message)));
    assert_eq!(world.run(ADA, react(true)), Ok(Effect::Unchanged));
    assert_eq!(world.run(ADA, react(false)), Ok(Effect::Reacted(message)));
    assert!(world.messages[&1].reactions.is_empty());
    for bad in ["", "ok", "a🚀", " ", "🚀 🚀"] {
        let command = Command::React { message, emoji: bad.into(), on: true };
        assert_eq!(world.run(ADA, command), Err(ChatReject::Invalid), "{bad:?}");
    }
    let edit = |text: &str| Command::Edit { message, text: text.into(), mentions: vec![ADA, EVE, ADA] };
    assert_eq!(world.run(ADA, edit("hers")), Err(ChatReject::NotYours));
    assert_eq!(world.run(BOB, edit(" ")), Err(ChatReject::Empty));
    world.run(BOB, edit("two")).unwrap();
    assert_eq!((world.messages[&1].text.as_str(), &world.messages[&1].mentions), ("two", &vec![ADA]));
}

/// As on a standby, which reads an older message from tables that have come further than its room.
#[test]
fn a_message_that_was_read_later_than_its_room_is_not_changed_again() {
    let mut world = World::public();
    world.run(BOB, Command::Join(JoinBy::Itself)).unwrap();
    for text in ["one", "two"] {
        world.run(ADA, send(text)).unwrap();
    }
    let mut behind = world.room.clone();
    let message = MessageSequence(1);
    let mut entries = Vec::new();
    for (by, command) in [
        (ADA, Command::Edit { message, text: "uno".into(), mentions: vec![] }),
        (BOB, Command::React { message, emoji: "🚀".into(), on: true }),
        (BOB, Command::Report { message, reason: "spam".into() }),
        (ADA, Command::Delete(message)),
    ] {
        let effect = world.run(by, command.clone()).unwrap();
        let entry = behind.entry(Ticket(0), by, false, command);
        entries.push((world.sequence, world.now, entry, effect));
    }
    let read = &world.messages[&1];
    for (sequence, at, entry, effect) in entries {
        let mut subject = read.clone();
        assert_eq!(behind.apply(sequence, at, &entry, Some(&mut subject)), Ok(effect));
        assert_eq!(&subject, read);
    }
    assert_eq!((&behind.state, behind.unread(BOB)), (&world.room.state, world.room.unread(BOB)));
    assert_eq!(behind.unread(BOB).map(|unread| unread.counted), Some(1));
}

#[test]
fn the_room_of_a_market_belongs_to_the_venue() {
    let mut world = World::new(RoomId::market(MarketId(0)));
    assert_eq!(world.run(ADA, create(RoomKind::Public)), Err(ChatReject::Invalid));
    world.run(AccountId::HOUSE, create(RoomKind::Public)).unwrap();
    world.run(ADA, Command::Join(JoinBy::Itself)).unwrap();
    let Ok(Effect::Sent(message)) = world.run(AccountId::HOUSE, send("halted")) else { panic!("not sent") };
    assert_eq!(message.kind, MessageKind::System);
    assert!(world.run(ADA, send("why?")).is_ok());
}

/// xorshift, so that a failing seed can be named.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Unread = last sequence − read marker − own and deleted, over random histories of several people
/// (whose devices mark as read in any order), also for a room that was stored and restored.
#[test]
fn unread_is_what_is_after_the_marker_without_own_and_deleted() {
    let people = [ADA, BOB, EVE, AccountId(13)];
    for seed in 1..=60u64 {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::public();
        for who in &people[1..] {
            world.run(*who, Command::Join(JoinBy::Itself)).unwrap();
        }
        // Some histories are longer than what a room remembers.
        for _ in 0..if seed % 10 == 0 { 4_000 } else { 200 } {
            let who = people[rng.below(4) as usize];
            let some = MessageSequence(rng.below(world.room.last.0 + 1));
            // Whether a rule allows it does not matter here.
            let _ = match rng.below(10) {
                0 => world.run(who, Command::Read(some)),
                1 => world.run(who, Command::Delete(some)),
                2 => world.run(who, Command::Read(world.room.last)),
                3 if who != ADA => world.run(who, Command::Leave),
                4 if who != ADA => world.run(who, Command::Join(JoinBy::Itself)),
                _ => world.run(who, send("x")),
            };
        }
        let briefs = world.messages.values().map(|m| Brief {
            author: m.author,
            client_id: m.client_id,
            deleted: m.is_deleted(),
        });
        let World { room, messages, .. } = &world;
        let restored = Room::restore(room.id, room.state.clone(), room.members.clone(), room.last, briefs);
        for (who, member) in &room.members {
            let after = messages.range(member.read_to.0 + 1..);
            let (own, gone) = after.fold((0, 0), |(own, gone), (_, m)| match (m.author == *who, m.is_deleted()) {
                (true, _) => (own + 1, gone),
                (false, deleted) => (own, gone + u64::from(deleted)),
            });
            let expected = room.last.0 - member.read_to.0 - own - gone;
            for room in [room, &restored] {
                let unread = room.unread(*who).unwrap();
                let older = unread.before.map_or(0, |(after, to)| {
                    let older = messages.range(after.0 + 1..=to.0);
                    older.filter(|(_, m)| m.author != *who && !m.is_deleted()).count() as u64
                });
                assert_eq!(unread.counted + older, expected, "seed {seed}, {who:?}");
            }
        }
    }
}

fn samples() -> Vec<ChatEntry> {
    let room = RoomId::made(1 << 40 | 77);
    let image = Attachment { upload: 9, media_type: "image/png".into(), bytes: 1_234 };
    let configure = Command::Configure {
        name: Some("n".into()),
        kind: Some(RoomKind::Private),
        topic: None,
        description: Some("d".into()),
        slow_mode_s: Some(30),
    };
    let commands = [
        create(RoomKind::Public),
        configure,
        Command::Join(JoinBy::Itself),
        Command::Join(JoinBy::Invite(InviteCode(1 << 100))),
        Command::Leave,
        Command::Add(BOB),
        Command::SetRole(BOB, Role::Moderator),
        Command::Kick(BOB),
        Command::Mute(BOB, Some(Timestamp(1_700_000_000_000_000))),
        Command::Mute(BOB, None),
        Command::Ban(BOB, true),
        Command::Invite { code: InviteCode(3), expires_at: Some(Timestamp(5)), uses: Some(300) },
        Command::RevokeInvite(InviteCode(3)),
        Command::Send {
            client_id: Some(ClientMessageId(u128::MAX)),
            text: "héllo".into(),
            reply_to: Some(MessageSequence(300)),
            mentions: vec![ADA, BOB],
            attachments: vec![image],
        },
        send(""),
        Command::Edit { message: MessageSequence(1), text: "x".into(), mentions: vec![] },
        Command::Delete(MessageSequence(1)),
        Command::React { message: MessageSequence(1), emoji: "👍".into(), on: false },
        Command::Read(MessageSequence(128)),
        Command::Friend(FriendStep::Unblock),
        Command::Report { message: MessageSequence(1), reason: "spam".into() },
        Command::Resolve { report: 1, note: "done".into() },
        Command::Close,
    ];
    let after_close = [Command::Kick(BOB), Command::Ban(BOB, true), Command::Delete(MessageSequence(1))];
    let all = commands.map(|command| (command, false)).into_iter();
    let all = all.chain(after_close.map(|command| (command, true))).enumerate();
    let entry = |(index, (command, after_close))| ChatEntry {
        ticket: Ticket(index as u64),
        room,
        by: ADA,
        warden: index % 2 == 1,
        after_close,
        command,
    };
    all.map(entry).collect()
}

/// The bytes are a promise: a log that this version wrote must be readable for ever.
#[test]
fn entries_are_written_as_the_golden_file_says() {
    let golden = include_str!("../../../tests/golden/chat-entries-v1.hex");
    let hex = |entry: &ChatEntry| {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let written: Vec<String> = samples().iter().map(hex).collect();
    let expected: Vec<&str> = golden.lines().collect();
    assert_eq!(written, expected);
}

#[test]
fn what_is_encoded_is_decoded_and_nothing_shorter_is() {
    let mut payload = Vec::new();
    for entry in samples() {
        entry.encode(&mut payload);
        let mut one = Vec::new();
        entry.encode(&mut one);
        for end in 1..one.len() {
            assert!(Entries::<ChatEntry>::new(&one[..end]).next().unwrap().is_err(), "{entry:?} cut at {end}");
        }
    }
    let decoded: Result<Vec<ChatEntry>, _> = Entries::new(&payload).collect();
    assert_eq!(decoded.unwrap(), samples());
}
