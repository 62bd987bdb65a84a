//! The OpenAPI document of the native API, and the page that shows it.
//!
//! The document is made from the table of permissions, which is compared with the routes by a test: every route is in
//! it, with the credentials that it takes and the errors that follow from that. What a route is for, what it reads and
//! what it answers stands in `operations`, the shapes in `schemas`.

mod link_operations;
mod operations;
mod schemas;

use super::permissions::{Access, Rule, TABLE};
use crate::domain::reason::Reason;
use actix_web::HttpResponse;
use actix_web::http::header;
use operations::{OPERATIONS, Operation};
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

/// Health, metrics and pages are for operators and people.
fn is_of_the_api(rule: &Rule) -> bool {
    !["/health", "/metrics", "/docs", "/s/", "/{slug}"].iter().any(|outside| rule.pattern.starts_with(outside))
        && rule.pattern != "/"
}

fn described() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().chain(link_operations::OPERATIONS)
}

fn operation(rule: &Rule) -> Value {
    let known = described().find(|one| one.method == rule.method && one.pattern == rule.pattern);
    let fallback = Operation { method: rule.method, pattern: rule.pattern, ..Operation::UNKNOWN };
    let one = known.unwrap_or(&fallback);
    let mut parameters: Vec<Value> = rule
        .pattern
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split(['}', ':']).next())
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    for (name, schema, about) in one.query {
        let schema: Value = serde_json::from_str(schema).unwrap_or_else(|_| json!({"type": "string"}));
        parameters.push(json!({"name": name, "in": "query", "description": about, "schema": schema}));
    }
    let section = rule.pattern.split('/').nth(1).unwrap_or_default();
    let id = format!("{} {}", rule.method.to_lowercase(), rule.pattern.replace(['{', '}'], "").replace(":.*", ""));
    let mut operation = json!({
        "operationId": id.replace([' ', '/', '-', '.'], "_").replace("__", "_"),
        "summary": if one.summary.is_empty() { id.as_str() } else { one.summary },
        "tags": [section],
        "parameters": parameters,
        "security": security(rule.access),
        "responses": responses(rule, one),
    });
    let takes_body = !one.body.is_empty() || (known.is_none() && matches!(rule.method, "POST" | "PUT"));
    if let (true, Value::Object(fields)) = (takes_body, &mut operation) {
        let mut media = json!({"schema": reference(one.body)});
        if let (Ok(example), Value::Object(media)) = (serde_json::from_str::<Value>(one.example), &mut media) {
            media.insert("example".into(), example);
        }
        fields.insert("requestBody".into(), json!({"content": {"application/json": media}}));
    }
    operation
}

fn reference(name: &str) -> Value {
    match name.strip_suffix("[]") {
        _ if name.is_empty() => json!({}),
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

fn responses(rule: &Rule, one: &Operation) -> Value {
    let mut all = Map::new();
    if rule.pattern == "/feed" {
        all.insert("101".into(), json!({"description": "The connection is a WebSocket now."}));
    } else {
        let content = json!({"application/json": {"schema": reference(one.answer)}});
        let mut success = json!({"description": "Success.", "content": content});
        if let (true, Value::Object(fields)) = (one.query.iter().any(|(name, ..)| *name == "after"), &mut success) {
            let cursor = |about: &str| json!({"description": about, "schema": {"type": "string"}});
            let headers = json!({
                "CB-BEFORE": cursor("Cursor of the first, newest item."),
                "CB-AFTER": cursor("Cursor of the last, oldest item; an empty page has none."),
            });
            fields.insert("headers".into(), headers);
        }
        all.insert("200".into(), success);
        for status in one.also {
            all.insert((*status).into(), json!({"description": "Success."}));
        }
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
        error("413", "The body is larger than 64 KiB.");
    }
    if matches!(rule.pattern, "/auth/me/photo" | "/chat/rooms/{id}/images") {
        error("415", "This is no PNG, JPEG, GIF or WebP image.");
    }
    error("429", "Too many requests; wait for Retry-After seconds.");
    error("500", "A fault of the server.");
    error("503", "Not now; repeat after Retry-After seconds, with the same client id.");
    if rule.pattern.starts_with("/auth") {
        error("401", "The credentials are wrong.");
        error("403", "Not allowed.");
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
            let known = TABLE.iter().any(|rule| rule.method == one.method && rule.pattern == one.pattern);
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
        // References inside of schemas lead somewhere too.
        let text = document.to_string();
        for rest in text.split("#/components/schemas/").skip(1) {
            let name = rest.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
    }

    #[test]
    fn trading_routes_are_all_described() {
        let ours = [
            "/orders",
            "/products",
            "/currencies",
            "/accounts",
            "/fills",
            "/transfers",
            "/withdrawals",
            "/deposits",
            "/links",
            "/admin/links",
        ];
        for rule in TABLE.iter().filter(|rule| ours.iter().any(|ours| rule.pattern.starts_with(ours))) {
            let described = described().any(|one| one.method == rule.method && one.pattern == rule.pattern);
            assert!(described, "{} {}", rule.method, rule.pattern);
        }
    }
}
