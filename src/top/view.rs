//! How the dashboard looks, in a terminal and as plain text: both are the same lines.

use super::metrics::Figures;
use super::model::{Market, Model, Mood, Place, Tree};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::time::Duration;

/// For what is not known.
const UNKNOWN: &str = "–";
/// How a guest gets to see the tree.
const HOW_TO_SEE: &str = "administrators see it: agora top --email EMAIL, or --token TOKEN";

/// Draws everything; how far it can be scrolled.
pub fn draw(frame: &mut Frame<'_>, model: &Model) -> u16 {
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(Paragraph::new(header(model)), top);
    let lines = body(model);
    let furthest = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_sub(middle.height);
    frame.render_widget(Paragraph::new(lines).scroll((model.scroll.min(furthest), 0)), middle);
    frame.render_widget(Paragraph::new(Line::styled("q ends   ↑ ↓ PgUp PgDn scroll", dim())), bottom);
    furthest
}

/// Everything as plain text.
pub fn plain(model: &Model) -> String {
    let mut text = String::new();
    for line in header(model).into_iter().chain(body(model)) {
        // Nothing that a server says steers the terminal.
        text.extend(line.to_string().trim_end().chars().filter(|c| !c.is_control()));
        text.push('\n');
    }
    text
}

fn dim() -> Style {
    Style::default().fg(Color::DarkGray)
}

fn color(mood: Mood) -> Style {
    match mood {
        Mood::Good => Style::default().fg(Color::Green),
        Mood::Notable => Style::default().fg(Color::Yellow),
        Mood::Bad => Style::default().fg(Color::Red),
    }
}

/// Two lines: which server and how it is; what is wrong.
fn header(model: &Model) -> Vec<Line<'static>> {
    let bold = Style::default().add_modifier(Modifier::BOLD);
    let mut first = vec![Span::styled("agora top", bold), Span::raw(format!("  {}  ", model.server))];
    let mut second = Line::default();
    match (&model.trouble, &model.health) {
        (Some(trouble), _) => {
            first.push(Span::styled("out of reach", color(Mood::Bad)));
            second = Line::styled(format!("{trouble}; it is asked again"), color(Mood::Bad));
        }
        (None, None) => first.push(Span::styled("asking …", dim())),
        (None, Some(health)) => {
            let (word, mood) = if health.ready { ("ready", Mood::Good) } else { ("not ready", Mood::Bad) };
            first.push(Span::styled(word, color(mood)));
            first.extend(health.role.iter().map(|role| Span::raw(format!("  {role}"))));
            first.extend(model.uptime.map(|time| Span::raw(format!("  up {}", long(time)))));
            second = Line::styled(health.reasons.join("; "), color(Mood::Notable));
        }
    }
    vec![Line::from(first), second]
}

fn body(model: &Model) -> Vec<Line<'static>> {
    let mut lines = rates(model);
    lines.push(Line::default());
    lines.extend(markets(model));
    lines.push(Line::default());
    lines.extend(tree(&model.tree));
    lines
}

/// Names and what belongs to them, in one line.
fn figures_line<const N: usize>(figures: [(&'static str, String); N]) -> Line<'static> {
    let spans = figures
        .into_iter()
        .flat_map(|(name, figure)| [Span::styled(name, dim()), Span::raw(" "), Span::raw(figure), Span::raw("   ")]);
    Line::from(spans.collect::<Vec<_>>())
}

fn rates(model: &Model) -> Vec<Line<'static>> {
    let rate = |rate: Option<f64>| rate.map_or_else(|| UNKNOWN.to_owned(), decimal);
    let rates = model.rates.as_ref();
    let flush = rates.and_then(|rates| rates.flush).map(|time| format!("{:.2} ms", time.as_secs_f64() * 1_000.0));
    let mut lines = vec![figures_line([
        ("orders/s", rate(rates.map(|rates| rates.orders))),
        ("fills/s", rate(model.fills())),
        ("entries/s", rate(rates.map(|rates| rates.entries))),
        ("flushes/s", rate(rates.map(|rates| rates.flushes))),
        ("flush", flush.unwrap_or_else(|| UNKNOWN.to_owned())),
        ("requests/s", rate(rates.map(|rates| rates.requests))),
    ])];
    match &model.figures {
        Some(Ok(figures)) => {
            lines.push(log_line(figures));
            lines.push(actors_line(figures));
            if let Some(refused) = rates.map(|rates| rates.refused).filter(|refused| *refused > 0.0) {
                let text = format!("the log refuses {} proposals/s", decimal(refused));
                lines.push(Line::styled(text, color(Mood::Bad)));
            }
        }
        Some(Err(reason)) => lines.push(Line::styled(format!("no figures: {reason}"), color(Mood::Notable))),
        None => {}
    }
    lines
}

fn log_line(figures: &Figures) -> Line<'static> {
    figures_line([
        ("log", grouped(figures.position)),
        ("projected", format!("{} ({} behind)", grouped(figures.projected), grouped(figures.projection_lag()))),
        ("behind other nodes", grouped(figures.node_lag)),
    ])
}

fn actors_line(figures: &Figures) -> Line<'static> {
    let fullest = figures.fullest.as_ref().map(|(actor, count)| format!(" (most: {actor} {})", grouped(*count)));
    let mut line = figures_line([
        ("actors", format!("{} of {} run", grouped(figures.running), grouped(figures.actors))),
        ("restarts", grouped(figures.restarts)),
        ("messages wait", format!("{}{}", grouped(figures.waiting), fullest.unwrap_or_default())),
    ]);
    if figures.running < figures.actors {
        line = line.patch_style(color(Mood::Notable));
    }
    line
}

fn markets(model: &Model) -> Vec<Line<'static>> {
    let row = |market: &Market| {
        let price = |price: &Option<String>| Span::raw(price.clone().unwrap_or_else(|| UNKNOWN.to_owned()));
        let volume = market.volume.as_ref().map(|volume| format!("{volume} {}", market.base));
        [
            Span::raw(market.symbol.clone()),
            Span::styled(market.status, color(market.mood)),
            price(&market.last),
            change(market.change),
            price(&market.bid),
            price(&market.ask),
            price(&volume),
            Span::raw(market.fills.map_or_else(|| UNKNOWN.to_owned(), decimal)),
        ]
    };
    let heads = [
        ("MARKET", Side::Left),
        ("STATUS", Side::Left),
        ("LAST", Side::Right),
        ("24 H", Side::Right),
        ("BID", Side::Right),
        ("ASK", Side::Right),
        ("24 H VOLUME", Side::Right),
        ("FILLS/S", Side::Right),
    ];
    let mut lines = table(heads, model.markets.iter().map(row).collect());
    if let Some(reason) = &model.no_markets {
        lines.push(Line::styled(format!("no markets: {reason}"), color(Mood::Notable)));
    }
    lines
}

fn change(hundredths: Option<i64>) -> Span<'static> {
    let Some(hundredths) = hundredths else { return Span::raw(UNKNOWN) };
    let (sign, style) = match hundredths {
        0 => ("", Style::default()),
        1.. => ("+", color(Mood::Good)),
        ..0 => ("-", color(Mood::Bad)),
    };
    let size = hundredths.unsigned_abs();
    Span::styled(format!("{sign}{}.{:02}%", size / 100, size % 100), style)
}

fn tree(tree: &Tree) -> Vec<Line<'static>> {
    let places = match tree {
        Tree::Awaited => return Vec::new(),
        Tree::Guest => return vec![Line::styled(format!("supervision tree: {HOW_TO_SEE}"), dim())],
        Tree::Refused(reason) => {
            return vec![Line::styled(format!("supervision tree: {reason}"), color(Mood::Notable))];
        }
        Tree::Places(places) => places,
    };
    let row = |place: &Place| {
        let (depth, capacity) = place.mailbox;
        let mailbox = if capacity == 0 { UNKNOWN.to_owned() } else { format!("{depth}/{capacity}") };
        let full = if depth < capacity.div_ceil(2) { Style::default() } else { color(Mood::Notable) };
        [
            Span::raw(format!("{}{}", "  ".repeat(place.depth), place.name)),
            Span::styled(place.state.clone(), color(place.mood)),
            Span::raw(place.role.clone().unwrap_or_default()),
            Span::raw(grouped(place.crashes)),
            Span::styled(mailbox, if capacity == 0 { dim() } else { full }),
            Span::raw(place.lag.map_or_else(|| UNKNOWN.to_owned(), grouped)),
            Span::styled(place.reason.clone().unwrap_or_default(), color(place.mood)),
        ]
    };
    let heads = [
        ("PLACE", Side::Left),
        ("STATE", Side::Left),
        ("ROLE", Side::Left),
        ("RESTARTS", Side::Right),
        ("MAILBOX", Side::Right),
        ("LAG", Side::Right),
        ("", Side::Left),
    ];
    table(heads, places.iter().map(row).collect())
}

/// Where the cells of a column begin or end alike.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// A line of heads and one for each row; every column is as wide as its widest cell.
fn table<const N: usize>(heads: [(&'static str, Side); N], rows: Vec<[Span<'static>; N]>) -> Vec<Line<'static>> {
    let mut widths = heads.map(|(head, _)| head.len());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    let line = |cells: [Span<'static>; N]| {
        let mut spans = Vec::with_capacity(2 * N);
        for ((cell, width), (_, side)) in cells.into_iter().zip(widths).zip(heads) {
            let gap = width.saturating_sub(cell.width());
            match side {
                Side::Left => spans.extend([cell, Span::raw(" ".repeat(gap + 2))]),
                Side::Right => spans.extend([Span::raw(" ".repeat(gap)), cell, Span::raw("  ")]),
            }
        }
        Line::from(spans)
    };
    let first = line(heads.map(|(head, _)| Span::styled(head, dim())));
    std::iter::once(first).chain(rows.into_iter().map(line)).collect()
}

/// A rate: one decimal where it says something.
fn decimal(rate: f64) -> String {
    if rate < 100.0 { format!("{rate:.1}") } else { grouped(rate.round() as u64) }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A long time by its two largest units.
fn long(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Seen;
    use super::super::model::tests::round;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::time::Instant;

    fn looked_at_twice() -> Model {
        let begin = Instant::now();
        let mut model = Model::new("http://here");
        model.hear(Ok(round(begin, 0)));
        model.hear(Ok(round(begin, 2)));
        model
    }

    /// Words of a line, whatever the width of its columns.
    fn words(text: &str) -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn a_frame_has_all_that_is_known() {
        let text = plain(&looked_at_twice());
        let lines = words(&text);
        for expected in [
            "agora top http://here not ready active up 1 d 1 h",
            "down: agora/chat",
            "orders/s 20.0 fills/s 3.0 entries/s 0.0 flushes/s 5.0 flush 0.00 ms requests/s 0.0",
            "log 102 projected 90 (12 behind) behind other nodes 0",
            "actors 1 of 1 run restarts 0 messages wait 2 (most: agora 2)",
            "MARKET STATUS LAST 24 H BID ASK 24 H VOLUME FILLS/S",
            "BTC-USDT online 61200 +2.00% 61199.5 – 12.5 BTC 3.0",
            "ETH-USDT auction – – 3000 – – 0.0",
            "PLACE STATE ROLE RESTARTS MAILBOX LAG",
            "agora running 0 1/64 –",
            "order book BTC-USDT faulted active 3 1/64 7 a drill",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected} is missing in\n{text}");
        }
        assert!(text.contains("\n    order book BTC-USDT "), "{text}");
    }

    #[test]
    fn a_guest_is_told_how_to_see_the_tree_and_trouble_is_said() {
        let begin = Instant::now();
        let mut model = Model::new("http://here");
        assert!(plain(&model).contains("asking"));
        let mut first = round(begin, 0);
        first.tree = Seen::Guest;
        first.metrics = Err("/metrics answers 404".into());
        model.hear(Ok(first));
        let text = plain(&model);
        assert!(text.contains(HOW_TO_SEE) && text.contains("no figures: /metrics answers 404"), "{text}");
        assert!(text.contains("orders/s –"), "{text}");
        model.hear(Err("Connection refused".into()));
        let text = plain(&model);
        assert!(text.contains("out of reach") && text.contains("Connection refused; it is asked again"), "{text}");
        assert!(text.contains("61200"), "{text}");
    }

    #[test]
    fn nothing_that_a_server_says_steers_the_terminal() {
        let mut model = looked_at_twice();
        model.tree = Tree::Refused("\u{1b}[2Jgone\r\nreally".into());
        let text = plain(&model);
        assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
        assert!(text.contains("[2Jgone"), "{text}");
    }

    #[test]
    fn what_does_not_run_is_colored_and_the_rest_can_be_scrolled_to() {
        let mut model = looked_at_twice();
        let mut terminal = Terminal::new(TestBackend::new(100, 8)).unwrap();
        let mut furthest = 0;
        terminal.draw(|frame| furthest = draw(frame, &model)).unwrap();
        // Thirteen lines in five.
        assert_eq!(furthest, 8);
        model.scroll = u16::MAX;
        terminal.draw(|frame| furthest = draw(frame, &model)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y: u16| (0..100_u16).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        assert!(row(0).starts_with("agora top"), "{}", row(0));
        let book = (0..8).find(|y| row(*y).contains("order book BTC-USDT")).unwrap();
        let column = row(book).find("faulted").unwrap();
        assert_eq!(buffer[(column as u16, book)].fg, Color::Red);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 99.94, 1_234.5].map(decimal), ["0.0", "99.9", "1,235"]);
        let times = [5, 65, 3_660, 90_061].map(|seconds| long(Duration::from_secs(seconds)));
        assert_eq!(times, ["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]);
        let changes = [None, Some(0), Some(5), Some(-1_234)].map(|moved| change(moved).content.into_owned());
        assert_eq!(changes, ["–", "0.00%", "+0.05%", "-12.34%"]);
    }
}
