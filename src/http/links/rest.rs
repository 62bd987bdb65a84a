//! Links of their owners: make, read, list, change, delete.

use super::qr;
use super::wire::{self, Base, Body, body, link_id};
use crate::actors::links::{Edited, LinksError, Made};
use crate::actors::trading::market_data::wall_clock;
use crate::auth::{Caller, Class, Verdict};
use crate::domain::link::{LinkId, State};
use crate::http::error::ApiError;
use crate::http::session::{CurrentUser, MaybeUser, client_address};
use crate::http::v1::page::invalid_cursor;
use crate::http::v1::params::Params;
use crate::http::wire::time;
use crate::http::{AppState, ids};
use crate::persistence::links::changes;
use crate::persistence::links::rows::{self, Stored};
use crate::persistence::links::search::{self, Filter, Place, Sort};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub(super) type Answer = Result<HttpResponse, ApiError>;
pub(super) type Data = web::Data<AppState>;

/// Counts links that are to be made against the limit of their maker.
///
/// # Errors
/// 429.
pub(super) async fn count(state: &AppState, request: &HttpRequest, caller: Option<&Caller>) -> Result<(), ApiError> {
    let class = if caller.is_some() { Class::Links } else { Class::LinksAnonymous };
    match state.accounts.count(class, caller, client_address(request, state)).await {
        Some(refused) if !refused.admitted => {
            let after = Verdict::seconds(refused.retry_after);
            Err(ApiError::rate_limited("too many new links, please wait", after))
        }
        Some(_) | None => Ok(()),
    }
}

/// `POST /links`: 201 for a new link, 200 when the same one was there.
pub async fn create(state: Data, request: HttpRequest, user: MaybeUser, bytes: web::Bytes) -> Answer {
    let MaybeUser(caller) = user;
    if caller.is_none() && !state.links.allowances().anonymous {
        return Err(wire::sign_in_first());
    }
    let mut body: Body = body(&bytes)?;
    count(&state, &request, caller.as_ref()).await?;
    let hosts = state.links.hosts(wire::sent_host(&request).map(wire::bare_host).as_deref());
    let patch = body.patch(&state).await?;
    let owner = caller.map(|caller| caller.user);
    let new = wire::make(&state.links, &body, patch, owner, &hosts, wall_clock())?;
    let made = state.links.create(vec![new]).await?.into_iter().next();
    let base = Base::of(&request, &state);
    match made.unwrap_or(Err(LinksError::Overloaded))? {
        Made::Created(link) => Ok(HttpResponse::Created().json(wire::view_new(&base, &link))),
        Made::Unchanged(stored) => Ok(HttpResponse::Ok().json(wire::view(&base, &stored))),
        Made::Collided => Err(LinksError::SlugTaken.into()),
    }
}

/// A link of the caller that was not deleted.
///
/// # Errors
/// 404, 503.
pub(super) async fn own(state: &AppState, caller: &Caller, id: LinkId) -> Result<Stored, ApiError> {
    let stored = state.links.read(move |conn| rows::by_id(conn, id)).await?;
    let own = |stored: &Stored| stored.link.owner == Some(caller.user) && stored.link.state != State::Deleted;
    Ok(stored.filter(own).ok_or(LinksError::Unknown)?)
}

/// `GET /links/{id}`.
pub async fn get(state: Data, request: HttpRequest, user: CurrentUser, id: web::Path<String>) -> Answer {
    let stored = own(&state, &user.0, link_id(&id)?).await?;
    Ok(HttpResponse::Ok().json(wire::view(&Base::of(&request, &state), &stored)))
}

/// What a list is asked for.
///
/// # Errors
/// 400.
pub(super) fn filter(params: &Params) -> Result<Filter, ApiError> {
    let text = |key| params.get(key).map(str::to_owned);
    let state = params.word("state", &["active", "disabled", "blocked"])?;
    let sort = params.word("sort", &Sort::NAMES)?.and_then(Sort::from_name).unwrap_or(Sort::Created);
    let descending = match params.word("order", &["asc", "desc"])? {
        Some(word) => word == "desc",
        None => matches!(sort, Sort::Created | Sort::Updated | Sort::Clicks),
    };
    let page = params.page()?;
    let after = page.after.as_deref().map(place).transpose()?;
    Ok(Filter {
        owner: None,
        text: text("q"),
        tag: text("tag"),
        state: state.and_then(State::from_name),
        domain: text("domain"),
        slug: text("slug"),
        sort,
        descending,
        after,
        count: i64::try_from(page.limit).unwrap_or(100),
    })
}

fn place(cursor: &str) -> Result<Place, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid_cursor())?;
    let (id, value): (i64, String) = serde_json::from_slice(&bytes).map_err(|_| invalid_cursor())?;
    // PostgreSQL takes no NUL in a text.
    if value.contains('\0') {
        return Err(invalid_cursor());
    }
    Ok(Place { value, id: LinkId(id) })
}

fn cursor(place: &Place) -> String {
    URL_SAFE_NO_PAD.encode(json!([place.id.0, place.value]).to_string())
}

/// A page of links with the cursor of the next.
pub(super) async fn page(state: &AppState, filter: Filter, show: impl Fn(&Stored) -> Value) -> Answer {
    if [&filter.text, &filter.tag, &filter.domain, &filter.slug].into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(ApiError::bad_request("invalid_query", "the query cannot be read"));
    }
    let (sort, wanted) = (filter.sort, filter.count);
    let links = state.links.read(move |conn| search::list(conn, &filter)).await?;
    let mut response = HttpResponse::Ok();
    if let Some(last) = links.last()
        && links.len() as i64 == wanted
    {
        response.insert_header(("CB-AFTER", cursor(&search::place(sort, last))));
    }
    Ok(response.json(links.iter().map(show).collect::<Vec<_>>()))
}

/// `GET /links`: the caller's, newest first unless sorted otherwise.
pub async fn list(state: Data, request: HttpRequest, user: CurrentUser, params: Params) -> Answer {
    let filter = Filter { owner: Some(user.0.user), ..filter(&params)? };
    let base = Base::of(&request, &state);
    page(&state, filter, |stored| wire::view(&base, stored)).await
}

/// `PATCH /links/{id}`: changes what is given. `version` refuses the change when somebody was faster.
pub async fn change(
    state: Data,
    request: HttpRequest,
    user: CurrentUser,
    id: web::Path<String>,
    bytes: web::Bytes,
) -> Answer {
    let id = link_id(&id)?;
    let mut body: Body = body(&bytes)?;
    if body.slug.is_some() || body.domain.is_some() || body.reuse.is_some() {
        return Err(ApiError::bad_request("invalid_body", "a link keeps its slug and domain; make another one"));
    }
    let before = own(&state, &user.0, id).await?;
    let hosts = state.links.hosts(wire::sent_host(&request).map(wire::bare_host).as_deref());
    let patch = body.patch(&state).await?;
    let (who, now) = (user.0.user, wall_clock());
    let edit = move |stored: &Stored| {
        if stored.link.owner != Some(who) || stored.link.state == State::Deleted {
            return Err(LinksError::Unknown);
        }
        let mut link = stored.link.clone();
        let fields = link.apply(patch.clone(), now, &hosts)?;
        let limit = patch.max_clicks.filter(|_| fields.contains(&"max_clicks"));
        let what = match fields.as_slice() {
            [] => None,
            ["state"] if link.state == State::Active => Some("enabled"),
            ["state"] => Some("disabled"),
            _ => Some("edited"),
        };
        let mut details = json!({"fields": fields});
        if stored.link.target != link.target {
            details["before"] = json!({"target": stored.link.target});
        }
        Ok(Edited { link, limit, what, details, by: Some(who), at: now })
    };
    let version = body.version;
    if version.is_some_and(|version| version != before.version) {
        return Err(LinksError::Changed.into());
    }
    let stored = state.links.edit(id, version, edit).await?;
    Ok(HttpResponse::Ok().json(wire::view(&Base::of(&request, &state), &stored)))
}

/// `DELETE /links/{id}`: it answers 410 from then on, and nobody gets its slug.
pub async fn delete(state: Data, user: CurrentUser, id: web::Path<String>) -> Answer {
    let (id, who, now) = (link_id(&id)?, user.0.user, wall_clock());
    let edit = move |stored: &Stored| {
        if stored.link.owner != Some(who) || stored.link.state == State::Deleted {
            return Err(LinksError::Unknown);
        }
        let mut link = stored.link.clone();
        link.state = State::Deleted;
        link.updated_at = now;
        // What its owner has written about it goes with it.
        link.notes.clear();
        Ok(Edited { link, limit: None, what: Some("deleted"), details: json!({}), by: Some(who), at: now })
    };
    let stored = state.links.edit(id, None, edit).await?;
    Ok(HttpResponse::Ok().json(json!({"id": stored.link.id.0.to_string(), "state": stored.link.state.name()})))
}

/// `GET /links/{id}/history`: what became of it, newest first.
pub async fn history(state: Data, user: CurrentUser, id: web::Path<String>, params: Params) -> Answer {
    let stored = own(&state, &user.0, link_id(&id)?).await?;
    let page = params.page()?;
    let before = page.after.as_deref().map(|text| text.parse::<i64>().map_err(|_| invalid_cursor())).transpose()?;
    let (link, count) = (stored.link.id, i64::try_from(page.limit).unwrap_or(100));
    let changes = state.links.read(move |conn| changes::of_link(conn, link, before, count)).await?;
    let mut response = HttpResponse::Ok();
    if let Some(last) = changes.last() {
        response.insert_header(("CB-AFTER", last.seq.to_string()));
    }
    let view = |change: &changes::Change| {
        json!({
            "at": time(change.at),
            "what": change.what,
            // Who keeps order on the venue is not named.
            "by": change.by.filter(|by| *by == user.0.user).map(ids::user),
            "details": serde_json::from_str::<Value>(&change.details).unwrap_or_default(),
        })
    };
    Ok(response.json(changes.iter().map(view).collect::<Vec<_>>()))
}

/// `GET /links/tags`: the caller's tags with how many links have each.
pub async fn tags(state: Data, user: CurrentUser) -> Answer {
    let who = user.0.user;
    let tags = state.links.read(move |conn| search::tags(conn, who)).await?;
    let tags: Vec<Value> = tags.into_iter().map(|(tag, links)| json!({"tag": tag, "links": links})).collect();
    Ok(HttpResponse::Ok().json(tags))
}

/// `GET /links/domains`: where links can be made; the empty name is the venue's own address.
pub async fn domains(state: Data) -> Answer {
    let policy = state.links.policy();
    let domains: Vec<Value> = policy
        .domains
        .iter()
        .map(|(host, settings)| {
            json!({
                "domain": host,
                "slug_length": state.links.slug_length(host),
                "code": settings.code.unwrap_or(302),
                "anonymous": state.links.allowances().anonymous,
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(domains))
}

/// `GET /links/{id}/qr`: the short address as a picture, SVG or PNG.
pub async fn qr_code(
    state: Data,
    request: HttpRequest,
    user: CurrentUser,
    id: web::Path<String>,
    params: Params,
) -> Answer {
    let stored = own(&state, &user.0, link_id(&id)?).await?;
    let options = qr::Options::read(&params)?;
    let address = Base::of(&request, &state).short_url(&stored.link.domain, &stored.link.slug);
    options.answer(&address)
}
