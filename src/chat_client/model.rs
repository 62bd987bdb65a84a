//! What the terminal client knows and does, apart from network and screen.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// For how long somebody who typed counts as typing.
const TYPES_FOR: Duration = Duration::from_secs(4);
/// Messages of one room that are kept.
const KEPT: usize = 2_000;

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
    /// Any other request of the protocol.
    Request(Value),
}

/// A room.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// What the server said of it.
    pub about: Value,
    /// Messages by sequence.
    pub messages: BTreeMap<u64, Value>,
    /// Messages not read.
    pub unread: u64,
    /// Who types, since when.
    pub typing: BTreeMap<String, Instant>,
    /// Whether the first message of all is here.
    pub complete: bool,
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
    /// A word on what happened last.
    pub note: String,
    /// Whether the user wants to end.
    pub ended: bool,
    typed: Option<Instant>,
    /// The room whose newest messages were asked for and are not here yet.
    awaited: Option<String>,
    /// When they are to be asked for again, since the server refused something for now.
    again: Option<Instant>,
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
            "message" | "changed" => return self.hear_message(&room, &event["message"], event["type"] == "message"),
            "history" => return self.hear_history(&room, event),
            "room" => {
                let about = event["room"].clone();
                let id = about["id"].as_str().unwrap_or_default().to_owned();
                let with = self.rooms.get(&id).map(|room| room.about["with"].clone()).unwrap_or_default();
                let fresh = !self.rooms.contains_key(&id);
                let known = self.rooms.entry(id.clone()).or_default();
                known.about = about;
                if !with.is_null() {
                    known.about["with"] = with;
                }
                // Whoever has just joined a room wants to see it.
                if fresh {
                    self.current = Some(id);
                    return self.open();
                }
            }
            "member" => self.hear_member(&room, event),
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
            room.about = about;
        }
        if self.current.as_ref().is_none_or(|id| !self.rooms.contains_key(id)) {
            self.current = self.listed().first().map(|(id, _)| (*id).clone());
        }
        self.note = format!("signed in as {}", event["nick"].as_str().unwrap_or_default());
        self.open()
    }

    fn hear_message(&mut self, id: &str, message: &Value, fresh: bool) -> Vec<Order> {
        let sequence = message["sequence"].as_u64().unwrap_or_default();
        let author = message["author"].as_str().unwrap_or_default().to_owned();
        let shown = self.current.as_deref() == Some(id);
        let own = author == self.me;
        let room = self.rooms.entry(id.to_owned()).or_default();
        let known = room.messages.insert(sequence, message.clone()).is_some();
        while room.messages.len() > KEPT {
            room.messages.pop_first();
            room.complete = false;
        }
        room.typing.remove(&author);
        let mut orders = self.ask_names([author]);
        if fresh && !known && !own {
            if shown {
                orders.push(Order::Request(json!({"type": "read", "room": id, "message": sequence})));
            } else if let Some(room) = self.rooms.get_mut(id) {
                room.unread += 1;
            }
        }
        orders
    }

    fn hear_history(&mut self, id: &str, event: &Value) -> Vec<Order> {
        let list = event["messages"].as_array().cloned().unwrap_or_default();
        let authors: Vec<String> = list.iter().filter_map(|m| m["author"].as_str().map(str::to_owned)).collect();
        if self.awaited.as_deref() == Some(id) {
            self.awaited = None;
        }
        let Some(room) = self.rooms.get_mut(id) else { return Vec::new() };
        room.complete |= event["first"] == true;
        for message in list {
            room.messages.insert(message["sequence"].as_u64().unwrap_or_default(), message);
        }
        let mut orders = self.ask_names(authors);
        orders.extend(self.mark_read(id));
        orders
    }

    fn hear_member(&mut self, id: &str, event: &Value) {
        let (user, what) = (event["user"].as_str().unwrap_or_default(), event["what"].as_str().unwrap_or_default());
        if user == self.me && what == "banned" && !self.rooms.contains_key(id) {
            // A member who is banned is kicked first.
            return self.note.push_str(", banned");
        }
        self.note = format!("{}: {} {what}", self.title(id), self.name(user));
        if user == self.me && matches!(what, "left" | "kicked" | "banned") {
            self.rooms.remove(id);
            self.current = self.listed().first().map(|(id, _)| (*id).clone());
        }
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
        (self.awaited, self.again) = (self.current.clone(), None);
        self.ask_newest()
    }

    fn ask_newest(&self) -> Vec<Order> {
        let Some(id) = &self.current else { return Vec::new() };
        vec![Order::Request(json!({"type": "history", "room": id, "limit": 100}))]
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
        let last = room.messages.last_key_value().map_or(0, |(sequence, _)| *sequence);
        if self.current.as_deref() != Some(id) || room.unread == 0 || last == 0 {
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
            KeyCode::PageDown => self.scroll = self.scroll.saturating_sub(10),
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

    /// Scrolls, and asks for older messages in good time.
    fn scroll_up(&mut self) -> Vec<Order> {
        self.scroll += 10;
        let Some((id, room)) = self.current.as_ref().and_then(|id| Some((id, self.rooms.get(id)?))) else {
            return Vec::new();
        };
        let first = room.messages.first_key_value().map_or(0, |(sequence, _)| *sequence);
        if room.complete || first <= 1 || usize::from(self.scroll) + 20 < room.messages.len() {
            return Vec::new();
        }
        vec![Order::Request(json!({"type": "history", "room": id, "before": first, "limit": 100}))]
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
            return vec![Order::Say { room, text: text.to_owned() }];
        };
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        let (rest, room) = (rest.trim(), self.current.clone());
        let number = |text: &str| text.trim_start_matches('#').parse::<u64>().ok();
        let first_number = rest.split(' ').next().and_then(number);
        let after = rest.split_once(' ').map_or("", |(_, after)| after).trim();
        let frame = match (name, first_number) {
            ("quit", _) => {
                self.ended = true;
                return Vec::new();
            }
            ("join", _) if rest.parse::<u64>().is_ok() => json!({"type": "join", "room": rest}),
            ("join", _) if !rest.is_empty() => json!({"type": "join", "invite": rest}),
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
                if let Some(room) = self.current.as_ref().and_then(|id| self.rooms.get_mut(id)) {
                    room.messages.clear();
                    room.complete = false;
                }
                json!({"type": "history", "room": room, "around": message, "limit": 100})
            }
            (_, _) => {
                self.note = "/join ID|INVITE  /leave  /friend NAME  /accept NAME  /block NAME  /search WORDS  \
                             /edit N TEXT  /delete N  /react N EMOJI  /jump N  /quit"
                    .into();
                return Vec::new();
            }
        };
        vec![Order::Request(frame)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(model: &mut Model, line: &str) -> Vec<Order> {
        line.chars().for_each(|c| drop(model.press(KeyCode::Char(c).into())));
        model.press(KeyCode::Enter.into())
    }

    fn signed_in() -> Model {
        let mut model = Model::default();
        let rooms = json!([
            {"id": "9", "name": "B", "unread": 0, "last": 0},
            {"id": "8", "name": "A", "unread": 2, "last": 2},
        ]);
        model.hear(&json!({"type": "hello", "user": "me", "nick": "ada", "rooms": rooms, "people": []}));
        model
    }

    #[test]
    fn a_room_that_is_shown_is_read_and_another_counts_what_is_new() {
        let mut model = signed_in();
        assert_eq!(model.current.as_deref(), Some("8"));
        let history = json!({"type": "history", "room": "8", "first": true, "messages": [
            {"sequence": 1, "author": "me", "text": "x"}, {"sequence": 2, "author": "bob", "text": "y"}]});
        let read = Order::Request(json!({"type": "read", "room": "8", "message": 2}));
        assert!(model.hear(&history).contains(&read));
        assert_eq!(model.rooms["8"].unread, 0);
        let other = json!({"type": "message", "room": "9", "message": {"sequence": 1, "author": "bob", "text": "z"}});
        model.hear(&other);
        model.hear(&other);
        assert_eq!(model.rooms["9"].unread, 1);
        model.press(KeyCode::Down.into());
        assert_eq!(model.current.as_deref(), Some("9"));
    }

    #[test]
    fn a_room_is_asked_for_again_when_the_server_refused_to_look_it_up() {
        let mut model = signed_in();
        let asked = |room: &str| [Order::Request(json!({"type": "history", "room": room, "limit": 100}))];
        let refusal = |s: u64| json!({"type": "error", "code": "too_fast", "message": "too fast", "retry_after": s});
        assert_eq!(model.press(KeyCode::Tab.into()), asked("9"));
        model.hear(&refusal(60));
        assert_eq!(model.tick(), [], "not yet");
        model.hear(&refusal(0));
        assert_eq!(model.tick(), asked("9"));
        assert_eq!(model.tick(), [], "once");
        model.hear(&refusal(0));
        model.hear(&json!({"type": "history", "room": "9", "first": true, "messages": []}));
        assert_eq!(model.tick(), [], "it is here");
        model.hear(&refusal(0));
        assert_eq!(model.press(KeyCode::Tab.into()), asked("8"));
        assert_eq!(model.tick(), [], "another one was asked for meanwhile");
    }

    #[test]
    fn who_is_banned_sees_that_and_of_which_room() {
        let mut model = signed_in();
        for what in ["kicked", "banned"] {
            model.hear(&json!({"type": "member", "room": "8", "user": "me", "what": what}));
        }
        assert_eq!(model.note, "A: me kicked, banned");
        assert_eq!(model.current.as_deref(), Some("9"));
    }

    #[test]
    fn a_room_that_was_joined_is_shown_and_nothing_that_was_written_is_lost() {
        let mut model = Model::default();
        model.hear(&json!({"type": "hello", "user": "me", "nick": "ada", "rooms": [], "people": []}));
        assert_eq!(typed(&mut model, "hello"), []);
        assert_eq!(model.line, "hello");
        let orders = model.hear(&json!({"type": "room", "room": {"id": "7", "name": "New", "last": 0}}));
        assert_eq!(model.current.as_deref(), Some("7"));
        assert_eq!(orders, [Order::Request(json!({"type": "history", "room": "7", "limit": 100}))]);
        let said = Order::Say { room: "7".into(), text: "hello".into() };
        assert_eq!(model.press(KeyCode::Enter.into()), [said]);
    }

    #[test]
    fn lines_are_messages_and_slashes_are_requests() {
        let mut model = signed_in();
        assert_eq!(typed(&mut model, "hello"), [Order::Say { room: "8".into(), text: "hello".into() }]);
        let edit = json!({"type": "edit", "room": "8", "message": 2, "text": "new text"});
        assert_eq!(typed(&mut model, "/edit #2 new text"), [Order::Request(edit)]);
        let join = json!({"type": "join", "room": "77"});
        assert_eq!(typed(&mut model, "/join 77"), [Order::Request(join)]);
        assert_eq!(typed(&mut model, "/what"), []);
        assert!(model.note.starts_with("/join"));
        assert!(!model.ended);
        typed(&mut model, "/quit");
        assert!(model.ended);
    }
}
