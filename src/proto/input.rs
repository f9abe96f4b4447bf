//! The octets of one read, eaten from the front.

/// What one read brought. [`super::Connection::next_event`] takes octets from the front, unmasks them in place and
/// hands them up as borrowed payloads.
#[derive(Debug)]
pub struct Input<'b> {
    rest: &'b mut [u8],
}

impl<'b> Input<'b> {
    /// Wraps the octets that arrived.
    pub fn new(bytes: &'b mut [u8]) -> Self {
        Self { rest: bytes }
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

    pub(super) fn discard(&mut self) {
        self.rest = &mut [];
    }
}
