//! Rules of a link: other targets for some visitors, and splits of visitors by weight.

use super::visitor::{Parameters, Visitor};
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// The most rules of a link.
pub const MAX_RULES: usize = 20;
/// The most ways of a split.
pub const MAX_WAYS: usize = 10;
/// The most values of one condition.
const MAX_VALUES: usize = 50;
/// The most query parameters that all rules of a link name together: each visit compares them with its own.
pub const MAX_QUERY_CONDITIONS: usize = 100;
/// The most bytes of all rules of a link together, written as JSON: a row of a file has room for them and all the rest.
pub const MAX_BYTES: usize = 32 * 1024;
/// What JSON writes around the parts of a rule, and around one way with its weight; at most.
const AROUND_A_RULE: usize = 200;
const AROUND_A_WAY: usize = 40;
/// The largest weight of one way.
const MAX_WEIGHT: u32 = 10_000;

/// Who a rule is for: all conditions that are there must hold, each for one of its values. Without any it is for
/// everybody. Words are compared without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// `desktop`, `mobile`, `tablet`, `tv`, `console` or `other`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device: Vec<String>,
    /// Operating systems, as the statistics name them: `iOS`, `Android`, `Windows`, `macOS`, `Linux`…
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub os: Vec<String>,
    /// Languages by their tags: `de` is for `de-AT` too. The visitor's most preferred one counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub language: Vec<String>,
    /// Countries by ISO 3166 code, where a proxy tells the country.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub country: Vec<String>,
    /// Query parameters and their values; an empty value is any. Of a visitor's query only the beginning counts; see
    /// [`Parameters`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// From this moment on, µs since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// One way of a split.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// Where it leads.
    pub to: String,
    /// Its share, in relation to the sum of all.
    pub weight: u32,
}

/// Other targets for those whom `when` describes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// For whom.
    #[serde(default)]
    pub when: When,
    /// Where to; more than one way is a split.
    pub ways: Vec<Way>,
}

/// Why rules will not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// Too many.
    #[error("a link has at most {MAX_RULES} rules")]
    TooMany,
    /// None or too many ways.
    #[error("a rule has 1 to {MAX_WAYS} ways")]
    Ways,
    /// A weight out of range.
    #[error("a weight is 1 to {MAX_WEIGHT}")]
    Weight,
    /// A condition that can never hold, or with too many values.
    #[error("a condition of a rule is not valid")]
    Condition,
    /// Too many query parameters.
    #[error("all rules together name at most {MAX_QUERY_CONDITIONS} query parameters")]
    Queries,
    /// Too long.
    #[error("all rules together have at most {MAX_BYTES} bytes")]
    TooLarge,
}

impl RuleError {
    /// The stable code that clients may rely on.
    pub fn code(self) -> &'static str {
        match self {
            RuleError::TooMany => "too_many_rules",
            RuleError::Ways | RuleError::Weight | RuleError::Condition | RuleError::Queries | RuleError::TooLarge => {
                "invalid_rule"
            }
        }
    }
}

/// Checks all but the targets, which [`super::target`] judges, and what [`check_size`] does.
///
/// # Errors
/// [`RuleError`].
pub fn check(rules: &[Rule]) -> Result<(), RuleError> {
    if rules.len() > MAX_RULES {
        return Err(RuleError::TooMany);
    }
    for Rule { when, ways } in rules {
        if ways.is_empty() || ways.len() > MAX_WAYS {
            return Err(RuleError::Ways);
        }
        if ways.iter().any(|way| !(1..=MAX_WEIGHT).contains(&way.weight)) {
            return Err(RuleError::Weight);
        }
        let lists = [&when.device, &when.os, &when.language, &when.country];
        let texts = lists.iter().flat_map(|list| list.iter()).chain(when.query.keys());
        let too_many = lists.iter().any(|list| list.len() > MAX_VALUES) || when.query.len() > MAX_VALUES;
        let never = when.from.zip(when.until).is_some_and(|(from, until)| from >= until);
        if too_many || never || texts.chain(when.query.values()).any(|text| text.len() > 100) {
            return Err(RuleError::Condition);
        }
    }
    Ok(())
}

/// Checks how much all rules are together, with their targets as they are kept. Links of earlier versions may have more.
///
/// # Errors
/// [`RuleError::Queries`], [`RuleError::TooLarge`].
pub fn check_size(rules: &[Rule]) -> Result<(), RuleError> {
    if rules.iter().map(|rule| rule.when.query.len()).sum::<usize>() > MAX_QUERY_CONDITIONS {
        return Err(RuleError::Queries);
    }
    if json_bytes(rules) > MAX_BYTES { Err(RuleError::TooLarge) } else { Ok(()) }
}

/// The most bytes that rules take as JSON, with their times as text.
fn json_bytes(rules: &[Rule]) -> usize {
    let quoted = |text: &String| {
        let written = |c: char| match c {
            '"' | '\\' => 2,
            c if c < ' ' => 6,
            c => c.len_utf8(),
        };
        // Its quotes, and the comma or colon behind it.
        text.chars().map(written).sum::<usize>() + 3
    };
    let of_rule = |Rule { when, ways }: &Rule| {
        let lists = [&when.device, &when.os, &when.language, &when.country].into_iter().flatten();
        let texts = lists.chain(when.query.iter().flat_map(|(name, value)| [name, value]));
        let ways = ways.iter().map(|way| quoted(&way.to) + AROUND_A_WAY).sum::<usize>();
        texts.map(quoted).sum::<usize>() + ways + AROUND_A_RULE
    };
    rules.iter().map(of_rule).sum()
}

/// The target of the first rule that is for this visitor.
pub fn choose<'a>(rules: &'a [Rule], now: Timestamp, visitor: &Visitor<'_>, draw: u64) -> Option<&'a str> {
    let query = Parameters::of(visitor.query);
    let rule = rules.iter().find(|rule| rule.when.holds(now, visitor, &query))?;
    let sum: u64 = rule.ways.iter().map(|way| u64::from(way.weight)).sum();
    let mut left = draw.checked_rem(sum)?;
    for way in &rule.ways {
        match left.checked_sub(u64::from(way.weight)) {
            None => return Some(&way.to),
            Some(rest) => left = rest,
        }
    }
    None
}

impl When {
    fn holds(&self, now: Timestamp, visitor: &Visitor<'_>, query: &Parameters<'_>) -> bool {
        let among =
            |list: &[String], value: &str| list.is_empty() || list.iter().any(|v| v.eq_ignore_ascii_case(value));
        let speaks = |tag: &String| {
            let language = visitor.language.unwrap_or_default();
            language.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag))
                && matches!(language.as_bytes().get(tag.len()), None | Some(b'-'))
        };
        self.from.is_none_or(|from| now >= from)
            && self.until.is_none_or(|until| now < until)
            && among(&self.device, visitor.client.device)
            && among(&self.os, visitor.client.os)
            && among(&self.country, visitor.country.unwrap_or_default())
            && (self.language.is_empty() || self.language.iter().any(speaks))
            && self.query.iter().all(|(name, value)| query.have(name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::link::visitor::Client;

    fn rule(when: When, ways: &[(&str, u32)]) -> Rule {
        let way = |(to, weight): &(&str, u32)| Way { to: (*to).into(), weight: *weight };
        Rule { when, ways: ways.iter().map(way).collect() }
    }

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_string()).collect()
    }

    #[test]
    fn the_first_rule_whose_conditions_all_hold_counts() {
        let rules = [
            rule(When { device: words(&["mobile"]), os: words(&["ios"]), ..When::default() }, &[("ios", 1)]),
            rule(When { language: words(&["de", "pt-BR"]), ..When::default() }, &[("german", 1)]),
            rule(When { country: words(&["jp"]), ..When::default() }, &[("japan", 1)]),
            rule(When { query: [("ref".into(), String::new())].into(), ..When::default() }, &[("ref", 1)]),
            rule(When { query: [("v".into(), "2".into())].into(), ..When::default() }, &[("v2", 1)]),
            rule(When { from: Some(Timestamp(10)), until: Some(Timestamp(20)), ..When::default() }, &[("then", 1)]),
        ];
        let phone = Client { device: "mobile", os: "iOS", browser: "Safari", bot: None };
        let cases = [
            (Visitor { client: phone, language: Some("de"), ..Visitor::default() }, 0, Some("ios")),
            (Visitor { language: Some("de-AT"), ..Visitor::default() }, 0, Some("german")),
            (Visitor { language: Some("pt-br"), ..Visitor::default() }, 0, Some("german")),
            (Visitor { language: Some("pt"), ..Visitor::default() }, 0, None),
            (Visitor { language: Some("den"), ..Visitor::default() }, 0, None),
            (Visitor { country: Some("JP"), ..Visitor::default() }, 0, Some("japan")),
            (Visitor { query: Some("a=b&ref=x"), ..Visitor::default() }, 0, Some("ref")),
            (Visitor { query: Some("v=2"), ..Visitor::default() }, 0, Some("v2")),
            (Visitor { query: Some("v=3"), ..Visitor::default() }, 0, None),
            (Visitor::default(), 9, None),
            (Visitor::default(), 10, Some("then")),
            (Visitor::default(), 20, None),
        ];
        for (visitor, now, expected) in cases {
            assert_eq!(choose(&rules, Timestamp(now), &visitor, 0), expected, "{visitor:?}");
        }
    }

    #[test]
    fn a_split_keeps_its_weights() {
        let rules = [rule(When::default(), &[("a", 70), ("b", 20), ("c", 10)])];
        let of = |draw| choose(&rules, Timestamp(0), &Visitor::default(), draw).unwrap();
        let count = |way: &str| (0..1_000).filter(|draw| of(*draw) == way).count();
        assert_eq!((count("a"), count("b"), count("c")), (700, 200, 100));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let good = rule(When::default(), &[("a", 1)]);
        assert_eq!(check(std::slice::from_ref(&good)), Ok(()));
        assert_eq!(check(&vec![good; 21]), Err(RuleError::TooMany));
        assert_eq!(check(&[rule(When::default(), &[])]), Err(RuleError::Ways));
        assert_eq!(check(&[rule(When::default(), &[("a", 0)])]), Err(RuleError::Weight));
        let never = When { from: Some(Timestamp(2)), until: Some(Timestamp(2)), ..When::default() };
        assert_eq!(check(&[rule(never, &[("a", 1)])]), Err(RuleError::Condition));
        let long = When { os: vec!["x".repeat(101)], ..When::default() };
        assert_eq!(check(&[rule(long, &[("a", 1)])]), Err(RuleError::Condition));
    }

    #[test]
    fn all_rules_together_are_bounded() {
        let named = |count: usize| (0..count).map(|number| (format!("p{number}"), String::new())).collect();
        let asking = |count| rule(When { query: named(count), ..When::default() }, &[("a", 1)]);
        assert_eq!(check_size(&[asking(50), asking(50)]), Ok(()));
        assert_eq!(check_size(&[asking(50), asking(50), asking(1)]), Err(RuleError::Queries));
        let long = |count| rule(When { os: vec!["x".repeat(100); count], ..When::default() }, &[("a", 1)]);
        assert_eq!(check_size(&[long(50), long(50)]), Ok(()));
        assert_eq!(check_size(&vec![long(50); 7]), Err(RuleError::TooLarge));
    }

    #[test]
    fn rules_are_no_longer_as_json_than_is_said() {
        let odd = "\u{0}\u{1f}\"\\ü\u{1f600}";
        let when = When {
            device: words(&["mobile", odd]),
            os: words(&[odd]),
            language: words(&["de"]),
            country: words(&["at", ""]),
            query: [(odd.into(), odd.into()), ("ref".into(), String::new())].into(),
            from: Some(Timestamp(i64::MAX - 1)),
            until: Some(Timestamp(i64::MAX)),
        };
        let all = [rule(when, &[(odd, MAX_WEIGHT); MAX_WAYS]), rule(When::default(), &[("a", 1)])];
        for rules in [&all[..], &all[1..], &all[2..]] {
            // Beside the brackets around all of them.
            assert!(serde_json::to_string(rules).unwrap().len() <= json_bytes(rules) + 2);
        }
    }
}
