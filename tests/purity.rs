//! `domain/` is pure: this reads its sources and names every line that a replay could not repeat.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::path::{Path, PathBuf};

/// Words that have no place in the rules, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("SystemTime", "time comes from the entry"),
    ("Instant", "time comes from the entry"),
    ("UNIX_EPOCH", "time comes from the entry"),
    ("chrono", "time comes from the entry"),
    ("jiff", "time comes from the entry"),
    ("rand", "every choice comes from the entry"),
    ("getrandom", "every choice comes from the entry"),
    ("RandomState", "the order of such a map differs between nodes"),
    ("f32", "money is counted, not measured"),
    ("f64", "money is counted, not measured"),
    ("async", "rules run to their end at once"),
    ("await", "rules run to their end at once"),
    ("tokio", "rules know no runtime"),
    ("actix", "rules know no actors"),
    ("thread", "rules run where they are called"),
    ("Mutex", "rules share nothing"),
    ("println", "rules write nothing"),
    ("tracing", "rules write nothing"),
    ("File", "rules read and write nothing"),
    ("TcpStream", "rules read and write nothing"),
    ("env", "rules know no environment"),
    ("unsafe", "it is forbidden everywhere"),
];

/// Maps whose order is random or depends on capacity: they may be asked, never walked.
const HASHED: &[&str] = &["HashMap", "HashSet", "FxHashMap", "FxHashSet"];
const WALKS: &[&str] = &["iter", "iter_mut", "keys", "values", "values_mut", "into_iter", "drain", "retain"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The words of a line of code, its comment and text literals left out.
fn words(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or_default();
    let outside = code.split('"').step_by(2);
    outside
        .flat_map(|part| part.split(|c: char| !(c.is_alphanumeric() || c == '_')))
        .filter(|w| !w.is_empty())
        .collect()
}

/// Names of fields and bindings that hold a hashed map in this source.
fn hashed_names(lines: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    for line in lines {
        let words = words(line);
        if words.first() != Some(&"use")
            && let Some(at) = words.iter().position(|word| HASHED.contains(word))
        {
            let name = words[..at].iter().rev().find(|w| !["pub", "let", "mut", "std", "collections"].contains(w));
            names.extend(name.map(|name| (*name).to_owned()));
        }
    }
    names
}

/// What is wrong in one source, line by line.
fn faults(name: &str, text: &str) -> Vec<String> {
    let all: Vec<&str> = text.lines().collect();
    // Unit tests stand at the end of their file and may do as they like.
    let end = all.iter().position(|line| line.trim() == "#[cfg(test)]").unwrap_or(all.len());
    let lines = &all[..end];
    let hashed = hashed_names(lines);
    let mut faults = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let place = format!("{name}:{}: `{}`", index + 1, line.trim());
        let words = words(line);
        for (word, why) in FORBIDDEN {
            if words.contains(word) {
                faults.push(format!("{place} uses {word}: {why}"));
            }
        }
        // A chain may go on for some lines; `for … in` a map walks it too.
        let chain: String = lines[index..lines.len().min(index + 4)].iter().map(|line| line.trim()).collect();
        for map in &hashed {
            let walked = WALKS.iter().any(|walk| chain.contains(&format!("{map}.{walk}(")));
            let begins = line.contains(&format!("{map}.")) || line.trim_end().ends_with(map.as_str());
            let looped = words.first() == Some(&"for") && words.last() == Some(&map.as_str());
            // An order that is fixed right afterwards does no harm.
            let after: String = lines[index..lines.len().min(index + 12)].concat();
            if (begins && walked || looped) && !after.contains(".sort_unstable()") {
                faults.push(format!("{place} walks the hashed map `{map}`, whose order differs between nodes"));
            }
        }
    }
    faults
}

#[test]
fn the_domain_is_pure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 10, "the domain has moved: only {} files under {}", files.len(), root.display());
    let faults: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let name = file.strip_prefix(&root).unwrap().display().to_string();
            faults(&name, &std::fs::read_to_string(file).unwrap())
        })
        .collect();
    assert!(faults.is_empty(), "the domain is not pure:\n{}", faults.join("\n"));
}

#[test]
fn impure_lines_are_found() {
    let cases = [
        ("let now = Instant::now();", 1),
        ("let share: f64 = 0.1;", 1),
        ("// an Instant in a comment\nlet text = \"SystemTime\";", 0),
        ("let operand = brand;", 0),
        ("users: HashMap<u32, u32>,\nfor (user, n) in &self.users {", 1),
        ("users: FxHashMap<u32, u32>,\nself.users.keys().next()", 1),
        ("users: FxHashMap<u32, u32>,\nself.users\n    .iter()", 1),
        ("users: FxHashMap<u32, u32>,\nlet mut all: Vec<_> = self.users.keys().collect();\nall.sort_unstable();", 0),
        ("users: FxHashMap<u32, u32>,\nself.users.get(&1)", 0),
        ("users: Vec<u32>,\nself.users.iter()", 0),
        ("#[cfg(test)]\nlet now = Instant::now();", 0),
    ];
    for (text, expected) in cases {
        let found = faults("case.rs", text);
        assert_eq!(found.len(), expected, "{text}\n{found:#?}");
    }
}
