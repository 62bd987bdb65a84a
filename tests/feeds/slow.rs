//! Readers that do not keep up.

use crate::server::{Client, Server};
use crate::{Feed, PRODUCT, trade};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A connection whose client reads nothing at all. Its receive buffer is small, so that the server soon notices.
fn deaf(address: SocketAddr, channel: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let head = "GET /v1/feed HTTP/1.1\r\nHost: agora\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    let text = json!({"type": "subscribe", "product_ids": [PRODUCT], "channels": [channel]}).to_string();
    // A client's frame: final text, masked with a mask of zeros.
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    assert!(text.len() < 126);
    frame.extend(text.as_bytes());
    stream.write_all(&frame).unwrap();
    stream
}

fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

#[actix_rt::test]
async fn readers_that_never_read_cost_little_and_are_told_why_they_end() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut attentive = Feed::open(server.address).await;
    attentive.subscribe(json!(["full"]), json!({})).await;
    attentive.until("subscriptions").await;
    let deaf: Vec<TcpStream> =
        (0..100).map(|n| deaf(server.address, if n % 2 == 0 { "full" } else { "level2" })).collect();
    let before = resident(&server);
    let stop = Arc::new(AtomicBool::new(false));
    let traders: Vec<_> = (0..4)
        .map(|n| {
            let (client, stop) = (Client::sign_up(&server, &format!("trader{n}@example.org")), stop.clone());
            std::thread::spawn(move || trade(client, 0xdeaf + n, stop))
        })
        .collect();
    let mut sequence = 0;
    let began = Instant::now();
    while sequence < 7_000 {
        let message = attentive.next().await.expect("one that reads is not closed");
        let next = message["sequence"].as_u64().unwrap();
        assert_eq!(next, sequence + 1);
        sequence = next;
    }
    stop.store(true, Ordering::Relaxed);
    traders.into_iter().for_each(|trader| trader.join().unwrap());
    // 7,000 messages for each of 100 clients would be some 190 MB.
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 60 << 20, "memory grew by {grown} bytes");

    // Whoever begins to read again finds everything up to some event, and then the end: its reason, and that event as
    // the one to resume from. Those who read levels were not cut off for being slow. Where all this took long, TCP has
    // given up some of them by itself.
    let mut told_why = 0;
    for (n, mut slow) in deaf.into_iter().enumerate() {
        if n % 2 == 1 {
            continue;
        }
        slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut all = Vec::new();
        // The server closes the connection in the end; until then everything that was sent is there.
        let _ = slow.read_to_end(&mut all);
        let told = messages_of(&all);
        let Some((end, events)) = told.split_last().filter(|(end, _)| end["type"] == "error") else { continue };
        assert_eq!((&end["message"], &end["reason"]), (&json!("Connection closed"), &json!("slow_reader")));
        told_why += 1;
        let sequences: Vec<u64> = events.iter().filter_map(|message| message["sequence"].as_u64()).collect();
        assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "a hole before the end");
        assert_eq!(end["resume_from"][PRODUCT].as_u64(), sequences.last().copied());
        if told_why == 1 {
            let mut again = Feed::open(server.address).await;
            let from = end["resume_from"][PRODUCT].as_u64().unwrap();
            again.subscribe(json!([{"name": "full", "resume_from": from}]), json!({})).await;
            again.until("subscriptions").await;
            for expected in from + 1..=sequence {
                assert_eq!(again.next().await.unwrap()["sequence"], expected);
            }
        }
    }
    assert!(told_why > 0 || began.elapsed() > Duration::from_secs(25), "nobody was told why");
}

/// The text messages in what a server sent: frames without masks.
fn messages_of(mut bytes: &[u8]) -> Vec<Value> {
    let mut all = Vec::new();
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    bytes = &bytes[head..];
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match (second & 0x7f, rest) {
            (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            // The last frame may have been cut off.
            (126 | 127, _) => break,
            (short, rest) => (usize::from(short), rest),
        };
        let Some(payload) = rest.get(..length) else { break };
        if *first == 0x81 {
            all.push(serde_json::from_slice(payload).unwrap());
        }
        bytes = &rest[length..];
    }
    all
}
