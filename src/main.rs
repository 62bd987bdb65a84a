//! The program `agora`: reads the command line and does what it says.

use std::process::ExitCode;

fn main() -> ExitCode {
    match agora::cli::Cli::read(std::env::args_os()).and_then(agora::cli::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agora: {error:#}");
            ExitCode::FAILURE
        }
    }
}
