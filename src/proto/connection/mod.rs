//! A WebSocket connection after the opening handshake (RFC 6455 5-7).

mod bulk;
mod fast_path;
mod incoming;
mod outgoing;

use std::sync::Arc;

use self::fast_path::FastPath;
use super::assembly::{Frame, Partial};
use super::close::CloseFrame;
use super::deflate::{Deflate, DeflateAgreement, DeflatePool, Encoding};
use super::frame::{MASK_BIT, Opcode};
use super::timer::{Millis, Timeout, Timer};
use super::{Chunk, CloseCode, MaskingKeys, Message, MessageKind, ProtoConfig, ProtocolError};

/// Something that arrived. Events borrow the input, never the connection.
#[derive(Debug)]
pub enum Event<'i> {
    /// A whole message.
    Message(Message<'i>),
    /// A piece of a message, where [`Connection::stream_messages`] asked for pieces.
    Chunk(Chunk<'i>),
    /// A Ping; its Pong is already in the output.
    Ping(&'i [u8]),
    /// A Pong, asked for or not.
    Pong(&'i [u8]),
    /// The peer's Close; when it began the closing handshake, the answer is already in the output.
    Close(CloseFrame),
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// A Close was sent or received (RFC 6455 5.5.1).
    NotOpen,
    /// A fragmented message is under way, and no other may come between its fragments (RFC 6455 5.4).
    MessageUnfinished,
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotOpen => "the connection is closing or closed",
            Self::MessageUnfinished => "a fragmented message is unfinished",
        })
    }
}

impl std::error::Error for SendError {}

/// The state of a connection after the opening handshake; the names are those of the browser API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyState {
    /// Messages go both ways.
    Open,
    /// We sent a Close and await the peer's.
    Closing,
    /// Close frames went both ways, or the connection failed: nothing is read or written any more.
    Closed,
}

#[cfg(feature = "net")]
pub(crate) use self::incoming::Arrived;

/// What the next octet belongs to. After a failure or a Close everything that arrives is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Header,
    Payload,
    Nothing,
}

/// One endpoint of an open WebSocket connection.
///
/// It owns the state of the framing, the unfinished message and the closing handshake. It never owns the input, the
/// output, a socket or a clock. Call [`Self::heard`] when octets arrive, then [`Self::next_event`] until it gives
/// `None`; after an `Err` call [`Self::fail`]. Write what was appended to `out`. Call [`Self::handle_timeout`] when
/// [`Self::next_timeout`] is due. When [`Self::ready_state`] is `Closed`, write the rest and end the TCP connection.
#[derive(Debug)]
pub struct Connection {
    config: Arc<ProtoConfig>,
    /// Present in the client role only.
    masking_keys: Option<Box<MaskingKeys>>,
    partial: Option<Box<Partial>>,
    /// Present where permessage-deflate is agreed.
    deflate: Option<Box<Deflate>>,
    frame: Frame,
    timer: Timer,
    /// The MASK bit that the peer's frames must carry.
    peer_mask_bit: u8,
    /// What the state lets a message skip.
    fast: FastPath,
    /// The last message was taken on the fast path and is no valid text: to be reported.
    has_invalid_text: bool,
    /// Messages that do not come whole are handed up piece by piece.
    streams: bool,
    /// The fragmented message that we are sending.
    sending: Option<MessageKind>,
    /// The second in which control frames are counted, and their count.
    control_second: u32,
    control_count: u32,
    /// When the message that is unfinished began; [`Millis::MAX`] when there is none.
    unfinished_since: Millis,
    awaits: Awaits,
    state: ReadyState,
}

impl Connection {
    /// The server's end; the opening handshake ended at `now`.
    #[must_use]
    pub fn server(config: &Arc<ProtoConfig>, now: Millis) -> Self {
        Self::new(config, None, now)
    }

    /// The client's end; the opening handshake ended at `now`.
    #[must_use]
    pub fn client(config: &Arc<ProtoConfig>, keys: MaskingKeys, now: Millis) -> Self {
        Self::new(config, Some(Box::new(keys)), now)
    }

    fn new(config: &Arc<ProtoConfig>, masking_keys: Option<Box<MaskingKeys>>, now: Millis) -> Self {
        let mut connection = Self {
            peer_mask_bit: if masking_keys.is_some() { 0 } else { MASK_BIT },
            fast: FastPath::default(),
            has_invalid_text: false,
            streams: false,
            sending: None,
            control_second: 0,
            control_count: 0,
            unfinished_since: Millis::MAX,
            config: Arc::clone(config),
            masking_keys,
            partial: None,
            deflate: None,
            frame: Frame { remaining: 0, key: None, opcode: Opcode::Binary, fin: true, rsv1: false },
            timer: Timer::new(now),
            awaits: Awaits::Header,
            state: ReadyState::Open,
        };
        connection.note_state();
        connection
    }

    /// The same connection with permessage-deflate (RFC 7692), as the opening handshake agreed on it. Connections that
    /// share a `pool` share what need not be each one's own.
    #[must_use]
    pub fn with_deflate(mut self, agreement: DeflateAgreement, pool: &DeflatePool) -> Self {
        let is_client = self.masking_keys.is_some();
        // Step by step, since there is no agreement in a build without the feature.
        self.deflate =
            Some(agreement).map(|agreement| Deflate::new(agreement, is_client, pool)).map(Box::new);
        self.note_state();
        self
    }

    /// From the next message on, hands up what does not come whole in one frame and one read as [`Event::Chunk`]: memory
    /// stays bounded by a read (and, for compressed messages, by what 1 KiB inflates to), whatever the message's length.
    pub fn stream_messages(&mut self, streams: bool) {
        self.streams = streams;
    }

    /// Bounds what a turn costs: once one input has cost as much as inflating `bytes` does, [`Self::next_event`] returns `None`
    /// with input left over. Keep [`Input::rest`](crate::proto::Input::rest), and go on with it in a later turn. Without this,
    /// `None` means that all of the input was taken.
    ///
    /// Counted are the bytes that come out, the octets that go in (eight bytes each: headers of blocks may bring nothing), and
    /// each final block (4 KiB: the inflater starts again behind it).
    pub fn pause_after_inflating(&mut self, bytes: usize) {
        if let Some(deflate) = &mut self.deflate {
            deflate.pause_after(bytes);
        }
    }

    /// How messages to the peer are encoded: which other connections could get the same octets.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.deflate.as_ref().map_or(Encoding::Plain, |deflate| deflate.encoding())
    }

    /// The state of the connection.
    #[must_use]
    pub fn ready_state(&self) -> ReadyState {
        self.state
    }

    /// Whether a message or frame has arrived in part.
    #[must_use]
    pub fn is_mid_message(&self) -> bool {
        self.partial.is_some() || self.awaits == Awaits::Payload
    }

    /// Bytes that are kept of an unfinished message.
    #[must_use]
    pub fn unfinished_len(&self) -> usize {
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        message.map_or(0, |message| message.data.len())
    }

    /// Octets arrived at `now`: the peer lives.
    #[inline]
    pub fn heard(&mut self, now: Millis) {
        self.timer.heard(now);
    }

    /// Milliseconds since the last sign of life of the peer, before the closing handshake.
    #[must_use]
    pub fn silent_ms(&self, now: Millis) -> Millis {
        self.timer.silent_ms(now)
    }

    /// To be called after every change of the state.
    fn note_state(&mut self) {
        if !self.is_mid_message() {
            self.unfinished_since = Millis::MAX;
        } else if self.unfinished_since == Millis::MAX {
            self.unfinished_since = self.timer.last_heard();
        }
        self.fast = FastPath::of(self);
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Millis> {
        self.timer.deadline(&self.config.timeouts).into_iter().chain(self.message_deadline()).min()
    }

    fn message_deadline(&self) -> Option<Millis> {
        let message_ms = self.config.timeouts.message_ms;
        let is_timed = message_ms > 0 && !self.streams && self.state == ReadyState::Open;
        let is_timed = is_timed && self.unfinished_since != Millis::MAX;
        is_timed.then(|| self.unfinished_since + message_ms)
    }

    /// Does what is due at `now`: the next Ping, a Close after an unanswered Ping or in an unfinished message.
    pub fn handle_timeout(&mut self, now: Millis, out: &mut Vec<u8>) -> Timeout {
        let timeout = match self.message_deadline() {
            Some(deadline) if deadline <= now => Timeout::MessageOverdue,
            _ => self.timer.due(now, &self.config.timeouts),
        };
        match timeout {
            Timeout::NotDue | Timeout::CloseOverdue => {}
            Timeout::MessageOverdue => self.fail(ProtocolError::MessageTimeout, now, out),
            Timeout::Pinged => {
                self.write(Opcode::Ping, &[], out);
                self.timer.pinged(now);
                // A peer that does nothing but answer Pings was last heard nearly one interval ago.
                if self.timer.silent_ms(now) >= self.config.timeouts.ping_ms / 2
                    && let Some(deflate) = &mut self.deflate
                {
                    deflate.rest();
                }
            }
            Timeout::PongOverdue => {
                self.close(CloseCode::INTERNAL_ERROR, "ping timeout", now, out);
                self.end();
            }
        }
        timeout
    }

    fn end(&mut self) {
        self.state = ReadyState::Closed;
        self.discard_from_now_on();
    }

    fn discard_from_now_on(&mut self) {
        self.awaits = Awaits::Nothing;
        self.has_invalid_text = false;
        self.partial = None;
        self.deflate = None;
        self.note_state();
    }
}
