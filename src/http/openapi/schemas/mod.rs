//! The shapes of bodies and answers, by topic; here the shorthand that they are written in.
//!
//! A field is `name kind`, with a `*` before the name where it is always there. A kind is a word of [`field`], the name
//! of another shape, or words with `|` between them; `?` behind it stands for "or null", `[]` for a list of it, `{}` for
//! an object with any names and values of it.

mod administration;
mod chat;
mod money;
mod people;
mod trading;

use serde_json::{Map, Value, json};

/// Shapes: their names and fields.
pub(super) type Table = &'static [(&'static str, &'static [&'static str])];

const EVERYWHERE: Table =
    &[("Error", &["*message text", "*code text", "part int"]), ("Time", &["*iso time", "*epoch number"])];

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// A kind of field by its shorthand.
fn field(kind: &str) -> Value {
    if let Some(kind) = kind.strip_suffix('?') {
        return or_null(field(kind));
    }
    if let Some(item) = kind.strip_suffix("[]") {
        return json!({"type": "array", "items": field(item)});
    }
    if let Some(value) = kind.strip_suffix("{}") {
        return json!({"type": "object", "additionalProperties": field(value)});
    }
    match kind {
        "decimal" => reference("Decimal"),
        // What may be sent: a string, or a number by its literal text.
        "amount" => json!({"type": ["string", "number"], "examples": ["0.5", 0.5]}),
        "time" => json!({"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00.123456Z"]}),
        "uuid" => json!({"type": "string", "format": "uuid", "examples": ["00000000-0003-80a3-8000-000000000000"]}),
        "text" => json!({"type": "string"}),
        "int" => json!({"type": "integer"}),
        "number" => json!({"type": "number"}),
        "bool" => json!({"type": "boolean"}),
        // Whatever there is to say: its fields depend on what it is about.
        "object" => json!({"type": "object", "additionalProperties": true}),
        "strings" => field("text[]"),
        words if words.contains('|') => json!({"type": "string", "enum": words.split('|').collect::<Vec<_>>()}),
        name => reference(name),
    }
}

fn or_null(mut schema: Value) -> Value {
    if !schema["type"].is_string() {
        return json!({"anyOf": [schema, {"type": "null"}]});
    }
    schema["type"] = json!([schema["type"].take(), "null"]);
    if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        words.push(Value::Null);
    }
    schema
}

/// What a text of this name looks like, where the name alone does not tell.
fn example(name: &str) -> Option<&'static str> {
    Some(match name {
        "product_id" => "BTC-USDT",
        "display_name" => "BTC/USDT",
        "currency" | "base_currency" => "BTC",
        "quote_currency" => "USDT",
        "network" => "bitcoin",
        "email" => "ada@example.org",
        "nick" => "ada",
        "room" => "1099511627776",
        "slug" => "my-link",
        "target" => "https://example.org/a/long/address",
        "short_url" => "https://agora.example/s/my-link",
        "host" => "bad.example",
        "media_type" => "image/png",
        "emoji" => "👍",
        "address" => "192.0.2.7",
        "path" => "agora/trading/venue/order book BTC-USDT",
        _ => return None,
    })
}

/// An object of these fields.
fn object(fields: &[&str]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for text in fields {
        let Some((name, kind)) = text.split_once(' ') else { continue };
        let bare = name.trim_start_matches('*');
        if bare != name {
            required.push(bare);
        }
        let mut schema = field(kind);
        if let (true, Some(text)) = (kind == "text", example(bare)) {
            schema["examples"] = json!([text]);
        }
        properties.insert(bare.to_owned(), schema);
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// Every schema; `reasons` are the codes of what can happen to an order, with the rule behind each.
pub(super) fn all(reasons: &[(&'static str, String)]) -> Value {
    let codes: Vec<_> = reasons.iter().map(|(code, _)| code).collect();
    let rules: Vec<_> = reasons.iter().map(|(code, rule)| format!("`{code}`: {rule}")).collect();
    let mut schemas = json!({
        "Decimal": {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$", "examples": ["0.5"]},
        "Id": field("uuid"),
        "Object": field("object"),
        "Empty": {"type": "object", "additionalProperties": false},
        "Document": {"type": "object", "description": "An OpenAPI document.", "additionalProperties": true,
            "required": ["openapi", "info", "paths"], "properties": {"openapi": {"type": "string", "const": "3.1.0"}}},
        "Candle": {"type": "array", "items": {"type": "number"}, "minItems": 6, "maxItems": 6,
            "description": "[time, low, high, open, close, volume]",
            "examples": [[1_769_860_800, 64_001.5, 64_020, 64_010.25, 64_012, 1.25]]},
        "SparkLines": field("Candle[]{}"),
        "BookRow": {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 3, "maxItems": 3,
            "description": "[price, size, count of orders]; at level 3 [price, size, order id]",
            "examples": [["64004.58", "0.5", 2]]},
        "NoPaymentMethods": {"type": "array", "items": field("Identified"), "maxItems": 0},
        "Scope": field("view|trade|transfer|links"),
        "OutletEvent": field("security|fill|transfer|price_alert"),
        "SettingValue": {
            "type": ["boolean", "integer", "string", "object"],
            "description": "What a setting takes: a switch, a number, a text, or how often something may be done.",
            "properties": {"per_second": {"type": "integer", "minimum": 0}, "burst": {"type": "integer", "minimum": 1}},
            "examples": [true, 500, {"per_second": 10, "burst": 15}],
        },
        "Reason": {"type": "string", "enum": codes, "description": rules.join("\n")},
    });
    let tables = [
        EVERYWHERE,
        trading::SCHEMAS,
        money::SCHEMAS,
        people::SCHEMAS,
        chat::SCHEMAS,
        administration::SCHEMAS,
        super::link_operations::SCHEMAS,
    ];
    if let Value::Object(all) = &mut schemas {
        all.extend(tables.into_iter().flatten().map(|(name, fields)| ((*name).to_owned(), object(fields))));
    }
    schemas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorthand_is_read_from_its_end() {
        assert_eq!(field("int[]?"), json!({"type": ["array", "null"], "items": {"type": "integer"}}));
        assert_eq!(field("a|b?"), json!({"type": ["string", "null"], "enum": ["a", "b", null]}));
        assert_eq!(field("Fee?"), json!({"anyOf": [{"$ref": "#/components/schemas/Fee"}, {"type": "null"}]}));
        assert_eq!(
            field("text[]{}"),
            json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}})
        );
        assert_eq!(
            object(&["*currency text", "fee bool"]),
            json!({
                "type": "object",
                "properties": {"currency": {"type": "string", "examples": ["BTC"]}, "fee": {"type": "boolean"}},
                "required": ["currency"],
            })
        );
    }

    #[test]
    fn no_shape_hides_another_of_its_name() {
        let tables = [
            EVERYWHERE,
            trading::SCHEMAS,
            money::SCHEMAS,
            people::SCHEMAS,
            chat::SCHEMAS,
            administration::SCHEMAS,
            super::super::link_operations::SCHEMAS,
        ];
        let mut names: Vec<&str> = tables.into_iter().flatten().map(|(name, _)| *name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
