//! Second factors, and sign-in through other providers.

use crate::provider::{Provider, new_key};
use crate::roles::make_admin;
use crate::server::{Answer, Client, Server};
use crate::sessions::post;
use crate::smtp::MailServer;
use aws_lc_rs::hmac;
use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const PASSWORD: &str = "correct horse battery";

pub fn base32(text: &str) -> Vec<u8> {
    let signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: Vec<u8> = text
        .chars()
        .flat_map(|sign| {
            let value = signs.find(sign).unwrap() as u8;
            (0..5).rev().map(move |place| value >> place & 1)
        })
        .collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | bit)).collect()
}

/// What an authenticator shows, some steps from now.
pub fn totp(secret: &str, steps: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &base32(secret));
    let tag = hmac::sign(&key, &(now / 30 + steps).to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

fn sign_in(server: &Server, code: Value) -> (u16, String) {
    let body = json!({"email": "ada@example.org", "password": PASSWORD, "totp": code});
    let answer = post(&mut server.client(""), "/auth/sign-in", &body);
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_second_factor_is_asked_for_and_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let seed = post(&mut ada, "/auth/totp", &json!({})).json();
    let secret = seed["secret"].as_str().unwrap();
    assert!(seed["uri"].as_str().unwrap().contains(&format!("secret={secret}")));
    assert!(seed["qr"].as_str().unwrap().contains("<svg"));
    // Not asked for before it is confirmed.
    assert_eq!(sign_in(&server, Value::Null).0, 200);
    assert_eq!(post(&mut ada, "/auth/totp/confirm", &json!({"code": "000000"})).json()["code"], "wrong_code");
    let confirmed = post(&mut ada, "/auth/totp/confirm", &json!({"code": totp(secret, -1)}));
    assert_eq!(confirmed.status, 200, "{}", confirmed.json());
    let codes = confirmed.json()["recovery_codes"].clone();
    assert_eq!(codes.as_array().unwrap().len(), 10);
    assert_eq!(post(&mut ada, "/auth/totp", &json!({})).json()["code"], "second_factor_present");

    assert_eq!(sign_in(&server, Value::Null), (401, "second_factor_required".into()));
    assert_eq!(sign_in(&server, json!("000000")), (400, "wrong_code".into()));
    let code = totp(secret, 0);
    assert_eq!(sign_in(&server, json!(code)).0, 200);
    assert_eq!(sign_in(&server, json!(code)), (400, "wrong_code".into()), "no code counts twice");
    assert_eq!(sign_in(&server, codes[0].clone()).0, 200);
    assert_eq!(sign_in(&server, codes[0].clone()), (400, "wrong_code".into()));
    let lower = codes[1].as_str().unwrap().to_lowercase();
    assert_eq!(sign_in(&server, json!(lower)).0, 200);

    let remove = |client: &mut Client, code: &Value| {
        client.send("DELETE", "/auth/totp", json!({"password": PASSWORD, "code": code}).to_string().as_bytes()).unwrap()
    };
    assert_eq!(remove(&mut ada, &json!("nonsense")).status, 400);
    assert_eq!(remove(&mut ada, &codes[2]).status, 200);
    assert_eq!(sign_in(&server, Value::Null).0, 200);
    assert_eq!(ada.get("/auth/totp"), json!({"enabled": false}));
}

/// A browser: cookies of one site.
struct Browser<'a> {
    server: &'a Server,
    cookies: Vec<(String, String)>,
}

impl Browser<'_> {
    fn send(&mut self, method: &str, path: &str, more: &str) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let text = format!(
            "{method} /v1{path} HTTP/1.1\r\nHost: agora.test\r\nCookie: {}\r\n{more}Content-Length: 0\r\n\r\n",
            cookies.join("; ")
        );
        let answer = self.server.client("").send_raw(text.as_bytes()).unwrap();
        for (_, set) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(other, _)| other != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        answer
    }

    /// Goes to the provider, where somebody says yes, and comes back.
    fn sign_in(&mut self, at: &Provider, id: &str, subject: &str, change: impl FnOnce(&mut Value)) -> Answer {
        let left = self.send("GET", &format!("/auth/oidc/{id}/start?back=/wallet"), "");
        assert_eq!(left.status, 302, "{}", left.json());
        let (code, state) = at.consent(left.header("location").unwrap(), change, subject);
        self.send("GET", &format!("/auth/oidc/{id}/callback?code={code}&state={state}"), "")
    }
}

struct Scene {
    _folder: tempfile::TempDir,
    provider: Provider,
    server: Server,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(&[])
    }

    fn with(more: &[&str]) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        make_admin(folder.path());
        let provider = Provider::start();
        let file = folder.path().join("providers.toml");
        std::fs::write(&file, provider.settings()).unwrap();
        let providers = ["--accounts-providers", file.to_str().unwrap()];
        let server = Server::start_with(folder.path(), &[&providers, more].concat());
        Scene { _folder: folder, provider, server }
    }

    fn browser(&self) -> Browser<'_> {
        Browser { server: &self.server, cookies: Vec::new() }
    }
}

#[test]
fn people_sign_in_through_a_provider_and_link_it() {
    let scene = Scene::new();
    let listed = scene.server.client("").get("/auth/providers");
    assert_eq!(listed, json!([{"id": "local", "name": "Local"}, {"id": "line", "name": "line"}]));
    let verified = |email: &'static str| {
        move |claims: &mut Value| {
            claims["email"] = email.into();
            claims["email_verified"] = true.into();
            claims["name"] = "Ada".into();
        }
    };
    let mut browser = scene.browser();
    let back = browser.sign_in(&scene.provider, "local", "ada", verified("ada@example.org"));
    assert_eq!((back.status, back.header("location")), (302, Some("/wallet")), "{}", back.json());
    let me = browser.send("GET", "/auth/me", "").json();
    assert_eq!((&me["email"], &me["name"]), (&json!("ada@example.org"), &json!("Ada")));
    assert_eq!(me["email_confirmed"], true, "the provider has verified it");
    assert_eq!(browser.send("GET", "/accounts", "").status, 200);
    let noted = crate::roles::sign_in(&scene.server, "root@example.org")
        .get(&format!("/admin/audit?user={}", me["id"].as_str().unwrap()));
    let actions: Vec<_> = noted.as_array().unwrap().iter().map(|row| &row["action"]).collect();
    assert_eq!(actions, ["sign_in", "identity_linked", "sign_up"]);
    assert_eq!((&noted[2]["detail"]["provider"], &noted[2]["address"]), (&json!("local"), &json!("127.0.0.1")));
    // Again, from elsewhere, without an address: the identity is what counts.
    let mut phone = scene.browser();
    assert_eq!(phone.sign_in(&scene.provider, "local", "ada", |_| ()).status, 302);
    assert_eq!(phone.send("GET", "/auth/me", "").json()["id"], me["id"]);
    // LINE gives no address here, and its own endpoint checks the token.
    let mut line = scene.browser();
    assert_eq!(line.sign_in(&scene.provider, "line", "U123", |_| ()).status, 302);
    let other = line.send("GET", "/auth/me", "").json();
    assert!(other["id"] != me["id"] && other["email"].as_str().unwrap().ends_with("@users.invalid"));
    let csrf = line.cookies.iter().find(|(name, _)| name == "agora_csrf").unwrap().1.clone();
    let unlinked = line.send("DELETE", "/auth/identities/line", &format!("X-CSRF-Token: {csrf}\r\n"));
    assert_eq!((unlinked.status, &unlinked.json()["code"]), (409, &json!("last_way_in")));

    // An address that has an account, or that is not verified, takes nothing over.
    Client::sign_up(&scene.server, "bob@example.org");
    let taken = scene.browser().sign_in(&scene.provider, "local", "eve", verified("bob@example.org"));
    assert_eq!((taken.status, &taken.json()["code"]), (409, &json!("email_taken")));
    let mut eve = scene.browser();
    eve.sign_in(&scene.provider, "local", "eve", |claims| claims["email"] = "bob@example.org".into());
    assert!(eve.send("GET", "/auth/me", "").json()["email"].as_str().unwrap().ends_with("@users.invalid"));

    // Linking: from a session, with the header that only our pages know.
    let csrf = browser.cookies.iter().find(|(name, _)| name == "agora_csrf").unwrap().1.clone();
    assert_eq!(browser.send("POST", "/auth/identities/line", "").status, 403);
    let left = browser.send("POST", "/auth/identities/line", &format!("X-CSRF-Token: {csrf}\r\n"));
    let (code, state) = scene.provider.consent(left.json()["url"].as_str().unwrap(), |_| (), "U999");
    assert_eq!(browser.send("GET", &format!("/auth/oidc/line/callback?code={code}&state={state}"), "").status, 302);
    // But not once the session has ended that wanted it.
    let mut thief = scene.browser();
    thief.sign_in(&scene.provider, "local", "ada", |_| ());
    let header = {
        let csrf = &thief.cookies.iter().find(|(name, _)| name == "agora_csrf").unwrap().1;
        format!("X-CSRF-Token: {csrf}\r\n")
    };
    let left = thief.send("POST", "/auth/identities/local", &header);
    let (code, state) = scene.provider.consent(left.json()["url"].as_str().unwrap(), |_| (), "mallory");
    assert_eq!(thief.send("POST", "/auth/sign-out", &header).status, 200);
    let late = thief.send("GET", &format!("/auth/oidc/local/callback?code={code}&state={state}"), "");
    assert_eq!((late.status, &late.json()["code"]), (401, &json!("token_revoked")));
    assert_eq!(browser.send("GET", "/auth/identities", "").json().as_array().unwrap().len(), 2);
    let mut by_line = scene.browser();
    by_line.sign_in(&scene.provider, "line", "U999", |_| ());
    assert_eq!(by_line.send("GET", "/auth/me", "").json()["id"], me["id"]);
    assert_eq!(browser.send("DELETE", "/auth/identities/line", &format!("X-CSRF-Token: {csrf}\r\n")).status, 200);

    // A page that holds its tokens itself takes them out of the cookies, once.
    let refresh = browser.cookies.iter().find(|(name, _)| name == "agora_refresh").unwrap().1.clone();
    let take = || {
        let body = r#"{"cookies":false}"#;
        let head = format!("POST /v1/auth/refresh HTTP/1.1\r\nHost: agora\r\nCookie: agora_refresh={refresh}\r\n");
        let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        scene.server.client("").send_raw(text.as_bytes()).unwrap()
    };
    let taken = take();
    assert_eq!(taken.json()["user"]["id"], me["id"]);
    assert_eq!(scene.server.client(taken.json()["access_token"].as_str().unwrap()).get("/auth/me")["id"], me["id"]);
    assert!(
        taken.headers.iter().filter(|(name, value)| name == "set-cookie" && value.contains("Max-Age=0")).count() == 3
    );
    assert_eq!(take().json()["code"], "token_reused");

    // A token that an app got by itself counts once; one of a browser is for the browser.
    let show = |token: &str| post(&mut scene.server.client(""), "/auth/oidc/local/token", &json!({"id_token": token}));
    let token = scene.provider.sign(&scene.provider.claims_of_app("ada"));
    assert_eq!(show(&token).json()["user"]["id"], me["id"]);
    let leaked = scene.provider.sign(&scene.provider.claims("ada", "a nonce"));
    for token in [token, leaked] {
        assert_eq!((show(&token).status, &show(&token).json()["code"]), (401, &json!("provider_refused")));
    }
}

#[test]
fn a_user_whose_provider_gave_no_address_gets_one_and_with_it_a_password() {
    let mails = MailServer::start();
    let scene = Scene::with(&["--accounts-smtp-url", &mails.url()]);
    let mut line = scene.browser();
    assert_eq!(line.sign_in(&scene.provider, "line", "U123", |_| ()).status, 302);
    let me = line.send("GET", "/auth/me", "").json();
    assert_eq!(me["has_email"], false);
    let csrf = line.cookies.iter().find(|(name, _)| name == "agora_csrf").unwrap().1.clone();
    let header = format!("X-CSRF-Token: {csrf}\r\n");
    let mut lin = {
        let body = r#"{"cookies":false}"#;
        let refresh = &line.cookies.iter().find(|(name, _)| name == "agora_refresh").unwrap().1;
        let head = format!("POST /v1/auth/refresh HTTP/1.1\r\nHost: agora\r\nCookie: agora_refresh={refresh}\r\n");
        let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = scene.server.client("").send_raw(text.as_bytes()).unwrap().json();
        scene.server.client(answer["access_token"].as_str().unwrap())
    };
    let code = |answer: &Answer| (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned());
    let digits = |mail: &str| -> String {
        mail.split("Your code: ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect()
    };
    let wish = |email: &str| json!({"email": email});
    let confirm = |client: &mut Client, email: &str, code: &str| {
        post(client, "/auth/email/confirm", &json!({"email": email, "code": code}))
    };

    assert_eq!(code(&post(&mut lin, "/auth/email", &wish("nonsense"))), (400, "invalid_email".into()));
    assert_eq!(code(&post(&mut lin, "/auth/email", &wish("x@users.invalid"))), (400, "invalid_email".into()));
    assert_eq!(post(&mut lin, "/auth/email", &wish("lin@example.org")).status, 200);
    assert_eq!(code(&post(&mut lin, "/auth/email", &wish("lin@example.net"))), (429, "too_many_attempts".into()));
    let mail = mails.next();
    assert!(mail.contains("To: lin@example.org"), "{mail}");
    let mailed = digits(&mail);
    // The code counts for this user and this address alone.
    let mut bob = Client::sign_up(&scene.server, "bob@example.org");
    assert_eq!(code(&confirm(&mut bob, "lin@example.org", &mailed)), (400, "wrong_code".into()));
    assert_eq!(code(&confirm(&mut lin, "eve@example.org", &mailed)), (400, "wrong_code".into()));
    assert_eq!(code(&confirm(&mut lin, "lin@example.org", "000")), (400, "wrong_code".into()));
    let changed = confirm(&mut lin, " Lin@Example.org ", &mailed);
    assert_eq!((changed.status, &changed.json()["email"]), (200, &json!("lin@example.org")), "{}", changed.json());
    assert_eq!((&changed.json()["has_email"], &changed.json()["id"]), (&json!(true), &me["id"]));
    assert_eq!(code(&confirm(&mut lin, "lin@example.org", &mailed)), (400, "wrong_code".into()), "once");

    // With the address a password, and with both the provider can be left.
    let forgot = post(&mut scene.server.client(""), "/auth/password/forgot", &wish("lin@example.org"));
    assert_eq!(forgot.status, 200, "{}", forgot.json());
    let reset = json!({"email": "lin@example.org", "code": digits(&mails.next()), "new_password": PASSWORD});
    assert_eq!(post(&mut scene.server.client(""), "/auth/password/reset", &reset).status, 200);
    let entered =
        post(&mut scene.server.client(""), "/auth/sign-in", &json!({"email": "lin@example.org", "password": PASSWORD}));
    assert_eq!(entered.json()["user"]["id"], me["id"]);
    lin.token = entered.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(lin.send("DELETE", "/auth/identities/line", b"").unwrap().status, 200);
    let noted = crate::roles::sign_in(&scene.server, "root@example.org").get("/admin/audit?action=identity_unlinked");
    assert_eq!((&noted[0]["user"], &noted[0]["detail"]["provider"]), (&me["id"], &json!("line")));
    assert_eq!(line.send("GET", "/auth/me", &header).status, 401, "the reset has ended what there was");
    let noted = lin.get("/auth/me");
    assert_eq!((&noted["email"], &noted["has_email"]), (&json!("lin@example.org"), &json!(true)));
}

#[test]
fn a_provider_that_is_linked_confirms_the_users_own_address_if_it_has_verified_it() {
    let scene = Scene::new();
    for (email, told, verified, expected) in [
        ("ada@example.org", " Ada@Example.org", true, true),
        ("bob@example.org", "robert@example.org", true, false),
        ("cid@example.org", "cid@example.org", false, false),
    ] {
        let mut user = Client::sign_up(&scene.server, email);
        assert_eq!(user.get("/auth/me")["email_confirmed"], false, "{email}");
        // The state of the way to the provider is in a cookie.
        let mut browser = scene.browser();
        let header = format!("Authorization: Bearer {}\r\n", user.token);
        let left = browser.send("POST", "/auth/identities/local", &header);
        assert_eq!(left.status, 200, "{}", left.json());
        let claim = |claims: &mut Value| {
            claims["email"] = told.into();
            claims["email_verified"] = verified.into();
        };
        let (code, state) = scene.provider.consent(left.json()["url"].as_str().unwrap(), claim, email);
        let back = browser.send("GET", &format!("/auth/oidc/local/callback?code={code}&state={state}"), &header);
        assert_eq!(back.status, 302, "{}", back.json());
        assert_eq!(user.get("/auth/identities").as_array().unwrap().len(), 1);
        let me = user.get("/auth/me");
        assert_eq!((&me["email"], &me["email_confirmed"]), (&json!(email), &json!(expected)));
    }
}

#[test]
fn an_address_is_changed_by_its_owner_alone_and_tells_nothing_about_others() {
    let folder = tempfile::tempdir().unwrap();
    let mails = MailServer::start();
    let server = Server::start_with(folder.path(), &["--accounts-smtp-url", &mails.url()]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut eve = Client::sign_up(&server, "eve@example.org");
    let want = |client: &mut Client, email: &str, password: Value| {
        let answer = post(client, "/auth/email", &json!({"email": email, "password": password}));
        (answer.status, answer.json())
    };
    // An open session is not enough.
    for wrong in [Value::Null, json!("wrong password")] {
        let (status, answer) = want(&mut ada, "ada@example.net", wrong);
        assert_eq!((status, &answer["code"]), (401, &json!("wrong_credentials")));
    }
    // Somebody else's address gets the same answer as one that is free; its owner alone hears of it.
    let taken = want(&mut eve, "ada@example.org", json!(PASSWORD));
    assert_eq!(taken, (200, json!({})));
    let told = mails.next();
    assert!(told.contains("To: ada@example.org") && !told.contains("Your code"), "{told}");
    assert_eq!(want(&mut ada, "ada@example.net", json!(PASSWORD)), taken);
    let mail = mails.next();
    let code: String = mail.split("Your code: ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let confirmed = post(&mut ada, "/auth/email/confirm", &json!({"email": "ada@example.net", "code": code}));
    assert_eq!(confirmed.json()["email"], "ada@example.net");
    assert_eq!(want(&mut ada, "ada@example.net", json!(PASSWORD)).1["code"], "email_taken", "her own");
    let old = mails.next();
    assert!(old.contains("To: ada@example.org") && old.contains("another e-mail address"), "{old}");
    let sign_in = |email: &str| {
        post(&mut server.client(""), "/auth/sign-in", &json!({"email": email, "password": PASSWORD})).status
    };
    assert_eq!((sign_in("ada@example.net"), sign_in("ada@example.org")), (200, 401));
}

#[test]
fn forged_and_foreign_identities_are_refused() {
    let scene = Scene::new();
    let refused = |answer: &Answer, status: u16, code: &str| {
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{}", answer.json());
    };
    let changes: [fn(&mut Value); 5] = [
        |claims| claims["nonce"] = "another".into(),
        |claims| claims["aud"] = "somebody-else".into(),
        |claims| claims["iss"] = "http://elsewhere".into(),
        |claims| claims["exp"] = 1_000_000_000.into(),
        |claims| claims["sub"] = "".into(),
    ];
    for id in ["local", "line"] {
        for change in changes {
            refused(&scene.browser().sign_in(&scene.provider, id, "ada", change), 401, "provider_refused");
        }
    }
    // People are not shown JSON, but our page with the reason.
    let page = "/auth/oidc/local/callback?code=guess&state=guess";
    let shown = scene.browser().send("GET", page, "Accept: text/html,application/xhtml+xml\r\n");
    assert_eq!((shown.status, shown.header("location")), (302, Some("/?error=provider_flow")));
    let mut browser = scene.browser();
    let left = browser.send("GET", "/auth/oidc/local/start", "");
    let (code, state) = scene.provider.consent(left.header("location").unwrap(), |_| (), "ada");
    let path = |code: &str, state: &str| format!("/auth/oidc/local/callback?code={code}&state={state}");
    // Another browser, another state, another provider, an unknown code.
    refused(&scene.browser().send("GET", &path(&code, &state), ""), 400, "provider_flow");
    refused(&browser.send("GET", &path(&code, "guess"), ""), 400, "provider_flow");
    let other = format!("/auth/oidc/line/callback?code={code}&state={state}");
    refused(&browser.send("GET", &other, ""), 400, "provider_flow");
    refused(&browser.send("GET", &path("guess", &state), ""), 401, "provider_refused");
    refused(&browser.send("GET", "/auth/oidc/nobody/start", ""), 404, "not_found");

    let (foreign, _) = new_key();
    let claims = scene.provider.claims_of_app("ada");
    let header = Header { kid: Some("key-1".into()), ..Header::new(Algorithm::ES256) };
    let mut forged = vec![jsonwebtoken::encode(&header, &claims, &foreign).unwrap()];
    let secret = jsonwebtoken::EncodingKey::from_secret(crate::provider::SECRET.as_bytes());
    let header = Header { kid: Some("key-1".into()), ..Header::new(Algorithm::HS256) };
    forged.push(jsonwebtoken::encode(&header, &claims, &secret).unwrap());
    forged.push("a.b.c".into());
    for token in forged {
        let answer = post(&mut scene.server.client(""), "/auth/oidc/local/token", &json!({"id_token": token}));
        refused(&answer, 401, "provider_refused");
    }
}
