//! The settings of a loop.

use crate::proto::{CloseCode, Millis, ProtoConfig, TrustedProxies};

/// The settings of a loop; everything has a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Limits and timeouts of the protocol.
    pub proto: ProtoConfig,
    /// The most that a connection may bring in one turn, in bytes; in the middle of a message of 8 KiB or more it is four
    /// times as much. The default takes a message of 64 KiB with its frame header, also in records of TLS.
    pub receive_buffer: usize,
    /// Bytes that compressed messages may inflate to in one turn of a connection; the message that passes it is finished,
    /// the rest of the input waits for the next tick. A few KiB of input can inflate to a thousand times as much.
    pub max_inflated: usize,
    /// Bytes queued for a connection above which no more input of it is taken, not even what has been read already. One
    /// answer may pass it.
    pub high_water: usize,
    /// Bytes that one tick may queue for single connections together, and for each topic. A connection for which it would be
    /// more is closed with 1008. Offsets have 32 bits: at most 4 GiB - 1.
    pub max_tick_output: usize,
    /// All unfinished messages together, and parked input (see `max_inflated`), in bytes; above it a connection whose message
    /// grows fails with 1013.
    pub max_unfinished: usize,
    /// A connection for which more than this many bytes wait is closed with 1008. What one tick brings to a
    /// connection that has no backlog is kept whole.
    pub max_backlog: usize,
    /// Milliseconds that the first of what waits for a connection may wait; then the TCP connection ends. 0: no limit.
    pub max_queue_age_ms: Millis,
    /// Bytes that may wait for all connections together; what several wait for is counted once. Above it the connections
    /// with the longest queues are dropped; above three quarters of it new upgrades get 503, and there or above 16 MiB
    /// connections for which something waits are not read.
    pub max_queued: usize,
    /// Upgraded connections at a time; above it new upgrades get 503. 0: as many as there are descriptors.
    pub max_connections: usize,
    /// TCP connections from one address (of IPv6: from one /64) at a time; above it they get 503 at once. 0: no limit.
    /// Behind a trusted proxy an address has upgraded connections instead; behind another one all clients have its address.
    pub max_connections_per_address: usize,
    /// New TCP connections in a second, from one address; above it they get 503 at once. 0: no limit. Behind a trusted proxy an address
    /// has upgrades instead.
    pub max_new_per_second_per_address: u32,
    /// New TCP connections in a second; above it they get 503 at once. 0: no limit.
    pub max_new_per_second: u32,
    /// Proxies whose word counts of who asks, and for which host: `X-Forwarded-For`, `-Host` and `-Proto`, or `Forwarded`, and where any
    /// is named also the PROXY protocol. Of others these fields mean nothing.
    pub trusted_proxies: TrustedProxies,
    /// Milliseconds that an application may take for an answer ([`Verdict::Later`](crate::app::Verdict::Later)); then it is
    /// 504.
    pub max_answer_ms: Millis,
    /// Requests and upgrades whose answer the application has put off ([`Verdict::Later`](crate::app::Verdict::Later)), at a time; one more
    /// gets 503. Each may hold what came behind its head in one read.
    pub max_late: usize,
    /// The code with which a shutdown closes connections.
    pub shutdown_code: CloseCode,
    /// Milliseconds over which a shutdown spreads the closing of more than 256 connections, so that not all of them come
    /// back at once. 0: no spreading.
    pub drain_spread_ms: Millis,
}

changeable!(Config);

impl Default for Config {
    fn default() -> Self {
        Self {
            proto: ProtoConfig::default(),
            receive_buffer: 65 * 1024,
            max_inflated: 1024 * 1024,
            high_water: 64 * 1024,
            max_tick_output: 1 << 30,
            max_backlog: 1024 * 1024,
            max_unfinished: 256 * 1024 * 1024,
            max_queue_age_ms: 30_000,
            max_queued: 256 * 1024 * 1024,
            max_connections: 0,
            max_connections_per_address: 0,
            max_new_per_second_per_address: 0,
            max_new_per_second: 0,
            trusted_proxies: TrustedProxies::default(),
            max_answer_ms: 10_000,
            max_late: 1024,
            shutdown_code: CloseCode::GOING_AWAY,
            drain_spread_ms: 5_000,
        }
    }
}
