//! The program `agora`: reads the command line and does what it says.

use std::process::ExitCode;

/// A request is read on one thread, and what it became is freed on others.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match agora::cli::Cli::read(std::env::args_os()).and_then(agora::cli::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agora: {error:#}");
            ExitCode::FAILURE
        }
    }
}
