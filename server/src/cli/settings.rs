//! Settings from the environment and from a file. Precedence: flags, then environment, then file.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::{BoolishValueParser, TypedValueParser as _};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, Id};
use toml::{Table, Value};

/// What the name of every variable begins with: `--max-queued` is `SWITCHBOARD_MAX_QUEUED`.
const PREFIX: &str = "SWITCHBOARD_";
/// The variable of hosting platforms for `--port`.
const PORT: &str = "PORT";
/// Flags that are no settings.
const NO_SETTINGS: &[&str] = &["help", "version"];
/// Similarity of two names (Jaro-Winkler) above which one is suggested for the other.
const SIMILAR: f64 = 0.8;

/// A flag that was not on the command line, and where it comes from.
#[derive(Debug)]
struct Setting {
    long: String,
    flag: OsString,
    origin: String,
}

/// The flags that the environment and a file add to a command line.
#[derive(Debug)]
pub(super) struct Settings<'c> {
    /// The command that is run.
    command: &'c Command,
    /// What a source of higher precedence says already.
    given: Vec<Id>,
    added: Vec<Setting>,
    /// For the log, once it is there.
    pub(super) warnings: Vec<String>,
}

impl<'c> Settings<'c> {
    /// `matches` are those of the command line alone.
    pub(super) fn new(command: &'c Command, matches: &ArgMatches) -> Self {
        let is_given =
            |arg: &&Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        let given = command.get_arguments().filter(is_given).map(|arg| arg.get_id().clone()).collect();
        Self { command, given, added: Vec::new(), warnings: Vec::new() }
    }

    /// Adds what the variables say. A variable that no command has is worth a warning; an empty one counts as not set.
    ///
    /// # Errors
    /// A sentence that names the variable.
    pub(super) fn add_environment(
        &mut self,
        all: &Command,
        variables: &[(OsString, OsString)],
    ) -> Result<(), String> {
        let mut given = Vec::new();
        for arg in self.open_settings() {
            let Some(long) = arg.get_long() else { continue };
            let names = [Some(variable(long)), (long == "port").then(|| PORT.to_owned())];
            let set = names.into_iter().flatten().find_map(|name| {
                let (_, value) = variables.iter().find(|(known, _)| *known == *name)?;
                (!value.is_empty() && !is_of_kubernetes(&name, value)).then_some((name, value))
            });
            let Some((name, value)) = set else { continue };
            given.push(arg.get_id().clone());
            for flag in flags(self.command, arg, long, value).map_err(|why| format!("{name}: {why}"))? {
                self.added.push(Setting { long: long.to_owned(), flag, origin: name.clone() });
            }
        }
        self.given.append(&mut given);
        self.warn_of_unknown(all, variables);
        Ok(())
    }

    fn warn_of_unknown(&mut self, all: &Command, variables: &[(OsString, OsString)]) {
        let known: Vec<String> = longs(all).into_iter().map(variable).collect();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            if !known.iter().any(|known| known == name) && !is_of_kubernetes(name, value) {
                let likely = similar(&name.to_uppercase(), known.iter().map(String::as_str));
                let hint = likely.map_or_else(
                    || "the names of the variables are those of the flags in --help".to_owned(),
                    |likely| format!("did you mean {likely}?"),
                );
                self.warnings.push(format!("the variable {name} is no setting and was ignored; {hint}"));
            }
        }
    }

    /// The file that `--config` or its variable names.
    pub(super) fn file(&self, matches: &ArgMatches) -> Option<PathBuf> {
        let by_variable = self.added.iter().find(|setting| setting.long == "config");
        let by_flag = matches.try_get_one::<PathBuf>("config").ok().flatten();
        by_flag.cloned().or_else(|| Some(PathBuf::from(value_of(&by_variable?.flag))))
    }

    /// Adds what a file of TOML says. Commands that do not serve read the file of those that do: what only `serve` knows
    /// says nothing to them.
    ///
    /// # Errors
    /// A sentence that names the file and the key.
    pub(super) fn add_file(&mut self, all: &Command, path: &Path) -> Result<(), String> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            format!("{shown}:{line}: {}", error.message())
        })?;
        let known = longs_of(self.command);
        let serves = known.contains(&"listen");
        let of_serve = all.find_subcommand("serve").map(longs_of).unwrap_or_default();
        let open: Vec<&Arg> = self.open_settings().collect();
        for (key, value) in &table {
            let is_own = known.contains(&&**key) && key != "config";
            if !is_own && !serves && of_serve.contains(&&**key) {
                continue;
            }
            if !is_own {
                let likely = similar(key, known.iter().copied().filter(|known| *known != "config"));
                let hint = likely.map_or_else(
                    || "the keys are the names of the flags in --help".to_owned(),
                    |likely| format!("did you mean `{likely}`?"),
                );
                return Err(format!("{shown}: unknown key `{key}`; {hint}"));
            }
            let Some(arg) = open.iter().find(|arg| arg.get_long() == Some(key)) else { continue };
            let takes_values = arg.get_action().takes_values();
            let values = match value {
                Value::Array(values) => &values[..],
                value => std::slice::from_ref(value),
            };
            for value in values {
                let flag = match (value, takes_values) {
                    (Value::Boolean(true), false) => format!("--{key}"),
                    (Value::Boolean(false), false) => continue,
                    (Value::String(value), true) => format!("--{key}={value}"),
                    (Value::Integer(value), true) => format!("--{key}={value}"),
                    (_, false) => return Err(format!("{shown}: `{key}` is true or false")),
                    (other, true) => {
                        return Err(format!("{shown}: `{key}` cannot be of type {}", other.type_str()));
                    }
                };
                let origin = shown.to_string();
                self.added.push(Setting { long: key.clone(), flag: flag.into(), origin });
            }
        }
        Ok(())
    }

    /// The settings that nothing of higher precedence has, or excludes.
    fn open_settings(&self) -> impl Iterator<Item = &'c Arg> + use<'c> {
        let (command, given) = (self.command, self.given.clone());
        let excludes = move |arg: &Arg, other: &Id| {
            let conflicts = command.get_arg_conflicts_with(arg);
            conflicts.iter().any(|conflict| conflict.get_id() == other)
        };
        let arguments = command.get_arguments();
        arguments.filter(|arg| arg.get_long().is_some_and(|long| !NO_SETTINGS.contains(&long))).filter(
            move |arg| {
                let id = arg.get_id();
                let is_excluded = |other: &Arg| excludes(arg, other.get_id()) || excludes(other, id);
                let mut stronger = command.get_arguments().filter(|other| given.contains(other.get_id()));
                !given.contains(id) && !stronger.any(is_excluded)
            },
        )
    }

    /// Whether the port is that of the variable of hosting platforms, which means a port of all addresses.
    pub(super) fn is_port_of_platform(&self) -> bool {
        self.added.iter().any(|setting| setting.long == "port" && setting.origin == PORT)
    }

    /// The flags, in the order in which they were added.
    pub(super) fn flags(&self) -> Vec<OsString> {
        self.added.iter().map(|setting| setting.flag.clone()).collect()
    }

    /// Says of an error where the flag at fault comes from.
    pub(super) fn name_origin(&self, error: clap::Error, all: &Command) -> clap::Error {
        let Some(ContextValue::String(at_fault)) = error.get(ContextKind::InvalidArg) else { return error };
        let long = at_fault.split([' ', '=']).next().unwrap_or_default().trim_start_matches('-');
        let Some(setting) = self.added.iter().find(|setting| setting.long == long) else { return error };
        let said = error.to_string();
        let said = said.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default().trim_end();
        all.clone().error(error.kind(), format!("{}: {said}", setting.origin))
    }
}

/// An error that is no fault of the command line.
pub(super) fn error(all: &Command, why: String) -> clap::Error {
    all.clone().error(ErrorKind::InvalidValue, why)
}

/// The flags that a variable sets.
fn flags(command: &Command, arg: &Arg, long: &str, value: &OsStr) -> Result<Vec<OsString>, String> {
    if !arg.get_action().takes_values() {
        let is_on = BoolishValueParser::new().parse_ref(command, Some(arg), value).map_err(|_| {
            format!(
                "{:?} is neither true nor false (1, true, yes, on; 0, false, no, off)",
                value.display().to_string()
            )
        })?;
        return Ok(if is_on { vec![format!("--{long}").into()] } else { Vec::new() });
    }
    let flag = |value: &OsStr| {
        let mut flag = OsString::from(format!("--{long}="));
        flag.push(value);
        flag
    };
    match (arg.get_value_delimiter(), value.to_str()) {
        (Some(delimiter), Some(list)) => {
            let values = list.split(delimiter).map(str::trim).filter(|value| !value.is_empty());
            Ok(values.map(|value| flag(value.as_ref())).collect())
        }
        _ => Ok(vec![flag(value)]),
    }
}

/// What follows the `=` of a flag.
fn value_of(flag: &OsStr) -> OsString {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let octets = flag.as_bytes();
    let start = octets.iter().position(|octet| *octet == b'=').map_or(octets.len(), |at| at + 1);
    OsString::from_vec(octets[start..].to_vec())
}

fn variable(long: &str) -> String {
    format!("{PREFIX}{}", long.replace('-', "_").to_uppercase())
}

/// Kubernetes sets variables for each container about the services beside it: `SWITCHBOARD_PORT=tcp://10.0.0.1:8080` where one
/// of them is called `switchboard`.
fn is_of_kubernetes(name: &str, value: &OsStr) -> bool {
    let address = value.to_str().unwrap_or_default();
    let parts = ["_SERVICE_HOST", "_SERVICE_PORT", "_TCP", "_UDP"];
    name.starts_with(PREFIX)
        && (parts.iter().any(|part| name.contains(part))
            || address.starts_with("tcp://")
            || address.starts_with("udp://"))
}

/// The settings of a command.
fn longs_of(command: &Command) -> Vec<&str> {
    let longs = command.get_arguments().filter_map(Arg::get_long);
    longs.filter(|long| !NO_SETTINGS.contains(long)).collect()
}

/// The settings of a command and of all commands under it.
fn longs(command: &Command) -> Vec<&str> {
    let mut found = longs_of(command);
    found.extend(command.get_subcommands().flat_map(longs));
    found
}

/// The name that is most like the one given.
fn similar<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let rated = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(similarity, _)| *similarity > SIMILAR).map(|(_, known)| known)
}
