//! A WebSocket server on a single-threaded mio event loop.

#[cfg(feature = "net")]
pub mod app;
#[cfg(feature = "net")]
pub mod apps;
#[cfg(feature = "chat")]
pub mod chat;
#[cfg(feature = "net")]
pub mod net;
pub mod proto;
#[cfg(feature = "net")]
pub mod reactor;
pub mod simd;
