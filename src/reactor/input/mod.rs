//! Octets in: whose turn it is, and what is kept for later.

mod fast_path;
pub(super) mod inbound;
pub(super) mod intake;
mod read_buffer;
mod turns;

pub(super) use self::read_buffer::ReadBuffer;
