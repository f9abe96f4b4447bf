//! What a client of `chat.v1.json` asks for, read in place from the payload of its message.

mod fields;
mod omit;

use std::borrow::Cow;
use std::fmt;

use memchr::memmem::Finder;
use serde::{Serialize, Serializer};
use simd_json::{Buffers, Node, Tape};

pub(in crate::chat) use self::fields::NUMBER_END;
pub(crate) use self::fields::carried;
use self::fields::{Field, Fields, Value};
pub use self::omit::Omit;
use crate::chat::limits::Limits;
use crate::chat::wire::refusal::{Code, Refusal};
use crate::history::{Data, Record};

/// Deepest nesting of a command.
const MAX_DEPTH: usize = 16;
/// Bytes of the `page` of a list: a time and a folded name.
const MAX_PAGE: usize = 512;
/// Bytes of a message that the buffers have room for from the beginning; they grow with what comes.
const FIRST_LEN: usize = 4096;

/// A client's own number or name of a command, which comes back in the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Id<'a> {
    /// None was given.
    #[default]
    None,
    /// A number below 2^53.
    Number(u64),
    /// A string.
    Text(Cow<'a, str>),
}

/// The history that a client knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since<'a> {
    /// Which history.
    pub epoch: Cow<'a, str>,
    /// The newest message.
    pub seq: u64,
    /// The newest change, if the client keeps count of them.
    pub rev: Option<u64>,
}

/// A command; its fields have the right types and are within their limits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of docs/chat-protocol.md, by name")]
pub enum Command<'a> {
    /// Says who speaks.
    Hello { user: Option<Cow<'a, str>>, token: Option<Cow<'a, str>>, omit: Omit },
    /// Enters a room.
    Join { room: Cow<'a, str>, since: Option<Since<'a>>, history: Option<u64> },
    /// Leaves a room.
    Leave { room: Cow<'a, str> },
    /// Says something.
    Post {
        room: Cow<'a, str>,
        text: Cow<'a, str>,
        key: Option<Cow<'a, str>>,
        data: Option<Data>,
        reply_to: Option<u64>,
    },
    /// Returns a message another text.
    Edit { room: Cow<'a, str>, seq: u64, text: Cow<'a, str>, data: Option<Data> },
    /// Takes a message's text away.
    Delete { room: Cow<'a, str>, seq: u64 },
    /// Reacts to a message, or takes that back.
    React { room: Cow<'a, str>, seq: u64, emoji: Cow<'a, str>, remove: bool },
    /// Reads back.
    History { room: Cow<'a, str>, before: Option<u64>, after: Option<u64>, limit: Option<u64> },
    /// Looks for messages.
    Search { room: Cow<'a, str>, query: Cow<'a, str>, limit: Option<u64> },
    /// Lists the conversations of two that one has.
    Conversations { page: Option<Cow<'a, str>>, limit: Option<u64> },
    /// Subscribes to a room, or does so no more.
    Subscribe { room: Cow<'a, str>, is_on: bool },
    /// Lists the rooms that one has subscribed to, and one's conversations of two.
    Mine { page: Option<Cow<'a, str>>, limit: Option<u64> },
    /// Lists the rooms that one may join.
    Rooms { prefix: Option<Cow<'a, str>>, after: Option<Cow<'a, str>>, limit: Option<u64> },
    /// Brings the token that follows the one of `hello`.
    Refresh { token: Cow<'a, str> },
    /// Wants a sign of life.
    Ping,
    /// Lists the members.
    Who { room: Cow<'a, str> },
    /// Is about to say something.
    Typing { room: Cow<'a, str> },
    /// Has read up to here.
    Read { room: Cow<'a, str>, seq: u64 },
    /// Says something to one user.
    Direct {
        to: Cow<'a, str>,
        text: Cow<'a, str>,
        key: Option<Cow<'a, str>>,
        data: Option<Data>,
        reply_to: Option<u64>,
    },
    /// Removes a user from a room.
    Kick { room: Cow<'a, str>, user: Cow<'a, str>, reason: Option<Cow<'a, str>> },
    /// Bans a user.
    Ban { user: Cow<'a, str>, seconds: Option<u64>, reason: Option<Cow<'a, str>> },
    /// Lifts a ban.
    Unban { user: Cow<'a, str> },
    /// Takes a message of an archive in; no client can say this.
    Import { room: Cow<'a, str>, record: Box<Record> },
}

/// Reads commands; its buffers serve one after another.
pub struct Parser {
    buffers: Buffers,
    tape: Tape<'static>,
    /// Looks for the field that is passed on as it is.
    data: Finder<'static>,
    /// A command that may have it, as it came: what is parsed is not the same afterwards.
    whole: Vec<u8>,
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            buffers: Buffers::with_max_depth(FIRST_LEN, MAX_DEPTH),
            tape: Tape(Vec::with_capacity(FIRST_LEN / 8)),
            data: Finder::new(b"\"data\""),
            whole: Vec::new(),
        }
    }
}

impl Parser {
    /// Reads a command. What it holds lies in the payload, which is not the same afterwards.
    ///
    /// # Errors
    /// What is wrong with it; with the `id`, if there was one.
    pub fn parse<'a>(
        &mut self,
        payload: &'a mut [u8],
        limits: &Limits,
    ) -> Result<(Id<'a>, Command<'a>), (Id<'a>, Refusal)> {
        self.whole.clear();
        if self.data.find(payload).is_some() {
            self.whole.extend_from_slice(payload);
        }
        let whole = (!self.whole.is_empty()).then_some(&*self.whole);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let parsed = simd_json::fill_tape(payload, &mut self.buffers, &mut tape);
        let result = match parsed {
            Ok(()) => read(&tape.0, whole, limits),
            Err(_) => {
                Err((Id::None, Refusal::new(Code::BadJson, "this is no JSON, or it is nested too deep")))
            }
        };
        self.tape = tape.reset();
        result
    }
}

fn read<'a>(
    tape: &[Node<'a>],
    whole: Option<&[u8]>,
    limits: &Limits,
) -> Result<(Id<'a>, Command<'a>), (Id<'a>, Refusal)> {
    let fields = Fields::of_object(tape, limits.max_fields);
    let fields = fields.map_err(|refusal| (Id::None, refusal))?;
    let id = id(&fields, limits).map_err(|refusal| (Id::None, refusal))?;
    match command(&fields, (tape, whole), limits) {
        Ok(command) => Ok((id, command)),
        Err(refusal) => Err((id, refusal)),
    }
}

fn id<'a>(fields: &Fields<'a>, limits: &Limits) -> Result<Id<'a>, Refusal> {
    match fields.value(Field::Id) {
        Value::Absent => Ok(Id::None),
        Value::Number(number) => Ok(Id::Number(number)),
        Value::Text(text) if text.len() <= limits.max_id => Ok(Id::Text(Cow::Borrowed(text))),
        Value::Text(_) => Err(Field::Id.too_long(limits.max_id)),
        _ => Err(Field::Id.wrong("a number below 2^53 or a string")),
    }
}

fn command<'a>(
    fields: &Fields<'a>,
    (tape, whole): (&[Node<'a>], Option<&[u8]>),
    limits: &Limits,
) -> Result<Command<'a>, Refusal> {
    let room = || fields.name(Field::Room);
    let seq = || fields.number(Field::Seq);
    let text = || fields.said(Field::Text, limits.max_text);
    let key = || fields.optional_said(Field::Key, limits.max_key);
    let data = || fields.data(whole, limits.max_data);
    let reply_to = || fields.optional_number(Field::ReplyTo);
    let limit = || fields.optional_number(Field::Limit);
    Ok(match fields.text(Field::Type, usize::MAX)?.as_ref() {
        "post" => {
            Command::Post { room: room()?, text: text()?, key: key()?, data: data()?, reply_to: reply_to()? }
        }
        "typing" => Command::Typing { room: room()? },
        "read" => Command::Read { room: room()?, seq: seq()? },
        "hello" => Command::Hello {
            user: fields.optional_name(Field::User)?,
            token: fields.optional_text(Field::Token, limits.max_token)?,
            omit: fields.omit(tape)?,
        },
        "join" => Command::Join {
            room: room()?,
            since: fields.since()?,
            history: fields.optional_number(Field::History)?,
        },
        "leave" => Command::Leave { room: room()? },
        "edit" => Command::Edit { room: room()?, seq: seq()?, text: text()?, data: data()? },
        "delete" => Command::Delete { room: room()?, seq: seq()? },
        "react" => Command::React {
            room: room()?,
            seq: seq()?,
            emoji: fields.emoji(limits.max_emoji)?,
            remove: fields.flag(Field::Remove)?,
        },
        "history" => Command::History {
            room: room()?,
            before: fields.optional_number(Field::Before)?,
            after: fields.optional_number(Field::After)?,
            limit: limit()?,
        },
        "search" => Command::Search {
            room: room()?,
            query: fields.said(Field::Query, limits.max_query)?,
            limit: limit()?,
        },
        "who" => Command::Who { room: room()? },
        "direct" => Command::Direct {
            to: fields.name(Field::To)?,
            text: text()?,
            key: key()?,
            data: data()?,
            reply_to: reply_to()?,
        },
        kind => return other_command(kind, fields, limits),
    })
}

/// The commands that few give, and few often.
fn other_command<'a>(kind: &str, fields: &Fields<'a>, limits: &Limits) -> Result<Command<'a>, Refusal> {
    let room = || fields.name(Field::Room);
    let reason = || fields.optional_text(Field::Reason, limits.max_reason);
    let limit = || fields.optional_number(Field::Limit);
    Ok(match kind {
        "conversations" => {
            Command::Conversations { page: fields.optional_text(Field::Page, MAX_PAGE)?, limit: limit()? }
        }
        "rooms" => Command::Rooms {
            prefix: fields.optional_name(Field::Prefix)?,
            after: fields.optional_name(Field::After)?,
            limit: limit()?,
        },
        "subscribe" => Command::Subscribe { room: room()?, is_on: true },
        "unsubscribe" => Command::Subscribe { room: room()?, is_on: false },
        "mine" => Command::Mine { page: fields.optional_text(Field::Page, MAX_PAGE)?, limit: limit()? },
        "refresh" => Command::Refresh { token: fields.text(Field::Token, limits.max_token)? },
        "ping" => Command::Ping,
        "kick" => Command::Kick { room: room()?, user: fields.name(Field::User)?, reason: reason()? },
        "ban" => Command::Ban {
            user: fields.name(Field::User)?,
            seconds: fields.optional_number(Field::Seconds)?,
            reason: reason()?,
        },
        "unban" => Command::Unban { user: fields.name(Field::User)? },
        _ => return Err(Refusal::field(Code::UnknownType, "type", "there is no command of this type")),
    })
}

/// A text with a buffer of its own.
fn own(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

impl Id<'_> {
    /// The same, for longer than the message that it came in.
    #[must_use]
    pub fn into_owned(self) -> Id<'static> {
        match self {
            Self::None => Id::None,
            Self::Number(number) => Id::Number(number),
            Self::Text(text) => Id::Text(own(text)),
        }
    }

    pub(in crate::chat) fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl Serialize for Id<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_none(),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl Since<'_> {
    pub(in crate::chat) fn into_owned(self) -> Since<'static> {
        Since { epoch: own(self.epoch), seq: self.seq, rev: self.rev }
    }
}

impl Command<'_> {
    /// The same, for longer than the message that it came in.
    #[must_use]
    pub fn into_owned(self) -> Command<'static> {
        match self {
            Self::Hello { user, token, omit } => {
                Command::Hello { user: user.map(own), token: token.map(own), omit }
            }
            Self::Join { room, since, history } => {
                Command::Join { room: own(room), since: since.map(Since::into_owned), history }
            }
            Self::Leave { room } => Command::Leave { room: own(room) },
            Self::Post { room, text, key, data, reply_to } => {
                Command::Post { room: own(room), text: own(text), key: key.map(own), data, reply_to }
            }
            Self::Edit { room, seq, text, data } => {
                Command::Edit { room: own(room), seq, text: own(text), data }
            }
            Self::Delete { room, seq } => Command::Delete { room: own(room), seq },
            Self::React { room, seq, emoji, remove } => {
                Command::React { room: own(room), seq, emoji: own(emoji), remove }
            }
            Self::History { room, before, after, limit } => {
                Command::History { room: own(room), before, after, limit }
            }
            Self::Search { room, query, limit } => {
                Command::Search { room: own(room), query: own(query), limit }
            }
            Self::Conversations { page, limit } => Command::Conversations { page: page.map(own), limit },
            Self::Rooms { prefix, after, limit } => {
                Command::Rooms { prefix: prefix.map(own), after: after.map(own), limit }
            }
            Self::Subscribe { room, is_on } => Command::Subscribe { room: own(room), is_on },
            Self::Mine { page, limit } => Command::Mine { page: page.map(own), limit },
            Self::Refresh { token } => Command::Refresh { token: own(token) },
            Self::Ping => Command::Ping,
            Self::Who { room } => Command::Who { room: own(room) },
            Self::Typing { room } => Command::Typing { room: own(room) },
            Self::Read { room, seq } => Command::Read { room: own(room), seq },
            Self::Direct { to, text, key, data, reply_to } => {
                Command::Direct { to: own(to), text: own(text), key: key.map(own), data, reply_to }
            }
            Self::Kick { room, user, reason } => {
                Command::Kick { room: own(room), user: own(user), reason: reason.map(own) }
            }
            Self::Ban { user, seconds, reason } => {
                Command::Ban { user: own(user), seconds, reason: reason.map(own) }
            }
            Self::Unban { user } => Command::Unban { user: own(user) },
            Self::Import { room, record } => Command::Import { room: own(room), record },
        }
    }

    /// Whether it counts as a post where rates are limited.
    pub(in crate::chat) fn is_post(&self) -> bool {
        matches!(
            self,
            Self::Post { .. }
                | Self::Edit { .. }
                | Self::Delete { .. }
                | Self::React { .. }
                | Self::Direct { .. }
        )
    }

    /// The room that it is about, and that must be open for it.
    pub(in crate::chat) fn room(&self) -> Option<&str> {
        match self {
            Self::Join { room, .. }
            | Self::Leave { room }
            | Self::Post { room, .. }
            | Self::Edit { room, .. }
            | Self::Delete { room, .. }
            | Self::React { room, .. }
            | Self::History { room, .. }
            | Self::Search { room, .. }
            | Self::Who { room }
            | Self::Typing { room }
            | Self::Read { room, .. }
            | Self::Kick { room, .. }
            | Self::Import { room, .. } => Some(room),
            Self::Hello { .. }
            | Self::Conversations { .. }
            | Self::Rooms { .. }
            | Self::Subscribe { .. }
            | Self::Mine { .. }
            | Self::Refresh { .. }
            | Self::Ping
            | Self::Direct { .. }
            | Self::Ban { .. }
            | Self::Unban { .. } => None,
        }
    }
}
