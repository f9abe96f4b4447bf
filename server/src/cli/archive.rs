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
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use switchboard::chat::{Refusal, compact_json, stored_room, stored_user};
use switchboard::history::sqlite;
use switchboard::history::sqlite::TransferError;
use switchboard::history::{Post, Record, Who};

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

/// A message as a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    room: String,
    seq: u64,
    time: u64,
    user: String,
    #[serde(default, skip_serializing_if = "is_false")]
    verified: bool,
    #[serde(default)]
    client: String,
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edited: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    deleted: bool,
    #[serde(default, skip_serializing_if = "Reactions::is_empty")]
    reactions: Reactions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// An object whose order is kept: `{"👍":["Ada","@Bob"]}`; `@` precedes the name of a verified user.
#[derive(Debug, Default)]
struct Reactions(Vec<(String, Vec<String>)>);

impl Reactions {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Reactions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(emoji, users)| (emoji, users)))
    }
}

impl<'de> Deserialize<'de> for Reactions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Reactions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of lists of users")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Reactions, M::Error> {
                let mut reactions = Vec::new();
                while let Some(reaction) = map.next_entry()? {
                    reactions.push(reaction);
                }
                Ok(Reactions(reactions))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

impl Line {
    fn new(room: &str, record: &Record) -> Self {
        let Record { post, edited, is_deleted, reactions } = record;
        let users = |users: &[Who]| users.iter().map(|who| who.label().into_owned()).collect();
        let reactions = reactions.iter().map(|(emoji, by)| (emoji.to_string(), users(by))).collect();
        Self {
            room: room.into(),
            seq: post.seq,
            time: post.time,
            user: post.user.to_string(),
            verified: post.is_verified,
            client: post.client.to_string(),
            text: post.text.to_string(),
            key: post.key.as_ref().map(ToString::to_string),
            edited: *edited,
            deleted: *is_deleted,
            reactions: Reactions(reactions),
            data: post.data.as_ref().and_then(|data| RawValue::from_string(data.as_str().to_owned()).ok()),
            reply_to: post.reply_to,
        }
    }

    fn into_message(self) -> Result<(Arc<str>, Record), LineError> {
        let room = stored_room(&self.room).map_err(LineError::Name)?;
        let user = |user: &str| {
            Ok::<Arc<str>, LineError>(stored_user(user).map_err(LineError::Name)?.as_ref().into())
        };
        let numbers = [self.seq, self.time, self.edited.unwrap_or(0), self.reply_to.unwrap_or(0)];
        if numbers.iter().any(|number| *number >= 1 << 53) {
            return Err(LineError::BigNumber);
        }
        let data = self.data.map(|data| compact_json(data.get())).transpose().map_err(LineError::Json)?;
        if self.deleted && (!self.text.is_empty() || data.is_some()) {
            return Err(LineError::DeletedText);
        }
        let reactions = self.reactions.0.iter().map(|(emoji, labels)| {
            let whose = |label: &String| {
                let Who { name, is_verified } = Who::from_label(label);
                Ok(Who { name: user(&name)?, is_verified })
            };
            let users = labels.iter().map(whose).collect::<Result<_, LineError>>()?;
            Ok((emoji.as_str().into(), users))
        });
        let reactions = reactions.collect::<Result<_, LineError>>()?;
        let record = Record {
            post: Post {
                seq: self.seq,
                time: self.time,
                user: user(&self.user)?,
                is_verified: self.verified,
                client: self.client.into(),
                text: self.text.into(),
                key: self.key.map(Into::into),
                data,
                reply_to: self.reply_to,
            },
            edited: self.edited,
            is_deleted: self.deleted,
            reactions,
        };
        Ok((room.as_ref().into(), record))
    }
}

/// What is wrong with a line.
#[derive(Debug)]
enum LineError {
    TooLong,
    Read(io::Error),
    Json(serde_json::Error),
    /// A name, in the chat's words.
    Name(Refusal),
    BigNumber,
    DeletedText,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "longer than {MAX_LINE} bytes"),
            Self::Read(error) => write!(f, "cannot read stdin: {error}"),
            Self::Json(error) => {
                let (column, what) = (error.column(), error.to_string());
                let what = what.split(" at line ").next().unwrap_or_default();
                let message = r#"{"room","seq","time","user","text"}"#;
                write!(f, "{what}, at column {column}; a message is {message}")
            }
            Self::Name(refusal) => f.write_str(&refusal.message),
            Self::BigNumber => f.write_str("numbers must be below 2^53"),
            Self::DeletedText => {
                f.write_str("the `text` of a deleted message must be empty, and it has no `data`")
            }
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
        let message = serde_json::from_slice::<Line>(&line).map_err(LineError::Json);
        Some(message.and_then(Line::into_message))
    }
}

pub(crate) fn backup(args: &BackupArgs) -> Result<(), TransferError> {
    sqlite::backup(&args.data.data, &args.to)?;
    tracing::info!("{} is a copy of {}", args.to.display(), args.data.data.display());
    Ok(())
}
