//! How the terminal client looks.

use super::model::{Model, Room};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, List, ListItem, Paragraph, Wrap};
use serde_json::Value;

/// Columns of the list of rooms.
const ROOMS_WIDTH: u16 = 26;
/// Rows above those on the screen that are looked at: more than the model scrolls before it asks for older messages.
const LOOKED_AHEAD: usize = 60;
/// What a tab is.
const TAB: &str = "    ";

/// Draws everything; how many rows the messages can be scrolled up, as far as was looked.
pub fn draw(frame: &mut Frame<'_>, model: &Model) -> u16 {
    let [main, input, status] =
        Layout::vertical([Constraint::Min(3), Constraint::Length(3), Constraint::Length(1)]).areas(frame.area());
    let [rooms, messages] = Layout::horizontal([Constraint::Length(ROOMS_WIDTH), Constraint::Min(20)]).areas(main);
    frame.render_widget(room_list(model), rooms);
    let furthest = draw_messages(frame, model, messages);
    frame.render_widget(Paragraph::new(model.line.as_str()).block(Block::bordered().title("message or /help")), input);
    let column = u16::try_from(model.line.chars().count()).unwrap_or(u16::MAX);
    let right = input.right().saturating_sub(2);
    frame.set_cursor_position(Position::new((input.x + 1).saturating_add(column).min(right), input.y + 1));
    frame.render_widget(status_line(model), status);
    furthest
}

fn room_list(model: &Model) -> List<'_> {
    let item = |(id, room): (&String, &Room)| {
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

fn draw_messages(frame: &mut Frame<'_>, model: &Model, area: Rect) -> u16 {
    let room = model.current.as_ref().and_then(|id| model.rooms.get(id));
    let mut title = model.current.as_deref().map_or_else(|| "no room".to_owned(), |id| model.title(id));
    if room.is_some_and(Room::is_behind) {
        title.push_str(" – older messages, PgDn goes on");
    }
    let block = Block::bordered().title(title);
    let inner = block.inner(area);
    // The newest stand at the bottom, and long lines wrap: rows are counted as they will be drawn, from there upwards
    // and no further than can be seen soon.
    let height = usize::from(inner.height);
    let wanted = height + usize::from(model.scroll) + LOOKED_AHEAD;
    let (mut upwards, mut rows) = (Vec::new(), 0);
    for message in room.into_iter().flat_map(|room| room.messages.values().rev()) {
        if rows >= wanted {
            break;
        }
        let text = lines(model, message);
        rows += wrapped(text.clone()).line_count(inner.width);
        upwards.push(text);
    }
    let furthest = rows.saturating_sub(height);
    let above = furthest.saturating_sub(usize::from(model.scroll));
    let text: Vec<Line<'_>> = upwards.into_iter().rev().flatten().collect();
    let text = wrapped(text).block(block).scroll((u16::try_from(above).unwrap_or(u16::MAX), 0));
    frame.render_widget(text, area);
    u16::try_from(furthest).unwrap_or(u16::MAX)
}

fn wrapped<'a>(text: impl Into<Text<'a>>) -> Paragraph<'a> {
    Paragraph::new(text).wrap(Wrap { trim: false })
}

/// A message, with a line for each of its own.
fn lines(model: &Model, message: &Value) -> Vec<Line<'static>> {
    let author = message["author"].as_str().unwrap_or_default();
    let time = message["at"].as_str().and_then(|at| at.get(11..16)).unwrap_or_default();
    let dim = Style::default().fg(Color::DarkGray);
    let mut spans = vec![Span::styled(format!("{time} #{} ", message["sequence"]), dim)];
    let mut done = Vec::new();
    if message["system"] == true {
        let style = Style::default().fg(Color::Yellow);
        write(&mut done, &mut spans, message["text"].as_str().unwrap_or_default(), style);
        done.push(Line::from(spans));
        return done;
    }
    let own = author == model.me;
    let color = if own { Color::Green } else { Color::Cyan };
    spans.push(Span::styled(format!("{}: ", model.name(author)), Style::default().fg(color)));
    match message["text"].as_str() {
        Some(text) => {
            if let Some(to) = message["reply_to"].as_u64() {
                spans.push(Span::styled(format!("↪#{to} "), dim));
            }
            write(&mut done, &mut spans, text, Style::default());
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
    done.push(Line::from(spans));
    done
}

/// Goes on with a text: each of its lines but the last one is done.
fn write(done: &mut Vec<Line<'static>>, spans: &mut Vec<Span<'static>>, text: &str, style: Style) {
    for (place, line) in text.lines().enumerate() {
        if place > 0 {
            done.push(Line::from(std::mem::take(spans)));
        }
        spans.push(Span::styled(line.replace('\t', TAB), style));
    }
}

fn status_line(model: &Model) -> Paragraph<'_> {
    let typing = model.typing();
    let text = match typing.as_slice() {
        // It may be several lines of a message or an error, and there is one here.
        [] => model.note.replace(['\n', '\t'], " "),
        [one] => format!("{one} types …"),
        many => format!("{} type …", many.join(", ")),
    };
    let (dot, color) = if model.connected { ("● ", Color::Green) } else { ("○ connecting … ", Color::Red) };
    Paragraph::new(Line::from(vec![Span::styled(dot, Style::default().fg(color)), Span::raw(text)]))
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::signed_in;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;
    use serde_json::json;

    /// What stands on the screen, row by row, once the model knows how far it can be scrolled.
    fn screen(model: &mut Model) -> Vec<String> {
        let (width, height) = (70, 14);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut furthest = 0;
        terminal.draw(|frame| furthest = draw(frame, model)).unwrap();
        model.drawn(furthest);
        let buffer = terminal.backend().buffer();
        (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect()).collect()
    }

    fn has(screen: &[String], words: &str) -> bool {
        screen.iter().any(|row| row.contains(words))
    }

    /// The shown room with these texts, the first one has the number 1.
    fn with_texts(texts: &[String]) -> Model {
        let mut model = signed_in();
        let messages: Vec<Value> = texts
            .iter()
            .zip(1..)
            .map(|(text, sequence): (_, u64)| json!({"sequence": sequence, "author": "bob", "text": text}))
            .collect();
        model.hear(&json!({"type": "history", "room": "8", "first": true, "last": true, "messages": messages}));
        model
    }

    #[test]
    fn the_newest_message_is_on_the_screen_and_the_oldest_can_be_scrolled_to() {
        // Two such words do not fit into a row, which has 42 columns: it is less full than its width says.
        let long = "incomprehensibilities-of-terminals ".repeat(3);
        let texts: Vec<String> = (1..=40).map(|number| format!("{long}end-{number}")).collect();
        let mut model = with_texts(&texts);
        let shown = screen(&mut model);
        assert!(has(&shown, "end-40") && !has(&shown, "end-30"), "{shown:#?}");

        let mut pages = 0;
        while !has(&screen(&mut model), " #1 ") {
            model.press(KeyCode::PageUp.into());
            pages += 1;
            assert!(pages < 100, "{:#?}", screen(&mut model));
        }
        // Nothing is above it, so one key goes down again at once.
        for _ in 0..5 {
            model.press(KeyCode::PageUp.into());
            assert!(has(&screen(&mut model), " #1 "), "{:#?}", screen(&mut model));
        }
        model.press(KeyCode::PageDown.into());
        assert!(!has(&screen(&mut model), " #1 "), "{:#?}", screen(&mut model));
    }

    #[test]
    fn each_line_of_a_message_has_its_own() {
        let mut model = with_texts(&["one\ntwo\tthree\r\n\nfour".to_owned()]);
        model.note = "found:\nhere".into();
        let shown = screen(&mut model);
        let place = shown.iter().position(|row| row.contains(" bob: one ")).unwrap();
        let rows: Vec<&str> = shown[place + 1..place + 4].iter().map(|row| row.trim_matches(['│', ' '])).collect();
        assert!(rows[0].ends_with("two    three") && rows[2].ends_with("four"), "{shown:#?}");
        assert!(!rows[1].contains(char::is_alphanumeric), "{shown:#?}");
        assert!(has(&shown, "found: here"), "{shown:#?}");
    }

    #[test]
    fn where_newer_messages_are_left_out_the_title_says_so() {
        let mut model = with_texts(&["old", "older"].map(str::to_owned));
        assert!(!has(&screen(&mut model), "PgDn"));
        let message = json!({"sequence": 9, "author": "bob", "text": "new"});
        model.hear(&json!({"type": "message", "room": "8", "message": message}));
        assert!(has(&screen(&mut model), "PgDn"));
    }
}
