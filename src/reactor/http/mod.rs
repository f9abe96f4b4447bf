//! A connection before the upgrade: heads in, responses out.

mod body;
mod identity;
mod later;
pub(super) mod phase;

use std::net::SocketAddr;
use std::sync::Arc;

use self::phase::{Awaited, Offer};
use super::slot::Slot;
use super::table::{Ending, Phase, Refusal};
use super::{Core, Reactor, Socket};
use crate::app::{
    Acceptance, Application, CloseReason, ConnId, Entrance, Rejection, Request, Response, Verdict,
};
use crate::proto::handshake::{check_upgrade, wants_upgrade, write_accept};
use crate::proto::head::{HeadScanner, RequestHead, with_request};
use crate::proto::{Connection, HandshakeError};

/// Plain requests on one connection; the last is answered with `Connection: close`.
const MAX_REQUESTS: u32 = 1000;

impl<A: Application, S: Socket> Reactor<A, S> {
    /// Octets of a connection that is not upgraded (yet).
    pub(super) fn http_input(&mut self, slot: Slot, bytes: &mut [u8]) {
        let Some(http) = self.core.table[slot].http_mut() else { return };
        if http.buffer.is_empty() {
            self.heads(slot, bytes);
        } else {
            let mut buffer = std::mem::take(&mut http.buffer);
            buffer.extend_from_slice(bytes);
            self.heads(slot, &mut buffer);
        }
    }

    /// Takes head after head from `bytes`; behind an accepted upgrade the rest are frames (S6).
    pub(super) fn heads(&mut self, slot: Slot, mut bytes: &mut [u8]) {
        let proto = Arc::clone(&self.core.proto);
        let now = self.core.now.monotonic_ms;
        while !bytes.is_empty() {
            let core = &mut self.core;
            let is_flooded = core.output.queued_len(&mut core.table, slot) > core.config.high_water;
            match core.table[slot].phase() {
                Phase::Http(_) => {}
                Phase::Open(_) if is_flooded => return core.park(slot, bytes),
                Phase::Open(_) => return self.input(self.core.table.conn(slot), bytes),
                Phase::Ending { .. } => return,
            }
            let Some(http) = core.table[slot].http_mut() else { return };
            if http.awaits_introduction {
                self.introduce(slot);
                continue;
            }
            if std::mem::take(&mut http.is_kept_alive) {
                http.deadline = now + proto.timeouts.handshake_ms;
                core.arm(slot);
                continue;
            }
            if http.awaited.is_some() {
                http.buffer = bytes.to_vec();
                http.is_deferred = true;
                return;
            }
            if http.pending.is_some() {
                let taken = self.body(slot, bytes);
                bytes = &mut bytes[taken..];
                continue;
            }
            if is_flooded {
                http.buffer = bytes.to_vec();
                http.is_deferred = true;
                return core.resume_later(slot);
            }
            match http.scanner.find_end(bytes, &proto.limits) {
                Err(error) => return self.reject(slot, error.status(), &error),
                Ok(None) => {
                    http.buffer = bytes.to_vec();
                    return;
                }
                Ok(Some(end)) => {
                    http.scanner = HeadScanner::default();
                    let (octets, rest) = bytes.split_at_mut(end);
                    let octets = &*octets;
                    with_request(octets, &proto.limits, |parsed| match parsed {
                        Ok(head) => self.head(slot, &head, octets, rest.is_empty()),
                        Err(error) => self.reject(slot, error.status(), &error),
                    });
                    bytes = rest;
                }
            }
        }
    }

    /// A request is complete; `body` is `None` for one that has a body which is not read.
    pub(super) fn request(&mut self, slot: Slot, head: &RequestHead<'_>, body: Option<&[u8]>) {
        let forwarded = match self.identify(slot, head) {
            Ok(forwarded) => forwarded,
            Err(error) => return self.reject(slot, 400, &error),
        };
        let conn = self.core.table.conn(slot);
        let peer = self.core.table.address(slot);
        let upgrade = match wants_upgrade(head).then(|| check_upgrade(head)).transpose() {
            Ok(upgrade) => upgrade,
            Err(error) => {
                self.core.counts.upgrades.invalid += 1;
                let reason = error.to_string();
                let status = error.status();
                self.app.on_turned_away(&Rejection {
                    peer,
                    status: Some(status),
                    reason: &reason,
                    upgrade: Some(head),
                });
                return self.refuse(slot, &refusal(error), head.method == "HEAD");
            }
        };
        if upgrade.is_some()
            && let Some(response) = self.no_room(slot, peer)
        {
            return self.refuse(slot, &response, false);
        }
        // Behind a body that is not read nothing can be told to be a request.
        let is_last = upgrade.is_some() || body.is_none();
        let awaited = Awaited {
            head_only: head.method == "HEAD",
            closes: is_last || !head.keeps_alive(),
            is_upgrade: upgrade.is_some(),
            is_late: false,
        };
        let Some(entrance) = self.await_answer(slot, awaited) else {
            if upgrade.is_some() {
                self.core.table.free_place();
            }
            return;
        };
        let security = self.sockets.get_mut(slot).and_then(|socket| socket.security());
        let body = body.unwrap_or_default();
        let request = Request { head, upgrade, body, peer, forwarded, conn, entrance, security };
        let verdict = self.app.on_request(&mut self.core, &request);
        let is_refused = matches!(verdict, Verdict::Respond(_) | Verdict::Refuse(..));
        self.core.counts.upgrades.refused += u64::from(upgrade.is_some() && is_refused);
        if upgrade.is_some() && !matches!(verdict, Verdict::Accept(_)) {
            self.core.table.free_place();
        }
        match (verdict, upgrade) {
            (Verdict::Later, upgrade) => self.put_off(slot, upgrade.as_ref()),
            (Verdict::Accept(acceptance), Some(upgrade)) => {
                let deflate = self.core.proto.deflate.as_ref();
                let offer = Offer::new(&upgrade, deflate, acceptance.any_subprotocol);
                self.upgrade(conn, &offer, &acceptance);
            }
            (Verdict::Accept(_), None) => self.core.answer(conn, &upgrade_required()),
            // An upgrade that is refused ends the connection: a proxy may have taken it for granted (HS-11).
            (Verdict::Respond(response), _) => self.core.answer(conn, &response),
            (Verdict::Refuse(reason, response), _) => {
                self.core.counts.refusals.count(reason);
                self.core.answer(conn, &response);
            }
        }
    }

    /// Notes what the answer will depend on; returns where the request came in.
    fn await_answer(&mut self, slot: Slot, mut awaited: Awaited) -> Option<Entrance> {
        let is_draining = self.core.drain.is_some();
        let deadline = self.core.now.monotonic_ms + self.core.config.max_answer_ms;
        let http = self.core.table[slot].http_mut()?;
        http.requests += 1;
        http.deadline = deadline;
        awaited.closes |= http.requests >= MAX_REQUESTS || is_draining;
        http.awaited = Some(awaited);
        Some(http.entrance)
    }

    /// Why an upgrade cannot be accepted at the moment. `None`: it can, and has a place.
    fn no_room(&mut self, slot: Slot, peer: SocketAddr) -> Option<Response> {
        let Core { table, config, now, .. } = &mut self.core;
        if let Err(refusal) = table.admit(config, slot, now.monotonic_ms) {
            return Some(self.turned_away(slot, refusal));
        }
        let (count, text) = if self.core.drain.is_some() {
            (&mut self.core.counts.upgrades.draining, "the server is shutting down; try again later")
        } else if !self.core.take_place() {
            (&mut self.core.counts.upgrades.no_room, "no room for another connection; try again later")
        } else {
            return None;
        };
        *count += 1;
        self.app.on_turned_away(&Rejection { peer, status: Some(503), reason: text, upgrade: None });
        Some(Response::text(503, text).field("Retry-After", "1"))
    }

    fn upgrade(&mut self, conn: ConnId, offer: &Offer, acceptance: &Acceptance) {
        let agreed = offer.deflate.iter().map(|(_, field)| ("Sec-WebSocket-Extensions", field.as_str()));
        let further = acceptance.fields.iter().map(|(name, value)| (*name, value.as_str()));
        let fields: Vec<_> = agreed.chain(further).collect();
        let first = offer.subprotocol.as_deref().filter(|_| acceptance.any_subprotocol);
        let subprotocol = acceptance.subprotocol.or(first);
        let core = &mut self.core;
        core.output.append(&mut core.table, conn.into(), |_, out| {
            write_accept(&offer.key, subprotocol, &fields, out);
        });
        let mut connection = Connection::server(&core.proto, core.now.monotonic_ms);
        if let Some((agreement, _)) = offer.deflate {
            connection = connection.with_deflate(agreement, core.output.deflate());
            connection.pause_after_inflating(core.config.max_inflated);
        }
        connection.stream_messages(acceptance.stream_messages);
        core.counts.upgrades.accepted += 1;
        core.table.upgrade(conn.into(), connection);
        core.arm(conn.into());
        self.app.on_open(core, conn);
    }

    /// Answers and ends the connection; what follows the request is discarded.
    pub(super) fn refuse(&mut self, slot: Slot, response: &Response, head_only: bool) {
        let unix_ms = self.core.now.unix_ms;
        self.core.output.append(&mut self.core.table, slot, |_, out| {
            response.write(head_only, true, unix_ms, out);
        });
        self.core.finish(slot, CloseReason::Disconnected, Ending::HalfClose);
    }

    /// Turns a connection away whose request the application never sees.
    #[cold]
    pub(super) fn reject(&mut self, slot: Slot, status: u16, reason: &impl std::fmt::Display) {
        let requests = &mut self.core.counts.requests;
        *if status == 408 { &mut requests.overdue } else { &mut requests.malformed } += 1;
        let reason = reason.to_string();
        let peer = self.core.table.address(slot);
        self.app.on_turned_away(&Rejection { peer, status: Some(status), reason: &reason, upgrade: None });
        self.refuse(slot, &Response::text(status, reason), false);
    }

    /// Turns a new connection away, with an answer to what it has not asked yet.
    #[cold]
    pub(super) fn turn_away(&mut self, slot: Slot, refusal: Refusal) {
        let response = self.turned_away(slot, refusal);
        self.refuse(slot, &response, false);
        // At once: what it asks is not read before it has the answer, or TLS would begin a handshake for it.
        self.flush_all();
    }

    /// Notes that a connection is turned away; returns the answer.
    fn turned_away(&mut self, slot: Slot, refusal: Refusal) -> Response {
        let requests = &mut self.core.counts.requests;
        let (count, reason) = match refusal {
            Refusal::Crowded => {
                (&mut requests.crowded, "too many connections from this address; try again later")
            }
            Refusal::Hurried => (&mut requests.hurried, "too many new connections; try again later"),
        };
        *count += 1;
        let peer = self.core.table.address(slot);
        self.app.on_turned_away(&Rejection { peer, status: Some(503), reason, upgrade: None });
        Response::text(503, reason).field("Retry-After", "1")
    }

    /// The request was not complete in time, or not answered.
    pub(super) fn http_timeout(&mut self, slot: Slot) {
        let Some(http) = self.core.table[slot].http() else { return };
        if let Some(awaited) = http.awaited {
            self.core.counts.requests.unanswered += 1;
            self.refuse(slot, &Response::text(504, "the answer took too long"), awaited.head_only);
        } else if http.is_deferred || http.buffer.is_empty() && http.pending.is_none() {
            self.core.finish(slot, CloseReason::Disconnected, Ending::Drop);
        } else {
            self.reject(slot, 408, &"the request did not arrive in time");
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
