//! Keeping order: in closed rooms, by bans, with reports, and by those who keep it on the whole platform.

use crate::people::User;
use crate::server::{Client, Server, agora};
use serde_json::{Value, json};

/// The administrator as a user of chat.
fn admin(server: &Server, like: &User) -> User {
    User { http: Client::admin(server), id: String::new(), base: like.base.clone() }
}

#[test]
fn order_is_kept_in_a_closed_room() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let server = Server::start(data.path());
    let [mut ada, mut bob, mut eve] = ["ada", "bob", "eve"].map(|name| User::new(&server, name));
    let mut warden = admin(&server, &ada);
    let room = ada.room("public", "Hall");
    let at = format!("/rooms/{room}");
    for user in [&mut bob, &mut eve] {
        user.ok("POST", &format!("{at}/join"), Value::Null);
    }
    for text in ["one", "two", "three", "four"] {
        bob.say(&room, text);
    }
    ada.ok("DELETE", &at, Value::Null);

    let closed = (409, "room_closed".to_owned());
    let message = |sequence: u64| format!("{at}/messages/{sequence}");
    assert_eq!(bob.refused("POST", &format!("{at}/messages"), json!({"text": "late"})), closed);
    assert_eq!(bob.refused("PATCH", &message(1), json!({"text": "late"})), closed);
    assert_eq!(ada.refused("PATCH", &format!("{at}/members/{}", bob.id), json!({"mute_s": 60})), closed);
    bob.ok("DELETE", &message(1), Value::Null);
    ada.ok("DELETE", &message(2), Value::Null);
    assert_eq!(eve.refused("DELETE", &message(3), Value::Null), (403, "not_allowed".to_owned()));
    warden.ok("DELETE", &message(3), Value::Null);
    assert_eq!(bob.texts(&room), ["-", "-", "-", "four"]);
    ada.ok("DELETE", &format!("{at}/members/{}", eve.id), Value::Null);
    warden.ok("PUT", &format!("{at}/bans/{}", bob.id), Value::Null);
    for user in [&mut bob, &mut eve] {
        assert_eq!(user.refused("GET", &format!("{at}/messages"), Value::Null).1, "unknown_room");
    }
    assert_eq!(ada.texts(&room), ["-", "-", "-", "four"]);

    // Whoever reads the log comes to the same.
    drop(server);
    let verified = agora(&["verify"], data.path()).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn a_ban_does_not_end_a_mute() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let (mut ada, mut bob) = (User::new(&server, "ada"), User::new(&server, "bob"));
    let room = ada.room("public", "Hall");
    let at = format!("/rooms/{room}");
    let ban = format!("{at}/bans/{}", bob.id);
    bob.ok("POST", &format!("{at}/join"), Value::Null);
    ada.ok("PATCH", &format!("{at}/members/{}", bob.id), json!({"mute_s": 600}));
    ada.ok("PUT", &ban, Value::Null);
    assert_eq!(bob.refused("POST", &format!("{at}/join"), Value::Null).1, "banned");
    ada.ok("DELETE", &ban, Value::Null);
    bob.ok("POST", &format!("{at}/join"), Value::Null);
    let muted = (403, "muted".to_owned());
    assert_eq!(bob.refused("POST", &format!("{at}/messages"), json!({"text": "x"})), muted);
    drop(server);
    let verified = agora(&["verify"], data.path()).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn nobody_fills_the_list_of_reports_alone_and_all_of_it_can_be_read() {
    const MOST: u64 = 50;
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let server = Server::start_with(data.path(), &["--chat-user-rate", "0", "--chat-room-rate", "0"]);
    let (mut ada, mut bob) = (User::new(&server, "ada"), User::new(&server, "bob"));
    let room = ada.room("public", "Hall");
    bob.ok("POST", &format!("/rooms/{room}/join"), Value::Null);
    for sequence in 1..=MOST + 1 {
        assert_eq!(ada.say(&room, "spam"), sequence);
    }
    let report = |user: &mut User, sequence: u64| {
        let (status, answer) =
            user.call("POST", &format!("/rooms/{room}/messages/{sequence}/reports"), json!({"reason": "spam"}));
        (status, answer["code"].as_str().unwrap_or_default().to_owned(), answer["number"].as_u64())
    };
    assert_eq!(report(&mut bob, 1), (201, String::new(), Some(1)));
    // One says it once; others may say it too.
    assert_eq!(report(&mut bob, 1), (409, "already_reported".into(), None));
    assert_eq!(report(&mut ada, 1), (201, String::new(), Some(2)));
    for sequence in 2..=MOST {
        assert_eq!(report(&mut bob, sequence), (201, String::new(), Some(sequence + 1)));
    }
    assert_eq!(report(&mut bob, MOST + 1), (400, "too_many".into(), None));
    // What is dealt with makes room, also for the same once more.
    ada.ok("POST", &format!("/rooms/{room}/reports/1/resolve"), json!({"note": "no"}));
    assert_eq!(report(&mut bob, 1), (201, String::new(), Some(MOST + 2)));

    let mut admin = Client::admin(&server);
    let pages = |admin: &mut Client, all: &str| {
        let (mut seen, mut path) = (Vec::new(), format!("/admin/chat/reports?limit=20{all}"));
        loop {
            let page = admin.get(&path);
            let page = page.as_array().unwrap();
            let Some(last) = page.last() else { return seen };
            let (room, number) = (last["room"].as_str().unwrap(), &last["number"]);
            path = format!("/admin/chat/reports?limit=20{all}&before={room}.{number}");
            seen.extend(page.iter().map(|report| report["number"].as_u64().unwrap()));
        }
    };
    assert_eq!(pages(&mut admin, ""), (2..=MOST + 2).rev().collect::<Vec<_>>());
    assert_eq!(pages(&mut admin, "&all=true"), (1..=MOST + 2).rev().collect::<Vec<_>>());
    for nonsense in ["x".to_owned(), "1".to_owned(), format!("{room}.9999")] {
        let refused = admin.send("GET", &format!("/admin/chat/reports?before={nonsense}"), b"").unwrap();
        assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some("invalid_cursor")), "{nonsense}");
    }
}

#[test]
fn those_who_keep_order_find_what_was_said_in_public_rooms_that_they_name() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let server = Server::start(data.path());
    let (mut ada, mut eve) = (User::new(&server, "ada"), User::new(&server, "eve"));
    let mut warden = admin(&server, &ada);
    let (public, private) = (ada.room("public", "Hall"), ada.room("private", "Secret"));
    for room in [&public, &private] {
        ada.say(room, "the treasure is under the tree");
    }
    let found = |user: &mut User, room: &str| {
        let messages = user.ok("GET", &format!("/search?q=treas{room}"), Value::Null)["messages"].clone();
        let rooms = messages.as_array().unwrap().iter().map(|found| found["room"].as_str().unwrap().to_owned());
        rooms.collect::<Vec<_>>()
    };
    let [in_public, in_private] = [&public, &private].map(|room| format!("&room={room}"));
    assert_eq!(found(&mut ada, &in_private), [private.as_str()]);
    assert_eq!(found(&mut ada, "").len(), 2);
    assert_eq!(found(&mut warden, &in_public), [public.as_str()]);
    for (user, room) in [(&mut warden, in_private.as_str()), (&mut eve, in_public.as_str())] {
        assert!(found(user, room).is_empty());
    }
    assert!(found(&mut warden, "").is_empty());
}
