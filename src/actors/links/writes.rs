//! What a shortener does in one transaction.

use super::LinksError;
use crate::domain::ids::AccountId;
use crate::domain::link::edit::Conduct;
use crate::domain::link::{Link, LinkId};
use crate::domain::time::Timestamp;
use crate::persistence::db::Connection;
use crate::persistence::links::changes;
use crate::persistence::links::rows::{self, Stored};
use diesel::QueryResult;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Edits that lost to another node are tried again so often.
const TRIES: usize = 3;

/// Where an outcome goes.
pub type Reply<T> = oneshot::Sender<Result<T, LinksError>>;

/// A link to be made.
#[derive(Clone, Debug)]
pub struct NewLink {
    /// The link, complete.
    pub link: Link,
    /// Whether its maker chose the slug; else another will do.
    pub chosen: bool,
    /// Whether a link of the same owner will do that is the same to those who follow it.
    pub reuse: bool,
}

impl NewLink {
    /// Whether another link may stand for it. Nobody's links are nobody's to be given.
    fn reuses(&self) -> bool {
        self.reuse && !self.chosen && self.link.owner.is_some()
    }
}

/// What became of it.
#[derive(Clone, Debug)]
pub enum Made {
    /// It is there.
    Created(Box<Link>),
    /// The same link was there already.
    Unchanged(Box<Stored>),
    /// Its random slug was taken, or that of the link of the same batch which would have done.
    Collided,
}

/// What an edit makes of a link.
#[derive(Clone, Debug)]
pub struct Edited {
    /// The link as it is to be.
    pub link: Link,
    /// A new limit of clicks, if it is another.
    pub limit: Option<Option<u32>>,
    /// What to call the change; nothing changes without a name.
    pub what: Option<&'static str>,
    /// What was changed, for the history.
    pub details: serde_json::Value,
    /// Who changes it.
    pub by: Option<AccountId>,
    /// When.
    pub at: Timestamp,
}

/// Changes a stored link, possibly more than once.
pub type Edit = Box<dyn Fn(&Stored) -> Result<Edited, LinksError> + Send>;

/// A piece of work.
pub enum Job {
    /// Make these.
    Create {
        /// Which.
        new: Arc<Vec<NewLink>>,
        /// One outcome for each.
        reply: Reply<Vec<Result<Made, LinksError>>>,
    },
    /// Change one.
    Edit {
        /// Which.
        id: LinkId,
        /// The version that the change is meant for.
        version: Option<i64>,
        /// How.
        edit: Edit,
        /// The link as it is then.
        reply: Reply<Result<Stored, LinksError>>,
    },
    /// Spend a click.
    Take {
        /// Of which.
        id: LinkId,
        /// Whether there was one.
        reply: Reply<bool>,
    },
}

impl Job {
    /// Links that it makes, if nothing stands in their way.
    fn new_links(&self) -> &[NewLink] {
        match self {
            Job::Create { new, .. } => new,
            Job::Edit { .. } | Job::Take { .. } => &[],
        }
    }

    /// How many links it makes at most.
    pub fn links(&self) -> usize {
        self.new_links().len()
    }
}

/// An outcome, beside the job of the same place.
pub enum Outcome {
    /// Of [`Job::Create`].
    Created(Vec<Result<Made, LinksError>>),
    /// Of [`Job::Edit`].
    Edited(Box<Result<Stored, LinksError>>),
    /// Of [`Job::Take`].
    Taken(bool),
}

/// What is to be done to one link.
#[derive(Default)]
struct OfLink {
    /// Clicks that are to be spent.
    clicks: u32,
    /// The places of its edits among the jobs.
    edits: Vec<usize>,
}

/// Does all of it; an error means that nothing was done.
///
/// Locks are taken in one order, so that two transactions never wait for each other: first links that are there, by
/// their numbers; then new ones, by their names.
///
/// # Errors
/// Those of the database.
pub fn perform(conn: &mut Connection, jobs: &[Job]) -> QueryResult<Vec<Outcome>> {
    let mut links = BTreeMap::<LinkId, OfLink>::new();
    for (place, job) in jobs.iter().enumerate() {
        match job {
            Job::Create { .. } => {}
            Job::Edit { id, .. } => links.entry(*id).or_default().edits.push(place),
            Job::Take { id, .. } => links.entry(*id).or_default().clicks += 1,
        }
    }
    let (mut granted, mut edited) = (BTreeMap::new(), BTreeMap::new());
    for (id, OfLink { clicks, edits }) in links {
        if clicks > 0 {
            granted.insert(id, rows::take(conn, id, clicks)?);
        }
        for place in edits {
            if let Some(Job::Edit { version, edit: by, .. }) = jobs.get(place) {
                edited.insert(place, edit(conn, id, *version, by)?);
            }
        }
    }
    let new: Vec<&NewLink> = jobs.iter().flat_map(Job::new_links).collect();
    let mut created = create(conn, &new)?.into_iter();
    let outcomes = jobs.iter().enumerate().map(|(place, job)| match job {
        Job::Create { new, .. } => Outcome::Created(created.by_ref().take(new.len()).collect()),
        // Each edit was made above.
        Job::Edit { .. } => Outcome::Edited(Box::new(edited.remove(&place).unwrap_or(Err(LinksError::Overloaded)))),
        Job::Take { id, .. } => {
            let left = granted.get_mut(id).filter(|left| **left > 0);
            Outcome::Taken(left.map(|left| *left -= 1).is_some())
        }
    });
    Ok(outcomes.collect())
}

/// What is there before a batch.
struct Found {
    /// Links that have one of the names that are wanted.
    taken: HashMap<(String, String), Stored>,
    /// Links that may be the same as those for which another one will do; of those that are the same, the oldest.
    own: Vec<Stored>,
}

fn look(conn: &mut Connection, new: &[&NewLink]) -> QueryResult<Found> {
    let chosen = new.iter().filter(|new| new.chosen);
    let names: Vec<(&str, &str)> = chosen.map(|new| (new.link.domain.as_str(), new.link.slug.as_str())).collect();
    // Looked up by name only. Names come from users, so the hash is keyed.
    let mut taken = HashMap::new();
    if !names.is_empty() {
        for stored in rows::by_names(conn, &names)? {
            taken.insert((stored.link.domain.clone(), stored.link.slug.clone()), stored);
        }
    }
    let reusing: Vec<&Link> = new.iter().filter(|new| new.reuses()).map(|new| &new.link).collect();
    Ok(Found { taken, own: rows::alike(conn, &reusing)? })
}

/// What is the same as a link that is wanted, or has its name.
enum Before<'a> {
    /// A link that is there.
    Stored(&'a Stored),
    /// One that stands earlier in the batch. Whether it will be there is known only when it was added.
    Twin(&'a Link),
}

/// What comes before each of these, if anything does.
fn compare<'a>(found: &'a Found, new: &[&'a NewLink]) -> Vec<Option<Before<'a>>> {
    // Looked up only, by what users have written: the hashes are keyed.
    let own: HashMap<Conduct<'_>, &Stored> = found.own.iter().map(|stored| (stored.link.conduct(), stored)).collect();
    // Links of this very batch, by name and by what they are to those who follow them.
    let mut named = HashMap::<(&str, &str), &Link>::new();
    let mut alike = HashMap::<Conduct<'_>, &Link>::new();
    let mut befores = Vec::with_capacity(new.len());
    for one in new {
        let link = &one.link;
        let (name, conduct) = ((link.domain.as_str(), link.slug.as_str()), link.conduct());
        let (stored, twin) = if one.chosen {
            (found.taken.get(&(link.domain.clone(), link.slug.clone())), named.get(&name).copied())
        } else if one.reuses() {
            (own.get(&conduct).copied(), alike.get(&conduct).copied())
        } else {
            (None, None)
        };
        let before = stored.map(Before::Stored).or(twin.map(Before::Twin));
        if before.is_none() {
            named.entry(name).or_insert(link);
            alike.entry(conduct).or_insert(link);
        }
        befores.push(before);
    }
    befores
}

/// Which of these may be made where only so many more fit, and how many of them are new: what is there already takes no
/// room.
///
/// # Errors
/// Those of the database.
pub fn fitting(conn: &mut Connection, new: &[NewLink], most: usize) -> QueryResult<(Vec<bool>, usize)> {
    let new: Vec<&NewLink> = new.iter().collect();
    let found = look(conn, &new)?;
    let mut room = most;
    // A twin of one that is left out would only come in its place.
    let mut left_out = HashSet::new();
    let fits = compare(&found, &new).into_iter().zip(&new).map(|(before, new)| match before {
        Some(Before::Stored(_)) => true,
        Some(Before::Twin(twin)) => !left_out.contains(&twin.id),
        None if room > 0 => {
            room -= 1;
            true
        }
        None => {
            left_out.insert(new.link.id);
            false
        }
    });
    let fits = fits.collect();
    Ok((fits, most - room))
}

fn create(conn: &mut Connection, new: &[&NewLink]) -> QueryResult<Vec<Result<Made, LinksError>>> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let found = look(conn, new)?;
    let befores = compare(&found, new);
    let fresh = befores.iter().zip(new).filter(|(before, _)| before.is_none());
    let fresh: Vec<&Link> = fresh.map(|(_, new)| &new.link).collect();
    let added: HashSet<LinkId> = rows::insert(conn, &fresh)?.into_iter().collect();
    let done = befores.into_iter().zip(new).map(|(before, NewLink { link, chosen, .. })| {
        let same_as = |stored: Stored| if *chosen { same(stored, link) } else { Ok(Made::Unchanged(Box::new(stored))) };
        match before {
            Some(Before::Stored(stored)) => same_as(stored.clone()),
            Some(Before::Twin(twin)) if added.contains(&twin.id) => same_as(as_stored(twin)),
            None if added.contains(&link.id) => Ok(Made::Created(Box::new(link.clone()))),
            // Another node has given the name away between the look and the insertion, or a random one was taken. What
            // has that name is not the twin, which will be there under another one if at all.
            Some(Before::Twin(_)) | None if *chosen => Err(LinksError::SlugTaken),
            Some(Before::Twin(_)) | None => Ok(Made::Collided),
        }
    });
    Ok(done.collect())
}

/// A link that is made in this batch, as the database will have it.
fn as_stored(link: &Link) -> Stored {
    Stored { link: link.clone(), version: 1, clicks: 0, bot_clicks: 0, last_click_at: None }
}

/// A link of this name is there: it is the same one, or the name is taken.
fn same(stored: Stored, link: &Link) -> Result<Made, LinksError> {
    if stored.link.owner.is_some() && stored.link.owner == link.owner && stored.link.differences(link).is_empty() {
        Ok(Made::Unchanged(Box::new(stored)))
    } else {
        Err(LinksError::SlugTaken)
    }
}

fn edit(
    conn: &mut Connection,
    id: LinkId,
    version: Option<i64>,
    edit: &Edit,
) -> QueryResult<Result<Stored, LinksError>> {
    for _ in 0..TRIES {
        let Some(stored) = rows::by_id(conn, id)? else { return Ok(Err(LinksError::Unknown)) };
        if version.is_some_and(|version| version != stored.version) {
            return Ok(Err(LinksError::Changed));
        }
        let Edited { link, limit, what, details, by, at } = match edit(&stored) {
            Ok(edited) => edited,
            Err(refused) => return Ok(Err(refused)),
        };
        let Some(what) = what else { return Ok(Ok(stored)) };
        let details = details.to_string();
        if rows::update(conn, &link, stored.version, &changes::New { by, what, details: &details, at })? {
            if let Some(most) = limit {
                rows::set_limit(conn, id, most)?;
            }
            return Ok(rows::by_id(conn, id)?.ok_or(LinksError::Unknown));
        }
    }
    Ok(Err(LinksError::Changed))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::link::edit::blank;
    use crate::domain::link::rules::{Rule, Way, When};
    use crate::domain::link::{ClickLimit, RedirectCode, State};
    use crate::persistence::db::Database;

    fn link(id: i64, slug: &str, owner: u32) -> Link {
        let mut link = blank(LinkId(id), String::new(), slug.into(), Some(AccountId(owner)), Timestamp(1));
        link.target = "https://example.org/".into();
        link
    }

    type Change = fn(&mut Link, &Rule);

    /// A database with a link of somebody else, number 1, `theirs`.
    fn database(folder: &tempfile::TempDir) -> Database {
        let database = Database::open(&folder.path().join("db")).unwrap();
        database.write(|conn| rows::insert(conn, &[link(1, "theirs", 8)])).unwrap();
        database
    }

    #[test]
    fn a_link_that_another_of_the_batch_stands_for_collides_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder);
        let made = |slugs: [(i64, &str); 2]| {
            let new = slugs.map(|(id, slug)| NewLink { link: link(id, slug, 7), chosen: false, reuse: true });
            database.write(|conn| create(conn, &new.each_ref())).unwrap()
        };
        let collided = made([(2, "theirs"), (3, "abc")]);
        assert!(matches!(collided[..], [Ok(Made::Collided), Ok(Made::Collided)]), "{collided:?}");
        // As both are tried again.
        let again = made([(4, "def"), (5, "ghi")]);
        let [Ok(Made::Created(first)), Ok(Made::Unchanged(second))] = &again[..] else { panic!("{again:?}") };
        assert_eq!((first.id, second.link.id), (LinkId(4), LinkId(4)));
    }

    #[test]
    fn each_job_has_its_own_outcome_whatever_is_done_first() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder);
        let limited = Link { clicks: Some(ClickLimit { most: 1, left: 1 }), ..link(2, "limited", 7) };
        database.write(|conn| rows::insert(conn, &[limited])).unwrap();
        let make = |id: i64, slug: &str, owner: u32| Job::Create {
            new: Arc::new(vec![NewLink { link: link(id, slug, owner), chosen: true, reuse: false }]),
            reply: oneshot::channel().0,
        };
        let take = || Job::Take { id: LinkId(2), reply: oneshot::channel().0 };
        let rename = |id: i64, title: &'static str| Job::Edit {
            id: LinkId(id),
            version: None,
            edit: Box::new(move |stored: &Stored| {
                let link = Link { title: format!("{}{title}", stored.link.title), ..stored.link.clone() };
                let (details, at) = (serde_json::Value::Null, Timestamp(2));
                Ok(Edited { link, limit: None, what: Some("edited"), details, by: None, at })
            }),
            reply: oneshot::channel().0,
        };
        let jobs = [
            rename(2, "b"),
            make(3, "new", 7),
            take(),
            rename(1, "a"),
            rename(9, "x"),
            make(4, "new", 8),
            rename(2, "c"),
            make(5, "new", 7),
            take(),
        ];
        let done = database.write(|conn| perform(conn, &jobs)).unwrap();
        let shown = |outcome: &Outcome| match outcome {
            Outcome::Created(made) => match &made[..] {
                [Ok(Made::Created(link))] => format!("made {}", link.id.0),
                [Ok(Made::Unchanged(stored))] => format!("found {}", stored.link.id.0),
                other => format!("{other:?}"),
            },
            Outcome::Edited(edited) => match edited.as_ref() {
                Ok(stored) => format!("{} {}", stored.link.id.0, stored.link.title),
                Err(error) => error.code().into(),
            },
            Outcome::Taken(taken) => taken.to_string(),
        };
        let shown: Vec<String> = done.iter().map(shown).collect();
        let taken = "[Err(SlugTaken)]";
        assert_eq!(shown, ["2 b", "made 3", "true", "1 a", "link_unknown", taken, "2 bc", "found 3", "false"]);
    }

    #[test]
    fn a_link_stands_for_another_only_when_visitors_cannot_tell_them_apart() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder);
        let rule = Rule { when: When::default(), ways: vec![Way { to: "https://evil.example/".into(), weight: 1 }] };
        let plain = |id: i64| Link { title: format!("title {id}"), ..link(id, &format!("slug{id}"), 7) };
        let kinds: [(&str, Change); 8] = [
            ("with rules", |link, rule| link.rules = vec![rule.clone()]),
            ("with a password", |link, _| link.password_hash = Some("hash".into())),
            ("limited", |link, _| link.clicks = Some(ClickLimit { most: 1, left: 0 })),
            ("over", |link, _| link.expires_at = Some(Timestamp(2))),
            ("not open yet", |link, _| link.starts_at = Some(Timestamp(i64::MAX))),
            ("another way of leading on", |link, _| link.code = RedirectCode::Permanent),
            ("with the query", |link, _| link.forward_query = true),
            ("switched off", |link, _| link.state = State::Disabled),
        ];
        let make = |link: Link| {
            let new = [NewLink { link, chosen: false, reuse: true }];
            database.write(|conn| create(conn, &new.each_ref())).unwrap().remove(0)
        };
        let mut last = 10;
        let mut next = || {
            last += 1;
            plain(last)
        };
        for (kind, change) in kinds {
            let [first, again] = [next(), next()].map(|mut link| {
                change(&mut link, &rule);
                link
            });
            let id = first.id;
            assert!(matches!(make(first), Ok(Made::Created(_))), "{kind}");
            let again = make(again);
            assert!(matches!(&again, Ok(Made::Unchanged(stored)) if stored.link.id == id), "{kind}: {again:?}");
        }
        let first = next();
        let id = first.id;
        assert!(matches!(make(first), Ok(Made::Created(_))), "none of them will do");
        let again = make(next());
        assert!(matches!(&again, Ok(Made::Unchanged(stored)) if stored.link.id == id), "{again:?}");
        // Whoever has no account has no links.
        for _ in 0..2 {
            assert!(matches!(make(Link { owner: None, ..next() }), Ok(Made::Created(_))));
        }
    }

    #[test]
    fn what_is_there_already_takes_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder);
        database.write(|conn| rows::insert(conn, &[link(2, "mine", 7)])).unwrap();
        let new = |id: i64, slug: &str, target: &str| {
            let link = Link { target: target.into(), ..link(id, slug, 7) };
            NewLink { link, chosen: slug == "mine", reuse: true }
        };
        let there = "https://example.org/";
        let batch = [
            new(3, "mine", there),
            new(4, "abc", there),
            new(5, "def", "https://example.org/1"),
            new(6, "ghi", "https://example.org/1"),
            new(7, "jkl", "https://example.org/2"),
            new(8, "mno", "https://example.org/2"),
        ];
        let fits = |room| database.read(|conn| fitting(conn, &batch, room)).unwrap();
        assert_eq!(fits(0), (vec![true, true, false, false, false, false], 0));
        assert_eq!(fits(1), (vec![true, true, true, true, false, false], 1));
        assert_eq!(fits(9), (vec![true; 6], 2));
    }

    #[test]
    fn a_name_that_was_given_away_meanwhile_is_taken_for_all_that_wanted_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder);
        let made = |ids: [i64; 2]| {
            let new = ids.map(|id| NewLink { link: link(id, "mine", 7), chosen: true, reuse: false });
            database.write(|conn| create(conn, &new.each_ref())).unwrap()
        };
        // It is the number that is taken: no look beforehand finds that out, as when another node takes the name.
        let taken = made([1, 2]);
        let refused = |made: &Result<Made, LinksError>| matches!(made, Err(LinksError::SlugTaken));
        assert!(taken.iter().all(refused), "{taken:?}");
        let made = made([3, 4]);
        let [Ok(Made::Created(_)), Ok(Made::Unchanged(second))] = &made[..] else { panic!("{made:?}") };
        assert_eq!(second.link.id, LinkId(3));
    }
}
