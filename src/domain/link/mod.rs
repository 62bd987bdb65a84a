//! Short links: what a slug leads to, for whom, and until when. Pure; the time and the draw of a visit are handed in.
//!
//! Invariants: a link's targets were validated by [`target`] before they were stored; a slug is never given twice in
//! its domain, not even after its link was deleted (a deleted one answers as gone).

pub mod edit;
pub mod rules;
pub mod slug;
pub mod target;
pub mod visitor;

use super::ids::AccountId;
use super::time::Timestamp;
use rules::Rule;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use thiserror::Error;
use visitor::Visitor;

/// The most characters of a title.
pub const MAX_TITLE: usize = 200;
/// The most characters of notes.
pub const MAX_NOTES: usize = 2_000;
/// The most tags of a link.
pub const MAX_TAGS: usize = 20;
/// The most characters of a tag.
pub const MAX_TAG: usize = 50;

/// A link's number in the database; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkId(pub i64);

/// The HTTP status of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum RedirectCode {
    /// 301: browsers remember it and do not come back.
    Moved,
    /// 302: each visit comes here. The default, since only then every click is counted and an edit counts at once.
    #[default]
    Found,
    /// 307: as 302, with the method kept.
    Temporary,
    /// 308: as 301, with the method kept.
    Permanent,
}

impl TryFrom<u16> for RedirectCode {
    type Error = LinkError;

    fn try_from(code: u16) -> Result<RedirectCode, LinkError> {
        match code {
            301 => Ok(RedirectCode::Moved),
            302 => Ok(RedirectCode::Found),
            307 => Ok(RedirectCode::Temporary),
            308 => Ok(RedirectCode::Permanent),
            _ => Err(LinkError::Code),
        }
    }
}

impl From<RedirectCode> for u16 {
    fn from(code: RedirectCode) -> u16 {
        match code {
            RedirectCode::Moved => 301,
            RedirectCode::Found => 302,
            RedirectCode::Temporary => 307,
            RedirectCode::Permanent => 308,
        }
    }
}

/// Whether a link leads anywhere at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It does.
    #[default]
    Active,
    /// Its owner has switched it off for now.
    Disabled,
    /// A moderator has blocked it.
    Blocked,
    /// Its owner has deleted it; the slug stays taken.
    Deleted,
}

impl State {
    const ALL: [State; 4] = [State::Active, State::Disabled, State::Blocked, State::Deleted];

    /// The name in the database and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Disabled => "disabled",
            State::Blocked => "blocked",
            State::Deleted => "deleted",
        }
    }

    /// The state of this name.
    pub fn from_name(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// How often a link may still be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClickLimit {
    /// How often in all.
    pub most: u32,
    /// How often still.
    pub left: u32,
}

/// Everything about a link but its statistics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its number.
    pub id: LinkId,
    /// The host it lives on; empty for the venue's own.
    pub domain: String,
    /// The name under that host.
    pub slug: String,
    /// Whose it is; nobody's when it was made anonymously.
    pub owner: Option<AccountId>,
    /// Where it leads when no rule says otherwise; normalised, at most [`target::MAX_LENGTH`] bytes.
    pub target: String,
    /// For its owner's lists and the preview.
    pub title: String,
    /// For its owner alone.
    pub notes: String,
    /// For its owner's lists; sorted, without repeats.
    pub tags: Vec<String>,
    /// How browsers are sent on.
    pub code: RedirectCode,
    /// It leads nowhere before.
    pub starts_at: Option<Timestamp>,
    /// It leads nowhere from then on.
    pub expires_at: Option<Timestamp>,
    /// It leads nowhere once these are used up.
    pub clicks: Option<ClickLimit>,
    /// The PHC string of the password that visitors must give.
    pub password_hash: Option<String>,
    /// Other targets for some; the first that fits counts.
    pub rules: Vec<Rule>,
    /// Whether the visitor's query is added to the target's.
    pub forward_query: bool,
    /// Whether it leads anywhere at all.
    pub state: State,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// Where a visitor is led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination<'a> {
    /// The address, with the visitor's query where that goes along.
    pub address: Cow<'a, str>,
    /// The target of the way that a rule has chosen; `None` when it is the link's own.
    pub way: Option<&'a str>,
}

/// What a visitor gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visit<'a> {
    /// On to the target.
    Go(Destination<'a>),
    /// On to the target if one of the remaining clicks can be had.
    GoIfLeft(Destination<'a>),
    /// A password is asked for first.
    AskPassword,
    /// Not before this time.
    NotYet(Timestamp),
    /// Its time or its clicks are over.
    Expired,
    /// Its owner has switched it off.
    Disabled,
    /// A moderator has blocked it.
    Blocked,
    /// Its owner has deleted it.
    Gone,
}

impl Link {
    /// What a visitor gets at `now`. `draw` is any number, evenly spread over visits: it decides weighted splits.
    /// `unlocked` says that the right password was given. `query` is the visitor's query string, without `?`.
    pub fn visit(&self, now: Timestamp, visitor: &Visitor<'_>, draw: u64, unlocked: bool) -> Visit<'_> {
        match self.state {
            State::Active => {}
            State::Disabled => return Visit::Disabled,
            State::Blocked => return Visit::Blocked,
            State::Deleted => return Visit::Gone,
        }
        if let Some(start) = self.starts_at.filter(|start| now < *start) {
            return Visit::NotYet(start);
        }
        if self.expires_at.is_some_and(|end| now >= end) || self.clicks.is_some_and(|clicks| clicks.left == 0) {
            return Visit::Expired;
        }
        if self.password_hash.is_some() && !unlocked {
            return Visit::AskPassword;
        }
        let way = rules::choose(&self.rules, now, visitor, draw);
        let chosen = way.unwrap_or(&self.target);
        let address = match visitor.query.filter(|query| self.forward_query && !query.is_empty()) {
            Some(query) => Cow::Owned(target::with_query(chosen, query)),
            None => Cow::Borrowed(chosen),
        };
        let destination = Destination { address, way };
        if self.clicks.is_some() { Visit::GoIfLeft(destination) } else { Visit::Go(destination) }
    }
}

/// Why a link cannot be as asked. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    /// The redirect's status is none of those that redirect.
    #[error("the redirect code must be 301, 302, 307 or 308")]
    Code,
    /// The slug will not do.
    #[error(transparent)]
    Slug(#[from] slug::SlugError),
    /// A target will not do.
    #[error(transparent)]
    Target(#[from] target::TargetError),
    /// A rule will not do.
    #[error(transparent)]
    Rule(#[from] rules::RuleError),
    /// A text is too long.
    #[error("{field} is longer than {most} characters")]
    TooLong {
        /// Which one.
        field: &'static str,
        /// Characters that it may have.
        most: usize,
    },
    /// A text has a character that no database takes.
    #[error("{0} has a NUL character")]
    Nul(&'static str),
    /// Too many tags.
    #[error("a link has at most {MAX_TAGS} tags")]
    Tags,
    /// A tag that is empty or holds a comma, a semicolon or a control character.
    #[error("a tag is a text without commas, semicolons and control characters")]
    Tag,
    /// The limit of clicks is zero or too large.
    #[error("the most clicks are 1 to 1,000,000,000")]
    Clicks,
    /// It would end before it begins.
    #[error("expires_at must be after starts_at and in the future")]
    Times,
}

impl LinkError {
    /// The stable code that clients may rely on.
    pub fn code(&self) -> &'static str {
        match self {
            LinkError::Code => "invalid_redirect_code",
            LinkError::Slug(error) => error.code(),
            LinkError::Target(error) => error.code(),
            LinkError::Rule(error) => error.code(),
            LinkError::TooLong { .. } => "text_too_long",
            LinkError::Nul(_) => "invalid_text",
            LinkError::Tags | LinkError::Tag => "invalid_tags",
            LinkError::Clicks => "invalid_max_clicks",
            LinkError::Times => "invalid_times",
        }
    }
}

/// Tags as they are stored: trimmed, lower-cased, sorted, without repeats. `had`: those that the link has already.
///
/// # Errors
/// [`LinkError::Tags`], [`LinkError::Tag`], [`LinkError::TooLong`].
pub fn tags(texts: impl IntoIterator<Item = impl AsRef<str>>, had: &[String]) -> Result<Vec<String>, LinkError> {
    let tags = tags_of_export(texts)?;
    // Files that people write separate tags by it. Those that an earlier version has taken stay.
    if tags.iter().any(|tag| tag.contains(';') && !had.contains(tag)) { Err(LinkError::Tag) } else { Ok(tags) }
}

/// The same, of an export. Semicolons stay in them: an earlier version took such tags.
///
/// # Errors
/// [`LinkError::Tags`], [`LinkError::Tag`], [`LinkError::TooLong`].
pub fn tags_of_export(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Vec<String>, LinkError> {
    let mut tags = Vec::new();
    for text in texts {
        let tag = text.as_ref().trim().to_lowercase();
        if tag.is_empty() || tag.contains(|c: char| c == ',' || c.is_control()) {
            return Err(LinkError::Tag);
        }
        within("tag", &tag, MAX_TAG)?;
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    if tags.len() > MAX_TAGS { Err(LinkError::Tags) } else { Ok(tags) }
}

/// Refuses a text of more than `most` characters, and one with a NUL. PostgreSQL takes none, and links of several people
/// are written together.
///
/// # Errors
/// [`LinkError::TooLong`], [`LinkError::Nul`].
pub fn within(field: &'static str, text: &str, most: usize) -> Result<(), LinkError> {
    if text.contains('\0') {
        return Err(LinkError::Nul(field));
    }
    if text.chars().count() > most { Err(LinkError::TooLong { field, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::rules::{Way, When};
    use super::*;

    fn link() -> Link {
        Link {
            id: LinkId(1),
            domain: String::new(),
            slug: "abc".into(),
            owner: None,
            target: "https://example.org/a?x=1#top".into(),
            title: String::new(),
            notes: String::new(),
            tags: Vec::new(),
            code: RedirectCode::Found,
            starts_at: None,
            expires_at: None,
            clicks: None,
            password_hash: None,
            rules: Vec::new(),
            forward_query: false,
            state: State::Active,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    #[test]
    fn a_visit_gets_what_the_state_says_in_this_order() {
        let now = Timestamp(1_000);
        let nobody = Visitor::default();
        let limit = |left| Some(ClickLimit { most: 5, left });
        let locked = Some("hash".to_string());
        let target = Destination { address: "https://example.org/a?x=1#top".into(), way: None };
        let later = Some(Timestamp(1_001));
        let cases = [
            (Link { ..link() }, false, Visit::Go(target.clone())),
            (Link { state: State::Disabled, expires_at: Some(now), ..link() }, false, Visit::Disabled),
            (Link { state: State::Blocked, ..link() }, true, Visit::Blocked),
            (Link { state: State::Deleted, starts_at: later, ..link() }, true, Visit::Gone),
            (Link { starts_at: later, clicks: limit(0), ..link() }, true, Visit::NotYet(Timestamp(1_001))),
            (Link { starts_at: Some(now), ..link() }, false, Visit::Go(target.clone())),
            (Link { expires_at: Some(now), password_hash: locked.clone(), ..link() }, false, Visit::Expired),
            (Link { expires_at: later, ..link() }, false, Visit::Go(target.clone())),
            (Link { clicks: limit(0), ..link() }, false, Visit::Expired),
            (Link { clicks: limit(1), ..link() }, false, Visit::GoIfLeft(target.clone())),
            (Link { clicks: limit(1), password_hash: locked.clone(), ..link() }, false, Visit::AskPassword),
            (Link { clicks: limit(1), password_hash: locked, ..link() }, true, Visit::GoIfLeft(target)),
        ];
        for (link, unlocked, expected) in cases {
            assert_eq!(link.visit(now, &nobody, 0, unlocked), expected, "{link:?}");
        }
    }

    #[test]
    fn the_query_goes_along_only_when_asked() {
        let visitor = Visitor { query: Some("y=2&x=3"), ..Visitor::default() };
        let to = |address: &'static str| Visit::Go(Destination { address: address.into(), way: None });
        let plain = link();
        assert_eq!(plain.visit(Timestamp(0), &visitor, 0, false), to("https://example.org/a?x=1#top"));
        let forwarding = Link { forward_query: true, ..link() };
        assert_eq!(forwarding.visit(Timestamp(0), &visitor, 0, false), to("https://example.org/a?x=1&y=2&x=3#top"));
    }

    #[test]
    fn the_way_that_was_chosen_is_told_whatever_the_address_looks_like() {
        let visitor = Visitor { query: Some("y=2"), ..Visitor::default() };
        let (short, long) = ("https://example.org/", "https://example.org/b#top");
        let ways = [short, long].map(|to| Way { to: to.into(), weight: 1 });
        let split = Rule { when: When::default(), ways: ways.into() };
        let link = Link { forward_query: true, rules: vec![split], ..link() };
        for (draw, address, way) in [(0, "https://example.org/?y=2", short), (1, "https://example.org/b?y=2#top", long)]
        {
            let expected = Visit::Go(Destination { address: address.into(), way: Some(way) });
            assert_eq!(link.visit(Timestamp(0), &visitor, draw, false), expected);
        }
    }

    #[test]
    fn tags_are_kept_in_one_form() {
        assert_eq!(tags(["News", " a ", "news"], &[]).unwrap(), ["a", "news"]);
        assert_eq!(tags([""], &[]), Err(LinkError::Tag));
        assert_eq!(tags(["a,b"], &[]), Err(LinkError::Tag));
        assert_eq!(tags((0..21).map(|n| n.to_string()), &[]), Err(LinkError::Tags));
        assert!(matches!(tags(["x".repeat(51)], &[]), Err(LinkError::TooLong { .. })));
    }

    #[test]
    fn a_semicolon_stays_only_in_tags_that_are_there_already() {
        let had = tags_of_export(["A;b"]).unwrap();
        assert_eq!(had, ["a;b"]);
        assert_eq!(tags(["c", "a;B"], &had).unwrap(), ["a;b", "c"]);
        assert_eq!(tags(["c;d", "a;b"], &had), Err(LinkError::Tag));
    }
}
