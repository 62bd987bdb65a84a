//! What users want to be told, and how; and what LINE tells us.

use super::auth::{Answer, read};
use super::photos;
use crate::actors::trading::Market;
use crate::domain::ids::{AccountId, MarketId};
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::session::{CurrentUser, client_address};
use crate::http::wire::{self, time};
use crate::http::{AppState, pictures};
use crate::notify::events::EventKind;
use crate::notify::outlets::Line;
use crate::persistence::audit::Entry;
use crate::persistence::fills;
use crate::persistence::notifications::OutletRow;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use anyhow::anyhow;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::net::IpAddr;

fn view(row: &OutletRow) -> Value {
    let events: Vec<&str> = row.events.split(',').filter(|name| !name.is_empty()).collect();
    json!({"outlet": row.kind, "url": row.target, "events": events})
}

/// `GET /notifications/outlets`.
pub async fn outlets(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    let rows = state.accounts.outlets(user.0.user).await?;
    Ok(HttpResponse::Ok().json(rows.iter().map(view).collect::<Vec<_>>()))
}

/// An outlet as it is now, if there is one.
async fn outlet_of(state: &AppState, user: &CurrentUser, outlet: &str) -> Result<Option<OutletRow>, ApiError> {
    let rows = state.accounts.outlets(user.0.user).await?;
    Ok(rows.into_iter().find(|row| row.kind == outlet))
}

/// An outlet for the audit log; `null` when there is none.
fn noted(row: Option<&OutletRow>) -> Value {
    row.map(view).map(without_path).unwrap_or_default()
}

/// The view of an outlet for the audit log: whoever knows the whole address of a webhook can often use it.
fn without_path(mut view: Value) -> Value {
    if let Some(url) = view["url"].as_str().and_then(|url| url::Url::parse(url).ok()) {
        view["url"] = url.origin().ascii_serialization().into();
    }
    view
}

/// What a user did to an outlet, for the audit log.
fn entry(action: &'static str, owner: AccountId, address: Option<IpAddr>, detail: Value) -> Entry {
    Entry { action, actor: Some(owner), subject: Some(owner), address, detail }
}

/// The body of `PUT /notifications/outlets/{outlet}`.
#[derive(Deserialize)]
struct Outlet {
    events: Vec<String>,
    #[serde(default)]
    url: Option<String>,
    /// Whether a webhook gets another secret.
    #[serde(default)]
    new_secret: bool,
}

/// Refuses mail to an address that its user has not shown to read: anybody may sign up with somebody else's. What was
/// wanted before that was asked for may stay, or become less; nothing is mailed meanwhile.
async fn confirmed_address(state: &AppState, user: &CurrentUser) -> Result<(), ApiError> {
    let confirmed = state.accounts.confirmed_address(user.0.user).await?;
    confirmed.map(drop).ok_or_else(|| {
        let message = "Please confirm your e-mail address first: have a code mailed to it, as for a change of address.";
        ApiError::new(StatusCode::CONFLICT, "email_not_confirmed", message)
    })
}

/// `PUT /notifications/outlets/{outlet}`: `email`, `line` or `webhook`. The secret of a webhook
/// that is new, or goes elsewhere, is in the answer.
pub async fn put_outlet(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    outlet: web::Path<String>,
    body: web::Bytes,
) -> Answer {
    let Outlet { events, url, new_secret } = read(&body, "events, and url for a webhook")?;
    let unknown = |name: &String| ApiError::bad_request("unknown_event", format!("there is no event {name}"));
    let kinds: Result<Vec<EventKind>, ApiError> =
        events.iter().map(|name| EventKind::from_name(name).ok_or_else(|| unknown(name))).collect();
    let (url, kinds) = (url.unwrap_or_default(), EventKind::each_once(&kinds?));
    let present = outlet_of(&state, &user, &outlet).await?;
    let widens = kinds.iter().any(|kind| !present.as_ref().is_some_and(|row| row.wants(kind.name())));
    if *outlet == "email" && url.is_empty() && widens {
        confirmed_address(&state, &user).await?;
    }
    let events: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let mut answer = json!({"outlet": *outlet, "url": url, "events": events});
    let (owner, from, after) = (user.0.user, client_address(&request, &state), without_path(answer.clone()));
    let changed = move |before: Option<&OutletRow>| {
        entry("outlet_changed", owner, from, json!({"before": noted(before), "after": after}))
    };
    let secret = state.accounts.put_outlet(owner, &outlet, &url, &kinds, new_secret, changed).await?;
    if let Some(secret) = secret {
        answer["secret"] = secret.expose().into();
    }
    Ok(HttpResponse::Ok().json(answer))
}

/// `DELETE /notifications/outlets/{outlet}`.
pub async fn remove_outlet(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    outlet: web::Path<String>,
) -> Answer {
    let (owner, from) = (user.0.user, client_address(&request, &state));
    let removed =
        move |before: Option<&OutletRow>| entry("outlet_removed", owner, from, json!({"before": noted(before)}));
    state.accounts.remove_outlet(owner, &outlet, removed).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `GET /notifications/alerts`: the prices that the user waits for.
pub async fn alerts(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    let rows = state.accounts.alerts(user.0.user).await?;
    let views = rows.iter().filter_map(|row| {
        let market = state.trading.market_by_id(MarketId(u16::try_from(row.market).ok()?))?;
        let price = wire::steps(u64::try_from(row.price).ok()?, market.config.tick);
        let direction = if row.above { "above" } else { "below" };
        let (id, symbol, at) = (row.id, &market.config.symbol, time(Timestamp(row.created_at)));
        Some(json!({"id": id, "product_id": symbol, "direction": direction, "price": price, "created_at": at}))
    });
    Ok(HttpResponse::Ok().json(views.collect::<Vec<_>>()))
}

/// The body of `POST /notifications/alerts`.
#[derive(Deserialize)]
struct Alert<'a> {
    product_id: String,
    direction: String,
    #[serde(borrow)]
    price: &'a RawValue,
}

/// `POST /notifications/alerts`: tell once when a trade is at or beyond this price.
pub async fn add_alert(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let needed = |_| ApiError::bad_request("invalid_body", "the body needs product_id, direction and price");
    let alert: Alert<'_> = serde_json::from_slice(&body).map_err(needed)?;
    let unknown = || ApiError::bad_request("product_not_found", "Product not found");
    let market = state.trading.market(&alert.product_id).ok_or_else(unknown)?;
    let above = match alert.direction.as_str() {
        "above" => true,
        "below" => false,
        _ => return Err(ApiError::bad_request("invalid_direction", "the direction must be above or below")),
    };
    let price = wire::parse_price(alert.price, &market.config, "price")?;
    let too_large = |_| ApiError::bad_request("too_large", "price is too large");
    let ticks = i64::try_from(price.0).map_err(too_large)?;
    state.accounts.add_alert(user.0.user, market.id, above, ticks).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `DELETE /notifications/alerts/{id}`.
pub async fn remove_alert(state: web::Data<AppState>, user: CurrentUser, id: web::Path<String>) -> Answer {
    let id = id.parse().map_err(|_| ApiError::not_found())?;
    state.accounts.remove_alert(user.0.user, id).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `GET /notifications/failed`: messages that nobody took.
pub async fn failed(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    let rows = state.accounts.given_up(user.0.user).await?;
    let views = rows.iter().map(|row| {
        json!({
            "id": row.id,
            "outlet": row.kind,
            "event": row.event,
            "data": serde_json::from_str::<Value>(&row.payload).unwrap_or_default(),
            "created_at": time(Timestamp(row.created_at)),
            "attempts": row.attempts,
            "error": row.last_error,
        })
    });
    Ok(HttpResponse::Ok().json(views.collect::<Vec<_>>()))
}

/// `POST /notifications/failed/{id}/retry`.
pub async fn retry(state: web::Data<AppState>, user: CurrentUser, id: web::Path<String>) -> Answer {
    let id = id.parse().map_err(|_| ApiError::not_found())?;
    state.accounts.retry_delivery(user.0.user, id).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `POST /line/webhook`: what people write to us on LINE. A product's name is answered with its price.
pub async fn from_line(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    let line = state.accounts.line().ok_or_else(ApiError::not_found)?;
    let signature = request.headers().get("x-line-signature").and_then(|value| value.to_str().ok());
    if !line.signed(signature.unwrap_or_default(), &body) {
        return Err(crate::auth::AuthError::WrongSignature.into());
    }
    let said: Value = read(&body, "events")?;
    for event in said["events"].as_array().into_iter().flatten() {
        let Some(token) = event["replyToken"].as_str() else { continue };
        // One that cannot be answered does not keep the others from it.
        if let Err(error) = answer_on_line(&state, &request, line, token, event).await {
            tracing::warn!(%error, "a message on LINE could not be answered");
        }
    }
    Ok(HttpResponse::Ok().json(json!({})))
}

async fn answer_on_line(
    state: &AppState,
    request: &HttpRequest,
    line: &Line,
    token: &str,
    event: &Value,
) -> anyhow::Result<()> {
    let failed = |error: ApiError| anyhow!("{error}");
    let message = &event["message"];
    match (message["type"].as_str(), message["text"].as_str()) {
        (_, Some(text)) => match state.trading.market(&text.trim().to_uppercase()) {
            Some(market) => line.reply(token, &price_of(state, market).await.map_err(failed)?).await,
            None => {
                let markets = state.trading.markets();
                let known: Vec<&str> = markets.iter().map(|market| market.config.symbol.as_str()).collect();
                let text = format!("Ask me for the price of {}.", known.join(", "));
                line.reply_with_choices(token, &text, &known).await
            }
        },
        (Some("image"), None) => {
            let (sender, id) = (event["source"]["userId"].as_str(), message["id"].as_str());
            let answer = take_photo(state, request, line, sender.unwrap_or_default(), id.unwrap_or_default());
            line.reply(token, &answer.await.map_err(failed)?).await
        }
        (_, None) => Ok(()),
    }
}

/// A picture that somebody sent becomes the picture of the account that is linked to the sender.
async fn take_photo(
    state: &AppState,
    request: &HttpRequest,
    line: &Line,
    sender: &str,
    message: &str,
) -> Result<String, ApiError> {
    let Some(user) = state.accounts.user_of_identity("line", sender).await? else {
        return Ok("Link LINE to your account first: then a picture that you send becomes yours there.".into());
    };
    // Until it is stored, as for any other upload.
    let Ok(_place) = pictures::place(user) else {
        return Ok("Other pictures are on their way. Please send it once more in a moment.".into());
    };
    let content = match line.content(message, state.chat.limits().image_bytes).await {
        Ok(content) => content,
        Err(error) => {
            tracing::warn!(%error, "a picture on LINE could not be fetched");
            return Ok("The picture could not be fetched. Please send it once more.".into());
        }
    };
    match photos::set(state, request, user, content).await {
        Ok(_) => Ok("This is the picture of your account now.".into()),
        Err(error) if error.status_code().is_client_error() => {
            Ok("Please send a PNG, JPEG, GIF or WebP picture.".into())
        }
        Err(error) => Err(error),
    }
}

async fn price_of(state: &AppState, market: &Market) -> Result<String, ApiError> {
    let id = market.id;
    let last = state.query(move |conn| fills::trades(conn, id, None, None, 1)).await?;
    Ok(match last.first() {
        Some(row) => format!("{} is at {}", market.config.symbol, wire::price(row.fill.price, &market.config)),
        None => format!("{} has not traded yet", market.config.symbol),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_webhook_the_audit_log_has_the_host_alone() {
        for (url, kept) in [
            ("https://hooks.example.org/services/T0/secret?token=x#y", "https://hooks.example.org"),
            ("http://ada:secret@hooks.example.org:8080/", "http://hooks.example.org:8080"),
            ("", ""),
        ] {
            let shown = json!({"outlet": "webhook", "url": url, "events": ["fill"]});
            assert_eq!(without_path(shown), json!({"outlet": "webhook", "url": kept, "events": ["fill"]}));
        }
    }
}
