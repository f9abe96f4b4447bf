//! A connection before the upgrade: heads in, responses out.

use std::sync::Arc;

use super::entry::{Ending, HttpPhase, Phase};
use super::{Reactor, Socket};
use crate::app::{Acceptance, Application, CloseReason, ConnId, Request, Response, Verdict};
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
        while !bytes.is_empty() {
            let is_flooded = self.core.queued_len(index) > self.core.config.high_water;
            let http = match &mut self.core.table[index as usize].phase {
                Phase::Http(http) => http,
                Phase::Open(_) => return super::frames(&mut self.app, &mut self.core, index, bytes),
                Phase::Ending { .. } => return,
            };
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
                Err(error) => {
                    return self.refuse(index, &Response::text(error.status(), error.to_string()), false);
                }
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
                        Err(error) => {
                            self.refuse(index, &Response::text(error.status(), error.to_string()), false);
                        }
                    });
                    bytes = rest;
                }
            }
        }
    }

    /// A request is complete; `body` is `None` for one that has a body which is not read.
    pub(super) fn request(&mut self, index: u32, head: &RequestHead<'_>, body: Option<&[u8]>) {
        let entry = &self.core.table[index as usize];
        let conn = ConnId { index, generation: entry.generation };
        let Phase::Http(http) = &entry.phase else { return };
        let peer = http.peer;
        let upgrade = match wants_upgrade(head).then(|| check_upgrade(head)).transpose() {
            Ok(upgrade) => upgrade,
            Err(error) => {
                self.app.on_refused(head, peer, error);
                return self.refuse(index, &refusal(error), head.method == "HEAD");
            }
        };
        if upgrade.is_some() && !self.core.admits() {
            let response = Response::text(503, "no room for another connection; try again later");
            return self.refuse(index, &response.field("Retry-After", "1"), false);
        }
        let is_unread = body.is_none();
        let request = Request { head, upgrade, body: body.unwrap_or_default(), peer, conn };
        match (self.app.on_request(&mut self.core, &request), upgrade) {
            (Verdict::Accept(acceptance), Some(upgrade)) => self.upgrade(conn, &upgrade, &acceptance),
            (Verdict::Accept(_), None) => self.respond(index, head, is_unread, &upgrade_required()),
            // An upgrade that is refused ends the connection: a proxy may have taken it for granted (HS-11).
            (Verdict::Respond(response), Some(_)) => self.refuse(index, &response, false),
            (Verdict::Respond(response), None) => self.respond(index, head, is_unread, &response),
        }
    }

    fn upgrade(&mut self, conn: ConnId, upgrade: &Upgrade<'_>, acceptance: &Acceptance) {
        let start = self.core.outbox.len();
        let config = self.core.proto.deflate.as_ref();
        let deflate = config.and_then(|config| config.agree(upgrade.extensions()));
        let agreed = deflate.iter().map(|(_, field)| ("Sec-WebSocket-Extensions", field.as_str()));
        let further = acceptance.fields.iter().map(|(name, value)| (*name, value.as_str()));
        let fields: Vec<_> = agreed.chain(further).collect();
        write_accept(upgrade.key, acceptance.subprotocol, &fields, &mut self.core.outbox.bytes);
        self.core.wrote(conn.index, start);
        let mut connection = Connection::server(&self.core.proto, self.core.now.monotonic_ms);
        if let Some((agreement, _)) = deflate {
            connection = connection.with_deflate(agreement, &self.core.deflate);
            connection.pause_after_inflating(self.core.config.max_inflated);
        }
        connection.stream_messages(acceptance.stream_messages);
        self.core.open += 1;
        self.core.table[conn.index as usize].phase = Phase::Open(connection);
        self.core.arm(conn.index);
        self.app.on_open(&mut self.core, conn);
    }

    /// Answers a plain request; behind a body that is not read nothing can be told to be a request.
    fn respond(&mut self, index: u32, head: &RequestHead<'_>, is_unread: bool, response: &Response) {
        let start = self.core.outbox.len();
        let deadline = self.core.now.monotonic_ms + self.core.proto.timeouts.handshake_ms;
        let Phase::Http(http) = &mut self.core.table[index as usize].phase else { return };
        http.requests += 1;
        http.deadline = deadline;
        let closes = !head.keeps_alive() || is_unread || http.requests >= MAX_REQUESTS;
        response.write(head.method == "HEAD", closes, self.core.now.unix_ms, &mut self.core.outbox.bytes);
        self.core.wrote(index, start);
        if closes {
            self.core.finish(index, CloseReason::Disconnected, Ending::HalfClose);
        }
    }

    /// Answers and ends the connection; what follows the request is discarded.
    pub(super) fn refuse(&mut self, index: u32, response: &Response, head_only: bool) {
        let start = self.core.outbox.len();
        response.write(head_only, true, self.core.now.unix_ms, &mut self.core.outbox.bytes);
        self.core.wrote(index, start);
        self.core.finish(index, CloseReason::Disconnected, Ending::HalfClose);
    }

    /// The request was not complete in time.
    pub(super) fn http_timeout(&mut self, index: u32) {
        let Phase::Http(http) = &self.core.table[index as usize].phase else { return };
        if http.is_deferred || http.buffer.is_empty() && http.pending.is_none() {
            self.core.finish(index, CloseReason::Disconnected, Ending::Drop);
        } else {
            self.refuse(index, &Response::text(408, "the request did not arrive in time"), false);
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
    pub(super) fn new(peer: std::net::SocketAddr, deadline: u64) -> Self {
        Self {
            peer,
            buffer: Vec::new(),
            scanner: HeadScanner::default(),
            deadline,
            pending: None,
            is_deferred: false,
            requests: 0,
        }
    }
}
