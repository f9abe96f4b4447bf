//! Messages as lines of JSON: what an export writes and an import reads.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::chat::{Refusal, compact_json, stored_room, stored_user};
use crate::history::{Post, Record, Who};

/// A message as a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
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
    /// A message of a room.
    #[must_use]
    pub fn new(room: &str, record: &Record) -> Self {
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

    /// Reads a line: the room's name as the history has it, and the message.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn read(line: &[u8]) -> Result<(Arc<str>, Record), LineError> {
        serde_json::from_slice::<Self>(line).map_err(LineError::Json)?.into_message()
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
#[non_exhaustive]
pub enum LineError {
    /// It is no message in JSON.
    Json(serde_json::Error),
    /// A name, in the chat's words.
    Name(Refusal),
    /// A number that not every client could hold.
    BigNumber,
    /// A deleted message has no text and no data.
    DeletedText,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
