//! Clicks are counted once, whatever breaks, and shown as they happen.

use super::{eventually, follow, make, make_key, on_each_store, signed, visit};
use crate::feed::Feed;
use crate::server::{Client, Server};
use crate::servers::Postgres;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const DESKTOP: &str = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36\r\n";

fn path_of(link: &Value) -> String {
    format!("/links/{}", link["id"].as_str().unwrap())
}

fn clicks(client: &mut Client, link: &Value) -> i64 {
    client.get(&path_of(link))["clicks"].as_i64().unwrap()
}

#[test]
fn clicks_are_broken_down_by_everything_that_is_known() {
    on_each_store(breakdowns);
}

fn breakdowns(server: &Server, folder: &Path) {
    let mut ada = Client::sign_up(server, "ada@example.org");
    let rules = json!([{"when": {"query": {"v": "2"}}, "ways": [{"to": "https://two.example/", "weight": 1}]}]);
    let link = make(&mut ada, &json!({"target": "https://example.org/", "slug": "seen", "rules": rules}));
    let from = |page: &str| format!("{DESKTOP}Referer: {page}\r\nAccept-Language: de-AT\r\n");
    visit(&mut ada, "GET", "/s/seen", &from("https://www.news.example/story?private=1"));
    visit(&mut ada, "GET", "/s/seen", &from("https://news.example/other"));
    visit(&mut ada, "GET", "/s/seen?v=2", DESKTOP);
    visit(&mut ada, "GET", "/s/seen", "User-Agent: curl/8.0\r\n");
    visit(&mut ada, "GET", "/s/seen", &format!("{DESKTOP}Sec-Purpose: prefetch\r\n"));
    visit(&mut ada, "HEAD", "/s/seen", DESKTOP);
    let path = path_of(&link);
    eventually("all clicks", || {
        let link = ada.get(&path);
        link["clicks"] == 3 && link["bot_clicks"] == 2
    });
    for grain in ["minute", "hour", "day"] {
        let from = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2);
        let stats = ada.get(&format!("{path}/stats?grain={grain}&from={from}"));
        assert_eq!((&stats["clicks"], &stats["bot_clicks"], &stats["grain"]), (&json!(3), &json!(2), &json!(grain)));
        assert_eq!(stats["referrers"][0], json!({"value": "news.example", "clicks": 2}));
        assert_eq!(stats["devices"], json!([{"value": "desktop", "clicks": 3}]));
        assert_eq!(stats["systems"], json!([{"value": "Windows", "clicks": 3}]));
        assert_eq!(stats["browsers"], json!([{"value": "Chrome", "clicks": 3}]));
        assert_eq!(stats["languages"][0], json!({"value": "de", "clicks": 2}));
        assert_eq!(stats["targets"], json!([{"value": "https://two.example/", "clicks": 1}]));
        assert_eq!(stats["bots"].as_array().unwrap().len(), 2);
        assert_eq!(stats["visitors"][0]["visitors"], 1, "one person, however often");
    }
    // Without a beginning, minutes are those of the last day.
    assert_eq!(ada.get(&format!("{path}/stats?grain=minute"))["clicks"], 3);
    let raw = ada.get(&format!("{path}/clicks"));
    assert_eq!(raw.as_array().unwrap().len(), 5);
    assert!(!raw.to_string().contains("127.0.0.1") && !raw.to_string().contains("private"), "{raw}");
    let page = ada.send("GET", &format!("{path}/clicks?limit=2"), b"").unwrap();
    let cursor = page.header("cb-after").unwrap().to_owned();
    let rest = ada.get(&format!("{path}/clicks?after={cursor}"));
    assert_eq!(rest.as_array().unwrap(), &raw.as_array().unwrap()[2..]);
    let all = ada.get("/links/stats");
    assert_eq!((&all["clicks"], &all["links"]), (&json!(3), &json!(1)));
    assert_eq!(all["top"][0]["link"]["slug"], "seen");
    // Nothing of the visitor's address is on the disk.
    for file in std::fs::read_dir(folder.join("clicks")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(9).any(|part| part == b"127.0.0.1") && !bytes.windows(7).any(|part| part == b"private"));
    }
}

#[test]
fn a_click_counts_for_the_way_that_was_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let way = |value: &str, to: &str| json!({"when": {"query": {"v": value}}, "ways": [{"to": to, "weight": 1}]});
    // One begins like the other, and the visitor's query comes before the fragment.
    let (short, long) = ("https://two.example/", "https://two.example/b#top");
    let body = json!({"target": "https://example.org/", "slug": "ways", "forward_query": true,
        "rules": [way("1", short), way("2", long)]});
    let link = make(&mut ada, &body);
    for (query, location) in [
        ("v=1", "https://two.example/?v=1"),
        ("v=2", "https://two.example/b?v=2#top"),
        ("v=2", "https://two.example/b?v=2#top"),
        ("v=3", "https://example.org/?v=3"),
    ] {
        let answer = visit(&mut ada, "GET", &format!("/s/ways?{query}"), DESKTOP);
        assert_eq!(answer.header("location"), Some(location));
    }
    eventually("all clicks", || clicks(&mut ada, &link) == 4);
    let stats = ada.get(&format!("{}/stats?grain=minute", path_of(&link)));
    assert_eq!(stats["targets"], json!([{"value": long, "clicks": 2}, {"value": short, "clicks": 1}]));
}

#[test]
fn a_crash_loses_at_most_what_was_not_flushed_and_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let link = make(&mut ada, &json!({"target": "https://example.org/", "slug": "crash"}));
    let mut sure = 0;
    for _ in 0..4 {
        let mut visitor = server.client("");
        for _ in 0..500 {
            assert_eq!(follow(&mut visitor, "crash").status, 302);
        }
        // Everything that is in the database was flushed; a crash then costs only what came after it.
        eventually("the clicks", || clicks(&mut ada, &link) >= sure + 500);
        let before = clicks(&mut ada, &link);
        for _ in 0..300 {
            follow(&mut visitor, "crash");
        }
        server.process.kill().unwrap();
        server.process.wait().unwrap();
        server = Server::start(folder.path());
        ada = server.client(&ada.token);
        let mut after = 0;
        // Whatever was on disk is rolled up now. A click more shows when that is done.
        assert_eq!(follow(&mut ada, "crash").status, 302);
        eventually("the rest", || {
            after = clicks(&mut ada, &link);
            after > before
        });
        assert!((before + 1..=before + 301).contains(&after), "{before} {after}");
        sure = after;
    }
    // Days, hours and minutes agree with the sum.
    eventually("quiet", || {
        sure = clicks(&mut ada, &link);
        let stats = |ada: &mut Client, grain: &str| {
            let from = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2);
            ada.get(&format!("{}/stats?grain={grain}&from={from}", path_of(&link)))["clicks"].as_i64().unwrap()
        };
        ["minute", "hour", "day"].iter().all(|grain| stats(&mut ada, grain) == sure)
    });
}

#[test]
fn redirects_go_on_without_the_database_and_no_click_is_lost() {
    let mut postgres = Postgres::start();
    let url = postgres.create_database("agora");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--database", &url]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let link = make(&mut ada, &json!({"target": "https://example.org/", "slug": "warm"}));
    let limited = json!({"target": "https://example.org/", "slug": "limited", "max_clicks": 1_000});
    make(&mut ada, &limited);
    let mut visitor = server.client("");
    for slug in ["warm", "limited"] {
        assert_eq!(follow(&mut visitor, slug).status, 302);
    }
    postgres.stop();
    for _ in 0..200 {
        assert_eq!(follow(&mut visitor, "warm").status, 302, "what is in memory needs no database");
    }
    // What needs it says so, and can be repeated.
    let cold = follow(&mut visitor, "never-asked-for");
    assert_eq!((cold.status, cold.json()["code"].as_str()), (503, Some("links_unavailable")));
    assert!(cold.header("retry-after").is_some());
    assert_eq!(follow(&mut visitor, "limited").status, 503, "a click that cannot be spent is not given away");
    let body = json!({"target": "https://example.org/"}).to_string();
    // A connection that was idle for so long may be closed.
    assert_eq!(server.client(&ada.token).send("POST", "/links", body.as_bytes()).unwrap().status, 503);
    postgres.restart();
    let mut ada = server.client(&ada.token);
    let mut visitor = server.client("");
    eventually("the database", || ada.send("GET", "/links", b"").unwrap().status == 200);
    eventually("every click", || clicks(&mut ada, &link) == 201);
    eventually("the limited link", || follow(&mut visitor, "limited").status == 302);
}

#[test]
fn clicks_are_seen_as_they_happen_by_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let link = make(&mut ada, &json!({"target": "https://example.org/", "slug": "adas"}));
    make(&mut ada, &json!({"target": "https://example.org/", "slug": "adas-other"}));
    make(&mut bob, &json!({"target": "https://example.org/", "slug": "bobs"}));
    let watch = |client: &Client, path: &str| {
        let header = format!("Authorization: Bearer {}\r\n", client.token);
        let mut feed = Feed::connect_to(server.address, &format!("/v1{path}"), &header);
        assert_eq!(feed.next().unwrap()["type"], "watching");
        feed
    };
    let mut one = watch(&ada, &format!("{}/live", path_of(&link)));
    let mut all = watch(&ada, "/links/live");
    for slug in ["bobs", "adas-other", "adas"] {
        follow(&mut ada, slug);
    }
    let click = one.next().unwrap();
    assert_eq!((&click["type"], &click["link"], &click["browser"]), (&json!("click"), &link["id"], &json!("Firefox")));
    assert_ne!(all.next().unwrap()["link"], link["id"]);
    assert_eq!(all.next().unwrap()["link"], link["id"]);
    // Somebody else's link, no credentials, a page of another site.
    let path = format!("{}/live", path_of(&link));
    assert_eq!(bob.send("GET", &path, b"").unwrap().status, 404);
    assert_eq!(server.client("").send("GET", &path, b"").unwrap().status, 401);
    let foreign = format!("Authorization: Bearer {}\r\nOrigin: https://evil.example\r\n", ada.token);
    assert_eq!(visit(&mut ada, "GET", "/v1/links/live", &foreign).status, 403);
}

#[test]
fn who_is_signed_out_or_whose_key_has_ended_sees_no_more_clicks() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    make(&mut ada, &json!({"target": "https://example.org/", "slug": "watched"}));
    let key = make_key(&mut ada, "links");
    let watch = |headers: &str| {
        let mut feed = Feed::connect_to(server.address, "/v1/links/live", headers);
        assert_eq!(feed.next().unwrap()["type"], "watching");
        feed
    };
    let by_session = watch(&format!("Authorization: Bearer {}\r\n", ada.token));
    let by_key = watch(&signed(&key, "GET", "/links/live", ""));
    let mut feeds = [by_session, by_key];
    follow(&mut ada, "watched");
    for feed in &mut feeds {
        assert_eq!(feed.next().unwrap()["type"], "click");
    }
    let path = format!("/auth/keys/{}", key["key"].as_str().unwrap());
    assert_eq!(ada.send("DELETE", &path, b"").unwrap().status, 200);
    assert_eq!(ada.send("POST", "/auth/sign-out", b"").unwrap().status, 200);
    // Longer than the server lets pass between two looks.
    std::thread::sleep(Duration::from_secs(17));
    assert_eq!(follow(&mut server.client(""), "watched").status, 302);
    for feed in &mut feeds {
        let ended = feed.next();
        assert!(ended.is_err(), "{ended:?}");
    }
}
