//! What a shortener does in one transaction.

use super::LinksError;
use crate::domain::ids::AccountId;
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
    /// Whether an active link of the same owner to the same target will do.
    pub reuse: bool,
}

/// What became of it.
#[derive(Clone, Debug)]
pub enum Made {
    /// It is there.
    Created(Box<Link>),
    /// The same link was there already.
    Unchanged(Box<Stored>),
    /// Its random slug was taken.
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
    /// How many links it makes at most.
    pub fn links(&self) -> usize {
        match self {
            Job::Create { new, .. } => new.len(),
            Job::Edit { .. } | Job::Take { .. } => 0,
        }
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

/// Does all of it; an error means that nothing was done.
///
/// # Errors
/// Those of the database.
pub fn perform(conn: &mut Connection, jobs: &[Job]) -> QueryResult<Vec<Outcome>> {
    let mut wanted = BTreeMap::<LinkId, u32>::new();
    for job in jobs {
        if let Job::Take { id, .. } = job {
            *wanted.entry(*id).or_insert(0) += 1;
        }
    }
    // In the order of numbers, so that two nodes never wait for each other.
    let mut granted = BTreeMap::new();
    for (id, count) in wanted {
        granted.insert(id, rows::take(conn, id, count)?);
    }
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs {
        outcomes.push(match job {
            Job::Create { new, .. } => Outcome::Created(create(conn, new)?),
            Job::Edit { id, version, edit: by, .. } => Outcome::Edited(Box::new(edit(conn, *id, *version, by)?)),
            Job::Take { id, .. } => {
                let left = granted.get_mut(id).filter(|left| **left > 0);
                Outcome::Taken(left.map(|left| *left -= 1).is_some())
            }
        });
    }
    Ok(outcomes)
}

fn create(conn: &mut Connection, new: &[NewLink]) -> QueryResult<Vec<Result<Made, LinksError>>> {
    let chosen = || new.iter().filter(|new| new.chosen);
    let names: Vec<(&str, &str)> = chosen().map(|new| (new.link.domain.as_str(), new.link.slug.as_str())).collect();
    // Looked up by name only. Names and targets come from users, so the hashes are keyed.
    let mut taken = HashMap::new();
    if !names.is_empty() {
        for stored in rows::by_names(conn, &names)? {
            taken.insert((stored.link.domain.clone(), stored.link.slug.clone()), stored);
        }
    }
    let reusable: Vec<&Link> = new.iter().filter(|new| new.reuse && !new.chosen).map(|new| &new.link).collect();
    let mut known = HashMap::new();
    for stored in rows::same_targets(conn, &reusable)? {
        known.insert((stored.link.owner, stored.link.domain.clone(), stored.link.target.clone()), stored);
    }
    let mut outcomes = Vec::with_capacity(new.len());
    // Links of this very batch, by name and by target.
    let mut named = HashMap::<(&str, &str), usize>::new();
    let mut targets = HashMap::<(Option<AccountId>, &str, &str), usize>::new();
    let mut fresh = Vec::new();
    for (index, NewLink { link, chosen, reuse }) in new.iter().enumerate() {
        let target = (link.owner, link.domain.as_str(), link.target.as_str());
        let earlier = |index: Option<&usize>| index.and_then(|index| new.get(*index)).map(|new| &new.link);
        let outcome = if *chosen {
            let before = taken.get(&(link.domain.clone(), link.slug.clone()));
            match (before, earlier(named.get(&(link.domain.as_str(), link.slug.as_str())))) {
                (Some(stored), _) => Some(same(stored, link)),
                (None, Some(twin)) => Some(same(&as_stored(twin), link)),
                (None, None) => None,
            }
        } else if *reuse {
            let owned = (link.owner, link.domain.clone(), link.target.clone());
            match (known.get(&owned), earlier(targets.get(&target))) {
                (Some(stored), _) => Some(Ok(Made::Unchanged(Box::new(stored.clone())))),
                (None, Some(twin)) => Some(Ok(Made::Unchanged(Box::new(as_stored(twin))))),
                (None, None) => None,
            }
        } else {
            None
        };
        if outcome.is_none() {
            named.insert((link.domain.as_str(), link.slug.as_str()), index);
            targets.entry(target).or_insert(index);
            fresh.push(link);
        }
        outcomes.push(outcome);
    }
    let added: HashSet<LinkId> = rows::insert(conn, &fresh)?.into_iter().collect();
    let done = outcomes.into_iter().zip(new).map(|(outcome, new)| {
        outcome.unwrap_or_else(|| match added.contains(&new.link.id) {
            true => Ok(Made::Created(Box::new(new.link.clone()))),
            // Another node has given the name away between the look and the insertion.
            false if new.chosen => Err(LinksError::SlugTaken),
            false => Ok(Made::Collided),
        })
    });
    Ok(done.collect())
}

/// A link that is made in this batch, as the database will have it.
fn as_stored(link: &Link) -> Stored {
    Stored { link: link.clone(), version: 1, clicks: 0, bot_clicks: 0, last_click_at: None }
}

/// A link of this name is there: it is the same one, or the name is taken.
fn same(stored: &Stored, link: &Link) -> Result<Made, LinksError> {
    if stored.link.owner.is_some() && stored.link.owner == link.owner && stored.link.differences(link).is_empty() {
        Ok(Made::Unchanged(Box::new(stored.clone())))
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
