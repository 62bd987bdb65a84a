//! A whole collection as a file that an import takes.

use super::bulk::COLUMNS;
use super::rest::{Answer, Data, filter};
use super::wire::{Base, show_rules};
use crate::actors::links::Links;
use crate::domain::ids::AccountId;
use crate::http::session::CurrentUser;
use crate::http::v1::params::Params;
use crate::http::wire::time;
use crate::persistence::links::rows::Stored;
use crate::persistence::links::search::{self, Filter, Sort};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream;
use serde_json::{Map, Value};

/// Links that are read at a time.
const AT_ONCE: i64 = 1_000;

/// A link as a row.
fn fields(base: &Base, stored: &Stored) -> [String; 19] {
    let link = &stored.link;
    let rules = if link.rules.is_empty() { String::new() } else { show_rules(&link.rules).to_string() };
    let number = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
    [
        link.slug.clone(),
        link.domain.clone(),
        link.target.clone(),
        link.title.clone(),
        link.notes.clone(),
        link.tags.join(","),
        u16::from(link.code).to_string(),
        link.starts_at.map(time).unwrap_or_default(),
        link.expires_at.map(time).unwrap_or_default(),
        number(link.clicks.map(|clicks| clicks.most)),
        number(link.clicks.map(|clicks| clicks.left)),
        link.password_hash.clone().unwrap_or_default(),
        rules,
        link.forward_query.to_string(),
        link.state.name().to_owned(),
        time(link.created_at),
        link.id.0.to_string(),
        base.short_url(&link.domain, &link.slug),
        stored.clicks.to_string(),
    ]
}

fn as_csv(base: &Base, links: &[Stored], first: bool) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory cannot fail.
    if first {
        let _ = writer.write_record(COLUMNS);
    }
    for stored in links {
        let _ = writer.write_record(fields(base, stored));
    }
    writer.into_inner().unwrap_or_default()
}

fn as_json(base: &Base, links: &[Stored], first: bool, last: bool) -> Vec<u8> {
    let mut text = String::from(if first { "[" } else { "" });
    for (index, stored) in links.iter().enumerate() {
        if index > 0 || !first {
            text.push(',');
        }
        text.push('\n');
        let fields: Map<String, Value> = COLUMNS
            .iter()
            .zip(fields(base, stored))
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| {
                let value = match *name {
                    "rules" => show_rules(&stored.link.rules),
                    "tags" => stored.link.tags.clone().into(),
                    _ => value.into(),
                };
                ((*name).to_owned(), value)
            })
            .collect();
        text.push_str(&Value::Object(fields).to_string());
    }
    if last {
        text.push_str("\n]\n");
    }
    text.into_bytes()
}

struct Reader {
    links: Links,
    base: Base,
    filter: Filter,
    json: bool,
    first: bool,
}

/// The next part of a file, and the reader for what follows it.
async fn next(state: Option<Reader>) -> Option<(Result<web::Bytes, actix_web::Error>, Option<Reader>)> {
    let mut reader = state?;
    let filter = reader.filter.clone();
    let found = match reader.links.read(move |conn| search::list(conn, &filter)).await {
        Ok(found) => found,
        // The answer breaks off, so that nobody takes a part for the whole.
        Err(error) => return Some((Err(actix_web::error::ErrorServiceUnavailable(error.to_string())), None)),
    };
    let last = (found.len() as i64) < AT_ONCE;
    let bytes = if reader.json {
        as_json(&reader.base, &found, reader.first, last)
    } else {
        as_csv(&reader.base, &found, reader.first)
    };
    reader.first = false;
    reader.filter.after = found.last().map(|stored| search::place(Sort::Created, stored));
    Some((Ok(bytes.into()), (!last).then_some(reader)))
}

fn wanted(params: &Params, owner: AccountId) -> Result<Filter, crate::http::error::ApiError> {
    Ok(Filter {
        owner: Some(owner),
        sort: Sort::Created,
        descending: false,
        after: None,
        count: AT_ONCE,
        ..filter(params)?
    })
}

/// `GET /links/export`: the caller's links, oldest first, as CSV or JSON; filtered as a list is.
pub async fn export(state: Data, request: HttpRequest, user: CurrentUser, params: Params) -> Answer {
    let json = params.word("format", &["csv", "json"])? == Some("json");
    let filter = wanted(&params, user.0.user)?;
    let reader = Reader { links: state.links.clone(), base: Base::of(&request, &state), filter, json, first: true };
    let (kind, name) =
        if json { ("application/json; charset=utf-8", "links.json") } else { ("text/csv; charset=utf-8", "links.csv") };
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(stream::unfold(Some(reader), next)))
}
