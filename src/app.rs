//! Layer 2, the seam between the loop and what runs on it: [`Application`] is called, [`Context`] is what it may do.

mod stats;

use std::fmt;
use std::net::SocketAddr;

pub use self::stats::{Closes, Dropped, Durations, Refusals, Requests, Stats, Upgrades};
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

/// A set of connections that get the same messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub(crate) u32);

/// What a topic does when the queue of a subscriber that reads too slowly is full. Messages for one connection alone and
/// control frames are never dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SlowPolicy {
    /// The connection is closed with 1008: nothing that a subscriber gets has a gap.
    #[default]
    Close,
    /// The oldest messages of the topic that wait make room for the new one.
    DropOldest,
    /// The new message is dropped.
    DropNewest,
    /// Of the messages with one key ([`Context::publish_keyed`]) only the newest waits, even where there is room for more;
    /// where there is none, as [`Self::DropOldest`].
    Conflate,
}

/// How a topic treats its subscribers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicOptions {
    /// For subscribers that read too slowly.
    pub slow_policy: SlowPolicy,
    /// Bytes that may wait for a subscriber before the policy drops; [`Config::max_backlog`] when `None`. Does not concern
    /// [`SlowPolicy::Close`].
    ///
    /// [`Config::max_backlog`]: crate::reactor::Config::max_backlog
    pub max_queue: Option<usize>,
}

/// What [`Context::publish`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Published {
    /// Connections that the message is for.
    pub receivers: usize,
    /// What became of all that the topic published in earlier ticks.
    pub totals: Deliveries,
}

/// Counts messages, once for each receiver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// The socket took them at once.
    pub delivered: u64,
    /// They had to wait.
    pub queued: u64,
    /// They were dropped because the receiver reads too slowly, some of them after they had waited.
    pub dropped: u64,
}

/// The two clocks, read once a tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, from an origin of the loop's choice.
    pub monotonic_ms: Millis,
    /// Milliseconds since 1970-01-01 UTC; may jump.
    pub unix_ms: u64,
}

/// A request as [`Application::on_request`] sees it.
#[derive(Debug)]
pub struct Request<'a> {
    /// Request line and header section.
    pub head: &'a RequestHead<'a>,
    /// The checked upgrade; `None` for a plain request.
    pub upgrade: Option<Upgrade<'a>>,
    /// The body, whole; empty when there is none or [`Application::wants_body`] said no.
    pub body: &'a [u8],
    /// Who asks.
    pub peer: SocketAddr,
    /// The connection that it came on; open only after the upgrade was accepted.
    pub conn: ConnId,
    /// Where it came in.
    pub entrance: Entrance,
}

/// The listener that a connection came by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entrance {
    /// Its number, in the order in which they were given.
    pub listener: usize,
    /// It is one for the operator alone: not limited per address, and open until the server has ended.
    pub is_internal: bool,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    /// Complete the opening handshake. For a plain request it means 426.
    Accept(Acceptance),
    /// Answer with HTTP.
    Respond(Response),
    /// Turn the request away with HTTP, for a reason that is counted and logged.
    Refuse(Refused, Response),
    /// The answer comes with [`Context::respond`]. Until then the connection is not read. After
    /// [`Config::max_answer_ms`](crate::reactor::Config::max_answer_ms) it is 504. An upgrade can only be refused so.
    Later,
}

/// Why an application turns a request away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It comes from a page of an origin that may not connect.
    Origin,
    /// It is for a host that is not this server's.
    Host,
    /// No WebSocket is spoken at that path.
    Path,
    /// What it brings to say who asks is not valid.
    Token,
    /// None of the subprotocols that it offers is spoken.
    Subprotocol,
}

impl Refused {
    /// The reason in one word, as metrics and the log have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Host => "host",
            Self::Path => "path",
            Self::Token => "token",
            Self::Subprotocol => "subprotocol",
        }
    }
}

/// What the 101 says besides what the protocol demands.
#[derive(Debug, Default)]
pub struct Acceptance {
    /// One of the subprotocols that were offered.
    pub subprotocol: Option<&'static str>,
    /// Where `subprotocol` is `None`: agree to the first one that is offered, whatever it is. Browsers fail a connection whose
    /// offer gets no answer.
    pub any_subprotocol: bool,
    /// Further fields.
    pub fields: Vec<(&'static str, String)>,
    /// Messages that do not come whole in one read go to [`Application::on_chunk`] piece by piece, in bounded memory.
    pub stream_messages: bool,
}

/// Why a connection ended; given to [`Application::on_close`] and to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer began the closing handshake.
    Peer(CloseFrame),
    /// The application called [`Context::close`].
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

impl CloseReason {
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

/// The end of an upgraded connection, for [`Application::on_closed`].
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

/// What an application may do from within a callback. Nothing is written before the end of the tick, so no call
/// leads to another callback of the same application.
pub trait Context {
    /// The time of this tick.
    fn now(&self) -> Now;

    /// A random number from the loop's seed: for jitter, not for secrets.
    fn random(&mut self) -> u64;

    /// Queues a message for one connection.
    ///
    /// # Errors
    /// [`SendError::NotOpen`] when the connection is not open (any more), [`SendError::MessageUnfinished`] in the middle of
    /// a fragmented message.
    fn send(&mut self, conn: ConnId, message: Outgoing<'_>) -> Result<(), SendError>;

    /// As [`Self::send`], without a copy of a long payload where it goes out as it is.
    ///
    /// # Errors
    /// As [`Self::send`].
    fn forward(&mut self, conn: ConnId, message: OwnedMessage) -> Result<(), SendError>;

    /// Queues one fragment of a message for one connection, which is subscribed to nothing meanwhile: what a topic
    /// publishes could come between the fragments.
    ///
    /// # Errors
    /// [`SendError::NotOpen`], or [`SendError::MessageUnfinished`] when the connection is subscribed to a topic or the
    /// fragment is of another kind than those before it.
    fn send_fragment(&mut self, conn: ConnId, fragment: Outgoing<'_>, is_last: bool)
    -> Result<(), SendError>;

    /// Queues a message for every subscriber of a topic but `except`.
    /// The message is encoded once, and compressed once for all receivers without context takeover that agreed on the
    /// same window; for each receiver with context takeover it is compressed by itself.
    fn publish(&mut self, topic: TopicId, message: Outgoing<'_>, except: Option<ConnId>) -> Published;

    /// As [`Self::publish`], for [`SlowPolicy::Conflate`]: of messages with one key a slow subscriber needs the newest only.
    fn publish_keyed(
        &mut self,
        topic: TopicId,
        key: u64,
        message: Outgoing<'_>,
        except: Option<ConnId>,
    ) -> Published;

    /// Makes a topic without subscribers. Where `options` let messages be dropped, subscribers that agreed on context
    /// takeover get them uncompressed: a compressed message that refers to one that was dropped could not be read.
    fn create_topic(&mut self, options: TopicOptions) -> TopicId;

    /// Ends a topic; what was published before still goes out.
    fn remove_topic(&mut self, topic: TopicId);

    /// Adds a connection to a topic: it gets what is published from now on.
    ///
    /// # Errors
    /// [`SendError::NotOpen`] when the connection is not open (any more), [`SendError::MessageUnfinished`] in the middle of
    /// a fragmented message.
    fn subscribe(&mut self, conn: ConnId, topic: TopicId) -> Result<(), SendError>;

    /// As [`Self::subscribe`], with a policy for this subscriber instead of the topic's.
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    fn subscribe_as(&mut self, conn: ConnId, topic: TopicId, policy: SlowPolicy) -> Result<(), SendError>;

    /// Takes a connection out of a topic: it gets what was published until now.
    fn unsubscribe(&mut self, conn: ConnId, topic: TopicId);

    /// Begins the closing handshake. What was queued before goes out first.
    fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str);

    /// Answers a plain request that got [`Verdict::Later`], once. Nothing happens when the connection is gone, or the
    /// request is answered already, with 504 for instance.
    fn respond(&mut self, conn: ConnId, response: Response);

    /// Begins a graceful shutdown at the end of the tick, as SIGTERM does.
    fn drain(&mut self);

    /// Whether a shutdown has begun.
    fn is_draining(&self) -> bool;

    /// What the loop has counted. Looks at every connection: for now and then.
    fn stats(&self) -> Stats;

    /// Bytes that wait for the peer to read.
    fn backlog(&self, conn: ConnId) -> usize;

    /// Calls [`Application::on_timer`] with `token` once `at` (as [`Now::monotonic_ms`]) has come.
    fn set_timer(&mut self, at: Millis, token: u64);
}

/// A server on the loop. Callbacks run one at a time and must not block.
///
/// For each connection: `on_request`, then, if the upgrade was accepted, `on_open` once, `on_message` any number of
/// times, `on_close` exactly once.
pub trait Application {
    /// What other threads may send into the loop.
    type Mail: Send + 'static;

    /// The loop begins: the place to create topics that always exist.
    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        let _ = ctx;
    }

    /// Whether the body of a plain request is to be read. Then [`Self::on_request`] comes once the body is whole, which
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

    /// A connection was turned away before the application saw a request: it is no HTTP, is above a limit or comes too late.
    fn on_rejected(&mut self, peer: SocketAddr, status: u16, reason: &str) {
        let _ = (peer, status, reason);
    }

    /// An upgrade was refused before the application saw it: it breaks RFC 6455 4.2.1.
    fn on_refused(&mut self, request: &RequestHead<'_>, peer: SocketAddr, error: HandshakeError) {
        let _ = (request, peer, error);
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
    fn on_close<C: Context>(&mut self, ctx: &mut C, conn: ConnId, reason: &CloseReason) {
        let _ = (ctx, conn, reason);
    }

    /// As [`Self::on_close`], which it calls by default, with what is known about the end.
    fn on_closed<C: Context>(&mut self, ctx: &mut C, conn: ConnId, closed: &Closed) {
        self.on_close(ctx, conn, &closed.reason);
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

    /// All that the tick brought was handed on, and what was queued is about to be written: the place to do once a tick what
    /// need not be done for each message. Comes once more where connections ended while it was written.
    #[inline]
    fn on_settle<C: Context>(&mut self, ctx: &mut C) {
        let _ = ctx;
    }

    /// The server stops: the moment to say so. Connections are closed from now on, a few at a time, the last of them after
    /// [`Config::drain_spread_ms`](crate::reactor::Config::drain_spread_ms).
    fn on_drain<C: Context>(&mut self, ctx: &mut C) {
        let _ = ctx;
    }
}
