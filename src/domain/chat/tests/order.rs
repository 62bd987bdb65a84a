//! Who is kept out, what stays of it, and what goes on in a closed room.

use super::*;

#[test]
fn whoever_is_banned_while_muted_or_slow_is_so_still_when_let_in_again() {
    let mut world = World::public();
    let slow = |s| Command::Configure { name: None, kind: None, topic: None, description: None, slow_mode_s: Some(s) };
    let join = || Command::Join(JoinBy::Itself);
    for who in [BOB, EVE] {
        world.run(who, join()).unwrap();
    }
    let ban = |world: &mut World, who: AccountId| {
        let before = world.room.prelude(&Command::Ban(who, true)).unwrap();
        assert_eq!(world.run(ADA, before), Ok(Effect::Kicked(who)));
        assert_eq!(world.room.prelude(&Command::Ban(who, true)), None, "it is out already");
        assert_eq!(world.run(ADA, Command::Ban(who, true)), Ok(Effect::Banned(who)));
        assert_eq!(world.room.prelude(&Command::Ban(who, false)), None);
        world.run(ADA, Command::Ban(who, false)).unwrap();
        world.run(who, join()).unwrap();
    };
    ban(&mut world, BOB);
    assert!(world.run(BOB, send("x")).is_ok());
    let until = world.now + 100 * SECOND;
    world.run(ADA, Command::Mute(BOB, Some(until))).unwrap();
    ban(&mut world, BOB);
    assert_eq!(world.run(BOB, send("x")), Err(ChatReject::Muted));
    world.run(ADA, slow(60)).unwrap();
    assert!(world.run(EVE, send("one")).is_ok());
    ban(&mut world, EVE);
    assert_eq!(world.run(EVE, send("two")), Err(ChatReject::SlowMode));
    // The mute is on its way when the ban is admitted.
    world.run(ADA, Command::Mute(BOB, None)).unwrap();
    let before = world.room.prelude(&Command::Ban(BOB, true)).unwrap();
    world.run(ADA, Command::Mute(BOB, Some(until))).unwrap();
    for command in [before, Command::Ban(BOB, true), Command::Ban(BOB, false)] {
        world.run(ADA, command).unwrap();
    }
    world.run(BOB, join()).unwrap();
    assert_eq!(world.run(BOB, send("x")), Err(ChatReject::Muted));
    // An older log has the ban alone, and what that did stays so.
    world.run(ADA, Command::Ban(BOB, true)).unwrap();
    world.run(ADA, Command::Ban(BOB, false)).unwrap();
    world.run(BOB, join()).unwrap();
    assert!(world.run(BOB, send("x")).is_ok());
}

#[test]
fn order_is_kept_in_a_closed_room() {
    let mut world = World::public();
    for who in [BOB, EVE] {
        world.run(who, Command::Join(JoinBy::Itself)).unwrap();
    }
    for who in [BOB, BOB, EVE, EVE, ADA] {
        world.run(who, send("x")).unwrap();
    }
    let delete = |sequence| Command::Delete(MessageSequence(sequence));
    // Admitted before the room was closed, and after that in the log: older ones have it so.
    let early = world.room.entry(Ticket(0), BOB, false, delete(1));
    world.run(ADA, Command::Close).unwrap();
    let subject = world.messages.get_mut(&1);
    assert_eq!(world.room.apply(Sequence(1_000), world.now, &early, subject), Err(ChatReject::RoomClosed));

    assert_eq!(world.run(BOB, delete(1)), Ok(Effect::Deleted(MessageSequence(1))));
    assert_eq!(world.run(BOB, delete(3)), Err(ChatReject::NotAllowed));
    assert_eq!(world.run(ADA, delete(3)), Ok(Effect::Deleted(MessageSequence(3))));
    assert_eq!(world.run_as(AccountId(99), true, delete(5)), Ok(Effect::Deleted(MessageSequence(5))));
    assert_eq!(world.run(AccountId(99), delete(4)), Err(ChatReject::NotAllowed));
    assert_eq!(world.run(ADA, Command::Kick(EVE)), Ok(Effect::Kicked(EVE)));
    assert_eq!(world.run(ADA, Command::Ban(BOB, true)), Ok(Effect::Banned(BOB)));
    let message = MessageSequence(4);
    for command in [
        send("late"),
        Command::Edit { message, text: "late".into(), mentions: vec![] },
        Command::React { message, emoji: "🚀".into(), on: true },
        Command::Report { message, reason: "spam".into() },
        Command::Mute(ADA, None),
        Command::Close,
    ] {
        assert_eq!(world.run(ADA, command.clone()), Err(ChatReject::RoomClosed), "{command:?}");
    }
}

#[test]
fn messages_are_looked_up_only_for_those_who_may_do_something_with_them() {
    let mut world = World::public();
    world.run(BOB, Command::Join(JoinBy::Itself)).unwrap();
    world.run(ADA, send("x")).unwrap();
    let message = MessageSequence(1);
    let about = [
        Command::Edit { message, text: "y".into(), mentions: vec![] },
        Command::Delete(message),
        Command::React { message, emoji: "🚀".into(), on: true },
        Command::Report { message, reason: "spam".into() },
    ];
    let asked = |world: &World, who, warden| {
        let one = |command: &Command| world.room.subject_of(who, warden, command).is_some();
        about.each_ref().map(one)
    };
    assert_eq!(asked(&world, BOB, false), [true; 4]);
    assert_eq!(asked(&world, EVE, false), [false; 4]);
    assert_eq!(asked(&world, EVE, true), [false, true, false, false]);
    for who in [BOB, EVE] {
        assert_eq!(world.room.subject_of(who, true, &Command::Delete(MessageSequence(2))), None);
        assert_eq!(world.room.subject_of(who, true, &send("y")), None);
    }
    // What is refused without the message is refused with it too.
    for command in about.clone() {
        let entry = world.room.entry(Ticket(0), EVE, false, command);
        let known = world.messages.get(&1);
        assert_eq!(world.room.check(world.now, &entry, None), world.room.check(world.now, &entry, known));
    }
    world.run(ADA, Command::Close).unwrap();
    assert_eq!(asked(&world, BOB, false), [false, true, false, false]);
}
