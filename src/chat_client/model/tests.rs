use super::*;

fn typed(model: &mut Model, line: &str) -> Vec<Order> {
    line.chars().for_each(|c| drop(model.press(KeyCode::Char(c).into())));
    model.press(KeyCode::Enter.into())
}

/// In two rooms: A (8), which is shown, and B (9).
pub fn signed_in() -> Model {
    let mut model = Model { connected: true, ..Model::default() };
    let rooms = json!([
        {"id": "9", "name": "B", "unread": 0, "last": 0},
        {"id": "8", "name": "A", "unread": 2, "last": 2},
    ]);
    model.hear(&json!({"type": "hello", "user": "me", "nick": "ada", "rooms": rooms, "people": []}));
    model
}

fn message(room: &str, sequence: u64) -> Value {
    json!({"type": "message", "room": room, "message": {"sequence": sequence, "author": "bob", "text": "x"}})
}

/// A part of room A's history, of which `last` is the newest message.
fn page(sequences: std::ops::RangeInclusive<u64>, last: u64) -> Value {
    let (first, reaches) = (*sequences.start() <= 1, *sequences.end() >= last);
    let messages: Vec<Value> = sequences.map(|sequence| message("8", sequence)["message"].take()).collect();
    json!({"type": "history", "room": "8", "first": first, "last": reaches, "messages": messages})
}

/// The numbers of room A's messages that are here.
fn here(model: &Model) -> Vec<u64> {
    model.rooms["8"].messages.keys().copied().collect()
}

fn history(what: Value) -> Order {
    let mut frame = json!({"type": "history", "room": "8", "limit": 100});
    frame.as_object_mut().unwrap().append(&mut what.as_object().unwrap().clone());
    Order::Request(frame)
}

#[test]
fn what_was_written_and_left_out_can_be_sent_later() {
    let mut model = signed_in();
    let said = typed(&mut model, "hi");
    assert_eq!((said.len(), model.line.as_str()), (1, ""));
    said.into_iter().for_each(|order| model.leave_out(order));
    model.leave_out(Order::Request(json!({"type": "typing", "room": "8"})));
    assert_eq!(model.line, "hi");
    assert!(model.note.contains("not sent"), "{}", model.note);
    // A room that comes later is not the one that was to be joined.
    model.line.clear();
    let asked = typed(&mut model, "/join invitation");
    asked.into_iter().for_each(|order| model.leave_out(order));
    model.hear(&json!({"type": "room", "room": {"id": "10", "name": "C", "last": 0}}));
    assert_eq!(model.current.as_deref(), Some("8"));
}

#[test]
fn a_room_that_is_shown_is_read_and_another_counts_what_is_new() {
    let mut model = signed_in();
    assert_eq!(model.current.as_deref(), Some("8"));
    let history = json!({"type": "history", "room": "8", "first": true, "last": true, "messages": [
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
fn only_the_end_of_the_room_that_is_shown_shows_another_one() {
    let mut model = signed_in();
    model.press(KeyCode::Tab.into());
    assert_eq!(model.current.as_deref(), Some("9"));
    let left = |room: &str| json!({"type": "member", "room": room, "user": "me", "what": "left"});
    assert_eq!(model.hear(&left("8")), []);
    assert_eq!(model.current.as_deref(), Some("9"));

    let mut model = signed_in();
    let asked = [Order::Request(json!({"type": "history", "room": "9", "limit": 100}))];
    assert_eq!(model.hear(&left("8")), asked);
    assert_eq!(model.current.as_deref(), Some("9"));
}

#[test]
fn only_a_room_that_was_to_be_joined_takes_the_place_of_the_one_that_is_shown() {
    let room = |id: &str| json!({"type": "room", "room": {"id": id, "name": "New", "last": 0}});
    let refusal = json!({"type": "error", "client_id": null, "code": "banned", "message": "no"});
    // What was entered, what was refused since, which room comes, and whether it is shown.
    for (line, refused, comes, is_shown) in [
        ("", false, "77", false),
        ("/join 77", false, "77", true),
        ("/join 77", false, "78", false),
        ("/join 77", true, "77", false),
        ("/join Zm9v", false, "78", true),
        ("/join Zm9v", true, "78", false),
    ] {
        let mut model = signed_in();
        typed(&mut model, line);
        if refused {
            model.hear(&refusal);
        }
        let orders = model.hear(&room(comes));
        let shown = if is_shown { comes } else { "8" };
        assert_eq!(model.current.as_deref(), Some(shown), "{line} {comes}");
        assert_eq!(!orders.is_empty(), is_shown, "{line} {comes}");
        assert_eq!(model.note.contains("another room now: New"), !is_shown, "{line} {comes}: {}", model.note);
        // One room for one wish.
        model.hear(&room("79"));
        assert_ne!(model.current.as_deref(), Some("79"), "{line} {comes}");
    }
}

#[test]
fn what_is_changed_far_away_leaves_no_gap() {
    let mut model = signed_in();
    model.hear(&page(101..=200, 200));
    let changed = |sequence: u64| {
        let message = json!({"sequence": sequence, "author": "bob", "text": "other"});
        json!({"type": "changed", "room": "8", "message": message})
    };
    model.hear(&changed(3));
    model.hear(&changed(150));
    assert_eq!(here(&model), (101..=200).collect::<Vec<_>>());
    assert_eq!(model.rooms["8"].messages[&150]["text"], "other");
    assert_eq!(model.press(KeyCode::PageUp.into()), [history(json!({"before": 101}))]);
}

#[test]
fn after_a_jump_the_messages_go_on_without_a_gap() {
    let mut model = signed_in();
    model.hear(&page(401..=500, 500));
    let jump = json!({"type": "history", "room": "8", "around": 50, "limit": 100});
    assert_eq!(typed(&mut model, "/jump 50"), [Order::Command(jump)]);
    // What is new meanwhile, and an answer to something else, change nothing of it.
    model.hear(&message("8", 501));
    model.hear(&page(301..=400, 501));
    model.hear(&page(1..=100, 501));
    assert_eq!(here(&model), (1..=100).collect::<Vec<_>>());
    let reads = |order: &Order| matches!(order, Order::Request(frame) if frame["type"] == "read");
    let is_read = |orders: &[Order]| orders.iter().any(reads);
    assert!(!is_read(&model.hear(&message("8", 502))), "it is not to be seen");
    assert_eq!(here(&model).last(), Some(&100));
    assert!(model.rooms["8"].is_behind());

    let next = history(json!({"after": 100, "limit": 10}));
    assert_eq!(model.press(KeyCode::PageDown.into()), [next]);
    model.hear(&page(101..=110, 502));
    assert_eq!(here(&model), (1..=110).collect::<Vec<_>>());

    // Whoever writes sees the newest; what came before the answer was there is asked for.
    let said = Order::Say { room: "8".into(), text: "hello".into() };
    assert_eq!(typed(&mut model, "hello"), [said, history(json!({}))]);
    model.hear(&message("8", 503));
    let orders = model.hear(&page(403..=502, 502));
    assert_eq!(here(&model), (403..=502).collect::<Vec<_>>());
    assert!(orders.contains(&history(json!({"after": 502}))), "{orders:?}");
    assert!(is_read(&model.hear(&page(503..=503, 503))));
    assert_eq!(here(&model), (403..=503).collect::<Vec<_>>());
    assert!(!model.rooms["8"].is_behind() && model.rooms["8"].unread == 0);
    model.hear(&message("8", 504));
    assert_eq!(here(&model).last(), Some(&504));
    assert_eq!(model.press(KeyCode::PageDown.into()), [], "there is nothing newer");
}

#[test]
fn a_jump_that_is_refused_leaves_the_room_as_it_is() {
    let mut model = signed_in();
    model.hear(&page(401..=500, 500));
    typed(&mut model, "/jump 350");
    model.hear(&json!({"type": "error", "code": "too_fast", "message": "too fast", "retry_after": 9}));
    model.hear(&page(301..=400, 500));
    assert_eq!(here(&model), (301..=500).collect::<Vec<_>>());
}

#[test]
fn what_a_new_connection_brings_is_counted_once() {
    let mut model = signed_in();
    let rooms = json!([
        {"id": "9", "name": "B", "unread": 2, "last": 2},
        {"id": "8", "name": "A", "unread": 0, "last": 2},
    ]);
    model.hear(&json!({"type": "hello", "user": "me", "nick": "ada", "rooms": rooms, "people": []}));
    model.hear(&message("9", 1));
    model.hear(&message("9", 2));
    assert_eq!(model.rooms["9"].unread, 2);
    model.hear(&message("9", 3));
    assert_eq!(model.rooms["9"].unread, 3);
}

#[test]
fn older_messages_are_asked_for_before_the_oldest_is_on_the_screen() {
    let mut model = signed_in();
    model.hear(&page(401..=500, 500));
    model.drawn(60);
    assert_eq!(model.press(KeyCode::PageUp.into()), []);
    model.drawn(30);
    let asked = model.press(KeyCode::PageUp.into());
    assert_eq!((asked, model.scroll), (vec![history(json!({"before": 401}))], 20));
    model.drawn(5);
    assert_eq!(model.scroll, 5, "there is nothing above");
}

#[test]
fn commands_without_a_connection_stay_in_the_line_and_lost_ones_are_told() {
    let mut model = signed_in();
    model.connected = false;
    assert_eq!(typed(&mut model, "/react #2 👍"), []);
    assert_eq!(model.line, "/react #2 👍");
    assert!(model.note.contains("no connection"), "{}", model.note);
    model.connected = true;
    assert!(matches!(model.press(KeyCode::Enter.into()).as_slice(), [Order::Command(_)]));
    assert_eq!(model.line, "");

    // The greeting of the next connection does not hide it.
    let hello = json!({"type": "hello", "user": "me", "nick": "ada", "rooms": [], "people": []});
    model.hear_loss();
    assert_eq!(model.note, LOST);
    model.note = "no connection".into();
    model.hear(&hello);
    assert_eq!(model.note, LOST);
    model.hear(&hello);
    assert_eq!(model.note, "signed in as ada");
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
    assert_eq!(typed(&mut model, "/edit #2 new text"), [Order::Command(edit)]);
    let join = json!({"type": "join", "room": "77"});
    assert_eq!(typed(&mut model, "/join 77"), [Order::Command(join)]);
    assert_eq!(typed(&mut model, "/what"), []);
    assert!(model.note.starts_with("/join"));
    assert!(!model.ended);
    typed(&mut model, "/quit");
    assert!(model.ended);
}
