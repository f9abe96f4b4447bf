//! `switchboard config`: a sample of the file, a check of one, and what the settings are in the end.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Subcommand, ValueEnum};

use super::settings::{Effective, Origin};
use super::table;
use super::{BenchArgs, Cli, CommonArgs, ServeArgs, SettingsArgs};
use crate::{Failure, serve};

/// Columns of a line of the sample.
const WIDTH: usize = 98;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print a sample of the file of --config: all keys with their defaults, as comments
    Generate(GenerateArgs),
    /// Check a file, its keys and values, and the files that it names
    ///
    /// The environment and flags count as they do for the server, whose flags this command takes. Every error names
    /// the file, the line and the key. The exit code is 2 when something is wrong.
    Check(Box<CheckArgs>),
    /// Print the settings that a server would have, and where each comes from
    ///
    /// The output is TOML. A comment says where a value comes from: a default, a flag, a variable, or a line of a file.
    /// This command takes the flags of the server. Secrets are not shown.
    Show(Box<ShowArgs>),
}

/// The commands that serve.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Server {
    Serve,
    Echo,
    Fanout,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Echo => "echo",
            Self::Fanout => "fanout",
        }
    }
}

/// Which server a command talks about.
#[derive(Debug, Args)]
pub(crate) struct ForArgs {
    /// Command whose settings are wanted
    #[arg(long = "for", value_name = "COMMAND", value_enum, default_value = "serve")]
    server: Server,
}

impl ForArgs {
    /// The server that a command line names; `serve` unless it names another one.
    fn server(matches: &ArgMatches) -> Server {
        Self::from_arg_matches(matches).map_or(Server::Serve, |args| args.server)
    }
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    of: ForArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// File to check, in the place of --config
    #[arg(id = "checked_file", value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    #[command(flatten)]
    of: ForArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    of: ForArgs,
    #[command(flatten)]
    server: ServerArgs,
    /// What the settings are.
    #[arg(skip)]
    pub(super) effective: Vec<Effective>,
}

/// The settings of the server that a command talks about.
///
/// The command takes the flags of all servers; `Cli` refuses those that this one does not have.
#[derive(Debug)]
pub(crate) enum ServerArgs {
    Serve(Box<ServeArgs>),
    Bench(Box<BenchArgs>),
}

impl ServerArgs {
    fn common(&self) -> &CommonArgs {
        match self {
            Self::Serve(args) => &args.common,
            Self::Bench(args) => &args.common,
        }
    }

    fn as_serve(&mut self) -> Option<&mut ServeArgs> {
        match self {
            Self::Serve(args) => Some(args),
            Self::Bench(_) => None,
        }
    }
}

impl FromArgMatches for ServerArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(match ForArgs::server(matches) {
            Server::Serve => Self::Serve(Box::new(ServeArgs::from_arg_matches(matches)?)),
            Server::Echo | Server::Fanout => Self::Bench(Box::new(BenchArgs::from_arg_matches(matches)?)),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ServerArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = ServeArgs::augment_args(command);
        let bench = BenchArgs::augment_args(clap::Command::default());
        let is_new = |arg: &&clap::Arg| command.get_arguments().all(|known| known.get_id() != arg.get_id());
        let new: Vec<clap::Arg> = bench.get_arguments().filter(is_new).cloned().collect();
        command.args(new)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl ConfigCommand {
    /// The settings of `serve`, if it is what the command talks about.
    pub(super) fn serve_args(&mut self) -> Option<&mut ServeArgs> {
        match self {
            Self::Generate(_) => None,
            Self::Check(args) => args.server.as_serve(),
            Self::Show(args) => args.server.as_serve(),
        }
    }

    pub(super) fn settings(&self) -> &SettingsArgs {
        match self {
            Self::Generate(args) => &args.settings,
            Self::Check(args) => &args.server.common().settings,
            Self::Show(args) => &args.server.common().settings,
        }
    }
}

/// The server that the command line asks to check or to show.
pub(super) fn server(matches: &ArgMatches) -> Option<&'static str> {
    let Some(("config", matches)) = matches.subcommand() else { return None };
    let (_, matches) = matches.subcommand().filter(|(name, _)| ["check", "show"].contains(name))?;
    Some(ForArgs::server(matches).name())
}

/// Does what the command says; returns what goes to standard output.
pub(crate) fn run(command: &ConfigCommand) -> Result<String, Failure> {
    match command {
        ConfigCommand::Generate(args) => Ok(sample(args.of.server.name())),
        ConfigCommand::Check(args) => {
            match &args.server {
                ServerArgs::Serve(args) => serve::check(args)?,
                ServerArgs::Bench(args) => args.common.check(&args.listen, &BenchArgs::default_place())?,
            }
            let file = args.file.as_ref().or(args.server.common().settings.config.as_ref());
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
