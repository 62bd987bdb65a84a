//! The HTTP server: its listeners, and what happens to a request before it is routed.
//!
//! Two addresses may be served. The main one has everything; the one of `--api-listen` has the native API without the
//! `/v1` prefix, for clients that cannot take a path in their base URL. Both share workers and routes: there, the path
//! is completed before it is routed.

use super::links::visit;
use super::{AppState, configure, ops, session};
use crate::config::ServeConfig;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Server, ServiceRequest, ServiceResponse, Url};
use actix_web::http::Uri;
use actix_web::http::header::UPGRADE;
use actix_web::http::uri::PathAndQuery;
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpMessage, HttpRequest, HttpServer, web};
use anyhow::{Context, anyhow};
use std::any::Any;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A peer that takes nothing of what is sent to it for this long is cut off by the operating system. So a connection
/// that nobody reads does not stay for ever.
const UNREAD_FOR: Duration = Duration::from_secs(30);

/// The operating system takes so many bytes more than have left the machine. What a slow reader has not got waits in
/// our own queues instead, where it is bounded and conflated.
const UNSENT_BYTES: u32 = 128 * 1024;

/// A server with its addresses.
pub struct Listening {
    /// To be awaited.
    pub server: Server,
    /// Where everything is served.
    pub address: SocketAddr,
    /// Where the API is served without prefix.
    pub api_address: Option<SocketAddr>,
}

/// Binds the addresses. The server runs once it is awaited.
///
/// # Errors
/// When an address is taken.
pub fn listen(settings: &ServeConfig, state: AppState) -> anyhow::Result<Listening> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let state = web::Data::new(state);
    let api = Arc::new(OnceLock::new());
    let known = api.clone();
    let factory = move || {
        let api: Option<SocketAddr> = known.get().copied();
        let arrive = move |request, next| arrive(api, request, next);
        App::new()
            .app_data(state.clone())
            .wrap(from_fn(session::guard))
            .wrap(from_fn(ops::observe))
            .wrap(from_fn(arrive))
            .configure(configure)
    };
    let mut server = HttpServer::new(factory)
        .workers(if settings.workers == 0 { cores } else { settings.workers })
        .max_connections(settings.max_connections)
        .client_request_timeout(Duration::from_secs(10))
        .shutdown_timeout(2)
        .tcp_nodelay(true)
        .on_connect(|connection, _| bound_patience(connection))
        .disable_signals();
    for address in std::iter::once(settings.listen).chain(settings.api_listen) {
        server = server.bind(address).with_context(|| format!("{address} cannot be listened on"))?;
    }
    // Addresses come in the order in which they were bound; a port of 0 is a free one now.
    let bound = server.addrs();
    let address = bound.first().copied().ok_or_else(|| anyhow!("no address is bound"))?;
    let api_address = settings.api_listen.and_then(|_| bound.get(1).copied());
    if let Some(address) = api_address {
        api.get_or_init(|| address);
    }
    Ok(Listening { server: server.run(), address, api_address })
}

fn bound_patience(connection: &dyn Any) {
    #[cfg(target_os = "linux")]
    if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() {
        let socket = socket2::SockRef::from(stream);
        // Without these options such a connection only lives longer, or takes more memory of the system.
        let _ = socket.set_tcp_user_timeout(Some(UNREAD_FOR));
        let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (connection, UNREAD_FOR, UNSENT_BYTES);
}

/// The target of a request as it stands on the request line, where routing has changed it.
#[derive(Clone, Debug)]
struct SentTarget(String);

/// Path and query as the client sent them, still encoded: what signatures are made over.
pub fn sent_target(request: &HttpRequest) -> String {
    if let Some(SentTarget(target)) = request.extensions().get() {
        return target.clone();
    }
    request.uri().path_and_query().map_or_else(|| request.path().to_owned(), |target| target.as_str().to_owned())
}

/// Completes a path on the API's own address, and takes a slash at its end for none.
async fn arrive(
    api: Option<SocketAddr>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, actix_web::Error> {
    if let Some(answer) = request.app_data::<web::Data<AppState>>().and_then(|state| visit::at_once(&request, state)) {
        return Ok(request.into_response(answer).map_into_right_body());
    }
    let on_api = api.is_some_and(|address| request.app_config().local_addr() == address);
    if let Some(path) = routed_path(request.path(), on_api, request.headers().contains_key(UPGRADE)) {
        let uri = request.uri().clone();
        if let Some((sent, uri)) = with_path(uri, &path) {
            request.extensions_mut().insert(SentTarget(sent));
            request.match_info_mut().set(Url::new(uri.clone()));
            request.head_mut().uri = uri;
        }
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// The path under which a request is looked for, if it is another one than was sent.
fn routed_path(sent: &str, on_api: bool, upgrade: bool) -> Option<String> {
    let trimmed = match sent.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    };
    let path = match trimmed {
        path if !on_api || path == "/v1" || path.starts_with("/v1/") => path.to_owned(),
        "/" if upgrade => "/v1/feed".to_owned(),
        "/" => "/v1".to_owned(),
        path => format!("/v1{path}"),
    };
    (path != sent).then_some(path)
}

/// The target of a URI, and the URI with another path.
fn with_path(uri: Uri, path: &str) -> Option<(String, Uri)> {
    let mut parts = uri.into_parts();
    let sent = parts.path_and_query.as_ref()?;
    let target = match sent.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let sent = sent.as_str().to_owned();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Some((sent, Uri::from_parts(parts).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_completed_and_trimmed() {
        let cases = [
            ("/v1/accounts", false, false, None),
            ("/v1/accounts/", false, false, Some("/v1/accounts")),
            ("/", false, true, None),
            ("//", false, false, Some("/")),
            ("/products", true, false, Some("/v1/products")),
            ("/accounts/", true, false, Some("/v1/accounts")),
            ("/v1/accounts", true, false, None),
            ("/v1", true, false, None),
            ("/v1x", true, false, Some("/v1/v1x")),
            ("/", true, true, Some("/v1/feed")),
            ("/", true, false, Some("/v1")),
        ];
        for (sent, on_api, upgrade, expected) in cases {
            assert_eq!(routed_path(sent, on_api, upgrade).as_deref(), expected, "{sent} {on_api} {upgrade}");
        }
    }

    #[test]
    fn the_query_stays_as_it_was_sent() {
        let (sent, uri) = with_path("/orders?status=open&x=%3A:".parse().unwrap(), "/v1/orders").unwrap();
        assert_eq!(sent, "/orders?status=open&x=%3A:");
        assert_eq!(uri.to_string(), "/v1/orders?status=open&x=%3A:");
    }
}
