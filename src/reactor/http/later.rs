//! Answers that come later ([`Verdict::Later`]): how many are awaited, and what is kept of an upgrade until the application has
//! decided.
//!
//! [`Verdict::Later`]: crate::app::Verdict::Later

use super::phase::Offer;
use super::upgrade_required;
use crate::app::{Acceptance, Application, ConnId, Response, Upgrade};
use crate::reactor::slot::Slot;
use crate::reactor::{Reactor, Socket};

impl<A: Application, S: Socket> Reactor<A, S> {
    /// The application answers later, unless it has answered already.
    pub(super) fn put_off(&mut self, slot: Slot, upgrade: Option<&Upgrade<'_>>) {
        let core = &mut self.core;
        core.arm(slot);
        let deflate = core.proto.deflate.as_ref();
        let Some(http) = core.table[slot].http_mut() else { return };
        let Some(awaited) = http.awaited.as_mut() else { return };
        awaited.is_late = true;
        let head_only = awaited.head_only;
        http.offer = upgrade.map(|upgrade| Box::new(Offer::new(upgrade, deflate, true)));
        if !core.begin_late() {
            self.core.counts.requests.unanswered += 1;
            let response = Response::text(503, "too many requests wait for an answer; try again later");
            self.refuse(slot, &response.field("Retry-After", "1"), head_only);
        }
    }

    /// Opens the connections that the application has accepted after all.
    pub(crate) fn open_accepted(&mut self) {
        for (conn, acceptance) in self.core.pending.take_accepted() {
            self.open_late(conn, &acceptance);
        }
    }

    fn open_late(&mut self, conn: ConnId, acceptance: &Acceptance) {
        let slot = Slot::from(conn);
        let Some(http) = self.core.table.get_mut(conn).and_then(|entry| entry.http_mut()) else { return };
        // It may have been answered, or have run out of time, since the application accepted it.
        let Some(awaited) = http.awaited.filter(|awaited| awaited.is_late) else { return };
        let Some(offer) = http.offer.take() else {
            return self.core.answer_later(conn, &upgrade_required());
        };
        let peer = self.core.table.address(slot);
        if let Some(response) = self.no_room(slot, peer) {
            return self.refuse(slot, &response, awaited.head_only);
        }
        let Some(http) = self.core.table[slot].http_mut() else { return self.core.table.free_place() };
        http.awaited = None;
        let mut behind = std::mem::take(&mut http.buffer);
        self.core.end_late();
        self.core.output.leave_fast_path(&mut self.core.table);
        self.upgrade(conn, &offer, acceptance);
        self.heads(slot, &mut behind);
        // What the socket has was announced before.
        if self.core.table.get(conn).is_some() {
            self.core.resume_later(slot);
        }
    }

    /// The server stops: who waits for an upgrade is told so, and who waits for another answer gets it.
    pub(crate) fn end_late_upgrade(&mut self, slot: Slot) {
        if self.core.table[slot].http().is_some_and(|http| http.offer.is_some()) {
            let peer = self.core.table.address(slot);
            if let Some(response) = self.no_room(slot, peer) {
                self.refuse(slot, &response, false);
            }
        }
    }
}
