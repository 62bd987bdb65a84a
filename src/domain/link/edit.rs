//! Making and changing links: what is asked for, checked as a whole, and applied as a whole.

use super::rules::{self, Rule};
use super::target::{self, Hosts};
use super::{ClickLimit, Link, LinkError, LinkId, MAX_NOTES, MAX_TITLE, RedirectCode, State, tags, within};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;

/// The most clicks that a limit may allow.
pub const MOST_CLICKS: u32 = 1_000_000_000;
/// The most bytes of all rules' targets together, so that a link stays small.
const MAX_RULES_BYTES: usize = 16 * 1024;

/// What is asked for; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Where it leads.
    pub target: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Its notes.
    pub notes: Option<String>,
    /// Its tags.
    pub tags: Option<Vec<String>>,
    /// How browsers are sent on.
    pub code: Option<RedirectCode>,
    /// When it begins; `Some(None)` takes the time away.
    pub starts_at: Option<Option<Timestamp>>,
    /// When it ends.
    pub expires_at: Option<Option<Timestamp>>,
    /// How often it may be followed in all.
    pub max_clicks: Option<Option<u32>>,
    /// The PHC string of its password.
    pub password_hash: Option<Option<String>>,
    /// Its rules.
    pub rules: Option<Vec<Rule>>,
    /// Whether the visitor's query goes along.
    pub forward_query: Option<bool>,
    /// Whether it is switched on.
    pub enabled: Option<bool>,
}

/// What a link is to those who follow it, and whose: a link stands for another one with the same. Title, notes and tags
/// are for its owner's lists and not in it; nor is how many clicks of a limit were spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conduct<'a> {
    owner: Option<AccountId>,
    domain: &'a str,
    target: &'a str,
    code: RedirectCode,
    starts_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    max_clicks: Option<u32>,
    password_hash: Option<&'a str>,
    rules: &'a [Rule],
    forward_query: bool,
    state: State,
}

/// A link that leads nowhere yet.
pub fn blank(id: LinkId, domain: String, slug: String, owner: Option<AccountId>, now: Timestamp) -> Link {
    Link {
        id,
        domain,
        slug,
        owner,
        target: String::new(),
        title: String::new(),
        notes: String::new(),
        tags: Vec::new(),
        code: RedirectCode::default(),
        starts_at: None,
        expires_at: None,
        clicks: None,
        password_hash: None,
        rules: Vec::new(),
        forward_query: false,
        state: State::Active,
        created_at: now,
        updated_at: now,
    }
}

impl Link {
    /// Changes what is asked for, or nothing at all. The names of the fields that are different now.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn apply(&mut self, patch: Patch, now: Timestamp, hosts: &Hosts) -> Result<Vec<&'static str>, LinkError> {
        let mut next = self.clone();
        if let Some(text) = patch.target {
            next.target = target::check(&text, hosts)?;
        }
        if let Some(title) = patch.title {
            within("title", &title, MAX_TITLE)?;
            next.title = title;
        }
        if let Some(notes) = patch.notes {
            within("notes", &notes, MAX_NOTES)?;
            next.notes = notes;
        }
        if let Some(texts) = patch.tags {
            next.tags = tags(texts, &self.tags)?;
        }
        if let Some(code) = patch.code {
            next.code = code;
        }
        if let Some(mut rules) = patch.rules {
            rules::check(&rules)?;
            let mut bytes = 0;
            for way in rules.iter_mut().flat_map(|rule| rule.ways.iter_mut()) {
                way.to = target::check(&way.to, hosts)?;
                bytes += way.to.len();
            }
            if bytes > MAX_RULES_BYTES {
                return Err(LinkError::TooLong { field: "rules", most: MAX_RULES_BYTES });
            }
            // Those of a link from before these bounds may be sent back as they are.
            if rules != self.rules {
                rules::check_size(&rules)?;
            }
            next.rules = rules;
        }
        if let Some(forward) = patch.forward_query {
            next.forward_query = forward;
        }
        if let Some(hash) = patch.password_hash {
            next.password_hash = hash;
        }
        if let Some(most) = patch.max_clicks {
            if most.is_some_and(|most| !(1..=MOST_CLICKS).contains(&most)) {
                return Err(LinkError::Clicks);
            }
            let used = self.clicks.map_or(0, |clicks| clicks.most.saturating_sub(clicks.left));
            next.clicks = most.map(|most| ClickLimit { most, left: most.saturating_sub(used) });
        }
        let times_asked = patch.starts_at.is_some() || patch.expires_at.is_some();
        next.starts_at = patch.starts_at.unwrap_or(next.starts_at);
        next.expires_at = patch.expires_at.unwrap_or(next.expires_at);
        let backwards = next.expires_at.is_some_and(|end| next.starts_at.is_some_and(|start| end <= start));
        let over = patch.expires_at.flatten().is_some_and(|end| end <= now);
        if times_asked && (backwards || over) {
            return Err(LinkError::Times);
        }
        match (patch.enabled, next.state) {
            (Some(true), State::Disabled) => next.state = State::Active,
            (Some(false), State::Active) => next.state = State::Disabled,
            // What a moderator has blocked stays so, and what was deleted is gone.
            (Some(_) | None, _) => {}
        }
        let changed = self.differences(&next);
        if !changed.is_empty() {
            next.updated_at = now;
        }
        *self = next;
        Ok(changed)
    }

    /// The fields that an owner can set and in which another link differs.
    pub fn differences(&self, other: &Link) -> Vec<&'static str> {
        let all = [
            ("target", self.target != other.target),
            ("title", self.title != other.title),
            ("notes", self.notes != other.notes),
            ("tags", self.tags != other.tags),
            ("code", self.code != other.code),
            ("starts_at", self.starts_at != other.starts_at),
            ("expires_at", self.expires_at != other.expires_at),
            ("max_clicks", self.clicks.map(|clicks| clicks.most) != other.clicks.map(|clicks| clicks.most)),
            ("password", self.password_hash != other.password_hash),
            ("rules", self.rules != other.rules),
            ("forward_query", self.forward_query != other.forward_query),
            ("state", self.state != other.state),
        ];
        all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    /// What it is to those who follow it.
    pub fn conduct(&self) -> Conduct<'_> {
        Conduct {
            owner: self.owner,
            domain: &self.domain,
            target: &self.target,
            code: self.code,
            starts_at: self.starts_at,
            expires_at: self.expires_at,
            max_clicks: self.clicks.map(|clicks| clicks.most),
            password_hash: self.password_hash.as_deref(),
            rules: &self.rules,
            forward_query: self.forward_query,
            state: self.state,
        }
    }

    /// Whether any target of the link leads to one of these hosts, or to a name below one.
    pub fn leads_to(&self, blocked: &[String]) -> bool {
        if blocked.is_empty() {
            return false;
        }
        let ways = self.rules.iter().flat_map(|rule| rule.ways.iter().map(|way| way.to.as_str()));
        std::iter::once(self.target.as_str()).chain(ways).any(|to| target::is_below_any(to, blocked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::link::rules::{RuleError, Way, When};

    const NOW: Timestamp = Timestamp(1_000);

    fn made() -> Link {
        let mut link = blank(LinkId(1), String::new(), "abc".into(), Some(AccountId(7)), NOW);
        let patch = Patch { target: Some("https://example.org".into()), max_clicks: Some(Some(5)), ..Patch::default() };
        link.apply(patch, NOW, &Hosts::default()).unwrap();
        link
    }

    #[test]
    fn a_patch_changes_all_it_names_or_nothing() {
        let hosts = Hosts::default();
        let mut link = made();
        let before = link.clone();
        let bad = Patch { title: Some("New".into()), target: Some("http://localhost/".into()), ..Patch::default() };
        assert!(link.apply(bad, NOW, &hosts).is_err());
        assert_eq!(link, before);
        let good = Patch {
            title: Some("New".into()),
            tags: Some(vec!["B".into(), "a".into()]),
            enabled: Some(false),
            ..Patch::default()
        };
        assert_eq!(link.apply(good.clone(), NOW + 5, &hosts), Ok(vec!["title", "tags", "state"]));
        assert_eq!((link.state, link.updated_at), (State::Disabled, NOW + 5));
        assert_eq!(link.apply(good, NOW + 6, &hosts), Ok(vec![]));
        assert_eq!(link.updated_at, NOW + 5);
    }

    #[test]
    fn what_was_blocked_is_not_switched_on_by_its_owner() {
        let mut link = Link { state: State::Blocked, ..made() };
        let on = Patch { enabled: Some(true), ..Patch::default() };
        assert_eq!(link.apply(on, NOW, &Hosts::default()), Ok(vec![]));
        assert_eq!(link.state, State::Blocked);
    }

    #[test]
    fn a_new_limit_counts_what_was_used() {
        let mut link = made();
        link.clicks = Some(ClickLimit { most: 5, left: 2 });
        let limit = |most| Patch { max_clicks: Some(most), ..Patch::default() };
        link.apply(limit(Some(4)), NOW, &Hosts::default()).unwrap();
        assert_eq!(link.clicks, Some(ClickLimit { most: 4, left: 1 }));
        assert_eq!(link.apply(limit(Some(0)), NOW, &Hosts::default()), Err(LinkError::Clicks));
        link.apply(limit(None), NOW, &Hosts::default()).unwrap();
        assert_eq!(link.clicks, None);
    }

    #[test]
    fn times_must_be_in_order_and_ahead() {
        let times = |starts_at, expires_at| Patch { starts_at, expires_at, ..Patch::default() };
        let at = |micros| Some(Some(Timestamp(micros)));
        for (patch, good) in [
            (times(at(5), at(2_000)), true),
            (times(at(3_000), at(3_000)), false),
            (times(None, at(1_000)), false),
            (times(None, at(1_001)), true),
            (times(at(5), None), true),
        ] {
            assert_eq!(made().apply(patch.clone(), NOW, &Hosts::default()).is_ok(), good, "{patch:?}");
        }
    }

    #[test]
    fn rules_from_before_their_bounds_may_be_sent_back_as_they_are() {
        let asking = |count: usize| {
            let query = (0..count).map(|number| (format!("p{number}"), String::new())).collect();
            let ways = vec![Way { to: "https://example.org/a".into(), weight: 1 }];
            Rule { when: When { query, ..When::default() }, ways }
        };
        let old = vec![asking(50); 3];
        let mut link = Link { rules: old.clone(), ..made() };
        let patch = |rules| Patch { title: Some("New".into()), rules: Some(rules), ..Patch::default() };
        let hosts = Hosts::default();
        assert_eq!(link.apply(patch(old.clone()), NOW, &hosts), Ok(vec!["title"]));
        let too_many = Err(LinkError::Rule(RuleError::Queries));
        assert_eq!(link.apply(patch(vec![asking(50), asking(50), asking(49)]), NOW, &hosts), too_many);
        assert_eq!(made().apply(patch(old), NOW, &hosts), too_many);
        assert_eq!(link.apply(patch(vec![asking(50); 2]), NOW, &hosts), Ok(vec!["rules"]));
    }

    #[test]
    fn targets_of_rules_are_judged_too() {
        let rule = |to: &str| Rule { when: When::default(), ways: vec![Way { to: to.into(), weight: 1 }] };
        let patch = |to| Patch { rules: Some(vec![rule(to)]), ..Patch::default() };
        let mut link = made();
        assert!(link.apply(patch("http://10.0.0.1/"), NOW, &Hosts::default()).is_err());
        link.apply(patch("https://Sub.Evil.example"), NOW, &Hosts::default()).unwrap();
        assert!(link.leads_to(&["evil.example".into()]));
        assert!(!link.leads_to(&["vil.example".into()]));
        assert!(made().leads_to(&["example.org".into()]));
    }
}
