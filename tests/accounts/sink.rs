//! A web server that keeps what is sent to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// One request: first line, headers as they came, body.
pub struct Request {
    pub first: String,
    pub headers: String,
    pub body: String,
}

pub struct Sink {
    pub address: SocketAddr,
    requests: Receiver<Request>,
}

impl Sink {
    /// Answers the first requests with these statuses and everything else with 200.
    pub fn start(statuses: &[u16]) -> Sink {
        Sink::serving(statuses, b"{}")
    }

    /// The same with this body.
    pub fn serving(statuses: &[u16], body: &'static [u8]) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        let mut statuses = Vec::from(statuses).into_iter();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // One request at a time, so that the statuses have an order.
                drop(talk(stream.unwrap(), &sender, &mut || (statuses.next().unwrap_or(200), body)));
            }
        });
        Sink { address, requests }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn next(&self) -> Request {
        self.requests.recv_timeout(Duration::from_secs(30)).expect("nothing was sent")
    }
}

fn talk(
    stream: TcpStream,
    sender: &Sender<Request>,
    answer: &mut dyn FnMut() -> (u16, &'static [u8]),
) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let (mut headers, mut length, mut line) = (String::new(), 0, String::new());
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        headers += &line;
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let _ = sender.send(Request { first, headers, body: String::from_utf8(body).unwrap() });
    let (status, body) = answer();
    write!(writer, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    writer.write_all(body)
}
