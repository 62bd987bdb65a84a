//! Whether values have the shapes of the document's schemas, and whether the schemas say anything at all.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

fn name_of(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str().and_then(|address| address.rsplit('/').next())
}

/// The schema itself, or the one that it refers to.
pub fn resolved<'a>(api: &'a Value, schema: &'a Value) -> &'a Value {
    name_of(schema).map_or(schema, |name| &api["components"]["schemas"][name])
}

fn kinds(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Why a value does not have the shape of a schema, if it does not. A field that the schema does not name is a misfit
/// too: nobody could know of it.
pub fn misfit(api: &Value, schema: &Value, value: &Value) -> Option<String> {
    let schema = resolved(api, schema);
    if let Some(any) = schema["anyOf"].as_array() {
        let whys: Option<Vec<String>> = any.iter().map(|one| misfit(api, one, value)).collect();
        return whys.map(|whys| whys.join(", and "));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Some(format!("{value} is none of {words:?}"));
    }
    if let Some(only) = schema.get("const")
        && only != value
    {
        return Some(format!("{value} is not {only}"));
    }
    let is = |kind: &str| match kind {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => value.is_null(),
    };
    let kinds = kinds(schema);
    if !kinds.iter().any(|kind| is(kind)) {
        return Some(format!("{value} is no {kinds:?}"));
    }
    match value {
        Value::String(text) => misfit_of_text(schema, text),
        Value::Array(items) => misfit_of_list(api, schema, items),
        Value::Object(fields) => misfit_of_object(api, schema, fields),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn misfit_of_text(schema: &Value, text: &str) -> Option<String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // The only pattern that there is.
    let decimal = |text: &str| {
        let bare = text.strip_prefix('-').unwrap_or(text);
        bare.split_once('.').map_or(digits(bare), |(whole, rest)| digits(whole) && digits(rest))
    };
    let fits = match (schema["pattern"].as_str(), schema["format"].as_str()) {
        (Some(_), _) => decimal(text),
        (None, Some("uuid")) => uuid::Uuid::try_parse(text).is_ok(),
        (None, Some("date-time")) => text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok(),
        (None, _) => true,
    };
    (!fits).then(|| format!("{text:?} does not look like {schema}"))
}

fn misfit_of_list(api: &Value, schema: &Value, items: &[Value]) -> Option<String> {
    let count = items.len() as u64;
    let (least, most) = (schema["minItems"].as_u64().unwrap_or(0), schema["maxItems"].as_u64().unwrap_or(u64::MAX));
    if !(least..=most).contains(&count) {
        return Some(format!("{count} items"));
    }
    let each = |(place, item)| Some(format!("[{place}]: {}", misfit(api, &schema["items"], item)?));
    items.iter().enumerate().find_map(each)
}

fn misfit_of_object(api: &Value, schema: &Value, fields: &Map<String, Value>) -> Option<String> {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(name) = required.into_iter().find(|name| !fields.contains_key(*name)) {
        return Some(format!("{name} is missing"));
    }
    let others = schema.get("additionalProperties").unwrap_or(&Value::Bool(false));
    fields.iter().find_map(|(name, value)| {
        let why = match (schema["properties"].get(name), others) {
            (Some(known), _) => misfit(api, known, value)?,
            (None, Value::Bool(true)) => return None,
            (None, Value::Bool(false)) => "the document does not name it".into(),
            (None, other) => misfit(api, other, value)?,
        };
        Some(format!("{name}: {why}"))
    })
}

/// Collects the places at and below a schema that do not say what stands there, or say that anything may; each named
/// schema is looked at once.
pub fn open_places(
    api: &Value,
    schema: &Value,
    place: &str,
    seen: &mut BTreeSet<String>,
    found: &mut BTreeSet<String>,
) {
    if let Some(name) = name_of(schema) {
        if seen.insert(name.to_owned()) {
            open_places(api, resolved(api, schema), name, seen, found);
        }
        return;
    }
    if let Some(any) = schema["anyOf"].as_array() {
        any.iter().for_each(|one| open_places(api, one, place, seen, found));
        return;
    }
    let kinds = kinds(schema);
    let properties = schema["properties"].as_object();
    let others = &schema["additionalProperties"];
    let open = kinds.is_empty()
        || kinds.contains(&"array") && !schema["items"].is_object()
        || kinds.contains(&"object") && (*others == true || properties.is_none() && others.is_null());
    if open {
        found.insert(place.to_owned());
    }
    for (name, field) in properties.into_iter().flatten() {
        open_places(api, field, &format!("{place}.{name}"), seen, found);
    }
    for inner in [&schema["items"], others].into_iter().filter(|inner| inner.is_object()) {
        open_places(api, inner, place, seen, found);
    }
}

#[test]
fn misfits_are_found() {
    use serde_json::json;
    let schema = json!({
        "type": "object", "required": ["id"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "at": {"type": ["string", "null"], "format": "date-time"},
            "price": {"$ref": "#/components/schemas/Decimal"},
            "side": {"type": "string", "enum": ["buy", "sell"]},
            "rows": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
            "by_name": {"type": "object", "additionalProperties": {"type": "boolean"}},
            "more": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
    });
    let api = json!({"components": {"schemas": {"Decimal": {"type": "string", "pattern": "…"}}}});
    let id = "00000000-0003-80a3-8000-000000000000";
    let good =
        json!({"id": id, "at": null, "price": "-0.5", "side": "buy", "rows": [1], "by_name": {"a": true}, "more": 1});
    assert_eq!(misfit(&api, &schema, &good), None);
    let wrong = [
        ("id", json!("7")),
        ("at", json!("yesterday")),
        ("price", json!("1.")),
        ("price", json!(1)),
        ("side", json!("hold")),
        ("rows", json!([1, "2"])),
        ("rows", json!([1, 2, 3])),
        ("by_name", json!({"a": 1})),
        ("more", json!("1")),
        ("unknown", json!(1)),
    ];
    for (name, value) in wrong {
        let mut bad = good.clone();
        bad[name] = value;
        assert!(misfit(&api, &schema, &bad).is_some_and(|why| why.contains(name)), "{bad}");
    }
    assert!(misfit(&api, &schema, &json!({})).is_some());
    let mut found = BTreeSet::new();
    let open = json!({"type": "object", "properties": {"a": {}, "b": {"type": "array"}, "c": {"type": "string"}}});
    open_places(&api, &open, "It", &mut BTreeSet::new(), &mut found);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["It.a", "It.b"]);
}
