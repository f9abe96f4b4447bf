//! `switchboard config`: a sample of the file, a check of one, and what the settings are in the end.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Subcommand, ValueEnum};

use super::settings::{Effective, Origin};
use super::table;
use super::{Cli, ServeArgs, SettingsArgs};
use crate::{Failure, serve};

/// Columns of a line of the sample.
const WIDTH: usize = 98;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print a sample of the file of --config: all keys with their defaults, as comments
    Generate(GenerateArgs),
    /// Check a file, its keys and values, and the files that it names
    ///
    /// The environment and flags count as they do for `serve`, whose flags this command takes. Every error names the
    /// file, the line and the key. The exit code is 2 when something is wrong.
    Check(Box<CheckArgs>),
    /// Print the settings that a server would have, and where each comes from
    ///
    /// The output is TOML. A comment says where a value comes from: a default, a flag, a variable, or a line of a file.
    /// This command takes the flags of `serve`. Secrets are not shown.
    Show(Box<ShowArgs>),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Server {
    Serve,
    Echo,
    Fanout,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// Command whose keys are wanted
    #[arg(long = "for", value_name = "COMMAND", value_enum, default_value = "serve")]
    server: Server,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// File to check, in the place of --config
    #[arg(id = "checked_file", value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) serve: ServeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(super) serve: ServeArgs,
    /// What the settings are.
    #[arg(skip)]
    pub(super) effective: Vec<Effective>,
}

impl ConfigCommand {
    pub(super) fn settings(&self) -> &SettingsArgs {
        match self {
            Self::Generate(args) => &args.settings,
            Self::Check(args) => &args.serve.common.settings,
            Self::Show(args) => &args.serve.common.settings,
        }
    }
}

/// Does what the command says; returns what goes to standard output.
pub(crate) fn run(command: &ConfigCommand) -> Result<String, Failure> {
    match command {
        ConfigCommand::Generate(args) => {
            let name = match args.server {
                Server::Serve => "serve",
                Server::Echo => "echo",
                Server::Fanout => "fanout",
            };
            Ok(sample(name))
        }
        ConfigCommand::Check(args) => {
            serve::check(&args.serve)?;
            let file = args.file.as_ref().or(args.serve.common.settings.config.as_ref());
            Ok(match file {
                Some(file) => format!("{} is valid", file.display()),
                None => "the settings are valid; there is no file".to_owned(),
            })
        }
        ConfigCommand::Show(args) => Ok(shown(&args.effective)),
    }
}

/// A file in which every line is a comment.
pub(super) fn sample(name: &str) -> String {
    let all = Cli::command();
    let settings = all.find_subcommand(name).map(table::of).unwrap_or_default();
    let mut text = format!(
        "# Settings of `switchboard {name}`. Each key has its default here, or an example where there is none.\n\
         # Take away the # before a key to set it. Flags (--KEY) and variables (SWITCHBOARD_KEY) take precedence.\n"
    );
    let mut group = "";
    for setting in settings.iter().filter(|setting| setting.key != "config") {
        if setting.group != group {
            group = &setting.group;
            let _ = write!(text, "\n# ---- {group}\n");
        }
        text.push('\n');
        for paragraph in [&setting.about, &setting.details] {
            for line in table::wrapped(paragraph, WIDTH).iter().filter(|line| !line.is_empty()) {
                let _ = writeln!(text, "# {line}");
            }
        }
        if let Some(default) = &setting.default_in_words {
            let _ = writeln!(text, "# Default: {default}");
        }
        if !setting.choices.is_empty() {
            let _ = writeln!(text, "# One of: {}", setting.choices.join(", "));
        }
        let _ = writeln!(text, "#{} = {}", setting.key, setting.sample());
    }
    text.trim_end().to_owned()
}

/// Lines of TOML, each with where its value comes from. What is not set is a comment, so that the output is a file that says the
/// same.
fn shown(effective: &[Effective]) -> String {
    let line = |it: &Effective| match &it.value {
        Some(value) if it.origin == Origin::Default => format!("#{} = {value}", it.setting.key),
        Some(value) => format!("{} = {value}", it.setting.key),
        None => format!("#{} =", it.setting.key),
    };
    let lines: Vec<(String, &Origin)> = effective.iter().map(|it| (line(it), &it.origin)).collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).filter(|width| *width < 60).max();
    let width = width.unwrap_or_default();
    let lines: Vec<String> =
        lines.iter().map(|(line, origin)| format!("{line:<width$}  # {origin}")).collect();
    lines.join("\n")
}
