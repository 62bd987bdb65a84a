//! Another user: every route that names a thing, called with the name of somebody else's.

use crate::server::{Answer, Client, Server};
use agora::http::permissions::{Access, Rule, TABLE};
use serde_json::{Value, json};

/// The smallest picture there is.
const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// Routes whose placeholder names nothing of somebody's.
const NOT_SOMEBODYS: [(&str, &str, &str); 7] = [
    ("PUT", "/notifications/outlets/{outlet}", "everybody has their own of each kind"),
    ("DELETE", "/notifications/outlets/{outlet}", "everybody has their own of each kind"),
    ("POST", "/auth/identities/{provider}", "a provider, for oneself"),
    ("DELETE", "/auth/identities/{provider}", "a provider, for oneself"),
    ("GET", "/api/wallets/{currency}/address", "a currency, of one's own"),
    ("GET", "/api/wallets/{currency}/transactions", "a currency, of one's own"),
    ("POST", "/api/wallets/{currency}/withdrawal", "a currency, of one's own"),
];

/// Routes that other tests try as another user, since their things are hard to come by or meant for others.
const ELSEWHERE: [(&str, &str, &str); 2] = [
    ("POST", "/notifications/failed/{id}/retry", "half a day of failures: dead_letters.rs"),
    ("POST", "/chat/invites/{invite}", "an invitation is for whoever has it: tests/chat/rights.rs"),
];

fn ask(server: &Server, token: &str, method: &str, path: &str, body: &[u8]) -> Answer {
    // A connection of its own: a socket's is of no use afterwards.
    let upgrade = if path.ends_with("/live") {
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    } else {
        ""
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: agora\r\nAuthorization: Bearer {token}\r\n{upgrade}Content-Length: {}\r\n\r\n",
        body.len()
    );
    server.client("").send_raw(&[head.as_bytes(), body].concat()).unwrap()
}

/// What the user has, by the beginning of the routes that name it.
fn things(server: &Server, ada: &mut Client) -> Vec<(&'static str, String)> {
    let token = ada.token.clone();
    let id = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut make = |path: &str, body: &Value| {
        let answer = ada.send("POST", path, body.to_string().as_bytes()).unwrap();
        assert!(matches!(answer.status, 200 | 201), "{path}: {}", answer.json());
        answer.json()
    };
    let order = make("/orders", &json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.5"}));
    let key = make("/auth/keys", &json!({"passphrase": "x", "permissions": ["view"]}));
    let alert =
        make("/notifications/alerts", &json!({"product_id": "BTC-USDT", "direction": "above", "price": "99999"}));
    let room = id(&make("/chat/rooms", &json!({"kind": "private", "name": "Den"}))["id"]);
    let invite = make(&format!("/chat/rooms/{room}/invites"), &json!({}));
    make(&format!("/chat/rooms/{room}/messages"), &json!({"text": "a secret"}));
    let link = make("/links", &json!({"target": "https://example.org/"}));
    let deposit = make("/deposits/demo", &json!({"currency": "BTC", "amount": "1"}));
    assert_eq!(deposit["currency"], "BTC");
    let wallet = ada.get("/coinbase-accounts")[0].clone();
    let outside = format!("/coinbase-accounts/{}/addresses", id(&wallet["id"]));
    let outside = ada.send("POST", &outside, b"{}").unwrap().json()["address"].clone();
    let withdrawal = json!({"amount": "0.1", "currency": wallet["currency"], "crypto_address": outside});
    let withdrawal = ada.send("POST", "/withdrawals/crypto", withdrawal.to_string().as_bytes()).unwrap().json();
    let first = |ada: &mut Client, path: &str| id(&ada.get(path)[0]["id"]);
    let image = ask(server, &token, "POST", &format!("/v1/chat/rooms/{room}/images"), GIF);
    assert_eq!(image.status, 201, "{}", image.json());
    let picture = id(&ask(server, &token, "GET", "/api/files/url", b"").json()["url"]);
    assert_eq!(ask(server, &token, "PUT", &picture, GIF).status, 200);
    vec![
        ("/orders/", id(&order["id"])),
        ("/api/orders/", id(&order["id"])),
        ("/auth/keys/", id(&key["key"])),
        ("/api/apps/", id(&key["key"])),
        ("/auth/sessions/", first(ada, "/auth/sessions")),
        ("/notifications/alerts/", id(&alert["id"])),
        ("/profiles/", first(ada, "/profiles")),
        ("/accounts/", first(ada, "/accounts")),
        ("/transfers/", first(ada, "/transfers")),
        ("/coinbase-accounts/", id(&wallet["id"])),
        ("/withdrawals/", id(&withdrawal["id"])),
        ("/users/", id(&ada.get("/auth/me")["id"])),
        ("/chat/rooms/", room),
        ("/chat/invites/", id(&invite["invite"])),
        ("/chat/images/", id(&image.json()["id"])),
        ("/links/", id(&link["id"])),
        ("/api/files/", picture.rsplit('/').next().unwrap().to_owned()),
    ]
}

/// A body that the route would take from whoever may.
fn body(rule: &Rule, ada: &str) -> Vec<u8> {
    let body = match (rule.method, rule.pattern) {
        (_, "/api/files/{id}" | "/chat/rooms/{id}/images") => return GIF.to_vec(),
        ("PATCH", "/orders/{id}") => json!({"price": "101"}),
        ("PATCH", "/chat/rooms/{id}") => json!({"topic": "mine now"}),
        ("PUT", "/chat/rooms/{id}/read") => json!({"message": 1}),
        ("POST", "/chat/rooms/{id}/members") => json!({"user": ada}),
        ("PATCH", "/chat/rooms/{id}/members/{user}") => json!({"mute_s": 60}),
        (_, "/chat/rooms/{id}/messages" | "/chat/rooms/{id}/messages/{sequence}") => json!({"text": "me too"}),
        ("POST", "/chat/rooms/{id}/messages/{sequence}/reactions") => json!({"emoji": "👍"}),
        ("POST", "/chat/rooms/{id}/messages/{sequence}/reports") => json!({"reason": "spam"}),
        ("PATCH", "/links/{id}") => json!({"title": "mine now"}),
        ("POST" | "PUT", _) => json!({}),
        _ => return Vec::new(),
    };
    body.to_string().into_bytes()
}

#[test]
fn another_user_reaches_nothing_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let bob = Client::sign_up(&server, "bob@example.org");
    let id = ada.get("/auth/me")["id"].as_str().unwrap().to_owned();
    let things = things(&server, &mut ada);
    let mut tried = 0;
    let mut whole = Vec::new();
    for rule in TABLE.iter().filter(|rule| rule.pattern.contains('{')) {
        let own = matches!(rule.access, Access::Own(_) | Access::Session | Access::Caller);
        let listed = |list: &[(&str, &str, &str)]| list.iter().any(|row| (row.0, row.1) == (rule.method, rule.pattern));
        if !own || listed(&NOT_SOMEBODYS) || listed(&ELSEWHERE) {
            continue;
        }
        let named = things
            .iter()
            .find(|(prefix, _)| rule.pattern.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('{')));
        let (_, name) = named
            .unwrap_or_else(|| panic!("{} {} names a thing that this test does not make", rule.method, rule.pattern));
        let fill = |part: &str| match part {
            "{user}" => id.clone(),
            "{sequence}" | "{number}" => "1".to_owned(),
            part if part.starts_with('{') => name.clone(),
            part => part.to_owned(),
        };
        let path = rule.pattern.split('/').map(fill).collect::<Vec<_>>().join("/");
        let path = if path.starts_with("/api/") { path } else { format!("/v1{path}") };
        let answer = ask(&server, &bob.token, rule.method, &path, &body(rule, &id));
        let what = format!("{} {path} as another user: {} {}", rule.method, answer.status, answer.json());
        assert!(matches!(answer.status, 403 | 404), "{what}");
        tried += 1;
        if rule.method == "GET" {
            whole.push(path);
        }
    }
    assert!(tried > 40, "only {tried} routes were tried");
    // The names were right, and everything is as it was.
    for path in whole {
        let status = ask(&server, &ada.token, "GET", &path, b"").status;
        assert_eq!(status, if path.ends_with("/live") { 101 } else { 200 }, "{path}");
    }
    let orders = ada.get("/orders");
    assert_eq!((orders.as_array().unwrap().len(), &orders[0]["price"]), (1, &json!("100")), "{orders}");
    assert_eq!(ada.get("/auth/keys").as_array().unwrap().len(), 1);
    assert_eq!(ada.get("/auth/sessions").as_array().unwrap().len(), 1);
    assert_eq!(ada.get("/notifications/alerts").as_array().unwrap().len(), 1);
}
