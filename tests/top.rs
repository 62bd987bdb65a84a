//! `agora top` against the real program: what it prints for guests, for administrators, and when it cannot.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod server;

use serde_json::json;
use server::{Client, Server};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

/// What came of one run.
struct Printed {
    succeeded: bool,
    /// The words of each line, whatever the width of its columns.
    lines: Vec<String>,
    complaint: String,
}

impl Printed {
    fn has(&self, beginning: &str) -> bool {
        self.lines.iter().any(|line| line.starts_with(beginning))
    }
}

/// Runs it once against this server.
fn top(address: SocketAddr, arguments: &[&str], password: Option<&str>) -> Printed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agora"));
    command.args(["top", "--once", "--server", &format!("http://{address}")]).args(arguments);
    if let Some(password) = password {
        command.env("AGORA_TOP_PASSWORD", password);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    Printed {
        succeeded: output.status.success(),
        lines: text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect(),
        complaint: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn one_frame_shows_markets_and_rates_and_administrators_the_tree() {
    let data = tempfile::tempdir().unwrap();
    Client::create_admin(data.path());
    let server = Server::start(data.path());
    let address = server.address;
    let mut seller = Client::sign_up(&server, "seller@example.org");
    let mut buyer = Client::sign_up(&server, "buyer@example.org");
    for (client, side, size) in [(&mut seller, "sell", "0.03"), (&mut buyer, "buy", "0.01")] {
        let order = json!({"product_id": "BTC-USDT", "side": side, "price": "60000", "size": size}).to_string();
        let answer = client.send("POST", "/orders", order.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
    }

    let guest = top(address, &[], None);
    let lines = guest.lines.join("\n");
    assert!(guest.succeeded, "{}\n{lines}", guest.complaint);
    assert!(guest.has(&format!("agora top http://{address} ready active")), "{lines}");
    assert!(guest.has("BTC-USDT online 60000 0.00% – 60000 0.01 BTC "), "{lines}");
    assert!(guest.has("ETH-USDT online –"), "{lines}");
    // How much of it falls between two looks is not known, only that it is a number.
    for rate in ["orders/s ", "fills/s ", "flushes/s "] {
        let shown =
            guest.lines.iter().filter(|line| line.starts_with("orders/s ")).find_map(|line| line.split(rate).nth(1));
        let shown = shown.and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
        assert!(shown.is_some_and(|rate| rate >= 0.0), "{rate}: {lines}");
    }
    assert!(guest.has("log ") && guest.has("actors "), "{lines}");
    assert!(guest.has("supervision tree: administrators see it"), "{lines}");
    assert!(!guest.has("agora running"), "{lines}");

    let token = Client::admin(&server).token;
    let by_password = top(address, &["--email", "admin@example.org", "--every", "2"], Some("correct horse battery"));
    let by_token = top(address, &["--token", &token], None);
    for admin in [by_password, by_token] {
        let lines = admin.lines.join("\n");
        assert!(admin.succeeded, "{}\n{lines}", admin.complaint);
        assert!(admin.has("BTC-USDT online 60000"), "{lines}");
        assert!(admin.has("orders/s "), "{lines}");
        assert!(admin.has("agora running"), "{lines}");
        assert!(admin.has("order book BTC-USDT running active 0 "), "{lines}");
        assert!(admin.lines.iter().any(|line| line.contains(" running twin ")), "{lines}");
        assert!(admin.lines.first().is_some_and(|line| line.contains(" up ")), "{lines}");
    }
}

#[test]
fn what_is_refused_or_out_of_reach_is_said_and_is_no_success() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let address = server.address;
    let user = Client::sign_up(&server, "user@example.org");

    // Whoever is no administrator sees the rest all the same.
    let refused = top(address, &["--token", &user.token], None);
    assert!(!refused.succeeded && refused.complaint.contains("supervision tree"), "{}", refused.complaint);
    assert!(refused.has("BTC-USDT online"), "{:?}", refused.lines);
    let wrong = top(address, &["--email", "user@example.org"], Some("not that one"));
    assert!(!wrong.succeeded && wrong.lines.is_empty() && !wrong.complaint.is_empty(), "{:?}", wrong.lines);

    drop(server);
    let gone = top(address, &[], None);
    assert!(!gone.succeeded && gone.complaint.contains("out of reach"), "{}", gone.complaint);
    assert!(gone.has(&format!("agora top http://{address} out of reach")), "{:?}", gone.lines);
}

#[test]
fn a_server_that_refuses_does_not_steer_the_terminal_of_whoever_asks() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut byte) = (Vec::new(), [0]);
        // The body is one object.
        while request.last() != Some(&b'}') && stream.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        let body = json!({"code": "signed_out", "message": "\u{1b}]0;title\u{7}go\u{9b}2J away"}).to_string();
        let head = "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nConnection: close";
        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    });
    let refused = top(address, &["--email", "user@example.org"], Some("secret"));
    assert!(!refused.succeeded && refused.complaint.contains("go2J away"), "{:?}", refused.complaint);
    let is_harmless = refused.complaint.chars().all(|c| c == '\n' || !c.is_control());
    assert!(is_harmless, "{:?}", refused.complaint);
}
