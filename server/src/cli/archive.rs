//! `switchboard export`, `import` and `backup`.

use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufWriter, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use switchboard::chat::archive::{self, Line};
use switchboard::history::Record;
use switchboard::history::sqlite;
use switchboard::history::sqlite::TransferError;

use super::SettingsArgs;

/// The longest line of an import.
const MAX_LINE: usize = 4 << 20;

#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "switchboard-data")]
    data: PathBuf,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    data: DataArgs,
    /// The room whose messages are wanted
    #[arg(long, value_name = "ROOM", required_unless_present = "all")]
    room: Option<String>,
    /// All rooms, one after the other
    #[arg(long, conflicts_with = "room")]
    all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    data: DataArgs,
    /// The directory that is made; a data directory like the other
    to: PathBuf,
}

impl ExportArgs {
    pub(super) fn settings(&self) -> &SettingsArgs {
        &self.data.settings
    }
}

impl ImportArgs {
    pub(super) fn settings(&self) -> &SettingsArgs {
        &self.data.settings
    }
}

impl BackupArgs {
    pub(super) fn settings(&self) -> &SettingsArgs {
        &self.data.settings
    }
}

/// What is wrong with a line.
#[derive(Debug)]
enum LineError {
    TooLong,
    Read(io::Error),
    Message(archive::LineError),
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "longer than {MAX_LINE} bytes"),
            Self::Read(error) => write!(f, "cannot read stdin: {error}"),
            Self::Message(error) => error.fmt(f),
        }
    }
}

impl Error for LineError {}

/// Lines of JSON on stdout.
pub(crate) fn export(args: &ExportArgs) -> Result<(), TransferError> {
    check_output(&args.data.data)
        .map_err(|error| TransferError::Io { doing: "write the messages".into(), error })?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written = sqlite::export(&args.data.data, args.room.as_deref(), |room, record| {
        serde_json::to_writer(&mut out, &Line::new(room, record))?;
        out.write_all(b"\n")
    });
    let io = |error| TransferError::Io { doing: "write the messages".into(), error };
    let counts = match written.and_then(|counts| out.flush().map(|()| counts).map_err(io)) {
        // The reader has seen enough.
        Err(TransferError::Io { error, .. }) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        counts => counts?,
    };
    tracing::info!("{} messages exported", counts.messages);
    match counts.damaged_rooms {
        0 => Ok(()),
        rooms => {
            Err(TransferError::Failed(format!("{rooms} rooms could not be read; the others are complete")))
        }
    }
}

/// Refuses to write into the history that is read.
fn check_output(data: &Path) -> io::Result<()> {
    let out = File::from(io::stdout().as_fd().try_clone_to_owned()?).metadata()?;
    for file in fs::read_dir(data).into_iter().flatten() {
        let file = file?.metadata()?;
        if (file.dev(), file.ino()) == (out.dev(), out.ino()) {
            return Err(io::Error::other("the output is a file of the data directory; choose another one"));
        }
    }
    Ok(())
}

/// Lines of JSON from stdin.
pub(crate) fn import(args: &ImportArgs) -> Result<(), TransferError> {
    let counts = sqlite::import(&args.data.data, Lines(io::stdin().lock()))?;
    tracing::info!("{} messages imported, {} were there already", counts.messages, counts.known);
    Ok(())
}

/// Messages out of lines; none is longer than it may be.
struct Lines<R>(R);

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<(Arc<str>, Record), LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match io::Read::take(&mut self.0, MAX_LINE as u64 + 1).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(len) if len > MAX_LINE => return Some(Err(LineError::TooLong)),
            Ok(_) => {}
            Err(error) => return Some(Err(LineError::Read(error))),
        }
        Some(Line::read(&line).map_err(LineError::Message))
    }
}

pub(crate) fn backup(args: &BackupArgs) -> Result<(), TransferError> {
    sqlite::backup(&args.data.data, &args.to)?;
    tracing::info!("{} is a copy of {}", args.to.display(), args.data.data.display());
    Ok(())
}
