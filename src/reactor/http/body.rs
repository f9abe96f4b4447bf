//! Bodies of plain requests, and requests that wait for their turn.

use super::phase::Pending;
use crate::app::{Application, Response};
use crate::proto::body::{BodyError, BodyReader};
use crate::proto::handshake::wants_upgrade;
use crate::proto::head::{BodyLength, RequestHead, with_request};
use crate::reactor::slot::Slot;
use crate::reactor::{Reactor, Socket};

impl<A: Application, S: Socket> Reactor<A, S> {
    /// A head is complete: goes on with the request, or first with its body. `is_last`: nothing has come behind it.
    pub(super) fn head(&mut self, slot: Slot, head: &RequestHead<'_>, octets: &[u8], is_last: bool) {
        if wants_upgrade(head) {
            return self.request(slot, head, Some(&[]));
        }
        let expects_continue = match expectation(head) {
            Ok(expects_continue) => expects_continue,
            Err(refusal) => {
                self.core.counts.requests.malformed += 1;
                return self.refuse(slot, &refusal, head.method == "HEAD");
            }
        };
        if head.body == BodyLength::None {
            return self.request(slot, head, Some(&[]));
        }
        if !self.app.wants_body(head) {
            return self.request(slot, head, None);
        }
        // What is wrong with the body is the client's fault, and not the proxy's.
        if let Err(error) = self.identify(slot, head) {
            return self.reject(slot, 400, &error);
        }
        match BodyReader::new(head.body, &self.core.proto.limits) {
            Ok(reader) => {
                // RFC 9110 10.1.1: a 100 may be left out when part of the body is there already.
                if expects_continue && is_last {
                    self.core.output.append(&mut self.core.table, slot, |_, out| {
                        out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                    });
                }
                if let Some(http) = self.core.table[slot].http_mut() {
                    http.pending = Some(Box::new(Pending { head: octets.to_vec(), reader }));
                }
            }
            Err(error) => self.refuse_body(slot, error),
        }
    }

    /// Octets of a body; returns the number of those that belong to it.
    pub(super) fn body(&mut self, slot: Slot, bytes: &[u8]) -> usize {
        let Some(http) = self.core.table[slot].http_mut() else { return 0 };
        let Some(pending) = &mut http.pending else { return 0 };
        match pending.reader.receive(bytes) {
            Ok(taken) => {
                if let Some(pending) = http.pending.take_if(|pending| pending.reader.is_whole()) {
                    let limits = self.core.proto.limits.clone();
                    with_request(&pending.head, &limits, |head| {
                        // It was read once before.
                        if let Ok(head) = head {
                            self.request(slot, &head, Some(pending.reader.body()));
                        }
                    });
                }
                taken
            }
            Err(error) => {
                self.refuse_body(slot, error);
                bytes.len()
            }
        }
    }

    fn refuse_body(&mut self, slot: Slot, error: BodyError) {
        self.reject(slot, error.status(), &error);
    }

    /// Goes on with requests that waited for earlier ones to be answered, or for the peer to read the answers. `false`: some
    /// of them wait on, and nothing more must be read.
    pub(crate) fn deferred_requests(&mut self, slot: Slot) -> bool {
        let entry = &self.core.table[slot];
        // Nobody waits for the upgrade any more; another request is answered, since its client may have ended its side alone.
        if entry.inbound.has_fin() && entry.http().is_some_and(|http| http.offer.is_some()) {
            self.core.peer_ended(slot);
            return false;
        }
        if let Some(http) = self.core.table[slot].http_mut()
            && http.awaited.is_none()
            && std::mem::take(&mut http.is_deferred)
        {
            let mut buffer = std::mem::take(&mut http.buffer);
            self.heads(slot, &mut buffer);
        }
        self.core.table[slot].http().is_none_or(|http| !http.is_waiting())
    }
}

/// RFC 9110 10.1.1: whether the client awaits a 100 before it sends the body; any other expectation is refused.
fn expectation(head: &RequestHead<'_>) -> Result<bool, Response> {
    let mut expectations = head.fields.all("expect");
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.eq_ignore_ascii_case(b"100-continue") => Ok(head.minor_version == 1),
        _ => Err(Response::text(417, "only 100-continue can be expected")),
    }
}
