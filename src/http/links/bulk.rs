//! Many links at once: a list as JSON, or a whole collection from a file.
//!
//! Every row has its own outcome, and rows that are there already change nothing: an import that broke
//! off is simply run again.

use super::import_body;
use super::rest::{Answer, Data, count};
use super::wire::{self, Base, Body, body};
use crate::actors::links::{LinksError, Made, NewLink};
use crate::actors::trading::market_data::wall_clock;
use crate::auth::{Accounts, Caller};
use crate::domain::link::edit::Patch;
use crate::domain::link::target::Hosts;
use crate::domain::link::{ClickLimit, State, tags_of_export};
use crate::domain::time::Timestamp;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::wire::parse_time;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Links of one list.
const MOST: usize = 500;
/// Passwords in clear of one request: each costs a slow hash.
const PASSWORDS: usize = 50;
/// The longest row of a file, bytes.
const MOST_OF_A_ROW: usize = 64 * 1024;
/// Imports whose rows are in memory at the same time; others wait.
static READ_AT_ONCE: Semaphore = Semaphore::const_new(2);
/// How long they wait for their turn.
const TURN_WITHIN: Duration = Duration::from_secs(30);
/// Rows that are read while others are being made: so many pieces of so many rows.
const PIECES: usize = 2;
const PIECE: usize = 4_000;

/// The columns of a file. Those after `created_at` are told, not taken.
pub(super) const COLUMNS: [&str; 19] = [
    "slug",
    "domain",
    "target",
    "title",
    "notes",
    "tags",
    "code",
    "starts_at",
    "expires_at",
    "max_clicks",
    "clicks_left",
    "password_hash",
    "rules",
    "forward_query",
    "state",
    "created_at",
    "id",
    "short_url",
    "clicks",
];

/// A row of a file.
#[derive(Debug, Default)]
struct Row {
    body: Body,
    password_hash: Option<String>,
    clicks_left: Option<u32>,
    state: Option<State>,
    created_at: Option<Timestamp>,
    /// As it stands in the file: a time that is over is taken, which a new link's may not be.
    times: [Option<Timestamp>; 2],
    /// Whether an export has written it: it says what only an export tells.
    told: bool,
}

/// What became of a row.
#[derive(Serialize)]
struct Outcome {
    row: usize,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Serialize)]
struct Report {
    rows: usize,
    created: usize,
    unchanged: usize,
    failed: usize,
    results: Vec<Outcome>,
}

fn failed(row: usize, code: &'static str, message: String) -> Outcome {
    Outcome { row, status: "failed", id: None, short_url: None, code: Some(code), message: Some(message) }
}

type Read = Result<NewLink, (&'static str, String)>;

/// Makes what could be read; the outcomes are in the order of the rows. Rows come in pieces, of which the next one is
/// read while one is being made.
async fn make_all(state: &AppState, base: &Base, mut pieces: impl Stream<Item = Vec<Read>> + Unpin) -> Report {
    let mut results: Vec<Outcome> = Vec::new();
    let mut made = Vec::new();
    let mut row = 0;
    while let Some(piece) = pieces.next().await {
        let mut piece = piece.into_iter().peekable();
        while piece.peek().is_some() {
            let (mut numbers, mut new) = (Vec::new(), Vec::new());
            for read in piece.by_ref().take(state.links.at_once()) {
                row += 1;
                match read {
                    Ok(link) => {
                        numbers.push(row);
                        new.push(link);
                    }
                    Err((code, message)) => results.push(failed(row, code, message)),
                }
            }
            // What became of the rows before is written down while these are made.
            let before = std::mem::take(&mut made);
            let note = async { results.extend(before.into_iter().map(|(row, made)| outcome(base, row, made))) };
            let (created, ()) = futures_util::join!(create_all(state, new), note);
            made = numbers.into_iter().zip(created).collect();
        }
    }
    results.extend(made.into_iter().map(|(row, made)| outcome(base, row, made)));
    results.sort_by_key(|outcome| outcome.row);
    let of = |status: &str| results.iter().filter(|outcome| outcome.status == status).count();
    let (created, unchanged) = (of("created"), of("unchanged"));
    Report { rows: row, created, unchanged, failed: row - created - unchanged, results }
}

/// One outcome for each of these, also when all failed together.
async fn create_all(state: &AppState, new: Vec<NewLink>) -> Vec<Result<Made, LinksError>> {
    let count = new.len();
    if count == 0 {
        return Vec::new();
    }
    state.links.create(new).await.unwrap_or_else(|error| vec![Err(error); count])
}

fn outcome(base: &Base, row: usize, made: Result<Made, LinksError>) -> Outcome {
    let (status, link) = match &made {
        Ok(Made::Created(link)) => ("created", link.as_ref()),
        Ok(Made::Unchanged(stored)) => ("unchanged", &stored.link),
        Ok(Made::Collided) => {
            return failed(row, LinksError::SlugTaken.code(), LinksError::SlugTaken.to_string());
        }
        Err(error) => return failed(row, error.code(), error.to_string()),
    };
    let short_url = Some(base.short_url(&link.domain, &link.slug));
    Outcome { row, status, id: Some(link.id.0.to_string()), short_url, code: None, message: None }
}

fn refusal(error: &ApiError) -> (&'static str, String) {
    (error.code(), error.to_string())
}

/// `POST /links/bulk`: a list of links as `POST /links` takes them.
pub async fn create(state: Data, request: HttpRequest, user: CurrentUser, bytes: web::Bytes) -> Answer {
    let values: Vec<Value> = body(&bytes)?;
    if values.is_empty() || values.len() > MOST {
        return Err(ApiError::bad_request("invalid_body", format!("the body is a list of 1 to {MOST} links")));
    }
    count(&state, &request, Some(&user.0)).await?;
    let hosts = state.links.hosts(wire::sent_host(&request).map(wire::bare_host).as_deref());
    let mut passwords = 0;
    let mut rows = Vec::with_capacity(values.len());
    for value in values {
        rows.push(one(&state, &user.0, value, &hosts, &mut passwords).await.map_err(|error| refusal(&error)));
    }
    let report = make_all(&state, &Base::of(&request, &state), stream::iter([rows])).await;
    Ok(HttpResponse::Ok().json(report))
}

async fn one(
    state: &AppState,
    caller: &Caller,
    value: Value,
    hosts: &Hosts,
    passwords: &mut usize,
) -> Result<NewLink, ApiError> {
    let mut body: Body = serde_json::from_value(value)
        .map_err(|error| ApiError::bad_request("invalid_body", format!("the link cannot be read: {error}")))?;
    if body.password.as_ref().is_some_and(Option::is_some) {
        *passwords += 1;
        if *passwords > PASSWORDS {
            let message = format!("at most {PASSWORDS} links of a list have a password");
            return Err(ApiError::bad_request("too_many_passwords", message));
        }
    }
    let patch = body.patch(state).await?;
    wire::make(&state.links, &body, patch, Some(caller.user), hosts, wall_clock())
}

/// The pattern of the route whose bodies are larger than others.
pub const IMPORT: &str = "/links/import";

/// `POST /links/import`: CSV with a line of column names, or a JSON list with the same names.
pub async fn import(state: Data, request: HttpRequest, user: CurrentUser, payload: web::Payload) -> Answer {
    count(&state, &request, Some(&user.0)).await?;
    let body = import_body::of(&request, &state.links, user.0.user, payload).await?;
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (json, links, owner) = (kind.contains("json"), state.links.clone(), user.0.user);
    let hosts = state.links.hosts(wire::sent_host(&request).map(wire::bare_host).as_deref());
    let base = Base::of(&request, &state);
    let (pieces, read) = tokio::sync::mpsc::channel(PIECES);
    let (begun, beginning) = tokio::sync::oneshot::channel();
    // What is read takes several times the room of what was sent.
    let _turn = tokio::time::timeout(TURN_WITHIN, READ_AT_ONCE.acquire()).await.map_err(|_| import_body::busy())?;
    // A hundred thousand addresses to read: not on a thread that serves requests.
    let reading = web::block(move || {
        let most = links.allowances().import_rows;
        let rows = if json { read_json(&body.bytes, most) } else { read_csv(&body.bytes, most) };
        // The rows have what they need of it.
        drop(body);
        let (rows, said) = match rows {
            Ok(rows) => (rows, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        // Who asked may have hung up; then nobody takes the pieces either.
        let _ = begun.send(said);
        let now = wall_clock();
        let make = |row: Result<Row, ApiError>| row.and_then(|row| restore(&links, row, owner, &hosts, now));
        let mut rows = rows.into_iter().map(|row| make(row).map_err(|error| refusal(&error))).peekable();
        while rows.peek().is_some() && pieces.blocking_send(rows.by_ref().take(PIECE).collect()).is_ok() {}
    });
    let work = async {
        beginning.await.map_err(|_| ApiError::from(LinksError::Overloaded))??;
        let pieces = stream::unfold(read, |mut read| async { read.recv().await.map(|piece| (piece, read)) });
        Ok::<_, ApiError>(make_all(&state, &base, std::pin::pin!(pieces)).await)
    };
    let (broke, report) = futures_util::join!(reading, work);
    // Rows that were not read at all are not told as if there were none.
    broke.map_err(|_| ApiError::from(LinksError::Overloaded))?;
    Ok(HttpResponse::Ok().json(report?))
}

/// A link of a row, with what an export says beyond a new link.
fn restore(
    links: &crate::actors::links::Links,
    mut row: Row,
    owner: crate::domain::ids::AccountId,
    hosts: &Hosts,
    now: Timestamp,
) -> Result<NewLink, ApiError> {
    let mut patch: Patch = row.body.plain_patch()?;
    let tags = if row.told { patch.tags.take() } else { None };
    let mut new = wire::make(links, &row.body, patch, Some(owner), hosts, now)?;
    // A row without a slug stands for any link that is the same to those who follow it, however often that was.
    new.reuse = true;
    let link = &mut new.link;
    if let Some(tags) = tags {
        link.tags = tags_of_export(tags)?;
    }
    if let Some(hash) = row.password_hash {
        if hash.len() > 200 || !Accounts::takes_shared_hash(&hash) {
            let message = "password_hash must be one that an export has told";
            return Err(ApiError::bad_request("invalid_password", message));
        }
        link.password_hash = Some(hash);
    }
    if let (Some(left), Some(clicks)) = (row.clicks_left, link.clicks) {
        link.clicks = Some(ClickLimit { left: left.min(clicks.most), ..clicks });
    }
    let [starts_at, expires_at] = row.times;
    link.starts_at = starts_at;
    link.expires_at = expires_at;
    match row.state {
        Some(State::Deleted) => return Err(ApiError::bad_request("invalid_state", "a deleted link is not imported")),
        Some(state) => link.state = state,
        None => {}
    }
    link.created_at = row.created_at.unwrap_or(now).min(now);
    Ok(new)
}

fn too_many(most: usize) -> ApiError {
    ApiError::bad_request("too_many_rows", format!("an import has at most {most} rows"))
}

/// The records of a file with what ends them, as the reader of CSV takes it apart.
struct Records<'a>(&'a [u8]);

/// Where in a record a byte is.
#[derive(Clone, Copy)]
enum Place {
    Beginning,
    Field,
    Quotes,
    /// After a quotation mark that ends a field, unless another one follows.
    Quote,
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        // Empty lines are no records.
        let begin = self.0.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let left = self.0.get(begin..)?;
        let mut place = Place::Beginning;
        let ends = |byte: &u8| {
            place = match (place, byte) {
                (Place::Quotes, b'"') => Place::Quote,
                (Place::Quotes, _) | (Place::Beginning | Place::Quote, b'"') => Place::Quotes,
                (_, b',') => Place::Beginning,
                (_, b'\r' | b'\n') => return true,
                (_, _) => Place::Field,
            };
            false
        };
        let length = left.iter().position(ends).map_or(left.len(), |end| end + 1);
        let (record, left) = left.split_at_checked(length)?;
        self.0 = left;
        Some(record)
    }
}

/// A file without the records that are too long, and the places of these: the reader would make room for them.
fn without_long_rows(bytes: &[u8]) -> (Cow<'_, [u8]>, Vec<usize>) {
    let is_long = |record: &[u8]| record.len() > MOST_OF_A_ROW;
    if !Records(bytes).any(is_long) {
        return (bytes.into(), Vec::new());
    }
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for (place, record) in Records(bytes).enumerate() {
        if is_long(record) { long.push(place) } else { short.extend_from_slice(record) }
    }
    (short.into(), long)
}

/// The rows of a file, at most so many. A row takes many times the room of the few bytes that may stand for it, so more
/// of them are not even read.
fn read_csv(bytes: &[u8], most: usize) -> Result<Vec<Result<Row, ApiError>>, ApiError> {
    // Spreadsheets put a mark before the first column's name.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (bytes, long) = without_long_rows(bytes);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(&*bytes);
    let invalid = |error: csv::Error| ApiError::bad_request("invalid_csv", format!("the CSV cannot be read: {error}"));
    let too_long = |code| ApiError::bad_request(code, format!("a row has at most {MOST_OF_A_ROW} bytes"));
    if long.first() == Some(&0) {
        return Err(too_long("invalid_csv"));
    }
    let names: Vec<String> = reader.headers().map_err(invalid)?.iter().map(str::to_ascii_lowercase).collect();
    if let Some(unknown) = names.iter().find(|name| !COLUMNS.contains(&name.as_str())) {
        let message = format!("there is no column {unknown:.60}; the columns are {}", COLUMNS.join(", "));
        return Err(ApiError::bad_request("unknown_column", message));
    }
    if !names.iter().any(|name| name == "target") {
        return Err(ApiError::bad_request("invalid_csv", "the first line must name the columns, target among them"));
    }
    let mut rows = Vec::new();
    let (mut long, mut records) = (long.into_iter().peekable(), reader.records());
    loop {
        // The line with the names comes before the first row.
        let row = if long.next_if_eq(&(rows.len() + 1)).is_some() {
            Err(too_long("invalid_row"))
        } else {
            match records.next() {
                None => return Ok(rows),
                Some(Ok(record)) => row(names.iter().map(String::as_str).zip(record.iter())),
                Some(Err(error)) => Err(invalid(error)),
            }
        };
        if rows.len() == most {
            return Err(too_many(most));
        }
        rows.push(row);
    }
}

fn read_json(bytes: &[u8], most: usize) -> Result<Vec<Result<Row, ApiError>>, ApiError> {
    // Counted first, which takes no room.
    if body::<Vec<IgnoredAny>>(bytes)?.len() > most {
        return Err(too_many(most));
    }
    let unreadable = |error| ApiError::bad_request("invalid_body", format!("the body cannot be read: {error}"));
    let rows: Vec<&RawValue> = serde_json::from_slice(bytes).map_err(unreadable)?;
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let list = |value: &Value| -> Option<Vec<String>> {
        let items = value.as_array().filter(|items| items.iter().all(Value::is_string))?;
        Some(items.iter().filter_map(Value::as_str).filter(|tag| !tag.is_empty()).map(str::to_owned).collect())
    };
    let read = |raw: &RawValue| {
        let invalid = || ApiError::bad_request("invalid_row", "the row is no object, or too long");
        let short = Some(raw.get()).filter(|text| text.len() <= MOST_OF_A_ROW).ok_or_else(invalid)?;
        let mut fields: serde_json::Map<String, Value> = serde_json::from_str(short).map_err(|_| invalid())?;
        if let Some(unknown) = fields.keys().find(|name| !COLUMNS.contains(&name.as_str())) {
            return Err(ApiError::bad_request("unknown_column", format!("there is no field {unknown:.60}")));
        }
        // Tags in a list need no separator.
        let tags = fields.get("tags").and_then(list);
        if tags.is_some() {
            fields.remove("tags");
        }
        let texts: Vec<(String, String)> = fields.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        let mut row = row(texts.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
        row.body.tags = tags.or(row.body.tags);
        Ok(row)
    };
    Ok(rows.into_iter().map(read).collect())
}

fn row<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Row, ApiError> {
    let invalid = |name: &str| ApiError::bad_request("invalid_row", format!("{name} cannot be read"));
    let mut row = Row::default();
    let mut tags = "";
    for (name, text) in fields.filter(|(_, text)| !text.is_empty()) {
        if text.contains('\0') {
            return Err(invalid(name));
        }
        let number = || text.parse::<u32>().map_err(|_| invalid(name));
        match name {
            "slug" => row.body.slug = Some(text.into()),
            "domain" => row.body.domain = Some(text.into()),
            "target" => row.body.target = Some(text.into()),
            "title" => row.body.title = Some(text.into()),
            "notes" => row.body.notes = Some(text.into()),
            "tags" => tags = text,
            "code" => row.body.code = Some(text.parse().map_err(|_| invalid(name))?),
            "starts_at" => row.times[0] = Some(parse_time(text, name)?),
            "expires_at" => row.times[1] = Some(parse_time(text, name)?),
            "max_clicks" => row.body.max_clicks = Some(Some(number()?)),
            "clicks_left" => row.clicks_left = Some(number()?),
            "password_hash" => row.password_hash = Some(text.into()),
            "rules" => row.body.rules = Some(serde_json::from_str(text).map_err(|_| invalid(name))?),
            "forward_query" => {
                row.body.forward_query = Some(match text {
                    "true" | "1" | "yes" => true,
                    "false" | "0" | "no" => false,
                    _ => return Err(invalid(name)),
                });
            }
            "state" => row.state = Some(State::from_name(text).ok_or_else(|| invalid(name))?),
            "created_at" => row.created_at = Some(parse_time(text, name)?),
            // The rest of an export is told, not taken.
            _ => row.told = true,
        }
    }
    if !tags.is_empty() {
        // An export separates them by commas alone; people use either.
        let separates = |sign: char| sign == ',' || (sign == ';' && !row.told);
        let tags = tags.split(separates).map(str::trim).filter(|tag| !tag.is_empty());
        row.body.tags = Some(tags.map(str::to_owned).collect());
    }
    if let [Some(start), Some(end)] = row.times
        && end <= start
    {
        return Err(crate::domain::link::LinkError::Times.into());
    }
    Ok(row)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_row_by_row() {
        let file = "\u{feff}Slug,target,tags,max_clicks,rules\r\nabc,https://a.example/,\"x, y\",5,\r\n,https://b.example/,,many,\r\n";
        let rows = read_csv(file.as_bytes(), 9).unwrap();
        let first = rows[0].as_ref().unwrap();
        assert_eq!(first.body.slug.as_deref(), Some("abc"));
        assert_eq!(first.body.tags.as_deref().unwrap(), ["x", "y"]);
        assert_eq!(first.body.max_clicks, Some(Some(5)));
        assert_eq!(rows[1].as_ref().unwrap_err().code(), "invalid_row");
        assert_eq!(read_csv(b"target,color\n", 9).unwrap_err().code(), "unknown_column");
        assert_eq!(read_csv(b"slug\nabc\n", 9).unwrap_err().code(), "invalid_csv");
        let ragged = read_csv(b"slug,target\nabc\nx,https://a.example/\n", 9).unwrap();
        assert!(ragged[0].is_err() && ragged[1].is_ok(), "one bad line costs that line");
    }

    #[test]
    fn a_list_says_the_same_as_a_file() {
        let list =
            br#"[{"slug": "abc", "target": "https://a.example/", "tags": ["x", "y"], "max_clicks": 5, "title": null}]"#;
        let row = read_json(list, 9).unwrap().remove(0).unwrap();
        assert_eq!(row.body.tags.as_deref().unwrap(), ["x", "y"]);
        assert_eq!((row.body.max_clicks, row.body.title), (Some(Some(5)), None));
        assert!(read_json(br#"[{"color": 1}]"#, 9).unwrap()[0].is_err());
    }

    #[test]
    fn people_separate_tags_by_either_sign_and_exports_by_commas() {
        let csv = |file: &str| read_csv(file.as_bytes(), 9).unwrap().remove(0).unwrap().body.tags.unwrap();
        assert_eq!(csv("target,tags\nhttps://a.example/,\"x; y,z\"\n"), ["x", "y", "z"]);
        assert_eq!(csv("target,tags,id\nhttps://a.example/,\"x;y,z\",7\n"), ["x;y", "z"]);
        let json = |text: &str| read_json(text.as_bytes(), 9).unwrap().remove(0).unwrap().body.tags.unwrap();
        assert_eq!(json(r#"[{"tags": ["x;y", "z"]}]"#), ["x;y", "z"], "it is refused later, not taken apart");
        assert_eq!(json(r#"[{"tags": "x;y,z", "id": "7"}]"#), ["x;y", "z"], "as earlier versions have written it");
        assert_eq!(json(r#"[{"tags": "x;y,z"}]"#), ["x", "y", "z"]);
    }

    #[test]
    fn a_file_is_taken_apart_as_its_reader_does() {
        for file in [
            "a,b\nc,d",
            "\n\r\na,\"b\nc\"\r\nd,e\r\n",
            "a,\"b\"\"\n\"\"c\"\nd,e\n\n\n",
            "a\"b,c\"\nd,e\"f\ng,\"h\"i\"\nj",
            "a\rb\r\rc",
            "a,\"b\nc",
            "\"\"\n\",\"\n,\"\n",
            "",
            "\n\r",
        ] {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file.as_bytes());
            let whole: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            let parts = Records(file.as_bytes()).map(|record| {
                let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(record);
                reader.records().next().unwrap().unwrap()
            });
            assert_eq!(parts.collect::<Vec<_>>(), whole, "{file:?}");
        }
    }

    #[test]
    fn what_is_too_much_is_not_read() {
        let (few, many) = ("target\na\nb\n", "target\na\nb\nc\n");
        assert_eq!(read_csv(few.as_bytes(), 2).unwrap().len(), 2);
        assert_eq!(read_csv(many.as_bytes(), 2).unwrap_err().code(), "too_many_rows");
        let long = "a".repeat(MOST_OF_A_ROW + 1);
        let file = format!("target\na\n{long}\n\n\"b,\"\"\n{long}\"\r\n\"c\nd\"\n{}", ",".repeat(MOST_OF_A_ROW + 1));
        let read = read_csv(file.as_bytes(), 9).unwrap();
        let codes = read.iter().map(|row| row.as_ref().map_or_else(ApiError::code, |_| ""));
        let refused = "invalid_row";
        assert_eq!(codes.collect::<Vec<_>>(), ["", refused, refused, "", refused], "they cost those rows alone");
        assert_eq!(read[3].as_ref().unwrap().body.target.as_deref(), Some("c\nd"));
        assert_eq!(read_csv(file.as_bytes(), 4).unwrap_err().code(), "too_many_rows");
        assert_eq!(read_csv(format!("target,{long}\na\n").as_bytes(), 9).unwrap_err().code(), "invalid_csv");
        assert_eq!(read_json(b"[{},{}]", 2).unwrap().len(), 2);
        assert_eq!(read_json(b"[{},{},{}]", 2).unwrap_err().code(), "too_many_rows");
        let long = format!(r#"[{{"notes": "{}"}}, 7, {{"target": "https://a.example/"}}]"#, "a".repeat(MOST_OF_A_ROW));
        let read = read_json(long.as_bytes(), 9).unwrap();
        assert_eq!(read.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(read_json(b"{}", 9).unwrap_err().code(), "invalid_body");
    }
}
