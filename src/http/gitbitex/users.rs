//! Users: sign-up, sign-in, sign-out, profile, password.

use super::session::{self, own_page};
use super::{read, views};
use crate::auth::{AuthError, Device, Plan, Secret, SignedIn};
use crate::domain::time::DAY;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::exchange::newcomers::welcome;
use crate::http::exchange::{passwords, profiles};
use crate::http::session::{CurrentUser, client_address};
use crate::http::v1::auth::{device, settle_in};
use crate::persistence::users::User;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::Value;

type Answer = Result<HttpResponse, ApiError>;

/// How long a session of this dialect lives, and its cookie with it. The front end knows no way to prolong it.
const LIFETIME: i64 = 7 * DAY;

/// The body of sign-up and sign-in.
#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: Secret,
    /// The code of an authenticator, for programs; the front end has no field for it.
    #[serde(default)]
    totp: Option<Secret>,
}

fn nothing() -> HttpResponse {
    HttpResponse::Ok().json(Value::Null)
}

fn of_one_token(request: &HttpRequest, state: &AppState) -> Device {
    Device { plan: Plan::OneToken(LIFETIME), ..device(request, state) }
}

/// `POST /users`: sign-up. Nobody is signed in by it.
pub async fn sign_up(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    let Credentials { email, password, .. } = read(&body, "email and password")?;
    let (device, first) = (of_one_token(&request, &state), state.trading.next_account().await?);
    let made = state.accounts.sign_up(&email, password, state.gives_demo_funds(), &device, first).await?;
    welcome(&state, made.user.id).await?;
    // The front end signs in next; a session that nobody has the token of is of no use.
    state.accounts.sign_out(made.session).await?;
    Ok(HttpResponse::Ok().json(views::user(&made.user, false)))
}

async fn enter(state: &AppState, request: &HttpRequest, body: &[u8]) -> Result<SignedIn, ApiError> {
    let Credentials { email, password, totp } = read(body, "email and password")?;
    let device = Device { second_factor: totp, ..of_one_token(request, state) };
    let signed_in = state.accounts.sign_in(&email, password, &device).await?;
    settle_in(state, &signed_in).await?;
    Ok(signed_in)
}

/// `POST /users/accessToken`: sign-in. The answer is the token, a bare JSON string: the front end stores the answer as
/// it is and repeats it in every message of its socket.
pub async fn sign_in(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    own_page(&request, &state)?;
    let signed_in = enter(&state, &request, &body).await?;
    Ok(HttpResponse::Ok()
        .insert_header(("Cache-Control", "no-store"))
        .cookie(session::cookie(&request, &state, &signed_in.token, LIFETIME))
        .json(signed_in.token.expose()))
}

/// `POST /users/token`: the same without the cookie.
pub async fn token(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    let signed_in = enter(&state, &request, &body).await?;
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(signed_in.token.expose()))
}

/// `DELETE /users/accessToken`: sign-out. A session that is over already is as good.
pub async fn sign_out(state: web::Data<AppState>, request: HttpRequest) -> Answer {
    match session::authenticate(&request, &state) {
        Ok(caller) => {
            state.accounts.leave(caller.user, caller.session()?, client_address(&request, &state)).await?;
        }
        Err(foreign @ AuthError::CsrfToken) => return Err(foreign.into()),
        Err(_) => {}
    }
    Ok(HttpResponse::Ok().cookie(session::no_cookie()).json(Value::Null))
}

/// `GET /users/self`.
pub async fn me(state: web::Data<AppState>, user: CurrentUser) -> Answer {
    show(&state, &state.accounts.user(user.0.user).await?).await
}

async fn show(state: &AppState, user: &User) -> Answer {
    let has_second_factor = state.accounts.has_totp(user.id).await?;
    Ok(HttpResponse::Ok().json(views::user(user, has_second_factor)))
}

/// Changes what is given and keeps the rest.
async fn change(state: &AppState, user: &CurrentUser, name: Option<String>, photo: Option<String>) -> Answer {
    show(state, &profiles::change(state, user.0.user, name, photo).await?).await
}

/// The body of `PUT /users/self`. The second factor has ways of its own.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    nick_name: Option<String>,
    two_step_verification_type: Option<String>,
}

/// `PUT /users/self`.
pub async fn change_me(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let Profile { nick_name, two_step_verification_type } = read(&body, "nickName")?;
    if two_step_verification_type.is_some_and(|wanted| !matches!(wanted.as_str(), "" | "none")) {
        let message = "A second factor is set up on the account page of this venue.";
        return Err(ApiError::bad_request("second_factor_elsewhere", message));
    }
    change(&state, &user, nick_name, None).await
}

/// The body of `POST /users/name`.
#[derive(Deserialize)]
struct Name {
    name: String,
}

/// `POST /users/name`.
pub async fn set_name(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let Name { name } = read(&body, "name")?;
    change(&state, &user, Some(name), None).await
}

/// The body of `POST /users/profilePhoto`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Photo {
    profile_photo_url: String,
}

/// `POST /users/profilePhoto`: a picture that was uploaded before, or one elsewhere.
pub async fn set_photo(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let Photo { profile_photo_url } = read(&body, "profilePhotoUrl")?;
    let photo = match profile_photo_url.trim() {
        // What everybody has who has none is not stored.
        views::DEFAULT_PHOTO => String::new(),
        _ => profile_photo_url,
    };
    change(&state, &user, None, Some(photo)).await
}

/// The body of `POST /users/password`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangePassword {
    old_password: Secret,
    new_password: Secret,
}

/// `POST /users/password`: the other sessions end.
pub async fn change_password(
    state: web::Data<AppState>,
    request: HttpRequest,
    user: CurrentUser,
    body: web::Bytes,
) -> Answer {
    let ChangePassword { old_password, new_password } = read(&body, "oldPassword and newPassword")?;
    passwords::change(&state, &request, &user, old_password, new_password).await?;
    Ok(nothing())
}

/// The body of the calls that mail a code.
#[derive(Deserialize)]
struct Forgot {
    email: String,
}

/// `POST /verifyCodes/restPassword` and `POST /codes`: mails a code for a new password. The answer is the same for
/// every address.
pub async fn mail_code(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    let Forgot { email } = read(&body, "email")?;
    state.accounts.forgot_password(&email, client_address(&request, &state))?;
    Ok(nothing())
}

/// The body of `POST /users/password/reset`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reset {
    email: String,
    verify_code: String,
    new_password: Secret,
}

/// `POST /users/password/reset`: another password by a mailed code; all sessions end.
pub async fn reset_password(state: web::Data<AppState>, request: HttpRequest, body: web::Bytes) -> Answer {
    let Reset { email, verify_code, new_password } = read(&body, "email, verifyCode and newPassword")?;
    passwords::reset(&state, &request, &email, &verify_code, new_password).await?;
    Ok(nothing())
}
