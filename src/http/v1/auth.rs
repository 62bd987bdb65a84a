//! Sign-up, sign-in, sign-out, tokens.

use crate::auth::{AuthError, Caller, Credential, Device, Plan, Secret, SignedIn, has_address};
use crate::http::cookies;
use crate::http::error::ApiError;
use crate::http::exchange::newcomers::{complete, welcome};
use crate::http::session::{CurrentUser, client_address};
use crate::http::wire::time;
use crate::http::{AppState, ids};
use crate::persistence::users::User;
use actix_web::http::header::USER_AGENT;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(super) type Answer = Result<HttpResponse, ApiError>;

/// The body of sign-up and sign-in.
#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: Secret,
    /// The code of an authenticator, or a recovery code.
    #[serde(default)]
    totp: Option<Secret>,
    /// The session goes into cookies rather than into the answer.
    #[serde(default)]
    cookies: Option<bool>,
}

/// Reads a JSON body whose fields are named in `needed`.
pub(super) fn read<T: DeserializeOwned>(body: &[u8], needed: &str) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|_| missing(needed))
}

fn missing(needed: &str) -> ApiError {
    ApiError::bad_request("invalid_body", format!("the body needs {needed}"))
}

/// Where a request comes from.
pub fn device(request: &HttpRequest, state: &AppState) -> Device {
    let name = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
    Device {
        user_agent: name.map(str::to_owned),
        address: client_address(request, state),
        plan: Plan::Refreshed,
        second_factor: None,
    }
}

pub(super) fn user_view(user: &User) -> Value {
    json!({
        "id": ids::user(user.id),
        "email": user.email,
        "has_email": has_address(user),
        "role": user.role.name(),
        "name": user.name,
        "photo": user.photo,
        "created_at": time(user.created_at),
    })
}

/// The answer to whoever has a new session, in the body or in cookies.
pub(super) fn answer(request: &HttpRequest, state: &AppState, signed_in: &SignedIn, in_cookies: bool) -> HttpResponse {
    let mut body = json!({
        "user": user_view(&signed_in.user),
        "expires_at": time(signed_in.expires_at),
        "session_expires_at": time(signed_in.session_expires_at),
    });
    let mut response = HttpResponse::Ok();
    response.insert_header(("Cache-Control", "no-store"));
    if in_cookies {
        body["csrf_token"] = state.accounts.csrf_token(signed_in.session).into();
        for cookie in cookies::of_session(request, state, signed_in) {
            response.cookie(cookie);
        }
    } else {
        body["access_token"] = signed_in.token.expose().into();
        body["token_type"] = "Bearer".into();
        body["refresh_token"] = signed_in.refresh.as_ref().map(Secret::expose).into();
    }
    response.json(body)
}

/// `POST /auth/sign-up`.
pub async fn sign_up(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    let Credentials { email, password, cookies: in_cookies, .. } = read(&body, "email and password")?;
    if in_cookies == Some(true) {
        cookies::own_site(&request, &state)?;
    }
    let device = device(&request, &state);
    let first = state.trading.next_account().await?;
    let signed_in = state.accounts.sign_up(&email, password, state.gives_demo_funds(), &device, first).await?;
    welcome(&state, signed_in.user.id).await?;
    Ok(answer(&request, &state, &signed_in, in_cookies.unwrap_or(false)))
}

/// Completes a sign-up that broke off half-way, for somebody who has come in. Whoever has used up a second factor for
/// it comes in all the same: who has one was in before, and so has an account in the ledger, while the code counts no
/// more.
///
/// # Errors
/// As [`complete`].
pub async fn settle_in(state: &AppState, signed_in: &SignedIn) -> Result<(), ApiError> {
    let user = signed_in.user.id;
    match complete(state, user).await {
        Err(error) if signed_in.factor_used => {
            tracing::warn!(user = user.0, %error, "what a user is given at a sign-in waits for the next one");
            Ok(())
        }
        done => done,
    }
}

/// `POST /auth/sign-in`.
pub async fn sign_in(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    let Credentials { email, password, totp, cookies: in_cookies } = read(&body, "email and password")?;
    if in_cookies == Some(true) {
        cookies::own_site(&request, &state)?;
    }
    let device = Device { second_factor: totp, ..device(&request, &state) };
    let signed_in = state.accounts.sign_in(&email, password, &device).await?;
    settle_in(&state, &signed_in).await?;
    Ok(answer(&request, &state, &signed_in, in_cookies.unwrap_or(false)))
}

/// The body of `POST /auth/refresh`; may be absent when the token is in a cookie.
#[derive(Default, Deserialize)]
struct Refresh {
    #[serde(default)]
    refresh_token: Option<Secret>,
    /// Where the next tokens go; by default to where this one was.
    #[serde(default)]
    cookies: Option<bool>,
}

/// `POST /auth/refresh`: the next access and refresh token for the present refresh token. A session that began in
/// cookies, as one through a provider does, leaves them with `"cookies": false`.
pub async fn refresh(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    let needed = "refresh_token";
    let sent = if body.is_empty() { Refresh::default() } else { read::<Refresh>(&body, needed)? };
    // The refresh cookie is for requests of the own site alone (SameSite=Strict).
    let (token, from_cookie) = match (sent.refresh_token, cookies::refresh_token(&request)) {
        (Some(token), _) => (token, false),
        (None, Some(cookie)) => (Secret::new(cookie), true),
        (None, None) => return Err(missing(needed)),
    };
    let in_cookies = sent.cookies.unwrap_or(from_cookie);
    if in_cookies && !from_cookie {
        cookies::own_site(&request, &state)?;
    }
    let signed_in = state.accounts.refresh(&token, &device(&request, &state)).await?;
    let mut response = answer(&request, &state, &signed_in, in_cookies);
    if from_cookie && !in_cookies {
        for cookie in cookies::of_no_session() {
            // A header that cannot be built would be a fault of the fixed names above.
            response.add_cookie(&cookie).map_err(|_| AuthError::Interrupted)?;
        }
    }
    Ok(response)
}

fn signed_out() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    for cookie in cookies::of_no_session() {
        response.cookie(cookie);
    }
    response.json(json!({}))
}

/// `POST /auth/sign-out`.
pub async fn sign_out(state: web::Data<AppState>, request: HttpRequest, user: CurrentUser) -> Answer {
    state.accounts.leave(user.0.user, user.0.session()?, client_address(&request, &state)).await?;
    Ok(signed_out())
}

/// `POST /auth/sign-out-all`: every session of the user, this one too.
pub async fn sign_out_all(state: web::Data<AppState>, request: HttpRequest, user: CurrentUser) -> Answer {
    state.accounts.leave_everywhere(user.0.user, client_address(&request, &state)).await?;
    Ok(signed_out())
}

/// `GET /auth/me`: also whether the user has shown to read the mail of the address.
pub async fn me(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    let user = state.accounts.user(user.0.user).await?;
    let mut view = user_view(&user);
    view["email_confirmed"] = state.accounts.confirmed_address(user.id).await?.is_some().into();
    Ok(HttpResponse::Ok().json(view))
}

/// The body of `POST /auth/introspect`, as JSON or as a form.
#[derive(Deserialize)]
struct Introspect {
    token: Secret,
}

/// `POST /auth/introspect` (RFC 7662): whether a token counts, and whose it is. Whoever has the token
/// could ask `/auth/me` with it as well, so nobody needs to be signed in for this.
pub async fn introspect(state: web::Data<AppState>, body: web::Bytes) -> Answer {
    let form = || url::form_urlencoded::parse(&body).find(|(name, _)| name == "token");
    let token = match read::<Introspect>(&body, "token") {
        Ok(Introspect { token }) => token,
        Err(missing) => Secret::new(form().ok_or(missing)?.1),
    };
    let answer = match state.accounts.authenticate(token.expose()) {
        Ok(Caller { user, credential: Credential::Session(session), role, expires_at, .. }) => json!({
            "active": true,
            "token_type": "Bearer",
            "iss": "agora",
            "sub": user.0.to_string(),
            "user_id": ids::user(user),
            "sid": session,
            "role": role.name(),
            "exp": expires_at.seconds(),
        }),
        Ok(_) | Err(_) => json!({"active": false}),
    };
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(answer))
}

/// `GET /users/self/verify`.
pub async fn verify(user: CurrentUser) -> HttpResponse {
    HttpResponse::Ok().json(json!({"id": ids::user(user.0.user)}))
}

/// The public keys that verify access tokens.
pub async fn jwks(state: web::Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json; charset=utf-8").body(state.accounts.jwks().to_owned())
}
