//! The web app: files that were built into the program, served from our own origin.
//!
//! Owns the paths that no other service answers, so it is to be registered last. Invariants: files with a content
//! hash in their name are immutable and cached for a year, everything else is asked for again with its ETag; a page
//! of the app (a path without a file behind it) is answered with `index.html`, but never below a path of the API;
//! every answer carries the security headers, which allow nothing but our own origin and no inline code or style.

use std::fmt::Write;

use actix_web::http::Method;
use actix_web::http::header::{
    self, ContentEncoding, ETag, EntityTag, Header, HeaderValue, IfNoneMatch, TryIntoHeaderValue,
};
use actix_web::{HttpRequest, HttpResponse, web};
use rust_embed::{Embed, EmbeddedFile};

/// The built web app; `build.rs` fills the folder.
#[derive(Embed)]
#[folder = "$OUT_DIR/web"]
struct WebApp;

/// What a browser may load on our pages: files, and connections to this server, nothing else. Styles set by scripts
/// through the DOM need no exception.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                                       form-action 'self'; frame-ancestors 'none'";
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const REVALIDATE: &str = "no-cache";
const INDEX: &str = "index.html";

/// The first segments of paths that belong to interfaces for programs: they are never answered with a page.
const API_ROOTS: [&str; 6] = ["v1", "api", "ws", "s", "health", "metrics"];

/// Serves the web app on every path that no service registered before has taken.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.default_service(web::to(serve));
}

async fn serve(request: HttpRequest) -> HttpResponse {
    let path = request.path().trim_start_matches('/');
    let root = path.split('/').next().unwrap_or_default();
    if API_ROOTS.contains(&root) {
        return not_found();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = HttpResponse::MethodNotAllowed();
        response.insert_header((header::ALLOW, "GET, HEAD"));
        return response.json(serde_json::json!({ "message": "Method not allowed", "code": "method_not_allowed" }));
    }
    // The compressed files are variants of the others, not files of their own.
    let is_variant = path.ends_with(".br") || path.ends_with(".gz");
    let name = if path.is_empty() { INDEX } else { path };
    if !is_variant && let Some(response) = respond(&request, name) {
        return response;
    }
    // A path that looks like a file is missing; any other is a page of the app, if a page is asked for.
    let last = path.rsplit('/').next().unwrap_or_default();
    if last.contains('.') || !wants_page(&request) {
        return not_found();
    }
    respond(&request, INDEX).unwrap_or_else(not_found)
}

/// Answers with the named file in the best encoding that the client takes; `None` when there is no such file.
fn respond(request: &HttpRequest, name: &str) -> Option<HttpResponse> {
    let plain = WebApp::get(name)?;
    let (file, encoding) = encoded(request, name).unwrap_or((plain, None));
    let tag = entity_tag(&file);

    let known = matches_tag(request, &tag);
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::CACHE_CONTROL, if is_hashed(name) { IMMUTABLE } else { REVALIDATE }))
        .insert_header((header::VARY, "Accept-Encoding"))
        .insert_header(ETag(tag));
    secure(&mut response);
    // Set in every case, also to identity: a compressing middleware then leaves the file alone.
    response.insert_header(encoding.unwrap_or(ContentEncoding::Identity));
    if known {
        return Some(response.finish());
    }
    response.content_type(content_type(name, &file));
    Some(response.body(web::Bytes::from(file.data.into_owned())))
}

/// The precompressed variant of a file, if there is one that the client accepts.
fn encoded(request: &HttpRequest, name: &str) -> Option<(EmbeddedFile, Option<ContentEncoding>)> {
    let accepted = request.headers().get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    [("br", ContentEncoding::Brotli), ("gz", ContentEncoding::Gzip)].into_iter().find_map(|(suffix, encoding)| {
        let token = if suffix == "gz" { "gzip" } else { suffix };
        if !accepts(accepted, token) {
            return None;
        }
        Some((WebApp::get(&format!("{name}.{suffix}"))?, Some(encoding)))
    })
}

/// Whether an `Accept-Encoding` value names this coding without refusing it by `q=0`.
fn accepts(accepted: &str, coding: &str) -> bool {
    accepted.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let refused = parts.any(|part| {
            part.strip_prefix("q=").is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight == 0.0))
        });
        named && !refused
    })
}

/// A browser that opens an address says that it wants HTML; scripts and programs that fetch do not.
fn wants_page(request: &HttpRequest) -> bool {
    request
        .headers()
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("text/html"))
}

/// Vite puts a hash of the content into the name of everything below `assets/`.
fn is_hashed(name: &str) -> bool {
    name.starts_with("assets/")
}

/// Each encoding of a file has its own bytes, so its own tag.
fn entity_tag(file: &EmbeddedFile) -> EntityTag {
    let hash = file.metadata.sha256_hash();
    let mut text = String::with_capacity(32);
    for byte in &hash[..16] {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    EntityTag::new_strong(text)
}

fn matches_tag(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|one| one.weak_eq(tag)),
        Err(_) => false,
    }
}

fn content_type(name: &str, file: &EmbeddedFile) -> HeaderValue {
    let essence = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => file.metadata.mimetype(),
    };
    essence.try_into_value().unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn secure(response: &mut actix_web::HttpResponseBuilder) {
    response
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((
            header::HeaderName::from_static("permissions-policy"),
            "camera=(), microphone=(), geolocation=(), payment=()",
        ));
}

fn not_found() -> HttpResponse {
    let mut response = HttpResponse::NotFound();
    secure(&mut response);
    response.json(serde_json::json!({ "message": "NotFound", "code": "not_found" }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::dev::ServiceResponse;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, http::StatusCode};

    use super::*;

    async fn call(request: TestRequest) -> ServiceResponse {
        let app =
            init_service(App::new().route("/v1/time", web::get().to(|| async { "now" })).configure(configure)).await;
        call_service(&app, request.to_request()).await
    }

    fn page(path: &str) -> TestRequest {
        TestRequest::get().uri(path).insert_header((header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8"))
    }

    fn text<'a>(response: &'a ServiceResponse, name: &str) -> Option<&'a str> {
        response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[actix_web::test]
    async fn the_root_and_pages_of_the_app_are_the_index() {
        for path in ["/", "/trade/BTC-USDT", "/wallet"] {
            let response = call(page(path)).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(text(&response, "content-type"), Some("text/html; charset=utf-8"));
            assert_eq!(text(&response, "cache-control"), Some(REVALIDATE));
            let body = to_bytes(response.into_body()).await.unwrap();
            assert_eq!(body, WebApp::get(INDEX).unwrap().data.as_ref());
        }
    }

    #[actix_web::test]
    async fn paths_of_interfaces_are_never_a_page() {
        for path in ["/v1", "/v1/nothing", "/api/nothing", "/ws", "/s/slug", "/health/nothing", "/metrics"] {
            let response = call(page(path)).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
            let body = to_bytes(response.into_body()).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body, serde_json::json!({"message": "NotFound", "code": "not_found"}));
        }
        assert_eq!(call(page("/v1/time")).await.status(), StatusCode::OK);
    }

    #[actix_web::test]
    async fn only_a_request_for_a_page_falls_back_to_the_index() {
        let cases = [
            (page("/missing.js"), StatusCode::NOT_FOUND),
            (page("/assets/missing-12345678.css"), StatusCode::NOT_FOUND),
            (page("/index.html.gz"), StatusCode::NOT_FOUND),
            (page("/../Cargo.toml"), StatusCode::NOT_FOUND),
            (TestRequest::get().uri("/wallet"), StatusCode::NOT_FOUND),
            (
                TestRequest::get().uri("/wallet").insert_header((header::ACCEPT, "application/json")),
                StatusCode::NOT_FOUND,
            ),
            (TestRequest::post().uri("/"), StatusCode::METHOD_NOT_ALLOWED),
            (TestRequest::delete().uri("/wallet"), StatusCode::METHOD_NOT_ALLOWED),
        ];
        for (request, expected) in cases {
            let request = request.to_request();
            let name = format!("{} {}", request.method(), request.uri());
            let app = init_service(App::new().configure(configure)).await;
            assert_eq!(call_service(&app, request).await.status(), expected, "{name}");
        }
    }

    #[actix_web::test]
    async fn every_embedded_file_is_served_with_its_type_and_cache_rule() {
        for name in WebApp::iter().filter(|name| !name.ends_with(".br") && !name.ends_with(".gz")) {
            let response = call(TestRequest::get().uri(&format!("/{name}"))).await;
            assert_eq!(response.status(), StatusCode::OK, "{name}");
            let kind = text(&response, "content-type").unwrap_or_default().to_string();
            let expected = match name.rsplit('.').next() {
                Some("js") => "text/javascript",
                Some("css") => "text/css",
                Some("html") => "text/html",
                Some("svg") => "image/svg+xml",
                _ => "",
            };
            assert!(kind.starts_with(expected), "{name} is served as {kind}");
            let cache = if name.starts_with("assets/") { IMMUTABLE } else { REVALIDATE };
            assert_eq!(text(&response, "cache-control"), Some(cache), "{name}");
            let body = to_bytes(response.into_body()).await.unwrap();
            assert_eq!(body, WebApp::get(&name).unwrap().data.as_ref(), "{name}");
        }
    }

    #[actix_web::test]
    async fn a_known_tag_is_answered_without_a_body() {
        let first = call(page("/")).await;
        let tag = text(&first, "etag").unwrap().to_string();
        let again = call(page("/").insert_header((header::IF_NONE_MATCH, format!("\"other\", W/{tag}")))).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(text(&again, "etag"), Some(tag.as_str()));
        assert!(text(&again, "content-security-policy").is_some());
        assert!(to_bytes(again.into_body()).await.unwrap().is_empty());

        let changed = call(page("/").insert_header((header::IF_NONE_MATCH, "\"other\""))).await;
        assert_eq!(changed.status(), StatusCode::OK);
    }

    #[actix_web::test]
    async fn compressed_variants_are_sent_to_those_who_take_them() {
        // The placeholder of a build without npm has none.
        for (accepted, encoding, suffix) in [("gzip, deflate, br", "br", "br"), ("gzip, br;q=0", "gzip", "gz")] {
            let Some(variant) = WebApp::get(&format!("{INDEX}.{suffix}")) else { continue };
            let response = call(page("/").insert_header((header::ACCEPT_ENCODING, accepted))).await;
            assert_eq!(text(&response, "content-encoding"), Some(encoding));
            assert_eq!(text(&response, "vary"), Some("Accept-Encoding"));
            assert_eq!(text(&response, "content-type"), Some("text/html; charset=utf-8"));
            let plain = call(page("/")).await;
            assert_ne!(text(&response, "etag"), text(&plain, "etag"));
            assert_eq!(to_bytes(response.into_body()).await.unwrap(), variant.data.as_ref());
        }
    }

    #[test]
    fn a_coding_is_accepted_when_named_and_not_refused() {
        assert!(accepts("gzip, deflate, br", "br"));
        assert!(accepts("GZIP;q=0.5", "gzip"));
        assert!(!accepts("br;q=0, gzip", "br"));
        assert!(!accepts("br; q=0.000", "br"));
        assert!(!accepts("brotli", "br"));
        assert!(!accepts("", "gzip"));
    }

    #[actix_web::test]
    async fn the_page_may_load_nothing_from_elsewhere() {
        let response = call(page("/")).await;
        let policy = text(&response, "content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(text(&response, "x-content-type-options"), Some("nosniff"));
        assert_eq!(text(&response, "referrer-policy"), Some("same-origin"));
    }
}
