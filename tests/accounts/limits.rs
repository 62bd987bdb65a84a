//! Rate limits, lock-out, and settings that change at run time.

use crate::keys::{Key, make_key};
use crate::roles::{make_admin, sign_in};
use crate::server::{Client, Server, agora};
use crate::sessions::post;
use serde_json::json;

/// A server that counts clients on this machine too.
fn start(folder: &std::path::Path) -> Server {
    make_admin(folder);
    Server::start_with(folder, &["--accounts-unlimited", "192.0.2.0/24", "--accounts-trusted-proxies", "127.0.0.1"])
}

fn put(admin: &mut Client, key: &str, body: serde_json::Value) -> crate::server::Answer {
    admin.send("PUT", &format!("/admin/config/{key}"), body.to_string().as_bytes()).unwrap()
}

/// A public question by a client that a proxy names.
fn ask(client: &mut Client, path: &str, address: &str) -> crate::server::Answer {
    let text = format!("GET /v1{path} HTTP/1.1\r\nHost: agora\r\nX-Forwarded-For: {address}\r\n\r\n");
    client.send_raw(text.as_bytes()).unwrap()
}

#[test]
fn limits_count_by_class_and_client_and_are_changed_while_the_program_runs() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let mut admin = sign_in(&server, "root@example.org");
    let limit = json!({"per_second": 1, "burst": 3});
    assert_eq!(put(&mut admin, "limits.public", json!({"value": limit})).status, 200);
    let mut anybody = server.client("");
    for left in ["2", "1", "0"] {
        let answer = ask(&mut anybody, "/time", "198.51.100.7");
        assert_eq!((answer.status, answer.header("ratelimit-remaining")), (200, Some(left)));
        assert_eq!(answer.header("ratelimit-limit"), Some("3"));
    }
    let refused = ask(&mut anybody, "/products", "198.51.100.7");
    assert_eq!((refused.status, refused.json()["message"].as_str()), (429, Some("Public rate limit exceeded")));
    assert_eq!((refused.header("retry-after"), refused.json()["code"].as_str()), (Some("1"), Some("rate_limited")));
    assert!(refused.header("ratelimit-reset").is_some());
    let question = "POST /v1/auth/introspect HTTP/1.1\r\nHost: agora\r\nX-Forwarded-For: 198.51.100.7\r\n";
    let introspected = anybody.send_raw(format!("{question}Content-Length: 7\r\n\r\ntoken=x").as_bytes()).unwrap();
    assert_eq!((introspected.status, introspected.header("ratelimit-limit")), (200, Some("200")), "a service asks");
    // Others are not concerned: another address, an exempt one, another class.
    assert_eq!(ask(&mut anybody, "/time", "198.51.100.8").status, 200);
    for _ in 0..5 {
        let exempt = ask(&mut anybody, "/time", "192.0.2.1");
        assert_eq!((exempt.status, exempt.header("ratelimit-limit")), (200, None));
    }
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    assert_eq!(put(&mut admin, "limits.private", json!({"value": limit})).status, 200);
    let statuses: Vec<u16> = (0..4).map(|_| ada.send("GET", "/accounts", b"").unwrap().status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    let refused = ada.send("GET", "/orders", b"").unwrap();
    assert_eq!(refused.json()["message"], "Private rate limit exceeded");
    assert_eq!(bob.send("GET", "/accounts", b"").unwrap().status, 200);
    assert_eq!(ada.send("GET", "/fills?product_id=BTC-USDT", b"").unwrap().status, 200);
    // Failing to say who one is does not go on for ever.
    let statuses: Vec<u16> = (0..4).map(|_| ask(&mut anybody, "/accounts", "198.51.100.9").status).collect();
    assert_eq!(statuses, [401, 401, 401, 429]);
}

#[test]
fn a_client_behind_a_proxy_cannot_say_that_it_is_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let mut anybody = server.client("");
    // 192.0.2.1 is exempt; the proxy has appended the real address.
    for forged in
        ["192.0.2.1, 198.51.100.7", "192.0.2.1, x, 198.51.100.7", "192.0.2.1, x\r\nX-Forwarded-For: 198.51.100.7:80"]
    {
        assert!(ask(&mut anybody, "/time", forged).header("ratelimit-limit").is_some(), "{forged}");
    }
    assert_eq!(ask(&mut anybody, "/time", "198.51.100.7, 192.0.2.1").header("ratelimit-limit"), None);
}

#[test]
fn a_key_has_a_limit_of_its_own_beside_that_of_its_user() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let mut admin = sign_in(&server, "root@example.org");
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let (one, other) = (make_key(&mut ada, |_| ()), make_key(&mut ada, |_| ()));
    assert_eq!(put(&mut admin, "limits.key", json!({"value": {"per_second": 1, "burst": 2}})).status, 200);
    let mut bot = server.client("");
    let mut ask = |key: &Key| key.send(&mut bot, "GET", "/v1/accounts", "");
    assert_eq!(ask(&one).status, 200);
    // A machine that is busy may take a second for each; then it takes some more.
    let refused = (0..50).map(|_| ask(&one)).find(|answer| answer.status == 429).unwrap();
    assert_eq!((refused.header("ratelimit-limit"), refused.header("retry-after")), (Some("2"), Some("1")));
    assert_eq!(ask(&other).status, 200, "another key of the same user");
    assert_eq!(ada.send("GET", "/accounts", b"").unwrap().status, 200, "the user");
}

/// A wrong password for a made-up address from a client that a proxy names.
fn guess_from(server: &Server, address: &str, number: usize) -> crate::server::Answer {
    let body = json!({"email": format!("nobody-{number}@example.org"), "password": "wrong password"}).to_string();
    let head = format!("POST /v1/auth/sign-in HTTP/1.1\r\nHost: agora\r\nX-Forwarded-For: {address}\r\n");
    let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    server.client("").send_raw(text.as_bytes()).unwrap()
}

#[test]
fn a_network_that_guesses_is_slowed_down_whatever_the_account() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    // One is exempt from rate limits, so that what slows it down is the lock alone.
    for number in 0..100 {
        assert_eq!(guess_from(&server, "192.0.2.7", number).status, 401, "{number}");
    }
    let refused = guess_from(&server, "192.0.2.7", 1_000);
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("too_many_attempts")));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(guess_from(&server, "192.0.2.8", 1_001).status, 401, "others are not concerned");
}

#[test]
fn a_flood_of_sign_ins_is_turned_away_and_orders_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    for number in 0..20 {
        Client::sign_up(&server, &format!("user{number}@example.org"));
    }
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.01"});
    let answers: Vec<crate::server::Answer> = std::thread::scope(|scope| {
        let sign_in = |number: usize| {
            let email = format!("user{}@example.org", number % 20);
            let body = json!({"email": email, "password": "correct horse battery"});
            post(&mut server.client(""), "/auth/sign-in", &body)
        };
        let flood: Vec<_> = (0..300).map(|number| scope.spawn(move || sign_in(number))).collect();
        let (mut placed, body) = (0, order.to_string());
        while flood.iter().any(|place| !place.is_finished()) {
            // A connection that rests for long on a busy machine is closed; the next request opens another.
            if let Ok(answer) = ada.send("POST", "/orders", body.as_bytes()) {
                assert_eq!(answer.status, 200, "after {placed} orders: {}", answer.json());
                placed += 1;
                // A quick machine comes to the market's limit of open orders otherwise.
                if placed % 1_000 == 0 {
                    let _ = ada.send("DELETE", "/orders", b"");
                }
            }
        }
        assert!(placed > 0);
        flood.into_iter().map(|place| place.join().unwrap()).collect()
    });
    let with = |status: u16| answers.iter().filter(move |answer| answer.status == status);
    for refused in with(503) {
        assert_eq!(refused.json()["code"], "overloaded");
        assert!(refused.header("retry-after").is_some());
    }
    // Sixty-four wait and two are at work; of three hundred at once somebody is turned away, and nobody fails otherwise
    // but who signs in to one account from too many places at once.
    let (admitted, overloaded, slowed) = (with(200).count(), with(503).count(), with(429).count());
    assert!(admitted >= 20 && overloaded > 0, "{admitted} {overloaded} {slowed}");
    assert_eq!(admitted + overloaded + slowed, answers.len());
}

#[test]
fn settings_are_checked_compared_and_remembered() {
    let folder = tempfile::tempdir().unwrap();
    make_admin(folder.path());
    let mut server = Server::start(folder.path());
    let mut admin = sign_in(&server, "root@example.org");
    let listed = admin.get("/admin/config");
    assert!(listed.as_array().unwrap().iter().any(|setting| setting["key"] == "limits.public"));
    assert_eq!(server.client("").get("/notice")["notice"], "");
    assert_eq!(put(&mut admin, "notice", json!({"value": "Maintenance at noon", "version": 0})).json()["version"], 1);
    assert_eq!(server.client("").get("/notice")["notice"], "Maintenance at noon");
    let stale = put(&mut admin, "notice", json!({"value": "Another", "version": 0}));
    assert_eq!((stale.status, &stale.json()["code"]), (409, &json!("setting_changed")));
    assert_eq!(put(&mut admin, "notice", json!({"value": "Done", "version": 1})).json()["version"], 2);
    assert_eq!(put(&mut admin, "notice", json!({"value": ""})).json()["version"], 3);
    for (key, value, code) in [
        ("notice", json!(7), "invalid_value"),
        ("limits.public", json!({"per_second": -1, "burst": 1}), "invalid_value"),
        ("nothing", json!(1), "not_found"),
    ] {
        assert_eq!(put(&mut admin, key, json!({"value": value})).json()["code"], code, "{key}");
    }
    let notice = admin.get("/admin/config/notice");
    let values: Vec<_> = notice["history"].as_array().unwrap().iter().map(|row| row["value"].clone()).collect();
    assert_eq!(values, [json!(""), json!("Done"), json!("Maintenance at noon")]);
    assert_eq!(notice["set_by"], admin.get("/auth/me")["id"]);
    assert_eq!(admin.get("/admin/audit?action=config_changed&limit=1")[0]["detail"]["before"], "Done");

    assert_eq!(put(&mut admin, "accounts.sign_up", json!({"value": false})).status, 200);
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let server = Server::start(folder.path());
    let body = json!({"email": "ada@example.org", "password": "correct horse battery"});
    let refused = post(&mut server.client(""), "/auth/sign-up", &body);
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("sign_up_closed")));
}

#[test]
fn what_administrators_allow_counts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    make_admin(folder.path());
    let server = Server::start(folder.path());
    let mut admin = sign_in(&server, "root@example.org");
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut set = |key: &str, value: serde_json::Value| {
        let answer = put(&mut admin, key, json!({"value": value}));
        (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    let ask = |client: &mut Client, path: &str, body: &serde_json::Value| {
        let answer = post(client, path, body);
        (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    let done = || (200, String::new());

    // Play money is no longer given away, and is again.
    let deposit = json!({"currency": "BTC", "amount": "1"});
    assert_eq!(ask(&mut ada, "/deposits/demo", &deposit).0, 200);
    assert_eq!(server.client("").get("/notice"), json!({"notice": "", "demo_funds": true}));
    assert_eq!(set("accounts.demo_funds", json!(false)), done());
    assert_eq!(ask(&mut ada, "/deposits/demo", &deposit), (403, "no_demo_funds".into()));
    assert_eq!(server.client("").get("/notice")["demo_funds"], false, "nobody is promised any");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    assert!(bob.get("/accounts").as_array().unwrap().iter().all(|account| account["balance"] == "0"));
    assert_eq!(set("accounts.demo_funds", json!(true)), done());
    assert_eq!(ask(&mut ada, "/deposits/demo", &deposit).0, 200);

    // Withdrawals are closed, in every dialect; what is called back is not.
    let wallet = ada.get("/coinbase-accounts")[0].clone();
    let address = format!("/coinbase-accounts/{}/addresses", wallet["id"].as_str().unwrap());
    let address = post(&mut ada, &address, &json!({})).json()["address"].clone();
    let withdrawal = json!({"amount": "0.1", "currency": wallet["currency"], "crypto_address": address});
    assert_eq!(set("custody.withdrawals", json!(false)), done());
    assert_eq!(ask(&mut ada, "/withdrawals/crypto", &withdrawal), (403, "withdrawals_closed".into()));
    let other = json!({"amount": "0.1", "cryptoAddress": address}).to_string();
    let head = format!(
        "POST /api/wallets/{}/withdrawal HTTP/1.1\r\nHost: agora\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        wallet["currency"].as_str().unwrap(),
        ada.token,
        other.len()
    );
    assert_eq!(server.client("").send_raw((head + &other).as_bytes()).unwrap().status, 403);
    assert_eq!(set("custody.withdrawals", json!(true)), done());
    assert_eq!(ask(&mut ada, "/withdrawals/crypto", &withdrawal).0, 200);

    // Links without an account; how many somebody has; how many come at once.
    let link = |number: usize| json!({"target": format!("https://example.org/{number}")});
    assert_eq!(ask(&mut server.client(""), "/links", &link(0)).0, 401);
    assert_eq!(set("links.anonymous", json!(true)), done());
    assert_eq!(server.client("").get("/links/domains")[0]["anonymous"], true);
    assert_eq!(ask(&mut server.client(""), "/links", &link(0)).0, 201);
    assert_eq!(set("links.max_per_user", json!(1)), done());
    assert_eq!(ask(&mut ada, "/links", &link(1)).0, 201);
    assert_eq!(ask(&mut ada, "/links", &link(2)).1, "too_many_links");
    assert_eq!(set("links.max_per_user", json!(100)), done());
    assert_eq!(set("links.import_rows", json!(1)), done());
    let rows = json!([link(3), link(4)]).to_string();
    let head = format!(
        "POST /v1/links/import HTTP/1.1\r\nHost: agora\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        ada.token,
        rows.len()
    );
    assert_eq!(server.client("").send_raw((head + &rows).as_bytes()).unwrap().json()["code"], "too_many_rows");

    // How fast somebody may write.
    let room = post(&mut ada, "/chat/rooms", &json!({"kind": "public", "name": "Hall"})).json();
    let messages = format!("/chat/rooms/{}/messages", room["id"].as_str().unwrap());
    for key in ["chat.user_rate", "chat.room_rate"] {
        assert!(matches!(ask(&mut ada, &messages, &json!({"text": "one"})).0, 200 | 201));
        assert_eq!(set(key, json!(1)), done());
        // A machine that is busy may take ten seconds for each; then it takes some more.
        let refused =
            (0..50).map(|_| ask(&mut ada, &messages, &json!({"text": "more"}))).find(|(status, _)| *status == 429);
        assert!(refused.is_some(), "{key} has no effect");
        assert_eq!(set(key, json!(0)), done());
    }

    for (key, value) in [
        ("accounts.demo_funds", json!("yes")),
        ("links.anonymous", json!(1)),
        ("links.max_per_user", json!(-1)),
        ("links.import_rows", json!(0)),
        ("chat.user_rate", json!(0.5)),
        ("chat.room_rate", json!(1_000_000)),
    ] {
        assert_eq!(set(key, value), (400, "invalid_value".into()), "{key}");
    }
}

#[test]
fn play_money_cannot_be_switched_on_where_a_server_was_started_without_it() {
    let folder = tempfile::tempdir().unwrap();
    make_admin(folder.path());
    let server = Server::run(agora(&["serve", "--listen", "127.0.0.1:0"], folder.path()));
    let mut admin = sign_in(&server, "root@example.org");
    let refused = put(&mut admin, "accounts.demo_funds", json!({"value": true}));
    assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_value")));
    assert_eq!(put(&mut admin, "accounts.demo_funds", json!({"value": false})).status, 200);
}

#[test]
fn guessing_passwords_takes_longer_and_longer() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    Client::sign_up(&server, "ada@example.org");
    let guess = |email: &str, password: &str| {
        post(&mut server.client(""), "/auth/sign-in", &json!({"email": email, "password": password}))
    };
    for email in ["ada@example.org", "nobody@example.org"] {
        let (mut first, mut refused) = (None, 0);
        for _ in 0..12 {
            let answer = guess(email, "wrong password");
            match answer.status {
                401 => assert_eq!(*first.get_or_insert(answer.json()), answer.json()),
                status => {
                    assert_eq!((status, &answer.json()["code"]), (429, &json!("too_many_attempts")));
                    assert!(answer.header("retry-after").is_some());
                    refused += 1;
                }
            }
        }
        assert!(refused >= 1, "{email}");
    }
}
