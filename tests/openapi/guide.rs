//! The guide's examples, run as they stand against a demo server: `docs/api.md` from top to bottom, language by language.

use crate::server::Server;
use std::path::Path;
use std::process::Command;

const GUIDE: &str = include_str!("../../docs/api.md");

/// All blocks of a language, one after the other, for the server at this address.
fn script(language: &str, server: &Server) -> String {
    let fence = format!("```{language}\n");
    let blocks = GUIDE.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next());
    let whole: Vec<&str> = blocks.collect();
    assert!(!whole.is_empty(), "the guide has no examples in {language}");
    let (host, port) = (server.address.ip().to_string(), server.address.port().to_string());
    whole
        .join("\n")
        .replace("127.0.0.1:8080", &server.address.to_string())
        .replace("(\"127.0.0.1\", 8080)", &format!("(\"{host}\", {port})"))
}

/// Runs a file with a program; its output, which must hold these words.
fn run(program: &str, arguments: &[&str], file: &Path, expected: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .arg(file)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {}\n{text}\n{errors}", output.status);
    for words in expected {
        assert!(text.contains(words), "{program} does not say {words:?}\n{text}\n{errors}");
    }
}

#[test]
fn the_guides_examples_work_as_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--demo-bots"]);
    // The bots need a moment to fill the book that the examples trade with, and again to fill up what was bought.
    let mut client = server.client("");
    let mut wait_for_sellers = || {
        while client.get("/products/BTC-USDT/book?level=2")["asks"].as_array().unwrap().len() < 5 {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    let write = |name: &str, text: String| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    // A refusal ends the script: curl says so with its exit code.
    let prelude = "set -euo pipefail\ncurl() { command curl --fail-with-body \"$@\"; }\n";
    let shell = write("guide.sh", format!("{prelude}{}", script("sh", &server)));
    wait_for_sellers();
    run("bash", &[], &shell, &["\"BTC-USDT\"", "\"open\"", "\"done_reason\":\"filled\"", "\"liquidity\":\"T\""]);

    let python = write("guide.py", script("python", &server));
    let said =
        ["placed ", " open\n", "bought ", "filled\n", "canceled\n", "placed over the feed: open", "done: canceled"];
    wait_for_sellers();
    run("python3", &[], &python, &said);

    let javascript = write("guide.mjs", script("js", &server));
    let said = [" USDT", "canceled 1 orders", "received → open → done (canceled)"];
    wait_for_sellers();
    run("node", &["--experimental-websocket", "--no-warnings"], &javascript, &said);
}
