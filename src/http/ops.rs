//! For operators: health, metrics, the supervision tree, and the middleware that counts requests.

use super::AppState;
use super::error::ApiError;
use super::gitbitex::origins;
use super::request_id::{self, REQUEST_ID};
use super::routing::Route;
use super::server::Answer;
use crate::actors::cluster::peers::Picture;
use crate::actors::event_log::LogMeter;
use crate::actors::supervision::State;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, ResponseError, web};
use prometheus::{Encoder, HistogramOpts, HistogramVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tracing::Instrument;

/// What scripts of other origins may read.
const EXPOSED: &str = "CB-BEFORE, CB-AFTER, GBE-BEFORE, GBE-AFTER, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, X-Request-Id";

/// Figures for Prometheus.
pub struct Metrics {
    registry: Registry,
    requests: HistogramVec,
    mailbox_depth: IntGaugeVec,
    restarts: IntGaugeVec,
    actor_lag: IntGaugeVec,
    running: IntGaugeVec,
    promotions: IntGauge,
    comparisons: IntGauge,
    divergences: IntGauge,
    log_position: IntGauge,
    log_entries: IntGauge,
    log_flushes: IntGauge,
    log_flush_nanos: IntGauge,
    log_refused: IntGauge,
    log_available: IntGauge,
    ready: IntGauge,
    projected: IntGauge,
    archived: IntGauge,
    gone: IntGauge,
    published: IntGauge,
    active: IntGauge,
    epoch: IntGauge,
    take_overs: IntGauge,
    lag: IntGauge,
    peers: IntGauge,
    number_taken: IntGauge,
    compared: IntGauge,
    different: IntGauge,
    redis: IntGauge,
    link_redirects: IntGauge,
    link_pages: IntGauge,
    link_hits: IntGauge,
    link_misses: IntGauge,
    link_clicks_dropped: IntGauge,
    links_cached: IntGauge,
    links_cached_bytes: IntGauge,
    chat_rooms: IntGauge,
    accounts_active: IntGauge,
    account_crashes: IntGauge,
    withdrawals_unexplained: IntGauge,
    arrivals_unclaimed: IntGauge,
    custody_round_at: IntGauge,
    custody_round_panics: IntGauge,
    log: Arc<LogMeter>,
    written: Arc<AtomicU64>,
}

impl Metrics {
    /// Figures of this log and of how far the projector has written.
    ///
    /// # Errors
    /// When a name is registered twice, which is a bug.
    pub fn new(log: Arc<LogMeter>, written: Arc<AtomicU64>) -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let buckets = vec![0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];
        let opts = HistogramOpts::new("agora_http_request_seconds", "time to answer requests").buckets(buckets);
        let requests = HistogramVec::new(opts, &["method", "route", "status"])?;
        let depth = Opts::new("agora_mailbox_depth", "messages that wait for an actor");
        let mailbox_depth = IntGaugeVec::new(depth, &["actor"])?;
        let restarts = IntGaugeVec::new(Opts::new("agora_actor_restarts", "restarts of an actor"), &["actor"])?;
        let actor_lag =
            IntGaugeVec::new(Opts::new("agora_actor_lag_batches", "batches that an actor has to take in"), &["actor"])?;
        let running =
            IntGaugeVec::new(Opts::new("agora_actor_running", "whether an actor takes messages"), &["actor"])?;
        registry.register(Box::new(actor_lag.clone()))?;
        registry.register(Box::new(running.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(mailbox_depth.clone()))?;
        registry.register(Box::new(restarts.clone()))?;
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        Ok(Metrics {
            log_position: gauge("agora_log_position", "the newest committed batch")?,
            log_entries: gauge("agora_log_entries_total", "entries committed since the start")?,
            log_flushes: gauge("agora_log_flushes_total", "proposals committed since the start")?,
            log_flush_nanos: gauge("agora_log_flush_nanoseconds_total", "time from proposal to commit, summed")?,
            log_refused: gauge("agora_log_refused_total", "proposals that the log refused")?,
            log_available: gauge("agora_log_available", "whether the log took the newest and is in reach")?,
            ready: gauge("agora_ready", "whether /health/ready says so")?,
            projected: gauge("agora_projected_position", "the last batch whose rows are in the database")?,
            archived: gauge(
                "agora_archived_position",
                "the last batch of a broker's log that the archive has; 0 of a log in files",
            )?,
            gone: gauge("agora_log_gone", "1 when the database lacks what is gone from the log; must stay 0")?,
            published: gauge(
                "agora_published_position",
                "the last batch that other services were told of; 0 where the bridge tells of none",
            )?,
            active: gauge("agora_node_active", "1 on the node that admits commands")?,
            epoch: gauge("agora_epoch", "the newest epoch that was read")?,
            take_overs: gauge("agora_take_overs_total", "how often this node became active")?,
            lag: gauge("agora_node_lag", "batches that other nodes have read and this one has not")?,
            peers: gauge("agora_node_peers", "other nodes that were heard of within five seconds")?,
            number_taken: gauge("agora_node_number_taken", "1 while another process has this node's number")?,
            compared: gauge("agora_state_hashes_compared_total", "state hashes compared with those of other nodes")?,
            different: gauge("agora_state_hashes_different_total", "state hashes that differed: a bug or damage")?,
            redis: gauge("agora_redis_up", "whether Redis answers; 0 also where there is none")?,
            link_redirects: gauge("agora_link_redirects_total", "visits of links that were led on")?,
            link_pages: gauge("agora_link_pages_total", "visits of links that were answered with a page")?,
            link_hits: gauge("agora_link_cache_hits_total", "visits whose link was in memory")?,
            link_misses: gauge("agora_link_cache_misses_total", "visits whose link had to be looked up")?,
            link_clicks_dropped: gauge("agora_link_clicks_dropped_total", "clicks that could not be counted")?,
            links_cached: gauge("agora_links_cached", "links in memory")?,
            links_cached_bytes: gauge("agora_links_cached_bytes", "bytes of links in memory")?,
            chat_rooms: gauge("agora_chat_rooms_active", "chat rooms in memory")?,
            accounts_active: gauge("agora_accounts_active", "actors of users in memory")?,
            account_crashes: gauge("agora_account_crashes_total", "actors of users that ended by a panic")?,
            withdrawals_unexplained: gauge(
                "agora_custody_withdrawals_unexplained",
                "withdrawals that are held and whose row is missing or another one",
            )?,
            arrivals_unclaimed: gauge(
                "agora_custody_arrivals_unclaimed",
                "arrivals at our addresses that cannot be credited",
            )?,
            custody_round_at: gauge(
                "agora_custody_round_timestamp_seconds",
                "when the desk last finished a round over all deposits and withdrawals without an error, \
                 in seconds since 1970",
            )?,
            custody_round_panics: gauge(
                "agora_custody_round_panics_total",
                "rounds of the desk that ended by a panic",
            )?,
            promotions: gauge("agora_twin_promotions_total", "times that an actor went on with its twin's state")?,
            comparisons: gauge("agora_twin_comparisons_total", "times that primary and twin were compared")?,
            divergences: gauge("agora_twin_divergences_total", "times that primary and twin differed")?,
            requests,
            mailbox_depth,
            restarts,
            actor_lag,
            running,
            registry,
            log,
            written,
        })
    }

    /// The newest committed batch.
    pub fn committed(&self) -> u64 {
        self.log.position.load(Ordering::Relaxed)
    }

    /// The last batch whose rows are in the database.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn refresh(&self, state: &AppState) {
        let load = |counter: &AtomicU64| i64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        self.log_position.set(load(&self.log.position));
        self.log_entries.set(load(&self.log.entries));
        self.log_flushes.set(load(&self.log.flushes));
        self.log_flush_nanos.set(load(&self.log.flush_nanos));
        self.log_refused.set(load(&self.log.refused));
        let standing = Standing::of(state);
        self.log_available.set(i64::from(!self.log.degraded.load(Ordering::Relaxed)));
        self.ready.set(i64::from(standing.is_ready()));
        self.projected.set(load(&self.written));
        self.archived.set(load(&self.log.archived));
        self.gone.set(i64::from(self.log.is_gone()));
        self.number_taken.set(i64::from(self.log.number_taken.load(Ordering::Relaxed)));
        self.published.set(load(&self.log.published));
        let number = |figure: u64| i64::try_from(figure).unwrap_or(i64::MAX);
        let role = state.trading.role();
        self.active.set(i64::from(role.is_active()));
        self.epoch.set(number(role.epoch().counter));
        self.take_overs.set(number(role.take_overs()));
        if let Some(peers) = &state.peers {
            let picture = peers.picture(self.log.position.load(Ordering::Relaxed));
            self.lag.set(number(picture.lag));
            self.peers.set(number(picture.peers.len() as u64));
            self.compared.set(number(picture.hashes_compared));
            self.different.set(number(picture.hashes_different));
        }
        self.redis.set(i64::from(state.redis.as_ref().is_some_and(|redis| redis.is_up())));
        let meter = state.links.meter();
        self.link_redirects.set(load(&meter.redirects));
        self.link_pages.set(load(&meter.pages));
        self.link_hits.set(load(&meter.hits));
        self.link_misses.set(load(&meter.misses));
        self.link_clicks_dropped.set(number(state.links.clicks_dropped()));
        let (links, bytes) = state.links.cached();
        self.links_cached.set(number(links as u64));
        self.links_cached_bytes.set(number(bytes));
        self.chat_rooms.set(number(state.chat.room_stats().active as u64));
        let accounts = state.trading.accounts().stats();
        self.accounts_active.set(number(accounts.active as u64));
        self.account_crashes.set(number(accounts.crashes));
        self.withdrawals_unexplained.set(number(state.custody.unexplained_withdrawals() as u64));
        self.arrivals_unclaimed.set(number(state.custody.unclaimed_arrivals() as u64));
        self.custody_round_at.set(state.custody.last_round_at());
        self.custody_round_panics.set(number(state.custody.round_panics()));
        let twins = state.trading.twins();
        self.promotions.set(load(&twins.promotions));
        self.comparisons.set(load(&twins.comparisons));
        self.divergences.set(load(&twins.divergences));
        for node in state.tree.snapshot() {
            self.mailbox_depth.with_label_values(&[&node.path]).set(node.mailbox_depth as i64);
            let running = matches!(node.state, State::Running);
            self.running.with_label_values(&[&node.path]).set(i64::from(running));
            if let Some(lag) = node.lag {
                self.actor_lag.with_label_values(&[&node.path]).set(i64::try_from(lag).unwrap_or(i64::MAX));
            }
            self.restarts.with_label_values(&[&node.path]).set(i64::try_from(node.crashes).unwrap_or(i64::MAX));
        }
    }
}

/// Times a request that `answer` answers, gives it a span, and lets browsers of any origin read the answer.
///
/// # Errors
/// Those of `answer`.
pub async fn observe<B, F>(
    route: Option<Route>,
    request: ServiceRequest,
    answer: impl FnOnce(ServiceRequest) -> F,
) -> Result<Answer<B>, actix_web::Error>
where
    B: MessageBody + 'static,
    F: Future<Output = Result<Answer<B>, actix_web::Error>>,
{
    let started = Instant::now();
    let metrics = request.app_data::<web::Data<AppState>>().map(|state| state.metrics.clone());
    let method = request.method().clone();
    let id = request_id::of(request.headers());
    let span = request_id::span(method.as_str(), request.path(), &id, request.headers());
    let answered = answer(request);
    let answered = if span.is_none() { answered.await? } else { answered.instrument(span).await? };
    let mut response = in_json(answered);
    let reader = origins::reader(response.request());
    let headers = response.headers_mut();
    name_charset(headers);
    headers.insert(REQUEST_ID, id);
    match reader {
        Some(origin) => origins::allow(origin, headers),
        None => drop(headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))),
    }
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    if let Some(metrics) = metrics {
        // The pattern, not the path: a label for each order would never end.
        let route = route.map_or("other", |route| route.pattern);
        let status = response.status();
        let labels = [known(&method), route, status.as_str()];
        metrics.requests.with_label_values(&labels).observe(started.elapsed().as_secs_f64());
    }
    Ok(response)
}

/// Answers in JSON say how they are encoded, as those of the dialect do.
fn name_charset(headers: &mut HeaderMap) {
    if headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == b"application/json") {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    }
}

/// The name of a method. Clients may make some up, and each label is kept for ever.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS => {
            method.as_str()
        }
        _ => "other",
    }
}

/// Gives the refusals of the framework (a body that is too long, a handshake that is none) the body
/// that every error has. They alone are plain text.
fn in_json<B: MessageBody + 'static>(response: Answer<B>) -> Answer<B> {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("text/plain");
    if !kind.starts_with("text/plain") {
        return response;
    }
    let answer = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(status, "body_too_large", "the body is too large"),
        StatusCode::NOT_FOUND => ApiError::not_found(),
        _ if status.is_server_error() => ApiError::new(status, "internal", "the server failed; please report it"),
        _ => ApiError::new(status, "invalid_request", "the request cannot be read"),
    };
    let (request, _) = response.into_parts();
    ServiceResponse::new(request, answer.error_response()).map_into_right_body()
}

/// `GET /health/live`: the process answers.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"status": "live"}))
}

/// A node that has so many batches still to read is not ready.
const MAX_LAG: u64 = 5_000;

/// How it stands with this node.
struct Standing {
    /// The paths of the parts that do not run.
    down: Vec<String>,
    /// It took nothing a moment ago, or is out of reach.
    log_refuses: bool,
    behind: bool,
    cluster: Option<Picture>,
}

impl Standing {
    fn of(state: &AppState) -> Standing {
        let down = state
            .tree
            .snapshot()
            .into_iter()
            // A market that is halted alone leaves the rest as good as before.
            .filter(|node| match node.state {
                State::Running => false,
                State::Faulted => !node.name.starts_with("order book"),
                _ => true,
            })
            .map(|node| node.path)
            .collect();
        let position = state.metrics.log.position.load(Ordering::Relaxed);
        let cluster = state.peers.as_ref().map(|peers| peers.picture(position));
        let behind = cluster.as_ref().is_some_and(|cluster| cluster.lag > MAX_LAG);
        Standing { down, log_refuses: state.metrics.log.refuses.load(Ordering::Relaxed), behind, cluster }
    }

    fn is_ready(&self) -> bool {
        self.down.is_empty() && !self.log_refuses && !self.behind
    }
}

/// `GET /health/ready`: every actor runs, the log has refused nothing of late, and the node has read what the others have.
pub async fn ready(state: web::Data<AppState>) -> HttpResponse {
    let standing = Standing::of(&state);
    let ready = standing.is_ready();
    let Standing { down, log_refuses, behind, cluster } = standing;
    if ready {
        return HttpResponse::Ok().json(serde_json::json!({"status": "ready", "cluster": cluster}));
    }
    let body = serde_json::json!({
        "status": "not ready",
        "down": down,
        "log_refuses": log_refuses,
        "behind": behind,
        "cluster": cluster,
    });
    HttpResponse::ServiceUnavailable().insert_header(("Retry-After", "1")).json(body)
}

/// `GET /metrics`: Prometheus text.
pub async fn metrics(state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    state.metrics.refresh(&state);
    let mut text = Vec::new();
    let failed = |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the metrics cannot be written");
    TextEncoder::new().encode(&state.metrics.registry.gather(), &mut text).map_err(failed)?;
    let mut latencies = String::new();
    state.metrics.log.flush.expose("agora_log_flush_seconds", "time from proposal to commit", &mut latencies);
    let acknowledged = "time from an order's arrival to its durable outcome";
    state.trading.acknowledged().expose("agora_order_acknowledged_seconds", acknowledged, &mut latencies);
    text.extend_from_slice(latencies.as_bytes());
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}
