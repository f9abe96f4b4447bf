//! `switchboard completions` and `switchboard man`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, SettingsArgs};
use crate::{Failure, version};

/// The heading that clap gives to what stands under the help of a command.
const EXTRA: &str = ".SH EXTRA";

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
    let mut all = Cli::command().disable_help_subcommand(true);
    all.build();
    if let Some(dir) = &args.dir {
        write_all(&all, dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        return Ok(None);
    }
    let mut command = &all;
    for name in &args.command {
        command = command.find_subcommand(name).ok_or_else(|| format!("there is no command {name:?}"))?;
    }
    Ok(Some(page(command)?.trim_end().to_owned()))
}

/// Writes the page of a command and those of all commands under it.
fn write_all(command: &clap::Command, dir: &Path) -> io::Result<()> {
    for command in command.get_subcommands() {
        write_all(command, dir)?;
    }
    fs::write(dir.join(format!("{}.1", name(command))), page(command)?)
}

fn name(command: &clap::Command) -> &str {
    command.get_display_name().unwrap_or("switchboard")
}

fn page(command: &clap::Command) -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(name(command).to_uppercase())
        .date(version::DATE)
        .source(format!("Switchboard {}", version::SHORT))
        .manual("Switchboard")
        .render(&mut page)?;
    Ok(with_sections(&String::from_utf8_lossy(&page)))
}

/// What stands under the help of a command gets sections of its own: clap puts all of it under EXTRA.
fn with_sections(page: &str) -> String {
    let mut text = String::new();
    let (mut is_extra, mut is_verbatim) = (false, false);
    for line in page.lines() {
        let heading = line.strip_suffix(':').filter(|line| is_extra && !line.starts_with(' '));
        is_extra = line == EXTRA || is_extra && !line.starts_with(".SH ");
        if is_verbatim && (heading.is_some() || !is_extra) {
            text.push_str(".fi\n");
            is_verbatim = false;
        }
        match heading {
            Some(heading) => {
                let _ = writeln!(text, ".SH {}\n.nf", heading.to_uppercase().replace("CODES", "STATUS"));
                is_verbatim = true;
            }
            None if line == EXTRA || is_extra && line.is_empty() => {}
            None => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_and_exit_codes_are_sections_of_a_page() {
        let rendered =
            ".SH OPTIONS\nA:\n.SH EXTRA\nExamples:\n  a \\-\\-b\n\nExit codes:\n  0  good\n.SH VERSION\nv1\n";
        let expected = ".SH OPTIONS\nA:\n.SH EXAMPLES\n.nf\n  a \\-\\-b\n.fi\n.SH EXIT STATUS\n.nf\n  0  good\n.fi\n\
                        .SH VERSION\nv1\n";
        assert_eq!(with_sections(rendered), expected);
        let page = with_sections(".SH EXTRA\nExamples:\n  a\n");
        assert_eq!(page, ".SH EXAMPLES\n.nf\n  a\n", "the end of a page ends it, too");
    }
}
