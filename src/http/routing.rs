//! Which row of the table of permissions a request falls under, told before the framework routes it.
//!
//! The guard has to know beforehand. The framework can be asked for the pattern of a path, but it tries one pattern after
//! the other, which costs a regular expression for each that has a placeholder, and does not look at the method. Here the
//! table's patterns are a tree with a step for each segment. Invariant: the row is that of the handler which the framework
//! chooses; a test compares the two.

use super::permissions::{Rule, TABLE};
use rustc_hash::FxHashMap;
use std::sync::OnceLock;

/// Where the native API is.
const NATIVE: &str = "/v1";
/// Patterns of the table that are not below [`NATIVE`], by how they begin.
const ELSEWHERE: [&str; 6] = ["/api/", "/s/", "/health/", "/metrics", "/docs", "/{slug}"];
/// Everything below them is answered by their own services, as they are.
const SCOPES: [&str; 2] = [NATIVE, "/api"];

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// As it is registered, with `/v1` where that belongs to it: a name for all requests of its kind.
    pub pattern: &'static str,
    /// The row; none when nothing takes this method there.
    pub rule: Option<&'static Rule>,
}

/// The route of a request to this path, percent-decoded; none for files and for what does not exist.
pub fn find(method: &str, path: &str) -> Option<Route> {
    static TREES: OnceLock<Trees> = OnceLock::new();
    let trees = TREES.get_or_init(Trees::new);
    if SCOPES.contains(&path) {
        return None;
    }
    let (tree, rest) = match path.strip_prefix(NATIVE).and_then(|rest| rest.strip_prefix('/')) {
        Some(rest) => (&trees.native, rest),
        None => (&trees.elsewhere, path.strip_prefix('/')?),
    };
    let mut fits = None;
    tree.look(rest, method, &mut fits).or(fits)
}

#[derive(Debug, Default)]
struct Trees {
    native: Node,
    elsewhere: Node,
}

impl Trees {
    fn new() -> Trees {
        let mut trees = Trees::default();
        for rule in TABLE {
            let rest = rule.pattern.trim_start_matches('/');
            if is_native(rule.pattern) {
                trees.native.insert(rest, rule, &format!("{NATIVE}{}", rule.pattern));
            } else {
                trees.elsewhere.insert(rest, rule, rule.pattern);
            }
        }
        trees
    }
}

fn is_native(pattern: &str) -> bool {
    !matches!(pattern, "/" | "/ws") && !ELSEWHERE.iter().any(|beginning| pattern.starts_with(beginning))
}

/// A pattern and its rows, one for each method.
#[derive(Debug, Default)]
struct Leaf {
    pattern: String,
    rules: Vec<&'static Rule>,
}

/// What may follow a part of a path.
#[derive(Debug, Default)]
struct Node {
    /// Nothing.
    end: Option<Leaf>,
    /// A segment of this text.
    named: FxHashMap<&'static str, Node>,
    /// Any segment that is not empty: `{name}`.
    any: Option<Box<Node>>,
    /// Anything, and this segment at the end of the path: `{name:.*}/last`.
    tails: FxHashMap<&'static str, Leaf>,
}

impl Node {
    fn insert(&mut self, rest: &'static str, rule: &'static Rule, pattern: &str) {
        let leaf = match split(rest) {
            (segment, Some(last)) if segment.ends_with(":.*}") => self.tails.entry(last).or_default(),
            (segment, rest) => {
                let next = if segment.starts_with('{') {
                    self.any.get_or_insert_default()
                } else {
                    self.named.entry(segment).or_default()
                };
                match rest {
                    Some(rest) => return next.insert(rest, rule, pattern),
                    None => next.end.get_or_insert_default(),
                }
            }
        };
        pattern.clone_into(&mut leaf.pattern);
        leaf.rules.push(rule);
    }

    /// The first pattern that fits and has a row for this method; names come before placeholders. The first that fits at
    /// all is left in `fits`.
    fn look(&'static self, rest: &str, method: &str, fits: &mut Option<Route>) -> Option<Route> {
        let (segment, after) = split(rest);
        let any = self.any.as_deref().filter(|_| !segment.is_empty());
        for next in self.named.get(segment).into_iter().chain(any) {
            let found = match after {
                Some(after) => next.look(after, method, fits),
                None => next.end.as_ref().and_then(|leaf| leaf.row(method, fits)),
            };
            if found.is_some() {
                return found;
            }
        }
        let (_, last) = rest.rsplit_once('/')?;
        self.tails.get(last)?.row(method, fits)
    }
}

impl Leaf {
    fn row(&'static self, method: &str, fits: &mut Option<Route>) -> Option<Route> {
        let rule = self.rules.iter().find(|rule| rule.method == method).copied();
        let route = Route { pattern: &self.pattern, rule };
        fits.get_or_insert(Route { rule: None, ..route });
        rule.map(|_| route)
    }
}

/// The first segment, and what comes after the slash behind it.
fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('/').map_or((path, None), |(segment, rest)| (segment, Some(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::dev::ResourceDef;
    use std::collections::BTreeSet;

    /// The routes as the page of all routes registers them, in that order: method, whole pattern.
    fn registered() -> Vec<(String, String)> {
        let page = include_str!("mod.rs");
        // Those of functions that are named after the native API, chat and links are below its scope.
        let functions = page.split("\nfn ").chain(page.split("\npub fn ").skip(1));
        let mut native = Vec::new();
        let mut elsewhere = Vec::new();
        for function in functions {
            let name = function.split_once('(').map_or("", |(name, _)| name);
            let body = function.split("\n}").next().unwrap();
            for rest in body.split(".route(\"").skip(1) {
                let (pattern, rest) = rest.split_once("\",").unwrap();
                let method = rest.trim_start().strip_prefix("web::").unwrap().split_once('(').unwrap().0;
                match name {
                    "v1_routes" | "chat_routes" | "link_routes" => {
                        native.push((method.to_uppercase(), format!("{NATIVE}{pattern}")));
                    }
                    "gitbitex_routes" | "configure" => elsewhere.push((method.to_uppercase(), pattern.to_owned())),
                    _ => {}
                }
            }
        }
        native.extend(elsewhere);
        native
    }

    /// Paths of every kind: each pattern with something of its own for each placeholder, and with what other patterns have
    /// there, which is what could be mistaken.
    fn paths(patterns: &[String]) -> BTreeSet<String> {
        let words: BTreeSet<&str> = patterns.iter().flat_map(|p| p.split('/')).filter(|s| !s.contains('{')).collect();
        let mut paths = BTreeSet::new();
        for pattern in patterns {
            let mut grown = vec![String::new()];
            for segment in pattern.split('/').skip(1) {
                let choices: Vec<&str> = match segment {
                    one if one.contains(":.*") => vec!["a", "a/b", "trading/event log", ""],
                    one if one.starts_with('{') => words.iter().copied().chain(["7", "client:x", "a b"]).collect(),
                    one => vec![one],
                };
                // Of more than one placeholder the first few choices are enough.
                let few = if grown.len() > 1 { 4 } else { choices.len() };
                grown = grown
                    .iter()
                    .flat_map(|path| choices.iter().take(few).map(move |choice| format!("{path}/{choice}")))
                    .collect();
            }
            paths.extend(grown.iter().map(|path| format!("{path}/x")));
            paths.extend(grown.iter().map(|path| format!("{path}//")));
            paths.extend(grown);
        }
        paths
    }

    #[test]
    fn the_row_is_that_of_the_handler_which_the_framework_chooses() {
        let routes = registered();
        assert_eq!(routes.len(), TABLE.len());
        let patterns: Vec<String> = routes.iter().map(|(_, pattern)| pattern.clone()).collect();
        let defined: Vec<ResourceDef> = patterns.iter().map(|pattern| ResourceDef::new(pattern.as_str())).collect();
        let paths = paths(&patterns);
        assert!(paths.len() > 5_000, "{}", paths.len());
        for path in &paths {
            let below = SCOPES.iter().find(|scope| path == *scope || path.starts_with(&format!("{scope}/")));
            let fitting: Vec<usize> = (0..routes.len())
                .filter(|index| defined[*index].is_match(path))
                // What a scope has begun with nobody after it is asked for.
                .filter(|index| below.is_none_or(|scope| patterns[*index].starts_with(*scope)))
                .collect();
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                let chosen = fitting.iter().find(|index| routes[**index].0 == method);
                let expected = chosen.map(|index| (method, patterns[*index].as_str()));
                let found = find(method, path);
                let row = found.and_then(|route| Some((route.rule?.method, route.pattern)));
                assert_eq!(row, expected, "{method} {path}");
                assert_eq!(found.is_some(), !fitting.is_empty(), "{method} {path}");
            }
        }
    }

    #[test]
    fn a_row_is_found_by_its_method_and_a_pattern_without() {
        let found = |method, path| find(method, path).map(|route| (route.pattern, route.rule.map(|rule| rule.pattern)));
        assert_eq!(found("POST", "/v1/orders"), Some(("/v1/orders", Some("/orders"))));
        assert_eq!(found("PUT", "/v1/orders"), Some(("/v1/orders", None)));
        assert_eq!(found("GET", "/v1/links/bulk"), Some(("/v1/links/{id}", Some("/links/{id}"))));
        assert_eq!(found("POST", "/v1/admin/tree/a/b/crash").unwrap().0, "/v1/admin/tree/{path:.*}/crash");
        assert_eq!(found("GET", "/orders"), Some(("/{slug}", Some("/{slug}"))));
        for nothing in ["/v1", "/v1/", "/v1/nowhere", "/v1/orders/7/8", "/v1//orders", "/api", "/a/b", "", "x"] {
            assert_eq!(found("GET", nothing), None, "{nothing}");
        }
    }
}
