//! Following links: redirects, rules, passwords, times, pages.

use super::{call, follow, make, visit};
use crate::server::{Client, Server};
use serde_json::json;

const PHONE: &str = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1\r\n";

fn location(answer: &crate::server::Answer) -> &str {
    answer.header("location").unwrap_or_default()
}

#[test]
fn each_code_redirects_and_lasting_ones_are_remembered_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    for (code, cached) in [(301, true), (302, false), (307, false), (308, true)] {
        let link = make(&mut ada, &json!({"target": "https://example.org/", "code": code}));
        let slug = link["slug"].as_str().unwrap();
        for round in 0..2 {
            let answer = follow(&mut ada, slug);
            assert_eq!(answer.status, code, "round {round}");
            assert_eq!(answer.header("cache-control").unwrap().contains("max-age"), cached);
        }
        let head = visit(&mut ada, "HEAD", &format!("/s/{slug}"), "");
        assert_eq!((head.status, location(&head)), (code, "https://example.org/"));
    }
}

#[test]
fn rules_lead_by_device_language_query_and_weight() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let rule = |when: serde_json::Value, to: &str| json!({"when": when, "ways": [{"to": format!("https://{to}.example/"), "weight": 1}]});
    let link = make(
        &mut ada,
        &json!({"target": "https://rest.example/", "slug": "rules", "forward_query": true, "rules": [
            rule(json!({"device": ["mobile"]}), "phone"),
            rule(json!({"language": ["de"]}), "german"),
            rule(json!({"query": {"ref": ""}}), "query"),
            rule(json!({"until": "2020-01-01T00:00:00Z"}), "past"),
        ]}),
    );
    assert_eq!(link["rules"][3]["when"]["until"], "2020-01-01T00:00:00Z");
    for (path, headers, expected) in [
        ("/s/rules", PHONE, "https://phone.example/"),
        ("/s/rules", "Accept-Language: en;q=0.1, de-AT\r\n", "https://german.example/"),
        ("/s/rules?ref=1", "", "https://query.example/?ref=1"),
        ("/s/rules?x=1&y=%0d%0aSet-Cookie:%20a", "", "https://rest.example/?x=1&y=%0d%0aSet-Cookie:%20a"),
    ] {
        let answer = visit(&mut ada, "GET", path, headers);
        assert_eq!((answer.status, location(&answer)), (302, expected));
        assert_eq!(answer.header("set-cookie"), None);
    }
    let split =
        json!([{"ways": [{"to": "https://a.example/", "weight": 1}, {"to": "https://b.example/", "weight": 1}]}]);
    make(&mut ada, &json!({"target": "https://rest.example/", "slug": "split", "rules": split}));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        seen.insert(location(&follow(&mut ada, "split")).to_owned());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["https://a.example/", "https://b.example/"]);
}

#[test]
fn a_proxy_is_believed_about_the_country_only_when_it_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let rules = json!([{"when": {"country": ["AT"]}, "ways": [{"to": "https://at.example/", "weight": 1}]}]);
    let body = json!({"target": "https://rest.example/", "slug": "country", "rules": rules});
    let header = ["--links-country-header", "CF-IPCountry"];
    let server = Server::start_with(folder.path(), &header);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    make(&mut ada, &body);
    let asked = |client: &mut Client| location(&visit(client, "GET", "/s/country", "CF-IPCountry: AT\r\n")).to_owned();
    assert_eq!(asked(&mut ada), "https://rest.example/");
    drop(server);
    let server =
        Server::start_with(folder.path(), &[&header[..], &["--accounts-trusted-proxies", "127.0.0.1"]].concat());
    assert_eq!(asked(&mut server.client("")), "https://at.example/");
}

#[test]
fn a_password_is_asked_for_first() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let link = make(
        &mut ada,
        &json!({"target": "https://secret.example/", "slug": "locked", "password": "öpen sesame", "code": 308}),
    );
    assert_eq!(link["has_password"], true);
    assert!(!link.to_string().contains("argon2"));
    let page = visit(&mut ada, "GET", "/s/locked", "Accept: text/html\r\n");
    let html = String::from_utf8(page.body.clone()).unwrap();
    assert!(
        page.status == 200 && html.contains("<form method=\"post\">") && !html.contains("secret.example"),
        "{html}"
    );
    let mut submit = |password: &str| {
        let body = format!("password={password}");
        let head = format!(
            "POST /s/locked HTTP/1.1\r\nHost: agora\r\nAccept: text/html\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        ada.send_raw(head.as_bytes()).unwrap()
    };
    let wrong = submit("nothing");
    assert_eq!((wrong.status, location(&wrong)), (403, ""));
    // The form's answer is a plain visit, whatever the link's own code is: 308 would send the password along.
    let right = submit("%C3%B6pen+sesame");
    assert_eq!((right.status, location(&right)), (302, "https://secret.example/"));
    let program = visit(&mut ada, "GET", "/s/locked", "");
    assert_eq!((program.status, program.json()["code"].as_str()), (401, Some("link_password_required")));
}

#[test]
fn what_was_typed_is_not_sent_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    // One that is answered from its shortest form, and one with more to it.
    for (slug, more) in [("plain", false), ("forwarding", true)] {
        for code in [301, 302, 307, 308] {
            let slug = format!("{slug}-{code}");
            let body = json!({"target": "https://example.org/", "slug": slug, "code": code, "forward_query": more});
            make(&mut ada, &body);
            let mut post = |body: &str| {
                let kind = "Content-Type: application/x-www-form-urlencoded";
                let length = body.len();
                let text = format!(
                    "POST /s/{slug} HTTP/1.1\r\nHost: agora\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}"
                );
                ada.send_raw(text.as_bytes()).unwrap().status
            };
            assert_eq!(post("password=secret"), 302, "no password is asked for any more");
            assert_eq!(post("answer=42"), code, "other forms keep their method where the link says so");
        }
    }
}

#[test]
fn links_begin_and_end_at_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    make(&mut ada, &json!({"target": "https://example.org/", "slug": "later", "starts_at": "2999-01-01T10:30:00Z"}));
    let page = visit(&mut ada, "GET", "/s/later", "Accept: text/html\r\nAccept-Language: de\r\n");
    let html = String::from_utf8(page.body).unwrap();
    assert!(page.status == 404 && html.contains("2999-01-01 10:30") && html.contains("lang=\"de\""), "{html}");
    let mut preview = |slug: &str| {
        let answer = visit(&mut ada, "GET", &format!("/s/{slug}+"), "");
        assert!(!String::from_utf8_lossy(&answer.body).contains("example.org"), "where it leads is not told");
        (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(preview("later"), (404, "link_not_yet".into()));
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_millis(700)).to_string();
    make(&mut ada, &json!({"target": "https://example.org/", "slug": "short-lived", "expires_at": soon}));
    super::eventually("the end", || follow(&mut ada, "short-lived").json()["code"] == "link_expired");
    assert_eq!(follow(&mut ada, "short-lived").status, 410);
    let preview = visit(&mut ada, "GET", "/s/short-lived+", "");
    assert_eq!((preview.status, preview.json()["code"].as_str()), (410, Some("link_expired")));
}

#[test]
fn pages_say_what_is_and_load_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    for (headers, part) in [
        ("Accept: text/html\r\n", "There is no such link"),
        ("Accept: text/html\r\nAccept-Language: fr-CA\r\n", "Ce lien n’existe pas"),
        ("Accept: text/html\r\nAccept-Language: ja, en;q=0.5\r\n", "このリンクは存在しません"),
    ] {
        for slug in ["nothing", "%00", "a%2Fb", "..%2f", "%3Cscript%3E"] {
            let page = visit(&mut ada, "GET", &format!("/s/{slug}"), headers);
            let html = String::from_utf8(page.body.clone()).unwrap();
            assert!(
                page.status == 404 && (html.contains(part) || page.json()["code"] == "not_found"),
                "{slug}: {} {html}",
                page.status
            );
            assert!(!html.contains("<script") && !html.contains("src="));
        }
        let page = visit(&mut ada, "GET", "/s/nothing", headers);
        assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
        assert_eq!(page.header("x-robots-tag"), Some("noindex, nofollow"));
    }
    let program = visit(&mut ada, "GET", "/s/nothing", "");
    assert_eq!((program.status, program.json()["code"].as_str()), (404, Some("link_unknown")));
}

#[test]
fn a_plus_sign_shows_where_a_link_leads_without_counting() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let title = "<img src=x onerror=alert(1)>";
    make(
        &mut ada,
        &json!({"target": "https://example.org/deep/page?x=1&y=2", "slug": "shown", "title": title, "max_clicks": 1}),
    );
    for _ in 0..3 {
        let page = visit(&mut ada, "GET", "/s/shown+", "Accept: text/html\r\n");
        let html = String::from_utf8(page.body).unwrap();
        assert!(page.status == 200 && html.contains("https://example.org/deep/page?x=1&amp;y=2"), "{html}");
        assert!(html.contains("&lt;img src=x") && !html.contains("<img"));
    }
    let json = visit(&mut ada, "GET", "/s/shown+", "").json();
    assert_eq!(json["target"], "https://example.org/deep/page?x=1&y=2");
    // Whoever asks for the head alone spends nothing either.
    for _ in 0..3 {
        let head = visit(&mut ada, "HEAD", "/s/shown", "");
        assert_eq!((head.status, location(&head)), (200, ""));
    }
    assert_eq!(follow(&mut ada, "shown").status, 302);
    assert_eq!(follow(&mut ada, "shown").status, 410);
    assert_eq!(visit(&mut ada, "GET", "/s/shown+", "").status, 410);
}

#[test]
fn short_domains_have_names_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start_with(folder.path(), &["--links-domains", "s.example,t.example"]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let make = |ada: &mut Client, domain: &str, target: &str| {
        let body = json!({"target": target, "slug": "same", "domain": domain});
        make(ada, &body)
    };
    let own = make(&mut ada, "", "https://own.example/");
    let short = make(&mut ada, "s.example", "https://short.example/");
    assert_eq!(own["short_url"], "http://agora/s/same");
    assert_eq!(short["short_url"], "http://s.example/same");
    let mut ask = |host: &str, path: &str| {
        let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n");
        let answer = ada.send_raw(text.as_bytes()).unwrap();
        (answer.status, location(&answer).to_owned())
    };
    for _ in 0..2 {
        assert_eq!(ask("agora", "/s/same"), (302, "https://own.example/".into()));
        assert_eq!(ask("S.EXAMPLE:80", "/same"), (302, "https://short.example/".into()));
        assert_eq!(ask("t.example", "/same").0, 404);
    }
    assert_eq!(ask("agora", "/s/same@s.example").0, 404, "it is in memory under this name, which is no slug");
    assert_eq!(ask("s.example", "/").0, 404);
    assert_eq!(ask("agora", "/same").1, "", "on any other host it is a page of the web app");
    let mut admin = Client::admin(&server);
    let settings =
        json!({"root": "https://home.example/", "missing": "https://missing.example/", "slug_length": 4, "code": 307});
    let (status, answer) = call(&mut admin, "PUT", "/admin/links/domains/s.example", &settings);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(ask("s.example", "/"), (302, "https://home.example/".into()));
    assert_eq!(ask("s.example", "/nothing"), (302, "https://missing.example/".into()));
    assert_eq!(ask("t.example", "/nothing").0, 404);
    let made = super::make(&mut ada, &json!({"target": "https://example.org/", "domain": "s.example"}));
    assert_eq!((made["slug"].as_str().unwrap().len(), made["code"].as_i64()), (4, Some(307)));
    assert_eq!(call(&mut admin, "PUT", "/admin/links/domains/u.example", &settings).0, 404);
    let bad = json!({"root": "javascript:alert(1)"});
    assert_eq!(call(&mut admin, "PUT", "/admin/links/domains/s.example", &bad).1["code"], "target_scheme");
}

#[test]
fn a_code_for_cameras_is_a_picture_of_the_short_address() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let link = make(&mut ada, &json!({"target": "https://example.org/"}));
    let path = format!("/links/{}/qr", link["id"].as_str().unwrap());
    let svg = ada.send("GET", &path, b"").unwrap();
    assert_eq!((svg.status, svg.header("content-type")), (200, Some("image/svg+xml")));
    assert!(svg.body.starts_with(b"<svg"));
    let png = ada.send("GET", &format!("{path}?format=png&size=300&dark=1a2b3c"), b"").unwrap();
    assert_eq!(png.header("content-type"), Some("image/png"));
    let info = png::Decoder::new(std::io::Cursor::new(&png.body)).read_info().unwrap().info().clone();
    assert!(info.width >= 300 && info.width == info.height);
    assert_eq!(call(&mut ada, "GET", &format!("{path}?size=9"), &serde_json::Value::Null).0, 400);
    assert_eq!(call(&mut server.client(""), "GET", &path, &serde_json::Value::Null).0, 401);
}
