//! Who is calling: the guard that every request passes, and what handlers take from it.
//!
//! Credentials, in this order: an access token (`Authorization: Bearer`), a signature with an API key
//! (`CB-ACCESS-…`), an access token in a cookie. Routes that are public look at none of them.

use super::error::ApiError;
use super::links::{bulk, import_body};
use super::permissions::{Access, Rule};
use super::routing::Route;
use super::server::{Answer, sent_target};
use super::{AppState, cookies, forwarded, gitbitex};
use crate::actors::links::Holder;
use crate::actors::trading::market_data::wall_clock;
use crate::auth::{AuthError, Caller, Class, SignedRequest, Verdict, bearer, parse_network};
use crate::domain::ids::AccountId;
use crate::persistence::api_keys;
use crate::persistence::audit::Entry;
use crate::persistence::db::Connection;
use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use std::future::{Ready, ready};
use std::net::IpAddr;

// Looked for in every request: a name that is text would be parsed and copied each time.
const KEY: HeaderName = HeaderName::from_static("cb-access-key");
const SIGN: HeaderName = HeaderName::from_static("cb-access-sign");
const TIMESTAMP: HeaderName = HeaderName::from_static("cb-access-timestamp");
const PASSPHRASE: HeaderName = HeaderName::from_static("cb-access-passphrase");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The caller of a request.
#[derive(Clone, Debug)]
pub struct CurrentUser(pub Caller);

/// The caller of a request, where one is welcome without being known.
#[derive(Clone, Debug)]
pub struct MaybeUser(pub Option<Caller>);

impl FromRequest for MaybeUser {
    type Error = ApiError;
    type Future = Ready<Result<MaybeUser, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(MaybeUser(request.extensions().get::<Caller>().copied())))
    }
}

impl FromRequest for CurrentUser {
    type Error = ApiError;
    type Future = Ready<Result<CurrentUser, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let admitted = request.extensions().get::<Caller>().copied();
        ready(match admitted {
            Some(caller) => Ok(CurrentUser(caller)),
            // A route without a row in the table of permissions: a session will do.
            None => state(request).and_then(|state| Ok(CurrentUser(by_token(request, state)?))),
        })
    }
}

/// Does something to its end, also when whoever asked for it hangs up: what has taken effect outside of the database is
/// in the audit log too ([`record`]).
///
/// # Errors
/// Those of the work.
pub async fn to_its_end(
    work: impl Future<Output = Result<HttpResponse, ApiError>> + 'static,
) -> Result<HttpResponse, ApiError> {
    let broken =
        |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed; please report it");
    actix_web::rt::spawn(work).await.map_err(broken)?
}

/// Remembers what the caller did to an account, the own one if no other is named.
pub async fn record(
    state: &AppState,
    request: &HttpRequest,
    caller: &Caller,
    action: &'static str,
    subject: Option<AccountId>,
    detail: serde_json::Value,
) {
    let subject = Some(subject.unwrap_or(caller.user));
    let address = client_address(request, state);
    state.accounts.record(Entry { action, actor: Some(caller.user), subject, address, detail }).await;
}

fn state(request: &HttpRequest) -> Result<&web::Data<AppState>, ApiError> {
    request
        .app_data::<web::Data<AppState>>()
        .ok_or_else(|| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "not configured"))
}

/// Lets a request pass when the table of permissions lets its caller pass and no limit is reached.
///
/// # Errors
/// Those of the handlers; refusals are answers.
pub async fn guard<B: MessageBody + 'static>(
    route: Option<Route>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<Answer<B>, actix_web::Error> {
    let mut verdict = None;
    let admitted = match read_body(&mut request).await {
        Err(unreadable) => Err(unreadable),
        Ok(()) => match route.and_then(|route| route.rule) {
            Some(rule) => admit(&mut request, rule, &mut verdict).await,
            None => Ok(None),
        },
    };
    let mut response = match admitted {
        // With the refusal in it, so that a dialect can say it in its words.
        Err(refusal) => request.error_response(refusal).map_into_right_body(),
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.call(request).await?.map_into_left_body()
        }
    };
    if let Some(route) = route.filter(|route| gitbitex::is_route(route.pattern)) {
        response = gitbitex::problem::in_dialect(response, route.pattern);
    }
    if let Some(verdict) = verdict {
        tell(&verdict, response.headers_mut());
    }
    Ok(response)
}

/// Reads a body of usual length whole, before anybody decides about the request. The server ends a connection whose
/// request was answered without its body being read, so a client would lose its connection with every refusal and with
/// every body that no handler wants, as some send with GET.
async fn read_body(request: &mut ServiceRequest) -> Result<(), actix_web::Error> {
    // Nothing here unpacks a body: what is small on the wire could be very large in memory.
    if request
        .headers()
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let message = "bodies are taken as they are, without Content-Encoding";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", message).into());
    }
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| (1..=super::MAX_BODY).contains(&length)) {
        let body = request.extract::<web::Bytes>().await?;
        put_back(request, body);
    }
    Ok(())
}

/// Lets whoever comes next read this body.
fn put_back(request: &mut ServiceRequest, body: web::Bytes) {
    let (_, mut unread) = actix_http::h1::Payload::create(true);
    unread.unread_data(body);
    request.set_payload(Payload::from(unread));
}

fn tell(verdict: &Verdict, headers: &mut HeaderMap) {
    headers.insert(LIMIT, verdict.limit.into());
    headers.insert(REMAINING, verdict.remaining.into());
    headers.insert(RESET, Verdict::seconds(verdict.reset_after).into());
}

/// Counts a request; a refusal is in the words of the dialect.
async fn count(
    app: &AppState,
    class: Class,
    caller: Option<&Caller>,
    address: Option<IpAddr>,
    verdict: &mut Option<Verdict>,
) -> Result<(), ApiError> {
    *verdict = app.accounts.count(class, caller, address).await;
    match verdict {
        Some(refused) if !refused.admitted => {
            let message = if class.is_public() { "Public rate limit exceeded" } else { "Private rate limit exceeded" };
            Err(ApiError::rate_limited(message, Verdict::seconds(refused.retry_after)))
        }
        Some(_) | None => Ok(()),
    }
}

async fn admit(
    request: &mut ServiceRequest,
    rule: &Rule,
    verdict: &mut Option<Verdict>,
) -> Result<Option<Caller>, actix_web::Error> {
    let app = state(request.request())?.clone();
    let address = client_address(request.request(), &app);
    let class = rule.class();
    if let Some(class) = class.filter(|class| class.is_public()) {
        count(&app, class, None, address, verdict).await?;
    }
    if rule.access == Access::Public {
        return Ok(None);
    }
    if matches!(rule.access, Access::Maybe(_)) && is_anonymous(request.request()) {
        return Ok(None);
    }
    // What is read before anybody has said who it is is counted before, too.
    let counted = rule.pattern == bulk::IMPORT && is_signed(request.headers());
    if counted {
        count(&app, Class::Public, None, address, verdict).await?;
    }
    let caller = match identify(request, rule, &app, address).await {
        Ok(caller) => caller,
        Err(error) => {
            // Whoever fails to say who it is has no limit of its own but that of its address.
            if !counted {
                count(&app, Class::Public, None, address, verdict).await?;
            }
            return Err(error);
        }
    };
    if let Some(class) = class.filter(|class| !class.is_public()) {
        count(&app, class, Some(&caller), address, verdict).await?;
    }
    rule.access.check(&caller).map_err(ApiError::from)?;
    Ok(Some(caller))
}

/// Whether a request shows no credentials of any kind.
fn is_anonymous(request: &HttpRequest) -> bool {
    let headers = request.headers();
    !headers.contains_key(AUTHORIZATION) && !headers.contains_key(KEY) && !cookies::present(request)
}

/// Whether the signature of a request says who sends it.
fn is_signed(headers: &HeaderMap) -> bool {
    !headers.contains_key(AUTHORIZATION)
        && [KEY, SIGN, TIMESTAMP, PASSPHRASE].iter().any(|name| headers.contains_key(name))
}

async fn identify(
    request: &mut ServiceRequest,
    rule: &Rule,
    app: &AppState,
    address: Option<IpAddr>,
) -> Result<Caller, actix_web::Error> {
    if !is_signed(request.headers()) {
        let missing = AuthError::HeaderMissing("CB-ACCESS-KEY");
        if gitbitex::is_route(rule.pattern) {
            return Ok(gitbitex::session::authenticate(request.request(), app).map_err(ApiError::from)?);
        }
        return by_token(request.request(), app).map_err(|error| match error {
            AuthError::TokenMissing if rule.access.takes_keys() => ApiError::from(missing).into(),
            other => ApiError::from(other).into(),
        });
    }
    // What follows the opening of a WebSocket is no body: it has no end, and belongs to the socket.
    let opens_a_socket = *request.method() == Method::GET && request.head().upgrade();
    let body = match rule.pattern {
        _ if opens_a_socket => web::Bytes::new(),
        bulk::IMPORT => large_body(request, app, address).await?,
        _ => request.extract::<web::Bytes>().await?,
    };
    if !opens_a_socket {
        put_back(request, body.clone());
    }
    let target = sent_target(request.request());
    let header = |name, shown| required(request.request(), name, shown);
    let signed = SignedRequest {
        key: header(KEY, "CB-ACCESS-KEY")?,
        signature: header(SIGN, "CB-ACCESS-SIGN")?,
        timestamp: header(TIMESTAMP, "CB-ACCESS-TIMESTAMP")?,
        passphrase: header(PASSPHRASE, "CB-ACCESS-PASSPHRASE")?,
        method: request.method().as_str(),
        target: &target,
        body: &body,
        address,
        once: !matches!(*request.method(), Method::GET | Method::HEAD),
    };
    Ok(app.accounts.authenticate_signed(signed).await.map_err(ApiError::from)?)
}

/// The text of a header that a signature needs.
fn required<'a>(request: &'a HttpRequest, name: HeaderName, shown: &'static str) -> Result<&'a str, ApiError> {
    let text = request.headers().get(name).and_then(|value| value.to_str().ok());
    text.filter(|text| !text.is_empty()).ok_or(AuthError::HeaderMissing(shown).into())
}

/// The body of an import, which the signature covers too. It is read only for whoever names a key of ours that may be
/// used from there, as one that is said to be of the key's owner, and kept for the handler with the room that it takes.
async fn large_body(
    request: &mut ServiceRequest,
    app: &AppState,
    address: Option<IpAddr>,
) -> Result<web::Bytes, ApiError> {
    let key = required(request.request(), KEY, "CB-ACCESS-KEY")?;
    app.accounts.may_sign(key, required(request.request(), TIMESTAMP, "CB-ACCESS-TIMESTAMP")?)?;
    let whose = Holder::Claimed(owner_of(app, key, address).await?);
    let payload = request.take_payload();
    let body = import_body::read_whole(&app.links, whose, request.headers(), payload).await?;
    let bytes = body.bytes.clone();
    request.extensions_mut().insert(body);
    Ok(bytes)
}

/// Whose key this is, if it may be used now and from there. That the owner has sent the request is not known yet.
async fn owner_of(app: &AppState, key: &str, address: Option<IpAddr>) -> Result<AccountId, ApiError> {
    let (id, now) = (key.to_ascii_lowercase(), wall_clock());
    let usable = move |conn: &mut Connection| {
        let stored = api_keys::by_id(conn, &id)?.filter(|stored| stored.revoked_at.is_none());
        let stored = stored.filter(|stored| stored.expires_at.is_none_or(|expires_at| now.0 < expires_at));
        stored.map(|stored| stored.owner().map(|owner| (owner, stored.networks))).transpose()
    };
    let (owner, networks) = app.links.read(usable).await?.ok_or(AuthError::UnknownKey)?;
    let inside =
        |address: IpAddr| networks.split(',').filter_map(parse_network).any(|network| network.contains(&address));
    if networks.is_empty() || address.is_some_and(inside) {
        Ok(owner)
    } else {
        Err(AuthError::NetworkNotAllowed.into())
    }
}

fn by_token(request: &HttpRequest, state: &AppState) -> Result<Caller, AuthError> {
    match request.headers().get(AUTHORIZATION) {
        Some(header) => state.accounts.authenticate(bearer(header.to_str().map_err(|_| AuthError::TokenMissing)?)?),
        None => cookies::authenticate(request, state),
    }
}

/// The address of the client: that of the connection, or, when a proxy that we trust has made it, the
/// last one in `X-Forwarded-For` that is no such proxy.
pub fn client_address(request: &HttpRequest, state: &AppState) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    let trusted = |address: &IpAddr| state.accounts.trusts(*address);
    if !trusted(&peer) {
        return Some(peer);
    }
    // A line that is no text stays in its place, as a part that is no address.
    let lines = request.headers().get_all(FORWARDED_FOR).map(|value| value.to_str().unwrap_or_default());
    forwarded::client(lines, trusted).or(Some(peer))
}
