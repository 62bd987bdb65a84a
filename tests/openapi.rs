//! The OpenAPI document against the running program: random requests made from it find no fault of the server's and no
//! status that it does not name, and answers of success have the shapes that it promises.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "openapi/guide.rs"]
mod guide;
#[path = "model/rng.rs"]
mod rng;
mod server;
#[path = "openapi/shapes.rs"]
mod shapes;
#[path = "openapi/walk.rs"]
mod walk;

use rng::Rng;
use serde_json::{Value, json};
use server::{Client, Server};
use walk::broken_promise;

/// Requests that would end the caller's session, cost a password check each, or are answered in parts.
const LEFT_OUT: [&str; 6] =
    ["/auth/sign-out", "/auth/sign-up", "/auth/sign-in", "/auth/keys", "/feed", "/links/export"];

fn junk(rng: &mut Rng) -> String {
    let all = [
        "",
        "0",
        "-1",
        "1e9",
        "x",
        "null",
        "BTC-USDT",
        "ETH",
        "../..",
        "%",
        "9223372036854775808",
        "true",
        "2026-01-01",
        "client:7",
        "00000000-0000-0000-0000-000000000000",
        "🦀",
        "a b",
        "1_00000000-0000-0000-0000-000000000000",
        "00000000-0002-80a2-8000-000000000000",
        "00000000-0001-80a1-8000-000000000001",
        "self",
    ];
    (*rng.pick(&all)).to_owned()
}

fn valid(rng: &mut Rng, api: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        return valid(rng, api, &api["components"]["schemas"][name.rsplit('/').next().unwrap()]);
    }
    if let Some(words) = schema["enum"].as_array() {
        return words[rng.below(words.len() as u64) as usize].clone();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("string");
    match kind {
        "object" => {
            let fields = schema["properties"].as_object().cloned().unwrap_or_default();
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let mut made = serde_json::Map::new();
            for (name, field) in fields {
                if required.contains(&json!(name)) || rng.one_in(3) {
                    let value = match name.as_str() {
                        "product_id" => json!("BTC-USDT"),
                        "currency" => json!("BTC"),
                        _ => valid(rng, api, &field),
                    };
                    made.insert(name, value);
                }
            }
            Value::Object(made)
        }
        "array" => json!([valid(rng, api, &schema["items"])]),
        "integer" => json!(rng.below(300)),
        "number" => json!(0.5),
        "boolean" => json!(rng.one_in(2)),
        _ if schema["format"] == "uuid" => json!("6b7e0c0e-8f0e-4a39-9b40-6a5d0b9f3a02"),
        _ if schema["format"] == "date-time" => json!("2026-01-01T00:00:00Z"),
        _ => json!(format!("{}.5", 1 + rng.below(200))),
    }
}

/// Replaces or removes something in a body.
fn spoil(rng: &mut Rng, body: &mut Value) {
    let Some(fields) = body.as_object_mut() else { return };
    let names: Vec<String> = fields.keys().cloned().collect();
    if names.is_empty() {
        return;
    }
    let name = &names[rng.below(names.len() as u64) as usize];
    let values = [
        json!(null),
        json!([]),
        json!({}),
        json!(-1),
        json!(1e300),
        json!(junk(rng)),
        json!("9".repeat(60)),
        json!(true),
    ];
    if rng.one_in(4) {
        fields.remove(name);
    } else {
        fields.insert(name.clone(), values[rng.below(values.len() as u64) as usize].clone());
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte) {
                (byte as char).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[test]
fn random_requests_find_only_what_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut callers =
        [Client::sign_up(&server, "ada@example.org"), Client::sign_up(&server, "bob@example.org"), server.client("")];
    for (index, side) in ["sell", "buy"].into_iter().enumerate() {
        let order = json!({"product_id": "BTC-USDT", "side": side, "price": "1000", "size": 1 + index});
        assert_eq!(callers[index].send("POST", "/orders", order.to_string().as_bytes()).unwrap().status, 200);
    }
    let api = callers[2].get("/openapi.json");
    assert_eq!(api["openapi"], "3.1.0");
    let mut rng = Rng(0x0a11);
    let (mut sent, mut good) = (0, 0);
    for round in 0..12 {
        for (path, item) in api["paths"].as_object().unwrap() {
            if LEFT_OUT.iter().any(|left_out| path.starts_with(left_out)) {
                continue;
            }
            for (method, operation) in item.as_object().unwrap() {
                let mut target = path.clone();
                let mut query = Vec::new();
                for parameter in operation["parameters"].as_array().unwrap() {
                    let name = parameter["name"].as_str().unwrap();
                    let plain = valid(&mut rng, &api, &parameter["schema"]);
                    let plain = plain.as_str().map_or_else(|| plain.to_string(), str::to_owned);
                    if parameter["in"] == "path" {
                        let known = if path.starts_with("/products") { "BTC-USDT" } else { "BTC" };
                        let text = if rng.one_in(3) { junk(&mut rng) } else { known.into() };
                        // Nothing at all would be another path.
                        let text = if text.is_empty() { "x".into() } else { text };
                        target = target.replace(&format!("{{{name}}}"), &encoded(&text));
                    } else if rng.one_in(3) {
                        let text = if rng.one_in(2) { junk(&mut rng) } else { plain };
                        query.push(format!("{name}={}", encoded(&text)));
                    }
                }
                if !query.is_empty() {
                    target = format!("{target}?{}", query.join("&"));
                }
                let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
                let mut body = valid(&mut rng, &api, schema);
                if round % 3 > 0 {
                    spoil(&mut rng, &mut body);
                }
                let body = if schema.is_object() { body.to_string() } else { String::new() };
                let caller = rng.below(callers.len() as u64) as usize;
                let answer = callers[caller].send(&method.to_uppercase(), &target, body.as_bytes()).unwrap();
                let shown = format!(
                    "{method} {target} {body:.300}: {} {}",
                    answer.status,
                    String::from_utf8_lossy(&answer.body)
                );
                // Whatever is refused, the client keeps its connection.
                assert_ne!(answer.header("connection"), Some("close"), "{shown}");
                let documented = &operation["responses"][answer.status.to_string()];
                assert!(answer.status < 500, "{shown}");
                assert!(documented.is_object(), "not documented: {shown}");
                sent += 1;
                if (200..300).contains(&answer.status) {
                    good += 1;
                    assert_eq!(broken_promise(&api, operation, &answer), None, "{shown}");
                } else if answer.status >= 400 {
                    let body = answer.json();
                    assert!(body["message"].is_string() && body["code"].is_string(), "{shown}");
                }
            }
        }
    }
    assert!(sent > 500 && good > 100, "{sent} sent, {good} good");
}

#[test]
fn the_page_is_self_contained() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut client = server.client("");
    for (path, kind) in [("/docs", "text/html"), ("/docs/page.js", "text/javascript"), ("/docs/page.css", "text/css")] {
        let answer = client.send_raw(format!("GET {path} HTTP/1.1\r\nHost: agora\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").unwrap().starts_with(kind));
        let text = String::from_utf8(answer.body).unwrap();
        assert!(!text.contains("https://") && !text.contains("http://"), "{path} loads something from elsewhere");
    }
}
