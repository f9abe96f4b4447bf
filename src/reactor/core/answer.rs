//! Answers to requests.

use super::Core;
use crate::app::{CloseReason, ConnId, Response};
use crate::reactor::http::phase::Awaited;
use crate::reactor::table::Ending;

impl Core {
    /// Answers the request that is awaited, if it still is.
    pub(crate) fn answer(&mut self, conn: ConnId, response: &Response) {
        let Some(http) = self.table.get_mut(conn).and_then(|entry| entry.http_mut()) else { return };
        let timeouts = &self.proto.timeouts;
        let Some(awaited) = http.take_awaited(self.now.monotonic_ms, timeouts) else { return };
        let proxy = http.proxy();
        let closes = awaited.closes || self.drain.is_some() || timeouts.keep_alive_ms == 0;
        if awaited.is_late {
            self.end_late();
        }
        self.counts.requests.answered += 1;
        let unix_ms = self.now.unix_ms;
        self.output.append(&mut self.table, conn.into(), |_, out| {
            response.write(awaited.head_only, closes, unix_ms, out);
        });
        if closes {
            self.finish(conn.into(), CloseReason::Disconnected, Ending::HalfClose);
        } else {
            if let Some(proxy) = proxy {
                self.table.set_address(conn.into(), proxy);
            }
            self.arm(conn.into());
        }
    }

    /// The request that a connection awaits the answer to.
    pub(super) fn awaited(&self, conn: ConnId) -> Option<Awaited> {
        self.table.get(conn)?.http()?.awaited()
    }

    /// As [`Self::answer`], from outside of the request's own callback.
    pub(crate) fn answer_later(&mut self, conn: ConnId, response: &Response) {
        let is_refused = self.awaited(conn).is_some_and(|awaited| awaited.is_upgrade && awaited.is_late);
        self.counts.upgrades.refused += u64::from(is_refused);
        self.answer(conn, response);
        // What has come meanwhile was not read.
        if self.table.get(conn).is_some_and(|entry| entry.http().is_some()) {
            self.resume_later(conn.into());
        }
    }
}
