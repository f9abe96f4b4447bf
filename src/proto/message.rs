//! Messages as an application sees them.

use std::ops::{Deref, DerefMut};

/// Text or binary (RFC 6455 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Opcode 1: the payload is UTF-8.
    Text,
    /// Opcode 2: the payload is any octets.
    Binary,
}

/// A payload, unmasked and mutable, so that a parser may work in place.
#[derive(Debug)]
pub enum Payload<'b> {
    /// It lies whole in the read it came with.
    Borrowed(&'b mut [u8]),
    /// It was reassembled from fragments or from several reads.
    Owned(Vec<u8>),
}

impl Payload<'_> {
    /// The octets as a vector, copied only when they are borrowed.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Self::Borrowed(bytes) => bytes.to_vec(),
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl DerefMut for Payload<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// A whole message that arrived. The payload of a [`MessageKind::Text`] message is valid UTF-8.
#[derive(Debug)]
pub struct Message<'b> {
    /// Text or binary.
    pub kind: MessageKind,
    /// The unmasked octets.
    pub payload: Payload<'b>,
}

impl Message<'_> {
    /// The text, or `None` for a binary message.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self.kind {
            MessageKind::Text => simdutf8::basic::from_utf8(&self.payload).ok(),
            MessageKind::Binary => None,
        }
    }

    /// The same message, to be sent.
    #[must_use]
    #[inline]
    pub fn as_outgoing(&self) -> Outgoing<'_> {
        Outgoing { kind: self.kind, payload: &self.payload }
    }
}

/// A message to be sent. Text can only be made from text, so what goes out is valid UTF-8.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    kind: MessageKind,
    payload: &'a [u8],
}

impl<'a> Outgoing<'a> {
    /// A text message.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self { kind: MessageKind::Text, payload: text.as_bytes() }
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: &'a [u8]) -> Self {
        Self { kind: MessageKind::Binary, payload: bytes }
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The octets before masking.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}
