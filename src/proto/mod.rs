//! Layer 1: the WebSocket protocol (RFC 6455), sans I/O, server and client role.
//!
//! Nothing here knows a socket, a clock or a thread: bytes, time ([`Millis`]) and randomness come in as
//! arguments, answers are appended to a buffer of the caller's.
//!
//! | step | server | client |
//! |---|---|---|
//! | opening handshake | [`head::HeadScanner`], [`head::with_request`], [`handshake::check_upgrade`], [`handshake::write_accept`] | [`client::ClientHandshake`] |
//! | permessage-deflate | [`DeflateConfig::agree`], [`Connection::with_deflate`] | [`client::ClientRequest::deflate`], [`Connection::with_deflate`] |
//! | frames and messages | [`Connection::server`] | [`Connection::client`] |
//! | long payloads, read in place | [`Connection::room`] | [`Connection::room`] |

mod assembly;
mod authority;
pub mod body;
mod buffer;
pub mod client;
mod close;
mod connection;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(not(feature = "deflate"))]
#[path = "deflate_off.rs"]
mod deflate;
mod error;
pub mod extension;
#[cfg(feature = "proxy")]
mod forwarded;
mod frame;
pub mod handshake;
pub mod head;
mod host;
mod input;
mod limits;
mod mask;
mod message;
mod origin;
#[cfg(feature = "proxy")]
mod proxy_protocol;
pub mod response;
mod timer;

pub use buffer::{Buffer, OutOfMemory};
pub use close::{CloseCode, CloseFrame, MAX_CLOSE_REASON};
#[cfg(feature = "net")]
pub(crate) use connection::Arrived;
pub use connection::{Connection, Event, ReadyState, SendError};
pub use deflate::{DeflateAgreement, DeflateConfig, DeflatePool, Encoding, WindowBits};
pub use error::{HandshakeError, HeadError, ProtocolError, ResponseError};
#[cfg(feature = "proxy")]
pub use forwarded::{Forwarded, ForwardedConflict, InvalidProxy, TrustedProxies};
pub use frame::{FrameHeader, MAX_FRAME_HEADER_LEN, Opcode, write_frame, write_masked_frames};
pub use host::{HostPolicy, InvalidHost, host_of, is_address_authority, is_loopback_authority};
#[cfg(feature = "net")]
pub(crate) use input::Content;
pub use input::Input;
pub use limits::{Limits, ProtoConfig, Timeouts};
pub use mask::MaskingKeys;
pub use message::{Chunk, Message, MessageKind, Outgoing, OwnedMessage};
pub use origin::{InvalidOrigin, OriginPolicy};
#[cfg(feature = "proxy")]
pub use proxy_protocol::{Introduction, ProxyHeader, ProxyHeaderError};
pub use timer::{Millis, Timeout};
