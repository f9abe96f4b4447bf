//! Settings from the environment and from a file. Precedence: flags, then environment, then file.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use clap::builder::{BoolishValueParser, TypedValueParser as _};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, Id};

use super::file::{self, Entry, Value};
use super::table::{self, Kind, PREFIX, variable};

/// The variable of hosting platforms for `--port`.
const PORT: &str = "PORT";
/// A type of TOML.
const TABLE: &str = "table";
/// Similarity of two names (Jaro-Winkler) above which one is suggested for the other.
const SIMILAR: f64 = 0.8;

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    /// There is no value.
    Unset,
    Flag,
    Variable(String),
    File {
        path: PathBuf,
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Unset => f.write_str("not set"),
            Self::Flag => f.write_str("flag"),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
        }
    }
}

/// A flag that was not on the command line, and where it comes from.
#[derive(Debug)]
struct Added {
    key: String,
    flag: OsString,
    origin: Origin,
}

/// The value that a setting has in the end.
#[derive(Debug, Clone)]
pub(super) struct Effective {
    pub(super) setting: table::Setting,
    /// As TOML.
    pub(super) value: Option<String>,
    pub(super) origin: Origin,
}

/// The flags that the environment and a file add to a command line.
#[derive(Debug)]
pub(super) struct Settings<'c> {
    /// The command that is run.
    command: &'c Command,
    /// What a source of higher precedence says already.
    given: Vec<Id>,
    added: Vec<Added>,
    /// Flags that a source switches off.
    off: Vec<(String, Origin)>,
    /// For the log, once it is there.
    pub(super) warnings: Vec<String>,
}

impl<'c> Settings<'c> {
    /// `matches` are those of the command line alone.
    pub(super) fn new(command: &'c Command, matches: &ArgMatches) -> Self {
        let is_given =
            |arg: &&Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        let given = command.get_arguments().filter(is_given).map(|arg| arg.get_id().clone()).collect();
        Self { command, given, added: Vec::new(), off: Vec::new(), warnings: Vec::new() }
    }

    /// Adds what the variables say. A variable that no command has is worth a warning; an empty one counts as not set.
    ///
    /// # Errors
    /// Sentences that name the variables.
    pub(super) fn add_environment(
        &mut self,
        all: &Command,
        variables: &[(OsString, OsString)],
    ) -> Result<(), Vec<String>> {
        let (mut given, mut problems) = (Vec::new(), Vec::new());
        for (arg, key) in self.open_settings() {
            let names = [Some(variable(key)), (key == "port").then(|| PORT.to_owned())];
            let set = names.into_iter().flatten().find_map(|name| {
                let (_, value) = variables.iter().find(|(known, _)| *known == *name)?;
                (!value.is_empty() && !is_of_kubernetes(&name, value)).then_some((name, value))
            });
            let Some((name, value)) = set else { continue };
            given.push(arg.get_id().clone());
            let origin = Origin::Variable(name);
            match flags(self.command, arg, key, value) {
                Ok(flags) => self.add(key, flags, &origin),
                Err(why) => problems.push(format!("{origin}: {why}")),
            }
        }
        self.given.append(&mut given);
        self.warn_of_unknown(all, variables);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn add(&mut self, key: &str, flags: Vec<OsString>, origin: &Origin) {
        if flags.is_empty() {
            self.off.push((key.to_owned(), origin.clone()));
        }
        let added = |flag| Added { key: key.to_owned(), flag, origin: origin.clone() };
        self.added.extend(flags.into_iter().map(added));
    }

    fn warn_of_unknown(&mut self, all: &Command, variables: &[(OsString, OsString)]) {
        let known = table::all_keys(all);
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            if !known.iter().any(|known| variable(known) == name) && !is_of_kubernetes(name, value) {
                let hint = similar(&as_key(name), known.iter().copied()).map_or_else(
                    || "the names of the variables are those of the flags in --help".to_owned(),
                    |likely| format!("did you mean {}?", variable(likely)),
                );
                self.warnings.push(format!("the variable {name} is no setting and was ignored; {hint}"));
            }
        }
    }

    /// The file that `config check FILE`, `--config` or its variable names.
    pub(super) fn file(&self, matches: &ArgMatches) -> Option<PathBuf> {
        let by_name = |id| matches.try_get_one::<PathBuf>(id).ok().flatten().cloned();
        let by_variable = self.added.iter().find(|added| added.key == "config");
        let by_flag = by_name("checked_file").or_else(|| by_name("config"));
        by_flag.or_else(|| Some(PathBuf::from(value_of(&by_variable?.flag))))
    }

    /// Adds what a file of TOML says. Commands that do not serve read the file of those that do: what only `serve` knows
    /// says nothing to them.
    ///
    /// # Errors
    /// Sentences that name the file, the line and the key.
    pub(super) fn add_file(&mut self, all: &Command, path: &Path) -> Result<(), Vec<String>> {
        let entries = file::read(path).map_err(|why| vec![why])?;
        let known = table::keys(self.command);
        let serves = known.contains(&"listen");
        let of_serve = all.find_subcommand("serve").map(table::keys).unwrap_or_default();
        let open: Vec<(&Arg, &str)> = self.open_settings().collect();
        let mut problems = Vec::new();
        for Entry { key, line, value } in entries {
            let origin = Origin::File { path: path.to_owned(), line };
            let is_own = known.contains(&&*key) && key != "config";
            if !is_own && !serves && of_serve.contains(&&*key) {
                continue;
            }
            if !is_own {
                problems.push(format!("{origin}: {}", self.unknown(all, &key, &value, &known)));
                continue;
            }
            let Some((arg, key)) = open.iter().find(|(_, open)| **open == *key) else { continue };
            match (value, arg.get_action().takes_values()) {
                (Value::Switch(on), false) => {
                    self.add(key, on.then(|| format!("--{key}").into()).into_iter().collect(), &origin);
                }
                (Value::Texts(texts), true) => {
                    self.add(key, texts.iter().map(|text| flag(key, text.as_ref())).collect(), &origin);
                }
                (_, false) => problems.push(format!("{origin}: `{key}` is true or false")),
                (Value::Switch(_), true) => {
                    problems.push(format!("{origin}: `{key}` cannot be of type boolean"));
                }
                (Value::Other(kind), true) => {
                    problems.push(format!("{origin}: `{key}` cannot be of type {kind}"));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// What to say of a key that the command does not have.
    fn unknown(&self, all: &Command, key: &str, value: &Value, known: &[&str]) -> String {
        let name = self.command.get_name();
        let servers = table::servers_with(all, key);
        if key != "config" && !servers.is_empty() {
            return format!("`{key}` is a setting of {servers}, and not of `{name}`");
        }
        let of = if name == "serve" || !table::SERVERS.contains(&name) {
            String::new()
        } else {
            format!(" --for {name}")
        };
        if *value == Value::Other(TABLE) {
            return format!("there are no tables: keys are written without `[{key}]` above them");
        }
        let hint = similar(&as_key(key), known.iter().copied().filter(|known| *known != "config"))
            .map_or_else(
                || format!("`switchboard config generate{of}` lists all keys"),
                |likely| format!("did you mean `{likely}`?"),
            );
        format!("unknown key `{key}`; {hint}")
    }

    /// The settings that nothing of higher precedence has, or excludes, and their keys.
    fn open_settings(&self) -> impl Iterator<Item = (&'c Arg, &'c str)> + use<'c> {
        let (command, given) = (self.command, self.given.clone());
        let excludes = move |arg: &Arg, other: &Id| {
            let conflicts = command.get_arg_conflicts_with(arg);
            conflicts.iter().any(|conflict| conflict.get_id() == other)
        };
        let is_open = move |arg: &Arg| {
            let id = arg.get_id();
            let is_excluded = |other: &Arg| excludes(arg, other.get_id()) || excludes(other, id);
            let mut stronger = command.get_arguments().filter(|other| given.contains(other.get_id()));
            !given.contains(id) && !stronger.any(is_excluded)
        };
        let keys = table::keys(command);
        let arguments = command.get_arguments().filter_map(|arg| Some((arg, arg.get_long()?)));
        arguments.filter(move |(arg, long)| keys.contains(long) && is_open(arg))
    }

    /// Whether the port is that of the variable of hosting platforms, which means a port of all addresses.
    pub(super) fn is_port_of_platform(&self) -> bool {
        let of_platform = Origin::Variable(PORT.to_owned());
        self.added.iter().any(|added| added.key == "port" && added.origin == of_platform)
    }

    /// The flags, in the order in which they were added.
    pub(super) fn flags(&self) -> Vec<OsString> {
        self.added.iter().map(|added| added.flag.clone()).collect()
    }

    /// What each setting is in the end. `matches` are those of the command with all flags.
    pub(super) fn effective(&self, matches: &ArgMatches) -> Vec<Effective> {
        let settings = table::of(self.command).into_iter().filter(|setting| setting.key != "config");
        settings.filter_map(|setting| self.effective_one(matches, setting)).collect()
    }

    fn effective_one(&self, matches: &ArgMatches, setting: table::Setting) -> Option<Effective> {
        let mut arguments = self.command.get_arguments();
        let arg = arguments.find(|arg| arg.get_long() == Some(&setting.key))?;
        let id = arg.get_id().as_str();
        let raw = matches.get_raw(id).into_iter().flatten();
        let raw: Vec<String> = raw.map(|value| shown(&setting.key, &value.display().to_string())).collect();
        let value = match setting.kind {
            Kind::Switch => Some(matches.get_flag(id).to_string()),
            Kind::One => raw.first().map(|value| table::toml_value(value)),
            Kind::List => (!raw.is_empty()).then(|| table::toml_list(&raw)),
        };
        let added = self.added.iter().find(|added| added.key == setting.key);
        let off = self.off.iter().find(|(key, _)| *key == setting.key);
        let origin = match matches.value_source(id) {
            _ if added.is_some() || off.is_some() => {
                added.map(|added| &added.origin).or(off.map(|(_, origin)| origin)).cloned()?
            }
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(_) => Origin::Default,
            None => Origin::Unset,
        };
        let is_hidden = origin == Origin::Default && arg.is_hide_default_value_set();
        let (value, origin) = if is_hidden { (None, Origin::Unset) } else { (value, origin) };
        Some(Effective { setting, value, origin })
    }

    /// Says of an error of the whole command line what the environment and the file have to do with it. `words` are the program and
    /// its commands.
    pub(super) fn blame(&self, error: clap::Error, all: &Command, words: &[OsString]) -> clap::Error {
        let problems: Vec<String> =
            self.added.iter().filter_map(|added| problem_alone(added, all, words)).collect();
        if !problems.is_empty() {
            return self::error(&problems);
        }
        let missing = missing(&error);
        if let Some((added, missing)) =
            self.added.iter().find_map(|added| Some((added, needs(added, &missing, all, words)?)))
        {
            return self::error(&[format!("{}: `{}` needs {missing}", added.origin, added.key)]);
        }
        let at_fault = at_fault(&error);
        match self.added.iter().find(|added| Some(&added.key) == at_fault.as_ref()) {
            Some(added) => self::error(&[sentence(&error, added)]),
            None if at_fault.is_some_and(|key| is_secret(&key)) => {
                all.clone().error(error.kind(), said(&error))
            }
            None => error,
        }
    }
}

/// The command whose settings count: the one that is run, or the server that it talks about. Such a command takes the flags of all
/// servers.
///
/// # Errors
/// A flag is that of another server.
pub(super) fn of<'c>(
    all: &'c Command,
    command: &'c Command,
    matches: &ArgMatches,
    server: Option<&str>,
) -> Result<&'c Command, String> {
    let Some(server) = server.and_then(|name| all.find_subcommand(name)) else { return Ok(command) };
    let own = table::keys(server);
    let is_given = |arg: &&Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let mut given = command.get_arguments().filter(is_given).filter_map(Arg::get_long);
    let servers = |key| table::servers_with(all, key);
    match given.find(|key| !own.contains(key) && !servers(key).is_empty()) {
        Some(key) => {
            Err(format!("--{key} is a flag of {}, and not of `{}`", servers(key), server.get_name()))
        }
        None => Ok(server),
    }
}

/// What is wrong with a value, whatever the others are.
fn problem_alone(added: &Added, all: &Command, words: &[OsString]) -> Option<String> {
    let words = words.iter().chain(std::iter::once(&added.flag));
    let error = all.clone().try_get_matches_from(words).err()?;
    let is_value =
        matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::InvalidUtf8);
    (is_value && at_fault(&error).as_ref() == Some(&added.key)).then(|| sentence(&error, added))
}

/// The flags that an error misses, each as a key.
fn missing(error: &clap::Error) -> Vec<String> {
    let Some(ContextValue::Strings(flags)) = error.get(ContextKind::InvalidArg) else { return Vec::new() };
    let flags = flags.iter().filter(|_| error.kind() == ErrorKind::MissingRequiredArgument);
    let key = |flag: &String| Some(flag.split(' ').next()?.strip_prefix("--")?.to_owned());
    flags.filter_map(key).collect()
}

/// Which of the missing keys a setting needs: "`tls-cert` and `tls-key`".
fn needs(added: &Added, missing_keys: &[String], all: &Command, words: &[OsString]) -> Option<String> {
    if missing_keys.is_empty() {
        return None;
    }
    let words = words.iter().chain(std::iter::once(&added.flag));
    let mut alone = missing(&all.clone().try_get_matches_from(words).err()?);
    alone.retain(|key| missing_keys.contains(key));
    alone.sort();
    let names: Vec<String> = alone.iter().map(|key| format!("`{key}`")).collect();
    (!names.is_empty()).then(|| names.join(" and "))
}

/// The key of the flag that an error is about.
fn at_fault(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    Some(flag.split([' ', '=']).next()?.trim_start_matches('-').to_owned())
}

/// What clap says, in one paragraph, without a value that may hold a secret.
fn said(error: &clap::Error) -> String {
    let said = error.to_string();
    let said = said.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default().trim_end();
    match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value))
            if !value.is_empty() && at_fault(error).is_some_and(|key| is_secret(&key)) =>
        {
            said.replace(&**value, "…")
        }
        _ => said.to_owned(),
    }
}

/// An error with the place where the flag at fault comes from, and its name there.
fn sentence(error: &clap::Error, added: &Added) -> String {
    let said = said(error);
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return format!("{}: {said}", added.origin);
    };
    match added.origin {
        Origin::File { .. } => {
            format!("{}: {}", added.origin, said.replace(&format!("'{flag}'"), &format!("`{}`", added.key)))
        }
        _ => format!("{}: {said}", added.origin),
    }
}

/// Settings whose values may hold a secret: a password, or a token in a query.
fn is_secret(key: &str) -> bool {
    key.ends_with("-url") || key == ENGINE
}

/// The setting whose address has a password.
const ENGINE: &str = "engine";

/// A value as it may be shown.
fn shown(key: &str, value: &str) -> String {
    let value = match value.find(['?', '#']) {
        Some(at) if is_secret(key) => format!("{}…", &value[..=at]),
        _ => value.to_owned(),
    };
    match (value.find("://"), value.rfind('@')) {
        (Some(scheme), Some(at)) if key == ENGINE => format!("{}…{}", &value[..scheme + 3], &value[at..]),
        _ => value,
    }
}

/// An error that is no fault of the command line.
pub(super) fn error(problems: &[String]) -> clap::Error {
    clap::Error::raw(ErrorKind::InvalidValue, format!("{}\n", problems.join("\n")))
}

fn flag(key: &str, value: &OsStr) -> OsString {
    let mut flag = OsString::from(format!("--{key}="));
    flag.push(value);
    flag
}

/// The flags that a variable sets.
fn flags(command: &Command, arg: &Arg, key: &str, value: &OsStr) -> Result<Vec<OsString>, String> {
    if !arg.get_action().takes_values() {
        let is_on = BoolishValueParser::new().parse_ref(command, Some(arg), value).map_err(|_| {
            format!(
                "{:?} is neither true nor false (1, true, yes, on; 0, false, no, off)",
                value.display().to_string()
            )
        })?;
        return Ok(if is_on { vec![format!("--{key}").into()] } else { Vec::new() });
    }
    match (arg.get_value_delimiter(), value.to_str()) {
        (Some(delimiter), Some(list)) => {
            let values = list.split(delimiter).map(str::trim).filter(|value| !value.is_empty());
            Ok(values.map(|value| flag(key, value.as_ref())).collect())
        }
        _ => Ok(vec![flag(key, value)]),
    }
}

/// What follows the `=` of a flag.
fn value_of(flag: &OsStr) -> OsString {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let octets = flag.as_bytes();
    let start = octets.iter().position(|octet| *octet == b'=').map_or(octets.len(), |at| at + 1);
    OsString::from_vec(octets[start..].to_vec())
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

/// A name in the form of a key: `max_queued`, `--max-queued` and `SWITCHBOARD_MAX_QUEUED` are `max-queued`.
fn as_key(name: &str) -> String {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    name.trim_start_matches('-').to_lowercase().replace('_', "-")
}

/// The name that is most like the one given.
fn similar<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let rated = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(similarity, _)| *similarity > SIMILAR).map(|(_, known)| known)
}
