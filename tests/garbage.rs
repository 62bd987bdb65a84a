//! Nonsense of every kind against the running program: each answer is a documented 4xx with a JSON
//! body of `message` and `code`, and nothing of anybody's changes.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "model/rng.rs"]
mod rng;
mod server;

use futures_util::{SinkExt, StreamExt};
use rng::Rng;
use serde_json::{Value, json};
use server::{Answer, Client, Server};
use std::time::Duration;

/// A server with two users who both have open orders.
struct Scene {
    _folder: tempfile::TempDir,
    server: Server,
    ada: Client,
    bob: Client,
    before: [Value; 4],
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        let mut ada = Client::sign_up(&server, "ada@example.org");
        let mut bob = Client::sign_up(&server, "bob@example.org");
        let place = |client: &mut Client, side: &str, price: u32, client_oid: &str| {
            let order = json!({"product_id": "BTC-USDT", "side": side, "price": price, "size": "0.5",
                "client_oid": client_oid});
            assert_eq!(client.send("POST", "/orders", order.to_string().as_bytes()).unwrap().status, 200);
        };
        place(&mut ada, "sell", 1_000, "11111111-2222-4333-8444-555555555555");
        place(&mut ada, "sell", 1_100, "11111111-2222-4333-8444-777777777777");
        place(&mut bob, "buy", 1_000, "11111111-2222-4333-8444-555555555555");
        place(&mut bob, "buy", 900, "11111111-2222-4333-8444-666666666666");
        let before = picture(&mut ada, &mut bob);
        Scene { _folder: folder, server, ada, bob, before }
    }

    /// Asserts that nothing has changed, and that the program still takes orders.
    fn unharmed(mut self) {
        assert_eq!(self.before, picture(&mut self.ada, &mut self.bob));
        let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": 901, "size": "0.5"});
        assert_eq!(self.bob.send("POST", "/orders", order.to_string().as_bytes()).unwrap().status, 200);
        assert!(self.server.process.try_wait().unwrap().is_none());
    }
}

fn picture(ada: &mut Client, bob: &mut Client) -> [Value; 4] {
    let orders = "/orders?status=all";
    [ada.get("/accounts"), ada.get(orders), bob.get("/accounts"), bob.get(orders)]
}

/// Asserts that this is a refusal in the documented form.
fn refused(answer: &Answer, what: &str) {
    let body = answer.json();
    let shown = String::from_utf8_lossy(&answer.body);
    assert!(matches!(answer.status, 400 | 401 | 403 | 404 | 409 | 413 | 429), "{what}: {} {shown}", answer.status);
    assert!(body["message"].is_string() && body["code"].is_string(), "{what}: {} {shown}", answer.status);
}

/// Sends a good order with one field replaced by this JSON text.
fn spoiled(client: &mut Client, field: &str, value: &str) -> Answer {
    let good = [
        ("product_id", r#""BTC-USDT""#),
        ("side", r#""buy""#),
        ("type", r#""limit""#),
        ("price", r#""500""#),
        ("size", r#""0.1""#),
    ];
    let mut fields: Vec<_> = good.into_iter().filter(|(name, _)| *name != field).collect();
    fields.push((field, value));
    let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    client.send("POST", "/orders", format!("{{{}}}", fields.join(",")).as_bytes()).unwrap()
}

#[test]
fn bad_orders_and_deposits_are_refused() {
    let mut scene = Scene::new();
    let client = &mut scene.ada;
    let long = format!("\"{}\"", "9".repeat(40));
    let precise = format!("0.{}1", "0".repeat(39));
    let deep = "[".repeat(30_000);
    let closed = format!("{deep}{}", "]".repeat(30_000));
    let numbers = [
        "-1",
        "\"-0.5\"",
        "0",
        "\"0\"",
        "NaN",
        "\"NaN\"",
        "Infinity",
        "\"inf\"",
        "1e400",
        "\"1e400\"",
        "1e-400",
        "\"1e99999999999999999999\"",
        &long,
        &long[1..41],
        &precise,
        "\"\"",
        "\" 1\"",
        "\"1,5\"",
        "\"0x10\"",
        "true",
        "[]",
        "{}",
        "[1]",
        "\"1.2.3\"",
        "\"\\u0000\"",
        "\"١\"",
        "18446744073709551616",
        "\"--1\"",
        "\"+1\"",
        &deep,
        &closed,
    ];
    for value in numbers {
        let shown = &value[..value.len().min(60)];
        for field in ["price", "size", "stop_price"] {
            refused(&spoiled(client, field, value), &format!("{field} {shown}"));
        }
        let market = format!(r#"{{"product_id":"BTC-USDT","side":"buy","type":"market","funds":{value}}}"#);
        refused(&client.send("POST", "/orders", market.as_bytes()).unwrap(), &format!("funds {shown}"));
        let deposit = format!(r#"{{"currency":"USDT","amount":{value}}}"#);
        refused(&client.send("POST", "/deposits/demo", deposit.as_bytes()).unwrap(), &format!("amount {shown}"));
    }
    let words = [
        ("product_id", r#""NO-SUCH""#),
        ("product_id", r#""""#),
        ("product_id", "7"),
        ("product_id", r#""BTC-USDT\u0000""#),
        ("side", r#""BUY""#),
        ("side", "1"),
        ("side", "null"),
        ("type", r#""twap""#),
        ("type", "[]"),
        ("time_in_force", r#""GTX""#),
        ("time_in_force", "5"),
        ("time_in_force", r#""GTT""#),
        ("cancel_after", r#""year""#),
        ("cancel_after", r#""min""#),
        ("post_only", r#""yes""#),
        ("post_only", "1"),
        ("stop", r#""up""#),
        ("stop", r#""loss""#),
        ("stp", r#""zz""#),
        ("stp", "{}"),
        ("client_oid", r#""x""#),
        ("client_oid", "12"),
        ("client_oid", r#""11111111-2222-4333-8444-55555555555""#),
        ("funds", "5"),
        ("price", r#""1000000000""#),
        ("price", "null"),
        ("size", "null"),
        ("size", r#""0.0000001""#),
    ];
    for (field, value) in words {
        refused(&spoiled(client, field, value), &format!("{field} {value}"));
    }
    for body in
        ["", "null", "[]", "7", "\"x\"", "{", "{}", "{\"side\"", "\u{feff}{}", "{\"side\":\"\\ud800\"}", &deep, &closed]
    {
        for path in ["/orders", "/deposits/demo", "/auth/sign-up", "/auth/sign-in"] {
            refused(&client.send("POST", path, body.as_bytes()).unwrap(), &format!("{path} {body:.40}"));
        }
    }
    for body in [
        r#"{"currency":"DOGE","amount":"1"}"#,
        r#"{"currency":"USDT","amount":"1000000.00000001"}"#,
        r#"{"currency":"USDT","amount":"1","id":"x"}"#,
        r#"{"currency":["USDT"],"amount":"1"}"#,
    ] {
        refused(&client.send("POST", "/deposits/demo", body.as_bytes()).unwrap(), body);
    }
    scene.unharmed();
}

#[test]
fn random_and_huge_bodies_are_refused() {
    let mut scene = Scene::new();
    let mut rng = Rng(0xbad);
    let paths = ["/orders", "/deposits/demo", "/auth/sign-up", "/auth/sign-in"];
    let valid = r#"{"product_id":"BTC-USDT","side":"buy","price":"500","size":"0.1"}"#.as_bytes();
    for _ in 0..300 {
        let path = rng.pick(&paths);
        let mut body: Vec<u8> = (0..rng.below(200)).map(|_| rng.next() as u8).collect();
        if rng.one_in(2) {
            // A beginning that is right takes the rest further in.
            body.splice(0..0, valid[..rng.below(valid.len() as u64) as usize].iter().copied());
        }
        refused(&scene.ada.send("POST", path, &body).unwrap(), &format!("{path} {body:?}"));
    }
    for path in paths {
        for body in [vec![b'x'; 1 << 20], [valid, &vec![b' '; 1 << 20]].concat()] {
            let answer = scene.ada.send("POST", path, &body).unwrap();
            refused(&answer, &format!("{path} with a megabyte"));
        }
    }
    scene.unharmed();
}

#[test]
fn bad_paths_and_queries_are_refused() {
    let mut scene = Scene::new();
    let most = u64::MAX;
    let bad = [
        "/nothing".to_string(),
        "/products/NO-SUCH".into(),
        "/products/%ff".into(),
        "/products/BTC%2FUSDT%00".into(),
        "/currencies/%00".into(),
        "/products/NO-SUCH/book".into(),
        "/products/BTC-USDT/book?level=4".into(),
        "/products/BTC-USDT/book?level=-1".into(),
        "/products/BTC-USDT/book?level=x".into(),
        "/products/BTC-USDT/candles?granularity=7".into(),
        "/products/BTC-USDT/candles?granularity=-60".into(),
        "/products/BTC-USDT/candles?granularity=x".into(),
        "/products/BTC-USDT/candles?start=yesterday".into(),
        format!("/products/BTC-USDT/candles?start={}", i64::MAX),
        "/products/BTC-USDT/candles?start=-9223372036854&end=9223372036854".into(),
        "/products/BTC-USDT/candles?start=0&end=1000000000".into(),
        "/products/BTC-USDT/trades?limit=-1".into(),
        "/products/BTC-USDT/trades?limit=0".into(),
        "/products/BTC-USDT/trades?limit=x".into(),
        "/products/BTC-USDT/trades?after=x".into(),
        "/products/BTC-USDT/trades?before=-1".into(),
        "/products/NO-SUCH/trades".into(),
        "/products/NO-SUCH/ticker".into(),
        "/products/NO-SUCH/stats".into(),
        "/orders?limit=-1".into(),
        "/orders?limit=0".into(),
        "/orders?status=lost".into(),
        "/orders?after=x".into(),
        "/orders?after=1-2".into(),
        "/orders?before=1-99999-1".into(),
        "/orders?product_id=NO-SUCH".into(),
        format!("/orders?after={most}-0-1"),
        "/orders/x".into(),
        "/orders/%ff".into(),
        "/orders/client:x".into(),
        "/orders/00000000-0000-0000-0000-000000000000".into(),
        "/orders/client:00000000-0000-0000-0000-000000000000".into(),
        "/orders/ffffffff-ffff-80a1-bfff-ffffffffffff".into(),
        "/orders/ffffffff-ffff-80a1-8000-0000ffffffff".into(),
        "/accounts/x".into(),
        "/accounts/ffffffff-ffff-80a2-8000-000000000000".into(),
        "/accounts/00000000-0001-80a2-8000-00000000ffff".into(),
        "/fills".into(),
        "/fills?product_id=NO-SUCH".into(),
        "/fills?order_id=x".into(),
        "/fills?product_id=BTC-USDT&limit=-1".into(),
        "/fills?product_id=BTC-USDT&after=x".into(),
        "/feed".into(),
        "/admin/tree".into(),
    ];
    for path in bad {
        refused(&scene.ada.send("GET", &path, b"").unwrap(), &path);
    }
    // These are odd, but may be taken; none is a fault of the server's.
    for path in [
        format!("/products/BTC-USDT/trades?after={most}&before=0"),
        format!("/fills?product_id=BTC-USDT&after={most}"),
        format!("/fills?product_id=BTC-USDT&before={most}"),
        format!("/orders?status=all&after={}-0-{most}", i64::MAX),
        "/products/BTC-USDT/candles?start=9223372036854".into(),
        "/products/BTC-USDT/candles?start=-9223372036854".into(),
        "/products/BTC-USDT/candles?start=9223372036854&end=-9223372036854".into(),
        "/products/BTC-USDT/candles?end=9223372036854".into(),
        "/products/BTC-USDT/candles?granularity=86400&end=-9223372036854&start=-9223372036854".into(),
        format!("/products/BTC-USDT/trades?limit={most}"),
        format!("/products/BTC-USDT/trades?limit={most}0"),
    ] {
        let answer = scene.ada.send("GET", &path, b"").unwrap();
        assert!(answer.status < 500, "{path}: {} {}", answer.status, answer.json());
    }
    for (method, path) in [
        ("PUT", "/orders"),
        ("PATCH", "/accounts"),
        ("DELETE", "/orders/x"),
        ("BREW", "/time"),
        ("DELETE", "/orders?product_id=NO-SUCH"),
        ("DELETE", "/orders/client:x"),
        ("POST", "/products"),
    ] {
        refused(&scene.ada.send(method, path, b"").unwrap(), &format!("{method} {path}"));
    }
    scene.unharmed();
}

#[test]
fn other_users_things_and_bad_tokens_are_refused() {
    let mut scene = Scene::new();
    let bobs: Vec<String> = [&scene.before[2], &scene.before[3]]
        .into_iter()
        .flat_map(|list| list.as_array().unwrap())
        .map(|item| item["id"].as_str().unwrap().to_string())
        .collect();
    for id in &bobs {
        for (method, path) in [("GET", "orders"), ("DELETE", "orders"), ("GET", "accounts")] {
            let answer = scene.ada.send(method, &format!("/{path}/{id}"), b"").unwrap();
            refused(&answer, path);
            assert!(matches!(answer.status, 400 | 404), "{method} {path}: {}", answer.status);
        }
        refused(&scene.ada.send("GET", &format!("/fills?order_id={id}"), b"").unwrap_or_else(|_| panic!("{id}")), id);
    }
    let client_oid = "/orders/client:11111111-2222-4333-8444-666666666666";
    refused(&scene.ada.send("DELETE", client_oid, b"").unwrap(), client_oid);

    let good = scene.ada.token.clone();
    let parts: Vec<&str> = good.split('.').collect();
    let tokens = [
        "x".to_string(),
        "a.b.c".into(),
        format!("{good}x"),
        good[..good.len() - 2].into(),
        format!("eyJhbGciOiJub25lIn0.{}.", parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], "A".repeat(86)),
        format!("{}.{}.{}", parts[0], parts[0], parts[2]),
        "ÿ".into(),
        "x".repeat(4_000),
        " ".into(),
    ];
    for token in tokens {
        let mut stranger = scene.server.client(&token);
        for (method, path) in [("GET", "/accounts"), ("POST", "/orders"), ("DELETE", "/orders"), ("GET", "/auth/me")] {
            let answer = stranger.send(method, path, b"{}").unwrap();
            refused(&answer, &token);
            assert_eq!(answer.status, 401, "{token}");
        }
    }
    for value in ["", "Bearer", "Bearer ", "Basic YTpi", &format!("Bearer  {good} x"), "\u{1}"] {
        let mut stranger = scene.server.client("");
        let request = format!("GET /v1/accounts HTTP/1.1\r\nHost: agora\r\nAuthorization: {value}\r\n\r\n");
        let answer = stranger.send_raw(request.as_bytes()).unwrap();
        if !value.contains('\u{1}') {
            refused(&answer, value);
        }
        assert!(matches!(answer.status, 400 | 401), "{value}: {}", answer.status);
    }
    scene.unharmed();
}

/// What is no HTTP at all never reaches a handler: it is answered with 400 or the connection ends.
#[test]
fn bytes_that_are_no_http_do_no_harm() {
    let scene = Scene::new();
    let mut rng = Rng(7);
    for _ in 0..60 {
        let mut bytes: Vec<u8> = (0..rng.within(1, 400)).map(|_| rng.next() as u8).collect();
        bytes.extend(b"\r\n\r\n");
        if let Ok(answer) = scene.server.client("").send_raw(&bytes) {
            assert!((400..500).contains(&answer.status), "{}", answer.status);
        }
    }
    scene.unharmed();
}

#[actix_web::test]
async fn bad_messages_on_the_feed_are_answered_with_errors() {
    let scene = Scene::new();
    let connect = || awc::Client::new().ws(format!("http://{}/v1/feed", scene.server.address)).connect();
    let (_, mut feed) = connect().await.unwrap();
    let deep = "[".repeat(30_000);
    let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(10_000));
    let subscribe = |rest: &str| format!(r#"{{"type":"subscribe",{rest}}}"#);
    let messages = [
        String::new(),
        "x".into(),
        "null".into(),
        "[]".into(),
        "{}".into(),
        "{".into(),
        deep,
        long,
        r#"{"type":7}"#.into(),
        r#"{"type":"hello"}"#.into(),
        r#"{"type":"subscribe"}"#.into(),
        subscribe(r#""channels":"level2""#),
        subscribe(r#""channels":[7]"#),
        subscribe(r#""channels":["level2"]"#),
        subscribe(r#""product_ids":["NO-SUCH"],"channels":["level2"]"#),
        subscribe(r#""product_ids":["BTC-USDT"],"channels":["level9"]"#),
        subscribe(r#""product_ids":"BTC-USDT","channels":["level2"]"#),
        subscribe(r#""product_ids":["BTC-USDT"],"channels":["user"]"#),
        subscribe(r#""product_ids":["BTC-USDT"],"channels":["user"],"token":"x""#),
        subscribe(r#""product_ids":["BTC-USDT"],"channels":["user"],"key":"x""#),
    ];
    for message in messages {
        feed.send(awc::ws::Message::Text(message.clone().into())).await.unwrap();
        let answer = next_text(&mut feed).await.unwrap_or_else(|| panic!("{message:.60}: the feed ended"));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["type"], "error", "{message:.60}: {answer}");
        assert!(answer["message"].is_string() && answer["reason"].is_string(), "{answer}");
    }
    // The same connection is still good for what is right.
    feed.send(awc::ws::Message::Text(subscribe(r#""product_ids":["BTC-USDT"],"channels":["level2"]"#).into()))
        .await
        .unwrap();
    let answer = next_text(&mut feed).await.unwrap();
    assert!(answer.contains("subscriptions") || answer.contains("snapshot"), "{answer}");

    // Binary, and a message that is too long: refused or closed, and the program goes on.
    for message in
        [awc::ws::Message::Binary(vec![0xff; 100].into()), awc::ws::Message::Text("x".repeat(100_000).into())]
    {
        let (_, mut feed) = connect().await.unwrap();
        feed.send(message).await.unwrap();
        if let Some(text) = next_text(&mut feed).await {
            assert!(text.contains("\"error\""), "{text}");
        }
    }
    scene.unharmed();
}

/// The next text message; none when the connection ended or closed.
async fn next_text(
    feed: &mut (impl StreamExt<Item = Result<awc::ws::Frame, awc::error::WsProtocolError>> + Unpin),
) -> Option<String> {
    loop {
        match tokio::time::timeout(Duration::from_secs(20), feed.next()).await.expect("the feed is silent")? {
            Ok(awc::ws::Frame::Text(text)) => return Some(String::from_utf8(text.to_vec()).unwrap()),
            Ok(awc::ws::Frame::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}
