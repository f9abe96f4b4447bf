//! Messages as an application sees them.

use super::buffer::Buffer;
use super::frame::{Opcode, write_plain_frame};

/// Text or binary (RFC 6455 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageKind {
    /// Opcode 1: the payload is UTF-8.
    Text = 1,
    /// Opcode 2: the payload is any octets.
    Binary = 2,
}

impl MessageKind {
    /// The opcode of a message's first frame.
    #[inline]
    pub(super) fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}

/// A whole message that arrived. The payload of a [`MessageKind::Text`] message is valid UTF-8.
#[derive(Debug)]
pub struct Message<'b> {
    /// Text or binary.
    pub kind: MessageKind,
    /// The unmasked octets; mutable, so that a parser may work in place.
    pub payload: &'b mut [u8],
}

impl Message<'_> {
    /// The text, or `None` for a binary message.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self.kind {
            MessageKind::Text => simdutf8::basic::from_utf8(self.payload).ok(),
            MessageKind::Binary => None,
        }
    }

    /// The same message, to be sent.
    #[must_use]
    #[inline]
    pub fn as_outgoing(&self) -> Outgoing<'_> {
        Outgoing { kind: self.kind, may_compress: true, payload: self.payload }
    }
}

/// A whole message in a buffer of its own. The payload of text is valid UTF-8.
#[derive(Debug)]
pub struct OwnedMessage {
    kind: MessageKind,
    payload: Buffer,
}

impl OwnedMessage {
    /// A message that arrived; the payload of text was validated.
    pub(crate) fn new(kind: MessageKind, payload: Buffer) -> Self {
        Self { kind, payload }
    }

    /// The message, lent.
    pub fn as_message(&mut self) -> Message<'_> {
        Message { kind: self.kind, payload: &mut self.payload }
    }

    /// The same message, to be sent.
    #[must_use]
    pub fn as_outgoing(&self) -> Outgoing<'_> {
        Outgoing { kind: self.kind, may_compress: true, payload: &self.payload }
    }

    /// The unmasked octets.
    #[must_use]
    pub fn into_payload(self) -> Buffer {
        self.payload
    }
}

/// A piece of a message that arrives in several; pieces come in order, and nothing of another message between them.
#[derive(Debug)]
pub struct Chunk<'b> {
    /// What the whole message is.
    pub kind: MessageKind,
    /// The unmasked octets. Those of text are valid as far as they go; a piece may end inside a code point.
    pub payload: &'b mut [u8],
    /// The message ends with this piece, which may be empty.
    pub is_last: bool,
}

/// A message to be sent. Text can only be made from text, so what goes out is valid UTF-8.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    kind: MessageKind,
    may_compress: bool,
    payload: &'a [u8],
}

impl<'a> Outgoing<'a> {
    /// A message out of its parts; the payload of text is valid UTF-8.
    pub(crate) fn new(kind: MessageKind, payload: &'a [u8], may_compress: bool) -> Self {
        Self { kind, may_compress, payload }
    }

    /// A text message.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self { kind: MessageKind::Text, may_compress: true, payload: text.as_bytes() }
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: &'a [u8]) -> Self {
        Self { kind: MessageKind::Binary, may_compress: true, payload: bytes }
    }

    /// The same message, never to be compressed: for what is compressed already, and for secrets. Where a secret and
    /// text of an attacker's choice are compressed together, the length betrays the secret (CRIME, BREACH); with
    /// context takeover "together" means in the same connection.
    #[must_use]
    pub fn uncompressed(self) -> Self {
        Self { may_compress: false, ..self }
    }

    /// Whether it may be compressed where that is agreed.
    #[must_use]
    pub fn may_compress(&self) -> bool {
        self.may_compress
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Appends the message to `out` as one frame, unmasked and uncompressed.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "plain messages go straight into the buffer")]
    pub(crate) fn write_plain(self, out: &mut Vec<u8>) {
        write_plain_frame(out, self.kind.opcode(), self.payload);
    }

    /// The octets before masking.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}
