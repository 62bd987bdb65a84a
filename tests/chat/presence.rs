//! Who is there, as friends see it: what was only for a moment may be left out, what is in the end may not.

use crate::people::{User, block_on, sees};
use crate::server::Server;
use serde_json::json;
use std::time::Duration;

fn friends(server: &Server) -> (User, User) {
    let (mut ada, mut bob) = (User::new(server, "ada"), User::new(server, "bob"));
    ada.ok("POST", "/friends", json!({"user": bob.id, "step": "ask"}));
    bob.ok("POST", "/friends", json!({"user": ada.id, "step": "accept"}));
    (ada, bob)
}

#[test]
fn whoever_was_away_and_is_back_at_once_is_online() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let (ada, bob) = friends(&server);
    block_on(async {
        let (mut a, mut b) = (ada.socket(), bob.socket());
        a.connect().await.unwrap();
        sees(&mut a, &bob, "online", &mut [(&mut b, false)]).await;
        sees(&mut a, &bob, "away", &mut [(&mut b, true)]).await;
        b.cut();
        // Long enough for the server to notice, and shorter than the grace.
        tokio::time::sleep(Duration::from_millis(500)).await;
        b.connect().await.unwrap();
        sees(&mut a, &bob, "online", &mut []).await;
        b.cut();
        sees(&mut a, &bob, "offline", &mut []).await;
    });
}

#[test]
fn whoever_looks_while_somebody_is_about_to_be_gone_hears_what_becomes_of_them() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let (ada, bob) = friends(&server);
    block_on(async {
        let mut b = bob.socket();
        for comes_back in [true, false] {
            let mut first = ada.socket();
            first.connect().await.unwrap();
            b.connect().await.unwrap();
            b.cut();
            tokio::time::sleep(Duration::from_millis(500)).await;
            let mut second = ada.socket();
            second.connect().await.unwrap();
            let hello = second.next().await.unwrap();
            let people = hello["people"].as_array().unwrap();
            let of_bob = people.iter().find(|one| one["user"] == bob.id.as_str()).unwrap();
            // In their grace nobody is said to be gone; whoever is back within it needs not be said to be there.
            if comes_back {
                b.connect().await.unwrap();
                b.request(json!({"type": "away", "away": true})).await;
                sees(&mut second, &bob, "away", &mut []).await;
            } else if of_bob["status"] == "online" {
                sees(&mut second, &bob, "offline", &mut []).await;
            } else {
                // The grace was over before.
                assert_eq!(of_bob["status"], "offline");
            }
            sees(&mut first, &bob, if comes_back { "away" } else { "offline" }, &mut []).await;
            b.cut();
        }
    });
}
