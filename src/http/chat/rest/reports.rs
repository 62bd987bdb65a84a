//! Reports of messages to those who keep order.

use super::messages::one_message;
use super::{Answer, State, body, ok, room_id, run, run_and_show};
use crate::actors::chat::{Outcome, Refused};
use crate::domain::chat::{ChatReject, Command, Message, RoomId};
use crate::http::chat::requests::{self, is_warden};
use crate::http::chat::wire;
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::v1::page::invalid_cursor;
use crate::persistence::chat::{messages, reports};
use crate::persistence::db::Connection;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

/// Reports of one user in all rooms that nobody has dealt with: a room has place for twenty times as many.
const MAX_OPEN_OF_ONE: i64 = 50;

#[derive(Deserialize)]
struct NewReport {
    #[serde(default)]
    reason: String,
}

/// `POST /chat/rooms/{id}/messages/{sequence}/reports`: tells those who keep order.
pub async fn report(state: State, user: CurrentUser, path: web::Path<(String, u64)>, bytes: web::Bytes) -> Answer {
    let NewReport { reason } = body(&bytes)?;
    let (room, message) = one_message(&path)?;
    let who = user.0.user;
    // Counted from the rows, so that of several at once all may pass: it is there against floods, not for exactness.
    let read = move |conn: &mut Connection| reports::open_of(conn, who, room, message);
    let (open, reported) = state.chat.store().read(read).await?;
    if reported {
        let message = "you have reported that message, and nobody has dealt with it yet";
        return Err(ApiError::new(StatusCode::CONFLICT, "already_reported", message));
    }
    if open >= MAX_OPEN_OF_ONE {
        return Err(ChatReject::TooMany.into());
    }
    let done = run(&state, &user, room, Command::Report { message, reason }).await?;
    let Outcome::Reported(number) = done.outcome else { return Err(Refused::OutcomeUnknown.into()) };
    Ok(HttpResponse::Created().json(json!({"room": room.to_string(), "number": number})))
}

/// The query of the list of reports.
#[derive(Debug, Deserialize)]
pub struct ReportsQuery {
    #[serde(default)]
    all: bool,
    /// The last report of the page before, as ROOM.NUMBER.
    before: Option<String>,
    limit: Option<u16>,
}

fn parse_report(text: &str) -> Option<(RoomId, u64)> {
    let (room, number) = text.split_once('.')?;
    Some((wire::parse_room(room)?, number.parse().ok()?))
}

fn demand_warden(user: &CurrentUser) -> Result<(), ApiError> {
    if is_warden(user.0.role) { Ok(()) } else { Err(ChatReject::NotAllowed.into()) }
}

/// `GET /admin/chat/reports`: reports of messages for those who keep order, with the messages.
pub async fn reports(state: State, user: CurrentUser, query: web::Query<ReportsQuery>) -> Answer {
    demand_warden(&user)?;
    let (open, count) = (!query.all, requests::limit(query.limit));
    let before = query.before.as_deref().map(|text| parse_report(text).ok_or_else(invalid_cursor)).transpose()?;
    let read = move |conn: &mut Connection| {
        let Some(reports) = reports::list(conn, open, before, count)? else { return Ok(None) };
        let about = reports.iter().map(|report| messages::get(conn, report.room, report.message));
        let about = about.collect::<diesel::QueryResult<Vec<_>>>()?;
        Ok(Some(reports.into_iter().zip(about).collect::<Vec<_>>()))
    };
    let found = state.chat.store().read(read).await?.ok_or_else(invalid_cursor)?;
    let view = |(report, about): &(reports::Report, Option<Message>)| {
        let mut view = wire::report(report);
        view["about"] = json!(about.as_ref().map(|message| wire::message(message, false)));
        view
    };
    ok(found.iter().map(view).collect())
}

#[derive(Deserialize)]
struct Resolution {
    #[serde(default)]
    note: String,
}

/// `POST /chat/rooms/{id}/reports/{number}/resolve`: a report was dealt with.
pub async fn resolve(state: State, user: CurrentUser, path: web::Path<(String, u64)>, bytes: web::Bytes) -> Answer {
    let Resolution { note } = body(if bytes.is_empty() { b"{}" } else { &bytes })?;
    run_and_show(&state, &user, room_id(&path.0)?, Command::Resolve { report: path.1, note }).await
}
