//! Reads, one bounded turn of a connection after the other.

use std::io;

use crate::app::{Application, CloseReason, ConnId};
use crate::proto::ProxyHeaderError;
use crate::reactor::Reactor;
use crate::reactor::slot::Slot;
use crate::reactor::socket::{Handshake, Socket, read_some};
use crate::reactor::table::{Ending, Phase};

/// Bytes waiting for all connections together above which more input would only make more of them; three quarters
/// of [`max_queued`](crate::reactor::Config::max_queued) where that is less.
const CONGESTED_LEN: usize = 16 * 1024 * 1024;

impl<A: Application, S: Socket> Reactor<A, S> {
    /// Goes on with connections that had more to read than a turn allows.
    #[inline]
    pub fn resume(&mut self) {
        if self.core.pending.is_unsettled() {
            self.resume_all();
        }
    }

    fn resume_all(&mut self) {
        for conn in self.core.pending.take_resumed() {
            let Some(entry) = self.core.table.get_mut(conn) else { continue };
            entry.inbound.set_resumed(false);
            self.read_turn(conn.into());
            self.flush_if_much();
        }
    }

    /// One turn of a connection: at most one receive buffer, more only to reach a FIN that is known to be there. One that is not
    /// upgraded (yet) waits for [`Self::serve_requests`].
    pub(crate) fn read_turn(&mut self, slot: Slot) {
        self.core.output.leave_fast_path(&mut self.core.table);
        if self.core.table[slot].inbound.is_parked() {
            return self.parked_turn(slot);
        }
        if self.core.table[slot].http().is_some() {
            return self.core.resume_later(slot);
        }
        self.take_turn(slot);
    }

    /// Reads connections that are not upgraded (yet): those that have waited longest, as many as a tick has turns for. By now
    /// the answers of open connections are written, so a storm of requests or handshakes holds them up for one tick only.
    #[inline]
    pub fn serve_requests(&mut self) {
        while let Some(conn) = self.core.pending.pop_waiting() {
            self.serve(conn);
        }
    }

    fn serve(&mut self, conn: ConnId) {
        let Some(entry) = self.core.table.get_mut(conn) else { return };
        entry.inbound.set_resumed(false);
        self.http_turn(conn.into());
        self.flush_if_much();
    }

    /// A turn of a connection that was not upgraded when it began to wait; where no turns are left it waits on.
    pub(crate) fn http_turn(&mut self, slot: Slot) {
        if self.core.table[slot].http().is_none() {
            return self.read_turn(slot);
        }
        let is_handshake = self.handshake(slot) == Some(Handshake::UnderWay);
        let deadline = self.core.table[slot].http_deadline();
        if !self.core.pending.take_http_turn(is_handshake) {
            return self.core.resume_later(slot);
        }
        self.core.output.leave_fast_path(&mut self.core.table);
        self.take_turn(slot);
        if is_handshake
            && self.handshake(slot) == Some(Handshake::Done)
            && let Some(deadline) = deadline
        {
            self.core.note_handshake(deadline);
        }
    }

    fn handshake(&mut self, slot: Slot) -> Option<Handshake> {
        Some(self.sockets.get_mut(slot)?.handshake())
    }

    fn take_turn(&mut self, slot: Slot) {
        let is_congested = self.is_congested();
        loop {
            let entry = &mut self.core.table[slot];
            let waiting = entry.outbound.backlog_len();
            if (waiting > self.core.config.high_water || waiting > 0 && is_congested)
                && !matches!(entry.phase(), Phase::Ending { ending: Ending::Linger, .. })
            {
                entry.outbound.pause();
                break;
            }
            let has_fin = entry.inbound.has_fin();
            if !self.deferred_requests(slot) || !self.read(slot) || !has_fin {
                break;
            }
            if self.core.table[slot].inbound.is_parked() {
                break;
            }
        }
    }

    /// A turn of a connection whose input is parked: nothing is read before that is eaten.
    #[cold]
    fn parked_turn(&mut self, slot: Slot) {
        let entry = &mut self.core.table[slot];
        // It has had its turn in this tick.
        if entry.inbound.is_resumed() {
            return;
        }
        if entry.outbound.backlog_len() > self.core.config.high_water {
            entry.outbound.pause();
            return;
        }
        let mut octets = self.core.intake.unpark(slot, entry);
        self.input(self.core.table.conn(slot), &mut octets);
        // What is in the socket was announced before.
        self.core.resume_later(slot);
    }

    /// So much waits for peers that more input would only make more of it: those for whom something waits are not read, and
    /// no read is longer than others.
    fn is_congested(&self) -> bool {
        let limit = CONGESTED_LEN.min(self.core.config.max_queued / 4 * 3);
        self.core.output.queued_bytes() > limit
    }

    /// One read. `true`: the socket is drained, but for a FIN that may wait behind the octets.
    fn read(&mut self, slot: Slot) -> bool {
        if self.core.table[slot].inbound.is_bulk() {
            return self.read_bulk(slot);
        }
        self.read_octets(slot, self.core.config.receive_buffer)
    }

    /// A read of at most `most` bytes.
    fn read_octets(&mut self, slot: Slot, most: usize) -> bool {
        let is_long = most > self.receive.len();
        let mut buffer = std::mem::take(if is_long { &mut self.bulk } else { &mut self.receive });
        let is_drained = self.read_to(slot, &mut buffer.as_mut()[..most]);
        *(if is_long { &mut self.bulk } else { &mut self.receive }) = buffer;
        is_drained
    }

    fn read_to(&mut self, slot: Slot, buffer: &mut [u8]) -> bool {
        let conn = self.core.table.conn(slot);
        let Some(socket) = self.sockets.get_mut(slot) else { return false };
        match read_some(socket, buffer) {
            Ok(count) if count > 0 => {
                let is_drained = count < buffer.len() && !socket.holds_input();
                self.core.intake.bytes += count as u64;
                match self.core.table[slot].phase() {
                    Phase::Open(_) => self.input(conn, &mut buffer[..count]),
                    Phase::Http(_) => self.http_input(slot, &mut buffer[..count]),
                    Phase::Ending { .. } => {}
                }
                if !is_drained {
                    self.core.resume_later(slot);
                }
                is_drained
            }
            result => {
                self.nothing_read(slot, &result);
                false
            }
        }
    }

    /// The read gave a FIN or an error.
    #[cold]
    pub(super) fn nothing_read(&mut self, slot: Slot, result: &io::Result<usize>) {
        match result {
            Ok(_) => self.core.peer_ended(slot),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.sockets.get_mut(slot).is_some_and(|socket| socket.holds_input()) {
                    self.core.resume_later(slot);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.core.finish(slot, CloseReason::Disconnected, Ending::HalfClose);
                // Octets may wait that no event announces.
                self.core.resume_later(slot);
            }
            Err(error) => {
                if let Some(why) = error.get_ref().and_then(|error| error.downcast_ref::<ProxyHeaderError>())
                {
                    self.bad_introduction(slot, *why);
                }
                self.core.break_off(slot);
            }
        }
    }

    /// A read in the middle of a message that is no small one. It may be longer than others: what is left of a long payload
    /// is read to where it is put together, and where messages of some length follow each other, a short read would end
    /// in the middle of one each time.
    fn read_bulk(&mut self, slot: Slot) -> bool {
        let most = if self.is_congested() { self.core.config.receive_buffer } else { self.bulk.len() };
        let Self { app, core, sockets, .. } = self;
        let now = core.now.monotonic_ms;
        let conn = core.table.conn(slot);
        let (Some(connection), Some(socket)) = (core.table[slot].connection_mut(), sockets.get_mut(slot))
        else {
            return self.read_octets(slot, most);
        };
        if let Some(len) = connection.wants_buffer()
            && let Some(buffer) = core.output.spare_buffer(len, now)
        {
            connection.adopt(buffer);
        }
        let (room, result) = match connection.room(most) {
            Ok(Some(room)) => (room.len(), read_some(socket, room)),
            Ok(None) => return self.read_octets(slot, most),
            Err(error) => {
                core.fail(slot, error);
                return false;
            }
        };
        let count = result.as_ref().copied().unwrap_or_default();
        let is_drained = (1..room).contains(&count) && !socket.holds_input();
        core.intake.bytes += count as u64;
        if count > 0 {
            connection.heard(now);
        }
        match connection.filled(room, count) {
            Ok(Some(message)) => {
                core.intake.messages += 1;
                app.on_owned(core, conn, message);
            }
            Ok(None) => {}
            Err(error) => core.fail(slot, error),
        }
        core.note_unfinished(slot);
        if count == 0 {
            self.nothing_read(slot, &result);
        } else if !is_drained {
            self.core.resume_later(slot);
        }
        is_drained
    }
}
