//! The OpenAPI document of the native API, and the page that shows it.
//!
//! The document is made from the table of permissions, which is compared with the routes by a test: every route is in
//! it, with the credentials that it takes and the errors that follow from that. What a route is for, what it reads and
//! what it answers stands in `operations`, the shapes in `schemas`. The GitBitEx dialect is left out on purpose: its
//! shapes are those of its front end, and `docs/gitbitex.md` says them.

mod link_operations;
mod operations;
mod schemas;

use super::permissions::{Access, Rule, TABLE};
use crate::domain::reason::Reason;
use actix_web::HttpResponse;
use actix_web::http::header;
use operations::{FORM, OPERATIONS, Operation, PEOPLE};
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// `GET /v1/openapi.json`.
pub async fn document() -> HttpResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| build().to_string());
    HttpResponse::Ok().content_type("application/json; charset=utf-8").body(text.as_str())
}

/// `GET /docs`: the page. It loads nothing from elsewhere.
pub async fn page() -> HttpResponse {
    let policy = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .body(include_str!("page.html"))
}

/// The page's script.
pub async fn script() -> HttpResponse {
    HttpResponse::Ok().content_type("text/javascript; charset=utf-8").body(include_str!("page.js"))
}

/// The page's style.
pub async fn style() -> HttpResponse {
    HttpResponse::Ok().content_type("text/css; charset=utf-8").body(include_str!("page.css"))
}

/// The whole document.
pub fn build() -> Value {
    let mut paths = Map::new();
    for rule in TABLE.iter().filter(|rule| is_of_the_api(rule)) {
        let path = rule.pattern.replace(":.*", "");
        let item = paths.entry(path).or_insert_with(|| json!({}));
        if let Value::Object(item) = item {
            item.insert(rule.method.to_lowercase(), operation(rule));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Agora",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
            "description": "The native API, in the dialect of the Coinbase Exchange. Decimals are strings; times are \
                            RFC 3339 in UTC; every error is an object with `message` and `code`.",
        },
        "servers": [{"url": "/v1"}],
        "tags": SECTIONS.iter().map(|(name, about, _)| json!({"name": name, "description": about})).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas::all(&Reason::all().map(|reason| (reason.code(), reason.rule())).collect::<Vec<_>>()),
            "securitySchemes": {
                "session": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "The access token of a sign-in."},
                "key": {"type": "apiKey", "in": "header", "name": "CB-ACCESS-KEY",
                    "description": "An API key, with CB-ACCESS-SIGN, CB-ACCESS-TIMESTAMP and CB-ACCESS-PASSPHRASE: the \
                                    signature is the base64 of an HMAC-SHA256, with the decoded secret, over \
                                    timestamp + method + request target + body."},
            },
        },
    })
}

/// Health, metrics and pages are for operators and people, and the GitBitEx dialect has a document of its own.
fn is_of_the_api(rule: &Rule) -> bool {
    !["/health", "/metrics", "/docs", "/api/", "/ws", "/s/", "/{slug}"]
        .iter()
        .any(|outside| rule.pattern.starts_with(outside))
        && rule.pattern != "/"
}

/// Every route that something is said about.
fn described() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().chain(PEOPLE).chain(link_operations::OPERATIONS)
}

/// The section of a route, as people look for it, and what it is about.
const SECTIONS: &[(&str, &str, &[&str])] = &[
    ("markets", "What everybody may ask; credentials are not looked at.", &["products", "currencies", "time"]),
    ("orders", "Place, cancel, look up; trades of one's own.", &["orders", "fills", "fees"]),
    (
        "money",
        "Balances, and how they change from outside.",
        &["accounts", "transfers", "deposits", "withdrawals", "coinbase-accounts", "payment-methods"],
    ),
    ("feed", "The WebSocket: market data, private channels, orders.", &["feed"]),
    ("profiles", "Who one is to the dialect.", &["profiles", "users"]),
    ("sign-in and keys", "Sessions, second factors, API keys.", &["auth", "photos"]),
    ("chat", "Rooms, friends, messages.", &["chat"]),
    ("links", "Short links, their clicks and reports.", &["links"]),
    ("notifications", "Being told of what happens.", &["notifications", "notice", "line"]),
    ("administration", "For roles above that of a user.", &["admin"]),
];

fn section(pattern: &str) -> &'static str {
    let first = pattern.split('/').nth(1).unwrap_or_default();
    SECTIONS.iter().find(|(_, _, all)| all.contains(&first)).map_or("other", |(name, ..)| name)
}

fn operation(rule: &Rule) -> Value {
    let pattern = rule.pattern.replace(":.*", "");
    // Every route is described, as a test says.
    let known = described().find(|one| one.method == rule.method && one.pattern == pattern);
    let one = known.unwrap_or(&Operation::UNKNOWN);
    let mut parameters: Vec<Value> = rule
        .pattern
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split(['}', ':']).next())
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    for (name, schema, about) in one.query {
        let schema: Value = serde_json::from_str(schema).unwrap_or_else(|_| json!({"type": "string"}));
        let bare = name.trim_start_matches('*');
        let mut parameter = json!({"name": bare, "in": "query", "description": about, "schema": schema});
        if bare != *name {
            parameter["required"] = true.into();
        }
        parameters.push(parameter);
    }
    let id = format!("{} {}", rule.method.to_lowercase(), rule.pattern.replace(['{', '}'], "").replace(":.*", ""));
    let mut operation = json!({
        "operationId": id.replace([' ', '/', '-', '.'], "_").replace("__", "_"),
        "summary": if one.summary.is_empty() { id.as_str() } else { one.summary },
        "tags": [section(rule.pattern)],
        "parameters": parameters,
        "security": security(rule.access),
        "responses": responses(rule, one),
    });
    let mut body = content(one.body, one.takes);
    if let (Ok(example), Some(media)) = (serde_json::from_str::<Value>(one.example), body.get_mut("application/json")) {
        media["example"] = example;
    }
    if let (false, Value::Object(fields)) = (body.is_empty(), &mut operation) {
        fields.insert("requestBody".into(), json!({"content": body, "required": !one.optional}));
    }
    operation
}

/// What a body or an answer may be: JSON of a schema, and other media types. A form has the fields of the schema, text is
/// said to be a string, pictures have no schema.
fn content(schema: &str, media_types: &[&str]) -> Map<String, Value> {
    let json = (!schema.is_empty()).then(|| ("application/json".to_owned(), json!({"schema": reference(schema)})));
    let others = media_types.iter().map(|name| {
        let text = name.starts_with("text/") || name.ends_with("+xml");
        let media = match *name {
            FORM => json!({"schema": reference(schema)}),
            _ if text => json!({"schema": {"type": "string"}}),
            _ => json!({}),
        };
        ((*name).to_owned(), media)
    });
    json.into_iter().chain(others).collect()
}

fn reference(name: &str) -> Value {
    match name.strip_suffix("[]") {
        Some(item) => json!({"type": "array", "items": reference(item)}),
        None => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
}

fn security(access: Access) -> Value {
    match access {
        Access::Public => json!([]),
        Access::Maybe(_) => json!([{}, {"session": []}, {"key": []}]),
        Access::Caller | Access::Own(_) => json!([{"session": []}, {"key": []}]),
        Access::Session | Access::Role(_) => json!([{"session": []}]),
    }
}

/// The headers that name the ends of a page. The cursors of chat are in the body.
fn headers(rule: &Rule, one: &Operation) -> Map<String, Value> {
    let cursor = |about: &str| json!({"description": about, "schema": {"type": "string"}});
    let has = |wanted: &str| one.query.iter().any(|(name, ..)| *name == wanted);
    let mut headers = Map::new();
    if has("after") && !rule.pattern.starts_with("/chat/") {
        headers.insert("CB-AFTER".into(), cursor("Cursor of the last item; the last page may have none."));
        if has("before") {
            headers.insert("CB-BEFORE".into(), cursor("Cursor of the first item; an empty page has none."));
        }
    }
    headers
}

fn responses(rule: &Rule, one: &Operation) -> Value {
    let mut all = Map::new();
    for status in one.statuses {
        let about = match *status {
            "101" => "The connection is a WebSocket now.",
            "201" => "It is made.",
            "202" => "It is being done.",
            "302" => "Go on at the address in Location.",
            _ => "Success.",
        };
        let mut success = json!({"description": about});
        if status.starts_with('2') {
            success["content"] = content(one.answer, one.gives).into();
        }
        let headers = headers(rule, one);
        if !headers.is_empty() {
            success["headers"] = headers.into();
        }
        all.insert((*status).into(), success);
    }
    let mut error = |status: &str, about: &str| {
        let content = json!({"application/json": {"schema": reference("Error")}});
        all.insert(status.into(), json!({"description": about, "content": content}));
    };
    error("400", "The request is wrong, or a rule refuses it.");
    error("404", "There is no such thing, or it is somebody else's.");
    if rule.access != Access::Public {
        error("401", "No valid credentials.");
        error("403", "The credentials do not allow it.");
    }
    if rule.method != "GET" {
        error("409", "It exists already, or its state does not allow it.");
        error("413", "The body is larger than 64 KiB, a picture or an import than the venue takes.");
        error("415", "The body has a Content-Encoding.");
    }
    if matches!(rule.pattern, "/auth/me/photo" | "/chat/rooms/{id}/images") {
        error("415", "This is no PNG, JPEG, GIF or WebP image.");
    }
    if matches!(rule.pattern, "/auth/me/photo" | "/chat/rooms/{id}/images" | "/links/import") {
        error("408", "The body took too long to arrive.");
    }
    if rule.pattern == "/line/webhook" {
        error("401", "The signature is not LINE's.");
    }
    error("429", "Too many requests; wait for Retry-After seconds where it says so.");
    error("500", "A fault of the server.");
    error("503", "Not now; repeat after Retry-After seconds, with the same client id.");
    if rule.pattern.starts_with("/auth") {
        error("401", "The credentials are wrong.");
        error("403", "Not allowed.");
    }
    if rule.pattern == "/auth/oidc/{provider}/token"
        && let Some(refusal) = all.get_mut("401")
    {
        // With `second_factor_required` comes what goes along with the code.
        refusal["content"] = content("TokenRefusal", &[]).into();
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_one_of_a_route_and_names_shapes_that_exist() {
        let document = build();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for one in described() {
            let same = |rule: &&Rule| rule.method == one.method && rule.pattern.replace(":.*", "") == one.pattern;
            let known = TABLE.iter().any(|rule| same(&rule));
            assert!(known, "{} {} is no route", one.method, one.pattern);
            for name in [one.body, one.answer] {
                let name = name.trim_end_matches("[]");
                assert!(name.is_empty() || schemas.contains_key(name), "{name} of {}", one.pattern);
            }
            assert!(one.example.is_empty() || serde_json::from_str::<Value>(one.example).is_ok(), "{}", one.pattern);
            for (name, schema, about) in one.query {
                assert!(
                    serde_json::from_str::<Value>(schema).is_ok() && !about.is_empty(),
                    "{name} of {}",
                    one.pattern
                );
            }
        }
        let estimate = &document["paths"]["/withdrawals/fee-estimate"]["get"]["parameters"][0];
        assert_eq!((&estimate["name"], &estimate["required"]), (&json!("currency"), &json!(true)));
        let required = |path: &str, method: &str| document["paths"][path][method]["requestBody"]["required"].clone();
        assert_eq!((required("/orders", "post"), required("/orders", "delete")), (json!(true), json!(false)));
        // References inside of schemas lead somewhere too.
        let text = document.to_string();
        for rest in text.split("#/components/schemas/").skip(1) {
            let name = rest.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
    }

    #[test]
    fn pages_have_the_headers_that_go_with_what_they_may_be_asked() {
        let document = build();
        let headers = |path: &str| {
            let headers = &document["paths"][path]["get"]["responses"]["200"]["headers"];
            headers.as_object().map_or_else(Vec::new, |headers| headers.keys().map(String::as_str).collect())
        };
        let expected: [(&str, &[&str]); 8] = [
            ("/products/{id}/trades", &["CB-AFTER", "CB-BEFORE"]),
            ("/admin/users", &["CB-AFTER"]),
            ("/admin/withdrawals", &["CB-AFTER"]),
            ("/links", &["CB-AFTER"]),
            ("/links/export", &[]),
            ("/chat/rooms/{id}/messages", &[]),
            ("/chat/rooms/{id}/members", &[]),
            ("/admin/chat/reports", &[]),
        ];
        for (path, names) in expected {
            let mut found: Vec<&str> = headers(path);
            found.sort_unstable();
            assert_eq!(found, names, "{path}");
        }
    }

    #[test]
    fn what_a_route_alone_answers_or_reads_is_told() {
        let document = build();
        let about = |method: &str, path: &str, status: &str| {
            document["paths"][path][method]["responses"][status]["description"].as_str()
        };
        assert_eq!(about("post", "/line/webhook", "401"), Some("The signature is not LINE's."));
        for (method, path) in
            [("put", "/auth/me/photo"), ("post", "/chat/rooms/{id}/images"), ("post", "/links/import")]
        {
            assert_eq!(about(method, path, "408"), Some("The body took too long to arrive."), "{path}");
        }
        assert_eq!(about("post", "/links", "408"), None);
        let parameter = |path: &str, name: &str| {
            let all = document["paths"][path]["get"]["parameters"].as_array().unwrap();
            all.iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
        };
        for (path, name) in [("/chat/people", "users"), ("/chat/search", "q")] {
            assert_eq!(parameter(path, name)["required"], true, "{path}");
        }
        assert_eq!(parameter("/chat/rooms/public", "q")["required"], Value::Null);
        assert_eq!(parameter("/chat/messages", "limit")["schema"]["default"], 50);
        assert_eq!(parameter("/admin/links", "owner")["schema"]["format"], "uuid");
        assert_eq!(parameter("/links/export", "state")["schema"]["type"], "string");
        assert_eq!(document["paths"]["/admin/users/{id}/unfreeze"]["post"].get("requestBody"), None);
        for path in ["/chat/rooms/{id}/invites", "/chat/rooms/{id}/reports/{number}/resolve"] {
            assert_eq!(document["paths"][path]["post"]["requestBody"]["required"], false, "{path}");
        }
    }

    #[test]
    fn routes_are_described_once() {
        for rule in TABLE.iter().filter(|rule| is_of_the_api(rule)) {
            let pattern = rule.pattern.replace(":.*", "");
            let times = described().filter(|one| one.method == rule.method && one.pattern == pattern).count();
            assert_eq!(times, 1, "{} {pattern}", rule.method);
            let one = described().find(|one| one.method == rule.method && one.pattern == pattern).unwrap();
            let silent = ["101", "302"].iter().any(|status| one.statuses.contains(status));
            assert_ne!(
                silent,
                !one.answer.is_empty() || !one.gives.is_empty(),
                "{} {pattern}: its answer",
                rule.method
            );
        }
    }
}
