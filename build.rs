//! Builds the web app in `web/` and leaves it in `OUT_DIR/web` for `src/http/assets.rs` to embed.
//!
//! The sources are copied into `OUT_DIR` and built there, so that the source tree stays clean, may be read-only, and
//! builds with different target folders never meet. A machine without npm still gets a working server: a placeholder
//! page then says what is missing. With AGORA_REQUIRE_WEB set that is an error.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

/// What the build of the web app reads, relative to `web/`. Tests and their settings are not among it.
const INPUTS: [&str; 7] =
    ["src", "public", "index.html", "package.json", "package-lock.json", "vite.config.ts", "tsconfig.json"];
/// Read by npm if it is there.
const NPM_SETTINGS: &str = ".npmrc";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    // For those who work on the server alone and do not want to wait for npm.
    println!("cargo:rerun-if-env-changed=AGORA_SKIP_WEB");
    // For those who would not notice the placeholder: an image, a package.
    println!("cargo:rerun-if-env-changed=AGORA_REQUIRE_WEB");
    let source = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("web");
    for input in INPUTS.iter().chain([&NPM_SETTINGS]) {
        println!("cargo:rerun-if-changed={}", source.join(input).display());
    }

    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let embedded = out_dir.join("web");
    let problem = if env::var_os("AGORA_SKIP_WEB").is_some_and(|value| !value.is_empty()) {
        Some("AGORA_SKIP_WEB is set, so the web app was left out.".to_string())
    } else {
        build(&source, &out_dir.join("web-build"), &embedded).err()
    };
    if let Some(problem) = problem {
        if env::var_os("AGORA_REQUIRE_WEB").is_some_and(|value| !value.is_empty()) {
            return Err(format!("the web app cannot be built: {problem}").into());
        }
        for line in problem.lines() {
            println!("cargo:warning=web app: {line}");
        }
        // Cargo runs this again only when an input changes, and an installed npm is none.
        println!(
            "cargo:warning=web app: a placeholder page takes its place; `touch build.rs` and build again to retry"
        );
        remove_dir(&embedded)?;
        fs::create_dir_all(&embedded)?;
        fs::write(embedded.join("index.html"), placeholder(&problem))?;
    }
    Ok(())
}

/// Builds `source` within `work` and moves the result to `embedded`; an error says what to do about it.
fn build(source: &Path, work: &Path, embedded: &Path) -> Result<(), String> {
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    if Command::new(npm).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return Err("npm was not found. Install Node.js 20.19, 22.12 or later (it brings npm).".to_string());
    }
    refresh_sources(source, work).map_err(|error| format!("The sources of the web app cannot be copied: {error}"))?;

    // The packages are installed again only when their lock file is another one than that of the last success.
    let lock = fs::read(work.join("package-lock.json")).map_err(|error| format!("package-lock.json: {error}"))?;
    let stamp = work.join("installed-lock.json");
    if fs::read(&stamp).ok().as_deref() != Some(&lock) {
        run(npm, &["ci", "--no-audit", "--no-fund"], work)?;
        fs::write(&stamp, &lock).map_err(|error| format!("{}: {error}", stamp.display()))?;
    }
    run(npm, &["run", "build"], work)?;

    let replace = || -> io::Result<()> {
        remove_dir(embedded)?;
        fs::rename(work.join("dist"), embedded)
    };
    replace().map_err(|error| format!("The built web app cannot be moved into place: {error}"))
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> Result<(), String> {
    let name = format!("npm {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`{name}` cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(12)..].join("\n");
    Err(format!("`{name}` failed ({}). Its last words:\n{tail}", output.status))
}

/// Makes the copies in `work` equal to `source`; what npm installed there before is kept.
fn refresh_sources(source: &Path, work: &Path) -> io::Result<()> {
    fs::create_dir_all(work)?;
    for input in INPUTS {
        let (from, to) = (source.join(input), work.join(input));
        remove_dir(&to)?;
        copy(&from, &to)?;
    }
    let settings = source.join(NPM_SETTINGS);
    if settings.exists() { copy(&settings, &work.join(NPM_SETTINGS)) } else { Ok(()) }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        // Contents only: the permissions of a read-only source must not make the copy unwritable.
        return fs::write(to, fs::read(from)?);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn remove_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { Ok(()) }
}

fn placeholder(problem: &str) -> String {
    let escaped = problem.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>Agora without its web app</title>\n<h1>Agora is running, but without \
         its web app</h1>\n<p>This program was built without the web app, for this reason:</p>\n<pre>{escaped}</pre>\n\
         <p>To get it, install Node.js 20.19, 22.12 or later with npm, then build Agora again: \
         <code>touch build.rs &amp;&amp; cargo build --release</code>. The programming interface at <code>/v1</code> \
         works as it is.</p>\n</html>\n"
    )
}
