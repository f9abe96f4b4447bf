//! A WebSocket server on a single-threaded mio event loop.

pub mod proto;
pub mod simd;
