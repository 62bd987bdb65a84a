//! Sessions: refresh, reuse, cookies, sign-out, passwords.

use crate::server::{Answer, Client, Server, agora};
use crate::smtp::MailServer;
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";

pub fn post(client: &mut Client, path: &str, body: &Value) -> Answer {
    client.send("POST", path, body.to_string().as_bytes()).unwrap()
}

fn sign_in(server: &Server, email: &str, password: &str) -> Answer {
    post(&mut server.client(""), "/auth/sign-in", &json!({"email": email, "password": password}))
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn refresh_tokens_rotate_and_a_reused_one_ends_its_family() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    Client::sign_up(&server, "ada@example.org");
    let session = sign_in(&server, "ada@example.org", PASSWORD).json();
    let refresh = |token: &Value| post(&mut server.client(""), "/auth/refresh", &json!({"refresh_token": token}));
    let second = refresh(&session["refresh_token"]);
    assert_eq!(second.status, 200, "{}", second.json());
    assert_ne!(second.json()["refresh_token"], session["refresh_token"]);
    let mut ada = server.client(second.json()["access_token"].as_str().unwrap());
    assert_eq!(ada.get("/auth/me")["email"], "ada@example.org");

    assert_eq!(code(&refresh(&session["refresh_token"])), (401, "token_reused".into()));
    assert_eq!(code(&refresh(&second.json()["refresh_token"])), (401, "token_revoked".into()));
    assert_eq!(code(&ada.send("GET", "/accounts", b"").unwrap()), (401, "token_revoked".into()));
    assert_eq!(code(&refresh(&json!("made up"))), (401, "token_invalid".into()));
    assert_eq!(code(&refresh(&Value::Null)), (400, "invalid_body".into()));
    // The session of the sign-up is another family.
    assert_eq!(sign_in(&server, "ada@example.org", PASSWORD).status, 200);
}

#[test]
fn sessions_are_listed_and_ended_one_by_one_or_all() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let token = sign_in(&server, "ada@example.org", PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
    let mut phone = server.client(&token);
    let listed = ada.get("/auth/sessions");
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!((&listed[0]["current"], &listed[1]["current"]), (&json!(false), &json!(true)));
    assert_eq!(listed[0]["address"], "127.0.0.1");
    let path = format!("/auth/sessions/{}", listed[0]["id"].as_str().unwrap());
    assert_eq!(bob.send("DELETE", &path, b"").unwrap().status, 404);
    assert_eq!(phone.send("GET", "/auth/me", b"").unwrap().status, 200);
    let active = |client: &mut Client, token: &str| {
        post(client, "/auth/introspect", &json!({"token": token})).json()["active"].as_bool().unwrap()
    };
    assert!(active(&mut bob, &token));
    assert_eq!(ada.send("DELETE", &path, b"").unwrap().status, 200);
    assert_eq!(code(&phone.send("GET", "/auth/me", b"").unwrap()), (401, "token_revoked".into()));
    assert!(!active(&mut bob, &token) && !active(&mut bob, "nonsense"));
    assert_eq!(ada.send("DELETE", &path, b"").unwrap().status, 404);

    let escaped = ada.token.replace('.', "%2E");
    for form in [
        format!("token={}&token_type_hint=access_token", ada.token),
        format!("token_type_hint=access_token&token={escaped}"),
    ] {
        let about = bob.send("POST", "/auth/introspect", form.as_bytes()).unwrap().json();
        assert_eq!((&about["active"], &about["role"]), (&json!(true), &json!("user")), "{form}");
        assert_eq!(about["user_id"], ada.get("/auth/me")["id"]);
    }
    assert_eq!(code(&bob.send("POST", "/auth/introspect", b"tokens=none").unwrap()), (400, "invalid_body".into()));

    assert_eq!(post(&mut ada, "/auth/sign-out-all", &json!({})).status, 200);
    assert_eq!(code(&ada.send("GET", "/auth/me", b"").unwrap()), (401, "token_revoked".into()));
    assert_eq!(bob.send("GET", "/auth/me", b"").unwrap().status, 200);
}

/// `name=value` of the cookies that an answer sets.
fn cookies(answer: &Answer) -> Vec<(String, String)> {
    let set = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    set.map(|(_, value)| {
        let (pair, rest) = value.split_once(';').unwrap();
        (pair.to_owned(), rest.to_owned())
    })
    .collect()
}

#[test]
fn a_session_in_cookies_is_safe_from_other_sites() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--accounts-trusted-proxies", "127.0.0.1"]);
    Client::sign_up(&server, "ada@example.org");
    let mut page = server.client("");
    let body = json!({"email": "ada@example.org", "password": PASSWORD, "cookies": true});
    let answer = post(&mut page, "/auth/sign-in", &body);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["access_token"], Value::Null);
    let csrf = answer.json()["csrf_token"].as_str().unwrap().to_owned();
    let set = cookies(&answer);
    assert_eq!(set.len(), 3);
    for (pair, attributes) in &set {
        let hidden = !pair.starts_with("agora_csrf=");
        assert_eq!(attributes.contains("HttpOnly"), hidden, "{pair}");
        assert!(attributes.contains("SameSite=") && !attributes.contains("Secure"), "{attributes}");
    }
    let all: Vec<&str> = set.iter().map(|(pair, _)| pair.as_str()).collect();
    let all = all.join("; ");
    let send = |method: &str, path: &str, more: &str, body: &str| {
        let length = body.len();
        let text = format!(
            "{method} /v1{path} HTTP/1.1\r\nHost: agora\r\nCookie: {all}\r\n{more}Content-Length: {length}\r\n\r\n{body}"
        );
        server.client("").send_raw(text.as_bytes()).unwrap()
    };
    let order = r#"{"product_id":"BTC-USDT","side":"buy","price":"100","size":"0.5"}"#;
    assert_eq!(send("GET", "/accounts", "", "").status, 200);
    assert_eq!(code(&send("POST", "/orders", "", order)), (403, "csrf_token".into()));
    assert_eq!(code(&send("POST", "/orders", "X-CSRF-Token: guess\r\n", order)), (403, "csrf_token".into()));
    assert_eq!(send("POST", "/orders", &format!("X-CSRF-Token: {csrf}\r\n"), order).status, 200);

    let refreshed = send("POST", "/auth/refresh", "X-Forwarded-Proto: https\r\n", "");
    assert_eq!(refreshed.status, 200, "{}", refreshed.json());
    // No other site signs anybody in here.
    for foreign in ["Sec-Fetch-Site: cross-site\r\n", "Origin: https://evil.example\r\n"] {
        for (path, body) in [
            ("/auth/sign-in", &body),
            ("/auth/sign-up", &body),
            ("/auth/oidc/local/token", &json!({"id_token": "theirs", "cookies": true})),
            ("/auth/second-factor", &json!({"ticket": "theirs", "totp": "123456", "cookies": true})),
        ] {
            assert_eq!(code(&send("POST", path, foreign, &body.to_string())), (403, "csrf_token".into()), "{path}");
        }
    }
    let own = "Sec-Fetch-Site: same-origin\r\nOrigin: http://agora\r\n";
    let token = json!({"id_token": "ours", "cookies": true}).to_string();
    assert_eq!(code(&send("POST", "/auth/oidc/local/token", own, &token)).1, "not_found");
    assert_eq!(send("POST", "/auth/sign-in", own, &body.to_string()).status, 200);
    assert_eq!(cookies(&refreshed).len(), 3);
    assert!(cookies(&refreshed).iter().all(|(_, attributes)| attributes.contains("Secure")), "behind TLS");
    let out = send("POST", "/auth/sign-out", &format!("X-CSRF-Token: {csrf}\r\n"), "");
    assert!(out.status == 200 && cookies(&out).iter().all(|(_, attributes)| attributes.contains("Max-Age=0")));
    assert_eq!(code(&send("GET", "/accounts", "", "")), (401, "token_revoked".into()));
}

#[test]
fn passwords_are_changed_by_the_old_one_or_by_a_mailed_code() {
    let folder = tempfile::tempdir().unwrap();
    let mails = MailServer::start();
    let server = Server::start_with(folder.path(), &["--accounts-smtp-url", &mails.url()]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let change = |client: &mut Client, old: &str, new: &str| {
        post(client, "/auth/password", &json!({"old_password": old, "new_password": new}))
    };
    assert_eq!(code(&change(&mut ada, "wrong password", "a new good one")), (401, "wrong_credentials".into()));
    assert_eq!(code(&change(&mut ada, PASSWORD, "short")), (400, "weak_password".into()));
    assert_eq!(change(&mut ada, PASSWORD, "a new good one").status, 200);
    assert_eq!(sign_in(&server, "ada@example.org", PASSWORD).status, 401);

    // Known and unknown addresses get the same answer; only one gets mail.
    let forgot = |email: &str| post(&mut server.client(""), "/auth/password/forgot", &json!({"email": email}));
    let (known, unknown) = (forgot("ada@example.org"), forgot("nobody@example.org"));
    assert_eq!((known.status, known.json()), (unknown.status, unknown.json()));
    assert_eq!(known.status, 200);
    assert_eq!(code(&forgot("ada@example.org")), (429, "too_many_attempts".into()));
    assert_eq!(code(&forgot("nobody@example.org")), (429, "too_many_attempts".into()));
    let mail = mails.next();
    assert!(mail.contains("To: ada@example.org") && mails.is_empty(), "{mail}");
    let digits: String = mail.split("Your code: ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let reset = |email: &str, code: &str, new: &str| {
        post(
            &mut server.client(""),
            "/auth/password/reset",
            &json!({"email": email, "code": code, "new_password": new}),
        )
    };
    assert_eq!(code(&reset("ada@example.org", "000", "yet another one")), (400, "wrong_code".into()));
    assert_eq!(code(&reset("nobody@example.org", &digits, "yet another one")), (400, "wrong_code".into()));
    assert_eq!(reset("ada@example.org", &digits, "yet another one").status, 200);
    assert_eq!(code(&reset("ada@example.org", &digits, "and one more")), (400, "wrong_code".into()));
    assert_eq!(code(&ada.send("GET", "/auth/me", b"").unwrap()), (401, "token_revoked".into()));
    assert_eq!(sign_in(&server, "ada@example.org", "yet another one").status, 200);
}

#[test]
fn without_a_mail_server_a_demo_logs_its_mail_and_another_server_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let forgot =
        |server: &Server| post(&mut server.client(""), "/auth/password/forgot", &json!({"email": "ada@example.org"}));
    let plain = |more: &[&str]| agora(&[&["serve", "--listen", "127.0.0.1:0"], more].concat(), folder.path());
    let server = Server::run(plain(&[]));
    Client::sign_up(&server, "ada@example.org");
    let refused = forgot(&server);
    assert_eq!(code(&refused), (503, "mail_not_configured".into()));
    assert_eq!(refused.header("retry-after"), None, "waiting does not help");
    drop(server);

    let log = folder.path().join("mail-log");
    let mut command = plain(&["--demo-funds"]);
    command.env("AGORA_LOG", "warn").stderr(std::fs::File::create(&log).unwrap());
    let server = Server::run(command);
    assert_eq!(forgot(&server).status, 200);
    let digits = loop {
        let text = std::fs::read_to_string(&log).unwrap();
        let found = text.split("Your code: ").nth(1).map(|rest| rest.chars().take(9).collect::<String>());
        if let Some(digits) = found.filter(|digits| digits.bytes().filter(u8::is_ascii_digit).count() == 9) {
            break digits;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let body = json!({"email": "ada@example.org", "code": digits, "new_password": "a new good one"});
    assert_eq!(post(&mut server.client(""), "/auth/password/reset", &body).status, 200);
    assert_eq!(sign_in(&server, "ada@example.org", "a new good one").status, 200);
}

#[test]
fn the_profile_has_a_name_and_a_photo() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut put = |body: Value| ada.send("PUT", "/auth/me", body.to_string().as_bytes()).unwrap();
    let changed = put(json!({"name": " Ada L. ", "photo": "https://example.org/a.png"}));
    assert_eq!((changed.status, &changed.json()["name"]), (200, &json!("Ada L.")));
    assert_eq!(put(json!({"name": "Ada"})).json()["photo"], "https://example.org/a.png");
    for bad in [json!({"name": "x".repeat(65)}), json!({"photo": "javascript:alert(1)"}), json!({"name": "a\nb"})] {
        assert_eq!(code(&put(bad.clone())), (400, "invalid_profile".into()), "{bad}");
    }
}
