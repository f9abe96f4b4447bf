//! Settings from a file and the environment. A flag goes before the environment, which goes before the file.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use toml::{Table, Value};

/// What stands before the name of a flag in the environment.
const PREFIX: &str = "SWITCHBOARD_";
/// Flags that make no sense in a file.
const NOT_IN_A_FILE: &[&str] = &["config", "help", "version"];

/// Every flag of a server can be given in the environment: `--max-queued` as `SWITCHBOARD_MAX_QUEUED`.
pub(super) fn with_environment(command: Command) -> Command {
    let with_env = |arg: Arg| match arg.get_long() {
        Some(long) if arg.get_env().is_none() && !NOT_IN_A_FILE[1..].contains(&long) => {
            let name = format!("{PREFIX}{}", long.replace('-', "_").to_uppercase());
            arg.env(name).hide_env(true)
        }
        _ => arg,
    };
    command.mut_args(with_env).mut_subcommands(|sub| match sub.get_name() {
        "serve" | "echo" | "fanout" => sub.mut_args(with_env),
        _ => sub,
    })
}

/// The flags that a file gives and nothing before it does.
///
/// # Errors
/// A sentence that names the file and the key.
pub(super) fn flags(path: &Path, command: &Command, matches: &ArgMatches) -> Result<Vec<OsString>, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        format!("{shown}:{line}: {}", error.message())
    })?;
    let mut flags = Vec::new();
    for (key, value) in &table {
        let is_known = |arg: &&Arg| arg.get_long() == Some(key) && !NOT_IN_A_FILE.contains(&key.as_str());
        let arg = command.get_arguments().find(is_known).ok_or_else(|| {
            format!("{shown}: unknown key `{key}`; the keys are the names of the flags in --help")
        })?;
        let source = matches.value_source(arg.get_id().as_str());
        if matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            continue;
        }
        let takes_values = arg.get_action().takes_values();
        let values = match value {
            Value::Array(values) => &values[..],
            value => std::slice::from_ref(value),
        };
        for value in values {
            match (value, takes_values) {
                (Value::Boolean(true), false) => flags.push(format!("--{key}").into()),
                (Value::Boolean(false), false) => {}
                (Value::String(value), true) => flags.push(format!("--{key}={value}").into()),
                (Value::Integer(value), true) => flags.push(format!("--{key}={value}").into()),
                (_, false) => return Err(format!("{shown}: `{key}` is true or false")),
                (other, true) => {
                    return Err(format!("{shown}: `{key}` cannot be of type {}", other.type_str()));
                }
            }
        }
    }
    Ok(flags)
}
