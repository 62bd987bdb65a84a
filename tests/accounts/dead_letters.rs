//! Messages that nobody takes: tried again, given up, kept, sent once more.

use crate::server::{Client, Server};
use crate::sessions::post;
use crate::sink::Sink;
use agora::persistence::db::{Connection, Database};
use agora::persistence::schema::deliveries;
use diesel::{QueryDsl, RunQueryDsl};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_nobody_takes_is_tried_again_then_kept_and_can_be_sent_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--accounts-private-webhooks"]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let sink = Sink::start(&[500, 302]);
    let hook = json!({"url": format!("{}/hook", sink.url()), "events": ["security"]}).to_string();
    assert_eq!(ada.send("PUT", "/notifications/outlets/webhook", hook.as_bytes()).unwrap().status, 200);
    let first: Value = serde_json::from_str(&sink.next().body).unwrap();

    // Half a day passes: eleven tries are over and the twelfth is due.
    let database = Database::open(&folder.path().join("agora.db")).unwrap();
    let pass = |conn: &mut Connection| match conn {
        Connection::Sqlite(inner) => {
            let late = "UPDATE deliveries SET attempts = 11, due_at = 1 WHERE attempts = 1 AND last_error <> ''";
            diesel::sql_query(late).execute(inner)
        }
        Connection::Postgres(_) => unreachable!("the server has a file"),
    };
    until("the first failure", || database.write_durably(pass).unwrap() == 1);
    let second: Value = serde_json::from_str(&sink.next().body).unwrap();
    assert_eq!(second["id"], first["id"], "it is the same message");
    until("the end of the tries", || ada.get("/notifications/failed") != json!([]));
    let failed = ada.get("/notifications/failed");
    assert_eq!((&failed[0]["attempts"], &failed[0]["event"]), (&json!(12), &json!("security")));
    assert!(failed[0]["error"].as_str().unwrap().contains("302"), "a redirect is not followed: {failed}");

    let retry = format!("/notifications/failed/{}/retry", failed[0]["id"]);
    assert_eq!(post(&mut bob, &retry, &json!({})).status, 404, "not his");
    assert_eq!(post(&mut ada, &retry, &json!({})).status, 200);
    let third: Value = serde_json::from_str(&sink.next().body).unwrap();
    assert_eq!((&third["id"], &third["data"]), (&first["id"], &first["data"]));
    until("the arrival", || ada.get("/notifications/failed") == json!([]));
}

#[test]
fn an_outlet_that_is_removed_or_listens_to_less_is_told_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--accounts-private-webhooks"]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    // It takes nothing at first, so what it is told waits.
    let sink = Sink::start(&[500, 500, 500, 500]);
    let put = |ada: &mut Client, events: Value| {
        let hook = json!({"url": format!("{}/hook", sink.url()), "events": events}).to_string();
        ada.send("PUT", "/notifications/outlets/webhook", hook.as_bytes()).unwrap().status
    };
    assert_eq!(put(&mut ada, json!(["security"])), 200);
    sink.next();
    let waiting = || -> i64 {
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        database.read(|conn| deliveries::table.count().get_result::<i64>(conn)).unwrap()
    };
    assert_eq!(waiting(), 1);
    assert_eq!(put(&mut ada, json!(["fill"])), 200);
    assert_eq!(waiting(), 0, "it wants no news of security any more");
    assert_eq!(put(&mut ada, json!(["security"])), 200);
    sink.next();
    assert_eq!(waiting(), 1);
    assert_eq!(ada.send("DELETE", "/notifications/outlets/webhook", b"").unwrap().status, 200);
    assert_eq!(waiting(), 0);
}
