//! What is kept of a message or control frame that has not arrived whole.

use super::buffer::Buffer;
use super::deflate::Deflate;
use super::frame::{MAX_FRAME_HEADER_LEN, Opcode};
use super::input::Content;
use super::{MessageKind, ProtocolError};
use crate::simd::Utf8Validator;

/// The farthest that deflate refers back, in bytes (RFC 7692 7.1.2).
const WINDOW: usize = 32 * 1024;

/// Fragments of a message that may bring nothing; every other one brings an octet at least.
const EMPTY_FRAGMENTS: u64 = 4096;

/// An unfinished message: one contiguous buffer that grows with what arrived, never with what was claimed.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) kind: MessageKind,
    pub(super) data: Buffer,
    /// The message is compressed: so many octets arrived, and `data` is what they inflate to.
    pub(super) compressed_len: Option<u64>,
    /// Octets of the message that were handed on and are kept no longer.
    passed_on: u64,
    /// Where in `data` begins what was not handed on.
    window_len: usize,
    fragments: u32,
    utf8: Utf8Validator,
}

impl Assembly {
    pub(super) fn new(kind: MessageKind, is_compressed: bool) -> Self {
        Self {
            kind,
            data: Buffer::default(),
            compressed_len: is_compressed.then_some(0),
            passed_on: 0,
            window_len: 0,
            fragments: 1,
            utf8: Utf8Validator::default(),
        }
    }

    /// Octets of payload that arrived so far.
    pub(super) fn arrived_len(&self) -> u64 {
        self.compressed_len.unwrap_or(self.data.len() as u64 + self.passed_on)
    }

    /// However many fragments a long message may have, those that bring nothing have a limit of their own.
    pub(super) fn count_fragment(&mut self, limit: u32) -> Result<(), ProtocolError> {
        self.fragments += 1;
        let is_flood = u64::from(self.fragments) > EMPTY_FRAGMENTS + self.arrived_len();
        if self.fragments > limit || is_flood { Err(ProtocolError::TooManyFragments) } else { Ok(()) }
    }

    /// Unmasks `piece` in place and keeps it. `outstanding`: bytes of the frame still to come after it. When there is no
    /// memory for it, the connection fails and the process lives.
    pub(super) fn append(
        &mut self,
        piece: &mut [u8],
        key: Option<[u8; 4]>,
        outstanding: u64,
    ) -> Result<(), ProtocolError> {
        unmask(self.kind, &mut self.utf8, piece, key)?;
        self.reserve(piece.len(), outstanding)?;
        self.data.append(piece);
        Ok(())
    }

    /// Makes room for `count` bytes, of which or after which `outstanding` are claimed: eight times what there was, but not beyond
    /// the claim. What was claimed and does not come is never touched, so it takes no memory.
    fn reserve(&mut self, count: usize, outstanding: u64) -> Result<(), ProtocolError> {
        let needed = self.data.len() + count;
        if needed > self.data.capacity() {
            let claimed = needed.saturating_add(usize::try_from(outstanding).unwrap_or(usize::MAX));
            let target = (self.data.capacity() * 8).clamp(needed, claimed.max(needed));
            self.data
                .grow(target)
                .or_else(|_| self.data.grow(needed))
                .map_err(|_| ProtocolError::UnfinishedBudget)?;
        }
        Ok(())
    }

    /// Goes on in another buffer.
    pub(super) fn adopt(&mut self, mut buffer: Buffer) {
        buffer.append(&self.data);
        self.data = buffer;
    }

    /// `count` bytes behind what arrived, to be read into; [`Self::fill`] keeps what was read.
    pub(super) fn room(&mut self, count: usize, outstanding: u64) -> Result<&mut [u8], ProtocolError> {
        self.reserve(count, outstanding - count as u64)?;
        Ok(self.data.append_room(count))
    }

    /// Keeps the first `count` bytes of a `room`: unmasks and validates them.
    pub(super) fn fill(
        &mut self,
        room: usize,
        count: usize,
        key: Option<[u8; 4]>,
    ) -> Result<(), ProtocolError> {
        let start = self.data.len() - room;
        self.data.truncate(start + count);
        unmask(self.kind, &mut self.utf8, &mut self.data[start..], key)
    }

    /// Unmasks and checks `piece` in place, to be handed on.
    pub(super) fn pass_on(&mut self, piece: &mut [u8], key: Option<[u8; 4]>) -> Result<(), ProtocolError> {
        self.passed_on += piece.len() as u64;
        unmask(self.kind, &mut self.utf8, piece, key)
    }

    /// What was inflated since the last call. Only the window stays, for what later pieces refer to.
    pub(super) fn take_inflated(&mut self) -> Content<'static> {
        let data = self.data.as_vec();
        let fresh = data.split_off(self.window_len);
        data.extend_from_slice(&fresh);
        let surplus = data.len().saturating_sub(WINDOW);
        data.drain(..surplus);
        self.passed_on += surplus as u64;
        self.window_len = data.len();
        Content::Assembled(fresh.into())
    }

    /// Inflates a piece of a compressed message, unmasked, up to `limit` bytes of message.
    pub(super) fn append_compressed(
        &mut self,
        piece: &[u8],
        deflate: &mut Deflate,
        limit: u64,
        is_last: bool,
    ) -> Result<(), ProtocolError> {
        let before = self.data.len();
        *self.compressed_len.get_or_insert_default() += piece.len() as u64;
        let limit = limit.saturating_sub(self.passed_on);
        let inflated = deflate.inflate(piece, self.data.as_vec(), limit);
        if self.kind == MessageKind::Text {
            // RFC 6455 8.1 speaks of the message, which is the inflated one. What comes first is found first, so that it
            // does not depend on how the message was cut; and nothing beyond the limit is looked at.
            let end = self.data.len().min(usize::try_from(limit).unwrap_or(usize::MAX)).max(before);
            self.utf8.validate(&self.data[before..end]).map_err(|_| ProtocolError::TextNotUtf8)?;
        }
        inflated?;
        if is_last {
            deflate.finish_message(&self.data)?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(MessageKind, Buffer), ProtocolError> {
        if self.kind == MessageKind::Text {
            self.utf8.finish().map_err(|_| ProtocolError::TextNotUtf8)?;
        }
        Ok((self.kind, self.data))
    }
}

/// Unmasks a piece of a data message in place and, for text, validates it on the way (RFC 6455 8.1).
#[inline]
pub(super) fn unmask(
    kind: MessageKind,
    utf8: &mut Utf8Validator,
    piece: &mut [u8],
    key: Option<[u8; 4]>,
) -> Result<(), ProtocolError> {
    match (kind, key) {
        (MessageKind::Binary, None) => Ok(()),
        (MessageKind::Binary, Some(key)) => {
            crate::simd::xor_mask(piece, key, 0);
            Ok(())
        }
        (MessageKind::Text, None) => utf8.validate(piece).map_err(|_| ProtocolError::TextNotUtf8),
        (MessageKind::Text, Some(key)) => {
            utf8.unmask_and_validate(piece, key, 0).map_err(|_| ProtocolError::TextNotUtf8)
        }
    }
}

/// The frame whose payload is arriving. Its key is turned as octets are taken, so that it always starts at phase 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) remaining: u64,
    pub(super) key: Option<[u8; 4]>,
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    pub(super) rsv1: bool,
}

impl Frame {
    pub(super) fn advance(&mut self, taken: usize) {
        self.remaining -= taken as u64;
        if let Some(key) = &mut self.key {
            key.rotate_left(taken % 4);
        }
    }
}

/// Allocated only while something is unfinished.
#[derive(Debug, Default)]
pub(super) struct Partial {
    pub(super) message: Option<Assembly>,
    pub(super) control: Vec<u8>,
    /// The octets of a frame header that has not arrived whole.
    pub(super) held: [u8; MAX_FRAME_HEADER_LEN],
    pub(super) held_len: u8,
}
