//! A small HTTP/1.1 client for keep-alive connections: one request under way, prepared bytes out,
//! status and body back.

use anyhow::{Context, bail, ensure};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection.
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, answer: Vec::with_capacity(4096) })
    }

    /// Sends a request and waits for the whole answer: its status and its body.
    ///
    /// # Errors
    /// When the connection breaks or the answer is not HTTP with a length.
    pub async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        let body = loop {
            ensure!(self.stream.read_buf(&mut self.answer).await? > 0, "the server closed the connection");
            if let Some(end) = self.answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = std::str::from_utf8(self.answer.get(..body).unwrap_or_default())?;
        let status = head.get(9..12).context("no status")?.parse()?;
        let end = body + content_length(head)?;
        while self.answer.len() < end {
            ensure!(self.stream.read_buf(&mut self.answer).await? > 0, "the server closed the connection");
        }
        Ok((status, self.answer.get(body..end).unwrap_or_default()))
    }

    /// A header of the newest answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        let end = self.answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(self.answer.get(..end)?).ok()?;
        let mut pairs = head.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

fn content_length(head: &str) -> anyhow::Result<usize> {
    for (name, value) in head.lines().filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            return Ok(value.trim().parse()?);
        }
    }
    bail!("the answer has no length")
}

/// The bytes of a request; without a token it is anonymous.
pub fn request(method: &str, path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = body.len();
    let kind = "Content-Type: application/json\r\n";
    format!("{method} {path} HTTP/1.1\r\nHost: bench\r\n{authorization}{kind}Content-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Waits until the server says that it is ready.
///
/// # Errors
/// When it does not within half a minute.
pub async fn until_ready(address: SocketAddr) -> anyhow::Result<()> {
    let start = Instant::now();
    let probe = request("GET", "/health/ready", None, "");
    while start.elapsed() < Duration::from_secs(30) {
        if let Ok(mut connection) = Connection::open(address).await
            && matches!(connection.exchange(&probe).await, Ok((200, _)))
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("the server at {address} does not become ready")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_found_whatever_its_case() {
        assert_eq!(content_length("HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 12\r\n\r\n").unwrap(), 12);
        assert_eq!(content_length("HTTP/1.1 200 OK\r\ncontent-length:7\r\n\r\n").unwrap(), 7);
        assert!(content_length("HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
