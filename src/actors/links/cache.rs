//! What the path of a redirect knows without asking: links that were followed lately, and names that
//! nobody has.
//!
//! Invariants: bounded by bytes and by number; what was read before something was forgotten is not
//! put in after it, so a change that was acknowledged is never undone here; an old entry is better
//! than none while the database is away, so age alone removes nothing; an entry that was to be read
//! anew and was not is read anew for the next one who asks.

use crate::domain::ids::AccountId;
use crate::domain::link::rules::{Rule, Way, When};
use crate::domain::link::{Link, LinkId, RedirectCode, State};
use crate::domain::time::{SECOND, Timestamp};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Quick;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// An older entry is read anew, while it still serves, µs.
const FRESH_FOR: i64 = 60 * SECOND;
/// A name that nobody has is asked for again after this, µs: another node may have given it away.
const MISSING_FOR: i64 = SECOND;
/// Names that nobody has, at most.
const MISSING: usize = 50_000;
/// Bytes of an entry beside its texts: keys, pointers, the cache's own.
const OVERHEAD: u64 = 200;
/// Bytes that the allocator takes beside those of an allocation.
const ALLOCATION: usize = 16;
/// Bytes of a node of a map of texts, which holds five of them or more unless it is the only one.
const NODE: usize = 700;
const FEWEST_OF_A_NODE: usize = 5;

/// A link as a redirect needs it.
#[derive(Debug)]
pub enum Hot {
    /// It leads everybody to one place.
    Plain(Plain),
    /// Everything about it, for the rest.
    Full(Box<Link>),
}

/// What most links are.
#[derive(Debug)]
pub struct Plain {
    /// The link's number.
    pub id: LinkId,
    /// Whose it is.
    pub owner: Option<AccountId>,
    /// How browsers are sent on.
    pub code: RedirectCode,
    /// It leads nowhere before.
    pub starts_at: Timestamp,
    /// It leads nowhere from then on.
    pub expires_at: Timestamp,
    /// Where it leads.
    pub location: Bytes,
}

impl Hot {
    /// A link, in the smallest form that says everything.
    pub fn new(link: Link) -> Hot {
        let plain = link.state == State::Active
            && link.rules.is_empty()
            && link.clicks.is_none()
            && link.password_hash.is_none()
            && !link.forward_query;
        if !plain {
            return Hot::Full(Box::new(link));
        }
        Hot::Plain(Plain {
            id: link.id,
            owner: link.owner,
            code: link.code,
            starts_at: link.starts_at.unwrap_or(Timestamp(i64::MIN)),
            expires_at: link.expires_at.unwrap_or(Timestamp(i64::MAX)),
            location: Bytes::from(link.target),
        })
    }

    fn bytes(&self) -> u64 {
        let length = match self {
            Hot::Plain(plain) => plain.location.len(),
            Hot::Full(link) => of_link(link),
        };
        length as u64
    }
}

/// Bytes of a link beside [`OVERHEAD`]: whatever its owner can make long counts.
fn of_link(link: &Link) -> usize {
    let Link { domain, slug, target, title, notes, tags, password_hash, rules, .. } = link;
    let texts = [domain, slug, target, title, notes].into_iter().chain(password_hash).map(of_text).sum::<usize>();
    let rules = of_list(rules) + rules.iter().map(of_rule).sum::<usize>();
    size_of::<Link>() + texts + of_texts(tags) + rules
}

fn of_rule(Rule { when, ways }: &Rule) -> usize {
    let When { device, os, language, country, query, from: _, until: _ } = when;
    let lists = [device, os, language, country].into_iter().map(of_texts).sum::<usize>();
    let pairs = query.iter().map(|(name, value)| of_text(name) + of_text(value)).sum::<usize>();
    let nodes = if query.is_empty() { 0 } else { query.len() / FEWEST_OF_A_NODE + 1 };
    let ways = of_list(ways) + ways.iter().map(|Way { to, weight: _ }| of_text(to)).sum::<usize>();
    lists + pairs + nodes * NODE + ways
}

fn of_texts(texts: &Vec<String>) -> usize {
    texts.capacity() * size_of::<String>() + ALLOCATION + texts.iter().map(of_text).sum::<usize>()
}

/// Bytes of the list itself.
fn of_list<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>() + ALLOCATION
}

/// Bytes of a text beside the place where its address stands.
fn of_text(text: &String) -> usize {
    text.capacity() + ALLOCATION
}

/// An entry with its age.
#[derive(Debug)]
pub struct Entry {
    /// The link.
    pub hot: Hot,
    read_at: Timestamp,
    refreshing: AtomicBool,
}

impl Entry {
    /// An entry that was read now.
    pub fn new(hot: Hot, now: Timestamp) -> Entry {
        Entry { hot, read_at: now, refreshing: AtomicBool::new(false) }
    }

    /// Whether it should be read anew by whoever asks; true for one of them.
    pub fn wants_refresh(&self, now: Timestamp) -> bool {
        now - self.read_at > FRESH_FOR && !self.refreshing.swap(true, Ordering::Relaxed)
    }

    /// The refresh came to nothing; the next one who asks tries again.
    pub fn refresh_failed(&self) {
        self.refreshing.store(false, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<Box<str>, Arc<Entry>> for ByBytes {
    fn weight(&self, name: &Box<str>, entry: &Arc<Entry>) -> u64 {
        OVERHEAD + name.len() as u64 + entry.hot.bytes()
    }
}

/// What is known of a name.
#[derive(Clone, Debug)]
pub enum Known {
    /// The link.
    Link(Arc<Entry>),
    /// Nobody has it, as of a moment ago.
    Missing,
    /// Nothing.
    Nothing,
}

/// The cache.
#[derive(Debug)]
pub struct Cache {
    links: Quick<Box<str>, Arc<Entry>, ByBytes>,
    missing: Quick<Box<str>, Timestamp>,
    /// Counts what was forgotten.
    forgotten: AtomicU64,
}

/// A name as the cache has it. On the venue's own address the slug alone.
pub fn name<'a>(domain: &str, slug: &'a str) -> Cow<'a, str> {
    if domain.is_empty() { Cow::Borrowed(slug) } else { Cow::Owned(format!("{slug}@{domain}")) }
}

/// Domain and slug of a name.
pub fn parts(name: &str) -> (&str, &str) {
    name.split_once('@').map_or(("", name), |(slug, domain)| (domain, slug))
}

impl Cache {
    /// A cache of so many bytes.
    pub fn new(bytes: u64) -> Cache {
        let expected = usize::try_from(bytes / (OVERHEAD + 60)).unwrap_or(1_000).max(16);
        Cache {
            links: Quick::with_weighter(expected, bytes, ByBytes),
            missing: Quick::new(MISSING),
            forgotten: AtomicU64::new(0),
        }
    }

    /// What is known of a name.
    pub fn get(&self, name: &str, now: Timestamp) -> Known {
        if let Some(entry) = self.links.get(name) {
            return Known::Link(entry);
        }
        match self.missing.get(name) {
            Some(until) if now < until => Known::Missing,
            Some(_) | None => Known::Nothing,
        }
    }

    /// To be taken before something is read that is to be put in.
    pub fn moment(&self) -> u64 {
        self.forgotten.load(Ordering::Acquire)
    }

    /// Puts in what was read, unless something was forgotten since `moment`: an older entry stays then, and its refresh
    /// came to nothing.
    pub fn put(&self, name: &str, entry: Option<&Arc<Entry>>, moment: u64, now: Timestamp) {
        if self.moment() != moment {
            self.refresh_failed(name);
            return;
        }
        match entry {
            Some(entry) => self.links.insert(name.into(), entry.clone()),
            None => {
                // An older entry would hide it.
                self.links.remove(name);
                self.missing.insert(name.into(), now + MISSING_FOR);
            }
        }
        // Somebody may have forgotten it between the look and the insertion.
        if self.moment() != moment {
            self.links.remove(name);
            self.missing.remove(name);
        }
    }

    /// A name was not read anew; if there is an entry of it, the next one who asks tries again.
    pub fn refresh_failed(&self, name: &str) {
        if let Some(old) = self.links.get(name) {
            old.refresh_failed();
        }
    }

    /// Forgets a name; what is being read of it is not put in.
    pub fn forget(&self, name: &str) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        self.links.remove(name);
        self.missing.remove(name);
    }

    /// Forgets that nobody has these names.
    pub fn appeared<'a>(&self, names: impl Iterator<Item = &'a str>) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        for name in names {
            self.missing.remove(name);
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        self.links.clear();
        self.missing.clear();
    }

    /// Links and bytes that are held.
    pub fn size(&self) -> (usize, u64) {
        (self.links.len(), self.links.weight())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::link::edit::blank;

    fn entry(slug: &str, now: Timestamp) -> Arc<Entry> {
        let mut link = blank(LinkId(1), String::new(), slug.into(), None, now);
        link.target = "https://example.org/".into();
        Arc::new(Entry::new(Hot::new(link), now))
    }

    #[test]
    fn what_was_read_before_a_change_is_not_put_in_after_it() {
        let cache = Cache::new(1 << 20);
        let now = Timestamp(5);
        let moment = cache.moment();
        cache.put("abc", Some(&entry("abc", now)), moment, now);
        assert!(matches!(cache.get("abc", now), Known::Link(_)));
        let moment = cache.moment();
        cache.forget("abc");
        cache.put("abc", Some(&entry("abc", now)), moment, now);
        assert!(matches!(cache.get("abc", now), Known::Nothing));
    }

    #[test]
    fn a_missing_name_is_known_for_a_while_or_until_it_is_given_away() {
        let cache = Cache::new(1 << 20);
        let now = Timestamp(5);
        cache.put("abc", None, cache.moment(), now);
        assert!(matches!(cache.get("abc", now), Known::Missing));
        assert!(matches!(cache.get("abc", now + MISSING_FOR), Known::Nothing));
        cache.appeared(["abc"].into_iter());
        assert!(matches!(cache.get("abc", now), Known::Nothing));
    }

    #[test]
    fn memory_stays_within_what_was_set() {
        let cache = Cache::new(64 << 10);
        let now = Timestamp(5);
        for number in 0..10_000 {
            let slug = format!("slug{number}");
            cache.put(&slug, Some(&entry(&slug, now)), cache.moment(), now);
        }
        let (links, bytes) = cache.size();
        assert!(bytes <= 64 << 10 && links > 50, "{links} links in {bytes} bytes");
    }

    #[test]
    fn whatever_an_owner_can_make_long_counts() {
        let now = Timestamp(5);
        let size = |change: &dyn Fn(&mut Link)| {
            let mut link = blank(LinkId(1), String::new(), "abc".into(), None, now);
            link.forward_query = true;
            change(&mut link);
            Hot::new(link).bytes()
        };
        let long = || "x".repeat(100);
        let list = || std::iter::repeat_with(long).take(50).collect::<Vec<_>>();
        let query = || (0..50).map(|number| (format!("{number:0100}"), long())).collect();
        let with = |when: When| move |link: &mut Link| link.rules = vec![Rule { when: when.clone(), ways: Vec::new() }];
        let least = size(&|_| {});
        type Change<'a> = &'a dyn Fn(&mut Link);
        let changes: [(Change<'_>, u64); 8] = [
            (&|link| link.tags = list(), 50),
            (&|link| link.password_hash = Some(long()), 1),
            (&with(When { device: list(), ..When::default() }), 50),
            (&with(When { os: list(), ..When::default() }), 50),
            (&with(When { language: list(), ..When::default() }), 50),
            (&with(When { country: list(), ..When::default() }), 50),
            (&with(When { query: query(), ..When::default() }), 100),
            (&|link| link.rules = vec![Rule { when: When::default(), ways: vec![Way { to: long(), weight: 1 }] }], 1),
        ];
        for (number, (change, texts)) in changes.into_iter().enumerate() {
            let more = size(change) - least;
            let text = 100 + size_of::<String>() as u64;
            assert!(more >= texts * 100 && (texts == 1 || more >= texts * text), "{number}: {more} bytes");
        }
    }

    #[test]
    fn an_old_entry_is_refreshed_by_one_of_those_who_ask() {
        let now = Timestamp(5);
        let entry = entry("abc", now);
        assert!(!entry.wants_refresh(now + FRESH_FOR));
        assert!(entry.wants_refresh(now + FRESH_FOR + 1));
        assert!(!entry.wants_refresh(now + FRESH_FOR + 1));
        entry.refresh_failed();
        assert!(entry.wants_refresh(now + FRESH_FOR + 1));
    }

    #[test]
    fn an_old_entry_that_could_not_be_replaced_is_refreshed_again() {
        let cache = Cache::new(1 << 20);
        let then = Timestamp(5);
        let now = then + (FRESH_FOR + 1);
        let old = entry("abc", then);
        cache.put("abc", Some(&old), cache.moment(), then);
        assert!(old.wants_refresh(now) && !old.wants_refresh(now));
        let moment = cache.moment();
        cache.forget("another");
        cache.put("abc", Some(&entry("abc", now)), moment, now);
        assert!(old.wants_refresh(now), "it is still there and still old");
        cache.put("abc", Some(&entry("abc", now)), cache.moment(), now);
        let Known::Link(fresh) = cache.get("abc", now) else { panic!("it is there") };
        assert!(!fresh.wants_refresh(now));
        cache.put("abc", None, cache.moment(), now);
        assert!(matches!(cache.get("abc", now), Known::Missing));
    }

    #[test]
    fn names_have_their_domain() {
        assert_eq!(name("", "abc"), "abc");
        assert_eq!(parts(&name("s.example", "abc")), ("s.example", "abc"));
        assert_eq!(parts("abc"), ("", "abc"));
    }
}
