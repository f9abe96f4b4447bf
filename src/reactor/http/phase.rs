//! What is kept of a connection before its upgrade.

use std::net::SocketAddr;

use crate::app::{Entrance, Upgrade};
use crate::proto::body::BodyReader;
use crate::proto::handshake::KEY_LEN;
use crate::proto::head::HeadScanner;
use crate::proto::{DeflateAgreement, DeflateConfig, Millis, Timeouts};

/// The part of a connection's life before the upgrade. Only this room changes it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a connection")]
pub(crate) struct HttpPhase {
    pub(super) entrance: Entrance,
    /// The proxy at the other end of the connection, if it is trusted: each request has a client of its own.
    pub(super) proxy: Option<SocketAddr>,
    /// The socket may say for whom the peer speaks, and was not asked.
    pub(super) awaits_introduction: bool,
    /// The limits for each address have not seen the connection: it is a proxy's, and not yet a client's.
    is_uncounted: bool,
    /// What arrived of a head that is not complete.
    pub(super) buffer: Vec<u8>,
    pub(super) scanner: HeadScanner,
    /// The head must be complete by then, or have begun where the connection is kept alive; bytes that arrive do not move it.
    pub(super) deadline: Millis,
    /// A request whose body has not arrived whole.
    pub(super) pending: Option<Box<Pending>>,
    /// A request that the application has and has not answered.
    pub(super) awaited: Option<Awaited>,
    /// The upgrade that is awaited, where its answer comes later.
    pub(super) offer: Option<Box<Offer>>,
    /// `buffer` may hold whole requests, which wait until the peer has read the answers to earlier ones.
    pub(super) is_deferred: bool,
    /// Requests answered so far.
    pub(super) requests: u32,
    /// A request was answered, and nothing of the next one has arrived.
    pub(super) is_kept_alive: bool,
}

/// A request whose body has not arrived whole.
#[derive(Debug)]
pub(super) struct Pending {
    /// Request line and header section, kept to be read again with the body.
    pub(super) head: Vec<u8>,
    pub(super) reader: BodyReader,
}

/// What an answer depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a request")]
pub(crate) struct Awaited {
    /// It is a HEAD.
    pub(crate) head_only: bool,
    /// The connection ends with the answer.
    pub(crate) closes: bool,
    /// It is an upgrade.
    pub(crate) is_upgrade: bool,
    /// The application has said that the answer comes later.
    pub(crate) is_late: bool,
}

/// What the answer to an upgrade needs of its request.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) key: [u8; KEY_LEN],
    /// What was agreed on, and the value of the field that says so.
    pub(super) deflate: Option<(DeflateAgreement, String)>,
    /// The subprotocol that is offered first, if an answer may need it.
    pub(super) subprotocol: Option<String>,
}

impl Offer {
    pub(super) fn new(upgrade: &Upgrade<'_>, deflate: Option<&DeflateConfig>, any_subprotocol: bool) -> Self {
        let first = upgrade.subprotocols().next().filter(|_| any_subprotocol);
        let mut key = [0; KEY_LEN];
        // `check_upgrade` has seen to the length.
        key.copy_from_slice(upgrade.key);
        Self {
            key,
            deflate: deflate.and_then(|deflate| deflate.agree(upgrade.extensions())),
            subprotocol: first.and_then(|name| std::str::from_utf8(name).ok()).map(str::to_owned),
        }
    }
}

impl HttpPhase {
    /// `proxy`: the peer, if it is a trusted proxy.
    pub(crate) fn new(entrance: Entrance, proxy: Option<SocketAddr>, deadline: Millis) -> Self {
        Self {
            entrance,
            proxy,
            awaits_introduction: entrance.is_introduced,
            is_uncounted: proxy.is_some() || entrance.is_introduced,
            awaited: None,
            offer: None,
            buffer: Vec::new(),
            scanner: HeadScanner::default(),
            deadline,
            pending: None,
            is_deferred: false,
            requests: 0,
            is_kept_alive: false,
        }
    }

    /// When the request must be complete, or answered.
    pub(crate) fn deadline(&self) -> Millis {
        self.deadline
    }

    /// Where the connection came in.
    pub(crate) fn entrance(&self) -> Entrance {
        self.entrance
    }

    /// The proxy whose requests have clients of their own.
    pub(crate) fn proxy(&self) -> Option<SocketAddr> {
        self.proxy
    }

    /// Whether the limits for each address have not seen the connection; `true` once.
    pub(crate) fn take_uncounted(&mut self) -> bool {
        std::mem::take(&mut self.is_uncounted)
    }

    /// The request that is awaited.
    pub(crate) fn awaited(&self) -> Option<Awaited> {
        self.awaited
    }

    /// Whether no request is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.awaited.is_none() && self.pending.is_none() && self.buffer.is_empty()
    }

    /// Whether requests wait for earlier ones to be answered, or for the peer to read the answers.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_deferred || self.awaited.is_some()
    }

    /// The request that is awaited is answered now, if there is one; the time of the next one begins.
    pub(crate) fn take_awaited(&mut self, now: Millis, timeouts: &Timeouts) -> Option<Awaited> {
        let awaited = self.awaited.take()?;
        // A request that has begun meanwhile is not idleness.
        self.is_kept_alive = self.buffer.is_empty();
        let wait = if self.is_kept_alive { timeouts.keep_alive_ms } else { timeouts.handshake_ms };
        self.deadline = now + wait;
        Some(awaited)
    }
}
