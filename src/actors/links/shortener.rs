//! One part of all links: writes and look-ups, each many at a time.
//!
//! Invariants: one transaction and one query are under way at most; whoever asks is answered exactly
//! once, a writer only after the transaction is on the medium and the caches have forgotten what was
//! there; what waits is bounded.

use super::LinksError;
use super::cache::{self, Cache, Entry, Hot};
use super::pace::Pace;
use super::policy::Policy;
use super::second::Second;
pub use super::writes::Job;
use super::writes::{self, Made, Outcome};
use crate::actors::trading::market_data::wall_clock;
use crate::domain::link::State;
use crate::persistence::db::Database;
use crate::persistence::links::{self, rows};
use actix::prelude::*;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// Jobs of one transaction.
const JOBS_AT_ONCE: usize = 1_024;
/// Jobs that may wait.
const MAX_JOBS: usize = 16_384;
/// Names of one query.
const NAMES_AT_ONCE: usize = 500;
/// Names that may wait.
const MAX_NAMES: usize = 16_384;

/// Asks for something to be written.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Work(pub Job);

type Found = Result<Option<Arc<Entry>>, LinksError>;

/// Asks for the link of a name.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Find {
    /// As the cache has it.
    pub name: Box<str>,
    /// Who wants to know; nobody when an old entry is to be refreshed.
    pub reply: Option<oneshot::Sender<Found>>,
}

/// What the actor is built from.
#[derive(Clone)]
pub struct Parts {
    /// Where links are.
    pub database: Database,
    /// What redirects know.
    pub cache: Arc<Cache>,
    /// What nodes share.
    pub second: Second,
    /// What is laid down.
    pub policy: Arc<ArcSwap<Policy>>,
    /// How many links a transaction makes.
    pub pace: Arc<Pace>,
}

/// The actor. See the module's documentation.
pub struct Shortener {
    parts: Parts,
    jobs: Vec<Job>,
    writing: bool,
    /// Looked up by name only. Names come from visitors, so its hash is keyed.
    names: HashMap<Box<str>, Vec<oneshot::Sender<Found>>>,
    looking: bool,
}

impl Shortener {
    /// A shortener.
    pub fn new(parts: Parts) -> Shortener {
        Shortener { parts, jobs: Vec::new(), writing: false, names: HashMap::new(), looking: false }
    }

    fn write(&mut self, ctx: &mut Context<Self>) {
        if self.writing || self.jobs.is_empty() {
            return;
        }
        self.writing = true;
        let jobs: Vec<Job> = self.jobs.drain(..fitting(&self.jobs, self.parts.pace.links())).collect();
        let parts = self.parts.clone();
        let work = async move {
            let (database, pace) = (parts.database.clone(), parts.pace.clone());
            let done = tokio::task::spawn_blocking(move || {
                let mut begun = Instant::now();
                let mut perform = || {
                    database.write_durably(|conn| {
                        // Now that it is its turn.
                        begun = Instant::now();
                        writes::perform(conn, &jobs)
                    })
                };
                let outcomes = match perform() {
                    // Nothing was done, and whoever it would have waited for goes on.
                    Err(error) if links::is_deadlock(&error) => perform(),
                    outcomes => outcomes,
                };
                pace.took(jobs.iter().map(Job::links).sum(), begun.elapsed());
                (jobs, outcomes)
            });
            let Ok((jobs, outcomes)) = done.await else { return };
            match outcomes {
                Ok(outcomes) => {
                    // First forgotten, then answered: whoever reads after the answer finds the change. The second level
                    // comes first: a look in between would fill the cache from what is still there.
                    let changed = changed(&outcomes);
                    parts.second.forget_all(&changed).await;
                    forget(&parts.cache, &changed, &outcomes);
                    jobs.into_iter().zip(outcomes).for_each(|(job, outcome)| answer(job, outcome));
                }
                Err(error) => {
                    tracing::warn!(%error, "links could not be written");
                    jobs.into_iter().for_each(refuse);
                }
            }
        };
        ctx.spawn(work.into_actor(self).map(|(), shortener, ctx| {
            shortener.writing = false;
            shortener.write(ctx);
        }));
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.looking || self.names.is_empty() {
            return;
        }
        self.looking = true;
        let mut asked: HashMap<Box<str>, Vec<oneshot::Sender<Found>>> = if self.names.len() <= NAMES_AT_ONCE {
            std::mem::take(&mut self.names)
        } else {
            let some: Vec<Box<str>> = self.names.keys().take(NAMES_AT_ONCE).cloned().collect();
            some.into_iter().filter_map(|name| self.names.remove_entry(&name)).collect()
        };
        let parts = self.parts.clone();
        let work = async move {
            let moment = parts.cache.moment();
            let names: Vec<Box<str>> = asked.keys().cloned().collect();
            let found = look_up(&parts, names).await;
            let now = wall_clock();
            match found {
                Ok(mut links) => {
                    for (name, replies) in asked {
                        let entry = links.remove(&name);
                        parts.cache.put(&name, entry.as_ref(), moment, now);
                        for reply in replies {
                            // A visitor that went away does not want the answer.
                            let _ = reply.send(Ok(entry.clone()));
                        }
                    }
                }
                Err(away) => {
                    for (name, replies) in asked.drain() {
                        parts.cache.refresh_failed(&name);
                        for reply in replies {
                            let _ = reply.send(Err(away.clone()));
                        }
                    }
                }
            }
        };
        ctx.spawn(work.into_actor(self).map(|(), shortener, ctx| {
            shortener.looking = false;
            shortener.look(ctx);
        }));
    }
}

/// How many of these jobs one transaction does: it makes so many links at most, but does at least one job.
fn fitting(jobs: &[Job], links: usize) -> usize {
    let mut made = 0;
    let fits = |job: &&Job| {
        made += job.links();
        made <= links
    };
    jobs.iter().take(JOBS_AT_ONCE).take_while(fits).count().max(1)
}

/// Looks names up where nodes share what they have read, and the rest in the database.
async fn look_up(parts: &Parts, names: Vec<Box<str>>) -> Result<HashMap<Box<str>, Arc<Entry>>, LinksError> {
    let (mut links, mut left) = (Vec::new(), Vec::new());
    let shared = futures_util::future::join_all(names.iter().map(|name| parts.second.get(name))).await;
    for (name, link) in names.into_iter().zip(shared) {
        match link {
            Some(link) => links.push(link),
            None => left.push(name),
        }
    }
    if !left.is_empty() {
        let query = move |database: &Database| {
            let names: Vec<(&str, &str)> = left.iter().map(|name| cache::parts(name)).collect();
            database.read(|conn| rows::by_names(conn, &names))
        };
        let read = parts.database.elsewhere(query).await.map_err(|error| {
            tracing::debug!(%error, "links could not be looked up");
            LinksError::Away
        })?;
        futures_util::future::join_all(read.iter().map(|stored| parts.second.put(&stored.link))).await;
        links.extend(read.into_iter().map(|stored| stored.link));
    }
    let (now, policy) = (wall_clock(), parts.policy.load());
    let entry = |mut link: crate::domain::link::Link| {
        // A host that was blocked after the link was made counts as if a moderator had blocked the link.
        if link.state == State::Active && link.leads_to(&policy.blocked) {
            link.state = State::Blocked;
        }
        let name: Box<str> = cache::name(&link.domain, &link.slug).into();
        (name, Arc::new(Entry::new(Hot::new(link), now)))
    };
    Ok(links.into_iter().map(entry).collect())
}

/// The names of links that were there before and are different now.
fn changed(outcomes: &[Outcome]) -> Vec<String> {
    let edited = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Edited(edited) => (**edited).as_ref().ok(),
        // How many are left is for the database to know; a link without any is looked at there.
        Outcome::Created(_) | Outcome::Taken(_) => None,
    });
    edited.map(|stored| cache::name(&stored.link.domain, &stored.link.slug).into_owned()).collect()
}

/// Makes the cache forget what was changed, and that nobody had the names of new links.
fn forget(cache: &Cache, changed: &[String], outcomes: &[Outcome]) {
    for name in changed {
        cache.forget(name);
    }
    for outcome in outcomes {
        let Outcome::Created(made) = outcome else { continue };
        let names: Vec<_> = made
            .iter()
            .filter_map(|made| match made {
                Ok(Made::Created(link)) => Some(cache::name(&link.domain, &link.slug)),
                Ok(Made::Unchanged(_) | Made::Collided) | Err(_) => None,
            })
            .collect();
        cache.appeared(names.iter().map(|name| &**name));
    }
}

// A caller that hung up does not want the answer; that is its right.
fn answer(job: Job, outcome: Outcome) {
    match (job, outcome) {
        (Job::Create { reply, .. }, Outcome::Created(made)) => drop(reply.send(Ok(made))),
        (Job::Edit { reply, .. }, Outcome::Edited(edited)) => drop(reply.send(Ok(*edited))),
        (Job::Take { reply, .. }, Outcome::Taken(taken)) => drop(reply.send(Ok(taken))),
        // Outcomes stand in the order of their jobs.
        (job, _) => refuse(job),
    }
}

fn refuse(job: Job) {
    turn_down(job, LinksError::Away);
}

fn turn_down(job: Job, why: LinksError) {
    match job {
        Job::Create { reply, .. } => drop(reply.send(Err(why))),
        Job::Edit { reply, .. } => drop(reply.send(Err(why))),
        Job::Take { reply, .. } => drop(reply.send(Err(why))),
    }
}

impl Actor for Shortener {
    type Context = Context<Self>;
}

impl Handler<Work> for Shortener {
    type Result = ();

    fn handle(&mut self, Work(job): Work, ctx: &mut Self::Context) {
        if self.jobs.len() >= MAX_JOBS {
            return turn_down(job, LinksError::Overloaded);
        }
        self.jobs.push(job);
        self.write(ctx);
    }
}

impl Handler<Find> for Shortener {
    type Result = ();

    fn handle(&mut self, Find { name, reply }: Find, ctx: &mut Self::Context) {
        if self.names.len() >= MAX_NAMES {
            match reply {
                Some(reply) => drop(reply.send(Err(LinksError::Overloaded))),
                None => self.parts.cache.refresh_failed(&name),
            }
            return;
        }
        self.names.entry(name).or_default().extend(reply);
        self.look(ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::link::LinkId;
    use crate::domain::link::edit::blank;
    use crate::domain::time::Timestamp;

    fn create(links: usize) -> Job {
        let link = blank(LinkId(1), String::new(), "abc".into(), None, Timestamp(1));
        let new = vec![writes::NewLink { link, chosen: false, reuse: false }; links];
        Job::Create { new: Arc::new(new), reply: oneshot::channel().0 }
    }

    #[test]
    fn a_transaction_makes_so_many_links_at_most_but_does_something() {
        let take = || Job::Take { id: LinkId(1), reply: oneshot::channel().0 };
        assert_eq!(fitting(&[create(5), take(), create(5), create(1), take()], 10), 3);
        assert_eq!(fitting(&[create(11), take()], 10), 1, "a list stays whole");
        assert_eq!(fitting(&[create(10), take()], 10), 2);
        let many: Vec<Job> = std::iter::repeat_with(take).take(JOBS_AT_ONCE + 5).collect();
        assert_eq!(fitting(&many, 10), JOBS_AT_ONCE);
    }
}
