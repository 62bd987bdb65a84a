//! Notifications: by webhook, e-mail and LINE, of fills, transfers, prices and security.

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
