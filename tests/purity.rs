//! `domain/` is pure, and what is simulated repeats itself: this reads their sources and names every line that a replay
//! or a second run of a seed could not repeat.
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

/// What is simulated, below `src/`: files and folders.
const SIMULATED: &[&str] = &[
    "actors/cluster/lead.rs",
    "actors/event_log",
    "actors/event_log.rs",
    "actors/log_time.rs",
    "actors/role.rs",
    "actors/supervision",
    "actors/supervisor.rs",
    "actors/trading",
    "persistence/log/faulty.rs",
    "simulation",
];

/// Words that have no place in what is simulated, and why.
const UNREPEATABLE: &[(&str, &str)] = &[
    ("SystemTime", "the log's time comes through the clock that the actor was given"),
    ("UNIX_EPOCH", "the log's time comes through the clock that the actor was given"),
    ("clock::now", "the log's time comes through the clock that the actor was given"),
    ("wall_clock", "the log's time comes through the clock that the actor was given"),
    ("rand", "every choice comes from the seed"),
    ("getrandom", "every choice comes from the seed"),
    ("uuid", "every choice comes from the seed"),
    ("RandomState", "the order of such a map differs between runs"),
    ("thread", "everything runs on one thread"),
    ("spawn_blocking", "everything runs on one thread"),
    ("SyncArbiter", "everything runs on one thread"),
];

/// What is simulated may use this here all the same.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("actors/event_log.rs", "Instant", "for the metrics alone"),
    ("actors/event_log.rs", "thread", "an engine's thread waits for the actor; the simulated engine has none"),
    ("actors/supervision/drill.rs", "thread", "a hang on purpose; the simulator freezes whole nodes"),
    ("actors/supervision/runner.rs", "Instant", "when an idle actor was last used; nothing idle is simulated"),
    ("actors/supervision/runner.rs", "thread", "asks whether it is panicking"),
    ("actors/supervision/tree.rs", "clock::now", "the time of day of events, to be shown"),
    ("actors/trading/market_data.rs", "clock::now", "statistics that roll with the clock, to be shown"),
    ("actors/trading/market_data.rs", "wall_clock", "statistics that roll with the clock, to be shown"),
    ("actors/trading/mod.rs", "Instant", "for the metrics alone"),
    ("actors/trading/recovery.rs", "spawn_blocking", "not when everything is read on one thread"),
    ("actors/trading/twin.rs", "spawn_blocking", "for large states, which are not simulated"),
    ("simulation/mod.rs", "Instant", "how long the runs took, to be shown"),
];

/// Not simulated: it writes to the database.
const NOT_SIMULATED: &[&str] = &["actors/trading/projector.rs"];

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

/// The lines before the unit tests, which stand at the end of their file and may do as they like.
fn program<'a>(lines: &'a [&'a str]) -> &'a [&'a str] {
    let begins = |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].trim().starts_with("mod ");
    // A module that is declared and stands in a file of its own is followed by the program.
    let inline = |pair: &[&str]| begins(pair) && pair[1].trim().ends_with('{');
    let end = lines.windows(2).position(inline).unwrap_or(lines.len());
    &lines[..end]
}

/// What is wrong in one source of what is simulated, line by line; exceptions that it uses are noted.
fn unrepeatable(name: &str, text: &str, used: &mut Vec<(&str, &str)>) -> Vec<String> {
    let all: Vec<&str> = text.lines().collect();
    let lines = program(&all);
    let imports = ["tokio::time::Instant", "tokio::time::{Instant", "time::Instant};"];
    let virtual_time = imports.iter().any(|import| text.contains(import));
    let hashed: Vec<String> = hashed_names(lines);
    let mut faults = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let place = format!("{name}:{}: `{}`", index + 1, line.trim());
        let words = words(line);
        let real = ("Instant", "use tokio's, which a simulation can move");
        for (word, why) in UNREPEATABLE.iter().chain((!virtual_time).then_some(&real)) {
            let is_used = words.contains(word) || word.contains("::") && line.contains(word);
            if !is_used {
                continue;
            }
            match EXCEPTIONS.iter().find(|(file, allowed, _)| *file == name && allowed == word) {
                Some((file, allowed, _)) => used.push((file, allowed)),
                None => faults.push(format!("{place} uses {word}: {why}")),
            }
        }
        if line.contains("select!") && lines.get(index + 1).is_none_or(|next| next.trim() != "biased;") {
            faults.push(format!("{place} is not biased: it would choose a branch at random"));
        }
        // Maps without a seed (rustc-hash) have the same order in every run; the standard library's have not.
        let seeded = |name: &&String| !lines.iter().any(|l| l.contains(&format!("{name}: Fx")));
        for map in hashed.iter().filter(seeded) {
            if WALKS.iter().any(|walk| line.contains(&format!("{map}.{walk}("))) {
                faults.push(format!("{place} walks the hashed map `{map}`, whose order differs between runs"));
            }
        }
    }
    faults
}

#[test]
fn what_is_simulated_repeats_itself() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for place in SIMULATED {
        let path = root.join(place);
        if path.is_dir() { sources(&path, &mut files) } else { files.push(path) }
    }
    assert!(files.len() > 30, "what is simulated has moved: only {} files", files.len());
    let (mut used, mut faults) = (Vec::new(), Vec::new());
    for file in &files {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        let tests = name.ends_with("tests.rs") || name.contains("/tests/");
        if !tests && !NOT_SIMULATED.contains(&name.as_str()) {
            faults.extend(unrepeatable(&name, &std::fs::read_to_string(file).unwrap(), &mut used));
        }
    }
    assert!(faults.is_empty(), "a seed would not give the same run twice:\n{}", faults.join("\n"));
    for (file, word, _) in EXCEPTIONS {
        assert!(used.contains(&(*file, *word)), "{file} does not use {word} any more: take the exception away");
    }
}

#[test]
fn unrepeatable_lines_are_found() {
    let cases = [
        ("let now = SystemTime::now();", 1),
        ("use std::time::Instant;\nlet now = Instant::now();", 2),
        ("use tokio::time::Instant;\nlet now = Instant::now();", 0),
        ("tokio::select! {\n    a = b => {}", 1),
        ("tokio::select! {\n    biased;\n    a = b => {}", 0),
        ("waiting: HashMap<u64, u64>,\nfor one in self.waiting.values() {", 1),
        ("waiting: FxHashMap<u64, u64>,\nfor one in self.waiting.values() {", 0),
        ("waiting: HashMap<u64, u64>,\nself.waiting.remove(&1)", 0),
        ("std::thread::spawn(|| {})", 1),
        ("#[cfg(test)]\nmod tests {\nlet now = SystemTime::now();", 0),
    ];
    for (text, expected) in cases {
        let found = unrepeatable("case.rs", text, &mut Vec::new());
        assert_eq!(found.len(), expected, "{text}\n{found:#?}");
    }
}

/// What is wrong in one source, line by line.
fn faults(name: &str, text: &str) -> Vec<String> {
    let all: Vec<&str> = text.lines().collect();
    let lines = program(&all);
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
        // Mistakes on purpose, which are compiled for tests alone.
        .filter(|file| !file.ends_with("sabotage.rs"))
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
        ("#[cfg(test)]\nmod tests {\nlet now = Instant::now();", 0),
    ];
    for (text, expected) in cases {
        let found = faults("case.rs", text);
        assert_eq!(found.len(), expected, "{text}\n{found:#?}");
    }
}
