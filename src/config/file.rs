//! The TOML file as the lowest layer of the settings: its lines become the defaults of the flags of the same name.

use clap::{Arg, Command};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a settings file was not taken. Nothing was started then.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("the settings in {} cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no TOML.
    #[error("the settings in {} are not TOML: {reason}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The line and why. Never what it says: it may be the one with a password.
        reason: String,
    },
    /// It names a setting that does not exist; a misspelt one would otherwise be ignored in silence.
    #[error("{}: there is no setting `{name}`", file.display())]
    Unknown {
        /// The file.
        file: PathBuf,
        /// The setting as it would be called, with the names of its tables before it.
        name: String,
    },
    /// A value is of a kind that no setting has.
    #[error("{}: `{name}` must be a text, a number, true, false or a list of these", file.display())]
    Kind {
        /// The file.
        file: PathBuf,
        /// The setting.
        name: String,
    },
}

/// The command line `command` with the settings file under it that one of these subcommands is given, by the arguments
/// or the environment. The first of them knows all settings; the others take those that they have.
///
/// # Errors
/// [`ConfigError`] when there is such a file and it cannot be used.
pub fn layered(command: Command, subcommands: &[&str], arguments: &[OsString]) -> Result<Command, ConfigError> {
    // A first look for --config alone; whatever else is wrong with the line is said by the second one.
    let first = command.clone().ignore_errors(true).try_get_matches_from(arguments);
    let named = first.ok().and_then(|matches| {
        let (used, matches) = matches.subcommand()?;
        let used = *subcommands.iter().find(|name| **name == used)?;
        Some((used, matches.get_one::<PathBuf>("config").cloned()?))
    });
    let Some((used, file)) = named else { return Ok(command) };
    let settings = read(&file)?;
    let has = |target: &str, name: &str| {
        let mut arguments = command.find_subcommand(target).into_iter().flat_map(Command::get_arguments);
        arguments.any(|arg| arg.get_id() == name && name != "config")
    };
    if let Some(name) = settings.keys().find(|name| !subcommands.first().is_some_and(|all| has(all, name))) {
        return Err(ConfigError::Unknown { file, name: name.clone() });
    }
    let own: Vec<_> = settings.into_iter().filter(|(name, _)| has(used, name)).collect();
    Ok(command.mut_subcommand(used, |mut target| {
        for (name, values) in own {
            target = target.mut_arg(name, |arg| {
                // --help shows defaults, and the value may be one that is not for everybody's eyes.
                let hidden = arg.is_hide_env_values_set();
                arg.default_values(values).hide_default_value(hidden)
            });
        }
        target
    }))
}

/// The command line without those variables of the environment that are empty, for settings that have no default: a
/// compose file can pass on a variable that need not be set.
pub fn without_empty(command: Command) -> Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let without = |arg: Arg| match arg.get_env().is_some_and(is_empty) && arg.get_default_values().is_empty() {
        true => arg.env(None::<&'static str>),
        false => arg,
    };
    command.mut_args(without).mut_subcommands(without_empty)
}

/// The settings of a file by name: the keys of nested tables are joined by underscores.
fn read(file: &Path) -> Result<BTreeMap<String, Vec<String>>, ConfigError> {
    let text =
        std::fs::read_to_string(file).map_err(|source| ConfigError::Unreadable { file: file.to_path_buf(), source })?;
    let malformed = |error: &toml::de::Error| ConfigError::Malformed { file: file.into(), reason: place(&text, error) };
    let table = text.parse::<toml::Table>().map_err(|error| malformed(&error))?;
    let mut settings = BTreeMap::new();
    flatten("", &table, &mut settings).map_err(|name| ConfigError::Kind { file: file.into(), name })?;
    Ok(settings)
}

/// The line of the first mistake in a file, and what it is. The error's own words repeat the whole line.
fn place(text: &str, error: &toml::de::Error) -> String {
    let Some(before) = error.span().and_then(|span| text.as_bytes().get(..span.start)) else {
        return error.message().to_owned();
    };
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    format!("line {line}: {}", error.message())
}

/// Adds what a table says to `settings`; an error is the name of a value that fits no setting.
fn flatten(prefix: &str, table: &toml::Table, settings: &mut BTreeMap<String, Vec<String>>) -> Result<(), String> {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.replace('-', "_"));
        match value {
            toml::Value::Table(inner) => flatten(&format!("{name}_"), inner, settings)?,
            toml::Value::Array(items) => {
                let items = items.iter().map(|item| scalar(item).ok_or(name.clone())).collect::<Result<_, _>>()?;
                settings.insert(name, items);
            }
            other => {
                let text = scalar(other).ok_or(name.clone())?;
                settings.insert(name, vec![text]);
            }
        }
    }
    Ok(())
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches, Parser};
    use std::io::Write;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: Sub,
    }

    #[derive(clap::Subcommand)]
    enum Sub {
        Serve(Settings),
    }

    #[derive(Args, Debug)]
    struct Settings {
        #[arg(long)]
        config: Option<PathBuf>,
        #[arg(long, default_value = "localhost")]
        listen: String,
        #[arg(long)]
        demo: bool,
        #[arg(long)]
        log_max_bytes: Option<u64>,
        #[arg(long)]
        origin: Vec<String>,
    }

    fn parse(toml: &str, arguments: &[&str]) -> Result<Settings, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(toml.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let line: Vec<OsString> =
            ["agora", "serve", "--config", path].iter().chain(arguments).map(|part| part.into()).collect();
        let command = <Line as clap::CommandFactory>::command();
        let command = layered(command, &["serve", "verify"], &line).map_err(|error| error.to_string())?;
        let matches = command.try_get_matches_from(line).map_err(|error| error.to_string())?;
        let Line { command: Sub::Serve(settings) } = Line::from_arg_matches(&matches).unwrap();
        assert!(settings.config.is_some());
        Ok(settings)
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let settings = parse("listen = \"file\"\ndemo = true\n[log]\nmax_bytes = 7\n", &[]).unwrap();
        assert_eq!((settings.listen.as_str(), settings.demo, settings.log_max_bytes), ("file", true, Some(7)));
        let settings = parse("listen = \"file\"\norigin = [\"a\", \"b\"]", &["--listen", "flag"]).unwrap();
        assert_eq!((settings.listen.as_str(), settings.demo), ("flag", false));
        assert_eq!(settings.origin, ["a", "b"]);
        assert_eq!(parse("", &[]).unwrap().listen, "localhost");
    }

    #[test]
    fn what_the_file_gets_wrong_is_said() {
        for (toml, part) in [
            ("lisen = \"x\"", "no setting `lisen`"),
            ("[log]\nmin_bytes = 1", "no setting `log_min_bytes`"),
            ("config = \"other\"", "no setting `config`"),
            ("demo = true\nlisten = ", "not TOML: line 2: "),
            ("listen = [[1]]", "`listen` must be"),
            ("log_max_bytes = \"many\"", "invalid value 'many'"),
            ("demo = 3", "invalid value '3'"),
        ] {
            let error = parse(toml, &[]).unwrap_err();
            assert!(error.contains(part), "{toml}: {error}");
        }
    }
}
