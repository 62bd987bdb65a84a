//! A mail server that keeps what it is given.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

pub struct MailServer {
    pub address: SocketAddr,
    mails: Receiver<String>,
}

impl MailServer {
    pub fn start() -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, mails) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                // A client that breaks off has broken off.
                thread::spawn(move || drop(talk(stream.unwrap(), &sender)));
            }
        });
        MailServer { address, mails }
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// The next mail, headers and all.
    pub fn next(&self) -> String {
        self.mails.recv_timeout(Duration::from_secs(20)).expect("no mail came")
    }

    /// Whether a mail is there that nobody has asked for.
    pub fn is_empty(&self) -> bool {
        self.mails.try_recv().is_err()
    }
}

fn talk(stream: TcpStream, mails: &Sender<String>) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    writer.write_all(b"220 test\r\n")?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        let answer: &[u8] = match line.split([' ', '\r']).next().unwrap_or_default().to_uppercase().as_str() {
            "DATA" => {
                writer.write_all(b"354 go on\r\n")?;
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") && reader.read_line(&mut text)? > 0 {}
                let _ = mails.send(text);
                b"250 taken\r\n"
            }
            "QUIT" => b"221 bye\r\n",
            _ => b"250 fine\r\n",
        };
        writer.write_all(answer)?;
        line.clear();
    }
    Ok(())
}
