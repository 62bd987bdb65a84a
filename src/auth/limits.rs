//! Rate limits: how often somebody may ask, by class of route.
//!
//! A token bucket kept as one number, the time at which it is full again (GCRA): a request adds the
//! interval between two requests to it, and is refused when that lies more than a burst ahead. Buckets
//! are bounded in number; one that is forgotten begins full, which only ever lets somebody pass.
//!
//! No bucket is full later than a burst from now. One that says so was written before the clock was set back: it is put
//! right when it is looked at, or nobody whose bucket it is could ask anything until the clock is there again.

use super::api_keys::KeyId;
use crate::domain::ids::AccountId;
use crate::domain::time::{SECOND, Timestamp};
use ipnet::IpNet;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Buckets that are remembered (some 150 bytes each).
const REMEMBERED: usize = 200_000;

/// What kind of request it is; each has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Public questions, by address.
    Public,
    /// Whatever is the user's own, by user.
    Private,
    /// The list of fills, by user.
    Fills,
    /// Requests that one API key signs, beside the limit of its user.
    Key,
    /// Sign-up, sign-in, codes and refreshes, by address.
    SignIn,
    /// Questions of other services about tokens, by address: one may ask for many users.
    Introspect,
    /// Connections to feeds, by address.
    Feed,
    /// Messages of clients over feeds, by address.
    FeedMessages,
    /// New links, by user.
    Links,
    /// New links without an account, by address.
    LinksAnonymous,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 10] = [
        Class::Public,
        Class::Private,
        Class::Fills,
        Class::Key,
        Class::SignIn,
        Class::Introspect,
        Class::Feed,
        Class::FeedMessages,
        Class::Links,
        Class::LinksAnonymous,
    ];

    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Class::Public => "public",
            Class::Private => "private",
            Class::Fills => "fills",
            Class::Key => "key",
            Class::SignIn => "sign_in",
            Class::Introspect => "introspect",
            Class::Feed => "feed",
            Class::FeedMessages => "feed_messages",
            Class::Links => "links",
            Class::LinksAnonymous => "links_anonymous",
        }
    }

    /// The limit that counts when nobody has set another.
    pub fn default_limit(self) -> Limit {
        let (per_second, burst) = match self {
            Class::Public => (10, 15),
            Class::Private | Class::Key => (15, 30),
            Class::Fills => (10, 20),
            Class::SignIn => (2, 20),
            Class::Feed => (8, 20),
            Class::Introspect | Class::FeedMessages => (100, 200),
            Class::Links => (5, 30),
            Class::LinksAnonymous => (1, 3),
        };
        Limit { per_second, burst }
    }

    /// Whether it is counted by address, not by user.
    pub fn is_public(self) -> bool {
        let own = [Class::Private, Class::Fills, Class::Key, Class::Links];
        !own.contains(&self)
    }
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Requests a second in the long run; 0 sets no limit.
    pub per_second: u32,
    /// Requests at once after a pause, at least 1.
    pub burst: u32,
}

impl Limit {
    /// The highest value of either number.
    pub const MOST: u32 = 1_000_000;

    pub(super) fn interval(self) -> i64 {
        SECOND / i64::from(self.per_second.max(1))
    }

    /// How long an empty bucket takes to be full, µs.
    fn span(self) -> i64 {
        self.interval() * i64::from(self.burst.max(1))
    }

    /// The verdict on a request after which the bucket is full again in `ahead` µs; more than a burst of them is too
    /// much.
    fn verdict(self, ahead: i64) -> Verdict {
        let (interval, most) = (self.interval(), self.span());
        let admitted = ahead <= most;
        Verdict {
            admitted,
            limit: self.burst,
            remaining: if admitted { u32::try_from((most - ahead) / interval).unwrap_or(u32::MAX) } else { 0 },
            // A refused request costs nothing.
            reset_after: if admitted { ahead } else { ahead - interval },
            retry_after: (ahead - most).max(0),
        }
    }
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A client's network: an IPv4 address or an IPv6 /64.
    Network(IpNet),
    /// A user.
    User(AccountId),
    /// An API key.
    Key(KeyId),
}

/// The network of an address: the smallest that one client cannot leave at will.
pub fn network_of(address: IpAddr) -> IpNet {
    let length = if address.is_ipv4() { 32 } else { 64 };
    IpNet::new(address, length).map_or(IpNet::from(address), |network| network.trunc())
}

/// Whether a request may go on, and what the client should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may.
    pub admitted: bool,
    /// The burst.
    pub limit: u32,
    /// Requests that may follow at once.
    pub remaining: u32,
    /// Until there is a full burst again, µs.
    pub reset_after: i64,
    /// Until one request may follow, µs; 0 when it may at once.
    pub retry_after: i64,
}

impl Verdict {
    /// Whole seconds, rounded up.
    pub fn seconds(micros: i64) -> i64 {
        (micros + SECOND - 1) / SECOND
    }
}

impl Class {
    /// The name of a bucket that all nodes share.
    pub(super) fn bucket(self, subject: Subject) -> String {
        match subject {
            Subject::Network(network) => format!("{}:network:{network}", self.name()),
            Subject::User(user) => format!("{}:user:{}", self.name(), user.0),
            Subject::Key(key) => format!("{}:key:{key}", self.name()),
        }
    }
}

/// When a bucket is full again, which is within a burst; see the module's documentation.
fn at_most(full_at: &AtomicI64, limit: Limit, now: Timestamp) -> i64 {
    let latest = now.0 + limit.span();
    let said = full_at.load(Ordering::Relaxed);
    if said <= latest { said } else { full_at.fetch_min(latest, Ordering::Relaxed).min(latest) }
}

/// The buckets of this node.
pub(super) struct Buckets {
    full_at: Cache<(Class, Subject), Arc<AtomicI64>>,
}

impl Buckets {
    pub(super) fn new() -> Buckets {
        Buckets { full_at: Cache::new(REMEMBERED) }
    }

    fn bucket(&self, class: Class, subject: Subject) -> Arc<AtomicI64> {
        let bucket = self.full_at.get_or_insert_with(&(class, subject), || Ok::<_, ()>(Arc::default()));
        // The maker of a bucket never fails.
        bucket.unwrap_or_default()
    }

    /// Counts a request; a refused one costs nothing.
    pub(super) fn take(&self, class: Class, subject: Subject, limit: Limit, now: Timestamp) -> Verdict {
        let full_at = self.bucket(class, subject);
        let mut old = at_most(&full_at, limit, now);
        loop {
            let next = old.max(now.0) + limit.interval();
            let verdict = limit.verdict(next - now.0);
            if !verdict.admitted {
                return verdict;
            }
            match full_at.compare_exchange_weak(old, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return verdict,
                Err(newer) => old = newer,
            }
        }
    }

    /// The refusal of a request that this node alone need not ask others about: its bucket never holds more than the
    /// shared one it follows.
    pub(super) fn refuses(&self, class: Class, subject: Subject, limit: Limit, now: Timestamp) -> Option<Verdict> {
        let bucket = self.full_at.get(&(class, subject))?;
        let full_at = at_most(&bucket, limit, now);
        let verdict = limit.verdict(full_at.max(now.0) + limit.interval() - now.0);
        (!verdict.admitted).then_some(verdict)
    }

    /// What the bucket that all nodes share has said, kept in this node's own, which goes on from there when the shared
    /// one cannot be asked.
    pub(super) fn follow(
        &self,
        class: Class,
        subject: Subject,
        limit: Limit,
        (admitted, full_after): (bool, i64),
        now: Timestamp,
    ) -> Verdict {
        let bucket = self.bucket(class, subject);
        if !admitted {
            bucket.fetch_max(now.0 + full_after, Ordering::Relaxed);
            return limit.verdict(full_after + limit.interval());
        }
        // The shared one holds at least as much, unless Redis came back without its memory.
        at_most(&bucket, limit, now);
        let next = |old: i64| (old.max(now.0) + limit.interval()).max(now.0 + full_after);
        let old = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(next(old)));
        limit.verdict(next(old.unwrap_or_default()) - now.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::HOUR;

    const NOW: Timestamp = Timestamp(1_800_000_000 * SECOND);
    const LIMIT: Limit = Limit { per_second: 10, burst: 3 };

    fn ada() -> Subject {
        Subject::User(AccountId(7))
    }

    #[test]
    fn a_burst_passes_then_the_steady_rate() {
        let buckets = Buckets::new();
        let take = |at: i64| buckets.take(Class::Private, ada(), LIMIT, NOW + at);
        for left in [2, 1, 0] {
            let verdict = take(0);
            assert_eq!((verdict.admitted, verdict.limit, verdict.remaining), (true, 3, left));
        }
        let refused = take(0);
        assert_eq!((refused.admitted, refused.retry_after, refused.reset_after), (false, SECOND / 10, 3 * SECOND / 10));
        assert_eq!(take(SECOND / 10 - 1).retry_after, 1);
        assert!(take(SECOND / 10).admitted);
        assert!(!take(SECOND / 10).admitted);
        for _ in 0..3 {
            assert!(take(10 * SECOND).admitted);
        }
        assert!(!take(10 * SECOND).admitted);
        assert!(buckets.take(Class::Private, Subject::User(AccountId(8)), LIMIT, NOW).admitted);
        assert!(buckets.take(Class::Fills, ada(), LIMIT, NOW).admitted);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_out_for_longer_than_a_burst() {
        let span = 3 * SECOND / 10;
        let buckets = Buckets::new();
        let take = |at: i64| buckets.take(Class::Private, ada(), LIMIT, NOW + at).admitted;
        while take(0) {}
        let back = -HOUR;
        assert!(!take(back), "the bucket is as empty as it was");
        assert!(take(back + SECOND / 10) && !take(back + SECOND / 10));
        assert!(take(back + span) && take(back + span) && !take(back + span));
        // A bucket that follows the shared one is no other.
        let follow = |shared, at: i64| buckets.follow(Class::Fills, ada(), LIMIT, shared, NOW + at);
        assert!(!follow((false, span), 0).admitted);
        assert!(buckets.refuses(Class::Fills, ada(), LIMIT, NOW + back).is_some());
        assert_eq!(buckets.refuses(Class::Fills, ada(), LIMIT, NOW + back + SECOND / 10), None);
        assert!(!follow((false, span), HOUR).admitted);
        let verdict = follow((true, SECOND / 10), back + 10 * SECOND);
        assert!(verdict.reset_after <= span + SECOND / 10, "{verdict:?}");
        assert_eq!(buckets.refuses(Class::Fills, ada(), LIMIT, NOW + back + 11 * SECOND), None);
    }

    #[test]
    fn many_at_once_get_the_burst_and_no_more() {
        let buckets = Buckets::new();
        let limit = Limit { per_second: 1, burst: 100 };
        let admitted: usize = std::thread::scope(|scope| {
            let tries = || (0..100).filter(|_| buckets.take(Class::Key, ada(), limit, NOW).admitted).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(tries)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 100);
    }

    #[test]
    fn the_own_bucket_follows_the_shared_one_and_goes_on_without_it() {
        let buckets = Buckets::new();
        let interval = LIMIT.interval();
        assert_eq!(buckets.refuses(Class::Private, ada(), LIMIT, NOW), None);
        let follow = |shared, at: i64| buckets.follow(Class::Private, ada(), LIMIT, shared, NOW + at);
        // Other nodes have taken one before.
        let verdict = follow((true, 2 * interval), 0);
        assert_eq!((verdict.admitted, verdict.remaining, verdict.reset_after), (true, 1, 2 * interval));
        let refused = follow((false, 3 * interval), 0);
        assert_eq!((refused.admitted, refused.retry_after, refused.reset_after), (false, interval, 3 * interval));
        // Nobody need be asked again before that.
        assert_eq!(buckets.refuses(Class::Private, ada(), LIMIT, NOW), Some(refused));
        assert!(!buckets.take(Class::Private, ada(), LIMIT, NOW).admitted);
        assert_eq!(buckets.refuses(Class::Private, ada(), LIMIT, NOW + interval), None);
        assert!(buckets.take(Class::Private, ada(), LIMIT, NOW + interval).admitted);
        // A Redis that came back empty makes nobody forget.
        assert!(follow((true, interval), 2 * interval).admitted);
        assert!(buckets.refuses(Class::Private, ada(), LIMIT, NOW + 2 * interval).is_some());
    }

    #[test]
    fn an_ipv6_client_has_one_bucket_for_its_network() {
        let of = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8::1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
