//! Chat under load.
//!
//! - One room with many listeners against a bare broadcaster. Both are processes of their own, started from this
//!   program, loaded one after the other by the same closed loop: a few senders, each with a few messages under way,
//!   and a thousand sockets that listen. At the venue an acknowledgement means that the message is durable. Then the
//!   venue alone gets half of what it reached, each message at its time, and the acknowledgements are measured from
//!   then on.
//! - Memory with many connections that hear nothing.
//! - Memory with many rooms known and few of them active.

mod fanout;
mod idle;
mod rooms;
mod venue;

use anyhow::{Context, ensure};
use std::fmt;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Sockets that listen to the room.
    #[arg(long, default_value_t = 1_000)]
    pub listeners: usize,
    /// Users who share the sockets; at most 20 sockets each.
    #[arg(long, default_value_t = 60)]
    pub users: usize,
    /// Sockets that write.
    #[arg(long, default_value_t = 4)]
    pub senders: usize,
    /// Messages that each of them has under way.
    #[arg(long, default_value_t = 4)]
    pub window: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4.0)]
    pub seconds: f64,
    /// Connections that hear nothing; 0 leaves that part out.
    #[arg(long, default_value_t = 10_000)]
    pub idle: usize,
    /// Rooms that are known; 0 leaves that part out.
    #[arg(long, default_value_t = 10_000)]
    pub rooms: usize,
    /// Rooms of these that are active.
    #[arg(long, default_value_t = 100)]
    pub active_rooms: usize,
}

/// What reached a thousand sockets.
#[derive(Clone, Debug)]
pub struct Fanout {
    /// Frames that reached a listener in a second, from the bare broadcaster.
    pub bare_per_second: f64,
    /// The same, from the venue.
    pub chat_per_second: f64,
    /// Acknowledgements at half load: median and 99th percentile, ms.
    pub ack_ms: (f64, f64),
}

/// Memory with idle connections; 0 where there is no `/proc`.
#[derive(Clone, Debug)]
pub struct Idle {
    /// Connections that stayed.
    pub connections: usize,
    /// Resident bytes before them.
    pub before_bytes: u64,
    /// The same with them.
    pub after_bytes: u64,
}

/// Memory with rooms; 0 where there is no `/proc`.
#[derive(Clone, Debug)]
pub struct Rooms {
    /// Rooms that exist.
    pub known: usize,
    /// Resident bytes before any room was made.
    pub empty_bytes: u64,
    /// The same once all are made and idle.
    pub known_bytes: u64,
    /// Rooms in memory after something was written in some.
    pub active: u64,
    /// Resident bytes then.
    pub active_bytes: u64,
}

/// What was measured; `Display` prints it.
#[derive(Clone, Debug)]
pub struct Report {
    /// One room with many listeners.
    pub fanout: Fanout,
    /// Idle connections.
    pub idle: Option<Idle>,
    /// Idle rooms.
    pub rooms: Option<Rooms>,
}

const MIB: f64 = 1024.0 * 1024.0;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fanout { bare_per_second, chat_per_second, ack_ms: (p50, p99) } = &self.fanout;
        writeln!(f, "| | frames/s |\n| --- | --- |")?;
        writeln!(f, "| bare broadcaster | {bare_per_second:.0} |")?;
        writeln!(f, "| chat room | {chat_per_second:.0} |")?;
        writeln!(f, "\nratio {:.2}", chat_per_second / bare_per_second)?;
        write!(f, "acknowledged at half load: p50 {p50:.1} ms, p99 {p99:.1} ms")?;
        if let Some(Idle { connections, before_bytes, after_bytes }) = &self.idle {
            let (before, after) = (*before_bytes as f64 / MIB, *after_bytes as f64 / MIB);
            let each = after_bytes.saturating_sub(*before_bytes) as f64 / 1024.0 / (*connections).max(1) as f64;
            write!(f, "\n{connections} idle connections: {after:.0} MiB, {before:.0} MiB without; {each:.1} KiB each")?;
        }
        if let Some(Rooms { known, empty_bytes, known_bytes, active, active_bytes }) = &self.rooms {
            let [empty, idle, used] = [empty_bytes, known_bytes, active_bytes].map(|bytes| *bytes as f64 / MIB);
            write!(
                f,
                "\n{known} rooms: {empty:.0} MiB before, {idle:.0} MiB idle, {used:.0} MiB with {active} active"
            )?;
        }
        Ok(())
    }
}

/// Measures.
///
/// # Errors
/// When a server cannot be started or a connection breaks.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    // The senders' sockets and the last one are its users' too.
    let sockets = options.listeners + options.senders + options.users;
    ensure!(sockets <= options.users * 20, "a user has at most 20 sockets");
    ensure!(options.senders > 0 && options.window > 0 && options.users > 0, "nothing is to be measured");
    let folder = std::env::temp_dir().join(format!("agora-bench-chat-{}", std::process::id()));
    let result = actix_web::rt::System::new().block_on(async {
        let data = |part: &str| {
            let path = folder.join(part);
            path.to_str().map(str::to_owned).context("the folder's name is not UTF-8")
        };
        anyhow::Ok(Report {
            fanout: fanout::measure(options, &data("fanout")?).await?,
            idle: idle::measure(options, &data("idle")?).await?,
            rooms: rooms::measure(options, &data("rooms")?).await?,
        })
    });
    // What is left behind is only a temporary folder.
    let _ = std::fs::remove_dir_all(&folder);
    result
}
