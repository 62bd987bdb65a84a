//! What those who run the venue do with accounts: look, freeze, give roles, read the audit log.

use super::admin_markets::{Sweep, cancel_all_of};
use super::auth::{Answer, read, user_view};
use super::page::{self, PageQuery};
use crate::actors::trading::ledger::LedgerCommand;
use crate::domain::ids::AccountId;
use crate::domain::ledger::{Ignored, LedgerOutcome};
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::session::{CurrentUser, client_address, record, to_its_end};
use crate::http::wire::time;
use crate::http::{AppState, ids};
use crate::persistence::audit::{Entry, Filter};
use crate::persistence::sessions::SessionId;
use crate::persistence::users::{Role, User};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;
use uuid::Uuid;

fn view(user: &User) -> Value {
    let mut view = user_view(user);
    view["frozen"] = user.frozen.into();
    view["demo"] = user.demo.into();
    view["last_sign_in_at"] = user.last_sign_in_at.map(time).into();
    view
}

/// What an administrator does to an account, for the audit log.
fn entry(
    action: &'static str,
    (admin, address): (AccountId, Option<IpAddr>),
    subject: AccountId,
    detail: Value,
) -> Entry {
    Entry { action, actor: Some(admin), subject: Some(subject), address, detail }
}

/// The user of a path.
async fn named(state: &AppState, id: &str) -> Result<User, ApiError> {
    let id = Uuid::try_parse(id).ok().and_then(ids::parse_user).ok_or_else(ApiError::not_found)?;
    Ok(state.accounts.user(id).await?)
}

/// The query of `GET /admin/users`.
#[derive(Deserialize)]
pub struct UsersQuery {
    #[serde(default)]
    email: Option<String>,
    #[serde(flatten)]
    page: Paging,
}

/// Paging, as text: flattened fields cannot be numbers.
#[derive(Deserialize)]
struct Paging {
    limit: Option<String>,
    after: Option<String>,
    before: Option<String>,
}

impl Paging {
    fn read(self) -> Result<(i64, Option<u64>, Option<u64>), ApiError> {
        let page = PageQuery::new(self.limit.as_deref(), self.after, self.before)?;
        let (after, before) = page.numbers()?;
        Ok((i64::try_from(page.limit).unwrap_or(i64::MAX), after, before))
    }
}

/// `GET /admin/users`: by rising id; `after` is the number of the last user of the page before.
pub async fn users(state: web::Data<AppState>, query: web::Query<UsersQuery>) -> Answer {
    let UsersQuery { email, page } = query.into_inner();
    let (limit, after, _) = page.read()?;
    let above = AccountId(u32::try_from(after.unwrap_or(0)).map_err(|_| page::invalid_cursor())?);
    let found = state.accounts.search_users(email.unwrap_or_default(), above, limit).await?;
    let cursors = found.first().zip(found.last()).map(|(first, last)| (first.id.0.to_string(), last.id.0.to_string()));
    Ok(page::answer(&found.iter().map(view).collect::<Vec<_>>(), cursors))
}

/// `GET /admin/users/{id}`.
pub async fn user(state: web::Data<AppState>, id: web::Path<String>) -> Answer {
    let user = named(&state, &id).await?;
    let sessions = state.accounts.count_sessions(user.id).await?;
    let keys = state.accounts.keys(user.id).await?.len();
    let balances = state.trading.balances(user.id).await?.unwrap_or_default();
    let mut view = view(&user);
    view["sessions"] = sessions.into();
    view["api_keys"] = keys.into();
    let shown = state.trading.currencies().iter().zip(&balances).map(|(currency, balance)| {
        json!({
            "currency": currency.code,
            "available": crate::http::wire::amount(balance.available, currency),
            "hold": crate::http::wire::amount(balance.hold, currency),
        })
    });
    view["balances"] = shown.collect();
    Ok(HttpResponse::Ok().json(view))
}

/// The body of `PUT /admin/users/{id}/role`.
#[derive(Deserialize)]
struct NewRole {
    role: String,
}

/// `PUT /admin/users/{id}/role`: the user's sessions end, since their tokens name the old role.
pub async fn set_role(
    state: web::Data<AppState>,
    request: HttpRequest,
    admin: CurrentUser,
    id: web::Path<String>,
    body: web::Bytes,
) -> Answer {
    let NewRole { role } = read(&body, "role")?;
    let unknown = || ApiError::bad_request("invalid_role", "the role must be user, support, moderator or admin");
    let role = Role::from_name(&role).ok_or_else(unknown)?;
    let user = named(&state, &id).await?;
    if user.id == admin.0.user {
        return Err(ApiError::bad_request("own_role", "nobody changes the own role, so that somebody is left"));
    }
    let by = (admin.0.user, client_address(&request, &state));
    let changed = move |before: &User| {
        let detail = json!({"before": before.role.name(), "after": role.name()});
        Some(entry("role_changed", by, before.id, detail))
    };
    state.accounts.set_role_noted(user.id, role, changed).await?;
    Ok(HttpResponse::Ok().json(view(&User { role, ..user })))
}

/// The body of `POST /admin/users/{id}/freeze`.
#[derive(Default, Deserialize)]
struct Freeze {
    #[serde(default)]
    cancel_orders: bool,
    #[serde(default)]
    reason: String,
}

/// `POST /admin/users/{id}/freeze`: no more orders and withdrawals; open orders are canceled on request.
pub async fn freeze(
    state: web::Data<AppState>,
    request: HttpRequest,
    admin: CurrentUser,
    id: web::Path<String>,
    body: web::Bytes,
) -> Answer {
    to_its_end(async move {
        let body: Freeze = if body.is_empty() { Freeze::default() } else { read(&body, "cancel_orders and reason")? };
        let user = named(&state, &id).await?;
        let frozen = set_frozen(&state, user.id, true).await;
        let mut sweep = if body.cancel_orders { cancel_all_of(&state, user.id).await } else { Sweep::default() };
        sweep.aim(frozen);
        let after = sweep.after(true);
        let detail = sweep.audited(json!({"before": user.frozen, "after": after, "reason": body.reason}));
        record(&state, &request, &admin.0, "frozen", Some(user.id), detail).await;
        let answer = sweep.told(json!({"frozen": true}));
        sweep.finish()?;
        Ok(HttpResponse::Ok().json(answer))
    })
    .await
}

/// `POST /admin/users/{id}/unfreeze`.
pub async fn unfreeze(
    state: web::Data<AppState>,
    request: HttpRequest,
    admin: CurrentUser,
    id: web::Path<String>,
) -> Answer {
    to_its_end(async move {
        let user = named(&state, &id).await?;
        set_frozen(&state, user.id, false).await?;
        let detail = json!({"before": user.frozen, "after": false});
        record(&state, &request, &admin.0, "unfrozen", Some(user.id), detail).await;
        Ok(HttpResponse::Ok().json(json!({"frozen": false})))
    })
    .await
}

/// The ledger first, since it is what refuses orders; the row in the database is for looking at. Where the ledger has
/// no account of this user, one is opened to be frozen; there is none to be unfrozen.
///
/// # Errors
/// 503; asking again finishes what was begun. 409 `account_not_open` when the ledger has no account of this user and
/// takes none.
pub async fn set_frozen(state: &AppState, user: AccountId, frozen: bool) -> Result<(), ApiError> {
    let command = LedgerCommand::SetFrozen(user, frozen);
    let unknown = LedgerOutcome::Ignored(Ignored::Invalid);
    if state.trading.execute(command.clone()).await? == unknown && frozen {
        // Somebody whose sign-up broke off, or who was made on the command line and has not signed in yet. A sign-up
        // that is under way sees by the row that the empty account which it finds is no stranger's; and the next
        // sign-in freezes it if this breaks off here.
        state.accounts.note_frozen(user, true).await?;
        state.trading.open_account(user).await?;
        if state.trading.execute(command).await? == unknown {
            state.accounts.note_frozen(user, false).await?;
            let message = "the ledger has no account of this user";
            return Err(ApiError::new(StatusCode::CONFLICT, "account_not_open", message));
        }
    }
    Ok(state.accounts.note_frozen(user, frozen).await?)
}

/// `POST /admin/users/{id}/sign-out`: all sessions of a user.
pub async fn sign_out(
    state: web::Data<AppState>,
    request: HttpRequest,
    admin: CurrentUser,
    id: web::Path<String>,
) -> Answer {
    let user = named(&state, &id).await?;
    let (by, subject) = ((admin.0.user, client_address(&request, &state)), user.id);
    let noted = move |ended: &[SessionId]| entry("signed_out_by_admin", by, subject, json!({"ended_sessions": ended}));
    let ended = state.accounts.sign_out_everywhere_noted(user.id, noted).await?;
    Ok(HttpResponse::Ok().json(json!({"ended_sessions": ended})))
}

/// The query of `GET /admin/audit`.
#[derive(Deserialize)]
pub struct AuditQuery {
    #[serde(default)]
    actor: Option<Uuid>,
    #[serde(default)]
    user: Option<Uuid>,
    #[serde(default)]
    action: Option<String>,
    #[serde(flatten)]
    page: Paging,
}

/// `GET /admin/audit`, newest first.
pub async fn audit(state: web::Data<AppState>, query: web::Query<AuditQuery>) -> Answer {
    let AuditQuery { actor, user, action, page } = query.into_inner();
    let (limit, after, before) = page.read()?;
    let number = |cursor: Option<u64>| cursor.map(i64::try_from).transpose().map_err(|_| page::invalid_cursor());
    let account = |id: Option<Uuid>| id.map(|id| ids::parse_user(id).ok_or_else(ApiError::not_found)).transpose();
    let filter = Filter {
        actor: account(actor)?,
        subject: account(user)?,
        action,
        below: number(after)?,
        above: number(before)?,
        limit,
    };
    let (rows, emails) = state.accounts.audit(filter).await?;
    let email = |number: Option<i64>| number.and_then(|number| emails.get(&number));
    let outward = |number: Option<i64>| number.and_then(|n| u32::try_from(n).ok()).map(|n| ids::user(AccountId(n)));
    let views: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "id": row.id,
                "at": time(Timestamp(row.at)),
                "action": row.action,
                "actor": outward(row.actor),
                "actor_email": email(row.actor),
                "user": outward(row.subject),
                "user_email": email(row.subject),
                "address": row.address,
                "detail": serde_json::from_str::<Value>(&row.detail).unwrap_or_default(),
            })
        })
        .collect();
    let cursors = rows.first().zip(rows.last()).map(|(first, last)| (first.id.to_string(), last.id.to_string()));
    Ok(page::answer(&views, cursors))
}
