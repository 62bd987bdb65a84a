//! The HTTP server: its listeners, and what happens to a request before it is routed.
//!
//! Up to three addresses are served. The main one has everything; the one of `--gitbitex-listen` has the files of a
//! GitBitEx front end beside `/api` and `/ws`; the one of `--api-listen` has the native API without the
//! `/v1` prefix, for clients that cannot take a path in their base URL. Both share workers and routes: there, the path
//! is completed before it is routed.

use super::gitbitex::page::{self, Page};
use super::links::visit;
use super::{AppState, configure, ops, routing, session};
use crate::actors::trading::post;
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
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A peer that takes nothing of what is sent to it for this long is cut off by the operating system. So a connection
/// that nobody reads does not stay for ever.
const UNREAD_FOR: Duration = Duration::from_secs(30);

/// How long a connection without a request is kept. Longer than the pools of usual clients and proxies keep theirs (60
/// seconds at most), so that these end it and no request meets a connection that is just being closed.
const KEPT_IDLE: Duration = Duration::from_secs(75);

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
    /// Where a GitBitEx front end is served.
    pub gitbitex_address: Option<SocketAddr>,
}

/// Binds the addresses. The server runs once it is awaited.
///
/// # Errors
/// When an address is taken.
pub fn listen(settings: &ServeConfig, state: AppState) -> anyhow::Result<Listening> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let state = web::Data::new(state);
    let (api, gitbitex) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
    let (known, known_page) = (api.clone(), gitbitex.clone());
    let page = settings.gitbitex.gitbitex_assets.as_deref().map(Page::read).transpose()?.map(Arc::new);
    let factory = move || {
        // Once for each worker, on its own thread.
        post::open();
        let page = known_page.get().copied().zip(page.clone());
        let ways = Rc::new(Ways { api: known.get().copied(), page });
        let enter = move |request, next| enter(ways.clone(), request, next);
        App::new().app_data(state.clone()).wrap(from_fn(enter)).configure(configure)
    };
    let mut server = HttpServer::new(factory)
        .workers(if settings.workers == 0 { cores } else { settings.workers })
        .max_connections(settings.max_connections)
        .client_request_timeout(Duration::from_secs(10))
        .keep_alive(KEPT_IDLE)
        .shutdown_timeout(2)
        .tcp_nodelay(true)
        .on_connect(|connection, _| bound_patience(connection))
        .disable_signals();
    let gitbitex_listen = settings.gitbitex.gitbitex_listen;
    for address in std::iter::once(settings.listen).chain(settings.api_listen).chain(gitbitex_listen) {
        server = server.bind(address).with_context(|| format!("{address} cannot be listened on"))?;
    }
    // Addresses come in the order in which they were bound; a port of 0 is a free one now.
    let bound = server.addrs();
    let address = bound.first().copied().ok_or_else(|| anyhow!("no address is bound"))?;
    let api_address = settings.api_listen.and_then(|_| bound.get(1).copied());
    if let Some(address) = api_address {
        api.get_or_init(|| address);
    }
    let gitbitex_address = gitbitex_listen.and_then(|_| bound.last().copied());
    if let Some(address) = gitbitex_address {
        gitbitex.get_or_init(|| address);
    }
    Ok(Listening { server: server.run(), address, api_address, gitbitex_address })
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

/// What the addresses beside the main one are for.
struct Ways {
    api: Option<SocketAddr>,
    page: Option<(SocketAddr, Arc<Page>)>,
}

/// An answer of the routes, or one that was given in their place.
pub type Answer<B> = ServiceResponse<EitherBody<B>>;

/// Everything that happens before a request is routed and after it was answered. One step of the framework, since each
/// costs pieces of memory for its future and the one that it calls.
async fn enter<B: MessageBody + 'static>(
    ways: Rc<Ways>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<Answer<B>, actix_web::Error> {
    if let Some(answer) = request.app_data::<web::Data<AppState>>().and_then(|state| visit::at_once(&request, state)) {
        return Ok(request.into_response(answer).map_into_right_body());
    }
    complete(ways.api, &mut request);
    let page = page::serve(ways.page.as_ref(), &request);
    let route = match page {
        Some(_) => None,
        // As it is routed: with its percent signs decoded.
        None => routing::find(request.method().as_str(), request.match_info().unprocessed()),
    };
    let answer = |request: ServiceRequest| async move {
        match page {
            Some(answer) => Ok(request.into_response(answer).map_into_right_body()),
            None => session::guard(route, request, next).await,
        }
    };
    ops::observe(route, request, answer).await
}

/// Completes a path on the API's own address, and takes a slash at its end for none.
fn complete(api: Option<SocketAddr>, request: &mut ServiceRequest) {
    let on_api = api.is_some_and(|address| request.app_config().local_addr() == address);
    if let Some(path) = routed_path(request.path(), on_api, || request.headers().contains_key(UPGRADE)) {
        let uri = request.uri().clone();
        if let Some((sent, uri)) = with_path(uri, &path) {
            request.extensions_mut().insert(SentTarget(sent));
            request.match_info_mut().set(Url::new(uri.clone()));
            request.head_mut().uri = uri;
        }
    }
}

/// The path under which a request is looked for, if it is another one than was sent.
fn routed_path(sent: &str, on_api: bool, upgrade: impl FnOnce() -> bool) -> Option<String> {
    let path = match sent.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    };
    if !on_api || path == "/v1" || path.starts_with("/v1/") {
        return (path != sent).then(|| path.to_owned());
    }
    Some(match path {
        "/" if upgrade() => "/v1/feed".to_owned(),
        "/" => "/v1".to_owned(),
        path => format!("/v1{path}"),
    })
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
            assert_eq!(routed_path(sent, on_api, || upgrade).as_deref(), expected, "{sent} {on_api} {upgrade}");
        }
    }

    #[test]
    fn the_query_stays_as_it_was_sent() {
        let (sent, uri) = with_path("/orders?status=open&x=%3A:".parse().unwrap(), "/v1/orders").unwrap();
        assert_eq!(sent, "/orders?status=open&x=%3A:");
        assert_eq!(uri.to_string(), "/v1/orders?status=open&x=%3A:");
    }
}
