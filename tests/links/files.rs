//! Import and export.

use super::{PASSPHRASE, call, eventually, follow, make, make_key, on_each_store, signed};
use crate::server::{Answer, Client, Server};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::time::Duration;

fn send(client: &mut Client, kind: &str, content: &[u8]) -> io::Result<Answer> {
    let head = format!(
        "POST /v1/links/import HTTP/1.1\r\nHost: agora\r\nAuthorization: Bearer {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        client.token,
        content.len()
    );
    client.wait_up_to(Duration::from_secs(300))?;
    client.send_raw(&[head.as_bytes(), content].concat())
}

fn import(client: &mut Client, kind: &str, content: &[u8]) -> Value {
    let answer = send(client, kind, content).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

fn counts(report: &Value) -> [i64; 3] {
    ["created", "unchanged", "failed"].map(|name| report[name].as_i64().unwrap())
}

#[test]
fn a_hundred_thousand_rows_are_imported_and_once_more_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut file = String::from("slug,target,tags\n");
    for number in 0..99_996 {
        let slug = if number % 2 == 0 { format!("row-{number}") } else { String::new() };
        writeln!(file, "{slug},https://example.org/{number},\"even, {}\"", number % 7).unwrap();
    }
    file += "row-0,https://example.org/0,\"0,even\"\nrow-0,https://elsewhere.example/,\nab,https://example.org/,\n,http://localhost/,\n";
    let report = import(&mut ada, "text/csv", file.as_bytes());
    assert_eq!(counts(&report), [99_996, 1, 3]);
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 100_000);
    assert_eq!(results[0]["short_url"], "http://agora/s/row-0");
    let codes: Vec<_> = results[99_997..].iter().map(|row| row["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["slug_taken", "invalid_slug", "target_not_public"]);
    assert_eq!(results[99_997]["row"], 99_998);
    assert_eq!(follow(&mut ada, "row-99994").header("location"), Some("https://example.org/99994"));
    let again = import(&mut ada, "text/csv", file.as_bytes());
    assert_eq!(counts(&again), [0, 99_997, 3]);
    assert_eq!(again["results"][1]["id"], results[1]["id"], "the same link, though its slug is random");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let stolen = import(&mut bob, "text/csv", b"slug,target\nrow-0,https://example.org/0\n");
    assert_eq!(counts(&stolen), [0, 0, 1], "somebody else's name is taken, whatever it leads to");
    let too_many = "target\n".to_owned() + &"https://example.org/\n".repeat(100_001);
    let head = format!(
        "POST /v1/links/import HTTP/1.1\r\nHost: agora\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{too_many}",
        bob.token,
        too_many.len()
    );
    assert_eq!(bob.send_raw(head.as_bytes()).unwrap().json()["code"], "too_many_rows");
}

#[test]
fn an_import_that_is_run_again_needs_no_more_room() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--links-max-per-user", "1000"]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let rows = |numbers: std::ops::Range<usize>| {
        let slug = |number: usize| if number.is_multiple_of(2) { format!("row-{number}") } else { String::new() };
        numbers.map(|number| format!("{},https://example.org/{number}\n", slug(number))).collect::<String>()
    };
    let run = |ada: &mut Client, rows: &str| import(ada, "text/csv", format!("slug,target\n{rows}").as_bytes());
    assert_eq!(counts(&run(&mut ada, &rows(0..600))), [600, 0, 0]);
    for _ in 0..3 {
        assert_eq!(counts(&run(&mut ada, &rows(0..600))), [0, 600, 0]);
    }
    let report = run(&mut ada, &rows(500..1_002));
    assert_eq!(counts(&report), [400, 100, 2], "as many as fit are made");
    for (row, code) in [(499, None), (500, Some("too_many_links")), (501, Some("too_many_links"))] {
        assert_eq!(report["results"][row]["code"].as_str(), code);
    }
    // Nor does a single link that is there already.
    let reuse = |number: usize| json!({"target": format!("https://example.org/{number}"), "reuse": true});
    assert_eq!(call(&mut ada, "POST", "/links", &reuse(1)).0, 200);
    let (status, answer) = call(&mut ada, "POST", "/links", &reuse(2_000));
    assert_eq!((status, answer["code"].as_str()), (403, Some("too_many_links")));
}

#[test]
fn a_row_without_a_slug_finds_only_a_link_that_leads_the_same_way() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let rules = json!([{"ways": [{"to": "https://evil.example/", "weight": 1}]}]);
    let other = make(&mut ada, &json!({"target": "https://bank.example/", "rules": rules}));
    let file = b"target,max_clicks\nhttps://bank.example/,\nhttps://bank.example/,1\n";
    let report = import(&mut ada, "text/csv", file);
    assert_eq!(counts(&report), [2, 0, 0]);
    assert_ne!(report["results"][0]["id"], other["id"]);
    let slug = report["results"][1]["short_url"].as_str().unwrap().rsplit('/').next().unwrap();
    assert_eq!(follow(&mut ada, slug).status, 302);
    // Run again it changes nothing, though the second one is used up.
    let again = import(&mut ada, "text/csv", file);
    assert_eq!(counts(&again), [0, 2, 0]);
    assert_eq!(again["results"][1]["id"], report["results"][1]["id"]);
}

#[test]
fn tags_that_an_earlier_version_took_survive_a_move() {
    let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let server = Server::start(here.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let tags = |client: &mut Client, slug: &str| client.get(&format!("/links?slug={slug}"))[0]["tags"].clone();
    // New ones are taken apart where people write files, and refused where they stand in a list.
    let report = import(&mut ada, "text/csv", b"slug,target,tags\nfresh,https://example.org/,y; x\n");
    assert_eq!((counts(&report), tags(&mut ada, "fresh")), ([1, 0, 0], json!(["x", "y"])));
    let list = json!([{"target": "https://example.org/1", "tags": ["x;y"]}]).to_string();
    assert_eq!(import(&mut ada, "application/json", list.as_bytes())["results"][0]["code"], "invalid_tags");
    // As earlier versions have exported them.
    let old = json!([{"slug": "old", "target": "https://example.org/", "tags": "b,x;y", "id": "7"}]).to_string();
    assert_eq!(counts(&import(&mut ada, "application/json", old.as_bytes())), [1, 0, 0]);
    assert_eq!(tags(&mut ada, "old"), json!(["b", "x;y"]));
    let path = format!("/links/{}", ada.get("/links?slug=old")[0]["id"].as_str().unwrap());
    assert_eq!(call(&mut ada, "PATCH", &path, &json!({"tags": ["x;y", "c"]})).0, 200, "it keeps what it has");
    assert_eq!(call(&mut ada, "PATCH", &path, &json!({"tags": ["p;q"]})).1["code"], "invalid_tags");

    let json = ada.download("/links/export?format=json").unwrap();
    let csv = ada.download("/links/export").unwrap();
    let server = Server::start(there.path());
    for (name, kind, content, slug) in
        [("bob", "text/csv", csv, "old"), ("carol", "application/json", renamed(&json), "z-old")]
    {
        let mut client = Client::sign_up(&server, &format!("{name}@example.org"));
        assert_eq!(counts(&import(&mut client, kind, &content)), [2, 0, 0], "{name}");
        assert_eq!(tags(&mut client, slug), json!(["c", "x;y"]), "{name}");
        assert_eq!(counts(&import(&mut client, kind, &content)), [0, 2, 0], "{name}");
    }
}

/// A small import.
const FILE: &[u8] = b"target\nhttps://example.org/\n";

/// What an import says of itself whose body, as large as one may be, does not come.
fn head(headers: &str) -> String {
    let length = format!("Content-Length: {}\r\n", 1 << 20);
    format!("POST /v1/links/import HTTP/1.1\r\nHost: agora\r\n{headers}{length}\r\n")
}

fn bearer(client: &Client) -> String {
    format!("Authorization: Bearer {}\r\n", client.token)
}

/// A small import that a key signs.
fn signed_import(server: &Server, key: &Value) -> Answer {
    let file = std::str::from_utf8(FILE).unwrap();
    let headers = signed(key, "POST", "/links/import", file);
    let length = format!("Content-Length: {}\r\n", file.len());
    let text = format!("POST /v1/links/import HTTP/1.1\r\nHost: agora\r\n{headers}{length}\r\n{file}");
    server.client("").send_raw(text.as_bytes()).unwrap()
}

fn begin(server: &Server, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Begins requests that wait for their bodies, until it is seen that these have their room. Whoever looks may have had
/// it before them, so those that were refused are begun anew.
fn stall(server: &Server, requests: &[String], mut is_taken: impl FnMut() -> bool) -> Vec<TcpStream> {
    let mut begun: Vec<TcpStream> = requests.iter().map(|request| begin(server, request)).collect();
    eventually("room that is taken", || {
        let taken = is_taken();
        for (stream, request) in begun.iter_mut().zip(requests).filter(|_| !taken) {
            let waits = stream.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            if !waits {
                *stream = begin(server, request);
            }
        }
        taken
    });
    begun
}

#[test]
fn the_bodies_of_imports_share_their_room() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--links-import-mb", "1"]);
    let sign_up = |name: &str| Client::sign_up(&server, &format!("{name}@example.org"));
    let [mut ada, bob, carol, dan, erin] = ["ada", "bob", "carol", "dan", "erin"].map(sign_up);
    let key = make_key(&mut ada, "links");
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    // Whoever has a key may begin before it is known whether the signature fits.
    let requests = [
        head(&signed(&key, "POST", "/links/import", "")),
        head(&bearer(&bob)),
        head(&bearer(&carol)),
        format!("POST /v1/links/import HTTP/1.1\r\nHost: agora\r\n{}{chunked}", bearer(&dan)),
    ];
    let mut refused = None;
    let begun = stall(&server, &requests, || {
        let answer = server.client(&erin.token).send("POST", "/links/import", FILE).unwrap();
        refused = Some(answer).filter(|answer| answer.status == 503);
        refused.is_some()
    });
    let refused = refused.unwrap();
    assert_eq!(refused.json()["code"], "imports_busy");
    assert!(refused.header("retry-after").is_some());
    let larger = format!("{}Content-Length: {}\r\n", bearer(&erin), (1 << 20) + 1);
    let text = format!("POST /v1/links/import HTTP/1.1\r\nHost: agora\r\n{larger}\r\n");
    assert_eq!(server.client("").send_raw(text.as_bytes()).unwrap().json()["code"], "body_too_large");
    drop(begun);
    eventually("room", || server.client(&erin.token).send("POST", "/links/import", FILE).unwrap().status == 200);
}

#[test]
fn whoever_sends_nothing_keeps_only_herself_from_importing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--links-import-mb", "1"]);
    let [mut ada, bob] = ["ada", "bob"].map(|name| Client::sign_up(&server, &format!("{name}@example.org")));
    let keys = [(); 3].map(|()| make_key(&mut ada, "links"));
    let imported = |client: &Client| server.client(&client.token).send("POST", "/links/import", FILE).unwrap().status;
    let stalled = stall(&server, &[head(&bearer(&ada))], || imported(&ada) == 503);
    // What is signed in her name has its room apart, and no more of it whichever key she uses.
    let signed_one = head(&signed(&keys[0], "POST", "/links/import", ""));
    let signed_one = stall(&server, &[signed_one], || signed_import(&server, &keys[1]).status == 503);
    for key in &keys {
        let answer = signed_import(&server, key);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("imports_busy")));
    }
    assert_eq!(imported(&bob), 200);
    drop((stalled, signed_one));
    eventually("room", || imported(&ada) == 200);
}

#[test]
fn whoever_only_knows_the_id_of_a_key_does_not_keep_its_owner_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--links-import-mb", "1"]);
    let [mut ada, mut mallory] =
        ["ada", "mallory"].map(|name| Client::sign_up(&server, &format!("{name}@example.org")));
    let (mut forged, other) = (make_key(&mut ada, "links"), make_key(&mut mallory, "links"));
    forged["secret"] = other["secret"].clone();
    let request = head(&signed(&forged, "POST", "/links/import", ""));
    let stalled = stall(&server, &[request], || signed_import(&server, &forged).status == 503);
    assert_eq!(counts(&import(&mut ada, "text/csv", FILE)), [1, 0, 0]);
    drop(stalled);
    // Where a key may not be used its bodies are not waited for.
    let body = json!({"passphrase": PASSPHRASE, "permissions": ["links"], "networks": ["10.0.0.0/8"]});
    let (status, bound) = call(&mut ada, "POST", "/auth/keys", &body);
    assert_eq!(status, 200, "{bound}");
    let text = head(&signed(&bound, "POST", "/links/import", ""));
    let answer = server.client("").send_raw(text.as_bytes()).unwrap();
    assert_eq!((answer.status, answer.json()["code"].as_str()), (403, Some("network_not_allowed")));
}

#[test]
fn a_key_signs_the_body_of_an_import_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let key = make_key(&mut ada, "links");
    let file: String = (0..5_000).map(|number| format!("https://example.org/{number}\n")).collect();
    let file = format!("target\n{file}");
    assert!(file.len() > 64 * 1024, "others are read earlier");
    let send = |signed_body: &str| {
        let headers = signed(&key, "POST", "/links/import", signed_body);
        let head = "POST /v1/links/import HTTP/1.1\r\nHost: agora\r\n";
        let head = format!("{head}{headers}Content-Length: {}\r\n\r\n", file.len());
        server.client("").send_raw(&[head.as_bytes(), file.as_bytes()].concat()).unwrap()
    };
    assert_eq!(send("target\n").status, 401);
    let answer = send(&file);
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(counts(&answer.json()), [5_000, 0, 0]);
}

#[test]
fn a_link_with_as_much_as_there_may_be_is_exported_and_imported() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let value = |number: usize| format!("{number:03}{}", "\u{1}".repeat(50));
    let rule = json!({"when": {"os": (0..45).map(value).collect::<Vec<_>>()},
        "ways": [{"to": "https://example.org/", "weight": 1}]});
    let tags: Vec<String> = (0..20).map(|number| format!("{number:02}{}", "ü".repeat(48))).collect();
    let body = |rules: usize| {
        json!({"target": format!("https://example.org/{}", "x".repeat(2_000)), "slug": "full", "title": "\"".repeat(200),
            "notes": "\u{1}".repeat(2_000), "tags": tags, "rules": vec![rule.clone(); rules]})
    };
    let (status, answer) = call(&mut ada, "POST", "/links", &body(3));
    assert_eq!((status, answer["code"].as_str()), (400, Some("invalid_rule")), "{answer}");
    make(&mut ada, &body(2));
    for (kind, path) in [("text/csv", "/links/export"), ("application/json", "/links/export?format=json")] {
        let file = ada.download(path).unwrap();
        assert_eq!(counts(&import(&mut ada, kind, &file)), [0, 1, 0], "{kind}");
    }
}

#[test]
fn what_would_harm_others_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let row = |slug: &str| json!({"slug": slug, "target": "https://example.org/"});
    let (mut costly, mut nul) = (row("costly"), row("nul"));
    // A hash says what it costs to check, and this one would take all memory there is.
    costly["password_hash"] =
        "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc".into();
    nul["title"] = "\0".into();
    let report = import(&mut ada, "application/json", json!([costly, nul, row("sound")]).to_string().as_bytes());
    assert_eq!(counts(&report), [1, 0, 2]);
    assert_eq!(report["results"][0]["code"], "invalid_password");
    let refused = ada.send("POST", "/links", nul.to_string().as_bytes()).unwrap();
    assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some("invalid_text")));
}

#[test]
fn imports_at_once_and_single_links_beside_them_are_all_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let ada = Client::sign_up(&server, "ada@example.org");
    let mut file = String::from("slug,target\n");
    for number in 0..20_000 {
        // Every third row has a name; the others lead to half as many pages, which are told by their rows in order.
        let slug = if number % 3 == 0 { format!("row-{number}") } else { String::new() };
        writeln!(file, "{slug},https://example.org/{}/{}", slug.len(), number / 2).unwrap();
    }
    // The second body is taken once the rows of the first are read, and a refusal that nobody waits for may be lost.
    let run = || {
        let mut report = Value::Null;
        eventually("an import", || {
            let sent = send(&mut server.client(&ada.token), "text/csv", file.as_bytes());
            let Ok(answer) = sent else { return false };
            report = answer.json();
            assert!(answer.status == 200 || report["code"] == "imports_busy", "{report}");
            answer.status == 200
        });
        report
    };
    let reports: Vec<Value> = std::thread::scope(|scope| {
        let server = &server;
        let bob = scope.spawn(move || {
            let mut bob = Client::sign_up(server, "bob@example.org");
            (0..20).for_each(|n| drop(make(&mut bob, &json!({"target": format!("https://example.com/{n}")}))));
        });
        let other = scope.spawn(run);
        let own = run();
        bob.join().unwrap();
        vec![own, other.join().unwrap()]
    });
    let mut ids = std::collections::BTreeSet::new();
    for report in &reports {
        let rows: Vec<_> =
            report["results"].as_array().unwrap().iter().map(|row| row["row"].as_u64().unwrap()).collect();
        assert!(rows.into_iter().eq(1..=20_000), "one result for each row, in their order");
        ids.extend(report["results"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
    }
    let created: i64 = reports.iter().map(|report| counts(report)[0]).sum();
    assert_eq!(created, ids.len() as i64, "each link was made by one of the two");
    assert_eq!(ids.len(), 6_667 + 10_000, "and by no more than one row");
    assert_eq!(reports.iter().map(|report| counts(report)[2]).sum::<i64>(), 0);
}

/// Everything that an export tells but what a new venue gives anew.
fn lasting(json: &[u8]) -> Vec<Value> {
    let mut links: Vec<Value> = serde_json::from_slice(json).unwrap();
    for link in &mut links {
        for name in ["id", "short_url", "clicks"] {
            link.as_object_mut().unwrap().remove(name);
        }
    }
    links
}

#[test]
fn an_export_is_imported_to_the_same_set() {
    on_each_store(|server, _| moved(server));
}

fn moved(server: &Server) {
    let folder = tempfile::tempdir().unwrap();
    let mut ada = Client::sign_up(server, "ada@example.org");
    let rules = json!([{"when": {"device": ["mobile"], "from": "2026-01-01T00:00:00Z"}, "ways": [{"to": "https://m.example/", "weight": 3}]}]);
    make(
        &mut ada,
        &json!({"target": "https://example.org/", "slug": "plain", "title": "with, \"quotes\"\nand lines", "notes": "=1+1"}),
    );
    make(
        &mut ada,
        &json!({"target": "https://example.org/", "slug": "rich", "tags": ["b", "a"], "code": 308, "rules": rules, "forward_query": true,
        "starts_at": "2026-01-01T00:00:00Z", "expires_at": "2999-01-01T00:00:00Z"}),
    );
    make(&mut ada, &json!({"target": "https://example.org/", "slug": "used", "max_clicks": 5, "password": "secret"}));
    make(&mut ada, &json!({"target": "https://example.org/", "slug": "limited", "max_clicks": 3}));
    assert_eq!(follow(&mut ada, "limited").status, 302);
    let off = make(&mut ada, &json!({"target": "https://example.org/", "slug": "off"}));
    call(&mut ada, "PATCH", &format!("/links/{}", off["id"].as_str().unwrap()), &json!({"enabled": false}));
    let gone = make(&mut ada, &json!({"target": "https://example.org/", "slug": "gone"}));
    call(&mut ada, "DELETE", &format!("/links/{}", gone["id"].as_str().unwrap()), &Value::Null);
    // More than one part of the stream.
    let many: String = (0..2_500).map(|n| format!("https://example.org/many/{n}\n")).collect();
    import(&mut ada, "text/csv", ("target\n".to_owned() + &many).as_bytes());
    let json = ada.download("/links/export?format=json").unwrap();
    let csv = ada.download("/links/export").unwrap();
    let links = lasting(&json);
    assert_eq!(links.len(), 2_505);
    let other = Server::start(folder.path());
    for (name, kind, content) in [("bob", "text/csv", &csv), ("carol", "application/json", &json)] {
        let mut reader = Client::sign_up(&other, &format!("{name}@example.org"));
        let prefixed = if name == "bob" { content.clone() } else { renamed(content) };
        let report = import(&mut reader, kind, &prefixed);
        let refused: Vec<_> =
            report["results"].as_array().unwrap().iter().filter(|one| one["status"] == "failed").collect();
        assert_eq!(counts(&report), [2_505, 0, 0], "{name}: {refused:?}");
        assert_eq!(counts(&import(&mut reader, kind, &prefixed)), [0, 2_505, 0], "{name}");
        let mut back = lasting(&reader.download("/links/export?format=json").unwrap());
        if name == "carol" {
            back.iter_mut().for_each(|link| {
                let slug = link["slug"].as_str().unwrap().trim_start_matches("z-").to_owned();
                link["slug"] = slug.into();
            });
        }
        assert_eq!(back, links, "{name}");
    }
}

/// The same links under other names; a prefix that no word which insults begins with.
fn renamed(json: &[u8]) -> Vec<u8> {
    let mut links: Vec<Value> = serde_json::from_slice(json).unwrap();
    for link in &mut links {
        link["slug"] = format!("z-{}", link["slug"].as_str().unwrap()).into();
    }
    serde_json::to_vec(&links).unwrap()
}

#[test]
fn one_bad_link_of_a_list_costs_that_link() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let list = json!([
        {"target": "https://example.org/1", "slug": "one"},
        {"target": "ftp://example.org/"},
        {"color": "red"},
        {"target": "https://example.org/2", "slug": "one"},
        {"target": "https://example.org/3", "password": "secret"},
    ]);
    let (status, report) = call(&mut ada, "POST", "/links/bulk", &list);
    assert_eq!((status, counts(&report)), (200, [2, 0, 3]), "{report}");
    let codes: Vec<_> =
        report["results"].as_array().unwrap().iter().map(|row| row["code"].as_str().unwrap_or("")).collect();
    assert_eq!(codes, ["", "target_scheme", "invalid_body", "slug_taken", ""]);
    assert_eq!(call(&mut ada, "POST", "/links/bulk", &json!([])).0, 400);
    assert_eq!(call(&mut ada, "POST", "/links/bulk", &json!({})).0, 400);
}
