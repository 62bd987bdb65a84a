//! Asking in a terminal for what nobody else is to read there.

use anyhow::anyhow;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use std::io::IsTerminal;

/// A line of the user's that is not shown as it is typed. Where nobody types it, it is the next line of the standard
/// input.
///
/// # Errors
/// When the user gives up, or nothing can be read.
pub fn ask(what: &str) -> anyhow::Result<String> {
    eprint!("{what}: ");
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    enable_raw_mode()?;
    let line = typed();
    disable_raw_mode()?;
    eprintln!();
    line
}

fn typed() -> anyhow::Result<String> {
    let mut line = String::new();
    loop {
        let Event::Key(key) = event::read()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return Ok(line),
            KeyCode::Esc => return Err(anyhow!("nothing was entered")),
            KeyCode::Char('c' | 'd') if control => return Err(anyhow!("nothing was entered")),
            KeyCode::Char(c) if !control => line.push(c),
            KeyCode::Backspace => drop(line.pop()),
            _ => {}
        }
    }
}
