//! A connection before the upgrade: heads in, responses out.

use std::net::SocketAddr;
use std::sync::Arc;

use super::admission::Refusal;
use super::core::Core;
use super::entry::{Awaited, Ending, HttpPhase, Phase};
use super::{Reactor, Socket};
use crate::app::{
    Acceptance, Application, CloseReason, ConnId, Entrance, Rejection, Request, Response, Verdict,
};
use crate::proto::handshake::{Upgrade, check_upgrade, wants_upgrade, write_accept};
use crate::proto::head::{HeadScanner, RequestHead, with_request};
use crate::proto::{Connection, HandshakeError};

/// Plain requests on one connection; the last is answered with `Connection: close`.
const MAX_REQUESTS: u32 = 1000;

impl<A: Application, S: Socket> Reactor<A, S> {
    /// Octets of a connection that is not upgraded (yet).
    pub(super) fn http_input(&mut self, index: u32, bytes: &mut [u8]) {
        let Phase::Http(http) = &mut self.core.table[index as usize].phase else { return };
        if http.buffer.is_empty() {
            self.heads(index, bytes);
        } else {
            let mut buffer = std::mem::take(&mut http.buffer);
            buffer.extend_from_slice(bytes);
            self.heads(index, &mut buffer);
        }
    }

    /// Takes head after head from `bytes`; behind an accepted upgrade the rest are frames (S6).
    pub(super) fn heads(&mut self, index: u32, mut bytes: &mut [u8]) {
        let proto = Arc::clone(&self.core.proto);
        let now = self.core.now.monotonic_ms;
        while !bytes.is_empty() {
            let is_flooded = self.core.queued_len(index) > self.core.config.high_water;
            let http = match &mut self.core.table[index as usize].phase {
                Phase::Http(http) => http,
                Phase::Open(_) => {
                    if is_flooded {
                        return self.core.hold(index, bytes);
                    }
                    return self.input(self.core.conn(index), bytes);
                }
                Phase::Ending { .. } => return,
            };
            if std::mem::take(&mut http.is_kept_alive) {
                http.deadline = now + proto.timeouts.handshake_ms;
                self.core.arm(index);
                continue;
            }
            if http.awaited.is_some() {
                http.buffer = bytes.to_vec();
                http.is_deferred = true;
                return;
            }
            if http.pending.is_some() {
                let taken = self.body(index, bytes);
                bytes = &mut bytes[taken..];
                continue;
            }
            if is_flooded {
                http.buffer = bytes.to_vec();
                http.is_deferred = true;
                return self.core.resume_later(index);
            }
            match http.scanner.find_end(bytes, &proto.limits) {
                Err(error) => return self.reject(index, error.status(), &error),
                Ok(None) => {
                    http.buffer = bytes.to_vec();
                    return;
                }
                Ok(Some(end)) => {
                    http.scanner = HeadScanner::default();
                    let (octets, rest) = bytes.split_at_mut(end);
                    let octets = &*octets;
                    with_request(octets, &proto.limits, |parsed| match parsed {
                        Ok(head) => self.head(index, &head, octets, rest.is_empty()),
                        Err(error) => self.reject(index, error.status(), &error),
                    });
                    bytes = rest;
                }
            }
        }
    }

    /// A request is complete; `body` is `None` for one that has a body which is not read.
    pub(super) fn request(&mut self, index: u32, head: &RequestHead<'_>, body: Option<&[u8]>) {
        let generation = self.core.table[index as usize].generation;
        let conn = ConnId { index, generation };
        let peer = self.core.peers.address(index);
        let upgrade = match wants_upgrade(head).then(|| check_upgrade(head)).transpose() {
            Ok(upgrade) => upgrade,
            Err(error) => {
                self.core.stats.upgrades.invalid += 1;
                let reason = error.to_string();
                let status = error.status();
                self.app.on_turned_away(&Rejection { peer, status, reason: &reason, upgrade: Some(head) });
                return self.refuse(index, &refusal(error), head.method == "HEAD");
            }
        };
        if upgrade.is_some()
            && let Some(response) = self.no_room(peer)
        {
            return self.refuse(index, &response, false);
        }
        let Some(entrance) = self.await_answer(index, head, upgrade.is_some() || body.is_none()) else {
            return;
        };
        let request = Request { head, upgrade, body: body.unwrap_or_default(), peer, conn, entrance };
        let verdict = self.app.on_request(&mut self.core, &request);
        let is_refused = matches!(verdict, Verdict::Respond(_) | Verdict::Refuse(..));
        self.core.stats.upgrades.refused += u64::from(upgrade.is_some() && is_refused);
        match (verdict, upgrade) {
            (Verdict::Later, _) => self.core.arm(index),
            (Verdict::Accept(acceptance), Some(upgrade)) => self.upgrade(conn, &upgrade, &acceptance),
            (Verdict::Accept(_), None) => self.core.answer(conn, &upgrade_required()),
            // An upgrade that is refused ends the connection: a proxy may have taken it for granted (HS-11).
            (Verdict::Respond(response), _) => self.core.answer(conn, &response),
            (Verdict::Refuse(reason, response), _) => {
                self.core.stats.refusals.count(reason);
                self.core.answer(conn, &response);
            }
        }
    }

    /// Notes how the request is to be answered; gives where it came in.
    fn await_answer(&mut self, index: u32, head: &RequestHead<'_>, is_last: bool) -> Option<Entrance> {
        let is_draining = self.core.drain.is_some();
        let deadline = self.core.now.monotonic_ms + self.core.config.max_answer_ms;
        let Phase::Http(http) = &mut self.core.table[index as usize].phase else { return None };
        http.requests += 1;
        http.deadline = deadline;
        // Behind a body that is not read nothing can be told to be a request.
        let closes = !head.keeps_alive() || is_last || http.requests >= MAX_REQUESTS || is_draining;
        http.awaited = Some(Awaited { head_only: head.method == "HEAD", closes });
        Some(http.entrance)
    }

    /// Why an upgrade cannot be accepted at the moment.
    fn no_room(&mut self, peer: SocketAddr) -> Option<Response> {
        let (count, text) = if self.core.drain.is_some() {
            (&mut self.core.stats.upgrades.draining, "the server is shutting down; try again later")
        } else if !self.core.admits() {
            (&mut self.core.stats.upgrades.no_room, "no room for another connection; try again later")
        } else {
            return None;
        };
        *count += 1;
        self.app.on_turned_away(&Rejection { peer, status: 503, reason: text, upgrade: None });
        Some(Response::text(503, text).field("Retry-After", "1"))
    }

    fn upgrade(&mut self, conn: ConnId, upgrade: &Upgrade<'_>, acceptance: &Acceptance) {
        let start = self.core.outbox.len();
        let config = self.core.proto.deflate.as_ref();
        let deflate = config.and_then(|config| config.agree(upgrade.extensions()));
        let agreed = deflate.iter().map(|(_, field)| ("Sec-WebSocket-Extensions", field.as_str()));
        let further = acceptance.fields.iter().map(|(name, value)| (*name, value.as_str()));
        let fields: Vec<_> = agreed.chain(further).collect();
        let first = upgrade.subprotocols().next().filter(|_| acceptance.any_subprotocol);
        let first = first.and_then(|name| std::str::from_utf8(name).ok());
        let subprotocol = acceptance.subprotocol.or(first);
        write_accept(upgrade.key, subprotocol, &fields, &mut self.core.outbox.bytes);
        self.core.wrote(conn.index, start);
        let mut connection = Connection::server(&self.core.proto, self.core.now.monotonic_ms);
        if let Some((agreement, _)) = deflate {
            connection = connection.with_deflate(agreement, &self.core.deflate);
            connection.pause_after_inflating(self.core.config.max_inflated);
        }
        connection.stream_messages(acceptance.stream_messages);
        self.core.open += 1;
        self.core.stats.upgrades.accepted += 1;
        self.core.table[conn.index as usize].phase = Phase::Open(connection);
        self.core.arm(conn.index);
        self.app.on_open(&mut self.core, conn);
    }

    /// Answers and ends the connection; what follows the request is discarded.
    pub(super) fn refuse(&mut self, index: u32, response: &Response, head_only: bool) {
        let start = self.core.outbox.len();
        response.write(head_only, true, self.core.now.unix_ms, &mut self.core.outbox.bytes);
        self.core.wrote(index, start);
        self.core.finish(index, CloseReason::Disconnected, Ending::HalfClose);
    }

    /// Turns a connection away whose request the application never sees.
    #[cold]
    pub(super) fn reject(&mut self, index: u32, status: u16, reason: &impl std::fmt::Display) {
        let requests = &mut self.core.stats.requests;
        *if status == 408 { &mut requests.overdue } else { &mut requests.malformed } += 1;
        let reason = reason.to_string();
        let peer = self.core.peers.address(index);
        self.app.on_turned_away(&Rejection { peer, status, reason: &reason, upgrade: None });
        self.refuse(index, &Response::text(status, reason), false);
    }

    /// Turns a new connection away, with an answer to what it has not asked yet.
    #[cold]
    pub(super) fn turn_away(&mut self, index: u32, refusal: Refusal) {
        let requests = &mut self.core.stats.requests;
        let (count, reason) = match refusal {
            Refusal::Crowded => {
                (&mut requests.crowded, "too many connections from this address; try again later")
            }
            Refusal::Hurried => (&mut requests.hurried, "too many new connections; try again later"),
        };
        *count += 1;
        let peer = self.core.peers.address(index);
        self.app.on_turned_away(&Rejection { peer, status: 503, reason, upgrade: None });
        self.refuse(index, &Response::text(503, reason).field("Retry-After", "1"), false);
    }

    /// The request was not complete in time, or not answered.
    pub(super) fn http_timeout(&mut self, index: u32) {
        let Phase::Http(http) = &self.core.table[index as usize].phase else { return };
        if let Some(awaited) = http.awaited {
            self.core.stats.requests.unanswered += 1;
            self.refuse(index, &Response::text(504, "the answer took too long"), awaited.head_only);
        } else if http.is_deferred || http.buffer.is_empty() && http.pending.is_none() {
            self.core.finish(index, CloseReason::Disconnected, Ending::Drop);
        } else {
            self.reject(index, 408, &"the request did not arrive in time");
        }
    }
}

impl Core {
    /// Answers the request that is awaited, if it still is.
    pub(super) fn answer(&mut self, conn: ConnId, response: &Response) {
        let start = self.outbox.len();
        let now = self.now.monotonic_ms;
        let (keep_alive_ms, handshake_ms) =
            (self.proto.timeouts.keep_alive_ms, self.proto.timeouts.handshake_ms);
        let is_draining = self.drain.is_some();
        let Some(entry) = self.entry(conn) else { return };
        let Phase::Http(http) = &mut entry.phase else { return };
        let Some(Awaited { head_only, closes }) = http.awaited.take() else { return };
        // A request that has begun meanwhile is not idleness.
        http.is_kept_alive = http.buffer.is_empty();
        http.deadline = now + if http.is_kept_alive { keep_alive_ms } else { handshake_ms };
        let closes = closes || is_draining || keep_alive_ms == 0;
        self.stats.requests.answered += 1;
        response.write(head_only, closes, self.now.unix_ms, &mut self.outbox.bytes);
        self.wrote(conn.index, start);
        if closes {
            self.finish(conn.index, CloseReason::Disconnected, Ending::HalfClose);
        } else {
            self.arm(conn.index);
        }
    }

    /// As [`Self::answer`], from outside of the request's own callback.
    pub(super) fn answer_later(&mut self, conn: ConnId, response: &Response) {
        self.answer(conn, response);
        // What has come meanwhile was not read.
        if self.entry(conn).is_some_and(|entry| matches!(entry.phase, Phase::Http(_))) {
            self.resume_later(conn.index);
        }
    }
}

/// RFC 6455 4.2.2 and 4.4: what an upgrade that breaks a requirement is answered.
fn refusal(error: HandshakeError) -> Response {
    let response = Response::text(error.status(), error.to_string());
    match error {
        HandshakeError::Method => response.field("Allow", "GET"),
        HandshakeError::Version => upgrade_required(),
        _ => response,
    }
}

/// RFC 9110 15.5.22: a 426 names the protocol that is required.
fn upgrade_required() -> Response {
    Response::text(426, "this resource speaks WebSocket, version 13")
        .field("Upgrade", "websocket")
        .field("Connection", "Upgrade")
        .field("Sec-WebSocket-Version", "13")
}

impl HttpPhase {
    pub(super) fn new(entrance: Entrance, deadline: u64) -> Self {
        Self {
            entrance,
            awaited: None,
            buffer: Vec::new(),
            scanner: HeadScanner::default(),
            deadline,
            pending: None,
            is_deferred: false,
            requests: 0,
            is_kept_alive: false,
        }
    }
}
