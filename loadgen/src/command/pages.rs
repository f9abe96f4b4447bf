//! `loadgen completions` and `loadgen man`.

use std::io::{self, Write as _};

use clap::CommandFactory as _;

use super::cli::{Cli, CompletionsArgs, ManArgs};
use crate::input::error::Failure;

/// Prints the script of a shell. Returns the exit status.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "loadgen", &mut script);
    show(&script)
}

/// Prints a page in roff, or writes all of them into a directory. Returns the exit status.
pub(crate) fn man(args: &ManArgs) -> Result<u8, Failure> {
    let mut all = Cli::command();
    if let Some(directory) = &args.dir {
        clap_mangen::generate_to(all, directory)
            .map_err(|error| format!("--dir {}: {error}", directory.display()))?;
        return Ok(0);
    }
    all.build();
    let command = match &args.subcommand {
        Some(name) => all
            .find_subcommand(name)
            .ok_or_else(|| format!("there is no subcommand {name}; see loadgen --help"))?,
        None => &all,
    };
    let name = command.get_display_name().unwrap_or("loadgen").to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut page)?;
    show(&page)
}

fn show(page: &[u8]) -> Result<u8, Failure> {
    match io::stdout().write_all(page) {
        // The reader has closed the pipe, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        done => done?,
    }
    Ok(0)
}
