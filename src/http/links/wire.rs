//! Links as JSON, both ways.

use crate::actors::links::{Links, NewLink};
use crate::auth::{AuthError, Secret};
use crate::domain::ids::AccountId;
use crate::domain::link::edit::{Patch, blank};
use crate::domain::link::rules::Rule;
use crate::domain::link::target::Hosts;
use crate::domain::link::{Link, LinkId, RedirectCode, slug};
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::wire::{parse_time, time};
use crate::http::{AppState, cookies, ids};
use crate::persistence::links::rows::Stored;
use actix_web::HttpRequest;
use actix_web::http::header::HOST;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// The most characters of a link's password.
const MAX_PASSWORD: usize = 200;

/// A field that may be absent, null or a value.
fn double<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// What a link can be asked to be: the body of a new one, of a change, and a row of an import.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Body {
    pub target: Option<String>,
    pub slug: Option<String>,
    pub domain: Option<String>,
    pub title: Option<String>,
    pub notes: Option<String>,
    pub tags: Option<Vec<String>>,
    pub code: Option<u16>,
    #[serde(deserialize_with = "double")]
    pub starts_at: Option<Option<String>>,
    #[serde(deserialize_with = "double")]
    pub expires_at: Option<Option<String>>,
    #[serde(deserialize_with = "double")]
    pub max_clicks: Option<Option<u32>>,
    #[serde(deserialize_with = "double")]
    pub password: Option<Option<String>>,
    pub rules: Option<Vec<Value>>,
    pub forward_query: Option<bool>,
    pub enabled: Option<bool>,
    /// Whether an own link that is the same to those who follow it will do.
    pub reuse: Option<bool>,
    /// The version that a change is meant for.
    pub version: Option<i64>,
}

/// Reads a body.
///
/// # Errors
/// 400.
pub fn body<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let invalid = |error| ApiError::bad_request("invalid_body", format!("the body cannot be read: {error}"));
    serde_json::from_slice(bytes).map_err(invalid)
}

/// The number of a link.
///
/// # Errors
/// 404 when it is none.
pub fn link_id(text: &str) -> Result<LinkId, ApiError> {
    let unknown = |_| crate::actors::links::LinksError::Unknown;
    Ok(LinkId(text.parse().map_err(unknown)?))
}

/// Rules from JSON; the times in them are text.
///
/// # Errors
/// 400.
fn rules(values: Vec<Value>) -> Result<Vec<Rule>, ApiError> {
    let read = |mut value: Value| {
        for name in ["from", "until"] {
            if let Some(place) = value.get_mut("when").and_then(|when| when.get_mut(name))
                && let Some(text) = place.as_str()
            {
                *place = json!(parse_time(text, name)?.0);
            }
        }
        serde_json::from_value(value)
            .map_err(|error| ApiError::bad_request("invalid_rule", format!("a rule cannot be read: {error}")))
    };
    values.into_iter().map(read).collect()
}

/// Rules as JSON.
pub fn show_rules(rules: &[Rule]) -> Value {
    let mut value = serde_json::to_value(rules).unwrap_or_default();
    for rule in value.as_array_mut().into_iter().flatten() {
        for name in ["from", "until"] {
            if let Some(place) = rule.get_mut("when").and_then(|when| when.get_mut(name))
                && let Some(micros) = place.as_i64()
            {
                *place = time(Timestamp(micros)).into();
            }
        }
    }
    value
}

fn moment(text: Option<Option<String>>, field: &str) -> Result<Option<Option<Timestamp>>, ApiError> {
    text.map(|text| text.filter(|text| !text.is_empty()).map(|text| parse_time(&text, field)).transpose()).transpose()
}

impl Body {
    /// What is to be changed. The password is hashed, so this takes a while where there is one.
    ///
    /// # Errors
    /// 400, or 503 when too many passwords wait.
    pub async fn patch(&mut self, state: &AppState) -> Result<Patch, ApiError> {
        let password_hash = match self.password.take() {
            None => None,
            Some(None) => Some(None),
            Some(Some(text)) if text.is_empty() || text.chars().count() > MAX_PASSWORD => {
                let message = "a password has 1 to 200 characters";
                return Err(ApiError::bad_request("invalid_password", message));
            }
            Some(Some(text)) => Some(Some(state.accounts.hash_shared(Secret::new(text)).await?)),
        };
        let mut patch = self.plain_patch()?;
        patch.password_hash = password_hash;
        Ok(patch)
    }

    /// What is to be changed but the password.
    ///
    /// # Errors
    /// 400.
    pub fn plain_patch(&mut self) -> Result<Patch, ApiError> {
        Ok(Patch {
            target: self.target.take(),
            title: self.title.take(),
            notes: self.notes.take(),
            tags: self.tags.take(),
            code: self.code.map(RedirectCode::try_from).transpose()?,
            starts_at: moment(self.starts_at.take(), "starts_at")?,
            expires_at: moment(self.expires_at.take(), "expires_at")?,
            max_clicks: self.max_clicks.take(),
            password_hash: None,
            rules: self.rules.take().map(rules).transpose()?,
            forward_query: self.forward_query,
            enabled: self.enabled,
        })
    }
}

/// A new link of this body.
///
/// # Errors
/// 400 when a rule refuses it.
pub fn make(
    links: &Links,
    body: &Body,
    patch: Patch,
    owner: Option<AccountId>,
    hosts: &Hosts,
    now: Timestamp,
) -> Result<NewLink, ApiError> {
    let policy = links.policy();
    let domain = body.domain.clone().unwrap_or_default().to_ascii_lowercase();
    let Some(settings) = policy.domains.get(&domain) else {
        return Err(ApiError::bad_request("unknown_domain", "links cannot be made on this domain"));
    };
    let chosen = body.slug.as_deref().filter(|slug| !slug.is_empty());
    let slug = match chosen {
        Some(text) => {
            slug::check(text, &links.settings().words).map_err(crate::domain::link::LinkError::from)?;
            text.to_owned()
        }
        None => links.random_slug(links.slug_length(&domain)),
    };
    if patch.target.is_none() {
        return Err(ApiError::bad_request("target_malformed", "a link needs a target"));
    }
    let mut link = blank(links.next_id(), domain, slug, owner, now);
    if let Some(code) = settings.code.and_then(|code| RedirectCode::try_from(code).ok()) {
        link.code = code;
    }
    link.apply(patch, now, hosts)?;
    // Some clicks of another limited link may be spent, so it cannot be followed as often as is asked for.
    let reuse = body.reuse.unwrap_or(false) && link.clicks.is_none();
    Ok(NewLink { link, chosen: chosen.is_some(), reuse })
}

/// Where links of this server are reached by whoever sent this request.
#[derive(Clone, Debug)]
pub struct Base {
    scheme: &'static str,
    /// The venue's own address, without a slash at its end.
    own: String,
}

/// The host that a request was sent to, as it stands in the request.
pub fn sent_host(request: &HttpRequest) -> Option<&str> {
    request.headers().get(HOST).and_then(|value| value.to_str().ok()).or_else(|| request.uri().host())
}

/// The same in lower case and without the port.
pub fn bare_host(host: &str) -> String {
    let bare = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    bare.trim_end_matches('.').to_ascii_lowercase()
}

impl Base {
    /// By the setting, else by the request.
    pub fn of(request: &HttpRequest, state: &AppState) -> Base {
        let public = state.accounts.public_url().map(|url| url.trim_end_matches('/').to_owned());
        let secure = cookies::secure(request, state) || public.as_ref().is_some_and(|url| url.starts_with("https:"));
        let scheme = if secure { "https" } else { "http" };
        let sound =
            |host: &&str| host.len() <= 260 && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
        let host = sent_host(request).filter(sound).unwrap_or("localhost");
        Base { scheme, own: public.unwrap_or_else(|| format!("{scheme}://{host}")) }
    }

    /// The address of a link.
    pub fn short_url(&self, domain: &str, slug: &str) -> String {
        if domain.is_empty() { format!("{}/s/{slug}", self.own) } else { format!("{}://{domain}/{slug}", self.scheme) }
    }
}

/// A link as its owner sees it.
pub fn view(base: &Base, stored: &Stored) -> Value {
    let Stored { link, version, clicks, bot_clicks, last_click_at } = stored;
    json!({
        "id": link.id.0.to_string(),
        "short_url": base.short_url(&link.domain, &link.slug),
        "domain": link.domain,
        "slug": link.slug,
        "target": link.target,
        "title": link.title,
        "notes": link.notes,
        "tags": link.tags,
        "code": u16::from(link.code),
        "starts_at": link.starts_at.map(time),
        "expires_at": link.expires_at.map(time),
        "max_clicks": link.clicks.map(|clicks| clicks.most),
        "clicks_left": link.clicks.map(|clicks| clicks.left),
        "has_password": link.password_hash.is_some(),
        "rules": show_rules(&link.rules),
        "forward_query": link.forward_query,
        "state": link.state.name(),
        "version": version,
        "clicks": clicks,
        "bot_clicks": bot_clicks,
        "last_click_at": last_click_at.map(time),
        "created_at": time(link.created_at),
        "updated_at": time(link.updated_at),
    })
}

/// A link that was made a moment ago.
pub fn view_new(base: &Base, link: &Link) -> Value {
    let stored = Stored { link: link.clone(), version: 1, clicks: 0, bot_clicks: 0, last_click_at: None };
    view(base, &stored)
}

/// A link as those see it who keep order.
pub fn view_for_moderators(base: &Base, stored: &Stored) -> Value {
    let mut shown = view(base, stored);
    shown["owner"] = json!(stored.link.owner.map(ids::user));
    if let Some(fields) = shown.as_object_mut() {
        // The owner's alone.
        fields.remove("notes");
    }
    shown
}

/// 401 for those who may not do this without an account.
pub fn sign_in_first() -> ApiError {
    AuthError::TokenMissing.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_of_rules_are_text_outside() {
        let outside =
            json!({"when": {"from": "2026-01-01T00:00:00Z"}, "ways": [{"to": "https://a.example/", "weight": 1}]});
        let inside = rules(vec![outside.clone()]).unwrap();
        assert_eq!(inside[0].when.from, Some(Timestamp(1_767_225_600_000_000)));
        assert_eq!(show_rules(&inside), json!([outside]));
        assert!(rules(vec![json!({"when": {"from": "soon"}, "ways": []})]).is_err());
        assert!(rules(vec![json!({"when": {"planet": ["mars"]}, "ways": []})]).is_err());
    }

    #[test]
    fn absent_null_and_a_value_are_three_things() {
        let of = |text: &str| serde_json::from_str::<Body>(text).unwrap().max_clicks;
        assert_eq!(
            (of("{}"), of(r#"{"max_clicks": null}"#), of(r#"{"max_clicks": 3}"#)),
            (None, Some(None), Some(Some(3)))
        );
    }

    #[test]
    fn hosts_without_their_port() {
        for (sent, bare) in
            [("S.Example:8080", "s.example"), ("s.example.", "s.example"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")]
        {
            assert_eq!(bare_host(sent), bare);
        }
    }
}
