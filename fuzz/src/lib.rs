//! What the fuzz targets do with their octets. `tests/corpus.rs` replays the committed corpus through the same
//! functions, so that a plain `cargo test` runs them too.
//!
//! Each target reads a few octets as choices (role, limits, where to cut) and takes the rest as what a peer sent.

pub mod body;
#[cfg(feature = "chat")]
pub mod chat_commands;
pub mod deflate;
#[cfg(feature = "proxy")]
pub mod forwarded;
pub mod frames;
pub mod head;
#[cfg(feature = "proxy")]
pub mod proxy_header;
pub mod session;
mod source;
#[allow(dead_code, reason = "the protocol tests use the rest of it")]
#[path = "../../tests/protocol/support.rs"]
mod support;
pub mod text;
