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
            eprintln!("agora: {}", harmless(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// A text without what would steer the terminal: an error may hold what a server said.
fn harmless(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn nothing_that_an_error_says_steers_the_terminal() {
        let text = harmless("first\nsecond: \u{1b}[2J\u{9b}31m\r\u{7}\u{7f}größer – 👍");
        assert_eq!(text, "first\nsecond: [2J31mgrößer – 👍");
    }
}
