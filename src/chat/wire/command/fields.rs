//! The fields of a command, each once, with what they must be.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use simd_json::{Node, StaticNode};

use super::{Omit, Since};
use crate::chat::people::names;
use crate::chat::wire::data::compact;
use crate::chat::wire::refusal::{Code, Refusal};
use crate::history::Data;
use crate::text::is_blank;

/// Numbers are below this, so that every client can hold them.
pub(in crate::chat) const NUMBER_END: u64 = 1 << 53;
/// Bytes of an epoch, beyond which it is none of ours.
const MAX_EPOCH: usize = 128;

macro_rules! fields {
    ($($name:ident $text:literal),*) => {
        /// The fields that some command has.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::chat) enum Field { $($name),* }

        const COUNT: usize = [$($text),*].len();

        impl Field {
            fn find(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }

            pub(in crate::chat) fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

fields!(
    Type "type", Id "id", Room "room", Text "text", Key "key", Seq "seq", User "user", Token "token",
    Since "since", History "history", Emoji "emoji", Remove "remove", Before "before", Limit "limit",
    After "after", Page "page", Query "query", To "to", Reason "reason", Seconds "seconds", Epoch "epoch", Rev "rev",
    Prefix "prefix", Omit "omit", Data "data", ReplyTo "reply_to"
);

impl Field {
    #[cold]
    pub(in crate::chat) fn wrong(self, expected: &str) -> Refusal {
        let name = self.name();
        Refusal::field(Code::BadField, name, format!("`{name}` must be {expected}"))
    }

    #[cold]
    pub(in crate::chat) fn too_long(self, limit: usize) -> Refusal {
        let name = self.name();
        Refusal::field(Code::TooLong, name, format!("`{name}` is longer than {limit} bytes"))
    }
}

/// What is in a field; `null` is the same as nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::chat) enum Value<'a> {
    Absent,
    Text(&'a str),
    Number(u64),
    Flag(bool),
    /// The node of the tape at which an object begins, and how many it has.
    Object(usize, usize),
    /// The node of the tape after that of a list, and how many follow.
    List(usize, usize),
    Other,
}

/// The known fields of an object.
#[derive(Debug)]
pub(in crate::chat) struct Fields<'a> {
    values: [Value<'a>; COUNT],
    since: Option<[Value<'a>; 3]>,
}

impl<'a> Fields<'a> {
    /// Those of the object that is the whole tape. Fields that are not known are passed over; one that is occurs once.
    pub(in crate::chat) fn of_object(tape: &[Node<'a>], max_fields: usize) -> Result<Self, Refusal> {
        let mut fields = Self { values: [Value::Absent; COUNT], since: None };
        collect(tape, max_fields, |field, value| put(&mut fields.values[field as usize], field, value))?;
        if let Value::Object(at, count) = fields.values[Field::Since as usize] {
            let mut since = [Value::Absent; 3];
            collect(&tape[at..at + count], max_fields, |field, value| match field {
                Field::Epoch => put(&mut since[0], field, value),
                Field::Seq => put(&mut since[1], field, value),
                Field::Rev => put(&mut since[2], field, value),
                _ => Ok(()),
            })?;
            fields.since = Some(since);
        }
        Ok(fields)
    }

    pub(in crate::chat) fn value(&self, field: Field) -> Value<'a> {
        self.values[field as usize]
    }

    pub(in crate::chat) fn text(&self, field: Field, limit: usize) -> Result<Cow<'a, str>, Refusal> {
        self.optional_text(field, limit)?.ok_or_else(|| field.wrong("a string"))
    }

    pub(in crate::chat) fn optional_text(
        &self,
        field: Field,
        limit: usize,
    ) -> Result<Option<Cow<'a, str>>, Refusal> {
        match self.value(field) {
            Value::Text(text) if text.len() <= limit => Ok(Some(Cow::Borrowed(text))),
            Value::Text(_) => Err(field.too_long(limit)),
            Value::Absent => Ok(None),
            _ => Err(field.wrong("a string")),
        }
    }

    /// A text with something in it.
    pub(in crate::chat) fn said(&self, field: Field, limit: usize) -> Result<Cow<'a, str>, Refusal> {
        self.optional_said(field, limit)?.ok_or_else(|| field.wrong("a string"))
    }

    pub(in crate::chat) fn optional_said(
        &self,
        field: Field,
        limit: usize,
    ) -> Result<Option<Cow<'a, str>>, Refusal> {
        let text = self.optional_text(field, limit)?;
        match &text {
            Some(text) if is_blank(text) => Err(field.wrong("a string in which something can be seen")),
            _ => Ok(text),
        }
    }

    /// Something that may be a name; whether it is one is found out later, since most are known already.
    pub(in crate::chat) fn name(&self, field: Field) -> Result<Cow<'a, str>, Refusal> {
        self.optional_name(field)?.ok_or_else(|| field.wrong("a string"))
    }

    pub(in crate::chat) fn optional_name(&self, field: Field) -> Result<Option<Cow<'a, str>>, Refusal> {
        // `@` may stand before it.
        self.optional_text(field, names::MAX_LEN + 1)
    }

    /// One emoji of Unicode's list (UTS 51, RGI), in its one fully qualified form.
    pub(in crate::chat) fn emoji(&self, limit: usize) -> Result<Cow<'a, str>, Refusal> {
        let emoji = self.text(Field::Emoji, limit)?;
        match emojis::get(&emoji) {
            Some(emoji) => Ok(Cow::Borrowed(emoji.as_str())),
            None => Err(Field::Emoji.wrong("one emoji")),
        }
    }

    pub(in crate::chat) fn number(&self, field: Field) -> Result<u64, Refusal> {
        self.optional_number(field)?.ok_or_else(|| field.wrong("a whole number from 0 to 2^53 - 1"))
    }

    pub(in crate::chat) fn optional_number(&self, field: Field) -> Result<Option<u64>, Refusal> {
        match self.value(field) {
            Value::Number(number) => Ok(Some(number)),
            Value::Absent => Ok(None),
            _ => Err(field.wrong("a whole number from 0 to 2^53 - 1")),
        }
    }

    pub(in crate::chat) fn flag(&self, field: Field) -> Result<bool, Refusal> {
        match self.value(field) {
            Value::Flag(flag) => Ok(flag),
            Value::Absent => Ok(false),
            _ => Err(field.wrong("true or false")),
        }
    }

    /// `data`, out of the whole command as it came.
    pub(in crate::chat) fn data(&self, whole: Option<&[u8]>, limit: usize) -> Result<Option<Data>, Refusal> {
        if self.value(Field::Data) == Value::Absent {
            return Ok(None);
        }
        let whole = whole.ok_or_else(|| Field::Data.wrong("named without escapes"))?;
        carried(whole, limit)
    }

    /// `omit`, where the fields are those of this tape.
    pub(in crate::chat) fn omit(&self, tape: &[Node<'a>]) -> Result<Omit, Refusal> {
        match self.value(Field::Omit) {
            Value::Absent => Ok(Omit::default()),
            Value::List(at, count) => Omit::of_names(&tape[at..at + count]),
            _ => Err(Field::Omit.wrong("a list of strings")),
        }
    }

    /// `since`: an epoch of another server, in whatever form, is simply none of ours.
    pub(in crate::chat) fn since(&self) -> Result<Option<Since<'a>>, Refusal> {
        let wrong = || Field::Since.wrong("an object with `epoch` and `seq`");
        match (self.value(Field::Since), self.since) {
            (Value::Absent, _) => Ok(None),
            (_, Some([epoch, Value::Number(seq), rev])) => {
                let epoch = match epoch {
                    Value::Text(text) if text.len() <= MAX_EPOCH => text,
                    Value::Absent => return Err(wrong()),
                    _ => "",
                };
                let rev = match rev {
                    Value::Absent => None,
                    Value::Number(rev) => Some(rev),
                    _ => return Err(Field::Rev.wrong("a whole number from 0 to 2^53 - 1")),
                };
                Ok(Some(Since { epoch: Cow::Borrowed(epoch), seq, rev }))
            }
            _ => Err(wrong()),
        }
    }
}

/// What an object of JSON has in its field `data`, as it is written there.
pub(crate) fn carried(object: &[u8], limit: usize) -> Result<Option<Data>, Refusal> {
    let wrong = || Field::Data.wrong("a value of JSON");
    let Carrier { data } = serde_json::from_slice(object).map_err(|_| wrong())?;
    let Some(data) = data else { return Ok(None) };
    let data = compact(data.get()).map_err(|_| wrong())?;
    if data.as_str().len() > limit { Err(Field::Data.too_long(limit)) } else { Ok(Some(data)) }
}

/// The one field of a command that is passed on as it is.
#[derive(Deserialize)]
struct Carrier<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

fn put<'a>(place: &mut Value<'a>, field: Field, value: Value<'a>) -> Result<(), Refusal> {
    if *place != Value::Absent {
        return Err(field.wrong("there once"));
    }
    *place = value;
    Ok(())
}

/// Goes through the fields of the object at the beginning of the tape.
fn collect<'a>(
    tape: &[Node<'a>],
    max_fields: usize,
    mut found: impl FnMut(Field, Value<'a>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let Some(Node::Object { len, .. }) = tape.first() else {
        return Err(Refusal::new(Code::BadJson, "a command is a JSON object"));
    };
    if *len > max_fields {
        return Err(Refusal::new(Code::BadJson, format!("more than {max_fields} fields")));
    }
    let mut at = 1;
    for _ in 0..*len {
        let (Some(Node::String(name)), Some(node)) = (tape.get(at), tape.get(at + 1)) else { break };
        let (value, nodes) = value(node, at + 1);
        if let Some(field) = Field::find(name) {
            found(field, value)?;
        }
        at += 1 + nodes;
    }
    Ok(())
}

/// The value of a node, and how many nodes it has.
fn value<'a>(node: &Node<'a>, at: usize) -> (Value<'a>, usize) {
    match node {
        Node::String(text) => (Value::Text(text), 1),
        Node::Object { count, .. } => (Value::Object(at, count + 1), count + 1),
        Node::Array { count, .. } => (Value::List(at + 1, *count), count + 1),
        Node::Static(StaticNode::U64(number)) if *number < NUMBER_END => (Value::Number(*number), 1),
        Node::Static(StaticNode::Bool(flag)) => (Value::Flag(*flag), 1),
        Node::Static(StaticNode::Null) => (Value::Absent, 1),
        Node::Static(_) => (Value::Other, 1),
    }
}
