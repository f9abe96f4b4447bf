//! The ends of connections, and peers that are turned away.

use std::fmt;
use std::net::SocketAddr;

use super::{CloseCode, CloseFrame, Millis, ProtocolError, RequestHead};

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer began the closing handshake.
    Peer(CloseFrame),
    /// The application called [`Context::close`](super::Context::close).
    Application(CloseCode),
    /// The peer broke a rule of the protocol.
    Protocol(ProtocolError),
    /// The peer did not answer a Ping in time.
    PongTimeout,
    /// More was queued for the peer than the limit allows.
    SlowConsumer,
    /// The server stops, and says so with this code.
    Shutdown(CloseCode),
    /// The TCP connection ended without a closing handshake.
    Disconnected,
}

/// What a [`CloseReason`] says, without its details: what metrics count by, and the log limits by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloseKind {
    /// [`CloseReason::Peer`].
    Peer,
    /// [`CloseReason::Application`].
    Application,
    /// [`CloseReason::Protocol`].
    Protocol,
    /// [`CloseReason::PongTimeout`].
    PongTimeout,
    /// [`CloseReason::SlowConsumer`].
    SlowConsumer,
    /// [`CloseReason::Shutdown`].
    Shutdown,
    /// [`CloseReason::Disconnected`].
    Disconnected,
}

impl CloseKind {
    /// All kinds, in order.
    pub const ALL: [Self; 7] = [
        Self::Peer,
        Self::Application,
        Self::Protocol,
        Self::PongTimeout,
        Self::SlowConsumer,
        Self::Shutdown,
        Self::Disconnected,
    ];

    /// The kind in one word, as metrics have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Application => "application",
            Self::Protocol => "protocol",
            Self::PongTimeout => "ping_timeout",
            Self::SlowConsumer => "slow_consumer",
            Self::Shutdown => "shutdown",
            Self::Disconnected => "disconnected",
        }
    }
}

impl CloseReason {
    /// The reason without its details.
    #[must_use]
    pub fn kind(&self) -> CloseKind {
        match self {
            Self::Peer(_) => CloseKind::Peer,
            Self::Application(_) => CloseKind::Application,
            Self::Protocol(_) => CloseKind::Protocol,
            Self::PongTimeout => CloseKind::PongTimeout,
            Self::SlowConsumer => CloseKind::SlowConsumer,
            Self::Shutdown(_) => CloseKind::Shutdown,
            Self::Disconnected => CloseKind::Disconnected,
        }
    }

    /// The code of the Close frame that was sent or received; 1006 when there was none.
    #[must_use]
    pub fn code(&self) -> CloseCode {
        match self {
            Self::Peer(frame) => frame.code,
            Self::Application(code) | Self::Shutdown(code) => *code,
            Self::Protocol(error) => error.close_code(),
            Self::PongTimeout => CloseCode::INTERNAL_ERROR,
            Self::SlowConsumer => CloseCode::POLICY_VIOLATION,
            Self::Disconnected => CloseCode::ABNORMAL,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(frame) => write!(f, "closed by the peer: {:?}", frame.reason),
            Self::Application(_) => f.write_str("closed by the application"),
            Self::Protocol(error) => write!(f, "protocol error: {error}"),
            Self::PongTimeout => f.write_str("ping timeout"),
            Self::SlowConsumer => f.write_str("slow consumer"),
            Self::Shutdown(_) => f.write_str("server going away"),
            Self::Disconnected => f.write_str("disconnected without a closing handshake"),
        }
    }
}

/// The end of an upgraded connection, for [`Application::on_close`].
///
/// [`Application::on_close`]: super::Application::on_close
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Why.
    pub reason: CloseReason,
    /// Who it was.
    pub peer: SocketAddr,
    /// Milliseconds since the last sign of life of the peer, a Pong or anything else.
    pub silent_ms: Millis,
    /// Bytes that the peer had not read when the end began.
    pub queued: usize,
}

/// A peer that is turned away before the application sees a request.
#[derive(Debug, Clone, Copy)]
pub struct Rejection<'a> {
    /// The peer's address.
    pub peer: SocketAddr,
    /// Status of the answer; `None`: there is none, as to what is no header of the PROXY protocol.
    pub status: Option<u16>,
    /// Why, in a sentence.
    pub reason: &'a str,
    /// The upgrade request that breaks RFC 6455 4.2.1. `None`: the peer has sent no HTTP request or too much of one, it is
    /// too late, or there is no room for it.
    pub upgrade: Option<&'a RequestHead<'a>>,
}

/// What a peer wrote, shown with its control characters escaped, so that it cannot forge a line of a log.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") }
        })
    }
}
