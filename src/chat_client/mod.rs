//! A chat client over the public protocol: what the terminal client, the tests and the benchmark use.
//!
//! It reconnects by itself, resumes every room where it stood, and sends again what was not
//! acknowledged. Invariant: of each room it hands out every message once, in the order of its sequence.

pub mod model;
pub mod session;
pub mod terminal;
mod view;

use actix_codec::Framed;
use actix_http::ws::{Codec, Frame, Message};
use anyhow::{Context, anyhow};
use awc::BoxedSocket;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use session::Session;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

/// The first wait before a lost connection is made again.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The largest message of a server.
const MAX_FRAME: usize = 16 << 20;
/// How long the server may be silent; it pings every few seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// What came while nobody read is found within this time.
const LOOK_AT_LEAST: Duration = Duration::from_millis(50);

type Wire = Framed<BoxedSocket, Codec>;

/// A room as the client knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Room {
    /// What the server said of it last.
    pub about: Value,
    /// The newest message that was handed out.
    pub last: u64,
    /// Messages not read.
    pub unread: u64,
}

/// The client.
pub struct ChatClient {
    session: Session,
    wire: Option<Wire>,
    /// When the server last gave a sign of life.
    heard: Instant,
    /// By id.
    pub rooms: BTreeMap<String, Room>,
    /// The own user's id, once connected.
    pub user: String,
    /// Sent and not acknowledged, oldest first.
    pending: VecDeque<(Uuid, Value)>,
    /// Events that came while something else was waited for.
    waiting: VecDeque<Value>,
    /// How often it connected.
    pub connects: u32,
    /// Messages that came twice or out of order: there must be none.
    pub faults: Vec<String>,
    wait: Duration,
    /// Not before: kept here, so that giving up in between does not make the wait shorter.
    next_try: Instant,
    /// Why the last try to connect failed; empty while there is a connection.
    trouble: watch::Sender<String>,
    requests: u64,
}

impl ChatClient {
    /// A client of the server at `base` (like `http://127.0.0.1:8080`); it connects when it is used, until its token ends.
    pub fn new(base: &str, token: &str) -> ChatClient {
        ChatClient::of_session(Session::of_token(base, token))
    }

    /// The same for as long as a session can be prolonged.
    pub fn of_session(session: Session) -> ChatClient {
        ChatClient {
            session,
            wire: None,
            heard: Instant::now(),
            rooms: BTreeMap::new(),
            user: String::new(),
            pending: VecDeque::new(),
            waiting: VecDeque::new(),
            connects: 0,
            faults: Vec::new(),
            wait: FIRST_WAIT,
            next_try: Instant::now(),
            trouble: watch::Sender::default(),
            requests: 0,
        }
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        self.wire.is_some()
    }

    /// Why there is no connection: changes whenever there is another reason, and is empty while there is none.
    pub fn trouble(&self) -> watch::Receiver<String> {
        self.trouble.subscribe()
    }

    /// Messages that were sent and not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.pending.len()
    }

    /// Breaks the connection, as a network does: without a word.
    pub fn cut(&mut self) {
        self.wire = None;
    }

    /// Gets the next token when it is time, and tells the server of it. Giving up in between loses nothing.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn stay_signed_in(&mut self) -> anyhow::Result<()> {
        if self.session.renew().await? && self.wire.is_some() {
            let token = self.session.token().to_owned();
            self.request(json!({"type": "auth", "token": token})).await;
        }
        Ok(())
    }

    /// Connects, resumes and sends again; keeps trying until it works or the server says that it never will.
    ///
    /// # Errors
    /// When the server refuses the token.
    pub async fn connect(&mut self) -> anyhow::Result<()> {
        while self.wire.is_none() {
            tokio::time::sleep_until(self.next_try).await;
            match self.try_connect().await {
                Ok(()) => {
                    self.wait = FIRST_WAIT;
                    // Whoever waits for a reason waits on.
                    self.trouble.send_if_modified(|told| {
                        told.clear();
                        false
                    });
                }
                Err(error) if error.to_string().contains("signed_out") && !self.session.doubt() => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, "no connection");
                    self.next_try = Instant::now() + self.wait;
                    self.wait = (self.wait * 2).min(LONGEST_WAIT);
                    let reason = error.to_string();
                    self.trouble.send_if_modified(|told| {
                        let is_another = *told != reason;
                        *told = reason;
                        is_another
                    });
                }
            }
        }
        Ok(())
    }

    /// The new connection is kept only once it is resumed: giving up in between loses nothing.
    async fn try_connect(&mut self) -> anyhow::Result<()> {
        self.session.renew().await?;
        // A connection that speaks HTTP/2 cannot become a web socket, and many proxies would choose it.
        let http = awc::Client::builder().max_http_version(awc::http::Version::HTTP_11);
        let client = http.timeout(Duration::from_secs(10)).finish();
        let upgrade = client.ws(format!("{}/v1/chat/ws", self.session.base())).max_frame_size(MAX_FRAME).connect();
        let (_, mut wire) = upgrade.await.map_err(|error| anyhow!("{error}"))?;
        let resume: BTreeMap<&String, u64> = self.rooms.iter().map(|(id, room)| (id, room.last)).collect();
        let mut heard = Instant::now();
        write_to(&mut wire, &json!({"type": "hello", "token": self.session.token(), "resume": resume})).await?;
        let hello = loop {
            let event = read_from(&mut wire, &mut heard).await?.ok_or_else(|| anyhow!("the connection ended"))?;
            match event["type"].as_str() {
                Some("hello") => break event,
                Some("closed") => return Err(anyhow!("{}", event["code"].as_str().unwrap_or_default())),
                // Nothing else comes before it.
                _ => {}
            }
        };
        for (_, frame) in &self.pending {
            write_to(&mut wire, frame).await?;
        }
        (self.wire, self.heard) = (Some(wire), heard);
        self.begin(&hello);
        self.waiting.push_back(hello);
        self.connects += 1;
        Ok(())
    }

    fn begin(&mut self, hello: &Value) {
        self.user = hello["user"].as_str().unwrap_or_default().to_owned();
        let listed = hello["rooms"].as_array().cloned().unwrap_or_default();
        let ids: Vec<String> = listed.iter().filter_map(|room| room["id"].as_str().map(str::to_owned)).collect();
        self.rooms.retain(|id, _| ids.contains(id));
        for (id, about) in ids.into_iter().zip(listed) {
            let last = about["last"].as_u64().unwrap_or_default();
            let room = self.rooms.entry(id).or_insert(Room { last, ..Room::default() });
            room.unread = about["unread"].as_u64().unwrap_or_default();
            room.about = about;
        }
    }

    async fn write(&mut self, frame: &Value) -> anyhow::Result<()> {
        let sent = write_to(self.wire.as_mut().context("not connected")?, frame).await;
        if sent.is_err() {
            self.wire = None;
        }
        sent
    }

    /// The next message of the server; `None` when the connection has ended.
    async fn read(&mut self) -> anyhow::Result<Option<Value>> {
        let Some(wire) = self.wire.as_mut() else { return Ok(None) };
        let read = read_from(wire, &mut self.heard).await;
        if !matches!(read, Ok(Some(_))) {
            self.wire = None;
        }
        read
    }

    /// The next event, after as many connections as it takes. Messages come in order and once.
    ///
    /// # Errors
    /// When the server refuses the token.
    pub async fn next(&mut self) -> anyhow::Result<Value> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                if let Some(event) = self.take(event) {
                    return Ok(event);
                }
                continue;
            }
            self.connect().await?;
            // The greeting waits by now, and perhaps nothing follows it for long.
            if self.waiting.is_empty()
                && let Ok(Some(event)) = self.read().await
            {
                self.waiting.push_back(event);
            }
        }
    }

    /// Notes what an event says; `None` for a message that was handed out before.
    fn take(&mut self, event: Value) -> Option<Value> {
        let room_id = event["room"].as_str().map(str::to_owned);
        match (event["type"].as_str().unwrap_or_default(), room_id) {
            ("message", Some(id)) => {
                let sequence = event["message"]["sequence"].as_u64().unwrap_or_default();
                let first = Room { last: sequence.saturating_sub(1), ..Room::default() };
                let room = self.rooms.entry(id.clone()).or_insert(first);
                if sequence != room.last + 1 {
                    self.faults.push(format!("room {id}: message {sequence} after {}", room.last));
                    return None;
                }
                room.last = sequence;
                if event["message"]["author"] != self.user.as_str() {
                    room.unread += 1;
                }
            }
            ("read", Some(id)) if event["user"] == self.user.as_str() => {
                if let (Some(room), Some(unread)) = (self.rooms.get_mut(&id), event["unread"].as_u64()) {
                    room.unread = unread;
                }
            }
            ("room", _) => {
                let about = event["room"].clone();
                if let Some(id) = about["id"].as_str() {
                    let last = about["last"].as_u64().unwrap_or_default();
                    let room = self.rooms.entry(id.to_owned()).or_insert(Room { last, ..Room::default() });
                    room.about = about;
                }
            }
            ("friend", Some(id)) => drop(self.rooms.entry(id).or_default()),
            ("member", Some(id)) if event["user"] == self.user.as_str() => {
                if matches!(event["what"].as_str(), Some("left" | "kicked" | "banned")) {
                    self.rooms.remove(&id);
                }
            }
            ("ack" | "error", _) => {
                // An error that may go away is no answer: the message is sent again later.
                let final_answer = event["type"] == "ack" || event["retry_after"].is_null();
                let client_id = event["client_id"].as_str().and_then(|id| Uuid::parse_str(id).ok());
                if let Some(client_id) = client_id.filter(|_| final_answer) {
                    self.pending.retain(|(id, _)| *id != client_id);
                }
            }
            _ => {}
        }
        Some(event)
    }

    /// Sends a message; it is sent again after a lost connection until it is acknowledged.
    pub async fn send_text(&mut self, room: &str, text: &str) -> Uuid {
        let client_id = Uuid::new_v4();
        let frame = json!({"type": "send", "room": room, "client_id": client_id, "text": text});
        self.pending.push_back((client_id, frame.clone()));
        // If it cannot be sent now, it is with the next connection.
        let _ = self.write(&frame).await;
        client_id
    }

    /// Sends once more what is not acknowledged: after errors that go away.
    pub async fn send_again(&mut self) {
        for (_, frame) in self.pending.clone() {
            if self.write(&frame).await.is_err() {
                return;
            }
        }
    }

    /// Sends a request without a message of its own (see `docs/chat.md`) and does not wait; its number.
    pub async fn request(&mut self, mut frame: Value) -> u64 {
        self.requests += 1;
        frame["id"] = self.requests.into();
        let _ = self.write(&frame).await;
        self.requests
    }

    /// Sends a request and waits for its answer; what else comes meanwhile is kept for [`ChatClient::next`].
    ///
    /// # Errors
    /// When the connection is lost before the answer.
    pub async fn ask(&mut self, frame: Value) -> anyhow::Result<Value> {
        self.connect().await?;
        let id = self.request(frame).await;
        loop {
            let event = self.read().await?.ok_or_else(|| anyhow!("the connection ended"))?;
            if event["id"] == id {
                return Ok(event);
            }
            self.waiting.push_back(event);
        }
    }
}

async fn write_to(wire: &mut Wire, frame: &Value) -> anyhow::Result<()> {
    wire.send(Message::Text(frame.to_string().into())).await.map_err(|error| anyhow!("{error}"))
}

/// The next message; `None` when the connection has ended or the server is silent for too long. That is counted from
/// when it was last heard and not from this call: callers give up on one call after the other.
async fn read_from(wire: &mut Wire, heard: &mut Instant) -> anyhow::Result<Option<Value>> {
    loop {
        let end = (*heard + SILENCE).max(Instant::now() + LOOK_AT_LEAST);
        let Ok(Some(Ok(frame))) = tokio::time::timeout_at(end, wire.next()).await else { return Ok(None) };
        *heard = Instant::now();
        match frame {
            Frame::Text(text) => return Ok(Some(serde_json::from_slice(&text)?)),
            Frame::Ping(content) => {
                wire.send(Message::Pong(content)).await.map_err(|error| anyhow!("{error}"))?;
            }
            Frame::Close(_) => return Ok(None),
            Frame::Binary(_) | Frame::Continuation(_) | Frame::Pong(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_http::ws::hash_key;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// A server for tests, and its address without a scheme.
    pub async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    /// The next client of a server, once it was greeted. Clients give up on connections now and then.
    pub async fn welcome(listener: &TcpListener) -> Framed<TcpStream, Codec> {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(wire) = greet(stream).await {
                return wire;
            }
        }
    }

    /// The head of a request.
    async fn read_head(stream: &mut TcpStream) -> anyhow::Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        Ok(String::from_utf8(head)?)
    }

    async fn greet(mut stream: TcpStream) -> anyhow::Result<Framed<TcpStream, Codec>> {
        let head = read_head(&mut stream).await?;
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        let (_, key) = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).context("no key")?;
        let accept = String::from_utf8(hash_key(key.as_bytes()).to_vec())?;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await?;
        let mut wire = Framed::new(stream, Codec::new());
        wire.next().await.context("no hello")?.map_err(|error| anyhow!("{error}"))?;
        let hello = json!({"type": "hello", "user": "me", "nick": "ada", "rooms": [], "people": []});
        say(&mut wire, &hello).await?;
        Ok(wire)
    }

    /// Tells a client of the test's server something.
    pub async fn say(wire: &mut Framed<TcpStream, Codec>, event: &Value) -> anyhow::Result<()> {
        wire.send(Message::Text(event.to_string().into())).await.map_err(|error| anyhow!("{error}"))
    }

    #[actix_web::test]
    async fn the_greeting_is_handed_out_although_nothing_follows_it() {
        let (listener, address) = listen().await;
        let mut client = ChatClient::new(&format!("http://{address}"), "token");
        let both = async { tokio::join!(client.next(), welcome(&listener)) };
        let (greeting, _wire) = tokio::time::timeout(SILENCE / 2, both).await.unwrap();
        assert_eq!(greeting.unwrap()["nick"], "ada");
    }

    #[actix_web::test]
    async fn what_cannot_become_a_web_socket_is_not_offered() {
        let (listener, address) = listen().await;
        let mut client = ChatClient::new(&format!("https://{address}"), "token");
        // The first record of a TLS client, with the protocols that it speaks; then the server is gone.
        let first = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 5];
            stream.read_exact(&mut head).await.unwrap();
            let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
            stream.read_exact(&mut record).await.unwrap();
            record
        };
        let (connected, record) = tokio::join!(client.try_connect(), first);
        assert!(connected.is_err());
        let offers = |list: &[u8]| record.windows(list.len()).any(|part| part == list);
        assert!(offers(b"\x08http/1.1") && !offers(b"\x02h2\x08http/1.1"));
    }

    #[actix_web::test]
    async fn why_there_is_no_connection_is_told_once() {
        let (listener, address) = listen().await;
        let mut client = ChatClient::new(&format!("http://{address}"), "token");
        let mut trouble = client.trouble();
        let refuse = async {
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_head(&mut stream).await.unwrap();
            }
        };
        let mut told = Vec::new();
        let telling = async {
            while trouble.changed().await.is_ok() {
                told.push(trouble.borrow_and_update().clone());
            }
        };
        tokio::select! {
            biased;
            () = telling => panic!("the client is there"),
            connected = client.connect() => panic!("nobody answers: {connected:?}"),
            () = refuse => {}
        }
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(!told.concat().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_given_up_although_callers_ask_anew_all_the_time() {
        let (socket, _server) = tokio::io::duplex(64);
        let socket: BoxedSocket = Box::new(socket);
        let mut client = ChatClient::new("http://127.0.0.1:1", "");
        client.wire = Some(Framed::new(socket, Codec::new().client_mode()));
        let patience = Duration::from_secs(4);
        for _ in 0..7 {
            assert!(tokio::time::timeout(patience, client.read()).await.is_err());
        }
        assert!(client.is_connected());
        assert!(matches!(tokio::time::timeout(patience, client.read()).await, Ok(Ok(None))));
        assert!(!client.is_connected());
    }
}
