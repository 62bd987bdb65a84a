//! Statistics, answered from what was rolled up.

use super::rest::{Answer, Data, own};
use super::wire::{Base, link_id, view};
use crate::actors::trading::market_data::wall_clock;
use crate::domain::time::{DAY, HOUR, Timestamp};
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::v1::page::invalid_cursor;
use crate::http::v1::params::Params;
use crate::http::wire::time;
use crate::persistence::links::clicks::Click;
use crate::persistence::links::rollup::{KEEP_HOURS, KEEP_MINUTES};
use crate::persistence::links::rows;
use crate::persistence::links::stats::{self, Dimension, Grain, Range};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

/// Values of each breakdown.
const TOP: i64 = 20;
/// Buckets of one answer.
const BUCKETS: i64 = 3_000;

/// The part of time that is asked for: the last 30 days unless said otherwise (the last one in minutes), in buckets that
/// suit it.
fn range(params: &Params) -> Result<Range, ApiError> {
    let now = wall_clock();
    let to = params.time("to")?.unwrap_or(now);
    let days = if params.get("grain") == Some("minute") { 1 } else { 30 };
    let from = params.time("from")?.unwrap_or(to + -days * DAY);
    let length = to - from;
    if length <= 0 {
        return Err(ApiError::bad_request("invalid_query", "from must be before to"));
    }
    let grain = match params.word("grain", &["minute", "hour", "day"])? {
        Some("minute") => Grain::Minute,
        Some("hour") => Grain::Hour,
        Some(_) => Grain::Day,
        None => suitable(from, to, now),
    };
    if length / grain.width() > BUCKETS {
        return Err(ApiError::bad_request("invalid_query", format!("a range has at most {BUCKETS} buckets")));
    }
    Ok(Range { grain, from: from.bucket(grain.width()), to })
}

/// Buckets that suit a part of time: neither too many, nor finer than those that are kept so long.
fn suitable(from: Timestamp, to: Timestamp, now: Timestamp) -> Grain {
    let fits = |grain: Grain, longest: i64, kept: i64| to - from <= longest && now - from.bucket(grain.width()) <= kept;
    if fits(Grain::Minute, 6 * HOUR, KEEP_MINUTES) {
        Grain::Minute
    } else if fits(Grain::Hour, 7 * DAY, KEEP_HOURS) {
        Grain::Hour
    } else {
        Grain::Day
    }
}

fn show_series(series: &[(Timestamp, i64, i64)]) -> Value {
    let bucket =
        |(at, people, bots): &(Timestamp, i64, i64)| json!({"at": time(*at), "clicks": people, "bot_clicks": bots});
    series.iter().map(bucket).collect()
}

fn show_range(range: Range) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("from".into(), time(range.from).into());
    shown.insert("to".into(), time(range.to).into());
    shown.insert("grain".into(), range.grain.name().into());
    shown
}

/// `GET /links/{id}/stats`: clicks over time and by everything that is known of them.
pub async fn of_link(state: Data, user: CurrentUser, id: web::Path<String>, params: Params) -> Answer {
    let stored = own(&state, &user.0, link_id(&id)?).await?;
    let range = range(&params)?;
    let link = stored.link.id;
    let read = move |conn: &mut _| {
        let series = stats::series(conn, link, range)?;
        let unique = stats::unique(conn, link, range.from, range.to)?;
        let mut breakdowns = Vec::new();
        for (name, dimension) in Dimension::BREAKDOWNS {
            breakdowns.push((name, stats::top(conn, link, dimension, range, TOP)?));
        }
        Ok((series, unique, breakdowns))
    };
    let (series, unique, breakdowns) = state.links.read(read).await?;
    let mut shown = show_range(range);
    shown.insert("clicks".into(), series.iter().map(|(_, people, _)| people).sum::<i64>().into());
    shown.insert("bot_clicks".into(), series.iter().map(|(_, _, bots)| bots).sum::<i64>().into());
    shown.insert("all_clicks".into(), stored.clicks.into());
    shown.insert("last_click_at".into(), json!(stored.last_click_at.map(time)));
    shown.insert("series".into(), show_series(&series));
    let day = |(at, visitors): &(Timestamp, i64)| json!({"at": time(*at), "visitors": visitors});
    shown.insert("visitors".into(), unique.iter().map(day).collect());
    for (name, values) in breakdowns {
        let value = |(value, clicks): &(String, i64)| json!({"value": value, "clicks": clicks});
        shown.insert(name.into(), values.iter().map(value).collect());
    }
    Ok(HttpResponse::Ok().json(shown))
}

/// `GET /links/stats`: clicks of all the caller's links, and the links that were followed most.
pub async fn of_user(state: Data, request: HttpRequest, user: CurrentUser, params: Params) -> Answer {
    let (range, who) = (range(&params)?, user.0.user);
    let read = move |conn: &mut _| {
        let series = stats::series_of(conn, who, range)?;
        let top = stats::top_links(conn, who, range, TOP)?;
        let ids: Vec<_> = top.iter().map(|(id, _)| *id).collect();
        let links = rows::by_ids(conn, &ids)?;
        Ok((series, top, links, rows::count_of(conn, who)?))
    };
    let (series, top, links, count) = state.links.read(read).await?;
    let base = Base::of(&request, &state);
    let mut shown = show_range(range);
    shown.insert("links".into(), count.into());
    shown.insert("clicks".into(), series.iter().map(|(_, people, _)| people).sum::<i64>().into());
    shown.insert("bot_clicks".into(), series.iter().map(|(_, _, bots)| bots).sum::<i64>().into());
    shown.insert("series".into(), show_series(&series));
    let top = top.iter().filter_map(|(id, clicks)| {
        let stored = links.iter().find(|stored| stored.link.id == *id)?;
        Some(json!({"link": view(&base, stored), "clicks": clicks}))
    });
    shown.insert("top".into(), top.collect());
    Ok(HttpResponse::Ok().json(shown))
}

/// A single click as JSON.
pub fn view_click(click: &Click) -> Value {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    json!({
        "link": click.link.0.to_string(),
        "at": time(click.at),
        "referrer": some(&click.referrer),
        "device": click.device,
        "os": click.os,
        "browser": click.browser,
        "language": some(&click.language),
        "country": some(&click.country),
        "bot": some(&click.bot),
        "target": some(&click.target),
    })
}

/// `GET /links/{id}/clicks`: single clicks, newest first, as far as they are kept.
pub async fn clicks(state: Data, user: CurrentUser, id: web::Path<String>, params: Params) -> Answer {
    let stored = own(&state, &user.0, link_id(&id)?).await?;
    let page = params.page()?;
    let place = |text: &str| -> Option<stats::Place> {
        let mut numbers = text.split('.').map(|part| part.parse::<i64>().ok());
        let place = (numbers.next()??, numbers.next()??, numbers.next()??);
        numbers.next().is_none().then_some(place)
    };
    let before = page.after.as_deref().map(|text| place(text).ok_or_else(invalid_cursor)).transpose()?;
    let (link, count) = (stored.link.id, i64::try_from(page.limit).unwrap_or(100));
    let clicks = state.links.read(move |conn| stats::clicks(conn, link, before, count)).await?;
    let mut response = HttpResponse::Ok();
    if let Some(((at, buffer, click), _)) = clicks.last() {
        response.insert_header(("CB-AFTER", format!("{at}.{buffer}.{click}")));
    }
    Ok(response.json(clicks.iter().map(|(_, click)| view_click(click)).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_suit_the_length_and_the_age_of_what_is_asked_for() {
        let now = Timestamp(1_000 * DAY);
        for (age, length, expected) in [
            (HOUR, HOUR, Grain::Minute),
            (6 * HOUR, 6 * HOUR, Grain::Minute),
            (7 * HOUR, 7 * HOUR, Grain::Hour),
            (2 * DAY, HOUR, Grain::Minute),
            // Their minutes are gone, then their hours.
            (3 * DAY, HOUR, Grain::Hour),
            (30 * DAY, 7 * DAY, Grain::Hour),
            (30 * DAY, 8 * DAY, Grain::Day),
            (91 * DAY, HOUR, Grain::Day),
        ] {
            let from = now + -age;
            assert_eq!(suitable(from, from + length, now), expected, "{length} µs, {age} µs ago");
        }
    }
}
