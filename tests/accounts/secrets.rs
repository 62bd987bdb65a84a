//! What is secret is neither in the log nor, in the clear, on the disk.

use crate::factors::{base32, totp};
use crate::keys::{PASSPHRASE, make_key};
use crate::server::{Client, Server, agora};
use crate::sessions::post;
use crate::smtp::MailServer;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;

const PASSWORD: &str = "correct horse battery";
const NEW_PASSWORD: &str = "a new and better horse";

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Every file below a folder, but the keys that open the rest.
fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().unwrap() != "keys" {
                files(&path, found);
            }
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default()));
        }
    }
}

#[test]
fn secrets_are_neither_logged_nor_stored_in_the_clear() {
    let (folder, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mails = MailServer::start();
    let log = logs.path().join("log");
    let mut command = agora(&["serve", "--demo-funds", "--listen", "127.0.0.1:0"], folder.path());
    // Everything that the program itself has to say.
    command.args(["--accounts-smtp-url", &mails.url(), "--accounts-private-webhooks"]);
    command.env("AGORA_LOG", "info,agora=trace").stderr(File::create(&log).unwrap());
    let mut server = Server::run(command);

    let mut secrets: Vec<(&str, Vec<u8>)> = vec![("password", PASSWORD.into()), ("new password", NEW_PASSWORD.into())];
    let text = |value: &Value| value.as_str().unwrap().as_bytes().to_vec();
    let mut ada = Client::sign_up(&server, "ada@example.org");
    secrets.push(("access token", ada.token.clone().into_bytes()));
    let sign_in = |password: &str, code: Value, cookies: bool| {
        let body = json!({"email": "ada@example.org", "password": password, "totp": code, "cookies": cookies});
        post(&mut server.client(""), "/auth/sign-in", &body)
    };
    let session = sign_in(PASSWORD, Value::Null, false).json();
    secrets.push(("refresh token", text(&session["refresh_token"])));
    assert_eq!(
        post(&mut server.client(""), "/auth/refresh", &json!({"refresh_token": session["refresh_token"]})).status,
        200
    );
    // Used twice, which is worth a word in the log, without the token.
    assert_eq!(
        post(&mut server.client(""), "/auth/refresh", &json!({"refresh_token": session["refresh_token"]})).status,
        401
    );
    assert_eq!(post(&mut server.client(""), "/auth/introspect", &json!({"token": ada.token})).status, 200);
    let page = sign_in(PASSWORD, Value::Null, true);
    secrets.push(("CSRF token", text(&page.json()["csrf_token"])));
    for (_, cookie) in page.headers.iter().filter(|(name, _)| name == "set-cookie") {
        let value = cookie.split(';').next().unwrap().split_once('=').unwrap().1;
        secrets.push(("cookie", value.as_bytes().to_vec()));
    }
    assert_eq!(sign_in("wrong horse battery", Value::Null, false).status, 401);
    secrets.push(("wrong password", b"wrong horse battery".to_vec()));

    let key = make_key(&mut ada, |_| ());
    let order = r#"{"product_id":"BTC-USDT","side":"buy","price":"100","size":"0.5"}"#;
    assert_eq!(key.send(&mut server.client(""), "POST", "/v1/orders", order).status, 200);
    use base64::Engine;
    secrets.push(("API secret, text", base64::engine::general_purpose::STANDARD.encode(&key.secret).into_bytes()));
    secrets.push(("API secret", key.secret.clone()));
    secrets.push(("passphrase", PASSPHRASE.into()));

    let seed = post(&mut ada, "/auth/totp", &json!({})).json();
    let seed = seed["secret"].as_str().unwrap().to_owned();
    let codes =
        post(&mut ada, "/auth/totp/confirm", &json!({"code": totp(&seed, -1)})).json()["recovery_codes"].clone();
    assert_eq!(sign_in(PASSWORD, codes[0].clone(), false).status, 200);
    secrets.push(("TOTP seed", base32(&seed)));
    secrets.push(("TOTP seed, text", seed.into_bytes()));
    secrets.extend(codes.as_array().unwrap().iter().map(|code| ("recovery code", text(code))));

    let hook = json!({"events": ["security", "fill"], "url": "http://127.0.0.1:9/hook"}).to_string();
    let made = ada.send("PUT", "/notifications/outlets/webhook", hook.as_bytes()).unwrap().json();
    secrets.push(("webhook secret", text(&made["secret"])));

    post(&mut server.client(""), "/auth/password/forgot", &json!({"email": "ada@example.org"}));
    let mail = mails.next();
    let code: String = mail.split("Your code: ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let reset = json!({"email": "ada@example.org", "code": code, "new_password": NEW_PASSWORD});
    assert_eq!(post(&mut server.client(""), "/auth/password/reset", &reset).status, 200);
    secrets.push(("mailed code", code.into_bytes()));
    assert_eq!(sign_in(NEW_PASSWORD, codes[1].clone(), false).status, 200);

    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let log = std::fs::read(log).unwrap();
    assert!(contains(&log, b"a refresh token was used twice"), "the log is written");
    let mut stored = Vec::new();
    files(folder.path(), &mut stored);
    assert!(stored.iter().any(|(_, content)| contains(content, b"ada@example.org")), "the database is among them");
    for (what, secret) in &secrets {
        assert!(secret.len() >= 8, "{what} is too short to look for");
        assert!(!contains(&log, secret), "{what} is in the log");
        for (file, content) in &stored {
            assert!(!contains(content, secret), "{what} is in {file}");
        }
    }
}
