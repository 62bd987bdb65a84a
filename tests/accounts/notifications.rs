//! Notifications: by webhook, e-mail and LINE, of fills, transfers, prices and security.

use crate::provider::Provider;
use crate::server::{Client, Server};
use crate::sessions::post;
use crate::sink::Sink;
use crate::smtp::MailServer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

fn mac(secret: &str, text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn put(client: &mut Client, outlet: &str, body: Value) -> crate::server::Answer {
    client.send("PUT", &format!("/notifications/outlets/{outlet}"), body.to_string().as_bytes()).unwrap()
}

#[test]
fn a_webhook_is_signed_and_tells_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--accounts-private-webhooks"]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let sink = Sink::start(&[]);
    let events = ["fill", "transfer", "price_alert", "security"];
    let made = put(&mut ada, "webhook", json!({"url": format!("{}/hook", sink.url()), "events": events}));
    assert_eq!(made.status, 200, "{}", made.json());
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    let next = || -> Value {
        let request = sink.next();
        assert!(request.first.starts_with("POST /hook "), "{}", request.first);
        let header = request.headers.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("agora-signature").then(|| value.to_owned())
        });
        let header = header.unwrap();
        let (time, hex) = header.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let expected = mac(&secret, &format!("{time}.{}", request.body));
        assert_eq!(hex, expected.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        serde_json::from_str(&request.body).unwrap()
    };
    // Play money of the sign-up may be told of as well, before or between.
    let mut waiting: Vec<Value> = Vec::new();
    let mut of = |event: &str| -> Value {
        while !waiting.iter().any(|told| told["event"] == event) {
            waiting.push(next());
        }
        let place = waiting.iter().position(|told| told["event"] == event).unwrap();
        waiting.remove(place)["data"].take()
    };
    // That the outlet was changed is itself something to tell.
    assert_eq!(of("security")["action"], "outlet_changed");

    let alert = json!({"product_id": "BTC-USDT", "direction": "above", "price": "150"});
    assert_eq!(post(&mut ada, "/notifications/alerts", &alert).status, 200);
    assert_eq!(ada.get("/notifications/alerts")[0]["price"].as_str().unwrap().trim_end_matches(['0', '.']), "15");
    let order = |side: &str| json!({"product_id": "BTC-USDT", "side": side, "price": "200", "size": "0.5"});
    post(&mut ada, "/orders", &order("sell"));
    post(&mut bob, "/orders", &order("buy"));
    let fill = of("fill");
    assert_eq!((&fill["side"], &fill["liquidity"]), (&json!("sell"), &json!("M")));
    assert_eq!((&fill["product_id"], &fill["trade_id"]), (&json!("BTC-USDT"), &json!(1)));
    assert_eq!(of("price_alert")["direction"], "above");
    assert_eq!(ada.get("/notifications/alerts"), json!([]));

    post(&mut ada, "/deposits/demo", &json!({"currency": "USDT", "amount": "12.5"}));
    let deposit = json!(["deposit", "USDT"]);
    loop {
        let told = of("transfer");
        if json!([told["type"], told["currency"]]) == deposit && told["amount"].as_str().unwrap().starts_with("12.5") {
            break;
        }
    }
    assert_eq!(ada.get("/notifications/failed"), json!([]));
    assert_eq!(ada.send("POST", "/notifications/failed/1/retry", b"").unwrap().status, 404);
    // Bob's outlets are Bob's affair.
    assert_eq!(bob.get("/notifications/outlets"), json!([]));
    assert_eq!(bob.send("DELETE", "/notifications/outlets/webhook", b"").unwrap().status, 404);
}

#[test]
fn outlets_are_checked_and_webhooks_stay_out_of_our_network() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    for (outlet, body, code) in [
        ("pigeon", json!({"events": ["fill"]}), "invalid_outlet"),
        ("webhook", json!({"events": ["fill"]}), "invalid_outlet"),
        ("webhook", json!({"events": ["fill"], "url": "file:///etc/passwd"}), "invalid_outlet"),
        ("email", json!({"events": ["fill"], "url": "https://example.org"}), "invalid_outlet"),
        ("email", json!({"events": ["weather"]}), "unknown_event"),
        ("email", json!({}), "invalid_body"),
    ] {
        assert_eq!(put(&mut ada, outlet, body.clone()).json()["code"], code, "{outlet} {body}");
    }
    // Whatever is named twice is wanted once.
    let made = put(&mut ada, "line", json!({"events": ["transfer", "fill", "transfer", "fill"]}));
    assert_eq!((made.status, &made.json()["events"]), (200, &json!(["fill", "transfer"])));
    assert_eq!(ada.get("/notifications/outlets")[0]["events"], json!(["fill", "transfer"]));
    for (field, value, code) in [
        ("product_id", "NO-PE", "product_not_found"),
        ("direction", "sideways", "invalid_direction"),
        ("price", "-1", "not_positive"),
    ] {
        let mut alert = json!({"product_id": "BTC-USDT", "direction": "above", "price": "150"});
        alert[field] = value.into();
        assert_eq!(post(&mut ada, "/notifications/alerts", &alert).json()["code"], code, "{field}");
    }
}

#[test]
fn mail_and_line_carry_what_their_owner_wants() {
    let folder = tempfile::tempdir().unwrap();
    let (mails, line) = (MailServer::start(), Sink::start(&[]));
    let server = Server::start_with(
        folder.path(),
        &[
            "--accounts-smtp-url",
            &mails.url(),
            "--accounts-line-token",
            "line-token",
            "--accounts-line-secret",
            "line-secret",
            "--accounts-line-url",
            &line.url(),
        ],
    );
    let mut ada = Client::sign_up(&server, "ada@example.org");
    // Anybody may sign up with this address, so it gets no mail before a code of it came back.
    let refused = put(&mut ada, "email", json!({"events": ["security"]}));
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("email_not_confirmed")));
    assert_eq!(ada.get("/notifications/outlets"), json!([]));
    assert_eq!(put(&mut ada, "email", json!({"events": []})).status, 200, "nothing would be mailed");
    let own = json!({"email": "ada@example.org"});
    assert_eq!(post(&mut ada, "/auth/email", &own).status, 200);
    let mail = mails.next();
    let code: String = mail.split("Your code: ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let confirmed = post(&mut ada, "/auth/email/confirm", &json!({"email": "ada@example.org", "code": code}));
    assert_eq!((confirmed.status, &confirmed.json()["email"]), (200, &json!("ada@example.org")));
    assert_eq!(post(&mut ada, "/auth/email", &own).json()["code"], "email_taken", "it is confirmed already");
    assert_eq!(put(&mut ada, "email", json!({"events": ["security"]})).status, 200);
    assert!(mails.next().contains("outlet changed"));
    post(&mut ada, "/auth/keys", &json!({"passphrase": "x", "permissions": ["view"]}));
    let mail = mails.next();
    assert!(mail.contains("To: ada@example.org") && mail.contains("key created"), "{mail}");

    // LINE asks with its signature and is answered.
    let said =
        json!({"events": [{"replyToken": "reply-1", "message": {"type": "text", "text": "btc-usdt"}}]}).to_string();
    let send = |signature: &str| {
        let text = format!(
            "POST /v1/line/webhook HTTP/1.1\r\nHost: agora\r\nX-Line-Signature: {signature}\r\nContent-Length: {}\r\n\r\n{said}",
            said.len()
        );
        server.client("").send_raw(text.as_bytes()).unwrap()
    };
    assert_eq!(send("").status, 401);
    assert_eq!(send(&STANDARD.encode(mac("another", &said))).status, 401);
    assert_eq!(send(&STANDARD.encode(mac("line-secret", &said))).status, 200);
    let reply = line.next();
    assert!(reply.first.starts_with("POST /v2/bot/message/reply "), "{}", reply.first);
    assert!(reply.headers.to_lowercase().contains("authorization: bearer line-token"));
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body["replyToken"], "reply-1");
    assert!(body["messages"][0]["text"].as_str().unwrap().starts_with("BTC-USDT"));
}

#[test]
fn line_pushes_to_linked_users_and_takes_their_pictures() {
    const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\nand so on";
    let folder = tempfile::tempdir().unwrap();
    let (provider, line, pictures) = (Provider::start(), Sink::start(&[]), Sink::serving(&[], PICTURE));
    let file = folder.path().join("providers.toml");
    std::fs::write(&file, provider.settings()).unwrap();
    let server = Server::start_with(
        folder.path(),
        &[
            "--accounts-providers",
            file.to_str().unwrap(),
            "--accounts-line-token",
            "line-token",
            "--accounts-line-secret",
            "line-secret",
            "--accounts-line-url",
            &line.url(),
            "--accounts-line-data-url",
            &pictures.url(),
        ],
    );
    let token = provider.sign(&provider.claims_of_app("U777"));
    let session = post(&mut server.client(""), "/auth/oidc/line/token", &json!({"id_token": token})).json();
    let mut ada = server.client(session["access_token"].as_str().unwrap());
    assert_eq!(put(&mut ada, "line", json!({"events": ["security"]})).status, 200);
    let pushed = line.next();
    assert!(pushed.first.starts_with("POST /v2/bot/message/push "), "{}", pushed.first);
    assert!(pushed.headers.to_lowercase().contains("authorization: bearer line-token"));
    let body: Value = serde_json::from_str(&pushed.body).unwrap();
    assert_eq!(body["to"], "U777");
    assert!(body["messages"][0]["text"].as_str().unwrap().contains("outlet changed"), "{body}");

    let say = |event: Value| -> Value {
        let said = json!({"events": [event]}).to_string();
        let (signature, length) = (STANDARD.encode(mac("line-secret", &said)), said.len());
        let head = format!("POST /v1/line/webhook HTTP/1.1\r\nHost: agora\r\nX-Line-Signature: {signature}\r\n");
        let text = format!("{head}Content-Length: {length}\r\n\r\n{said}");
        let answer = server.client("").send_raw(text.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        serde_json::from_str::<Value>(&line.next().body).unwrap()["messages"][0].take()
    };
    // What is no market is answered with a template: a button for each market.
    let said = json!({"replyToken": "r", "message": {"type": "text", "text": "hello"}});
    let template = say(said);
    assert_eq!((&template["type"], &template["template"]["type"]), (&json!("template"), &json!("buttons")));
    assert_eq!(template["template"]["actions"][0]["text"], "BTC-USDT");

    let photo = |user: &str| json!({"replyToken": "r", "source": {"type": "user", "userId": user}, "message": {"type": "image", "id": "4711"}});
    assert!(say(photo("U000"))["text"].as_str().unwrap().starts_with("Link LINE"));
    assert!(say(photo("U777"))["text"].as_str().unwrap().contains("picture of your account"));
    let asked = pictures.next();
    assert!(asked.first.starts_with("GET /v2/bot/message/4711/content "), "{}", asked.first);
    assert!(asked.headers.to_lowercase().contains("authorization: bearer line-token"));
    let path_of = |client: &mut Client| {
        let photo = client.get("/auth/me")["photo"].as_str().unwrap().to_owned();
        photo.split_once("/v1").unwrap().1.to_owned()
    };
    let first = path_of(&mut ada);
    let shown = server.client("").send("GET", &first, b"").unwrap();
    assert_eq!((shown.status, shown.header("content-type"), shown.body.as_slice()), (200, Some("image/png"), PICTURE));

    // The same by the user's own hand; the old picture is gone then.
    assert_eq!(ada.send("PUT", "/auth/me/photo", b"<svg onload=x>").unwrap().status, 415);
    assert_eq!(ada.send("PUT", "/auth/me/photo", b"\xff\xd8\xff\xe0 jpeg").unwrap().status, 200);
    assert_eq!(server.client("").send("GET", &first, b"").unwrap().status, 404);
    let second = path_of(&mut ada);
    assert_ne!(second, first);
    // Nor does one stay behind that something else takes the place of.
    assert_eq!(ada.send("PUT", "/auth/me", br#"{"name": "Ada"}"#).unwrap().status, 200);
    assert_eq!(server.client("").send("GET", &second, b"").unwrap().status, 200);
    assert_eq!(ada.send("PUT", "/auth/me", br#"{"photo": " "}"#).unwrap().status, 200);
    assert_eq!(server.client("").send("GET", &second, b"").unwrap().status, 404);
}

#[test]
fn a_webhook_keeps_its_secret_until_it_goes_elsewhere_or_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut secret = |url: &str, renew: bool| {
        let body = json!({"url": url, "events": ["fill"], "new_secret": renew});
        put(&mut ada, "webhook", body).json()["secret"].as_str().map(str::to_owned)
    };
    let first = secret("https://example.org/a", false).unwrap();
    assert_eq!(secret("https://example.org/a", false), None);
    let renewed = secret("https://example.org/a", true).unwrap();
    let moved = secret("https://example.org/b", false).unwrap();
    assert!(first != renewed && renewed != moved);
}
