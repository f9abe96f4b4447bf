//! The octets of one read, eaten from the front.

use super::buffer::Buffer;

/// What one read brought. [`super::Connection::next_event`] takes octets from the front, unmasks them in place and
/// hands them up as borrowed payloads. A message that was put together from several frames or reads is kept here, too,
/// until the next event.
#[derive(Debug)]
pub struct Input<'b> {
    rest: &'b mut [u8],
    assembled: Option<Buffer>,
}

/// Octets of a payload: where they lie.
#[derive(Debug)]
pub(crate) enum Content<'b> {
    /// Whole in the read that they came with.
    Borrowed(&'b mut [u8]),
    /// Put together from several pieces.
    Assembled(Buffer),
}

impl Content<'_> {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Assembled(bytes) => bytes,
        }
    }

    #[cfg(feature = "net")]
    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Assembled(bytes) => bytes,
        }
    }
}

impl<'b> Input<'b> {
    /// Wraps the octets that arrived.
    pub fn new(bytes: &'b mut [u8]) -> Self {
        Self { rest: bytes, assembled: None }
    }

    /// Octets not yet eaten.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything is eaten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The octets not yet eaten.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        self.rest
    }

    /// Takes all that is not yet eaten; what of it is not eaten then is put back.
    #[inline]
    pub(crate) fn take_rest(&mut self) -> &'b mut [u8] {
        std::mem::take(&mut self.rest)
    }

    #[inline]
    pub(super) fn put_rest(&mut self, rest: &'b mut [u8]) {
        self.rest = rest;
    }

    #[inline]
    pub(super) fn peek(&self) -> &[u8] {
        self.rest
    }

    /// Takes the first `count` octets; the caller has checked that they are there.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> &'b mut [u8] {
        let (taken, rest) = std::mem::take(&mut self.rest).split_at_mut(count);
        self.rest = rest;
        taken
    }

    /// Lends the content for as long as the input is.
    pub(super) fn lend<'i>(&'i mut self, content: Content<'b>) -> &'i mut [u8] {
        match content {
            Content::Borrowed(bytes) => bytes,
            Content::Assembled(bytes) => self.assembled.insert(bytes),
        }
    }

    pub(super) fn discard(&mut self) {
        self.rest = &mut [];
    }
}
