//! What the dashboard knows, apart from network and screen.

use super::metrics::{Figures, Rates, per_second};
use crate::domain::money::parse_decimal;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Lines of a page.
const PAGE: u16 = 10;
/// Decimals of prices that are compared: enough for every tick, and few enough for every price.
const PRICE_DECIMALS: u8 = 18;

/// What one look at the server gave, as it was answered.
pub struct Round {
    /// When the figures were read.
    pub at: Instant,
    /// Status and body of `/health/ready`.
    pub health: (u16, Value),
    /// The text of `/metrics`, or why there is none.
    pub metrics: Result<String, String>,
    /// The products, or why there are none.
    pub products: Result<Value, String>,
    /// The prices of some of them.
    pub quotes: Vec<Quote>,
    /// The tree.
    pub tree: Seen,
}

/// One market's prices.
pub struct Quote {
    /// Of which market.
    pub symbol: String,
    /// When.
    pub at: Instant,
    /// Status and body of the ticker; 404 before the first trade.
    pub ticker: (u16, Value),
    /// The best levels, without a ticker; null otherwise.
    pub book: Value,
    /// The statistics of the last day, now and then; null otherwise.
    pub stats: Value,
}

/// What was seen of the tree.
pub enum Seen {
    /// Nothing was asked for.
    Guest,
    /// The server does not show it, for this reason.
    Refused(String),
    /// Every place.
    Places {
        /// As the server lists them.
        places: Value,
        /// The server's clock: seconds since the Unix epoch.
        now: Option<f64>,
    },
}

/// How good a state is, for its color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// As it should be.
    #[default]
    Good,
    /// Not as usual.
    Notable,
    /// Down.
    Bad,
}

/// Whether the node should get requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it says so.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// What it is among others, if it is not alone.
    pub role: Option<String>,
}

/// A market, with what is known of it.
#[derive(Clone, Debug, Default)]
pub struct Market {
    pub symbol: String,
    pub status: &'static str,
    pub mood: Mood,
    pub last: Option<String>,
    /// Against the price of a day ago, in hundredths of a percent.
    pub change: Option<i64>,
    pub bid: Option<String>,
    pub ask: Option<String>,
    /// Of the last day, in the base currency.
    pub volume: Option<String>,
    pub base: String,
    /// Fills a second.
    pub fills: Option<f64>,
    /// Whether the server was asked for its prices.
    pub looked_at: bool,
    open: Option<String>,
    /// Trades since the first, and when they were so many.
    counted: Option<(Instant, u64)>,
}

/// A place of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// How many supervisors are above it.
    pub depth: usize,
    pub name: String,
    /// Active, standby or twin, for what trades.
    pub role: Option<String>,
    pub state: String,
    pub mood: Mood,
    pub crashes: u64,
    /// Messages that wait, and that may wait.
    pub mailbox: (u64, u64),
    /// Batches that it has still to take in.
    pub lag: Option<u64>,
    /// Why it crashed, while it does not run.
    pub reason: Option<String>,
}

/// The tree, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tree {
    /// Nothing was heard yet.
    #[default]
    Awaited,
    /// It is not asked for.
    Guest,
    /// The server does not show it, for this reason.
    Refused(String),
    /// Every place, below its supervisor.
    Places(Vec<Place>),
}

/// Everything that is shown.
#[derive(Default)]
pub struct Model {
    /// The server's address.
    pub server: String,
    /// Why the server is out of reach; `None` while it answers.
    pub trouble: Option<String>,
    /// `None` until it answers for the first time.
    pub health: Option<Health>,
    /// How long the root of the tree has been running.
    pub uptime: Option<Duration>,
    /// The newest figures, or why there are none.
    pub figures: Option<Result<Figures, String>>,
    /// Between the newest two looks.
    pub rates: Option<Rates>,
    pub markets: Vec<Market>,
    /// Why the markets are not as the server has them now.
    pub no_markets: Option<String>,
    pub tree: Tree,
    /// Lines scrolled down.
    pub scroll: u16,
    /// Whether the user wants to end.
    pub ended: bool,
    before: Option<(Instant, Figures)>,
}

impl Model {
    /// Nothing is known of this server yet.
    pub fn new(server: &str) -> Model {
        Model { server: server.to_owned(), ..Model::default() }
    }

    /// Whether every market was looked at.
    pub fn is_complete(&self) -> bool {
        self.markets.iter().all(|market| market.looked_at)
    }

    /// Fills a second over all markets; `None` before two looks at any.
    pub fn fills(&self) -> Option<f64> {
        self.markets.iter().filter_map(|market| market.fills).reduce(|sum, fills| sum + fills)
    }

    /// Takes a look in, or why there was none.
    pub fn hear(&mut self, heard: Result<Round, String>) {
        let round = match heard {
            Ok(round) => round,
            Err(trouble) => {
                // What was known stays, except for what is true only now.
                self.trouble = Some(trouble);
                self.rates = None;
                self.markets.iter_mut().for_each(|market| market.fills = None);
                return;
            }
        };
        self.trouble = None;
        self.hear_figures(round.at, round.metrics);
        self.health = Some(health(round.health.0, &round.health.1, self.figures.as_ref()));
        match round.products {
            Ok(products) => {
                self.no_markets = None;
                self.hear_products(&products);
            }
            Err(reason) => self.no_markets = Some(reason),
        }
        for quote in round.quotes {
            if let Some(market) = self.markets.iter_mut().find(|market| market.symbol == quote.symbol) {
                market.hear(&quote);
            }
        }
        self.uptime = None;
        self.tree = match round.tree {
            Seen::Guest => Tree::Guest,
            Seen::Refused(reason) => Tree::Refused(reason),
            Seen::Places { places, now } => {
                self.uptime = now.and_then(|now| uptime(&places, now));
                Tree::Places(in_order(&places))
            }
        };
    }

    fn hear_figures(&mut self, at: Instant, text: Result<String, String>) {
        let figures =
            text.and_then(|text| Figures::read(&text).ok_or_else(|| "/metrics is not that of an Agora server".into()));
        self.rates = None;
        if let Ok(now) = &figures {
            if let Some((earlier, before)) = &self.before {
                self.rates = Rates::between(before, now, at.saturating_duration_since(*earlier));
            }
            self.before = Some((at, now.clone()));
        }
        self.figures = Some(figures);
    }

    /// The list is the server's; what is known of a market stays with it.
    fn hear_products(&mut self, products: &Value) {
        let mut known: HashMap<String, Market> =
            self.markets.drain(..).map(|market| (market.symbol.clone(), market)).collect();
        for product in products.as_array().into_iter().flatten() {
            let Some(symbol) = product["id"].as_str() else { continue };
            let mut market = known.remove(symbol).unwrap_or_default();
            market.symbol = symbol.to_owned();
            market.base = product["base_currency"].as_str().unwrap_or_default().to_owned();
            (market.status, market.mood) = standing(product);
            self.markets.push(market);
        }
    }

    /// Takes a key in.
    pub fn press(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => self.ended = true,
            KeyCode::Char('q') | KeyCode::Esc => self.ended = true,
            KeyCode::Down | KeyCode::Char('j') => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.scroll = self.scroll.saturating_add(PAGE),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(PAGE),
            KeyCode::Home => self.scroll = 0,
            KeyCode::End => self.scroll = u16::MAX,
            _ => {}
        }
    }
}

impl Market {
    fn hear(&mut self, quote: &Quote) {
        self.looked_at = true;
        // The dialect says 0 for a price that does not exist.
        let price = |value: &Value| value.as_str().filter(|text| *text != "0").map(str::to_owned);
        let ticker = &quote.ticker.1;
        let trades = match quote.ticker.0 {
            200 => {
                (self.last, self.bid, self.ask) =
                    (price(&ticker["price"]), price(&ticker["bid"]), price(&ticker["ask"]));
                self.volume = ticker["volume"].as_str().map(str::to_owned);
                ticker["trade_id"].as_u64()
            }
            404 => {
                (self.bid, self.ask) = (price(&quote.book["bids"][0][0]), price(&quote.book["asks"][0][0]));
                Some(0)
            }
            // Its data starts, or cannot be had for another reason: what was known stays.
            _ => None,
        };
        self.fills = match (self.counted, trades) {
            (Some((earlier, before)), Some(now)) => {
                per_second(before, now, quote.at.saturating_duration_since(earlier))
            }
            _ => None,
        };
        if let Some(trades) = trades {
            self.counted = Some((quote.at, trades));
        }
        if let Some(open) = price(&quote.stats["open"]) {
            self.open = Some(open);
        }
        self.change = self.open.as_deref().zip(self.last.as_deref()).and_then(|(open, last)| change(open, last));
    }
}

/// From one price to another, in hundredths of a percent, rounded towards zero.
fn change(open: &str, last: &str) -> Option<i64> {
    let open = parse_decimal(open, PRICE_DECIMALS).ok()?;
    let last = parse_decimal(last, PRICE_DECIMALS).ok()?;
    let moved = last.checked_sub(open)?.checked_mul(10_000)?.checked_div(open)?;
    i64::try_from(moved).ok()
}

/// A market's status in a word.
fn standing(product: &Value) -> (&'static str, Mood) {
    let is = |flag: &str| product[flag] == true;
    if product["status"] != "online" {
        return ("offline", Mood::Bad);
    }
    match product["phase"].as_str() {
        Some("stopped") => ("stopped", Mood::Bad),
        _ if is("trading_disabled") => ("halted", Mood::Bad),
        Some("auction") => ("auction", Mood::Notable),
        _ if is("cancel_only") => ("cancel only", Mood::Notable),
        _ if is("post_only") => ("post only", Mood::Notable),
        _ if is("limit_only") => ("limit only", Mood::Notable),
        _ => ("online", Mood::Good),
    }
}

fn health(status: u16, body: &Value, figures: Option<&Result<Figures, String>>) -> Health {
    let ready = body["status"] == "ready";
    let mut reasons = Vec::new();
    if body["status"].is_null() {
        reasons.push(format!("/health/ready answers {status}"));
    }
    let down: Vec<&str> = body["down"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !down.is_empty() {
        reasons.push(format!("down: {}", down.join(", ")));
    }
    if body["log_refuses"] == true {
        reasons.push("the log takes nothing".into());
    }
    if body["behind"] == true {
        reasons.push("behind the other nodes".into());
    }
    let role = match (body["cluster"]["role"].as_str(), figures) {
        (Some(role), _) => Some(role.to_owned()),
        (None, Some(Ok(figures))) => Some(if figures.active { "active" } else { "standby" }.to_owned()),
        (None, _) => None,
    };
    Health { ready, reasons, role }
}

/// How long the root has been running, at `now` by the server's clock.
fn uptime(places: &Value, now: f64) -> Option<Duration> {
    let root = places.as_array()?.iter().find(|place| place["parent"].is_null())?;
    let since = Duration::from_micros(root["running_since"].as_u64()?);
    Duration::try_from_secs_f64(now).ok()?.checked_sub(since)
}

/// Every place right below its supervisor: the server lists them in the order in which they were made.
fn in_order(places: &Value) -> Vec<Place> {
    let listed: Vec<&Value> = places.as_array().into_iter().flatten().collect();
    let paths: HashSet<&str> = listed.iter().filter_map(|place| place["path"].as_str()).collect();
    // Whose supervisor is not listed stands at the top.
    let parent = |place: &Value| place["parent"].as_str().filter(|path| paths.contains(path)).map(str::to_owned);
    let mut children: HashMap<Option<String>, Vec<&Value>> = HashMap::new();
    for place in listed.iter().copied() {
        children.entry(parent(place)).or_default().push(place);
    }
    // The next one is at the end.
    let mut next: Vec<(usize, &Value)> =
        children.remove(&None::<String>).unwrap_or_default().into_iter().rev().map(|place| (0, place)).collect();
    let mut ordered = Vec::with_capacity(listed.len());
    while let Some((depth, place)) = next.pop() {
        let below = children.remove(&place["path"].as_str().map(str::to_owned)).unwrap_or_default();
        next.extend(below.into_iter().rev().map(|place| (depth + 1, place)));
        ordered.push(Place::read(depth, place));
    }
    ordered
}

impl Place {
    fn read(depth: usize, place: &Value) -> Place {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let number = |name: &str| place[name].as_u64().unwrap_or_default();
        let state = place["state"].as_str().unwrap_or("unknown");
        let mood = match state {
            "running" => Mood::Good,
            "faulted" | "stopped" => Mood::Bad,
            _ => Mood::Notable,
        };
        Place {
            depth,
            name: place["name"].as_str().unwrap_or_default().to_owned(),
            role: text(&place["role"]),
            state: state.to_owned(),
            mood,
            crashes: number("crashes"),
            mailbox: (number("mailbox_depth"), number("mailbox_capacity")),
            lag: place["lag"].as_u64(),
            reason: text(&place["last_crash"]["reason"]).filter(|_| mood != Mood::Good),
        }
    }
}

#[cfg(test)]
pub mod tests;
