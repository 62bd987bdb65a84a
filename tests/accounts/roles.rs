//! Roles: the table of permissions against every route, the audit log, freezing.

use crate::server::{Answer, Client, Server, agora};
use crate::sessions::post;
use agora::http::permissions::{Access, Rule, TABLE};
use agora::persistence::users::Role;
use serde_json::json;
use std::path::Path;

const PASSWORD: &str = "correct horse battery";

/// Makes an administrator while no server runs.
pub fn make_admin(data: &Path) {
    let made = agora(&["admin", "create", "root@example.org"], data).env("AGORA_ADMIN_PASSWORD", PASSWORD).output();
    assert!(made.unwrap().status.success());
}

pub fn sign_in(server: &Server, email: &str) -> Client {
    let answer = post(&mut server.client(""), "/auth/sign-in", &json!({"email": email, "password": PASSWORD}));
    assert_eq!(answer.status, 200, "{email}: {}", answer.json());
    server.client(answer.json()["access_token"].as_str().unwrap())
}

/// The user's id outwardly.
fn id_of(client: &mut Client) -> String {
    client.get("/auth/me")["id"].as_str().unwrap().to_owned()
}

struct Person {
    name: &'static str,
    role: Option<Role>,
    client: Client,
}

fn path_of(rule: &Rule) -> String {
    let named = |part: &str| if part.starts_with('{') { "nobody".to_owned() } else { part.to_owned() };
    rule.pattern.split('/').map(named).collect::<Vec<_>>().join("/")
}

fn walk(rule: &Rule, server: &Server, token: &str) -> Answer {
    walk_to(&path_of(rule), rule, server, token)
}

/// On a connection of its own, since an answer may be a stream that never ends.
fn walk_to(path: &str, rule: &Rule, server: &Server, token: &str) -> Answer {
    let mut client = server.client(token);
    let outside = ["/health/live", "/health/ready", "/metrics", "/s/nobody", "/nobody", "/"];
    if outside.contains(&path) {
        let text = format!("{} {path} HTTP/1.1\r\nHost: agora\r\nContent-Length: 0\r\n\r\n", rule.method);
        return client.send_raw(text.as_bytes()).unwrap();
    }
    if rule.pattern.starts_with("/api/") || rule.pattern == "/ws" {
        let bearer = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let head = format!("{} {path} HTTP/1.1\r\nHost: agora\r\n{bearer}Content-Length: 0\r\n\r\n", rule.method);
        return client.send_raw(head.as_bytes()).unwrap();
    }
    client.send(rule.method, path, b"").unwrap()
}

/// The guard and the routes must read a path alike, or a letter in another spelling opens every door.
#[test]
fn a_path_with_encoded_letters_is_the_same_route() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let user = Client::sign_up(&server, "user@example.org").token;
    let private = |rule: &&Rule| !matches!(rule.access, Access::Public | Access::Maybe(_));
    let mut walked = 0;
    for rule in TABLE.iter().filter(private) {
        let path = path_of(rule);
        for (start, segment) in path.match_indices('/').map(|(at, _)| (at + 1, &path[at + 1..])) {
            let Some(letter) = segment.bytes().next().filter(u8::is_ascii_alphabetic) else { continue };
            // The prefix is what the dialect is told by in this test; its own letters are tried below.
            if start == 1 && rule.pattern.starts_with("/api/") {
                continue;
            }
            let encoded = format!("{}%{letter:02x}{}", &path[..start], &segment[1..]);
            let anonymous = walk_to(&encoded, rule, &server, "");
            assert_eq!(anonymous.status, 401, "{} {encoded}: {}", rule.method, anonymous.json());
            if matches!(rule.access, Access::Role(_)) {
                let other = walk_to(&encoded, rule, &server, &user);
                assert_eq!(other.status, 403, "{} {encoded}: {}", rule.method, other.json());
            }
            walked += 1;
        }
    }
    assert!(walked > 200, "{walked}");
    let raw = |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: agora\r\nContent-Length: 0\r\n\r\n");
        server.client("").send_raw(head.as_bytes()).unwrap().status
    };
    for path in ["/%761/admin/users", "/v%31/admin/users", "/%61pi/orders", "/v1/admin%2fusers", "/v1/%2561dmin/users"]
    {
        assert!(matches!(raw(path), 401 | 404), "{path}");
    }
}

#[test]
fn what_a_client_makes_up_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let packed =
        "POST /v1/auth/sign-in HTTP/1.1\r\nHost: agora\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc";
    let answer = server.client("").send_raw(packed.as_bytes()).unwrap();
    assert_eq!((answer.status, answer.json()["code"].as_str()), (415, Some("unsupported_encoding")));
    for number in 0..5 {
        let made_up = format!("MADEUP{number} /v1/time HTTP/1.1\r\nHost: agora\r\nContent-Length: 0\r\n\r\n");
        server.client("").send_raw(made_up.as_bytes()).unwrap();
    }
    let metrics = "GET /metrics HTTP/1.1\r\nHost: agora\r\nContent-Length: 0\r\n\r\n";
    let metrics = server.client("").send_raw(metrics.as_bytes()).unwrap();
    let text = String::from_utf8(metrics.body.clone()).unwrap();
    assert!(text.contains(r#"method="other""#) && !text.contains("MADEUP"), "{text}");
}

#[test]
fn every_route_lets_in_whom_the_table_says_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    make_admin(folder.path());
    let server = Server::start(folder.path());
    let mut admin = sign_in(&server, "root@example.org");
    for role in ["user", "support", "moderator"] {
        let mut made = Client::sign_up(&server, &format!("{role}@example.org"));
        let (path, body) = (format!("/admin/users/{}/role", id_of(&mut made)), json!({"role": role}).to_string());
        assert_eq!(admin.send("PUT", &path, body.as_bytes()).unwrap().status, 200);
        // The old token names the old role, so it counts no more.
        assert_eq!(made.send("GET", "/auth/me", b"").unwrap().status, 401);
    }
    let sign_in = |email: &str| sign_in(&server, email);
    let person = |name, role, client| Person { name, role, client };
    let mut people = [
        person("anonymous", None, server.client("")),
        person("user", Some(Role::User), sign_in("user@example.org")),
        person("support", Some(Role::Support), sign_in("support@example.org")),
        person("moderator", Some(Role::Moderator), sign_in("moderator@example.org")),
        person("admin", Some(Role::Admin), admin),
    ];
    for rule in TABLE {
        for person in &mut people {
            let answer = walk(rule, &server, &person.client.token);
            let what = format!("{} {} as {}: {}", rule.method, rule.pattern, person.name, answer.json());
            let let_in = match (rule.access, person.role) {
                (Access::Public | Access::Maybe(_), _) => true,
                (Access::Role(needed), Some(role)) => role >= needed,
                (Access::Caller | Access::Own(_) | Access::Session, Some(_)) => true,
                (_, None) => false,
            };
            let expected = match (let_in, person.role) {
                (true, _) => None,
                (false, None) => Some(401),
                (false, Some(_)) => Some(403),
            };
            match expected {
                Some(status) => assert_eq!(answer.status, status, "{what}"),
                // Drills ask for more than a role: the server must have been started for them.
                None if answer.json()["code"] == "drills_not_allowed" => {}
                // What goes without an account is for the operator to say.
                None if matches!(rule.access, Access::Maybe(_)) && person.role.is_none() => {
                    assert!(answer.status < 500, "{} {what}", answer.status);
                }
                None => assert!(!matches!(answer.status, 401 | 403) && answer.status < 500, "{} {what}", answer.status),
            }
            let signs_out = rule.pattern.starts_with("/auth/sign-out")
                || (rule.method, rule.pattern) == ("DELETE", "/api/users/accessToken");
            if signs_out && person.role.is_some() {
                let email = if person.name == "admin" { "root" } else { person.name };
                person.client = sign_in(&format!("{email}@example.org"));
            }
        }
    }
}

#[test]
fn the_command_line_gives_roles_while_a_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    assert_eq!(ada.send("GET", "/admin/users", b"").unwrap().status, 403);
    let promote =
        |arguments: &[&str]| agora(&[&["admin", "promote"], arguments].concat(), folder.path()).output().unwrap();
    assert!(!promote(&["ada@example.org", "--role", "owner"]).status.success());
    assert!(!promote(&["nobody@example.org"]).status.success());
    let done = promote(&["ada@example.org", "--role", "support"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(sign_in(&server, "ada@example.org").send("GET", "/admin/users", b"").unwrap().status, 200);
    // The server learns of it from the database: the old token, which names the old role, ends.
    while ada.send("GET", "/auth/me", b"").unwrap().status != 401 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_frozen_account_trades_no_more_and_everything_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    make_admin(folder.path());
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let id = id_of(&mut ada);
    let mut admin = sign_in(&server, "root@example.org");
    let own = id_of(&mut admin);
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.5"});
    assert_eq!(post(&mut ada, "/orders", &order).status, 200);

    let frozen =
        post(&mut admin, &format!("/admin/users/{id}/freeze"), &json!({"cancel_orders": true, "reason": "why"}));
    assert_eq!((frozen.status, frozen.json()), (200, json!({"frozen": true, "canceled_orders": 1})));
    let refused = post(&mut ada, "/orders", &order);
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("account_frozen")));
    let wallet = ada.get("/coinbase-accounts")[0].clone();
    let address =
        post(&mut ada, &format!("/coinbase-accounts/{}/addresses", wallet["id"].as_str().unwrap()), &json!({}));
    let withdrawal =
        json!({"amount": "0.1", "currency": wallet["currency"], "crypto_address": address.json()["address"]});
    let held = post(&mut ada, "/withdrawals/crypto", &withdrawal);
    assert_eq!((held.status, &held.json()["code"]), (403, &json!("account_frozen")), "{withdrawal}");
    assert_eq!(ada.get("/orders"), json!([]));
    let shown = admin.get(&format!("/admin/users/{id}"));
    assert_eq!((&shown["frozen"], &shown["email"]), (&json!(true), &json!("ada@example.org")));
    assert_eq!(post(&mut admin, &format!("/admin/users/{id}/unfreeze"), &json!({})).status, 200);
    assert_eq!(post(&mut ada, "/orders", &order).status, 200);

    let change = |client: &mut Client, id: &str, role: &str| {
        client.send("PUT", &format!("/admin/users/{id}/role"), json!({"role": role}).to_string().as_bytes()).unwrap()
    };
    assert_eq!(change(&mut admin, &own, "user").json()["code"], "own_role");
    assert_eq!(change(&mut admin, &id, "owner").json()["code"], "invalid_role");
    assert_eq!(change(&mut admin, &id, "moderator").status, 200);
    post(&mut server.client(""), "/auth/sign-in", &json!({"email": "ada@example.org", "password": "wrong password"}));

    let found = admin.get("/admin/users?email=ADA@&limit=5");
    assert_eq!((found.as_array().unwrap().len(), &found[0]["role"]), (1, &json!("moderator")));
    assert_eq!(admin.get("/admin/users?email=%25"), json!([]));
    let log = admin.get(&format!("/admin/audit?user={id}"));
    let actions: Vec<_> = log.as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["sign_in_failed", "role_changed", "unfrozen", "frozen", "sign_up"]);
    assert_eq!(log[1]["detail"], json!({"before": "user", "after": "moderator"}));
    assert_eq!((&log[3]["actor"], &log[3]["address"]), (&json!(own), &json!("127.0.0.1")));
    assert_eq!(log[3]["detail"]["reason"], "why");
    let page = admin.send("GET", &format!("/admin/audit?user={id}&limit=2"), b"").unwrap();
    let after = page.header("cb-after").unwrap().to_owned();
    let next = admin.get(&format!("/admin/audit?user={id}&limit=2&after={after}"));
    assert_eq!((&next[0]["action"], &next[1]["action"]), (&json!("unfrozen"), &json!("frozen")));
    assert!(!log.to_string().contains("wrong password"));
}
