//! One variant per rule that a peer can break; one function maps each family to what is answered.

use std::fmt;

use super::CloseCode;

/// A rule of RFC 6455 sections 5 to 7, or a limit of ours, that the peer broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV1, RSV2 or RSV3 set although no extension defines it (5.2).
    ReservedBits,
    /// Opcode 3-7 or 11-15 (5.2).
    ReservedOpcode(u8),
    /// A client's frame without a masking-key (5.1).
    UnmaskedFrame,
    /// A server's frame with a masking-key (5.1).
    MaskedFrame,
    /// A payload length not written in its shortest form (5.2).
    NonMinimalLength,
    /// A 64-bit payload length with its most significant bit set (5.2).
    LengthOverflow,
    /// A control frame without FIN (5.5).
    FragmentedControlFrame,
    /// A control frame of more than 125 bytes (5.5).
    LongControlFrame,
    /// A continuation frame with nothing to continue (5.4).
    UnexpectedContinuation,
    /// A new data frame before the message in progress was finished (5.4).
    ExpectedContinuation,
    /// A Close frame with half a code (5.5.1).
    ClosePayloadOfOneByte,
    /// A Close code that must not be sent (7.4).
    InvalidCloseCode(CloseCode),
    /// A Close reason that is not UTF-8 (5.5.1).
    CloseReasonNotUtf8,
    /// A text message that is not UTF-8 (8.1).
    TextNotUtf8,
    /// A compressed message that is no DEFLATE data, or ends too soon (RFC 7692 7.2.2).
    InvalidDeflate,
    /// A frame above [`super::Limits::max_frame`].
    FrameTooLarge,
    /// A message above [`super::Limits::max_message`].
    MessageTooLarge,
    /// A message of more frames than [`super::Limits::max_fragments`].
    TooManyFragments,
    /// More Pings and Pongs than [`super::Limits::max_control_per_second`].
    TooManyControlFrames,
    /// A message that was begun was not finished within [`super::Timeouts::message_ms`].
    MessageTimeout,
    /// All unfinished messages of an endpoint together are above its budget and this one grew, or there is no memory for it.
    UnfinishedBudget,
}

impl ProtocolError {
    /// The code of the Close frame that answers it (RFC 6455 7.4.1).
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::TextNotUtf8 | Self::CloseReasonNotUtf8 | Self::InvalidDeflate => CloseCode::INVALID_PAYLOAD,
            Self::FrameTooLarge | Self::MessageTooLarge => CloseCode::MESSAGE_TOO_BIG,
            Self::TooManyFragments | Self::TooManyControlFrames | Self::MessageTimeout => {
                CloseCode::POLICY_VIOLATION
            }
            Self::UnfinishedBudget => CloseCode::TRY_AGAIN_LATER,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// A short text for the Close frame and the log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bit set",
            Self::ReservedOpcode(_) => "reserved opcode",
            Self::UnmaskedFrame => "unmasked frame",
            Self::MaskedFrame => "masked frame",
            Self::NonMinimalLength => "payload length not minimal",
            Self::LengthOverflow => "payload length overflow",
            Self::FragmentedControlFrame => "fragmented control frame",
            Self::LongControlFrame => "control frame too long",
            Self::UnexpectedContinuation => "unexpected continuation",
            Self::ExpectedContinuation => "expected continuation",
            Self::ClosePayloadOfOneByte => "close payload of one byte",
            Self::InvalidCloseCode(_) => "invalid close code",
            Self::CloseReasonNotUtf8 => "close reason not UTF-8",
            Self::TextNotUtf8 => "text not UTF-8",
            Self::InvalidDeflate => "invalid compressed data",
            Self::FrameTooLarge => "frame too large",
            Self::MessageTooLarge => "message too large",
            Self::TooManyFragments => "too many fragments",
            Self::TooManyControlFrames => "too many control frames",
            Self::MessageTimeout => "message timeout",
            Self::UnfinishedBudget => "too many unfinished messages",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        match self {
            Self::ReservedOpcode(opcode) => write!(f, " {opcode}"),
            Self::InvalidCloseCode(code) => write!(f, " {code}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// A head that is not HTTP/1.1 (RFC 9112), or above a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// A line feed without a carriage return before it; refused against request smuggling (RFC 9112 2.2).
    BareLineFeed,
    /// Anything else that the grammar forbids.
    Malformed(httparse::Error),
    /// TLS, where HTTP without it is spoken.
    Tls,
    /// A major version other than 1 (RFC 9110 15.6.6).
    UnsupportedVersion,
    /// More than [`super::Limits::max_head`] bytes.
    TooLarge,
    /// A request line of more than [`super::Limits::max_head`] bytes.
    TargetTooLong,
    /// More than [`super::Limits::max_fields`] fields.
    TooManyFields,
    /// No Host field, more than one, or one that is no `host[:port]` (RFC 9112 3.2).
    Host,
    /// A request-target in none of the forms that the method may have (RFC 9112 3.2).
    Target,
    /// Content-Length that is no number, or differs, or comes with Transfer-Encoding (RFC 9112 6.1, 6.3).
    BodyLength,
}

impl HeadError {
    /// The HTTP status that answers it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BareLineFeed
            | Self::Malformed(_)
            | Self::Tls
            | Self::Host
            | Self::Target
            | Self::BodyLength => 400,
            Self::UnsupportedVersion => 505,
            Self::TooLarge | Self::TooManyFields => 431,
            Self::TargetTooLong => 414,
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BareLineFeed => f.write_str("bare line feed"),
            Self::Malformed(error) => write!(f, "malformed head: {error}"),
            Self::Tls => f.write_str("TLS on a port without it: https or wss in the place of http or ws"),
            Self::UnsupportedVersion => f.write_str("HTTP version not supported"),
            Self::TooLarge => f.write_str("header section too large"),
            Self::TargetTooLong => f.write_str("request-target too long"),
            Self::TooManyFields => f.write_str("too many fields"),
            Self::Host => f.write_str("exactly one Host field of the form host[:port] is required"),
            Self::Target => f.write_str("the request-target is neither a path nor a URI"),
            Self::BodyLength => f.write_str("ambiguous body length"),
        }
    }
}

impl std::error::Error for HeadError {}

/// Why an upgrade request is refused (RFC 6455 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The method is not GET.
    Method,
    /// The request-target is `*`, which names no resource.
    Target,
    /// HTTP/1.0 knows no upgrade.
    HttpVersion,
    /// No `websocket` among the Upgrade tokens.
    Upgrade,
    /// No `upgrade` among the Connection tokens.
    Connection,
    /// Sec-WebSocket-Version is absent or not 13.
    Version,
    /// Sec-WebSocket-Version occurs more than once.
    DuplicateVersion,
    /// Sec-WebSocket-Key is absent, occurs more than once, or is not the base64 of 16 bytes.
    Key,
    /// Sec-WebSocket-Protocol is not a list of tokens.
    Subprotocol,
    /// The request announces a body.
    Body,
    /// Origin occurs more than once: which page asks is not clear (RFC 6454 7.3).
    DuplicateOrigin,
    /// Sec-WebSocket-Extensions does not follow its grammar (RFC 6455 9.1).
    Extensions,
}

impl HandshakeError {
    /// The HTTP status that answers it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::Version => 426,
            _ => 400,
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "an upgrade needs GET",
            Self::Target => "an upgrade needs a path, not *",
            Self::HttpVersion => "an upgrade needs HTTP/1.1",
            Self::Upgrade => "Upgrade must name websocket",
            Self::Connection => "Connection must name upgrade",
            Self::Version => "Sec-WebSocket-Version must be 13",
            Self::DuplicateVersion => "Sec-WebSocket-Version stands twice",
            Self::Key => "Sec-WebSocket-Key must be the base64 of 16 bytes",
            Self::Subprotocol => "Sec-WebSocket-Protocol must be a list of tokens",
            Self::Body => "an upgrade request must not have a body",
            Self::DuplicateOrigin => "Origin stands twice",
            Self::Extensions => "Sec-WebSocket-Extensions must be a list of extensions",
        })
    }
}

impl std::error::Error for HandshakeError {}

/// Why a client refuses the server's answer (RFC 6455 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseError {
    /// The answer is not HTTP/1.1 or above a limit.
    Head(HeadError),
    /// The status is not 101.
    Status(u16),
    /// Upgrade is not `websocket`.
    Upgrade,
    /// No `upgrade` among the Connection tokens.
    Connection,
    /// Sec-WebSocket-Accept is not the answer to our key.
    Accept,
    /// A subprotocol that was not offered, or more than one.
    Subprotocol,
    /// An extension, or a parameter of one, that was not offered or is not valid.
    Extension,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => error.fmt(f),
            Self::Status(status) => write!(f, "status {status} instead of 101"),
            Self::Upgrade => f.write_str("Upgrade is not websocket"),
            Self::Connection => f.write_str("Connection does not name upgrade"),
            Self::Accept => f.write_str("Sec-WebSocket-Accept does not match the key"),
            Self::Subprotocol => f.write_str("a subprotocol that was not offered"),
            Self::Extension => f.write_str("an extension that was not offered, or an invalid parameter"),
        }
    }
}

impl std::error::Error for ResponseError {}
