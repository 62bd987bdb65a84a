//! Lists of links: searched, filtered, sorted, page by page.

use super::column;
use super::rows::{Row, Stored};
use super::schema::links as l;
use crate::domain::ids::AccountId;
use crate::domain::link::{LinkId, State};
use crate::persistence::db::{Backend, Connection};
use diesel::prelude::*;
use diesel::sql_types::Text;
use std::collections::BTreeMap;

diesel::define_sql_function! {
    /// In lower case. PostgreSQL does so by its locale; for SQLite [`know_letters`] does.
    fn lower(text: Text) -> Text;
}

/// Teaches a connection to SQLite all letters: by itself it knows those of ASCII alone.
///
/// # Errors
/// Those of the database.
pub fn know_letters(conn: &mut SqliteConnection) -> QueryResult<()> {
    lower_utils::register_impl(conn, |text: String| text.to_lowercase())
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// When they were made.
    Created,
    /// When they were changed last.
    Updated,
    /// How often they were followed.
    Clicks,
    /// By slug.
    Slug,
    /// By title.
    Title,
}

impl Sort {
    /// All, by their name on the wire.
    pub const NAMES: [&'static str; 5] = ["created_at", "updated_at", "clicks", "slug", "title"];

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Sort> {
        Some(match name {
            "created_at" => Sort::Created,
            "updated_at" => Sort::Updated,
            "clicks" => Sort::Clicks,
            "slug" => Sort::Slug,
            "title" => Sort::Title,
            _ => return None,
        })
    }
}

/// Where a page begins: the sorted value and the number of the last link before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The value as text.
    pub value: String,
    /// The link's number.
    pub id: LinkId,
}

/// Which links.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Whose; everybody's when none is named.
    pub owner: Option<AccountId>,
    /// Part of the slug, target, title or notes.
    pub text: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// In this state; all but deleted ones when none is named.
    pub state: Option<State>,
    /// On this domain.
    pub domain: Option<String>,
    /// With exactly this slug.
    pub slug: Option<String>,
    /// The order.
    pub sort: Sort,
    /// Which way.
    pub descending: bool,
    /// After this one.
    pub after: Option<Place>,
    /// At most so many.
    pub count: i64,
}

type Boxed<'a> = l::BoxedQuery<'a, Backend>;

fn filtered(filter: &Filter) -> Boxed<'_> {
    let mut query = l::table.into_boxed::<Backend>();
    if let Some(owner) = filter.owner {
        query = query.filter(l::owner.eq(column(owner)));
    }
    query = match filter.state {
        Some(state) => query.filter(l::state.eq(state.name())),
        None => query.filter(l::state.ne(State::Deleted.name())),
    };
    if let Some(domain) = &filter.domain {
        query = query.filter(l::domain.eq(domain));
    }
    if let Some(slug) = &filter.slug {
        query = query.filter(l::slug.eq(slug));
    }
    if let Some(tag) = &filter.tag {
        query = query.filter(l::tags.like(format!("%,{},%", escaped(&tag.to_lowercase()))).escape('\\'));
    }
    if let Some(text) = &filter.text {
        let pattern = format!("%{}%", escaped(&text.to_lowercase()));
        let matches = lower(l::slug)
            .like(pattern.clone())
            .escape('\\')
            .or(lower(l::target).like(pattern.clone()).escape('\\'))
            .or(lower(l::title).like(pattern.clone()).escape('\\'))
            .or(lower(l::notes).like(pattern.clone()).escape('\\'))
            .or(l::tags.like(pattern).escape('\\'));
        query = if text.is_ascii() {
            query.filter(matches)
        } else {
            // PostgreSQL in the locale C knows only those of ASCII: what was typed is looked for as it stands too.
            let typed = format!("%{}%", escaped(text));
            let titled = l::title.like(typed.clone()).escape('\\');
            query.filter(matches.or(titled).or(l::notes.like(typed).escape('\\')))
        };
    }
    query
}

/// With the signs that mean something in a pattern made plain.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// Links in order.
///
/// # Errors
/// Those of the database.
pub fn list(conn: &mut Connection, filter: &Filter) -> QueryResult<Vec<Stored>> {
    macro_rules! sorted {
        ($column:expr, $parse:expr) => {{
            let mut query = filtered(filter);
            if let Some(place) = &filter.after {
                let value = $parse(&place.value);
                query = if filter.descending {
                    query.filter($column.lt(value.clone()).or($column.eq(value).and(l::id.lt(place.id.0))))
                } else {
                    query.filter($column.gt(value.clone()).or($column.eq(value).and(l::id.gt(place.id.0))))
                };
            }
            if filter.descending {
                query.order(($column.desc(), l::id.desc()))
            } else {
                query.order(($column.asc(), l::id.asc()))
            }
        }};
    }
    let number = |text: &String| text.parse::<i64>().unwrap_or(0);
    let query = match filter.sort {
        Sort::Created => {
            // Numbers are given in the order of time, and have an index.
            let mut query = filtered(filter);
            if let Some(place) = &filter.after {
                query = if filter.descending {
                    query.filter(l::id.lt(place.id.0))
                } else {
                    query.filter(l::id.gt(place.id.0))
                };
            }
            if filter.descending { query.order(l::id.desc()) } else { query.order(l::id.asc()) }
        }
        Sort::Updated => sorted!(l::updated_at, number),
        Sort::Clicks => sorted!(l::clicks, number),
        Sort::Slug => sorted!(l::slug, String::clone),
        Sort::Title => sorted!(l::title, String::clone),
    };
    let rows: Vec<Row> = query.limit(filter.count).select(Row::as_select()).load(conn)?;
    rows.into_iter().map(Row::read).collect()
}

/// Where the page after this link begins.
pub fn place(sort: Sort, stored: &Stored) -> Place {
    let value = match sort {
        Sort::Created => String::new(),
        Sort::Updated => stored.link.updated_at.0.to_string(),
        Sort::Clicks => stored.clicks.to_string(),
        Sort::Slug => stored.link.slug.clone(),
        Sort::Title => stored.link.title.clone(),
    };
    Place { value, id: stored.link.id }
}

/// The tags of somebody's links, with how many links have each.
///
/// # Errors
/// Those of the database.
pub fn tags(conn: &mut Connection, owner: AccountId) -> QueryResult<BTreeMap<String, i64>> {
    let own = l::table.filter(l::owner.eq(column(owner))).filter(l::state.ne(State::Deleted.name()));
    let sets: Vec<(String, i64)> =
        own.filter(l::tags.ne("")).group_by(l::tags).select((l::tags, diesel::dsl::count_star())).load(conn)?;
    let mut tags = BTreeMap::new();
    for (set, count) in sets {
        for tag in set.split(',').filter(|tag| !tag.is_empty()) {
            *tags.entry(tag.to_owned()).or_insert(0) += count;
        }
    }
    Ok(tags)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::link::Link;
    use crate::domain::link::edit::blank;
    use crate::domain::time::Timestamp;
    use crate::persistence::db::Database;
    use crate::persistence::links::rows;

    #[test]
    fn letters_beyond_ascii_have_two_cases_too() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let link = |id: i64, title: &str, notes: &str| {
            let link = blank(LinkId(id), String::new(), format!("slug{id}"), Some(AccountId(7)), Timestamp(1));
            Link { title: title.into(), notes: notes.into(), ..link }
        };
        let links = [link(1, "Über uns", ""), link(2, "", "ПРИВЕТ"), link(3, "über 100%", "")];
        database.write(|conn| rows::insert(conn, &links)).unwrap();
        let found = |text: &str| -> Vec<i64> {
            let filter = Filter {
                owner: Some(AccountId(7)),
                text: Some(text.into()),
                tag: None,
                state: None,
                domain: None,
                slug: None,
                sort: Sort::Created,
                descending: false,
                after: None,
                count: 10,
            };
            let links = database.read(|conn| list(conn, &filter)).unwrap();
            links.iter().map(|stored| stored.link.id.0).collect()
        };
        for (text, expected) in
            [("Über", vec![1, 3]), ("über UNS", vec![1]), ("ÜBER", vec![1, 3]), ("привет", vec![2]), ("ü%", vec![])]
        {
            assert_eq!(found(text), expected, "{text}");
        }
    }
}
