//! A planned stop while traders are connected.

use crate::server::{Client, Server};
use crate::{Desk, buy, open_orders};
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};

/// Ends the program as whoever manages it does.
fn stop(mut server: Server) {
    let id = server.process.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    let start = Instant::now();
    let status = loop {
        if let Some(status) = server.process.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "the program still runs");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
}

#[test]
fn a_planned_stop_cancels_what_goes_with_the_connections_that_it_ends() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let users = ["ada@example.org", "bob@example.org"].map(|email| Client::sign_up(&server, email));
    // Bob changes his mind.
    let desks = [[true, true], [true, false]].into_iter().zip(&users).map(|(enabled, user)| {
        let mut desk = Desk::open(&server, user);
        for (id, enabled) in enabled.into_iter().enumerate() {
            let answer = desk.ask(json!({"type": "cancel_on_disconnect", "request_id": id, "enabled": enabled}));
            assert_eq!(answer["enabled"], enabled, "{answer}");
        }
        let placed = desk.ask(json!({"type": "place", "request_id": 9, "order": buy("1000.00")}));
        assert_eq!(placed["result"]["status"], "open", "{placed}");
        desk
    });
    let desks: Vec<Desk> = desks.collect();
    stop(server);
    drop(desks);
    let server = Server::start(data.path());
    let open = users.each_ref().map(|user| open_orders(&mut server.client(&user.token)).len());
    assert_eq!(open, [0, 1]);
}
