//! Octets in: whose turn it is, and what is kept for later.

mod fast_path;
mod inbound;
mod intake;
mod read_buffer;
mod turns;

pub(super) use self::inbound::Inbound;
pub(super) use self::intake::Intake;
pub(super) use self::read_buffer::ReadBuffer;
