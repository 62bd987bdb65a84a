//! Private servers for tests: PostgreSQL, Redis and RabbitMQ from the installed packages, in
//! temporary folders on free ports of the loopback interface. A test may kill, freeze, stop and start
//! them as it likes; they end when dropped, and also when the test is killed.
//!
//! A test process should start one server of a kind and keep what belongs together in one test:
//! PostgreSQL takes about a second, RabbitMQ about eight.
#![allow(dead_code, unused_imports, reason = "no test uses all of it")]

mod postgres;
mod process;
mod rabbitmq;
mod redis;

pub use postgres::Postgres;
pub use rabbitmq::RabbitMq;
pub use redis::Redis;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A port that nobody uses, below those that the system gives to outgoing connections: a server that
/// was stopped gets it back.
fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 15_000 + (std::process::id() as u16).wrapping_mul(37).wrapping_add(step) % 17_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Asks until the answer is yes; three minutes at most, since a machine may be busy with other tests.
fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < Duration::from_secs(180), "{what} did not come within three minutes");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn connect(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    Some(stream)
}
