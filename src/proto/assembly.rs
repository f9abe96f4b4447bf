//! What is kept of a message or control frame that has not arrived whole.

use super::frame::Opcode;
use super::{MessageKind, ProtocolError};
use crate::simd::Utf8Validator;

/// An unfinished message: one contiguous buffer that grows with what arrived, never with what was claimed.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) kind: MessageKind,
    pub(super) data: Vec<u8>,
    fragments: u32,
    utf8: Utf8Validator,
}

impl Assembly {
    pub(super) fn new(kind: MessageKind) -> Self {
        Self { kind, data: Vec::new(), fragments: 1, utf8: Utf8Validator::default() }
    }

    pub(super) fn count_fragment(&mut self, limit: u32) -> Result<(), ProtocolError> {
        self.fragments += 1;
        if self.fragments > limit { Err(ProtocolError::TooManyFragments) } else { Ok(()) }
    }

    /// Unmasks `piece` in place and keeps it. `outstanding`: bytes of the frame still to come after it.
    pub(super) fn append(
        &mut self,
        piece: &mut [u8],
        key: Option<[u8; 4]>,
        outstanding: u64,
    ) -> Result<(), ProtocolError> {
        unmask(self.kind, &mut self.utf8, piece, key)?;
        let needed = self.data.len() + piece.len();
        if needed > self.data.capacity() {
            let claimed = needed.saturating_add(usize::try_from(outstanding).unwrap_or(usize::MAX));
            let target = (self.data.capacity() * 2).clamp(needed, claimed.max(needed));
            self.data.reserve_exact(target - self.data.len());
        }
        self.data.extend_from_slice(piece);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(MessageKind, Vec<u8>), ProtocolError> {
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
}
