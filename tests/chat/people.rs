//! Users of the tests: their HTTP connection and their sockets.

use crate::server::{Client, Server};
use agora::chat_client::ChatClient;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    actix_web::rt::System::new()
        .block_on(async { tokio::time::timeout(Duration::from_secs(400), work).await.expect("took too long") })
}

/// Somebody with an account.
pub struct User {
    pub http: Client,
    pub id: String,
    pub base: String,
}

impl User {
    pub fn new(server: &Server, name: &str) -> User {
        let mut http = Client::sign_up(server, &format!("{name}@example.org"));
        let named = http.send("PUT", "/chat/me", json!({"nick": name}).to_string().as_bytes()).unwrap();
        assert_eq!(named.status, 200, "{}", named.json());
        let id = named.json()["user"].as_str().unwrap().to_owned();
        User { http, id, base: format!("http://{}", server.address) }
    }

    pub fn socket(&self) -> ChatClient {
        ChatClient::new(&self.base, &self.http.token)
    }

    pub fn call(&mut self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        // A new connection each time: a kept one may have been idle for longer than the server keeps it.
        let mut http = Client::at(self.http.address, &self.http.token);
        let answer = http.send(method, &format!("/chat{path}"), body.as_bytes()).unwrap();
        (answer.status, answer.json())
    }

    /// A call that must succeed.
    pub fn ok(&mut self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// The same, again and again while nodes start or take over.
    pub fn patiently(&mut self, method: &str, path: &str, body: Value) -> Value {
        let begun = Instant::now();
        loop {
            let (status, answer) = self.call(method, path, body.clone());
            if status != 503 {
                assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
                return answer;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "{method} {path}: {answer}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A call that must fail with this code.
    pub fn refused(&mut self, method: &str, path: &str, body: Value) -> (u16, String) {
        let (status, answer) = self.call(method, path, body);
        assert!(status >= 400, "{method} {path}: {status} {answer}");
        (status, answer["code"].as_str().unwrap().to_owned())
    }

    /// The code with which a message is refused for good, again and again while nodes start or take over.
    pub fn finally_refused(&mut self, path: &str, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let (status, code) = self.refused("POST", path, json!({"text": text, "client_id": Uuid::new_v4()}));
            if status != 503 {
                return code;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "{path}: {code}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn room(&mut self, kind: &str, name: &str) -> String {
        let room = self.ok("POST", "/rooms", json!({"kind": kind, "name": name}));
        room["id"].as_str().unwrap().to_owned()
    }

    pub fn say(&mut self, room: &str, text: &str) -> u64 {
        let body = json!({"text": text, "client_id": Uuid::new_v4()});
        self.ok("POST", &format!("/rooms/{room}/messages"), body)["sequence"].as_u64().unwrap()
    }

    pub fn texts(&mut self, room: &str) -> Vec<String> {
        let page = self.ok("GET", &format!("/rooms/{room}/messages?limit=200"), Value::Null);
        let text = |message: &Value| message["text"].as_str().unwrap_or("-").to_owned();
        page["messages"].as_array().unwrap().iter().map(text).collect()
    }
}

/// The next event of a kind; what comes before it is passed over.
pub async fn next_of(client: &mut ChatClient, kind: &str) -> Value {
    loop {
        let event = client.next().await.unwrap();
        if event["type"] == kind {
            return event;
        }
    }
}

/// Waits for something that must come, and says in the end what came instead.
pub struct Waits {
    what: String,
    begun: Instant,
    passed_over: Vec<Value>,
}

impl Waits {
    pub fn new(what: impl Into<String>) -> Waits {
        Waits { what: what.into(), begun: Instant::now(), passed_over: Vec::new() }
    }

    /// The first event of the next seconds that is it, if any.
    pub async fn hears(&mut self, client: &mut ChatClient, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        let passed_over = &self.passed_over;
        assert!(self.begun.elapsed() < Duration::from_secs(120), "{} does not come: {passed_over:?}", self.what);
        client.connect().await.unwrap();
        let look = async {
            loop {
                let event = client.next().await.unwrap();
                if is_it(&event) {
                    return event;
                }
                self.passed_over.push(event);
            }
        };
        tokio::time::timeout(Duration::from_secs(2), look).await.ok()
    }
}

/// The next event of a kind, which must come.
pub async fn comes(client: &mut ChatClient, kind: &str) -> Value {
    let mut waits = Waits::new(kind);
    loop {
        if let Some(event) = waits.hears(client, |event| event["type"] == kind).await {
            return event;
        }
    }
}

/// Waits until a friend sees somebody like this; returns what it is told. The devices say now and then whether they are
/// away: one whose connection broke is there again with another.
pub async fn sees(
    friend: &mut ChatClient,
    who: &User,
    expected: &str,
    devices: &mut [(&mut ChatClient, bool)],
) -> Value {
    let mut waits = Waits::new(expected);
    let of_them = |event: &Value| {
        let people = event["people"].as_array()?;
        people.iter().find(|one| one["user"] == who.id.as_str()).filter(|one| one["status"] == expected).cloned()
    };
    loop {
        for (device, away) in devices.iter_mut() {
            device.connect().await.unwrap();
            device.request(json!({"type": "away", "away": *away})).await;
            // What comes meanwhile is read, pings above all.
            while tokio::time::timeout(Duration::from_millis(10), device.next()).await.is_ok() {}
        }
        if let Some(event) = waits.hears(friend, |event| of_them(event).is_some()).await {
            return of_them(&event).unwrap();
        }
    }
}
