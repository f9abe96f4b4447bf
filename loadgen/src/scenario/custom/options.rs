//! The options of the scenario `custom` that say what is sent and what comes back.

use std::path::PathBuf;

use clap::Args;

use super::profile::Profile;

/// What is sent, and what comes back.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CustomOptions {
    /// A protocol whose opening, messages and answers are built in; the options below replace its parts
    #[arg(long, value_enum)]
    pub(super) profile: Option<Profile>,
    /// Messages, sent in turn: one on each line or, in a .json file, the elements of an array or one value. Placeholders:
    /// {{seq}} and {{seq+N}} (number of the message on its connection), {{conn}} (number of the connection), {{random:N}}
    /// (N letters and digits), {{now}} (milliseconds since 1970),
    /// {{lf}} and {{nul}} (a line feed, and the octet 0)
    #[arg(long, value_name = "FILE")]
    pub(super) payload: Option<PathBuf>,
    /// Lines that are sent before the first message; a line '< PATTERN' waits for a message that matches the regular
    /// expression, and its groups `(?<name>…)` are placeholders {{name}} from then on
    #[arg(long, value_name = "FILE")]
    pub(super) on_open: Option<PathBuf>,
    /// How to recognise an answer: a regular expression, or a field of JSON as $.path or $.path=VALUE; {{seq}} in VALUE
    /// (the default) or a group `(?<seq>…)` names the message that is answered; other messages are ignored; may be repeated
    /// [default: every message answers the oldest one]
    #[arg(long, value_name = "PATTERN|$.PATH[=VALUE]")]
    pub(super) expect: Vec<String>,
    /// Each line of a message of the server is a message of its own, as several replies of Centrifugo are
    #[arg(long)]
    pub(super) lines: bool,
    /// Answer a message of the server, such as its ping: regular expression and text; may be repeated
    #[arg(long, value_name = "PATTERN=>TEXT")]
    pub(super) reply: Vec<String>,
    /// A message of the server that matches this regular expression is a failure
    #[arg(long, value_name = "PATTERN")]
    pub(super) fail_on: Option<String>,
    /// The value of a placeholder {{NAME}}; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) set: Vec<String>,
    /// Send binary messages instead of text
    #[arg(long)]
    pub(super) binary: bool,
}
