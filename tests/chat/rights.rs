//! Who gets at what.

use crate::people::{User, block_on, next_of};
use crate::server::{Client, Server};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

#[test]
fn nobody_gets_at_a_room_without_the_right_to() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let (mut ada, mut bob) = (User::new(&server, "ada"), User::new(&server, "bob"));
    let mut eve = User::new(&server, "eve");
    let room = ada.room("private", "Secret");
    ada.say(&room, "the treasure is under the tree");

    // An outsider learns nothing, not even that the room exists.
    for (method, path, body) in [
        ("GET", "".to_owned(), Value::Null),
        ("GET", "/messages".into(), Value::Null),
        ("GET", "/members".into(), Value::Null),
        ("GET", "/invites".into(), Value::Null),
        ("GET", "/bans".into(), Value::Null),
        ("POST", "/messages".into(), json!({"text": "x"})),
        ("PATCH", "/messages/1".into(), json!({"text": "x"})),
        ("DELETE", "/messages/1".into(), Value::Null),
        ("POST", "/messages/1/reactions".into(), json!({"emoji": "👍"})),
        ("POST", "/messages/1/reports".into(), json!({"reason": "x"})),
        ("PUT", "/read".into(), json!({"message": 1})),
        ("POST", "/join".into(), Value::Null),
        ("POST", "/leave".into(), Value::Null),
        ("POST", "/invites".into(), json!({})),
        ("PATCH", String::new(), json!({"topic": "x"})),
        ("DELETE", String::new(), Value::Null),
        ("DELETE", format!("/members/{}", ada.id), Value::Null),
        ("PUT", format!("/bans/{}", ada.id), Value::Null),
        ("PATCH", format!("/members/{}", ada.id), json!({"mute_s": 60})),
    ] {
        let refused = eve.refused(method, &format!("/rooms/{room}{path}"), body);
        assert_eq!(refused, (404, "unknown_room".into()), "{method} {path}");
    }
    assert_eq!(eve.ok("GET", "/search?q=treasure", Value::Null)["messages"], json!([]));
    assert_eq!(eve.ok("GET", &format!("/search?q=treasure&room={room}"), Value::Null)["messages"], json!([]));
    assert_eq!(eve.refused("GET", "/rooms/0", Value::Null).1, "unknown_room");
    block_on(async {
        let mut socket = eve.socket();
        let answer = socket.ask(json!({"type": "history", "room": room})).await.unwrap();
        assert_eq!(answer["code"], "unknown_room");
        let send = json!({"type": "send", "room": room, "client_id": Uuid::new_v4(), "text": "x"});
        assert_eq!(socket.ask(send).await.unwrap()["code"], "unknown_room");
    });

    // By invitation, once.
    let invite = ada.ok("POST", &format!("/rooms/{room}/invites"), json!({"uses": 1}))["invite"].clone();
    let invite = invite.as_str().unwrap();
    bob.ok("POST", &format!("/invites/{invite}"), Value::Null);
    assert_eq!(eve.refused("POST", &format!("/invites/{invite}"), Value::Null).1, "bad_invite");
    assert_eq!(bob.texts(&room), ["the treasure is under the tree"]);
    assert_eq!(bob.ok("GET", "/search?q=TREAS", Value::Null)["messages"][0]["message"]["sequence"], 1);
    assert_eq!(bob.refused("DELETE", &format!("/rooms/{room}/messages/1"), Value::Null).1, "not_allowed");

    // Deleted content is gone, from history and search.
    ada.ok("DELETE", &format!("/rooms/{room}/messages/1"), Value::Null);
    assert_eq!(bob.texts(&room), ["-"]);
    assert_eq!(bob.ok("GET", "/search?q=treasure", Value::Null)["messages"], json!([]));

    // Whoever is banned is out, on open sockets too.
    block_on(async {
        let mut socket = bob.socket();
        socket.connect().await.unwrap();
        ada.ok("PUT", &format!("/rooms/{room}/bans/{}", bob.id), Value::Null);
        for what in ["kicked", "banned"] {
            let event = next_of(&mut socket, "member").await;
            assert_eq!((&event["user"], &event["what"]), (&json!(bob.id), &json!(what)));
        }
        ada.say(&room, "now we are alone");
        let page = socket.ask(json!({"type": "history", "room": room})).await.unwrap();
        assert_eq!(page["code"], "unknown_room");
        // Nothing of the room came in between.
        while let Ok(Ok(event)) = tokio::time::timeout(Duration::from_millis(200), socket.next()).await {
            assert!(!["message", "member"].contains(&event["type"].as_str().unwrap_or_default()), "{event}");
        }
    });
    let (_, code) = bob.refused("POST", &format!("/rooms/{room}/messages"), json!({"text": "x"}));
    assert_eq!(code, "banned");

    // What was signed out hears nothing more.
    block_on(async {
        let mut socket = eve.socket();
        socket.connect().await.unwrap();
        eve.http.send("POST", "/auth/sign-out", b"").unwrap();
        assert_eq!(next_of(&mut socket, "closed").await["code"], "signed_out");
        assert!(socket.next().await.is_err());
    });
}

/// Somebody in a room, by how they stand to it.
const STANDINGS: [&str; 6] = ["banned", "outsider", "member", "moderator", "owner", "warden"];

/// What each may, as docs/chat.md says: one letter for each action, in the order in which they are tried.
fn allowed(kind: &str, standing: &str) -> &'static str {
    match (kind, standing) {
        ("public", "outsider") => "ji",
        ("public", "member") => "rsted!Il",
        ("public", "moderator") => "rsted!ITD?MKBl",
        ("public", "owner") => "rsted!ITD?MKBCRX",
        ("public", "warden") => "rjiTD?MKBCX",
        ("private", "outsider") => "i",
        ("private", "member") => "rsted!l",
        ("private", "moderator") => "rsted!ITD?MKBl",
        ("private", "owner") => "rsted!ITD?MKBCRX",
        ("private", "warden") => "iD?MKBX",
        _ => "",
    }
}

/// Every action of everybody in rooms of both kinds, over HTTP, against the table of the documentation.
#[test]
fn the_table_of_roles_and_actions_holds_over_http() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let more = ["--chat-user-rate", "0", "--chat-room-rate", "0", "--chat-rooms-owned", "1000"];
    let server = Server::start_with(data.path(), &more);
    let (mut owner, mut victim) = (User::new(&server, "owner"), User::new(&server, "victim"));
    let mut admin = Client::admin(&server);
    let id = admin.get("/chat/me")["user"].as_str().unwrap().to_owned();
    let admin = User { http: admin, id, base: owner.base.clone() };
    let mut actors: Vec<(&str, User)> = STANDINGS[..4].iter().map(|name| (*name, User::new(&server, name))).collect();
    actors.push(("warden", admin));
    for kind in ["public", "private"] {
        for (standing, actor) in &mut actors {
            try_everything(kind, standing, actor, &mut owner, &mut victim);
        }
        // The owner of the room is somebody else's owner here: the roles of the two are exchanged.
        let mut other = User { http: server.client(&owner.http.token), id: owner.id.clone(), base: owner.base.clone() };
        try_everything(kind, "owner", &mut other, &mut owner, &mut victim);
    }
}

fn try_everything(kind: &str, standing: &str, actor: &mut User, owner: &mut User, victim: &mut User) {
    let room = owner.room(kind, "Table");
    let at = format!("/rooms/{room}");
    let invite = owner.ok("POST", &format!("{at}/invites"), json!({}))["invite"].as_str().unwrap().to_owned();
    let (join, ban) = (format!("/invites/{invite}"), format!("{at}/bans/{}", actor.id));
    let role = format!("{at}/members/{}", actor.id);
    match standing {
        "banned" => drop(owner.ok("PUT", &ban, Value::Null)),
        "member" => drop(actor.ok("POST", &join, Value::Null)),
        "moderator" => {
            actor.ok("POST", &join, Value::Null);
            owner.ok("PATCH", &role, json!({"role": "moderator"}));
        }
        _ => {}
    }
    let may = allowed(kind, standing);
    let mut own = 0;
    for action in "rsted!ITD?MKBCRjilX".chars() {
        if own == 0 && standing == "warden" && matches!(action, 'e' | 'd') {
            // They have nothing of their own here, and taking away what others said is another action.
            continue;
        }
        if matches!(action, 'j' | 'i') && matches!(standing, "member" | "moderator" | "owner") {
            // A repeat is harmless.
            continue;
        }
        // Whoever is to suffer it is a member without a mute or a role, and has said something.
        let _ = owner.call("DELETE", &format!("{at}/bans/{}", victim.id), Value::Null);
        let _ = victim.call("POST", &join, Value::Null);
        let _ = owner.call("PATCH", &format!("{at}/members/{}", victim.id), json!({"role": "member"}));
        let _ = owner.call("PATCH", &format!("{at}/members/{}", victim.id), json!({"mute_s": 0}));
        let said = victim.say(&room, "something");
        let message = format!("{at}/messages/{said}");
        // Only where that is dealt with: nobody has many reports open.
        let report = match action {
            '?' => victim.ok("POST", &format!("{message}/reports"), json!({"reason": "x"}))["number"].clone(),
            _ => Value::Null,
        };
        let of_victim = format!("{at}/members/{}", victim.id);
        let mine = format!("{at}/messages/{}", if own > 0 { own } else { said });
        let (method, path, body) = match action {
            'r' => ("GET", format!("{at}/messages"), Value::Null),
            's' => ("POST", format!("{at}/messages"), json!({"text": "mine"})),
            't' => ("POST", format!("{message}/reactions"), json!({"emoji": "👍"})),
            'e' => ("PATCH", mine, json!({"text": "mine, edited"})),
            'd' => ("DELETE", mine, Value::Null),
            '!' => ("POST", format!("{message}/reports"), json!({"reason": "y"})),
            'I' => ("POST", format!("{at}/invites"), json!({})),
            'T' => ("PATCH", at.clone(), json!({"topic": format!("by {standing}")})),
            'D' => ("DELETE", message, Value::Null),
            '?' => ("POST", format!("{at}/reports/{report}/resolve"), json!({"note": "done"})),
            'M' => ("PATCH", of_victim, json!({"mute_s": 60})),
            'K' => ("DELETE", of_victim, Value::Null),
            'B' => ("PUT", format!("{at}/bans/{}", victim.id), Value::Null),
            'C' => ("PATCH", at.clone(), json!({"name": format!("Table of {standing}")})),
            'R' => ("PATCH", of_victim, json!({"role": "moderator"})),
            'j' => ("POST", format!("{at}/join"), Value::Null),
            'i' => ("POST", join.clone(), Value::Null),
            'l' => ("POST", format!("{at}/leave"), Value::Null),
            _ => ("DELETE", at.clone(), Value::Null),
        };
        let (status, answer) = actor.call(method, &path, body);
        let expected = may.contains(action);
        assert_eq!((200..300).contains(&status), expected, "{kind} {standing} {action}: {status} {answer}");
        if !expected {
            let hidden = kind == "private" && matches!(standing, "outsider" | "warden");
            let code = answer["code"].as_str().unwrap_or_default();
            let right = match standing {
                "banned" => code == "banned" || status == 404,
                _ if hidden => status == 404 || code == "not_allowed",
                _ => matches!(status, 403 | 404 | 409),
            };
            assert!(right, "{kind} {standing} {action}: {status} {answer}");
        }
        match (action, expected) {
            ('s', true) => own = answer["sequence"].as_u64().unwrap(),
            // Back to where they stood.
            ('j' | 'i', true) => drop(actor.ok("POST", &format!("{at}/leave"), Value::Null)),
            ('e', true) => assert!(actor.texts(&room).iter().any(|text| text == "mine, edited")),
            ('D', true) => assert!(!victim.texts(&room).is_empty()),
            _ => {}
        }
    }
}
