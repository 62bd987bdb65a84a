use super::*;
use serde_json::json;

/// The products of a venue with a market that trades and one that does not.
fn products() -> Value {
    json!([
        {"id": "BTC-USDT", "base_currency": "BTC", "status": "online", "phase": "trading"},
        {"id": "ETH-USDT", "base_currency": "ETH", "status": "online", "phase": "auction"},
    ])
}

fn traded(at: Instant, trades: u64) -> Quote {
    let ticker = json!({"price": "61200", "bid": "61199.5", "ask": "0", "volume": "12.5", "trade_id": trades});
    let stats = json!({"open": "60000"});
    Quote { symbol: "BTC-USDT".into(), at, ticker: (200, ticker), book: Value::Null, stats }
}

fn places() -> Value {
    let place = |path: &str, parent: Option<&str>, state: &str| {
        json!({
            "path": path, "parent": parent, "name": path.rsplit('/').next(), "state": state, "crashes": 0,
            "last_crash": null, "running_since": 1_000_000_000_000_u64, "mailbox_depth": 1,
            "mailbox_capacity": 64, "lag": null,
        })
    };
    let mut book = place("agora/trading/order book BTC-USDT", Some("agora/trading"), "faulted");
    book["crashes"] = 3.into();
    book["lag"] = 7.into();
    book["role"] = "active".into();
    book["last_crash"] = json!({"at": 1, "reason": "a drill"});
    json!([
        place("agora", None, "running"),
        place("agora/trading", Some("agora"), "running"),
        place("agora/chat", Some("agora"), "starting"),
        book,
    ])
}

/// What a server with a fault says, `seconds` after `begin`.
pub fn round(begin: Instant, seconds: u64) -> Round {
    let at = begin + Duration::from_secs(seconds);
    let metrics = format!(
        "agora_log_position {}\nagora_projected_position 90\nagora_node_active 1\n\
         agora_log_flushes_total {}\nagora_order_acknowledged_seconds_count {}\n\
         agora_actor_running{{actor=\"agora\"}} 1\nagora_mailbox_depth{{actor=\"agora\"}} 2\n",
        100 + seconds,
        1_000 + 5 * seconds,
        20 * seconds,
    );
    let unsold = (404, json!({"message": "NotFound"}));
    let book = json!({"bids": [["3000", "1", 1]], "asks": []});
    Round {
        at,
        health: (503, json!({"status": "not ready", "down": ["agora/chat"], "log_refuses": false, "cluster": null})),
        metrics: Ok(metrics),
        products: Ok(products()),
        quotes: vec![
            traded(at, 100 + 3 * seconds),
            Quote { symbol: "ETH-USDT".into(), at, ticker: unsold, book, stats: json!({"open": "0"}) },
        ],
        tree: Seen::Places { places: places(), now: Some(1_090_061.5) },
    }
}

#[test]
fn rates_and_prices_come_from_two_looks() {
    let begin = Instant::now();
    let mut model = Model::new("http://here");
    model.hear(Ok(round(begin, 0)));
    assert_eq!((model.rates, model.fills()), (None, None));
    model.hear(Ok(round(begin, 2)));
    let rates = model.rates.unwrap();
    assert_eq!((rates.orders, rates.flushes), (20.0, 5.0));
    assert_eq!(model.fills(), Some(3.0));
    let [btc, eth] = &model.markets[..] else { panic!("{:?}", model.markets) };
    assert_eq!(btc.change, Some(200));
    assert_eq!((btc.bid.as_deref(), btc.ask.as_deref()), (Some("61199.5"), None));
    assert_eq!((eth.status, eth.mood), ("auction", Mood::Notable));
    assert_eq!((eth.last.as_deref(), eth.bid.as_deref(), eth.change), (None, Some("3000"), None));
    assert!(model.is_complete());
    let health = model.health.as_ref().unwrap();
    assert!(!health.ready);
    assert_eq!(health.reasons, ["down: agora/chat"]);
    assert_eq!(health.role.as_deref(), Some("active"));
    assert_eq!(model.uptime, Some(Duration::from_millis(90_061_500)));
}

#[test]
fn places_stand_below_their_supervisors() {
    let order: Vec<(usize, String)> = in_order(&places()).into_iter().map(|place| (place.depth, place.name)).collect();
    let expected = [(0, "agora"), (1, "trading"), (2, "order book BTC-USDT"), (1, "chat")];
    assert_eq!(order, expected.map(|(depth, name)| (depth, name.to_owned())));
    let book = in_order(&places()).remove(2);
    assert_eq!((book.mood, book.crashes, book.mailbox, book.lag), (Mood::Bad, 3, (1, 64), Some(7)));
    assert_eq!((book.role.as_deref(), book.reason.as_deref()), (Some("active"), Some("a drill")));
    // One whose supervisor has gone meanwhile is not lost.
    let orphan = json!([{"path": "a/b", "parent": "a", "name": "b", "state": "running"}]);
    assert_eq!(in_order(&orphan).len(), 1);
}

#[test]
fn what_was_known_stays_while_the_server_is_out_of_reach() {
    let begin = Instant::now();
    let mut model = Model::new("http://here");
    model.hear(Ok(round(begin, 0)));
    model.hear(Ok(round(begin, 1)));
    model.hear(Err("refused".into()));
    assert_eq!(model.trouble.as_deref(), Some("refused"));
    assert_eq!((model.rates, model.fills()), (None, None));
    assert_eq!(model.markets[0].last.as_deref(), Some("61200"));
    assert!(matches!(&model.tree, Tree::Places(places) if places.len() == 4));
    model.hear(Ok(round(begin, 5)));
    assert_eq!(model.trouble, None);
    assert_eq!(model.rates.map(|rates| rates.orders), Some(20.0));
}

#[test]
fn a_market_that_cannot_be_asked_keeps_its_prices_and_one_that_is_gone_goes() {
    let begin = Instant::now();
    let mut model = Model::new("http://here");
    model.hear(Ok(round(begin, 0)));
    let mut next = round(begin, 1);
    next.quotes = vec![Quote { ticker: (503, Value::Null), ..traded(begin, 0) }];
    next.products = Ok(json!([{"id": "BTC-USDT", "status": "offline"}]));
    model.hear(Ok(next));
    let [btc] = &model.markets[..] else { panic!("{:?}", model.markets) };
    assert_eq!((btc.status, btc.mood, btc.last.as_deref()), ("offline", Mood::Bad, Some("61200")));
}

#[test]
fn a_change_is_exact() {
    for (open, last, expected) in [
        ("60000", "61200", Some(200)),
        ("100", "99.99", Some(-1)),
        ("0.00000001", "0.00000002", Some(10_000)),
        ("3", "3", Some(0)),
        ("0", "1", None),
        ("x", "1", None),
    ] {
        assert_eq!(change(open, last), expected, "{open} to {last}");
    }
}

#[test]
fn q_and_control_c_end_it_and_arrows_scroll() {
    for key in [KeyEvent::from(KeyCode::Char('q')), KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)] {
        let mut model = Model::default();
        model.press(key);
        assert!(model.ended);
    }
    let mut model = Model::default();
    for (code, scroll) in [(KeyCode::Up, 0), (KeyCode::Down, 1), (KeyCode::PageDown, 11), (KeyCode::Home, 0)] {
        model.press(code.into());
        assert_eq!((model.scroll, model.ended), (scroll, false));
    }
    model.press(KeyCode::Char('c').into());
    assert!(!model.ended);
}
