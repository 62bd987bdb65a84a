//! Links for those who keep order: all links, reports, blocked hosts, domains.

use super::rest::{Answer, Data, filter, page};
use super::visit::{MAX_COMMENT, REASONS, add_report};
use super::wire::{self, Base, body, link_id};
use crate::actors::links::{DomainSettings, Edited, LinksError};
use crate::actors::trading::market_data::wall_clock;
use crate::domain::ids::AccountId;
use crate::domain::link::target::{self, Hosts};
use crate::domain::link::{LinkError, LinkId, RedirectCode, State};
use crate::http::error::ApiError;
use crate::http::ids;
use crate::http::session::{CurrentUser, MaybeUser, record};
use crate::http::v1::page::invalid_cursor;
use crate::http::v1::params::Params;
use crate::http::wire::time;
use crate::persistence::db::Connection;
use crate::persistence::links::reports::{self, Report, Resolved};
use crate::persistence::links::rows::{self, Stored};
use crate::persistence::links::search::Filter;
use crate::persistence::links::{changes, hosts};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// The most characters of a note.
const MAX_NOTE: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewReport {
    /// The link's slug, or its whole short address.
    link: String,
    #[serde(default)]
    domain: String,
    reason: String,
    #[serde(default)]
    comment: String,
}

/// `POST /links/reports`: tells those who keep order about a link. Anybody may.
pub async fn report(state: Data, user: MaybeUser, bytes: web::Bytes) -> Answer {
    let new: NewReport = body(&bytes)?;
    if !REASONS.contains(&new.reason.as_str()) {
        let message = format!("reason must be one of {}", REASONS.join(", "));
        return Err(ApiError::bad_request("invalid_reason", message));
    }
    if new.comment.chars().count() > MAX_COMMENT {
        return Err(LinkError::TooLong { field: "comment", most: MAX_COMMENT }.into());
    }
    let (domain, slug) = named(&state, &new);
    let found = state.links.read(move |conn| rows::by_names(conn, &[(&domain, &slug)])).await?;
    let link = found.into_iter().find(|stored| stored.link.state != State::Deleted).ok_or(LinksError::Unknown)?;
    let reporter = user.0.map(|caller| caller.user);
    add_report(&state, link.link.id, &new.reason, &new.comment, reporter).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// Domain and slug of a report that names either or a whole address.
fn named(state: &Data, new: &NewReport) -> (String, String) {
    let clean = |text: &str| text.replace('\0', "");
    let Some((_, address)) = new.link.split_once("://") else {
        return (clean(&new.domain.to_ascii_lowercase()), clean(&new.link));
    };
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches(['+', '/']);
    let host = wire::bare_host(host);
    if state.links.settings().domains.contains(&host) {
        return (clean(&host), clean(path));
    }
    (String::new(), clean(path.strip_prefix("s/").unwrap_or(path)))
}

/// `GET /admin/links`: everybody's links; as `GET /links`, and of one `owner`.
pub async fn list(state: Data, request: HttpRequest, params: Params) -> Answer {
    let owner = match params.get("owner") {
        None => None,
        Some(text) => {
            let invalid = || ApiError::bad_request("invalid_query", "owner must be a user's id");
            Some(Uuid::parse_str(text).ok().and_then(ids::parse_user).ok_or_else(invalid)?)
        }
    };
    let filter = Filter { owner, ..filter(&params)? };
    let base = Base::of(&request, &state);
    page(&state, filter, |stored| wire::view_for_moderators(&base, stored)).await
}

/// The link's version, and what it is again once its block is lifted: the history of changes knows what it was.
async fn without_block(state: &Data, id: LinkId) -> Result<(i64, State), ApiError> {
    let read = move |conn: &mut Connection| {
        let stored = rows::by_id(conn, id)?;
        Ok((stored, changes::last_of(conn, id, "blocked")?))
    };
    let (stored, block) = state.links.read(read).await?;
    let version = stored.ok_or(LinksError::Unknown)?.version;
    let details: Option<Value> = block.and_then(|block| serde_json::from_str(&block.details).ok());
    // Blocks of earlier versions of this program do not say.
    let was_off = details.is_some_and(|details| details["was"] == State::Disabled.name());
    Ok((version, if was_off { State::Disabled } else { State::Active }))
}

async fn set_blocked(
    state: &Data,
    request: &HttpRequest,
    by: &CurrentUser,
    id: LinkId,
    blocked: bool,
    note: &str,
) -> Result<Stored, ApiError> {
    let (who, now) = (by.0.user, wall_clock());
    let (version, next) = if blocked {
        (None, State::Blocked)
    } else {
        // With the version, since another block that comes meanwhile may have found another state.
        let (version, before) = without_block(state, id).await?;
        (Some(version), before)
    };
    let edit = {
        let note = note.to_owned();
        move |stored: &Stored| {
            let mut link = stored.link.clone();
            let mut details = json!({"note": note});
            let what = match (stored.link.state, blocked) {
                (State::Deleted, _) => return Err(LinksError::Unknown),
                (was @ (State::Active | State::Disabled), true) => {
                    details["was"] = was.name().into();
                    Some("blocked")
                }
                (State::Blocked, false) => Some("unblocked"),
                (State::Active | State::Disabled, false) | (State::Blocked, true) => None,
            };
            link.state = next;
            link.updated_at = now;
            // Without a change of state nothing is written, so what is set here counts for nothing then.
            Ok(Edited { link, limit: None, what, details, by: Some(who), at: now })
        }
    };
    let stored = state.links.edit(id, version, edit).await?;
    let action = if blocked { "link_blocked" } else { "link_unblocked" };
    let detail = json!({"link": id.0.to_string(), "slug": stored.link.slug, "note": note});
    record(state, request, &by.0, action, stored.link.owner, detail).await;
    Ok(stored)
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Note {
    note: String,
}

fn note(bytes: &[u8]) -> Result<String, ApiError> {
    let Note { note } = if bytes.is_empty() { Note::default() } else { body(bytes)? };
    short(note)
}

fn short(note: String) -> Result<String, ApiError> {
    if note.chars().count() > MAX_NOTE || note.contains('\0') {
        return Err(LinkError::TooLong { field: "note", most: MAX_NOTE }.into());
    }
    Ok(note)
}

/// `POST /admin/links/{id}/block`.
pub async fn block(
    state: Data,
    request: HttpRequest,
    by: CurrentUser,
    id: web::Path<String>,
    bytes: web::Bytes,
) -> Answer {
    let note = note(&bytes)?;
    let stored = set_blocked(&state, &request, &by, link_id(&id)?, true, &note).await?;
    resolve_all(&state, stored.link.id, &by, "blocked", &note).await?;
    Ok(HttpResponse::Ok().json(wire::view_for_moderators(&Base::of(&request, &state), &stored)))
}

/// `POST /admin/links/{id}/unblock`.
pub async fn unblock(
    state: Data,
    request: HttpRequest,
    by: CurrentUser,
    id: web::Path<String>,
    bytes: web::Bytes,
) -> Answer {
    let note = note(&bytes)?;
    let stored = set_blocked(&state, &request, &by, link_id(&id)?, false, &note).await?;
    Ok(HttpResponse::Ok().json(wire::view_for_moderators(&Base::of(&request, &state), &stored)))
}

async fn resolve_all(
    state: &Data,
    link: LinkId,
    by: &CurrentUser,
    action: &str,
    note: &str,
) -> Result<usize, ApiError> {
    let done = Resolved { at: wall_clock(), by: by.0.user, action: action.into(), note: note.into() };
    Ok(state.links.write(move |conn| reports::resolve(conn, link, &done)).await?)
}

fn view_report(base: &Base, report: &Report, stored: &Stored) -> Value {
    json!({
        "id": report.id.to_string(),
        "reason": report.reason,
        "comment": report.comment,
        "reporter": report.reporter.map(ids::user),
        "at": time(report.at),
        "link": wire::view_for_moderators(base, stored),
        "resolved": report.resolved.as_ref().map(|done| json!({
            "at": time(done.at), "by": ids::user(done.by), "action": done.action, "note": done.note,
        })),
    })
}

/// `GET /admin/links/reports`: newest first; those that wait unless `all` is given.
pub async fn reports(state: Data, request: HttpRequest, params: Params) -> Answer {
    let page = params.page()?;
    let before = page.after.as_deref().map(|text| text.parse::<i64>().map_err(|_| invalid_cursor())).transpose()?;
    let (open, count) = (params.get("all").is_none(), i64::try_from(page.limit).unwrap_or(100));
    let found = state.links.read(move |conn| reports::list(conn, open, before, count)).await?;
    let base = Base::of(&request, &state);
    let mut response = HttpResponse::Ok();
    if let Some((last, _)) = found.last() {
        response.insert_header(("CB-AFTER", last.id.to_string()));
    }
    Ok(response.json(found.iter().map(|(report, link)| view_report(&base, report, link)).collect::<Vec<_>>()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolve {
    /// `block` or `dismiss`.
    action: String,
    #[serde(default)]
    note: String,
}

/// `POST /admin/links/reports/{id}/resolve`: blocks the link or dismisses the report, and with it all
/// that wait about the same link.
pub async fn resolve(
    state: Data,
    request: HttpRequest,
    by: CurrentUser,
    id: web::Path<String>,
    bytes: web::Bytes,
) -> Answer {
    let Resolve { action, note } = body(&bytes)?;
    let note = short(note)?;
    let unknown = || ApiError::not_found();
    let id: i64 = id.parse().map_err(|_| unknown())?;
    let report = state.links.read(move |conn| reports::get(conn, id)).await?.ok_or_else(unknown)?;
    let action = match action.as_str() {
        "block" => {
            set_blocked(&state, &request, &by, report.link, true, &note).await?;
            "blocked"
        }
        "dismiss" => "dismissed",
        _ => return Err(ApiError::bad_request("invalid_action", "action must be block or dismiss")),
    };
    let resolved = resolve_all(&state, report.link, &by, action, &note).await?;
    if action == "dismissed" {
        let detail = json!({"link": report.link.0.to_string(), "reports": resolved, "note": note});
        record(&state, &request, &by.0, "link_report_dismissed", None, detail).await;
    }
    Ok(HttpResponse::Ok().json(json!({"action": action, "resolved": resolved})))
}

/// `GET /admin/links/hosts`: hosts that no link may lead to.
pub async fn hosts(state: Data) -> Answer {
    let found = state.links.read(hosts::blocked).await?;
    let view = |blocked: &hosts::Blocked| {
        json!({
            "host": blocked.host, "at": time(blocked.at), "by": blocked.by.map(ids::user), "note": blocked.note,
        })
    };
    Ok(HttpResponse::Ok().json(found.iter().map(view).collect::<Vec<_>>()))
}

fn host(text: &str) -> Result<String, ApiError> {
    let known = target::host(text).filter(|host| !host.contains('\0') && host.len() <= 253);
    known.ok_or_else(|| ApiError::bad_request("invalid_host", "this is no host such as bad.example"))
}

/// `PUT /admin/links/hosts/{host}`: links to it, and to names below it, are blocked at once.
pub async fn block_host(
    state: Data,
    request: HttpRequest,
    by: CurrentUser,
    name: web::Path<String>,
    bytes: web::Bytes,
) -> Answer {
    let (host, note, now) = (host(&name)?, note(&bytes)?, wall_clock());
    let blocked = hosts::Blocked { host: host.clone(), at: now, by: Some(by.0.user), note };
    let row = blocked.clone();
    let who = by.0.user;
    state
        .links
        .write(move |conn| {
            hosts::block(conn, &row)?;
            for_all(conn, who, "hosts", &json!({"blocked": row.host}))
        })
        .await?;
    state.links.reload_policy().await?;
    record(&state, &request, &by.0, "link_host_blocked", None, json!({"host": host})).await;
    Ok(HttpResponse::Ok().json(json!({
        "host": blocked.host, "at": time(blocked.at), "by": blocked.by.map(ids::user), "note": blocked.note,
    })))
}

fn for_all(conn: &mut Connection, by: AccountId, what: &str, details: &Value) -> diesel::QueryResult<()> {
    let details = details.to_string();
    changes::add_for_all(conn, &changes::New { by: Some(by), what, details: &details, at: wall_clock() })
}

/// `DELETE /admin/links/hosts/{host}`.
pub async fn unblock_host(state: Data, request: HttpRequest, by: CurrentUser, name: web::Path<String>) -> Answer {
    let (host, who) = (host(&name)?, by.0.user);
    let gone = host.clone();
    let there = state
        .links
        .write(move |conn| {
            let there = hosts::unblock(conn, &gone)?;
            for_all(conn, who, "hosts", &json!({"unblocked": gone}))?;
            Ok(there)
        })
        .await?;
    // Also when it was not there any more: an attempt before this one may have failed after it was taken off.
    state.links.reload_policy().await?;
    if !there {
        return Err(ApiError::not_found());
    }
    record(&state, &request, &by.0, "link_host_unblocked", None, json!({"host": host})).await;
    Ok(HttpResponse::Ok().json(json!({"host": host})))
}

/// `PUT /admin/links/domains/{host}`: the settings of a short domain that the server was started with.
pub async fn set_domain(
    state: Data,
    request: HttpRequest,
    by: CurrentUser,
    name: web::Path<String>,
    bytes: web::Bytes,
) -> Answer {
    let host = name.to_ascii_lowercase();
    if !state.links.settings().domains.contains(&host) {
        return Err(ApiError::new(actix_web::http::StatusCode::NOT_FOUND, "unknown_domain", "no such short domain"));
    }
    let mut settings: DomainSettings = body(&bytes)?;
    let judged = Hosts { blocked: state.links.policy().blocked.clone(), ..Hosts::default() };
    for target in [&mut settings.root, &mut settings.missing].into_iter().flatten() {
        *target = target::check(target, &judged).map_err(LinkError::from)?;
    }
    if let Some(code) = settings.code {
        RedirectCode::try_from(code)?;
    }
    if settings.slug_length.is_some_and(|length| !(4..=32).contains(&length)) {
        return Err(ApiError::bad_request("invalid_slug_length", "slug_length must be 4 to 32"));
    }
    let (who, domain) = (by.0.user, host.clone());
    let text = serde_json::to_string(&settings).unwrap_or_default();
    state
        .links
        .write(move |conn| {
            hosts::set_domain(conn, &domain, &text, who, wall_clock())?;
            for_all(conn, who, "domains", &json!({"domain": domain}))
        })
        .await?;
    state.links.reload_policy().await?;
    let after = serde_json::to_value(&settings).unwrap_or_default();
    record(&state, &request, &by.0, "link_domain_set", None, json!({"domain": host, "after": after})).await;
    Ok(HttpResponse::Ok().json(json!({"domain": host, "settings": after})))
}
