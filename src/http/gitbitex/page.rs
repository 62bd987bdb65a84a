//! The files of a GitBitEx front end on an address of its own.
//!
//! They are read once, when the program starts, so that a request costs a look-up and no path can lead out of the
//! folder. Paths of no file are pages of the front end and answered with `index.html`.

use actix_web::HttpResponse;
use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::{self, ETag, EntityTag, Header, IfNoneMatch};
use anyhow::{Context, anyhow};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// More than any front end has: a wrong folder is noticed before it fills the memory.
const MOST_FILES: usize = 5_000;
const MOST_BYTES: usize = 128 << 20;
const INDEX: &str = "index.html";

struct File {
    content: Bytes,
    kind: &'static str,
    tag: EntityTag,
}

/// A front end's files by path, without the slash at the beginning.
pub struct Page {
    files: BTreeMap<String, File>,
}

impl Page {
    /// Reads all files below a folder.
    ///
    /// # Errors
    /// When it cannot be read, has no `index.html`, or is far too large.
    pub fn read(folder: &Path) -> anyhow::Result<Page> {
        let mut page = Page { files: BTreeMap::new() };
        let mut bytes = 0;
        page.add(folder, "", &mut bytes)
            .with_context(|| format!("the folder {} cannot be served", folder.display()))?;
        if !page.files.contains_key(INDEX) {
            return Err(anyhow!("the folder {} has no {INDEX}", folder.display()));
        }
        Ok(page)
    }

    fn add(&mut self, folder: &Path, prefix: &str, bytes: &mut usize) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            // What begins with a dot is nobody's business, and links could lead anywhere.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type()?;
            if name.starts_with('.') || kind.is_symlink() {
                continue;
            }
            let path = format!("{prefix}{name}");
            if kind.is_dir() {
                self.add(&entry.path(), &format!("{path}/"), bytes)?;
                continue;
            }
            let content = Bytes::from(std::fs::read(entry.path())?);
            *bytes += content.len();
            if *bytes > MOST_BYTES || self.files.len() >= MOST_FILES {
                return Err(anyhow!("it holds more than {MOST_FILES} files or {MOST_BYTES} bytes"));
            }
            let tag = EntityTag::new_strong(blake3::hash(&content).to_hex()[..32].to_owned());
            self.files.insert(path, File { kind: kind_of(&name), content, tag });
        }
        Ok(())
    }

    /// The answer to a request for a path, decoded.
    fn answer(&self, request: &ServiceRequest) -> HttpResponse {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = HttpResponse::MethodNotAllowed();
            return response.insert_header((header::ALLOW, "GET, HEAD")).json(serde_json::json!({
                "code": 0, "message": "This address serves a page."
            }));
        }
        let path = request.match_info().unprocessed().trim_start_matches('/');
        let file = match self.files.get(path) {
            Some(file) => file,
            None if path.starts_with("legal/") => return legal(),
            // A missing file of the front end is missing; any other path is a page of it.
            None if path.starts_with("assets/") => return HttpResponse::NotFound().finish(),
            None => match self.files.get(INDEX) {
                Some(index) => index,
                None => return HttpResponse::NotFound().finish(),
            },
        };
        let known = match IfNoneMatch::parse(request) {
            Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&file.tag)),
            Ok(IfNoneMatch::Any) | Err(_) => false,
        };
        let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        response
            .insert_header(ETag(file.tag.clone()))
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((header::X_FRAME_OPTIONS, "SAMEORIGIN"))
            .insert_header((header::REFERRER_POLICY, "same-origin"));
        if known {
            return response.finish();
        }
        response.content_type(file.kind).body(file.content.clone())
    }
}

/// Where the front end's links to agreements lead when its folder has no such pages.
fn legal() -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(
        "<!doctype html><meta charset=utf-8><title>Terms and privacy</title>\
         <p>The operator of this venue has not published terms of use or a privacy notice here. \
         Please ask the operator for them.</p>",
    )
}

fn kind_of(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "eot" => "application/vnd.ms-fontobject",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether a path is one of the dialect's own.
fn is_of_the_api(path: &str) -> bool {
    path == "/ws" || path == "/api" || path.starts_with("/api/")
}

/// The page's answer to a request on its address; none for `/api` and `/ws` there, and for everything elsewhere.
pub fn serve(page: Option<&(SocketAddr, Arc<Page>)>, request: &ServiceRequest) -> Option<HttpResponse> {
    let (address, page) = page?;
    let own = request.app_config().local_addr() == *address && !is_of_the_api(request.path());
    own.then(|| page.answer(request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_with_all_below_it_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert!(Page::read(folder.path()).is_err());
        write("index.html", "page");
        write("assets/js/app.js", "code");
        write(".secret", "no");
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("link")).unwrap();
        let page = Page::read(folder.path()).unwrap();
        assert_eq!(page.files.keys().collect::<Vec<_>>(), ["assets/js/app.js", "index.html"]);
        assert_eq!(page.files["assets/js/app.js"].kind, "text/javascript; charset=utf-8");
    }

    #[test]
    fn only_the_dialect_has_paths_of_its_own() {
        for (path, own) in
            [("/api", true), ("/api/x", true), ("/ws", true), ("/apis", false), ("/wsx", false), ("/v1", false)]
        {
            assert_eq!(is_of_the_api(path), own, "{path}");
        }
    }
}
