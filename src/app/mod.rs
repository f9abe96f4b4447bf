//! Layer 2, the seam between the loop and what runs on it: [`Application`] is called, [`Context`] is what it may do.

mod address;
mod close;
mod context;
mod layer;
mod peers;
mod rate;
mod request;
mod stats;
mod topic;

use std::net::SocketAddr;

pub use self::address::AddressPrefix;
pub use self::close::{CloseKind, CloseReason, Closed, Escaped, Rejection};
pub use self::context::Context;
pub use self::layer::Layer;
pub use self::peers::{Deliver, Mailbox, Peers, Undelivered};
pub use self::rate::{Bucket, Pace, Rate};
pub use self::request::{Acceptance, ClientCertificate, Entrance, Refused, Request, Security, Verdict};
pub use self::stats::{Closes, Dropped, Durations, ProxyHeaders, Refusals, Requests, Stats, Upgrades};
pub use self::topic::{Deliveries, Published, SlowPolicy, TopicId, TopicOptions};
pub use crate::proto::handshake::Upgrade;
pub use crate::proto::head::{Fields, RequestHead, list_elements};
pub use crate::proto::response::{Body, Response};
pub use crate::proto::{
    Chunk, CloseCode, CloseFrame, HandshakeError, MAX_CLOSE_REASON, Message, MessageKind, Millis,
    OriginPolicy, Outgoing, OwnedMessage, ProtocolError, SendError,
};

/// One connection of a loop. A handle of a connection that ended is never taken for a later one in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// The slot: small, dense, used again. An application may index its own table by it.
    pub index: u32,
    /// Tells the connections that use one slot apart.
    pub generation: u32,
}

impl ConnId {
    /// Both numbers in one, as the event queue carries it.
    #[must_use]
    #[inline]
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The opposite of [`Self::to_bits`].
    #[must_use]
    #[inline]
    pub fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// The two clocks, read once a tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, from an origin of the loop's choice.
    pub monotonic_ms: Millis,
    /// Milliseconds since 1970-01-01 UTC; may jump.
    pub unix_ms: u64,
}

/// A server on the loop. Callbacks run one at a time and must not block.
///
/// For each connection: `on_request`, then, if the upgrade was accepted, `on_open` once, `on_message` any number of
/// times, `on_close` exactly once.
///
/// ```
/// use switchboard::app::{Application, ConnId, Context, Message, Outgoing};
///
/// /// Answers each message with the number of messages so far.
/// #[derive(Default)]
/// struct Counter(u64);
///
/// impl Application for Counter {
///     type Mail = std::convert::Infallible;
///
///     fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, _: Message<'_>) {
///         self.0 += 1;
///         // Fails only when the connection has begun to close.
///         let _ = ctx.send(conn, Outgoing::text(&self.0.to_string()));
///     }
/// }
/// ```
pub trait Application {
    /// What other threads may send into the loop.
    type Mail: Send + 'static;

    /// The loop begins: the place to create topics that always exist.
    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        let _ = ctx;
    }

    /// Whether to read the body of a plain request. Then [`Self::on_request`] comes once the body is whole, which
    /// is at most [`Limits::max_body`](crate::proto::Limits::max_body) octets. By default no body is wanted: the request
    /// is answered at once and the connection ends, since its body is not known to be harmless as a next request.
    fn wants_body(&mut self, head: &RequestHead<'_>) -> bool {
        let _ = head;
        false
    }

    /// A request came, plain or upgrade. By default every upgrade is accepted and everything else gets a 426.
    fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        let _ = (ctx, request);
        Verdict::Accept(Acceptance::default())
    }

    /// A request that got [`Verdict::Later`] is not to be answered any more: its client is gone, it took too long, there are too many of
    /// them, or the server stops. What the application says to it from now on is ignored.
    fn on_abandoned<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        let _ = (ctx, conn);
    }

    /// A request that got [`Verdict::Later`] was refused for this reason ([`Context::refuse`]); comes at the end of the tick.
    fn on_refused_late(&mut self, peer: SocketAddr, reason: Refused) {
        let _ = (peer, reason);
    }

    /// A peer was turned away before the application saw a request.
    fn on_turned_away(&mut self, rejection: &Rejection<'_>) {
        let _ = rejection;
    }

    /// The connection is open.
    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        let _ = (ctx, conn);
    }

    /// A whole message came.
    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>);

    /// A whole message came that was put together from several pieces and so has a buffer of its own, which the application
    /// may keep or pass on ([`Context::forward`]). By default it goes to [`Self::on_message`].
    fn on_owned<C: Context>(&mut self, ctx: &mut C, conn: ConnId, mut message: OwnedMessage) {
        self.on_message(ctx, conn, message.as_message());
    }

    /// A piece of a message came on a connection that was accepted with [`Acceptance::stream_messages`].
    fn on_chunk<C: Context>(&mut self, ctx: &mut C, conn: ConnId, chunk: Chunk<'_>) {
        let _ = (ctx, conn, chunk);
    }

    /// The connection is closed: nothing can be sent to it any more.
    fn on_close<C: Context>(&mut self, ctx: &mut C, conn: ConnId, closed: &Closed) {
        let _ = (ctx, conn, closed);
    }

    /// Messages of a topic were dropped for a connection that read too slowly, and it has now read everything else: the
    /// moment to tell it of the gap.
    fn on_lag<C: Context>(&mut self, ctx: &mut C, conn: ConnId, topic: TopicId, dropped: u64) {
        let _ = (ctx, conn, topic, dropped);
    }

    /// A timer of [`Context::set_timer`] is due.
    fn on_timer<C: Context>(&mut self, ctx: &mut C, token: u64) {
        let _ = (ctx, token);
    }

    /// Another thread sent something.
    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: Self::Mail) {
        let _ = (ctx, mail);
    }

    /// The tick ends: all its events were handed over, and the output is about to be written. The place for work that is
    /// done once a tick. Called once more in ticks in which connections ended.
    #[inline]
    fn on_tick_end<C: Context>(&mut self, ctx: &mut C) {
        let _ = ctx;
    }

    /// The server stops: the moment to say so. Connections are closed from now on, a few at a time, the last of them after
    /// [`Config::drain_spread_ms`](crate::reactor::Config::drain_spread_ms).
    fn on_drain<C: Context>(&mut self, ctx: &mut C) {
        let _ = ctx;
    }
}
