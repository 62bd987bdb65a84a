//! What the terminal client knows and does, apart from network and screen.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// For how long somebody who typed counts as typing.
const TYPES_FOR: Duration = Duration::from_secs(4);
/// Messages of one room that are kept.
const KEPT: usize = 2_000;
/// Messages that are asked for at once.
const PAGE: u32 = 100;
/// Rows that a key scrolls.
const SCROLLED: u16 = 10;
/// With so few rows left above, older messages are asked for.
const IN_GOOD_TIME: u16 = 20;
/// A connection took with it what was asked for last.
const LOST: &str = "the connection broke before the answer came: see whether it was done";
/// The network takes no more.
const LEFT_OUT: &str = "too much waits to be sent, so this was not sent: try again later";

/// What is to be sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// A message, until it is acknowledged.
    Say {
        /// The room's id.
        room: String,
        /// The text.
        text: String,
    },
    /// What a command asks for: the user is told when its answer is lost.
    Command(Value),
    /// Any other request of the protocol.
    Request(Value),
}

/// A room.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// What the server said of it.
    pub about: Value,
    /// Messages by sequence. There is no gap between two.
    pub messages: BTreeMap<u64, Value>,
    /// The newest message that is known of, here or not.
    newest: u64,
    /// Messages not read.
    pub unread: u64,
    /// Who types, since when.
    pub typing: BTreeMap<String, Instant>,
    /// Whether the first message of all is here.
    pub complete: bool,
}

impl Room {
    /// Whether newer messages than those here are known of: after a jump into the past they are left out.
    pub fn is_behind(&self) -> bool {
        ends(&self.messages).is_some_and(|(_, last)| last < self.newest)
    }

    /// Whether no gap comes between the messages here and those from `first` to `last`.
    fn adjoins(&self, first: u64, last: u64) -> bool {
        ends(&self.messages).is_none_or(|(from, to)| first <= to.saturating_add(1) && from <= last.saturating_add(1))
    }

    /// Takes a part of the history in, as the server answered it. What does not adjoin the messages here takes their
    /// place, and so does what is to be seen `instead`; whether it did.
    fn take_page(&mut self, page: BTreeMap<u64, Value>, answer: &Value, instead: bool) -> bool {
        let Some((first, last)) = ends(&page) else {
            // Nothing follows. Only that can be empty: a room that has messages begins with the first.
            self.newest = ends(&self.messages).map_or(self.newest, |(_, last)| last);
            return false;
        };
        let replaces = instead || !self.adjoins(first, last);
        if replaces {
            self.messages.clear();
            self.complete = false;
        }
        self.messages.extend(page);
        self.complete |= answer["first"] == true;
        self.newest = self.newest.max(if answer["last"] == true { last } else { last.saturating_add(1) });
        replaces
    }
}

/// A room or a message that is named by its number.
fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// The first and the last number; `None` without a message.
fn ends(messages: &BTreeMap<u64, Value>) -> Option<(u64, u64)> {
    Some((*messages.first_key_value()?.0, *messages.last_key_value()?.0))
}

/// Everything that is shown.
#[derive(Default)]
pub struct Model {
    /// Whether the server is there.
    pub connected: bool,
    /// Rooms by id.
    pub rooms: BTreeMap<String, Room>,
    /// Names by user.
    pub names: BTreeMap<String, String>,
    /// Who is there, by user.
    pub presence: BTreeMap<String, String>,
    /// The own user.
    pub me: String,
    /// The room that is shown.
    pub current: Option<String>,
    /// The line that is written.
    pub line: String,
    /// Rows scrolled up from the newest.
    pub scroll: u16,
    /// How far it can be scrolled up, as far as was looked when it was drawn.
    furthest: u16,
    /// A word on what happened last.
    pub note: String,
    /// Whether the user wants to end.
    pub ended: bool,
    typed: Option<Instant>,
    /// The room whose newest messages were asked for and are not here yet.
    awaited: Option<String>,
    /// When they are to be asked for again, since the server refused something for now.
    again: Option<Instant>,
    /// The room and the message in it that are to be shown once they are here.
    jump: Option<(String, u64)>,
    /// The room or the invitation that the user wants to join and has not heard of.
    joining: Option<String>,
    /// Whether the last connection took something with it.
    lost: bool,
}

impl Model {
    /// Rooms in the order in which they are listed: by name.
    pub fn listed(&self) -> Vec<(&String, &Room)> {
        let mut listed: Vec<_> = self.rooms.iter().collect();
        listed.sort_by_key(|(id, _)| (self.title(id).to_lowercase(), (*id).clone()));
        listed
    }

    /// A room's name; of a direct room the other's.
    pub fn title(&self, id: &str) -> String {
        let Some(room) = self.rooms.get(id) else { return id.to_owned() };
        match room.about["with"].as_str() {
            Some(other) => format!("@{}", self.name(other)),
            None => room.about["name"].as_str().filter(|name| !name.is_empty()).unwrap_or("…").to_owned(),
        }
    }

    /// A user's name, or the end of the id as long as it is not known.
    pub fn name(&self, user: &str) -> String {
        self.names.get(user).cloned().unwrap_or_else(|| user.chars().take(8).collect())
    }

    /// Who types in the room that is shown.
    pub fn typing(&self) -> Vec<String> {
        let Some(room) = self.current.as_ref().and_then(|id| self.rooms.get(id)) else { return Vec::new() };
        let now = room.typing.iter().filter(|(_, since)| since.elapsed() < TYPES_FOR);
        now.map(|(user, _)| self.name(user)).collect()
    }

    /// Takes an event of the server in; what is to be sent because of it.
    pub fn hear(&mut self, event: &Value) -> Vec<Order> {
        let room = event["room"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap_or_default() {
            "hello" => return self.hear_hello(event),
            "message" => return self.hear_message(&room, &event["message"]),
            "changed" => self.hear_change(&room, &event["message"]),
            "history" => return self.hear_history(&room, event),
            "room" => return self.hear_room(&event["room"]),
            "member" => return self.hear_member(&room, event),
            "read" if event["user"] == self.me.as_str() => {
                if let (Some(room), Some(unread)) = (self.rooms.get_mut(&room), event["unread"].as_u64()) {
                    room.unread = unread;
                }
            }
            "friend" => return self.hear_friend(&room, event),
            "typing" => {
                let user = event["user"].as_str().unwrap_or_default().to_owned();
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.typing.insert(user, Instant::now());
                }
            }
            "presence" | "people" => self.hear_people(&event["people"]),
            "found" => self.hear_found(event),
            "error" | "closed" => {
                self.note = event["message"].as_str().unwrap_or("refused").to_owned();
                let later = event["retry_after"].as_u64().map(|s| Instant::now() + Duration::from_secs(s));
                self.again = later.or(self.again);
                // What was refused is not said, only that it was no message: then nothing more is expected.
                if event["client_id"].is_null() {
                    (self.joining, self.jump) = (None, None);
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn hear_hello(&mut self, event: &Value) -> Vec<Order> {
        self.me = event["user"].as_str().unwrap_or_default().to_owned();
        self.hear_people(&event["people"]);
        let listed = event["rooms"].as_array().cloned().unwrap_or_default();
        let ids: Vec<String> = listed.iter().filter_map(|room| room["id"].as_str().map(str::to_owned)).collect();
        self.rooms.retain(|id, _| ids.contains(id));
        for (id, about) in ids.into_iter().zip(listed) {
            let room = self.rooms.entry(id).or_default();
            room.unread = about["unread"].as_u64().unwrap_or_default();
            room.newest = room.newest.max(about["last"].as_u64().unwrap_or_default());
            room.about = about;
        }
        if self.current.as_ref().is_none_or(|id| !self.rooms.contains_key(id)) {
            self.current = self.listed().first().map(|(id, _)| (*id).clone());
        }
        self.joining = None;
        self.note = if std::mem::take(&mut self.lost) {
            LOST.to_owned()
        } else {
            format!("signed in as {}", event["nick"].as_str().unwrap_or_default())
        };
        self.open()
    }

    /// The connection broke, and what a command asked for was not answered.
    pub fn hear_loss(&mut self) {
        (self.lost, self.note) = (true, LOST.to_owned());
    }

    /// So much waits to be sent that this was left out. What was written stands in the line again.
    pub fn leave_out(&mut self, order: Order) {
        self.note = LEFT_OUT.to_owned();
        match order {
            Order::Say { text, .. } => self.line = text,
            // Nothing is expected of it.
            Order::Command(_) => (self.joining, self.jump) = (None, None),
            Order::Request(_) => {}
        }
    }

    fn hear_room(&mut self, about: &Value) -> Vec<Order> {
        let id = about["id"].as_str().unwrap_or_default().to_owned();
        let is_new = !self.rooms.contains_key(&id);
        let room = self.rooms.entry(id.clone()).or_default();
        let with = room.about["with"].clone();
        room.about = about.clone();
        if !with.is_null() {
            room.about["with"] = with;
        }
        if !is_new {
            return Vec::new();
        }
        room.newest = about["last"].as_u64().unwrap_or_default();
        // An invitation does not say where it leads to.
        let leads_here = |asked: &str| number(asked).is_none_or(|asked| number(&id) == Some(asked));
        let has_asked = self.joining.take_if(|asked| leads_here(asked.as_str())).is_some();
        // Whoever asked to join wants to see it. Nobody else is taken away from the room that they write to.
        if has_asked || self.current.is_none() {
            self.current = Some(id);
            return self.open();
        }
        self.note = format!("you are in another room now: {}", self.title(&id));
        Vec::new()
    }

    fn hear_message(&mut self, id: &str, message: &Value) -> Vec<Order> {
        let sequence = message["sequence"].as_u64().unwrap_or_default();
        let author = message["author"].as_str().unwrap_or_default().to_owned();
        let own = author == self.me;
        let room = self.rooms.entry(id.to_owned()).or_default();
        // What a new connection brings was counted by the server already.
        let known = sequence <= room.newest;
        room.newest = room.newest.max(sequence);
        if room.adjoins(sequence, sequence) {
            room.messages.insert(sequence, message.clone());
        }
        while room.messages.len() > KEPT {
            room.messages.pop_first();
            room.complete = false;
        }
        room.typing.remove(&author);
        if !known && !own {
            room.unread += 1;
        }
        let mut orders = self.ask_names([author]);
        orders.extend(self.mark_read(id));
        orders
    }

    /// A message as it is now. One that is not here stays away until its part of the history comes: alone it would
    /// stand behind a gap.
    fn hear_change(&mut self, id: &str, message: &Value) {
        let sequence = message["sequence"].as_u64().unwrap_or_default();
        if let Some(known) = self.rooms.get_mut(id).and_then(|room| room.messages.get_mut(&sequence)) {
            *known = message.clone();
        }
    }

    fn hear_history(&mut self, id: &str, event: &Value) -> Vec<Order> {
        let list = event["messages"].as_array().cloned().unwrap_or_default();
        let authors: Vec<String> = list.iter().filter_map(|m| m["author"].as_str().map(str::to_owned)).collect();
        let page: BTreeMap<u64, Value> =
            list.into_iter().map(|m| (m["sequence"].as_u64().unwrap_or_default(), m)).collect();
        if self.awaited.as_deref() == Some(id) {
            self.awaited = None;
        }
        let Some(room) = self.rooms.get_mut(id) else { return Vec::new() };
        let is_last = event["last"] == true;
        let reaches = |to: u64| ends(&page).is_some_and(|(first, last)| first <= to && (to <= last || is_last));
        let jumps = self.jump.take_if(|(room, to)| room.as_str() == id && reaches(*to)).is_some();
        if room.take_page(page, event, jumps) && self.current.as_deref() == Some(id) {
            self.scroll = 0;
        }
        let mut orders = self.ask_names(authors);
        // What came while the page was on its way did not adjoin yet and was left out.
        if is_last {
            orders.extend(self.ask_newer(id, PAGE));
        }
        orders.extend(self.mark_read(id));
        orders
    }

    fn hear_member(&mut self, id: &str, event: &Value) -> Vec<Order> {
        let (user, what) = (event["user"].as_str().unwrap_or_default(), event["what"].as_str().unwrap_or_default());
        if user == self.me && what == "banned" && !self.rooms.contains_key(id) {
            // A member who is banned is kicked first.
            self.note.push_str(", banned");
            return Vec::new();
        }
        self.note = format!("{}: {} {what}", self.title(id), self.name(user));
        if user == self.me && matches!(what, "left" | "kicked" | "banned") {
            self.rooms.remove(id);
            if self.current.as_deref() == Some(id) {
                self.current = self.listed().first().map(|(id, _)| (*id).clone());
                return self.open();
            }
        }
        Vec::new()
    }

    fn hear_friend(&mut self, id: &str, event: &Value) -> Vec<Order> {
        let other = event["user"].as_str().unwrap_or_default().to_owned();
        let status = event["status"].as_str().unwrap_or_default();
        self.rooms.entry(id.to_owned()).or_default().about["with"] = other.clone().into();
        self.note = match status {
            "wants" => format!("{} wants to be friends: /accept {}", self.name(&other), self.name(&other)),
            "friends" => format!("you and {} are friends", self.name(&other)),
            _ => format!("{}: {status}", self.name(&other)),
        };
        self.ask_names([other])
    }

    fn hear_people(&mut self, people: &Value) {
        for person in people.as_array().into_iter().flatten() {
            let user = person["user"].as_str().unwrap_or_default().to_owned();
            if let Some(nick) = person["nick"].as_str() {
                self.names.insert(user.clone(), nick.to_owned());
            }
            if let Some(status) = person["status"].as_str() {
                self.presence.insert(user, status.to_owned());
            }
        }
    }

    fn hear_found(&mut self, event: &Value) {
        let found = event["messages"].as_array().cloned().unwrap_or_default();
        let line = |hit: &Value| {
            let room = self.title(hit["room"].as_str().unwrap_or_default());
            format!("{room} #{}: {}", hit["message"]["sequence"], hit["message"]["text"].as_str().unwrap_or_default())
        };
        self.note = match found.len() {
            0 => "nothing found".into(),
            count => format!("{count} found, the newest: {}", found.first().map(line).unwrap_or_default()),
        };
    }

    fn ask_names(&self, users: impl IntoIterator<Item = String>) -> Vec<Order> {
        let mut unknown: Vec<String> = users.into_iter().filter(|user| !self.names.contains_key(user)).collect();
        unknown.sort();
        unknown.dedup();
        if unknown.is_empty() { Vec::new() } else { vec![Order::Request(json!({"type": "people", "users": unknown}))] }
    }

    /// Shows the current room: its newest messages, which are then read.
    fn open(&mut self) -> Vec<Order> {
        self.scroll = 0;
        (self.awaited, self.again, self.jump) = (self.current.clone(), None, None);
        self.ask_newest()
    }

    fn ask_newest(&self) -> Vec<Order> {
        let Some(id) = &self.current else { return Vec::new() };
        vec![Order::Request(json!({"type": "history", "room": id, "limit": PAGE}))]
    }

    /// Asks for what follows the messages of a room that are here, if something does.
    fn ask_newer(&self, id: &str, limit: u32) -> Option<Order> {
        let (_, last) = ends(&self.rooms.get(id).filter(|room| room.is_behind())?.messages)?;
        Some(Order::Request(json!({"type": "history", "room": id, "after": last, "limit": limit})))
    }

    /// Time goes by; what is to be sent because of it. Who goes through rooms faster than the server looks them up sees
    /// the last one all the same.
    pub fn tick(&mut self) -> Vec<Order> {
        if self.again.is_none_or(|at| at > Instant::now()) {
            return Vec::new();
        }
        self.again = None;
        if self.awaited.is_some() && self.awaited == self.current { self.ask_newest() } else { Vec::new() }
    }

    fn mark_read(&mut self, id: &str) -> Vec<Order> {
        let Some(room) = self.rooms.get_mut(id) else { return Vec::new() };
        let last = ends(&room.messages).map_or(0, |(_, last)| last);
        if self.current.as_deref() != Some(id) || room.unread == 0 || last == 0 || room.is_behind() {
            return Vec::new();
        }
        room.unread = 0;
        vec![Order::Request(json!({"type": "read", "room": id, "message": last}))]
    }

    /// Takes a key in; what is to be sent because of it.
    pub fn press(&mut self, key: KeyEvent) -> Vec<Order> {
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => self.ended = true,
            KeyCode::Esc => self.ended = true,
            KeyCode::Char(c) => {
                self.line.push(c);
                return self.show_typing();
            }
            KeyCode::Backspace => drop(self.line.pop()),
            KeyCode::Enter => return self.enter(),
            KeyCode::Down | KeyCode::Tab => return self.step(1),
            KeyCode::Up | KeyCode::BackTab => return self.step(-1),
            KeyCode::PageUp => return self.scroll_up(),
            KeyCode::PageDown => return self.scroll_down(),
            _ => {}
        }
        Vec::new()
    }

    fn show_typing(&mut self) -> Vec<Order> {
        let due = self.typed.is_none_or(|at| at.elapsed() >= Duration::from_secs(2)) && !self.line.starts_with('/');
        let Some(room) = self.current.clone().filter(|_| due) else { return Vec::new() };
        self.typed = Some(Instant::now());
        vec![Order::Request(json!({"type": "typing", "room": room}))]
    }

    fn step(&mut self, by: isize) -> Vec<Order> {
        let ids: Vec<String> = self.listed().into_iter().map(|(id, _)| id.clone()).collect();
        let Some(count) = isize::try_from(ids.len()).ok().filter(|count| *count > 0) else { return Vec::new() };
        let at = ids.iter().position(|id| Some(id) == self.current.as_ref());
        let next = at.and_then(|at| isize::try_from(at).ok()).map_or(0, |at| (at + by).rem_euclid(count));
        self.current = usize::try_from(next).ok().and_then(|next| ids.get(next).cloned());
        self.open()
    }

    /// Notes how far what was drawn can be scrolled up, in rows; nothing is above that.
    pub fn drawn(&mut self, furthest: u16) {
        (self.scroll, self.furthest) = (self.scroll.min(furthest), furthest);
    }

    /// Scrolls, and asks for older messages in good time.
    fn scroll_up(&mut self) -> Vec<Order> {
        self.scroll = self.scroll.saturating_add(SCROLLED);
        let Some((id, room)) = self.current.as_ref().and_then(|id| Some((id, self.rooms.get(id)?))) else {
            return Vec::new();
        };
        let first = ends(&room.messages).map_or(0, |(first, _)| first);
        if room.complete || first <= 1 || self.scroll.saturating_add(IN_GOOD_TIME) < self.furthest {
            return Vec::new();
        }
        vec![Order::Request(json!({"type": "history", "room": id, "before": first, "limit": PAGE}))]
    }

    /// Scrolls, and at the end asks for about as many newer messages as that is, so that none is passed over.
    fn scroll_down(&mut self) -> Vec<Order> {
        if self.scroll > 0 {
            self.scroll = self.scroll.saturating_sub(SCROLLED);
            return Vec::new();
        }
        self.current.as_deref().and_then(|id| self.ask_newer(id, SCROLLED.into())).into_iter().collect()
    }

    fn enter(&mut self) -> Vec<Order> {
        let line = std::mem::take(&mut self.line);
        let text = line.trim();
        if text.is_empty() {
            return Vec::new();
        }
        let Some(command) = text.strip_prefix('/') else {
            self.scroll = 0;
            let Some(room) = self.current.clone() else {
                self.note = "there is no room to write to: /join one first".into();
                self.line = line;
                return Vec::new();
            };
            // What is said stands among the newest.
            let is_behind = self.rooms.get(&room).is_some_and(Room::is_behind);
            let mut orders = vec![Order::Say { room, text: text.to_owned() }];
            if is_behind {
                orders.extend(self.open());
            }
            return orders;
        };
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        let (rest, room) = (rest.trim(), self.current.clone());
        let first_number = rest.split(' ').next().and_then(|text| number(text.trim_start_matches('#')));
        let after = rest.split_once(' ').map_or("", |(_, after)| after).trim();
        let frame = match (name, first_number) {
            ("quit", _) => {
                self.ended = true;
                return Vec::new();
            }
            ("join", _) if !rest.is_empty() => {
                self.joining = Some(rest.to_owned());
                let by = if number(rest).is_some() { "room" } else { "invite" };
                json!({"type": "join", (by): rest})
            }
            ("leave", _) => json!({"type": "leave", "room": room}),
            ("friend", _) if !rest.is_empty() => json!({"type": "friend", "nick": rest, "step": "ask"}),
            ("accept" | "decline" | "block" | "unblock" | "remove", _) if !rest.is_empty() => {
                json!({"type": "friend", "nick": rest, "step": name})
            }
            ("search", _) if !rest.is_empty() => json!({"type": "search", "text": rest}),
            ("edit", Some(message)) => json!({"type": "edit", "room": room, "message": message, "text": after}),
            ("delete", Some(message)) => json!({"type": "delete", "room": room, "message": message}),
            ("react", Some(message)) => json!({"type": "react", "room": room, "message": message, "emoji": after}),
            ("jump", Some(message)) => {
                self.jump = room.clone().map(|room| (room, message));
                json!({"type": "history", "room": room, "around": message, "limit": PAGE})
            }
            (_, _) => {
                self.note = "/join ID|INVITE  /leave  /friend NAME  /accept NAME  /block NAME  /search WORDS  \
                             /edit N TEXT  /delete N  /react N EMOJI  /jump N  /quit"
                    .into();
                return Vec::new();
            }
        };
        if !self.connected {
            self.note = "there is no connection: press Enter again when there is".into();
            self.line = line;
            return Vec::new();
        }
        vec![Order::Command(frame)]
    }
}

#[cfg(test)]
pub(super) mod tests;
