//! Close frames and their status codes (RFC 6455 7.4).

use std::fmt;

use super::ProtocolError;

/// A status code of the closing handshake (RFC 6455 7.4.1 and its IANA registry).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint goes away (server stops, browser leaves the page).
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: a rule of the protocol was broken.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that the endpoint does not accept.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: no code was given; never on the wire.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a Close frame; never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data inconsistent with the type of the message, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy was violated.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1011: the endpoint met a condition that it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// Whether the code may stand in a Close frame (RFC 6455 7.4.1, 7.4.2; 1012-1014 are registered with IANA).
    #[must_use]
    pub fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a Close frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// [`CloseCode::NO_STATUS`] when the frame was empty.
    pub code: CloseCode,
    /// For people; at most [`MAX_CLOSE_REASON`] bytes.
    pub reason: String,
}

/// Longest reason that fits a Close frame beside its code (RFC 6455 5.5), in bytes.
pub const MAX_CLOSE_REASON: usize = 123;

impl CloseFrame {
    /// Reads the payload of a Close frame (RFC 6455 5.5.1).
    pub(super) fn parse(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (code, reason) = match payload {
            [] => return Ok(Self { code: CloseCode::NO_STATUS, reason: String::new() }),
            [_] => return Err(ProtocolError::ClosePayloadOfOneByte),
            [high, low, reason @ ..] => (CloseCode(u16::from_be_bytes([*high, *low])), reason),
        };
        if !code.is_sendable() {
            return Err(ProtocolError::InvalidCloseCode(code));
        }
        let reason = simdutf8::basic::from_utf8(reason).map_err(|_| ProtocolError::CloseReasonNotUtf8)?;
        Ok(Self { code, reason: reason.to_owned() })
    }

    /// The payload of a Close frame; a reason that is too long is cut at a character.
    pub(super) fn payload(code: CloseCode, reason: &str) -> ([u8; 125], usize) {
        let mut payload = [0; 125];
        if code == CloseCode::NO_STATUS {
            return (payload, 0);
        }
        let reason = &reason[..reason.floor_char_boundary(MAX_CLOSE_REASON)];
        payload[..2].copy_from_slice(&code.0.to_be_bytes());
        payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
        (payload, 2 + reason.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_that_may_be_sent_are_the_registered_and_the_private_ones() {
        let sendable: Vec<u16> = (0..=u16::MAX).filter(|&code| CloseCode(code).is_sendable()).collect();
        let expected: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(sendable, expected);
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let (_, len) = CloseFrame::payload(CloseCode::NORMAL, &"é".repeat(100));
        assert_eq!(len, 2 + 122);
    }
}
