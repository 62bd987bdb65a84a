//! Links as rows.

use super::schema::links as l;
use super::{account, bad, changes, column};
use crate::domain::ids::AccountId;
use crate::domain::link::rules::Rule;
use crate::domain::link::{ClickLimit, Link, LinkId, RedirectCode, State};
use crate::domain::time::Timestamp;
use crate::persistence::db::{Connection, bulk_insert};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use std::borrow::Borrow;
use std::collections::BTreeSet;

/// Names or ids that one statement looks for.
const AT_ONCE: usize = 500;

/// A link with what the database alone knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The link.
    pub link: Link,
    /// Goes up by one with every edit.
    pub version: i64,
    /// Clicks of people that were rolled up.
    pub clicks: i64,
    /// Clicks of robots.
    pub bot_clicks: i64,
    /// The last click that was rolled up.
    pub last_click_at: Option<Timestamp>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = l)]
pub(super) struct Row {
    id: i64,
    domain: String,
    slug: String,
    owner: Option<i64>,
    target: String,
    title: String,
    notes: String,
    tags: String,
    code: i32,
    starts_at: Option<i64>,
    expires_at: Option<i64>,
    max_clicks: Option<i64>,
    clicks_left: Option<i64>,
    password_hash: Option<String>,
    rules: String,
    forward_query: bool,
    state: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
    clicks: i64,
    bot_clicks: i64,
    last_click_at: Option<i64>,
}

impl Row {
    pub(super) fn read(self) -> QueryResult<Stored> {
        let count = |value: i64| u32::try_from(value).map_err(|_| bad("limit of clicks"));
        let clicks = match (self.max_clicks, self.clicks_left) {
            // Below zero when the limit was set to less than was used; see [`set_limit`].
            (Some(most), Some(left)) => Some(ClickLimit { most: count(most)?, left: count(left.max(0))? }),
            (_, _) => None,
        };
        let rules: Vec<Rule> = match self.rules.as_str() {
            "" => Vec::new(),
            text => serde_json::from_str(text).map_err(|_| bad("list of rules"))?,
        };
        let code = u16::try_from(self.code).ok().and_then(|code| RedirectCode::try_from(code).ok());
        let link = Link {
            id: LinkId(self.id),
            domain: self.domain,
            slug: self.slug,
            owner: self.owner.map(account).transpose()?,
            target: self.target,
            title: self.title,
            notes: self.notes,
            tags: self.tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            code: code.ok_or_else(|| bad("redirect code"))?,
            starts_at: self.starts_at.map(Timestamp),
            expires_at: self.expires_at.map(Timestamp),
            clicks,
            password_hash: self.password_hash,
            rules,
            forward_query: self.forward_query,
            state: State::from_name(&self.state).ok_or_else(|| bad("state"))?,
            created_at: Timestamp(self.created_at),
            updated_at: Timestamp(self.updated_at),
        };
        Ok(Stored {
            link,
            version: self.version,
            clicks: self.clicks,
            bot_clicks: self.bot_clicks,
            last_click_at: self.last_click_at.map(Timestamp),
        })
    }
}

/// Tags as their column has them: each between commas.
fn tags_text(tags: &[String]) -> String {
    if tags.is_empty() { String::new() } else { format!(",{},", tags.join(",")) }
}

fn rules_text(rules: &[Rule]) -> String {
    if rules.is_empty() { String::new() } else { serde_json::to_string(rules).unwrap_or_default() }
}

/// What stands for a target in the index of targets: in the upper half whose link it is and to which site, so that links
/// that are made together, which mostly lead to one site, are neighbours in the index and change few of its pages.
fn target_hash(link: &Link) -> i64 {
    let site = link.target.split('/').nth(2).unwrap_or_default();
    let mut place = blake3::Hasher::new();
    place.update(&link.owner.map_or(-1, column).to_le_bytes()).update(site.as_bytes());
    let half = |hash: blake3::Hash| hash.as_bytes().first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let (place, target) = (half(place.finalize()), half(blake3::hash(link.target.as_bytes())));
    i64::from(place) << 32 | i64::from(target)
}

/// The link of this number.
///
/// # Errors
/// Those of the database.
pub fn by_id(conn: &mut Connection, id: LinkId) -> QueryResult<Option<Stored>> {
    l::table.find(id.0).select(Row::as_select()).first(conn).optional()?.map(Row::read).transpose()
}

/// The links of these numbers, those that are there.
///
/// # Errors
/// Those of the database.
pub fn by_ids(conn: &mut Connection, ids: &[LinkId]) -> QueryResult<Vec<Stored>> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(AT_ONCE) {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<Row> = l::table.filter(l::id.eq_any(ids)).select(Row::as_select()).load(conn)?;
        for row in rows {
            found.push(row.read()?);
        }
    }
    Ok(found)
}

/// The links of these names (domain, slug), those that are there, in no order.
///
/// # Errors
/// Those of the database.
pub fn by_names(conn: &mut Connection, names: &[(&str, &str)]) -> QueryResult<Vec<Stored>> {
    let mut found = Vec::with_capacity(names.len());
    for names in names.chunks(AT_ONCE) {
        let rows: Vec<Row> = match names {
            // What most look-ups are, with a statement that stays prepared.
            [(domain, slug)] => {
                let one = l::table.filter(l::slug.eq(slug)).filter(l::domain.eq(domain));
                one.select(Row::as_select()).load(conn)?
            }
            _ => {
                let slugs: Vec<&str> = names.iter().map(|(_, slug)| *slug).collect();
                l::table.filter(l::slug.eq_any(slugs)).select(Row::as_select()).load(conn)?
            }
        };
        let wanted: BTreeSet<&(&str, &str)> = names.iter().collect();
        for row in rows {
            if wanted.contains(&(row.domain.as_str(), row.slug.as_str())) {
                found.push(row.read()?);
            }
        }
    }
    Ok(found)
}

/// Adds new links; those whose name is taken are left out. The numbers of those that were added.
///
/// # Errors
/// Those of the database.
pub fn insert(conn: &mut Connection, new: &[impl Borrow<Link>]) -> QueryResult<Vec<LinkId>> {
    let mut new: Vec<&Link> = new.iter().map(Borrow::borrow).collect();
    if matches!(conn, Connection::Postgres(_)) {
        // One that wants a name waits for another transaction that has taken it: in the order of names, no two wait for
        // each other. SQLite has one writer, and rows in the order of their numbers are neighbours there.
        new.sort_by(|one, other| (&one.slug, &one.domain).cmp(&(&other.slug, &other.domain)));
    }
    let count = bulk_insert!(conn, "links", &new, |link| {
        id: BigInt = link.id.0,
        domain: Text = &link.domain,
        slug: Text = &link.slug,
        owner: Nullable<BigInt> = link.owner.map(column),
        target: Text = &link.target,
        target_hash: BigInt = target_hash(link),
        title: Text = &link.title,
        notes: Text = &link.notes,
        tags: Text = tags_text(&link.tags),
        code: Integer = i32::from(u16::from(link.code)),
        starts_at: Nullable<BigInt> = link.starts_at.map(|at| at.0),
        expires_at: Nullable<BigInt> = link.expires_at.map(|at| at.0),
        max_clicks: Nullable<BigInt> = link.clicks.map(|clicks| i64::from(clicks.most)),
        clicks_left: Nullable<BigInt> = link.clicks.map(|clicks| i64::from(clicks.left)),
        password_hash: Nullable<Text> = link.password_hash.as_deref(),
        rules: Text = rules_text(&link.rules),
        forward_query: Bool = link.forward_query,
        state: Text = link.state.name(),
        created_at: BigInt = link.created_at.0,
        updated_at: BigInt = link.updated_at.0,
    }, "ON CONFLICT DO NOTHING", 1)?;
    if count == new.len() {
        return Ok(new.iter().map(|link| link.id).collect());
    }
    let mut added = Vec::with_capacity(new.len());
    for chunk in new.chunks(AT_ONCE) {
        let ids: Vec<i64> = chunk.iter().map(|link| link.id.0).collect();
        let there: Vec<(i64, String)> = l::table.filter(l::id.eq_any(ids)).select((l::id, l::slug)).load(conn)?;
        // A number may be an earlier link's, which is another one.
        let own: std::collections::BTreeSet<(i64, &str)> =
            chunk.iter().map(|link| (link.id.0, link.slug.as_str())).collect();
        let there = there.into_iter().filter(|(id, slug)| own.contains(&(*id, slug.as_str())));
        added.extend(there.map(|(id, _)| LinkId(id)));
    }
    Ok(added)
}

/// Writes what an edit has made of a link, if nobody else was faster: `version` is the one that the
/// edit was made on. The change goes into the history.
///
/// # Errors
/// Those of the database.
pub fn update(conn: &mut Connection, link: &Link, version: i64, change: &changes::New<'_>) -> QueryResult<bool> {
    let own = l::table.filter(l::id.eq(link.id.0)).filter(l::version.eq(version));
    let changed = diesel::update(own)
        .set((
            l::owner.eq(link.owner.map(column)),
            l::target.eq(&link.target),
            l::target_hash.eq(target_hash(link)),
            l::title.eq(&link.title),
            l::notes.eq(&link.notes),
            l::tags.eq(tags_text(&link.tags)),
            l::code.eq(i32::from(u16::from(link.code))),
            l::starts_at.eq(link.starts_at.map(|at| at.0)),
            l::expires_at.eq(link.expires_at.map(|at| at.0)),
            l::password_hash.eq(&link.password_hash),
            l::rules.eq(rules_text(&link.rules)),
            l::forward_query.eq(link.forward_query),
            l::state.eq(link.state.name()),
            l::version.eq(version + 1),
            l::updated_at.eq(link.updated_at.0),
        ))
        .execute(conn)?;
    if changed == 0 {
        return Ok(false);
    }
    changes::add(conn, link, change)?;
    Ok(true)
}

/// Sets how often a link may be followed. What was used stays used: `most` counts from the link's
/// beginning, so the clicks that are left are what it exceeds those used by. They are fewer than none when more were
/// used, so that a higher limit later on does not give those back.
///
/// # Errors
/// Those of the database.
pub fn set_limit(conn: &mut Connection, id: LinkId, most: Option<u32>) -> QueryResult<()> {
    let row = l::table.find(id.0);
    // Takes the row's lock first, so that no click is spent between reading and writing.
    diesel::update(row).set(l::version.eq(l::version)).execute(conn)?;
    let before: Option<(Option<i64>, Option<i64>)> =
        row.select((l::max_clicks, l::clicks_left)).first(conn).optional()?;
    let Some((old, left)) = before else { return Ok(()) };
    let used = old.zip(left).map_or(0, |(most, left)| most - left);
    let most = most.map(i64::from);
    let left = most.map(|most| most - used);
    diesel::update(row).set((l::max_clicks.eq(most), l::clicks_left.eq(left))).execute(conn).map(drop)
}

/// Spends up to `wanted` clicks of a limited link that is active; how many were left to be spent.
///
/// # Errors
/// Those of the database.
pub fn take(conn: &mut Connection, id: LinkId, wanted: u32) -> QueryResult<u32> {
    let active = || l::table.filter(l::id.eq(id.0)).filter(l::state.eq(State::Active.name()));
    // Takes the row's lock, where other nodes may write between two statements.
    if diesel::update(active()).set(l::version.eq(l::version)).execute(conn)? == 0 {
        return Ok(0);
    }
    let left: Option<i64> = active().select(l::clicks_left).first(conn)?;
    let granted = left.unwrap_or(0).clamp(0, i64::from(wanted));
    if granted > 0 {
        diesel::update(active()).set(l::clicks_left.eq(l::clicks_left - granted)).execute(conn)?;
    }
    Ok(u32::try_from(granted).unwrap_or(0))
}

/// How many links somebody has that were not deleted.
///
/// # Errors
/// Those of the database.
pub fn count_of(conn: &mut Connection, owner: AccountId) -> QueryResult<i64> {
    let own = l::table.filter(l::owner.eq(column(owner))).filter(l::state.ne(State::Deleted.name()));
    own.count().get_result(conn)
}

/// How many links somebody has ever had: an index alone knows.
///
/// # Errors
/// Those of the database.
pub fn count_all(conn: &mut Connection, owner: AccountId) -> QueryResult<i64> {
    l::table.filter(l::owner.eq(column(owner))).count().get_result(conn)
}

/// Links that were not deleted and may be the same as one of these to those who follow them: whoever asks compares. Of
/// several that are the same, only the oldest is told, since there may be very many.
///
/// # Errors
/// Those of the database.
pub fn alike(conn: &mut Connection, links: &[&Link]) -> QueryResult<Vec<Stored>> {
    let mut found = Vec::new();
    for chunk in links.chunks(AT_ONCE) {
        let hashes: BTreeSet<i64> = chunk.iter().map(|link| target_hash(link)).collect();
        let codes: BTreeSet<i32> = chunk.iter().map(|link| i32::from(u16::from(link.code))).collect();
        let starts: BTreeSet<i64> = chunk.iter().filter_map(|link| link.starts_at).map(|at| at.0).collect();
        let ends: BTreeSet<i64> = chunk.iter().filter_map(|link| link.expires_at).map(|at| at.0).collect();
        let limits: BTreeSet<i64> =
            chunk.iter().filter_map(|link| link.clicks).map(|clicks| i64::from(clicks.most)).collect();
        let passwords: BTreeSet<String> = chunk.iter().filter_map(|link| link.password_hash.clone()).collect();
        let rules: BTreeSet<String> = chunk.iter().map(|link| rules_text(&link.rules)).collect();
        // Found by the index of targets; the rest is compared there too, so that of one target with many links no more
        // are read than are asked for.
        let oldest: Vec<Option<i64>> = l::table
            .filter(l::target_hash.eq_any(hashes))
            .filter(l::state.ne(State::Deleted.name()))
            .filter(l::code.eq_any(codes))
            .filter(l::starts_at.is_null().or(l::starts_at.eq_any(starts)))
            .filter(l::expires_at.is_null().or(l::expires_at.eq_any(ends)))
            .filter(l::max_clicks.is_null().or(l::max_clicks.eq_any(limits)))
            .filter(l::password_hash.is_null().or(l::password_hash.eq_any(passwords)))
            .filter(l::rules.eq_any(rules))
            .group_by((
                l::owner,
                l::domain,
                l::target,
                l::code,
                l::starts_at,
                l::expires_at,
                l::max_clicks,
                l::password_hash,
                l::rules,
                l::forward_query,
                l::state,
            ))
            .select(diesel::dsl::min(l::id))
            .load(conn)?;
        let oldest: Vec<LinkId> = oldest.into_iter().flatten().map(LinkId).collect();
        let wanted: BTreeSet<_> = chunk.iter().map(|link| (link.owner, link.domain.as_str(), &link.target)).collect();
        let there = by_ids(conn, &oldest)?.into_iter();
        found.extend(there.filter(|Stored { link, .. }| {
            // Hashes may meet.
            wanted.contains(&(link.owner, link.domain.as_str(), &link.target))
        }));
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::persistence::db::Database;

    fn link(id: i64, slug: &str) -> Link {
        Link {
            id: LinkId(id),
            domain: String::new(),
            slug: slug.into(),
            owner: Some(AccountId(7)),
            target: "https://example.org/".into(),
            title: "A title".into(),
            notes: "notes".into(),
            tags: vec!["a".into(), "b".into()],
            code: RedirectCode::Permanent,
            starts_at: Some(Timestamp(1)),
            expires_at: Some(Timestamp(2)),
            clicks: Some(ClickLimit { most: 5, left: 5 }),
            password_hash: Some("hash".into()),
            rules: Vec::new(),
            forward_query: true,
            state: State::Active,
            created_at: Timestamp(3),
            updated_at: Timestamp(4),
        }
    }

    #[test]
    fn links_come_back_as_they_were_and_names_are_given_once() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let elsewhere = Link { domain: "s.example".into(), ..link(3, "abc") };
        let all = [link(1, "abc"), link(2, "abc"), elsewhere.clone(), link(4, "ABC")];
        let added = database.write(|conn| insert(conn, &all)).unwrap();
        assert_eq!(added, [LinkId(1), LinkId(3), LinkId(4)]);
        let found = database.read(|conn| by_names(conn, &[("s.example", "abc"), ("", "nothing")])).unwrap();
        assert_eq!(found.iter().map(|stored| &stored.link).collect::<Vec<_>>(), [&elsewhere]);
        assert_eq!(database.read(|conn| by_id(conn, LinkId(1))).unwrap().unwrap().link, all[0]);
        assert_eq!(database.read(|conn| by_names(conn, &[("", "abc")])).unwrap().len(), 1);
    }

    #[test]
    fn links_of_one_owner_to_one_site_are_neighbours_in_the_index_of_targets() {
        let to = |owner: Option<u32>, target: &str| {
            target_hash(&Link { owner: owner.map(AccountId), target: target.into(), ..link(1, "abc") })
        };
        let first = to(Some(1), "https://a.example/x?y");
        assert_eq!(first, to(Some(1), "https://a.example/x?y"));
        assert_eq!(first >> 32, to(Some(1), "https://a.example/") >> 32);
        assert_ne!(first, to(Some(1), "https://a.example/"));
        let elsewhere = [
            to(Some(1), "https://b.example/x?y"),
            to(Some(2), "https://a.example/x?y"),
            to(None, "https://a.example/x?y"),
        ];
        assert!(elsewhere.iter().all(|other| other >> 32 != first >> 32));
    }

    #[test]
    fn clicks_are_spent_once_and_an_old_version_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        database.write(|conn| insert(conn, &[link(1, "abc")])).unwrap();
        let take = |wanted| database.write(|conn| take(conn, LinkId(1), wanted)).unwrap();
        assert_eq!([take(3), take(3), take(3)], [3, 2, 0]);
        database.write(|conn| set_limit(conn, LinkId(1), Some(7))).unwrap();
        assert_eq!([take(3), take(3)], [2, 0]);
        let edited = Link { state: State::Disabled, ..link(1, "abc") };
        let change = changes::New { by: None, what: "disabled", details: "{}", at: Timestamp(9) };
        let edit = |version| database.write(|conn| update(conn, &edited, version, &change)).unwrap();
        assert_eq!([edit(1), edit(1), edit(2)], [true, false, true]);
        let history = database.read(|conn| changes::of_link(conn, LinkId(1), None, 10)).unwrap();
        assert_eq!(history.len(), 2);
        database.write(|conn| set_limit(conn, LinkId(1), Some(100))).unwrap();
        assert_eq!(take(3), 0, "a disabled link gives nothing away");
    }

    #[test]
    fn a_limit_that_was_lower_for_a_while_gives_no_click_back() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        database.write(|conn| insert(conn, &[link(1, "abc")])).unwrap();
        let take = |wanted| database.write(|conn| take(conn, LinkId(1), wanted)).unwrap();
        let limit = |most| {
            database.write(|conn| set_limit(conn, LinkId(1), Some(most))).unwrap();
            database.read(|conn| by_id(conn, LinkId(1))).unwrap().unwrap().link.clicks.unwrap()
        };
        assert_eq!(take(3), 3);
        assert_eq!(limit(2), ClickLimit { most: 2, left: 0 });
        assert_eq!(take(9), 0);
        assert_eq!(limit(5), ClickLimit { most: 5, left: 2 });
        assert_eq!(take(9), 2);
    }
}
