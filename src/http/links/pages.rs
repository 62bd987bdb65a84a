//! The pages that stand in the place of a redirect: small, without scripts, in the visitor's language.
//! Programs get the same as JSON.

use super::texts::{Texts, for_header};
use super::visit::REASONS;
use crate::actors::links::LinksError;
use crate::domain::link::{Link, target};
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use actix_web::http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::OnceLock;

/// A page.
#[derive(Debug)]
pub enum Page<'a> {
    /// Nobody has this name.
    Unknown,
    /// Deleted by its owner.
    Gone,
    /// Its time or its clicks are over.
    Expired,
    /// Switched off by its owner.
    Disabled,
    /// Blocked by a moderator.
    Blocked,
    /// Not before this time.
    NotYet(Timestamp),
    /// It cannot be looked up.
    Unavailable(LinksError),
    /// The form for the password.
    Password {
        /// Whether one was given that does not fit.
        wrong: bool,
    },
    /// Where it leads.
    Preview {
        /// The link.
        link: &'a Link,
        /// Its short address.
        short: &'a str,
        /// Whether it was reported a moment ago.
        reported: bool,
    },
    /// It was reported a moment ago, and leads nowhere at the moment.
    Reported {
        /// Its short address.
        short: &'a str,
    },
}

impl Page<'_> {
    fn status(&self) -> StatusCode {
        match self {
            Page::Unknown | Page::Disabled | Page::NotYet(_) => StatusCode::NOT_FOUND,
            Page::Gone | Page::Expired => StatusCode::GONE,
            Page::Blocked | Page::Password { wrong: true } => StatusCode::FORBIDDEN,
            Page::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Page::Password { wrong: false } | Page::Preview { .. } | Page::Reported { .. } => StatusCode::OK,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Page::Unknown => "link_unknown",
            Page::Gone => "link_gone",
            Page::Expired => "link_expired",
            Page::Disabled => "link_disabled",
            Page::Blocked => "link_blocked",
            Page::NotYet(_) => "link_not_yet",
            Page::Unavailable(error) => error.code(),
            Page::Password { wrong: false } => "link_password_required",
            Page::Password { wrong: true } => "link_password_wrong",
            Page::Preview { .. } => "link_preview",
            Page::Reported { .. } => "link_reported",
        }
    }

    fn texts<'t>(&self, texts: &'t Texts) -> [&'t str; 2] {
        match self {
            Page::Unknown => texts.unknown,
            Page::Gone => texts.gone,
            Page::Expired => texts.expired,
            Page::Disabled => texts.disabled,
            Page::Blocked => texts.blocked,
            Page::NotYet(_) => texts.not_yet,
            Page::Unavailable(_) => texts.unavailable,
            Page::Password { .. } => texts.password,
            Page::Preview { .. } => texts.preview,
            Page::Reported { .. } => [texts.report, texts.thanks],
        }
    }

    /// A picture, as the path of a 24×24 icon, and its color.
    fn icon(&self) -> (&'static str, &'static str) {
        const LINK: &str =
            "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7l-1.6 1.6M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7l1.6-1.6";
        match self {
            Page::Unknown | Page::Gone => ("M9 9l6 6M15 9l-6 6M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "dull"),
            Page::Expired | Page::NotYet(_) => ("M12 7v5l3 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "dull"),
            Page::Disabled => ("M12 4v8M7.5 6.5a7.5 7.5 0 1 0 9 0", "dull"),
            Page::Blocked => ("M12 3l8 3v6c0 5-3.5 8-8 9-4.5-1-8-4-8-9V6zM12 8v5M12 16.5v.1", "bad"),
            Page::Unavailable(_) => ("M12 8v5M12 16v.1M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "dull"),
            Page::Password { .. } => ("M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3M12 14.5v2", "main"),
            Page::Preview { .. } | Page::Reported { .. } => (LINK, "main"),
        }
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--back:#f4f5f8;--card:#fff;--text:#171a21;--soft:#5c6370;--line:#e3e5ea;--main:#2f5bea;\
--on:#fff;--bad:#c62f3e;--good:#1d7f4c;--field:#fff}\
@media(prefers-color-scheme:dark){:root{--back:#0f1116;--card:#181b22;--text:#eceef2;--soft:#9aa2b1;--line:#2a2f3a;\
--main:#7c9bff;--on:#0f1116;--bad:#ff7d89;--good:#5fd39a;--field:#101319}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:flex;flex-direction:column;align-items:center;justify-content:center;padding:24px;\
background:var(--back);color:var(--text);font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}\
main{width:100%;max-width:460px;background:var(--card);border:1px solid var(--line);border-radius:16px;padding:32px;\
box-shadow:0 1px 2px rgb(0 0 0/.04),0 12px 32px rgb(0 0 0/.06)}\
.icon{width:48px;height:48px;padding:11px;border-radius:12px;display:block;margin-bottom:20px;fill:none;\
stroke:currentColor;stroke-width:1.8;stroke-linecap:round;stroke-linejoin:round;background:var(--back)}\
.main{color:var(--main)}.bad{color:var(--bad)}.dull{color:var(--soft)}.good{color:var(--good)}\
h1{font-size:22px;line-height:1.3;margin:0 0 8px;letter-spacing:-.01em}\
p{margin:0 0 16px;color:var(--soft)}p:last-child{margin-bottom:0}\
.to{border:1px solid var(--line);border-radius:12px;padding:14px 16px;margin:20px 0;background:var(--back)}\
.to small{display:block;color:var(--soft);margin-bottom:2px}\
.to strong{display:block;font-size:18px;overflow-wrap:anywhere}\
.to span{display:block;color:var(--soft);font-size:14px;overflow-wrap:anywhere;margin-top:4px}\
.note{font-size:14px}\
label{display:block;font-size:14px;font-weight:600;margin:0 0 6px}\
input,select,textarea{width:100%;font:inherit;color:inherit;background:var(--field);border:1px solid var(--line);\
border-radius:10px;padding:11px 13px;margin-bottom:14px}\
textarea{min-height:72px;resize:vertical}\
input:focus,select:focus,textarea:focus,a:focus-visible,button:focus-visible,summary:focus-visible{outline:2px solid \
var(--main);outline-offset:2px}\
button,.go{display:block;width:100%;font:inherit;font-weight:600;text-align:center;text-decoration:none;border:0;\
border-radius:10px;padding:12px 16px;background:var(--main);color:var(--on);cursor:pointer}\
button.plain{background:none;border:1px solid var(--line);color:var(--text)}\
details{margin-top:20px;border-top:1px solid var(--line);padding-top:16px}\
summary{cursor:pointer;color:var(--soft);font-size:14px}details form{margin-top:16px}\
footer{margin-top:20px;color:var(--soft);font-size:13px}";

/// What a page may load: its own style. Forms may lead on to wherever a link does.
fn policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let hash = STANDARD.encode(Sha256::digest(STYLE));
        format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'")
    })
}

fn wants_page(request: &HttpRequest) -> bool {
    let header = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    header.is_some_and(|value| value.contains("text/html") || value.contains("application/xhtml"))
}

/// The answer that shows a page, or says the same to a program.
pub fn answer(request: &HttpRequest, page: &Page<'_>) -> HttpResponse {
    let header = request.headers().get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let texts = for_header(header.unwrap_or_default());
    let [title, text] = page.texts(texts);
    let text = match page {
        Page::NotYet(start) => text.replace("{}", &moment(*start)),
        _ => text.to_owned(),
    };
    if !wants_page(request) {
        return for_programs(page, &format!("{title}. {text}"));
    }
    let mut response = HttpResponse::build(page.status());
    response
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, policy()))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((HeaderName::from_static("x-robots-tag"), "noindex, nofollow"))
        .insert_header((CONTENT_LANGUAGE, texts.tag))
        .insert_header((VARY, "Accept-Language, Accept"))
        .insert_header((CACHE_CONTROL, "no-store"));
    if matches!(page, Page::Unavailable(_)) {
        response.insert_header(("Retry-After", "1"));
    }
    if request.method() == Method::HEAD {
        return response.finish();
    }
    response.body(html(page, texts, title, &text))
}

fn for_programs(page: &Page<'_>, text: &str) -> HttpResponse {
    let mut response = match page {
        Page::Preview { link, short, .. } => {
            let hidden = link.password_hash.is_some();
            HttpResponse::Ok().json(serde_json::json!({
                "short_url": short,
                "target": (!hidden).then_some(&link.target),
                "title": link.title,
                "has_password": hidden,
                "varies": !link.rules.is_empty(),
                "created_at": crate::http::wire::time(link.created_at),
            }))
        }
        Page::Reported { short } => HttpResponse::Ok().json(serde_json::json!({"short_url": short, "reported": true})),
        Page::Password { wrong: false } => {
            ApiError::new(StatusCode::UNAUTHORIZED, page.code(), text.to_owned()).error_response()
        }
        _ => ApiError::new(page.status(), page.code(), text.to_owned()).error_response(),
    };
    response.headers_mut().insert(CACHE_CONTROL, actix_web::http::header::HeaderValue::from_static("no-store"));
    response
}

/// Day and minute, as everybody reads them.
fn moment(at: Timestamp) -> String {
    let text = crate::http::wire::time(at);
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

/// Text as HTML shows it, also inside of attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

fn html(page: &Page<'_>, texts: &Texts, title: &str, text: &str) -> String {
    let (icon, color) = page.icon();
    let mut main = format!(
        "<svg class=\"icon {color}\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path d=\"{icon}\"/></svg>\
         <h1>{}</h1><p>{}</p>",
        escaped(title),
        escaped(text),
    );
    match page {
        Page::Password { wrong } => password(&mut main, texts, *wrong),
        Page::Preview { link, short, reported } => preview(&mut main, texts, link, short, *reported),
        _ => {}
    }
    format!(
        "<!doctype html><html lang=\"{}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{}</title>\
         <style>{STYLE}</style></head><body><main>{main}</main><footer>Agora</footer></body></html>",
        texts.tag,
        escaped(title),
    )
}

fn password(main: &mut String, texts: &Texts, wrong: bool) {
    // Writing to a string cannot fail, here and below.
    if wrong {
        let _ = write!(main, "<p class=\"bad\" role=\"alert\">{}</p>", escaped(texts.password_wrong));
    }
    let _ = write!(
        main,
        "<form method=\"post\"><label for=\"password\">{}</label>\
         <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"off\" maxlength=\"200\" required autofocus>\
         <button>{}</button></form>",
        escaped(texts.password_field),
        escaped(texts.open),
    );
}

fn preview(main: &mut String, texts: &Texts, link: &Link, short: &str, reported: bool) {
    if reported {
        let _ = write!(main, "<p class=\"good\" role=\"status\">{}</p>", escaped(texts.thanks));
    }
    let hidden = link.password_hash.is_some();
    if !hidden {
        let host = target::host_of(&link.target).unwrap_or_default();
        let _ = write!(
            main,
            "<div class=\"to\"><small>{}</small><strong>{}</strong><span>{}</span></div>",
            escaped(texts.leads_to),
            escaped(&host),
            escaped(&link.target),
        );
    }
    if !link.title.is_empty() {
        let _ = write!(main, "<p>{}</p>", escaped(&link.title));
    }
    let notes = [
        (hidden, texts.hidden),
        (!hidden && link.target.starts_with("http:"), texts.insecure),
        (!link.rules.is_empty(), texts.varies),
    ];
    for (_, note) in notes.iter().filter(|(holds, _)| *holds) {
        let _ = write!(main, "<p class=\"note\">{}</p>", escaped(note));
    }
    let day = moment(link.created_at);
    let _ = write!(
        main,
        "<p class=\"note\">{} {}</p><a class=\"go\" rel=\"nofollow noreferrer\" href=\"{}\">{}</a>",
        escaped(texts.created),
        escaped(day.get(..10).unwrap_or(&day)),
        escaped(short),
        escaped(texts.go_on),
    );
    if reported {
        return;
    }
    let _ = write!(
        main,
        "<details><summary>{}</summary><form method=\"post\"><label for=\"reason\">{}</label>\
         <select id=\"reason\" name=\"reason\">",
        escaped(texts.report),
        escaped(texts.report_what),
    );
    for (reason, words) in REASONS.iter().zip(texts.reasons) {
        let _ = write!(main, "<option value=\"{reason}\">{}</option>", escaped(words));
    }
    let _ = write!(
        main,
        "</select><label for=\"comment\">{}</label><textarea id=\"comment\" name=\"comment\" maxlength=\"1000\"></textarea>\
         <button class=\"plain\">{}</button></form></details>",
        escaped(texts.comment),
        escaped(texts.send),
    );
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::link::LinkId;
    use crate::domain::link::edit::blank;

    #[test]
    fn nothing_that_a_user_wrote_becomes_markup() {
        let mut link = blank(LinkId(1), String::new(), "abc".into(), None, Timestamp(0));
        link.target = "https://example.org/?a='\"><script>".into();
        link.title = "<img src=x onerror=alert(1)>".into();
        let page = Page::Preview { link: &link, short: "http://x/s/abc", reported: false };
        let shown = html(&page, for_header(""), "<b>", "&");
        assert!(!shown.contains("<script>") && !shown.contains("<img") && !shown.contains("<b>"), "{shown}");
        assert!(shown.contains("&lt;img src=x onerror=alert(1)&gt;"));
    }

    #[test]
    fn a_protected_link_does_not_show_where_it_leads() {
        let mut link = blank(LinkId(1), String::new(), "abc".into(), None, Timestamp(0));
        link.target = "https://secret.example/".into();
        link.password_hash = Some("hash".into());
        let page = Page::Preview { link: &link, short: "http://x/s/abc", reported: false };
        assert!(!html(&page, for_header(""), "t", "t").contains("secret.example"));
    }
}
