//! What one user can have of what all share.

use crate::people::{User, block_on};
use crate::server::Server;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

#[test]
fn one_user_cannot_keep_the_database_busy_over_sockets() {
    const EACH: usize = 100;
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let (mut ada, bob) = (User::new(&server, "ada"), User::new(&server, "bob"));
    let room = ada.room("public", "Hall");
    block_on(async {
        let (mut phone, mut laptop, mut other) = (ada.socket(), ada.socket(), bob.socket());
        for socket in [&mut phone, &mut laptop, &mut other] {
            socket.connect().await.unwrap();
        }
        let asked = [
            json!({"type": "history", "room": room}),
            json!({"type": "search", "text": "x"}),
            json!({"type": "people", "users": [ada.id]}),
        ];
        for number in 0..EACH {
            for socket in [&mut phone, &mut laptop] {
                socket.request(asked[number % asked.len()].clone()).await;
            }
        }
        let (mut answered, mut refused) = (0, 0);
        for socket in [&mut phone, &mut laptop] {
            let before = answered + refused;
            while answered + refused < before + EACH {
                let event = socket.next().await.unwrap();
                match event["type"].as_str() {
                    Some("history" | "found" | "people") => answered += 1,
                    Some("error") => {
                        assert_eq!((&event["code"], &event["retry_after"]), (&json!("too_fast"), &json!(1)));
                        refused += 1;
                    }
                    _ => {}
                }
            }
        }
        assert!(answered >= 30 && refused > 0, "{answered} answered, {refused} refused");
        // Nobody else is held up, and after a moment it goes on.
        assert_eq!(other.ask(asked[1].clone()).await.unwrap()["type"], "found");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(phone.ask(asked[0].clone()).await.unwrap()["type"], "history");
    });
}

#[test]
fn a_repeat_at_the_limit_of_rooms_is_answered_like_the_first_time() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), &["--chat-rooms-owned", "1", "--chat-rooms-joined", "1"]);
    let (mut ada, mut bob) = (User::new(&server, "ada"), User::new(&server, "bob"));
    let new = || json!({"kind": "public", "name": "Hall", "id": Uuid::new_v4()});
    let first = new();
    let room = ada.ok("POST", "/rooms", first.clone())["id"].as_str().unwrap().to_owned();
    assert_eq!(ada.ok("POST", "/rooms", first)["id"], json!(room));
    assert_eq!(ada.refused("POST", "/rooms", new()), (400, "too_many_rooms".into()));
    for _ in 0..2 {
        assert_eq!(bob.ok("POST", &format!("/rooms/{room}/join"), Value::Null)["id"], json!(room));
    }
    assert_eq!(bob.refused("POST", "/rooms/1/join", Value::Null), (400, "too_many_rooms".into()));
}
