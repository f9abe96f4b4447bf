//! `switchboard completions` and `switchboard man`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, SettingsArgs};
use crate::Failure;

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell that completes
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Command whose page is wanted, such as `token mint` [default: the page of switchboard]
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<String>,
    /// Write the pages of all commands into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
}

/// The script of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> String {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "switchboard", &mut script);
    String::from_utf8_lossy(&script).trim_end().to_owned()
}

/// A page in roff; nothing where all pages went into a directory.
pub(crate) fn man(args: &ManArgs) -> Result<Option<String>, Failure> {
    let mut all = Cli::command();
    if let Some(dir) = &args.dir {
        clap_mangen::generate_to(all, dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        return Ok(None);
    }
    all.build();
    let mut command = &all;
    for name in &args.command {
        command = command.find_subcommand(name).ok_or_else(|| format!("there is no command {name:?}"))?;
    }
    let mut page = Vec::new();
    let name = command.get_display_name().unwrap_or("switchboard").to_owned();
    clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut page)?;
    Ok(Some(String::from_utf8_lossy(&page).trim_end().to_owned()))
}
