//! Messages that nobody takes: tried again, given up, kept, sent once more.

use crate::server::{Client, Server};
use crate::sessions::post;
use crate::sink::Sink;
use crate::smtp::MailServer;
use agora::domain::ids::AccountId;
use agora::domain::time::Timestamp;
use agora::persistence::db::{Connection, Database};
use agora::persistence::notifications::enqueue;
use agora::persistence::schema::{confirmed_addresses, deliveries, outlets};
use diesel::{QueryDsl, RunQueryDsl};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

#[test]
fn what_is_mailed_to_an_unconfirmed_address_may_become_less_but_not_more() {
    let folder = tempfile::tempdir().unwrap();
    let mails = MailServer::start();
    let server = Server::start_with(folder.path(), &["--accounts-smtp-url", &mails.url()]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    assert_eq!(ada.get("/auth/me")["email_confirmed"], false);
    assert_eq!(post(&mut ada, "/auth/email", &json!({"email": "ada@example.org"})).status, 200);
    let mail = mails.next();
    let code: String = mail.split("Your code: ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let confirmed = post(&mut ada, "/auth/email/confirm", &json!({"email": "ada@example.org", "code": code}));
    assert_eq!(confirmed.status, 200, "{}", confirmed.json());
    assert_eq!(ada.get("/auth/me")["email_confirmed"], true);
    let mut wish = |events: Value| {
        let body = json!({"events": events}).to_string();
        let answer = ada.send("PUT", "/notifications/outlets/email", body.as_bytes()).unwrap();
        (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    let (taken, refused) = ((200, String::new()), (409, "email_not_confirmed".to_owned()));
    assert_eq!(wish(json!(["fill", "transfer"])), taken);
    // As it is for whoever chose before addresses were confirmed.
    let database = Database::open(&folder.path().join("agora.db")).unwrap();
    let forget = |conn: &mut Connection| diesel::delete(confirmed_addresses::table).execute(conn);
    assert_eq!(database.write_durably(forget).unwrap(), 1);
    assert_eq!(wish(json!(["fill", "transfer", "security"])), refused);
    assert_eq!(wish(json!(["security"])), refused);
    assert_eq!(wish(json!(["transfer", "fill"])), taken, "it is as before");
    assert_eq!(wish(json!(["fill"])), taken);
    assert_eq!(wish(json!(["fill", "transfer"])), refused, "what was given up is something new");
    assert_eq!(wish(json!([])), taken);
    assert_eq!(wish(json!(["fill"])), refused);
    assert_eq!(ada.get("/auth/me")["email_confirmed"], false);
}

/// A web server that never answers, with how often it was connected to.
fn silent() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            held.push(stream.unwrap());
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    (url, asked)
}

#[test]
fn webhooks_that_hang_keep_nothing_from_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--accounts-private-webhooks"]);
    let (hanging, asked) = silent();
    for number in 0..9 {
        let mut user = Client::sign_up(&server, &format!("user-{number}@example.org"));
        let hook = json!({"url": hanging, "events": ["security"]}).to_string();
        assert_eq!(user.send("PUT", "/notifications/outlets/webhook", hook.as_bytes()).unwrap().status, 200);
    }
    // There is more than could hang in turn within the patience of this test; of security, which goes first.
    let database = Database::open(&folder.path().join("agora.db")).unwrap();
    let fill_up = |conn: &mut Connection| -> diesel::QueryResult<usize> {
        let users: Vec<i64> = outlets::table.select(outlets::user_id).load(conn)?;
        let users = users.into_iter().filter_map(|user| u32::try_from(user).ok());
        let mut count = 0;
        for user in users {
            for _ in 0..20 {
                count += enqueue(conn, AccountId(user), "security", "{}", Timestamp(1))?;
            }
        }
        Ok(count)
    };
    assert_eq!(database.write_durably(fill_up).unwrap(), 9 * 20);
    until("what hangs", || asked.load(Ordering::Relaxed) >= 32);

    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let sink = Sink::start(&[]);
    let hook = json!({"url": format!("{}/hook", sink.url()), "events": ["fill"]}).to_string();
    assert_eq!(ada.send("PUT", "/notifications/outlets/webhook", hook.as_bytes()).unwrap().status, 200);
    let order = |side: &str| json!({"product_id": "BTC-USDT", "side": side, "price": "200", "size": "0.5"});
    assert_eq!(post(&mut ada, "/orders", &order("sell")).status, 200);
    assert_eq!(post(&mut bob, "/orders", &order("buy")).status, 200);
    let told: Value = serde_json::from_str(&sink.next().body).unwrap();
    assert_eq!(told["event"], "fill");
}
