//! The supervision tree for administrators: what runs, changes as they happen, and drills.

use super::AppState;
use super::error::ApiError;
use super::session::{CurrentUser, record};
use crate::actors::directory::DirectoryError;
use crate::actors::supervision::{Drill, Failure, NodeView};
use crate::clock;
use crate::domain::ids::AccountId;
use crate::persistence::users::Role;
use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// A comment is sent so often, so that proxies keep a quiet stream open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The longest hang of a drill.
const MAX_HANG: Duration = Duration::from_secs(60);

/// `GET /admin/tree`: every place of the tree as it is now, parents before their children.
///
/// # Errors
/// 403 for everybody but administrators.
pub async fn tree(state: web::Data<AppState>, user: CurrentUser) -> Result<HttpResponse, ApiError> {
    user.0.require(Role::Admin)?;
    Ok(HttpResponse::Ok().json(picture(&state)))
}

/// Every place of the tree. What trades also has its role (the node's, or `twin`), and the root says how far the node
/// is behind the others and what it knows of them.
fn picture(state: &AppState) -> Vec<Value> {
    let role = json!(state.trading.role().state());
    let cluster = state.peers.as_ref().map(|peers| peers.picture(state.metrics.committed()));
    let view = |node: NodeView| {
        let mut shown = serde_json::to_value(&node).unwrap_or_default();
        let Some(fields) = shown.as_object_mut() else { return shown };
        if node.path.starts_with("agora/trading/twins/") {
            fields.insert("role".into(), json!("twin"));
        } else if node.path == "agora" || node.path.starts_with("agora/trading") {
            fields.insert("role".into(), role.clone());
        }
        if node.path == "agora" {
            fields.insert("lag".into(), json!(cluster.as_ref().map_or(0, |cluster| cluster.lag)));
            fields.insert("cluster".into(), json!(cluster));
        }
        shown
    };
    state.tree.snapshot().into_iter().map(view).collect()
}

/// `GET /admin/tree/events`: server-sent events. First `tree` with every place, then one `change` for each change; when
/// the node's role changes, and for a reader that fell behind, a whole `tree` again.
///
/// # Errors
/// 403 for everybody but administrators.
pub async fn events(state: web::Data<AppState>, user: CurrentUser) -> Result<HttpResponse, ApiError> {
    user.0.require(Role::Admin)?;
    // Listening begins before the picture is taken, so no change can fall between the two.
    let (changes, roles) = (state.tree.events(), state.trading.role().watch());
    let whole = |state: &AppState| event("tree", &picture(state));
    let first = whole(&state);
    let follow = stream::unfold((changes, roles, state), move |(mut changes, mut roles, state)| async move {
        let text = tokio::select! {
            change = changes.recv() => match change {
                Ok(change) => event("change", &change),
                Err(RecvError::Lagged(_)) => whole(&state),
                Err(RecvError::Closed) => return None,
            },
            changed = roles.changed() => match changed {
                Ok(()) => whole(&state),
                Err(_) => return None,
            },
            () = tokio::time::sleep(KEEP_ALIVE) => Bytes::from_static(b": still here\n\n"),
        };
        Some((Ok::<_, actix_web::Error>(text), (changes, roles, state)))
    });
    let first = stream::once(async move { Ok(first) });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .streaming(futures_util::StreamExt::chain(first, follow)))
}

fn event(name: &str, content: &impl serde::Serialize) -> Bytes {
    let content = serde_json::to_string(content).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {content}\n\n"))
}

/// What a drill does.
#[derive(Debug, Default, Deserialize)]
pub struct DrillBody {
    /// `panic` (the default), `panic_at_work` or `hang`; for order books also `poison` (their next entry stops them) and
    /// `cure`.
    kind: Option<String>,
    /// How long a hang lasts, in milliseconds; 1000 unless given.
    for_ms: Option<u64>,
}

/// `POST /admin/tree/{path}/crash`: makes an actor fail on purpose. The path is that of `GET /admin/tree`; a user's
/// actor is `accounts/{number}`, which is made by that when it has not been used of late.
///
/// # Errors
/// 403 for everybody but administrators and where drills are not allowed; 404 when nothing runs at the path, or there is
/// no such user; 503 when the user's actor has crashed too often of late.
pub async fn crash(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    path: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    user.0.require(Role::Admin)?;
    drills_allowed(&state)?;
    let invalid = |_| ApiError::bad_request("invalid_body", "the body is not a drill");
    let body: DrillBody =
        if body.is_empty() { DrillBody::default() } else { serde_json::from_slice(&body).map_err(invalid)? };
    if let Some(kind @ ("poison" | "cure")) = body.kind.as_deref() {
        let symbol = path.strip_prefix("agora/trading/venue/order book ").unwrap_or_default();
        let market = state.trading.market(symbol).ok_or_else(ApiError::not_found)?;
        market.berth.poison(kind == "poison");
        record(&state, &request, &user.0, "drill", None, json!({"path": *path, "kind": kind})).await;
        return Ok(HttpResponse::Accepted().json(json!({"path": path.as_str()})));
    }
    let drill = match body.kind.as_deref() {
        None | Some("panic") => Drill::Panic,
        Some("panic_at_work") => Drill::PanicAtWork,
        Some("hang") => Drill::Hang(Duration::from_millis(body.for_ms.unwrap_or(1_000)).min(MAX_HANG)),
        Some(_) => return Err(ApiError::bad_request("invalid_kind", "kind is panic, panic_at_work or hang")),
    };
    match path.strip_prefix("accounts/") {
        Some(number) => {
            let account = AccountId(number.parse().map_err(|_| ApiError::not_found())?);
            state.accounts.user(account).await?;
            let not_drilled =
                |why: DirectoryError| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_drilled", why.to_string());
            state.trading.accounts().drill(&account, drill).map_err(not_drilled)?;
        }
        None if state.tree.drill(&path, drill) => {}
        None => return Err(ApiError::not_found()),
    }
    tracing::warn!(path = path.as_str(), ?drill, by = user.0.user.0, "a drill");
    record(&state, &request, &user.0, "drill", None, json!({"path": *path, "kind": format!("{drill:?}")})).await;
    Ok(HttpResponse::Accepted().json(json!({"path": path.as_str()})))
}

/// Where a drill puts the clock.
#[derive(Debug, Deserialize)]
pub struct ClockBody {
    /// Milliseconds before the system's clock; behind it when negative.
    ahead_ms: i64,
}

/// The most that a drill sets the clock off, in milliseconds: thirty days.
const MAX_AHEAD_MS: i64 = 30 * 86_400_000;

/// `PUT /admin/drills/clock`: sets this process's clock off the system's; 0 puts it right.
///
/// # Errors
/// 400 when it is no such number; 403 for everybody but administrators and where drills are not allowed.
pub async fn set_clock(
    state: web::Data<AppState>,
    user: CurrentUser,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    user.0.require(Role::Admin)?;
    drills_allowed(&state)?;
    let invalid =
        || ApiError::bad_request("invalid_body", "the body must be {\"ahead_ms\": NUMBER} of at most thirty days");
    let ClockBody { ahead_ms } = serde_json::from_slice(&body).map_err(|_| invalid())?;
    if !(-MAX_AHEAD_MS..=MAX_AHEAD_MS).contains(&ahead_ms) {
        return Err(invalid());
    }
    clock::set_ahead(ahead_ms * 1_000);
    tracing::warn!(ahead_ms, by = user.0.user.0, "a drill has set the clock");
    record(&state, &request, &user.0, "drill", None, json!({"clock_ahead_ms": ahead_ms})).await;
    Ok(HttpResponse::Ok().json(json!({"ahead_ms": ahead_ms})))
}

fn drills_allowed(state: &AppState) -> Result<(), ApiError> {
    if state.allow_drills {
        return Ok(());
    }
    let message = "this server was not started with --allow-drills";
    Err(ApiError::new(StatusCode::FORBIDDEN, "drills_not_allowed", message))
}

/// `POST /admin/tree/{path}/revive`: starts a faulted or stopped actor again, or restarts one that runs, with a fresh
/// budget; answers when it is ready.
///
/// # Errors
/// 403 for everybody but administrators; 404 when there is no such place; 503 with the reason when it does not start.
pub async fn revive(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    user.0.require(Role::Admin)?;
    tracing::warn!(path = path.as_str(), by = user.0.user.0, "an actor is started again by hand");
    let revived = state.tree.revive(&path).await;
    if !matches!(revived, Err(Failure::Unknown(_))) {
        let outcome = revived.as_ref().err().map(ToString::to_string);
        record(&state, &request, &user.0, "revived", None, json!({"path": *path, "failure": outcome})).await;
    }
    match revived {
        Ok(()) => Ok(HttpResponse::Ok().json(json!({"path": path.as_str()}))),
        Err(Failure::Unknown(_)) => Err(ApiError::not_found()),
        Err(failure) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_revived", failure.to_string())),
    }
}
