//! Short links: their actors, and the one handle through which everything else uses them.
//!
//! ```text
//! links
//! ├── shortener «0…3»   each writes and looks up a part of the links, many at a time
//! ├── click keeper      clicks → a buffer on disk
//! ├── click roller      the buffer → counts in the database
//! └── watcher           what other nodes have changed → forgotten here
//! ```
//! A redirect is answered from memory without any of them; what is not in memory is asked for by the
//! name's shortener, together with everything that others ask for meanwhile. A write is one of many in
//! a transaction that is on the medium before anybody is answered.

pub mod cache;
pub mod clicks;
mod counts;
mod imports;
mod keeper;
mod pace;
mod policy;
mod roller;
mod second;
mod shortener;
mod start;
mod watcher;
mod writes;

pub use clicks::{Live, RawClick};
pub use imports::{Holder, ImportRoom};
pub use policy::{Allowances, DomainSettings, Policy, Settings};
pub use start::start;
pub use writes::{Edited, Made, NewLink};

use super::supervision::{Handle, Unreachable};
use super::trading::market_data::wall_clock;
use crate::domain::ids::AccountId;
use crate::domain::link::target::Hosts;
use crate::domain::link::{Link, LinkError, LinkId, State, slug};
use crate::domain::time::Timestamp;
use crate::persistence::db::{Connection, Database};
use crate::persistence::links::rows::{self, Stored};
use arc_swap::ArcSwap;
use cache::{Cache, Entry, Known};
use clicks::Counter;
use counts::{BeingMade, Counts, Step, Tally};
use imports::Imports;
use pace::Pace;
use shortener::{Find, Job, Shortener, Work};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::{Mutex, broadcast, oneshot};

/// How long a caller waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where there is room for so many times what is to be made, it keeps nobody out for a while if it is there already.
const AMPLE: usize = 8;
/// Random slugs that are tried before one is made longer.
const TRIES: usize = 4;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LinksError {
    /// A rule says no; nothing has changed.
    #[error(transparent)]
    Invalid(#[from] LinkError),
    /// There is no such link, or it is somebody else's.
    #[error("there is no such link")]
    Unknown,
    /// Somebody has this slug already.
    #[error("this slug is taken")]
    SlugTaken,
    /// Somebody else was faster.
    #[error("the link was changed meanwhile; read it again")]
    Changed,
    /// The owner has as many links as one may have.
    #[error("you have too many links")]
    TooMany,
    /// The database is out of reach.
    #[error("links are out of reach at the moment, please retry")]
    Away,
    /// Too much is on its way already.
    #[error("too many requests are waiting, please retry")]
    Overloaded,
}

impl LinksError {
    /// The stable code that clients may rely on.
    pub fn code(&self) -> &'static str {
        match self {
            LinksError::Invalid(error) => error.code(),
            LinksError::Unknown => "link_unknown",
            LinksError::SlugTaken => "slug_taken",
            LinksError::Changed => "link_changed",
            LinksError::TooMany => "too_many_links",
            LinksError::Away => "links_unavailable",
            LinksError::Overloaded => "overloaded",
        }
    }
}

impl From<Unreachable> for LinksError {
    fn from(_: Unreachable) -> LinksError {
        LinksError::Overloaded
    }
}

/// Counters of the path of redirects.
#[derive(Debug, Default)]
pub struct Meter {
    /// Redirects.
    pub redirects: AtomicU64,
    /// Visits that were answered with a page.
    pub pages: AtomicU64,
    /// Visits whose link was in memory.
    pub hits: AtomicU64,
    /// Visits whose link had to be looked up.
    pub misses: AtomicU64,
}

struct Inner {
    shorteners: Vec<Handle<Shortener>>,
    cache: Arc<Cache>,
    counter: Arc<Counter>,
    database: Database,
    policy: Arc<ArcSwap<Policy>>,
    /// Held by whoever reads the policy anew, until it is stored.
    reloading: Mutex<()>,
    settings: Settings,
    allowances: ArcSwap<Allowances>,
    live: broadcast::Sender<Arc<Live>>,
    last_id: AtomicI64,
    counts: Counts,
    meter: Meter,
    pace: Arc<Pace>,
    imports: Imports,
}

/// Short links. Clones are the same ones.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

impl Links {
    /// What memory knows of a name on the venue's own address, or of `slug@domain`.
    pub fn known(&self, name: &str, now: Timestamp) -> Known {
        let known = self.0.cache.get(name, now);
        if let Known::Link(entry) = &known
            && entry.wants_refresh(now)
            && self.shortener_of(name).try_send(Find { name: name.into(), reply: None }).is_err()
        {
            entry.refresh_failed();
        }
        known
    }

    /// The link of a name: from memory, else looked up with what others ask for.
    ///
    /// # Errors
    /// [`LinksError::Away`], [`LinksError::Overloaded`].
    pub async fn find(&self, name: &str) -> Result<Option<Arc<Entry>>, LinksError> {
        match self.known(name, wall_clock()) {
            Known::Link(entry) => {
                self.0.meter.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(Some(entry));
            }
            Known::Missing => return Ok(None),
            Known::Nothing => self.0.meter.misses.fetch_add(1, Ordering::Relaxed),
        };
        let (reply, answer) = oneshot::channel();
        self.shortener_of(name).try_send(Find { name: name.into(), reply: Some(reply) })?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) | Err(_) => Err(LinksError::Away),
        }
    }

    /// Spends a click of a limited link; false when none is left, or it is not active any more. It is
    /// on the medium when this answers, so no crash gives it back.
    ///
    /// # Errors
    /// [`LinksError::Away`], [`LinksError::Overloaded`]; a click may be spent then all the same.
    pub async fn take(&self, id: LinkId) -> Result<bool, LinksError> {
        self.work(id.0, |reply| Job::Take { id, reply }).await
    }

    /// What memory has of a name is known to be old.
    pub fn outdated(&self, name: &str) {
        self.0.cache.forget(name);
    }

    /// Makes links, all in one transaction; one outcome for each. Random slugs are chosen anew while
    /// they are taken. Those are refused that their owner has no room for; what is there already needs none.
    ///
    /// # Errors
    /// [`LinksError::Away`], [`LinksError::Overloaded`]: nothing was made.
    pub async fn create(&self, new: Vec<NewLink>) -> Result<Vec<Result<Made, LinksError>>, LinksError> {
        let Some(owner) = new.iter().find_map(|new| new.link.owner) else { return self.make(new).await };
        let links = self.clone();
        // It goes on when whoever asked hangs up: a count is not begun again before it is done, and what is on its way
        // counts until it is known what became of it.
        let work = actix::spawn(async move { links.create_of(owner, new).await });
        // It died before it answered: it may have happened.
        work.await.unwrap_or(Err(LinksError::Away))
    }

    async fn create_of(
        &self,
        owner: AccountId,
        new: Vec<NewLink>,
    ) -> Result<Vec<Result<Made, LinksError>>, LinksError> {
        let (new, fits, being_made) = self.let_in(owner, new).await?;
        let fitting = new.into_iter().zip(&fits).filter(|(_, fits)| **fits).map(|(new, _)| new).collect();
        let made = match self.make(fitting).await {
            Ok(made) => made,
            Err(error) => {
                if error == LinksError::Overloaded {
                    // That is said only of what nobody began with.
                    being_made.done(0, 0);
                }
                return Err(error);
            }
        };
        let created = |made: &&Result<Made, LinksError>| matches!(made, Ok(Made::Created(_)));
        let unsure = |made: &&Result<Made, LinksError>| matches!(made, Err(LinksError::Away));
        being_made.done(made.iter().filter(created).count(), made.iter().filter(unsure).count());
        let mut made = made.into_iter();
        let mut outcome = |fits: bool| if fits { made.next() } else { Some(Err(LinksError::TooMany)) };
        Ok(fits.into_iter().map(|fits| outcome(fits).unwrap_or(Err(LinksError::Overloaded))).collect())
    }

    /// Which of these links their owner has room for. Those that are new count as being made from then on.
    async fn let_in(
        &self,
        owner: AccountId,
        new: Vec<NewLink>,
    ) -> Result<(Vec<NewLink>, Vec<bool>, BeingMade), LinksError> {
        let (all, most) = (new.len(), self.allowances().max_per_user);
        let tally = self.0.counts.of(owner);
        // One after the other: nobody else takes the room that is found here, nor counts at the same time.
        let turn = tokio::time::timeout(PATIENCE * 2, tally.turn.lock());
        let _turn = turn.await.map_err(|_| LinksError::Overloaded)?;
        let room = self.room_of(owner, &tally, all, most).await?;
        let may_be_there = new.iter().any(|new| new.chosen || new.reuse);
        let ample = all.saturating_mul(AMPLE) <= room;
        let (new, fits, fresh) = if ample || (all <= room && !may_be_there) {
            (new, vec![true; all], all)
        } else {
            // Some may be there already, as when an import is run again. They shall not take room meanwhile either that
            // others may need.
            let look = move |conn: &mut Connection| {
                let (fits, fresh) = writes::fitting(conn, &new, room)?;
                Ok((new, fits, fresh))
            };
            self.read(look).await?
        };
        Ok((new, fits, tally.begin(fresh)))
    }

    /// How many more links somebody may have, of `most` in all, before so many `more` are made. Deleted ones count too
    /// as long as that does not matter, since leaving them out is slow for who has many links.
    async fn room_of(&self, owner: AccountId, tally: &Tally, more: usize, most: i64) -> Result<usize, LinksError> {
        // First all of them, then those that were not deleted.
        for _ in 0..2 {
            let begun = Instant::now();
            let exactly = match tally.step(more, most, begun) {
                Step::Believe => break,
                Step::CountAll => false,
                Step::CountExactly => true,
            };
            tally.counting();
            let count = move |conn: &mut Connection| {
                if exactly { rows::count_of(conn, owner) } else { rows::count_all(conn, owner) }
            };
            let links = self.read(count).await?;
            tally.counted(links, exactly, begun, Instant::now());
        }
        Ok(tally.room(most))
    }

    async fn make(&self, new: Vec<NewLink>) -> Result<Vec<Result<Made, LinksError>>, LinksError> {
        let mut outcomes: Vec<Option<Result<Made, LinksError>>> = vec![None; new.len()];
        let mut left: Vec<usize> = (0..new.len()).collect();
        let mut new = Arc::new(new);
        for attempt in 0..TRIES * 3 {
            let Some(first) = new.first().map(|new| new.link.id) else { break };
            let batch = new.clone();
            // Those of one owner go to one shortener: of two that are the same, the second finds the first.
            let place = new.iter().find_map(|new| new.link.owner).map_or(first.0, |owner| i64::from(owner.0));
            let made = match self.work(place, |reply| Job::Create { new: batch, reply }).await {
                Ok(made) => made,
                Err(error) if attempt == 0 => return Err(error),
                // The others have their outcome: links that were made are not told as failed.
                Err(error) => {
                    left.into_iter().for_each(|index| set(&mut outcomes, index, Err(error.clone())));
                    break;
                }
            };
            let (mut again, mut retries) = (Vec::new(), Vec::new());
            for ((index, outcome), tried) in left.into_iter().zip(made).zip(new.iter()) {
                match outcome {
                    Ok(Made::Collided) if !tried.chosen => {
                        let mut retry = tried.clone();
                        let length = self.slug_length(&retry.link.domain) + attempt / TRIES;
                        retry.link.slug = self.random_slug(length);
                        // It may have been the number that was taken: the clock of this node may have been set back
                        // before it was started.
                        retry.link.id = self.next_id();
                        again.push(index);
                        retries.push(retry);
                    }
                    Ok(Made::Collided) => set(&mut outcomes, index, Err(LinksError::SlugTaken)),
                    outcome => set(&mut outcomes, index, outcome),
                }
            }
            (left, new) = (again, Arc::new(retries));
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(LinksError::Overloaded))).collect())
    }

    /// Changes a link by what `edit` makes of it, on the version that the editor has seen, if one is
    /// named. It is durable, and forgotten here, when this answers.
    ///
    /// # Errors
    /// Those of `edit`; [`LinksError::Unknown`], [`LinksError::Changed`], and failures.
    pub async fn edit(
        &self,
        id: LinkId,
        version: Option<i64>,
        edit: impl Fn(&Stored) -> Result<Edited, LinksError> + Send + 'static,
    ) -> Result<Stored, LinksError> {
        let begun = Instant::now();
        let edited = self.work(id.0, |reply| Job::Edit { id, version, edit: Box::new(edit), reply }).await?;
        // What is deleted already is not changed any more, so it was deleted now.
        if let Ok(Stored { link: Link { state: State::Deleted, owner: Some(owner), .. }, .. }) = &edited {
            self.0.counts.deleted(*owner, begun);
        }
        edited
    }

    /// Has a job done by the shortener of this number, which is a link's or an owner's.
    async fn work<T>(&self, number: i64, job: impl FnOnce(writes::Reply<T>) -> Job) -> Result<T, LinksError> {
        let (reply, answer) = oneshot::channel();
        // All that is about one link goes to one of them, so that clicks spent at once share a statement.
        let index = part_of(number, self.0.shorteners.len());
        let shortener = self.0.shorteners.get(index).ok_or(LinksError::Overloaded)?;
        shortener.try_send(Work(job(reply)))?;
        match tokio::time::timeout(PATIENCE * 2, answer).await {
            Ok(Ok(outcome)) => outcome,
            // It died before it answered, or the database takes too long: it may have happened.
            Ok(Err(_)) | Err(_) => Err(LinksError::Away),
        }
    }

    fn shortener_of(&self, name: &str) -> &Handle<Shortener> {
        let hash = name.bytes().fold(0usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
        let all = &self.0.shorteners;
        // There is always at least one.
        &all[hash % all.len()]
    }

    /// Runs a query where it may block.
    ///
    /// # Errors
    /// [`LinksError::Away`].
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> diesel::QueryResult<T> + Send + 'static,
    ) -> Result<T, LinksError> {
        self.run(move |database| database.read(query)).await
    }

    /// Runs a statement where it may block; it is durable when this answers.
    ///
    /// # Errors
    /// [`LinksError::Away`].
    pub async fn write<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> diesel::QueryResult<T> + Send + 'static,
    ) -> Result<T, LinksError> {
        self.run(move |database| database.write_durably(query)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, crate::persistence::db::DbError> + Send + 'static,
    ) -> Result<T, LinksError> {
        self.0.database.elsewhere(work).await.map_err(|error| {
            tracing::warn!(%error, "a query of links failed");
            LinksError::Away
        })
    }

    /// Counts a click; never waits.
    pub fn count(&self, click: RawClick) {
        self.0.counter.add(click);
    }

    /// A number for a new link: time in the upper bits, then the node, then a counter. Other nodes never
    /// give the same one.
    pub fn next_id(&self) -> LinkId {
        let (now_ms, node) = (wall_clock().0 / 1_000, self.0.settings.node);
        let step = |last| Some(id_after(last, now_ms, node));
        let last = self.0.last_id.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap_or(0);
        LinkId(id_after(last, now_ms, node))
    }

    /// A random slug that could be chosen as well.
    pub fn random_slug(&self, length: usize) -> String {
        let length = length.clamp(4, slug::LONGEST);
        let draw = |words: &[String]| slug::random(length, &rand::random::<[u8; 4 * slug::LONGEST]>(), words);
        // Words of the operator that hardly leave any slug are better broken than waited for.
        let fitting = (0..1_000).find_map(|_| draw(&self.0.settings.words));
        fitting.unwrap_or_else(|| std::iter::repeat_with(|| draw(&[])).flatten().next().unwrap_or_default())
    }

    /// How long random slugs of a domain are.
    pub fn slug_length(&self, domain: &str) -> usize {
        let own = self.0.policy.load().domains.get(domain).and_then(|settings| settings.slug_length);
        own.map_or(self.0.settings.slug_length, usize::from)
    }

    /// What targets are judged by; `asked` is the host that the request was sent to.
    pub fn hosts(&self, asked: Option<&str>) -> Hosts {
        let policy = self.0.policy.load();
        let mut own = self.0.settings.own_hosts();
        own.extend(asked.and_then(crate::domain::link::target::host));
        Hosts { own, blocked: policy.blocked.clone() }
    }

    /// Blocked hosts and domains as they are now.
    pub fn policy(&self) -> Arc<Policy> {
        self.0.policy.load_full()
    }

    /// Reads blocked hosts and domains anew, after they were changed, and forgets what rested on the old ones.
    ///
    /// # Errors
    /// [`LinksError::Away`].
    pub async fn reload_policy(&self) -> Result<(), LinksError> {
        let settings = self.0.settings.clone();
        // One after the other: what was read before a change is not stored after what was read since.
        let _turn = self.0.reloading.lock().await;
        let policy = self.read(move |conn| Policy::load(conn, &settings)).await?;
        self.0.policy.store(Arc::new(policy));
        self.0.cache.clear();
        Ok(())
    }

    /// What is allowed at the moment; nothing before it was said.
    pub fn allowances(&self) -> Allowances {
        **self.0.allowances.load()
    }

    /// Says what is allowed from now on.
    pub fn allow(&self, allowances: Allowances) {
        self.0.allowances.store(Arc::new(allowances));
    }

    /// Links that one transaction takes at the moment, so that others who write wait only briefly.
    pub fn at_once(&self) -> usize {
        self.0.pace.links()
    }

    /// Room for the body of an import of so many bytes, until what is returned is dropped; `None` when the bodies of
    /// other imports take it, or its holder has one already.
    pub fn room_for_import(&self, whose: Holder, bytes: usize) -> Option<ImportRoom> {
        self.0.imports.take(whose, bytes)
    }

    /// How links are set up.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Clicks as they happen, on this node.
    pub fn live(&self) -> broadcast::Receiver<Arc<Live>> {
        self.0.live.subscribe()
    }

    /// Counters.
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// Clicks that could not be counted, since so many were on their way.
    pub fn clicks_dropped(&self) -> u64 {
        self.0.counter.dropped()
    }

    /// Links and bytes in memory.
    pub fn cached(&self) -> (usize, u64) {
        self.0.cache.size()
    }
}

/// Which of so many parts a number belongs to. Numbers of links are mostly multiples of a power of two, so they are
/// mixed first. Nothing that is stored rests on it.
fn part_of(number: i64, parts: usize) -> usize {
    let mixed = number.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    mixed as usize % parts.max(1)
}

/// Links of one node in a millisecond; more take the numbers of the next ones.
const IDS_OF_A_MILLISECOND: i64 = 1 << 12;
/// The time from which numbers count, ms.
const FIRST_MS: i64 = 1_700_000_000_000;

/// The number that a node gives after this one. It stays among its own numbers also when the clock has been set back
/// or more links are made than a millisecond has numbers.
fn id_after(last: i64, now_ms: i64, node: u16) -> i64 {
    let first_of = |ms: i64| (ms << 22) | (i64::from(node & 0x3ff) << 12);
    let now = first_of(now_ms - FIRST_MS);
    if now > last {
        return now;
    }
    let next = last + 1;
    if next % IDS_OF_A_MILLISECOND == 0 { first_of((last >> 22) + 1) } else { next }
}

fn set<T>(all: &mut [Option<T>], index: usize, value: T) {
    if let Some(place) = all.get_mut(index) {
        *place = Some(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn links_are_spread_over_all_parts() {
        let mut last = 0;
        let mut counts = [0; 4];
        for millisecond in 0..4_000 {
            // Mostly one in a millisecond, now and then two.
            for _ in 0..1 + millisecond % 7 / 6 {
                last = id_after(last, FIRST_MS + 5_000_000 + 3 * millisecond, 1);
                counts[part_of(last, counts.len())] += 1;
            }
        }
        let all: usize = counts.iter().sum();
        assert!(counts.iter().all(|count| *count > all / 8), "{counts:?}");
        assert_eq!(part_of(i64::MIN, 0), 0);
    }

    #[test]
    fn numbers_of_nodes_never_meet() {
        let node_of = |id: i64| (id >> 12) & 0x3ff;
        let mut seen = BTreeSet::new();
        for node in [3, 4] {
            let mut last = 0;
            // More than a millisecond has numbers, then a clock that was set back by an hour.
            for now_ms in std::iter::repeat_n(FIRST_MS + 5_000_000, 10_000).chain(std::iter::repeat_n(FIRST_MS, 10_000))
            {
                let id = id_after(last, now_ms, node);
                assert!(id > last && node_of(id) == i64::from(node), "{id} after {last} of node {node}");
                assert!(seen.insert(id));
                last = id;
            }
        }
    }
}
