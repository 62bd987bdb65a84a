//! The real program in a process of its own, and a small HTTP client on one kept connection.

#![allow(dead_code, reason = "not every test needs everything")]

use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `agora` with these arguments; it is not started yet.
pub fn agora(arguments: &[&str], data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agora"));
    command
        .args(arguments)
        .arg("--data")
        .arg(data)
        .env("AGORA_LOG", std::env::var("AGORA_TEST_LOG").unwrap_or_else(|_| "error".into()))
        .env("RUST_BACKTRACE", "0");
    command
}

/// A running server. It is killed when dropped.
pub struct Server {
    pub process: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts on a free port and returns when requests are taken.
    pub fn start(data: &Path) -> Server {
        Server::start_with(data, &[])
    }

    /// The same with more arguments.
    pub fn start_with(data: &Path, more: &[&str]) -> Server {
        Server::start_at(data, "127.0.0.1:0", more)
    }

    /// The same at a given address, for those who come back to it after a crash.
    pub fn start_at(data: &Path, address: &str, more: &[&str]) -> Server {
        let mut command = agora(&["serve", "--demo-funds", "--listen", address], data);
        command.args(more);
        Server::run(command)
    }

    /// Runs this command, which must end in a server on a free port.
    pub fn run(mut command: Command) -> Server {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the program ended before it was ready").unwrap();
            if let Some(rest) = line.trim().strip_prefix("page") {
                break rest.trim().trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
            }
        };
        // What comes later is read too, or the program would fail to print it.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Server { process, address };
        // A node of a cluster may have to wait for others; whoever starts it knows what for.
        if !command.get_args().any(|argument| argument == "--rabbitmq") {
            server.wait_until_ready();
        }
        server
    }

    /// Waits until all markets are recovered; some tests want one that does not get there, so only for a while.
    fn wait_until_ready(&self) {
        let request = b"GET /health/ready HTTP/1.1\r\nHost: agora\r\nConnection: close\r\n\r\n";
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20)
            && !self.client("").send_raw(request).is_ok_and(|answer| answer.status == 200)
        {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn client(&self, token: &str) -> Client {
        Client { address: self.address, token: token.into(), connection: None, used: Instant::now() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One user's connection.
pub struct Client {
    pub address: SocketAddr,
    pub token: String,
    connection: Option<BufReader<TcpStream>>,
    used: Instant,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Client {
    /// A user of the server at this address.
    pub fn at(address: SocketAddr, token: &str) -> Client {
        Client { address, token: token.into(), connection: None, used: Instant::now() }
    }

    /// Makes a new user and is their client from here on.
    pub fn sign_up(server: &Server, email: &str) -> Client {
        let mut client = server.client("");
        let body = json!({"email": email, "password": "correct horse battery"}).to_string();
        let answer = client.send("POST", "/auth/sign-up", body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        client.token = answer.json()["access_token"].as_str().unwrap().into();
        client
    }

    /// An administrator of a server that is not running yet; signs in once it does.
    pub fn create_admin(data: &Path) {
        let mut command = agora(&["admin", "create", "admin@example.org"], data);
        let made = command.env("AGORA_ADMIN_PASSWORD", "correct horse battery").output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// The client of that administrator.
    pub fn admin(server: &Server) -> Client {
        Client::sign_in(server, "admin@example.org")
    }

    /// Somebody who has signed up before.
    pub fn sign_in(server: &Server, email: &str) -> Client {
        let mut client = server.client("");
        let body = json!({"email": email, "password": "correct horse battery"}).to_string();
        let answer = client.send("POST", "/auth/sign-in", body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        client.token = answer.json()["access_token"].as_str().unwrap().into();
        client
    }

    /// The text of `/metrics`.
    pub fn metrics(&mut self) -> String {
        let answer = self.send_raw(b"GET /metrics HTTP/1.1\r\nHost: agora\r\n\r\n").unwrap();
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body).unwrap()
    }

    /// One request below `/v1`.
    ///
    /// # Errors
    /// When the connection broke: whether the request was executed is unknown then.
    pub fn send(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        let mut head = format!("{method} /v1{path} HTTP/1.1\r\nHost: agora\r\nContent-Length: {}\r\n", body.len());
        if !self.token.is_empty() {
            head += &format!("Authorization: Bearer {}\r\n", self.token);
        }
        head += "\r\n";
        let answer = self.send_raw(&[head.as_bytes(), body].concat());
        let closes = |answer: &Answer| answer.header("connection").is_some_and(|value| value == "close");
        if answer.as_ref().map_or(true, closes) {
            self.connection = None;
        }
        answer
    }

    fn connect(&mut self) -> io::Result<()> {
        // The server closes a connection that was idle for five seconds, perhaps while the next request is on its way.
        if self.used.elapsed() > Duration::from_secs(4) {
            self.connection = None;
        }
        self.used = Instant::now();
        if self.connection.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            self.connection = Some(BufReader::new(stream));
        }
        Ok(())
    }

    /// On this connection, for an answer that takes long.
    ///
    /// # Errors
    /// When there is no connection to be had.
    pub fn wait_up_to(&mut self, time: Duration) -> io::Result<()> {
        self.connect()?;
        self.connection.as_ref().map_or(Ok(()), |connection| connection.get_ref().set_read_timeout(Some(time)))
    }

    /// Sends these bytes and reads one answer.
    ///
    /// # Errors
    /// When the connection ends before a whole answer came.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<Answer> {
        self.connect()?;
        let connection = self.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        // A server may answer and close before it has read everything; the answer counts.
        let sent = connection.get_mut().write_all(bytes);
        let answer = read_answer(connection, bytes.starts_with(b"HEAD "));
        self.used = Instant::now();
        if answer.is_err() {
            sent?;
        }
        answer
    }

    /// The whole body of an answer that comes in parts.
    ///
    /// # Errors
    /// When the connection ends before the last part.
    pub fn download(&mut self, path: &str) -> io::Result<Vec<u8>> {
        let answer = self.send("GET", path, b"")?;
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
        if answer.header("transfer-encoding") != Some("chunked") {
            return Ok(answer.body);
        }
        let connection = self.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            connection.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            let mut part = vec![0; length + 2];
            connection.read_exact(&mut part)?;
            if length == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&part[..length]);
        }
    }

    /// The JSON of a request that must succeed.
    pub fn get(&mut self, path: &str) -> Value {
        let answer = self.send("GET", path, b"").unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
        answer.json()
    }
}

fn read_answer(connection: &mut BufReader<TcpStream>, head_only: bool) -> io::Result<Answer> {
    let mut line = || -> io::Result<String> {
        let mut text = String::new();
        match connection.read_line(&mut text)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(text.trim_end().to_string()),
        }
    };
    let first = line()?;
    let status = first.split(' ').nth(1).and_then(|text| text.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let mut headers = Vec::new();
    loop {
        let text = line()?;
        let Some((name, value)) = text.split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_string()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    // The answer to a HEAD request tells the length of what it leaves out.
    let mut body = vec![0; if head_only { 0 } else { length.unwrap_or(0) }];
    connection.read_exact(&mut body)?;
    Ok(Answer { status, headers, body })
}
