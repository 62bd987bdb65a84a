//! Sign-in through other providers.

use super::auth::{Answer, answer, device, read, settle_in};
use crate::auth::{Arrival, Device, Secret};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::exchange::newcomers::{complete, welcome};
use crate::http::session::{CurrentUser, client_address};
use crate::http::wire::time;
use crate::http::{AppState, cookies};
use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::http::header::{ACCEPT, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

/// Holds the sealed state while somebody is at a provider.
const FLOW: &str = "agora_oidc";
const FLOW_PATH: &str = "/v1/auth/oidc";

/// Our own address as people see it.
pub(super) fn home(request: &HttpRequest, state: &AppState) -> String {
    match state.accounts.public_url() {
        Some(url) => url.to_owned(),
        None => {
            let scheme = if cookies::secure(request, state) { "https" } else { "http" };
            let host = request.headers().get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
            format!("{scheme}://{host}")
        }
    }
}

fn flow_cookie(request: &HttpRequest, state: &AppState, value: &str, seconds: i64) -> Cookie<'static> {
    // Lax: coming back from the provider is a navigation from another site.
    Cookie::build(FLOW, value.to_owned())
        .path(FLOW_PATH)
        .http_only(true)
        .secure(cookies::secure(request, state))
        .same_site(SameSite::Lax)
        .max_age(Duration::seconds(seconds))
        .finish()
}

/// `GET /auth/providers`.
pub async fn providers(state: web::Data<AppState>) -> Answer {
    let views = state.accounts.providers().iter().map(|provider| json!({"id": provider.id, "name": provider.name}));
    Ok(HttpResponse::Ok().json(views.collect::<Vec<_>>()))
}

/// The query of `GET /auth/oidc/{provider}/start`.
#[derive(Default, Deserialize)]
pub struct Start {
    #[serde(default)]
    back: String,
}

/// `GET /auth/oidc/{provider}/start`: off to the provider.
pub async fn start(
    state: web::Data<AppState>,
    request: HttpRequest,
    provider: web::Path<String>,
    query: web::Query<Start>,
) -> Answer {
    let departure = state.accounts.depart(&provider, &home(&request, &state), &query.back, None).await?;
    let cookie = flow_cookie(&request, &state, departure.state.expose(), 600);
    Ok(HttpResponse::Found().insert_header((LOCATION, departure.url)).cookie(cookie).json(json!({})))
}

/// `POST /auth/identities/{provider}`: where to go to link an identity to the signed-in user; the body may say with
/// `back` where to end.
pub async fn begin_link(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    provider: web::Path<String>,
    body: web::Bytes,
) -> Answer {
    let Start { back } = if body.is_empty() { Start::default() } else { read(&body, "back")? };
    let departure = state.accounts.depart(&provider, &home(&request, &state), &back, Some(&user.0)).await?;
    let cookie = flow_cookie(&request, &state, departure.state.expose(), 600);
    Ok(HttpResponse::Ok().cookie(cookie).json(json!({"url": departure.url})))
}

/// The query of the way back.
#[derive(Deserialize)]
pub struct Back {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
}

/// `GET /auth/oidc/{provider}/callback`: back from the provider, into a session in cookies. A browser that cannot be let
/// in is sent to our page with the reason's code.
pub async fn callback(
    state: web::Data<AppState>,
    request: HttpRequest,
    provider: web::Path<String>,
    query: web::Query<Back>,
) -> Answer {
    let people = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let people = people.is_some_and(|kinds| kinds.contains("text/html"));
    match take_back(&state, &request, &provider, &query).await {
        Err(refused) if people => {
            let page = format!("/?error={}", refused.code());
            let over = flow_cookie(&request, &state, "", 0);
            Ok(HttpResponse::Found().insert_header((LOCATION, page)).cookie(over).json(json!({})))
        }
        other => other,
    }
}

async fn take_back(state: &web::Data<AppState>, request: &HttpRequest, provider: &str, query: &Back) -> Answer {
    let flow = request.cookie(FLOW).ok_or(crate::auth::AuthError::ProviderFlow)?;
    let (home, device) = (home(request, state), device(request, state));
    let sealed = Secret::new(flow.value());
    // Needed for new users alone: others come in without it.
    let first = state.trading.next_account().await.ok();
    let way = (query.state.as_str(), query.code.as_str());
    let arrival = state.accounts.arrive(provider, &home, &sealed, way, &device, first).await?;
    let over = flow_cookie(request, state, "", 0);
    match arrival {
        Arrival::SignedIn { signed_in, new, back } => {
            begin(state, signed_in.user.id, new).await?;
            let mut response = HttpResponse::Found();
            response.insert_header((LOCATION, back)).insert_header(("Cache-Control", "no-store")).cookie(over);
            for cookie in cookies::of_session(request, state, &signed_in) {
                response.cookie(cookie);
            }
            Ok(response.json(json!({})))
        }
        Arrival::Linked { back, .. } => {
            Ok(HttpResponse::Found().insert_header((LOCATION, back)).cookie(over).json(json!({})))
        }
        Arrival::SecondFactor(ticket) => {
            let code = crate::auth::AuthError::SecondFactorRequired.code();
            let back = format!("/?error={code}&ticket={}", ticket.expose());
            Ok(HttpResponse::Found().insert_header((LOCATION, back)).cookie(over).json(json!({})))
        }
    }
}

/// Gives somebody who has come in what every user has.
async fn begin(state: &AppState, user: AccountId, new: bool) -> Result<(), ApiError> {
    if new { welcome(state, user).await } else { complete(state, user).await }
}

/// The body of `POST /auth/oidc/{provider}/token`.
#[derive(Deserialize)]
struct IdToken {
    id_token: Secret,
    #[serde(default)]
    cookies: Option<bool>,
}

/// `POST /auth/oidc/{provider}/token`: a session for an id token that an app of ours got (LIFF, mobile).
pub async fn token(
    state: web::Data<AppState>,
    request: HttpRequest,
    provider: web::Path<String>,
    body: web::Bytes,
) -> Answer {
    let IdToken { id_token, cookies: in_cookies } = read(&body, "id_token")?;
    if in_cookies == Some(true) {
        cookies::own_site(&request, &state)?;
    }
    let (device, first) = (device(&request, &state), state.trading.next_account().await.ok());
    let arrival = state.accounts.sign_in_with_id_token(&provider, &id_token, &device, first).await?;
    match arrival {
        Arrival::SignedIn { signed_in, new, .. } => {
            if let Err(error) = begin(&state, signed_in.user.id, new).await {
                state.accounts.give_back_id_token(&id_token).await;
                return Err(error);
            }
            Ok(answer(&request, &state, &signed_in, in_cookies.unwrap_or(false)))
        }
        Arrival::SecondFactor(ticket) => {
            let needed = crate::auth::AuthError::SecondFactorRequired;
            let body = json!({"message": needed.to_string(), "code": needed.code(), "ticket": ticket.expose()});
            Ok(HttpResponse::Unauthorized().json(body))
        }
        Arrival::Linked { .. } => Err(ApiError::not_found()),
    }
}

/// The body of `POST /auth/second-factor`.
#[derive(Deserialize)]
struct SecondFactor {
    ticket: Secret,
    totp: Secret,
    #[serde(default)]
    cookies: Option<bool>,
}

/// `POST /auth/second-factor`: finishes a sign-in through a provider with a code.
pub async fn second_factor(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    let SecondFactor { ticket, totp, cookies: in_cookies } = read(&body, "ticket and totp")?;
    if in_cookies == Some(true) {
        cookies::own_site(&request, &state)?;
    }
    let device = Device { second_factor: Some(totp), ..device(&request, &state) };
    let signed_in = state.accounts.finish_with_code(&ticket, &device).await?;
    settle_in(&state, &signed_in).await?;
    Ok(answer(&request, &state, &signed_in, in_cookies.unwrap_or(false)))
}

/// `GET /auth/identities`.
pub async fn identities(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    let linked = state.accounts.identities(user.0.user).await?;
    let views = linked.into_iter().map(
        |(provider, subject, at)| json!({"provider": provider, "subject": subject, "linked_at": time(Timestamp(at))}),
    );
    Ok(HttpResponse::Ok().json(views.collect::<Vec<_>>()))
}

/// `DELETE /auth/identities/{provider}`.
pub async fn unlink(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    provider: web::Path<String>,
) -> Answer {
    state.accounts.unlink(user.0.user, &provider, client_address(&request, &state)).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}
