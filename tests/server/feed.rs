//! A reader of the feed: a plain WebSocket, and the books that it keeps from what it reads.

#![allow(dead_code, reason = "not every test needs everything")]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One open WebSocket.
pub struct Feed {
    stream: BufReader<TcpStream>,
}

impl Feed {
    pub fn connect(address: SocketAddr) -> Feed {
        Feed::connect_to(address, "/v1/feed", "")
    }

    /// Another socket, with further header lines.
    pub fn connect_to(address: SocketAddr, path: &str, headers: &str) -> Feed {
        let headers = format!("Host: agora\r\n{headers}");
        Feed::open(address, path, &headers).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// A WebSocket at this target, opened with these headers.
    ///
    /// # Errors
    /// The status line of a refusal.
    pub fn open(address: SocketAddr, target: &str, headers: &str) -> Result<Feed, String> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut stream = BufReader::new(stream);
        let request = format!(
            "GET {target} HTTP/1.1\r\n{headers}Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        if !line.contains(" 101 ") {
            return Err(line);
        }
        while line.trim() != "" {
            line.clear();
            stream.read_line(&mut line).unwrap();
        }
        Ok(Feed { stream })
    }

    pub fn subscribe(&mut self, channels: &[&str], products: &[&str], token: &str) {
        let request = json!({"type": "subscribe", "channels": channels, "product_ids": products, "token": token});
        self.send(0x1, request.to_string().as_bytes());
    }

    /// Pings, as browsers do not but programs may.
    pub fn send_frame(&mut self, opcode: u8, payload: &[u8]) {
        self.send(opcode, payload);
    }

    pub fn send_text(&mut self, text: &str) {
        self.send(0x1, text.as_bytes());
    }

    /// Several messages with one write.
    pub fn send_together(&mut self, messages: &[Value]) {
        let frames: Vec<u8> = messages.iter().flat_map(|message| frame(0x1, message.to_string().as_bytes())).collect();
        self.stream.get_mut().write_all(&frames).unwrap();
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.stream.get_mut().write_all(&frame(opcode, payload)).unwrap();
    }

    /// The next message.
    ///
    /// # Errors
    /// When the server closed the connection, with its reason.
    pub fn next(&mut self) -> io::Result<Value> {
        let mut text = Vec::new();
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head)?;
            let length = match head[1] & 0x7f {
                126 => {
                    let mut bytes = [0; 2];
                    self.stream.read_exact(&mut bytes)?;
                    u64::from(u16::from_be_bytes(bytes))
                }
                127 => {
                    let mut bytes = [0; 8];
                    self.stream.read_exact(&mut bytes)?;
                    u64::from_be_bytes(bytes)
                }
                length => u64::from(length),
            };
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload)?;
            match head[0] & 0x0f {
                0x0 | 0x1 => text.extend(payload),
                0x8 => return Err(io::Error::other(String::from_utf8_lossy(payload.get(2..).unwrap_or(b"")))),
                0x9 => self.send(0xa, &payload),
                _ => {}
            }
            if head[0] & 0x80 != 0 && !text.is_empty() {
                return serde_json::from_slice(&text).map_err(io::Error::other);
            }
        }
    }
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    // A mask of zeroes leaves the payload as it is.
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// A book kept from a snapshot and the changes after it, and whether every trade was seen.
#[derive(Default)]
pub struct Followed {
    pub sequence: u64,
    pub trades: u64,
    newest_trade: Option<u64>,
    /// Sizes by side and price, as texts.
    levels: BTreeMap<(String, String), String>,
}

impl Followed {
    /// Takes a message in; panics when it does not follow what came before.
    pub fn take(&mut self, message: &Value) {
        let sequence = message["sequence"].as_u64().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap().to_string();
        match message["type"].as_str().unwrap() {
            "snapshot" => {
                self.sequence = sequence;
                for (side, field) in [("buy", "bids"), ("sell", "asks")] {
                    for row in message[field].as_array().unwrap() {
                        self.levels.insert((side.to_string(), text(&row[0])), text(&row[1]));
                    }
                }
            }
            "l2update" => {
                assert!(sequence > self.sequence, "{sequence} after {}", self.sequence);
                self.sequence = sequence;
                for change in message["changes"].as_array().unwrap() {
                    let (key, size) = ((text(&change[0]), text(&change[1])), text(&change[2]));
                    match size.trim_matches(['0', '.']) {
                        "" => drop(self.levels.remove(&key)),
                        _ => drop(self.levels.insert(key, size)),
                    }
                }
            }
            "last_match" => self.newest_trade = message["trade_id"].as_u64(),
            "match" => {
                let trade = message["trade_id"].as_u64().unwrap();
                let expected = self.newest_trade.map_or(trade, |newest| newest + 1);
                assert_eq!(trade, expected, "a trade is missing or came twice");
                self.newest_trade = Some(trade);
                self.trades += 1;
            }
            _ => {}
        }
    }

    /// The levels as `GET /products/{id}/book?level=2` shows them: side, price, size.
    pub fn levels(&self) -> Vec<(String, String, String)> {
        self.levels.iter().map(|((side, price), size)| (side.clone(), price.clone(), size.clone())).collect()
    }
}

/// The same of a book that was asked for.
pub fn levels_of(book: &Value) -> Vec<(String, String, String)> {
    let mut levels = Vec::new();
    for (side, field) in [("buy", "bids"), ("sell", "asks")] {
        for row in book[field].as_array().unwrap() {
            let text = |index: usize| row[index].as_str().unwrap().to_string();
            levels.push((side.to_string(), text(0), text(1)));
        }
    }
    levels.sort();
    levels
}
