//! What a message may contain and how fast people may write, by configuration. Rules of the rooms
//! themselves are in `domain::chat`.

use super::memory::Pace;
use super::{Filter, Refused};
use crate::domain::chat::{ChatReject, Command, MAX_TEXT};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use parking_lot::Mutex;
use quick_cache::unsync::Cache;
use std::sync::atomic::{AtomicU32, Ordering};

/// Users whose pace is remembered.
const REMEMBERED: usize = 50_000;
/// What else than writing one user may do in ten seconds: come and go, make and change rooms, moderate, report, make
/// friends. It is there against floods, so it is far above what hands do.
const DEEDS_PER_10S: u32 = 120;
/// Deletions of one user in ten seconds. What somebody wrote must always be deletable, so it is far above what can be
/// written in that time, also where that is set higher.
const DELETIONS_PER_10S: u32 = 300;
/// What one user may have looked up over all sockets of a node, at once and then again within some seconds: as much as
/// over HTTP, whose requests are counted before they come here. Where more may be written in that time, it is so much.
const READS: u32 = 30;
/// Those seconds.
const READS_WITHIN_S: u32 = 2;

/// Which links messages may contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Links {
    /// All.
    Any,
    /// Those to these hosts and what is below them; none when the list is empty.
    Only(Vec<String>),
}

impl Links {
    /// `any`, `none`, or hosts separated by commas.
    pub fn parse(text: &str) -> Links {
        match text.trim() {
            "any" => Links::Any,
            "none" => Links::Only(Vec::new()),
            hosts => Links::Only(hosts.split(',').map(|host| host.trim().to_lowercase()).collect()),
        }
    }
}

/// What is allowed.
pub struct Limits {
    /// The most bytes of a message's text.
    pub message_bytes: usize,
    /// Messages of one user in ten seconds; 0 is no limit.
    user_messages_per_10s: AtomicU32,
    /// Messages of one room in ten seconds; 0 is no limit.
    room_messages_per_10s: AtomicU32,
    /// Rooms that one user may own.
    pub rooms_owned: u32,
    /// Rooms that one user may be in.
    pub rooms_joined: u32,
    /// The most bytes of an image.
    pub image_bytes: usize,
    /// Words that must not occur, in lower case.
    pub blocked_words: Vec<String>,
    /// Links that may occur.
    pub links: Links,
    paces: Paces,
    /// Of all but messages, edits, reactions and deletions.
    deeds: Paces,
    deletions: Paces,
    /// Over sockets.
    reads: Paces,
}

impl Limits {
    /// What the settings say.
    pub fn new(config: &crate::config::chat::ChatConfig) -> Limits {
        let words = config.chat_blocked_words.split(',').map(|word| word.trim().to_lowercase());
        Limits {
            message_bytes: config.chat_message_bytes.min(MAX_TEXT),
            user_messages_per_10s: AtomicU32::new(config.chat_user_rate),
            room_messages_per_10s: AtomicU32::new(config.chat_room_rate),
            rooms_owned: config.chat_rooms_owned,
            rooms_joined: config.chat_rooms_joined,
            image_bytes: config.chat_image_bytes,
            blocked_words: words.filter(|word| !word.is_empty()).collect(),
            links: Links::parse(&config.chat_links),
            paces: Paces::new(REMEMBERED, 10),
            deeds: Paces::new(REMEMBERED, 10),
            deletions: Paces::new(REMEMBERED, 10),
            reads: Paces::new(REMEMBERED, READS_WITHIN_S),
        }
    }

    /// Messages of one user, and of one room, in ten seconds from now on; 0 is no limit.
    pub fn set_paces(&self, of_user: u32, of_room: u32) {
        self.user_messages_per_10s.store(of_user, Ordering::Relaxed);
        self.room_messages_per_10s.store(of_room, Ordering::Relaxed);
    }

    /// Messages of one room in ten seconds; 0 is no limit.
    pub(super) fn room_pace(&self) -> u32 {
        self.room_messages_per_10s.load(Ordering::Relaxed)
    }

    /// Whether a command's text is allowed.
    ///
    /// # Errors
    /// [`Refused`].
    pub(super) fn check(&self, command: &Command) -> Result<(), Refused> {
        let (Command::Send { text, .. } | Command::Edit { text, .. }) = command else { return Ok(()) };
        if text.len() > self.message_bytes {
            return Err(ChatReject::TooLong.into());
        }
        self.check_text(text)
    }

    fn check_text(&self, text: &str) -> Result<(), Refused> {
        let text = text.to_lowercase();
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        if words.any(|word| self.blocked_words.iter().any(|blocked| blocked == word)) {
            return Err(Refused::Filtered(Filter::Word));
        }
        if let Links::Only(hosts) = &self.links
            && !links(&text).all(|host| hosts.iter().any(|allowed| is_below(host, allowed)))
        {
            return Err(Refused::Filtered(Filter::Link));
        }
        Ok(())
    }

    /// Counts one message of a user.
    ///
    /// # Errors
    /// [`Refused::TooFast`].
    pub fn take(&self, user: AccountId, now: Timestamp) -> Result<(), Refused> {
        self.paces.take(user, now, self.user_messages_per_10s.load(Ordering::Relaxed))
    }

    /// Counts a deletion.
    ///
    /// # Errors
    /// [`Refused::TooFast`].
    pub(super) fn take_deletion(&self, user: AccountId, now: Timestamp) -> Result<(), Refused> {
        let written = self.user_messages_per_10s.load(Ordering::Relaxed);
        self.deletions.take(user, now, self.if_limited(DELETIONS_PER_10S.max(written)))
    }

    /// Counts anything else that a user does.
    ///
    /// # Errors
    /// [`Refused::TooFast`].
    pub(super) fn take_deed(&self, user: AccountId, now: Timestamp) -> Result<(), Refused> {
        self.deeds.take(user, now, self.if_limited(DEEDS_PER_10S))
    }

    /// Counts something that a user has looked up over a socket.
    ///
    /// # Errors
    /// [`Refused::TooFast`].
    pub fn take_read(&self, user: AccountId, now: Timestamp) -> Result<(), Refused> {
        let written = self.user_messages_per_10s.load(Ordering::Relaxed).div_ceil(10 / READS_WITHIN_S);
        self.reads.take(user, now, self.if_limited(READS.max(written)))
    }

    /// Where users may write without a limit, they may do everything else so too.
    fn if_limited(&self, most: u32) -> u32 {
        if self.user_messages_per_10s.load(Ordering::Relaxed) > 0 { most } else { 0 }
    }
}

/// How fast each user is at one kind of thing, over so many seconds.
struct Paces(Mutex<Cache<AccountId, Pace>>, u32);

impl Paces {
    fn new(remembered: usize, seconds: u32) -> Paces {
        Paces(Mutex::new(Cache::new(remembered)), seconds)
    }

    fn take(&self, user: AccountId, now: Timestamp, most: u32) -> Result<(), Refused> {
        let mut paces = self.0.lock();
        let mut pace = paces.get(&user).copied().unwrap_or(Pace::over(self.1, most));
        pace.follow(most);
        let taken = pace.take(now);
        paces.insert(user, pace);
        taken.map_err(|retry_after_s| Refused::TooFast { retry_after_s })
    }
}

/// The hosts of the links in a text in lower case, with or without a scheme.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '(' | ')' | '"' | '\'' | ',')).filter_map(
        |word| {
            let (scheme, rest) = word.split_once("://").map_or((false, word), |(_, rest)| (true, rest));
            let host = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?.split(':').next()?;
            let named = host.starts_with("www.") || host.split('.').count() > 1 && has_top(host) && word.contains('/');
            (scheme || named).then_some(host)
        },
    )
}

fn has_top(host: &str) -> bool {
    host.rsplit('.').next().is_some_and(|top| top.len() > 1 && top.chars().all(char::is_alphabetic))
}

fn is_below(host: &str, allowed: &str) -> bool {
    host == allowed || host.strip_suffix(allowed).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::SECOND;

    fn limits(words: &[&str], links: &str) -> Limits {
        Limits {
            message_bytes: 10,
            user_messages_per_10s: AtomicU32::new(1),
            room_messages_per_10s: AtomicU32::new(0),
            rooms_owned: 1,
            rooms_joined: 1,
            image_bytes: 1,
            blocked_words: words.iter().map(|word| (*word).to_string()).collect(),
            links: Links::parse(links),
            paces: Paces::new(8, 10),
            deeds: Paces::new(8, 10),
            deletions: Paces::new(8, 10),
            reads: Paces::new(8, READS_WITHIN_S),
        }
    }

    #[test]
    fn words_and_links_are_filtered_as_configured() {
        let (any, none, some) = (limits(&["scam"], "any"), limits(&[], "none"), limits(&[], "agora.example, ok.org"));
        for (text, by_any, by_none, by_some) in [
            ("hello", true, true, true),
            ("a SCAM!", false, true, true),
            ("scampi", true, true, true),
            ("see https://agora.example/x", true, false, true),
            ("see https://www.agora.example", true, false, true),
            ("see https://notagora.example", true, false, false),
            ("https://agora.example@evil.org/", true, false, false),
            ("www.evil.org", true, false, false),
            ("evil.org/x", true, false, false),
            ("1.5/2.5 and e.g. this", true, true, true),
        ] {
            for (limits, allowed) in [(&any, by_any), (&none, by_none), (&some, by_some)] {
                assert_eq!(limits.check_text(text).is_ok(), allowed, "{text:?} {:?}", limits.links);
            }
        }
    }

    #[test]
    fn each_user_has_a_pace_of_its_own() {
        let limits = limits(&[], "any");
        let now = Timestamp(1_000_000_000);
        assert!(limits.take(AccountId(5), now).is_ok());
        assert!(limits.take(AccountId(5), now).is_err());
        assert!(limits.take(AccountId(6), now).is_ok());
    }

    #[test]
    fn what_is_not_writing_has_paces_of_its_own_unless_there_is_none() {
        type Take = fn(&Limits, AccountId, Timestamp) -> Result<(), Refused>;
        let kinds: [(Take, u32); 3] = [
            (Limits::take_deed, DEEDS_PER_10S),
            (Limits::take_deletion, DELETIONS_PER_10S),
            (Limits::take_read, READS),
        ];
        let limits = limits(&[], "any");
        let (user, now) = (AccountId(5), Timestamp(1_000_000_000));
        assert!(limits.take(user, now).is_ok());
        for (take, most) in kinds {
            for _ in 0..most {
                assert!(take(&limits, user, now).is_ok());
            }
            assert!(matches!(take(&limits, user, now), Err(Refused::TooFast { .. })));
            assert!(take(&limits, AccountId(6), now).is_ok());
        }
        // There is soon more to read.
        assert_eq!(limits.take_read(user, now), Err(Refused::TooFast { retry_after_s: 1 }));
        assert!((0..15).all(|_| limits.take_read(user, now + SECOND).is_ok()));
        assert!(limits.take_read(user, now + SECOND).is_err());
        // What was written can be deleted in the same time.
        limits.set_paces(1_000, 0);
        assert!((0..1_000).all(|_| limits.take_deletion(user, now).is_ok()));
        assert!(limits.take_deletion(user, now).is_err());
        // And each message may name somebody.
        let now = now + SECOND;
        assert!((0..200).all(|_| limits.take_read(user, now).is_ok()));
        assert!(limits.take_read(user, now).is_err());
        limits.set_paces(0, 0);
        for (take, _) in kinds {
            assert!(take(&limits, user, now).is_ok());
        }
    }
}
