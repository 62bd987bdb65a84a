//! Those who keep order: reports, review, blocked hosts; and what an API key may do.

use super::{call, eventually, follow, make, make_key, signed, visit};
use crate::server::{Client, Server};
use crate::servers::Postgres;
use serde_json::{Value, json};

#[test]
fn a_report_leads_to_a_review_and_a_block() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start(folder.path());
    let mut admin = Client::admin(&server);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let link = make(&mut ada, &json!({"target": "https://phish.example/", "slug": "phish", "notes": "my own"}));
    let path = format!("/links/{}", link["id"].as_str().unwrap());
    let report = json!({"link": "http://agora/s/phish+", "reason": "phishing", "comment": "asks for my password"});
    assert_eq!(call(&mut server.client(""), "POST", "/links/reports", &report).0, 200, "anybody may");
    assert_eq!(call(&mut ada, "POST", "/links/reports", &json!({"link": "phish", "reason": "color"})).0, 400);
    assert_eq!(call(&mut ada, "POST", "/links/reports", &json!({"link": "nothing", "reason": "spam"})).0, 404);
    // The form of the preview page does the same.
    let body = "reason=spam&comment=%3Cb%3E";
    let headers = format!(
        "Accept: text/html\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
        body.len()
    );
    let text = format!("POST /s/phish+ HTTP/1.1\r\nHost: agora\r\n{headers}\r\n{body}");
    let page = ada.send_raw(text.as_bytes()).unwrap();
    assert!(page.status == 200 && String::from_utf8(page.body).unwrap().contains("Thank you"));

    assert_eq!(call(&mut ada, "GET", "/admin/links/reports", &Value::Null).0, 403);
    let reports = admin.get("/admin/links/reports");
    let seen: Vec<_> = reports.as_array().unwrap().iter().map(|report| report["reason"].as_str().unwrap()).collect();
    assert_eq!(seen, ["spam", "phishing"]);
    assert_eq!(reports[1]["comment"], "asks for my password");
    assert!(reports[1]["link"].get("notes").is_none(), "notes are the owner's alone");
    let resolve = format!("/admin/links/reports/{}/resolve", reports[0]["id"].as_str().unwrap());
    let (status, done) = call(&mut admin, "POST", &resolve, &json!({"action": "block", "note": "it is"}));
    assert_eq!((status, &done["resolved"]), (200, &json!(2)), "{done}");
    assert_eq!(follow(&mut ada, "phish").json()["code"], "link_blocked");
    assert_eq!(admin.get("/admin/links/reports"), json!([]));
    assert_eq!(admin.get("/admin/links/reports?all=1")[0]["resolved"]["action"], "blocked");
    // Its owner sees it, and cannot undo it.
    assert_eq!(ada.get(&path)["state"], "blocked");
    assert_eq!(call(&mut ada, "PATCH", &path, &json!({"enabled": true})).1["state"], "blocked");
    assert_eq!(follow(&mut ada, "phish").status, 403);
    let history = ada.get(&format!("{path}/history"));
    assert_eq!((&history[0]["what"], &history[0]["by"]), (&json!("blocked"), &Value::Null));
    let admin_path = format!("/admin{path}/unblock");
    assert_eq!(call(&mut admin, "POST", &admin_path, &Value::Null).1["state"], "active");
    assert_eq!(follow(&mut ada, "phish").status, 302);
    // What she had switched off before it was blocked is not switched on by letting it go.
    assert_eq!(call(&mut ada, "PATCH", &path, &json!({"enabled": false})).1["state"], "disabled");
    let block = format!("/admin{path}/block");
    assert_eq!(call(&mut admin, "POST", &block, &Value::Null).1["state"], "blocked");
    assert_eq!(call(&mut admin, "POST", &block, &Value::Null).1["state"], "blocked", "twice changes nothing");
    assert_eq!(call(&mut admin, "POST", &admin_path, &Value::Null).1["state"], "disabled");
    assert_eq!(call(&mut admin, "POST", &admin_path, &Value::Null).1["state"], "disabled");
    assert_eq!(call(&mut ada, "PATCH", &path, &json!({"enabled": true})).1["state"], "active");
    assert_eq!(follow(&mut ada, "phish").status, 302);
    let found = admin.get("/admin/links?q=phish");
    assert_eq!(found[0]["owner"], ada.get("/auth/me")["id"]);
    let audit = admin.get("/admin/audit");
    assert!(audit.to_string().contains("link_blocked") && audit.to_string().contains("link_unblocked"));

    // What is dismissed is recorded too, and changes nothing.
    let again = json!({"link": "phish", "reason": "other"});
    assert_eq!(call(&mut server.client(""), "POST", "/links/reports", &again).0, 200);
    let report = admin.get("/admin/links/reports")[0]["id"].as_str().unwrap().to_owned();
    let dismiss = json!({"action": "dismiss", "note": "no harm"});
    let (status, done) = call(&mut admin, "POST", &format!("/admin/links/reports/{report}/resolve"), &dismiss);
    assert_eq!((status, &done["resolved"]), (200, &json!(1)), "{done}");
    assert_eq!(follow(&mut ada, "phish").status, 302);
    let audit = admin.get("/admin/audit?action=link_report_dismissed");
    assert_eq!((audit.as_array().unwrap().len(), &audit[0]["detail"]["note"]), (1, &json!("no harm")));
}

#[test]
fn a_link_that_leads_nowhere_yet_takes_reports_and_does_not_tell_its_target() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start(folder.path());
    let mut admin = Client::admin(&server);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let link = json!({"target": "https://phish.example/", "slug": "later", "starts_at": "2999-01-01T00:00:00Z"});
    let link = make(&mut ada, &link);
    let report = |headers: &str| {
        let body = "reason=phishing";
        let form = "Content-Type: application/x-www-form-urlencoded";
        let length = body.len();
        let head = format!("POST /s/later+ HTTP/1.1\r\nHost: agora\r\n{headers}{form}\r\nContent-Length: {length}");
        let answer = server.client("").send_raw(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        assert!(!String::from_utf8_lossy(&answer.body).contains("phish.example"), "where it leads is not told");
        answer
    };
    let mut reports = || admin.get("/admin/links/reports").as_array().unwrap().len();
    let page = report("Accept: text/html\r\n");
    let html = String::from_utf8(page.body).unwrap();
    assert!(page.status == 200 && html.contains("Thank you"), "{html}");
    assert_eq!(reports(), 1);
    let program = report("");
    assert_eq!((program.status, &program.json()["reported"]), (200, &json!(true)));
    assert_eq!(reports(), 2);
    // What is switched off anyway takes none.
    call(&mut ada, "PATCH", &format!("/links/{}", link["id"].as_str().unwrap()), &json!({"enabled": false}));
    let refused = report("");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (404, Some("link_disabled")));
    assert_eq!(reports(), 2);
}

#[test]
fn a_blocked_host_takes_its_links_with_it() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start(folder.path());
    let mut admin = Client::admin(&server);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    make(&mut ada, &json!({"target": "https://www.bad.example/x", "slug": "before"}));
    make(&mut ada, &json!({"target": "https://good.example/x", "slug": "good"}));
    let rules = json!([{"when": {"device": ["tv"]}, "ways": [{"to": "https://bad.example/tv", "weight": 1}]}]);
    make(&mut ada, &json!({"target": "https://good.example/y", "slug": "by-rule", "rules": rules}));
    for slug in ["before", "good", "by-rule"] {
        assert_eq!(follow(&mut ada, slug).status, 302);
        assert_eq!(visit(&mut ada, "GET", &format!("/s/{slug}+"), "").status, 200);
    }
    let (status, answer) = call(&mut admin, "PUT", "/admin/links/hosts/Bad.example", &json!({"note": "malware"}));
    assert_eq!((status, &answer["host"]), (200, &json!("bad.example")), "{answer}");
    for slug in ["before", "by-rule"] {
        assert_eq!(follow(&mut ada, slug).json()["code"], "link_blocked");
        let preview = visit(&mut ada, "GET", &format!("/s/{slug}+"), "");
        assert_eq!((preview.status, preview.json()["code"].as_str()), (403, Some("link_blocked")), "{slug}");
        let page = visit(&mut ada, "GET", &format!("/s/{slug}+"), "Accept: text/html\r\n");
        assert!(!String::from_utf8(page.body).unwrap().contains("bad.example"), "nobody is told the way there");
    }
    assert_eq!(follow(&mut ada, "good").status, 302);
    let body = json!({"target": "https://bad.example/"});
    assert_eq!(call(&mut ada, "POST", "/links", &body).1["code"], "target_blocked");
    assert_eq!(admin.get("/admin/links/hosts")[0]["note"], "malware");
    assert_eq!(call(&mut ada, "GET", "/admin/links/hosts", &Value::Null).0, 403);
    assert_eq!(call(&mut admin, "DELETE", "/admin/links/hosts/bad.example", &Value::Null).0, 200);
    assert_eq!(call(&mut admin, "DELETE", "/admin/links/hosts/bad.example", &Value::Null).0, 404);
    assert_eq!(follow(&mut ada, "before").status, 302);
    assert_eq!(visit(&mut ada, "GET", "/s/before+", "").status, 200);
}

#[test]
fn hosts_that_are_blocked_at_the_same_time_are_all_blocked() {
    const HOSTS: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start(folder.path());
    let admin = Client::admin(&server);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    for round in 0..5 {
        std::thread::scope(|scope| {
            for number in 0..HOSTS {
                let mut admin = server.client(&admin.token);
                scope.spawn(move || {
                    let path = format!("/admin/links/hosts/bad-{round}-{number}.example");
                    assert_eq!(call(&mut admin, "PUT", &path, &json!({})).0, 200);
                });
            }
        });
        for number in 0..HOSTS {
            let body = json!({"target": format!("https://bad-{round}-{number}.example/")});
            assert_eq!(call(&mut ada, "POST", "/links", &body).1["code"], "target_blocked", "{body}");
        }
    }
    let mut admin = server.client(&admin.token);
    assert_eq!(admin.get("/admin/links/hosts").as_array().unwrap().len(), 5 * HOSTS);
}

#[test]
fn a_host_that_another_node_has_blocked_is_blocked_even_if_it_cannot_be_read_at_first() {
    let postgres = Postgres::start();
    let url = postgres.create_database("agora");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--database", &url]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    make(&mut ada, &json!({"target": "https://bad.example/", "slug": "before"}));
    make(&mut ada, &json!({"target": "https://example.org/0", "slug": "moving"}));
    assert_eq!(follow(&mut ada, "before").status, 302);
    let execute = |statement: &str| postgres.execute("agora", statement);
    execute("ALTER TABLE link_hosts RENAME TO hidden");
    // As another node does it.
    execute("INSERT INTO hidden (host, at, note) VALUES ('bad.example', 0, '')");
    execute("INSERT INTO link_changes (link, domain, slug, at, what, details) VALUES (0, '', '', 0, 'hosts', '{}')");
    // What changes later has been heard of twice: so the hosts were asked for by then.
    for target in ["https://example.org/1", "https://example.org/2"] {
        execute(&format!("UPDATE links SET target = '{target}' WHERE slug = 'moving'"));
        execute(
            "INSERT INTO link_changes (link, domain, slug, at, what, details) \
             SELECT id, domain, slug, 0, 'edited', '{}' FROM links WHERE slug = 'moving'",
        );
        eventually("the change", || follow(&mut ada, "moving").header("location") == Some(target));
    }
    assert_eq!(follow(&mut ada, "before").status, 302);
    execute("ALTER TABLE hidden RENAME TO link_hosts");
    eventually("the block", || follow(&mut ada, "before").json()["code"] == "link_blocked");
}

#[test]
fn an_api_key_needs_the_scope_of_links() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut by_key = |permission: &str, method: &str, path: &str, body: &str| {
        let key = make_key(&mut ada, permission);
        let headers = signed(&key, method, path, body) + &format!("Content-Length: {}\r\n", body.len());
        let text = format!("{method} /v1{path} HTTP/1.1\r\nHost: agora\r\n{headers}\r\n{body}");
        server.client("").send_raw(text.as_bytes()).unwrap()
    };
    let body = json!({"target": "https://example.org/", "slug": "by-key"}).to_string();
    assert_eq!(by_key("trade", "POST", "/links", &body).status, 403);
    assert_eq!(by_key("view", "GET", "/links", "").status, 403);
    let made = by_key("links", "POST", "/links", &body);
    assert_eq!(made.status, 201, "{}", made.json());
    assert_eq!(by_key("links", "GET", "/links", "").json()[0]["slug"], "by-key");
    assert_eq!(by_key("links", "GET", "/accounts", "").status, 403, "and for nothing else");
    assert_eq!(ada.get("/links")[0]["slug"], "by-key");
    assert_eq!(visit(&mut server.client(""), "GET", "/s/by-key", "").status, 302);
}
