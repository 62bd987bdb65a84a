//! A program that is to end by itself.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// What a command came to. One that does not end in time is killed, and the test fails: a server that should have refused
/// to start would otherwise be waited for without end.
pub fn ended(mut command: Command, within: Duration) -> Output {
    let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = process.id().to_string();
    let (tell, told) = std::sync::mpsc::channel();
    // Somebody has to read what it says, or it could not say it.
    std::thread::spawn(move || tell.send(process.wait_with_output()));
    told.recv_timeout(within).map(Result::unwrap).unwrap_or_else(|_| {
        assert!(Command::new("kill").args(["-s", "KILL", &id]).status().unwrap().success());
        panic!("{:?} goes on", command.get_args());
    })
}
