//! A browser with the front end in it: cookies, the token in its storage, a socket that follows what it shows.

#![allow(dead_code, reason = "not every test needs everything")]

use crate::feed::Feed;
use crate::server::{Answer, Client, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;

pub const PASSWORD: &str = "correct horse battery";

/// One browser.
pub struct Browser {
    pub address: SocketAddr,
    client: Client,
    pub cookies: BTreeMap<String, String>,
    /// What the page keeps under `access-token`.
    pub storage: String,
}

impl Browser {
    pub fn visit(server: &Server) -> Browser {
        Browser::at(server.address)
    }

    pub fn at(address: SocketAddr) -> Browser {
        Browser { address, client: Client::at(address, ""), cookies: BTreeMap::new(), storage: String::new() }
    }

    /// A new user who is signed in.
    pub fn of_new_user(server: &Server, email: &str) -> Browser {
        let mut browser = Browser::visit(server);
        let credentials = json!({"email": email, "password": PASSWORD});
        assert_eq!(browser.post("/api/users", &credentials).status, 200);
        browser.sign_in(email);
        browser
    }

    pub fn sign_in(&mut self, email: &str) {
        let answer = self.post("/api/users/accessToken", &json!({"email": email, "password": PASSWORD}));
        assert_eq!(answer.status, 200, "{}", answer.json());
        // The page stores the whole answer as text.
        self.storage = answer.json().as_str().expect("the answer is no bare string").to_owned();
    }

    fn cookie_header(&self) -> String {
        let all: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if all.is_empty() { String::new() } else { format!("Cookie: {}\r\n", all.join("; ")) }
    }

    /// A request as a script on the page makes it.
    pub fn send(&mut self, method: &str, target: &str, body: &[u8], more: &str) -> Answer {
        let host = self.address;
        let origin = if method == "GET" { String::new() } else { format!("Origin: http://{host}\r\n") };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{origin}{}{more}Sec-Fetch-Site: same-origin\r\n\
             Content-Length: {}\r\n\r\n",
            self.cookie_header(),
            body.len()
        );
        let answer = self.client.send_raw(&[head.as_bytes(), body].concat()).unwrap();
        for (name, value) in &answer.headers {
            if name == "set-cookie" {
                let (pair, rest) = value.split_once(';').unwrap_or((value, ""));
                let (name, value) = pair.split_once('=').unwrap();
                if rest.contains("Max-Age=0") {
                    self.cookies.remove(name);
                } else {
                    self.cookies.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        if answer.header("connection") == Some("close") {
            self.client = Client::at(self.address, "");
        }
        answer
    }

    pub fn post(&mut self, target: &str, body: &Value) -> Answer {
        self.send("POST", target, body.to_string().as_bytes(), "Content-Type: application/json\r\n")
    }

    /// The same with a body as it is written.
    pub fn post_text(&mut self, target: &str, body: &str) -> Answer {
        self.send("POST", target, body.as_bytes(), "Content-Type: application/json\r\n")
    }

    pub fn put(&mut self, target: &str, body: &[u8]) -> Answer {
        self.send("PUT", target, body, "")
    }

    pub fn delete(&mut self, target: &str) -> Answer {
        self.send("DELETE", target, b"", "")
    }

    pub fn ask(&mut self, target: &str) -> Answer {
        self.send("GET", target, b"", "")
    }

    /// The JSON of a request that must succeed.
    pub fn get(&mut self, target: &str) -> Value {
        let answer = self.ask(target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.json());
        answer.json()
    }

    /// Places a limit order that must be taken.
    pub fn limit(&mut self, side: &str, price: &str, size: &str) -> Value {
        self.place(&json!({"productId": "BTC-USDT", "side": side, "type": "limit", "price": price, "size": size}))
    }

    pub fn place(&mut self, order: &Value) -> Value {
        let answer = self.post("/api/orders", order);
        assert_eq!(answer.status, 200, "{order}: {}", answer.json());
        answer.json()
    }

    /// The row of a currency in the wallet.
    pub fn balance(&mut self, currency: &str) -> (String, String) {
        let rows = self.get(&format!("/api/accounts?currency={currency}"));
        let text = |key: &str| rows[0][key].as_str().unwrap().to_owned();
        (text("available"), text("hold"))
    }

    /// Opens the page's socket, with the cookies that there are.
    pub fn socket(&self) -> Socket {
        Socket::open(self.address, &self.cookie_header()).unwrap()
    }
}

/// The page's socket, and what the page makes of its messages.
pub struct Socket {
    feed: Feed,
    /// Everything that came, oldest first.
    pub log: Vec<Value>,
    /// The book by side and price, as the page keeps it: prices are keys.
    pub book: BTreeMap<(String, String), String>,
    /// The newest row of each order.
    pub orders: BTreeMap<String, Value>,
    /// The newest row of each currency.
    pub funds: BTreeMap<String, (String, String)>,
    /// What the last `subscriptions` message listed.
    pub state: Value,
}

impl Socket {
    /// # Errors
    /// The status line of a refusal.
    pub fn open(address: SocketAddr, headers: &str) -> Result<Socket, String> {
        let headers = format!("Host: {address}\r\nOrigin: http://{address}\r\n{headers}");
        Socket::open_with(address, &headers)
    }

    /// # Errors
    /// The status line of a refusal.
    pub fn open_with(address: SocketAddr, headers: &str) -> Result<Socket, String> {
        let feed = Feed::open(address, "/ws", headers)?;
        let (log, book) = (Vec::new(), BTreeMap::new());
        Ok(Socket { feed, log, book, orders: BTreeMap::new(), funds: BTreeMap::new(), state: Value::Null })
    }

    pub fn send(&mut self, message: &Value) {
        self.feed.send_text(&message.to_string());
    }

    pub fn send_text(&mut self, text: &str) {
        self.feed.send_text(text);
    }

    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.feed.send_frame(0x2, bytes);
    }

    pub fn subscribe(&mut self, channels: &[&str], token: &str) {
        self.send(&json!({"type": "subscribe", "product_ids": ["BTC-USDT"], "channels": channels, "token": token}));
    }

    pub fn unsubscribe(&mut self, channels: &[&str], token: &str) {
        self.send(&json!({"type": "unsubscribe", "product_ids": ["BTC-USDT"], "channels": channels, "token": token}));
    }

    pub fn subscribe_funds(&mut self, token: &str) {
        let currencies = ["BTC", "USDT"];
        self.send(&json!({"type": "subscribe", "currency_ids": currencies, "channels": ["funds"], "token": token}));
    }

    /// Takes the next message in, as the page does.
    pub fn next(&mut self) -> Value {
        let message = self.feed.next().unwrap_or_else(|error| panic!("the socket was closed: {error}"));
        self.take(&message);
        message
    }

    fn take(&mut self, message: &Value) {
        let kind = message["type"].as_str().unwrap_or_else(|| panic!("{message} has no type"));
        assert!(!kind.starts_with("candles"), "{message} would be read as a trade");
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value} of {message}")).to_owned();
        match kind {
            "snapshot" => {
                self.book.clear();
                for (side, field) in [("buy", "bids"), ("sell", "asks")] {
                    for row in message[field].as_array().unwrap() {
                        self.book.insert((side.to_owned(), text(&row[0])), text(&row[1]));
                    }
                }
            }
            "l2update" => {
                for change in message["changes"].as_array().unwrap() {
                    let (key, size) = ((text(&change[0]), text(&change[1])), text(&change[2]));
                    let _ = if size == "0" { self.book.remove(&key) } else { self.book.insert(key, size) };
                }
            }
            "order" => drop(self.orders.insert(text(&message["id"]), message.clone())),
            "funds" => {
                let row = (text(&message["available"]), text(&message["hold"]));
                self.funds.insert(text(&message["currencyCode"]), row);
            }
            "subscriptions" => self.state = message["channels"].clone(),
            _ => {}
        }
        self.log.push(message.clone());
    }

    /// Reads until there was such a message; it may have come before.
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(found) = self.log.iter().find(|message| wanted(message)) {
            return found.clone();
        }
        self.fresh(wanted)
    }

    /// Reads until such a message comes.
    pub fn fresh(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.next();
            if wanted(&message) {
                return message;
            }
        }
    }

    /// The next message of this type.
    pub fn kind(&mut self, kind: &str) -> Value {
        self.fresh(|message| message["type"] == kind)
    }

    /// Reads until what the page shows is like this.
    pub fn shows(&mut self, like: impl Fn(&Socket) -> bool) {
        while !like(self) {
            let shown = format!("book {:?} funds {:?} state {}", self.book, self.funds, self.state);
            let message = self.feed.next().unwrap_or_else(|error| panic!("{error}; {shown}"));
            self.take(&message);
        }
    }

    /// Everything that came until the server has answered a ping now, which it does after what it has sent before.
    pub fn settle(&mut self) {
        self.send(&json!({"type": "ping"}));
        self.kind("pong");
    }

    pub fn count(&self, kind: &str) -> usize {
        self.log.iter().filter(|message| message["type"] == kind).count()
    }

    /// What the page does 5 s after its socket was closed: it opens another one and repeats what the last
    /// `subscriptions` message listed.
    pub fn reopen(self, browser: &Browser) -> Socket {
        let entries = self.state.as_array().cloned().unwrap_or_default();
        drop(self);
        let mut socket = browser.socket();
        for mut entry in entries {
            entry["type"] = "subscribe".into();
            entry["channels"] = json!([entry["name"]]);
            entry["token"] = browser.storage.clone().into();
            socket.send(&entry);
        }
        socket
    }
}

/// A number in text.
pub fn number(value: &Value) -> f64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no text"));
    assert!(!text.contains(['e', 'E', '+']), "{text} has an exponent");
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}
