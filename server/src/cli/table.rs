//! The table of settings: what each flag is called everywhere, and what it means. It is read off the flags that clap knows, and
//! everything else that lists settings is made of it.

use clap::{Arg, ArgAction, Command};

/// What the name of every variable begins with: `--max-queued` is `SWITCHBOARD_MAX_QUEUED`.
pub(super) const PREFIX: &str = "SWITCHBOARD_";
/// The commands that serve.
pub(super) const SERVERS: [&str; 3] = ["serve", "echo", "fanout"];
/// Flags that are no settings.
const NO_SETTINGS: &[&str] = &["help", "version"];

/// How many values a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// On or off.
    Switch,
    One,
    List,
}

/// A setting of a command.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// The key in a file, and the flag without its dashes.
    pub(super) key: String,
    pub(super) kind: Kind,
    /// What stands for the value in the help, such as `FILE`.
    pub(super) value_name: String,
    pub(super) default: Option<String>,
    /// A default that is no value.
    pub(super) default_in_words: Option<String>,
    /// The values there are, where there are few.
    pub(super) choices: Vec<String>,
    /// The group in the help.
    pub(super) group: String,
    /// One line.
    pub(super) about: String,
    /// The rest of the description.
    pub(super) details: String,
}

impl Setting {
    fn of(arg: &Arg) -> Option<Self> {
        let key = arg.get_long().filter(|long| !NO_SETTINGS.contains(long))?.to_owned();
        let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let words = about.strip_suffix(']').and_then(|about| about.split_once(" [default: "));
        let long = arg.get_long_help().map(ToString::to_string).unwrap_or_default();
        let details = long.strip_prefix(&about).unwrap_or_default().trim().replace('\n', " ");
        let kind = match arg.get_action() {
            ArgAction::Append => Kind::List,
            action if action.takes_values() => Kind::One,
            _ => Kind::Switch,
        };
        let default = arg
            .get_default_values()
            .first()
            .filter(|_| kind != Kind::Switch && !arg.is_hide_default_value_set());
        let choices = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        Some(Self {
            value_name: arg
                .get_value_names()
                .and_then(|names| names.first())
                .map(ToString::to_string)
                .unwrap_or_default(),
            default: default.map(|default| default.display().to_string()),
            choices: if kind == Kind::Switch { Vec::new() } else { choices },
            group: arg.get_help_heading().unwrap_or("Options").to_owned(),
            key,
            kind,
            about: words.map_or(&*about, |(about, _)| about).to_owned(),
            default_in_words: words.map(|(_, words)| words.to_owned()),
            details,
        })
    }

    /// The default as TOML; for a setting without one what a value looks like.
    pub(super) fn sample(&self) -> String {
        match (self.kind, &self.default) {
            (Kind::Switch, _) => "false".to_owned(),
            (Kind::One, Some(default)) => toml_value(default),
            (Kind::One, None) => format!("{:?}", self.value_name),
            (Kind::List, _) if self.choices.is_empty() => format!("[{:?}]", self.value_name),
            (Kind::List, _) => toml_list(&self.choices),
        }
    }
}

/// The settings of a command, group by group.
pub(super) fn of(command: &Command) -> Vec<Setting> {
    let mut groups: Vec<(String, Vec<Setting>)> = Vec::new();
    for setting in command.get_arguments().filter_map(Setting::of) {
        match groups.iter_mut().find(|(group, _)| *group == setting.group) {
            Some((_, settings)) => settings.push(setting),
            None => groups.push((setting.group.clone(), vec![setting])),
        }
    }
    groups.into_iter().flat_map(|(_, settings)| settings).collect()
}

pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('-', "_").to_uppercase())
}

/// The keys of a command.
pub(super) fn keys(command: &Command) -> Vec<&str> {
    let longs = command.get_arguments().filter_map(Arg::get_long);
    longs.filter(|long| !NO_SETTINGS.contains(long)).collect()
}

/// The servers that have a setting: "`echo` and `fanout`". Nothing if there are none.
pub(super) fn servers_with(all: &Command, key: &str) -> String {
    let has = |name: &&str| all.find_subcommand(name).is_some_and(|command| keys(command).contains(&key));
    let names: Vec<String> =
        SERVERS.iter().filter(|name| has(name)).map(|name| format!("`{name}`")).collect();
    names.join(" and ")
}

/// The keys of a command and of all commands under it.
pub(super) fn all_keys(command: &Command) -> Vec<&str> {
    let mut found = keys(command);
    found.extend(command.get_subcommands().flat_map(all_keys));
    found
}

/// A number as it is, anything else in quotes.
pub(super) fn toml_value(text: &str) -> String {
    let is_number = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    if is_number { text.to_owned() } else { toml::Value::from(text).to_string() }
}

pub(super) fn toml_list(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| toml_value(value)).collect();
    format!("[{}]", values.join(", "))
}

/// Lines of at most `width` characters.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
