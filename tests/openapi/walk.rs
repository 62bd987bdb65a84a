//! A walk over the native API, step by step as `walk.txt` says: what is answered has the shape that the document
//! promises.

use crate::server::{Answer, Client, Server};
use crate::shapes::{misfit, open_places};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

const WALK: &str = include_str!("walk.txt");
/// As much of a picture as tells its kind.
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\nrest";

/// Where an answer may hold anything, and why.
const OPEN: [&str; 4] = [
    // What was done differs from action to action; so do the changes of a link, and the events that are told of.
    "AuditEntry.detail",
    // OpenAPI's own schema says what is in it.
    "Document",
    "LinkEvent.details",
    "Undelivered.data",
];

/// What the walk does not come by, and why.
const AROUND: [&str; 18] = [
    // They need a provider that signs people in.
    "delete /auth/identities/{provider}",
    "post /auth/identities/{provider}",
    "get /auth/oidc/{provider}/callback",
    "get /auth/oidc/{provider}/start",
    "post /auth/oidc/{provider}/token",
    "post /auth/second-factor",
    // They need an authenticator.
    "delete /auth/totp",
    "post /auth/totp/confirm",
    // They need mail, or LINE, or a webhook that fails again and again.
    "post /auth/email",
    "post /auth/email/confirm",
    "post /auth/password/forgot",
    "post /auth/password/reset",
    "post /line/webhook",
    "post /notifications/failed/{id}/retry",
    // They come in parts.
    "get /admin/tree/events",
    "get /links/export",
    // There is none, so they never succeed.
    "post /deposits/payment-method",
    "post /withdrawals/payment-method",
];

/// The operation of a request, with its name.
fn operation<'a>(api: &'a Value, method: &str, target: &str) -> Option<(String, &'a Value)> {
    let path = target.split('?').next().unwrap_or_default();
    let fits = |pattern: &str| match pattern.split_once("{path}") {
        Some((before, after)) => path.starts_with(before) && path.ends_with(after),
        None => {
            let parts = || pattern.split('/').zip(path.split('/'));
            pattern.split('/').count() == path.split('/').count()
                && parts().all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
        }
    };
    let method = method.to_lowercase();
    let all = api["paths"].as_object().unwrap().iter();
    let found = all.filter(|(pattern, item)| fits(pattern) && item[&method].is_object());
    // As the server does: a name goes before a parameter.
    let (pattern, item) = found.min_by_key(|(pattern, _)| pattern.matches('{').count())?;
    Some((format!("{method} {pattern}"), &item[&method]))
}

/// Why an answer is not one that its operation promises.
pub fn broken_promise(api: &Value, operation: &Value, answer: &Answer) -> Option<String> {
    let documented = &operation["responses"][answer.status.to_string()];
    if !documented.is_object() {
        return Some("the status is not documented".into());
    }
    let kind = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    let Some(content) = documented["content"].get(kind) else { return Some(format!("{kind:?} is not documented")) };
    if kind == "application/json" { misfit(api, &content["schema"], &answer.json()) } else { None }
}

/// Sends until the server is ready for it: a market that was opened a moment ago takes a while.
fn send(client: &mut Client, method: &str, target: &str, body: &[u8]) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = client.send(method, target, body).unwrap();
        if answer.status != 503 || begun.elapsed() > Duration::from_secs(60) {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn answers_have_the_shapes_that_are_promised() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let server = Server::start_with(folder.path(), &["--allow-drills", "--links-domains", "s.example"]);
    let mut callers = HashMap::from([
        ("nobody", server.client("")),
        ("ada", Client::sign_up(&server, "ada@example.org")),
        ("bob", Client::sign_up(&server, "bob@example.org")),
        ("admin", Client::admin(&server)),
    ]);
    let api = callers.get_mut("nobody").unwrap().get("/openapi.json");
    let mut known: Vec<(String, String)> = Vec::new();
    let mut walked = BTreeSet::new();
    for line in WALK.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (step, names) = line.split_once(" -> ").unwrap_or((line, ""));
        // Newer values go before older ones.
        let step = known.iter().rev().fold(step.to_owned(), |step, (name, value)| step.replace(name, value));
        let mut words = step.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (who, method, target, body) = (word(), word(), word(), word());
        // Some answers have whole addresses.
        let target = target.split_once("/v1/").map_or(target.to_owned(), |(_, rest)| format!("/{rest}"));
        let body = if body == "@png" { PICTURE } else { body.as_bytes() };
        let answer = send(callers.get_mut(who).unwrap(), method, &target, body);
        let shown = format!("{step}: {} {:.2000}", answer.status, String::from_utf8_lossy(&answer.body));
        assert!((200..300).contains(&answer.status), "{shown}");
        let (name, operation) = operation(&api, method, &target).unwrap();
        assert_eq!(broken_promise(&api, operation, &answer), None, "{shown}");
        walked.insert(name);
        let body = answer.json();
        for (name, pointer) in names.split(' ').filter_map(|one| one.split_once('=')) {
            let value = body.pointer(pointer).unwrap_or_else(|| panic!("{shown}"));
            known.push((format!("${name}"), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        }
    }
    let paths = api["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(pattern, item)| {
        item.as_object().unwrap().iter().map(move |(method, one)| (format!("{method} {pattern}"), one))
    });
    let answering = all.filter(|(_, one)| one["responses"].get("101").is_none()).map(|(name, _)| name);
    let missed: BTreeSet<String> = answering.filter(|name| !walked.contains(name)).collect();
    let excused: BTreeSet<String> = AROUND.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(missed, excused, "what the walk does not come by");
}

#[test]
fn every_answer_says_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let api = Server::start(folder.path()).client("").get("/openapi.json");
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, answer) in operation["responses"].as_object().unwrap() {
                if status.starts_with('2') {
                    let content = answer["content"].as_object();
                    assert!(content.is_some_and(|content| !content.is_empty()), "{method} {path}: {status}");
                }
                if let Some(schema) = answer["content"].pointer("/application~1json/schema") {
                    open_places(&api, schema, &format!("{method} {path}"), &mut seen, &mut found);
                }
            }
        }
    }
    assert!(seen.len() > 80, "{seen:?}");
    let excused: BTreeSet<String> = OPEN.iter().map(|place| (*place).to_owned()).collect();
    assert_eq!(found, excused);
}
