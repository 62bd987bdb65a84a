//! How the terminal client looks.

use super::model::Model;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, List, ListItem, Paragraph, Wrap};
use serde_json::Value;

/// Columns of the list of rooms.
const ROOMS_WIDTH: u16 = 26;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, model: &Model) {
    let [main, input, status] =
        Layout::vertical([Constraint::Min(3), Constraint::Length(3), Constraint::Length(1)]).areas(frame.area());
    let [rooms, messages] = Layout::horizontal([Constraint::Length(ROOMS_WIDTH), Constraint::Min(20)]).areas(main);
    frame.render_widget(room_list(model), rooms);
    draw_messages(frame, model, messages);
    frame.render_widget(Paragraph::new(model.line.as_str()).block(Block::bordered().title("message or /help")), input);
    let column = u16::try_from(model.line.chars().count()).unwrap_or(u16::MAX);
    let right = input.right().saturating_sub(2);
    frame.set_cursor_position(Position::new((input.x + 1).saturating_add(column).min(right), input.y + 1));
    frame.render_widget(status_line(model), status);
}

fn room_list(model: &Model) -> List<'_> {
    let item = |(id, room): (&String, &super::model::Room)| {
        let mut style = Style::default();
        if Some(id) == model.current.as_ref() {
            style = style.add_modifier(Modifier::REVERSED);
        }
        if room.unread > 0 {
            style = style.add_modifier(Modifier::BOLD);
        }
        let dot = match room.about["with"].as_str().and_then(|other| model.presence.get(other)).map(String::as_str) {
            Some("online") => "● ",
            Some("away") => "◐ ",
            Some(_) => "○ ",
            None => "",
        };
        let unread = if room.unread > 0 { format!(" ({})", room.unread) } else { String::new() };
        ListItem::new(format!("{dot}{}{unread}", model.title(id))).style(style)
    };
    List::new(model.listed().into_iter().map(item)).block(Block::bordered().title("rooms"))
}

fn draw_messages(frame: &mut Frame<'_>, model: &Model, area: ratatui::layout::Rect) {
    let title = model.current.as_deref().map_or_else(|| "no room".to_owned(), |id| model.title(id));
    let block = Block::bordered().title(title);
    let room = model.current.as_ref().and_then(|id| model.rooms.get(id));
    let lines: Vec<Line<'_>> = room.iter().flat_map(|room| room.messages.values()).map(|m| line(model, m)).collect();
    let inner = block.inner(area);
    // Long lines wrap: rows are counted as they will be drawn, and the newest stand at the bottom.
    let width = usize::from(inner.width.max(1));
    let rows: usize = lines.iter().map(|line| line.width().div_ceil(width).max(1)).sum();
    let above = rows.saturating_sub(usize::from(inner.height)).saturating_sub(usize::from(model.scroll));
    let text = Paragraph::new(lines).block(block).wrap(Wrap { trim: false });
    frame.render_widget(text.scroll((u16::try_from(above).unwrap_or(u16::MAX), 0)), area);
}

fn line<'a>(model: &Model, message: &'a Value) -> Line<'a> {
    let author = message["author"].as_str().unwrap_or_default();
    let time = message["at"].as_str().and_then(|at| at.get(11..16)).unwrap_or_default();
    let dim = Style::default().fg(Color::DarkGray);
    let mut spans = vec![Span::styled(format!("{time} #{} ", message["sequence"]), dim)];
    if message["system"] == true {
        spans.push(Span::styled(message["text"].as_str().unwrap_or_default(), Style::default().fg(Color::Yellow)));
        return Line::from(spans);
    }
    let own = author == model.me;
    let color = if own { Color::Green } else { Color::Cyan };
    spans.push(Span::styled(format!("{}: ", model.name(author)), Style::default().fg(color)));
    match message["text"].as_str() {
        Some(text) => {
            if let Some(to) = message["reply_to"].as_u64() {
                spans.push(Span::styled(format!("↪#{to} "), dim));
            }
            spans.push(Span::raw(text));
        }
        None if message["hidden"] == true => spans.push(Span::styled("(blocked)", dim)),
        None => spans.push(Span::styled("(deleted)", dim)),
    }
    if !message["edited_at"].is_null() {
        spans.push(Span::styled(" (edited)", dim));
    }
    for (emoji, who) in message["reactions"].as_object().into_iter().flatten() {
        spans.push(Span::styled(format!("  {emoji} {}", who.as_array().map_or(0, Vec::len)), dim));
    }
    Line::from(spans)
}

fn status_line(model: &Model) -> Paragraph<'_> {
    let typing = model.typing();
    let text = match typing.as_slice() {
        [] => model.note.clone(),
        [one] => format!("{one} types …"),
        many => format!("{} type …", many.join(", ")),
    };
    let (dot, color) = if model.connected { ("● ", Color::Green) } else { ("○ connecting … ", Color::Red) };
    Paragraph::new(Line::from(vec![Span::styled(dot, Style::default().fg(color)), Span::raw(text)]))
}
