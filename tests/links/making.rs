//! Making, reading, changing, deleting, listing.

use super::{call, eventually, follow, make, on_each_store, visit};
use crate::server::{Client, Server};
use crate::servers::{Postgres, Redis};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[test]
fn a_link_is_made_followed_changed_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let link = make(
        &mut ada,
        &json!({"target": "HTTPS://Example.ORG:443/a b?q=ü#x", "title": "First", "tags": ["News", "a"], "slug": "my-first"}),
    );
    assert_eq!(link["target"], "https://example.org/a%20b?q=%C3%BC#x");
    assert_eq!(link["short_url"], "http://agora/s/my-first");
    assert_eq!(link["tags"], json!(["a", "news"]));
    let path = format!("/links/{}", link["id"].as_str().unwrap());
    assert_eq!(ada.get(&path), link);
    assert_eq!(call(&mut bob, "GET", &path, &Value::Null).0, 404, "somebody else's");

    let answer = follow(&mut bob, "my-first");
    assert_eq!((answer.status, answer.header("location")), (302, link["target"].as_str()));
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));

    // Changed at once for everybody, since nobody may be sent to the old place any more.
    let (status, changed) = call(&mut ada, "PATCH", &path, &json!({"target": "https://example.net/", "code": 308}));
    assert_eq!((status, changed["version"].as_i64()), (200, Some(2)), "{changed}");
    let answer = follow(&mut bob, "my-first");
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://example.net/")));
    assert_eq!(call(&mut ada, "PATCH", &path, &json!({"title": "x", "version": 1})).1["code"], "link_changed");
    assert_eq!(call(&mut ada, "PATCH", &path, &json!({"slug": "other"})).1["code"], "invalid_body");
    assert_eq!(call(&mut bob, "PATCH", &path, &json!({"title": "x"})).0, 404);

    let off = call(&mut ada, "PATCH", &path, &json!({"enabled": false})).1;
    assert_eq!(off["state"], "disabled");
    assert_eq!(follow(&mut bob, "my-first").json()["code"], "link_disabled");
    call(&mut ada, "PATCH", &path, &json!({"enabled": true}));
    assert_eq!(follow(&mut bob, "my-first").status, 308);

    assert_eq!(call(&mut bob, "DELETE", &path, &Value::Null).0, 404);
    assert_eq!(call(&mut ada, "DELETE", &path, &Value::Null).0, 200);
    let gone = follow(&mut bob, "my-first");
    assert_eq!((gone.status, gone.json()["code"].as_str()), (410, Some("link_gone")));
    assert_eq!(call(&mut ada, "GET", &path, &Value::Null).0, 404);
    let again = json!({"target": "https://example.org/", "slug": "my-first"});
    assert_eq!(call(&mut bob, "POST", "/links", &again).1["code"], "slug_taken", "a name is given once");
    assert_eq!(ada.get("/links"), json!([]));
}

#[test]
fn history_says_what_became_of_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let link = make(&mut ada, &json!({"target": "https://example.org/1"}));
    let path = format!("/links/{}", link["id"].as_str().unwrap());
    call(&mut ada, "PATCH", &path, &json!({"target": "https://example.org/2"}));
    call(&mut ada, "PATCH", &path, &json!({"enabled": false}));
    call(&mut ada, "PATCH", &path, &json!({"enabled": false}));
    let history = ada.get(&format!("{path}/history"));
    let what: Vec<_> = history.as_array().unwrap().iter().map(|change| change["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["disabled", "edited"], "what changes nothing leaves no trace");
    assert_eq!(history[1]["details"]["before"]["target"], "https://example.org/1");
    let page = ada.send("GET", &format!("{path}/history?limit=1"), b"").unwrap();
    let cursor = page.header("cb-after").unwrap().to_owned();
    assert_eq!(ada.get(&format!("{path}/history?limit=1&after={cursor}"))[0]["what"], "edited");
}

#[test]
fn targets_that_are_no_public_pages_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        Server::start_with(folder.path(), &["--links-blocked", "evil.example", "--links-domains", "s.example"]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let long = format!("https://example.org/{}", "x".repeat(3_000));
    for (target, code) in [
        ("http://127.0.0.1:8080/admin", "target_not_public"),
        ("http://localhost/", "target_not_public"),
        ("http://169.254.169.254/latest/meta-data", "target_not_public"),
        ("http://[::ffff:10.0.0.1]/", "target_not_public"),
        ("http://0x7f.1/", "target_not_public"),
        ("http://2130706433/", "target_not_public"),
        ("http://printer.local/", "target_not_public"),
        ("javascript:alert(1)", "target_scheme"),
        ("data:text/html,x", "target_scheme"),
        ("https://user:secret@example.org/", "target_credentials"),
        ("https://example.org/\r\nSet-Cookie: a=b", "target_malformed"),
        ("//example.org", "target_malformed"),
        ("", "target_malformed"),
        (long.as_str(), "target_too_long"),
        ("https://www.evil.example/", "target_blocked"),
        ("https://s.example/abc", "target_own"),
        ("https://agora/", "target_not_public"),
    ] {
        let (status, answer) = call(&mut ada, "POST", "/links", &json!({"target": target}));
        assert_eq!((status, answer["code"].as_str()), (400, Some(code)), "{target:.80}");
        let rule = json!([{"ways": [{"to": target, "weight": 1}]}]);
        let body = json!({"target": "https://example.org/", "rules": rule});
        assert_eq!(call(&mut ada, "POST", "/links", &body).0, 400, "in a rule: {target:.80}");
    }
    // Whatever a client calls this server is its own name too.
    let text = json!({"target": "https://short.example.com/s/x"}).to_string();
    let request = format!(
        "POST /v1/links HTTP/1.1\r\nHost: short.example.com:8443\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{text}",
        ada.token,
        text.len()
    );
    assert_eq!(ada.send_raw(request.as_bytes()).unwrap().json()["code"], "target_own");
    let punycode = make(&mut ada, &json!({"target": "https://bücher.example.com/ä"}));
    assert_eq!(punycode["target"], "https://xn--bcher-kva.example.com/%C3%A4");
}

#[test]
fn what_else_a_link_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--links-words", "acme"]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    for (change, code) in [
        (json!({"slug": "ab"}), "invalid_slug"),
        (json!({"slug": "a b"}), "invalid_slug"),
        (json!({"slug": "Admin"}), "slug_reserved"),
        (json!({"slug": "my-4cme-shop"}), "slug_not_allowed"),
        (json!({"code": 303}), "invalid_redirect_code"),
        (json!({"max_clicks": 0}), "invalid_max_clicks"),
        (json!({"expires_at": "2001-01-01T00:00:00Z"}), "invalid_times"),
        (json!({"starts_at": "soon"}), "invalid_time"),
        (json!({"title": "x".repeat(201)}), "text_too_long"),
        (json!({"tags": ["a,b"]}), "invalid_tags"),
        (json!({"tags": ["a;b"]}), "invalid_tags"),
        (json!({"password": ""}), "invalid_password"),
        (json!({"domain": "nowhere.example"}), "unknown_domain"),
        (json!({"rules": [{"ways": []}]}), "invalid_rule"),
        (json!({"color": "red"}), "invalid_body"),
    ] {
        let mut body = json!({"target": "https://example.org/"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, answer) = call(&mut ada, "POST", "/links", &body);
        assert_eq!((status, answer["code"].as_str()), (400, Some(code)), "{change}");
    }
}

#[test]
fn random_slugs_are_short_readable_and_all_different() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--links-slug-length", "5"]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let list: Vec<Value> = (0..300).map(|n| json!({"target": format!("https://example.org/{n}")})).collect();
    let (status, report) = call(&mut ada, "POST", "/links/bulk", &json!(list));
    assert_eq!((status, report["created"].as_i64()), (200, Some(300)), "{report:.300}");
    let mut slugs = std::collections::BTreeSet::new();
    for result in report["results"].as_array().unwrap() {
        let slug = result["short_url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        assert!(slug.len() == 5 && !slug.contains(['0', 'O', 'o', '1', 'l', 'I', 'i']), "{slug}");
        slugs.insert(slug);
    }
    assert_eq!(slugs.len(), 300);
}

#[test]
fn the_same_target_is_found_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let body = json!({"target": "https://example.org/same", "reuse": true});
    let first = make(&mut ada, &body);
    let (status, again) = call(&mut ada, "POST", "/links", &body);
    assert_eq!((status, &again["id"]), (200, &first["id"]));
    assert_ne!(make(&mut bob, &body)["id"], first["id"], "everybody has their own");
    let anew = make(&mut ada, &json!({"target": "https://example.org/same"}));
    assert_ne!(anew["id"], first["id"], "only on request");
}

#[test]
fn a_link_that_leads_elsewhere_or_nowhere_stands_for_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--links-anonymous"]);
    let target = "https://bank.example/";
    let plain = json!({"target": target, "reuse": true});
    let with = |more: &Value| {
        let mut body = plain.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let slug = |link: &Value| link["slug"].as_str().unwrap().to_owned();
    let elsewhere = json!({"rules": [{"ways": [{"to": "https://evil.example/", "weight": 1}]}]});

    // What a stranger has made is given to nobody, whatever it leads to.
    let mut nobody = server.client("");
    let trap = make(&mut nobody, &with(&elsewhere));
    let first = make(&mut nobody, &plain);
    let second = make(&mut server.client(""), &plain);
    assert!(trap["id"] != first["id"] && first["id"] != second["id"]);
    assert_eq!(follow(&mut nobody, &slug(&second)).header("location"), Some(target));

    let mut ada = Client::sign_up(&server, "ada@example.org");
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_millis(700)).to_string();
    let over = make(&mut ada, &with(&json!({"expires_at": soon})));
    let used = make(&mut ada, &with(&json!({"max_clicks": 1})));
    assert_eq!(follow(&mut ada, &slug(&used)).status, 302);
    let others = [
        elsewhere.clone(),
        json!({"password": "secret"}),
        json!({"starts_at": "2999-01-01T00:00:00Z"}),
        json!({"forward_query": true}),
        json!({"code": 308}),
        json!({"enabled": false}),
    ];
    let others = others.map(|more| make(&mut ada, &with(&more)));
    super::eventually("the end", || follow(&mut ada, &slug(&over)).status == 410);
    let link = make(&mut ada, &plain);
    assert_eq!(follow(&mut ada, &slug(&link)).header("location"), Some(target));
    // Those that are the same to visitors do stand for each other, whatever they are called.
    for (more, expected) in [(json!({"title": "A bank", "tags": ["money"]}), &link), (elsewhere, &others[0])] {
        let (status, same) = call(&mut ada, "POST", "/links", &with(&more));
        assert_eq!((status, &same["id"]), (200, &expected["id"]), "{more}");
    }
    // As often as was asked for can only a new one be followed.
    make(&mut ada, &with(&json!({"max_clicks": 1})));
}

#[test]
fn lists_are_searched_filtered_sorted_and_paged() {
    on_each_store(|server, _| lists(server));
}

fn lists(server: &Server) {
    let mut ada = Client::sign_up(server, "ada@example.org");
    for (slug, title, tag) in [("ccc", "Über uns", "x"), ("aaa", "100% wool", "y"), ("bbb", "plain_text", "x")] {
        make(
            &mut ada,
            &json!({"target": format!("https://example.org/{slug}"), "slug": slug, "title": title, "tags": [tag]}),
        );
    }
    let mut slugs = |query: &str| -> Vec<String> {
        let links = ada.get(&format!("/links?{query}"));
        links.as_array().unwrap().iter().map(|link| link["slug"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(slugs(""), ["bbb", "aaa", "ccc"], "newest first");
    assert_eq!(slugs("sort=slug"), ["aaa", "bbb", "ccc"]);
    assert_eq!(slugs("sort=slug&order=desc"), ["ccc", "bbb", "aaa"]);
    assert_eq!(slugs("tag=x&sort=slug"), ["bbb", "ccc"]);
    assert_eq!(slugs("q=WOOL"), ["aaa"]);
    assert_eq!(slugs("q=%C3%9Cber"), ["ccc"], "as it is written");
    assert_eq!(slugs("q=0%25"), ["aaa"], "a percent sign is only a percent sign");
    assert_eq!(slugs("q=n_t"), ["bbb"]);
    assert_eq!(slugs("q=example.org%2Fccc"), ["ccc"]);
    assert_eq!(slugs("slug=bbb"), ["bbb"]);
    assert_eq!(slugs("state=disabled"), Vec::<String>::new());
    for sort in ["created_at", "updated_at", "clicks", "slug", "title"] {
        for order in ["asc", "desc"] {
            let query = format!("/links?sort={sort}&order={order}&limit=1");
            let (mut found, mut after) = (Vec::new(), String::new());
            loop {
                let page = ada.send("GET", &format!("{query}&after={after}"), b"").unwrap();
                assert_eq!(page.status, 200, "{}", page.json());
                let Some(link) = page.json()[0]["slug"].as_str().map(str::to_owned) else { break };
                found.push(link);
                let Some(cursor) = page.header("cb-after") else { break };
                after = cursor.to_owned();
            }
            found.sort();
            assert_eq!(found, ["aaa", "bbb", "ccc"], "{query}: each link on one page");
        }
    }
    assert_eq!(ada.get("/links/tags"), json!([{"tag": "x", "links": 2}, {"tag": "y", "links": 1}]));
    assert_eq!(call(&mut ada, "GET", "/links?after=xx", &Value::Null).1["code"], "invalid_cursor");
    assert_eq!(call(&mut ada, "GET", "/links?sort=color", &Value::Null).1["code"], "invalid_query");
}

#[test]
fn links_without_an_account_are_for_the_operator_to_allow() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let body = json!({"target": "https://example.org/"});
    assert_eq!(call(&mut server.client(""), "POST", "/links", &body).0, 401);
    drop(server);
    let server = Server::start_with(folder.path(), &["--links-anonymous", "--accounts-unlimited", "192.0.2.1"]);
    let link = make(&mut server.client(""), &body);
    assert_eq!(call(&mut server.client("x.y.z"), "POST", "/links", &body).0, 401, "wrong credentials are no none");
    let slug = link["slug"].as_str().unwrap();
    assert_eq!(follow(&mut server.client(""), slug).status, 302);
    // Three at once and one a second, from one address.
    let mut refused = None;
    for _ in 0..20 {
        let answer = server.client("").send("POST", "/links", body.to_string().as_bytes()).unwrap();
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a flood is refused");
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    // Following is not limited.
    for _ in 0..60 {
        assert_eq!(visit(&mut server.client(""), "GET", &format!("/s/{slug}"), "").status, 302);
    }
}

#[test]
fn one_user_has_only_so_many_links() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--links-max-per-user", "3"]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let links: Vec<Value> =
        (0..3).map(|n| make(&mut ada, &json!({"target": format!("https://example.org/{n}")}))).collect();
    call(&mut ada, "DELETE", &format!("/links/{}", links[0]["id"].as_str().unwrap()), &Value::Null);
    // One that was deleted does not count.
    make(&mut ada, &json!({"target": "https://example.org/3"}));
    let (status, answer) = call(&mut ada, "POST", "/links", &json!({"target": "https://example.org/4"}));
    assert_eq!((status, answer["code"].as_str()), (403, Some("too_many_links")));
    // As soon as she has deleted another one there is room again.
    call(&mut ada, "DELETE", &format!("/links/{}", links[1]["id"].as_str().unwrap()), &Value::Null);
    make(&mut ada, &json!({"target": "https://example.org/4"}));
    make(&mut Client::sign_up(&server, "bob@example.org"), &json!({"target": "https://example.org/"}));
}

#[test]
fn nobody_has_too_many_links_however_many_are_made_and_deleted_at_once() {
    const MOST: usize = 40;
    const LISTS: usize = 6;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--links-max-per-user", &MOST.to_string()]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    // Names are looked up first, others are not.
    let link = |number: usize| match number % 2 {
        0 => json!({"target": "https://example.org/", "slug": format!("row-{number}")}),
        _ => json!({"target": format!("https://example.org/{number}")}),
    };
    let list = |list: usize| -> Value { (10 * list..10 * list + 10).map(link).collect() };
    let there = |ada: &mut Client| -> Vec<String> {
        let links = ada.get("/links");
        links.as_array().unwrap().iter().map(|link| link["id"].as_str().unwrap().to_owned()).collect()
    };
    for round in 0..8 {
        let there_before = there(&mut ada);
        std::thread::scope(|scope| {
            for number in 0..LISTS {
                let (mut client, list) = (server.client(&ada.token), list(round * LISTS + number));
                scope.spawn(move || assert_eq!(call(&mut client, "POST", "/links/bulk", &list).0, 200));
            }
            let mut client = server.client(&ada.token);
            scope.spawn(move || {
                for id in there_before.iter().take(15) {
                    assert_eq!(call(&mut client, "DELETE", &format!("/links/{id}"), &Value::Null).0, 200);
                }
            });
        });
        let there = there(&mut ada).len();
        assert!(there <= MOST, "{there} in round {round}");
    }
    // Nor is any room lost.
    let mut more = 8 * LISTS..;
    eventually("all that one may have", || {
        call(&mut ada, "POST", "/links/bulk", &list(more.next().unwrap()));
        there(&mut ada).len() == MOST
    });
}

#[test]
fn lists_of_the_same_names_in_another_order_do_not_wait_for_each_other() {
    const NAMES: i64 = 200;
    let postgres = Postgres::start();
    let url = postgres.create_database("agora");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--database", &url]);
    let mut users = ["ada", "bob"].map(|name| Client::sign_up(&server, &format!("{name}@example.org")));
    for round in 0..10 {
        let link = |n: i64| json!({"target": "https://example.org/", "slug": format!("r{round}-{n}")});
        let links = |numbers: Vec<i64>| -> Value { numbers.into_iter().map(link).collect() };
        let lists = [links((0..NAMES).collect()), links((0..NAMES).rev().collect())];
        let reports: Vec<Value> = std::thread::scope(|scope| {
            let calls: Vec<_> = users
                .iter_mut()
                .zip(&lists)
                .map(|(user, list)| scope.spawn(move || call(user, "POST", "/links/bulk", list).1))
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        assert_eq!(reports.iter().map(|report| report["created"].as_i64().unwrap()).sum::<i64>(), NAMES);
        for row in reports.iter().flat_map(|report| report["results"].as_array().unwrap()) {
            assert!(row["status"] == "created" || row["code"] == "slug_taken", "{row}");
        }
    }
}

#[test]
fn a_change_counts_at_once_however_many_look_meanwhile() {
    const LINKS: usize = 60;
    const TRIES: usize = 400;
    let redis = Redis::start();
    let url = redis.url();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--redis", &url]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let slugs: Vec<String> =
        (0..LINKS).map(|n| format!("hop-{n}")).chain((0..TRIES).map(|n| format!("try-{n}"))).collect();
    let list: Vec<Value> = slugs.iter().map(|slug| json!({"target": "https://old.example/", "slug": slug})).collect();
    let made = call(&mut ada, "POST", "/links/bulk", &json!(list)).1;
    assert_eq!(made["created"].as_u64(), Some((LINKS + TRIES) as u64), "{made}");
    // Only what nodes share could be put in the place of what was forgotten.
    let mut tries = slugs[LINKS..].iter();
    eventually("Redis", || {
        let slug = tries.next().unwrap();
        follow(&mut ada, slug);
        redis.command(&format!("EXISTS agora:cache:link:{slug}\r\n")).is_some_and(|told| told.contains('1'))
    });
    let (current, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let stale: Vec<(usize, Option<String>)> = std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut visitor = server.client("");
                while !done.load(Ordering::Relaxed) {
                    follow(&mut visitor, &format!("hop-{}", current.load(Ordering::Relaxed)));
                }
            });
        }
        let mut stale = Vec::new();
        for (number, row) in made["results"].as_array().unwrap()[..LINKS].iter().enumerate() {
            let slug = format!("hop-{number}");
            current.store(number, Ordering::Relaxed);
            follow(&mut ada, &slug);
            let path = format!("/links/{}", row["id"].as_str().unwrap());
            let (status, _) = call(&mut ada, "PATCH", &path, &json!({"target": "https://new.example/"}));
            let found = follow(&mut ada, &slug).header("location").map(str::to_owned);
            if (status, found.as_deref()) != (200, Some("https://new.example/")) {
                stale.push((number, found));
            }
        }
        done.store(true, Ordering::Relaxed);
        stale
    });
    assert!(stale.is_empty(), "{stale:?}");
}
