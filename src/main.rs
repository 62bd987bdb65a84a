//! The program `agora`: reads the command line and does what it says.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match agora::cli::run(agora::cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agora: {error:#}");
            ExitCode::FAILURE
        }
    }
}
