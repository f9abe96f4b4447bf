//! Every quantity a peer can make grow, with its bound.

use super::{DeflateConfig, Millis};

/// What a peer may make an endpoint hold. Lengths are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Request line and header section together; above it the answer is 431 (414 when the request line alone is longer).
    pub max_head: usize,
    /// Fields of one header section; above it the answer is 431.
    pub max_fields: usize,
    /// Body of a plain request, for an application that wants it; above it the answer is 413.
    pub max_body: usize,
    /// Payload length of one frame; a larger claim fails the connection with 1009 before a byte is kept. A compressed
    /// frame may be longer by an eighth, because DEFLATE makes some data longer.
    pub max_frame: u64,
    /// Payload of a whole message after reassembly; above it the connection fails with 1009.
    ///
    /// One connection holds at most twice this (a buffer that doubles) while a message is unfinished.
    pub max_message: u64,
    /// Frames of one message; above it the connection fails with 1008. So it does when 4096 of them bring nothing.
    pub max_fragments: u32,
    /// Pings and Pongs that a peer may send in a second; above it the connection fails with 1008.
    pub max_control_per_second: u32,
}

changeable!(Limits);

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_head: 16 * 1024,
            max_fields: 100,
            max_body: 64 * 1024,
            max_frame: 64 * 1024,
            max_message: 64 * 1024,
            max_fragments: 4096,
            max_control_per_second: 10_000,
        }
    }
}

impl Limits {
    /// The same limit for frames and for whole messages.
    #[must_use]
    pub fn with_max_message(mut self, bytes: u64) -> Self {
        self.max_frame = bytes;
        self.max_message = bytes;
        self.max_fragments = u32::try_from(bytes.div_ceil(16)).unwrap_or(u32::MAX).max(4096);
        self
    }
}

/// How long an endpoint waits for its peer. Zero turns a wait off, except for `handshake_ms` and `close_ms`; with
/// a `keep_alive_ms` of zero a connection carries one request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From accept to the end of the opening handshake, and from the first octet of a later request to its last; not reset by
    /// bytes that arrive.
    pub handshake_ms: Millis,
    /// Between the answer to a plain request and the first octet of the next one on the same connection. Balancers keep idle
    /// connections for 60 s; the server must not be the first to end them, or a request is lost on the way.
    pub keep_alive_ms: Millis,
    /// Between two Pings, whether or not the peer talks; while one is unanswered no other is sent.
    pub ping_ms: Millis,
    /// Silence after a Ping after which the peer counts as gone.
    pub pong_ms: Millis,
    /// From the first octet of a message to its last; after it the connection fails with 1008. Streamed messages may take
    /// longer.
    pub message_ms: Millis,
    /// From our Close to the end of the TCP connection, linger included.
    pub close_ms: Millis,
}

changeable!(Timeouts);

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake_ms: 10_000,
            keep_alive_ms: 75_000,
            ping_ms: 25_000,
            pong_ms: 10_000,
            message_ms: 30_000,
            close_ms: 5_000,
        }
    }
}

/// What every connection of an endpoint shares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProtoConfig {
    /// Bounds on what a peer may make us hold.
    pub limits: Limits,
    /// Bounds on how long we wait for a peer.
    pub timeouts: Timeouts,
    /// permessage-deflate: what a server agrees to and what a client offers. `None`: neither.
    pub deflate: Option<DeflateConfig>,
}

changeable!(ProtoConfig);
