//! Clicks on their way from a redirect to the buffer.
//!
//! A redirect leaves what its request said in a queue of its thread and goes on; what that means (which
//! browser, which visitor) is worked out by the keeper. Queues are bounded: a click that finds its
//! queue full is dropped and counted as dropped.

use crate::domain::ids::AccountId;
use crate::domain::link::visitor::{Client, known_language, preferred_language};
use crate::domain::link::{LinkId, target};
use crate::domain::time::{DAY, Timestamp};
use crate::persistence::links::clicks::Click;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Queues; threads share them in turn.
const QUEUES: usize = 8;
/// Clicks of one queue.
const QUEUED: usize = 65_536;
/// User agents that are remembered with their meaning.
const AGENTS: usize = 10_000;
/// The most characters of a referring host.
const LONGEST_HOST: usize = 100;

/// A click as its request said.
#[derive(Clone, Debug)]
pub struct RawClick {
    /// Which link.
    pub link: LinkId,
    /// Whose link.
    pub owner: Option<AccountId>,
    /// When.
    pub at: Timestamp,
    /// The visitor's address; never stored.
    pub address: Option<IpAddr>,
    /// The user agent.
    pub agent: Option<Box<str>>,
    /// What languages the visitor prefers.
    pub languages: Option<Box<str>>,
    /// The page before.
    pub referrer: Option<Box<str>>,
    /// The country, where a proxy tells it.
    pub country: Option<Box<str>>,
    /// Where a rule has led.
    pub target: Option<Box<str>>,
    /// Whether a browser only fetches ahead.
    pub ahead: bool,
}

/// A click as those who watch a link see it.
#[derive(Clone, Debug)]
pub struct Live {
    /// Whose link.
    pub owner: Option<AccountId>,
    /// The click.
    pub click: Click,
}

/// The queues.
#[derive(Debug)]
pub struct Counter {
    queues: Vec<Mutex<Vec<RawClick>>>,
    dropped: AtomicU64,
}

impl Default for Counter {
    fn default() -> Counter {
        Counter { queues: (0..QUEUES).map(|_| Mutex::default()).collect(), dropped: AtomicU64::new(0) }
    }
}

/// The queue of the thread that asks.
fn own_queue() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.with(|own| {
        own.get().unwrap_or_else(|| {
            let queue = NEXT.fetch_add(1, Ordering::Relaxed) % QUEUES;
            own.set(Some(queue));
            queue
        })
    })
}

impl Counter {
    /// Adds a click; never waits for more than another thread's push.
    pub fn add(&self, click: RawClick) {
        let Some(queue) = self.queues.get(own_queue()) else { return };
        let mut queue = queue.lock();
        if queue.len() >= QUEUED {
            drop(queue);
            self.drop_clicks(1);
        } else {
            queue.push(click);
        }
    }

    /// Takes everything that waits.
    pub fn drain(&self) -> Vec<RawClick> {
        let mut all = Vec::new();
        for queue in &self.queues {
            let taken = std::mem::take(&mut *queue.lock());
            if all.is_empty() { all = taken } else { all.extend(taken) }
        }
        all
    }

    /// Notes that clicks were not counted.
    pub fn drop_clicks(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// How many were not counted.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Works out what clicks mean.
#[derive(Debug, Default)]
pub struct Reader {
    agents: FxHashMap<Box<str>, Client>,
    salt: Option<(Timestamp, [u8; 32])>,
}

impl Reader {
    /// The day whose salt is needed for a click at this time, if it is not here.
    pub fn lacks_salt(&self, at: Timestamp) -> Option<Timestamp> {
        let day = at.bucket(DAY);
        (self.salt.map(|(known, _)| known) != Some(day)).then_some(day)
    }

    /// Hashes visitors of a day with this.
    pub fn set_salt(&mut self, day: Timestamp, salt: &str) {
        self.salt = Some((day, *blake3::hash(salt.as_bytes()).as_bytes()));
    }

    /// A click without what names a person.
    pub fn read(&mut self, raw: RawClick) -> Live {
        let agent = raw.agent.as_deref().unwrap_or_default();
        let client = match self.agents.get(agent) {
            Some(client) => *client,
            None => {
                let client = Client::of(raw.agent.as_deref());
                // Forgotten all at once when there are too many; the common ones are soon back.
                if self.agents.len() >= AGENTS {
                    self.agents.clear();
                }
                self.agents.insert(agent.into(), client);
                client
            }
        };
        let language = raw.languages.as_deref().and_then(preferred_language).map_or("", known_language);
        let bot = if raw.ahead && client.bot.is_none() { Some("prefetch") } else { client.bot };
        let click = Click {
            link: raw.link,
            at: raw.at,
            visitor: self.visitor(raw.address, agent),
            referrer: raw.referrer.as_deref().map(referring_host).unwrap_or_default(),
            device: client.device.into(),
            os: client.os.into(),
            browser: client.browser.into(),
            language: language.into(),
            country: raw.country.as_deref().map(country).unwrap_or_default(),
            bot: bot.unwrap_or_default().into(),
            target: raw.target.map(String::from).unwrap_or_default(),
        };
        Live { owner: raw.owner, click }
    }

    /// Who it is, for this day only: an IPv6 client counts by its network.
    fn visitor(&self, address: Option<IpAddr>, agent: &str) -> i64 {
        let Some((_, salt)) = &self.salt else { return 0 };
        let mut hasher = blake3::Hasher::new_keyed(salt);
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => hasher.update(&address.octets()),
            Some(IpAddr::V6(address)) => hasher.update(address.octets().get(..8).unwrap_or_default()),
            None => &mut hasher,
        };
        hasher.update(agent.as_bytes());
        let hash = hasher.finalize();
        hash.as_bytes().first_chunk::<8>().map_or(0, |bytes| i64::from_le_bytes(*bytes))
    }
}

fn referring_host(page: &str) -> String {
    let host = target::host_of(page).unwrap_or_default();
    let host = host.strip_prefix("www.").unwrap_or(&host);
    host.chars().take(LONGEST_HOST).collect()
}

fn country(text: &str) -> String {
    let known = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    if known { text.to_ascii_uppercase() } else { String::new() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn raw() -> RawClick {
        RawClick {
            link: LinkId(1),
            owner: None,
            at: Timestamp(5),
            address: Some("192.0.2.7".parse().unwrap()),
            agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0".into()),
            languages: Some("de-AT, en;q=0.5".into()),
            referrer: Some("https://www.example.org/page?secret=1".into()),
            country: Some("at".into()),
            target: None,
            ahead: false,
        }
    }

    #[test]
    fn what_is_kept_of_a_click_names_nobody() {
        let mut reader = Reader::default();
        reader.set_salt(Timestamp(0), "today");
        let click = reader.read(raw()).click;
        let texts = (click.referrer.as_str(), click.language.as_str(), click.country.as_str(), click.browser.as_str());
        assert_eq!(texts, ("example.org", "de", "AT", "Firefox"));
        assert!(click.bot.is_empty());
        let again = reader.read(raw()).click;
        assert_eq!(again.visitor, click.visitor, "the same visitor on the same day");
        let other = reader.read(RawClick { address: Some("192.0.2.8".parse().unwrap()), ..raw() }).click;
        assert_ne!(other.visitor, click.visitor);
        assert_eq!(reader.lacks_salt(Timestamp(DAY)), Some(Timestamp(DAY)));
        reader.set_salt(Timestamp(DAY), "tomorrow");
        assert_ne!(reader.read(raw()).click.visitor, click.visitor, "another day, another name");
    }

    #[test]
    fn browsers_that_fetch_ahead_are_no_people() {
        let mut reader = Reader::default();
        assert_eq!(reader.read(RawClick { ahead: true, ..raw() }).click.bot, "prefetch");
        assert_eq!(reader.read(RawClick { agent: None, ..raw() }).click.bot, "without a name");
    }

    #[test]
    fn a_full_queue_drops_and_says_so() {
        let counter = Counter::default();
        for _ in 0..QUEUED + 3 {
            counter.add(raw());
        }
        assert_eq!((counter.drain().len(), counter.dropped()), (QUEUED, 3));
        assert!(counter.drain().is_empty());
    }
}
