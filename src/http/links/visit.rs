//! Following a link: redirects, and the pages that stand in their place.
//!
//! A plain link that is in memory is answered before routing ([`at_once`]); all others come here by
//! their route. Neither waits for statistics.

use super::pages::{self, Page};
use super::rest::Data;
use super::wire::{Base, bare_host, sent_host};
use crate::actors::links::cache::{Entry, Hot, Known, Plain, name};
use crate::actors::links::{Links, LinksError, RawClick};
use crate::actors::trading::market_data::wall_clock;
use crate::auth::Secret;
use crate::domain::ids::AccountId;
use crate::domain::link::visitor::{Client, Visitor, preferred_language};
use crate::domain::link::{Destination, Link, LinkId, RedirectCode, State, Visit, slug};
use crate::domain::time::Timestamp;
use crate::http::AppState;
use crate::http::session::client_address;
use crate::persistence::links::reports::{self, Report};
use crate::persistence::links::rows;
use actix_web::dev::ServiceRequest;
use actix_web::guard::GuardContext;
use actix_web::http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, REFERER, USER_AGENT,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Open reports of one link; more say nothing new.
const OPEN_REPORTS: i64 = 50;
/// What a report may be about.
pub(super) const REASONS: [&str; 5] = ["phishing", "malware", "spam", "illegal", "other"];
/// The most characters of a report.
pub(super) const MAX_COMMENT: usize = 1_000;
/// Browsers remember a permanent redirect for an hour, so that an edit counts some day.
const REMEMBERED: HeaderValue = HeaderValue::from_static("private, max-age=3600");
const NOT_STORED: HeaderValue = HeaderValue::from_static("private, no-store");
/// The longest header text that statistics look at, bytes.
const LONGEST_HEADER: usize = 512;

/// Whether a request was sent to a short domain.
pub fn on_short_domain(context: &GuardContext<'_>) -> bool {
    let Some(state) = context.app_data::<Data>() else { return false };
    let host = context.head().headers().get(HOST).and_then(|value| value.to_str().ok());
    host.or_else(|| context.head().uri.host()).is_some_and(|host| is_short(&state.links, &bare_host(host)))
}

fn is_short(links: &Links, host: &str) -> bool {
    let domains = &links.settings().domains;
    !domains.is_empty() && domains.iter().any(|domain| domain == host)
}

/// The answer to a visit of a plain link that is in memory. `None` is no refusal: the routes go on.
pub fn at_once(request: &ServiceRequest, state: &AppState) -> Option<HttpResponse> {
    if request.method() != Method::GET {
        return None;
    }
    // Memory knows other names too: those of short domains have their domain in them.
    let slug = request.path().strip_prefix("/s/").filter(|slug| slug::could_be(slug))?;
    let now = wall_clock();
    let Known::Link(entry) = state.links.known(slug, now) else { return None };
    let Hot::Plain(plain) = &entry.hot else { return None };
    if now < plain.starts_at || now >= plain.expires_at {
        return None;
    }
    let location = HeaderValue::from_maybe_shared(plain.location.clone()).ok()?;
    state.links.meter().hits.fetch_add(1, Ordering::Relaxed);
    count(request.request(), state, plain.id, plain.owner, now, None);
    let lasting = plain.expires_at == Timestamp(i64::MAX);
    Some(redirect(state, plain.code, location, lasting))
}

fn redirect(state: &AppState, code: RedirectCode, location: HeaderValue, lasting: bool) -> HttpResponse {
    state.links.meter().redirects.fetch_add(1, Ordering::Relaxed);
    let status = StatusCode::from_u16(code.into()).unwrap_or(StatusCode::FOUND);
    let mut response = HttpResponse::new(status);
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    let cached = match code {
        RedirectCode::Moved | RedirectCode::Permanent if lasting => REMEMBERED,
        _ => NOT_STORED,
    };
    headers.insert(CACHE_CONTROL, cached);
    response
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<Box<str>> {
    let bytes = headers.get(name)?.as_bytes();
    let bytes = bytes.get(..LONGEST_HEADER).unwrap_or(bytes);
    std::str::from_utf8(bytes).ok().map(Box::from)
}

/// The country that a trusted proxy tells.
fn country<'a>(request: &'a HttpRequest, state: &AppState) -> Option<&'a str> {
    let name = state.links.settings().country_header.as_deref()?;
    let peer = request.peer_addr()?.ip().to_canonical();
    if !state.accounts.trusts(peer) {
        return None;
    }
    request.headers().get(name)?.to_str().ok()
}

fn count(
    request: &HttpRequest,
    state: &AppState,
    link: LinkId,
    owner: Option<AccountId>,
    at: Timestamp,
    target: Option<&str>,
) {
    let headers = request.headers();
    let ahead = ["sec-purpose", "purpose"]
        .iter()
        .any(|name| headers.get(*name).is_some_and(|value| value.as_bytes().starts_with(b"prefetch")));
    state.links.count(RawClick {
        link,
        owner,
        at,
        address: client_address(request, state),
        agent: text(headers, USER_AGENT),
        languages: text(headers, ACCEPT_LANGUAGE),
        referrer: text(headers, REFERER),
        country: country(request, state).map(Box::from),
        target: target.map(Box::from),
        ahead,
    });
}

/// The domain of the links that a request can mean.
fn domain_of(request: &HttpRequest) -> String {
    match request.match_pattern().as_deref() {
        Some("/s/{slug}") => String::new(),
        _ => sent_host(request).map(bare_host).unwrap_or_default(),
    }
}

/// `GET /s/{slug}`, and `/{slug}` on short domains. A plus sign behind the slug shows where it leads.
pub async fn follow(state: Data, request: HttpRequest, slug: web::Path<String>) -> HttpResponse {
    let domain = domain_of(&request);
    match slug.strip_suffix('+') {
        Some(slug) => preview(&state, &request, &domain, slug, None).await,
        None => visit(&state, &request, &domain, &slug, Typed::Nothing).await,
    }
}

/// `GET /` on short domains.
pub async fn root(state: Data, request: HttpRequest) -> HttpResponse {
    let domain = sent_host(&request).map(bare_host).unwrap_or_default();
    let policy = state.links.policy();
    let root = policy.domains.get(&domain).and_then(|settings| settings.root.as_deref());
    lead_or_show(&state, &request, root, Page::Unknown)
}

fn lead_or_show(state: &AppState, request: &HttpRequest, target: Option<&str>, page: Page<'_>) -> HttpResponse {
    match target.and_then(|target| HeaderValue::from_str(target).ok()) {
        Some(location) => redirect(state, RedirectCode::Found, location, false),
        None => show(state, request, &page),
    }
}

fn show(state: &AppState, request: &HttpRequest, page: &Page<'_>) -> HttpResponse {
    state.links.meter().pages.fetch_add(1, Ordering::Relaxed);
    pages::answer(request, page)
}

async fn find(state: &AppState, domain: &str, slug: &str) -> Result<Option<Arc<Entry>>, LinksError> {
    if slug::could_be(slug) { state.links.find(&name(domain, slug)).await } else { Ok(None) }
}

/// What a visitor has typed into the form of the password page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Typed {
    /// There was no such form.
    Nothing,
    /// Something, where no password is asked for.
    Something,
    /// The right password.
    Password,
}

impl Typed {
    /// The status of the redirect. A form's answer is a visit of another page, never the form once more: 307 and 308
    /// would send what was typed along.
    fn status(self, code: RedirectCode) -> RedirectCode {
        if self == Typed::Nothing { code } else { RedirectCode::Found }
    }
}

async fn visit(state: &AppState, request: &HttpRequest, domain: &str, slug: &str, typed: Typed) -> HttpResponse {
    // What is in memory may be older than the link: it may have other clicks left, or no limit any more. So it is
    // looked at once more; the next visitor finds out without a write.
    for _ in 0..2 {
        if let Some(answer) = visit_once(state, request, domain, slug, typed).await {
            return answer;
        }
        state.links.outdated(&name(domain, slug));
    }
    show(state, request, &Page::Expired)
}

/// The answer to a visit; `None` when there was no click left where one was expected.
async fn visit_once(
    state: &AppState,
    request: &HttpRequest,
    domain: &str,
    slug: &str,
    typed: Typed,
) -> Option<HttpResponse> {
    let entry = match find(state, domain, slug).await {
        Ok(Some(entry)) => entry,
        Ok(None) => {
            let policy = state.links.policy();
            let missing = policy.domains.get(domain).and_then(|settings| settings.missing.as_deref());
            return Some(lead_or_show(state, request, missing, Page::Unknown));
        }
        Err(error) => return Some(show(state, request, &Page::Unavailable(error))),
    };
    let now = wall_clock();
    match &entry.hot {
        Hot::Plain(plain) => Some(go_plain(state, request, plain, now, typed)),
        Hot::Full(link) => go_full(state, request, link, now, typed).await,
    }
}

fn go_plain(state: &AppState, request: &HttpRequest, plain: &Plain, now: Timestamp, typed: Typed) -> HttpResponse {
    if now < plain.starts_at {
        return show(state, request, &Page::NotYet(plain.starts_at));
    }
    if now >= plain.expires_at {
        return show(state, request, &Page::Expired);
    }
    let Ok(location) = HeaderValue::from_maybe_shared(plain.location.clone()) else {
        return show(state, request, &Page::Unknown);
    };
    if request.method() != Method::HEAD {
        count(request, state, plain.id, plain.owner, now, None);
    }
    redirect(state, typed.status(plain.code), location, plain.expires_at == Timestamp(i64::MAX))
}

/// Where a visit leads, and whether that spends a click; else the page in its place.
fn way(visit: Visit<'_>) -> Result<(Destination<'_>, bool), Page<'static>> {
    match visit {
        Visit::Go(to) => Ok((to, false)),
        Visit::GoIfLeft(to) => Ok((to, true)),
        Visit::AskPassword => Err(Page::Password { wrong: false }),
        Visit::NotYet(start) => Err(Page::NotYet(start)),
        Visit::Expired => Err(Page::Expired),
        Visit::Disabled => Err(Page::Disabled),
        Visit::Blocked => Err(Page::Blocked),
        Visit::Gone => Err(Page::Gone),
    }
}

async fn go_full(
    state: &AppState,
    request: &HttpRequest,
    link: &Link,
    now: Timestamp,
    typed: Typed,
) -> Option<HttpResponse> {
    let headers = request.headers();
    let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let visitor = Visitor {
        client: Client::of(header(USER_AGENT)),
        language: header(ACCEPT_LANGUAGE).and_then(preferred_language),
        country: country(request, state),
        query: Some(request.query_string()).filter(|query| !query.is_empty()),
    };
    let (to, limited) = match way(link.visit(now, &visitor, rand::random(), typed == Typed::Password)) {
        Ok(found) => found,
        Err(page) => return Some(show(state, request, &page)),
    };
    if limited {
        // Who only asks for the head follows nothing, so nothing is spent; and nothing is told.
        if request.method() == Method::HEAD {
            return Some(HttpResponse::new(StatusCode::OK));
        }
        match state.links.take(link.id).await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(show(state, request, &Page::Unavailable(error))),
        }
    }
    let Ok(location) = HeaderValue::from_str(&to.address) else { return Some(show(state, request, &Page::Unknown)) };
    if request.method() != Method::HEAD {
        count(request, state, link.id, link.owner, now, to.way);
    }
    let lasting = link.rules.is_empty() && link.clicks.is_none() && link.password_hash.is_none();
    Some(redirect(state, typed.status(link.code), location, lasting && link.expires_at.is_none()))
}

/// `POST /s/{slug}`: the form of the password page, or with a plus sign that of a report.
pub async fn submit(
    state: Data,
    request: HttpRequest,
    slug: web::Path<String>,
    form: web::Either<web::Form<Vec<(String, String)>>, web::Bytes>,
) -> HttpResponse {
    let domain = domain_of(&request);
    let fields = match form {
        web::Either::Left(web::Form(fields)) => fields,
        web::Either::Right(_) => Vec::new(),
    };
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    if let Some(slug) = slug.strip_suffix('+') {
        let report = field("reason").map(|reason| (reason, field("comment").unwrap_or_default()));
        return preview(&state, &request, &domain, slug, report).await;
    }
    let hash = match find(&state, &domain, &slug).await {
        Ok(Some(entry)) => match &entry.hot {
            Hot::Full(link) if link.state == State::Active => link.password_hash.clone(),
            Hot::Full(_) | Hot::Plain(_) => None,
        },
        Ok(None) => None,
        Err(error) => return show(&state, &request, &Page::Unavailable(error)),
    };
    let Some(hash) = hash else {
        // A form that was opened while a password was asked for, or somebody's own.
        let typed = if field("password").is_some() { Typed::Something } else { Typed::Nothing };
        return visit(&state, &request, &domain, &slug, typed).await;
    };
    let password = Secret::new(field("password").unwrap_or_default());
    match state.accounts.fits_shared(password, hash).await {
        Ok(true) => visit(&state, &request, &domain, &slug, Typed::Password).await,
        Ok(false) => show(&state, &request, &Page::Password { wrong: true }),
        Err(_) => show(&state, &request, &Page::Unavailable(LinksError::Overloaded)),
    }
}

/// Where a link leads, for those who want to know first.
async fn preview(
    state: &AppState,
    request: &HttpRequest,
    domain: &str,
    slug: &str,
    report: Option<(&str, &str)>,
) -> HttpResponse {
    if !slug::could_be(slug) {
        return show(state, request, &Page::Unknown);
    }
    let (of, named) = (domain.to_owned(), slug.to_owned());
    let found = state.links.read(move |conn| rows::by_names(conn, &[(&of, &named)])).await;
    let mut link = match found.map(|found| found.into_iter().next()) {
        Ok(Some(stored)) => stored.link,
        Ok(None) => return show(state, request, &Page::Unknown),
        Err(error) => return show(state, request, &Page::Unavailable(error)),
    };
    // A host that was blocked after the link was made counts as if a moderator had blocked the link.
    if link.state == State::Active && link.leads_to(&state.links.policy().blocked) {
        link.state = State::Blocked;
    }
    let mut reported = false;
    // One that leads nowhere yet, or no more, may be reported all the same. One that its owner or a moderator has
    // switched off does no harm.
    if let (State::Active, Some((reason, comment))) = (link.state, report) {
        match add_report(state, link.id, reason, comment, None).await {
            Ok(()) => reported = true,
            Err(error) => return show(state, request, &Page::Unavailable(error)),
        }
    }
    let short = Base::of(request, state).short_url(domain, slug);
    // What leads nowhere at the moment is not told either. Whether a password is asked for, the page says.
    let page = match way(link.visit(wall_clock(), &Visitor::default(), 0, true)) {
        Ok(_) => Page::Preview { link: &link, short: &short, reported },
        Err(_) if reported => Page::Reported { short: &short },
        Err(page) => page,
    };
    show(state, request, &page)
}

/// Keeps a report for those who keep order.
pub(super) async fn add_report(
    state: &AppState,
    link: LinkId,
    reason: &str,
    comment: &str,
    reporter: Option<AccountId>,
) -> Result<(), LinksError> {
    let reason = if REASONS.contains(&reason) { reason } else { "other" };
    let comment: String = comment.chars().filter(|c| *c != '\0').take(MAX_COMMENT).collect();
    let report = Report { id: 0, link, reason: reason.into(), comment, reporter, at: wall_clock(), resolved: None };
    state.links.write(move |conn| reports::add(conn, &report, OPEN_REPORTS)).await.map(drop)
}
